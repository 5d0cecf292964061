"""Between the values of the model and the rows of the projections.

A row that was damaged in the file is an error of the ledger, never a wrong value.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import product
from operator import itemgetter
from typing import Any, Final, TypeVar

from msgspec.structs import asdict

from drkeeper.errors import LedgerError
from drkeeper.ledger.events import instant_from_text, plain
from drkeeper.model.alarm import Alarm, AlarmKind, Condition, Subject
from drkeeper.model.drill import Broken, Shown, Unproven, Verdict
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

_S = TypeVar("_S")
_T = TypeVar("_T")


def checked(convert: Callable[[_S], _T], row: _S) -> _T:
    """Convert a row, or several, calling what cannot be converted by its name.

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


_TEXT, _NUMBER, _FLAG = (str,), (int,), (bool, int)
_PERHAPS = (str, type(None))

_RUN = {
    "id": _TEXT,
    "policy": _PERHAPS,
    "operation": _TEXT,
    "state": _TEXT,
    "host": _TEXT,
    "boot_id": _TEXT,
    "pid": _NUMBER,
    "process_started": _TEXT,
    "started_at": _TEXT,
    "ended_at": _PERHAPS,
    "result": _TEXT,
    "failure": _PERHAPS,
    "queued_at": _PERHAPS,
    "begun_event": _NUMBER,
    "event": _NUMBER,
}
RUN_COLUMNS: Final = tuple(_RUN)
"""What :func:`run_from_values` takes, in its order."""
_RUN_SHAPES = frozenset(product(*_RUN.values()))
_OPERATIONS = {each.value: each for each in Operation}
_STATES = {each.value: each for each in RunState}


def run_from_values(values: Sequence[Any]) -> Run:
    """Make a run out of the values of its row; a status does so ten thousand times, in few steps.

    Raises:
        TypeError: A value is not of the type that was once written.
    """
    if tuple(map(type, values)) not in _RUN_SHAPES:
        raise TypeError("run")
    # fmt: off
    (run_id, policy, operation, state, host, boot_id, pid, started,
     started_at, ended_at, result, failure, queued_at, begun_event, event) = values
    # fmt: on
    return Run(
        run_id,
        policy,
        _OPERATIONS[operation],
        _STATES[state],
        Process(host, boot_id, pid, started),
        instant_from_text(started_at),
        None if ended_at is None else instant_from_text(ended_at),
        {} if result == "{}" else _object(result),
        None if failure is None else RunFailure(**json.loads(failure)),
        None if queued_at is None else instant_from_text(queued_at),
        begun_event,
        event,
    )


_run_values = itemgetter(*RUN_COLUMNS)


def run_from_row(row: Row) -> Run:
    """Make a run out of its row."""
    return run_from_values(_run_values(row))


def process_from_row(row: Row) -> Process:
    """Make the process out of its run's row."""
    return Process(
        _text(row, "host"),
        _text(row, "boot_id"),
        _number(row, "pid"),
        _text(row, "process_started"),
    )


_POINT = {
    "repository": _TEXT,
    "lineage": _TEXT,
    "commit_number": _NUMBER,
    "session": _TEXT,
    "policy": _TEXT,
    "consistent_at": _TEXT,
    "finished_at": _TEXT,
    "run": _PERHAPS,
    "plain_bytes": _NUMBER,
    "stored_bytes": _NUMBER,
    "new_bytes": _NUMBER,
    "files": _NUMBER,
    "entries": _NUMBER,
    "unreadable": _NUMBER,
    "changed": _NUMBER,
    "event": _NUMBER,
    "complete": _FLAG,
    "consistency": _TEXT,
    "proof": _TEXT,
}
POINT_COLUMNS: Final = tuple(_POINT)
"""What :func:`point_from_values` takes, in its order."""
_POINT_SHAPES = frozenset(product(*_POINT.values()))
_CONSISTENCIES = {each.value: each for each in Consistency}
_PROOFS = {each.value: each for each in Proof}


