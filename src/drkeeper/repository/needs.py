"""The refs of one snapshot: what it needs, with unchanged parts named where they are already."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from drkeeper.crypto.digests import digest
from drkeeper.repository.parts import MAX_META_BYTES, PartWriter
from drkeeper.repository.places import Codec, Place
from drkeeper.repository.refs import (
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
"""New parts go into one object, as long as they are fewer than a million rows. What names the others
and the root go into the last one whatever its length is: rows cannot name the object they are in."""


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
        writer: Takes new parts and the root.
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
    new: list[Place] = []
    for rows in split(sorted(ref.encode() for ref in refs)):
        data = encode_part(rows)
        name = digest(data)
        known = stored.get(name)
        if known is None:
            place = _appended(writer, data, name)
            new.append(place)
        else:
            place = known.place
            holders.add(Ref(RefKind.REFS, place.id, place.session))
        parts.append(RefsPart(rows[0], len(rows), place))
    holders.update(Ref(RefKind.REFS, at.id, at.session) for at in new if at.id != new[-1].id)
    for rows in split(sorted(ref.encode() for ref in holders)):
        data = encode_part(rows)
        place = _appended(writer, data, digest(data), together=True)
        parts.append(RefsPart(rows[0], len(rows), place))
    elder = {ref.session for ref in (*refs, *holders)} - {writer.session}
    root_data = encode_root(RefsRoot(tuple(sorted(map(slots, elder))), tuple(parts)))
    root = _appended(writer, root_data, digest(root_data), together=True)
    writer.flush()
    return Needs((*refs, *holders), root, root_data)


def needs_writer(session: bytes, emit: Emit) -> PartWriter:
    """Return a writer that keeps a whole list in one object, unless it is huge."""
    return PartWriter(session, emit, close_at=_CLOSE_AT)


def _appended(writer: PartWriter, data: bytes, name: bytes, *, together: bool = False) -> Place:
    # Ids are random: nothing to compress.
    return writer.append(
        data, plain=len(data), codec=Codec.RAW, part_digest=name, together=together
    )
