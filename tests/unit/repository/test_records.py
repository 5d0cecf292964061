"""Records: what a host signs and seals beside its snapshots."""

import os
import random
import struct

import pytest

from doubles.memory_store import MemoryStore
from doubles.repositories import SteppingClock
from drkeeper.crypto.age import encrypt
from drkeeper.crypto.digests import digest
from drkeeper.crypto.sealing import Header, Kind, id_of_name, seal
from drkeeper.crypto.signing import RECORD_DOMAIN, SigningKey
from drkeeper.errors import (
    ConfigurationError,
    IntegrityError,
    KeyNotFoundError,
    ObjectExistsError,
    ObjectNotFoundError,
    StorageUnavailableError,
)
from drkeeper.repository import records
from drkeeper.repository.creation import create_repository, new_host_key, with_host
from drkeeper.repository.keyfile import KeyFile
from drkeeper.repository.keyring import Role
from drkeeper.repository.records import ledger_hosts, ledger_series, rescue_series
from drkeeper.repository.repository import open_repository, update_keyring

CONTENT = b"what is to be kept, " * 40


class World:
    """A repository in memory with two hosts."""

    def __init__(self):
        self.store = MemoryStore()
        self.clock = SteppingClock()
        self.keys = create_repository(self.store, clock=self.clock, save=lambda _keys: None)
        self.other = new_host_key(self.keys.id)
        self.change(lambda keyring: with_host(keyring, self.other))

    def change(self, how):
        update_keyring(self.opened(self.keys.host), self.keys.admin.signing_key, how)

    def opened(self, key, **more):
        return open_repository(
            self.store,
            clock=self.clock,
            identities=key.identities,
            admins=self.keys.admins,
            **more,
        )

    def series(self, reader=None, *, host=None, key=None):
        reader, host = reader or self.keys.host, host or self.keys.host
        return ledger_series(self.opened(reader), host.host, key or host)

    def raw(self, number=1):
        return self.store.objects[self.series().name(number)]

    def put_raw(self, data, number=1):
        self.store.objects[self.series().name(number)] = bytes(data)


@pytest.fixture
def world():
    return World()


@pytest.fixture
def stored(world):
    world.series().put(1, CONTENT)
    return world


def test_a_record_comes_back(stored):
    """The host that wrote it reads it, and so does the recovery key; it says who signed it."""
    for reader in (stored.keys.host, stored.keys.recovery):
        found = stored.series(reader).read(1)
        assert (found.content, found.host, found.former) == (CONTENT, stored.keys.host.host, False)
    assert stored.series().last() == 1
    assert stored.series().last(after=5) == 5


@pytest.mark.parametrize("length", [0, 1, 4095, 70_000])
def test_any_length_comes_back(world, length):
    """Also nothing, also what does not compress; the object does not tell the length."""
    content = os.urandom(length)
    world.series().put(1, content)
    assert world.series().get(1) == content
    assert CONTENT[:20] not in world.raw()


def test_no_other_host_reads_it(stored):
    """A host opens its own metadata only."""
    with pytest.raises(KeyNotFoundError):
        stored.series(stored.other).read(1)


def test_a_number_is_used_once(stored):
    """Whoever comes second is told, and nothing is written over."""
    before = stored.raw()
    with pytest.raises(ObjectExistsError):
        stored.series().put(1, b"another")
    assert stored.raw() == before
    with pytest.raises(ObjectNotFoundError):
        stored.series().read(2)


def test_appending_finds_the_next_number(world):
    """Also when somebody was faster."""
    one = rescue_series(world.opened(world.keys.host), world.keys.host)
    two = rescue_series(world.opened(world.other), world.other)
    last = one.last
    assert [one.append(b"a"), two.append(b"b")] == [1, 2]
    one.last = lambda **_: 0
    assert one.append(b"c") == 3
    del one.last
    assert last() == 3
    seen = rescue_series(world.opened(world.keys.recovery))
    assert [seen.read(n).host for n in (1, 2, 3)] == [
        world.keys.host.host, world.other.host, world.keys.host.host,
    ]  # fmt: skip


