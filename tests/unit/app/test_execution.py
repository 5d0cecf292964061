"""The executor with programs that stand for drkeeper: floods, crashes, hangs, limits, ends."""

import os
import sys
import textwrap
import time
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest

from doubles.processes import alive, until
from drkeeper.app.wiring.children import Program
from drkeeper.app.wiring.ends import Ended
from drkeeper.app.wiring.execution import Executor, Surroundings
from drkeeper.app.wiring.places import Places
from drkeeper.app.wiring.runlogs import MOST_BYTES, read_log
from drkeeper.app.wiring.runs import open_run_ledger
from drkeeper.clock import SystemClock
from drkeeper.model.policy import FilesSource, Limits, Policy
from drkeeper.model.run import Operation, RunId, RunState
from drkeeper.model.windows import Window

SECOND = timedelta(seconds=1)
ROOMY = Places()


def policy(name="home", repository="primary", **limits):
    """Return a policy."""
    return Policy(
        name=name,
        source=FilesSource(("/srv",)),
        repository=repository,
        zone_name="UTC",
        zone=UTC,
        limits=Limits(**limits),
    )


@dataclass
class World:
    """A state folder, a ledger and executors that start scripts in drkeeper's place."""

    folder: object
    ended: list[Ended] = field(default_factory=list)
    said: list[tuple[str, dict]] = field(default_factory=list)

    def open_ledger(self):
        """Open the ledger."""
        return open_run_ledger(self.folder / "ledger.sqlite", host="here", clock=SystemClock())

    def program(self, script):
        """Return a program that is this script; sys.argv ends with the policy."""
        words = (
            sys.executable,
            "-S",
            "-c",
            "import json, os, signal, sys, time\n" + textwrap.dedent(script),
        )
        return Program(words, self.folder / "drkeeper.yaml", dict(os.environ))

    @contextmanager
    def executor(self, script, places=ROOMY, on_end=None):
        """Lend an executor, and see that nothing is left of it."""
        around = Surroundings(
            program=self.program(script),
            state=self.folder,
            open_ledger=self.open_ledger,
            clock=SystemClock(),
            redact=lambda line: line.replace("hunter2", "[redacted]"),
            log=lambda event, **fields: self.said.append((event, fields)),
        )
        executor = Executor(around, places, on_end=on_end or self.ended.append)
        try:
            yield executor
        finally:
            pids = [running.pid for running in executor.running().values()]
            executor.stop(timedelta())
            assert not any(alive(pid) for pid in pids)
            assert not executor.alive()

    def queue(self, name="home"):
        """Queue a run."""
        with self.open_ledger() as ledger:
            return ledger.queue_run(name, Operation.BACKUP)

    def run(self, run):
        """Return a run."""
        with self.open_ledger() as ledger:
            return ledger.run(run)


@pytest.fixture
def world(tmp_path):
    """Return an empty state folder."""
    return World(tmp_path)


def test_what_a_child_tells_is_told_and_logged(world):
    """Progress moves, errors and the summary are kept, secrets are not."""
    script = """
    print(json.dumps({"message_type": "status", "phase": "read", "files": 3}), flush=True)
    print("password hunter2", file=sys.stderr, flush=True)
    time.sleep(0.5)
    print(json.dumps({"message_type": "error", "error": "StorageError", "code": 17, "message": "no",
                      "hint": "Look."}))
    print(json.dumps({"message_type": "summary", "result": "failed"}))
    print("[" * 100000)
    print("no json")
    sys.exit(17)
    """
    run = world.queue()
    with world.executor(script) as executor:
        executor.start(policy(), run)
        found = until(lambda: [each for each in executor.running().values() if each.progress])
        assert found[0].progress["files"] == 3
        until(executor.idle)
    (ended,) = world.ended
    assert (ended.code, ended.error["message"], ended.summary["result"]) == (17, "no", "failed")
    log = read_log(world.folder, run)
    assert "error: no" in log
    assert "hint: Look." in log
    assert "[redacted]" in log
    assert "hunter2" not in log


