"""Manifests under way: what waits for content, and for how long."""

from itertools import pairwise

from drkeeper.model.entry import Entry
from drkeeper.repository import manifest
from drkeeper.repository.buffers import Failure
from drkeeper.repository.compression import Compressor
from drkeeper.repository.content import StoredContent
from drkeeper.repository.manifest import ManifestWriter
from drkeeper.repository.parts import PartWriter
from drkeeper.repository.workers import Workers


class NoNames:
    """Knows nobody."""

    def user(self, _uid):
        return ""

    def group(self, _gid):
        return ""


class Joined:
    """A sink in which small content always waits, until it is told to cut."""

    waiting = True
    cut_through = 0

    def __init__(self):
        self.generation = 0
        self.cut_at = []
        self.contents = []

    def small(self):
        content = StoredContent(bytes(32), 0)
        self.contents.append(content)
        return content

    def cut_joined(self):
        self.generation += 1
        self.cut_at.append(len(self.contents))
        for content in self.contents:
            content.extents = ()


def test_entries_do_not_wait_for_small_files_without_end():
    """Joined files are cut when many entries wait for them, and every piece is then written."""
    failure, sink, remembered = Failure(), Joined(), []
    workers = Workers(failure, "test", 1, Compressor)
    writer = ManifestWriter(
        NoNames(),
        sink,
        workers,
        PartWriter(bytes(16), lambda _id, _plain: None),
        piece_key=bytes(32),
        remember=remembered.extend,
    )
    count = 3 * manifest._MOST_UNCUT
    for number in range(count):
        facts = (0, 0o644, 0, 0, 0, 0, 1, 1, 1, 0, bytes(32))
        writer.add(Entry(b"%08d" % number, *facts), sink.small())
    writer.finish()
    workers.close()

    longest = manifest._MOST_UNCUT + manifest.pieces.CUT_MAX_ENTRIES
    assert all(end - begin <= longest for begin, end in pairwise([0, *sink.cut_at]))
    assert sink.cut_at[-1] == count
    assert sum(piece.entries for piece in writer.finished()) == count
    known = [part.digest for part in (*remembered, *writer.tables.cached)]
    assert sorted(known) == sorted(piece.place.digest for piece in writer.finished())
