"""One thing goes wrong around a real daemon: it has its alarm, and nothing else suffers."""

import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import threading
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from doubles.daemons import (
    Keeper,
    alarms_of,
    configure,
    keeping,
    ledger_of,
    needs,
    processes_of,
    wait_for,
)
from doubles.installation import Installation
from drkeeper.model.run import RunState

pytestmark = pytest.mark.slow


@pytest.fixture
def made(tmp_path):
    return keeping(tmp_path)


def runs_on(keeper: Keeper, policy: str = "files", count: int = 1) -> None:
    """Wait until a policy has had so many more good runs from now on."""
    before = len(keeper.lines("run.process_ended"))
    wait_for(
        lambda: (
            sum(
                line["policy"] == policy and line["code"] == 0
                for line in keeper.lines("run.process_ended")[before:]
            )
            >= count
        ),
        f"{policy} to run on:\n{keeper.text()[-3000:]}",
    )


@contextmanager
def receiving():
    """A webhook's receiver: yields its address and the bodies that came."""
    bodies = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                line, _ = listener.accept()
            except OSError:
                return
            with line:
                line.settimeout(5)
                data = b""
                while b"\r\n\r\n" not in data:
                    data += line.recv(65536)
                head, _, body = data.partition(b"\r\n\r\n")
                length = next(
                    int(each.split(b":")[1])
                    for each in head.split(b"\r\n")
                    if each.lower().startswith(b"content-length:")
                )
                while len(body) < length:
                    body += line.recv(65536)
                bodies.append(body.decode())
                line.sendall(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")

    threading.Thread(target=serve, daemon=True).start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}/", bodies
    listener.close()


def told_to(url: str) -> dict[str, str]:
    """Return the variables of a channel ``ops``."""
    return {"DRKEEPER_NOTIFY_OPS_URL": url}


def commits(made: Installation) -> list[Path]:
    """Return the entries of the repository's journal."""
    return [*(made.store / "journal").iterdir()]


CHANNEL = "notify: {ops: {webhook: {}}}\n"


def test_a_locked_ledger_is_told_and_recorded_later(made):
    """Another process keeps the ledger: an alarm and backups without it, and all with it again."""
    with receiving() as (url, bodies):
        configure(made, CHANNEL)
        with Keeper(made, **told_to(url)) as keeper:
            keeper.ready()
            runs_on(keeper)
            path = made.home / "state" / "ledger.sqlite"
            with closing(sqlite3.connect(path, isolation_level=None)) as other:
                other.execute("BEGIN EXCLUSIVE")
                before = len(commits(made))
                wait_for(lambda: any("ledger-trouble" in body for body in bodies), "to be told")
                keeper.wait_for("run.improvised")
                wait_for(lambda: len(commits(made)) > before, "a backup without a record")
                other.execute("ROLLBACK")
            runs_on(keeper)
            keeper.end()
    with ledger_of(made) as ledger:
        assert ledger.verify().ok


def _may_mount() -> bool:
    done = subprocess.run(
        ["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"],
        check=False,
        capture_output=True,
    )
    return os.geteuid() == 0 and done.returncode == 0


@contextmanager
def on_small_disk(folder: Path, size: int):
    """Let a folder, with all that is in it, be on a file system of its own."""
    aside = folder.with_name("aside")
    shutil.copytree(folder, aside)
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "tmpfs", folder], check=True
    )
    try:
        shutil.copytree(aside, folder, dirs_exist_ok=True)
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill(stone: Path) -> None:
    """Write a file until there is no room for another page."""
    with open(stone, "wb") as file, suppress(OSError):
        while os.write(file.fileno(), bytes(4096)):
            pass


def test_a_full_disk_under_the_ledger_costs_an_alarm(made):
    """Not a byte is left for the state: it is told, what is due is backed up, and all goes on."""
    if not _may_mount():
        pytest.skip("mounting is not allowed here (run as root): no real disk was filled")
    with receiving() as (url, bodies), on_small_disk(made.home / "state", 4_000_000):
        configure(made, CHANNEL)
        with Keeper(made, **told_to(url)) as keeper:
            keeper.ready()
            runs_on(keeper)
            stone = made.home / "state" / "runs" / "stone"
            fill(stone)
            before = len(commits(made))
            wait_for(lambda: any("ledger-trouble" in body for body in bodies), "to be told")
            keeper.wait_for("run.improvised")
            wait_for(lambda: len(commits(made)) > before, "a backup on a full disk")
            assert keeper.process.poll() is None
            stone.unlink()
            runs_on(keeper)
            wait_for(
                lambda: any("drkeeper.left" in body for body in bodies), "to be told of its end"
            )
            assert keeper.end() == 143
        with ledger_of(made) as ledger:
            assert ledger.verify().ok


def test_a_damaged_ledger_is_told_at_the_start(made):
    """What was changed behind the daemon's back is an alarm, and the daemon works on."""
    with Keeper(made) as keeper:
        keeper.ready()
        runs_on(keeper)
        keeper.end()
    with closing(sqlite3.connect(made.home / "state" / "ledger.sqlite")) as other:
        other.execute("DROP TRIGGER IF EXISTS event_is_never_updated")
        for (name,) in other.execute(
            "SELECT name FROM sqlite_master WHERE type='trigger'"
        ).fetchall():
            other.execute(f"DROP TRIGGER {name}")
        other.execute("UPDATE event SET at = '2020-01-01T00:00:00.000000Z' WHERE seq = 2")
        other.commit()
    with receiving() as (url, bodies):
        configure(made, CHANNEL)
        with Keeper(made, **told_to(url)) as keeper:
            keeper.ready()
            assert keeper.lines("ledger.damaged")
            wait_for(lambda: any("ledger-trouble" in body for body in bodies), "to be told")
            assert keeper.process.poll() is None


