"""Names of any bytes, made safe to show."""

import unicodedata

_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Categories that move the cursor, reorder, hide or cannot be drawn.

Source:
    Unicode Standard, table 4-4 (general category); CVE-2021-42574 for the bidirectional controls.
"""


def printable(path: bytes) -> str:
    r"""Return ``path`` as text that a terminal or a log shows as it is.

    Bytes that are not UTF-8, control characters, line ends and characters that hide or reorder
    others become backslash escapes; a backslash is doubled, so that the answer is unambiguous.
    """
    text = path.decode("utf-8", "surrogateescape")
    if text.isascii() and text.isprintable() and "\\" not in text:
        return text
    return "".join(_shown(character) for character in text)


def _shown(character: str) -> str:
    number = ord(character)
    if character == "\\":
        return "\\\\"
    if 0xDC80 <= number <= 0xDCFF:  # noqa: PLR2004 - PEP 383: a byte that is not UTF-8
        return f"\\x{number - 0xDC00:02x}"
    if unicodedata.category(character) not in _UNSAFE:
        return character
    if number < 0x80:  # noqa: PLR2004 - the end of ASCII
        return {"\n": "\\n", "\t": "\\t", "\r": "\\r"}.get(character, f"\\x{number:02x}")
    return f"\\u{number:04x}" if number <= 0xFFFF else f"\\U{number:08x}"  # noqa: PLR2004 - the end of the basic plane
