"""The public list of what a session has stored since its last commit (docs/format.md, 9)."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BytesIO
from threading import Lock

from drkeeper.errors import IntegrityError

_LINE = re.compile(rb"([0-9a-f]{64}) (0|[1-9][0-9]{0,14}) ([a-z0-9/._-]{1,512})\n")


@dataclass(frozen=True, slots=True, order=True)
class StoredObject:
    """One object as the store holds it.

    Attributes:
        digest: BLAKE3 of the stored bytes.
        stored_bytes: How many there are.
        name: Its name.
    """

    digest: bytes
    stored_bytes: int
    name: str


def encode(objects: Iterable[StoredObject]) -> bytes:
    """Return the inventory of ``objects``."""
    lines = sorted(f"{each.digest.hex()} {each.stored_bytes} {each.name}\n" for each in objects)
    return "".join(lines).encode()


def decode(data: bytes) -> list[StoredObject]:
    """Read an inventory, believing nothing.

    Raises:
        IntegrityError: It is malformed, or not in ascending order.
    """
    return list(each(data))


def each(data: bytes) -> Iterator[StoredObject]:
    """Read an inventory line by line: the first one of a large repository has 640,000 of them.

    Raises:
        IntegrityError: It is malformed, or not in ascending order; raised when that is met.
    """
    previous = b""
    for line in BytesIO(data):
        match = _LINE.fullmatch(line)
        if match is None or line <= previous:
            raise IntegrityError("inventory is malformed, cut short or not in order")
        previous = line
        name = match[3].decode("ascii")
        yield StoredObject(bytes.fromhex(match[1].decode("ascii")), int(match[2]), name)


class NewObjects:
    """Collects what has been stored, from any thread."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._lock = Lock()
        self._objects: list[StoredObject] = []
        self._stored_bytes = 0

    @property
    def stored_bytes(self) -> int:
        """Bytes stored so far, over all inventories."""
        return self._stored_bytes

    def add(self, stored: StoredObject) -> None:
        """Note an object that is durable now."""
        with self._lock:
            self._objects.append(stored)
            self._stored_bytes += stored.stored_bytes

    def taken(self) -> list[StoredObject]:
        """Return what was noted since the last call."""
        with self._lock:
            objects, self._objects = self._objects, []
            return objects
