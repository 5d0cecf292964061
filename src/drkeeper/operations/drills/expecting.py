"""What should be in a restored tree, line by line, for the witness."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from drkeeper.errors import IntegrityError
from drkeeper.model.entry import Entry, FileType
from drkeeper.operations.restore.layout import expected_digest, has_content
from drkeeper.operations.restore.rights import MAX_ID, Owners, Rights
from drkeeper.operations.restore.work import Manifest
from drkeeper.repository.reader import SnapshotReader

_DEVICES = frozenset({FileType.CHARACTER, FileType.BLOCK})


class Expected:
    """The paths of a snapshot, and what each of them is once it is restored here.

    Args:
        reader: The snapshot.
        rights: What a restore by this process may do.
        lossy: Whether the restore has told of a path that attributes could not be set, so that some
            may be missing.
    """

    def __init__(
        self, reader: SnapshotReader, rights: Rights, *, lossy: Callable[[bytes], bool]
    ) -> None:
        self._reader = reader
        self._rights = rights
        self._lossy = lossy
        self._owners = Owners(numeric=False)

    def lines(self, paths: tuple[bytes, ...] = ()) -> Iterator[bytes]:
        """Yield a line for each path, in path order, then the last one.

        Args:
            paths: Only these, and what is below and above them; empty for all.

        Raises:
            IntegrityError: A piece of the manifest is damaged.
        """
        with ThreadPoolExecutor(1, thread_name_prefix="drkeeper-expected") as pool:
            manifest = Manifest(self._reader, paths, pool)
            previous = b""
            for found in manifest.found(_refuse):
                entry = found.entry
                if entry.path == previous:
                    continue  # more extents of the same file
                previous = entry.path
                owner = None
                if self._rights.gives_away:
                    user = self._owners.user(entry.uid, found.piece.users)
                    group = self._owners.group(entry.gid, found.piece.groups)
                    owner = (user, group) if max(user, group) <= MAX_ID else None
                yield self._line(entry, owner)
        yield b"null\n"

    def entries(self, wanted: Callable[[Entry], bool]) -> Iterator[Entry]:
        """Yield the entries that ``wanted`` accepts, each path once.

        Raises:
            IntegrityError: A piece of the manifest is damaged.
        """
        with ThreadPoolExecutor(1, thread_name_prefix="drkeeper-expected") as pool:
            previous = b""
            for found in Manifest(self._reader, (), pool).found(_refuse):
                entry = found.entry
                if entry.path != previous and wanted(entry):
                    yield entry
                previous = entry.path

    def _line(self, entry: Entry, owner: tuple[int, int] | None) -> bytes:
        is_file = entry.type == FileType.FILE
        mode = entry.mode if entry.type == FileType.DIRECTORY else self._rights.mode(entry.mode)
        fields = {
            "path": entry.path.decode("latin-1"),
            "type": int(entry.type),
            "present": self._is_restored(entry),
            "mode": mode,
            "owner": owner,
            "mtime_ns": entry.mtime_ns,
            "size": entry.size,
            "digest": expected_digest(entry).hex() if is_file else "",
            "segments": entry.extra.segments,
            "target": entry.extra.target.decode("latin-1"),
            "group": _group(entry),
            "attributes": [
                (name.decode("latin-1"), value.hex())
                for name, value in entry.extra.xattrs
                if self._rights.keeps(name)
            ],
            "lossy": self._lossy(entry.path),
        }
        return json.dumps(fields, separators=(",", ":")).encode() + b"\n"

    def _is_restored(self, entry: Entry) -> bool:
        """Whether a restore makes the path at all."""
        if entry.type == FileType.FILE:
            return has_content(entry)
        if entry.type == FileType.SOCKET:
            return False
        return entry.type not in _DEVICES or self._rights.privileged


def _refuse(_path: bytes, error: IntegrityError) -> None:
    raise error


def _group(entry: Entry) -> str | None:
    """Name the file that has several names; ``None`` when this is its only one."""
    if entry.links <= 1 or entry.type == FileType.DIRECTORY:
        return None
    # Entries that contradict each other are no links, whatever their numbers say.
    return f"{entry.device}:{entry.inode}:{entry.type}:{entry.size}:{entry.digest[:8].hex()}"
