"""Which objects a snapshot needs, readable with the refs key alone (docs/format.md, 8).

Rows are sorted and cut by content, so most parts of the list are those of the snapshot before and
are named again instead of stored again.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise
from operator import lt
from typing import Final

import msgspec

from drkeeper.errors import IntegrityError
from drkeeper.repository.places import DIGEST_BYTES, ID_BYTES, ObjectKind, Place

ROW_BYTES: Final = 33
MAX_PART_ROWS: Final = 65_536
"""Source: docs/format.md, 8."""

_CUT_EVERY: Final = 1024


class RefKind(IntEnum):
    """Kind of a needed object, as a row says it."""

    PACK = 1
    META = 2
    REFS = 3


OBJECT_KINDS: Final = {
    RefKind.PACK: ObjectKind.PACKS,
    RefKind.META: ObjectKind.META,
    RefKind.REFS: ObjectKind.REFS,
}


@dataclass(frozen=True, slots=True, order=True)
class Ref:
    """One needed object.

    Attributes:
        kind: What it is.
        id: Its id.
        session: The session that wrote it.
    """

    kind: RefKind
    id: bytes
    session: bytes

    def encode(self) -> bytes:
        """Return its row."""
        return bytes((self.kind,)) + self.id + self.session

    @property
    def reference(self) -> str:
        """Its name as ``condemn`` entries say it."""
        return f"{OBJECT_KINDS[self.kind].value}/{self.id.hex()}"


@dataclass(frozen=True, slots=True)
class RefsPart:
    """One part of the list.

    Attributes:
        first_row: Its first row.
        rows: How many it has.
        place: Where it is.
    """

    first_row: bytes
    rows: int
    place: Place


class SlotRow(msgspec.Struct, array_like=True, frozen=True, order=True, forbid_unknown_fields=True):
    """Which key slots of an older session are the genuine ones.

    The journal forgets a session when its commits have expired, and later snapshots may still need
    what it stored; so they carry this themselves.

    Attributes:
        session: Its id.
        keyring: Version its key slots were made for.
        data: Digest of its key slot of class data.
        meta: Of class meta.
        refs: Of class refs.
    """

    session: bytes
    keyring: int
    data: bytes
    meta: bytes
    refs: bytes


@dataclass(frozen=True, slots=True)
class RefsRoot:
    """What the list of needed objects begins with.

    Attributes:
        sessions: Key slots of every session it names but that of the snapshot itself, ascending.
        parts: The list.
    """

    sessions: tuple[SlotRow, ...]
    parts: tuple[RefsPart, ...]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(tuple[list[SlotRow], list[tuple[bytes, int, list[bytes | int]]]])


def encode_root(root: RefsRoot) -> bytes:
    """Return the bytes of a refs root."""
    parts = [(part.first_row, part.rows, part.place.to_list()) for part in root.parts]
    return _encoder.encode((root.sessions, parts))


def decode_root(data: bytes) -> RefsRoot:
    """Read a refs root.

    Raises:
        IntegrityError: It is malformed or not in order.
    """
    try:
        sessions, rows = _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise IntegrityError(f"refs root is malformed: {error}") from None
    parts = tuple(RefsPart(first, count, Place.from_list(place)) for first, count, place in rows)
    for part in parts:
        if len(part.first_row) != ROW_BYTES or not 1 <= part.rows <= MAX_PART_ROWS:
            raise IntegrityError("refs root is malformed: part out of bounds")
    if any(first.first_row >= second.first_row for first, second in pairwise(parts)):
        raise IntegrityError("refs root is malformed: parts out of order")
    if any(first.session >= second.session for first, second in pairwise(sessions)):
        raise IntegrityError("refs root is malformed: sessions out of order")
    for row in sessions:
        lengths = [len(row.session), len(row.data), len(row.meta), len(row.refs)]
        if lengths != [ID_BYTES, *[DIGEST_BYTES] * 3] or row.keyring < 1:
            raise IntegrityError("refs root is malformed: session out of bounds")
    return RefsRoot(tuple(sessions), parts)


def encode_part(rows: list[bytes]) -> bytes:
    """Return the bytes of a part."""
    return b"".join(rows)


def decode_part(data: bytes, part: RefsPart) -> list[Ref]:
    """Read the rows of a part.

    Raises:
        IntegrityError: It is malformed, not in order, or not the part the root names.
    """
    if len(data) != part.rows * ROW_BYTES:
        raise IntegrityError("part of refs has another length than its root says")
    rows = [data[at : at + ROW_BYTES] for at in range(0, len(data), ROW_BYTES)]
    if rows[0] != part.first_row or not all(map(lt, rows, rows[1:])):
        raise IntegrityError("part of refs is out of order")
    try:
        return [Ref(RefKind(row[0]), row[1:17], row[17:33]) for row in rows]
    except ValueError:
        raise IntegrityError("part of refs names an unknown kind") from None


def split(rows: list[bytes]) -> list[list[bytes]]:
    """Cut sorted rows into parts; only the rows decide where.

    Rows of refs objects stand in parts of their own: which there are depends on which other parts
    are stored already.
    """
    parts: list[list[bytes]] = []
    begin = 0
    for end, row in enumerate(rows, start=1):
        if (
            end == len(rows)
            or int.from_bytes(row[1:3], "big") % _CUT_EVERY == 0
            or end - begin == MAX_PART_ROWS
            or (row[0] != RefKind.REFS and rows[end][0] == RefKind.REFS)
        ):
            parts.append(rows[begin:end])
            begin = end
    return parts


def read_refs(parts: Iterable[RefsPart], read: Callable[[Place], bytes]) -> set[Ref]:
    """Return everything a refs root names; ``read`` returns a part, decoded and proven.

    Raises:
        IntegrityError: A part is malformed.
    """
    found: set[Ref] = set()
    for part in parts:
        found.update(decode_part(read(part.place), part))
    return found
