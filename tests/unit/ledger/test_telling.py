"""Claims and alarms, many at a time; on every database."""

import threading

import pytest

from doubles.ledgers import condition, ledger_at, somebody
from drkeeper.errors import LedgerError
from drkeeper.model.alarm import Subject
from drkeeper.model.notification import Saying


def last(ledger, channel="ops"):
    """Return the number of the newest notification of each alarm of a channel."""
    found = ledger.last_notifications().items()
    return {alarm: each.event for (name, alarm), each in found if name == channel}


@pytest.fixture
def alarm(ledger):
    return ledger.raise_alarm(condition()).id


def test_a_claim_holds_until_something_newer_is_there(ledger, alarm):
    """Who knows the newest notification may tell; who knows an older one was too slow."""
    mine = [Saying(alarm, "raised")]
    assert ledger.claim_notifications("ops", mine, detail="being sent") == mine
    assert ledger.claim_notifications("ops", mine, detail="being sent") == []
    assert ledger.claim_notifications("night", mine, detail="being sent") == mine
    ledger.record_notifications("ops", mine, delivered=True)
    again = [Saying(alarm, "reminder", after=last(ledger)[alarm])]
    assert ledger.claim_notifications("ops", mine, detail="x") == []
    assert ledger.claim_notifications("ops", again, detail="x") == again
    assert ledger.verify().ok


def test_digests_are_claimed_like_alarms(ledger, alarm):
    """They are about no alarm, and apart from those that are."""
    digest = [Saying(None, "digest")]
    ledger.claim_notifications("ops", [Saying(alarm, "raised")], detail="x")
    assert ledger.claim_notifications("ops", digest, detail="x") == digest
    assert ledger.claim_notifications("ops", digest, detail="x") == []
    newer = [Saying(None, "digest", after=last(ledger)[None])]
    assert ledger.claim_notifications("ops", newer, detail="x") == newer


def test_many_are_claimed_at_once_and_each_by_one(ledger):
    """Of many, those are given back that nobody else tells."""
    begun, _ = ledger.change_alarms(
        begun=[condition(subject=Subject("policy", f"p{number}")) for number in range(50)]
    )
    sayings = [Saying(alarm.id, "raised") for alarm in begun]
    assert ledger.claim_notifications("ops", sayings[::2], detail="x") == sayings[::2]
    assert ledger.claim_notifications("ops", sayings, detail="x") == sayings[1::2]
    ledger.record_notifications("ops", sayings, delivered=False, detail="no answer")
    assert {each.detail for each in ledger.last_notifications().values()} == {"no answer"}
    assert ledger.verify().ok


def test_one_of_many_that_claim_at_the_same_time_wins(place):
    """Eight threads with ledgers of their own, forty claims: each is won once."""
    with ledger_at(place) as ledger:
        begun, _ = ledger.change_alarms(
            begun=[condition(subject=Subject("policy", f"p{number}")) for number in range(40)]
        )
    won, together = [], threading.Barrier(8)

    def claim(number):
        with ledger_at(place, me=lambda: somebody(pid=number)) as mine:
            together.wait()
            for alarm in begun:
                found = mine.claim_notifications("ops", [Saying(alarm.id, "raised")], detail="x")
                won.extend(each.alarm for each in found)

    threads = [threading.Thread(target=claim, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won) == [alarm.id for alarm in begun]


def test_a_notification_about_no_alarm_there_is_is_refused(ledger):
    """Nothing is recorded of it, and the ledger goes on."""
    with pytest.raises(LedgerError):
        ledger.record_notifications("ops", [Saying(99, "raised")], delivered=True)
    assert ledger.last_notifications() == {}
    assert ledger.verify().ok


def test_alarms_change_together_or_not_at_all(ledger):
    """What begins and what ends is one transaction; what is there already is left as it is."""
    old = ledger.raise_alarm(condition())
    other = condition(subject=Subject("policy", "shop"))
    begun, over = ledger.change_alarms(
        begun=[condition(), other, other], over=[old.id, old.id, 999]
    )
    assert [alarm.condition for alarm in begun] == [other]
    assert [alarm.id for alarm in over] == [old.id]
    assert over[0].cleared_at == begun[0].raised_at
    assert ledger.open_alarms() == begun
    before = ledger.last_event().seq
    assert ledger.change_alarms(begun=[other], over=[old.id]) == ([], [])
    assert ledger.change_alarms() == ([], [])
    assert ledger.last_event().seq == before
    assert ledger.verify().ok
