"""Bare drills: from the store and the recovery kit alone, in a process that knows nothing else."""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple

from drkeeper.app.config.configuration import Configuration
from drkeeper.app.config.environment import bare_environment
from drkeeper.app.wiring.children import Program, start_program
from drkeeper.app.wiring.drills import (
    Books,
    DrillOutcome,
    end_run_of,
    scratch_folder,
)
from drkeeper.app.wiring.runs import RunRecord, ledger_place
from drkeeper.clock import Clock
from drkeeper.errors import DrkeeperError, LedgerError, ScratchError
from drkeeper.model.drill import (
    ControlResult,
    DrillKind,
    Outcome,
    Phase,
    ProbeResult,
    Stopwatch,
    achieved_rpo,
)
from drkeeper.model.drill_record import DrillEnd, Restored
from drkeeper.model.policy import Policy
from drkeeper.model.run import Operation
from drkeeper.operations.drills import Asked, Planned, plan_drill, settle
from drkeeper.operations.drills.conducting import expected_number
from drkeeper.scratch.base import Limits, Scratch
from drkeeper.scratch.opening import open_scratch

_LONGEST: Final = timedelta(days=2)
"""How long a bare drill may take. Source: ours; 10 TB at 60 MB/s."""
_ANSWER: Final = frozenset({0, 15})
"""Exit codes of a drill that came to a verdict. Source: docs/exit-codes.md."""


@dataclass(frozen=True, slots=True)
class Bare:
    """What a bare drill is done with.

    Attributes:
        policy: Whose data; of it, only the name is told to the process.
        kits: The recovery kit's files.
        options: Further options that find the store, as on the command line.
        passphrase: Of a protected kit, if it was given without asking.
    """

    policy: Policy
    kits: tuple[Path, ...]
    options: tuple[str, ...] = ()
    passphrase: str | None = None


def run_bare(
    bare: Bare,
    configuration: Configuration,
    *,
    clock: Clock,
    warn: Callable[[str], None],
) -> DrillOutcome:
    """Have a process without configuration, keys, state or cache prove a policy.

    Raises:
        LedgerError: The ledger could not be written.
    """
    record = RunRecord(ledger_place(configuration), host=configuration.host, clock=clock, warn=warn)
    record.begin(bare.policy.name, Operation.DRILL)
    books = Books(configuration, clock)
    try:
        with books.open() as ledger:
            asked = Asked(policy=bare.policy, kind=DrillKind.BARE, run=record.id)
            settle(ledger, bare.policy.name, clock.now())
            planned = plan_drill(ledger, asked)
        work = _Bare(bare, planned, books, clock)
        end = work.run(scratch_folder(bare.policy, configuration))
        with books.open() as ledger:
            drill = ledger.end_drill(planned.drill.id, end)
    except BaseException as error:
        record.failed(error)
        raise
    end_run_of(record, drill, clock)
    return DrillOutcome(drill, record.id)


