"""``drkeeper daemon`` as systemd starts it: ready, runs, status, reload, stop, one at a time."""

import os
import re
import signal
import time

import pytest

from doubles.daemons import (
    Keeper,
    alarms_of,
    configure,
    keeping,
    ledger_of,
    needs,
    processes_of,
    states_of,
    wait_for,
)
from doubles.installation import Installation, expect
from drkeeper.model.run import RunState

pytestmark = pytest.mark.e2e


@pytest.fixture
def made(tmp_path):
    return keeping(tmp_path)


def test_a_daemon_keeps_its_policies(made):
    """Ready, a run at once and another when the objective needs it, status green, a clean end."""
    with Keeper(made) as keeper:
        keeper.ready()
        keeper.wait_for("run.process_ended", 2, policy="files", code=0)
        status = made.run("status", "--check")
        assert status.returncode == 0, status.stdout + status.stderr
        assert alarms_of(made) == []
        assert keeper.end() == 143
        told = keeper.listen()
    assert any(line.startswith("STATUS=running files") for line in told)
    assert "STATUS=idle" in told
    assert told.index("READY=1") < told.index("STOPPING=1")
    assert len(made.lines("snapshots", "files")) >= 2
    assert states_of(made)[-2:] == [RunState.SUCCEEDED] * 2
    assert processes_of(made) == {}


def test_metrics_say_when_the_ledger_was_verified(made):
    """At the start, and daily: an alert can tell when nobody looks any more."""
    configure(made, f"web: {{listen: none, textfile: {made.home}/drkeeper.prom}}\n")
    name = "drkeeper_ledger_verified_timestamp_seconds"
    with Keeper(made) as keeper:
        keeper.wait_for("ledger.verified")
        text = made.home / "drkeeper.prom"
        shown = wait_for(
            lambda: text.exists() and re.search(rf"^{name} (\S+)$", text.read_text(), re.MULTILINE),
            "the metric",
        )
        assert abs(float(shown[1]) - time.time()) < 120


def test_ctrl_c_is_an_end_too(made):
    """SIGINT ends it with 130."""
    with Keeper(made) as keeper:
        keeper.ready()
        assert keeper.end(signal.SIGINT) == 130


def test_a_second_daemon_is_refused(made):
    """It ends at once with 11 and names the process that is there; the first goes on."""
    with Keeper(made) as keeper:
        keeper.ready()
        accepted = made.home / "state" / "accepted.json"
        before = accepted.read_bytes()
        needs(made, "later")
        second = made.run("daemon")
        assert second.returncode == 11
        assert f"process {keeper.process.pid}" in second.stderr
        assert "hint: " in second.stderr
        assert "Traceback" not in second.stderr
        assert keeper.process.poll() is None
        assert accepted.read_bytes() == before  # runs read what the first one has accepted


def test_a_second_daemon_is_refused_in_the_folder_of_one_with_a_shared_ledger(made):
    """Any number of daemons may share a ledger, but not the logs of runs and the accepted files."""
    configure(made, "ledger: postgresql://nobody@127.0.0.1:9/none\n")
    with Keeper(made) as keeper:
        keeper.wait_for("daemon.started")
        expect(made.run("daemon"), 11, str(made.home / "state"))


def test_a_reload_takes_new_policies_and_lets_go_of_removed_ones(made):
    """After SIGHUP, what is new runs, what is gone does not; systemd hears of it."""
    with Keeper(made) as keeper:
        keeper.ready()
        keeper.wait_for("run.process_ended", policy="files")
        needs(made, "other")
        (made.etc / "policies.d" / "files.yaml").unlink()
        keeper.send(signal.SIGHUP)
        keeper.wait_for("run.process_ended", policy="other", code=0)
        told = keeper.listen()
        reload = next(line for line in told if line.startswith("RELOADING=1"))
        assert re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=[0-9]+", reload)
        assert "READY=1" in told[told.index(reload) :]
        before = len(keeper.lines("run.started"))
        keeper.wait_for("run.process_ended", 2, policy="other")
        after = keeper.lines("run.started")[before:]
        assert {line["policy"] for line in after} == {"other"}


def test_files_are_read_only_when_it_is_told_to(made):
    """Who edits a policy is not surprised by a half of it: nothing changes before SIGHUP."""
    with Keeper(made) as keeper:
        keeper.ready()
        needs(made, "other")
        keeper.wait_for("run.process_ended", 2, policy="files")
        assert not [line for line in keeper.lines("run.queued") if line["policy"] == "other"]


