"""Names of users and groups, looked up once each."""

import grp
import pwd


class SystemOwners:
    """The names that this machine's user database gives."""

    def __init__(self) -> None:
        self._users: dict[int, str] = {}
        self._groups: dict[int, str] = {}

    def user(self, uid: int) -> str:
        """Return the user's name, or ``""`` when there is none."""
        name = self._users.get(uid)
        if name is None:
            try:
                name = _text(pwd.getpwuid(uid).pw_name)
            except (KeyError, OSError):
                name = ""
            self._users[uid] = name
        return name

    def group(self, gid: int) -> str:
        """Return the group's name, or ``""`` when there is none."""
        name = self._groups.get(gid)
        if name is None:
            try:
                name = _text(grp.getgrgid(gid).gr_name)
            except (KeyError, OSError):
                name = ""
            self._groups[gid] = name
        return name


def _text(name: str) -> str:
    """Return a name without lone surrogates, which cannot be written as UTF-8."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