class _Bare:
    """One bare drill."""

    def __init__(self, bare: Bare, planned: Planned, books: Books, clock: Clock) -> None:
        self._bare = bare
        self._planned = planned
        self._books = books
        self._clock = clock
        self._watch: Stopwatch | None = None

    def run(self, where: Path) -> DrillEnd:
        """Do it, and return what came of it.

        Raises:
            LedgerError: The declaration could not be recorded, so nothing was begun.
        """
        found: Mapping[str, Any] = {}
        failure = scratch_failure = ""
        with ExitStack() as stack:
            try:
                scratch = stack.enter_context(self._place(where))
                declared_at, declared_s = self._clock.now(), self._clock.monotonic()
                self._books.declare(self._planned.drill.id, declared_at)
                self._watch = Stopwatch(declared_at, declared_s)
                found = self._child(scratch.root)
            except LedgerError:
                raise
            except ScratchError as error:
                scratch_failure = str(error)
            except DrkeeperError as error:
                failure = str(error)
        return self._end(found, failure, scratch_failure)

    def _place(self, where: Path) -> AbstractContextManager[Scratch]:
        terms = self._bare.policy.drill
        limits = Limits(terms.memory_bytes, terms.longest, terms.longest, 0, terms.processes)
        return open_scratch(where, kind=None, limits=limits, clock=self._clock)

    def _child(self, root: Path) -> Mapping[str, Any]:
        """Let the process work, and return what it says of its drill.

        Raises:
            ScratchError: It could not be started, or said nothing that can be read.
            DrkeeperError: It refused, with the reason.
        """
        for name in ("etc", "state", "cache", "home"):
            (root / name).mkdir(mode=0o700)
        words = (sys.executable, "-P", "-m", "drkeeper")
        given = [text for kit in self._bare.kits for text in ("--identity", str(kit.absolute()))]
        command = [*words, "drill", "--json", *given, *self._bare.options]
        secrets = {"DRKEEPER_PASSPHRASE": self._bare.passphrase} if self._bare.passphrase else {}
        program = Program(words, root / "etc", bare_environment(root), secrets)
        try:
            process = start_program(program, [*command, "--", self._bare.policy.name])
        except OSError as error:
            raise ScratchError(f"drkeeper could not be started: {error}") from error
        try:
            with process:
                out, _ = process.communicate(timeout=_LONGEST.total_seconds())
        except subprocess.TimeoutExpired as error:
            raise ScratchError("the bare drill did not end") from error
        finally:
            if process.poll() is None:
                process.kill()
        return _understood(out, process.returncode)

    def _end(self, found: Mapping[str, Any], failure: str, scratch_failure: str) -> DrillEnd:
        watch = self._watch
        point = _point(found)
        rpo = None
        if watch is not None:
            self._take_phases(watch, found)
            if point is not None:
                at = watch.timeline().declared_at
                rpo = achieved_rpo(at, point.consistent_at, point.recoverable_through)
            watch.reach(Phase.TORN_DOWN, self._clock.now(), self._clock.monotonic())
        return DrillEnd(
            ended_at=self._clock.now(),
            timeline=None if watch is None else watch.timeline(),
            scratch=found.get("scratch", ""),
            point=point,
            restored=bool(found.get("restored")),
            failure=failure or found.get("failure", ""),
            scratch_failure=scratch_failure or found.get("scratch_failure", ""),
            expected_end=self._expected(point, found),
            reached_end=found.get("reached_end", ""),
            probes=tuple(_probe(each) for each in found.get("probes", ())),
            controls=tuple(_control(each) for each in found.get("controls", ())),
            achieved_rpo=rpo,
            detail=found.get("detail", {}),
        )

    def _take_phases(self, watch: Stopwatch, found: Mapping[str, Any]) -> None:
        """Take over what the process measured, from our declaration on: it began later."""
        if found.get("declared_at") is None:
            return
        declared_at = watch.timeline().declared_at
        began = max(datetime.fromisoformat(found["declared_at"]) - declared_at, timedelta())
        for each in found["phases"]:
            phase = Phase(each["phase"])
            if phase is not Phase.TORN_DOWN:
                elapsed = began + timedelta(seconds=each["elapsed_seconds"])
                watch.reach_after(phase, datetime.fromisoformat(each["reached_at"]), elapsed)

    def _expected(self, point: Restored | None, found: Mapping[str, Any]) -> str:
        """Return where it should have ended: this machine's own catalogue knows."""
        if point is None:
            return str(found.get("expected_end", ""))
        there = _Snapshot(point.consistent_at, point.commit_number)
        return f"snapshot {expected_number(self._planned.point, point.repository, there)}"


class _Snapshot(NamedTuple):
    consistent_at: datetime
    n: int


def _understood(out: bytes, code: int) -> Mapping[str, Any]:
    """Return the facts of the drill among the lines that the process wrote.

    Raises:
        ScratchError: There are none.
        DrkeeperError: There is an error instead.
    """
    lines: Sequence[Any] = []
    with suppress(ValueError):
        lines = [json.loads(line) for line in out.splitlines()]
    by_kind = {each["message_type"]: each for each in lines if "message_type" in each}
    found = by_kind.get("summary", {})
    if code in _ANSWER and isinstance(found, dict) and "drill" in found:
        return found
    if "error" in by_kind:
        raise DrkeeperError(str(by_kind["error"].get("message")))
    raise ScratchError(f"the bare drill ended with {code} and said nothing that can be read")


def _point(found: Mapping[str, Any]) -> Restored | None:
    if not found.get("snapshot") or not found.get("consistent_at"):
        return None
    through = found.get("recoverable_through")
    return Restored(
        found["repository"],
        found["snapshot"],
        datetime.fromisoformat(found["consistent_at"]),
        datetime.fromisoformat(through) if through else None,
        found["plain_bytes"],
        found["read_bytes"],
        found["files"],
    )


def _probe(facts: Mapping[str, Any]) -> ProbeResult:
    return ProbeResult(
        facts["name"],
        facts["kind"],
        Outcome(facts["outcome"]),
        facts["expected"],
        facts["found"],
        timedelta(seconds=facts["seconds"]),
    )


def _control(facts: Mapping[str, Any]) -> ControlResult:
    return ControlResult(
        facts["fault"], Outcome(facts["outcome"]), tuple(facts["caught_by"]), facts["detail"]
    )
