"""A small repository made by real backups: everything the format can say, in a few hundred KiB.

Two hosts, three lineages, complete and partial snapshots, a continued one, an aborted session, a
keyring update between them, an expired snapshot, junk in the journal, condemned objects. Made once
per process; what each snapshot held is remembered as facts about its source tree at that time.
"""

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from zlib import crc32

from blake3 import blake3

from doubles.memory_store import MemoryStore
from doubles.repositories import SteppingClock
from drkeeper.errors import SourceError
from drkeeper.operations.backup import BackupRequest, back_up
from drkeeper.repository.commit import Commit
from drkeeper.repository.creation import (
    NewRepository,
    create_repository,
    new_host_key,
    with_host,
)
from drkeeper.repository.keyfile import KeyFile
from drkeeper.repository.repository import Repository, open_repository, update_keyring
from drkeeper.repository.session import open_session
from drkeeper.repository.writer import WriterOptions
from drkeeper.sources.base import Candidate
from drkeeper.sources.files import FilesSource, FilesSpec
from drkeeper.storage.base import ObjectStore

START = datetime(2026, 11, 21, tzinfo=UTC)
DUE = START + timedelta(days=1)
"""When the next snapshot of lineage beta is promised."""
OLD_NS = 1_700_000_000_123_456_789
OPTIONS = WriterOptions(memory_bytes=160 * 1024 * 1024, workers=2, uploads=1)

Facts = dict[bytes, tuple[object, ...]]


@dataclass(frozen=True)
class Snapshot:
    """A snapshot and what its source was.

    Attributes:
        n: Number of its commit.
        complete: Whether it holds all of the source.
        root: The path that was backed up.
        facts: What ``tree_facts`` said of it then.
    """

    n: int
    complete: bool
    root: bytes
    facts: Facts


@dataclass
class RealRepository:
    """The repository, its keys and what it should hold.

    Attributes:
        store: Where it is.
        keys: Of the creation.
        other_host: A host that joined later.
        snapshots: Live ones, in journal order.
        clock: Continues where the last entry was written.
    """

    store: ObjectStore
    keys: NewRepository
    other_host: KeyFile
    clock: SteppingClock
    snapshots: list[Snapshot] = field(default_factory=list)

    def open(self, store: ObjectStore | None = None, **options: object) -> Repository:
        """Open it with the recovery identity."""
        recovery = self.keys.recovery
        assert recovery is not None
        defaults = {"identities": recovery.identities, "admins": self.keys.admins}
        return open_repository(
            self.store if store is None else store,
            clock=SteppingClock(self.clock.now()),
            **(defaults | options),
        )


@dataclass
class Breaking:
    """A source that fails when it comes to a path."""

    source: FilesSource
    path: bytes

    @property
    def kind(self) -> str:
        return self.source.kind

    @contextmanager
    def freeze(self, report: Callable) -> Iterator["BreakingView"]:
        with self.source.freeze(report) as view:
            yield BreakingView(view, self.path)


class BreakingView:
    """Its view."""

    def __init__(self, view: object, path: bytes) -> None:
        self._view = view
        self._path = path

    def __getattr__(self, name: str) -> object:
        return getattr(self._view, name)

    def walk(self) -> Iterator[list[Candidate]]:
        for batch in self._view.walk():
            if any(candidate.path == self._path for candidate in batch):
                raise SourceError("the disk under the source has died")
            yield batch


