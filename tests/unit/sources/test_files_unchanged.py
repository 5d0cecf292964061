"""When an earlier entry still describes a path, so that it need not be read."""

import os
from datetime import timedelta

import pytest
from msgspec.structs import replace

from doubles.sinks import DigestingSink
from drkeeper.model.entry import EntryFlag, Extra
from drkeeper.sources.base import Consistency
from drkeeper.sources.files import FilesSource, FilesSpec
from unit.sources.running import LateClock, save


def changed(base, old, *, clock=None, **fields):
    """Return what would be read again, without the base and the directories above it."""
    source = FilesSource(FilesSpec((os.fsencode(base),), **fields), clock=clock or LateClock())
    with source.freeze(lambda _: None) as view:
        return {
            candidate.path.rpartition(b"/")[2]
            for batch in view.walk()
            for candidate in batch
            if candidate.path.startswith(old.base + b"/")
            and not view.unchanged([candidate], [old.entries[candidate.path]])
        }


@pytest.fixture
def tree(tmp_path):
    (tmp_path / "directory").mkdir()
    for name in ("file", "empty", "directory/inner"):
        (tmp_path / name).write_bytes(b"" if name == "empty" else b"content")
    (tmp_path / "link").symlink_to("file")
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "linked").write_bytes(b"two names")
    os.link(tmp_path / "linked", tmp_path / "linked-again")
    return tmp_path


def test_nothing_is_read_again_when_nothing_changed(tree):
    """The run after a run costs one look at each path."""
    assert changed(tree, save(tree)) == set()


def test_the_same_size_and_mtime_do_not_hide_a_change(tree):
    """The ctime cannot be set back by those who forge the mtime."""
    old = save(tree)
    before = (tree / "file").stat()
    (tree / "file").write_bytes(b"CONTENT")
    os.utime(tree / "file", ns=(before.st_atime_ns, before.st_mtime_ns))

    assert changed(tree, old) == {b"file"}


@pytest.mark.parametrize(
    "flag",
    [EntryFlag.RACY, EntryFlag.CHANGED, EntryFlag.UNREADABLE, EntryFlag.EXTRAS_UNREADABLE],
)
def test_what_was_not_read_for_certain_is_read_again(tree, flag):
    """Equal times prove nothing about content that was never certain."""
    old = save(tree)
    path = old.base + b"/file"
    old.entries[path] = replace(old.entries[path], extra=Extra(flags=flag))

    assert changed(tree, old) == {b"file"}


@pytest.mark.parametrize(
    "field", ["mode", "uid", "gid", "mtime_ns", "ctime_ns", "inode", "links", "size", "type"]
)
def test_every_difference_in_metadata_counts(tree, field):
    """An entry is taken over whole, so all of it must still be true."""
    old = save(tree)
    path = old.base + b"/file"
    old.entries[path] = replace(old.entries[path], **{field: getattr(old.entries[path], field) + 1})

    assert changed(tree, old) == {b"file"}


def test_an_entry_without_a_digest_is_not_enough(tree):
    """Metadata alone cannot be restored."""
    old = save(tree)
    path = old.base + b"/file"
    old.entries[path] = replace(old.entries[path], digest=b"")

    assert changed(tree, old) == {b"file"}


def test_another_device_number_matters_only_to_hard_links(tree):
    """It may change with a restart; names of one file are told by it, so those are read again."""
    old = save(tree)
    old.entries = {path: replace(e, device=e.device + 1) for path, e in old.entries.items()}

    assert changed(tree, old) == {b"linked", b"linked-again"}


def test_a_directory_that_became_a_cache_is_recorded_anew(tree):
    """Its flags tell a reader why its content is missing."""
    (tree / "directory/CACHEDIR.TAG").write_bytes(b"Signature: 8a477f597d28d172789f06886806bc55")
    old = save(tree)

    assert changed(tree, old, exclude_caches=True) == {b"directory"}


def test_a_share_of_the_files_is_read_again_every_day(tree):
    """Within the given days each file has its turn once, whatever its times say."""
    old = save(tree)
    turns = [
        changed(tree, old, clock=LateClock(timedelta(days=day, minutes=10)), reread_days=5)
        for day in range(5)
    ]

    files = {b"file", b"empty", b"inner", b"linked", b"linked-again"}
    assert sorted(name for turn in turns for name in turn) == sorted(files)


def test_a_live_tree_is_dated_by_the_start_of_its_walk(tree):
    """The recovery point can only be older than the data, never younger."""
    clock = LateClock()
    earliest = clock.now()
    with FilesSource(FilesSpec((os.fsencode(tree),)), clock=clock).freeze(lambda _: None) as view:
        latest = clock.now()
        for batch in view.walk():
            for candidate in batch:
                view.capture(candidate, DigestingSink())

        assert earliest <= view.consistent_at <= latest
        assert view.consistency is Consistency.NONE
        assert view.tally.plain_bytes == 7 + 7 + 9 + 9
