"""The service as it is shipped, under a real systemd: from its start to a reboot."""

import json
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from services.machine import new_machine, or_skip
from services.unit import HOME, KIT, SOURCE, Service

pytestmark = [pytest.mark.integration, pytest.mark.slow]

CAP_DAC_READ_SEARCH = 1 << 2  # linux/capability.h
SLOW = "1MiB/s"
MEBIBYTES = 60  # at that rate a minute: longer than anything here waits
GOOD = {"succeeded", "warnings"}


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the installation writes to a machine's disk: made once, and copied for each test."""
    with or_skip(), new_machine(tmp_path_factory.mktemp("installed")) as machine:
        machine.boot()
        Service(machine).install()
        machine.shut_down()
        return machine.files


@pytest.fixture
def service(installed: Path, tmp_path: Path) -> Iterator[Service]:
    """The service on a machine of its own, which is up; not started yet."""
    with new_machine(tmp_path / "machine", like=installed) as machine:
        machine.boot()
        yield Service(machine)


def pid(service: Service) -> int:
    """Return the number of the daemon's process, as the machine counts."""
    return int(service.machine.show("drkeeper", "MainPID")["MainPID"])


def processes(service: Service) -> list[int]:
    """Return the processes that run as the service's user."""
    said = service.machine.run("pgrep", "-u", "drkeeper", check=False)
    return [int(word) for word in said.split()]


def messages(service: Service) -> str:
    """Return everything that the journal has of the service since the machine was booted."""
    return "\n".join(str(entry.get("MESSAGE")) for entry in service.machine.journal("drkeeper"))


def known(service: Service) -> str:
    """Return the names of the policies that the ledger has seen."""
    script = (
        "import sqlite3\n"
        f"ledger = sqlite3.connect('file:{HOME}/ledger.sqlite?mode=ro', uri=True, timeout=10)\n"
        "print(*[name for name, in ledger.execute('select name from policy')])"
    )
    return service.machine.run("/opt/drkeeper/bin/python3", "-c", script, check=False)


