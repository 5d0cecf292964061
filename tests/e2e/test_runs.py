"""Runs as processes: what is due, hooks, limits, ends of every kind."""

import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import pytest

from doubles.installation import Installation, expect
from doubles.processes import gone, until
from drkeeper.clock import SystemClock
from drkeeper.ledger.ledger import open_ledger
from drkeeper.ledger.process import this_process
from drkeeper.model.run import Operation, RunFailure, RunState

pytestmark = pytest.mark.e2e

MUCH = 400

FILES = """\
policy: {name}
source: {{files: {{paths: [{source}]}}}}
repository: primary
time_zone: UTC
{rest}
"""


class PastClock(SystemClock):
    """The system's clock, so much behind."""

    def __init__(self, behind):
        super().__init__()
        self._behind = behind

    def now(self):
        return super().now() - self._behind


class Runs(Installation):
    """An installation whose ledger the test reads, and to which it may have happened before."""

    def ledger(self, behind=timedelta()):
        """Open the ledger; ``behind`` dates what is recorded."""
        path = self.home / "state" / "ledger.sqlite"
        return open_ledger(path, clock=PastClock(behind), me=lambda: this_process("here"))

    def runs(self, policy=None):
        """Return the runs, newest first."""
        with self.ledger() as ledger:
            return ledger.runs(policy)

    def write_policy(self, name, rest, source=None):
        """Write a policy with what is special about it."""
        self.policy(name, FILES.format(name=name, source=source or self.source, rest=rest))

    def seen(self, behind, *names):
        """Let the ledger have seen policies so long ago; later changes count as changes only."""
        with self.ledger(behind) as ledger:
            ledger.see_policies(dict.fromkeys(names, "as it was"))

    def log(self, run):
        """Return what a run said."""
        return (self.home / "state" / "runs" / f"{run}.log").read_text()

    def script(self, name, text):
        """Write a shell script and return its path."""
        path = self.home / name
        path.write_text("#!/bin/sh\n" + text)
        path.chmod(0o755)
        return path


@pytest.fixture
def installed(tmp_path):
    """Return an installation without policies."""
    installed = Runs(tmp_path).init()
    (installed.etc / "policies.d" / "files.yaml").unlink()
    return installed


def daily_six_hours_ago():
    """Return a schedule whose last slot is six hours old."""
    return f"schedule: daily at {datetime.now(UTC) - timedelta(hours=6):%H:%M}"


def slow(installed, files=20, rate=1):
    """Make a run take a while: files of half a megabyte, and a limit on what is sent."""
    for number in range(files):
        (installed.source / f"big-{number:03}").write_bytes(os.urandom(500_000))
    return f"limits: {{upload: {rate} MiB/s}}"


def much(installed):
    """Make a run take half a minute, with far more to read than it holds in memory."""
    return slow(installed, files=MUCH, rate=8)


def sending(installed):
    """Wait until content is being sent."""
    packs = installed.store / "packs"
    until(lambda: any(path.is_file() for path in packs.rglob("*")))


def held_up(installed):
    """Wait until the run has read all that it takes while it waits for the limit."""
    sending(installed)
    pid = installed.runs()[0].process.pid

    def read():
        with open(f"/proc/{pid}/io") as file:
            return int(file.readline().split()[1])

    def reads_little():
        before = read()
        time.sleep(1)
        return read() - before < 500_000

    until(reads_little, 60)


# -- what is due


def test_what_was_missed_is_made_up_for_exactly_once(installed):
    """Three days of downtime: one run, which says how many slots it stands for; then none."""
    installed.write_policy("home", daily_six_hours_ago())
    installed.seen(timedelta(days=3), "home")
    lines = installed.lines("run", "--due")
    decision = next(line for line in lines if line.get("why"))
    assert (decision["due"], decision["why"], decision["missed"]) == (True, "make-up", 2)
    assert lines[-1] == {"message_type": "summary", "policies": 1, "runs": 1, "failed": 0}
    (run,) = installed.runs()
    assert run.state is RunState.SUCCEEDED
    assert run.queued_at is not None
    assert "summary" in installed.log(run.id)
    assert installed.done("run", "--due") == "nothing was due\n"
    assert len(installed.runs()) == 1


