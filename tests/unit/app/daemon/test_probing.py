"""Which stores answer, asked by a process of its own."""

import sys
import threading
from datetime import timedelta

import pytest

from doubles.clock import FakeClock
from drkeeper.app.daemon.probing import Prober, answers_of

LINES = (
    '{"message_type":"item","repository":"primary","reachable":true}\n'
    '{"message_type":"item","repository":"offsite","reachable":false,"why":"no answer"}\n'
    '{"message_type":"summary","reachable":false}\n'
)


def test_answers_are_read_whatever_is_between_them():
    """Half a line, another's words, a wrong type: what is no answer is left out."""
    noise = b'\xff\xfe\n[]\n{"message_type":"item","repository":7,"reachable":true}\n{"message'
    assert answers_of(LINES.encode() + noise) == {"primary": True, "offsite": False}


@pytest.fixture
def looked():
    return threading.Semaphore(0)


@pytest.fixture
def prober(looked):
    """Return a function that makes a prober which runs a script, ended with the test."""
    made = []

    def make(script, every=timedelta(hours=1)):
        command = [sys.executable, "-S", "-c", script]
        clock = FakeClock()
        made.append(Prober(command, {}, every, clock=clock, on_look=looked.release))
        made[-1].begin()
        return made[-1]

    yield make
    for each in made:
        each.end()


def test_what_the_process_said_is_known(prober, looked):
    """Each store, and when it was asked."""
    found = prober(f"print({LINES.splitlines()[0]!r})")
    assert looked.acquire(timeout=10)
    assert found.reachable() == {"primary": (True, FakeClock().now())}


def test_a_process_that_fails_changes_nothing(prober, looked):
    """No answer is not the answer that a store is gone; it only grows old."""
    found = prober("raise SystemExit(70)")
    assert looked.acquire(timeout=10)
    assert found.reachable() == {}


def test_the_end_waits_for_nobody(prober):
    """A question that hangs is given up with its process."""
    found = prober("import time; time.sleep(600)")
    while found._child is None:
        pass
    child = found._child
    found.end()
    assert child.wait(5) == -9


def test_an_end_before_the_second_question_leaves_no_doubt_behind(tmp_path, prober, looked):
    """A daemon that is stopped meanwhile must not leave an alarm that nobody clears."""
    asked = tmp_path / "asked"
    line = LINES.splitlines()[1]
    found = prober(f"import pathlib; pathlib.Path({str(asked)!r}).touch(); print({line!r})")
    while not asked.exists() or found._child is not None:
        pass
    found.end()
    assert found.reachable() == {}
    assert not looked.acquire(blocking=False)


def test_a_store_is_asked_twice_before_it_counts_as_gone(tmp_path):
    """One lost answer raises no alarm."""
    memory = tmp_path / "asked"
    script = (
        f"import pathlib; memory = pathlib.Path({str(memory)!r})\n"
        "again = memory.exists(); memory.touch()\n"
        "line = {True: 'true', False: 'false'}[again]\n"
        'print(\'{"message_type":"item","repository":"a","reachable":%s}\' % line)\n'
    )
    found = Prober(
        [sys.executable, "-S", "-c", script],
        {},
        timedelta(hours=1),
        clock=FakeClock(),
        on_look=lambda: None,
        second_look=timedelta(milliseconds=10),
    )
    found.look()
    assert found.reachable()["a"][0]
