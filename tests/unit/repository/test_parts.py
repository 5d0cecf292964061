"""Parts of meta objects, read back by place."""

import os
from dataclasses import dataclass, replace

import pytest

from doubles.memory_store import MemoryStore
from drkeeper.crypto.derive import Domain
from drkeeper.crypto.digests import keyed
from drkeeper.crypto.sealing import Header, Kind, seal
from drkeeper.errors import IntegrityError
from drkeeper.repository import snapshot_root
from drkeeper.repository.compression import Compressor
from drkeeper.repository.parts import (
    MAX_META_BYTES,
    META_ALIGNMENT,
    PartReader,
    PartWriter,
    add_part,
)
from drkeeper.repository.places import KeyClass, Place, object_name
from drkeeper.repository.snapshot_root import (
    MAX_FINDINGS,
    PieceAt,
    RootFinding,
    SnapshotRoot,
)

SESSION = b"s" * 16
KEY = b"k" * 32
DOMAIN = Domain(b"d" * 32)


class OneKey:
    """Knows the key of one session."""

    def key(self, session: bytes, key_class: KeyClass) -> bytes:
        assert (session, key_class) == (SESSION, KeyClass.META)
        return KEY


@dataclass
class Repository:
    """As much of a repository as parts need."""

    id: bytes
    store: MemoryStore
    keys: OneKey


@pytest.fixture
def repository() -> Repository:
    return Repository(b"r" * 16, MemoryStore(), OneKey())


def writer(repository: Repository, close_at: int = 1000) -> PartWriter:
    def emit(object_id: bytes, plain: bytearray) -> None:
        assert len(plain) % META_ALIGNMENT == 0
        header = Header(Kind.META, repository.id, SESSION, object_id)
        repository.store.put(object_name("meta", object_id), seal(KEY, header, plain))

    return PartWriter(SESSION, emit, close_at=close_at)


def digest_of(data: bytes) -> bytes:
    return keyed(DOMAIN.piece_key, data)


def test_parts_come_back_by_their_places(repository):
    """Whatever object a part went to, its place finds it, and its digest proves it."""
    parts = [os.urandom(300) + bytes(300) for _ in range(20)]
    to = writer(repository)
    places = [add_part(to, Compressor(), data, digest_of) for data in parts]
    to.flush()
    assert to.flush() is None
    assert len({place.id for place in places}) > 1
    reader = PartReader(repository)
    assert [reader.read_meta(place, DOMAIN) for place in places] == parts
    assert [PartReader(repository).read_meta(place, DOMAIN) for place in places[::-1]] == parts[
        ::-1
    ]


def test_objects_are_read_once(repository):
    """Parts that lie side by side cost one object."""
    to = writer(repository)
    places = [add_part(to, Compressor(), bytes([n]) * 50, digest_of) for n in range(5)]
    to.flush()
    reader = PartReader(repository)
    for place in places:
        reader.read_meta(place, DOMAIN)
    assert repository.store.requests["get"] == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"offset": 1},
        {"offset": 10_000_000},
        {"stored": 599},
        {"plain": 599},
        {"plain": 64 * 1024 * 1024 + 1},
        {"digest": bytes(32)},
        {"codec": 1},
    ],
    ids=str,
)
def test_a_place_that_is_not_quite_right_is_refused(repository, changes):
    """Nothing but the part that was meant is ever returned."""
    to = writer(repository)
    place = add_part(to, Compressor(), os.urandom(600), digest_of)
    to.flush()
    with pytest.raises(IntegrityError):
        PartReader(repository).read_meta(replace(place, **changes), DOMAIN)


def test_an_altered_object_is_refused(repository):
    """Also when only its padding was altered, or its end is missing."""
    to = writer(repository)
    place = add_part(to, Compressor(), os.urandom(600), digest_of)
    to.flush()
    name = object_name("meta", place.id)
    sound = repository.store.objects[name]
    for bad in (sound[:-1] + bytes([sound[-1] ^ 1]), sound[:-1], b""):
        repository.store.objects[name] = bad
        with pytest.raises(IntegrityError):
            PartReader(repository).read_meta(place, DOMAIN)


