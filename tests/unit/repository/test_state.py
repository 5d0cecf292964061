"""The steps of the journal's state, one rule at a time."""

from datetime import UTC, datetime, timedelta

import pytest

from doubles.repositories import draft, new_repository, place
from drkeeper.errors import IntegrityError
from drkeeper.repository.commit import commit_body
from drkeeper.repository.journal_body import format_instant, parse_body
from drkeeper.repository.journal_entry import JournalEntry, VoidError
from drkeeper.repository.state import JournalState
from drkeeper.repository.steps import step

KEYS = new_repository().keys
ADMIN, HOST, JANITOR = (
    key.signing_key.verify_key.hex for key in (KEYS.admin, KEYS.host, KEYS.janitor)
)
NOW = datetime(2026, 11, 21, tzinfo=UTC)
LINEAGE, SESSION = "a" * 32, "1" * 32
PACK = "packs/" + "9" * 32


class Story:
    """A journal told entry by entry."""

    def __init__(self):
        self.state = JournalState(KEYS.id)
        self.says(ADMIN, "create", {"keyring": KEYS.keyring.to_json()})

    def says(self, signer, op, body, *, at=NOW):
        """Apply the next entry and return its number."""
        n = self.state.n + 1
        body = parse_body(op, body)
        step(
            self.state,
            JournalEntry(n, bytes([n]) * 32, self.state.digest, at, op, signer, body),
        )
        return n

    def opens(self, session=SESSION, **changes):
        """Open a session."""
        body = {
            "session": session,
            "lineage": LINEAGE,
            "host": KEYS.host.host.hex(),
            "keyring": 1,
            "keyslots": dict.fromkeys(("data", "meta", "refs"), "0" * 64),
            "resumes": None,
        }
        return self.says(HOST, "open", body | changes)

    def commits(self, session=SESSION, *, complete=True, **changes):
        """Commit in a session, numbered rightly."""
        lineage = self.state.lineages[LINEAGE]
        body = commit_body(
            draft(bytes(16), complete=complete),
            session=bytes.fromhex(session),
            lineage=bytes.fromhex(LINEAGE),
            host=KEYS.host.host,
            seq=lineage.seq + 1,
            previous=lineage.last,
        )
        return self.says(HOST, "commit", body | changes)

    def refuses(self, why):
        """Expect the next entry to be void, and to change nothing."""
        return Refusal(self.state, why)


class Refusal:
    """A context in which exactly one entry is void and the state stays."""

    def __init__(self, state, why):
        self._state, self._why = state, why

    def __enter__(self):
        self._before = self._state.copy()
        self._raises = pytest.raises(VoidError, match=self._why)
        self._raises.__enter__()

    def __exit__(self, *error):
        assert self._state == self._before
        return self._raises.__exit__(*error)


def test_sessions_open_once_and_commit_while_open():
    """A session id is used once; commits need it open; a complete one closes it."""
    story = Story()
    with story.refuses("not open"):
        story.says(HOST, "commit", commit_of("2" * 32, 1, 0))
    story.opens()
    with story.refuses("not new"):
        story.opens()
    story.commits(complete=False)
    story.commits()
    with story.refuses("not open"):
        story.commits()
    with story.refuses("not new"):
        story.opens()
    with story.refuses("not open"):
        story.says(JANITOR, "abort", {"session": SESSION, "reason": ""})


def commit_of(session, seq, previous):
    """Return the body of a commit."""
    return commit_body(
        draft(bytes(16)),
        session=bytes.fromhex(session),
        lineage=bytes.fromhex(LINEAGE),
        host=KEYS.host.host,
        seq=seq,
        previous=previous,
    )


@pytest.mark.parametrize(("seq", "previous"), [(1, 0), (3, 3), (2, 0), (2, 2), (2, 4)])
def test_commits_of_a_lineage_leave_no_gap(seq, previous):
    """A commit that does not continue its lineage is void, so none can be missing unnoticed."""
    story = Story()
    story.opens()
    n = story.commits()
    assert n == 3
    story.opens("2" * 32)
    with story.refuses("newest commit"):
        story.says(HOST, "commit", commit_of("2" * 32, seq, previous))
    story.says(HOST, "commit", commit_of("2" * 32, 2, 3))


def test_a_commit_of_another_lineage_than_its_session_is_void():
    """A session writes the one lineage that it opened."""
    story = Story()
    story.opens()
    story.opens("2" * 32, lineage="b" * 32)
    with story.refuses("lineage or host"):
        story.commits("2" * 32)


