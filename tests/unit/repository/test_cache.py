"""The cache: right answers or none."""

import os
import sqlite3
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from drkeeper.repository.cache import Cache, CachedPart, CacheOwner, ChunkAt

OWNER = CacheOwner(bytes(16), bytes(16), bytes(32))
SESSION, LINEAGE = b"s" * 16, b"l" * 16
COMMIT = (5, b"d" * 32)
LIVE = {5: b"d" * 32}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "repository" / "host.sqlite"


def chunk(pack: bytes = b"p" * 16) -> ChunkAt:
    return ChunkAt(os.urandom(32), SESSION, pack, 100, 50, 80, 1)


@pytest.fixture
def opened(path: Path) -> Iterator[Callable[..., Cache]]:
    """Open the cache at ``path``, any number of times; all are closed in the end."""
    with ExitStack() as stack:

        def open_one(live: dict[int, bytes] = LIVE, owner: CacheOwner = OWNER) -> Cache:
            cache = stack.enter_context(closing(Cache(str(path), owner)))
            cache.begin(live)
            return cache

        yield open_one


def filled(path: Path) -> list[ChunkAt]:
    chunks = [chunk(), chunk(b"q" * 16)]
    cache = Cache(str(path), OWNER)
    cache.begin({})
    cache.learn(COMMIT, LINEAGE, {(SESSION, each.pack) for each in chunks}, chunks)
    cache.close()
    return chunks


def test_chunks_of_live_commits_are_found(path, opened):
    """What a commit brought is known in the next run; what it did not bring is not."""
    chunks = filled(path)
    cache = opened()
    assert [cache.find(each.id) for each in chunks] == chunks
    assert cache.find(bytes(32)) is None
    assert cache.unknown_commits({5: b"", 7: b""}) == [7]


@pytest.mark.parametrize("live", [{}, {6: b"d" * 32}, {5: b"e" * 32}], ids=str)
def test_chunks_of_expired_commits_are_forgotten(path, live, opened):
    """A pack that no live commit needs may be gone, so nothing in it is offered."""
    chunks = filled(path)
    cache = opened(live)
    assert cache.find(chunks[0].id) is None
    cache.close()
    assert opened().find(chunks[0].id) is None


def test_a_later_commit_keeps_the_packs_it_needs(path, opened):
    """Chunks outlive the commit that brought them as long as another one needs their pack."""
    chunks = filled(path)
    cache = opened()
    cache.learn((9, b"n" * 32), LINEAGE, [(SESSION, chunks[0].pack)], [])
    cache.close()
    cache = opened({9: b"n" * 32})
    assert cache.find(chunks[0].id) == chunks[0]
    assert cache.find(chunks[1].id) is None


def test_another_lineage_keeps_packs_too(path, opened):
    """Two policies of one host share chunks."""
    chunks = filled(path)
    cache = opened()
    cache.learn((9, b"n" * 32), b"m" * 16, [(SESSION, chunks[0].pack)], [])
    cache.close()
    assert opened({9: b"n" * 32}).find(chunks[0].id) == chunks[0]


def test_condemned_packs_are_dropped(path, opened):
    """Nothing in them is offered any more, now and later."""
    chunks = filled(path)
    cache = opened()
    cache.drop_packs([chunks[0].pack])
    assert cache.find(chunks[0].id) is None
    assert cache.find(chunks[1].id) == chunks[1]
    cache.close()
    assert opened().find(chunks[0].id) is None


def test_chunks_in_packs_that_nothing_needs_are_not_learned(opened):
    """What was stored and then discarded may be collected at any time."""
    cache = opened({})
    stray = chunk(b"x" * 16)
    cache.learn(COMMIT, LINEAGE, [(SESSION, b"p" * 16)], [stray])
    assert cache.find(stray.id) is None


