"""Between the values of the model and the rows of the projections.

A row that was damaged in the file is an error of the ledger, never a wrong value.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from datetime import datetime
from operator import itemgetter
from typing import TypeVar

from drkeeper.errors import LedgerError
from drkeeper.ledger.events import instant_from_text, plain
from drkeeper.model.alarm import Alarm, AlarmKind, Condition, Subject
from drkeeper.model.notification import Notification
from drkeeper.model.run import (
    CheckKind,
    Consistency,
    DaemonBeat,
    Lease,
    Operation,
    Process,
    Proof,
    RecoveryPoint,
    Run,
    RunFailure,
    RunId,
    RunState,
    SeenPolicy,
    Verification,
)

Row = Mapping[str, object]

MOST_WORDS = 8192
"""Longest text of a failure, in characters. Source: ours; far above any that is meant to be read."""

CUT = "… (cut)"

_T = TypeVar("_T")


def checked(convert: Callable[[Row], _T], row: Row) -> _T:
    """Convert a row, calling what cannot be converted by its name.

    Raises:
        LedgerError: The row does not hold what was once written.
    """
    try:
        return convert(row)
    except (KeyError, TypeError, ValueError) as error:
        raise LedgerError(
            "row of the ledger is damaged",
            hint="Run drkeeper ledger verify, and keep the file.",
        ) from error


_OPERATIONS = {each.value: each for each in Operation}
_STATES = {each.value: each for each in RunState}
_RUN_TEXTS = itemgetter(
    *("id", "operation", "state", "started_at", "result"),
    *("host", "boot_id", "process_started"),
)
_RUN_NUMBERS = itemgetter("pid", "begun_event", "event")


def run_from_row(row: Row) -> Run:
    """Make a run out of its row; a status does so ten thousand times, so it is done in few steps.

    Raises:
        TypeError: A value is not of the type that was once written.
    """
    texts, numbers = _RUN_TEXTS(row), _RUN_NUMBERS(row)
    if {*map(type, texts)} != {str} or {*map(type, numbers)} != {int}:
        raise TypeError("run")
    run_id, operation, state, started_at, result, host, boot_id, process_started = texts
    pid, begun_event, event = numbers
    failure = _optional_text(row, "failure")
    return Run(
        RunId(run_id),
        _optional_text(row, "policy"),
        _OPERATIONS[operation],
        _STATES[state],
        Process(host, boot_id, pid, process_started),
        instant_from_text(started_at),
        _optional_instant(row, "ended_at"),
        {} if result == "{}" else _object(result),
        None if failure is None else RunFailure(**json.loads(failure)),
        _optional_instant(row, "queued_at"),
        begun_event,
        event,
    )


def process_from_row(row: Row) -> Process:
    """Make the process out of its run's row."""
    return Process(
        _text(row, "host"),
        _text(row, "boot_id"),
        _number(row, "pid"),
        _text(row, "process_started"),
    )


def point_from_row(row: Row) -> RecoveryPoint:
    """Make a recovery point out of its row."""
    run = _optional_text(row, "run")
    return RecoveryPoint(
        repository=_text(row, "repository"),
        lineage=_text(row, "lineage"),
        commit_number=_number(row, "commit_number"),
        session=_text(row, "session"),
        policy=_text(row, "policy"),
        consistent_at=_instant(row, "consistent_at"),
        finished_at=_instant(row, "finished_at"),
        run=None if run is None else RunId(run),
        plain_bytes=_number(row, "plain_bytes"),
        stored_bytes=_number(row, "stored_bytes"),
        new_bytes=_number(row, "new_bytes"),
        files=_number(row, "files"),
        entries=_number(row, "entries"),
        unreadable=_number(row, "unreadable"),
        changed=_number(row, "changed"),
        complete=_flag(row, "complete"),
        consistency=Consistency(_text(row, "consistency")),
        proof=Proof(_text(row, "proof")),
        event=_number(row, "event"),
    )


