"""Real servers for the tests, and what to say when one is not installed."""

import os
import shutil

import pytest

INSTALL = "run scripts/install-test-services"
SEARCH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"])


def program(name: str) -> str | None:
    """Return the path of a program, also when it lies where only root looks."""
    return shutil.which(name, path=SEARCH)


def require(what: str, *, programs: tuple[str, ...] = (), present: bool = True) -> None:
    """Skip the test loudly when something it needs is missing.

    ``require("Ceph RGW", programs=("radosgw",))`` looks for programs;
    ``require("loop mounts", present=can_mount())`` takes the caller's word. With
    DRKEEPER_TESTS_REQUIRE_SERVICES=1 the test fails instead.
    """
    missing = [name for name in programs if program(name) is None]
    if not missing and present:
        return
    reason = f"{what} is missing ({', '.join(missing) or 'not usable here'}): {INSTALL}"
    if os.environ.get("DRKEEPER_TESTS_REQUIRE_SERVICES") == "1":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
