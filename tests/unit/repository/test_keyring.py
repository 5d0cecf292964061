"""The keyring: who may say what, who is given which keys."""

import copy

import pytest

from doubles.repositories import new_repository
from drkeeper.crypto.age import Identity
from drkeeper.crypto.age.header import MAX_STANZAS
from drkeeper.errors import ConfigurationError
from drkeeper.repository.keyring import Keyring, Role
from drkeeper.repository.places import KeyClass
from drkeeper.repository.repository import update_keyring

HOST_KEY, JANITOR_KEY, ADMIN_KEY = "1" * 64, "2" * 64, "3" * 64
HOST, OTHER = "a" * 32, "b" * 32


def recipients():
    """Return real recipients, made once."""
    return [reader.recipient for reader in new_repository().keys.keyring.readers]


def value():
    """Return a keyring as JSON, with one key of each role."""
    first, second, third, fourth = recipients()
    return {
        "version": 1,
        "suite": 1,
        "format": 1,
        "admins": [ADMIN_KEY],
        "signers": [
            {"key": HOST_KEY, "roles": ["host"], "host": HOST},
            {"key": JANITOR_KEY, "roles": ["janitor"], "host": None},
        ],
        "recipients": [
            {"recipient": first, "role": "recovery", "host": None},
            {"recipient": second, "role": "verifier", "host": None},
            {"recipient": third, "role": "host", "host": HOST},
            {"recipient": fourth, "role": "janitor", "host": None},
        ],
    }


def test_reading_and_writing_a_keyring_agree():
    """What is written is what was read, member by member."""
    assert Keyring.from_json(value()).to_json() == value()


