"""A restore killed or failing at any of its points leaves old or new, and continues."""

import errno
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from doubles.crafted import CHUNK, Crafter, file, in_order, link, node
from doubles.faultpoints import (
    BROKEN,
    CRASHED,
    CrashAt,
    RaiseAt,
    Recorder,
    in_child,
    registered_points,
)
from drkeeper.clock import SystemClock
from drkeeper.model.entry import Extra, FileType
from drkeeper.operations.restore import Overwrite, RestoreRequest, restore
from drkeeper.repository.reader import SnapshotReader

POINTS = sorted(
    name
    for name in registered_points()
    if name.startswith(("operations.restore.", "repository.fetch.", "repository.reader."))
)
OLD = b"".join(bytes([n]) * CHUNK for n in range(6))
NEW = OLD[: 2 * CHUNK] + b"n" * CHUNK + OLD[3 * CHUNK :] + b"end"


def _snapshot(folder: Path) -> tuple[Crafter, SnapshotReader]:
    crafter = Crafter(folder / "repository")
    items = [
        node(b"d"),
        file(b"d/a", b"new a"),
        file(b"d/one", b"linked", links=2, inode=3),
        link(b"d/link", b"a"),
        node(b"d/fifo", FileType.FIFO),
        node(b"e"),
        file(b"e/two", b"linked", links=2, inode=3),
        file(b"e/holes", b"data", size=1 << 20, extra=Extra(segments=((4096, 4),))),
        file(b"e/way", b"a file again"),
    ]
    return crafter, crafter.snapshot(
        crafter.piece(in_order(items)), crafter.piece([file(b"large", NEW)])
    )


def _occupy(target: Path) -> None:
    """Make a target with older versions, something to delete, and a directory in the way."""
    (target / "d").mkdir(parents=True)
    (target / "d/a").write_text("old a")
    (target / "d/gone").write_text("extra")
    (target / "e/way/inner").mkdir(parents=True)
    (target / "large").write_bytes(OLD)


def _request(reader: SnapshotReader, target: Path) -> RestoreRequest:
    return RestoreRequest(
        reader,
        os.fsencode(target),
        SystemClock(),
        overwrite=Overwrite.IF_CHANGED,
        delete=True,
        confirmed=True,
        workers=1,
        batch_bytes=2 * CHUNK,
    )


def _assert_old_or_new(target: Path) -> None:
    if (target / "d/a").exists():
        assert (target / "d/a").read_text() in {"old a", "new a"}
    if (target / "large").exists():
        assert (target / "large").read_bytes() in {OLD, NEW}
    if (target / "e/holes").exists():
        assert (target / "e/holes").stat().st_size == 1 << 20


def _assert_complete(target: Path) -> None:
    assert (target / "d/a").read_text() == "new a"
    assert (target / "large").read_bytes() == NEW
    assert (target / "e/two").samefile(target / "d/one")
    assert (target / "e/way").read_text() == "a file again"
    names = sorted(path.relative_to(target).as_posix() for path in target.rglob("*"))
    assert names == [
        "d",
        "d/a",
        "d/fifo",
        "d/link",
        "d/one",
        "e",
        "e/holes",
        "e/two",
        "e/way",
        "large",
    ]


def _hits(folder: Path, *, fresh: bool) -> dict[str, int]:
    """Count how often each point is reached by a restore that goes well."""
    folder.mkdir()
    _, reader = _snapshot(folder)
    target = folder / "target"
    if not fresh:
        _occupy(target)
    recorder = Recorder()

    def work() -> dict[str, int]:
        restore(_request(reader, target))
        return dict(recorder.hits)

    report = folder / "report"
    assert in_child(work, report, recorder) == 0, report.read_text()
    return json.loads(report.read_text())


@pytest.fixture(scope="module", params=[False, True], ids=["occupied", "fresh"])
def world(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    return request.param, folder, _hits(folder / "count", fresh=request.param)


def _chosen(count: int) -> list[int]:
    return sorted({1, (count + 1) // 2, count})


def _each(
    world, make: Callable[[str, int], Callable[[str], None]], status: set[int], points: list[str]
) -> None:
    fresh, folder, hits = world
    for number, name in enumerate(points):
        for hit in _chosen(hits.get(name, 0)) if hits.get(name) else []:
            place = folder / f"{make.__name__}-{number}-{hit}"
            place.mkdir()
            _, reader = _snapshot(place)
            target = place / "target"
            if not fresh:
                _occupy(target)
            request = _request(reader, target)
            code = in_child(
                lambda r=request: restore(r) and None, place / "report", make(name, hit)
            )
            assert code in status, (name, hit, (place / "report").read_text())
            if code == BROKEN:
                assert "\ndrkeeper.errors." in (place / "report").read_text(), (name, hit)
            if target.exists():
                _assert_old_or_new(target)
            again = in_child(lambda r=request: restore(r) and None, place / "report")
            assert again == 0, (name, hit, (place / "report").read_text())
            _assert_complete(target)


def crash(name: str, hit: int) -> Callable[[str], None]:
    """End the process at the point."""
    return CrashAt(name, hit)


def full(name: str, hit: int) -> Callable[[str], None]:
    """Let the point fail as a full disk does."""
    return RaiseAt(name, hit, lambda: OSError(errno.ENOSPC, "No space left on device"))


def test_killed_anywhere_it_continues(world):
    """At the first, middle and last hit of every point: old or new, and a second run completes."""
    _each(world, crash, {CRASHED}, POINTS)


def test_a_full_disk_anywhere_is_survived(world):
    """A write that finds the disk full ends in an error; nothing is half, and a second run completes."""
    writes = [name for name in POINTS if name.startswith("operations.restore.")]
    _each(world, full, {BROKEN, 0}, writes)


def test_every_point_is_reached(world, tmp_path_factory):
    """Between them, a fresh and an occupied target reach every point of restoring."""
    fresh, _, hits = world
    other = _hits(tmp_path_factory.mktemp("other") / "count", fresh=not fresh)
    assert set(POINTS) <= set(hits) | set(other)


def test_a_killed_fresh_restore_needs_no_flag(tmp_path):
    """Without any word about overwriting, a killed restore to a new directory is continued."""
    _, reader = _snapshot(tmp_path)
    target = tmp_path / "target"
    request = replace(_request(reader, target), overwrite=None, delete=False, confirmed=False)
    work = lambda: restore(request) and None  # noqa: E731 - run twice, with and without a crash
    assert in_child(work, tmp_path / "report", CrashAt("operations.restore.rename", 3)) == CRASHED
    assert in_child(work, tmp_path / "report") == 0, (tmp_path / "report").read_text()
    _assert_complete(target)
