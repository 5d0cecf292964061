"""Letter boxes: nobody waits for a channel but its own thread."""

import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta

import pytest

from doubles.messages import MESSAGE, message
from doubles.processes import until
from drkeeper.clock import SystemClock
from drkeeper.errors import LedgerError, NotifyError, NotifyUnavailableError
from drkeeper.model.notification import Saying
from drkeeper.notify.base import Beat, Pulse
from drkeeper.operations.delivering import CAPACITY, Letterbox, Patience
from drkeeper.operations.notifying import Delivery

QUICK = Patience(
    total=timedelta(seconds=10),
    attempts=3,
    attempt=timedelta(seconds=1),
    first=timedelta(milliseconds=5),
    rest=timedelta(milliseconds=200),
)
SOON = timedelta(seconds=5)


class Receiver:
    """Takes messages as the test says.

    Attributes:
        told: What was taken.
        tries: How often it was asked.
        errors: Raised by the next attempts, one each.
        gate: Nothing is taken while it is closed.
    """

    def __init__(self, *errors):
        self.told, self.tries, self.errors = [], 0, list(errors)
        self.gate = threading.Event()
        self.gate.set()
        self.asked = threading.Event()

    def send(self, message, *, within=30.0):
        self.tries += 1
        self.asked.set()
        assert 0 < within <= 30
        self.gate.wait(20)
        if self.errors:
            raise self.errors.pop(0)
        self.told.append(message.id)


@contextmanager
def box_of(receiver, *, claim=lambda _delivery: True, patience=QUICK):
    outcomes = []
    box = Letterbox(
        "ops",
        receiver,
        clock=SystemClock(),
        claim=claim,
        report=lambda delivery, outcome: outcomes.append((delivery.message.id, outcome)),
        patience=patience,
    )
    box.begin()
    try:
        yield box, outcomes
    finally:
        receiver.gate.set()
        box.end(timedelta(seconds=5))


def about(number):
    return Delivery("ops", (Saying(number, "raised"),), message(id=f"alarm-{number}"))


def pulse(number):
    sign = replace(MESSAGE, id=f"run-{number}", pulse=Pulse(Beat.ENDED))
    return Delivery("ops", (), sign)


def test_what_is_offered_is_told_in_order():
    """And each outcome is reported once."""
    receiver = Receiver()
    with box_of(receiver) as (box, outcomes):
        assert all(box.offer(about(n)) for n in range(10))
        assert box.end(SOON)
    assert receiver.told == [f"alarm-{n}" for n in range(10)]
    assert [outcome.delivered for _, outcome in outcomes] == [True] * 10
    assert box.trouble is None
    assert box.tried


def test_offering_never_waits_for_a_receiver_that_hangs():
    """A thousand offers to a channel that hangs take no time, and what does not fit is not taken."""
    receiver = Receiver()
    receiver.gate.clear()
    with box_of(receiver) as (box, _):
        began = time.monotonic()
        taken = sum(box.offer(about(n)) for n in range(1000))
        assert time.monotonic() - began < 1
        assert CAPACITY <= taken <= CAPACITY + 1
        assert box.holds(0)
        assert not box.holds(999)
        assert not box.end(timedelta(milliseconds=50))


def test_signs_of_life_replace_the_oldest():
    """They are due nowhere else, so the newest ones are kept."""
    receiver = Receiver()
    receiver.gate.clear()
    with box_of(receiver) as (box, _):
        box.offer(pulse(0))
        receiver.asked.wait(5)
        assert all(box.offer(pulse(n)) for n in range(1, 200))
        receiver.gate.set()
        assert box.end(SOON)
    assert receiver.told == ["run-0", *(f"run-{n}" for n in range(200 - CAPACITY, 200))]


def test_what_may_pass_is_tried_again():
    """Two failures and a success are a success."""
    later = NotifyUnavailableError("busy")
    receiver = Receiver(later, later)
    with box_of(receiver) as (box, outcomes):
        box.offer(about(1))
        until(lambda: outcomes)
    assert receiver.tries == 3
    assert outcomes[0][1].delivered
    assert box.trouble is None


def test_what_will_not_pass_is_not():
    """A refusal is told to the ledger after one attempt, with its reason and no more."""
    receiver = Receiver(NotifyError("refused", hint="Look."))
    with box_of(receiver) as (box, outcomes):
        box.offer(about(1))
        until(lambda: outcomes)
        assert receiver.tries == 1
        assert (outcomes[0][1].delivered, outcomes[0][1].detail) == (False, "refused")
        assert (box.trouble.detail, box.trouble.hint) == ("refused", "Look.")