@pytest.mark.parametrize(
    ("op", "who"),
    [
        ("create", {ADMIN_KEY}),
        ("keyring", {ADMIN_KEY}),
        ("open", {HOST_KEY}),
        ("commit", {HOST_KEY}),
        ("abort", {HOST_KEY, JANITOR_KEY, ADMIN_KEY}),
        ("expire", {JANITOR_KEY, ADMIN_KEY}),
        ("hold", {HOST_KEY, JANITOR_KEY, ADMIN_KEY}),
        ("release", {JANITOR_KEY, ADMIN_KEY}),
        ("condemn", {JANITOR_KEY, ADMIN_KEY}),
        ("swept", {JANITOR_KEY, ADMIN_KEY}),
        ("mark", {HOST_KEY}),
        ("checkpoint", {HOST_KEY, JANITOR_KEY, ADMIN_KEY}),
        ("anything else", set()),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)
def test_who_may_sign_what(op, who):
    """Each operation is open to the roles in the format's table and to nobody else."""
    keyring = Keyring.from_json(value())
    keys = [HOST_KEY, JANITOR_KEY, ADMIN_KEY, "4" * 64]
    assert {key for key in keys if keyring.allows(key, op)} == who


def test_a_host_signs_only_as_itself():
    """A host key speaks for its own host id and for no other."""
    keyring = Keyring.from_json(value())
    assert keyring.allows(HOST_KEY, "open", HOST)
    assert not keyring.allows(HOST_KEY, "open", OTHER)
    assert not keyring.allows(JANITOR_KEY, "open", HOST)


def test_recipients_follow_from_role_and_host():
    """Recovery and verifier get everything, a host metadata of its own, a janitor references."""
    keyring = Keyring.from_json(value())
    first, second, third, fourth = recipients()
    of = {cls: [str(r) for r in keyring.recipients(cls, bytes.fromhex(HOST))] for cls in KeyClass}
    assert of[KeyClass.DATA] == [first, second]
    assert of[KeyClass.META] == [first, second, third]
    assert of[KeyClass.REFS] == [first, second, third, fourth]
    other = [str(r) for r in keyring.recipients(KeyClass.META, bytes.fromhex(OTHER))]
    assert other == [first, second]


def broken(change):
    """Return a keyring spoilt by ``change``."""
    spoilt = copy.deepcopy(value())
    change(spoilt)
    return spoilt


BROKEN = {
    "not an object": lambda k: k.clear(),
    "no admin": lambda k: k["admins"].clear(),
    "admin twice": lambda k: k["admins"].append(ADMIN_KEY),
    "malformed admin": lambda k: k["admins"].append("XYZ"),
    "upper-case admin": lambda k: k["admins"].append("A" * 64),
    "no recovery": lambda k: k["recipients"].pop(0),
    "recipient twice": lambda k: k["recipients"].append(k["recipients"][0]),
    "recipient of a wrong kind": lambda k: k["recipients"][0].update(recipient="age1abc"),
    "recipient that is an admin": lambda k: k["recipients"][1].update(role="admin"),
    "host without id": lambda k: k["recipients"][2].update(host=None),
    "recovery with id": lambda k: k["recipients"][0].update(host=HOST),
    "signer without role": lambda k: k["signers"][0].update(roles=[]),
    "signer of no signing role": lambda k: k["signers"][1].update(roles=["recovery"]),
    "unknown role": lambda k: k["signers"][1].update(roles=["root"]),
    "roles out of order": lambda k: k["signers"][0].update(roles=["janitor", "host"]),
    "role twice": lambda k: k["signers"][0].update(roles=["host", "host"]),
    "signer twice": lambda k: k["signers"].append(k["signers"][0]),
    "malformed host": lambda k: k["signers"][0].update(host="z" * 32),
    "version 0": lambda k: k.update(version=0),
    "version true": lambda k: k.update(version=True),
    "further member": lambda k: k.update(more=1),
    "missing member": lambda k: k.pop("suite"),
    "too many": lambda k: k.update(admins=[f"{n:064x}" for n in range(5000)]),
}


@pytest.mark.parametrize("what", list(BROKEN))
def test_an_unsound_keyring_is_refused(what):
    """A keyring that could lock everybody out, or means two things, does not exist."""
    with pytest.raises(ConfigurationError):
        Keyring.from_json(broken(BROKEN[what]))


def test_a_key_slot_never_has_more_recipients_than_it_may():
    """The change that would keep every host from opening a session is refused; hosts do not count
    for each other.
    """
    made = new_repository()
    repository, admin = made.open(), made.keys.admin.signing_key
    more = [Identity.generate().recipient for _ in range(MAX_STANZAS)]

    def with_all(ring, role, host=None):
        for recipient in more:
            ring = ring.with_reader(recipient, role, host)
        return ring

    version = repository.keyring.version
    for role, host in ((Role.VERIFIER, None), (Role.HOST, bytes(16))):
        with pytest.raises(ConfigurationError, match="more than 64 recipients"):
            update_keyring(repository, admin, lambda ring, r=role, h=host: with_all(ring, r, h))
    assert repository.keyring.version == version
    spread = repository.keyring
    for number, recipient in enumerate(more):
        spread = spread.with_reader(recipient, Role.HOST, number.to_bytes(16, "big"))
    assert update_keyring(repository, admin, lambda _ring: spread).version == version + 1


def test_changes_leave_the_rest_alone():
    """Adding and removing a key changes nothing else; removing an absent one is said."""
    keyring = Keyring.from_json(value())
    more = Identity.generate().recipient
    added = keyring.with_reader(more, Role.VERIFIER)
    assert added.without_reader(str(more)) == keyring
    signed = keyring.with_signer("5" * 64, [Role.HOST, Role.JANITOR], bytes.fromhex(OTHER))
    assert Keyring.from_json(signed.to_json()) == signed
    assert signed.allows("5" * 64, "condemn")
    assert signed.without_signer("5" * 64) == keyring
    assert signed.keys == (HOST_KEY, JANITOR_KEY, "5" * 64, ADMIN_KEY)
    assert signed.allows("5" * 64, "open", OTHER)
    for change in (lambda: keyring.without_reader("x"), lambda: keyring.without_signer("x")):
        with pytest.raises(ConfigurationError, match="no such"):
            change()
