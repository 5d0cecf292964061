"""What the page asks of the ledger and of the files beside it."""

from datetime import UTC, timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from doubles.clock import FakeClock
from drkeeper.app.config.configuration import Configuration
from drkeeper.app.config.locations import Locations
from drkeeper.app.daemon.reading import LedgerReader
from drkeeper.app.wiring.runlogs import RunLog, log_path
from drkeeper.app.wiring.runs import open_run_ledger
from drkeeper.errors import InstantNotReachableError
from drkeeper.model.policy import FilesSource, Policy
from drkeeper.model.run import Operation, RunFailure, RunId, RunState
from drkeeper.model.schedule import parse_schedule

SHOP = Policy("shop", FilesSource(("/srv", "/etc")), "primary", "UTC", UTC)


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def configuration(tmp_path):
    places = Locations(*[Path("/nonexistent")] * 3, tmp_path, tmp_path, chosen_by="a test")
    hourly = replace(SHOP, name="hourly", schedule=parse_schedule("hourly"))
    return Configuration(places, "here", "UTC", policies={"shop": SHOP, "hourly": hourly})


@pytest.fixture
def ledger(tmp_path, clock):
    with open_run_ledger(tmp_path / "ledger.sqlite", host="here", clock=clock) as opened:
        yield opened


@pytest.fixture
def reader(configuration, ledger, clock):
    return LedgerReader(lambda: configuration, lambda: ledger, clock)


def test_the_words_of_a_policy_are_those_of_its_file(reader, clock):
    """What it protects, when, the next ten runs; by hand alone there are none."""
    words = reader.words("hourly")
    assert words.protects == ["/srv", "/etc"]
    assert words.schedule
    begin = clock.now() + timedelta(hours=1)
    assert words.next_runs == [begin + n * timedelta(hours=1) for n in range(10)]
    by_hand = reader.words("shop")
    assert (by_hand.schedule, by_hand.next_runs) == ("", [])
    assert reader.words("gone") is None


def test_runs_are_found_by_policy_and_by_state(reader, ledger):
    """Newest first, no more than asked for, counted by how they ended."""
    first = ledger.begin_run("shop", Operation.BACKUP)
    ledger.end_run(first, RunState.SUCCEEDED)
    second = ledger.begin_run("hourly", Operation.BACKUP)
    assert [run.id for run in reader.runs(limit=5)] == [second, first]
    assert [run.id for run in reader.runs(policy="shop", limit=5)] == [first]
    assert [run.id for run in reader.runs(state=RunState.RUNNING, limit=5)] == [second]
    assert len(reader.runs(limit=1)) == 1
    assert reader.run(first).policy == "shop"
    assert reader.run("nobody") is None
    assert reader.run_counts()[RunState.SUCCEEDED] == 1
    assert list(reader.points("shop", limit=3)) == []
    assert list(reader.alarms(limit=3)) == []


def test_the_log_of_a_run_is_what_it_wrote(reader, tmp_path, clock):
    """Nothing for a run that left none, or whose name is none."""
    run = RunId("0123456789abcdef")
    log = RunLog(log_path(tmp_path, run), clock, lambda line: line)
    log.line("it has begun")
    log.close()
    assert "it has begun" in reader.log(run).text
    assert reader.log("f" * 16) is None


def test_a_report_is_computed_once_for_the_same_ledger(reader, ledger, clock):
    """It tells what was recorded, also what came in meanwhile; what is no quarter is none."""
    run = ledger.begin_run("shop", Operation.BACKUP)
    ledger.end_run(run, RunState.FAILED, failure=RunFailure("StorageError", "store is gone", 17))
    clock.sleep(120)
    first = reader.report(None)
    assert b"store is gone" in first
    assert reader.report("2026Q1") is first
    other = ledger.begin_run("shop", Operation.BACKUP)
    ledger.end_run(other, RunState.FAILED, failure=RunFailure("StorageError", "so it is", 17))
    clock.sleep(120)
    assert b"so it is" in reader.report(None)
    assert reader.report("last year") is None
    with pytest.raises(InstantNotReachableError, match="has nothing of quarter 2019Q1"):
        reader.report("2019Q1")
