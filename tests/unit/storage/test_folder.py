"""The folder store where it differs from others: durability, leftovers, hostile folders."""

import errno
import fcntl
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path

import pytest

from doubles.clock import FakeClock
from drkeeper import faults
from drkeeper.clock import SystemClock
from drkeeper.errors import (
    DrkeeperError,
    NoSpaceError,
    ObjectExistsError,
    ObjectNotFoundError,
    StorageDeniedError,
    StorageError,
    StorageUnavailableError,
)
from drkeeper.storage.folder import LEFTOVER_AGE, TEMPORARY, FolderStore


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def store(root: Path) -> FolderStore:
    return FolderStore(root, create=True)


@contextmanager
def failing(name: str, error: BaseException, seen: list[str] | None = None) -> Iterator[None]:
    """Raise ``error`` at a fault point; note the points reached."""

    def controller(point: str) -> None:
        if seen is not None:
            seen.append(point)
        if point == name:
            raise error

    faults.install(controller)
    try:
        yield
    finally:
        faults.install(None)


def files(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir())


def test_absent_folder_is_an_error_with_a_hint(tmp_path: Path) -> None:
    """A folder that is not there, as when a disk is not mounted, is not silently made."""
    with pytest.raises(StorageError) as caught:
        FolderStore(tmp_path / "nowhere")
    assert caught.value.hint is not None
    assert not isinstance(caught.value, ObjectNotFoundError)
    assert os.listdir(tmp_path) == []


def test_folder_is_made_where_its_parent_is_a_link(tmp_path: Path) -> None:
    """The way to the store may lead over links, as /var/run does; at the first opening too."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to("disk")
    store = FolderStore(tmp_path / "link" / "new" / "store", create=True)
    store.put("a", b"x")
    assert files(tmp_path / "disk") == ["new/store/a"]


def test_folder_that_goes_away_is_noticed(store: FolderStore, root: Path) -> None:
    """When the folder vanishes later, no operation mistakes that for an absent object."""
    store.put("a", b"x")
    root.rename(root.with_name("elsewhere"))
    for act in (
        lambda: store.get("a"),
        lambda: store.put("b", b"x"),
        lambda: store.info("a"),
        lambda: list(store.entries()),
        lambda: store.delete("a"),
    ):
        with pytest.raises(StorageError) as caught:
            act()
        assert not isinstance(caught.value, ObjectNotFoundError)


def test_only_the_owner_can_read(store: FolderStore, root: Path) -> None:
    """Directories are 0700 and files 0600, whatever the umask."""
    before = os.umask(0)
    try:
        store.put("packs/ab/x", b"x")
    finally:
        os.umask(before)
    for path in (root, *root.rglob("*")):
        wanted = 0o700 if path.is_dir() else 0o600
        assert stat.S_IMODE(path.stat().st_mode) == wanted


def test_objects_are_plain_files(store: FolderStore, root: Path) -> None:
    """An object is the file of its name, with one link, and nothing else stays behind."""
    store.put("packs/ab/x", b"content")
    assert files(root) == ["packs/ab/x"]
    assert (root / "packs/ab/x").read_bytes() == b"content"
    assert (root / "packs/ab/x").stat().st_nlink == 1


def test_different_bytes_never_replace_an_object(store: FolderStore) -> None:
    """A put over other content is refused: names are never used again."""
    store.put("a", b"one")
    for other in (b"two", b"on", b"ones", b""):
        with pytest.raises(StorageError):
            store.put("a", other)
    assert store.get("a") == b"one"


def test_deleting_removes_emptied_directories(store: FolderStore, root: Path) -> None:
    """Directories of objects that are gone do not pile up."""
    store.put("keyslots/one/1.data.age", b"x")
    store.put("keyslots/two/1.data.age", b"x")
    store.delete("keyslots/one/1.data.age")
    assert sorted(os.listdir(root / "keyslots")) == ["two"]
    store.delete("keyslots/two/1.data.age")
    assert sorted(os.listdir(root)) == [TEMPORARY]


def test_put_survives_the_removal_of_its_directory(store: FolderStore, root: Path) -> None:
    """A directory that another process empties and removes just before the link is made again."""
    store.put("packs/ab/x", b"x")
    removed = []

    def controller(point: str) -> None:
        if point == "storage.folder.link" and not removed:
            removed.append(point)
            (root / "packs/ab/x").unlink()
            (root / "packs/ab").rmdir()

    faults.install(controller)
    try:
        store.put("packs/ab/y", b"y")
    finally:
        faults.install(None)
    assert store.get("packs/ab/y") == b"y"


def test_directory_made_again_is_made_durable_again(store: FolderStore, root: Path) -> None:
    """A directory that was removed and comes back is a new one, even with the old one's number."""
    for number in range(30):  # a file system may give the number out again at once, or later
        seen: list[str] = []
        with failing("", OSError(), seen):
            store.put("keyslots/x/1", b"x")
        assert "storage.folder.directory_made" in seen, number
        store.delete("keyslots/x/1")
    assert sorted(os.listdir(root)) == [TEMPORARY]


