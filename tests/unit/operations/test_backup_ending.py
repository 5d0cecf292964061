"""A backup that is told to end brings to safety what it has read."""

import itertools
import os
import random
from contextlib import contextmanager
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from doubles.backups import new_machine
from drkeeper.operations.backup import back_up


class Ended(BaseException):
    """What ends the program."""


class EndingAfter:
    """Wants the end when it has been asked so often.

    Attributes:
        deferred: Whether the operation asked for time.
    """

    def __init__(self, times):
        self._asked = itertools.count()
        self._times = times
        self._now = False
        self.deferred = False

    @property
    def wanted(self):
        self._now = self._now or next(self._asked) >= self._times
        return self._now

    @contextmanager
    def deferring(self):
        self.deferred = True
        yield

    def end(self):
        raise Ended


@pytest.fixture
def machine(tmp_path):
    """Return a machine with a tree of forty files in eight folders, one of them of many chunks."""
    machine = new_machine(tmp_path)
    for number in range(40):
        machine.write(f"d{number % 8}/{number:02}", b"%d" % number * (number * 500))
    machine.write("d3/large", bytes(range(256)) * 20_000)
    return machine


def test_everything_that_was_read_is_committed(machine):
    """Few files are no full piece of a manifest, and are kept all the same; the next run goes on."""
    ending = EndingAfter(20)
    with pytest.raises(Ended):
        back_up(machine.request(ending=ending))
    assert ending.deferred
    repository = machine.repository()
    partial = repository.live_commits()[-1]
    assert not partial.complete
    held = {entry.path for entry, _ in machine.snapshot(partial).contents()}
    assert len(held) >= 20
    assert not repository.journal.state.sessions
    report = machine.back_up()
    assert report.continued == partial.n
    machine.assert_snapshot_is_tree(report.commit)
    after = machine.back_up()
    assert after.read_bytes == 0


class Telling:
    """A store that tells an ending when it has its first pack."""

    def __init__(self, store, ending):
        self._store, self._ending = store, ending

    def put(self, key, data):
        self._store.put(key, data)
        self._ending.now = self._ending.now or key.startswith("packs/")

    def __getattr__(self, name):
        return getattr(self._store, name)


class EndingNow(EndingAfter):
    """Wants the end when somebody says so."""

    now = False

    def __init__(self):
        super().__init__(0)

    @property
    def wanted(self):
        return self.now


@pytest.mark.parametrize("patient", [True, False])
def test_a_large_file_is_left_out_when_it_would_take_too_long(machine, patient):
    """It does not cost what was read before it; a file that is nearly done is finished."""
    ending = EndingNow()
    repository = machine.repository(Telling(machine.store, ending))
    chance = random.Random(1)
    machine.write("d6/before", chance.randbytes(1_000_000))
    machine.write("d7/huge", chance.randbytes(90_000_000))
    within = timedelta(minutes=1 if patient else 0)
    with pytest.raises(Ended):
        back_up(machine.request(repository=repository, ending=ending, finish_within=within))
    repository = machine.repository()
    partial = repository.live_commits()[-1]
    held = {entry.path for entry, _ in machine.snapshot(partial).contents()}
    tree = os.fsencode(machine.tree)[1:]
    assert tree + b"/d6/before" in held
    assert (tree + b"/d7/huge" in held) == patient
    assert (len(machine.objects("packs/")) >= 6) == patient
    assert not repository.journal.state.sessions
    report = machine.back_up()
    assert report.continued == partial.n
    assert report.new_bytes < (10_000 if patient else 91_000_000)
    machine.assert_snapshot_is_tree(report.commit)


def test_an_end_that_comes_when_all_is_read_comes_after_the_snapshot(machine):
    """Finishing is better than beginning again."""
    report = back_up(machine.request(ending=EndingAfter(10_000)))
    assert report.commit.complete


@settings(
    max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    ends=st.lists(st.integers(0, 60), min_size=1, max_size=4),
    within=st.sampled_from([timedelta(), timedelta(seconds=15)]),
)
def test_any_number_of_ends_anywhere_loses_nothing(machine, ends, within):
    """However often and wherever it is told to end, what is committed in the end is the tree."""
    machine.write(f"d5/new-{len(ends)}", b"new")
    for times in ends:
        try:
            back_up(machine.request(ending=EndingAfter(times), finish_within=within))
        except Ended:
            continue
    report = machine.back_up()
    machine.assert_snapshot_is_tree(report.commit)
