"""What this machine remembers of a repository, so that nobody can turn it back unnoticed.

The *pin* holds the admin keys and the high-water mark. Beside it lies a copy of the state of
the journal, which only saves time: it is used when its digest stands in the pin, and a missing or
damaged one costs a longer read of the journal.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Final

import msgspec

from drkeeper.crypto.digests import digest
from drkeeper.errors import ConfigurationError
from drkeeper.faults import point
from drkeeper.repository.journal_body import HexDigest, HexId, Number
from drkeeper.repository.private_file import (
    make_private_directory,
    read_private,
    replace_private,
)
from drkeeper.repository.strict_json import MalformedError, encode, parse_object

_MAX_PIN_BYTES: Final = 1024 * 1024
_MAX_COPY_BYTES: Final = 256 * 1024 * 1024
_FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class HighWater:
    """The newest valid journal entry that was ever seen here.

    Attributes:
        n: Its number.
        digest: Its digest.
    """

    n: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Pin:
    """What is remembered of one repository.

    Attributes:
        repository: Its id.
        admins: Public keys trusted to have signed entry 1, hex.
        high_water: The newest entry seen.
        keyring: Version of the keyring then in force.
        copy: Digest of the local copy of the state, if there is one.
    """

    repository: bytes
    admins: tuple[str, ...]
    high_water: HighWater
    keyring: int
    copy: bytes | None = None


class _RawPin(msgspec.Struct, forbid_unknown_fields=True):
    format: int
    repository: HexId
    admins: list[HexDigest]
    n: Number
    digest: HexDigest
    keyring: Number
    copy: HexDigest | None


class PinFile:
    """The pin of one repository in the state directory of this machine.

    Processes may share it: what one of them saved is never replaced by something older.

    Args:
        state_dir: The state directory; ``repositories`` is made in it when first written.
        repository: Id of the repository.
    """

    def __init__(self, state_dir: str, repository: bytes) -> None:
        self._directory = os.path.join(state_dir, "repositories")
        self._repository = repository
        self._stem = os.path.join(self._directory, repository.hex())

    @property
    def path(self) -> str:
        """Where the pin is."""
        return f"{self._stem}.json"

    def load(self) -> Pin | None:
        """Return the pin, or ``None`` when this machine has none of this repository.

        Raises:
            ConfigurationError: It is damaged, or open to other users.
        """
        if not os.path.lexists(self.path):
            return None
        data = read_private(self.path, most_bytes=_MAX_PIN_BYTES)
        try:
            raw = msgspec.convert(parse_object(data), _RawPin)
        except (MalformedError, msgspec.ValidationError) as error:
            raise self._damaged() from error
        if raw.format != _FORMAT or raw.repository != self._repository.hex() or not raw.admins:
            raise self._damaged()
        return Pin(
            repository=self._repository,
            admins=tuple(raw.admins),
            high_water=HighWater(raw.n, bytes.fromhex(raw.digest)),
            keyring=raw.keyring,
            copy=None if raw.copy is None else bytes.fromhex(raw.copy),
        )

    def save(self, pin: Pin, copy: bytes | None = None) -> None:
        """Remember ``pin``, unless something newer is remembered already.

        Args:
            pin: Its ``copy`` is ignored.
            copy: A new copy of the state, or ``None`` to keep the one that is there.

        Raises:
            ConfigurationError: It cannot be written.
            NoSpaceError: The file system is full.
        """
        make_private_directory(self._directory)
        with self._locked():
            before = self.load()
            if before is not None and before.high_water.n > pin.high_water.n:
                return
            kept = None if before is None else before.copy
            if copy is not None:
                kept = digest(copy)
                point("repository.pin.copy")
                replace_private(self._copy_path, copy)
            point("repository.pin.save")
            replace_private(self.path, _encode(replace(pin, copy=kept)))
            point("repository.pin.saved")

    def load_copy(self, pin: Pin) -> bytes | None:
        """Return the copy of the state that belongs to ``pin``, if it is there and sound."""
        if pin.copy is None:
            return None
        with suppress(ConfigurationError):
            data = read_private(self._copy_path, most_bytes=_MAX_COPY_BYTES)
            if digest(data) == pin.copy:
                return data
        return None

    @property
    def _copy_path(self) -> str:
        return f"{self._stem}.state"

    @contextmanager
    def _locked(self) -> Iterator[None]:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        try:
            descriptor = os.open(f"{self._stem}.lock", flags, 0o600)
        except OSError as error:
            raise ConfigurationError(
                f"cannot write {self._stem}.lock: {error.strerror}",
                hint="Choose a state directory that this user may write.",
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _damaged(self) -> ConfigurationError:
        return ConfigurationError(
            f"the pin {self.path} is damaged",
            hint="Restore it from a backup of this machine, or remove it after comparing the "
            "newest snapshots with what you expect.",
        )


def _encode(pin: Pin) -> bytes:
    return encode(
        {
            "format": _FORMAT,
            "repository": pin.repository.hex(),
            "admins": list(pin.admins),
            "n": pin.high_water.n,
            "digest": pin.high_water.digest.hex(),
            "keyring": pin.keyring,
            "copy": None if pin.copy is None else pin.copy.hex(),
        }
    )
