"""What a policy says about a tree of files, and the paths that follow from it."""

from dataclasses import dataclass

from drkeeper.errors import ConfigurationError

NUL = b"\0"


@dataclass(frozen=True, slots=True)
class FilesSpec:
    """Which files to protect.

    Attributes:
        paths: Absolute paths; one inside another is walked once. A named path is always walked,
            whatever the other fields say about it; they choose among what lies below it.
        exclude: Patterns of what to leave out, in the manner of gitignore
            (docs/sources-files.md, "Leaving things out"); the last one that matches decides.
        exclude_caches: Whether to keep only the tag of directories that hold a valid
            ``CACHEDIR.TAG``.
        one_file_system: Whether to stay on the file system of each named path.
        exclude_larger_than: Leave out regular files of more bytes than this.
        reread_days: Read each file anyway once within so many days, a share of them every day,
            however unchanged it looks; 0 means never.
        skip_inodes: (device, inode) of what is left out without a trace in the snapshot:
            drkeeper's own repository, cache and ledger.
    """

    paths: tuple[bytes, ...]
    exclude: tuple[str, ...] = ()
    exclude_caches: bool = False
    one_file_system: bool = True
    exclude_larger_than: int | None = None
    reread_days: int = 0
    skip_inodes: frozenset[tuple[int, int]] = frozenset()


@dataclass(frozen=True, slots=True)
class Roots:
    """The named paths of a spec, in the form of ``Entry.path``.

    Attributes:
        named: Every named path; ``b""`` is the root of the file system.
        steps: For each directory above a named path, the sorted names that lead to named paths.
    """

    named: frozenset[bytes]
    steps: dict[bytes, tuple[bytes, ...]]


def roots_of(spec: FilesSpec) -> Roots:
    """Work out where the walk begins and which directories lead there.

    Raises:
        ConfigurationError: There is no path, or one is not absolute or not a plain path.
    """
    if not spec.paths:
        raise ConfigurationError(
            "a files source names no path", hint="Give at least one absolute path."
        )
    named = frozenset(_plain(path) for path in spec.paths)
    steps: dict[bytes, set[bytes]] = {}
    for path in named:
        below = path
        while below:
            above, _, name = below.rpartition(b"/")
            steps.setdefault(above, set()).add(name)
            below = above
    return Roots(named, {above: tuple(sorted(names)) for above, names in steps.items()})


def _plain(path: bytes) -> bytes:
    """Return an absolute path without leading, doubled and trailing slashes and dots.

    Raises:
        ConfigurationError: The path is relative, holds a NUL byte or goes up with ``..``, which
            means something else once a link is involved.
    """
    shown = printable(path)
    if not path.startswith(b"/") or NUL in path:
        raise ConfigurationError(
            f"source path {shown} is not absolute", hint="Begin every source path with a slash."
        )
    names = [name for name in path.split(b"/") if name not in {b"", b"."}]
    if b".." in names:
        raise ConfigurationError(
            f"source path {shown} contains ..", hint="Write the path without going up."
        )
    return b"/".join(names)


def printable(path: bytes) -> str:
    """Return a path as text for messages, control bytes and foreign bytes escaped."""
    return repr(path.decode("utf-8", "surrogateescape"))[1:-1]
