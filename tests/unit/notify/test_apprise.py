"""Apprise: asked for when used, in a process of its own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import drkeeper.notify
from doubles.messages import message
from doubles.receivers import HttpReceiver, json_of
from drkeeper.errors import NotifyError
from drkeeper.notify.apprise import AppriseNotifier
from drkeeper.notify.apprise_child import UNKNOWN_URL
from drkeeper.notify.base import Occasion


@pytest.mark.parametrize(
    ("occasion", "kind"), [(Occasion.ENTERED, "failure"), (Occasion.LEFT, "success")]
)
def test_levels_are_told_in_the_words_of_apprise(occasion, kind):
    """A chat shows failures in red and what is over in green."""
    with HttpReceiver() as receiver:
        AppriseNotifier([f"json://127.0.0.1:{receiver.port}/"]).send(message(occasion=occasion))
        said = json_of(receiver.requests[0])
    assert (said["type"], said["title"]) == (kind, message().title)


def test_an_address_that_apprise_does_not_know_is_named_by_its_place():
    """It is a secret, so its number has to do."""
    with pytest.raises(NotifyError, match="number 2") as caught:
        AppriseNotifier(["json://127.0.0.1:1/", "nonsense://hunter2"]).send(message())
    assert "hunter2" not in str(caught.value)
    assert not caught.value.transient


def test_without_apprise_the_extra_is_named():
    """An installation without the extra says which one to install, and nothing else breaks."""
    program = (
        "import sys; sys.modules['apprise'] = None  # as if it were not installed\n"
        "import drkeeper.notify.apprise as ours\n"
        "from doubles.messages import MESSAGE\n"
        "try:\n"
        "    ours.AppriseNotifier(['json://x/']).send(MESSAGE)\n"
        "except Exception as error:\n"
        "    print(type(error).__name__, error, error.hint)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert "NotifyError" in done.stdout
    assert "drkeeper[apprise]" in done.stdout


def test_importing_the_package_does_not_import_apprise():
    """Nobody pays for what he does not use."""
    program = "import sys, drkeeper.notify.apprise; print('apprise' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


def test_the_child_is_a_file_that_needs_nothing_of_ours():
    """It runs isolated, so an installation without a path to us still tells."""
    source = (Path(drkeeper.notify.__file__).parent / "apprise_child.py").read_text()
    assert "drkeeper" not in source.split('"""', 2)[2]
    asked = {"urls": ["nonsense://x"], "title": "t", "body": "b", "kind": "info", "seconds": 60}
    child = Path(drkeeper.notify.__file__).parent / "apprise_child.py"
    done = subprocess.run(
        [sys.executable, "-I", str(child)], input=json.dumps(asked).encode(), check=False
    )
    assert done.returncode == UNKNOWN_URL