def test_every_changed_byte_is_found(stored):
    """Of the object's bytes, those of its beginning and 300 others at random: none is believed."""
    sound, chance = stored.raw(), random.Random(3)
    series = stored.series()
    for place in {*range(24), *chance.sample(range(len(sound)), 300), len(sound) - 1}:
        damaged = bytearray(sound)
        damaged[place] ^= 1 << chance.randrange(8)
        stored.put_raw(damaged)
        with pytest.raises((IntegrityError, KeyNotFoundError)):
            series.read(1)


@pytest.mark.parametrize("length", [0, 3, 4, 5, 100, -1, -4096, -20_000])
def test_a_cut_object_is_found(stored, length):
    """At any length, one byte more included."""
    sound = stored.raw()
    stored.put_raw(sound[:length])
    with pytest.raises(IntegrityError):
        stored.series().read(1)
    stored.put_raw(sound + b"\0")
    with pytest.raises(IntegrityError):
        stored.series().read(1)


def test_a_huge_object_is_not_read(stored):
    """Its length is looked at before anything is fetched."""
    stored.put_raw(bytes(64 * 1024 * 1024))
    with pytest.raises(IntegrityError, match="too large or too small"):
        stored.series().read(1)


def test_a_record_is_what_its_name_says(stored):
    """Under another number, for another host or as another kind it is not believed."""
    stored.put_raw(stored.raw(), 2)
    with pytest.raises(IntegrityError):
        stored.series().read(2)
    other = ledger_series(stored.opened(stored.keys.recovery), stored.other.host)
    stored.store.objects[other.name(1)] = stored.raw()
    with pytest.raises(IntegrityError):
        other.read(1)
    rescue = rescue_series(stored.opened(stored.keys.recovery))
    stored.store.objects[rescue.name(1)] = stored.raw()
    with pytest.raises(IntegrityError):
        rescue.read(1)


def forged(world, name, plain, *, kind=Kind.LEDGER):
    """Make a record as somebody would who knows the recipients, which is no secret."""
    recovery = world.keys.recovery
    secret = os.urandom(32)
    slot = encrypt(secret, [each.recipient for each in recovery.identities])
    header = Header(kind, world.keys.id, digest(slot)[:16], id_of_name(name))
    return struct.pack(">I", len(slot)) + slot + seal(secret, header, plain)


def signed(world, name, key, body, *, repository=None):
    spelt = name.encode()
    of = repository or world.keys.id
    message = of + struct.pack(">H", len(spelt)) + spelt + body
    plain = key.verify_key.raw + key.sign(RECORD_DOMAIN, message) + struct.pack(">I", len(body))
    plain += body
    return plain + bytes(-len(plain) % 4096)


BODY = struct.pack(">BI", 0, 3) + b"abc"


def test_the_form_is_the_documented_one(world):
    """What is put together from the page alone is a record."""
    series = world.series(world.keys.recovery)
    name = series.name(1)
    key = world.keys.host.signing_key
    world.store.objects[name] = forged(world, name, signed(world, name, key, BODY))
    assert series.get(1) == b"abc"