def test_creation_that_was_heard_twice_is_ours(store: FolderStore, root: Path) -> None:
    """NFS may do a link, lose the answer, and on the repetition say that the name is taken."""

    def controller(point: str) -> None:
        if point == "storage.folder.link":
            (unfinished,) = (root / TEMPORARY).iterdir()
            os.link(unfinished, root / "journal-1")

    faults.install(controller)
    try:
        store.create("journal-1", b"ours")
    finally:
        faults.install(None)
    assert store.get("journal-1") == b"ours"
    assert files(root) == ["journal-1"]
    with pytest.raises(ObjectExistsError):
        store.create("journal-1", b"ours")


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (errno.ENOSPC, NoSpaceError),
        (errno.EDQUOT, NoSpaceError),
        (errno.EROFS, StorageDeniedError),
        (errno.EACCES, StorageDeniedError),
        (errno.EPERM, StorageDeniedError),
        (errno.EIO, StorageUnavailableError),
        (errno.ESTALE, StorageUnavailableError),
        (errno.EMFILE, StorageUnavailableError),
        (errno.ENAMETOOLONG, StorageError),
    ],
)
def test_errors_of_the_system_are_translated(
    store: FolderStore, root: Path, code: int, kind: type[DrkeeperError]
) -> None:
    """What the system says becomes one of ours, nothing is stored, and nothing is left behind."""
    with failing("storage.folder.written", OSError(code, "x")), pytest.raises(kind) as caught:
        store.create("a/b", b"x")
    assert type(caught.value) is kind
    assert files(root) == []
    store.create("a/b", b"x")


def test_failure_after_the_link_is_unclear(store: FolderStore) -> None:
    """When the name is there but its directory could not be synced, the caller is told so."""
    error = OSError(errno.ENOSPC, "x")
    with failing("storage.folder.linked", error), pytest.raises(StorageUnavailableError):
        store.create("a", b"x")
    assert store.get("a") == b"x"


def test_every_failure_leaves_the_whole_object_or_none(tmp_path: Path) -> None:
    """Whatever fails, wherever, a reader sees all bytes or no object, and a retry succeeds."""
    seen: list[str] = []
    with failing("", OSError(), seen):
        FolderStore(tmp_path / "first", create=True).put("a/b", b"whole" * 100)
    assert len(set(seen)) >= 8
    for number, name in enumerate(sorted(set(seen))):
        root = tmp_path / str(number)
        root.mkdir()
        with failing(name, OSError(errno.EIO, "x")), suppress(DrkeeperError):
            FolderStore(root).put("a/b", b"whole" * 100)
        store = FolderStore(root)
        assert {entry.key: store.get(entry.key) for entry in store.entries()} in (
            {},
            {"a/b": b"whole" * 100},
        )
        store.put("a/b", b"whole" * 100)
        assert files(root) == ["a/b"]


def test_leftovers_of_dead_writers_are_swept_at_opening(store: FolderStore, root: Path) -> None:
    """A temporary name whose writer is dead goes; one that is being written stays."""
    store.put("a", b"x")
    dead, alive = root / TEMPORARY / "dead", root / TEMPORARY / "alive"
    dead.write_bytes(b"half")
    with alive.open("wb") as writer:
        fcntl.flock(writer, fcntl.LOCK_EX)
        FolderStore(root)
        assert files(root) == [f"{TEMPORARY}/alive", "a"]
        later = FakeClock(SystemClock().now() + LEFTOVER_AGE + timedelta(hours=1))
        FolderStore(root, clock=later)
        assert files(root) == ["a"]


