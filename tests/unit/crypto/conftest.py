"""Known answers and shared fixtures of the crypto tests."""

import json
from pathlib import Path

import pytest

VECTORS = Path(__file__).parents[2] / "vectors"


@pytest.fixture(scope="session")
def vectors():
    """Read a file of known answers by its name."""

    def read(name):
        return json.loads((VECTORS / name).read_text(encoding="utf-8"))

    return read
