"""The recovery kit: the page that opens everything when nothing else is left.

It is text for people and a key file for drkeeper at once: lines that begin with ``#kit`` say where
the repository is and whom to trust, then come the recovery and admin keys, as they are or as one
armored age file under a passphrase. Stock ``age`` accepts the unprotected page as an identity file.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from drkeeper.app.config.configuration import NO_KEYS, RepositorySettings
from drkeeper.crypto.age import decrypt_with_passphrase
from drkeeper.errors import ConfigurationError, KeyNotFoundError
from drkeeper.repository.keyfile import KeyFile, parse_key_file, protect
from drkeeper.repository.keyring import Role

LARGEST_KIT = 256 * 1024
"""Bytes of the largest page that is read."""

_FACT = re.compile(r"#kit ([a-z-]+): (\S.*)")
_ARMOR = re.compile(
    r"-----BEGIN AGE ENCRYPTED FILE-----.*?-----END AGE ENCRYPTED FILE-----", re.DOTALL
)
_SECTION = "#drkeeper role:"


@dataclass(frozen=True, slots=True)
class Kit:
    """What a recovery kit or a key file tells.

    Attributes:
        keys: The keys in it.
        admins: Public admin keys to trust, hex.
        repository: Id of the repository, hex; empty when not told.
        store: Where the repository is; ``None`` when not told.
    """

    keys: tuple[KeyFile, ...] = field(default=(), repr=False)
    admins: tuple[str, ...] = ()
    repository: str = ""
    store: RepositorySettings | None = None


def kit_text(kit: Kit, *, policy_hint: str = "POLICY", passphrase: str | None = None) -> str:
    """Write the page.

    Args:
        kit: What to tell; ``store`` must be given.
        policy_hint: The policy that the example commands name.
        passphrase: Protects the keys on the page.

    Raises:
        ValueError: ``kit`` has no store; a defect of the caller.
    """
    if kit.store is None:
        raise ValueError("a kit tells where the repository is")
    facts = [("store", kit.store.store), ("repository", kit.repository)]
    facts += [("admin", admin) for admin in kit.admins]
    facts += [
        (name, value)
        for name, value in (
            ("endpoint", kit.store.endpoint),
            ("region", kit.store.region),
            ("path-style", _flag(kit.store.path_style)),
            ("ca", kit.store.ca),
        )
        if value
    ]
    lines = [
        "# drkeeper recovery kit",
        "#",
        "# Keep this page offline: on paper, or on a medium in a safe. Whoever holds it can read",
        "# every snapshot. Without it, and without the keys on your machines, nobody can.",
        "#",
        *(f"#kit {name}: {value}" for name, value in facts),
        "#",
        "# On an empty machine:",
        "#   1. Install drkeeper; for S3, set up the store's credentials as for any AWS tool.",
        "#   2. Save this page as kit.txt, and run: chmod 600 kit.txt",
        "#   3. drkeeper snapshots --identity kit.txt",
        f"#   4. drkeeper restore {policy_hint} --identity kit.txt --to /restored",
        "#      To an instant: add --point-in-time '2026-11-20T14:30:00Z'",
        "#   For configuration, policies and ledger too: drkeeper rescue --identity kit.txt",
        "",
    ]
    keys = "\n".join(key.to_text() for key in kit.keys)
    body = keys if passphrase is None else protect(keys.encode(), passphrase).decode()
    return "\n".join(lines) + body.rstrip("\n") + "\n"


def _flag(value: bool | None) -> str | None:  # noqa: FBT001 - a three-valued setting
    return None if value is None else str(value).lower()


def parse_kit(content: bytes, passphrase: Callable[[], str] | None = None) -> Kit:
    """Read a recovery kit, or any key file.

    Args:
        content: The file.
        passphrase: Asked only when keys are protected.

    Raises:
        ConfigurationError: It is neither; the message quotes nothing of it.
        KeyNotFoundError: The passphrase is wrong or absent.
        IntegrityError: A protected part is damaged.
    """
    if len(content) > LARGEST_KIT:
        raise ConfigurationError("the identity file is too large to be one")
    try:
        text = content.decode().replace("\r\n", "\n")
    except UnicodeDecodeError:
        # A binary age file under a passphrase.
        return Kit(keys=(parse_key_file(content, passphrase),))
    facts = [(match[1], match[2]) for match in map(_FACT.fullmatch, text.split("\n")) if match]
    blocks = [match[0] for match in _ARMOR.finditer(text)]
    plain = _ARMOR.sub("", text)
    keys = [parse_key_file(part.encode()) for part in _sections(plain)]
    for block in blocks:
        keys += _protected(block, passphrase)
    if not keys:
        raise ConfigurationError(
            "the identity file holds no key",
            hint="Give the recovery kit, or a key file made by drkeeper or by age-keygen -pq.",
        )
    admins = [value for name, value in facts if name == "admin"]
    admins += [
        key.signing_key.verify_key.hex
        for key in keys
        if key.role is Role.ADMIN and key.signing_key is not None
    ]
    single = dict(facts)
    return Kit(
        keys=tuple(keys),
        admins=tuple(dict.fromkeys(admins)),
        repository=single.get("repository", ""),
        store=_store(single),
    )


def _protected(block: str, passphrase: Callable[[], str] | None) -> list[KeyFile]:

    if passphrase is None:
        raise KeyNotFoundError(
            "the keys are protected by a passphrase",
            hint="Set DRKEEPER_PASSPHRASE_FILE, or run this on a terminal.",
        )
    given = passphrase()
    try:
        text = decrypt_with_passphrase(block.encode(), given).decode()
    except KeyNotFoundError as error:
        raise KeyNotFoundError(
            "the passphrase of the identity file is wrong", hint="Try its passphrase again."
        ) from error
    except UnicodeDecodeError:
        raise ConfigurationError("the protected part of the identity file is no key") from None
    return [parse_key_file(part.encode()) for part in _sections(text)]


def _sections(text: str) -> list[str]:
    """Cut text before each line that names a role; what holds nothing but comments is left out."""
    parts: list[list[str]] = [[]]
    for line in text.split("\n"):
        if line.startswith(_SECTION):
            parts.append([])
        parts[-1].append(line)
    joined = ["\n".join(part) for part in parts]
    return [part for part in joined if _holds_something(part)]


def _holds_something(part: str) -> bool:
    lines = [line.strip() for line in part.split("\n")]
    return any(line and not line.startswith("#") for line in lines) or _SECTION in part


def _store(facts: dict[str, str]) -> RepositorySettings | None:
    if "store" not in facts:
        return None
    path_style = facts.get("path-style")
    return RepositorySettings(
        name="kit",
        store=facts["store"],
        keys=NO_KEYS,
        endpoint=facts.get("endpoint"),
        region=facts.get("region"),
        path_style=None if path_style is None else path_style == "true",
        ca=facts.get("ca"),
    )