def test_a_child_that_ends_before_it_claims_its_run_has_failed(world):
    """The ledger says so in the child's own words, so that it is not started again at every tick."""
    run = world.queue()
    script = """
    print(json.dumps({"message_type": "error", "error": "ConfigurationError", "code": 13,
                      "message": "no policy 'home'", "hint": "Correct it."}))
    sys.exit(13)
    """
    with world.executor(script) as executor:
        executor.start(policy(), run)
        until(executor.idle)
    found = world.run(run)
    assert found.state is RunState.FAILED
    assert (found.failure.kind, found.failure.exit_code) == ("ConfigurationError", 13)
    assert found.failure.message == "no policy 'home'"


def test_a_program_that_cannot_be_started_has_failed(world):
    """drkeeper was removed while its daemon ran: the run fails with a reason, and no other way."""
    run = world.queue()
    with world.executor("") as executor:
        executor.program = replace(executor.program, words=("/nonexistent/python",))
        executor.start(policy(), run)
        until(executor.idle)
    found = world.run(run)
    assert found.state is RunState.FAILED
    assert "No such file" in found.failure.message


@pytest.mark.parametrize("stream", [1, 2])
def test_a_flood_is_bounded_and_harms_no_other(world, stream):
    """A child that writes without end, without a line feed even, neither fills memory nor disk."""
    flood, calm = world.queue("flood"), world.queue("calm")
    script = f"""
    if sys.argv[-1] == "calm":
        sys.exit(0)
    while True:
        os.write({stream}, b"x" * 65536)
    """
    with world.executor(script) as executor:
        executor.start(policy("flood"), flood)
        until(executor.running)
        executor.start(policy("calm"), calm)
        until(lambda: world.ended)
        assert world.ended[0].policy == "calm"
        time.sleep(0.5)
    assert len(read_log(world.folder, flood)) <= MOST_BYTES


def test_a_killed_child_leaves_nothing_behind(world):
    """What it began is in its session, and ends with it; those that hang are killed."""
    script = """
    import subprocess
    hook = subprocess.Popen(["/bin/sh", "-c", "trap '' TERM; while :; do sleep 1; done"],
                            process_group=0)
    print(hook.pid, flush=True)
    print(json.dumps({"message_type": "status", "phase": "read", "files": hook.pid}), flush=True)
    time.sleep(0.3)
    os.kill(os.getpid(), signal.SIGKILL)
    """
    run = world.queue()
    with world.executor(script) as executor:
        executor.start(policy(), run)
        found = until(lambda: [each for each in executor.running().values() if each.progress])
        hook = found[0].progress["files"]
        assert alive(hook)
        until(executor.idle)
        assert not alive(hook)
    assert world.ended[0].signal == 9
    assert "was killed by signal 9" in read_log(world.folder, run)
    assert world.run(run).state is RunState.FAILED


CLAIMING = f"""
sys.path[:0] = {sys.path!r}
from pathlib import Path
from drkeeper.app.wiring.runs import LEASE, open_run_ledger
from drkeeper.clock import SystemClock
from drkeeper.model.run import RunState
run = sys.argv[sys.argv.index("--run") + 1]
place = Path(sys.argv[sys.argv.index("--config") + 1]).parent / "ledger.sqlite"
with open_run_ledger(place, host="here", clock=SystemClock()) as ledger:
    assert ledger.claim_run(run, lease=LEASE)
"""


def test_a_run_that_is_killed_alone_has_failed(world):
    """Somebody has ended it on purpose, or memory was short: at once it would only happen again."""
    run = world.queue()
    with world.executor(CLAIMING + "os.kill(os.getpid(), signal.SIGKILL)") as executor:
        executor.start(policy(), run)
        until(executor.idle)
    found = world.run(run)
    assert found.state is RunState.FAILED
    assert found.failure.message.endswith("was killed by signal 9, perhaps for want of memory")
    assert "limits.memory" in found.failure.hint