def test_a_dry_run_says_what_is_due_and_changes_nothing(installed):
    """Neither a run nor the policy itself is recorded."""
    installed.write_policy("home", daily_six_hours_ago())
    installed.seen(timedelta(days=3), "home")
    with installed.ledger() as ledger:
        before = len(ledger.events())
    assert "home: due since" in installed.done("run", "--due", "--dry-run")
    with installed.ledger() as ledger:
        assert len(ledger.events()) == before


def test_a_dry_run_before_anything_happened(installed):
    """Without a ledger nothing is due yet, and no ledger is made."""
    installed.write_policy("home", "schedule: hourly")
    assert "home: waiting until" in installed.done("run", "--due", "--dry-run")
    assert not (installed.home / "state" / "ledger.sqlite").exists()


def test_a_broken_policy_file_keeps_its_last_good_version(installed):
    """As with a daemon: what it said before goes on, an alarm says so, and ends with the mistake."""
    installed.write_policy("home", "objectives: {rpo: 8s}")
    installed.done("run", "--due")
    right = (installed.etc / "policies.d" / "home.yaml").read_text()
    installed.policy("home", "policy: [")
    until(lambda: installed.lines("run", "--due")[-1]["runs"] == 1)
    with installed.ledger() as ledger:
        (alarm,) = (
            each
            for each in ledger.open_alarms()
            if each.condition.kind.value == "configuration-invalid"
        )
    assert "home.yaml:2:1: not YAML" in alarm.condition.message
    installed.policy("home", right)
    installed.done("run", "--due")
    with installed.ledger() as ledger:
        kinds = {each.condition.kind.value for each in ledger.open_alarms()}
    assert "configuration-invalid" not in kinds


def test_two_at_once_run_everything_once(installed):
    """Two timers at the same time: every policy has one run in the end."""
    names = ["a", "b", "c", "d"]
    for name in names:
        installed.write_policy(name, daily_six_hours_ago())
    installed.seen(timedelta(days=1), *names)
    both = [installed.start("run", "--due") for _ in range(2)]
    for process in both:
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, (out, err)
    runs = installed.runs()
    assert sorted(run.policy for run in runs) == names
    assert {run.state for run in runs} == {RunState.SUCCEEDED}


def test_a_failing_policy_stops_no_other_and_gives_the_code(installed):
    """One source is missing: the other policy has its snapshot, and the exit code says which."""
    installed.write_policy("bad", daily_six_hours_ago(), source="/nonexistent/source")
    installed.write_policy("good", daily_six_hours_ago())
    installed.seen(timedelta(days=1), "bad", "good")
    result = installed.run("run", "--due")
    assert result.returncode == 18, (result.stdout, result.stderr)
    assert "good: succeeded, snapshot" in result.stdout
    assert "error: bad: " in result.stderr
    states = {run.policy: run.state for run in installed.runs()}
    assert states == {"bad": RunState.FAILED, "good": RunState.SUCCEEDED}


def test_warnings_give_three(installed):
    """A hook that is not essential and fails is a warning: the snapshot exists."""
    hook = "hooks: {before_backup: [{command: [/bin/false], essential: false}]}"
    installed.write_policy("home", f"{daily_six_hours_ago()}\n{hook}")
    installed.seen(timedelta(days=1), "home")
    result = installed.run("run", "--due")
    assert result.returncode == 3, (result.stdout, result.stderr)
    (run,) = installed.runs()
    assert run.state is RunState.WARNINGS
    assert run.result["failed_hooks"] == 1
    assert "/bin/false ended with exit status 1" in installed.log(run.id)


