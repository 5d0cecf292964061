"""The journal: what is believed, what is skipped, and what is refused."""

import json
import os
from dataclasses import replace

import pytest

from doubles.memory_store import FaultyStore
from doubles.repositories import draft, entry_count, new_repository
from drkeeper.crypto.digests import digest
from drkeeper.crypto.signing import JOURNAL_DOMAIN, SigningKey
from drkeeper.errors import ConfigurationError, IntegrityError
from drkeeper.repository.creation import new_host_key, with_host
from drkeeper.repository.journal_body import parse_instant
from drkeeper.repository.journal_damage import FindingKind
from drkeeper.repository.journal_entry import MAX_ENTRY_BYTES, entry_name, entry_number
from drkeeper.repository.pin import HighWater
from drkeeper.repository.repository import update_keyring
from drkeeper.repository.session import open_session
from drkeeper.repository.strict_json import MalformedError, encode

LINEAGE = bytes(range(16))


def written(commits=2):
    """Return a repository with a few snapshots: entries 1 to 1 + 2 * commits."""
    made = new_repository()
    repository = made.open()
    for _ in range(commits):
        with open_session(repository, host=made.keys.host, lineage=LINEAGE) as session:
            session.commit(draft(session.id), tuple)
    return made, repository


def sign(payload, key):
    """Sign any bytes as if they were an entry."""
    return key.sign(JOURNAL_DOMAIN, payload) + payload


def payload_of(made, n):
    """Return the parsed payload of an entry in the store."""
    return json.loads(made.store.objects[entry_name(n)][64:])


def next_payload(made, repository, **changes):
    """Return the payload of an abort that would be well formed as the next entry."""
    n = repository.journal.read_to + 1
    return {
        "format": 1,
        "repository": made.keys.id.hex(),
        "n": n,
        "prev": repository.journal.state.digest.hex(),
        "at": "2026-11-21T12:00:00.000000Z",
        "op": "abort",
        "signer": made.keys.host.signing_key.verify_key.hex,
        "body": {"session": bytes(16).hex(), "reason": ""},
    } | changes


JUNK = {
    "empty": lambda _made, _repository: b"",
    "short": lambda _made, _repository: bytes(64),
    "garbage": lambda _made, _repository: os.urandom(500),
    "unsigned": lambda made, repository: bytes(64) + encode(next_payload(made, repository)),
    "stranger": lambda made, repository: sign(
        encode(next_payload(made, repository)), SigningKey.generate()
    ),
    "copy of another entry": lambda made, _repository: made.store.objects[entry_name(2)],
    "flipped": lambda made, _repository: bytes(
        [made.store.objects[entry_name(2)][0] ^ 1, *made.store.objects[entry_name(2)][1:]]
    ),
    "oversized": lambda _made, _repository: bytes(MAX_ENTRY_BYTES + 1),
}


@pytest.mark.parametrize("kind", list(JUNK))
def test_junk_blocks_nobody_and_is_not_believed(kind):
    """Whatever lies at the next number, the state stays, and honest writers go on after it."""
    made, repository = written()
    before = repository.journal.state.to_checkpoint()
    n = repository.journal.read_to + 1
    made.store.objects[entry_name(n)] = JUNK[kind](made, repository)
    repository.refresh()
    assert repository.journal.state.to_checkpoint() == before
    assert [void.n for void in repository.journal.voids] == [n]
    with open_session(repository, host=made.keys.host, lineage=LINEAGE) as session:
        commit = session.commit(draft(session.id), tuple)
    assert commit.n == n + 2
    again = made.open()
    assert again.live_commits() == repository.live_commits()
    assert [void.n for void in again.journal.voids] == [n]


