"""Hooks: other people's programs around a backup, and that they harm nothing."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from datetime import UTC, datetime, timedelta

import pytest

from doubles.processes import alive, gone
from drkeeper.clock import SystemClock
from drkeeper.errors import SourceError
from drkeeper.model.policy import Hook
from drkeeper.operations import kinship
from drkeeper.operations.hooks import KEPT_BYTES, HookRunner, Occasion, RunFacts

FACTS = RunFacts(
    policy="shop",
    run="00112233445566ff",
    repository="primary",
    started_at=datetime(2026, 11, 21, 18, tzinfo=UTC),
)
SECOND = timedelta(seconds=1)


class Told(list):
    """Collects what hooks write, as lines."""

    def __call__(self, *said):
        """Take one line; it comes last."""
        self.append(said[-1])


def script(folder, text, name="hook"):
    """Write a shell script and return its path."""
    path = folder / name
    path.write_text("#!/bin/sh\n" + textwrap.dedent(text))
    path.chmod(0o755)
    return str(path)


def run(told, *hooks, facts=FACTS, variables=None, patience=SECOND / 4, **options):
    """Run hooks after a backup and return how they went."""
    runner = HookRunner(SystemClock(), told, variables or {}, patience)
    return runner.run(Occasion.AFTER, hooks, facts, **options)


def test_a_hook_is_told_the_facts_of_the_run_and_nothing_else(tmp_path, monkeypatch):
    """Its environment is what was given and DRKEEPER_...; no secret of this process is in it."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary")
    told = Told()
    (outcome,) = run(
        told, Hook((script(tmp_path, "env"),), 5 * SECOND), variables={"HOME": "/root"}
    )
    found = dict(line.split("=", 1) for line in told)
    assert not outcome.problem
    assert found["DRKEEPER_POLICY"] == "shop"
    assert found["DRKEEPER_RUN_ID"] == "00112233445566ff"
    assert found["DRKEEPER_REPOSITORY"] == "primary"
    assert found["DRKEEPER_STARTED_AT"] == "2026-11-21T18:00:00Z"
    assert found["DRKEEPER_HOOK"] == "after_backup"
    names = {name for name in found if not name.startswith("DRKEEPER_")}
    assert names <= {"HOME", "PATH", "PWD", "SHLVL", "OLDPWD", "_"}


def test_a_hook_has_no_input_and_no_shell(tmp_path):
    """It reads an empty input, and its arguments arrive as they are written."""
    told = Told()
    path = script(tmp_path, 'cat; printf "%s|" "$@"; pwd')
    run(told, Hook((path, "a b", "$HOME", "*"), 5 * SECOND))
    assert told == ["a b|$HOME|*|/"]


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        (("/bin/sh", "-c", "exit 7"), "exit status 7"),
        (("/bin/sh", "-c", "kill -9 $$"), "signal 9"),
        (("/nonexistent/hook",), "cannot be started: No such file"),
        (("/etc/passwd",), "cannot be started: Permission denied"),
    ],
)
def test_a_hook_that_fails_is_named(command, problem):
    """The problem says which hook and how it ended."""
    (outcome,) = run(Told(), Hook(command, 5 * SECOND))
    assert problem in outcome.problem
    assert command[0] in outcome.problem


def test_an_essential_hook_that_fails_ends_the_preparation(tmp_path):
    """Neither the source nor the next hook is touched."""
    mark = tmp_path / "mark"
    fails = Hook(("/bin/false",), 5 * SECOND)
    next_one = Hook(("/bin/sh", "-c", f"touch {mark}"), 5 * SECOND)
    runner = HookRunner(SystemClock(), Told())
    with pytest.raises(SourceError, match="hook before_backup /bin/false ended with") as caught:
        runner.run_before([fails, next_one], FACTS)
    assert caught.value.hint
    assert not mark.exists()


def test_an_inessential_hook_that_fails_is_a_warning(tmp_path):
    """The next hook runs, and the outcome says what went wrong."""
    mark = tmp_path / "mark"
    fails = Hook(("/bin/false",), 5 * SECOND, essential=False)
    next_one = Hook(("/bin/sh", "-c", f"touch {mark}"), 5 * SECOND)
    outcomes = HookRunner(SystemClock(), Told()).run_before([fails, next_one], FACTS)
    assert [bool(outcome.problem) for outcome in outcomes] == [True, False]
    assert mark.exists()


def test_a_hook_that_never_ends_is_ended_with_its_children(tmp_path):
    """After its time SIGTERM, then SIGKILL, to everything in its group; nothing is left over."""
    told = Told()
    path = script(
        tmp_path,
        """
        trap '' TERM
        sh -c 'trap "" TERM; echo $$; while :; do sleep 1; done' &
        echo $$
        while :; do sleep 1; done
        """,
    )
    begun = time.monotonic()
    (outcome,) = run(told, Hook((path,), SECOND / 2))
    assert time.monotonic() - begun < 5
    assert outcome.timed_out
    assert "took longer than 0.5 s" in outcome.problem
    assert len(told) == 2
    assert all(gone(int(line)) for line in told)


def test_a_hook_may_clean_up_when_its_time_is_over(tmp_path):
    """SIGTERM comes first, and what is written then is kept."""
    told = Told()
    path = script(tmp_path, "trap 'echo thawed; exit 0' TERM; while :; do sleep 0.05; done")
    (outcome,) = run(told, Hook((path,), SECOND / 2), patience=2 * SECOND)
    assert outcome.timed_out
    assert told[-1] == "thawed"


