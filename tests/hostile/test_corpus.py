"""What a hostile repository can do to the machine that restores it: nothing."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from hostile.corpus import CORPUS

# Cleaning up a tree of 1,500 levels takes as many calls of shutil, each calling itself.
sys.setrecursionlimit(20_000)

NOBODY = 65534
HERE = Path(__file__).parent
TYPED = {"restored", "IntegrityError", "TargetError", "VerificationError", "NoSpaceError"}


def _run(*, user: int, privileged: bool, race: bool) -> dict[str, dict]:
    """Restore the corpus in another process, and return what it wrote down."""
    if user and os.geteuid():
        pytest.skip("only root can become another user: run these tests as root")
    # Not below pytest's own folder: every session of pytest closes that to other users again.
    with tempfile.TemporaryDirectory(prefix="drkeeper-hostile-") as name:
        folder = Path(name)
        folder.chmod(0o777)
        flags = [str(user), str(int(privileged)), str(int(race))]
        subprocess.run(
            [sys.executable, HERE / "restore_corpus.py", folder, *flags], check=True, timeout=540
        )
        return json.loads((folder / "results.json").read_text())


@pytest.fixture(scope="module")
def as_root():
    return _run(user=0, privileged=False, race=False)


@pytest.fixture(scope="module")
def as_privileged():
    return _run(user=0, privileged=True, race=False)


@pytest.fixture(scope="module")
def as_nobody():
    return _run(user=NOBODY, privileged=False, race=False)


@pytest.fixture(scope="module")
def raced():
    return _run(user=0, privileged=False, race=True)


def _harmless(result: dict) -> None:
    assert result["outcome"] in TYPED, result
    assert not result["touched"], result
    assert not result["beside"], result


@pytest.mark.parametrize("name", CORPUS)
def test_nothing_outside_is_touched(name, as_root):
    """A hostile snapshot restored by root ends in a typed error or a restore, inside the target."""
    _harmless(as_root[name])
    assert not as_root[name]["rights"], as_root[name]
    assert not as_root[name]["left"], as_root[name]


@pytest.mark.parametrize("name", CORPUS)
def test_nothing_outside_is_touched_by_a_user(name, as_nobody):
    """The same holds for a restore by an unprivileged user."""
    _harmless(as_nobody[name])
    assert not as_nobody[name]["rights"], as_nobody[name]
    assert not as_nobody[name]["left"], as_nobody[name]


@pytest.mark.parametrize("name", CORPUS)
def test_nothing_outside_is_touched_with_privileges(name, as_privileged):
    """Asked to restore rights, too, a restore still stays inside its target."""
    _harmless(as_privileged[name])


def test_swapped_components_lead_nowhere(raced):
    """Another process that swaps directories for links during the restore changes nothing outside."""
    for name, result in raced.items():
        assert not result["touched"], (name, result)
        assert not result["beside"], (name, result)
        assert result["outcome"] in TYPED, (name, result)


def test_corpus_is_large():
    """The corpus holds at least the 80 items that the project promises."""
    assert len(CORPUS) >= 80