def verification_from_row(row: Row) -> Verification:
    """Make a verification out of its row."""
    run = _optional_text(row, "run")
    return Verification(
        repository=_text(row, "repository"),
        kind=CheckKind(_text(row, "kind")),
        passed=_flag(row, "passed"),
        checked_at=_instant(row, "checked_at"),
        run=None if run is None else RunId(run),
        policy=_optional_text(row, "policy"),
        objects=_number(row, "objects"),
        read_bytes=_number(row, "read_bytes"),
        findings=_number(row, "findings"),
        detail=_text(row, "detail"),
        event=_number(row, "event"),
    )


def seen_from_row(row: Row) -> SeenPolicy:
    """Make what is known of a policy out of its row."""
    return SeenPolicy(
        name=_text(row, "name"),
        definition=_text(row, "definition"),
        first_seen_at=_instant(row, "first_seen_at"),
        changed_at=_instant(row, "changed_at"),
        event=_number(row, "event"),
    )


def lease_from_row(row: Row) -> Lease:
    """Make a lease out of its row."""
    return Lease(
        run=RunId(_text(row, "run")),
        renewed_at=_instant(row, "renewed_at"),
        expires_at=_instant(row, "expires_at"),
        moved_at=_instant(row, "moved_at"),
        progress=_object(_text(row, "progress")),
    )


def beat_from_row(row: Row) -> DaemonBeat:
    """Make a daemon's sign of life out of its row."""
    return DaemonBeat(
        process=process_from_row(row),
        version=_text(row, "version"),
        started_at=_instant(row, "started_at"),
        beat_at=_instant(row, "beat_at"),
    )


def alarm_from_row(row: Row) -> Alarm:
    """Make an alarm out of its row."""
    return Alarm(
        id=_number(row, "id"),
        condition=Condition(
            kind=AlarmKind(_text(row, "kind")),
            subject=Subject(_text(row, "subject_kind"), _text(row, "subject_name")),
            message=_text(row, "message"),
            hint=_text(row, "hint"),
            since=_instant(row, "since"),
        ),
        raised_at=_instant(row, "raised_at"),
        cleared_at=_optional_instant(row, "cleared_at"),
        event=_number(row, "event"),
    )


def notification_from_row(row: Row) -> Notification:
    """Make a notification out of its row."""
    return Notification(
        channel=_text(row, "channel"),
        alarm=None if row["alarm"] is None else _number(row, "alarm"),
        what=_text(row, "what"),
        delivered=_flag(row, "delivered"),
        detail=_text(row, "detail"),
        sent_at=_instant(row, "sent_at"),
        event=_number(row, "event"),
    )


def body_of(made: RecoveryPoint | Verification) -> dict[str, object]:
    """Spell what an operation made for an event: every field but the number of the event itself."""
    return {each.name: getattr(made, each.name) for each in fields(made) if each.name != "event"}


def failure_body(failure: RunFailure | None) -> dict[str, object] | None:
    """Spell a failure for an event.

    Its words are cut when they are very long, as the name of a file may be: that a run ended must always
    fit into an event.
    """
    if failure is None:
        return None
    return {
        name: shortened(value) if isinstance(value, str) else value
        for name, value in asdict(failure).items()
    }


def shortened(words: str) -> str:
    """Take secrets out of a text, and its end when it is very long."""
    # Secrets go first: half of one might not be known for one.
    spelt = str(plain(words))
    return spelt if len(spelt) <= MOST_WORDS else spelt[:MOST_WORDS] + CUT


_DECODER = json.JSONDecoder()


def _object(text: str) -> dict[str, object]:
    value, end = _DECODER.raw_decode(text)
    if end != len(text) or not isinstance(value, dict):
        raise ValueError(text)
    return value


def _text(row: Row, name: str) -> str:
    value = row[name]
    if not isinstance(value, str):
        raise TypeError(name)
    return value


def _optional_text(row: Row, name: str) -> str | None:
    return None if row[name] is None else _text(row, name)


def _number(row: Row, name: str) -> int:
    value = row[name]
    if type(value) is not int:
        raise TypeError(name)
    return value


def _flag(row: Row, name: str) -> bool:
    value = row[name]
    if not isinstance(value, bool):
        raise TypeError(name)
    return value


def _instant(row: Row, name: str) -> datetime:
    return instant_from_text(_text(row, name))


def _optional_instant(row: Row, name: str) -> datetime | None:
    return None if row[name] is None else _instant(row, name)