def begin_long_run(service: Service, *, files: int = 1, rate: str = SLOW) -> dict:
    """Start the service with a policy whose first run takes long, and wait until it uploads."""
    for number in range(files):
        service.grow(f"large-{number}", MEBIBYTES // files if files == 1 else 10)
    service.slowly(rate)
    service.policy("files")
    service.start()
    run = service.await_run("files", "running")[0]
    time.sleep(3)
    return run


def test_what_a_reboot_made_it_miss_runs_once(service: Service) -> None:
    """A slot that passes while the machine is off is made up for after the boot, exactly once."""
    machine = service.machine
    service.policy("files")
    service.start()
    service.await_run("files", *GOOD)
    slot = (datetime.now(UTC) + timedelta(seconds=70)).replace(second=0, microsecond=0)
    service.policy(
        "nightly", rpo="25h", schedule=f"schedule: daily at {slot:%H:%M}\ntime_zone: UTC"
    )
    service.systemctl("reload")
    machine.until(lambda: "nightly" in known(service), 8, "the daemon knows the policy")
    machine.shut_down()
    assert datetime.now(UTC) < slot
    time.sleep((slot - datetime.now(UTC)).total_seconds() + 1)

    machine.boot()
    (made_up,) = service.await_run("nightly", *GOOD)
    assert made_up["queued_at"] > slot.isoformat()
    # A daemon that forgot it, or did not know that it was made up, would run it at its next start.
    service.systemctl("restart")
    machine.until(lambda: "daemon.ready" in messages(service), 20, "it is ready")
    time.sleep(3)
    assert len(service.runs("nightly")) == 1
    assert len(service.runs("files")) == 1


def test_starts_runs_and_stops(service: Service) -> None:
    """Started means ready; a run in the sandbox sees all that root does; stopped is clean."""
    hideable = ("/root/a", "/home/me/b", "/var/tmp/c", "/usr/lib/modules/d")
    for path in hideable:
        service.machine.write(path, "there\n", 0o600)
    folders = ", ".join(path.rpartition("/")[0] for path in hideable)
    service.policy("files", path=f"{SOURCE}, {folders}")
    service.start()
    shown = service.machine.show("drkeeper", "ActiveState", "StatusText", "NotifyAccess")
    assert shown["ActiveState"] == "active"
    assert "daemon.ready" in messages(service)
    status = service.machine.run("cat", f"/proc/{pid(service)}/status")
    facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert (facts["Seccomp"], facts["NoNewPrivs"]) == ("2", "1")
    assert int(facts["CapEff"], 16) == int(facts["CapBnd"], 16) == CAP_DAC_READ_SEARCH

    service.await_run("files", "succeeded")
    listed = service.command("ls", "files", "--json")
    for path in (f"{SOURCE}/root-only", *hideable):
        assert f'"path":"{path}"' in listed
    assert '"user":"root"' in listed

    service.systemctl("stop")
    shown = service.machine.show("drkeeper", "ActiveState", "Result", "ExecMainStatus")
    assert shown == {"ActiveState": "inactive", "Result": "success", "ExecMainStatus": "143"}
    assert processes(service) == []


def test_journald_gets_levels_and_ids(service: Service) -> None:
    """Every event has journald's own level, and events about a run are found by its id."""
    service.policy("files")
    service.policy("broken", path="/nonexistent/source")
    service.start()
    good = service.await_run("files", *GOOD)[0]
    service.await_run("broken", "failed")
    # The alarm comes with the next look at everything, which is not at once.
    ours = service.await_line("alarm.raised")
    about = [entry["MESSAGE"] for entry in ours if f"run={good['id']}" in entry["MESSAGE"]]
    assert [text.split()[0] for text in about][:2] == ["run.queued", "run.started"]
    assert {entry["PRIORITY"] for entry in ours} >= {"6", "4"}
    assert not [entry for entry in ours if entry["MESSAGE"].startswith("<")]


def test_a_run_shows_in_the_status_and_a_stop_brings_it_to_safety(service: Service) -> None:
    """systemctl status names what runs; a stop in its midst ends in time, recorded, nothing left over."""
    run = begin_long_run(service, files=24, rate="8MiB/s")
    service.machine.until(
        lambda: "running files" in service.machine.show("drkeeper", "StatusText")["StatusText"],
        10,
        "the status names the run",
    )
    began = time.monotonic()
    service.systemctl("stop")
    assert time.monotonic() - began < 60
    shown = service.machine.show("drkeeper", "ActiveState", "Result", "ExecMainStatus")
    assert shown == {"ActiveState": "inactive", "Result": "success", "ExecMainStatus": "143"}
    assert processes(service) == []
    (ended,) = service.runs("files")
    assert (ended["id"], ended["state"]) == (run["id"], "interrupted")
    assert ended["ended_at"]

    service.slowly("")
    service.start()
    (made_up,) = service.await_run("files", *GOOD)
    assert json.loads(made_up["result"])["continued"]
    service.command("check", "--read-data")


def test_a_daemon_that_hangs_is_replaced(service: Service) -> None:
    """Frozen in mid-run, the daemon is ended and started again by systemd; the run is made up for."""
    run = begin_long_run(service)
    frozen = pid(service)
    service.machine.run("kill", f"-{int(signal.SIGSTOP)}", str(frozen))
    service.slowly("")
    service.machine.until(
        lambda: service.machine.show("drkeeper", "NRestarts")["NRestarts"] == "1", 40, "a restart"
    )
    service.await_run("files", *GOOD)
    assert pid(service) not in {0, frozen}
    assert service.machine.show("drkeeper", "ActiveState")["ActiveState"] == "active"
    assert "Watchdog timeout" in messages(service)
    first, second = service.runs("files")
    assert (first["id"], first["state"]) == (run["id"], "interrupted")
    assert second["state"] in GOOD
    service.command("ledger", "verify")


def test_reloading_takes_what_is_right(service: Service) -> None:
    """A reload begins new policies; of a policy that is broken now the last good version goes on."""
    service.policy("files")
    service.start()
    service.await_run("files", *GOOD)
    before = pid(service)
    service.policy("more")
    service.systemctl("reload")
    service.await_run("more", *GOOD)

    service.machine.write("/etc/drkeeper/policies.d/files.yaml", "policy: files\nsource: {fil")
    service.systemctl("reload")
    service.policy("last")
    service.systemctl("reload")
    service.await_run("last", *GOOD)
    shown = service.machine.show("drkeeper", "ActiveState", "SubState")
    assert shown == {"ActiveState": "active", "SubState": "running"}
    assert pid(service) == before
    assert "files.yaml" in messages(service)
    # Still planned: nobody has forgotten it.
    assert "files" in service.command("run", "--due", "--dry-run", "--json")


def test_keys_and_tokens_come_as_credentials(service: Service) -> None:
    """A sealed key opens the repository; it is in no environment, argument, log or file of drkeeper's."""
    key = "/etc/drkeeper/keys/primary/host.key"
    sealed = "/etc/credstore.encrypted/drkeeper.primary.host.key"
    run = service.machine.run
    secrets = [
        line for line in run("cat", key).splitlines() if "SECRET-KEY" in line or "DRK-" in line
    ]
    assert secrets
    run("mkdir", "-p", "/etc/credstore.encrypted")
    run("systemd-creds", "encrypt", "--name=drkeeper.primary.host.key", key, sealed)
    run("rm", key)
    # Not sealed, so that both ways are gone.
    service.machine.write("/etc/drkeeper/token", "token-9f31d7c41e88\n", 0o600)
    service.drop_in(
        "credentials",
        "[Service]\n"
        f"LoadCredentialEncrypted=drkeeper.primary.host.key:{sealed}\n"
        "LoadCredential=drkeeper.web_token:/etc/drkeeper/token\n",
    )
    begin_long_run(service, files=24, rate="8MiB/s")
    alive = [
        word
        for one in processes(service)
        for word in (f"/proc/{one}/environ", f"/proc/{one}/cmdline")
    ]
    assert len(alive) >= 4
    seen = run("cat", *alive, check=False)
    assert "CREDENTIALS_DIRECTORY=" in seen
    service.slowly("")
    service.systemctl("restart")
    service.await_run("files", *GOOD)
    told = messages(service) + seen + run("sh", "-c", f"cat {HOME}/runs/*")
    for secret in [*secrets, "token-9f31d7c41e88"]:
        assert secret not in told
        left = run("grep", "-rlF", "-e", secret, HOME, "/var/cache/drkeeper", check=False)
        assert [path for path in left.split() if path != KIT] == []
    assert fetched(service, "/metrics") == 401
    assert fetched(service, "/metrics", "token-9f31d7c41e88") == 200


def fetched(service: Service, path: str, token: str = "") -> int:
    """Ask the daemon's page from within the machine, and return the status."""
    script = (
        "import sys, urllib.error, urllib.request as r\n"
        "headers = {'Authorization': 'Bearer ' + sys.argv[2]} if sys.argv[2] else {}\n"
        "try: print(r.urlopen(r.Request('http://127.0.0.1:8970' + sys.argv[1], headers=headers)).status)\n"
        "except urllib.error.HTTPError as error: print(error.code)\n"
    )
    return int(service.machine.run("/opt/drkeeper/bin/python3", "-c", script, path, token))


def test_a_power_cut_in_mid_run_is_made_up_for(service: Service) -> None:
    """After a power cut the run that was cut is known for dead by the new boot, and made up for."""
    run = begin_long_run(service)
    service.slowly("")
    service.machine.run("sync")
    service.machine.cut_power()
    service.machine.boot()
    service.await_run("files", *GOOD)
    first, _ = service.runs("files")
    assert (first["id"], first["state"]) == (run["id"], "interrupted")
    service.command("check")
    service.command("ledger", "verify")


def test_the_timer_does_without_a_daemon(service: Service) -> None:
    """drkeeper-due runs what is due in the same sandbox, and the timer is waiting for the next look."""
    service.policy("files")
    service.machine.run("systemctl", "start", "drkeeper-due.timer")
    service.machine.run("systemctl", "start", "drkeeper-due.service")
    assert len(service.runs("files", *GOOD)) == 1
    service.machine.run("systemctl", "start", "drkeeper-due.service")
    assert len(service.runs("files")) == 1
    shown = service.machine.show("drkeeper-due.timer", "ActiveState", "NextElapseUSecRealtime")
    assert shown["ActiveState"] == "active"
    assert shown["NextElapseUSecRealtime"]


def test_a_daemon_by_hand_is_refused(service: Service) -> None:
    """The user of the service finds its folders without being told, and there is one daemon there."""
    service.start()
    assert f"{HOME}" in service.command("config", "paths")
    said = service.command("daemon", check=False)
    assert "error: " in said
    assert service.machine.show("drkeeper", "ActiveState")["ActiveState"] == "active"


def test_commands_by_hand_see_the_daemon(service: Service) -> None:
    """A container shows a hardened service another boot id than a shell: it is alive all the same."""
    service.policy("files")
    service.start()
    service.await_run("files", *GOOD)
    assert "daemon" in service.command("status").splitlines()[0]
    assert "no daemon runs" not in service.command("status")


def test_a_restore_with_roots_rights_takes_nothing_from_the_service(service: Service) -> None:
    """Owners come back, as docs/systemd.md says; root itself is refused, and told as whom."""
    service.machine.run("chown", "4711:4711", f"{SOURCE}/root-only")
    service.policy("files")
    service.start()
    service.await_run("files", *GOOD)
    refused = service.machine.run("drkeeper", "restore", "files", "--to", "/root/a", check=False)
    assert "Run this as drkeeper" in refused
    rights = "CAP_CHOWN CAP_DAC_OVERRIDE CAP_FOWNER CAP_MKNOD CAP_SETFCAP"
    service.machine.run(
        "systemd-run", "--quiet", "--pipe", "--wait", "--uid=drkeeper",
        "-p", f"AmbientCapabilities={rights}", "drkeeper", "restore", "files", "--to", "/root/b",
    )  # fmt: skip
    owner = service.machine.run("stat", "-c", "%u:%g", f"/root/b{SOURCE}/root-only")
    assert owner.strip() == "4711:4711"
    strangers = (
        "find",
        HOME,
        "/var/cache/drkeeper",
        "/etc/drkeeper/keys",
        "!",
        "-user",
        "drkeeper",
    )
    assert not service.machine.run(*strangers)
