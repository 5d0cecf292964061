"""Look once and tell, as the daemon does all the time: for those who use timers instead."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from drkeeper.app.config.configuration import Configuration
from drkeeper.app.wiring.channels import Courier
from drkeeper.app.wiring.overview import all_conditions, read_overview
from drkeeper.app.wiring.ownership import looks_after
from drkeeper.app.wiring.runs import open_run_ledger
from drkeeper.app.wiring.wrong_files import wrong_files
from drkeeper.clock import Clock
from drkeeper.errors import DrkeeperError
from drkeeper.faults import point
from drkeeper.model.alarm import Condition, Subject
from drkeeper.operations.alarming import reconcile

if TYPE_CHECKING:  # SQLAlchemy takes 0.2 s to import
    from drkeeper.ledger.ledger import Ledger

LAST_WORDS: Final = timedelta(minutes=3)
"""How long a command waits for its channels: a message with all its attempts, and a little."""

_AT_ONCE: Final = timedelta(seconds=1)
"""How long it waits when somebody wants it to end."""

Log = Callable[..., object]


@contextmanager
def telling(
    configuration: Configuration, clock: Clock, log: Log = lambda _event, **_fields: None
) -> Iterator[Courier]:
    """Lend a courier for the runs of a command; then raise and clear alarms, and tell them.

    While a daemon lives that uses the same ledger, alarms are its own: only runs are told.
    Channels that do not work are waited for, but never for longer than ``LAST_WORDS``.
    """

    def opened() -> "Ledger":
        place = configuration.ledger or configuration.locations.ledger
        return open_run_ledger(place, host=configuration.host, clock=clock)

    courier = Courier(configuration, open_ledger=opened, clock=clock, log=log)
    courier.start()
    try:
        yield courier
        _tell(courier, configuration, clock, opened=opened, log=log)
    except BaseException:
        courier.stop(_AT_ONCE)
        raise


def _tell(
    courier: Courier,
    configuration: Configuration,
    clock: Clock,
    *,
    opened: "Callable[[], Ledger]",
    log: Log,
) -> None:
    seen = read_overview(configuration, clock)
    if seen.daemon_alive:
        courier.stop(LAST_WORDS)
        return
    wrong = [*all_conditions(seen), *_wrong_files(configuration, clock)]
    point("app.wiring.telling.looked")
    try:
        with opened() as ledger:
            reconcile(ledger, wrong, clock.now(), mine=_mine(configuration, channels=False))
            courier.tick(replace(seen, alarms=ledger.open_alarms()))
    except DrkeeperError as error:
        log("alarms.kept_in_memory", error=str(error))
        courier.tell_unrecorded(wrong)
    courier.stop(LAST_WORDS)
    point("app.wiring.telling.told")
    try:
        with opened() as ledger:
            # What the channels have just shown is told by the next look.
            mine = _mine(configuration, channels=True)
            reconcile(ledger, courier.conditions(), clock.now(), mine=mine)
    except DrkeeperError as error:
        log("alarms.kept_in_memory", error=str(error))


def _wrong_files(configuration: Configuration, clock: Clock) -> Iterator[Condition]:
    if configuration.problems:
        here = Subject("daemon", configuration.host)
        yield wrong_files(configuration.problems, here, clock.now())


def _mine(configuration: Configuration, *, channels: bool) -> Callable[[Subject], bool]:
    """Return who may say that something about a subject is over: whoever looks after it."""
    own = looks_after(configuration)

    def mine(subject: Subject) -> bool:
        return (subject.kind == "channel") is channels and own(subject)

    return mine
