"""A drill from the declaration to the tear-down; see docs/drills.md.

However it goes, it ends with what was measured and found: that is what a drill is for.
"""

import os
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from drkeeper.crypto.sampling import sample_seed
from drkeeper.errors import DrkeeperError, LedgerError, NoSpaceError, ScratchError, TargetError
from drkeeper.faults import point
from drkeeper.model.drill import (
    ControlResult,
    Outcome,
    Phase,
    ProbeResult,
    Stopwatch,
    achieved_rpo,
)
from drkeeper.model.drill_record import DrillEnd, Restored
from drkeeper.model.prediction import score
from drkeeper.operations.drills.comparing import Comparison
from drkeeper.operations.drills.controls import Controls
from drkeeper.operations.drills.expecting import Expected
from drkeeper.operations.drills.probing import Questions
from drkeeper.operations.drills.request import DrillRequest
from drkeeper.operations.drills.running import Engine, recovery_of
from drkeeper.operations.progress import Progress
from drkeeper.operations.restore import RestoreReport, RestoreRequest, restore
from drkeeper.operations.restore.rights import Rights
from drkeeper.repository.commit import Commit
from drkeeper.repository.reader import SnapshotReader
from drkeeper.scratch.base import Scratch
from drkeeper.sources.base import Running

ROOM: Final = 1.2
"""How much room a drill takes in scratch, as a multiple of what is restored. Source: ours; metadata,
and what engines and probes write."""

_ENVIRONMENT: Final = (ScratchError, NoSpaceError, TargetError)
"""What says nothing about the backup: the restore got its data, and had no place to put it."""


