"""A drkeeper that dies in the midst of a drill leaves nothing that goes on, and nothing for ever."""

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from doubles import scratching
from doubles.faultpoints import CRASHED, registered_points
from doubles.scratching import digest_of, processes_with_word
from drkeeper import faults
from drkeeper.scratch.base import ScratchKind
from drkeeper.scratch.opening import sweep

DRILL = """
import os, sys
from datetime import timedelta
from pathlib import Path
from doubles import scratching
from drkeeper import faults
from drkeeper.scratch.base import ScratchKind
from drkeeper.scratch.opening import open_scratch

where, kind, word, name, how = sys.argv[1:]

def strike(point):
    if point == name:
        if how == "die":
            os._exit(99)
        raise OSError(5, "struck")

faults.install(strike)
with open_scratch(
    Path(where), kind=ScratchKind(kind), limits=scratching.LIMITS, clock=scratching.CLOCK
) as scratch:
    (scratch.root / "folder").mkdir()
    (scratch.root / "folder" / "file").write_text("restored")
    argv = [sys.executable, "-I", "-S", "-c"]
    # One that can be asked to end takes no time when a drill ends as it should.
    with scratch.start([*argv, scratching.HOLD if how == "go" else scratching.DEAF, word]):
        scratch.run([*argv, scratching.DAEMON, word], timeout=scratching.SOON)
        print("drilling", flush=True)
        if how == "wait":
            sys.stdin.read()
"""
POINTS = [
    pytest.param(kind, name, id=f"{kind}-{name}")
    for kind in ScratchKind
    for name in sorted(registered_points())
    if name.startswith(("scratch.places.", f"scratch.{kind}."))
]
OURS = os.pathsep.join([str(Path(faults.__file__).parents[1]), str(Path(__file__).parents[1])])


@contextmanager
def drilling(
    where: Path, kind: ScratchKind, word: str, name: str, how: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a drill in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-c", DRILL, where, kind.value, word, name, how],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={"PYTHONPATH": OURS, "PATH": os.environ["PATH"]},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def gone(word: str, seconds: float = 10) -> bool:
    """Whether all processes with a word end by themselves."""
    ends_at = time.monotonic() + seconds
    while processes_with_word(word):
        if time.monotonic() > ends_at:
            return False
        time.sleep(0.05)
    return True


@pytest.mark.parametrize("kind", ScratchKind)
def test_killed_in_the_midst(tmp_path, kind):
    """SIGKILL of drkeeper ends its programs at once; sweeping removes the rest, and nothing else."""
    where, outside = tmp_path / "scratch", tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("mine")
    before = digest_of(outside)
    scratching.need(kind, tmp_path / "trial")
    word = secrets.token_hex(8)
    with drilling(where, kind, word, "none", "wait") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"drilling\n"
        assert processes_with_word(word)
        assert sweep(where) == []
        process.send_signal(signal.SIGKILL)
        process.wait()
        # The drill itself has the word among its arguments; it is dead.
        assert gone(word)
    left = [each for each in where.iterdir() if each.is_dir()]
    assert len(left) == 1
    assert sweep(where) == left
    assert os.listdir(where) == []
    assert digest_of(outside) == before


@pytest.mark.parametrize(("kind", "name"), POINTS)
def test_dead_at_every_point(tmp_path, kind, name):
    """Wherever drkeeper dies, one sweep is enough, and the next drill works."""
    scratching.need(kind, tmp_path / "trial")
    word = secrets.token_hex(8)
    with drilling(tmp_path / "scratch", kind, word, name, "die") as process:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == CRASHED, errors
    sweep(tmp_path / "scratch")
    assert gone(word)
    assert os.listdir(tmp_path / "scratch") == []
    with drilling(tmp_path / "scratch", kind, word, "none", "go") as process:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    assert os.listdir(tmp_path / "scratch") == []


@pytest.mark.parametrize(("kind", "name"), POINTS)
def test_an_error_at_every_point(tmp_path, kind, name):
    """An error of the machine, wherever it strikes, leaves no process; and no file after a sweep."""
    scratching.need(kind, tmp_path / "trial")
    word = secrets.token_hex(8)
    with drilling(tmp_path / "scratch", kind, word, name, "raise") as process:
        process.communicate(timeout=60)
    assert gone(word)
    if (tmp_path / "scratch").exists():
        sweep(tmp_path / "scratch")
        assert os.listdir(tmp_path / "scratch") == []


def test_what_has_no_lock_is_swept(tmp_path):
    """A place whose lock file somebody has removed belongs to nobody."""
    (tmp_path / "drill-0123456789abcdef" / "root").mkdir(parents=True)
    (tmp_path / "drill-fedcba9876543210.lock").touch()
    assert sweep(tmp_path) == [tmp_path / "drill-0123456789abcdef"]
    assert os.listdir(tmp_path) == []
