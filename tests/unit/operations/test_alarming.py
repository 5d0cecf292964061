"""Alarms follow conditions, and nothing else is written."""

from datetime import timedelta

import pytest
from hypothesis import given, settings, strategies as st

from doubles.ledgers import BEGINNING, ledger_at
from drkeeper.model.alarm import AlarmKind, Condition, Subject
from drkeeper.operations.alarming import reconcile

SHOP, HOME = Subject("policy", "shop"), Subject("policy", "home")


def condition(kind=AlarmKind.OVERDUE, subject=SHOP, *, message="is overdue", since=BEGINNING):
    return Condition(kind, subject, message, "Run drkeeper status.", since)


@pytest.fixture
def ledger(tmp_path):
    with ledger_at(tmp_path / "ledger.sqlite") as opened:
        yield opened


def test_a_condition_is_raised_once_and_cleared_once(ledger):
    """However often one looks, the ledger gets one event at its beginning and one at its end."""
    first = reconcile(ledger, [condition()], BEGINNING)
    (alarm,) = first.raised
    for minute in range(5):
        again = reconcile(ledger, [condition(message=f"{minute} late")], BEGINNING)
        assert not again.raised
        assert not again.cleared
    events = ledger.last_event().seq
    assert events == alarm.event
    (over,) = reconcile(ledger, [], BEGINNING).cleared
    assert over.id == alarm.id
    assert not reconcile(ledger, [], BEGINNING).cleared
    assert ledger.last_event().seq == events + 1


def test_what_comes_back_is_a_new_alarm(ledger):
    """Flapping is visible: each time has its number, its beginning and its end."""
    numbers = set()
    for _ in range(3):
        numbers.add(reconcile(ledger, [condition()], BEGINNING).raised[0].id)
        reconcile(ledger, [], BEGINNING)
    assert len(numbers) == 3
    assert all(alarm.cleared_at is not None for alarm in ledger.alarms())


def test_kinds_and_subjects_are_alarms_apart(ledger):
    """One policy may be overdue and in violation; two may be overdue."""
    wrong = [
        condition(),
        condition(AlarmKind.RPO_VIOLATED),
        condition(subject=HOME),
        condition(subject=Subject("repository", "shop")),
    ]
    assert len(reconcile(ledger, wrong, BEGINNING).raised) == 4
    (cleared,) = reconcile(ledger, wrong[1:], BEGINNING).cleared
    assert cleared.condition.subject == SHOP


def test_the_first_of_two_words_for_one_thing_counts(ledger):
    """The same condition found twice is one alarm, in the words of the first."""
    wrong = [condition(message="first"), condition(message="second")]
    (alarm,) = reconcile(ledger, wrong, BEGINNING).raised
    assert alarm.condition.message == "first"


def test_nothing_has_been_wrong_since_the_future(ledger):
    """A clock that was set back does not make an alarm begin later than now."""
    future = condition(since=BEGINNING + timedelta(days=3650))
    assert reconcile(ledger, [future], BEGINNING).raised[0].condition.since == BEGINNING


def test_who_does_not_look_cannot_say_that_it_is_over(ledger):
    """On a shared ledger, another machine's policies keep their alarms."""
    reconcile(ledger, [condition(), condition(subject=HOME)], BEGINNING)
    done = reconcile(ledger, [], BEGINNING, mine=lambda subject: subject == HOME)
    assert [alarm.condition.subject for alarm in done.cleared] == [HOME]
    assert [alarm.condition.subject for alarm in ledger.open_alarms()] == [SHOP]


def test_two_that_look_at_once_raise_one_alarm(tmp_path):
    """Two daemons on one ledger find the same condition; it has one number."""
    path = tmp_path / "ledger.sqlite"
    with ledger_at(path) as one, ledger_at(path) as other:
        stale = other.open_alarms()
        (mine,) = reconcile(one, [condition()], BEGINNING).raised

        class Late:
            change_alarms = other.change_alarms

            @staticmethod
            def open_alarms():
                return stale

        assert not reconcile(Late(), [condition()], BEGINNING).raised
        assert [alarm.id for alarm in other.open_alarms()] == [mine.id]
        assert len(one.open_alarms()) == 1


def test_a_thousand_alarms_are_one_transaction(ledger):
    """A store that is down is found by every policy at once, and the ledger is held once."""
    wrong = [condition(subject=Subject("policy", f"p{number}")) for number in range(1000)]
    done = reconcile(ledger, wrong, BEGINNING)
    assert [alarm.condition.subject.name for alarm in done.raised] == [
        f"p{number}" for number in range(1000)
    ]
    assert len(reconcile(ledger, wrong[:1], BEGINNING).cleared) == 999
    assert len(ledger.open_alarms()) == 1
    assert ledger.verify().ok


KINDS = st.sampled_from([AlarmKind.OVERDUE, AlarmKind.FAILING, AlarmKind.EMPTY])
CONDITIONS = st.builds(condition, KINDS, st.sampled_from([SHOP, HOME]))


@settings(max_examples=15, deadline=None)
@given(looks=st.lists(st.lists(CONDITIONS, max_size=4), max_size=8))
def test_after_any_history_open_alarms_are_the_conditions(tmp_path_factory, looks):
    """Whatever came and went, what is open is what is wrong, and a second look writes nothing."""
    with ledger_at(tmp_path_factory.mktemp("ledger") / "ledger.sqlite") as ledger:
        for wrong in looks:
            reconcile(ledger, wrong, BEGINNING)
            held = {(a.condition.kind, a.condition.subject) for a in ledger.open_alarms()}
            assert held == {(each.kind, each.subject) for each in wrong}
            before = ledger.last_event().seq
            reconcile(ledger, wrong, BEGINNING)
            assert ledger.last_event().seq == before
