"""What is kept of what a run said."""

import os

import pytest

from doubles.clock import FakeClock
from drkeeper.app.wiring.runlogs import (
    MOST_BYTES,
    RunLog,
    folder_of_logs,
    log_path,
    read_log,
    remove_old_logs,
)
from drkeeper.model.run import RunId

RUN = RunId("00112233aabbccdd")


def open_log(state, redact=lambda line: line):
    """Open the log of the run."""
    return RunLog(log_path(state, RUN), FakeClock(), redact)


def test_lines_carry_the_time_and_are_the_owners_alone(tmp_path):
    """UTC before each line; the file 0600 in a folder 0700."""
    log = open_log(tmp_path)
    log.line("hello")
    log.close()
    path = log_path(tmp_path, RUN)
    assert path.read_text() == "2026-03-01T12:00:00Z hello\n"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_secrets_and_control_characters_do_not_get_in(tmp_path):
    """A line feed in a line forges no line, and what is redacted stays so."""
    log = open_log(tmp_path, lambda line: line.replace("hunter2", "[redacted]"))
    log.line("a\nb \x1b[31m hunter2 \u202e")
    log.close()
    assert read_log(tmp_path, RUN).endswith("a\\nb \\x1b[31m [redacted] \\u202e\n")


def test_a_flood_leaves_the_beginning_and_the_end(tmp_path):
    """The file has an end, and says how much is missing."""
    log = open_log(tmp_path)
    for number in range(100_000):
        log.line(f"line {number}")
    log.line("x" * 1_000_000)
    log.line("the end")
    log.close()
    text = log_path(tmp_path, RUN).read_text()
    assert len(text) <= MOST_BYTES
    assert " line 0\n" in text
    assert "bytes are left out here" in text
    assert " line 99999\n" in text
    assert text.endswith("the end\n")


def test_the_beginning_is_there_before_the_end(tmp_path):
    """Who is killed leaves what was said first."""
    open_log(tmp_path).line("begun")
    assert "begun" in read_log(tmp_path, RUN)


def test_a_disk_that_takes_nothing_costs_the_log_only(tmp_path):
    """A run goes on without its log."""
    (tmp_path / "runs").write_text("in the way")
    log = open_log(tmp_path)
    log.line("lost")
    log.close()
    assert read_log(tmp_path, RUN) is None


def test_a_link_in_the_place_of_a_log_is_not_followed(tmp_path):
    """Nothing is ever written through a link."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    folder_of_logs(tmp_path).mkdir()
    log_path(tmp_path, RUN).symlink_to(victim)
    log = open_log(tmp_path)
    log.line("x")
    log.close()
    assert victim.read_text() == "precious"


@pytest.mark.parametrize("name", ["../../etc/passwd", "", "a/b", "."])
def test_no_other_file_is_read_by_the_name_of_a_run(tmp_path, name):
    """What is no name of a run names nothing."""
    with pytest.raises(ValueError, match="does not name a run"):
        log_path(tmp_path, RunId(name))
    assert read_log(tmp_path, RunId(name)) is None


def test_only_the_newest_logs_are_kept(tmp_path):
    """Old ones go, and nothing else in the folder does."""
    folder = folder_of_logs(tmp_path)
    folder.mkdir()
    for number in range(10):
        path = folder / f"{number:016x}.log"
        path.write_text("x")
        os.utime(path, (number, number))
    (folder / "README").write_text("keep")
    assert remove_old_logs(tmp_path, keep=3) == 7
    assert sorted(path.name for path in folder.iterdir()) == [
        *[f"{number:016x}.log" for number in (7, 8, 9)],
        "README",
    ]
