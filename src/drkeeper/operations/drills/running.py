"""Engines in scratch: from what a snapshot says to questions that were answered."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from drkeeper.clock import Clock
from drkeeper.errors import ScratchError, TargetError
from drkeeper.model.drill import Outcome, ProbeResult
from drkeeper.operations.restore.printable import printable
from drkeeper.repository.snapshot_root import SnapshotRoot
from drkeeper.scratch.base import Scratch
from drkeeper.sources.base import Probed, Ran, Recovery, RestoredTree, Running
from drkeeper.sources.sqlite.recovery import SqliteRecovery


def recovery_of(root: SnapshotRoot) -> Recovery | None:
    """Return how this kind of source comes back to life; ``None`` when its files are all there is.

    Raises:
        TargetError: This release cannot prove this kind.
        ConfigurationError: What the snapshot names is malformed.
    """
    if root.kind == "files":
        return None
    if root.kind == "sqlite":
        return SqliteRecovery(root.paths)
    raise TargetError(f"this release cannot prove a source of kind {root.kind!r}")


@dataclass(frozen=True, slots=True)
class ScratchRunner:
    """Runs a source's programs in scratch.

    Attributes:
        scratch: Where.
    """

    scratch: Scratch

    def run(self, argv: Sequence[str], *, timeout: timedelta) -> Ran:
        """Run one program to its end.

        Raises:
            ScratchError: It could not be started, a limit ended it, or it said too much to be kept.
        """
        # An engine opens what is its own, and puts files beside it while it does.
        ran = self.scratch.run(argv, timeout=timeout, writable=True)
        if ran.why:
            raise ScratchError(f"a program of the source ran out of {ran.why}")
        if ran.dropped_bytes:
            raise ScratchError("a program of the source said more than is kept")
        return Ran(-(ran.signal or 0) if ran.code is None else ran.code, ran.stdout, ran.stderr)


@dataclass(frozen=True, slots=True)
class Engine:
    """A kind of source, ready to be brought to life from restored files.

    Attributes:
        recovery: How.
        scratch: Where its programs run.
        clock: Measures.
    """

    recovery: Recovery
    scratch: Scratch
    clock: Clock

    @contextmanager
    def running(self, root: Path, consistent_at: datetime) -> Iterator[Running]:
        """Bring it to life; it is gone when the context ends.

        Raises:
            DrkeeperError: It did not start.
        """
        restored = RestoredTree(os.fsencode(root), consistent_at)
        self.recovery.rebuild(restored)
        with self.recovery.start(restored, ScratchRunner(self.scratch)) as running:
            yield running

    def ask(self, running: Running) -> Iterator[ProbeResult]:
        """Ask everything that its kind can be asked.

        Raises:
            DrkeeperError: The scratch environment broke.
        """
        begun_s = self.clock.monotonic()
        for probed in running.probe():
            now_s = self.clock.monotonic()
            yield _result(probed, timedelta(seconds=now_s - begun_s))
            begun_s = now_s


def _result(probed: Probed, took: timedelta) -> ProbeResult:
    return ProbeResult(
        name=f"{probed.name} {printable(b'/' + probed.subject)}",
        kind="engine",
        outcome=Outcome.PASSED if probed.passed else Outcome.FAILED,
        expected=probed.expected,
        found=probed.found,
        took=took,
    )
