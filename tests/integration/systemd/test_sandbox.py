"""Drills of the service: the sandbox as the shipped unit leaves it, and with its drop-in."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from services import require
from services.machine import new_machine, or_skip
from services.unit import Service

pytestmark = [pytest.mark.integration, pytest.mark.slow]

DROP_IN = Path(__file__).parents[3] / "systemd" / "drkeeper.service.d" / "drills.conf"
SAID = "/var/lib/drkeeper/doctor.txt"
DOCTOR = f"""[Service]
ExecStart=
ExecStart=drkeeper doctor --no-probe
StandardOutput=truncate:{SAID}
"""
# A machine in a container has parts of /proc covered, which no machine of its own has. The boot id
# is one of them, so that the journal is not asked for this boot afterwards.
UNCOVER = r"awk '$5 ~ /^\/proc\/./ {print $5}' /proc/self/mountinfo | sort -r | while read -r at; do umount -l $at; done; true"


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """The service, installed and not started, with bubblewrap beside it."""
    require("bubblewrap", programs=("bwrap",))
    with or_skip(), new_machine(tmp_path / "machine") as machine:
        machine.boot()
        made = Service(machine)
        made.install()
        machine.run("sh", "-c", UNCOVER)
        yield made


def doctor(service: Service) -> list[str]:
    """Return what the doctor says of scratch, as a process of the service."""
    service.machine.run("systemctl", "start", "drkeeper-due", check=False)
    said = service.machine.run("cat", SAID)
    found = [line for line in said.splitlines() if "scratch: " in line]
    assert len(found) == 2, said
    return found


def test_the_drop_in_is_what_it_takes(service: Service) -> None:
    """As shipped, the service has the fallback, and is told so; with drills.conf it has the sandbox."""
    service.drop_in("zz-doctor", DOCTOR)
    sandbox, fallback = doctor(service)
    assert sandbox.startswith("warn scratch: bubblewrap: ")
    assert "namespace" in sandbox
    assert fallback.startswith("ok   scratch: process: works")
    service.drop_in("drills", DROP_IN.read_text())
    sandbox, fallback = doctor(service)
    assert sandbox.startswith("ok   scratch: bubblewrap: works")
    assert fallback.startswith("ok   scratch: process: works")