def test_a_store_that_is_down_is_tried_again_when_it_is_time(installed):
    """Down: exit 17, and nothing more at once. Back after the pause: second attempt, done."""
    installed.write_policy("home", daily_six_hours_ago())
    installed.seen(timedelta(days=1), "home")
    away = installed.store.with_name("away")
    installed.store.rename(away)
    assert installed.run("run", "--due").returncode in {10, 17}
    (failed,) = installed.runs()
    assert failed.state is RunState.FAILED
    assert failed.failure.hint
    away.rename(installed.store)
    assert "nothing was due" in installed.done("run", "--due")


def test_the_second_attempt_comes_after_its_pause(installed):
    """The slot whose run failed ten minutes ago is tried again, and is done then."""
    installed.write_policy("home", daily_six_hours_ago())
    installed.seen(timedelta(days=1), "home")
    with installed.ledger(timedelta(minutes=10)) as ledger:
        run = ledger.begin_run("home", Operation.BACKUP)
        failure = RunFailure("StorageUnavailableError", "no answer", 17)
        ledger.end_run(run, RunState.FAILED, failure=failure)
    decision = installed.lines("run", "--due")[0]
    assert (decision["why"], decision["attempt"]) == ("retry", 2)
    assert [run.state for run in installed.runs()] == [RunState.SUCCEEDED, RunState.FAILED]
    assert "nothing was due" in installed.done("run", "--due")


def test_what_a_dead_daemon_left_in_the_queue_is_run(installed):
    """A run that was queued and never begun is begun by whoever comes next, once."""
    installed.write_policy("home", "schedule: hourly")
    installed.seen(timedelta(minutes=1), "home")
    with installed.ledger() as ledger:
        queued = ledger.queue_run("home", Operation.BACKUP)
    installed.done("run", "--due")
    (run,) = installed.runs()
    assert (run.id, run.state) == (queued, RunState.SUCCEEDED)


def test_a_run_that_cannot_even_begin_is_recorded_as_failed(installed):
    """Its process ends before it claims anything: no loop of attempts, but a failure with a reason."""
    installed.write_policy("home", daily_six_hours_ago())
    installed.seen(timedelta(days=1), "home")
    (installed.home / "cache").write_text("in the way")
    result = installed.run("run", "--due")
    assert result.returncode not in {0, 3}
    (run,) = installed.runs()
    assert run.state is RunState.FAILED
    assert run.failure.message
    assert "nothing was due" in installed.done("run", "--due")


# -- ends


def test_a_run_that_is_killed_alone_has_failed_and_is_tried_again_in_time(installed):
    """SIGKILL in the middle, hook and all: failed, logged, no orphan; not again at the next tick."""
    path = installed.script("hook", "echo $$ > hook.pid; cd /; sleep 60 & sleep 60\n")
    hooks = f"hooks: {{before_backup: [{{command: [{path}], timeout: 5m}}]}}"
    installed.write_policy("home", f"{daily_six_hours_ago()}\n{hooks}")
    installed.script("hook", f"sleep 60 & echo $$ $! > {installed.home}/pids; sleep 60\n")
    installed.seen(timedelta(days=1), "home")
    process = installed.start("run", "--due")
    pids = until(
        lambda: (installed.home / "pids").exists() and (installed.home / "pids").read_text().split()
    )
    run = installed.runs()[0]
    os.kill(run.process.pid, signal.SIGKILL)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 1, (out, err)
    assert gone(run.process.pid, *map(int, pids))
    assert "for want of memory" in err
    assert installed.runs()[0].state is RunState.FAILED
    assert "was killed by signal 9" in installed.log(run.id)
    installed.write_policy("home", daily_six_hours_ago())
    assert "nothing was due" in installed.done("run", "--due")
    assert "home: retry until" in installed.done("run", "--due", "--dry-run")
    installed.done("ledger", "verify")