def test_an_open_for_an_old_keyring_is_void():
    """A session whose keys were sealed under another keyring than the one in force is void."""
    story = Story()
    story.says(ADMIN, "keyring", {"keyring": KEYS.keyring.renewed(KEYS.keyring).to_json()})
    with story.refuses("not the one in force"):
        story.opens()
    story.opens(keyring=2)


@pytest.mark.parametrize("change", [{"version": 1}, {"version": 3}])
def test_keyring_versions_count_up(change):
    """A keyring of any version but the next is void."""
    story = Story()
    with story.refuses("next version"):
        story.says(ADMIN, "keyring", {"keyring": KEYS.keyring.to_json() | change})


def test_there_is_one_creation():
    """Neither a second creation nor anything before the first is valid."""
    story = Story()
    with story.refuses("created by entry 1"):
        story.says(ADMIN, "create", {"keyring": KEYS.keyring.to_json()})
    empty = Story()
    empty.state = JournalState(KEYS.id)
    with empty.refuses("created by entry 1"):
        empty.says(ADMIN, "keyring", {"keyring": KEYS.keyring.to_json()})


def test_holds_stop_expiry_until_their_time():
    """A held commit cannot expire before its time; holds are only ever lengthened by holds."""
    story = Story()
    story.opens()
    n = story.commits()
    expire = {"commits": [n], "reason": "old"}
    until = NOW + timedelta(days=10)
    story.says(HOST, "hold", {"commit": n, "until": format_instant(until)})
    story.says(HOST, "hold", {"commit": n, "until": format_instant(NOW)})
    with story.refuses("held"):
        story.says(JANITOR, "expire", expire, at=until - timedelta(seconds=1))
    story.says(HOST, "hold", {"commit": n, "until": None})
    with story.refuses("held"):
        story.says(JANITOR, "expire", expire, at=until)
    story.says(JANITOR, "release", {"commit": n})
    story.says(HOST, "hold", {"commit": n, "until": format_instant(until)})
    story.says(JANITOR, "expire", expire, at=until)
    assert story.state.commits == {}
    assert story.state.holds == {}
    assert story.state.keyslots == {}
    for op, body in (("expire", expire), ("hold", {"commit": n, "until": None})):
        with story.refuses("no live commit"):
            story.says(JANITOR, op, body)


def test_a_commit_cannot_need_what_is_condemned():
    """A commit whose root or refs are in a condemned object is void for every reader."""
    story = Story()
    story.opens()
    root = place(bytes(16))
    story.says(JANITOR, "condemn", {"objects": [f"meta/{root.id.hex()}", PACK]})
    with story.refuses("condemned"):
        story.commits(root=root.to_json())
    assert story.state.condemned_among([PACK, "packs/" + "8" * 32]) == {PACK}


def test_condemned_stays_while_anyone_may_not_know():
    """Objects stay condemned until no session is open that was open at that time."""
    story = Story()
    story.opens()
    n = story.says(JANITOR, "condemn", {"objects": [PACK]})
    story.opens("2" * 32)
    with story.refuses("still is"):
        story.says(JANITOR, "swept", {"condemn": n})
    with story.refuses("no condemned"):
        story.says(JANITOR, "swept", {"condemn": n + 1})
    story.says(JANITOR, "abort", {"session": SESSION, "reason": "slow"})
    story.says(JANITOR, "swept", {"condemn": n})
    assert story.state.condemned == {}


def test_marks_belong_to_the_lineages_host():
    """A host marks the logs of its own lineages, known ones only."""
    story = Story()
    mark = {"lineage": LINEAGE, "epoch": "1", "seq": 7, "digest": "0" * 64}
    with story.refuses("unknown"):
        story.says(HOST, "mark", mark)
    story.opens()
    story.says(HOST, "mark", mark)
    assert story.state.marks[LINEAGE].seq == 7


def test_a_checkpoint_equals_the_state_before_it():
    """A checkpoint that says the state before it is valid; one that says anything else is void."""
    story = Story()
    story.opens()
    story.commits()
    said = story.state.to_checkpoint()
    with story.refuses("not the state"):
        story.says(HOST, "checkpoint", {"state": said | {"condemned": [[3, [PACK]]]}})
    story.says(HOST, "checkpoint", {"state": said})


@pytest.mark.parametrize(
    "change",
    [
        {"keyring": {}},
        {"commits": [[1]]},
        {"holds": {"x": None}},
        {"more": 1},
        {"sessions": []},
    ],
    ids=str,
)
def test_a_malformed_state_is_an_integrity_violation(change):
    """Nothing that is not a state is taken for one."""
    said = Story().state.to_checkpoint() | change
    with pytest.raises(IntegrityError, match="malformed"):
        JournalState.from_checkpoint(said, repository=KEYS.id, n=9, digest=bytes(32))
