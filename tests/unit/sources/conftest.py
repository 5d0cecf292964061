"""Fixtures of the tests of sources."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def public() -> Iterator[Path]:
    """A directory that others can reach, unlike ``tmp_path``."""
    folder = Path(tempfile.mkdtemp(prefix="drkeeper-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)
