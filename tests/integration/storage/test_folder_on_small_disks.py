"""The folder store on file systems that are full, may only be read, or go away."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from drkeeper.errors import NoSpaceError, StorageDeniedError
from drkeeper.storage.folder import FolderStore
from services import require

pytestmark = pytest.mark.integration


def mount(*arguments: str) -> bool:
    return subprocess.run(["mount", *arguments], capture_output=True, check=False).returncode == 0


@pytest.fixture(params=["tmpfs", "ext4"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of eight megabytes."""
    at = tmp_path / "disk"
    at.mkdir()
    if request.param == "tmpfs":
        mounted = os.geteuid() == 0 and mount("-t", "tmpfs", "-o", "size=8m", "tmpfs", str(at))
    else:
        require("mkfs.ext4", programs=("mkfs.ext4",))
        image = tmp_path / "image"
        with image.open("wb") as file:
            file.truncate(8 << 20)
        subprocess.run(["/sbin/mkfs.ext4", "-q", "-O", "^has_journal", image], check=True)
        mounted = os.geteuid() == 0 and mount("-o", "loop", str(image), str(at))
    require(f"mounting a {request.param}", present=mounted)
    yield at
    subprocess.run(["umount", str(at)], check=True)


@pytest.mark.parametrize("size", [1000, 300_000, 3 << 20], ids=["small", "middle", "direct"])
def test_full_disk_is_reported_and_harms_nothing(disk: Path, size: int) -> None:
    """A put that does not fit is refused with the right error; what was stored stays whole,
    nothing is left behind, and after freeing space the same put works.
    """
    store = FolderStore(disk / "store", create=True)
    stored: dict[str, bytes] = {}

    def fill() -> None:
        for number in range(20_000):
            key, data = f"packs/{number:05d}", os.urandom(size)
            store.put(key, data)
            stored[key] = data

    with pytest.raises(NoSpaceError) as caught:
        fill()
    assert caught.value.hint
    assert {entry.key: store.get(entry.key) for entry in store.entries()} == stored
    assert os.listdir(disk / "store/+tmp") == []
    for key in list(stored)[: max(1, len(stored) // 2)]:
        store.delete(key)
    store.put("again", bytes(size))
    assert store.get("again") == bytes(size)


def test_read_only_disk_can_be_read_but_not_written(disk: Path) -> None:
    """On a read-only file system reads and listings work, writes are denied with a hint."""
    store = FolderStore(disk / "store", create=True)
    store.put("a/b", b"x")
    assert mount("-o", "remount,ro", str(disk))
    opened = FolderStore(disk / "store")
    assert opened.get("a/b") == b"x"
    assert [entry.key for entry in opened.entries()] == ["a/b"]
    for act in (
        lambda: opened.put("a/c", b"x"),
        lambda: opened.create("c", b"x"),
        lambda: opened.delete("a/b"),
    ):
        with pytest.raises(StorageDeniedError) as caught:
            act()
        assert caught.value.hint
