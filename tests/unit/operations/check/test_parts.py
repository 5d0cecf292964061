"""The pieces a check is made of: slices, tables of needs, bounded work, bounded findings."""

import os
import threading
import time
import tracemalloc

import pytest
from hypothesis import given, strategies as st

from drkeeper.errors import ConfigurationError
from drkeeper.operations.check import Severity, Slice
from drkeeper.operations.check.bounded import for_each
from drkeeper.operations.check.findings import MAX_FINDINGS, Notes
from drkeeper.operations.check.needs import Needs
from drkeeper.repository.places import ObjectKind, object_name


@given(st.binary(min_size=16, max_size=16), st.integers(1, 100), st.integers(0, 10**6))
def test_every_object_is_in_exactly_one_of_the_slices(object_id, percent, turn):
    """Whatever the percentage and wherever one begins, a full round holds each name once."""
    name = object_name(ObjectKind.PACKS, object_id)
    of = Slice.percent(percent, turn).of
    held = [Slice.percent(percent, turn + k).holds(name) for k in range(of)]
    assert held.count(True) == 1


@pytest.mark.parametrize(("percent", "of"), [(100, 1), (50, 2), (30, 4), (7, 15), (1, 100)])
def test_a_percentage_is_never_less_than_asked_for_in_a_round(percent, of):
    """N percent a time has read everything after 100/N times, rounded up."""
    assert Slice.percent(percent, 0).of == of


@pytest.mark.parametrize("percent", [0, -1, 101])
def test_an_impossible_percentage_is_refused(percent):
    """There is no such share."""
    with pytest.raises(ConfigurationError):
        Slice.percent(percent, 0)


def test_needs_say_which_snapshots_need_what():
    """Masks add up, sessions are remembered, and a second session is told."""
    needs = Needs()
    bits = [needs.snapshot(n) for n in (7, 9, 40)]
    assert needs.add("packs/aa/x", b"s" * 16, bits[0] | bits[2])
    assert needs.add("packs/aa/x", b"s" * 16, bits[1])
    assert not needs.add("packs/aa/x", b"t" * 16, bits[1])
    assert needs.of("packs/aa/x") == (7, 9, 40)
    assert needs.of("packs/bb/y") == ()
    assert needs.session("packs/aa/x") == b"s" * 16
    assert needs.needing_session(b"s" * 16) == (7, 9, 40)
    assert needs.masks() == {b"s" * 16: sum(bits)}
    assert "packs/aa/x" in needs
    assert len(needs) == 1


def test_memory_does_not_grow_with_snapshots():
    """64,000 packs needed by 50 snapshots take 20 MB with their names; ten times that, 200 MB."""
    needs = Needs()
    masks = [needs.snapshot(n) for n in range(50)]
    every = sum(masks)
    sessions = [os.urandom(16) for _ in range(50)]
    tracemalloc.start()
    try:
        for number in range(64_000):
            name = object_name(ObjectKind.PACKS, os.urandom(16))
            for mask in (every & ~masks[number % 50], masks[number % 50]):
                needs.add(name, sessions[number % 50], mask)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 20_000_000


def test_work_is_bounded_in_bytes_and_number():
    """No more is in memory at once than allowed; a thing larger than that goes alone."""
    held = 0
    peaks: list[tuple[int, int]] = []
    running = 0
    lock = threading.Lock()
    mib = 1024 * 1024

    def work(cost: int) -> None:
        nonlocal held, running
        with lock:
            held += cost
            running += 1
            peaks.append((held, running))
        time.sleep(0.002)
        with lock:
            held -= cost
            running -= 1

    costs = [16 * mib] * 20 + [500 * mib] + [16 * mib] * 5
    for_each(costs, work, lambda cost: cost)
    assert len(peaks) == len(costs)
    assert max(count for _, count in peaks) <= 4
    assert max(total for total, _ in peaks if total < 500 * mib) <= 96 * mib
    assert [count for total, count in peaks if total >= 500 * mib] == [1]


def test_things_are_not_looked_at_far_ahead():
    """Of a million things only as many are taken as are being worked on, and the error ends it."""
    taken = 0

    def things():
        nonlocal taken
        for number in range(1_000_000):
            taken += 1
            yield number

    def work(number: int) -> None:
        if number == 50:
            raise ValueError("this one")

    with pytest.raises(ValueError, match="this one"):
        for_each(things(), work)
    assert taken < 200


def test_findings_are_bounded_and_the_rest_counted():
    """A store that lost everything does not fill the memory; errors are kept before all else."""
    notes = Notes()
    for number in range(MAX_FINDINGS + 5):
        notes.add(Severity.NOTE, "probe", f"probe/{number:06d}", "is left")
    notes.error("missing", "packs/aa/x", "is missing", snapshots=[4])
    notes.error("missing", "packs/aa/x", "is missing", snapshots=[4])
    found = notes.sorted()
    assert (len(found), notes.left_out) == (MAX_FINDINGS + 1, 5)
    assert (found[0].code, notes.damaged()) == ("missing", (4,))
