"""Doing a restore, from beginning to end."""

import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import NamedTuple

from drkeeper.errors import (
    IntegrityError,
    NoSpaceError,
    TargetError,
)
from drkeeper.faults import point
from drkeeper.heap import share_one_heap
from drkeeper.operations.progress import OnProgress, Progress, Ticker, ignore
from drkeeper.operations.restore import marker as markers, syscalls
from drkeeper.operations.restore.means import Manner, Means
from drkeeper.operations.restore.metadata import Metadata
from drkeeper.operations.restore.planning import admit, decides_for, estimate, tell_damage
from drkeeper.operations.restore.report import (
    RestoreReport,
    Severity,
    Tally,
    raise_for,
)
from drkeeper.operations.restore.request import Overwrite, RestoreRequest
from drkeeper.operations.restore.rights import Owners, Rights
from drkeeper.operations.restore.small import Written
from drkeeper.operations.restore.target import Target
from drkeeper.operations.restore.tree import Tree
from drkeeper.operations.restore.verify import Verifier
from drkeeper.operations.restore.work import Kind, Manifest, Planner, Work
from drkeeper.repository.fetch import Batch, Fetcher

_AHEAD = 2
"""Batches being fetched while one is written, and the one before completed."""


def restore(request: RestoreRequest, on_progress: OnProgress = ignore) -> RestoreReport:
    """Restore; return what was done only if all of it was done and read back.

    Killed at any moment, it leaves files that are as before or as in the snapshot, and the same
    request continues. What can be restored is restored also when something else is damaged; the
    error then carries the report as ``context["report"]``.

    Raises:
        TargetError: The target cannot be used, or some paths could not be restored.
        NoSpaceError: The target is too small, or became full.
        IntegrityError: The repository lacks or has damaged some of what is needed.
        VerificationError: Something was read back and is not what was written.
        KeyNotFoundError: No identity at hand opens the data.
        StorageError: The store refused or did not answer.
    """
    _check(request)
    with ExitStack() as stack:
        run = _Run(request, stack, on_progress)
        run.prepare()
        run.fill()
        run.complete()
        report = run.report()
    raise_for(report)
    return report


def _check(request: RestoreRequest) -> None:
    if (request.in_place or request.delete) and not request.confirmed:
        raise TargetError(
            "replacing files of a live tree needs a confirmation",
            hint="Add --yes, or restore to a new directory with --to.",
        )
    if request.delete:
        if not request.paths and os.path.realpath(request.target) == b"/":
            raise TargetError(
                "will not delete in the whole file system",
                hint="Name the directories to restore.",
            )
        if not request.reader.commit.complete:
            raise TargetError(
                "will not delete by a partial snapshot",
                hint="Choose a complete snapshot, or leave --delete out.",
            )


class _Applied(NamedTuple):
    """A batch whose small files other threads may still be writing."""

    work: Work
    batch: Batch
    handed: list[Future[Written]]