class Maker:
    """Makes backups into one repository."""

    def __init__(self, store: ObjectStore, scratch: Path) -> None:
        self.scratch = scratch
        self.clock = SteppingClock(START)
        keys = create_repository(store, clock=self.clock, save=lambda _keys: None)
        self.made = RealRepository(store, keys, new_host_key(keys.id), self.clock)

    def repository(self, host: KeyFile) -> Repository:
        """Open it as a host does."""
        return open_repository(
            self.made.store,
            clock=self.clock,
            identities=host.identities,
            admins=self.made.keys.admins,
        )

    def back_up(
        self,
        tree: Path,
        *,
        policy: str,
        host: KeyFile | None = None,
        breaks_at: Path | None = None,
        **options: object,
    ) -> Commit | None:
        """Back a tree up; ``None`` when it was made to break."""
        host = host or self.made.keys.host
        source = FilesSource(FilesSpec((os.fsencode(tree),)), clock=self.clock)
        partial = {} if breaks_at is None else {"partial_every": timedelta(0)}
        request = BackupRequest(
            policy=policy,
            source=source if breaks_at is None else Breaking(source, os.fsencode(breaks_at)[1:]),
            repository=self.repository(host),
            host=host,
            host_name="host",
            cache_dir=str(self.scratch / "cache"),
            state_dir=str(self.scratch / "state"),
            clock=self.clock,
            paths=(os.fsencode(tree),),
            options=OPTIONS,
            **(partial | options),
        )
        try:
            commit = back_up(request).commit
        except SourceError:
            assert breaks_at is not None
            return None
        self.remember(commit.n, tree, complete=True)
        return commit

    def remember(self, n: int, tree: Path, *, complete: bool) -> None:
        """Note what snapshot ``n`` should hold."""
        root = os.fsencode(tree)
        self.made.snapshots.append(Snapshot(n, complete, root, tree_facts(root)))


def make(store: ObjectStore, scratch: Path) -> RealRepository:
    """Fill ``store``; source trees stay in ``scratch`` as they were last.

    What depends on the machine and its clock is only in random ids and keys.
    """
    maker = Maker(store, scratch)
    alpha, beta, gone = scratch / "alpha", scratch / "beta", scratch / "gone"
    _first_tree(alpha)
    for folder in (beta, gone):
        folder.mkdir()
        (folder / "notes").write_bytes(b"of " + os.fsencode(folder.name))
    doomed = [maker.back_up(gone, policy="gone"), maker.back_up(alpha, policy="alpha")]
    (alpha / "later").write_bytes(b"what the expired snapshot has not")
    _age(alpha)
    maker.back_up(alpha, policy="alpha")
    _change(alpha)
    maker.back_up(alpha, policy="alpha")
    update_keyring(
        maker.repository(maker.made.keys.host),
        maker.made.keys.admin.signing_key,
        lambda keyring: with_host(keyring, maker.made.other_host),
    )
    maker.back_up(beta, policy="beta", host=maker.made.other_host)
    _junk(maker)
    wide = scratch / "wide"
    _wide_tree(wide)
    maker.back_up(wide, policy="wide", breaks_at=wide / "3" / "0")
    partial = maker.repository(maker.made.keys.host).live_commits()[-1]
    assert not partial.complete
    maker.remember(partial.n, wide, complete=False)
    maker.back_up(wide, policy="wide")
    _abandon(maker)
    _collect(maker, [commit.n for commit in doomed if commit is not None])
    (beta / "notes").write_bytes(b"changed on the other host")
    maker.back_up(beta, policy="beta", host=maker.made.other_host, next_due=DUE)
    return maker.made


def make_in_memory(scratch: Path) -> RealRepository:
    """Return one in memory."""
    return make(MemoryStore(), scratch)


def _junk(maker: Maker) -> None:
    """Occupy the next journal number with bytes that nobody signed."""
    repository = maker.repository(maker.made.keys.host)
    maker.made.store.create(f"journal/{repository.journal.read_to + 1:016d}", os.urandom(300))


def _abandon(maker: Maker) -> None:
    """Open a session and leave it with an error."""
    host = maker.made.keys.host
    repository = maker.repository(host)
    lineage = host.domain.lineage_id("alpha", "files")
    with open_session(repository, host=host, lineage=lineage) as session:
        session.abort("told to")


def _collect(maker: Maker, expired: list[int]) -> None:
    """Expire snapshots, one of which others share with; hold and release another, condemn something that nobody needs."""
    janitor = maker.made.keys.janitor
    repository = maker.repository(janitor)
    other = max(repository.journal.state.commits)
    repository.journal.append("hold", {"commit": other, "until": None}, janitor.signing_key)
    repository.journal.append("release", {"commit": other}, janitor.signing_key)
    repository.journal.append("expire", {"commits": expired, "reason": "old"}, janitor.signing_key)
    unneeded = [f"packs/{os.urandom(16).hex()}"]
    entry = repository.journal.append("condemn", {"objects": unneeded}, janitor.signing_key)
    repository.journal.append("swept", {"condemn": entry.n}, janitor.signing_key)
    maker.made.snapshots[:] = [each for each in maker.made.snapshots if each.n not in expired]