def root(**changes: object) -> SnapshotRoot:
    at = "2026-11-20T13:30:00.000000Z"
    facts = {
        "policy": "shop",
        "host": "till",
        "kind": "files",
        "drkeeper": "1.0",
        "paths": (b"srv/\xff",),
        "tags": {"a": "b"},
        "domain": DOMAIN.secret,
        "consistent_at": at,
        "finished_at": at,
        "consistency": "none",
        "complete": True,
        "stats": {"files": 3},
        "pieces": (PieceAt(b"srv", 3, Place(SESSION, SESSION, 0, 1, 1, 0, bytes(32))),),
        "findings": (RootFinding("warning", "changed", b"srv/x", "It changed."),),
    } | changes
    return SnapshotRoot(**facts)


def test_a_root_comes_back_and_is_proven_by_the_domain_it_names(repository):
    """A reader that knows only the commit can verify the root."""
    to = writer(repository)
    data = snapshot_root.encode(root())
    place = add_part(to, Compressor(), data, digest_of)
    forged = add_part(to, Compressor(), data, lambda _data: bytes(32))
    to.flush()
    assert PartReader(repository).read_root(place) == root()
    with pytest.raises(IntegrityError, match="another digest"):
        PartReader(repository).read_root(forged)


def test_the_domain_secret_is_not_shown():
    """Neither logs nor tracebacks print it."""
    assert repr(DOMAIN.secret) not in repr(root())


def test_warnings_are_kept_before_notes():
    """Of more findings than a root holds, those that matter stay, and the rest is counted."""
    note, warning = RootFinding("note", "n", b"a", "m"), RootFinding("warning", "w", b"b", "m")
    many = root(findings=(note,) * MAX_FINDINGS + (warning,))
    found = snapshot_root.decode(snapshot_root.encode(many))
    assert len(found.findings) == MAX_FINDINGS
    assert found.findings[0] == warning
    assert found.stats["findings_left_out"] == 1


def test_findings_never_fill_the_part():
    """Long paths do not keep a snapshot from being committed: findings are bounded in bytes too, and
    every warning is kept before a note is.
    """
    notes = tuple(RootFinding("note", "n", b"%05d" % n * 1600, "m") for n in range(9000))
    warning = RootFinding("warning", "w", b"b" * 8000, "m")
    data = snapshot_root.encode(root(findings=(*notes, warning)))
    assert len(data) < MAX_META_BYTES // 2
    found = snapshot_root.decode(data)
    assert found.findings[0] == warning
    assert len(found.findings) > 1000
    assert found.findings[1:] == notes[: len(found.findings) - 1]
    assert found.stats["findings_left_out"] + len(found.findings) == 9001


@pytest.mark.parametrize(
    "changes",
    [
        {"domain": b"short"},
        {
            "pieces": (
                PieceAt(b"b", 1, root().pieces[0].place),
                PieceAt(b"a", 1, root().pieces[0].place),
            )
        },
        {"pieces": (PieceAt(b"b", 0, root().pieces[0].place),)},
    ],
    ids=["domain", "order", "empty"],
)
def test_a_malformed_root_is_refused(changes):
    """Each rule of docs/format.md, 6.2, is checked on reading."""
    with pytest.raises(IntegrityError):
        snapshot_root.decode(snapshot_root.encode(root(**changes)))


def test_a_root_of_another_format_is_refused():
    """With a hint that a newer drkeeper wrote it."""
    data = snapshot_root.encode(root()).replace(b"\xa6format\x01", b"\xa6format\x02", 1)
    with pytest.raises(IntegrityError, match="format 2"):
        snapshot_root.decode(data)
    for garbage in (b"", b"\x80", b"\xc1"):
        with pytest.raises(IntegrityError):
            snapshot_root.decode(garbage)