def point_from_values(values: Sequence[Any]) -> RecoveryPoint:
    """Make a recovery point out of the values of its row.

    Raises:
        TypeError: A value is not of the type that was once written.
    """
    if tuple(map(type, values)) not in _POINT_SHAPES:
        raise TypeError("recovery point")
    repository, lineage, commit_number, session, policy, consistent_at, finished_at, *rest = values
    run, plain_bytes, stored_bytes, new_bytes, files, entries, unreadable, changed, *last = rest
    event, complete, consistency, proof = last
    return RecoveryPoint(
        repository=repository,
        lineage=lineage,
        commit_number=commit_number,
        session=session,
        policy=policy,
        consistent_at=instant_from_text(consistent_at),
        finished_at=instant_from_text(finished_at),
        run=run,
        plain_bytes=plain_bytes,
        stored_bytes=stored_bytes,
        new_bytes=new_bytes,
        files=files,
        entries=entries,
        unreadable=unreadable,
        changed=changed,
        complete=_true_or_false(complete),
        consistency=_CONSISTENCIES[consistency],
        proof=_PROOFS[proof],
        event=event,
    )


_point_values = itemgetter(*POINT_COLUMNS)


def point_from_row(row: Row) -> RecoveryPoint:
    """Make a recovery point out of its row."""
    return point_from_values(_point_values(row))


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


SOUND: Final = tuple(verdict.value for verdict in Verdict if verdict.sound)
"""The verdicts of drills that show something."""


def shown_from_row(row: Row) -> tuple[str, Shown]:
    """Make what drills have shown of a policy out of its row."""
    return _text(row, "policy"), Shown(
        through=_optional_instant(row, "through"),
        rto=_optional_span(row, "achieved_rto_us"),
        unproven=None if row["said_drill"] is None else _unproven(row),
        planned_at=_optional_instant(row, "planned_at"),
        ended=_ends(_text(row, "ended")),
        caught_at=_optional_instant(row, "caught_at"),
        broken=_broken(row) if _number(row, "broken") else None,
        costs=_costs(row),
    )


def _unproven(row: Row) -> Unproven | None:
    verdict = Verdict(_text(row, "said_verdict"))
    drill, reason = _number(row, "said_drill"), _text(row, "said_reason")
    at = _instant(row, "said_at")
    return None if verdict.sound else Unproven(drill, verdict, reason, at)


def _broken(row: Row) -> Broken:
    return Broken(
        count=_number(row, "broken"),
        since=_instant(row, "broken_since"),
        drill=_number(row, "broken_drill"),
        reason=_text(row, "broken_reason"),
    )


def _ends(spelt: str) -> dict[Verdict, datetime]:
    return {Verdict(name): instant_from_text(str(at)) for name, at in _object(spelt).items()}


_COSTS: Final = re.compile(r"(?:\d{1,19} \d{1,19} \d{1,19} \d{1,19}(?: (?=\d)|$))*", re.ASCII)


def _costs(row: Row) -> str:
    spelt = _text(row, "costs")
    if not _COSTS.fullmatch(spelt):
        raise ValueError(spelt)
    return spelt


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
    return {name: value for name, value in asdict(made).items() if name != "event"}


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


def _optional_span(row: Row, name: str) -> timedelta | None:
    return None if row[name] is None else timedelta(microseconds=_number(row, name))


def _flag(row: Row, name: str) -> bool:
    return _true_or_false(row[name])


def _true_or_false(value: object) -> bool:
    """Read a truth; SQLite has but numbers for it.

    Raises:
        TypeError: It is none.
    """
    if type(value) not in _FLAG or value not in {0, 1}:
        raise TypeError("flag")
    return bool(value)


def _instant(row: Row, name: str) -> datetime:
    return instant_from_text(_text(row, name))


def _optional_instant(row: Row, name: str) -> datetime | None:
    return None if row[name] is None else _instant(row, name)