@pytest.mark.parametrize("column", ["offset", "stored", "plain", "codec"])
@pytest.mark.parametrize("value", ["1000", "-1", "'text'", "NULL"])
def test_a_changed_row_is_not_believed(path, column, value, opened):
    """A location that is not exactly the one that was learned is no location."""
    chunks = filled(path)
    with sqlite3.connect(path) as raw:
        raw.execute("PRAGMA ignore_check_constraints = ON")
        try:
            raw.execute(f"UPDATE chunks SET {column} = {value}")
        except sqlite3.IntegrityError:
            raw.execute(f"UPDATE chunks SET {column} = 77")
    raw.close()
    assert opened().find(chunks[0].id) is None


def test_a_changed_pack_is_not_believed(path, opened):
    """Nor is a pack that is another one than when the chunk was learned."""
    chunks = filled(path)
    with sqlite3.connect(path) as raw:
        raw.execute("UPDATE packs SET session = ?", (b"z" * 16,))
    raw.close()
    assert opened().find(chunks[0].id) is None


def test_another_owner_starts_afresh(path, opened):
    """Another repository, host or domain never sees these rows."""
    chunks = filled(path)
    other = CacheOwner(OWNER.repository, OWNER.host, b"k" * 32)
    cache = opened(owner=other)
    assert cache.find(chunks[0].id) is None
    assert cache.unknown_commits(LIVE) == [5]


@pytest.mark.parametrize("garbage", [b"", b"garbage", b"SQLite format 3\0" + bytes(5000)], ids=len)
def test_a_file_that_is_no_cache_is_replaced(path, garbage, opened):
    """The run goes on with an empty cache, which is kept."""
    path.parent.mkdir()
    path.write_bytes(garbage)
    cache = opened({})
    assert cache.usable
    known = chunk()
    cache.learn(COMMIT, LINEAGE, [(SESSION, known.pack)], [known])
    cache.close()
    assert opened().find(known.id) == known


def test_damage_found_later_loses_the_file_and_not_the_run(path, opened):
    """From then on everything is unknown, and the next run starts afresh."""
    chunks = filled(path)
    cache = opened()
    cache.close()
    data = bytearray(path.read_bytes())
    data[4096:] = bytes(len(data) - 4096)
    path.write_bytes(data)
    cache = opened()
    assert cache.find(chunks[0].id) is None
    cache.learn(COMMIT, LINEAGE, [(SESSION, chunks[0].pack)], chunks)
    assert cache.find(chunks[0].id) in {None, chunks[0]}
    cache.close()


def test_a_place_that_cannot_be_written_is_no_error(tmp_path):
    """Without a cache a backup costs more and is as good."""
    blocker = tmp_path / "file"
    blocker.write_bytes(b"")
    with closing(Cache(str(blocker / "host.sqlite"), OWNER)) as cache:
        cache.begin(LIVE)
        assert not cache.usable
        known = chunk()
        cache.learn(COMMIT, LINEAGE, [(SESSION, known.pack)], [known])
        assert cache.find(known.id) == known


def test_the_file_is_private(path):
    """It says which files a host has."""
    path = path.parent / "deeper" / "host.sqlite"
    filled(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for folder in (path.parent, path.parent.parent):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_parts_are_kept_until_a_snapshot_does_without_them(opened):
    """Of each lineage the parts of its newest snapshot stay."""
    cache = opened()
    parts = [CachedPart(bytes([n]) * 32, 1, 10, b"body", b"prefixes") for n in range(3)]
    cache.keep_parts(LINEAGE, parts)
    cache.keep_parts(b"m" * 16, parts[:1])
    cache.forget_other_parts(LINEAGE, [parts[1].digest])
    assert cache.part(LINEAGE, parts[1].digest) == parts[1]
    assert cache.part(LINEAGE, parts[0].digest) is None
    assert cache.part(b"m" * 16, parts[0].digest) == parts[0]
    assert cache.prefixes(LINEAGE, [parts[0].digest, parts[1].digest]) == [None, b"prefixes"]
