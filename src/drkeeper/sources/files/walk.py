"""The walk: every path once, a directory right before what is in it."""

import errno
import os
import stat
import sys
from collections.abc import Callable, Iterator
from itertools import islice
from operator import length_hint
from typing import NamedTuple

from drkeeper import faults
from drkeeper.model.entry import EntryFlag
from drkeeper.sources.base import Candidate, Finding, Level
from drkeeper.sources.files import advice, caches
from drkeeper.sources.files.directories import MAX_PATH_BYTES, Descriptors, Directory
from drkeeper.sources.files.entries import FORMAT
from drkeeper.sources.files.excludes import Excludes
from drkeeper.sources.files.reach import check_readable, refuse
from drkeeper.sources.files.spec import NUL, FilesSpec, Roots
from drkeeper.sources.files.tally import Tally

BATCH = 1024
"""Candidates in a batch, at most; enough to keep several readers busy."""

_ENCODING = sys.getfilesystemencoding()
_FILE = stat.S_IFREG
_DIRECTORY = stat.S_IFDIR

_PARENT = int(EntryFlag.PARENT)
_UNREADABLE = int(EntryFlag.UNREADABLE)
_CACHE = int(EntryFlag.CACHE)
_OTHER_FILE_SYSTEM = int(EntryFlag.OTHER_FILE_SYSTEM)

_GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})


class _Found(NamedTuple):
    """A directory that the walk has come to.

    Attributes:
        path: As in ``Entry.path``.
        status: From ``lstat``.
        left_out: Whether only the way to a named path in it is walked.
    """

    path: bytes
    status: os.stat_result
    left_out: bool


