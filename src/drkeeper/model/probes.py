"""What a policy asks of its restored data, and whether an answer is the right one.

Pure: who asks is elsewhere. An answer is text, as a program writes it; whatever it was, it is judged, and
never an error.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from math import isfinite
from typing import Final

import msgspec

from drkeeper.model.instants import rfc3339
from drkeeper.model.quantities import format_duration, format_size
from drkeeper.model.schedule import Schedule

RESTORED: Final = "{restored}"
"""In a word of a command: where the restored data is."""

TIMEOUT: Final = timedelta(minutes=5)
"""How long a question may take, unless it says otherwise. Source: as hooks have."""

_NUMBER: Final = re.compile(r"[-+]?[0-9]{1,300}(\.[0-9]{1,300})?([eE][-+]?[0-9]{1,3})?", re.ASCII)
_SHOWN: Final = 100  # characters of an answer in a result
_TOO_FAR_S: Final = 253_402_300_800.0
"""Seconds to the year 10000, which no instant reaches."""


class Wanted(msgspec.Struct, frozen=True):
    """Which answers are right; all that is given must hold.

    Attributes:
        expect: The answer itself, without space around it.
        least: Smallest number.
        most: Greatest number.
        max_age: The answer is an instant, and at the declaration at most this old.
    """

    expect: str | None = None
    least: float | None = None
    most: float | None = None
    max_age: timedelta | None = None

    @property
    def is_anything(self) -> bool:
        """Whether every answer is right."""
        return self == ANYTHING

    def in_words(self) -> str:
        """Say which answers are right."""
        return ", ".join(self._words()) or "anything"

    def _words(self) -> Iterator[str]:
        if self.expect is not None:
            yield shown(self.expect)
        if self.least is not None:
            yield f"at least {self.least:.17g}"
        if self.most is not None:
            yield f"at most {self.most:.17g}"
        if self.max_age is not None:
            yield f"at most {format_duration(self.max_age)} old"

    def judge(self, answer: str, declared_at: datetime) -> tuple[bool, str]:
        """Return whether ``answer`` is right, and the answer in words.

        An instant in the future is not old; it is shown, and a wrong clock must not fail a drill.
        """
        text = answer.strip()
        said = shown(text) or "nothing"
        right = self.expect is None or text == self.expect.strip()
        if self.least is not None or self.most is not None:
            number = number_of(text)
            if number is None:
                return False, f"{said}, which is no number"
            right = right and (self.least is None or number >= self.least)
            right = right and (self.most is None or number <= self.most)
        if self.max_age is not None:
            instant = instant_of_answer(text)
            if instant is None:
                return False, f"{said}, which is no instant"
            age = declared_at - instant
            said = f"{rfc3339(instant)}, {format_duration(age)} old"
            right = right and age <= self.max_age
        return right, said


ANYTHING: Final = Wanted()


def number_of(text: str) -> float | None:
    """Return the number that ``text`` is; ``None`` when it is none."""
    if not _NUMBER.fullmatch(text):
        return None
    number = float(text)
    return number if isfinite(number) else None


def instant_of_answer(text: str) -> datetime | None:
    """Return the instant that ``text`` is, as databases write them; ``None`` when it is none.

    Seconds since 1970, or ISO 8601; without an offset, in UTC, as SQLite's own functions have it.
    """
    seconds = number_of(text)
    if seconds is not None:
        if not 0 <= seconds < _TOO_FAR_S:
            return None
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    try:
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def shown(text: str) -> str:
    """Shorten an answer, and put it on one line."""
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN else line[:_SHOWN] + "..."


class CommandProbe(msgspec.Struct, frozen=True):
    """A program that looks at the restored data.

    Attributes:
        name: Unique in the policy.
        command: Program and arguments; ``{restored}`` in a word is where the data is.
        exit: The exit status that is right.
        wanted: Which output is right.
        timeout: How long it may take.
    """

    name: str
    command: tuple[str, ...]
    exit: int = 0
    wanted: Wanted = ANYTHING
    timeout: timedelta = TIMEOUT

    @property
    def kind(self) -> str:
        """The word for it in policies and results."""
        return "command"

    def in_words(self) -> str:
        """Say what is right."""
        said = "" if self.wanted.is_anything else f", output {self.wanted.in_words()}"
        return f"exit {self.exit}{said}"


class SqlProbe(msgspec.Struct, frozen=True):
    """A question to a restored SQLite database.

    Attributes:
        name: Unique in the policy.
        query: One statement; the first column of its first row is the answer.
        database: Absolute path of the database, as the policy names it.
        wanted: Which answers are right.
        timeout: How long it may take.
    """

    name: str
    query: str
    database: str
    wanted: Wanted
    timeout: timedelta = TIMEOUT

    @property
    def kind(self) -> str:
        """The word for it in policies and results."""
        return "sql"

    def in_words(self) -> str:
        """Say what is right."""
        return self.wanted.in_words()


class FileProbe(msgspec.Struct, frozen=True):
    """A restored file.

    Attributes:
        name: Unique in the policy.
        path: Absolute, as at the source.
        exists: Whether it has to be there, as a regular file.
        least_bytes: Its smallest length.
        most_bytes: Its greatest length.
        digest: ``sha256:...`` or ``blake3:...`` of its content, hexadecimal.
        max_age: At the declaration, its last change is at most this old.
    """

    name: str
    path: str
    exists: bool = True
    least_bytes: int | None = None
    most_bytes: int | None = None
    digest: str | None = None
    max_age: timedelta | None = None

    @property
    def kind(self) -> str:
        """The word for it in policies and results."""
        return "file"

    def in_words(self) -> str:
        """Say what is right."""
        if not self.exists:
            return "not there"
        words = ["there"]
        if self.least_bytes is not None:
            words.append(f"at least {format_size(self.least_bytes)}")
        if self.most_bytes is not None:
            words.append(f"at most {format_size(self.most_bytes)}")
        if self.digest is not None:
            words.append(self.digest)
        if self.max_age is not None:
            words.append(f"changed at most {format_duration(self.max_age)} before")
        return ", ".join(words)


class Probes(msgspec.Struct, frozen=True):
    """All that a policy asks.

    Attributes:
        commands: Programs.
        queries: Questions to databases.
        files: Files.
    """

    commands: tuple[CommandProbe, ...] = ()
    queries: tuple[SqlProbe, ...] = ()
    files: tuple[FileProbe, ...] = ()

    def __iter__(self) -> Iterator[CommandProbe | SqlProbe | FileProbe]:
        yield from self.files
        yield from self.queries
        yield from self.commands

    def __len__(self) -> int:
        return len(self.commands) + len(self.queries) + len(self.files)


NO_PROBES: Final = Probes()


class DrillTerms(msgspec.Struct, frozen=True):
    """How a policy wants to be drilled.

    Attributes:
        probes: What it asks of its restored data, beyond what is always asked.
        scratch: Directory below which it is restored; ``None`` for the cache folder.
        memory_bytes: Most memory of one program in scratch.
        longest: Longest time of one program in scratch.
        processes: Most processes of one program in scratch.
        schedule: When the daemon drills it; ``None`` for only by hand.
        promised: Whether somebody wrote that schedule down, so that a first drill can be missed.
        readable: Files and directories that commands may read, beside the system's programs.
        bare: When the daemon drills it from store and kit alone; ``None`` for only by hand.
        kit: The recovery kit's file, for bare drills by the daemon.
    """

    probes: Probes = msgspec.field(default_factory=Probes)
    scratch: str | None = None
    memory_bytes: int = 2 * 1024**3
    longest: timedelta = timedelta(hours=6)
    processes: int = 256
    schedule: Schedule | None = None
    promised: bool = False
    readable: tuple[str, ...] = ()
    bare: Schedule | None = None
    kit: str | None = None