def test_the_death_of_whoever_started_it_ends_a_run(installed):
    """SIGKILL to the parent: no orphan, the run is interrupted and made up for, once."""
    installed.write_policy("home", f"{daily_six_hours_ago()}\n{much(installed)}")
    installed.seen(timedelta(days=1), "home")
    process = installed.start("run", "--due")
    sending(installed)
    run = installed.runs()[0]
    assert run.state is RunState.RUNNING
    process.kill()
    process.communicate(timeout=30)
    assert gone(run.process.pid, within=60)  # it may bring its work to safety first
    assert installed.runs()[0].state is RunState.INTERRUPTED
    installed.write_policy("home", daily_six_hours_ago())
    assert installed.run("run", "--due").returncode == 0
    assert [run.state for run in installed.runs()] == [RunState.SUCCEEDED, RunState.INTERRUPTED]
    assert not [path for path in installed.home.rglob("*.tmp") if path.is_file()]


def test_sigterm_brings_the_work_to_safety_and_the_next_run_continues(installed):
    """What was read is committed before the end; the next run says which commit it continued."""
    installed.write_policy("home", f"{daily_six_hours_ago()}\n{much(installed)}")
    installed.seen(timedelta(days=1), "home")
    process = installed.start("run", "--due")
    sending(installed)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=90)
    assert process.returncode == 143, (out, err)
    interrupted = installed.runs()[0]
    assert interrupted.state is RunState.INTERRUPTED
    installed.write_policy("home", daily_six_hours_ago())
    installed.done("run", "--due")
    done = installed.runs()[0]
    assert done.state is RunState.SUCCEEDED
    assert done.result["continued"] is not None
    assert done.result["new_bytes"] < MUCH * 500_000  # young files are read again, not stored
    installed.done("check", "--read-data")


def test_a_low_limit_keeps_no_run_from_its_checkpoint(installed):
    """What is on its way is sent without the limit when the run is to end, so it ends soon."""
    limited = slow(installed, files=MUCH).replace("1 MiB/s", "64 KiB/s")
    installed.write_policy("home", f"{daily_six_hours_ago()}\n{limited}")
    installed.seen(timedelta(days=1), "home")
    process = installed.start("run", "--due")
    held_up(installed)
    begun = time.monotonic()
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=90)
    assert process.returncode == 143, (out, err)
    assert time.monotonic() - begun < 30  # with the limit, a pack alone takes four minutes
    assert installed.runs()[0].state is RunState.INTERRUPTED
    kept = len([path for path in (installed.store / "packs").rglob("*") if path.is_file()])
    assert kept >= 3
    installed.write_policy("home", daily_six_hours_ago())
    installed.done("run", "--due")
    done = installed.runs()[0]
    assert done.state is RunState.SUCCEEDED
    assert done.result["continued"] is not None
    assert done.result["new_bytes"] <= MUCH * 500_000 - (kept - 2) * 16_000_000
    installed.done("check", "--read-data")


# -- by hand


def test_a_second_living_run_is_refused(installed):
    """Exit 11, with the process that runs and since when; the first goes on."""
    installed.write_policy("home", slow(installed))
    with installed.start("backup", "home") as first:
        sending(installed)
        expect(installed.run("backup", "home"), 11, f"process {first.pid}", "since 20")
        first.send_signal(signal.SIGTERM)
        first.communicate(timeout=30)
    assert len(installed.runs()) == 1


def test_the_policy_limits_the_run(installed):
    """It is as nice as the policy says, hooks included, and sends no faster."""
    (installed.source / "big").write_bytes(os.urandom(3_000_000))
    path = installed.script("hook", f"nice > {installed.home}/nice\n")
    rest = f"limits: {{nice: 7, upload: 1 MiB/s}}\nhooks: {{before_backup: [{path}]}}"
    installed.write_policy("home", rest)
    begun = time.monotonic()
    installed.done("backup", "home")
    assert time.monotonic() - begun > 1.5
    assert (installed.home / "nice").read_text().strip() == "7"


