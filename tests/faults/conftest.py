"""Worlds for the tests of whole operations, prepared once per process."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from faults.forking import Forker
from faults.scenarios import Worlds
from services.postgresql import postgresql  # noqa: F401 - a fixture


def _quick_folder() -> str | None:
    """Return a folder in memory, if it can hold all that these trees have in them.

    A process that dies there loses what it would lose anywhere; waiting for a disk adds nothing.
    """
    folder = "/dev/shm"
    try:
        with tempfile.NamedTemporaryFile(dir=folder) as file:
            os.setxattr(file.name, "user.drkeeper", b"1")
        roomy = shutil.disk_usage(folder).free > 2**30
    except OSError:
        return None
    return folder if roomy else None


PREFIX = "drkeeper-faults-"


def _sweep(folder: Path) -> None:
    """Remove what test runs left that were killed: it would fill the memory."""
    for left in folder.glob(f"{PREFIX}[0-9]*-*"):
        owner = left.name.removeprefix(PREFIX).partition("-")[0]
        if not Path("/proc", owner).exists():
            shutil.rmtree(left, ignore_errors=True)


@pytest.fixture(scope="session")
def worlds() -> Iterator[Worlds]:
    """Prepared worlds, and somebody who cuts operations off in them."""
    folder = _quick_folder()
    _sweep(Path(folder or tempfile.gettempdir()))
    base = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=folder))
    with Forker() as forker:
        yield Worlds(base, forker)
    shutil.rmtree(base)
