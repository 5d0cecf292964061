"""The values that stand in configuration files, and what makes each of them right.

A message is shown behind the name of its key: lower case, no full stop, and it says what to write.
"""

import json
import re
from datetime import datetime, timedelta
from math import isfinite
from typing import Annotated
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, available_timezones

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    WithJsonSchema,
)

from drkeeper.app.config.document import plain_scalar
from drkeeper.app.config.problems import did_you_mean
from drkeeper.model.quantities import parse_duration, parse_size
from drkeeper.model.schedule import Schedule, parse_schedule
from drkeeper.model.windows import Window, parse_window

NAME = r"^[a-z0-9][a-z0-9._-]{0,62}$"
"""Names of policies and repositories: safe in file names, labels and commands."""

_CLOCK_TEXT = re.compile(r"([0-9]{1,2}):([0-9]{2})", re.ASCII)
_WALL = re.compile(
    r"(\d{4}-\d{2}-\d{2})(?:[Tt ](\d{2}:\d{2}(?::\d{2})?)\s?([Zz]|[+-]\d{2}:\d{2})?)?", re.ASCII
)
_ADDRESS = re.compile(r"[^@\s<>,;\"\\]{1,64}@[^@\s<>,;\"\\]{1,255}")
_PLAIN = re.compile(r"[A-Za-z0-9/_.=-]+", re.ASCII)
_LONGEST_TIMEOUT = timedelta(days=1)
_LAST_HOUR, _LAST_MINUTE = 23, 59
_LAST_PORT = 65535
_NO_ZONES = ("posix", "right/", "localtime", "Factory")
"""Files beside the zones that are none, or say the same with other rules for leap seconds."""
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


def _text(value: object) -> str:
    if not isinstance(value, str):
        shown = "nothing" if value is None else f"the {_kind(value)} {value}"
        raise ValueError(  # noqa: TRY004 - pydantic collects ValueError only
            f"expected text, found {shown}; write it with its unit, or in quotes"
        )
    return value


def _kind(value: object) -> str:
    return {bool: "truth value", int: "number", float: "number"}.get(type(value), "value")


def _duration(value: object) -> timedelta:
    duration = parse_duration(_text(value))
    if not duration:
        raise ValueError("a duration must be longer than nothing")
    return duration


def _size(value: object) -> int:
    return parse_size(_text(value))


class Bytes(int):
    """A number that was written as a size."""


def _bound(value: object) -> float:
    if isinstance(value, str):
        return Bytes(parse_size(value))
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise ValueError("expected a number, or a size such as 1 KiB")
    return value


def _rate(value: object) -> int:
    text = _text(value)
    number, slash, second = text.rpartition("/")
    if not slash or second.strip() != "s":
        raise ValueError(f"{text!r} is not a rate such as 20 MiB/s")
    return parse_size(number)


def _schedule(value: object) -> Schedule:
    return parse_schedule(_text(value))


def _drill_schedule(value: object) -> Schedule | None:
    return None if value == "never" else _schedule(value)


def _zone(name: str) -> str:
    try:
        # Asked first: the list of all zones takes 600 files to read.
        if name.startswith(_NO_ZONES):
            raise ValueError  # noqa: TRY301 - as if it could not be read
        ZoneInfo(name)
    except (OSError, ValueError, KeyError) as error:
        guess = did_you_mean(name, sorted(available_timezones() - {name}))
        raise ValueError(f"no time zone {name!r}{guess}") from error
    return name


def _path(text: str) -> str:
    if not text.startswith("/"):
        raise ValueError(f"{text!r} is not an absolute path; ~ and variables are not expanded")
    if "\0" in text:
        raise ValueError("a path cannot hold the character U+0000")
    if any(part in {".", ".."} for part in text.split("/")):
        raise ValueError(f"{text!r} has . or .. in it; write the path itself")
    return text


def _pattern(text: str) -> str:
    if not text.strip() or "\n" in text:
        raise ValueError("an empty pattern excludes nothing; leave it out")
    return text


