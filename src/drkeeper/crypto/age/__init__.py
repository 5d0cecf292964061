"""Real age v1 files, so that a repository's keys open with stock tools too.

Two kinds of file: for post-quantum recipients (``age1pq1…``), and under a passphrase. Both are
read binary or armored. Plaintexts here are keys: whole files are held in memory.

Source: https://c2sp.org/age.
"""

from drkeeper.crypto.age.armor import encode as armored
from drkeeper.crypto.age.files import (
    Unwraps,
    decrypt,
    decrypt_with_passphrase,
    encrypt,
    encrypt_with_passphrase,
    is_passphrase_file,
)
from drkeeper.crypto.age.hybrid import Identity, Recipient

__all__ = [
    "Identity",
    "Recipient",
    "Unwraps",
    "armored",
    "decrypt",
    "decrypt_with_passphrase",
    "encrypt",
    "encrypt_with_passphrase",
    "is_passphrase_file",
]
