"""Restores every item of the corpus as one user and writes down what happened; run as a process.

Usage: restore_corpus.py FOLDER USER PRIVILEGED RACE; USER is a number, 0 keeps the present one.
"""

import json
import os
import stat
import subprocess
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
sys.path.insert(0, str(Path(__file__).parent))

from corpus import CORPUS
from swapper import Swapper

from doubles.crafted import Crafter
from drkeeper.clock import SystemClock
from drkeeper.errors import DrkeeperError
from drkeeper.operations.restore import Overwrite, RestoreRequest, restore


def walk(root: bytes) -> Iterator[tuple[bytes, os.stat_result]]:
    """Yield every path below ``root`` with its status; however deep, and never through a link."""
    waiting = [(root, os.open(root, os.O_RDONLY | os.O_DIRECTORY))]
    while waiting:
        path, at = waiting.pop()
        for name in sorted(map(os.fsencode, os.listdir(at))):
            below = os.path.join(path, name)
            status = os.stat(name, dir_fd=at, follow_symlinks=False)
            yield below, status
            if stat.S_ISDIR(status.st_mode):
                flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
                try:
                    waiting.append((below, os.open(name, flags, dir_fd=at)))
                except OSError:
                    continue
        os.close(at)


def state(root: bytes) -> list[list[object]]:
    """Return all that must not change, the time of the last change of each inode included."""
    found: list[list[object]] = []
    for path, status in walk(root):
        content = ""
        if stat.S_ISREG(status.st_mode):
            content = Path(os.fsdecode(path)).read_bytes().hex()
        found.append(
            [
                path.decode("latin-1"),
                status.st_mode,
                status.st_uid,
                status.st_gid,
                status.st_nlink,
                status.st_ino,
                status.st_size,
                status.st_mtime_ns,
                status.st_ctime_ns,
                content,
            ]
        )
    return sorted(found)


def plant(folder: Path) -> Path:
    """Make the tree that nobody may touch."""
    canary = folder / "canary"
    canary.mkdir()
    (canary / "file").write_text("untouched")
    (canary / "program").write_text("#!/bin/sh\n")
    (canary / "program").chmod(0o4755)
    (canary / "inner").mkdir()
    (canary / "inner" / "file").write_text("untouched")
    return canary


def one(folder: Path, name: str, *, privileged: bool, race: bool) -> dict[str, object]:
    """Restore one item; return what came of it."""
    folder.mkdir()
    canary = plant(folder)
    before = state(os.fsencode(canary))
    target = folder / "target"
    result: dict[str, object] = {"outcome": "restored", "message": "", "trace": ""}
    reader = CORPUS[name](Crafter(folder / "repository", chunk_bytes=1024 * 1024))
    request = RestoreRequest(
        reader,
        os.fsencode(target),
        SystemClock(),
        privileged=privileged,
        workers=2,
        overwrite=Overwrite.ALWAYS if race else None,
    )
    try:
        if race:
            target.mkdir(mode=0o700)
            with Swapper(target, canary):
                restore(request)
        else:
            restore(request)
    except DrkeeperError as error:
        result |= {"outcome": type(error).__name__, "message": str(error)}
    except BaseException as error:  # noqa: BLE001 - whatever it is, the test judges it
        result |= {"outcome": type(error).__name__, "trace": traceback.format_exc()}
    found = list(walk(os.fsencode(target))) if os.path.lexists(target) else []
    if privileged and "immutable" in name:
        release(found)
    result["touched"] = state(os.fsencode(canary)) != before
    result["beside"] = sorted(
        set(os.listdir(folder)) - {"canary", "repository", "target", "target.swapped"}
    )
    result["rights"] = [
        path.decode("latin-1")
        for path, status in found
        if not stat.S_ISDIR(status.st_mode)
        and (
            status.st_mode & 0o6000 or stat.S_ISBLK(status.st_mode) or stat.S_ISCHR(status.st_mode)
        )
    ]
    result["left"] = [
        path.decode("latin-1")
        for path, _ in found
        if os.path.basename(path).startswith(b".drkeeper-")
        and "looks" not in name
        and "our note" not in name
        and not race
    ]
    return result


def release(found: list[tuple[bytes, os.stat_result]]) -> None:
    """Take immutable flags away again, so that the folder can be removed."""
    for path, status in found:
        if stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode):
            subprocess.run(["chattr", "-i", "-a", path], check=False, capture_output=True)


def main() -> None:
    """Restore the whole corpus."""
    folder, user, privileged, race = Path(sys.argv[1]), *map(int, sys.argv[2:5])
    if user:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    os.umask(0o022)
    results = {}
    for number, name in enumerate(CORPUS):
        if not race or name.startswith(("type", "hard link", "order", "path", "holes")):
            results[name] = one(
                folder / str(number), name, privileged=bool(privileged), race=bool(race)
            )
    (folder / "results.json").write_text(json.dumps(results))


if __name__ == "__main__":
    main()
