"""The thread that does the work of a tick."""

import threading
from datetime import timedelta

import pytest

from doubles.clock import FakeClock
from drkeeper.app.daemon.rounds import Rounds

LONG = timedelta(seconds=5)


class Work:
    """Counts rounds; may be made to hang or to fail."""

    def __init__(self):
        self.done = threading.Semaphore(0)
        self.free = threading.Event()
        self.free.set()
        self.error = None
        self.begun = 0

    def __call__(self):
        self.begun += 1
        self.free.wait(10)
        try:
            if self.error is not None:
                raise self.error
        finally:
            self.done.release()


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def work():
    return Work()


@pytest.fixture
def errors():
    return []


@pytest.fixture
def rounds(work, clock, errors):
    made = Rounds(work, clock=clock, patience=LONG, name="test", on_error=errors.append)
    yield made
    work.free.set()
    made.end(LONG)


def test_it_works_when_called(rounds, work):
    """Once at the beginning and once for each call."""
    rounds.begin()
    assert work.done.acquire(timeout=5)
    rounds.call()
    assert work.done.acquire(timeout=5)


def test_calls_during_a_round_are_one(rounds, work):
    """However many ticks pass while one goes on, one follows."""
    work.free.clear()
    rounds.begin()
    while not work.begun:
        pass
    for _ in range(10):
        rounds.call()
    work.free.set()
    assert work.done.acquire(timeout=5)
    assert work.done.acquire(timeout=5)
    assert not work.done.acquire(timeout=0.1)


def test_it_works_without_a_call_when_none_comes(work, clock, errors):
    """A clock that has stopped ticking stops nothing else."""
    rounds = Rounds(
        work, clock=clock, patience=timedelta(milliseconds=20), name="test", on_error=errors.append
    )
    rounds.begin()
    assert all(work.done.acquire(timeout=5) for _ in range(3))
    assert rounds.end(LONG)


def test_a_defect_ends_a_round_only(rounds, work, errors, clock):
    """It is told, the round does not count as done, and the next one may."""
    work.error = ValueError("defect")
    clock.advance(timedelta(minutes=1))
    rounds.once()
    assert errors == [work.error]
    assert rounds.late == timedelta(minutes=1)
    work.error = None
    rounds.once()
    assert rounds.late == timedelta()


def test_the_end_does_not_wait_for_ever(rounds, work):
    """A round that hangs is left alone after a while."""
    work.free.clear()
    rounds.begin()
    while not work.begun:
        pass
    assert not rounds.end(timedelta(milliseconds=50))
    work.free.set()
    assert rounds.end(LONG)