def test_a_run_that_somebody_else_told_to_end_has_failed(world):
    """It calls itself interrupted, and would be made up for, and ended again, at every tick."""
    script = CLAIMING + textwrap.dedent("""
    with open_run_ledger(place, host="here", clock=SystemClock()) as ledger:
        ledger.end_run(run, RunState.INTERRUPTED)
    sys.exit(143)
    """)
    run = world.queue()
    with world.executor(script) as executor:
        executor.start(policy(), run)
        until(executor.idle)
    assert world.run(run).state is RunState.FAILED
    assert "somebody else" in world.run(run).failure.message


def test_a_run_that_was_asked_to_end_is_made_up_for(world):
    """Who stops the daemon wants no run to have failed, also when it had to be killed."""
    script = CLAIMING + textwrap.dedent("""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print(json.dumps({"message_type": "status", "files": 1}), flush=True)
    time.sleep(60)
    """)
    run = world.queue()
    with world.executor(script) as executor:
        executor.start(policy(), run)
        until(lambda: [each for each in executor.running().values() if each.progress])
        executor.stop(timedelta())
    assert world.run(run).state is RunState.INTERRUPTED


def test_a_run_that_could_not_record_its_end_is_not_made_up_for(world):
    """Its process says that it made a snapshot: that is what the ledger gets to know."""
    run = world.queue()
    with world.executor(CLAIMING + "sys.exit(3)") as executor:
        executor.start(policy(), run)
        until(executor.idle)
    assert world.run(run).state is RunState.WARNINGS


def test_what_ran_without_the_ledger_is_recorded_when_that_works_again(world):
    """Its row is still queued, and must not make it run a second time."""
    run = world.queue()
    path, away = world.folder / "ledger.sqlite", world.folder / "away"
    script = f"""
    if os.path.exists({str(path)!r}):
        os.rename({str(path)!r}, {str(away)!r})
        os.mkdir({str(path)!r})
    sys.exit(3)
    """
    with world.executor(script) as executor:
        executor.start(policy(), run)
        until(lambda: world.ended)
        executor.start(policy(), run)
        assert not executor.waiting()
        path.rmdir()
        away.rename(path)
        until(lambda: world.run(run).state is RunState.WARNINGS)
    assert len(world.ended) == 1


def test_the_end_waits_for_those_who_are_asked_and_kills_the_rest(world):
    """SIGTERM lets a child end well; who does not listen is killed when the time is over."""
    good, deaf = world.queue("good"), world.queue("deaf")
    script = """
    if sys.argv[-1] == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    print(json.dumps({"message_type": "status", "files": 1}), flush=True)
    time.sleep(60)
    """
    with world.executor(script) as executor:
        executor.start(policy("good"), good)
        executor.start(policy("deaf"), deaf)
        until(lambda: sum(bool(each.progress) for each in executor.running().values()) == 2)
        begun = time.monotonic()
        executor.stop(SECOND)
        assert time.monotonic() - begun < 10
    codes = {ended.policy: (ended.code, ended.signal) for ended in world.ended}
    assert codes == {"good": (143, None), "deaf": (None, 9)}
    # Both were asked to end before they had claimed their runs, which others may take.
    assert world.run(good).state is RunState.QUEUED


def test_limits_are_kept_and_may_change(world):
    """One place: one run at a time. More places: more runs."""
    runs = [world.queue(name) for name in "abc"]
    with world.executor("time.sleep(60)", Places(1, 1, 1)) as executor:
        for run, name in zip(runs, "abc", strict=True):
            executor.start(policy(name), run)
        until(executor.running)
        time.sleep(0.3)
        assert len(executor.running()) == 1
        assert executor.waiting() == runs[1:]
        executor.places = Places(3, 2, 3)
        until(lambda: len(executor.running()) == 2)


