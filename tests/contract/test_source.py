"""What every source must do; a new one adds one line to ``SOURCES``."""

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from blake3 import blake3

import trees
from doubles.databases import make_bank
from doubles.descriptors import opened
from doubles.sinks import KeepingSink
from drkeeper.clock import SystemClock
from drkeeper.errors import SourceError
from drkeeper.model.entry import FileType, sort_key
from drkeeper.sources.base import Consistency, Source
from drkeeper.sources.files import FilesSource, FilesSpec
from drkeeper.sources.sqlite import SqliteSource, SqliteSpec


def _files(root: Path) -> Source:
    return FilesSource(FilesSpec(paths=(os.fsencode(root),)), clock=SystemClock())


def _closed_files(root: Path) -> Source:
    return FilesSource(FilesSpec(paths=(os.fsencode(root / "missing"),)), clock=SystemClock())


def _sqlite(root: Path) -> Source:
    path = root / "a database" / "shop.db"
    path.parent.mkdir()
    make_bank(path, "wal").close()
    return SqliteSource(
        SqliteSpec((os.fsencode(path),), os.fsencode(root / "spool")), clock=SystemClock()
    )


def _closed_sqlite(root: Path) -> Source:
    spec = SqliteSpec((os.fsencode(root / "missing"),), os.fsencode(root / "spool"))
    return SqliteSource(spec, clock=SystemClock())


SOURCES: dict[str, tuple[Callable[[Path], Source], Callable[[Path], Source]]] = {
    "files": (_files, _closed_files),
    "sqlite": (_sqlite, _closed_sqlite),
}
"""For each kind, a source that has everything, and one that is not there."""


@pytest.fixture(params=SOURCES.values(), ids=SOURCES.keys())
def kind(request):
    return request.param


@pytest.fixture
def source(kind, tmp_path: Path) -> Source:
    trees.build_everything(tmp_path, privileged=os.geteuid() == 0)
    return kind[0](tmp_path)


def everything(source: Source):
    """Return (candidate, captured) of all that a source has."""
    found, sink = [], KeepingSink()
    with source.freeze(lambda _: None) as view:
        for batch in view.walk():
            found += [(candidate, view.capture(candidate, sink)) for candidate in batch]
    return found


def test_paths_come_once_and_in_the_order_of_manifests(source):
    """The repository merges the walk with an earlier manifest, line by line."""
    keys = [sort_key(candidate.path) for candidate, _ in everything(source)]

    assert keys == sorted(set(keys))


def test_paths_are_plain_and_relative_to_the_root(source):
    """No empty, ``.`` or ``..`` component ever gets into a manifest."""
    for candidate, _ in everything(source):
        assert not {b"", b".", b".."} & set(candidate.path.split(b"/"))


def test_every_entry_has_a_known_directory_before_it(source):
    """A restore creates directories before what is in them."""
    seen = {b""}
    for candidate, captured in everything(source):
        assert candidate.path.rpartition(b"/")[0] in seen
        if captured is not None and captured.entry.type == FileType.DIRECTORY:
            seen.add(candidate.path)


def test_content_and_entry_agree(source):
    """The digest is of the bytes that the sink was given; only files have content."""
    for candidate, captured in everything(source):
        if captured is None:
            continue
        entry, content = captured
        assert entry.path == candidate.path
        assert entry.extents == ()
        assert (content is None) == (entry.digest == b"")
        if content is not None:
            assert entry.type == FileType.FILE
            assert entry.digest == content.digest == blake3(content.data).digest()


def test_an_instant_and_a_consistency_are_stated(source):
    """A snapshot says what moment it shows, and how well."""
    with source.freeze(lambda _: None) as view:
        assert view.consistent_at.utcoffset() is not None
        assert view.consistent_at <= datetime.now(UTC)
        assert isinstance(view.consistency, Consistency)
        assert isinstance(view.owners.user(0), str)


def test_nothing_stays_open(source):
    """Leaving the view releases every descriptor, also in the middle and after an exception."""

    def interrupted():
        with source.freeze(lambda _: None) as view:
            next(iter(view.walk()))
            raise InterruptedError

    before = opened()

    with pytest.raises(InterruptedError):
        interrupted()

    assert opened() <= before


def test_what_is_missing_is_a_source_error(kind, tmp_path):
    """An absent source fails the run; it never becomes an empty snapshot."""
    with pytest.raises(SourceError) as caught:
        everything(kind[1](tmp_path))

    assert caught.value.hint
