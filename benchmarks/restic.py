"""Find a restic as new as can be had: the newest Debian package, else the installed one."""

import os
import shutil
import subprocess
from pathlib import Path

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


def newest_restic(work: Path) -> str | None:
    """Return the path of a restic program, fetched into ``work`` when apt allows it."""
    fetched = work / "restic" / "usr" / "bin" / "restic"
    if not fetched.exists() and shutil.which("apt-get") and os.path.exists(KEYRING):
        _fetch(work)
    return str(fetched) if fetched.exists() else shutil.which("restic")


def _mirror() -> str:
    """Return the mirror the machine itself uses, so that proxies and policies are respected."""
    for path in Path("/etc/apt").glob("sources.list.d/debian.sources"):
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith("URIs: "):
                return line.removeprefix("URIs: ").split()[0]
    return "http://deb.debian.org/debian"


def _fetch(work: Path) -> None:
    """Download and unpack restic from Debian's newest suite, without touching the system."""
    apt = work / "apt"
    for folder in ("lists/partial", "cache/archives/partial"):
        (apt / folder).mkdir(parents=True, exist_ok=True)
    sources = apt / "sources.list"
    sources.write_text(f"deb [signed-by={KEYRING}] {_mirror()} sid main\n", encoding="utf-8")
    options = [
        f"Dir::Etc::sourcelist={sources}",
        "Dir::Etc::sourceparts=/dev/null",
        f"Dir::State::Lists={apt / 'lists'}",
        f"Dir::Cache={apt / 'cache'}",
        "Acquire::Check-Valid-Until=false",
        "APT::Sandbox::User=root",
    ]
    base = ["apt-get", "-qq", *(x for option in options for x in ("-o", option))]
    try:
        subprocess.run([*base, "update"], check=True, cwd=apt, timeout=300)
        subprocess.run([*base, "download", "restic/sid"], check=True, cwd=apt, timeout=300)
        package = next(apt.glob("restic_*.deb"))
        subprocess.run(["dpkg", "-x", str(package), str(work / "restic")], check=True)
    except (subprocess.SubprocessError, StopIteration) as error:
        print(f"could not fetch a newer restic ({error}); using the installed one")
