"""What an installation's files mean, and how it is remembered until one of them changes.

To read and check a thousand policies takes a third of a second, and every command and every run needs
them. So what they mean is kept in the cache folder, under a digest of everything that it follows from:
the content of all files, the variables, the program. Whatever differs by one byte is read anew; only files
without any problem are remembered.
"""

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import tzinfo
from functools import cache
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

from drkeeper import __version__, model
from drkeeper.app.config.environment import machine_name
from drkeeper.app.config.locations import Locations
from drkeeper.app.config.reading import Files
from drkeeper.app.config.settings import (
    DaemonSettings,
    LogSettings,
    RepositorySettings,
    WebSettings,
)
from drkeeper.errors import DrkeeperError
from drkeeper.model.policy import Policy
from drkeeper.repository.private_file import (
    make_private_directory,
    read_private,
    replace_private,
)

WORTH: Final = 20
"""With fewer policies nothing is remembered: to read them takes no time. Source: ours."""
_LARGEST: Final = 64 * 1024 * 1024
_KEY_BYTES: Final = 32
_PREFIX: Final = "DRKEEPER_"
_SECRETS: Final = tuple(
    _PREFIX + name for name in ("PASSPHRASE", "NOTIFY_", "WEB_TOKEN", "LEDGER_PASSWORD")
)
"""Variables that do not change what the files mean, and of which not even a digest is written."""
_CACHE: Final = re.compile(rb"^cache:[ \t]+(/[^\s\"'#]*)[ \t]*$", re.MULTILINE)


class Meaning(msgspec.Struct, frozen=True):
    """What files say, checked, but for secrets.

    Attributes:
        host: Name of this machine in snapshots.
        zone_name: Zone of policies that name none.
        state: Folder of pins and ledger, if the file names one.
        cache: Folder of what can be rebuilt, likewise.
        repositories: By name.
        policies: By name.
        channels: Their names.
        daemon: How the daemon works.
        web: Its page, without the token.
        log: What is logged.
        ledger: URL of a shared ledger, without its password.
    """

    host: str
    zone_name: str
    state: str | None
    cache: str | None
    repositories: dict[str, RepositorySettings]
    policies: dict[str, Policy]
    channels: tuple[str, ...]
    daemon: DaemonSettings
    web: WebSettings
    log: LogSettings
    ledger: str | None


def recall(files: Files, locations: Locations, variables: Mapping[str, str]) -> Meaning | None:
    """Return what these very files are known to mean; ``None`` when that has to be found out.

    What is kept is believed only if it is this user's or root's alone: hooks are in it, and run.
    """
    place = _place(files, locations)
    if not _is_worth_it(files) or not os.path.exists(place):
        return None
    import msgspec  # noqa: PLC0415 - few installations have so many policies

    try:
        kept = read_private(place, most_bytes=_LARGEST)
        if kept[:_KEY_BYTES] != _key(files, locations, variables):
            return None
        return msgspec.msgpack.decode(kept[_KEY_BYTES:], type=Meaning, dec_hook=_from_text)
    except (DrkeeperError, msgspec.MsgspecError, ValueError, TypeError, OSError):
        return None  # damaged, or not ours: it is written again


def keep(
    meaning: Meaning, files: Files, locations: Locations, variables: Mapping[str, str]
) -> None:
    """Remember what files mean; that it cannot be written is no trouble."""
    place = _place(files, locations)
    folder = locations.with_folders(state=meaning.state, cache=meaning.cache).cache
    if not _is_worth_it(files) or folder != Path(place).parent:
        return
    import msgspec  # noqa: PLC0415 - as above

    content = msgspec.msgpack.encode(meaning, enc_hook=_text)
    with suppress(DrkeeperError, OSError):
        make_private_directory(str(folder))
        if len(content) + _KEY_BYTES <= _LARGEST and os.stat(folder).st_uid == os.geteuid():
            replace_private(place, _key(files, locations, variables) + content)


def _is_worth_it(files: Files) -> bool:
    return len(files.policies) >= WORTH and not files.problems


def _place(files: Files, locations: Locations) -> str:
    """Return where it is kept, as far as that can be known before the files are read.

    A line that says otherwise in another spelling is not seen: then nothing is kept.
    """
    said = _CACHE.search(files.settings.content) if files.settings else None
    folder = os.fsdecode(said[1]) if said else None
    return str(locations.with_folders(state=None, cache=folder).cache / "policies.msgpack")


def _key(files: Files, locations: Locations, variables: Mapping[str, str]) -> bytes:
    hasher = hashlib.blake2b(digest_size=_KEY_BYTES)
    for part in _parts(files, locations, variables):
        hasher.update(b"%d:%b" % (len(part), part))
    return hasher.digest()


def _parts(files: Files, locations: Locations, variables: Mapping[str, str]) -> Iterator[bytes]:
    """Yield everything that the meaning follows from."""
    yield _program()
    for text in (machine_name(), locations.settings, locations.keys):
        yield os.fsencode(text)
    settings = [files.settings] if files.settings else []
    for file in (*settings, *sorted(files.policies, key=lambda file: str(file.path))):
        yield os.fsencode(file.path)
        yield file.content
        yield os.fsencode(file.risk)
    for name, value in sorted(variables.items()):
        if name.startswith(_PREFIX) and not name.startswith(_SECRETS):
            yield os.fsencode(f"{name}={value}")


@cache
def _program() -> bytes:
    """Return what changes with the code that gives files their meaning."""
    folders = (os.path.dirname(__file__), os.path.dirname(str(model.__file__)))
    files = [entry for folder in folders for entry in os.scandir(folder) if entry.is_file()]
    newest = max(entry.stat().st_mtime_ns for entry in files)
    return f"{__version__} {len(files)} {newest}".encode()


def _text(value: object) -> str:
    if isinstance(value, ZoneInfo | Path):
        return str(value)
    raise TypeError(type(value).__name__)


def _from_text(kind: type, text: object) -> object:
    if not isinstance(text, str):
        raise TypeError(kind.__name__)
    return ZoneInfo(text) if kind is tzinfo else Path(text)
