"""Bech32 without a length limit: how age and drkeeper write keys for people.

Error texts never quote the input, which may be a secret.

Source: BIP 173; https://c2sp.org/age, "Conventions" (no limit on the data part).
"""

from collections.abc import Iterable, Sequence
from typing import Final

from drkeeper.errors import ConfigurationError

_ALPHABET: Final = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATORS: Final = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_CHECKSUM_SYMBOLS: Final = 6
_FIRST_PRINTABLE: Final = 33
_LAST_PRINTABLE: Final = 126
_MAX_TEXT: Final = 8192
"""Four times the longest key, so that a hostile string costs nothing."""


def encode(prefix: str, payload: bytes) -> str:
    """Return ``payload`` under a lower-case human-readable ``prefix``."""
    symbols = _regroup(payload, 8, 5)
    bits = _remainder([*_expanded(prefix), *symbols, *[0] * _CHECKSUM_SYMBOLS]) ^ 1
    checksum = [bits >> 5 * (_CHECKSUM_SYMBOLS - 1 - i) & 31 for i in range(_CHECKSUM_SYMBOLS)]
    return prefix + "1" + "".join(_ALPHABET[symbol] for symbol in [*symbols, *checksum])


def decode(text: str) -> tuple[str, bytes]:
    """Return the prefix, in lower case, and the payload.

    Raises:
        ConfigurationError: The text is not Bech32, was mistyped, or mixes cases.
    """
    prefix, symbols = _split(text)
    if _remainder([*_expanded(prefix), *symbols]) != 1:
        raise ConfigurationError(
            "key has a wrong checksum", hint="Copy the whole key again; a character is wrong."
        )
    payload = symbols[:-_CHECKSUM_SYMBOLS]
    data = bytes(_regroup(payload, 5, 8))
    # Left-over bits must be few and zero, or one payload would have several spellings.
    if _regroup(data, 8, 5) != payload:
        raise ConfigurationError("key is not canonical Bech32")
    return prefix, data


def _split(text: str) -> tuple[str, list[int]]:
    """Return the lower-case prefix and the symbols, checksum included.

    Raises:
        ConfigurationError: The text has another form.
    """
    if len(text) > _MAX_TEXT:
        raise ConfigurationError("key is longer than any key")
    printable = all(_FIRST_PRINTABLE <= ord(char) <= _LAST_PRINTABLE for char in text)
    if not printable or text not in {text.lower(), text.upper()}:
        raise ConfigurationError("key is not Bech32")
    prefix, separator, rest = text.lower().rpartition("1")
    symbols = [_ALPHABET.find(char) for char in rest]
    if not separator or not prefix or len(symbols) < _CHECKSUM_SYMBOLS or -1 in symbols:
        raise ConfigurationError("key is not Bech32")
    return prefix, symbols


def _expanded(prefix: str) -> list[int]:
    return [ord(char) >> 5 for char in prefix] + [0] + [ord(char) & 31 for char in prefix]


def _remainder(symbols: Iterable[int]) -> int:
    """Return the BCH remainder over GF(32)."""
    state = 1
    for symbol in symbols:
        top = state >> 25
        state = (state & 0x1FFFFFF) << 5 ^ symbol
        for bit, generator in enumerate(_GENERATORS):
            if top >> bit & 1:
                state ^= generator
    return state


def _regroup(groups: Sequence[int], width: int, new_width: int) -> list[int]:
    """Cut a run of bits anew; the last group is padded with zeros when it widens into symbols."""
    total = len(groups) * width
    bits = 0
    for group in groups:
        bits = bits << width | group
    count = -(-total // new_width) if new_width < width else total // new_width
    shift = count * new_width - total
    bits = bits << shift if shift >= 0 else bits >> -shift
    mask = (1 << new_width) - 1
    return [bits >> new_width * (count - 1 - i) & mask for i in range(count)]
