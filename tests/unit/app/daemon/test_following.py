"""Incidents as the daemon keeps them: which drills it reads, and what it makes of them."""

from types import SimpleNamespace

from doubles.drilling import AT, HOUR, end, plan, timeline
from doubles.ledgers import ledger_at
from doubles.stories import Story, policy_of
from drkeeper.app.daemon.following import Follower
from drkeeper.model.drill import Phase
from drkeeper.model.policy import Objectives

PROVEN = {"ended_at": AT + HOUR}
BROKEN = {
    "ended_at": AT + HOUR,
    "restored": False,
    "failure": "pack 7 is gone",
    "probes": (),
    "timeline": timeline(until=Phase.KEYS_OPENED),
}


def drilled(ledger, policy, **fields):
    planned = ledger.plan_drill(plan(policy=policy))
    ledger.declare_drill(planned.id, AT)
    ledger.end_drill(planned.id, end(**fields))


def test_only_what_has_ended_since_is_read_again(tmp_path):
    """A policy's drill opens and closes its own incident, whoever else is there, new, gone or quiet."""
    told = []
    clock = SimpleNamespace(now=lambda: AT + 2 * HOUR)
    follower = Follower(
        mine=lambda _: True,
        clock=clock,
        log=lambda word, **more: told.append((word, more["policy"])),
    )
    stories = {
        name: Story(policy_of("hourly", name=name, objectives=Objectives(rto=10 * HOUR)))
        for name in ("home", "shop", "late")
    }

    def look(*names):
        told.clear()
        statuses = [stories[name].status(AT + 2 * HOUR) for name in names]
        follower.follow(ledger, SimpleNamespace(policies=statuses, alarms=()))
        return told

    with ledger_at(tmp_path / "state" / "ledger.sqlite") as ledger:
        assert look("home", "shop") == []
        drilled(ledger, "home", **BROKEN)
        assert look("home", "shop") == [("incident.opened", "home")]
        drilled(ledger, "shop", **BROKEN)
        drilled(ledger, "late", **BROKEN)
        assert look("home", "shop") == [("incident.opened", "shop")]
        assert look("home", "shop", "late") == [("incident.opened", "late")]
        for _ in range(30):
            drilled(ledger, "home", **PROVEN)
        assert look("home", "late") == [("incident.closed", "home")]
        drilled(ledger, "late", **PROVEN)
        assert look("home", "late") == [("incident.closed", "late")]
        assert look("home", "late") == []
        assert ledger.verify().ok
