"""A small Linux machine with a real systemd, in a container, for as long as a test runs.

It has what is needed to run drkeeper as a service, taken from where the tests run: their Python, its
packages and the sources, mounted read-only. Only root can have one, and only where the kernel lets
systemd-nspawn boot; elsewhere tests skip and say why.

The root file system is made once from the distribution's own packages, below .test-services, by
``python -m services.machine`` (from tests/) or by the first test that needs it. Each machine writes
to a layer of its own above it, which outlives reboots and goes with the test.
"""

import fcntl
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from services import program, require

TOP = Path(__file__).resolve().parents[2]
CACHE = TOP / ".test-services"
PROGRAMS = ("systemd-nspawn", "mmdebstrap", "unshare", "nsenter", "setpriv")
PACKAGES = "systemd,systemd-sysv,dbus,procps,python3,tzdata,ca-certificates"
VERSION = 2  # of what build() makes
BUILD_S = 300
BOOT_S = 30
COMMAND_S = 60
STOP_S = 30
PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"
LAUNCHER = """#!/opt/drkeeper/bin/python3 -I
import sys
from drkeeper.__main__ import main
sys.exit(main())
"""
# Control groups of its own: else the systemd of one machine would end the services of another.
HIERARCHIES = [
    path
    for path in ("/sys/fs/cgroup", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified")
    if os.path.exists(f"{path}/cgroup.procs")
]
# The layers are mounted where nobody else sees them, and go with the last process of the machine.
BOOT = """
set -e
mount --make-rprivate /
for hierarchy in $HIERARCHIES; do
  mkdir "$hierarchy/$NAME"
  echo 0 > "$hierarchy/$NAME/cgroup.procs"
done
mkdir -p /run/systemd/nspawn
mount -t tmpfs tmpfs /run/systemd/nspawn
mount -t overlay overlay -o "lowerdir=$ROOT,upperdir=$AT/upper,workdir=$AT/work" "$AT/root"
exec systemd-nspawn --quiet --machine="$NAME" --directory="$AT/root" --register=no --keep-unit \
  --console=pipe --private-network --suppress-sync=yes --link-journal=no "$@" --boot
"""


class UnusableError(Exception):
    """This machine cannot have machines; the text says why."""


def codename() -> str:
    """Return the name of the release this machine runs."""
    found = re.search(
        r"^VERSION_CODENAME=(\w+)$", Path("/etc/os-release").read_text(), re.MULTILINE
    )
    if not found:
        raise UnusableError("/etc/os-release names no release")
    return found[1]


def mirror(release: str) -> str:
    """Return where this machine's own apt gets the release from."""
    listed = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME) $(COMPONENT)", "Created-By: Packages"],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    for line in listed.stdout.splitlines():
        uri, name, component = line.split(" ")
        if (name, component) == (release, "main"):
            return uri.rstrip("/")
    raise UnusableError(f"apt knows no mirror of {release}")


