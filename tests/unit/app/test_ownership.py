"""Who may say that an alarm is over."""

from dataclasses import replace

import pytest

from doubles.tellers import configuration
from drkeeper.app.wiring.ownership import looks_after, setting
from drkeeper.model.alarm import Subject

SHARED = "postgresql://keeper@db/drkeeper"


@pytest.fixture
def here():
    made = configuration("http://127.0.0.1:1/", 25)
    return replace(made, ledger=SHARED, policies={"shop": None}, repositories={"primary": None})


def test_on_a_shared_ledger_each_speaks_for_its_own(here):
    """For what it names, and for itself, with its copy of a setting; not for other machines."""
    mine = looks_after(here)
    host = here.host
    ours = [
        Subject("policy", "shop"), Subject("repository", "primary"),
        Subject("channel", next(iter(here.channels))),
        Subject("daemon", host), Subject("ledger", host), setting("web", host),
    ]  # fmt: skip
    assert all(map(mine, ours))
    theirs = ["policy", "repository", "channel", "daemon", "ledger"]
    assert not any(mine(Subject(kind, "another")) for kind in theirs)
    assert not mine(setting("web", "another"))


def test_a_ledger_of_its_own_is_all_its_own(here):
    """Also what was removed from the configuration: nobody else could say that it is over."""
    assert looks_after(replace(here, ledger=None))(Subject("policy", "removed"))