MALFORMED = {
    "not JSON": lambda _p: b"{",
    "not an object": lambda _p: b"[]",
    "not UTF-8": lambda _p: b'{"a":"\xff"}',
    "deep": lambda _p: b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "duplicate name": lambda p: encode(p).replace(b'{"format":1', b'{"format":1,"format":1', 1),
    "duplicate name below": lambda p: encode(p).replace(b'"reason"', b'"reason":"","reason"', 1),
    "float": lambda p: encode(p).replace(b'"format":1', b'"format":1.0', 1),
    "exponent": lambda p: encode(p).replace(b'"format":1', b'"format":1e0', 1),
    "huge integer": lambda p: encode(p | {"n": 2**53 + 1}),
    "endless integer": lambda p: encode(p).replace(b'"format":1', b'"format":' + b"1" * 10_000, 1),
    "minus zero": lambda p: encode(p).replace(b'"format":1', b'"format":-0', 1),
    "NaN": lambda p: encode(p).replace(b'"format":1', b'"format":NaN', 1),
    "half a surrogate": lambda p: encode(p).replace(b'"reason":""', b'"reason":"\\ud800"', 1),
    "true for 1": lambda p: encode(p | {"format": True}),
    "other format": lambda p: encode(p | {"format": 2}),
    "missing member": lambda p: encode({k: v for k, v in p.items() if k != "at"}),
    "further member": lambda p: encode(p | {"extra": 1}),
    "other repository": lambda p: encode(p | {"repository": bytes(16).hex()}),
    "other number": lambda p: encode(p | {"n": p["n"] + 1}),
    "wrong link": lambda p: encode(p | {"prev": bytes(32).hex()}),
    "upper-case link": lambda p: encode(p | {"prev": p["prev"].upper() + ""}),
    "short link": lambda p: encode(p | {"prev": "00"}),
    "other signer": lambda p: encode(p | {"signer": bytes(32).hex()}),
    "time without zone": lambda p: encode(p | {"at": "2026-11-21T12:00:00.000000"}),
    "time that is none": lambda p: encode(p | {"at": "2026-13-21T12:00:00.000000Z"}),
    "unknown op": lambda p: encode(p | {"op": "destroy"}),
    "op of a type": lambda p: encode(p | {"op": 1}),
    "body of another op": lambda p: encode(p | {"op": "commit"}),
    "body with a further member": lambda p: encode(
        p | {"body": p["body"] | {"session": "0" * 32, "more": 1}}
    ),
    "body that is a list": lambda p: encode(p | {"body": []}),
    "illegal step": encode,
}


@pytest.mark.parametrize("kind", list(MALFORMED))
def test_signed_nonsense_is_void(kind):
    """An entry of a rightful signer that is malformed or illegal changes nothing, and is named."""
    made, repository = written()
    before = repository.journal.state.to_checkpoint()
    payload = MALFORMED[kind](next_payload(made, repository))
    n = repository.journal.read_to + 1
    made.store.objects[entry_name(n)] = sign(payload, made.keys.host.signing_key)
    repository.refresh()
    assert repository.journal.state.to_checkpoint() == before
    (void,) = repository.journal.voids
    assert void.n == n
    assert void.signer == made.keys.host.signing_key.verify_key.hex
    assert repository.journal.broken_at is None


def test_a_host_cannot_speak_for_another():
    """What a host signs about a session, lineage or host of another one is void."""
    made, repository = written(1)
    second = new_host_key(made.keys.id)
    admin = made.keys.admin.signing_key
    update_keyring(repository, admin, lambda keyring: with_host(keyring, second))
    session = open_session(repository, host=made.keys.host, lineage=LINEAGE)
    state = repository.journal.state
    opened = payload_of(made, state.n)["body"]
    commit = payload_of(made, 3)["body"]
    mine = commit | {
        "session": session.id.hex(),
        "seq": 2,
        "previous": 3,
        "host": second.host.hex(),
    }
    forged = [
        ("open", opened | {"session": "1" * 32}),
        ("open", opened | {"session": "1" * 32, "host": second.host.hex()}),
        ("commit", mine),
        ("commit", mine | {"host": made.keys.host.host.hex()}),
        ("mark", {"lineage": LINEAGE.hex(), "epoch": "1", "seq": 1, "digest": "0" * 64}),
        ("expire", {"commits": [3], "reason": ""}),
        ("condemn", {"objects": ["packs/" + "0" * 32]}),
        ("keyring", {"keyring": repository.keyring.to_json() | {"version": 3}}),
    ]
    before = state.to_checkpoint()
    for n, (op, body) in enumerate(forged, start=repository.journal.read_to + 1):
        made.store.objects[entry_name(n)] = made.forge(
            n, op, body, prev=state.digest, signer=second.signing_key
        )
    repository.refresh()
    assert repository.journal.state.to_checkpoint() == before
    assert len(repository.journal.voids) == len(forged)
    assert session.commit(draft(session.id), tuple).seq == 2


