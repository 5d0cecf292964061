"""A reload that is cut off, or finds the disk full: what was right stays in force."""

import errno
from datetime import UTC, datetime

import pytest

from doubles.clock import FakeClock
from doubles.faultpoints import CRASHED, CrashAt, RaiseAt, Recorder, in_child, registered_points
from drkeeper import faults
from drkeeper.app.config.locations import find_locations
from drkeeper.app.config.reloading import Reloader

POLICY = "policy: p\nsource: {{files: {{paths: [/a]}}}}\nschedule: daily at 0{hour}:00\n"


@pytest.fixture
def reloader(tmp_path):
    """Return a function that makes a reloader as a daemon does that begins."""
    (tmp_path / "policies.d").mkdir()
    (tmp_path / "drkeeper.yaml").write_text("repositories: {primary: {store: /b}}\n")

    def begin():
        variables = {"DRKEEPER_STATE_DIR": str(tmp_path / "state")}
        locations = find_locations(variables, config=str(tmp_path), root=False)
        clock = FakeClock(datetime(2026, 11, 21, tzinfo=UTC))
        return Reloader(locations, clock=clock, variables=variables)

    return begin


def write(tmp_path, hour):
    """Write the policy; no hour leaves it half written."""
    text = POLICY.format(hour=hour) if hour else "policy: p\nsource: {files"
    (tmp_path / "policies.d" / "p.yaml").write_text(text)


def schedule_of(reloader):
    """Reload, and return the hour at which the policy runs."""
    return reloader.reload()[0].policies["p"].schedule.at.hour


def points(reloader, tmp_path):
    """Return every point that a reload of something new reaches, with its hits."""
    write(tmp_path, 1)
    recorder = Recorder()
    faults.install(recorder)
    try:
        reloader().reload()
    finally:
        faults.install(None)
    return [(name, hit) for name, hits in recorder.hits.items() for hit in {1, hits}]


def test_a_crash_at_any_point_leaves_the_old_or_the_new(reloader, tmp_path):
    """And nothing half: the next daemon finds a good version although the file is broken now."""
    reached = points(reloader, tmp_path)
    assert len(reached) >= 4
    reading = {name for name in registered_points() if name.startswith("app.config.reading.")}
    assert reading <= {name for name, _ in reached}
    for name, hit in reached:
        write(tmp_path, 1)
        schedule_of(reloader())
        write(tmp_path, 2)
        status = in_child(lambda: schedule_of(reloader()), tmp_path / "report", CrashAt(name, hit))
        assert status in {CRASHED, 0}, name
        write(tmp_path, None)
        assert schedule_of(reloader()) in {1, 2}, name
        write(tmp_path, 3)
        assert schedule_of(reloader()) == 3, name


def test_a_full_disk_at_any_point_stops_no_reload(reloader, tmp_path):
    """What is right is in force, or what was right; the daemon goes on either way."""
    for name, hit in points(reloader, tmp_path):
        write(tmp_path, 1)
        running = reloader()
        assert schedule_of(running) == 1
        write(tmp_path, 2)
        full = RaiseAt(name, hit, lambda: OSError(errno.ENOSPC, "no space left on device"))
        faults.install(full)
        try:
            configuration, problems = running.reload()
        finally:
            faults.install(None)
        hour = configuration.policies["p"].schedule.at.hour
        assert hour == 2 or problems, name
        assert schedule_of(running) == 2, name
