"""Key drills: each identity at hand opens what it must, alone."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from drkeeper.app.config.configuration import Configuration
from drkeeper.app.wiring.drills import Books, DrillOutcome, end_run_of
from drkeeper.app.wiring.repositories import Access, Passphrase, keys_of, open_for_reading
from drkeeper.app.wiring.runs import RunRecord, ledger_place
from drkeeper.app.wiring.stores import open_store
from drkeeper.clock import Clock
from drkeeper.crypto.age import Identity
from drkeeper.errors import DrkeeperError, KeyNotFoundError
from drkeeper.model.drill import (
    ControlResult,
    DrillKind,
    Outcome,
    Phase,
    ProbeResult,
    Stopwatch,
)
from drkeeper.model.drill_record import Drill, DrillEnd, DrillPlan, KeyDrill
from drkeeper.model.run import Operation
from drkeeper.operations.drills.conducting import newest_checkpoint
from drkeeper.repository.commit import Commit
from drkeeper.repository.keyfile import KeyFile
from drkeeper.repository.keyring import Role
from drkeeper.repository.places import KeyClass
from drkeeper.repository.reader import SnapshotReader
from drkeeper.repository.repository import Repository, open_repository

WRONG_KEY: Final = "wrong-key"
"""The planted fault: a key that was made for the purpose, and must open nothing."""

_SHOWN: Final = 24  # characters of a recipient in the name of a probe


@dataclass(frozen=True, slots=True)
class _Tried:
    """One identity, and what it opened."""

    key: KeyFile
    identity: Identity
    result: ProbeResult
    session: str

    def record(self, repository: str, drill: int, clock: Clock) -> KeyDrill:
        """Return what is remembered of it."""
        return KeyDrill(
            repository=repository,
            recipient=str(self.identity.recipient),
            role=self.key.role.value,
            opened=self.result.outcome is Outcome.PASSED,
            checked_at=clock.now(),
            session=self.session,
            detail=self.result.found,
            took=self.result.took,
            drill=drill,
        )


def run_key_drill(
    access: Access,
    configuration: Configuration,
    *,
    clock: Clock,
    passphrase: Passphrase | None,
    warn: Callable[[str], None],
) -> DrillOutcome:
    """Have each identity at hand open the newest session that it must, with nothing else to help it.

    Raises:
        LedgerError: The ledger could not be written.
        DrkeeperError: There is no key, or no repository.
    """
    record = RunRecord(ledger_place(configuration), host=configuration.host, clock=clock, warn=warn)
    keys = [key for key in keys_of(access, passphrase) if key.identities]
    record.begin(None, Operation.DRILL)
    books = Books(configuration, clock)
    try:
        planned, watch = _begin(books, keys, record, clock)
        drill = _performed(access, configuration, keys, planned, watch, books, passphrase)
    except BaseException as error:
        record.failed(error)
        raise
    end_run_of(record, drill, clock)
    return DrillOutcome(drill, record.id)


def _begin(
    books: Books, keys: list[KeyFile], record: RunRecord, clock: Clock
) -> tuple[Drill, Stopwatch]:
    with books.open() as ledger:
        size, root = newest_checkpoint(ledger)
        names = [_name(key, identity) for key in keys for identity in key.identities]
        planned = ledger.plan_drill(
            DrillPlan(
                policy=None,
                kind=DrillKind.KEY,
                criteria={"probes": names, "controls": [WRONG_KEY]},
                checkpoint_size=size,
                checkpoint_root=root,
                run=record.id,
            )
        )
        declared_at, declared_s = clock.now(), clock.monotonic()
        ledger.declare_drill(planned.id, declared_at)
    return planned, Stopwatch(declared_at, declared_s)


def _performed(  # noqa: PLR0913, PLR0917 - one step of the above
    access: Access,
    configuration: Configuration,
    keys: list[KeyFile],
    planned: Drill,
    watch: Stopwatch,
    books: Books,
    passphrase: Passphrase | None,
) -> Drill:
    clock = books.clock
    state = configuration.locations.state
    failure, tried = "", list[_Tried]()
    controls: tuple[ControlResult, ...] = ()
    repository_id = ""
    watch.reach(Phase.KEYS_OPENED, clock.now(), clock.monotonic())
    try:
        repository = open_for_reading(access, state, clock, passphrase)
        repository_id = repository.id.hex()
        watch.reach(Phase.JOURNAL_READ, clock.now(), clock.monotonic())
        trials = _Trials(repository, access, clock)
        tried.extend(trials.each(keys))
        if all(each.result.outcome is Outcome.PASSED for each in tried):
            watch.reach(Phase.PROBES_PASSED, clock.now(), clock.monotonic())
        controls = (trials.wrong_key(),)
    except DrkeeperError as error:
        failure = str(error)
    watch.reach(Phase.TORN_DOWN, clock.now(), clock.monotonic())
    with books.open() as ledger:
        for each in tried:
            ledger.record_key_drill(each.record(repository_id, planned.id, clock))
        return ledger.end_drill(
            planned.id,
            DrillEnd(
                ended_at=clock.now(),
                timeline=watch.timeline(),
                restored=not failure,
                failure=failure,
                probes=tuple(each.result for each in tried),
                controls=controls,
                detail={"repository": repository_id, "keys": len(tried)},
            ),
        )


@dataclass(frozen=True, slots=True)
class _Trials:
    """What single keys are tried on.

    Attributes:
        repository: Opened with all keys at hand.
        access: Finds it again.
        clock: Measures.
    """

    repository: Repository
    access: Access
    clock: Clock

    def each(self, keys: list[KeyFile]) -> Iterator[_Tried]:
        """Try every identity by itself."""
        commits = self.repository.live_commits()
        for key in keys:
            # A host opens its own sessions only.
            mine = [each for each in commits if key.role is not Role.HOST or each.host == key.host]
            for identity in key.identities:
                yield self._tried(key, identity, mine)

    def _tried(self, key: KeyFile, identity: Identity, commits: list[Commit]) -> _Tried:
        begun_s = self.clock.monotonic()
        keyring = self.repository.keyring
        classes = [each for each in KeyClass if key.role in keyring.openers(each)]
        expected = f"opens {', '.join(each.value for each in classes) or 'nothing'}"
        session = commits[-1].session.hex() if commits else ""
        if not commits:
            outcome, found = Outcome.BROKEN, "there is no snapshot for it to open"
        elif not classes:
            outcome, found = Outcome.FAILED, "the keyring gives it nothing to open"
        else:
            outcome, found = self._opened(identity, commits[-1], classes)
        took = timedelta(seconds=self.clock.monotonic() - begun_s)
        result = ProbeResult(_name(key, identity), "key", outcome, expected, found, took)
        return _Tried(key, identity, result, session)

    def _opened(
        self, identity: Identity, commit: Commit, classes: list[KeyClass]
    ) -> tuple[Outcome, str]:
        """Open the keys of a session, and with them something that they have sealed."""
        try:
            alone = self._alone(identity)
            for each in classes:
                alone.keys.key(commit.session, each)
            if KeyClass.META in classes:
                _ = SnapshotReader(alone, commit).root
        except DrkeeperError as error:
            return Outcome.FAILED, str(error)
        opened = ", ".join(each.value for each in classes)
        return Outcome.PASSED, f"opened {opened} of snapshot {commit.n}"

    def wrong_key(self) -> ControlResult:
        """Try a key that nobody has ever been given."""
        commits = self.repository.live_commits()
        if not commits:
            return ControlResult(WRONG_KEY, Outcome.BROKEN, (), "there is no snapshot to open")
        try:
            self._alone(Identity.generate()).keys.key(commits[-1].session, KeyClass.META)
        except KeyNotFoundError:
            outcome, detail = Outcome.PASSED, "a key made for this drill opened nothing"
        except DrkeeperError as error:
            outcome, detail = Outcome.BROKEN, str(error)
        else:
            outcome, detail = Outcome.FAILED, "a key made for this drill opened a session"
        by = ("key",) if outcome is Outcome.PASSED else ()
        return ControlResult(WRONG_KEY, outcome, by, detail)

    def _alone(self, identity: Identity) -> Repository:
        """Open the repository once more, with one identity and nothing that is remembered."""
        return open_repository(
            open_store(self.access.settings, self.clock),
            clock=self.clock,
            identities=[identity],
            repository_id=self.repository.id,
            admins=tuple(self.repository.keyring.admins),
        )


def _name(key: KeyFile, identity: Identity) -> str:
    return f"{key.role.value} {str(identity.recipient)[:_SHOWN]}"
