"""drkeeper installed as a service on a machine, as docs/systemd.md has it."""

import json

from services.machine import TOP, Machine

UNITS = TOP / "systemd"
HOME = "/var/lib/drkeeper"
STORE = "/srv/backup"
SOURCE = "/srv/data"
KIT = f"{HOME}/kit.txt"
# Only so that tests need not wait as long as operators gladly do.
IMPATIENT = """
[Service]
WatchdogSec=8s
RestartSec=1s
"""
POLICY = """
policy: {name}
source: {{files: {{paths: [{path}]}}}}
{schedule}
objectives: {{rpo: {rpo}}}
repository: primary
"""
# The user's own environment and nothing else, as sudo makes it.
AS_SERVICE = ("setpriv", "--reuid=drkeeper", "--regid=drkeeper", "--init-groups", "--reset-env",
              "/usr/local/bin/drkeeper")  # fmt: skip
RUNS = """
import json, sqlite3
ledger = sqlite3.connect("file:/var/lib/drkeeper/ledger.sqlite?mode=ro", uri=True, timeout=10)
ledger.row_factory = sqlite3.Row
print(json.dumps([dict(row) for row in ledger.execute("select * from run order by rowid")]))
"""


class Service:
    """The daemon's unit, its files and what it does.

    Attributes:
        machine: Where it is installed.
    """

    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    def install(self, *drop_ins: str) -> None:
        """Install the units, the user and the folders, some drop-ins, and make a repository."""
        machine = self.machine
        for name in ("drkeeper.service", "drkeeper-due.service", "drkeeper-due.timer"):
            machine.write(f"/etc/systemd/system/{name}", (UNITS / name).read_text())
        for kind in ("sysusers.d", "tmpfiles.d"):
            machine.write(
                f"/usr/lib/{kind}/drkeeper.conf", (UNITS / kind / "drkeeper.conf").read_text()
            )
        for name in ("folder-store", "root-files", *drop_ins):
            self.drop_in(name, (UNITS / "drkeeper.service.d" / f"{name}.conf").read_text())
        self.drop_in("zz-tests", IMPATIENT)
        machine.run("systemd-sysusers")
        machine.run("systemd-tmpfiles", "--create", "drkeeper.conf")
        machine.run("install", "-d", "-o", "drkeeper", "-g", "drkeeper", "-m", "700", STORE)
        machine.run("install", "-d", "-m", "755", SOURCE)
        machine.write(f"{SOURCE}/root-only", "for root\n", 0o600)
        self.command("init", STORE, "--kit-file", KIT)

    def drop_in(self, name: str, text: str) -> None:
        """Install a drop-in for both variants of the service."""
        for unit in ("drkeeper", "drkeeper-due"):
            # The other variant has no daemon to be impatient with.
            kept = text if unit == "drkeeper" or "WatchdogSec" not in text else ""
            self.machine.write(f"/etc/systemd/system/{unit}.service.d/{name}.conf", kept)
        self.machine.run("systemctl", "daemon-reload")

    def command(self, *arguments: str, check: bool = True) -> str:
        """Run drkeeper by hand, as its user."""
        return self.machine.run(*AS_SERVICE, *arguments, check=check)

    def policy(self, name: str, *, rpo: str = "6h", schedule: str = "", path: str = SOURCE) -> None:
        """Write a policy; without a schedule it runs at once, and then as its RPO wants."""
        text = POLICY.format(name=name, rpo=rpo, schedule=schedule, path=path)
        self.machine.write(f"/etc/drkeeper/policies.d/{name}.yaml", text)

    def grow(self, name: str, mebibytes: int) -> None:
        """Add a file that does not compress to the source."""
        count = f"count={mebibytes}"
        self.machine.run(
            "dd", "if=/dev/urandom", f"of={SOURCE}/{name}", "bs=1M", count, "status=none"
        )

    def slowly(self, rate: str) -> None:
        """Keep uploads to a rate, so that runs take a known time at least."""
        path = "/etc/drkeeper/drkeeper.yaml"
        text = self.machine.run("cat", path)
        kept = [line for line in text.splitlines() if "limits:" not in line]
        added = [f"    limits: {{upload: {rate}}}"] if rate else []
        self.machine.write(path, "\n".join(kept + added) + "\n")

    def start(self) -> None:
        """Start the service, at each boot from now on."""
        self.systemctl("enable")
        self.systemctl("start")

    def systemctl(self, verb: str, *, check: bool = True) -> str:
        """Do something to the service."""
        return self.machine.run("systemctl", verb, "drkeeper", check=check)

    def runs(self, policy: str, *states: str) -> list[dict]:
        """Return the policy's runs, oldest first; of some states only."""
        said = self.machine.run("/opt/drkeeper/bin/python3", "-c", RUNS, check=False)
        rows = json.loads(said) if said.startswith("[") else []
        return [
            row
            for row in rows
            if row["policy"] == policy and (not states or row["state"] in states)
        ]

    def await_line(self, event: str, within: float = 90) -> list[dict]:
        """Wait for an event in the journal, and return all that the service itself has said."""

        def said() -> list[dict]:
            entries = self.machine.journal("drkeeper")
            return [entry for entry in entries if entry.get("_COMM", "") != "systemd"]

        def told() -> bool:
            return any(entry["MESSAGE"].startswith(event) for entry in said())

        self.machine.until(told, within, event)
        return said()

    def await_run(
        self, policy: str, *states: str, count: int = 1, within: float = 30
    ) -> list[dict]:
        """Wait for runs in some state, and return them."""
        why = f"{count} runs of {policy} {states}"
        self.machine.until(lambda: len(self.runs(policy, *states)) >= count, within, why)
        return self.runs(policy, *states)