def _store(text: str) -> str:
    if text.startswith("/"):
        return text
    parts = urlsplit(text)
    if parts.username or parts.password:
        raise ValueError("a store's URL must not hold credentials")
    if parts.scheme not in {"file", "s3"} or (parts.scheme == "s3" and not parts.netloc):
        raise ValueError("not a store: write /folder, file:///folder or s3://bucket/prefix")
    return text


def _until(value: object) -> datetime:
    text = _text(value)
    match = _WALL.fullmatch(text.strip())
    if match is None:
        raise ValueError(
            f"{text!r} is no instant; write 2026-12-24, 2026-12-24 14:30 (the policy's time zone) "
            "or 2026-12-24T13:30:00Z"
        )
    day, clock, offset = match.groups()
    try:
        return datetime.fromisoformat(f"{day}T{clock or '00:00'}{(offset or '').upper()}")
    except ValueError:
        raise ValueError(f"{text!r} is not in the calendar") from None


def _window(value: object) -> Window:
    return parse_window(_text(value))


def _clock(value: object) -> str:
    text = _text(value)
    match = _CLOCK_TEXT.fullmatch(text.strip())
    if match is None or int(match[1]) > _LAST_HOUR or int(match[2]) > _LAST_MINUTE:
        raise ValueError(f"{text!r} is not a time of day such as 07:30")
    return f"{int(match[1]):02d}:{match[2]}"


def _pace(value: object) -> timedelta | None:
    return None if value == "never" else _duration(value)


def _timeout(value: object) -> timedelta:
    duration = _duration(value)
    if duration > _LONGEST_TIMEOUT:
        raise ValueError("a command gets at most 1d")
    return duration


def _word(text: str) -> str:
    if "\0" in text:
        raise ValueError("a word of a command cannot hold the character U+0000")
    return text


def _command(words: list[str]) -> list[str]:
    program = words[0]
    if " " in program:
        raise ValueError(
            f"{program!r} has spaces, and no shell splits it; write a list of its words"
        )
    if not program.startswith("/") or program.endswith("/"):
        raise ValueError(f"{program!r} is not the absolute path of a program; PATH is not searched")
    _path(program)
    return words


def _one_command(words: list[str]) -> list[str]:
    """Take a plain list of words for one command.

    Raises:
        ValueError: It could be meant as several.
    """
    paths = [word for word in words[1:] if word.startswith("/")]
    if paths:
        raise ValueError(
            f"is this one command or are there several? Write [[{_listed(words)}]] for one, "
            f"or a list for each: [[{_listed(words[:1])}], [{_listed(paths[:1])}]]"
        )
    return _command(words)


def _listed(words: list[str]) -> str:
    """Write words as a list in YAML has them; JSON's quotes are YAML's."""
    return ", ".join(
        word
        if _PLAIN.fullmatch(word) and plain_scalar(word) == word
        else json.dumps(word, ensure_ascii=False)
        for word in words
    )


def _listen(value: object) -> str | None:
    text = _text(value).strip()
    if text == "none":
        return None
    if text.startswith("/"):
        return _path(text)
    host, colon, port = text.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    if not colon or not bare or (":" in bare) != (host != bare) or not port.isdecimal():
        raise ValueError(f"{text!r} is no address; write 127.0.0.1:8970, [::1]:8970, /path or none")
    if not 1 <= int(port) <= _LAST_PORT:
        raise ValueError(f"{port} is no port; write one from 1 to {_LAST_PORT}")
    return text


