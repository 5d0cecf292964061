"""What ``drkeeper status`` shows of an overview, and what it ends with."""

import pytest
from msgspec.structs import replace

from doubles.stories import HOUR, MINUTE, Story, at, policy_of
from drkeeper.app.cli.status import Report, _asides, _rows, short
from drkeeper.app.cli.text import brief, paragraph, sentences
from drkeeper.app.web.urgent import urgent
from drkeeper.model.alarm import Alarm, AlarmKind, Condition, Subject
from drkeeper.model.policy import Objectives
from drkeeper.model.run import DaemonBeat, Process, RunState
from drkeeper.model.status import Overview, RepositoryStatus

NOW = at("2026-11-21T09:20")
BEAT = DaemonBeat(Process("keeper", "boot", 1), "1.0", NOW - HOUR, NOW)
GOOD = Story(policy_of("hourly")).run("2026-11-21T09:00").status(NOW)
WARNED = Story(policy_of("hourly")).run("2026-11-21T09:00", RunState.WARNINGS).status(NOW)
FAILED = Story(policy_of("hourly")).failed("2026-11-21T09:18:30").status(NOW)
HAND = Story(policy_of()).status(NOW)


def wrong(kind, subject=("daemon", "keeper")):
    """Return a condition."""
    return Condition(kind, Subject(*subject), "it", "Do.", NOW)


def seen(*policies, alive=True, **more):
    """Return an overview."""
    beats = (BEAT,) if alive else ()
    return Overview(
        host="keeper", at=NOW, daemon_alive=alive, daemons=beats, policies=policies, **more
    )


def report(overview, names=(), *, needs_daemon=True):
    """Return what is shown of it."""
    return Report(overview, names, zone_name="UTC", needs_daemon=needs_daemon)


@pytest.mark.parametrize(
    ("overview", "code"),
    [
        (seen(GOOD), 0),
        (seen(GOOD, HAND), 0),
        (seen(HAND, alive=False), 0),
        (seen(WARNED), 3),
        (seen(GOOD, alive=False), 19),
        (seen(WARNED, alive=False), 19),
        (seen(GOOD, WARNED, FAILED), 14),
        (seen(FAILED, alive=False), 14),
        (seen(GOOD, conditions=[wrong(AlarmKind.CLOCK_JUMPED)]), 3),
        (seen(GOOD, conditions=[wrong(AlarmKind.CONFIGURATION_INVALID)]), 14),
        (seen(conditions=[wrong(AlarmKind.LEDGER_TROUBLE)]), 23),
    ],
)
def test_the_code_is_that_of_the_worst(overview, code):
    """Unreadable ledger, broken promise, no daemon, a warning, all well: in this order."""
    assert report(overview).code == code


def test_a_timer_needs_no_daemon():
    """Who says so is not told of it."""
    assert report(seen(GOOD, alive=False), needs_daemon=False).code == 0
    assert report(seen(WARNED, alive=False), needs_daemon=False).code == 3


def test_a_restore_that_takes_too_long_misses_an_objective():
    """14, though no condition says so yet."""
    slow = replace(GOOD, rto_target=HOUR, rto_achieved=2 * HOUR)
    assert report(seen(slow)).code == 14


def test_only_what_was_asked_for_counts():
    """Another policy's failure is not shown for this one; what concerns all is."""
    other = replace(
        FAILED, policy="other", conditions=[wrong(AlarmKind.FAILING, ("policy", "other"))]
    )
    both = seen(GOOD, other)
    assert report(both).code == 14
    assert report(both, ["home"]).code == 0
    assert report(both, ["other"]).code == 14
    stale = RepositoryStatus(
        name="primary",
        store="/s",
        conditions=[wrong(AlarmKind.VERIFIER_STALE, ("repository", "primary"))],
    )
    assert report(seen(GOOD, repositories=[stale]), ["home"]).code == 3
    elsewhere = replace(GOOD, repository="second")
    assert report(seen(elsewhere, repositories=[stale]), ["home"]).code == 0


def test_alarms_are_believed_as_far_as_somebody_keeps_them():
    """A daemon that lives clears its alarms; of a dead one's, only what nobody else can see."""
    kinds = (AlarmKind.OVERDUE, AlarmKind.STORAGE_UNREACHABLE)
    alarms = [Alarm(1, wrong(kind), NOW) for kind in kinds]
    assert {each.kind for each in report(seen(GOOD, alarms=alarms)).wrong} == set(kinds)
    alone = report(seen(GOOD, alive=False, alarms=alarms))
    assert [each.kind for each in alone.wrong] == [AlarmKind.STORAGE_UNREACHABLE]


def test_what_is_wrong_with_other_machines_is_theirs():
    """On a shared ledger the alarms of all are open; each machine's status and metrics tell its own."""
    theirs = [
        ("policy", "other"),
        ("repository", "other"),
        ("daemon", "other"),
        ("setting", "web on other"),
    ]
    alarms = [
        Alarm(number, wrong(AlarmKind.FAILING, subject), NOW)
        for number, subject in enumerate([*theirs, ("setting", "web on keeper")], start=1)
    ]
    overview = seen(GOOD, alarms=alarms)
    assert [str(each.subject) for each in report(overview).wrong] == ["setting/web on keeper"]
    assert [each.id for each in urgent(overview)] == [5]


def test_a_run_of_another_machine_is_called_that():
    """Two machines with a policy of the same name share its runs; whoever looks is told."""
    assert _asides(GOOD, GOOD.last_success.process.host) == []
    told = " ".join(_asides(GOOD, "another"))
    assert f"was last backed up by {GOOD.last_success.process.host}, not by this machine" in told


def test_what_is_seen_and_alarmed_is_shown_once():
    """With the words of now."""
    now = wrong(AlarmKind.CLOCK_JUMPED)
    alarm = Alarm(1, replace(now, message="before"), NOW)
    assert report(seen(conditions=[now], alarms=[alarm])).wrong == [now]


def test_long_names_do_not_push_the_columns_off_the_screen():
    """They get a line of their own."""
    name = "a-policy-with-a-rather-long-name-that-somebody-chose"
    promised = policy_of("hourly", "Asia/Kathmandu", name=name, objectives=Objectives(HOUR, HOUR))
    status = Story(promised).run("2026-11-19T09:00").status(NOW)
    lines = _rows([GOOD, status], NOW, lambda text, _colour: text)
    assert name in lines
    assert max(map(len, lines)) <= 80


def test_durations_are_short():
    """Two units without blanks."""
    assert [short(each) for each in (HOUR + 30 * MINUTE, 49 * HOUR)] == ["1h30m", "2d1h"]


def test_instants_are_short_and_in_the_zone_of_the_policy():
    """The time today, the day of the week this week, else the date."""
    zone = policy_of(zone="Europe/Berlin").zone
    assert brief(at("2026-11-21T01:31"), NOW, zone) == "02:31 CET"
    assert brief(at("2026-11-22T01:31"), NOW, zone) == "Sun 02:31 CET"
    assert brief(at("2026-07-01T00:31"), NOW, zone) == "2026-07-01"


def test_commands_are_not_broken_across_lines():
    """What is to be typed can be copied."""
    text = "Correct the path in the policy, or mount what belongs there. Run drkeeper backup files."
    assert sentences(text)[-1] == "  Run drkeeper backup files."
    long = f"{'x' * 70} drkeeper backup --allow-shrink files; then go on"
    assert paragraph(long)[1].startswith("  drkeeper backup --allow-shrink files;")
