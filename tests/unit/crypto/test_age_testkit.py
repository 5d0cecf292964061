"""The published age test kit: every good and bad file ends as it says."""

import base64
import hashlib
import zlib
from collections import defaultdict
from dataclasses import dataclass

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from drkeeper.crypto import age, bech32
from drkeeper.crypto.age import armor
from drkeeper.crypto.age.header import decode_base64
from drkeeper.errors import IntegrityError, KeyNotFoundError

# The word of an error text that tells at which stage a file was refused; the longest match counts.
OUTCOMES = {
    "armor failure": "armor",
    "header failure": "header",
    "HMAC failure": "header authentication failed",
    "payload failure": "payload",
}


@dataclass(frozen=True)
class Classic:
    """An X25519 identity: much of the kit uses it to reach headers and payloads.

    drkeeper has no such identities: they do not hold against quantum computers.
    """

    key: X25519PrivateKey

    def unwrap(self, stanzas):
        own = self.key.public_key().public_bytes_raw()
        for stanza in (stanza for stanza in stanzas if stanza.kind == "X25519"):
            share = decode_base64("".join(stanza.arguments).encode())
            if len(share) != 32:
                raise IntegrityError("age header has a classic stanza of a wrong length")
            secret = self.key.exchange(X25519PublicKey.from_public_bytes(share))
            info = b"age-encryption.org/v1/X25519"
            wrap_key = HKDF(SHA256(), 32, share + own, info).derive(secret)
            try:
                return ChaCha20Poly1305(wrap_key).decrypt(bytes(12), stanza.body, None)
            except InvalidTag:
                continue
        return None


@dataclass(frozen=True)
class Case:
    """One file of the kit."""

    facts: dict
    file: bytes

    @property
    def expect(self):
        return self.facts["expect"][0]

    def open(self):
        # Leading garbage hides the armor from detection; the kit means it to be tried as armor.
        file = armor.decode(self.file) if self.facts["armored"] else self.file
        if self.facts["passphrase"]:
            return age.decrypt_with_passphrase(file, self.facts["passphrase"][0])
        return age.decrypt(file, [identity(text) for text in self.facts["identity"]])


def identity(text):
    prefix, seed = bech32.decode(text)
    if prefix == "age-secret-key-":
        return Classic(X25519PrivateKey.from_private_bytes(seed))
    return age.Identity.parse(text)


@pytest.fixture(scope="module")
def kit(vectors):
    """The files of the kit by name."""
    return {name: read(text) for name, text in vectors("age-testkit.json")["vectors"].items()}


def read(text):
    """Return a file of the kit: lines of facts, an empty line, the age file."""
    head, _, file = base64.b64decode(text).partition(b"\n\n")
    facts = defaultdict(list)
    for line in head.decode().splitlines():
        key, _, value = line.partition(": ")
        facts[key].append(value)
    return Case(facts, zlib.decompress(file) if facts["compressed"] else file)


@pytest.mark.parametrize(
    "family", ["armor", "header", "hmac", "hybrid", "scrypt", "stanza", "stream"]
)
def test_files_of_the_kit_end_as_it_says(kit, family):
    """Good files open to the published plaintext; bad ones fail at the stage that is published."""
    chosen = [(name, case) for name, case in kit.items() if name.startswith(family)]
    ends = [(name, ended_as(case)) for name, case in chosen]

    assert chosen
    assert ends == [(name, case.expect) for name, case in chosen]


def ended_as(case):
    """Open, and name the end in the kit's words."""
    try:
        plain = case.open()
    except KeyNotFoundError:
        return "no match"
    except IntegrityError as error:
        found = [end for end, word in OUTCOMES.items() if word in str(error)]
        return found[-1] if found else str(error)
    matches = hashlib.sha256(plain).hexdigest() == case.facts["payload"][0]
    return "success" if matches else "wrong plaintext"


def test_the_rest_of_the_kit_ends_as_it_says(kit):
    """The two files of no family, an empty one and one of another version, are refused."""
    rest = [case for name, case in kit.items() if name in {"empty", "version_unsupported"}]

    assert [ended_as(case) for case in rest] == ["header failure", "header failure"]


def test_armor_is_found_without_being_told(kit):
    """Armored files of the kit open as they are, and bad armor is refused however it is met."""
    for name, case in kit.items():
        if case.facts["armored"] and case.expect == "armor failure":
            with pytest.raises(IntegrityError):
                age.decrypt(case.file, [])
        if case.facts["armored"] and case.expect == "success":
            untold = Case(defaultdict(list, case.facts, armored=[]), case.file)
            assert ended_as(untold) == "success", name


def test_passphrase_files_of_the_kit_are_told_apart(kit):
    """Files that open with a passphrase are recognised, files that open otherwise are not."""
    for name, case in kit.items():
        if case.expect == "success":
            assert age.is_passphrase_file(case.file) == bool(case.facts["passphrase"]), name


def test_the_published_identity_has_the_published_recipient(vectors):
    """The example of the specification: 32 bytes expand to its ML-KEM and X25519 keys."""
    example = vectors("age-example.json")

    found = age.Identity.parse(example["identity"])

    assert str(found.recipient) == example["recipient"]
    assert age.Recipient.parse(example["recipient"]) == found.recipient
    assert found.secret_text() == example["identity"]