def test_a_broken_policy_keeps_its_last_good_version(made):
    """A wrong file is an alarm that names it; its policy runs on as it was, and so do the others."""
    path = needs(made, "other")
    with Keeper(made) as keeper:
        keeper.ready()
        keeper.wait_for("run.process_ended", policy="other", code=0)
        good = path.read_text()
        path.write_text(good[: len(good) // 2])
        keeper.send(signal.SIGHUP)
        (alarm,) = keeper.wait_for("alarm.raised", kind="configuration-invalid")
        assert str(path) in alarm["message"]
        count = len(keeper.lines("run.process_ended"))
        for name in ("files", "other"):
            wait_for(
                lambda name=name: [
                    line
                    for line in keeper.lines("run.process_ended")[count:]
                    if line["policy"] == name and line["code"] == 0
                ],
                f"{name} to run on",
            )
        path.write_text(good)
        keeper.send(signal.SIGHUP)
        keeper.wait_for("alarm.cleared", kind="configuration-invalid")


def test_a_restart_keeps_the_last_good_version(made):
    """A daemon that is started beside a broken policy file works by what was right before."""
    with Keeper(made) as keeper:
        keeper.ready()
        keeper.end()
    path = made.etc / "policies.d" / "files.yaml"
    path.write_text("policy: [")
    with Keeper(made) as keeper:
        keeper.ready()
        keeper.wait_for("run.process_ended", policy="files", code=0)
        keeper.wait_for("alarm.raised", kind="configuration-invalid")


def test_a_stop_in_mid_backup_brings_the_work_to_safety(made):
    """SIGTERM: the run checkpoints, all ends in time with 143, and the next start goes on there."""
    for number in range(50):  # more than a run holds in memory: what is all read is finished
        (made.source / f"part-{number}.bin").write_bytes(os.urandom(4_000_000))
    configure(made, upload="8 MiB/s")
    with Keeper(made) as keeper:
        keeper.ready()
        keeper.wait_for("run.started")
        wait_for(lambda: [*(made.store / "packs").rglob("*")], "something to be stored")
        began = time.monotonic()
        assert keeper.end() == 143
        assert time.monotonic() - began < 80
        told = keeper.listen()
    assert any(line.startswith("EXTEND_TIMEOUT_USEC=") for line in told)
    assert processes_of(made) == {}
    assert states_of(made)[0] is RunState.INTERRUPTED
    configure(made)
    with Keeper(made) as keeper:
        keeper.ready()
        keeper.wait_for("run.process_ended", policy="files", code=0)
        keeper.end()
    with ledger_of(made) as ledger:
        assert ledger.verify().ok


def test_a_run_that_is_killed_alone_is_not_begun_again_at_once(made):
    """It failed, an alarm says why, and the next attempt comes after a pause."""
    slow = "hooks: {before_backup: [{command: [/bin/sleep, '300'], timeout: 10m}]}\n"
    needs(made, "files", rpo="1h", more=slow)
    with Keeper(made) as keeper:
        keeper.ready()
        (begun,) = keeper.wait_for("run.started")
        wait_for(lambda: states_of(made) == [RunState.RUNNING], "the run to claim its row")
        os.kill(begun["pid"], signal.SIGKILL)
        keeper.wait_for("run.process_ended", signal=9)
        (alarm,) = keeper.wait_for("alarm.raised", kind="failing")
        assert "want of memory" in alarm["message"]
        time.sleep(3)  # three ticks
        assert states_of(made) == [RunState.FAILED]


def test_a_second_signal_ends_at_once(made):
    """Who cannot wait for the checkpoint need not."""
    (made.source / "large.bin").write_bytes(bytes(5_000_000))
    slow = "hooks: {before_backup: [{command: [/bin/sleep, '300'], timeout: 10m}]}\n"
    needs(made, "files", more=slow)
    with Keeper(made) as keeper:
        keeper.ready()
        keeper.wait_for("run.started")
        keeper.send(signal.SIGTERM)
        keeper.wait_for("daemon.stopping")
        keeper.send(signal.SIGTERM)
        assert keeper.process.wait(20) == 143
    assert processes_of(made) == {}


def test_signs_of_life_reach_the_watchdog(made):
    """With WATCHDOG_USEC systemd hears from us at least twice in the time it allows."""
    with Keeper(made, WATCHDOG_USEC="8000000") as keeper:
        keeper.ready()
        wait_for(lambda: keeper.listen().count("WATCHDOG=1") >= 3, "three signs of life", 30)


def test_a_wrong_installation_is_said_clearly(made):
    """A drkeeper.yaml that is wrong, at the very first start, is exit 13 and a hint."""
    (made.etc / "drkeeper.yaml").write_text("repositories: 7\n")
    refused = made.run("daemon")
    expect(refused, 13, "drkeeper.yaml")


def test_a_daemon_without_a_configuration_is_refused(tmp_path):
    """A mistyped path must not end in a daemon that watches over nothing and says that all is well."""
    expect(Installation(tmp_path).run("daemon"), 13, f"there is no {tmp_path}/etc", "--config")


def test_a_daemon_without_a_policy_says_so(made):
    """It may wait for its first one; whoever reads its log is told."""
    (made.etc / "policies.d" / "files.yaml").unlink()
    with Keeper(made) as keeper:
        keeper.ready()
        keeper.wait_for("configuration.without_policies", level="warning")
        assert keeper.end() == 143
