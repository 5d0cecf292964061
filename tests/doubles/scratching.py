"""Hostile programs for scratch places, and eyes for what they do to the machine."""

import hashlib
import os
import sys
from datetime import timedelta
from pathlib import Path

from drkeeper.clock import SystemClock
from drkeeper.scratch.base import Finished, Limits, Scratch, ScratchKind
from drkeeper.scratch.opening import available
from services import require

CLOCK = SystemClock()
MIB = 1024**2
LIMITS = Limits(
    memory_bytes=192 * MIB,
    cpu=timedelta(seconds=2),
    wall=timedelta(seconds=30),
    disk_bytes=24 * MIB,
    processes=24,
    grace=timedelta(seconds=1),
)
SOON = timedelta(seconds=20)


def need(kind: ScratchKind, where: Path) -> None:
    """Skip loudly when a kind cannot be had here."""
    if kind is ScratchKind.BUBBLEWRAP:
        require("bubblewrap", programs=("bwrap",))
        found = next(each for each in available(where, CLOCK) if each.kind is kind)
        require(f"bubblewrap that works ({found.why_not})", present=found.ok)


def python(scratch: Scratch, code: str, *words: object, **options: object) -> Finished:
    """Run some Python in a scratch place."""
    options.setdefault("timeout", SOON)
    argv = [sys.executable, "-I", "-S", "-c", code, *map(str, words)]
    return scratch.run(argv, **options)  # type: ignore[arg-type]


def processes_with_word(word: str) -> list[int]:
    """Return the processes that have a word among their arguments."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdecimal() and int(name) != os.getpid():
            try:
                argv = Path("/proc", name, "cmdline").read_bytes()
            except OSError:
                continue
            if word.encode() in argv.split(b"\0"):
                found.append(int(name))
    return found


def digest_of(tree: Path) -> str:
    """Return a digest of all that is below a directory: names, modes, owners, times, content."""
    found = hashlib.sha256()
    for folder, folders, files in os.walk(tree):
        folders.sort()
        for name in [".", *sorted(files)]:
            path = os.path.join(folder, name)
            status = os.lstat(path)
            facts = (path, status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns)
            found.update(repr(facts).encode())
            if name != ".":
                found.update(Path(path).read_bytes())
    return found.hexdigest()


HOLD = "import sys, time; print('here', flush=True); time.sleep(600)"
"""Goes on; words after it are for being found by."""

FORK_BOMB = """
import os, time
while True:
    try:
        if os.fork() == 0:
            while True:
                try:
                    os.fork()
                except OSError:
                    time.sleep(0.01)
    except OSError:
        time.sleep(0.01)
"""
MANY_FILES = """
import os, sys
for number in range(10**6):
    with open(os.path.join(sys.argv[1], str(number)), "wb") as file:
        file.write(b"x" * 2**20)
"""
ONE_FILE = """
import os, sys
with open(os.path.join(sys.argv[1], "big"), "wb") as file:
    while True:
        file.write(b"x" * 2**20)
"""
UNNAMED_FILE = """
import os, sys, tempfile
files = []
while True:
    files.append(tempfile.TemporaryFile())
    files[-1].write(b"x" * 2**22)
    files[-1].flush()
"""
MEMORY = """
held = []
while True:
    held.append(bytearray(b"x") * 2**22)
"""
MEMORY_OF_MANY = """
import os, time
for _ in range(6):
    if os.fork() == 0:
        held = bytearray(b"x") * (40 * 2**20)
        time.sleep(60)
time.sleep(60)
"""
COMPUTE = """
import os
os.fork()
os.fork()
while True:
    pass
"""
FLOOD = """
import os
while True:
    os.write(1, b"x" * 65536)
    os.write(2, b"y" * 65536)
"""
DEAF = """
import os, signal, sys, time
for number in range(1, 32):
    if number not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(number, signal.SIG_IGN)
print("deaf", flush=True)
while True:
    time.sleep(60)
"""
DAEMON = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for descriptor in (0, 1, 2):
            os.close(descriptor)
        os.execv(sys.executable, [sys.executable, "-I", "-S", "-c", "import time; time.sleep(600)", sys.argv[1]])
    os._exit(0)
time.sleep(0.3)
"""
NETWORK = """
import socket, sys
for family, address in [
    (socket.AF_INET, ("127.0.0.1", int(sys.argv[1]))),
    (socket.AF_INET, ("192.0.2.1", 80)),
    (socket.AF_UNIX, sys.argv[2]),
    (socket.AF_UNIX, "\\0" + sys.argv[3]),
]:
    with socket.socket(family) as opened:
        opened.settimeout(2)
        try:
            opened.connect(address)
        except OSError as error:
            print("refused", error)
        else:
            print("CONNECTED", address)
"""
SPY = """
import os, sys
for path in sys.argv[1:]:
    try:
        with open(path, "rb") as file:
            print("READ", path, file.read(100))
    except OSError as error:
        print("refused", path, error.strerror)
print(sorted(os.environ))
"""
VANDAL = """
import os, sys
for path in sys.argv[1:]:
    for deed in (
        lambda: os.unlink(path),
        lambda: os.rename(path, path + ".moved"),
        lambda: open(path, "ab").write(b"harm"),
        lambda: os.chmod(path, 0o777),
        lambda: open(os.path.join(os.path.dirname(path), "new"), "wb").close(),
        lambda: os.mkdir(os.path.dirname(path) + "/newdir"),
    ):
        try:
            deed()
        except OSError as error:
            print("refused", error.strerror)
        else:
            print("DONE", path)
"""
