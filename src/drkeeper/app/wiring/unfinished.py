"""The note that stays with the keys until the birth of their repository has come to its end.

Keys are on disk before their repository exists, so a birth that was cut off leaves keys. The note
says which of them: when no repository came to be, they open nothing and may go; when it did, the
next ``init`` ends what this one began.
"""

import contextlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from drkeeper.app.config.files import write_new
from drkeeper.faults import point
from drkeeper.repository.private_file import remove_leftovers

NAME: Final = "unfinished"
"""File among the keys; it holds no secret."""

_PRIVATE: Final = 0o600


@dataclass(frozen=True, slots=True)
class Unfinished:
    """What a birth was about to write.

    Attributes:
        folder: Where its keys are.
        store: Where the repository was to be.
        repository: Id of the repository, hex.
        kit: Where the recovery kit is; ``None`` when it was shown, before there was a repository.
        files: All of its files, the kit included.
    """

    folder: Path
    store: str
    repository: str
    kit: Path | None
    files: tuple[Path, ...]


def begin(note: Unfinished) -> None:
    """Leave the note, before the first key is written.

    Raises:
        ConfigurationError: It cannot be written, or there is one already.
        NoSpaceError: The file system is full.
    """
    text = {
        "about": "drkeeper init has not ended; run it again",
        "store": note.store,
        "repository": note.repository,
        "kit": None if note.kit is None else str(note.kit),
        "files": [str(path) for path in note.files],
    }
    write_new(note.folder / NAME, json.dumps(text).encode(), _PRIVATE)


def find(folder: Path) -> Unfinished | None:
    """Return the note of a birth that was cut off; ``None`` when there is none that can be read."""
    remove_leftovers(str(folder / NAME))
    try:
        text = json.loads((folder / NAME).read_bytes())
        kit = text["kit"]
        return Unfinished(
            folder,
            str(text["store"]),
            str(text["repository"]),
            None if kit is None else Path(kit),
            tuple(Path(path) for path in text["files"]),
        )
    except (OSError, ValueError, TypeError, KeyError):
        return None


def forget(note: Unfinished) -> None:
    """Remove the keys: no repository came to be, and they open nothing."""
    _remove(note.files)
    end(note)


def end(note: Unfinished) -> None:
    """Take the note away, and what was being written when somebody was cut off."""
    for path in note.files:
        remove_leftovers(str(path))
    point("app.wiring.unfinished.end")
    _remove([note.folder / NAME])


def _remove(paths: Iterable[Path]) -> None:
    for path in list(paths):
        with contextlib.suppress(OSError):
            os.unlink(path)
