"""Files of very many extents, from a source that makes them up."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import takewhile
from pathlib import Path

import pytest

from doubles.backups import Machine, new_machine
from drkeeper.model.entry import Entry, EntryFlag
from drkeeper.repository.content import StoredContent
from drkeeper.sources.base import Candidate, Captured, Consistency

CHUNK = 4 * 1024 * 1024
EXTENTS = 9000


class NoNames:
    """Nobody has a name."""

    def user(self, _uid: int) -> str:
        return ""

    def group(self, _gid: int) -> str:
        return ""


class HugeView:
    """Three files, the middle one of 36 GB of zeros, of which one chunk is really given."""

    consistent_at = datetime(2026, 11, 21, tzinfo=UTC)
    consistency = Consistency.NONE
    owners = NoNames()

    def __init__(self, changed: bytes) -> None:
        self.changed = changed

    def walk(self) -> Iterator[list[Candidate]]:
        status = os.stat("/")
        yield [Candidate(path, status, None) for path in (b"a", b"huge", b"z")]

    def unchanged(self, candidates: list[Candidate], old: list[Entry]) -> int:
        pairs = zip(candidates, old, strict=False)
        same = (one.path == two.path and one.path not in self.changed.split() for one, two in pairs)
        return sum(takewhile(bool, same))

    def capture(self, candidate: Candidate, sink: object) -> Captured:
        if candidate.path != b"huge":
            content = sink.small(candidate.path * 100)
        else:
            stream = sink.stream()
            stream.buffer()[:CHUNK] = bytes(CHUNK)
            stream.filled(CHUNK)
            one = stream.end()
            content = StoredContent(one.digest, CHUNK * EXTENTS)
            content.extents = one.extents * EXTENTS
        facts = (0, 0o644, 0, 0, 0, 0, 1, 1, 1, content.plain_bytes, content.digest)
        return Captured(Entry(candidate.path, *facts), content)


class HugeSource:
    """Gives the view above."""

    kind = "files"

    def __init__(self, changed: bytes = b"") -> None:
        self.changed = changed

    @contextmanager
    def freeze(self, _report: object) -> Iterator[HugeView]:
        yield HugeView(self.changed)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return new_machine(tmp_path)


def entries_of(machine: Machine, report: object) -> list[Entry]:
    return [entry for piece in machine.snapshot(report.commit).pieces() for entry in piece.entries]


def test_a_file_of_very_many_extents_is_continued(machine):
    """No entry has more than 4096 extents; the rest follows under the same path, over pieces."""
    report = machine.back_up(source=HugeSource())
    entries = entries_of(machine, report)
    assert [entry.path for entry in entries] == [b"a", b"huge", b"huge", b"huge", b"z"]
    flags = [bool(entry.extra.flags & EntryFlag.CONTINUED) for entry in entries]
    assert flags == [False, True, True, False, False]
    assert sum(len(entry.extents) for entry in entries[1:4]) == 3 * EXTENTS
    assert entries[1].size == CHUNK * EXTENTS
    assert report.tally.files == 3


@pytest.mark.parametrize("changed", [b"", b"a", b"z", b"huge", b"a huge z"])
def test_a_continued_file_is_kept_or_read_as_one(machine, changed):
    """Whatever changes around it, or in it, the next snapshot has it once and whole."""
    first = machine.back_up(source=HugeSource())
    second = machine.back_up(source=HugeSource(changed))
    assert entries_of(machine, second) == entries_of(machine, first)
    assert second.tally.files_changed == len(changed.split())
    assert second.tally.files_unchanged == 3 - len(changed.split())
    assert second.tally.plain_bytes == first.tally.plain_bytes
    assert second.new_bytes == 0
