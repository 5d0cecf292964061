"""Laws of the journal's state, for any sequence of entries, legal or not."""

import json
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings, strategies as st

from doubles.repositories import new_repository
from drkeeper.crypto.digests import digest
from drkeeper.repository.journal_body import parse_body
from drkeeper.repository.journal_entry import JournalEntry, VoidError
from drkeeper.repository.state import JournalState
from drkeeper.repository.steps import step

KEYS = new_repository().keys
ADMIN = KEYS.admin.signing_key.verify_key.hex
HOST = KEYS.host.signing_key.verify_key.hex
JANITOR = KEYS.janitor.signing_key.verify_key.hex
START = datetime(2026, 11, 21, tzinfo=UTC)

IDS = st.sampled_from([f"{n:032x}" for n in range(4)])
NUMBERS = st.integers(1, 30)
OBJECTS = st.sampled_from(
    [f"{kind}/{n:032x}" for kind in ("packs", "meta", "refs") for n in range(3)]
)
TIMES = st.sampled_from(["2026-11-21T00:00:05.000000Z", "2027-01-01T00:00:00.000000Z"])


def _place(number):
    return {
        "session": "0" * 32,
        "id": f"{number:032x}",
        "offset": 0,
        "stored": 1,
        "plain": 1,
        "codec": 0,
        "digest": "0" * 64,
    }


def _open(session, lineage):
    return HOST, "open", {"session": session, "lineage": lineage}


def _commit(session, number, complete):
    return HOST, "commit", {"session": session, "number": number, "complete": complete}


STEPS = st.one_of(
    st.builds(_open, IDS, IDS),
    st.builds(_open, IDS, IDS),
    st.builds(_commit, IDS, st.integers(0, 2), st.booleans()),
    st.builds(_commit, IDS, st.integers(0, 2), st.booleans()),
    st.builds(lambda s: (JANITOR, "abort", {"session": s, "reason": ""}), IDS),
    st.builds(
        lambda n: (JANITOR, "expire", {"commits": sorted(n), "reason": ""}),
        st.sets(NUMBERS, min_size=1, max_size=2),
    ),
    st.builds(
        lambda n, until: (HOST, "hold", {"commit": n, "until": until}), NUMBERS, st.none() | TIMES
    ),
    st.builds(lambda n: (JANITOR, "release", {"commit": n}), NUMBERS),
    st.builds(
        lambda o: (JANITOR, "condemn", {"objects": sorted(o)}),
        st.sets(OBJECTS, min_size=1, max_size=3),
    ),
    st.builds(lambda n: (JANITOR, "swept", {"condemn": n}), NUMBERS),
    st.builds(
        lambda lineage, seq: (
            HOST,
            "mark",
            {"lineage": lineage, "epoch": "1", "seq": seq, "digest": "0" * 64},
        ),
        IDS,
        st.integers(0, 9),
    ),
    st.just((ADMIN, "keyring", None)),
    st.just((HOST, "checkpoint", None)),
)


def entry(state, n, what):
    """Return the entry that says ``what`` and follows ``state``."""
    signer, op, facts = what
    body = facts
    match op:
        case "open":
            body = facts | {
                "host": KEYS.host.host.hex(),
                "keyring": state.keyring.version,
                "keyslots": dict.fromkeys(("data", "meta", "refs"), "0" * 64),
                "resumes": None,
            }
        case "commit":
            session = state.sessions.get(facts["session"])
            lineage = state.lineages.get(session.lineage) if session else None
            body = {
                "session": facts["session"],
                "lineage": session.lineage if session else "0" * 32,
                "host": KEYS.host.host.hex(),
                "seq": lineage.seq + 1 if lineage else 1,
                "previous": lineage.last if lineage else 0,
                "consistent_at": "2026-11-21T00:00:00.000000Z",
                "finished_at": "2026-11-21T00:00:00.000000Z",
                "next_due": None,
                "complete": facts["complete"],
                "consistency": "crash",
                "root": _place(facts["number"]),
                "refs": _place(facts["number"]),
                "inventory": {"k": 1, "digest": "0" * 64},
                "counts": dict.fromkeys(("entries", "plain_bytes", "new_bytes", "stored_bytes"), 0),
            }
        case "keyring":
            body = {"keyring": state.keyring.renewed(state.keyring).to_json()}
        case "checkpoint":
            body = {"state": json.loads(json.dumps(state.to_checkpoint()))}
        case _:
            pass
    return JournalEntry(
        n=n,
        digest=digest(f"{n} {op} {facts}".encode()),
        prev=state.digest,
        at=START + timedelta(seconds=n),
        op=op,
        signer=signer,
        body=parse_body(op, body),
    )


def begun():
    """Return the state after entry 1."""
    state = JournalState(KEYS.id)
    body = parse_body("create", {"keyring": KEYS.keyring.to_json()})
    step(state, JournalEntry(1, digest(b"1"), state.digest, START, "create", ADMIN, body))
    return state


def advance(state, number, steps):
    """Apply steps from entry ``number`` on; return the entries that were valid."""
    valid = []
    for n, what in enumerate(steps, start=number):
        made = entry(state, n, what)
        before = state.copy()
        try:
            step(state, made)
        except VoidError:
            assert state == before
        else:
            valid.append(n)
            assert (state.n, state.digest) == (made.n, made.digest)
    return valid


@settings(max_examples=100, deadline=None)
@given(st.lists(STEPS, max_size=25), st.lists(STEPS, max_size=25))
def test_reading_on_from_a_checkpoint_equals_reading_everything(before, after):
    """Any checkpoint, written and read back as JSON, leads to the same state as the whole log."""
    everything = begun()
    advance(everything, 2, before)
    written = json.loads(json.dumps(everything.to_checkpoint()))
    resumed = JournalState.from_checkpoint(
        written, repository=KEYS.id, n=everything.n, digest=everything.digest
    )
    assert resumed == everything
    number = 2 + len(before)
    assert advance(everything, number, after) == advance(resumed, number, after)
    assert resumed == everything
    assert resumed.to_checkpoint() == everything.to_checkpoint()


@settings(max_examples=100, deadline=None)
@given(st.lists(STEPS, max_size=40))
def test_the_state_is_consistent_after_any_history(steps):
    """Live commits have their sessions' slots, holds are of live commits, nothing else lingers."""
    state = begun()
    advance(state, 2, steps)
    assert {commit.session for commit in state.commits.values()} == set(state.keyslots)
    assert set(state.holds) <= set(state.commits)
    assert all(session.lineage in state.lineages for session in state.sessions.values())
    assert list(state.commits) == sorted(state.commits)
    assert list(state.condemned) == sorted(state.condemned)


@settings(max_examples=100, deadline=None)
@given(st.lists(STEPS, max_size=30), STEPS)
def test_no_step_changes_a_copy(steps, more):
    """A copy of the state stays what it was, whatever happens to the original."""
    state = begun()
    advance(state, 2, steps)
    kept = state.copy()
    said = json.dumps(kept.to_checkpoint())
    advance(state, 2 + len(steps), [more])
    assert json.dumps(kept.to_checkpoint()) == said
