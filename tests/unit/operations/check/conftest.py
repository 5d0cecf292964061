"""One repository made by real backups; each test works on its own copy."""

import pytest

from doubles.damage import Judge
from doubles.real_repository import RealRepository, make_in_memory


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> RealRepository:
    """The repository."""
    return make_in_memory(tmp_path_factory.mktemp("sources"))


@pytest.fixture(scope="session")
def judge(made: RealRepository) -> Judge:
    """What `check` knows of it."""
    return Judge(made)
