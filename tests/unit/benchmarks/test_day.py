"""A daemon may live for years: what it holds after a day is what it held after some hours."""

import gc
import os
import sys
import tempfile
from pathlib import Path

import pytest
from benchmarks.day import a_day
from benchmarks.keeping import load, make_files

RUNS = 1440
WARM = 300
"""Runs after which all memories are full: the planner looks at 32 of a policy, caches fill by the day."""
LOOK_EVERY = 60
MOST_BLOCKS = 1000
"""Less than one for each run that follows: whatever is kept of every run takes more."""


@pytest.fixture
def root(tmp_path):
    """Lend a folder in memory, where there is one: the time goes to waiting for the disk."""
    shared = Path("/dev/shm")
    if not os.access(shared, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=shared, prefix="drkeeper-test-") as folder:
        yield Path(folder)


def held():
    """Count the blocks of memory that live."""
    gc.collect()
    return sys.getallocatedblocks()


def test_memory_is_flat_over_a_day_of_minutely_runs(root):
    """1,440 runs, each planned, queued, claimed, ended and looked at: nothing of them stays."""
    configuration = load(make_files(root, 1, "every 1m"))
    with a_day(configuration) as day:
        runs = sum(day.minute(look=minute % LOOK_EVERY == 0) for minute in range(WARM))
        warm = held()
        runs += sum(day.minute(look=minute % LOOK_EVERY == 0) for minute in range(RUNS - WARM))
        grown = held() - warm
        assert runs >= RUNS - 1
        assert day.concerns.held() == ()
    assert grown < MOST_BLOCKS
