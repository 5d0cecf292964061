"""One daemon for one state directory."""

import os
import subprocess
import sys

import pytest

from drkeeper.app.daemon.lock import NAME, only_daemon
from drkeeper.errors import LedgerError, RunningError


def test_a_second_daemon_is_told_who_has_it(tmp_path):
    """The refusal names the process, so that somebody can look at it."""
    with only_daemon(tmp_path):
        holder = pytest.raises(RunningError, match=f"process {os.getpid()}")
        with holder as caught, only_daemon(tmp_path):
            pass
        assert caught.value.exit_code == 11
        assert caught.value.hint


def test_the_next_one_may_begin_when_it_has_ended(tmp_path):
    """Nothing is left behind that has to be removed."""
    for _ in range(2):
        with only_daemon(tmp_path):
            pass


def test_a_killed_daemon_holds_nothing(tmp_path):
    """The lock dies with its process, however that dies, and its old number is no longer shown."""
    code = (
        "import os, signal, pathlib, sys\n"
        "from drkeeper.app.daemon.lock import only_daemon\n"
        "with only_daemon(pathlib.Path(sys.argv[1])):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", code, tmp_path], check=False).returncode == -9
    with only_daemon(tmp_path):
        assert (tmp_path / NAME).read_text() == f"{os.getpid()}\n"


def test_no_child_inherits_the_lock(tmp_path):
    """A run that outlives its daemon for a moment does not keep the next daemon from starting."""
    with only_daemon(tmp_path):
        child = subprocess.Popen(["sleep", "30"], close_fds=False)
    try:
        with only_daemon(tmp_path):
            pass
    finally:
        child.kill()
        child.wait()


def test_a_link_in_its_place_is_not_followed(tmp_path):
    """Nobody can make the daemon write into another file."""
    (tmp_path / "other").write_text("kept")
    (tmp_path / NAME).symlink_to("other")
    with pytest.raises(LedgerError), only_daemon(tmp_path):
        pass
    assert (tmp_path / "other").read_text() == "kept"


def test_what_is_in_the_file_is_not_believed(tmp_path):
    """Only a number is shown of what another process may have written."""
    with only_daemon(tmp_path):
        (tmp_path / NAME).write_text("\x1b[31mevil\n")
        unnamed = pytest.raises(RunningError, match="another daemon works")
        with unnamed as caught, only_daemon(tmp_path):
            pass
        assert "evil" not in str(caught.value)
