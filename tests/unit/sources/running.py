"""Running the files source over a tree, and what came out of it."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from doubles.sinks import KeepingSink
from drkeeper.model.entry import Entry
from drkeeper.sources.base import Candidate, Finding
from drkeeper.sources.files import FilesSource, FilesSpec

NOBODY = 65534


class LateClock:
    """Says that it is ten minutes later than it is, so that no file is young."""

    def __init__(self, ahead: timedelta = timedelta(minutes=10)) -> None:
        self.ahead = ahead

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def monotonic(self) -> float:
        raise NotImplementedError

    def sleep(self, seconds: float) -> None:
        raise NotImplementedError


@dataclass
class Saved:
    """What one run over a source gave."""

    base: bytes
    entries: dict[bytes, Entry] = field(default_factory=dict)
    data: dict[bytes, bytes] = field(default_factory=dict)
    order: list[bytes] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def __getitem__(self, name: bytes) -> Entry:
        return self.entries[self.base + b"/" + name]

    def names(self) -> list[bytes]:
        """Everything below the base, in the order of the walk."""
        begin = self.base + b"/"
        return [path.removeprefix(begin) for path in self.order if path.startswith(begin)]

    def codes(self) -> list[tuple[str, bytes]]:
        begin = self.base + b"/"
        return [(found.code, found.path.removeprefix(begin)) for found in self.findings]


def save(
    base: Path | bytes,
    *,
    sink: KeepingSink | None = None,
    clock: LateClock | None = None,
    before_capture: Callable[[Candidate], None] | None = None,
    **fields: object,
) -> Saved:
    """Walk and capture one tree."""
    base = os.fsencode(base)
    spec = FilesSpec(**{"paths": (base,), **fields})
    saved = Saved(base.strip(b"/"))
    sink = sink or KeepingSink()
    with FilesSource(spec, clock=clock or LateClock()).freeze(saved.findings.append) as view:
        for batch in view.walk():
            for candidate in batch:
                if before_capture is not None:
                    before_capture(candidate)
                captured = view.capture(candidate, sink)
                if captured is not None:
                    saved.entries[candidate.path] = captured.entry
                    saved.order.append(candidate.path)
                    if captured.content is not None:
                        saved.data[candidate.path] = captured.content.data
    return saved


@contextmanager
def unprivileged() -> Iterator[None]:
    """Be nobody for a while; a test that is not run by root is nobody enough already."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