def test_hooks_frame_a_run_by_hand(installed):
    """Before, after with the result, and after a failure with the error; in this order."""
    path = installed.script(
        "hook",
        'echo "$DRKEEPER_HOOK $DRKEEPER_RESULT $DRKEEPER_SNAPSHOT $DRKEEPER_EXIT_CODE'
        f' $DRKEEPER_ERROR" >> {installed.home}/told\n',
    )
    hooks = f"hooks: {{before_backup: [{path}], after_backup: [{path}], after_failure: [{path}]}}"
    installed.write_policy("home", hooks)
    installed.done("backup", "home")
    told = (installed.home / "told").read_text().splitlines()
    assert [line.split()[:1] for line in told] == [["before_backup"], ["after_backup"]]
    assert told[1].split()[1] == "succeeded"
    (installed.home / "told").unlink()
    installed.write_policy("home", hooks, source="/nonexistent/source")
    assert installed.run("backup", "home").returncode == 18
    told = (installed.home / "told").read_text().splitlines()
    assert [line.split()[0] for line in told] == ["before_backup", "after_backup", "after_failure"]
    assert told[1].split()[1] == "failed"
    assert " 18 " in told[2]
    assert "/nonexistent/source" in told[2]


def test_an_essential_hook_that_fails_keeps_the_source_from_being_read(installed):
    """Exit 18 with the hook's name; nothing is stored; the hooks after the run still run."""
    after = installed.script("after", f"touch {installed.home}/after-ran\n")
    hooks = f"hooks: {{before_backup: [[/bin/false]], after_backup: [{after}]}}"
    installed.write_policy("home", hooks)
    expect(installed.run("backup", "home"), 18, "hook before_backup /bin/false")
    assert (installed.home / "after-ran").exists()
    assert not (installed.store / "packs").exists()


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["int", "term"]
)
def test_hooks_after_a_run_also_follow_a_signal(installed, number, code):
    """What was quiesced is released when somebody ends the run; after_failure is for failures."""
    after = installed.script(
        "after", f'echo "$DRKEEPER_HOOK $DRKEEPER_RESULT" >> {installed.home}/told'
    )
    hooks = f"hooks: {{after_backup: [{after}], after_failure: [{after}]}}"
    installed.write_policy("home", f"{slow(installed)}\n{hooks}")
    with installed.start("backup", "home") as process:
        sending(installed)
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    assert process.returncode == code, (out, err)
    assert (installed.home / "told").read_text() == "after_backup interrupted\n"


def test_a_signal_during_the_last_hook_does_not_lose_the_snapshot(installed):
    """It is recorded with its recovery point, as a run with warnings; the hook is gone."""
    after = installed.script("after", f"echo $$ > {installed.home}/pid; sleep 60\n")
    installed.write_policy("home", f"hooks: {{after_backup: [{after}]}}")
    with installed.start("backup", "home") as process:
        pid = until(
            lambda: (
                (installed.home / "pid").exists() and (installed.home / "pid").read_text().strip()
            )
        )
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 143, (out, err)
    assert gone(int(pid))
    (run,) = installed.runs()
    assert run.state is RunState.WARNINGS
    with installed.ledger() as ledger:
        assert ledger.recovery_points("home")[0].run == run.id


def test_a_hook_that_hangs_and_floods_harms_nothing_else(installed):
    """One policy's hook writes without end until its time is up; the other policy has its snapshot."""
    flood = installed.script("flood", f"echo $$ > {installed.home}/pid; exec yes flood\n")
    hooks = f"hooks: {{before_backup: [{{command: [{flood}], timeout: 2s}}]}}"
    installed.write_policy("bad", f"{daily_six_hours_ago()}\n{hooks}")
    installed.write_policy("good", daily_six_hours_ago())
    installed.seen(timedelta(days=1), "bad", "good")
    result = installed.run("run", "--due")
    assert result.returncode == 18, (result.stdout, result.stderr)
    states = {run.policy: run.state for run in installed.runs()}
    assert states == {"bad": RunState.FAILED, "good": RunState.SUCCEEDED}
    bad = next(run for run in installed.runs() if run.policy == "bad")
    assert "took longer than 2 s" in bad.failure.message
    assert len(installed.log(bad.id)) < 256 * 1024
    assert gone(int((installed.home / "pid").read_text()))