@pytest.mark.parametrize("who", ["stranger", "other host", "admin", "janitor"])
def test_a_signature_by_another_key_is_not_believed(world, who):
    """Whoever can write to the store, or is another host: the ledger of this one is its own."""
    key = {
        "stranger": SigningKey.generate(),
        "other host": world.other.signing_key,
        "admin": world.keys.admin.signing_key,
        "janitor": world.keys.janitor.signing_key,
    }[who]
    series = world.series(world.keys.recovery)
    name = series.name(1)
    world.store.objects[name] = forged(world, name, signed(world, name, key, BODY))
    with pytest.raises(IntegrityError, match="may not sign it"):
        series.read(1)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        struct.pack(">BI", 0, 4) + b"abc",
        struct.pack(">BI", 7, 3) + b"abc",
        struct.pack(">BI", 1, 3) + b"abc",
        struct.pack(">BI", 0, 2**32 - 1) + b"abc",
        struct.pack(">BI", 1, 17 * 2**20) + b"abc",
    ],
    ids=["none", "longer", "codec", "frame", "huge", "bomb"],
)
def test_a_host_that_lies_about_lengths_is_refused(world, body):
    """A codec that is none, a length that is another, a bomb: an error, and no memory."""
    series = world.series(world.keys.recovery)
    name = series.name(1)
    key = world.keys.host.signing_key
    world.store.objects[name] = forged(world, name, signed(world, name, key, body))
    with pytest.raises(IntegrityError):
        series.read(1)


def test_a_signature_for_another_repository_is_not_believed(world):
    """One key may serve several; what it signed for one is nothing in another."""
    series = world.series(world.keys.recovery)
    name = series.name(1)
    plain = signed(world, name, world.keys.host.signing_key, BODY, repository=bytes(16))
    world.store.objects[name] = forged(world, name, plain)
    with pytest.raises(IntegrityError, match="signature is not by this key"):
        series.read(1)


@pytest.mark.parametrize(
    "plain",
    [b"", bytes(50), bytes(4096), bytes(4097), b"\xff" * 4096],
    ids=["none", "short", "zeros", "odd", "ones"],
)
def test_a_plaintext_that_is_none_is_refused(world, plain):
    """Whatever was sealed, nothing is taken from it before a signature was verified."""
    series = world.series(world.keys.recovery)
    world.store.objects[series.name(1)] = forged(world, series.name(1), plain)
    with pytest.raises(IntegrityError):
        series.read(1)


def test_what_a_former_key_signed_stays_readable(stored):
    """A host that was replaced has a history; that its key left the keyring is told."""
    gone = stored.keys.host.signing_key.verify_key.hex
    stored.change(lambda keyring: keyring.without_signer(gone))
    found = stored.series(stored.keys.recovery).read(1)
    assert (found.former, found.host) == (True, stored.keys.host.host)
    assert gone in [key.hex for key in stored.series(stored.keys.recovery).trusted_keys]


def test_hosts_are_found_by_what_is_stored(stored):
    """Each host with a series, once; junk beside them is passed over."""
    stored.series(stored.other, host=stored.other).put(1, b"x")
    stored.store.objects["ledger/junk"] = b""
    stored.store.objects[f"ledger/{'f' * 32}x/000000000001"] = b""
    hosts = ledger_hosts(stored.opened(stored.keys.recovery))
    assert sorted(hosts) == sorted([stored.keys.host.host, stored.other.host])


def test_a_lost_reply_is_no_failure(world):
    """The object is there, and it is known to be ours."""
    create, failures = world.store.create, [StorageUnavailableError("no answer")]

    def losing(key, data):
        create(key, data)
        if failures:
            raise failures.pop()

    world.store.create = losing
    world.series().put(1, CONTENT)
    assert world.series().get(1) == CONTENT


def test_only_a_host_writes(world):
    """A key without a host signs nothing here; nor is anything too long written."""
    with pytest.raises(ConfigurationError, match="only the key of a host"):
        world.series(key=world.keys.janitor).put(1, b"")
    with pytest.raises(ConfigurationError, match="longer than a record may be"):
        world.series().put(1, bytes(records.MAX_CONTENT_BYTES + 1))
    assert not [name for name in world.store.objects if name.startswith("ledger/")]


def test_the_keys_are_those_of_hosts(world):
    """Janitors and admins sign no records."""
    assert KeyFile is type(world.keys.host)
    keys = {key.hex for key in world.series().trusted_keys}
    keyring = world.opened(world.keys.host).keyring
    assert keys == {signer.key for signer in keyring.signers if Role.HOST in signer.roles}
