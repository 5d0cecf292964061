r"""Text that cannot command the terminal, or the log, in which it is read.

File names, error texts of servers and output of children are other people's bytes: a line feed in
one would forge a whole line of the log, an escape sequence would repaint the screen.
"""

import re
from typing import Final

_UNSAFE: Final = re.compile(
    # Controls; separators and marks that move or reorder what is seen; halves of characters.
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e0fff]"
)
_SHORT: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_LAST_BYTE: Final = 0xFF
_LAST_PLANE_0: Final = 0xFFFF


def escaped(text: str) -> str:
    r"""Return ``text`` with every character that is not for reading as ``\n`` or ``\x1b``."""
    return _UNSAFE.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code > _LAST_PLANE_0:
        return f"\\U{code:08x}"
    return _SHORT.get(match[0]) or (f"\\x{code:02x}" if code <= _LAST_BYTE else f"\\u{code:04x}")
