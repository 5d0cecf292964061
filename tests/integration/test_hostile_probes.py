"""Drills whose questions do harm: contained, said in the drill's row, and the machine as it was."""

import os
import sys
from datetime import timedelta

import pytest

from doubles import scratching
from doubles.proving import proving_ground
from doubles.scratching import CLOCK, MIB, digest_of, processes_with_word
from drkeeper.model.drill import Outcome, Verdict
from drkeeper.model.probes import CommandProbe, Probes
from drkeeper.scratch.base import Limits, ScratchKind
from drkeeper.scratch.opening import open_scratch

SECOND = timedelta(seconds=1)
LIMITS = Limits(
    memory_bytes=192 * MIB,
    cpu=20 * SECOND,
    wall=60 * SECOND,
    disk_bytes=24 * MIB,
    processes=24,
    grace=SECOND,
)
SANDBOX = ScratchKind.BUBBLEWRAP
DISK = scratching.MANY_FILES.replace("sys.argv[1]", "os.environ['TMPDIR']")
REACH = """
import socket, sys
for family, address in [(socket.AF_INET, ("127.0.0.1", int(sys.argv[1]))), (socket.AF_INET, ("192.0.2.1", 80))]:
    with socket.socket(family) as opened:
        opened.settimeout(2)
        opened.connect(address)
"""
HARM = {
    "forks a bomb": (scratching.FORK_BOMB, Outcome.BROKEN, "ran out of processes"),
    "fills the disk": (DISK, Outcome.BROKEN, "ran out of disk"),
    "opens the network": (REACH, Outcome.FAILED, "exit 1: "),
    "runs for ever": (scratching.DEAF, Outcome.FAILED, "no end after 2 s"),
    "writes outside": (
        scratching.VANDAL + "\nraise SystemExit('nothing could be harmed')",
        Outcome.FAILED,
        "exit 1: nothing could be harmed",
    ),
}
"""What a question may do, what its result is, and how that is said."""
BY_ANY = {"forks a bomb", "fills the disk", "runs for ever"}
"""What the plain process keeps in as well; docs/scratch.md says that it does not keep in the others."""


def kinds_of_harm():
    for what in HARM:
        yield pytest.param(SANDBOX, what, id=f"{what}, bubblewrap")
        if what in BY_ANY:
            yield pytest.param(ScratchKind.PROCESS, what, id=f"{what}, process")


def state_of(ground):
    """Return all of the machine that a question must leave as it is: every file of it, and the system's."""
    system = []
    for top in ("/etc", "/usr/local"):
        for here, folders, files in os.walk(top):
            folders.sort()
            for name in sorted((*folders, *files)):
                found = os.lstat(os.path.join(here, name))
                system.append((here, name, found.st_mode, found.st_size, found.st_mtime_ns))
    first = {top: sorted(os.listdir(top)) for top in ("/", "/usr", "/usr/bin")}
    return [digest_of(ground.base / name) for name in ("tree", "store", "data")], system, first


@pytest.fixture
def ground(tmp_path):
    """Return a machine with a snapshot of a tree."""
    (tmp_path / "machine").mkdir()
    made = proving_ground(tmp_path / "machine")
    made.write("one.txt", b"one\n")
    made.back_up("home")
    return made


@pytest.mark.parametrize(("kind", "what"), list(kinds_of_harm()))
def test_a_question_that_does_harm_is_kept_in_and_reported(ground, tmp_path, kind, what):
    """The drill ends in time, says what the question did, and the whole tree is as it was."""
    places = tmp_path / "places"
    scratching.need(kind, places)
    code, outcome, said = HARM[what]
    victim = ground.tree / "one.txt"
    word = os.urandom(8).hex()
    words = {"opens the network": ("9",), "writes outside": (str(victim), "/etc/hostname", "/new")}
    command = (sys.executable, "-I", "-S", "-c", code, *words.get(what, ()), word)
    probes = Probes(commands=(CommandProbe("harm", command, timeout=2 * SECOND),))
    if what in {"forks a bomb", "fills the disk"}:
        probes = Probes(commands=(CommandProbe("harm", command, timeout=20 * SECOND),))
    before = state_of(ground)
    drill = ground.drill(
        "home",
        probes=probes,
        scratch=lambda: open_scratch(places, kind=kind, limits=LIMITS, clock=CLOCK),
    )
    (harm,) = [each for each in drill.end.probes if each.name == "harm"]
    assert harm.outcome is outcome, harm
    assert said in harm.found, harm
    blamed = Verdict.INCONCLUSIVE if outcome is Outcome.BROKEN else Verdict.UNSOUND
    assert drill.judgement.verdict is blamed
    assert "harm" in drill.judgement.reason
    assert drill.end.scratch == kind.value
    assert state_of(ground) == before
    assert os.listdir(places) == []
    assert not processes_with_word(word)