def test_what_a_hook_leaves_in_its_group_ends_with_it(tmp_path):
    """A background process neither holds up the run, by its open output, nor outlives the hook."""
    told = Told()
    begun = time.monotonic()
    (outcome,) = run(told, Hook((script(tmp_path, "sleep 60 & echo $!"),), 30 * SECOND))
    assert time.monotonic() - begun < 5
    assert not outcome.problem
    assert outcome.left == 1
    assert gone(int(told[0]))


def test_a_service_that_a_hook_starts_lives_on(tmp_path):
    """What left the group and the session on purpose, as daemons do, is not ours to end."""
    told = Told()
    path = script(tmp_path, "setsid sleep 30 >/dev/null 2>&1 & echo $!; sleep 0.3")
    run(told, Hook((path,), 5 * SECOND))
    pid = int(told[0])
    try:
        assert alive(pid)
    finally:
        os.kill(pid, signal.SIGKILL)


def test_a_flood_costs_neither_memory_nor_the_run():
    """The beginning is kept, the rest is read and counted, and time still counts."""
    told = Told()
    (outcome,) = run(told, Hook(("/bin/sh", "-c", "exec yes flood"), SECOND / 2))
    assert outcome.timed_out
    assert sum(len(line) + 1 for line in told) <= KEPT_BYTES + 200
    assert outcome.dropped_bytes > KEPT_BYTES
    assert told[-1].startswith("... ")


def test_output_without_lines_is_cut_into_some():
    """A megabyte without a line feed becomes lines of bounded length; no byte is guessed."""
    told = Told()
    run(told, Hook(("/bin/sh", "-c", "head -c 50000 /dev/zero"), 5 * SECOND))
    assert max(map(len, told)) <= 2000
    assert sum(map(len, told)) == 50_000


def test_all_hooks_together_keep_to_a_time():
    """When the run is in a hurry, three hooks of a minute each do not take three minutes."""
    hook = Hook(("/bin/sleep", "60"), 60 * SECOND)
    begun = time.monotonic()
    outcomes = run(Told(), hook, hook, hook, within=SECOND / 2)
    assert time.monotonic() - begun < 5
    assert all(outcome.timed_out for outcome in outcomes)


CHILD = """
import signal, sys
from datetime import UTC, datetime, timedelta
from drkeeper.clock import SystemClock
from drkeeper.model.policy import Hook
from drkeeper.operations.hooks import HookRunner, Occasion, RunFacts

class Ended(BaseException): pass
def end(*_):
    signal.signal(signal.SIGTERM, lambda *_: None)
    raise Ended
signal.signal(signal.SIGTERM, end)
facts = RunFacts("p", "r", "primary", datetime.now(UTC))
runner = HookRunner(SystemClock(), lambda o, p, line: print(line, flush=True), {}, timedelta(seconds=1))
try:
    runner.run(Occasion.BEFORE, [Hook(tuple(sys.argv[1:]), timedelta(seconds=60))], facts)
except Ended:
    runner.run(Occasion.AFTER, [Hook(("/bin/sh", "-c", "trap | cat; echo after"), timedelta(seconds=9))], facts)
    sys.exit(143)
"""


@pytest.mark.parametrize("leads", [True, False], ids=["session-leader", "from-a-terminal"])
def test_sigterm_during_a_hook_ends_the_hook_and_runs_those_after(tmp_path, leads):
    """The hook's group is gone, and the hooks after the run do not inherit an ignored SIGTERM."""
    path = script(tmp_path, "echo $$; sleep 60")
    command = [sys.executable, "-c", CHILD, path]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, start_new_session=leads
    ) as process:
        hook = int(process.stdout.readline())
        assert os.getpgid(hook) == hook
        assert (os.getsid(hook) == process.pid) is leads
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=20)
    assert process.returncode == 143
    assert out.splitlines() == ["after"]
    assert gone(hook)
    assert not kinship.of_group(hook)


HIDDEN = """
import sys
from datetime import UTC, datetime, timedelta
from drkeeper.clock import SystemClock
from drkeeper.model.policy import Hook
from drkeeper.operations.hooks import HookRunner, Occasion, RunFacts

hook = Hook((sys.argv[1],), timeout=timedelta(seconds=1))
runner = HookRunner(SystemClock(), lambda *_: None, {}, timedelta(seconds=1))
facts = RunFacts("shop", "run", "primary", datetime(2026, 11, 21, tzinfo=UTC))
(outcome,) = runner.run(Occasion.AFTER, [hook], facts)
print(outcome.status, outcome.timed_out)
"""


def test_a_hook_is_ended_also_where_the_list_of_processes_is_hidden(tmp_path):
    """A sandbox may have no /proc: what hangs is ended all the same, with its children."""
    apart = ["unshare", "--mount", "--map-root-user", "sh", "-c"]
    hides = "mount -t tmpfs none /proc"
    if subprocess.run([*apart, hides], capture_output=True, check=False).returncode != 0:
        pytest.skip(
            "this machine does not let us hide /proc; run as root, or allow user namespaces"
        )
    hook = script(tmp_path, f"trap '' TERM\nsleep 60 & echo $$ $! > {tmp_path}/pids\nwait; wait\n")
    command = [*apart, f'{hides} && exec "$@"', "sh", sys.executable, "-c", HIDDEN, hook]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == f"{-signal.SIGKILL} True\n"
    assert all(gone(int(pid)) for pid in (tmp_path / "pids").read_text().split())