def _web_address(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("not an address that begins with https://")
    if parts.username or parts.password:
        raise ValueError("an address in this file must not hold credentials")
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        raise ValueError("plain http is for this machine only; write https://")
    return text


def check_web_address(text: str) -> str:
    """Return an address that is a secret, if it is one that may be called.

    Raises:
        ValueError: It is not; the message does not hold it.
    """
    return _web_address(text)


def _ledger(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme != "postgresql":
        raise ValueError("not a ledger: write postgresql://user@host/database, or leave it out")
    if parts.password or "password=" in parts.query:
        raise ValueError(
            "a password does not belong in this file; set DRKEEPER_LEDGER_PASSWORD_FILE"
        )
    return text


def _mail_address(text: str) -> str:
    if not _ADDRESS.fullmatch(text):
        raise ValueError(f"{text!r} is not an address of mail such as ops@example.org")
    return text


Duration = Annotated[
    timedelta,
    BeforeValidator(_duration),
    WithJsonSchema({"type": "string", "pattern": r"^([0-9]+\s*[smhdw]\s*)+$"}),
]
Timeout = Annotated[
    timedelta,
    BeforeValidator(_timeout),
    WithJsonSchema({"type": "string", "pattern": r"^([0-9]+\s*[smhdw]\s*)+$"}),
]
Size = Annotated[
    int,
    BeforeValidator(_size),
    WithJsonSchema(
        {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?\s*([KMGTPkmgtp][iI]?)?[bB]$"}
    ),
]
Bound = Annotated[
    float,
    PlainValidator(_bound),
    WithJsonSchema({"type": ["number", "string"]}),
]
"""A number; one that was written as a size is ``Bytes``."""
Rate = Annotated[
    int,
    BeforeValidator(_rate),
    Field(ge=16 * 1024),
    WithJsonSchema(
        {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?\s*([KMGTPkmgtp][iI]?)?[bB]\s*/\s*s$"}
    ),
]
ScheduleText = Annotated[
    Schedule,
    BeforeValidator(_schedule),
    WithJsonSchema(
        {
            "type": "string",
            "examples": ["hourly at :15", "daily at 02:30", "weekly on sun at 03:00", "every 6h"],
        }
    ),
]
DrillScheduleText = Annotated[
    Schedule | None,
    PlainValidator(_drill_schedule),
    WithJsonSchema(
        {"type": "string", "examples": ["weekly on sun at 05:00", "monthly on 1 at 04:00", "never"]}
    ),
]
Until = Annotated[
    datetime,
    BeforeValidator(_until),
    WithJsonSchema({"type": "string", "examples": ["2026-12-24", "2026-12-24 14:30"]}),
]
"""With its offset, or a wall clock in the policy's zone."""
WindowText = Annotated[
    Window,
    BeforeValidator(_window),
    WithJsonSchema(
        {"type": "string", "pattern": r"^\s*[0-9]{1,2}:[0-9]{2}\s*-\s*[0-9]{1,2}:[0-9]{2}\s*$"}
    ),
]
ClockText = Annotated[str, BeforeValidator(_clock)]
Pace = Annotated[timedelta | None, BeforeValidator(_pace)]
Word = Annotated[str, Field(max_length=4096), AfterValidator(_word)]
Command = Annotated[list[Word], Field(min_length=1, max_length=100), AfterValidator(_command)]
OneCommand = Annotated[
    list[Word], Field(min_length=1, max_length=100), AfterValidator(_one_command)
]
Listen = Annotated[str | None, BeforeValidator(_listen)]
WebAddress = Annotated[str, Field(max_length=2048), AfterValidator(_web_address)]
LedgerUrl = Annotated[str, Field(max_length=2048), AfterValidator(_ledger)]
MailAddress = Annotated[str, Field(max_length=320), AfterValidator(_mail_address)]
ZoneName = Annotated[str, AfterValidator(_zone)]
AbsolutePath = Annotated[str, Field(max_length=4096), AfterValidator(_path)]
Pattern = Annotated[str, Field(max_length=4096), AfterValidator(_pattern)]
Name = Annotated[str, Field(pattern=NAME)]
StoreUrl = Annotated[str, Field(max_length=2048), AfterValidator(_store)]
TagKey = Annotated[str, Field(pattern=NAME)]
Count = Annotated[int, Field(ge=0, le=100_000)]


class Strict(BaseModel):
    """A section that has its own keys and no others, each of exactly its type."""

    model_config = ConfigDict(
        arbitrary_types_allowed=True,  # the model's own: made by the validators here
        extra="forbid",
        strict=True,
        frozen=True,
        hide_input_in_errors=True,
        # A validator is made for what is checked, not for every section by itself.
        defer_build=True,
    )