def test_killed_writer_leaves_nothing_for_the_next(root: Path, store: FolderStore) -> None:
    """After a kill in the middle of a put there is no object, and the next opening tidies up."""
    program = (
        "import os, sys; from drkeeper import faults; from drkeeper.storage.folder import *\n"
        "faults.install(lambda name: name == 'storage.folder.link' and os.kill(os.getpid(), 9))\n"
        "FolderStore(sys.argv[1]).put('a', b'x' * 100)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(root)], check=False)
    assert done.returncode == -9
    assert list(store.entries()) == []
    assert len(files(root)) == 1
    FolderStore(root)
    assert files(root) == []


def intruders() -> dict[str, Callable[[Path], None]]:
    def bind(path: Path) -> None:
        with socket.socket(socket.AF_UNIX) as server:
            before = os.open(".", os.O_RDONLY)
            os.chdir(path.parent)  # the name of a socket must be short
            try:
                server.bind(path.name)
            finally:
                os.fchdir(before)
                os.close(before)

    return {
        "link": lambda path: path.symlink_to("/etc/passwd"),
        "dangling": lambda path: path.symlink_to("/nowhere"),
        "loop": lambda path: path.symlink_to(path.name),
        "fifo": os.mkfifo,
        "socket": bind,
    }


@pytest.mark.parametrize("kind", sorted(intruders()))
def test_only_regular_files_are_objects(store: FolderStore, root: Path, kind: str) -> None:
    """Links, FIFOs and sockets are not listed, not read, not waited for and not written to."""
    store.put("a/real", b"x")
    intruders()[kind](root / "a/fake")
    assert [entry.key for entry in store.entries()] == ["a/real"]
    for act in (
        lambda: store.get("a/fake"),
        lambda: store.get("a/fake", length=1),
        lambda: store.info("a/fake"),
        lambda: store.read_into("a/fake", memoryview(bytearray(1))),
        lambda: store.put("a/fake", b"y"),
        lambda: store.create("a/fake", b"y"),
    ):
        with pytest.raises(StorageError) as caught:
            act()
        assert not isinstance(caught.value, ObjectNotFoundError)


def test_links_are_not_followed_out_of_the_store(
    store: FolderStore, root: Path, tmp_path: Path
) -> None:
    """A directory that is a link leads nowhere: nothing outside is read, written or removed."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    (root / "packs").symlink_to(outside)
    for act in (
        lambda: store.get("packs/secret"),
        lambda: store.info("packs/secret"),
        lambda: store.put("packs/new", b"x"),
        lambda: store.create("packs/sub/new", b"x"),
    ):
        with pytest.raises(StorageError):
            act()
    store.delete("packs/secret")
    assert list(store.entries("packs/")) == []
    assert sorted(os.listdir(outside)) == ["secret"]


def test_temporary_area_that_is_a_link_is_refused(
    store: FolderStore, root: Path, tmp_path: Path
) -> None:
    """Unfinished objects are not written outside the store either."""
    (tmp_path / "outside").mkdir()
    (root / TEMPORARY).symlink_to(tmp_path / "outside")
    with pytest.raises(StorageError):
        store.put("a", b"x")
    FolderStore(root)
    assert os.listdir(tmp_path / "outside") == []


def test_foreign_names_are_no_objects(store: FolderStore, root: Path) -> None:
    """Files whose names no key can have are not listed: they are not ours."""
    for name in (b"UPPER", b"sp ace", b"new\nline", b"\xff\xfe", b".", b"lost+found", b"%61"):
        if name != b".":
            (root / os.fsdecode(name)).write_bytes(b"x")
    (root / "...").mkdir()
    (root / "..." / "x").write_bytes(b"x")
    assert list(store.entries()) == []


def test_times_beyond_the_calendar_do_not_stop_a_listing(store: FolderStore, root: Path) -> None:
    """A hostile folder may give files any time."""
    store.put("a", b"x")
    os.utime(root / "a", (-(1 << 40), -(1 << 40)))
    assert [entry.key for entry in store.entries()] == ["a"]


def test_object_and_directory_cannot_share_a_name(store: FolderStore) -> None:
    """Where one key is the directory of another, the second is refused and the first stays."""
    store.put("a/b", b"x")
    with pytest.raises(ObjectExistsError):
        store.put("a", b"x")
    with pytest.raises(StorageError):
        store.create("a/b/c", b"x")
    assert [entry.key for entry in store.entries()] == ["a/b"]
