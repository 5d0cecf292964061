"""What this process may do to metadata, and whom it makes the owner."""

import grp
import os
import pwd
import stat
from dataclasses import dataclass

_CAP_CHOWN = 0
"""Bit of the capability to give files away.

Source:
    include/uapi/linux/capability.h.
"""

MAX_ID = 0xFFFFFFFE
"""The largest owner there can be: all ones mean "leave as it is" to chown(2)."""


DEFAULT_ACL = b"system.posix_acl_default"
ACLS = frozenset({b"system.posix_acl_access", DEFAULT_ACL, b"system.nfs4_acl"})
"""Attributes that say who may do what. Source: xattr(7), "System extended attributes"."""


@dataclass(frozen=True, slots=True)
class Rights:
    """What may be restored.

    Attributes:
        uid: Effective user of this process, who owns what it creates.
        gid: Effective group.
        groups: Groups that an owner may give files to.
        gives_away: May make others the owners of files.
        privileged: Was asked to restore what could give rights away.
        umask: Bits that the kernel takes away from the mode of what this process creates.
    """

    uid: int
    gid: int
    groups: frozenset[int]
    gives_away: bool
    privileged: bool
    umask: int = 0o777

    @classmethod
    def of_process(cls, *, privileged: bool) -> "Rights":
        """Find out about this process."""
        status = _status()
        capabilities = status.get(b"CapEff")
        return cls(
            uid=os.geteuid(),
            gid=os.getegid(),
            groups=frozenset((os.getegid(), *os.getgroups())),
            gives_away=(
                os.geteuid() == 0
                if capabilities is None
                else bool(int(capabilities, 16) >> _CAP_CHOWN & 1)
            ),
            privileged=privileged,
            umask=int(status.get(b"Umask", b"777"), 8),
        )

    def mode(self, mode: int) -> int:
        """Return the permission bits to set on a file.

        Set-user-id and set-group-id make a program run as somebody else; on directories, where
        they only say who owns new files, they are always kept.
        """
        return mode if self.privileged else mode & ~(stat.S_ISUID | stat.S_ISGID)

    def keeps(self, name: bytes) -> bool:
        """Whether an extended attribute of this name may be restored."""
        if name.startswith(b"user.") or name in ACLS:
            return True
        return self.privileged and name.startswith((b"trusted.", b"security."))

    def creation_mode(self, mode: int) -> int | None:
        """Return the permission bits to create a file with so that it need not be given others.

        ``None`` when that cannot be: the bits make the file more than readable, writable and
        executable, or the kernel would take some of them away.
        """
        if mode & ~0o777 or mode & self.umask or not mode & stat.S_IWUSR:
            return None
        return mode


def _status() -> dict[bytes, bytes]:
    """Return what the kernel says of this process; nothing where there is no ``/proc``.

    Source:
        proc_pid_status(5): ``CapEff`` in hexadecimal, ``Umask`` in octal.
    """
    try:
        with open("/proc/self/status", "rb") as status:
            pairs = (line.partition(b":") for line in status)
            return {name: value.strip() for name, _, value in pairs}
    except OSError:
        return {}


class Owners:
    """Turns owners of the source's machine into owners of this one.

    A name that this machine knows wins over the number, so that a service's files belong to the
    service also where it was given another number; without the name, the number is kept.
    """

    def __init__(self, *, numeric: bool) -> None:
        self._numeric = numeric
        self._users: dict[tuple[int, str], int] = {}
        self._groups: dict[tuple[int, str], int] = {}

    def user(self, number: int, names: dict[int, str]) -> int:
        """Return the local user for one of the source's."""
        name = "" if self._numeric else names.get(number, "")
        key = (number, name)
        if key not in self._users:
            self._users[key] = _local_user(name, number)
        return self._users[key]

    def group(self, number: int, names: dict[int, str]) -> int:
        """Return the local group for one of the source's."""
        name = "" if self._numeric else names.get(number, "")
        key = (number, name)
        if key not in self._groups:
            self._groups[key] = _local_group(name, number)
        return self._groups[key]


def _local_user(name: str, number: int) -> int:
    try:
        return pwd.getpwnam(name).pw_uid if name else number
    except (KeyError, ValueError, UnicodeError):
        return number


def _local_group(name: str, number: int) -> int:
    try:
        return grp.getgrnam(name).gr_gid if name else number
    except (KeyError, ValueError, UnicodeError):
        return number