def test_a_refresh_without_news_is_one_request():
    """Looking for news costs one request, however long the journal is, and lists nothing."""
    made, repository = written()
    made.store.requests.clear()
    repository.refresh()
    assert made.store.requests == {"info": 1}


def test_entry_one_must_be_signed_by_a_trusted_admin():
    """A repository whose creation another admin signed is refused from the first entry on."""
    made = new_repository()
    stranger = SigningKey.generate().verify_key.hex
    journal = made.journal()
    journal._admins = (stranger,)
    with pytest.raises(IntegrityError, match="entry 1 does not create") as caught:
        journal.refresh()
    assert "recovery kit" in caught.value.hint


def test_an_empty_journal_is_no_repository():
    """A store whose journal is gone is not taken for a new repository."""
    made = new_repository()
    del made.store.objects[entry_name(1)]
    with pytest.raises(IntegrityError, match="no entry 1"):
        made.journal().refresh()


def seen(repository):
    """Return the high-water mark of what was read."""
    state = repository.journal.state
    return HighWater(state.n, state.digest)


def test_a_truncated_journal_is_a_rollback():
    """A journal that lost entries which were seen here before is refused."""
    made, repository = written()
    mark = seen(repository)
    for n in range(4, mark.n + 1):
        del made.store.objects[entry_name(n)]
    with pytest.raises(IntegrityError, match=r"rolled back: it ends at entry 3"):
        made.journal(high_water=mark).refresh()
    with pytest.raises(IntegrityError, match=r"rolled back: entry 5 was seen before"):
        made.journal(high_water=mark, resume=repository.journal.resume()).refresh()


def test_an_older_copy_of_the_store_is_a_rollback():
    """A restored older copy of the whole store is refused, also after it grew differently."""
    made, repository = written(1)
    older = made.store.copy()
    with open_session(repository, host=made.keys.host, lineage=LINEAGE) as session:
        session.commit(draft(session.id), tuple)
    mark = seen(repository)
    with pytest.raises(IntegrityError, match="rolled back"):
        made.journal(older, high_water=mark).refresh()
    other = made.open(older)
    with open_session(other, host=made.keys.host, lineage=LINEAGE) as session:
        session.commit(draft(session.id), tuple)
    with pytest.raises(IntegrityError, match="entry 5 is not the one that was seen before"):
        made.journal(older, high_water=mark).refresh()
    with pytest.raises(IntegrityError, match="entry 5 is not the one that was seen before"):
        made.journal(older, high_water=mark, resume=repository.journal.resume()).refresh()


def test_salvage_reports_a_rollback_and_reads_on():
    """Who must restore from what is left may look at it, is told, and can write nothing."""
    made, repository = written()
    mark = seen(repository)
    for n in (4, 5):
        del made.store.objects[entry_name(n)]
    journal = made.journal(high_water=mark, salvage=True)
    journal.refresh()
    assert [commit.n for commit in journal.commits()] == [3]
    assert any("rolled back" in finding.message for finding in journal.findings)
    with pytest.raises(IntegrityError):
        journal.append("abort", {"session": "", "reason": ""}, made.keys.host.signing_key)


