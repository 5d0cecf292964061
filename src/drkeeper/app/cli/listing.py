"""How entries of snapshots are shown."""

import stat
from datetime import UTC, datetime, tzinfo

from drkeeper.app.cli.text import json_path, safe, safe_path
from drkeeper.model.entry import FileType
from drkeeper.operations.contents import Named

_KINDS = {
    FileType.FILE: (stat.S_IFREG, "file"),
    FileType.DIRECTORY: (stat.S_IFDIR, "directory"),
    FileType.SYMLINK: (stat.S_IFLNK, "symlink"),
    FileType.FIFO: (stat.S_IFIFO, "fifo"),
    FileType.SOCKET: (stat.S_IFSOCK, "socket"),
    FileType.CHARACTER: (stat.S_IFCHR, "character device"),
    FileType.BLOCK: (stat.S_IFBLK, "block device"),
}


def entry_fields(named: Named) -> dict[str, object]:
    """Return the fields that describe an entry in JSON."""
    entry = named.entry
    return {
        **json_path(entry.path),
        "type": _KINDS[FileType(entry.type)][1],
        "mode": f"{entry.mode:04o}",
        "uid": entry.uid,
        "gid": entry.gid,
        "user": named.user,
        "group": named.group,
        "size": entry.size,
        "mtime_ns": entry.mtime_ns,
        "links": entry.links,
        "digest": entry.digest.hex() or None,
        "target": entry.extra.target.decode(errors="replace") or None,
    }


def long_line(named: Named, zone: tzinfo) -> str:
    """Return a line like that of ``ls -l``, harmless to terminals."""
    entry = named.entry
    mode = stat.filemode(_KINDS[FileType(entry.type)][0] | entry.mode)
    line = (
        f"{mode} {entry.links:>3} {safe(named.user):<8} {safe(named.group):<8} "
        f"{entry.size:>12} {_when(entry.mtime_ns, zone)} {safe_path(entry.path)}"
    )
    if entry.extra.target:
        line += f" -> {safe(entry.extra.target.decode(errors='surrogateescape'))}"
    return line


def _when(mtime_ns: int, zone: tzinfo) -> str:
    try:
        instant = datetime.fromtimestamp(mtime_ns // 1_000_000_000, UTC)
        return f"{instant.astimezone(zone):%Y-%m-%d %H:%M}"
    except (OverflowError, ValueError, OSError):
        return f"{mtime_ns // 1_000_000_000:>16}"
