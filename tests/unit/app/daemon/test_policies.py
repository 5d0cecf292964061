"""What the daemon works by, and what is said of files that are wrong."""

from dataclasses import replace
from pathlib import Path

import pytest

from doubles.clock import FakeClock
from drkeeper.app.config.configuration import Configuration
from drkeeper.app.config.locations import Locations
from drkeeper.app.config.problems import Problem
from drkeeper.app.daemon.concerns import Concerns
from drkeeper.app.daemon.policies import Accepted
from drkeeper.errors import ConfigurationError
from drkeeper.model.alarm import AlarmKind, Subject

SETTINGS = Path("/etc/drkeeper/drkeeper.yaml")
FIRST = Configuration(
    Locations(SETTINGS, *[Path("/nonexistent")] * 4, chosen_by="a test"), "here", "UTC"
)


class Files:
    """Answers a reload as it was told to."""

    def __init__(self):
        self.answer = FIRST, ()

    def reload(self):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def files():
    return Files()


@pytest.fixture
def concerns():
    return Concerns(FakeClock())


@pytest.fixture
def said():
    return []


@pytest.fixture
def accepted(files, said):
    return Accepted(
        files, clock=FakeClock(), log=lambda event, **fields: said.append((event, fields))
    )


def test_a_reload_takes_what_is_right(files, accepted, concerns, said):
    """The new configuration is in force, and there is nothing to tell."""
    files.answer = replace(FIRST, zone_name="Europe/Berlin"), ()
    accepted.reload(concerns)
    assert accepted.configuration().zone_name == "Europe/Berlin"
    assert concerns.held() == ()
    assert said == [("configuration.without_policies", {"policies": 0, "problems": 0})]


def test_wrong_files_are_one_concern_that_ends_when_they_are_right(files, accepted, concerns):
    """It names the first files and says how many there are."""
    wrong = tuple(Problem(f"/etc/drkeeper/policies.d/{n}.yaml", None, "is wrong") for n in range(5))
    files.answer = FIRST, wrong
    accepted.reload(concerns)
    (condition,) = concerns.held()
    assert condition.kind is AlarmKind.CONFIGURATION_INVALID
    assert condition.subject == Subject("daemon", "here")
    assert condition.message.startswith("5 files are wrong on here, and only what they said")
    assert "policies.d/2.yaml: is wrong; and 2 more" in condition.message
    assert "policies.d/3.yaml" not in condition.message
    assert "drkeeper policy check" in condition.hint
    files.answer = FIRST, ()
    accepted.reload(concerns)
    assert concerns.held() == ()


def test_what_cannot_be_read_changes_nothing(files, accepted, concerns):
    """The configuration before goes on, and the file is named."""
    files.answer = ConfigurationError("permission denied")
    accepted.reload(concerns)
    assert accepted.configuration() is FIRST
    (condition,) = concerns.held()
    assert condition.message.startswith("1 file is wrong on here, and only what it said")
    assert f"{SETTINGS}: permission denied" in condition.message


def test_what_needs_a_restart_is_said(files, accepted, concerns, said):
    """Parts that live as long as the daemon keep what they were made by."""
    web = replace(FIRST.web, listen="/run/drkeeper/web.sock")
    files.answer = replace(FIRST, web=web), ()
    accepted.reload(concerns)
    assert ("configuration.needs_restart", {"section": "web"}) in said


def test_nothing_to_work_by_is_an_error_at_the_start(files):
    """A daemon without any configuration does not begin."""
    files.answer = ConfigurationError("there is none")
    with pytest.raises(ConfigurationError):
        Accepted(files, clock=FakeClock(), log=lambda _event, **_fields: None)
