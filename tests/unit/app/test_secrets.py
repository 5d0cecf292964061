"""Secrets: from one place, shown to nobody."""

import os

import pytest

from drkeeper.app.config.secrets import find_secret, read_private_file
from drkeeper.errors import ConfigurationError


def private(path, text, mode=0o600):
    """Write a file with ``mode``."""
    path.write_text(text)
    path.chmod(mode)
    return str(path)


def test_a_file_gives_its_first_line(tmp_path):
    """A trailing newline is no part of a passphrase."""
    path = private(tmp_path / "p", "correct horse\n")
    assert find_secret("PASSPHRASE", {"DRKEEPER_PASSPHRASE_FILE": path}) == "correct horse"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660])
def test_a_file_that_others_can_read_is_refused(tmp_path, mode):
    """The hint says how to mend it; the content is not shown."""
    path = private(tmp_path / "p", "hunter2", mode)
    with pytest.raises(ConfigurationError, match="can be read by others") as caught:
        find_secret("PASSPHRASE", {"DRKEEPER_PASSPHRASE_FILE": path})
    assert "chmod 600" in caught.value.hint
    assert "hunter2" not in str(caught.value)


def test_a_command_gives_its_first_line_and_sees_no_secrets(tmp_path):
    """It runs without a shell and without drkeeper's variables."""
    script = tmp_path / "give"
    script.write_text('#!/bin/sh\nenv | grep -c DRKEEPER\necho "$1"\n')
    script.chmod(0o700)
    found = find_secret("PASSPHRASE", {"DRKEEPER_PASSPHRASE_COMMAND": f"{script} 'a b'"})
    assert found == "0"


@pytest.mark.parametrize(
    "command", ["/nonexistent", "false", "sh -c 'exit 3'", "'unclosed", "true"]
)
def test_a_command_that_fails_is_named_by_its_variable(command):
    """Not by its words, which may hold a secret."""
    with pytest.raises(ConfigurationError, match="DRKEEPER_PASSPHRASE_COMMAND"):
        find_secret("PASSPHRASE", {"DRKEEPER_PASSPHRASE_COMMAND": command})


def test_systemd_credentials_are_found(tmp_path):
    """LoadCredential= puts a file into a folder of the service's own."""
    private(tmp_path / "drkeeper.passphrase", "from systemd")
    assert find_secret("PASSPHRASE", {"CREDENTIALS_DIRECTORY": str(tmp_path)}) == "from systemd"


def test_a_plain_variable_works_and_is_not_inherited():
    """It is the last resort: other processes of the same user can see it."""
    os.environ["DRKEEPER_PASSPHRASE"] = "plain"
    assert find_secret("PASSPHRASE", os.environ) == "plain"
    assert "DRKEEPER_PASSPHRASE" not in os.environ


def test_two_sources_are_a_contradiction(tmp_path):
    """Guessing which one is meant would be worse."""
    both = {"DRKEEPER_PASSPHRASE": "x", "DRKEEPER_PASSPHRASE_FILE": str(tmp_path / "p")}
    with pytest.raises(ConfigurationError, match="both"):
        find_secret("PASSPHRASE", both)


def test_no_source_is_no_secret():
    """The caller may ask a person then."""
    assert find_secret("PASSPHRASE", {}) is None


def test_what_is_no_file_is_refused(tmp_path):
    """A folder or a missing file gets a clear message."""
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(ConfigurationError):
            read_private_file(path)


def test_a_huge_file_is_refused(tmp_path):
    """A key is a page."""
    path = tmp_path / "p"
    private(path, "x" * (1024 * 1024 + 1))
    with pytest.raises(ConfigurationError, match="larger"):
        read_private_file(path)
