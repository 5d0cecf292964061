"""Text for terminals: names of any bytes made harmless, numbers made readable."""

import os
import re
import shlex
import textwrap
from collections.abc import Sequence
from datetime import datetime, timedelta, tzinfo
from typing import Final

from drkeeper.model.instants import local_text

WIDTH: Final = 80
"""Columns of a screen that everybody has."""
_THIS_WEEK: Final = timedelta(days=6)

_UNSAFE = re.compile(
    # Controls; separators and marks that move or reorder what is seen; bytes that are no UTF-8.
    "[\x00-\x1f\x7f-\x9f\\\\\u00ad\u061c\u115f\u1160\u180e\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e0fff]"
)


def safe(text: str) -> str:
    r"""Return ``text`` with everything that could command a terminal as ``\x1b`` or ``\u202e``."""
    return _UNSAFE.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    if match[0] == "\\":
        return "\\\\"
    if 0xDC80 <= code <= 0xDCFF:  # noqa: PLR2004 - PEP 383: a byte that is no UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"  # noqa: PLR2004 - one byte


def safe_path(path: bytes) -> str:
    """Return a path of a snapshot for people: with its leading slash, harmless."""
    return safe("/" + path.decode(errors="surrogateescape"))


def path_from_user(text: str) -> bytes:
    """Return a path as snapshots hold it from what somebody typed: any bytes, single slashes."""
    parts = os.fsencode(text).split(b"/")
    return b"/".join(part for part in parts if part not in {b"", b"."})


def json_path(path: bytes) -> dict[str, str]:
    """Return the fields that carry a path in JSON: ``path``, and ``path_hex`` if it is no UTF-8."""
    try:
        return {"path": "/" + path.decode()}
    except UnicodeDecodeError:
        return {"path": "/" + path.decode(errors="replace"), "path_hex": path.hex()}


def command_line(words: Sequence[str]) -> str:
    """Return words as one line to paste into a shell."""
    return shlex.join(words)


def table(rows: Sequence[Sequence[str]], *, right: frozenset[int] = frozenset()) -> list[str]:
    """Align rows in columns two spaces apart; columns in ``right`` are aligned to the right."""
    if not rows:
        return []
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if index in right else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines


_COMMAND = re.compile(r"\b(?:drkeeper|systemctl|journalctl|kill) .*?(?=[,;]|\.(?: |$)|$)")
_SENTENCES = re.compile(r"(?<=\.) (?=[A-Z])")
_NO_BREAK = "\xa0"


def paragraph(text: str, *, first: str = "") -> list[str]:
    """Break ``text`` into lines of a screen, further ones indented; commands are never broken."""
    kept = _COMMAND.sub(lambda match: match[0].replace(" ", _NO_BREAK), text)
    lines = textwrap.wrap(
        kept,
        WIDTH,
        initial_indent=first,
        subsequent_indent="  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace(_NO_BREAK, " ") for line in lines]


def sentences(text: str) -> list[str]:
    """Break a hint into its sentences, each on lines of its own, indented."""
    return [line for part in _SENTENCES.split(text) for line in paragraph(part, first="  ")]


def moment(instant: datetime, zone: tzinfo) -> str:
    """Write an instant to the second, with its zone."""
    return local_text(instant, zone)


def brief(instant: datetime, now: datetime, zone: tzinfo) -> str:
    """Write an instant shortly: ``02:31 CET`` today, ``Sat 02:31 CET`` this week, else the day."""
    local, today = instant.astimezone(zone), now.astimezone(zone)
    if local.date() == today.date():
        return f"{local.hour:02}:{local.minute:02} {local.tzname()}"
    if abs(local - today) < _THIS_WEEK:
        return f"{_DAYS[local.weekday()]} {local.hour:02}:{local.minute:02} {local.tzname()}"
    return f"{local:%Y-%m-%d}"


_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