def test_a_store_that_is_gone_is_told_and_come_back_to(made):
    """Its policy fails with pauses in between, the other policies run; then it is over."""
    with Keeper(made) as keeper:
        keeper.ready()
        runs_on(keeper)
        away = made.store.rename(made.home / "away")
        (alarm,) = keeper.wait_for("alarm.raised", kind="storage-unreachable")
        assert "primary" in alarm["message"]
        assert alarm["hint"]
        wait_for(lambda: "failing" in alarms_of(made), "the policy to be failing")
        begun = len(keeper.lines("run.started"))
        away.rename(made.store)
        keeper.wait_for("alarm.cleared", kind="storage-unreachable")
        assert len(keeper.lines("run.started")) - begun <= 2
        assert keeper.end() == 143


def test_a_receiver_that_hangs_holds_up_nobody(made):
    """It accepts and never answers: runs go on, the channel's trouble shows, the end is quick."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        configure(made, CHANNEL)
        needs(made, "broken", more="hooks: {before_backup: [/bin/false]}\n")
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        with Keeper(made, **told_to(url)) as keeper:
            keeper.ready()
            keeper.wait_for("alarm.raised", kind="failing")
            runs_on(keeper, count=2)
            assert not keeper.lines("tick.broken") + keeper.lines("look.broken")
            assert keeper.end(within_s=40) == 143


@pytest.mark.soak
def test_a_receiver_that_hangs_has_its_alarm(made):
    """When all that is tried for one message has come to nothing, the channel itself is told of."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        configure(made, CHANNEL)
        needs(made, "broken", more="hooks: {before_backup: [/bin/false]}\n")
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        with Keeper(made, **told_to(url)) as keeper:
            keeper.ready()
            for _ in range(4):  # a message is given up after two minutes
                runs_on(keeper, count=3)
            (alarm,) = keeper.wait_for("alarm.raised", 1, 120, kind="notifier-failing")
            assert alarm["subject"] == "channel/ops"
            runs_on(keeper)
            assert keeper.end(within_s=40) == 143


def test_a_hook_that_never_ends_is_ended(made):
    """Its run fails after its time and says so; the other policy runs; no process is left."""
    endless = "hooks: {before_backup: [{command: [/bin/sleep, '3000'], timeout: 3s}]}\n"
    needs(made, "slow", more=endless)
    with Keeper(made) as keeper:
        keeper.ready()
        (alarm,) = keeper.wait_for("alarm.raised", kind="failing")
        assert alarm["subject"] == "policy/slow"
        assert "sleep" in alarm["message"] or "hook" in alarm["message"]
        runs_on(keeper)
        raised = {line["subject"] for line in keeper.lines("alarm.raised")}
        assert "policy/files" not in raised
        keeper.end()
    assert not processes_of(made)


def test_a_hook_that_floods_fills_neither_disk_nor_memory(made):
    """What it writes is bounded in the log of its run, and read all the same."""
    flood = made.home / "flood"
    flood.write_text("#!/bin/sh\nyes 'so many words' | head -c 50000000\n")
    flood.chmod(0o755)
    needs(made, "loud", more=f"hooks: {{before_backup: [{flood}]}}\n")
    with Keeper(made) as keeper:
        keeper.ready()
        runs_on(keeper, "loud")
        runs_on(keeper)
        status = Path(f"/proc/{keeper.process.pid}/status").read_text()
        assert int(status.split("VmHWM:")[1].split()[0]) < 150_000
        assert alarms_of(made) == []
        keeper.end()
    logs = [path.stat().st_size for path in (made.home / "state" / "runs").glob("*.log")]
    assert max(logs) <= 256 * 1024


def test_an_address_that_is_taken_is_tried_again(made):
    """The page's port belongs to another program: an alarm, and everything else works."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        configure(made, f"web: {{listen: '127.0.0.1:{port}'}}\n")
        with Keeper(made) as keeper:
            keeper.ready()
            (alarm,) = keeper.wait_for("alarm.raised", kind="configuration-invalid")
            assert str(port) in alarm["message"]
            runs_on(keeper)
            taken.close()
            keeper.wait_for("web.started")
            keeper.wait_for("alarm.cleared", kind="configuration-invalid")
            assert keeper.end() == 143


def test_a_run_that_is_killed_has_failed_and_is_tried_again(made):
    """The kernel ends a run for its memory: it has failed in the ledger, and is run again later."""
    (made.source / "large.bin").write_bytes(os.urandom(30_000_000))
    configure(made, upload="3 MiB/s")
    with Keeper(made) as keeper:
        keeper.ready()
        (begun,) = keeper.wait_for("run.started")
        wait_for(lambda: [*(made.store / "packs").rglob("*")], "something to be stored")
        os.kill(begun["pid"], signal.SIGKILL)
        keeper.wait_for("run.process_ended", run=begun["run"], signal=9)
        keeper.wait_for("run.process_ended", policy="files", code=0)
        keeper.end()
    with ledger_of(made) as ledger:
        states = {run.id: run.state for run in ledger.runs("files")}
    assert states[begun["run"]] is RunState.FAILED
    assert RunState.SUCCEEDED in states.values()
