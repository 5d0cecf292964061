"""What a run of a command is said to have taken."""

import os
import sys

import pytest
from benchmarks.disk import cached_bytes, drop_from_cache, speeds
from benchmarks.measure import run

MIB = 1024 * 1024


def test_the_memory_of_the_runner_is_not_counted():
    """The peak of a command is its own, however much the process that measures it holds."""
    ballast = bytearray(os.urandom(MIB) * 200)
    assert run(["true"], {}).peak_mib < 100
    assert len(ballast) == 200 * MIB


def test_the_memory_and_the_time_of_the_command_are_counted():
    """What the command itself needs is in its figures."""
    code = "import time; x = bytearray(b'x') * (200 << 20); time.sleep(0.2)"
    took = run([sys.executable, "-c", code], {})
    assert took.peak_mib > 200
    assert took.wall_s >= 0.2
    assert 0 < took.cpu_s < took.wall_s + 1


def test_the_command_sees_the_environment_it_was_given():
    """Secrets and settings reach the program through its environment."""
    run(["sh", "-c", 'test "$BENCH_WORD" = here'], {"BENCH_WORD": "here"})


@pytest.mark.parametrize("command", [["sh", "-c", "echo broken >&2; exit 3"], ["/no/such/broken"]])
def test_a_failure_ends_the_benchmark_with_what_was_said(command):
    """A program that fails is no sample, and its words are not lost."""
    with pytest.raises(SystemExit, match="broken"):
        run(command, {})


def test_what_dropping_left_in_the_cache_is_told_truly(tmp_path):
    """A store that could not be made cold is known not to be, by the kernel's own count."""
    file = tmp_path / "pack"
    file.write_bytes(os.urandom(MIB + 1))
    (tmp_path / "empty").touch()
    assert cached_bytes(file) == -(-(MIB + 1) // 4096) * 4096
    assert drop_from_cache(tmp_path) == cached_bytes(file)
    assert file.stat().st_size == MIB + 1


def test_the_speed_of_the_disk_leaves_nothing_behind(tmp_path):
    """The disk is measured with a file of its own, which goes again."""
    measured = speeds(tmp_path, 8 * MIB)
    assert measured is None or all(figure > 0 for figure in measured.values())
    assert list(tmp_path.iterdir()) == []