def test_a_missing_number_is_an_integrity_violation():
    """A hole before a signed entry means that somebody removed an entry."""
    made, _ = written()
    del made.store.objects[entry_name(3)]
    with pytest.raises(IntegrityError, match="entry 3 is missing, but entry 4 exists"):
        made.journal().refresh()


def test_strays_beyond_the_end_are_reported_only():
    """Unsigned objects far beyond the end are reported, and nothing else comes of them."""
    made, repository = written()
    for n in (1000, 10**15):
        made.store.objects[entry_name(n)] = b"junk"
    made.store.objects["journal/readme"] = b"not an entry"
    journal = made.journal()
    journal.refresh()
    assert journal.read_to == repository.journal.read_to
    (finding,) = journal.findings
    assert finding.kind is FindingKind.STRAY
    assert finding.message == "2 stray objects are in journal/ beyond its end, the first at 1000"


def test_a_damaged_entry_stops_writers_until_an_admin_decides():
    """After a damaged entry nobody forks the history unknowingly; an admin may, knowingly."""
    made, repository = written()
    name = entry_name(4)
    data = bytearray(made.store.objects[name])
    data[100] ^= 1
    made.store.objects[name] = bytes(data)
    fresh = made.open()
    assert fresh.journal.broken_at == 5
    assert [commit.n for commit in fresh.live_commits()] == [3]
    with pytest.raises(IntegrityError, match="damaged after entry 3"):
        open_session(fresh, host=made.keys.host, lineage=LINEAGE)
    update_keyring(fresh, made.keys.admin.signing_key, lambda keyring: keyring)
    assert fresh.journal.broken_at is None
    open_session(fresh, host=made.keys.host, lineage=LINEAGE)
    assert repository.journal.state.n == 5


def test_bytes_hurt_on_their_way_are_read_again():
    """A read that returns wrong bytes once does not make a sound entry void."""
    made, repository = written()
    hurt = []

    class Hurting(FaultyStore):
        def get(self, key, *, offset=0, length=None):
            data = super().get(key, offset=offset, length=length)
            if key == entry_name(4) and not hurt:
                hurt.append(key)
                return bytes([data[0] ^ 1, *data[1:]])
            return data

    journal = made.journal(Hurting(made.store, lambda *_: None))
    journal.refresh()
    assert hurt
    assert journal.state.to_checkpoint() == repository.journal.state.to_checkpoint()
    assert journal.voids == ()


def test_a_lost_race_is_noticed_and_tried_at_the_next_number():
    """When somebody else creates the next entry first, both entries end up in the journal."""
    made, repository = written()
    rival = made.open()
    janitor = made.keys.janitor.signing_key

    def first(kind, key, count):
        if kind == "create" and count == 1 and key == entry_name(6):
            rival.journal.append("condemn", {"objects": ["packs/" + "1" * 32]}, janitor)

    repository.journal._store = FaultyStore(made.store, first)
    entry = repository.journal.append("condemn", {"objects": ["packs/" + "2" * 32]}, janitor)
    assert entry.n == 7
    assert entry_count(made.store) == 7
    assert sorted(made.open().journal.state.condemned) == [6, 7]


def test_every_256th_entry_is_a_checkpoint_that_all_verify():
    """Checkpoints appear at their numbers, equal the state, and a full read agrees with them."""
    made = new_repository()
    repository = made.open()
    janitor = made.keys.janitor.signing_key
    for number in range(600):
        objects = [f"packs/{number:032x}"]
        repository.journal.append("condemn", {"objects": objects}, janitor)
    ops = {n: payload_of(made, n)["op"] for n in range(1, entry_count(made.store) + 1)}
    assert [n for n, op in ops.items() if op == "checkpoint"] == [256, 512]
    journal = made.journal()
    journal.refresh()
    assert journal.voids == ()
    assert journal.state.to_checkpoint() == repository.journal.state.to_checkpoint()