def _first_tree(root: Path) -> None:
    (root / "folder").mkdir(parents=True)
    (root / "empty").write_bytes(b"")
    (root / "folder" / "text").write_bytes(b"words " * 1000)
    (root / "folder" / "noise").write_bytes(os.urandom(20_000))
    (root / "large").write_bytes(os.urandom(60_000) * 5)
    os.link(root / "large", root / "folder" / "large-again")
    os.symlink("folder/text", root / "link")
    os.mkfifo(root / "pipe")
    with (root / "holes").open("wb") as file:
        file.write(b"begin")
        file.seek(1024 * 1024)
        file.write(b"end")
        file.truncate(2 * 1024 * 1024)
    odd = os.fsencode(root) + b"/\xff\n odd"
    with open(odd, "wb") as file:
        file.write(b"a name of any bytes")
    os.setxattr(root / "folder" / "text", "user.note", bytes(range(256)))
    os.chmod(root / "folder" / "text", 0o640)
    _age(root)


def _change(root: Path) -> None:
    (root / "folder" / "text").write_bytes(b"other words " * 900)
    (root / "empty").unlink()
    (root / "new").write_bytes(os.urandom(5000))
    _age(root)


def _wide_tree(root: Path) -> None:
    for folder in range(4):
        (root / f"{folder}").mkdir(parents=True)
        for number in range(400):
            (root / f"{folder}" / f"{number}").write_bytes(b"%d of %d" % (number, folder))
    _cut_after(root / "1")
    _age(root)


def _cut_after(folder: Path) -> None:
    """Add a file after which drkeeper ends a piece; which name does depends on the whole path."""
    for number in count():
        path = folder / f"cut-{number}"
        if not crc32(os.fsencode(path)[1:]) % 1024:
            path.write_bytes(b"")
            return


def _age(root: Path) -> None:
    """Make everything old enough not to be racy, with times to the nanosecond."""
    for folder, names, files in os.walk(os.fsencode(root), topdown=False):
        for name in [*names, *files]:
            at = OLD_NS + len(name) + len(folder)
            os.utime(os.path.join(folder, name), ns=(at, at), follow_symlinks=False)
    os.utime(root, ns=(OLD_NS, OLD_NS))


def tree_facts(root: bytes) -> Facts:
    """Say everything about a tree that a restore must bring back, by path relative to it."""
    facts: Facts = {}
    groups: dict[tuple[int, int], bytes] = {}
    stack = [b""]
    while stack:
        path = stack.pop()
        where = os.path.join(root, path) if path else root
        status = os.lstat(where)
        facts[path] = _facts_of(where, path, status, groups)
        if stat.S_ISDIR(status.st_mode):
            stack += [os.path.join(path, name) for name in sorted(os.listdir(where), reverse=True)]
    return facts


def _facts_of(
    where: bytes, path: bytes, status: os.stat_result, groups: dict[tuple[int, int], bytes]
) -> tuple[object, ...]:
    mode = status.st_mode
    content: object = None
    if stat.S_ISREG(mode):
        with open(where, "rb") as file:
            content = blake3(file.read()).hexdigest()
    elif stat.S_ISLNK(mode):
        content = os.readlink(where)
    names = sorted(os.listxattr(where, follow_symlinks=False))
    attributes = [(name, os.getxattr(where, name, follow_symlinks=False)) for name in names]
    linked = None
    if not stat.S_ISDIR(mode) and status.st_nlink > 1:
        linked = groups.setdefault((status.st_dev, status.st_ino), path)
    size = status.st_size if stat.S_ISREG(mode) else 0
    owner = (status.st_uid, status.st_gid)
    return mode, owner, size, status.st_mtime_ns, content, attributes, linked