def build() -> Path:
    """Return the root file system that machines stand on; make it if there is none."""
    root = CACHE / f"machine-{codename()}-{VERSION}"
    CACHE.mkdir(exist_ok=True)
    with open(CACHE / "machine.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.is_dir():
            made = CACHE / "machine.new"
            shutil.rmtree(made, ignore_errors=True)
            _debootstrap(made)
            made.rename(root)
    return root


def _debootstrap(at: Path) -> None:
    release = codename()
    without = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "man", "locale")]
    done = subprocess.run(
        [
            "mmdebstrap", "--quiet", "--mode=root", "--variant=essential", f"--include={PACKAGES}", *without,
            # A machine whose mirror stands still has said so to its own apt already.
            '--aptopt=Acquire::Check-Valid-Until "false"', release, str(at), mirror(release),
        ],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=BUILD_S, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        shutil.rmtree(at, ignore_errors=True)
        raise UnusableError(f"mmdebstrap failed: {done.stderr[-500:]}")
    (at / "etc/machine-id").write_text("")  # each machine is one of its own


class Machine:
    """One machine, off until it is booted.

    Attributes:
        files: Its file system, when it is off; for writing before the first boot.
    """

    def __init__(self, root: Path, at: Path, name: str) -> None:
        self._root = root
        self._at = at
        self._name = name
        self._process: subprocess.Popen | None = None
        self._init = 0
        self.files = at / "upper"
        for folder in ("upper", "work", "root"):
            (at / folder).mkdir(parents=True)

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Write a file, whether the machine is on or off; folders above it belong to root."""
        if self._init:
            script = 'mkdir -p "${1%/*}" && cat > "$1" && chmod "$2" "$1"'
            self.run("sh", "-c", script, "sh", path, f"{mode:o}", text=text)
            return
        file = self.files / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)

    def boot(self) -> None:
        """Start, and wait until systemd says that all is up."""
        log = open(self._at / "console", "ab")  # noqa: SIM115 - the child's
        self._process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork",
             "--kill-child=KILL", "--mount-proc", "sh", "-c", BOOT, "sh", *_mounts()],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            env={
                "ROOT": str(self._root), "AT": str(self._at), "NAME": self._name,
                "HIERARCHIES": " ".join(HIERARCHIES),
                "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C",
                "LD_LIBRARY_PATH": "/lib/x86_64-linux-gnu/systemd",
            },
        )  # fmt: skip
        log.close()
        try:
            self._await_boot()
        except BaseException:
            self.cut_power()
            raise

    def _await_boot(self) -> None:
        until = time.monotonic() + BOOT_S
        state = ""
        while time.monotonic() < until:
            if self._process.poll() is not None:
                break
            self._init = self._init or self._find_init()
            if self._init:
                state = self.run("systemctl", "is-system-running", check=False).strip()
                if state in {"running", "degraded"}:
                    self.run("ldconfig")
                    return
            time.sleep(0.1)
        console = (self._at / "console").read_text(errors="replace")[-800:]
        raise UnusableError(f"systemd-nspawn did not boot (state {state!r}): {console}")

    def _find_init(self) -> int:
        # unshare > sh, which becomes systemd-nspawn > systemd, which is PID 1 in there.
        for pid in _descendants(self._process.pid):
            with suppress(OSError):
                status = Path(f"/proc/{pid}/status").read_text()
                if status.startswith("Name:\tsystemd\n") and re.search(
                    r"^NSpid:.*\t1$", status, re.MULTILINE
                ):
                    return pid
        return 0

    def start(self, *command: str, **settings) -> subprocess.Popen:
        """Start a command in the machine, as its root."""
        enter = ["nsenter", "-t", str(self._init), "-m", "-u", "-i", "-n", "-p", "-C", "--"]
        return subprocess.Popen(
            [*enter, *command],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env={"PATH": "/usr/local/bin:/usr/sbin:/usr/bin", "LC_ALL": "C", "SYSTEMD_PAGER": ""},
            **settings,
        )  # fmt: skip

    def run(self, *command: str, check: bool = True, text: str = "") -> str:
        """Run a command in the machine to its end, as its root, and return what it says."""
        process = self.start(*command)
        try:
            said, _ = process.communicate(text, timeout=COMMAND_S)
        except BaseException:
            process.kill()
            raise
        if check and process.returncode != 0:
            raise AssertionError(f"{command} ended with {process.returncode}: {said}")
        return said

    def shut_down(self) -> None:
        """Let systemd stop everything in order, as at a reboot or at the end of the day."""
        os.kill(self._init, signal.SIGRTMIN + 4)  # systemd(1): poweroff.target
        try:
            self._process.wait(STOP_S)
        finally:
            self.cut_power()

    def cut_power(self) -> None:
        """End everything at once; what was written stays."""
        if self._process is not None:
            # The outermost process takes all others of the machine with it.
            self._process.kill()
            self._process.wait(STOP_S)
            self._remove_groups()
        self._process, self._init = None, 0

    def _remove_groups(self) -> None:
        # They are empty as soon as the kernel has buried the last process in them.
        until = time.monotonic() + STOP_S
        tops = [f"{hierarchy}/{self._name}" for hierarchy in HIERARCHIES]
        while any(map(os.path.isdir, tops)) and time.monotonic() < until:
            for top in tops:
                for folder, _, _ in os.walk(top, topdown=False):
                    with suppress(OSError):
                        os.rmdir(folder)
            time.sleep(0.01)

    def show(self, unit: str, *names: str) -> dict[str, str]:
        """Return properties of a unit."""
        said = self.run("systemctl", "show", unit, *(f"--property={name}" for name in names))
        return dict(line.split("=", 1) for line in said.splitlines() if "=" in line)

    def journal(self, unit: str) -> list[dict]:
        """Return what the journal of this boot holds of a unit."""
        said = self.run("journalctl", "--boot", "--unit", unit, "--output", "json")
        return [json.loads(line) for line in said.splitlines() if line.startswith("{")]

    def until(
        self, what: Callable[[], object], within: float, why: str, unit: str = "drkeeper"
    ) -> None:
        """Wait until something holds, and fail with the journal of a unit if it does not in time."""
        end = time.monotonic() + within
        while not what():
            if time.monotonic() > end:
                told = self.run("systemctl", "status", "--full", "--lines=40", unit, check=False)
                raise AssertionError(f"not within {within} s: {why}\n{told}")
            time.sleep(0.1)


def _mounts() -> list[str]:
    paths = sysconfig.get_paths()
    mounts = {paths["purelib"]: "/opt/drkeeper-packages", str(TOP / "src"): "/opt/drkeeper-source"}
    if sys.base_prefix != "/usr":
        mounts[sys.base_prefix] = "/opt/python"
    if os.path.exists("/usr/bin/bwrap"):
        mounts["/usr/bin/bwrap"] = "/usr/bin/bwrap"  # of the same release, hence with its libraries
    return [f"--bind-ro={there}:{here}" for there, here in mounts.items()]


def _install(machine: Machine) -> None:
    """Put drkeeper where docs/systemd.md has it: a virtual environment and a link to its command."""
    home = "/usr" if sys.base_prefix == "/usr" else "/opt/python"
    machine.write(
        "/opt/drkeeper/pyvenv.cfg", f"home = {home}/bin\ninclude-system-site-packages = false\n"
    )
    machine.write(
        f"/opt/drkeeper/lib/{PYTHON}/site-packages/tests.pth",
        "/opt/drkeeper-packages\n/opt/drkeeper-source\n",
    )
    machine.write("/opt/drkeeper/bin/drkeeper", LAUNCHER, 0o755)
    # Where its libpython is, if that is shared.
    machine.write("/etc/ld.so.conf.d/python.conf", f"{home}/lib\n")
    links = {"opt/drkeeper/bin/python3": f"{home}/bin/{PYTHON}",
             "usr/local/bin/drkeeper": "/opt/drkeeper/bin/drkeeper"}  # fmt: skip
    for link, target in links.items():
        (machine.files / link).parent.mkdir(parents=True, exist_ok=True)
        (machine.files / link).symlink_to(target)


def _descendants(pid: int) -> Iterator[int]:
    with suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            for child in Path(f"/proc/{pid}/task/{task}/children").read_text().split():
                yield int(child)
                yield from _descendants(int(child))


@contextmanager
def new_machine(at: Path, like: Path | None = None) -> Iterator[Machine]:
    """Yield a machine with drkeeper installed, not booted yet; end it and all in it afterwards.

    Args:
        at: Folder of what it writes.
        like: ``files`` of another machine, which is off, to begin with.
    """
    machine = Machine(build(), at, f"drkeeper-{secrets.token_hex(4)}")
    if like is None:
        _install(machine)
    else:
        subprocess.run(["cp", "--archive", f"{like}/.", str(machine.files)], check=True)
    try:
        yield machine
    finally:
        machine.cut_power()


@contextmanager
def or_skip() -> Iterator[None]:
    """Skip the test, loudly, where there can be no machine."""
    if os.geteuid() != 0:
        pytest.skip("a machine with systemd in a container needs root")
    require("a machine with systemd in a container", programs=PROGRAMS)
    # Not what a developer can mend by installing something: kernels and sandboxes differ.
    try:
        yield
    except UnusableError as error:
        pytest.skip(f"no machine with systemd in a container here: {error}")


def main() -> None:
    """Make the root file system, or say why there is none."""
    if os.geteuid() != 0 or any(program(name) is None for name in PROGRAMS):
        sys.exit("machine: needs root and " + ", ".join(PROGRAMS))
    try:
        print(build())
    except UnusableError as error:
        sys.exit(f"machine: {error}")


if __name__ == "__main__":
    main()
