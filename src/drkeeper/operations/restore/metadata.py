"""Metadata onto an open file, in the one order that keeps it.

Owner first, because giving a file away clears set-user-id bits and capabilities; then the mode,
then attributes and ACLs, then capabilities, and the times last, because everything before changes
them. Everything goes through a descriptor, never through a name.
"""

import errno
import os

from drkeeper.model.entry import Entry, EntryFlag, FileType
from drkeeper.operations.restore.report import Severity, Tally
from drkeeper.operations.restore.rights import ACLS, DEFAULT_ACL, MAX_ID, Rights

_CAPABILITY = b"security.capability"
_LABEL = b"security.selinux"
_UNKNOWN = int(EntryFlag.EXTRAS_UNREADABLE)
_UNSUPPORTED = frozenset({errno.ENOTSUP, errno.EPERM, errno.EINVAL, errno.ENOSPC, errno.E2BIG})


class Metadata:
    """Applies metadata as far as the rights go, and tells what was left out.

    Args:
        rights: What may be done.
        tally: Is told what was left out.
        accessed_ns: Time of last access for everything restored; nobody keeps the source's.
    """

    def __init__(self, rights: Rights, tally: Tally, *, accessed_ns: int) -> None:
        self._rights = rights
        self._tally = tally
        self._accessed_ns = accessed_ns

    def apply(
        self,
        fd: int,
        entry: Entry,
        owner: tuple[int, int],
        *,
        fresh: bool,
        has_mode: bool = False,
    ) -> None:
        """Make the open file what ``entry`` says.

        Args:
            fd: Open for reading or writing; ``O_PATH`` will not do (see :meth:`apply_by_path`).
            entry: The metadata.
            owner: User and group on this machine.
            fresh: The file was created by this run in a directory created by this run, so that
                nothing was inherited.
            has_mode: It was created with its mode (:meth:`Rights.creation_mode`).

        Raises:
            OSError: The mode or the times could not be set.
        """
        rights = self._rights
        if not fresh or owner != (rights.uid, rights.gid):
            self._own(fd, entry, owner)
        if not has_mode:
            os.fchmod(fd, self._mode(entry))
        if entry.extra.xattrs or not fresh:
            self._attributes(fd, entry, fresh=fresh)
        try:
            os.utime(fd, ns=(self._accessed_ns, entry.mtime_ns))
        except (OverflowError, ValueError):
            self._no_time(entry)

    def apply_by_path(self, fd: int, entry: Entry, owner: tuple[int, int]) -> None:
        """Do the same for something that cannot be opened: links, FIFOs, devices.

        ``fd`` is an ``O_PATH`` descriptor; its name in ``/proc`` leads to exactly that inode.

        Raises:
            OSError: The mode or the times could not be set.
        """
        name = f"/proc/self/fd/{fd}"
        self._own(fd, entry, owner, name=name)
        if entry.type != FileType.SYMLINK:
            os.chmod(name, self._mode(entry))
        for key, value in entry.extra.xattrs:
            self._attribute(name, entry, key, value)
        try:
            os.utime(name, ns=(self._accessed_ns, entry.mtime_ns))
        except (OverflowError, ValueError):
            self._no_time(entry)

    def _mode(self, entry: Entry) -> int:
        if entry.type == FileType.DIRECTORY:
            return entry.mode
        mode = self._rights.mode(entry.mode)
        if mode != entry.mode:
            self._tally.add(
                Severity.WARNING, "setuid", entry.path, "set-user-id and set-group-id left out"
            )
        return mode

    def _own(self, fd: int, entry: Entry, owner: tuple[int, int], name: str = "") -> None:
        rights = self._rights
        user, group = owner
        if not rights.gives_away:
            if user != rights.uid or group not in rights.groups:
                self._tally.once(
                    Severity.NOTE, "owner", "owners are not restored without the right to do so"
                )
            if group not in rights.groups:
                return
            user = -1
        elif user > MAX_ID or group > MAX_ID:
            self._tally.add(Severity.WARNING, "owner", entry.path, "owner is no possible number")
            return
        try:
            if name:
                os.chown(name, user, group)
            else:
                os.fchown(fd, user, group)
        except OSError as error:
            self._tally.add(
                Severity.WARNING, "owner", entry.path, f"owner not restored: {error.strerror}"
            )

    def _attributes(self, fd: int, entry: Entry, *, fresh: bool) -> None:
        wanted = dict(entry.extra.xattrs)
        if not fresh and not entry.extra.flags & _UNKNOWN:
            # Inherited from a directory with a default ACL, or left from before.
            for name in _present(fd):
                if name not in wanted and (name in ACLS or name.startswith(b"user.")):
                    try:
                        os.removexattr(fd, name)
                    except OSError as error:
                        self._not_kept(entry, name, error)
        for name, value in sorted(wanted.items(), key=lambda item: item[0] == _CAPABILITY):
            self._attribute(fd, entry, name, value)

    def _attribute(self, where: int | str, entry: Entry, name: bytes, value: bytes) -> None:
        if name == _LABEL and not self._rights.privileged:
            self._tally.once(Severity.NOTE, "label", "SELinux labels left out")
            return
        if not self._rights.keeps(name):
            self._tally.add(
                Severity.WARNING,
                "xattr",
                entry.path,
                f"attribute {ascii(name)[2:-1]} left out",
            )
            return
        try:
            os.setxattr(where, name, value)
        except (OSError, ValueError) as error:
            self._not_kept(entry, name, error)

    def _not_kept(self, entry: Entry, name: bytes, error: Exception) -> None:
        why = error.strerror if isinstance(error, OSError) else str(error)
        self._tally.add(
            Severity.WARNING,
            "xattr",
            entry.path,
            f"attribute {ascii(name)[2:-1]} not restored: {why}",
        )

    def _no_time(self, entry: Entry) -> None:
        self._tally.add(Severity.WARNING, "time", entry.path, "time of change is impossible")


def _present(fd: int) -> list[bytes]:
    try:
        return [os.fsencode(name) for name in os.listxattr(fd)]
    except OSError as error:
        if error.errno in _UNSUPPORTED:
            return []
        raise


def inherits(fd: int) -> bool:
    """Whether what is created in this directory gets an ACL or a group from it."""
    return os.fsencode(DEFAULT_ACL) in _present(fd) or bool(os.fstat(fd).st_mode & 0o2000)
