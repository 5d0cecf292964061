"""Key files: age identity files that stock ``age`` can use, with drkeeper's own facts in comments.

::

    # drkeeper host key of repository 0123…          for people; ignored on reading
    #drkeeper role: host
    #drkeeper repository: <32 hex digits>
    #drkeeper host: <32 hex digits>                   host keys
    #drkeeper signing-key: DRK-SIGNING-KEY-1…         host, janitor and admin keys
    #drkeeper domain: <64 hex digits>                 host keys
    AGE-SECRET-KEY-PQ-1…                              all but admin keys

The whole file may be an age file under a passphrase, armored. A file without drkeeper's lines, as
``age-keygen -pq`` makes it, is a recovery key of no particular repository.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Self

from drkeeper.crypto.age import (
    Identity,
    armored,
    decrypt_with_passphrase,
    encrypt_with_passphrase,
    is_passphrase_file,
)
from drkeeper.crypto.derive import Domain
from drkeeper.crypto.signing import SigningKey
from drkeeper.errors import ConfigurationError, KeyNotFoundError
from drkeeper.repository.keyring import Role
from drkeeper.repository.places import DIGEST_BYTES, ID_BYTES
from drkeeper.repository.private_file import create_private, read_private

MAX_KEY_FILE_BYTES: Final = 64 * 1024
_FACT: Final = "#drkeeper "
_FACTS: Final = frozenset({"role", "repository", "host", "signing-key", "domain"})
_IDENTITY: Final = "AGE-SECRET-KEY-"


@dataclass(frozen=True, slots=True)
class KeyFile:
    """The secrets of one role. They are in no ``repr`` and in no error.

    Attributes:
        role: What the key is for.
        repository: Id of the repository it belongs to; ``None`` when the file does not say.
        host: Host id, of host keys.
        signing_key: Signs journal entries; host, janitor and admin keys have one.
        domain: Secret of the domain of chunks; host keys have one.
        identities: Open key slots; all but admin keys have at least one.
    """

    role: Role
    repository: bytes | None = None
    host: bytes | None = None
    signing_key: SigningKey | None = field(default=None, repr=False)
    domain: Domain | None = field(default=None, repr=False)
    identities: tuple[Identity, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        signs = self.role in {Role.HOST, Role.JANITOR, Role.ADMIN}
        is_host = self.role is Role.HOST
        _require(not signs or self.signing_key is not None, self.role, "a signing key")
        _require(not is_host or self.host is not None, self.role, "a host id")
        _require(not is_host or self.domain is not None, self.role, "a domain")
        _require(self.role is Role.ADMIN or bool(self.identities), self.role, "an identity")

    def to_text(self) -> str:
        """Return the file; only for :func:`write_key_file` and the recovery kit."""
        of = "" if self.repository is None else f" of repository {self.repository.hex()}"
        lines = [f"# drkeeper {self.role.value} key{of}", f"{_FACT}role: {self.role.value}"]
        if self.repository is not None:
            lines.append(f"{_FACT}repository: {self.repository.hex()}")
        if self.host is not None:
            lines.append(f"{_FACT}host: {self.host.hex()}")
        if self.signing_key is not None:
            lines.append(f"{_FACT}signing-key: {self.signing_key.secret_text()}")
        if self.domain is not None:
            lines.append(f"{_FACT}domain: {self.domain.secret.hex()}")
        lines.extend(identity.secret_text() for identity in self.identities)
        return "\n".join(lines) + "\n"

    def for_repository(self, repository: bytes) -> Self:
        """Return this key, after making sure that it may belong to ``repository``.

        Raises:
            ConfigurationError: It belongs to another one.
        """
        if self.repository not in {None, repository}:
            raise ConfigurationError(
                f"this {self.role.value} key belongs to another repository, "
                f"not to {repository.hex()}",
                hint="Use the key file of this repository, or open the other store.",
            )
        return self


def parse_key_file(data: bytes, passphrase: Callable[[], str] | None = None) -> KeyFile:
    """Read a key file.

    Args:
        data: The file.
        passphrase: Asked only when the file is protected.

    Raises:
        KeyNotFoundError: The passphrase is wrong or absent.
        ConfigurationError: It is not a key file; the message quotes nothing of it.
        IntegrityError: The protected file is damaged.
    """
    if is_passphrase_file(data):
        if passphrase is None:
            raise KeyNotFoundError(
                "the key file is protected by a passphrase", hint="Give its passphrase."
            )
        try:
            data = decrypt_with_passphrase(data, passphrase())
        except KeyNotFoundError as error:
            raise KeyNotFoundError(
                "the passphrase of the key file is wrong", hint="Try its passphrase again."
            ) from error
    return _parse(data)


def read_key_file(path: str, passphrase: Callable[[], str] | None = None) -> KeyFile:
    """Read a key file that only its owner can read.

    Raises:
        KeyNotFoundError: The passphrase is wrong or absent.
        ConfigurationError: It is not a key file, or others can read it.
        IntegrityError: The protected file is damaged.
    """
    return parse_key_file(read_private(path, most_bytes=MAX_KEY_FILE_BYTES), passphrase)


def write_key_file(path: str, key: KeyFile, passphrase: str | None = None) -> None:
    """Write a new key file with mode 0600, durable when this returns; replace none.

    Raises:
        ConfigurationError: The file exists, or cannot be written.
        NoSpaceError: The file system is full.
    """
    data = key.to_text().encode()
    if passphrase is not None:
        data = protect(data, passphrase)
    create_private(path, data)


def protect(key_file: bytes, passphrase: str) -> bytes:
    """Return an armored age file that opens with ``passphrase``."""
    return armored(encrypt_with_passphrase(key_file, passphrase))


def _parse(data: bytes) -> KeyFile:
    facts: dict[str, str] = {}
    identities: list[Identity] = []
    for line in (line.strip() for line in _lines(data)):
        if line.startswith(_FACT):
            name, _, value = line.removeprefix(_FACT).partition(":")
            if name not in _FACTS or name in facts:
                raise ConfigurationError("the key file has an unknown or repeated line")
            facts[name] = value.strip()
        elif line.startswith(_IDENTITY):
            identities.append(Identity.parse(line))
        elif line and not line.startswith("#"):
            raise ConfigurationError(
                "this is not a key file", hint="Give a file made by drkeeper or by age-keygen -pq."
            )
    if not facts and not identities:
        raise ConfigurationError(
            "the key file holds no key", hint="Give a file made by drkeeper or by age-keygen -pq."
        )
    domain = facts.get("domain")
    signing_key = facts.get("signing-key")
    return KeyFile(
        role=_role(facts.get("role")),
        repository=_hex(facts.get("repository"), ID_BYTES),
        host=_hex(facts.get("host"), ID_BYTES),
        signing_key=None if signing_key is None else SigningKey.parse(signing_key),
        domain=None if domain is None else Domain(_hex(domain, DIGEST_BYTES) or b""),
        identities=tuple(identities),
    )


def _lines(data: bytes) -> list[str]:
    try:
        return data.decode().splitlines()
    except UnicodeDecodeError:
        raise ConfigurationError("this is not a key file") from None


def _role(text: str | None) -> Role:
    try:
        return Role.RECOVERY if text is None else Role(text)
    except ValueError:
        raise ConfigurationError("the key file names an unknown role") from None


def _hex(text: str | None, length: int) -> bytes | None:
    if text is None:
        return None
    if len(text) != 2 * length or text.strip("0123456789abcdef"):
        raise ConfigurationError("the key file has a malformed id or secret")
    return bytes.fromhex(text)


def _require(holds: bool, role: Role, what: str) -> None:  # noqa: FBT001 - an assertion
    if not holds:
        raise ConfigurationError(f"the {role.value} key lacks {what}")