def test_a_store_that_a_probe_found_dead_holds_up_no_other(world):
    """Of its repository one run goes on at a time; the other place is for the others."""
    names = {"a": "dead", "b": "dead", "c": "alive"}
    with world.executor("time.sleep(60)") as executor:
        executor.doubtful = {"dead"}
        for name, repository in names.items():
            executor.start(policy(name, repository), world.queue(name))
        until(lambda: len(executor.running()) == 2)
        assert {each.policy for each in executor.running().values()} == {"a", "c"}


def test_a_run_that_another_one_keeps_from_beginning_stays_queued(world):
    """It is neither failed nor lost: its turn comes when the other one has ended."""
    run = world.queue()
    with world.executor("sys.exit(11)") as executor:
        executor.start(policy(), run)
        until(executor.idle)
    assert world.run(run).state is RunState.QUEUED


def test_nothing_begins_in_a_closed_window(world):
    """Who waited for a place until the window closed waits for it to open."""
    hour = (datetime.now(UTC) + timedelta(hours=1)).time().replace(second=0, microsecond=0)
    before = (datetime.now(UTC) - timedelta(hours=1)).time().replace(second=0, microsecond=0)
    run = world.queue()
    with world.executor("time.sleep(60)") as executor:
        executor.start(policy(closed=(Window(before, hour),)), run)
        time.sleep(0.5)
        assert not executor.running()
        assert executor.waiting() == [run]


def test_a_run_is_begun_once_however_often_it_is_asked_for(world):
    """Every tick offers what waits and runs again."""
    run = world.queue()
    with world.executor("time.sleep(60)") as executor:
        for _ in range(50):
            executor.start(policy(), run)
        until(executor.running)
        executor.start(policy(), run)
        assert not executor.waiting()
        assert len(executor.running()) == 1
        assert not executor.idle()


def test_somebody_who_fails_to_listen_does_not_end_the_executor(world):
    """An error in what is told of an end costs nothing but a line in the log."""
    told = []

    def fails(ended):
        told.append(ended.run)
        raise RuntimeError("broken")

    first, second = world.queue("a"), world.queue("b")
    with world.executor("sys.exit(0)", on_end=fails) as executor:
        executor.start(policy("a"), first)
        until(executor.idle)
        executor.start(policy("b"), second)
        until(executor.idle)
        assert executor.alive()
    assert told == [first, second]


def test_moving_is_told_by_progress_alone(world):
    """The same words again are no progress; without runs, all is moving."""
    script = """
    while True:
        print(json.dumps({"message_type": "status", "phase": "read", "files": 1}), flush=True)
        time.sleep(0.05)
    """
    run = world.queue()
    with world.executor(script) as executor:
        assert abs(executor.moved() - time.monotonic()) < 1
        executor.start(policy(), run)
        until(lambda: [each for each in executor.running().values() if each.progress])
        before = executor.moved()
        time.sleep(0.5)
        assert executor.moved() == before


def test_secrets_travel_in_files_without_a_name(world):
    """Neither the environment nor the command line of a run holds them, and it can read them."""
    script = """
    path = os.environ["DRKEEPER_PASSPHRASE_FILE"]
    secret = open(path).read() + open(path).read()
    own = open("/proc/self/environ").read() + open("/proc/self/cmdline").read()
    status = os.stat(path)
    wanted = "yranac"[::-1]
    hidden = wanted not in own and status.st_mode & 0o77 == 0
    sys.exit(0 if secret == wanted * 2 and hidden else 9)
    """
    run = world.queue()
    with world.executor(script) as executor:
        executor.program = replace(executor.program, secrets={"DRKEEPER_PASSPHRASE": "canary"})
        executor.start(policy(), run)
        until(executor.idle)
    assert world.ended[0].code == 0


def test_a_ledger_out_of_order_is_no_reason_to_stop(world):
    """The end is told all the same, and the log says what the ledger did not take."""
    run = RunId("00112233aabbccdd")
    (world.folder / "ledger.sqlite").mkdir()
    with world.executor("sys.exit(0)") as executor:
        executor.start(policy(), run)
        until(executor.idle)
    assert world.ended[0].code == 0
    assert "ledger.unavailable" in [event for event, _ in world.said]
