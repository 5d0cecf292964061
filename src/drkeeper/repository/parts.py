"""Parts of sealed meta and refs objects: putting them together, and reading them by place.

Format: docs/format.md, 6 and 8. A part is found through a place and proven by the place's digest.
"""

import os
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Protocol

from drkeeper.crypto.derive import Domain
from drkeeper.crypto.digests import digest, equal, keyed
from drkeeper.crypto.sealing import Header, Kind, open_sealed
from drkeeper.errors import IntegrityError
from drkeeper.faults import point
from drkeeper.repository import snapshot_root
from drkeeper.repository.compression import Compressor, decode
from drkeeper.repository.packs import padded
from drkeeper.repository.places import Codec, KeyClass, ObjectKind, Place, object_name
from drkeeper.repository.snapshot_root import SnapshotRoot
from drkeeper.storage.base import ObjectStore

META_ALIGNMENT: Final = 4096
"""Source: docs/format.md, 6."""

META_BYTES: Final = 4 * 1024 * 1024
"""An object is closed when it holds this much: one PUT, and one GET to read all of it."""

MAX_META_BYTES: Final = 64 * 1024 * 1024
"""Longest plaintext of a meta or refs object. Source: docs/format.md, 6 and 8."""

_KINDS: Final = {KeyClass.META: Kind.META, KeyClass.REFS: Kind.REFS}
_OBJECT_KINDS: Final = {KeyClass.META: ObjectKind.META, KeyClass.REFS: ObjectKind.REFS}
_CACHED_OBJECTS: Final = 4


class Keys(Protocol):
    """Opens key slots."""

    def key(self, session: bytes, key_class: KeyClass, /) -> bytes:
        """Return the session's key of a class."""
        ...


class Sealed(Protocol):
    """What reading a part needs of a repository."""

    @property
    def id(self) -> bytes:
        """Id of the repository."""
        ...

    @property
    def store(self) -> ObjectStore:
        """Where the objects are."""
        ...

    @property
    def keys(self) -> Keys:
        """Keys of sessions."""
        ...


class PartWriter:
    """Joins parts to objects. Not for use by two threads at once."""

    def __init__(
        self,
        session: bytes,
        emit: Callable[[bytes, bytearray], None],
        *,
        close_at: int = META_BYTES,
    ) -> None:
        """Hand each finished object to ``emit``: its id and its padded plaintext.

        Args:
            session: Whose objects they are.
            emit: Stores them.
            close_at: Length from which a part begins a new object.
        """
        self._close_at = close_at
        self._session = session
        self._emit = emit
        self._id = b""
        self._plain = bytearray()

    @property
    def session(self) -> bytes:
        """The session whose objects these are."""
        return self._session

    def append(
        self,
        encoded: bytes | memoryview,
        *,
        plain: int,
        codec: Codec,
        part_digest: bytes,
        together: bool = False,
    ) -> Place:
        """Add an encoded part and return where it will be.

        ``together``: in the object of the part before, however long that is by now.
        """
        full = len(self._plain) + len(encoded) > self._close_at
        if self._plain and full and not together:
            self.flush()
        if not self._plain:
            self._id = os.urandom(16)
        offset = len(self._plain)
        self._plain += encoded
        return Place(self._session, self._id, offset, len(encoded), plain, codec, part_digest)

    def flush(self) -> bytes | None:
        """Emit what there is; return the id of the object, ``None`` when there was nothing.

        Raises:
            IntegrityError: A part is longer than any object may be; nothing was emitted.
        """
        if not self._plain:
            return None
        plain, self._plain = self._plain, bytearray()
        if len(plain) > MAX_META_BYTES:
            raise IntegrityError("part of a snapshot is longer than an object may be")
        plain.extend(bytes(padded(len(plain), META_ALIGNMENT) - len(plain)))
        self._emit(self._id, plain)
        return self._id


def add_part(
    writer: PartWriter,
    compressor: Compressor,
    data: bytes,
    digest_of: Callable[[bytes], bytes],
) -> Place:
    """Encode a part, append it and return its place."""
    codec, encoded = compressor.encode(data)
    return writer.append(encoded, plain=len(data), codec=codec, part_digest=digest_of(data))


