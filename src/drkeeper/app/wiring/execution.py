"""Run what is queued, each run in a process of its own, within limits.

One thread begins all children, reads what they say and sees them die; it lives for as long as they
do, because the kernel tells a child of the death of the very thread that began it. A second thread
does what may wait: after each death it asks the ledger which runs are dead, and tells of the end.
"""

import os
import queue
import selectors
import signal
import threading
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from drkeeper.app.wiring.children import Child, Program, Running
from drkeeper.app.wiring.ends import DONE, Ended, record_end
from drkeeper.app.wiring.places import Places, Wanted, next_to_begin
from drkeeper.app.wiring.runlogs import RunLog, log_path, remove_old_logs
from drkeeper.clock import Clock
from drkeeper.errors import DrkeeperError
from drkeeper.faults import point
from drkeeper.model.policy import Policy
from drkeeper.model.run import RunId
from drkeeper.model.windows import closed_until
from drkeeper.operations import kinship

if TYPE_CHECKING:  # SQLAlchemy takes 0.2 s to import
    from drkeeper.ledger.ledger import Ledger

_LOOK_EVERY_S: Final = 0.2
_WAIT_S: Final = 5.0
"""How often those who wait are looked at when nothing else happens: a closed window may open."""
_PATIENCE_S: Final = 5.0
"""Between SIGTERM and SIGKILL for what a dead run has left behind."""
_READS: Final = 4
"""Reads of one child in a row; a flood must not keep the others from being heard."""
_RECORD_AGAIN_S: Final = 5.0
"""How soon it is tried again to record an end that the ledger did not take. Source: ours."""
_STORAGE: Final = 17
"""Source: docs/exit-codes.md."""


class Log(Protocol):
    """Told of facts: a dotted event in the past tense and its fields."""

    def __call__(self, event: str, **fields: object) -> None:
        """Write one event."""
        ...


