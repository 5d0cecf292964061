"""A process that looks once at one overdue policy, tells whom it must, and may die of it.

``python -m doubles.tellers LEDGER URL SMTP_PORT [POINT HIT]``, from the folder of tests.
"""

import sys
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from msgspec.structs import replace

from doubles.faultpoints import CrashAt, Recorder
from drkeeper import faults
from drkeeper.app.config.configuration import Configuration
from drkeeper.app.config.locations import Locations
from drkeeper.app.wiring.channels import Courier
from drkeeper.clock import SystemClock
from drkeeper.ledger.ledger import open_ledger
from drkeeper.ledger.process import this_process
from drkeeper.model.alarm import AlarmKind, Condition, Subject
from drkeeper.model.channel import Channel, EmailChannel, HeartbeatChannel, WebhookChannel
from drkeeper.model.policy import FilesSource, Policy
from drkeeper.model.run import RunId
from drkeeper.model.status import Overview
from drkeeper.operations.alarming import reconcile
from drkeeper.operations.notifying import CLAIM

SHOP = Subject("policy", "shop")


class LaterClock(SystemClock):
    """The system's clock, some time later: claims of those who died are void."""

    def __init__(self, by: timedelta) -> None:
        super().__init__()
        self._by = by

    def now(self):
        return super().now() + self._by


def configuration(url, port):
    kinds = {
        "beat": HeartbeatChannel(f"{url}/beat"),
        "hook": WebhookChannel(f"{url}/hook", "key"),
        "mail": EmailChannel("127.0.0.1", port, "none", "a@example.org", ("b@example.org",)),
    }
    utc = ZoneInfo("UTC")
    shop = Policy("shop", FilesSource(("/srv",)), "primary", "UTC", utc, notify=tuple(kinds))
    return Configuration(
        locations=Locations(*[Path("/nonexistent")] * 5, chosen_by="a test"),
        host="keeper",
        zone_name="UTC",
        policies={"shop": shop},
        channels={name: Channel(name, kind) for name, kind in kinds.items()},
    )


def look(path, url, port, *, overdue, later=timedelta()):
    """Look once: raise or clear the alarm, tell, ping, and wait until all is told."""
    clock = LaterClock(later)

    def opened():
        return open_ledger(path, clock=clock, me=lambda: this_process("keeper"))

    condition = Condition(AlarmKind.OVERDUE, SHOP, "is overdue", "Run it.", clock.now())
    courier = Courier(configuration(url, port), open_ledger=opened, clock=clock)
    courier.start()
    with opened() as ledger:
        reconcile(ledger, [condition] if overdue else [], clock.now())
        alarms = ledger.open_alarms()
    overview = Overview(host="keeper", at=clock.now(), daemon_alive=True, alarms=alarms)
    courier.tick(overview)
    courier.run_began("shop", RunId("1" * 16))
    ended = courier.stop(timedelta(seconds=20))
    courier = Courier(configuration(url, port), open_ledger=opened, clock=clock)
    courier.tick(replace(overview, at=clock.now()))  # brings home what could not be recorded
    courier.stop(timedelta())
    return ended


def main(arguments):
    path, url, port, *strike = arguments
    recorder = Recorder()
    faults.install(CrashAt(strike[0], int(strike[1])) if strike else recorder)
    ended = look(path, url, int(port), overdue=True)
    print("\n".join(recorder.hits))
    return 0 if ended else 1


AFTER = CLAIM + timedelta(minutes=1)
"""When the next process looks."""

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
