"""The refs of one snapshot: what it needs, with unchanged parts named where they are already."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from drkeeper.crypto.digests import digest
from drkeeper.repository.parts import MAX_META_BYTES, PartWriter
from drkeeper.repository.places import Codec, Place
from drkeeper.repository.refs import (
    ROW_BYTES,
    Ref,
    RefKind,
    RefsPart,
    RefsRoot,
    SlotRow,
    encode_part,
    encode_root,
    split,
)

Emit = Callable[[bytes, bytearray], None]

_CLOSE_AT = MAX_META_BYTES // 2
"""New parts and the root go into one object: a root cannot name the object it is in."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What a snapshot needs besides the object that says so.

    Attributes:
        refs: Every object.
        root: Where the list is.
        root_data: The bytes of its root.
    """

    refs: tuple[Ref, ...]
    root: Place
    root_data: bytes

    def references(self) -> set[str]:
        """Return the objects as ``condemn`` entries name them."""
        return {ref.reference for ref in self.refs}


def write_needs(  # noqa: PLR0917 - the list and what it is made from, in the order of the format
    writer: PartWriter,
    packs: Iterable[tuple[bytes, bytes]],
    metas: Iterable[tuple[bytes, bytes]],
    earlier: Collection[RefsPart],
    slots: Callable[[bytes], SlotRow],
) -> Needs:
    """Append the list to ``writer`` and flush it.

    Args:
        writer: Takes new parts and the root, all in one object.
        packs: (session, id) of each pack.
        metas: (session, id) of each meta object.
        earlier: Parts of the list of the snapshot before.
        slots: Returns the key slots of a session that is not the writer's own.
    """
    refs = [Ref(RefKind.PACK, pack, session) for session, pack in packs]
    refs += [Ref(RefKind.META, meta, session) for session, meta in metas]
    stored = {part.place.digest: part for part in earlier}
    parts: list[RefsPart] = []
    holders: set[Ref] = set()
    for rows in split(sorted(ref.encode() for ref in refs)):
        data = encode_part(rows)
        name = digest(data)
        known = stored.get(name)
        if known is None:
            parts.append(_appended(writer, rows, data, name))
        else:
            parts.append(RefsPart(rows[0], len(rows), known.place))
            holders.add(Ref(RefKind.REFS, known.place.id, known.place.session))
    for rows in split(sorted(ref.encode() for ref in holders)):
        data = encode_part(rows)
        parts.append(_appended(writer, rows, data, digest(data)))
    elder = {ref.session for ref in (*refs, *holders)} - {writer.session}
    root_data = encode_root(RefsRoot(tuple(sorted(map(slots, elder))), tuple(parts)))
    root = writer.append(
        root_data, plain=len(root_data), codec=Codec.RAW, part_digest=digest(root_data)
    )
    writer.flush()
    return Needs((*refs, *holders), root, root_data)


def needs_writer(session: bytes, emit: Emit) -> PartWriter:
    """Return a writer that keeps a whole list in one object."""
    return PartWriter(session, emit, close_at=_CLOSE_AT)


def _appended(writer: PartWriter, rows: list[bytes], data: bytes, name: bytes) -> RefsPart:
    # Ids are random: nothing to compress.
    place = writer.append(data, plain=len(rows) * ROW_BYTES, codec=Codec.RAW, part_digest=name)
    return RefsPart(rows[0], len(rows), place)