def silent(event: str, **fields: object) -> None:
    """Write nothing."""
    del event, fields


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the executor stands on.

    Attributes:
        program: How a run is started.
        state: The state folder; logs of runs are below it.
        open_ledger: Opens the ledger to write.
        clock: Measures and dates.
        redact: Takes secrets out of a line before it is written to the log of a run.
        log: Told of what begins and ends.
    """

    program: Program
    state: Path
    open_ledger: "Callable[[], Ledger]"
    clock: Clock
    redact: Callable[[str], str]
    log: Log = silent


@dataclass(slots=True)
class _Waiting:
    policy: Policy
    run: RunId
    wanted: Wanted


@dataclass(slots=True)
class _Busy:
    """A child and what belongs to it."""

    child: Child
    wanted: Wanted
    log: RunLog
    relatives: list[int] = field(default_factory=list)
    kill_at: float | None = None


class Executor:
    """Begins runs when there is a place for them, and sees each to its end.

    Args:
        around: What it stands on.
        places: The limits; they, ``program``, and ``doubtful``, the repositories whose stores do
            not answer a probe, may be replaced at any time.
        on_end: Told of each end, from a thread of the executor, after the ledger knows.
    """

    def __init__(
        self,
        around: Surroundings,
        places: Places,
        *,
        on_end: Callable[[Ended], None] = lambda _ended: None,
    ) -> None:
        self.places = places
        self.program = around.program
        self.doubtful: Collection[str] = ()
        self._around = around
        self._on_end = on_end
        self._lock = threading.Lock()
        self._waiting: list[_Waiting] = []
        self._busy: dict[RunId, _Busy] = {}
        self._beginning: RunId | None = None
        self._failing: set[str] = set()
        self._ends_at: float | None = None
        self._killed = False
        self._selector = selectors.DefaultSelector()
        self._bell, self._ring = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._selector.register(self._bell, selectors.EVENT_READ)
        self._dead: queue.SimpleQueue[Ended | None] = queue.SimpleQueue()
        self._unsettled = 0
        self._unrecorded: dict[RunId, Ended] = {}
        self._keeper = threading.Thread(target=self._keep, name="runs", daemon=True)
        self._settler = threading.Thread(target=self._settle_all, name="ends", daemon=True)
        self._keeper.start()
        self._settler.start()

    def start(self, policy: Policy, run: RunId, *, again: bool = False) -> None:
        """Begin a queued run as soon as there is a place for it; never waits.

        Args:
            policy: What to run.
            run: Its row in the ledger; one that waits or runs here already is left alone.
            again: Whether an earlier run for the same slot has failed.
        """
        wanted = Wanted(policy.repository, policy.source.kind, again=again)
        with self._lock:
            known = run in self._busy or any(each.run == run for each in self._waiting)
            known = known or run == self._beginning or run in self._unrecorded
            if known or self._ends_at is not None:
                return
            self._waiting.append(_Waiting(policy, run, wanted))
        self._wake()

    def running(self) -> Mapping[RunId, Running]:
        """Return the runs that go on."""
        with self._lock:
            return {run: busy.child.running for run, busy in self._busy.items()}

    def waiting(self) -> list[RunId]:
        """Return the runs that wait for a place, in the order in which they came."""
        with self._lock:
            return [each.run for each in self._waiting]

    def policies(self) -> set[str]:
        """Return the policies of which a run goes on here, or waits for a place."""
        with self._lock:
            busy = {busy.child.policy for busy in self._busy.values()}
            return busy | {each.policy.name for each in self._waiting}

    def idle(self) -> bool:
        """Whether nothing waits, runs, or has ended without having been told of."""
        with self._lock:
            begun = self._beginning is not None or self._busy or self._unsettled
            return not self._waiting and not begun

    def alive(self) -> bool:
        """Whether its threads do their work; without them nothing runs any more."""
        return self._keeper.is_alive() and self._settler.is_alive()

    def moved(self) -> float:
        """Return when a run here last moved, by the monotonic clock; now, when none goes on."""
        with self._lock:
            moves = [busy.child.moved_at for busy in self._busy.values()]
        return max(moves, default=self._around.clock.monotonic())

    def stop(self, within: timedelta) -> None:
        """End: begin nothing more, ask all children to end, and end by force what is left.

        Runs that wait stay in the ledger's queue. When this returns, no child lives.

        Args:
            within: How long the children may take to bring their work to safety.
        """
        clock = self._around.clock
        with self._lock:
            self._waiting.clear()
            self._ends_at = clock.monotonic() + within.total_seconds()
        self._wake()
        self._keeper.join(within.total_seconds() + 2 * _PATIENCE_S)
        self._dead.put(None)
        self._settler.join(_PATIENCE_S)

    # -- the thread of the children

    def _keep(self) -> None:
        try:
            while not self._over():
                self._begin_waiting()
                self._listen()
                for busy in list(self._busy.values()):
                    self._look_after(busy)
        except BaseException:
            # Nobody would read what the children say, so they end: their thread is going.
            self._around.log("executor.failed")
            raise
        finally:
            for busy in list(self._busy.values()):
                busy.child.kill()

    def _over(self) -> bool:
        if self._ends_at is None:
            return False
        late = self._around.clock.monotonic() >= self._ends_at
        for busy in list(self._busy.values()):
            if late and not self._killed:
                self._around.log("run.killed", run=busy.child.run, policy=busy.child.policy)
                busy.child.kill()
            busy.child.ask_to_end()
        self._killed = self._killed or late
        return not self._busy

    def _begin_waiting(self) -> None:
        while self._ends_at is None:
            now = self._around.clock.now()
            with self._lock:
                open_ = [
                    each
                    for each in self._waiting
                    if closed_until(each.policy.limits.closed, each.policy.zone, now) is None
                ]
                index = next_to_begin(
                    self.places,
                    [each.wanted for each in open_],
                    [busy.wanted for busy in self._busy.values()],
                    failing=self._failing.union(self.doubtful),
                )
                if index is None:
                    return
                chosen = open_[index]
                self._waiting.remove(chosen)
                self._beginning = chosen.run  # neither waits nor runs: must not be begun twice
            self._begin(chosen)
            with self._lock:
                self._beginning = None

    def _begin(self, chosen: _Waiting) -> None:
        around, name = self._around, chosen.policy.name
        log = RunLog(log_path(around.state, chosen.run), around.clock, around.redact)
        log.line(f"run {chosen.run} of policy {name} is being begun")
        try:
            child = Child(self.program, name, chosen.run, clock=around.clock, write=log.line)
        except OSError as error:
            log.line(f"error: the process cannot be started: {error}")
            log.close()
            told = {"error": type(error).__name__, "message": str(error), "code": 1}
            self._report(Ended(name, chosen.run, code=1, error=told))
            return
        with self._lock:
            self._busy[chosen.run] = _Busy(child, chosen.wanted, log)
        for descriptor in child.descriptors:
            self._selector.register(descriptor, selectors.EVENT_READ, child)
        around.log("run.started", run=chosen.run, policy=name, pid=child.pid)

    def _listen(self) -> None:
        pause: float | None = None
        if self._busy or self._ends_at is not None:
            pause = _LOOK_EVERY_S
        elif self._waiting:
            pause = _WAIT_S
        for key, _ in self._selector.select(pause):
            if key.fd == self._bell:
                with suppress(BlockingIOError):
                    os.read(self._bell, 4096)
                continue
            for _ in range(_READS):
                if not key.data.read(key.fd):
                    self._selector.unregister(key.fd)
                    break

    def _look_after(self, busy: _Busy) -> None:
        """See whether a child has died, and that nothing of it is left."""
        child, now = busy.child, self._around.clock.monotonic()
        if not child.dead():
            return
        relatives = child.relatives()
        if relatives and busy.kill_at is None:
            # Hooks whose run was killed: they may clean up, but not for long.
            busy.kill_at = now + _PATIENCE_S
            busy.log.line(f"{len(relatives)} processes were left behind and are ended")
            kinship.send(relatives, signal.SIGTERM)
        if relatives and busy.kill_at is not None and now < busy.kill_at:
            return
        kinship.send(relatives, signal.SIGKILL)
        for descriptor in child.descriptors:
            self._selector.unregister(descriptor)
        ended = child.bury()
        busy.log.line(f"the process {ended.how} after {ended.seconds:.1f} s")
        busy.log.close()
        self._remember(busy.wanted.repository, ended)
        self._report(ended)
        with self._lock:
            del self._busy[child.run]

    def _remember(self, repository: str, ended: Ended) -> None:
        if ended.code == _STORAGE:
            self._failing.add(repository)
        elif ended.code in DONE:
            self._failing.discard(repository)

    def _report(self, ended: Ended) -> None:
        with self._lock:
            self._unsettled += 1
        self._dead.put(ended)

    def _wake(self) -> None:
        with suppress(BlockingIOError):
            os.write(self._ring, b"!")

    # -- the thread of the ends

    def _settle_all(self) -> None:
        while True:
            try:
                ended = self._dead.get(timeout=_RECORD_AGAIN_S if self._unrecorded else None)
            except queue.Empty:
                self._record(*self._unrecorded.values())
                continue
            if ended is None:
                break
            try:
                self._settle(ended)
            except Exception as error:  # noqa: BLE001 - one end must not hide the next
                self._around.log("executor.settling_failed", error=repr(error), run=ended.run)
            with self._lock:
                self._unsettled -= 1
        self._record(*self._unrecorded.values())

    def _settle(self, ended: Ended) -> None:
        point("app.wiring.execution.settle")
        remove_old_logs(self._around.state)
        self._record(ended)
        point("app.wiring.execution.settled")
        self._around.log(
            "run.process_ended",
            run=ended.run,
            policy=ended.policy,
            code=ended.code,
            signal=ended.signal,
            seconds=round(ended.seconds, 3),
        )
        self._on_end(ended)

    def _record(self, *ends: Ended) -> None:
        """Make sure that the ledger knows of ends, whatever the children could not say themselves.

        What the ledger does not take is kept, and not begun again: its work is done.
        """
        if not ends:
            return
        try:
            with self._around.open_ledger() as ledger:
                for ended in ends:
                    record_end(ledger, ended)
                    self._unrecorded.pop(ended.run, None)
                ledger.interrupt_dead_runs()
        except DrkeeperError as error:
            news = [ended.run for ended in ends if ended.run not in self._unrecorded]
            self._unrecorded |= {ended.run: ended for ended in ends}
            for run in news:
                self._around.log("ledger.unavailable", error=str(error), run=run)
