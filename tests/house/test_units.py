"""The units in systemd/ are right, tight, and say what is true of them."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from drkeeper.app.config.settings import DaemonSettings
from services import require

TOP = Path(__file__).resolve().parents[2]
UNITS = TOP / "systemd"
SERVICES = ("drkeeper.service", "drkeeper-due.service")
DROP_INS = sorted(path.stem for path in (UNITS / "drkeeper.service.d").glob("*.conf"))
DOCUMENT = (TOP / "docs" / "systemd.md").read_text()
MOST_EXPOSED = 2.0


@pytest.fixture(autouse=True, scope="module")
def systemd() -> None:
    """Need systemd's own opinion; it need not run."""
    require("systemd-analyze", programs=("systemd-analyze",))


def analyze(*arguments: object) -> str:
    """Return all that systemd-analyze says."""
    done = subprocess.run(
        ["systemd-analyze", "--no-pager", *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
        env={"PATH": os.environ["PATH"], "LC_ALL": "C", "SYSTEMD_COLORS": "0"},
    )
    return done.stdout


def installed(at: Path, service: str, *drop_ins: str) -> Path:
    """Copy a service with some drop-ins, and with a program that exists; return its path."""
    program = at / "drkeeper"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    text = (UNITS / service).read_text()
    assert text.count("ExecStart=drkeeper ") == 1
    unit = at / service
    unit.write_text(text.replace("ExecStart=drkeeper ", f"ExecStart={program} "))
    for name in drop_ins:
        (at / f"{service}.d").mkdir(exist_ok=True)
        shutil.copy(UNITS / "drkeeper.service.d" / f"{name}.conf", at / f"{service}.d")
    return unit


def exposure(unit: Path) -> float:
    """Return systemd's figure for a unit."""
    found = re.search(
        r"Overall exposure level for \S+: (\S+)", analyze("security", "--offline=true", unit)
    )
    assert found
    return float(found[1])


def settings(service: str) -> dict[str, list[str]]:
    """Return the settings of a unit's [Service] section."""
    text = (UNITS / service).read_text().partition("[Service]")[2].partition("[Install]")[0]
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize(
    "drop_ins", [(), *((name,) for name in DROP_INS), tuple(DROP_INS)], ids="+".join
)
def test_systemd_finds_nothing_wrong(tmp_path, service: str, drop_ins: tuple[str, ...]) -> None:
    """Each service verifies without a word, plain, with each drop-in, and with all of them."""
    said = analyze("verify", "--man=no", installed(tmp_path, service, *drop_ins))
    # What other units of this machine lack is not ours; unknown keys are told with the file's name.
    assert [line for line in said.splitlines() if "drkeeper" in line or str(tmp_path) in line] == []


def test_the_timer_verifies(tmp_path) -> None:
    """The timer starts a service that exists, at times that systemd understands."""
    installed(tmp_path, "drkeeper-due.service")
    timer = shutil.copy(UNITS / "drkeeper-due.timer", tmp_path)
    said = analyze("verify", "--man=no", timer)
    assert [line for line in said.splitlines() if "drkeeper" in line] == []
    times = re.search(r"OnCalendar=(.*)", Path(timer).read_text())
    assert times
    assert "Next elapse" in analyze("calendar", times[1])


def test_unknown_settings_would_be_found(tmp_path) -> None:
    """The test above sees what systemd only mumbles: a misspelt setting."""
    unit = installed(tmp_path, "drkeeper.service")
    unit.write_text(unit.read_text().replace("ProtectClock=", "ProtectClok="))
    assert "ProtectClok" in analyze("verify", "--man=no", unit)


@pytest.mark.parametrize("service", SERVICES)
def test_services_are_tight(tmp_path, service: str) -> None:
    """As they are shipped, the services are exposed at most by 2.0."""
    assert exposure(installed(tmp_path, service)) <= MOST_EXPOSED


@pytest.mark.parametrize("name", DROP_INS)
def test_drop_ins_say_what_they_cost(tmp_path, name: str) -> None:
    """Each drop-in names the exposure it leads to, and the documentation the same."""
    text = (UNITS / "drkeeper.service.d" / f"{name}.conf").read_text()
    told = re.search(r"Exposure (\d\.\d)", text)
    assert told
    found = exposure(installed(tmp_path, "drkeeper.service", name))
    # Other versions of systemd weigh a little differently.
    assert abs(float(told[1]) - found) <= (0 if "systemd 252" in analyze("--version") else 0.5)
    assert re.search(rf"^\| `{name}\.conf` \|.*\| {told[1]} \|$", DOCUMENT, re.MULTILINE)


def test_both_variants_are_hardened_alike() -> None:
    """Who leaves the daemon out loses none of its hardening."""
    daemon, due = (settings(service) for service in SERVICES)
    of_daemons = {
        "Type", "NotifyAccess", "ExecStart", "ExecReload", "WatchdogSec", "TimeoutAbortSec",
        "Restart", "RestartSec", "SuccessExitStatus",
    }  # fmt: skip
    assert daemon.keys() - due.keys() <= of_daemons
    assert due.keys() - daemon.keys() == {"TimeoutStartSec"}
    differ = {name for name in daemon.keys() & due.keys() if daemon[name] != due[name]}
    assert differ <= of_daemons


def test_systemd_waits_longer_than_the_daemon_does() -> None:
    """Runs get their whole time to reach a checkpoint before systemd loses its patience."""
    within = DaemonSettings().stop_within.total_seconds()
    for service in SERVICES:
        assert float(settings(service)["TimeoutStopSec"][0].removesuffix("s")) >= within + 10


def test_snapshots_are_not_falsified() -> None:
    """What would hide files, change owners, confuse runs or end the daemon for a run is not set."""
    for service in SERVICES:
        found = settings(service)
        assert "PrivateUsers" not in found
        assert "ProcSubset" not in found
        assert "DynamicUser" not in found
        hiding = {"PrivateTmp", "ProtectKernelModules", "InaccessiblePaths", "TemporaryFileSystem"}
        assert hiding & found.keys() == set()
        assert found["ProtectHome"] == ["read-only"]
        assert found["OOMPolicy"] == ["continue"]


def test_everything_that_is_shipped_is_documented() -> None:
    """Each file in systemd/ is named in docs/systemd.md."""
    files = [path for path in UNITS.rglob("*") if path.is_file()]
    assert len(files) >= 11
    assert [str(path.relative_to(UNITS)) for path in files if path.name not in DOCUMENT] == []
