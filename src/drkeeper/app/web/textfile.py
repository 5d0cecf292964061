"""The metrics as a file for node_exporter's textfile collector."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from drkeeper.errors import ConfigurationError
from drkeeper.faults import point

_READABLE: Final = 0o644
"""node_exporter is another user, and there is nothing secret in the file."""


def write_textfile(path: Path, text: bytes) -> None:
    """Replace the file as a whole: a reader sees the old text or the new one, never a part.

    The file beside it has no ``.prom`` in its end, which is what the collector looks for.

    Raises:
        ConfigurationError: The folder is missing, full, or not ours to write.
    """
    draft = path.with_name(f".{path.name}.new")  # one name: what a power cut left is replaced
    try:
        point("app.web.textfile.writing")
        with suppress(FileNotFoundError):
            os.unlink(draft)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(draft, flags, _READABLE), "wb") as file:
            os.fchmod(file.fileno(), _READABLE)  # whatever the umask says
            file.write(text)
        point("app.web.textfile.written")
        os.replace(draft, path)
        point("app.web.textfile.replaced")
    except OSError as error:
        with suppress(OSError):
            os.unlink(draft)
        raise ConfigurationError(
            f"cannot write {path}: {error.strerror}",
            hint="Let web.textfile name a file in a folder that drkeeper may write.",
        ) from error
