"""Scratch as it is for most: drkeeper is not root. The whole contract, as another user."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

import pytest

import drkeeper
from services import require

TOP = Path(__file__).resolve().parents[2]
USER = 54322
"""Anybody who is not root; nobody has this number."""


def as_user(*argv: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Run a program as somebody without rights."""
    return subprocess.run(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=400,
        check=False,
        user=USER,
        group=USER,
        extra_groups=[],
        cwd="/",
        env={"PATH": os.environ["PATH"], **variables},
    )


def interpreter() -> str:
    """Return a Python of this version that anybody may run, and that finds what the tests need."""
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for each in (sys.executable, f"/usr/bin/{name}", f"/usr/local/bin/{name}"):
        if not os.access(each, os.X_OK):
            continue
        try:
            done = as_user(each, "-c", "import drkeeper, pytest, boto3", PYTHONPATH=_packages())
        except PermissionError:
            continue
        if done.returncode == 0:
            return each
    require(f"a {name} that every user may run, with the tests' packages", present=False)
    raise AssertionError


def _packages() -> str:
    here = [
        str(Path(drkeeper.__file__).parents[1]),
        str(TOP / "tests"),
        sysconfig.get_path("purelib"),
    ]
    return os.pathsep.join(here)


@pytest.mark.integration
@pytest.mark.slow
def test_the_whole_contract_for_somebody_who_is_not_root():
    """Without any right, both kinds keep the same promises, with the same hostile programs."""
    if os.geteuid() != 0:
        pytest.skip("who is not root runs all tests of the contract as somebody who is not root")
    python = interpreter()
    # Not below pytest's own directory, which nobody else may enter.
    folder = tempfile.mkdtemp(prefix="drkeeper-")
    os.chown(folder, USER, USER)
    try:
        done = as_user(
            python, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-p", "no:randomly",
            "--rootdir", str(TOP), "-c", str(TOP / "pyproject.toml"), "--basetemp", f"{folder}/t",
            str(TOP / "tests/contract/test_scratch.py"),
            PYTHONPATH=_packages(), PYTHONDONTWRITEBYTECODE="1", HOME=folder, TMPDIR=folder,
            **{name: os.environ[name] for name in ("DRKEEPER_TESTS_REQUIRE_SERVICES",) if name in os.environ},
        )  # fmt: skip
    finally:
        shutil.rmtree(folder)
    assert done.returncode == 0, done.stdout[-6000:]