def test_a_lying_checkpoint_is_void():
    """A checkpoint whose state is not the state before it is skipped and reported."""
    made, repository = written()
    state = repository.journal.state
    lie = state.to_checkpoint() | {"commits": []}
    n = state.n + 1
    made.store.objects[entry_name(n)] = made.forge(
        n, "checkpoint", {"state": lie}, prev=state.digest
    )
    repository.refresh()
    assert len(repository.live_commits()) == 2
    assert [void.n for void in repository.journal.voids] == [n]


def test_a_newer_format_is_refused_not_guessed():
    """When an admin moved the repository to a newer format, this drkeeper says so and stops."""
    made, repository = written()
    state = repository.journal.state
    newer = repository.keyring.to_json() | {"version": 2, "format": 2}
    made.store.objects[entry_name(state.n + 1)] = made.forge(
        state.n + 1,
        "keyring",
        {"keyring": newer},
        prev=state.digest,
        signer=made.keys.admin.signing_key,
    )
    with pytest.raises(IntegrityError, match="newer than this drkeeper") as caught:
        repository.refresh()
    assert "newer drkeeper" in caught.value.hint


def test_what_the_repository_would_not_accept_is_not_written():
    """A key without the right to say something is told so, and no void entry is made."""
    made, repository = written()
    before = entry_count(made.store)
    with pytest.raises(ConfigurationError, match="may not condemn"):
        repository.journal.append(
            "condemn", {"objects": ["packs/" + "0" * 32]}, made.keys.host.signing_key
        )
    assert entry_count(made.store) == before


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("journal/0000000000000001", 1),
        ("journal/0000000000000000", None),
        ("journal/1", None),
        ("journal/00000000000000001", None),
        ("journal/000000000000000a", None),
        ("journal/" + "\u0660" * 15 + "\u0661", None),
        ("other/0000000000000001", None),
    ],
    ids=str,
)
def test_only_sixteen_digits_name_an_entry(name, number):
    """Objects with any other name are not part of the journal."""
    assert entry_number(name) == number


def test_links_are_digests_of_whole_objects():
    """Each entry names the digest of signature and payload of the one before."""
    made, _ = written()
    for n in range(2, entry_count(made.store) + 1):
        before = made.store.objects[entry_name(n - 1)]
        assert payload_of(made, n)["prev"] == digest(before).hex()


def test_a_key_that_left_the_keyring_is_nobodys_key():
    """An admin that was removed can no longer make others believe that the journal is damaged."""
    made, repository = written(1)
    old, new = made.keys.admin.signing_key, SigningKey.generate()

    def succeeded(keyring):
        return replace(keyring, admins=(new.verify_key.hex,))

    update_keyring(repository, old, succeeded)
    n = repository.journal.read_to + 1
    made.store.objects[entry_name(n)] = b"junk"
    made.store.objects[entry_name(n + 1)] = made.forge(
        n + 1, "abort", {"session": "0" * 32, "reason": ""}, signer=old
    )
    for reader in (repository, made.open()):
        reader.refresh()
        assert reader.journal.broken_at is None
        assert [void.signer for void in reader.journal.voids] == [None, None]


def test_a_commit_that_lies_about_itself_stops_no_reader_of_others():
    """A host may sign any number the format allows; who does not need its snapshot never notices."""
    made, repository = written(1)
    session = open_session(repository, host=made.keys.host, lineage=LINEAGE)
    body = payload_of(made, 3)["body"] | {
        "session": session.id.hex(),
        "seq": 2,
        "previous": 3,
    }
    body["root"] = body["root"] | {"offset": 2**53}
    repository.journal.append("commit", body, made.keys.host.signing_key)
    for reader in (repository, made.open()):
        assert [commit.n for commit in reader.live_commits()] == [3, 5]


def test_a_day_has_twenty_four_hours():
    """An hour that some readers take for the next day's first is refused by all."""
    for text in ("2026-11-21T24:00:00.000000Z", "2026-11-21T23:60:00.000000Z"):
        with pytest.raises(MalformedError):
            parse_instant(text)
