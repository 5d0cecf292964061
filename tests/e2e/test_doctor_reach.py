"""``drkeeper doctor --reach``: whether the stores answer, changing nothing."""

import json
import os

import pytest

from doubles.installation import Installation

pytestmark = pytest.mark.e2e


@pytest.fixture
def made(tmp_path):
    return Installation(tmp_path).init()


def items(text):
    return [line for line in map(json.loads, text.splitlines()) if line["message_type"] == "item"]


def test_a_store_that_answers(made):
    """Exit 0, and nothing in the store is touched."""
    before = sorted((path, path.stat().st_mtime_ns) for path in made.store.rglob("*"))
    text = made.done("doctor", "--reach", "--json")
    assert items(text) == [
        {"message_type": "item", "repository": "primary", "reachable": True, "why": None}
    ]
    assert sorted((path, path.stat().st_mtime_ns) for path in made.store.rglob("*")) == before


def test_a_store_that_is_gone(made):
    """Exit 17, and which repository it is."""
    made.store.rename(made.home / "away")
    done = made.run("doctor", "--reach", "--json")
    assert done.returncode == 17
    (item,) = items(done.stdout)
    assert item["repository"] == "primary"
    assert not item["reachable"]
    assert str(made.store) in item["why"]


def test_a_folder_without_a_repository_is_no_store(made):
    """A disk that is not mounted leaves an empty folder: that is not reachable, either."""
    made.store.rename(made.home / "away")
    made.store.mkdir()
    done = made.run("doctor", "--reach")
    assert done.returncode == 17
    assert "there is no repository" in done.stdout


def test_it_ends_with_whoever_asked(made):
    """A daemon that is killed leaves no question behind."""
    done = made.run("doctor", "--reach", "--parent", str(os.getpid() + 1))
    assert done.returncode == 143
