"""The legal steps of the journal's state: docs/format.md 3.2, and nothing else; no I/O, no clock.

The safety of collection without locks (docs/adr/0052) rests on four rules, two of which are here: a
condemned object is never needed by a later commit, and the condemned stay listed as long as a session
that might not know is open.
"""

from drkeeper.errors import ConfigurationError, IntegrityError
from drkeeper.repository.journal_body import (
    AbortBody,
    CheckpointBody,
    CommitBody,
    CondemnBody,
    ExpireBody,
    HoldBody,
    KeyringBody,
    MarkBody,
    OpenBody,
    ReleaseBody,
    SweptBody,
    parse_instant,
)
from drkeeper.repository.journal_entry import JournalEntry, VoidError
from drkeeper.repository.keyring import SUPPORTED_FORMAT, SUPPORTED_SUITE, Keyring
from drkeeper.repository.state import (
    JournalState,
    Lineage,
    LiveCommit,
    Mark,
    OpenSession,
    SessionSlots,
)


def step(state: JournalState, entry: JournalEntry) -> None:
    """Change ``state`` by one entry, or refuse the entry and change nothing.

    The signature must have been verified under ``state``'s keyring, or for the very first entry
    under an admin key that the reader was told.

    Raises:
        VoidError: The entry is void.
        IntegrityError: An admin has moved the repository to a format this drkeeper cannot read.
    """
    if entry.prev != state.digest or entry.n <= state.n:
        raise VoidError(
            "it does not follow the newest valid entry", signer=entry.signer, unlinked=True
        )
    try:
        _apply(state, entry)
    except _IllegalError as error:
        raise VoidError(str(error), signer=entry.signer) from error
    state.n = entry.n
    state.digest = entry.digest


class _IllegalError(Exception):
    """The step is illegal in this state."""


def _apply(state: JournalState, entry: JournalEntry) -> None:  # noqa: C901, PLR0912 - one case an operation
    if entry.op == "create" or state.keyring is None:
        _create(state, entry)
        return
    _require(state.keyring.allows(entry.signer, entry.op), f"its signer may not {entry.op}")
    match entry.body:
        case KeyringBody() as body:
            _keyring(state, entry, body)
        case OpenBody() as body:
            _open(state, entry, body)
        case CommitBody() as body:
            _commit(state, entry, body)
        case AbortBody() as body:
            _require(body.session in state.sessions, "its session is not open")
            del state.sessions[body.session]
        case ExpireBody() as body:
            _expire(state, entry, body)
        case HoldBody() as body:
            _hold(state, body)
        case ReleaseBody() as body:
            _require(body.commit in state.commits, "it releases no live commit")
            state.holds.pop(body.commit, None)
        case CondemnBody() as body:
            state.condemned[entry.n] = tuple(body.objects)
        case SweptBody() as body:
            _swept(state, body)
        case MarkBody() as body:
            _mark(state, entry, body)
        case CheckpointBody() as body:
            _require(body.state == state.to_checkpoint(), "its state is not the state before it")


def _create(state: JournalState, entry: JournalEntry) -> None:
    _require(
        state.keyring is None and entry.op == "create" and entry.n == 1,
        "a repository is created by entry 1 and only there",
    )
    keyring = _parsed_keyring(entry)
    _require(keyring.version == 1, "the first keyring is not of version 1")
    _require(entry.signer in keyring.admins, "its signer is no admin of its own keyring")
    _set_keyring(state, entry, keyring)


def _keyring(state: JournalState, entry: JournalEntry, body: KeyringBody) -> None:
    del body
    before = _in_force(state)
    keyring = _parsed_keyring(entry)
    _require(keyring.version == before.version + 1, "its keyring is not of the next version")
    _require(
        keyring.suite >= before.suite and keyring.format >= before.format,
        "its keyring goes back to an older suite or format",
    )
    _set_keyring(state, entry, keyring)


def _parsed_keyring(entry: JournalEntry) -> Keyring:
    if not isinstance(entry.body, KeyringBody):
        raise _IllegalError("it holds no keyring")
    try:
        return Keyring.from_json(entry.body.keyring)
    except ConfigurationError as error:
        raise _IllegalError(str(error)) from error


