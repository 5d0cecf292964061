"""Run what is due, once, without a daemon: for those who use timers."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from drkeeper.app.config.configuration import Configuration
from drkeeper.app.config.environment import environment
from drkeeper.app.config.files import is_there, make_private
from drkeeper.app.wiring.children import this_program
from drkeeper.app.wiring.ends import Ended
from drkeeper.app.wiring.execution import Executor, Log, Surroundings, silent
from drkeeper.app.wiring.logs.known import secrets_of_environment
from drkeeper.app.wiring.logs.redacting import Redactor
from drkeeper.app.wiring.places import Places
from drkeeper.app.wiring.planning import Planner, plan, queue_due
from drkeeper.app.wiring.runs import ledger_place, open_run_ledger
from drkeeper.clock import Clock
from drkeeper.model.planner import Decision, History, decide
from drkeeper.model.run import RunId

if TYPE_CHECKING:  # SQLAlchemy takes 0.2 s to import
    from drkeeper.ledger.ledger import Ledger

_LOOK_EVERY_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class Begun:
    """What a round has begun.

    Attributes:
        decisions: What was decided for each policy.
        runs: The policy of each run that was queued, now or earlier, and is run now.
    """

    decisions: Mapping[str, Decision]
    runs: Mapping[RunId, str]


def look(configuration: Configuration, clock: Clock) -> Mapping[str, Decision]:
    """Say what is due now, changing nothing.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    now = clock.now()
    if configuration.ledger is None and not is_there(configuration.locations.ledger):
        return {
            name: decide(policy, History(known_since=now), now)
            for name, policy in configuration.policies.items()
        }
    place = ledger_place(configuration)
    with open_run_ledger(place, host=configuration.host, clock=clock, read_only=True) as ledger:
        return plan(configuration, ledger, now)


def run_due(
    configuration: Configuration,
    clock: Clock,
    *,
    on_begin: Callable[[Begun], None],
    on_end: Callable[[Ended], None],
    log: Log = silent,
) -> list[Ended]:
    """Run everything that is due, and return how each run ended; also when nothing was due.

    What it queues, and what others left in the queue, is run within the limits of the daemon. Any
    number of these, and daemons, may work on one ledger.

    Args:
        configuration: The policies.
        clock: Measures and dates.
        on_begin: Told what was decided, before the first run ends.
        on_end: Told of each end, from another thread.
        log: Told of everything else.

    Raises:
        LedgerError: The ledger cannot be read or written: what was done could not be known.
        RuntimeError: Nobody looks after the runs any more; a defect.
    """
    ended: list[Ended] = []
    some = threading.Event()

    def note(one: Ended) -> None:
        ended.append(one)
        on_end(one)
        some.set()

    make_private(configuration.locations.state)
    with _open(configuration, clock) as ledger:
        ledger.interrupt_dead_runs()
        planner = Planner()
        decisions = planner.plan(configuration, ledger, clock.now())
        left = planner.left_queued(decisions)
        due = queue_due(configuration, ledger, decisions)
    again = {each.run: each.decision is not None and each.decision.attempt > 1 for each in due}
    runs = {**left, **{each.run: each.policy.name for each in due}}
    on_begin(Begun(decisions, runs))
    if not runs:
        return ended
    executor = _executor(configuration, clock, note, log)
    try:
        for run, name in runs.items():
            executor.start(configuration.policies[name], run, again=again.get(run, False))
        while not executor.idle():
            if not executor.alive():
                raise RuntimeError("the threads that look after runs have ended")
            some.wait(_LOOK_EVERY_S)
            some.clear()
    finally:
        executor.stop(configuration.daemon.stop_within)
    return ended


def _executor(
    configuration: Configuration, clock: Clock, on_end: Callable[[Ended], None], log: Log
) -> Executor:
    settings, locations = configuration.daemon, configuration.locations
    program = this_program(locations.settings, locations.accepted)
    secrets = secrets_of_environment(environment())
    around = Surroundings(
        program=program,
        state=locations.state,
        open_ledger=lambda: _open(configuration, clock),
        clock=clock,
        redact=Redactor([*secrets, *program.secrets.values()]).text,
        log=log,
    )
    places = Places(settings.workers, settings.per_repository, settings.per_source)
    return Executor(around, places, on_end=on_end)


def _open(configuration: Configuration, clock: Clock) -> "Ledger":
    return open_run_ledger(ledger_place(configuration), host=configuration.host, clock=clock)
