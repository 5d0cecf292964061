"""What must be true after any fault (docs/testing.md, "After every fault").

The comparator of trees here is the tests' own: it shares nothing with drkeeper's verification.
"""

import hashlib
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path

from drkeeper.model.run import RunState
from drkeeper.operations.check import CheckRequest, Severity, check
from drkeeper.operations.check.data import Slice
from drkeeper.repository.commit import Commit
from drkeeper.repository.repository import Repository
from faults.worlds import Ack, World

Tree = dict[bytes, tuple[object, ...]]


def describe(top: Path) -> Tree:
    """Return everything a tree holds, by path: what two equal trees have in common, bit by bit."""
    found: Tree = {}
    _describe(os.fsencode(top), b"", found, {})
    return found


def _describe(top: bytes, path: bytes, found: Tree, groups: dict[tuple[int, int], bytes]) -> None:
    full = top + b"/" + path if path else top
    status = os.lstat(full)
    kind = stat.S_IFMT(status.st_mode)
    content: object = None
    if kind == stat.S_IFREG:
        content = _content(full)
    elif kind == stat.S_IFLNK:
        content = os.readlink(full)
    elif kind in {stat.S_IFCHR, stat.S_IFBLK}:
        content = status.st_rdev
    together = None
    if kind != stat.S_IFDIR and status.st_nlink > 1:
        together = groups.setdefault((status.st_dev, status.st_ino), path)
    found[path] = (
        kind,
        stat.S_IMODE(status.st_mode),
        status.st_uid,
        status.st_gid,
        status.st_mtime_ns,
        status.st_size if kind == stat.S_IFREG else None,
        content,
        _attributes(full),
        together,
    )
    if kind == stat.S_IFDIR:
        for name in sorted(os.listdir(full)):
            _describe(top, path + b"/" + name if path else name, found, groups)


def _content(path: bytes) -> tuple[str, tuple[tuple[int, int], ...]]:
    """Return the digest of a file, and where its data lies between holes."""
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = os.fstat(file.fileno()).st_size
        runs, at = [], 0
        while at < size:
            try:
                begin = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError:
                break
            at = os.lseek(file.fileno(), begin, os.SEEK_HOLE)
            runs.append((begin, at))
    return digest, tuple(runs)


def _attributes(path: bytes) -> tuple[tuple[str, bytes], ...]:
    names = sorted(os.listxattr(path, follow_symlinks=False))
    return tuple((name, os.getxattr(path, name, follow_symlinks=False)) for name in names)


def differences(expected: Tree, found: Tree) -> list[str]:
    """Return what two trees do not have in common, a line each; empty when they are equal."""
    return [
        f"{path!r}: {expected.get(path)} became {found.get(path)}"
        for path in sorted({*expected, *found})
        if expected.get(path) != found.get(path)
    ]


def assert_equal(expected: Tree, found: Tree, what: str) -> None:
    """Fail with the first differences when two trees are not equal."""
    lines = differences(expected, found)
    assert not lines, f"{what}: {len(lines)} differences\n" + "\n".join(lines[:8])


def assert_prefix(expected: Tree, found: Tree, what: str) -> None:
    """Fail when a tree holds anything that the expected one does not hold just so."""
    assert_equal({path: expected.get(path) for path in found}, found, what)


def assert_repository_sound(world: World, *, read_data: bool = False) -> list[Commit]:
    """Check journal (I4), presence (I2) and kinds of objects (I3); return the live commits."""
    with world.opened(salvage=True, full=True) as repository:
        report = check(repository, CheckRequest(read=Slice(0, 1) if read_data else None))
        assert report.sound, report.findings
        assert not repository.journal.voids, repository.journal.voids
        strays = [each for each in report.findings if each.severity is not Severity.NOTE]
        assert not strays, strays
        _assert_gapless(repository)
        return repository.live_commits()


def _assert_gapless(repository: Repository) -> None:
    names = [info.key for info in repository.store.entries("journal/")]
    assert names == [f"journal/{n:016d}" for n in range(1, len(names) + 1)]
    assert repository.journal.read_to == len(names)


def assert_acknowledged(commits: list[Commit], acks: list[Ack]) -> None:
    """Every acknowledged commit is live, and is the one that was acknowledged; none twice."""
    live = {commit.n: commit for commit in commits}
    for ack in acks:
        assert ack.n in live, f"commit {ack.n} was acknowledged and is gone"
        assert live[ack.n].digest.hex() == ack.digest
    assert len({ack.n for ack in acks}) == len(acks)
    assert len({(commit.lineage, commit.seq) for commit in commits}) == len(commits)


def assert_restores(world: World, commit: Commit, expected: Tree, *, path: Path) -> None:
    """Restore a snapshot into a fresh directory and compare it with what was backed up (I1)."""
    target = world.scratch()
    try:
        world.restore(commit.n, target=target)
        found = describe(target / str(path).lstrip("/"))
        if commit.complete:
            assert_equal(expected, found, f"snapshot {commit.n}")
        else:
            assert_prefix(expected, found, f"partial snapshot {commit.n}")
    finally:
        world.forget(target)


def assert_ledger_sound(world: World, commits: list[Commit], *, idle: bool = True) -> None:
    """The ledger verifies, and what it calls recovery points are live commits (I5)."""
    if not world.ledger.exists():
        return
    with world.opened_ledger() as ledger:
        assert ledger.verify().ok
        live = {(commit.n, commit.session.hex()) for commit in commits}
        for point in ledger.recovery_points(limit=100_000):
            assert (point.commit_number, point.session) in live
        running = [run for run in ledger.runs(limit=100_000) if run.state is RunState.RUNNING]
        assert not running or not idle


_ORDERLY: Mapping[str, re.Pattern[str]] = {
    "state": re.compile(
        r"ledger\.sqlite|locks|locks/[0-9a-f]{32}-[0-9a-f]{32}\.lock|repositories"
        r"|repositories/[0-9a-f]{32}\.(json|state|lock)|(stored-ledger|rescue)-[0-9a-f]{32}\.json"
    ),
    "cache": re.compile(r"[0-9a-f]{32}|[0-9a-f]{32}/[0-9a-f]{32}\.sqlite"),
    "config/keys/primary": re.compile(r"(host|verifier|janitor)\.key|admins"),
}


def assert_tidy(world: World) -> None:
    """No temporary names in store, state, cache, keys and target (I8)."""
    for part, pattern in _ORDERLY.items():
        top = world.root / part
        names = [str(path.relative_to(top)) for path in top.rglob("*")] if top.is_dir() else []
        odd = [name for name in names if not pattern.fullmatch(name)]
        assert not odd, f"left in {part}: {odd}"
    unfinished = world.store_folder / "+tmp"
    assert not unfinished.exists() or not os.listdir(unfinished), "left in the store"
    probes = world.store_folder / "probe"
    assert not [path for path in probes.rglob("*") if path.is_file()], "a probe left objects"
    if world.target.exists():
        odd = [path for path in world.target.rglob("*") if path.name.startswith(".drkeeper-")]
        assert not odd, f"left in the target: {odd}"
