"""Where things are: names of objects, and places of parts inside sealed objects.

Everything here is a plain value; nothing is read or written.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Final, Self

from drkeeper.errors import IntegrityError

MAX_PART_BYTES: Final = 64 * 1024 * 1024
"""Most plain bytes of one part. Source: docs/format.md 3.3."""

MAX_OFFSET: Final = 2**53
"""What a journal entry can say. Whether an object is that long is known when it is read, and is then the
trouble of those who need it: a commit that lies must not stop the readers of others."""

ID_BYTES: Final = 16
DIGEST_BYTES: Final = 32
_FIELDS: Final = ("session", "id", "offset", "stored", "plain", "codec", "digest")


class Codec(IntEnum):
    """How a part is encoded. Source: docs/format.md 5."""

    RAW = 0
    ZSTD = 1


class KeyClass(StrEnum):
    """The three classes of session keys. Source: docs/format.md 2.1."""

    DATA = "data"
    META = "meta"
    REFS = "refs"


class ObjectKind(StrEnum):
    """Kinds of sealed objects with random names; the value is the first part of the name."""

    PACKS = "packs"
    META = "meta"
    REFS = "refs"


def object_name(kind: ObjectKind | str, object_id: bytes) -> str:
    """Name the object of this kind and id in the store. Source: docs/format.md 1."""
    text = object_id.hex()
    return f"{ObjectKind(kind).value}/{text[:2]}/{text}"


def reference_name(kind: ObjectKind | str, object_id: bytes) -> str:
    """Name the object as `condemn` entries do: ``<kind>/<hex id>``. Source: docs/format.md 3.1."""
    return f"{ObjectKind(kind).value}/{object_id.hex()}"


def keyslot_name(session: bytes, keyring_version: int, key_class: KeyClass) -> str:
    """Name the key slot of a session. Source: docs/format.md 1."""
    return f"keyslots/{session.hex()}/{keyring_version}.{key_class.value}.age"


def inventory_name(session: bytes, k: int) -> str:
    """Name the k-th inventory of a session. Source: docs/format.md 1."""
    return f"inventory/{session.hex()}/{k:06d}"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a part of a sealed object is. Source: docs/format.md 3.3.

    Attributes:
        session: Session whose key seals the object.
        id: Id of the object.
        offset: First plaintext byte of the part.
        stored: Number of plaintext bytes of the part, as encoded.
        plain: Number of bytes after decoding.
        codec: How the part is encoded.
        digest: Digest of the decoded bytes.
    """

    session: bytes
    id: bytes
    offset: int
    stored: int
    plain: int
    codec: Codec
    digest: bytes

    def to_json(self) -> dict[str, object]:
        """Return the form that stands in journal entries."""
        return {
            "session": self.session.hex(),
            "id": self.id.hex(),
            "offset": self.offset,
            "stored": self.stored,
            "plain": self.plain,
            "codec": int(self.codec),
            "digest": self.digest.hex(),
        }

    def to_list(self) -> list[object]:
        """Return the form that stands in MessagePack."""
        return [
            self.session,
            self.id,
            self.offset,
            self.stored,
            self.plain,
            int(self.codec),
            self.digest,
        ]

    @classmethod
    def from_list(cls, value: Sequence[object]) -> Self:
        """Read the form of :meth:`to_list`.

        Raises:
            IntegrityError: It is not a place, or it is out of bounds.
        """
        if not isinstance(value, list | tuple) or len(value) != len(_FIELDS):
            raise IntegrityError("a place does not have seven fields")
        session, object_id, offset, stored, plain, codec, digest = value
        return cls(
            session=_bytes(session, ID_BYTES),
            id=_bytes(object_id, ID_BYTES),
            offset=_number(offset, MAX_OFFSET),
            stored=_number(stored, MAX_PART_BYTES),
            plain=_number(plain, MAX_PART_BYTES),
            codec=Codec(_number(codec, max(Codec))),
            digest=_bytes(digest, DIGEST_BYTES),
        )


def _bytes(value: object, length: int) -> bytes:
    if not isinstance(value, bytes) or len(value) != length:
        raise IntegrityError(f"a place has an id or digest that is not {length} bytes")
    return value


def _number(value: object, most: int) -> int:
    if type(value) is not int or not 0 <= value <= most:
        raise IntegrityError("a place has a number out of bounds")
    return value
