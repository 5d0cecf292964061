"""What is remembered about the work done: runs, recovery points, verifications.

Instants are aware and in UTC. Values that come out of the ledger carry the numbers of the events
that say so; a value not yet recorded has none.
"""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import NewType

import msgspec

RunId = NewType("RunId", str)
"""Names one run: 16 hexadecimal digits."""


class Operation(StrEnum):
    """What a run does."""

    BACKUP = "backup"
    RESTORE = "restore"
    CHECK = "check"
    DRILL = "drill"


class RunState(StrEnum):
    """Where a run is in its life; the last five are ends."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    WARNINGS = "warnings"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    SKIPPED = "skipped"

    @property
    def ended(self) -> bool:
        """Whether nothing more is expected of the run."""
        return self not in _OPEN


_OPEN = frozenset({RunState.QUEUED, RunState.RUNNING})


class Consistency(StrEnum):
    """What the data of a recovery point agrees with."""

    APPLICATION = "application"
    CRASH = "crash"
    NONE = "none"


class Proof(StrEnum):
    """How much is known about a recovery point."""

    DURABLE = "durable"
    """The store has acknowledged every byte and the commit."""

    PROVEN = "proven"
    """A restore of it has passed its drill."""


class CheckKind(StrEnum):
    """How deep a verification looked."""

    STRUCTURE = "structure"
    BLIND = "blind"
    READ_DATA = "read-data"
    RESTORE = "restore"


class Process(msgspec.Struct, frozen=True):
    """One process, told apart from any other that had or will have its number.

    Attributes:
        host: Name of the machine, stable across boots.
        boot_id: Changes with every boot of the machine.
        pid: Process number.
        started: When the process began, in the kernel's own count since boot; empty if unknown.
    """

    host: str
    boot_id: str
    pid: int
    started: str = ""


class RunFailure(msgspec.Struct, frozen=True):
    """Why a run ended badly, as the operator saw it.

    Attributes:
        kind: Name of the error class.
        message: What went wrong, naming the thing.
        exit_code: As documented in docs/exit-codes.md.
        hint: What to do next, if known.
    """

    kind: str
    message: str
    exit_code: int = 1
    hint: str | None = None


class Run(msgspec.Struct, frozen=True):
    """One execution of an operation.

    Attributes:
        id: Names the run.
        policy: Whose run it is; ``None`` for a run about a whole repository.
        operation: What it does.
        state: Where it is in its life.
        process: Who runs it.
        started_at: When it began.
        ended_at: When it ended, ``None`` before.
        result: The operation's own figures; empty before the end.
        failure: Why it ended badly, if it did.
        queued_at: When it was queued; ``None`` when it began at once.
        begun_event: Ledger event that began the run.
        event: Ledger event that last changed the run.
    """

    id: RunId
    policy: str | None
    operation: Operation
    state: RunState
    process: Process
    started_at: datetime
    ended_at: datetime | None = None
    result: Mapping[str, object] = msgspec.field(default_factory=dict)
    failure: RunFailure | None = None
    queued_at: datetime | None = None
    begun_event: int = 0
    event: int = 0


class Lease(msgspec.Struct, frozen=True):
    """Who works on a run, and the last sign of it; renewed often, and no part of the evidence.

    Attributes:
        run: The run.
        renewed_at: When its process last said that it lives.
        expires_at: When others may take it for dead.
        moved_at: When it last moved something: its measure of progress grew.
        progress: What it last said of itself, such as ``files``, ``plain_bytes``, ``phase``.
    """

    run: RunId
    renewed_at: datetime
    expires_at: datetime
    moved_at: datetime
    progress: Mapping[str, object] = msgspec.field(default_factory=dict)


class DaemonBeat(msgspec.Struct, frozen=True):
    """A daemon's last sign of life.

    Attributes:
        process: Which one.
        version: Of drkeeper.
        started_at: When it began.
        beat_at: When it last looked at all its policies.
    """

    process: Process
    version: str
    started_at: datetime
    beat_at: datetime


class SeenPolicy(msgspec.Struct, frozen=True):
    """What is remembered of a policy itself.

    Attributes:
        name: Of the policy.
        definition: Digest of what it says, hex; changes whenever the policy does.
        first_seen_at: When its first definition was seen: earlier slots were nobody's.
        changed_at: When this definition was first seen.
        event: Ledger event that recorded it.
    """

    name: str
    definition: str
    first_seen_at: datetime
    changed_at: datetime
    event: int = 0


class RecoveryPoint(msgspec.Struct, frozen=True, kw_only=True):
    """An instant a source can be brought back to.

    Attributes:
        repository: Identifier of the repository that holds it.
        lineage: Identifier of the source's history in the repository.
        commit_number: Number of the journal entry that committed it.
        session: Identifier of the writing session.
        policy: Whose promise it serves.
        run: The run that made it; ``None`` when learnt from the repository.
        consistent_at: The instant the data describes, by the source's clock.
        finished_at: When the store had acknowledged all of it.
        plain_bytes: Logical length of what was protected.
        stored_bytes: What its new objects occupy in the store.
        new_bytes: Plain bytes that no earlier snapshot held.
        files: Number of regular files.
        entries: Number of all entries.
        unreadable: Entries whose content could not be read.
        changed: Entries that changed while they were read.
        complete: Whether the whole source is in it.
        consistency: What the data agrees with.
        proof: How much is known about it.
        event: Ledger event that recorded it.
    """

    repository: str
    lineage: str
    commit_number: int
    session: str
    policy: str
    consistent_at: datetime
    finished_at: datetime
    run: RunId | None = None
    plain_bytes: int = 0
    stored_bytes: int = 0
    new_bytes: int = 0
    files: int = 0
    entries: int = 0
    unreadable: int = 0
    changed: int = 0
    complete: bool = True
    consistency: Consistency = Consistency.NONE
    proof: Proof = Proof.DURABLE
    event: int = 0

    @property
    def id(self) -> str:
        """Name the point uniquely over all repositories: ``repository/number``."""
        return f"{self.repository}/{self.commit_number}"


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of looking whether stored data is what it should be.

    Attributes:
        repository: Identifier of the repository looked at.
        kind: How deep.
        passed: Whether nothing wrong was found.
        checked_at: When it ended.
        run: The run that looked.
        policy: Whose data, when only one policy's was looked at.
        objects: Number of objects looked at.
        read_bytes: Bytes read from the store for it.
        findings: Number of things found wrong.
        detail: The first findings, for people.
        event: Ledger event that recorded it.
    """

    repository: str
    kind: CheckKind
    passed: bool
    checked_at: datetime
    run: RunId | None = None
    policy: str | None = None
    objects: int = 0
    read_bytes: int = 0
    findings: int = 0
    detail: str = ""
    event: int = 0