def _set_keyring(state: JournalState, entry: JournalEntry, keyring: Keyring) -> None:
    if keyring.format > SUPPORTED_FORMAT or keyring.suite > SUPPORTED_SUITE:
        raise IntegrityError(
            f"the repository is of format {keyring.format}, suite {keyring.suite}: "
            "newer than this drkeeper",
            hint="Install a newer drkeeper on this machine.",
        )
    state.keyring = keyring
    state.keyrings.append((entry.n, entry.digest.hex()))


def _open(state: JournalState, entry: JournalEntry, body: OpenBody) -> None:
    keyring = _in_force(state)
    _require(keyring.allows(entry.signer, "open", body.host), "its signer is not of that host")
    _require(
        body.session not in state.sessions and body.session not in state.keyslots,
        "its session is not new",
    )
    _require(body.keyring == keyring.version, "its keyring is not the one in force")
    lineage = state.lineages.get(body.lineage)
    _require(lineage is None or lineage.host == body.host, "its lineage is another host's")
    state.sessions[body.session] = OpenSession(
        lineage=body.lineage,
        host=body.host,
        n=entry.n,
        keyslots=body.keyslots,
        resumes=body.resumes,
        keyring=body.keyring,
    )
    if lineage is None:
        state.lineages[body.lineage] = Lineage(host=body.host, seq=0, last=0, next_due=None)


def _commit(state: JournalState, entry: JournalEntry, body: CommitBody) -> None:
    session = state.sessions.get(body.session)
    if session is None:
        raise _IllegalError("its session is not open")
    _require(
        _in_force(state).allows(entry.signer, "commit", body.host),
        "its signer is not of that host",
    )
    _require(
        (body.lineage, body.host) == (session.lineage, session.host),
        "its lineage or host is not its session's",
    )
    lineage = state.lineages[body.lineage]
    _require(
        body.seq == lineage.seq + 1 and body.previous == lineage.last,
        "it does not follow the newest commit of its lineage",
    )
    _require(
        not state.condemned_among([f"meta/{body.root.id}", f"refs/{body.refs.id}"]),
        "it needs a condemned object",
    )
    state.commits[entry.n] = LiveCommit(entry.n, entry.digest.hex(), body.session)
    state.keyslots[body.session] = SessionSlots(session.keyring, session.keyslots)
    state.lineages[body.lineage] = Lineage(
        host=lineage.host, seq=body.seq, last=entry.n, next_due=body.next_due
    )
    if body.complete:
        del state.sessions[body.session]


def _expire(state: JournalState, entry: JournalEntry, body: ExpireBody) -> None:
    _require(all(n in state.commits for n in body.commits), "it expires no live commit")
    for n in body.commits:
        if n in state.holds:
            until = state.holds[n]
            _require(
                until is not None and parse_instant(until) <= entry.at,
                "it expires a commit that is held",
            )
    for n in body.commits:
        del state.commits[n]
        state.holds.pop(n, None)
    named = {commit.session for commit in state.commits.values()}
    for session in state.keyslots.keys() - named:
        del state.keyslots[session]


def _hold(state: JournalState, body: HoldBody) -> None:
    _require(body.commit in state.commits, "it holds no live commit")
    if body.commit in state.holds and not _lasts_longer(body.until, state.holds[body.commit]):
        return
    state.holds[body.commit] = body.until


def _lasts_longer(new: str | None, old: str | None) -> bool:
    """A hold is never shortened by another hold; that takes a release, and other rights."""
    if old is None:
        return False
    return new is None or parse_instant(new) > parse_instant(old)


def _swept(state: JournalState, body: SweptBody) -> None:
    _require(body.condemn in state.condemned, "it sweeps no condemned objects")
    _require(
        all(session.n > body.condemn for session in state.sessions.values()),
        "a session that was open when they were condemned still is",
    )
    del state.condemned[body.condemn]


def _mark(state: JournalState, entry: JournalEntry, body: MarkBody) -> None:
    lineage = state.lineages.get(body.lineage)
    if lineage is None:
        raise _IllegalError("its lineage is unknown")
    _require(
        _in_force(state).allows(entry.signer, "mark", lineage.host),
        "its lineage is another host's",
    )
    state.marks[body.lineage] = Mark(epoch=body.epoch, seq=body.seq, digest=body.digest)


def _in_force(state: JournalState) -> Keyring:
    if state.keyring is None:
        raise _IllegalError("there is no keyring before entry 1")
    return state.keyring


def _require(holds: bool, reason: str) -> None:  # noqa: FBT001 - an assertion by another name
    if not holds:
        raise _IllegalError(reason)
