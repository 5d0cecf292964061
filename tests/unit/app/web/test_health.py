"""Health tells drkeeper's own parts apart, and says of each what to do."""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from doubles.pages import NOW, empty_machine, kept_machine, troubled_machine
from drkeeper.app.web import health
from drkeeper.app.web.health import Verdict
from drkeeper.model.alarm import Alarm, AlarmKind, Condition, Subject

DAEMON = Subject("daemon", "keeper")


def by_name(overview):
    return {component.name: component for component in health.components(overview)}


def test_a_machine_on_which_all_is_well_is_ok_and_ready():
    """Every component is named and ok."""
    overview = kept_machine().overview
    found = by_name(overview)
    assert list(found) == [
        "ledger", "scheduler", "configuration", "storage/primary", "storage/offsite", "web",
    ]  # fmt: skip
    assert {component.verdict for component in found.values()} == {Verdict.OK}
    assert health.ready(list(found.values()))


def test_overdue_policies_do_not_make_the_daemon_ill():
    """Health is about drkeeper; whether the promises hold is told by status and alarms."""
    overview = replace(
        troubled_machine().overview, repositories=kept_machine().overview.repositories
    )
    assert health.ready(health.components(overview))


def test_a_store_that_does_not_answer_is_failing_with_its_own_hint():
    """The condition's words are health's words."""
    found = by_name(troubled_machine().overview)
    assert found["storage/primary"].verdict is Verdict.FAILING
    assert "has not answered since" in found["storage/primary"].detail
    assert found["storage/primary"].hint.endswith(".")
    assert not health.ready(list(found.values()))


def test_a_store_that_was_asked_long_ago_is_unknown():
    """An answer of six minutes ago says nothing about now: not ready, and not failing."""
    overview = kept_machine().overview
    late = replace(overview.repositories[0], asked_at=NOW - timedelta(minutes=6))
    found = health.components(replace(overview, repositories=(late,)))
    assert health.worst(found) is Verdict.UNKNOWN
    assert not health.ready(found)


@pytest.mark.parametrize("beat", [timedelta(seconds=91), timedelta(days=3)])
def test_a_daemon_that_looked_long_ago_is_failing(beat):
    """Six ticks without a look are too many."""
    overview = kept_machine().overview
    old = replace(overview.daemons[0], beat_at=NOW - beat)
    assert by_name(replace(overview, daemons=(old,)))["scheduler"].verdict is Verdict.FAILING


def test_no_daemon_is_failing():
    """The machine that nobody keeps is not healthy."""
    scheduler = by_name(empty_machine().overview)["scheduler"]
    assert scheduler.verdict is Verdict.FAILING
    assert "drkeeper daemon" in scheduler.hint


@pytest.mark.parametrize(
    ("kind", "name", "ready"),
    [
        (AlarmKind.LEDGER_TROUBLE, "ledger", False),
        (AlarmKind.CONFIGURATION_INVALID, "configuration", True),
    ],
)
def test_alarms_about_its_parts_are_health(kind, name, ready):
    """A full ledger stops work; a wrong file does not, since what it said before goes on."""
    overview = kept_machine().overview
    wrong = Condition(kind, DAEMON, "it is wrong", "Mend it.", NOW)
    for troubled in (
        replace(overview, alarms=(Alarm(1, wrong, NOW),)),
        replace(overview, conditions=(wrong,)),
    ):
        found = health.components(troubled)
        assert by_name(troubled)[name].detail == "it is wrong"
        assert health.ready(found) is ready


def test_health_as_json_names_every_part():
    """Programs read a status for the whole and for each part."""
    answer = health.as_json(health.components(troubled_machine().overview), NOW)
    assert answer["status"] == "failing"
    assert answer["ready"] is False
    assert answer["at"] == "2026-11-20T13:07:42Z"
    assert answer["components"]["web"] == {"status": "ok"}
    silent = health.ledger_failing("the ledger is locked", None)
    assert health.as_json(silent, NOW)["components"]["ledger"]["detail"] == "the ledger is locked"