class Performance:
    """One drill, and what it has come to so far."""

    def __init__(self, request: DrillRequest) -> None:
        self._request = request
        self._clock = request.clock
        self._watch: Stopwatch | None = None
        self._scratch = ""
        self._point: Restored | None = None
        self._restored = False
        self._failure = ""
        self._scratch_failure = ""
        self._expected_end = ""
        self._reached_end = ""
        self._probes: list[ProbeResult] = []
        self._controls: list[ControlResult] = []
        self._rpo: timedelta | None = None
        self._detail: dict[str, object] = {}
        self._lossy: Callable[[bytes], bool] = lambda _path: False

    def run(self) -> None:
        """Do it; what goes wrong is a part of how it ended.

        Raises:
            LedgerError: The declaration could not be recorded, so nothing was begun.
        """
        with ExitStack() as stack:
            try:
                self._work(stack)
            except LedgerError:
                raise
            except _ENVIRONMENT as error:
                self._scratch_failure = _said(error)
            except DrkeeperError as error:
                self._restored, self._failure = False, _said(error)
            except Exception as error:  # noqa: BLE001 - a defect of ours says nothing about a backup
                self._scratch_failure = f"a defect in drkeeper: {type(error).__name__}"
                self._detail["defect"] = traceback.format_exc(limit=-4)
            finally:
                self._tear_down(stack)

    def interrupted(self, error: BaseException) -> None:
        """Note that somebody ended the drill."""
        self._scratch_failure = f"the drill was ended before its time ({type(error).__name__})"

    def end(self) -> DrillEnd:
        """Return what came of it."""
        watch = self._watch
        ended = DrillEnd(
            ended_at=self._clock.now(),
            timeline=None if watch is None else watch.timeline(),
            scratch=self._scratch,
            point=self._point,
            restored=self._restored,
            failure=self._failure,
            scratch_failure=self._scratch_failure,
            expected_end=self._expected_end,
            reached_end=self._reached_end,
            probes=tuple(self._probes),
            controls=tuple(self._controls),
            achieved_rpo=self._rpo,
            detail=self._detail,
        )
        self._score(ended)
        return ended

    # ------------------------------------------------------------------ in order

    def _work(self, stack: ExitStack) -> None:
        request = self._request
        point("operations.drills.scratch")
        scratch = stack.enter_context(request.scratch())
        self._scratch = scratch.kind.value
        _require_room(scratch.root, request.needed_bytes)
        data, aside = scratch.root / "data", scratch.root / "aside"
        aside.mkdir(mode=0o700)
        declared_at, declared_s = self._clock.now(), self._clock.monotonic()
        request.declare(declared_at)
        self._watch = Stopwatch(declared_at, declared_s)
        repository = request.open(lambda: self._reach(Phase.KEYS_OPENED))
        self._reach(Phase.JOURNAL_READ)
        chosen = request.choose(repository, declared_at)
        commit = chosen.commit
        self._expected_end = f"snapshot {chosen.expected}"
        if chosen.candidates:
            self._detail["candidates"] = list(chosen.candidates)
        reader = SnapshotReader(repository, commit)
        self._point = Restored(repository.id.hex(), commit.n, commit.consistent_at)
        report = self._restore(reader, data)
        self._reach(Phase.RESTORED)
        self._restored = True
        self._reached_end = f"snapshot {commit.n}"
        self._measure(commit, repository.id.hex(), report)
        self._lossy = _told_of_attributes(report)
        self._prove(reader, scratch, data, aside)

    def _restore(self, reader: SnapshotReader, data: Path) -> RestoreReport:
        begun = False

        def on_progress(progress: Progress) -> None:
            nonlocal begun
            if not begun:  # the first word of a restore: it has read the manifest
                begun = True
                self._reach(Phase.MANIFEST_AUTHENTICATED)
            self._request.on_progress(progress)

        first = True

        def cancelled() -> bool:
            nonlocal first
            if first:  # asked after each batch: the content of the first one is here
                first = False
                self._reach(Phase.FIRST_BYTE)
            return self._request.cancelled()

        return restore(
            RestoreRequest(
                reader=reader, target=os.fsencode(data), clock=self._clock, cancelled=cancelled
            ),
            on_progress,
        )

    def _measure(self, commit: Commit, repository: str, report: RestoreReport) -> None:
        assert self._watch is not None  # noqa: S101 - declared by now
        self._rpo = achieved_rpo(self._watch.timeline().declared_at, commit.consistent_at)
        self._point = Restored(
            repository,
            commit.n,
            commit.consistent_at,
            plain_bytes=report.plain_bytes,
            read_bytes=report.fetched_bytes,
            files=report.files,
        )
        self._detail |= {
            "warnings": report.warnings,
            "restore": {name: round(taken, 3) for name, taken in report.seconds.items()},
        }

    def _prove(self, reader: SnapshotReader, scratch: Scratch, data: Path, aside: Path) -> None:
        """Ask everything of what was restored; then damage it, and ask again."""
        assert self._watch is not None  # noqa: S101 - declared by now
        root = reader.root
        declared_at = self._watch.timeline().declared_at
        consistent_at = self._point.consistent_at if self._point else declared_at
        recovery = recovery_of(root)
        engine = None if recovery is None else Engine(recovery, scratch, self._clock)
        expected = Expected(reader, Rights.of_process(privileged=False), lossy=self._lossy)
        comparison = Comparison(expected, self._clock)
        questions = Questions(self._request.probes, scratch, self._clock, declared_at)
        newest = None
        with ExitStack() as stack:
            running: Running | None = None
            if engine is not None:
                running = self._started(engine, data, consistent_at, stack)
                if running is None:
                    return
                newest = running.newest_instant()
            self._tell("compare")
            self._probes.append(comparison.compare(data))
            if engine is not None and running is not None:
                self._tell("ask the engine")
                self._probes.extend(engine.ask(running))
            self._tell("ask")
            self._probes.extend(questions.ask(data))
        if newest is not None and self._point is not None:
            self._rpo = achieved_rpo(declared_at, consistent_at, newest)
            self._point = replace(self._point, recoverable_through=newest)
        if any(each.outcome is not Outcome.PASSED for each in self._probes):
            return
        self._reach(Phase.PROBES_PASSED)
        self._tell("negative controls")
        begun_s = self._clock.monotonic()
        controls = Controls(
            seed=self._seed(),
            root=data,
            aside=aside,
            expected=expected,
            comparison=comparison,
            engine=engine,
            questions=questions,
            subjects=_subjects(root.paths) if engine is not None else frozenset(),
            consistent_at=consistent_at,
            newest_instant=newest,
        )
        self._controls.extend(controls.run())
        self._detail["controls_s"] = round(self._clock.monotonic() - begun_s, 3)

    def _started(
        self, engine: Engine, data: Path, consistent_at: datetime, stack: ExitStack
    ) -> Running | None:
        """Start the engine; ``None`` when it does not start on what was restored.

        Raises:
            ScratchError: It is the scratch environment that broke.
        """
        begun_s = self._clock.monotonic()
        try:
            running = stack.enter_context(engine.running(data, consistent_at))
        except ScratchError:
            raise
        except DrkeeperError as error:
            took = timedelta(seconds=self._clock.monotonic() - begun_s)
            failed = Outcome.FAILED
            self._probes.append(
                ProbeResult("start", "engine", failed, "the engine starts", _said(error), took)
            )
            return None
        self._reach(Phase.ENGINE_STARTED)
        return running

    def _tear_down(self, stack: ExitStack) -> None:
        """Remove everything; what cannot be removed says nothing about the backup."""
        self._tell("tear down")
        try:
            stack.close()
        except DrkeeperError as error:
            self._detail["tear_down"] = _said(error)
        if self._watch is not None:
            self._reach(Phase.TORN_DOWN)

    # ------------------------------------------------------------------ small things

    def _reach(self, phase: Phase) -> None:
        assert self._watch is not None  # noqa: S101 - nothing is reached before the declaration
        self._watch.reach(phase, self._clock.now(), self._clock.monotonic())

    def _tell(self, phase: str) -> None:
        self._request.on_progress(Progress(phase))

    def _seed(self) -> bytes:
        drill = self._request.drill
        return sample_seed(bytes.fromhex(drill.plan.checkpoint_root), drill.id)

    def _score(self, ended: DrillEnd) -> None:
        """Compare with what was written down before."""
        prediction, achieved = self._request.drill.plan.prediction, ended.achieved_rto
        if prediction is not None and achieved is not None:
            found = score(prediction, achieved)
            self._detail["prediction"] = {
                "hit": found.hit.value,
                "factor": round(found.factor, 4),
            }


def _told_of_attributes(report: RestoreReport) -> Callable[[bytes], bool]:
    """Return whether a restore has told of a path that attributes of it could not be set."""
    if sum(report.counts.values()) > len(report.problems):
        return lambda _path: True  # not all that was told is known
    told = {each.path for each in report.problems if each.code == "xattr"}
    return told.__contains__


def _require_room(place: Path, needed_bytes: int) -> None:
    """Refuse before anything is done.

    Raises:
        ScratchError: There is no room for what is to be restored.
    """
    try:
        status = os.statvfs(place)
    except OSError as error:
        raise ScratchError(f"cannot use {place}: {error.strerror}") from error
    free = status.f_bavail * status.f_frsize
    if free < needed_bytes * ROOM:
        raise ScratchError(
            f"{place} has {free} bytes free, and a drill of {needed_bytes} bytes needs "
            f"{int(needed_bytes * ROOM)}",
            hint="Make room, or name another place with drill.scratch in the policy.",
        )


def _subjects(paths: tuple[bytes, ...]) -> frozenset[bytes]:
    return frozenset(path.strip(b"/") for path in paths)


def _said(error: DrkeeperError) -> str:
    return str(error) if error.hint is None else f"{error}. {error.hint}"
