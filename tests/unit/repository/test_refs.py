"""Lists of needed objects, and inventories."""

import os
import random

import pytest
from hypothesis import given, settings, strategies as st

from drkeeper.errors import IntegrityError
from drkeeper.repository import inventory
from drkeeper.repository.inventory import NewObjects, StoredObject
from drkeeper.repository.needs import needs_writer, write_needs
from drkeeper.repository.parts import PartWriter
from drkeeper.repository.places import Place
from drkeeper.repository.refs import (
    MAX_PART_ROWS,
    Ref,
    RefKind,
    RefsPart,
    RefsRoot,
    SlotRow,
    decode_part,
    decode_root,
    encode_part,
    encode_root,
    read_refs,
    split,
)

SESSION = bytes(16)


def slots_of(session: bytes) -> SlotRow:
    return SlotRow(session, 1, bytes(32), bytes(32), bytes(32))


def rows_of(count: int) -> list[bytes]:
    return sorted(Ref(RefKind.PACK, os.urandom(16), SESSION).encode() for _ in range(count))


class Objects:
    """Keeps what a writer emits, as a store would."""

    def __init__(self) -> None:
        self.plain: dict[bytes, bytes] = {}

    def emit(self, object_id: bytes, plain: bytearray) -> None:
        self.plain[object_id] = bytes(plain)

    def read(self, place: Place) -> bytes:
        return self.plain[place.id][place.offset : place.offset + place.stored]

    def write(self, packs, metas, earlier=()):
        return write_needs(needs_writer(SESSION, self.emit), packs, metas, earlier, slots_of)


def some(count: int) -> set[tuple[bytes, bytes]]:
    return {(SESSION, os.urandom(16)) for _ in range(count)}


@given(st.integers(0, 5000))
@settings(max_examples=20, deadline=None)
def test_parts_together_are_the_list(count):
    """Splitting loses nothing, keeps the order and the limit."""
    rows = rows_of(count)
    parts = split(rows)
    assert [row for part in parts for row in part] == rows
    assert all(1 <= len(part) <= MAX_PART_ROWS for part in parts)


def test_what_is_needed_is_read_back():
    """Packs, meta objects, and the refs objects that hold reused parts: all are named."""
    objects = Objects()
    packs, metas = some(3000), some(5)
    first = objects.write(packs, metas)
    wanted = {Ref(RefKind.PACK, i, s) for s, i in packs} | {
        Ref(RefKind.META, i, s) for s, i in metas
    }
    assert read_refs(decode_root(objects.read(first.root)).parts, objects.read) == wanted
    assert first.references() == {ref.reference for ref in wanted}


def test_unchanged_parts_are_named_again():
    """A snapshot that needs a little more stores a little more, and names where the rest is."""
    objects = Objects()
    packs, metas = some(20_000), some(5)
    first = objects.write(packs, metas)
    before = set(objects.plain)
    second = objects.write(packs, metas | some(1), decode_root(first.root_data).parts)
    (new,) = set(objects.plain) - before
    assert len(objects.plain[new]) < 200_000
    found = read_refs(decode_root(objects.read(second.root)).parts, objects.read)
    assert Ref(RefKind.REFS, first.root.id, SESSION) in found
    assert {ref.id for ref in found if ref.kind == RefKind.PACK} == {pack for _, pack in packs}


def test_a_root_lies_with_its_new_parts():
    """However long the list is, one object holds all of it that is new."""
    objects = Objects()
    needs = objects.write(some(150_000), some(1))
    assert list(objects.plain) == [needs.root.id]


@pytest.mark.parametrize("count", [1, 4000, 20_000])
def test_every_object_of_a_huge_list_is_named(count):
    """When new parts take several objects, the list names all but the one that holds its root, also
    when the next list takes up some of them; so does the set that collecting goes by.
    """
    objects = Objects()

    def write(packs, earlier):
        writer = PartWriter(SESSION, objects.emit, close_at=50_000)
        return write_needs(writer, packs, some(1), earlier, slots_of)

    chance = random.Random(count)  # where a list is split hangs on its names
    packs = {(SESSION, chance.randbytes(16)) for _ in range(count)}
    needs = write(packs, ())
    before = set(objects.plain)
    again = write(packs | some(10), decode_root(needs.root_data).parts)
    assert (len(before) > 1) == (count > 1)
    for written, stored in ((needs, before), (again, set(objects.plain) - before)):
        parts = decode_root(objects.read(written.root)).parts
        found = read_refs(parts, objects.read)
        named = {ref.id for ref in found if ref.kind == RefKind.REFS}
        assert stored - named == {written.root.id}
        assert {part.place.id for part in parts} | named == named | {written.root.id}
        assert written.references() == {ref.reference for ref in found}


def test_malformed_lists_are_refused():
    """Out of order, of another length, of unknown kinds: integrity violations."""
    rows = rows_of(3)
    place = Place(SESSION, SESSION, 0, 99, 99, 0, bytes(32))
    part = RefsPart(rows[0], 3, place)
    assert len(decode_part(encode_part(rows), part)) == 3
    for bad in (
        encode_part(rows[::-1]),
        encode_part(rows)[:-1],
        encode_part([b"\x09" + r[1:] for r in rows]),
    ):
        with pytest.raises(IntegrityError):
            decode_part(bad, part)
    for parts in ([part, part], [RefsPart(b"x", 3, place)], [RefsPart(rows[0], 0, place)]):
        with pytest.raises(IntegrityError):
            decode_root(encode_root(RefsRoot((), tuple(parts))))
    with pytest.raises(IntegrityError):
        decode_root(b"\xc1")


def test_an_inventory_comes_back_in_order():
    """Lines are sorted, and what is read is what was stored."""
    objects = [StoredObject(os.urandom(32), n, f"packs/{n:02d}") for n in range(20)]
    data = inventory.encode(objects)
    assert data == b"".join(sorted(data.splitlines(keepends=True)))
    assert inventory.decode(data) == sorted(objects, key=lambda each: each.digest)


@pytest.mark.parametrize(
    "data",
    [b"x", b"x\n", b"\xff\n", b"0" * 64 + b" 01 packs/x\n", b"0" * 64 + b" 1 packs/X\n"],
    ids=repr,
)
def test_a_malformed_inventory_is_refused(data):
    """Nothing but whole, well-formed lines in ascending order."""
    with pytest.raises(IntegrityError):
        inventory.decode(data)
    line = b"0" * 64 + b" 1 packs/x\n"
    with pytest.raises(IntegrityError):
        inventory.decode(line + line)


def test_new_objects_are_taken_once():
    """Each inventory lists what was stored since the one before; the sum counts all."""
    new = NewObjects()
    one, two = StoredObject(bytes(32), 5, "a"), StoredObject(bytes(32), 7, "b")
    new.add(one)
    assert new.taken() == [one]
    new.add(two)
    assert new.taken() == [two]
    assert new.stored_bytes == 12