class PartReader:
    """Reads parts, keeping the last few objects opened. For one thread.

    Whole objects are read: they are small, and parts of one snapshot lie side by side.
    """

    def __init__(self, repository: Sealed) -> None:
        """Read parts of ``repository``."""
        self._repository = repository
        self._opened: OrderedDict[tuple[KeyClass, bytes, bytes], bytes] = OrderedDict()

    def encoded(self, place: Place, key_class: KeyClass) -> memoryview:
        """Return the stored form of a part; authentic, but its digest is not yet compared.

        Raises:
            KeyNotFoundError: No identity at hand opens the session's key.
            IntegrityError: The object was altered or is not the one expected.
            StorageError: The store did not answer as it should.
        """
        plain = self._object(place, key_class)
        if place.offset + place.stored > len(plain):
            raise IntegrityError(
                f"{object_name(_OBJECT_KINDS[key_class], place.id)} ends before a part of it"
            )
        return memoryview(plain)[place.offset : place.offset + place.stored]

    def read(self, place: Place, key_class: KeyClass, digest_of: Callable[[bytes], bytes]) -> bytes:
        """Return a part, decoded and proven.

        Raises:
            KeyNotFoundError: No identity at hand opens the session's key.
            IntegrityError: The part is not what the place says.
            StorageError: The store did not answer as it should.
        """
        data = self._decoded(place, key_class)
        if not equal(digest_of(data), place.digest):
            raise IntegrityError(
                f"part of {object_name(_OBJECT_KINDS[key_class], place.id)} has another digest"
            )
        return data

    def read_meta(self, place: Place, domain: Domain) -> bytes:
        """Return a piece of a manifest."""
        return self.read(place, KeyClass.META, lambda data: keyed(domain.piece_key, data))

    def read_refs(self, place: Place) -> bytes:
        """Return a part of a refs object."""
        return self.read(place, KeyClass.REFS, digest)

    def read_root(self, place: Place) -> SnapshotRoot:
        """Return a snapshot root; its digest is proven under the domain it names itself.

        Raises:
            KeyNotFoundError: No identity at hand opens the session's key.
            IntegrityError: The part is not what the place says, or no root.
            StorageError: The store did not answer as it should.
        """
        data = self._decoded(place, KeyClass.META)
        root = snapshot_root.decode(data)
        if not equal(keyed(Domain(root.domain).piece_key, data), place.digest):
            raise IntegrityError(
                f"snapshot root in {object_name(ObjectKind.META, place.id)} has another digest"
            )
        return root

    def _decoded(self, place: Place, key_class: KeyClass) -> bytes:
        if place.plain > MAX_META_BYTES:
            raise IntegrityError("part is declared longer than a part may be")
        try:
            return bytes(decode(place.codec, self.encoded(place, key_class), place.plain))
        except IntegrityError as error:
            name = object_name(_OBJECT_KINDS[key_class], place.id)
            raise IntegrityError(f"{name}: {error}", hint=error.hint) from None

    def _object(self, place: Place, key_class: KeyClass) -> bytes:
        # With the session: that an object was opened as one session's makes it no other's.
        handle = (key_class, place.session, place.id)
        if (known := self._opened.get(handle)) is not None:
            self._opened.move_to_end(handle)
            return known
        repository = self._repository
        key = repository.keys.key(place.session, key_class)
        header = Header(_KINDS[key_class], repository.id, place.session, place.id)
        name = object_name(_OBJECT_KINDS[key_class], place.id)
        point("repository.parts.get")
        sealed = repository.store.get(name, length=_bounded(repository.store, name))
        plain = open_sealed(key, header, sealed)
        self._opened[handle] = plain
        if len(self._opened) > _CACHED_OBJECTS:
            self._opened.popitem(last=False)
        return plain


def _bounded(store: ObjectStore, name: str) -> int:
    """Return the length of an object.

    Raises:
        IntegrityError: No writer can have made it.
    """
    length = store.info(name).stored_bytes
    if length > MAX_META_BYTES + MAX_META_BYTES // 256:
        raise IntegrityError(f"{name} is longer than any such object")
    return length
