"""A copy of the files that were right when they were last looked at.

The daemon keeps it beside its ledger, and its runs read it in place of the files: a run does what the
daemon decided on, while somebody is just writing a file, and after a restart with a broken one.
"""

import json
from pathlib import Path
from typing import Final

from drkeeper.app.config.reading import File, Files
from drkeeper.errors import ConfigurationError
from drkeeper.repository.private_file import (
    make_private_directory,
    read_private,
    replace_private,
)

NAME: Final = "accepted.json"
_LARGEST: Final = 256 * 1024 * 1024


def write_accepted(path: Path, files: Files) -> None:
    """Keep a copy of files that are right, in the place of an older one; whole, or not at all.

    Raises:
        ConfigurationError: It cannot be written.
        NoSpaceError: The file system is full.
    """
    kept = {
        "settings": None if files.settings is None else _said(files.settings),
        "policies": [_said(file) for file in files.policies],
    }
    make_private_directory(str(path.parent))
    replace_private(str(path), json.dumps(kept).encode())


def _said(file: File) -> list[str]:
    return [str(file.path), file.content.decode()]


def read_accepted(path: Path) -> Files:
    """Return the copy.

    Raises:
        ConfigurationError: There is none, it is damaged, or it is not this user's alone.
    """
    content = read_private(str(path), most_bytes=_LARGEST)
    try:
        kept = json.loads(content)
        settings, policies = kept["settings"], kept["policies"]
        return Files(
            None if settings is None else _file(*settings),
            tuple(_file(*said) for said in policies),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigurationError(
            f"{path} is damaged", hint="Remove it; the daemon writes it again when it reloads."
        ) from error


def _file(path: str, text: str) -> File:
    return File(Path(path), text.encode())