class _Run:
    """One restore from beginning to end."""

    def __init__(self, request: RestoreRequest, stack: ExitStack, on_progress: OnProgress) -> None:
        self._request = request
        self._stack = stack
        self._on_progress = on_progress
        self._clock = request.clock
        self._tally = Tally()
        self._seconds: dict[str, float] = {}
        self._phase_at = self._clock.monotonic()
        self._ticker = Ticker(self._clock)
        self._units = 0
        self._content_bytes = 0
        self._resumed = False
        self._fetched = 0

    def prepare(self) -> None:
        """Read the manifest once, open the target, and make sure that all will fit.

        Raises:
            NoSpaceError: The target is too small.
        """
        request = self._request
        share_one_heap()
        self._pool = self._stack.enter_context(ThreadPoolExecutor(request.workers))
        self._manifest = Manifest(request.reader, request.paths, self._pool)
        _ = request.reader.root
        self._target = self._stack.enter_context(Target.open(request.target))
        overwrite, self._resumed = admit(request, self._target)
        self._plan, self._damage_told = estimate(request, self._manifest, self._target, self._tally)
        if self._plan.space_bytes > self._plan.free_bytes:
            raise NoSpaceError(
                f"restoring needs {self._plan.space_bytes} bytes, "
                f"the target has {self._plan.free_bytes}",
                hint="Make room, or restore to another file system.",
            )
        self._decides = decides_for(request, self._target, overwrite)
        self._stack.callback(self._decides.close)
        rights = Rights.of_process(privileged=request.privileged)
        accessed_ns = int(self._clock.now().timestamp()) * 1_000_000_000
        metadata = Metadata(rights, self._tally, accessed_ns=accessed_ns)
        self._verifier = Verifier(rights, self._tally)
        self._stack.callback(self._verifier.close)
        self._marker = markers.Marker(self._target, markers.find(self._target))
        self._marker.write(request.reader.commit.digest, needed=not request.in_place)
        manner = Manner(
            replaces=overwrite not in {None, Overwrite.NEVER},
            deletes=request.delete and not self._plan.damaged,
            keeps_parents=request.in_place or (bool(request.paths) and not self._target.fresh),
            verifies=request.verify,
        )
        means = Means(
            target=self._target,
            manner=manner,
            rights=rights,
            metadata=metadata,
            verifier=self._verifier,
            marker=self._marker,
            tally=self._tally,
        )
        self._tree = Tree(means)
        self._stack.callback(self._tree.abandon)
        self._phase("plan")

    def _on_damage(self, path: bytes, error: IntegrityError) -> None:
        """Tell of a piece of the manifest that cannot be read, unless the plan has done so."""
        if not self._damage_told:
            tell_damage(self._tally, path, error)

    def fill(self) -> None:
        """Fetch and write everything.

        Raises:
            TargetError: It was cancelled.
        """
        request = self._request
        planner = Planner(self._decides, Owners(numeric=request.numeric_ids), request.batch_bytes)
        works = planner.batches(self._manifest.found(self._on_damage))
        with request.reader.fetcher(request.workers) as fetcher:
            begun: deque[tuple[Work, Batch]] = deque()
            applied: deque[_Applied] = deque()
            while self._begin(begun, works, fetcher):
                work, batch = begun.popleft()
                applied.append(_Applied(work, batch, self._tree.apply(work.units, batch)))
                if len(applied) > 1:
                    self._settle(applied.popleft(), fetcher)
                if request.cancelled():
                    raise TargetError(
                        "restore was cancelled",
                        hint="Run the same command again to continue.",
                    )
            while applied:
                self._settle(applied.popleft(), fetcher)
        self._tree.finish()
        self._phase("restore")

    def _settle(self, done: "_Applied", fetcher: Fetcher) -> None:
        """Wait until nobody needs the chunks of a batch any more, and give them back.

        Raises:
            NoSpaceError: The target is full.
            TargetError: The target broke.
        """
        self._tree.settle(done.handed)
        done.batch.release()
        units = done.work.units
        self._units += sum(unit.last for unit in units)
        # Also what was left alone or could not be restored: nobody has to wait for it.
        self._content_bytes += sum(
            sum(unit.extents[2::3]) for unit in units if unit.kind != Kind.LINK
        )
        self._fetched = fetcher.stored_bytes
        self._tell("restore", units[-1].entry.path)

    def _begin(
        self, begun: "deque[tuple[Work, Batch]]", works: Iterator[Work], fetcher: Fetcher
    ) -> bool:
        while len(begun) <= _AHEAD:
            work = next(works, None)
            if work is None:
                break
            begun.append((work, fetcher.begin(work.needed.values())))
        return bool(begun)

    def complete(self) -> None:
        """Make everything durable, then take the note away.

        Raises:
            TargetError: The disk did not take what it had accepted.
        """
        if self._request.verify:
            self._verifier.wait()
            self._phase("verify")
        self._tell("sync", b"", force=True)
        try:
            point("operations.restore.sync")
            for fd in self._tree.devices.values():
                syscalls.syncfs(fd)
            point("operations.restore.synced")
        except OSError as error:
            raise TargetError(f"target could not be made durable: {error.strerror}") from error
        self._tree.flags.apply()
        self._marker.remove()
        self._phase("sync")

    def report(self) -> RestoreReport:
        """Return what was done."""
        tally = self._tally
        return RestoreReport(
            plan=self._plan,
            files=tally.files,
            directories=tally.directories,
            others=tally.others,
            unchanged=tally.unchanged,
            skipped=tally.skipped,
            removed=tally.removed,
            plain_bytes=tally.plain_bytes,
            kept_bytes=tally.kept_bytes,
            fetched_bytes=self._fetched,
            verified=self._request.verify and not tally.counts[Severity.DIFFERS],
            resumed=self._resumed,
            seconds=dict(self._seconds),
            problems=tuple(tally.problems),
            counts=dict(tally.counts),
        )

    def _phase(self, name: str) -> None:
        now = self._clock.monotonic()
        self._seconds[name] = now - self._phase_at
        self._phase_at = now
        if name == "plan":
            self._tell("restore", b"", force=True)

    def _tell(self, phase: str, path: bytes, *, force: bool = False) -> None:
        if not force and not self._ticker.due():
            return
        self._on_progress(
            Progress(
                phase,
                files=self._units,
                files_total=self._plan.files,
                plain_bytes=self._content_bytes,
                plain_total=self._plan.plain_bytes,
                stored_bytes=self._fetched,
                current_path=path,
            )
        )
