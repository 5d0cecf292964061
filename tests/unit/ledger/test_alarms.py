"""Alarms, what was said of them, and daemons' signs of life."""

from datetime import timedelta

import pytest

from doubles.ledgers import BEGINNING, TickingClock, condition, ledger_at, somebody
from drkeeper.errors import LedgerError
from drkeeper.model.alarm import AlarmKind, Subject
from drkeeper.model.notification import Notification


def test_an_alarm_is_remembered_from_raise_to_clear(ledger):
    """It says what was wrong, since when, and when it was over; its number is its event."""
    raised = ledger.raise_alarm(condition())
    assert raised.condition == condition()
    assert (raised.id, raised.event, raised.cleared_at) == (2, 2, None)
    assert ledger.open_alarms() == [raised]
    cleared = ledger.clear_alarm(raised.id)
    assert cleared.cleared_at > raised.raised_at
    assert (cleared.id, cleared.event) == (2, 3)
    assert ledger.open_alarms() == []
    assert ledger.alarms() == [cleared]
    assert ledger.verify().ok


def test_an_alarm_is_raised_once(ledger):
    """Two daemons that see the same condition raise one alarm; other subjects have their own."""
    first = ledger.raise_alarm(condition())
    again = ledger.raise_alarm(condition(message="in other words"))
    assert again == first
    others = [
        ledger.raise_alarm(condition(kind=AlarmKind.FAILING)),
        ledger.raise_alarm(condition(subject=Subject("policy", "shop"))),
        ledger.raise_alarm(condition(subject=Subject("repository", "home"))),
    ]
    assert ledger.open_alarms() == [first, *others]


def test_a_condition_that_returns_is_a_new_alarm(ledger):
    """Cleared once, an alarm stays cleared: what comes later is another one."""
    first = ledger.raise_alarm(condition())
    ledger.clear_alarm(first.id)
    second = ledger.raise_alarm(condition())
    assert second.id != first.id
    assert [alarm.id for alarm in ledger.alarms()] == [second.id, first.id]
    assert [alarm.id for alarm in ledger.alarms(limit=1)] == [second.id]


def test_an_alarm_is_cleared_once(ledger):
    """Clearing again changes nothing; clearing what was never raised is an error."""
    raised = ledger.raise_alarm(condition())
    cleared = ledger.clear_alarm(raised.id)
    assert ledger.clear_alarm(raised.id) == cleared
    assert len(ledger.events()) == 3
    with pytest.raises(LedgerError, match="no alarm 1"):
        ledger.clear_alarm(1)


def test_words_of_alarms_hold_no_secrets(ledger):
    """What looks like a secret in a message is taken out, and very long ones are cut."""
    raised = ledger.raise_alarm(condition(message="https://me:hunter2@store/ " + "x" * 10_000))
    assert raised.condition.message.startswith("https://[redacted]@store/ xxx")
    assert raised.condition.message.endswith("… (cut)")
    assert ledger.open_alarms() == [raised]


def test_what_was_said_is_on_record(ledger):
    """Channel, alarm, words and outcome of a notification come back as they were."""
    alarm = ledger.raise_alarm(condition())
    ledger.record_notification("mail", alarm.id, "raised", delivered=False, detail="451 later")
    (found,) = ledger.notifications()
    assert found == Notification(
        channel="mail",
        alarm=alarm.id,
        what="raised",
        delivered=False,
        detail="451 later",
        sent_at=found.sent_at,
        event=3,
    )
    assert ledger.verify().ok


def test_the_last_word_of_each_channel_about_each_alarm(ledger):
    """Of many notifications the newest a channel and an alarm count; a digest is about none."""
    one, two = (
        ledger.raise_alarm(condition(subject=Subject("policy", name))).id for name in ("a", "b")
    )
    said = [("mail", one), ("mail", one), ("hook", one), ("mail", two), ("mail", None)]
    for number, (channel, alarm) in enumerate(said):
        ledger.record_notification(channel, alarm, f"word {number}", delivered=True)
    last = ledger.last_notifications()
    assert {key: found.what for key, found in last.items()} == {
        ("mail", one): "word 1",
        ("hook", one): "word 2",
        ("mail", two): "word 3",
        ("mail", None): "word 4",
    }


def test_alarms_of_long_ago_are_left_out(ledger):
    """Asked so, what was said of alarms that were cleared before an instant is not returned."""
    one, two = (
        ledger.raise_alarm(condition(subject=Subject("policy", name))).id for name in ("a", "b")
    )
    for alarm in (one, two, None):
        ledger.record_notification("mail", alarm, "raised", delivered=True)
    cleared_at = ledger.clear_alarm(one).cleared_at
    asked = ledger.last_notifications(cleared_since=cleared_at + timedelta(seconds=1))
    assert set(asked) == {("mail", two), ("mail", None)}
    assert len(ledger.last_notifications(cleared_since=cleared_at)) == 3


def test_nothing_is_said_of_an_alarm_that_never_was(ledger):
    """A notification names an alarm of this ledger, or none."""
    with pytest.raises(LedgerError, match="never raised"):
        ledger.record_notification("mail", 99, "raised", delivered=True)
    assert len(ledger.events()) == 1


def test_daemons_show_that_they_live(place):
    """Each daemon has one sign of life, its newest; the newest of all comes first."""
    clock = TickingClock()
    for pid in (1, 2, 1):
        with ledger_at(place, clock=clock, me=lambda p=pid: somebody(pid=p)) as ledger:
            ledger.beat("1.2.3", BEGINNING)
            events = len(ledger.events())
    with ledger_at(place, clock=clock) as ledger:
        newest, other = ledger.daemons()
        assert (newest.process, other.process) == (somebody(pid=1), somebody(pid=2))
        assert (newest.version, newest.started_at) == ("1.2.3", BEGINNING)
        assert newest.beat_at <= ledger.now()
        assert ledger.verify().ok
    assert events == 1  # signs of life are no evidence


def test_silent_daemons_are_forgotten(tmp_path):
    """A daemon that has shown no sign of life for a week is not listed for ever."""
    clock = TickingClock()
    for pid in (1, 2):
        options = {"clock": clock, "me": lambda p=pid: somebody(pid=p)}
        with ledger_at(tmp_path / "state" / "ledger.sqlite", **options) as ledger:
            ledger.beat("1.2.3", BEGINNING)
            clock.sleep(timedelta(days=8).total_seconds())
    with ledger_at(tmp_path / "state" / "ledger.sqlite", clock=clock) as ledger:
        assert [beat.process.pid for beat in ledger.daemons()] == [2]


def test_a_clock_that_was_set_back_leaves_no_daemon_of_the_future(tmp_path):
    """A daemon that died while the clock was ten years ahead does not live for ten years."""
    clock = TickingClock(BEGINNING + timedelta(days=3650))
    path = tmp_path / "state" / "ledger.sqlite"
    with ledger_at(path, clock=clock, me=lambda: somebody(pid=1)) as ledger:
        ledger.beat("1.2.3", BEGINNING)
    with ledger_at(path, me=lambda: somebody(pid=2)) as ledger:
        ledger.beat("1.2.3", BEGINNING)
        assert [beat.process.pid for beat in ledger.daemons()] == [2]