def test_after_a_failure_the_channel_is_left_alone():
    """What the ledger will bring again is let go, signs of life wait; then it works again."""
    receiver = Receiver(NotifyError("refused"))
    receiver.gate.clear()
    with box_of(receiver) as (box, outcomes):
        box.offer(about(1))
        receiver.asked.wait(5)
        assert box.offer(about(2))
        assert box.offer(pulse(3))
        receiver.gate.set()
        until(lambda: outcomes)
        assert box.resting
        assert not box.offer(about(4))
        assert not box.holds(2)
        since = box.trouble.since
        until(lambda: receiver.told)
        assert receiver.told == ["run-3"]
        assert box.trouble is None
        assert since is not None
        assert box.offer(about(2))
        assert box.end(SOON)
    assert receiver.told == ["run-3", "alarm-2"]


def test_rests_grow_and_trouble_keeps_its_beginning():
    """A channel that goes on failing is asked less and less, and its trouble has one beginning."""
    receiver = Receiver(*[NotifyError(f"no {n}") for n in range(3)])
    patience = replace(QUICK, rest=timedelta(milliseconds=100))
    with box_of(receiver, patience=patience) as (box, outcomes):
        beginnings, rests = [], []
        for number in range(3):
            until(lambda number=number: box.offer(about(number)))
            until(lambda number=number: len(outcomes) > number)
            beginnings.append(box.trouble.since)
            began = time.monotonic()
            until(lambda: not box.resting)
            rests.append(time.monotonic() - began)
        assert len(set(beginnings)) == 1
        assert rests[0] < rests[1] < rests[2]
        assert box.trouble.detail == "no 2"


def test_a_server_that_asks_for_a_long_pause_gets_it():
    """Retry-After beyond the message's own time ends this attempt, and the channel rests so long."""
    receiver = Receiver(NotifyUnavailableError("busy", wait=timedelta(minutes=40)))
    with box_of(receiver) as (box, outcomes):
        box.offer(about(1))
        until(lambda: outcomes)
        assert receiver.tries == 1
        assert box._rest_until - time.monotonic() > 39 * 60


def test_what_somebody_else_tells_is_not_told():
    """A claim that fails ends the matter, without an outcome."""
    receiver = Receiver()
    with box_of(receiver, claim=lambda delivery: delivery.message.id != "alarm-1") as (
        box,
        outcomes,
    ):
        box.offer(about(1))
        box.offer(about(2))
        assert box.end(SOON)
    assert receiver.told == ["alarm-2"]
    assert len(outcomes) == 1


def test_a_ledger_in_trouble_keeps_nobody_from_telling():
    """It may be the very thing to tell."""

    def claim(_delivery):
        raise LedgerError("full")

    receiver = Receiver()
    with box_of(receiver, claim=claim) as (box, _):
        box.offer(about(1))
        assert box.end(SOON)
    assert receiver.told == ["alarm-1"]


def test_a_defect_of_an_adapter_is_a_failure_of_its_channel():
    """It ends neither the thread nor the process, and what it says is not repeated."""
    receiver = Receiver(ValueError("hunter2"))
    with box_of(receiver) as (box, outcomes):
        box.offer(about(1))
        until(lambda: outcomes)
        assert "hunter2" not in box.trouble.detail
        until(lambda: box.offer(about(2)))
        assert box.end(SOON)
    assert receiver.told == ["alarm-2"]


@pytest.mark.parametrize("resting", [False, True])
def test_an_end_delivers_what_waits(resting):
    """A daemon that is stopped says its last words, even to a channel that rests."""
    receiver = Receiver(*([NotifyError("refused")] if resting else []))
    slow = replace(QUICK, rest=timedelta(minutes=5))
    with box_of(receiver, patience=slow) as (box, outcomes):
        if resting:
            box.offer(about(1))
            until(lambda: outcomes)
        box.offer(pulse(2))
        assert box.end(SOON)
        assert not box.offer(pulse(3))
    assert receiver.told == ["run-2"]


def test_boxes_know_nothing_of_each_other():
    """While one channel hangs, another tells a hundred messages."""
    hanging, working = Receiver(), Receiver()
    hanging.gate.clear()
    with box_of(hanging) as (stuck, _), box_of(working) as (free, outcomes):
        stuck.offer(about(0))
        for number in range(100):
            until(lambda number=number: free.offer(about(number)))
        until(lambda: len(outcomes) == 100)
        assert not hanging.told
