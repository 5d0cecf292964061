"""The ASCII form of age files: strict PEM, so that one file has one spelling.

Source: https://c2sp.org/age, "ASCII armor"; RFC 7468 section 3, figure 3.
"""

import base64
import binascii
from typing import Final

from drkeeper.errors import IntegrityError

_BEGIN: Final = b"-----BEGIN AGE ENCRYPTED FILE-----"
_END: Final = b"-----END AGE ENCRYPTED FILE-----"
_COLUMNS: Final = 64
_WHITESPACE: Final = b" \t\r\n"
_MARKED: Final = b"-----BEGIN"


def encode(file: bytes) -> bytes:
    """Return the armored form of a binary age file, ending with a line feed."""
    text = base64.b64encode(file)
    lines = [text[at : at + _COLUMNS] for at in range(0, len(text), _COLUMNS)]
    return b"\n".join([_BEGIN, *lines, _END, b""])


def is_armored(file: bytes) -> bool:
    """Tell whether ``file`` claims to be armored."""
    return file.lstrip(_WHITESPACE).startswith(_MARKED)


def decode(text: bytes) -> bytes:
    """Return the binary form; whitespace around the armor is all that may vary.

    Raises:
        IntegrityError: The armor is not the canonical one.
    """
    text = text.strip(_WHITESPACE).replace(b"\r\n", b"\n")
    # All lines but four are full: a hostile gigabyte of empty lines is not split into a list.
    if text.count(b"\n") > len(text) // (_COLUMNS + 1) + 2:
        raise IntegrityError("age armor has lines of a wrong length")
    lines = text.split(b"\n")
    if lines[0] != _BEGIN or lines[-1] != _END:
        raise IntegrityError("age armor has a wrong first or last line")
    body = lines[1:-1]
    if any(len(line) != _COLUMNS for line in body[:-1]) or (body and not _fits(body[-1])):
        raise IntegrityError("age armor has a line of a wrong length")
    joined = b"".join(body)
    try:
        file = base64.b64decode(joined, validate=True)
    except binascii.Error:
        raise IntegrityError("age armor is not Base64") from None
    if base64.b64encode(file) != joined:
        raise IntegrityError("age armor is not canonical Base64")
    return file


def _fits(last: bytes) -> bool:
    return 0 < len(last) <= _COLUMNS
