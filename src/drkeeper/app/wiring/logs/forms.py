"""How one event becomes one line: JSON for programs, text for people, text with a level for journald.

In every form an event is exactly one line of bounded length, however its fields were made.
"""

import json
from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from drkeeper.app.wiring.logs.escaping import escaped

LONGEST_LINE: Final = 16 * 1024
"""Bytes of the longest line: below journald's LineMax= of 48 KiB, and much more than is read."""
LONGEST_TEXT: Final = 4 * 1024
"""Characters of the longest text within a field; an exception may have twice as many."""
_CUT: Final = " [cut]"
_FIRST: Final = ("event", "policy", "run")
"""Fields that come first, for eyes that run down a column."""
_HEAD: Final = ("timestamp", "level", *_FIRST)
_APART: Final = frozenset(_HEAD)
_EVENT_WIDTH: Final = 28

PRIORITIES: Final = {"critical": 2, "error": 3, "warning": 4, "info": 6, "debug": 7}
"""Source: sd-daemon(3), syslog(3)."""


class Form(StrEnum):
    """What a line looks like."""

    JSON = "json"
    CONSOLE = "console"
    JOURNAL = "journal"


def line_of(fields: Mapping[str, object], form: Form) -> str:
    """Return one event as one line.

    Args:
        fields: ``event``, ``level``, ``timestamp`` and whatever else; of plain types, redacted.
        form: What it shall look like.
    """
    if form is Form.JSON:
        return _json(fields)
    level = str(fields.get("level", "info"))
    words = [
        f"{escaped(name)}={_text(value)}" for name, value in _ordered(fields) if name != "event"
    ]
    event = escaped(_cut(str(fields.get("event", ""))))
    if form is Form.JOURNAL:
        # journald knows the time, the process and the unit; the rest is searched as text.
        return _bounded(f"<{PRIORITIES.get(level, 6)}>{' '.join([event, *words])}")
    stamp = escaped(str(fields.get("timestamp", "")))
    return _bounded(f"{stamp} {level:<8} {event:<{_EVENT_WIDTH}} {' '.join(words)}".rstrip())


def _json(fields: Mapping[str, object]) -> str:
    shown = {name: _short(fields[name]) for name in _HEAD if name in fields}
    line = _dumped(shown | {name: _short(value) for name, value in fields.items()})
    if len(line) <= LONGEST_LINE:
        return line
    # Half a JSON object is none: keep what says who and when, and a piece of the rest.
    kept = {name: fields[name] for name in _HEAD if name in fields}
    rest = _dumped({name: value for name, value in fields.items() if name not in _APART})
    return _dumped({**{name: _cut(str(value), 512) for name, value in kept.items()},
                    "cut": _cut(rest, LONGEST_TEXT)})  # fmt: skip


def _dumped(fields: Mapping[str, object]) -> str:
    # ASCII only: no character of any alphabet can disturb who reads the line, and the bytes are known.
    return json.dumps(fields, ensure_ascii=True, separators=(",", ":"), default=str, allow_nan=True)


def _short(value: object) -> object:
    match value:
        case str():
            return _cut(value)
        case dict():
            return {name: _short(one) for name, one in value.items()}
        case list():
            return [_short(one) for one in value]
        case _:
            return value


def _ordered(fields: Mapping[str, object]) -> list[tuple[str, object]]:
    first = [(name, fields[name]) for name in _FIRST if name in fields]
    return first + [(name, value) for name, value in fields.items() if name not in _APART]


def _text(value: object) -> str:
    text = value if isinstance(value, str) else _dumped_text(value)
    text = escaped(_cut(text))
    if not text or any(char in text for char in ' "='):
        return '"' + text.replace('"', '\\"') + '"'
    return text


def _dumped_text(value: object) -> str:
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)


def _cut(text: str, most: int = LONGEST_TEXT) -> str:
    # Both ends of what is too long: the beginning says what it is, the end of a traceback why.
    if len(text) <= most:
        return text
    return f"{text[: most // 2]}{_CUT} {text[-most // 2 :]}"


def _bounded(line: str) -> str:
    data = line.encode("utf-8", "backslashreplace")
    if len(data) <= LONGEST_LINE:
        return line
    return data[: LONGEST_LINE - len(_CUT)].decode("utf-8", "ignore") + _CUT