class Walk:
    """One walk over the named paths.

    Args:
        spec: What to walk and what to leave out.
        roots: The named paths of ``spec``.
        excludes: The patterns of ``spec``.
        report: Takes the findings.
    """

    def __init__(
        self,
        spec: FilesSpec,
        roots: Roots,
        excludes: Excludes | None,
        report: Callable[[Finding], None],
    ) -> None:
        self.tally = Tally()
        self._spec = spec
        self._roots = roots
        self._excludes = excludes
        self._report = report
        self._descriptors = Descriptors()
        self._chooses = bool(excludes or spec.exclude_larger_than is not None)
        self._skipped = frozenset(inode for _, inode in spec.skip_inodes)
        self._missing = set(roots.named)

    def close(self) -> None:
        """Close every directory."""
        self._descriptors.close()

    def batches(self) -> Iterator[list[Candidate]]:
        """Yield the candidates; a batch can be read until the next one is asked for.

        Raises:
            SourceError: A named path, or one that leads to it, is missing or unreadable.
        """
        batch: list[Candidate] = []
        stack = [self._root()]
        while stack:
            directory = stack[-1]
            found = self._fill(directory, batch) if length_hint(directory.names) else None
            if found is not None:
                if (inner := self._enter(directory, found, batch)) is not None:
                    stack.append(inner)
            elif not length_hint(directory.names):
                stack.pop()
            if len(batch) >= BATCH or self._descriptors.full:
                faults.point("sources.files.walk.batch")
                yield batch
                self._descriptors.release(stack)
                batch = []
        if batch:
            faults.point("sources.files.walk.end")
            yield batch
        if self._missing:
            refuse(min(self._missing), FileNotFoundError(errno.ENOENT, "vanished"))

    def _root(self) -> Directory:
        root = self._descriptors.root()
        if b"" in self._roots.named:
            self._missing.discard(b"")
            self._descriptors.list_root(root)
            root.device = root.identity[0]
        else:
            root.walked = False
        root.names = self._names(root, named=True)
        return root

    def _fill(self, directory: Directory, batch: list[Candidate]) -> _Found | None:
        """Add what is in a directory up to the next directory in it, which is returned."""
        if directory.fd < 0 and not self._reopened(directory):
            return None
        fd, prefix, lstat = directory.fd, directory.prefix, os.lstat
        steps = self._roots.steps
        leads = directory.path in steps
        chooses, skipped = self._chooses, self._skipped
        append, new = batch.append, tuple.__new__
        began, plain_bytes = len(batch), 0
        found: _Found | None = None
        for name in islice(directory.names, BATCH - began):
            try:
                status = lstat(name, dir_fd=fd)
            except OSError as error:
                self._lost(directory, prefix + name, error)
                continue
            kind = status.st_mode & FORMAT
            left_out = False
            if leads and prefix + name in self._roots.named:
                self._arrived(directory, prefix + name, status)
            elif (chooses or status.st_ino in skipped) and self._left_out(directory, name, status):
                if kind != _DIRECTORY or prefix + name not in steps:
                    continue
                left_out = True
            if kind == _DIRECTORY:
                found = _Found(prefix + name, status, left_out)
                break
            if kind == _FILE:
                plain_bytes += status.st_size
            append(new(Candidate, (prefix + name, status, directory)))
        self.tally.files += len(batch) - began
        self.tally.plain_bytes += plain_bytes
        return found

    def _left_out(self, directory: Directory, name: bytes, status: os.stat_result) -> bool:
        """Whether the policy leaves this out."""
        spec, kind = self._spec, status.st_mode & FORMAT
        limit = spec.exclude_larger_than
        if (
            (limit is not None and kind == _FILE and status.st_size > limit)
            or (spec.skip_inodes and (status.st_dev, status.st_ino) in spec.skip_inodes)
            or (
                self._excludes is not None
                and self._excludes.match(
                    directory.prefix + name, directory.base, directory=kind == _DIRECTORY
                )
            )
        ):
            self.tally.excluded += 1
            return True
        return False

    def _arrived(self, directory: Directory, path: bytes, status: os.stat_result) -> None:
        """Check that a named path is what a policy should name."""
        self._missing.discard(path)
        if stat.S_ISLNK(status.st_mode):
            self._tell(
                Level.WARNING,
                "named-link",
                path,
                "The policy names a symbolic link; the link is kept, what it points to is not.",
            )
        elif stat.S_ISREG(status.st_mode):
            try:
                check_readable(path[directory.cut :], directory.fd)
            except OSError as error:
                refuse(path, error)

    def _enter(self, above: Directory, found: _Found, batch: list[Candidate]) -> Directory | None:
        """Open a directory, add it to the batch, and find out what of it to walk."""
        path, status, _ = found
        named = path in self._roots.named
        foreign = not named and self._foreign(above, status)
        passes = not named and (found.left_out or foreign or not above.walked)
        try:
            inner = self._descriptors.enter(above, path, reach_only=foreign)
            status = os.fstat(inner.fd)
        except OSError as error:
            if error.errno in _GONE or path in self._roots.steps or named:
                self._lost(above, path, error)
                return None
            identity = status.st_dev, status.st_ino
            inner = Directory(path + b"/", above, -1, reach_only=True, identity=identity)
        inner.device = status.st_dev if named else above.device
        inner.base = inner.cut if named else above.base
        if foreign or self._foreign(inner, status):
            inner.flags, inner.walked = _OTHER_FILE_SYSTEM, False
            self._tell(Level.NOTE, "other-file-system", path, "What is mounted here is left out.")
        elif passes:
            inner.flags, inner.walked = _PARENT, False
        elif inner.cut > MAX_PATH_BYTES:
            inner.flags, inner.walked = _UNREADABLE, False
            self._tell(Level.WARNING, "too-deep", path, "The path is too long to go further down.")
        inner.names = self._names(inner, named=named)
        self.tally.directories += inner.walked
        batch.append(Candidate(path, status, inner))
        return inner

    def _foreign(self, directory: Directory, status: os.stat_result) -> bool:
        """Whether a directory in ``directory`` is on a file system the walk does not enter."""
        return (
            self._spec.one_file_system
            and directory.device >= 0
            and status.st_dev != directory.device
        )

    def _names(self, directory: Directory, *, named: bool) -> Iterator[bytes]:
        """Return what of a directory to walk, sorted, and flag the directory accordingly.

        Raises:
            SourceError: The directory is a named path and cannot be listed.
        """
        steps = self._roots.steps.get(directory.path, ())
        if not directory.walked:
            return iter(steps)
        try:
            joined = "\0".join(os.listdir(directory.fd)).encode(_ENCODING, "surrogateescape")
        except OSError as error:
            if named:
                refuse(directory.path, error)
            directory.flags |= _UNREADABLE
            reason = os.strerror(errno.EACCES) if directory.reach_only else error.strerror
            text = f"The directory cannot be listed ({reason})."
            self._tell(Level.WARNING, "unreadable", directory.path, text)
            return iter(steps)
        names = sorted(joined.split(NUL)) if joined else []
        if self._spec.exclude_caches and not named and caches.is_tagged(directory.fd, names):
            directory.flags |= _CACHE
            names = sorted({caches.TAG, *steps})
        if (warning := advice.about(joined)) is not None:
            self._tell(Level.NOTE, "looks-like-database", directory.path, warning)
        return iter(names)

    def _reopened(self, directory: Directory) -> bool:
        """Open a directory again, or give up what is left of it."""
        try:
            self._descriptors.reopen(directory)
        except OSError as error:
            if directory.path in self._roots.steps:
                refuse(directory.path, error)
            text = f"The directory was moved or removed while it was read ({error.strerror})."
            self._tell(Level.WARNING, "vanished", directory.path, text)
            directory.names = iter(())
            return False
        return True

    def _lost(self, directory: Directory, path: bytes, error: OSError) -> None:
        """Report a path that was listed and cannot be looked at.

        Raises:
            SourceError: The path is named, or leads to one that is.
        """
        if path in self._roots.named or path in self._roots.steps:
            refuse(path, error)
        if error.errno in _GONE:
            self._tell(Level.NOTE, "vanished", path, "It was removed during the walk.")
        elif not directory.flags & _UNREADABLE:  # one line for a directory, not one for each name
            directory.flags |= _UNREADABLE
            text = f"What is in the directory cannot be looked at ({error.strerror})."
            self._tell(Level.WARNING, "unreadable", directory.path, text)

    def _tell(self, level: Level, code: str, path: bytes, message: str) -> None:
        self._report(Finding(level, code, path, message))