def test_no_secret_is_in_the_environment_of_runs_and_hooks(installed):
    """A passphrase that was a variable reaches the run without one; a hook gets no credentials."""
    hook = installed.script(
        "hook",
        f"env > {installed.home}/hook.env\n"
        f"tr '\\0' '\\n' < /proc/$PPID/environ > {installed.home}/run.env\n"
        f"tr '\\0' ' ' < /proc/$PPID/cmdline > {installed.home}/run.cmd\n"
        "echo AWS_SECRET_ACCESS_KEY=canary-aws\n",
    )
    installed.write_policy("home", f"{daily_six_hours_ago()}\nhooks: {{before_backup: [{hook}]}}")
    installed.seen(timedelta(days=1), "home")
    installed.variables.update(
        DRKEEPER_PASSPHRASE="canary-passphrase",
        AWS_SECRET_ACCESS_KEY="canary-aws",
        DRKEEPER_NOTIFY_OPS_PASSWORD="canary-notify",
        DRKEEPER_WEB_TOKEN="canary-web",
        DRKEEPER_BACKUP_DRY_RUN="1",
    )
    installed.done("run", "--due")
    (run,) = installed.runs()
    assert run.state is RunState.SUCCEEDED
    assert "canary" not in (installed.home / "hook.env").read_text()
    child = (installed.home / "run.env").read_text() + (installed.home / "run.cmd").read_text()
    for canary in ("canary-passphrase", "canary-notify", "canary-web"):
        assert canary not in child
    assert "canary" not in installed.log(run.id)
    assert "[redacted]" in installed.log(run.id)


def test_json_is_all_there_is_on_standard_output(installed):
    """Every line is an object; each run has its end."""
    installed.write_policy("home", daily_six_hours_ago())
    installed.seen(timedelta(days=1), "home")
    result = installed.run("run", "--due", "--json")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    ends = [line for line in lines if line.get("result")]
    assert [(end["policy"], end["result"], end["code"]) for end in ends] == [
        ("home", "succeeded", 0)
    ]
    assert ends[0]["run"] == installed.runs()[0].id


def test_a_run_whose_parent_died_before_it_could_ask_ends_at_once(installed):
    """Between its start and its wish to be told, the parent may die: then it does nothing."""
    installed.write_policy("home", daily_six_hours_ago())
    with installed.ledger() as ledger:
        queued = ledger.queue_run("home", Operation.BACKUP)
    result = installed.run("backup", "--run", queued, "--parent", "999999", "--", "home")
    assert result.returncode == 143
    (run,) = installed.runs()
    assert run.state is RunState.QUEUED


def test_a_run_that_is_not_queued_any_more_is_not_begun(installed):
    """Two processes for one queued run: the second one does nothing and says so."""
    installed.write_policy("home", daily_six_hours_ago())
    with installed.ledger() as ledger:
        queued = ledger.queue_run("home", Operation.BACKUP)
    own = str(os.getpid())
    installed.done("backup", "--run", queued, "--parent", own, "--", "home")
    again = installed.run("backup", "--run", queued, "--parent", own, "--", "home")
    expect(again, 11, "not queued any more")
    assert len(installed.runs()) == 1


def test_standard_error_without_a_reader_is_no_reason_to_fail(installed):
    """Whoever started the timer may have closed everything."""
    installed.write_policy("home", daily_six_hours_ago())
    installed.seen(timedelta(days=1), "home")
    done = subprocess.run(
        [sys.executable, "-m", "drkeeper", "run", "--due"],
        env=installed.environment(),
        cwd=installed.home,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0
