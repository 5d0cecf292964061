"""Ledgers with a clock that the test holds, histories to fill them, and a way behind their back."""

import random
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

from doubles.drilling import be_drilled, what_a_reader_sees_of_drills
from drkeeper.ledger.ledger import Ledger, open_ledger
from drkeeper.ledger.postgresql import is_url
from drkeeper.ledger.tables import POSTGRESQL_TRIGGERS
from drkeeper.model.alarm import AlarmKind, Condition, Subject
from drkeeper.model.run import (
    CheckKind,
    Consistency,
    Operation,
    Process,
    RecoveryPoint,
    RunFailure,
    RunId,
    RunState,
    Verification,
)

BEGINNING = datetime(2026, 11, 20, 2, 30, tzinfo=UTC)


class TickingClock:
    """A clock that moves on by one second whenever it is asked."""

    def __init__(self, at: datetime = BEGINNING) -> None:
        self.at = at

    def now(self) -> datetime:
        self.at += timedelta(seconds=1)
        return self.at

    def monotonic(self) -> float:
        return self.at.timestamp()

    def sleep(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


def nobody_lives(_process: Process) -> bool:
    return False


def somebody(*, host: str = "keeper", pid: int = 4711) -> Process:
    return Process(host, "boot-1", pid, "100")


def ledger_at(path: Path | str, **options) -> Ledger:
    """Open a ledger as the process that ``somebody`` describes."""
    options = {"clock": TickingClock(), "me": somebody, "patience": timedelta(seconds=20)} | options
    return open_ledger(path, **options)


def recovery_point(number: int, *, policy: str = "home", **fields) -> RecoveryPoint:
    at = BEGINNING + timedelta(minutes=number)
    return RecoveryPoint(
        **{
            "repository": "c0ffee",
            "lineage": "11aa",
            "commit_number": number,
            "session": f"5e55{number:04x}",
            "policy": policy,
            "consistent_at": at,
            "finished_at": at + timedelta(seconds=30),
            "plain_bytes": 1000 * number,
            "stored_bytes": 400 * number,
            "new_bytes": 500 * number,
            "files": number,
            "entries": 2 * number,
            "consistency": Consistency.CRASH,
        }
        | fields
    )


def verification(**fields) -> Verification:
    return Verification(
        **{
            "repository": "c0ffee",
            "kind": CheckKind.STRUCTURE,
            "passed": True,
            "checked_at": BEGINNING,
            "objects": 12,
            "read_bytes": 3456,
        }
        | fields
    )


def condition(**fields) -> Condition:
    return Condition(
        **{
            "kind": AlarmKind.OVERDUE,
            "subject": Subject("policy", "home"),
            "message": "policy 'home' is overdue since 02:30 CET",
            "hint": "Run drkeeper backup home.",
            "since": BEGINNING,
        }
        | fields
    )


def live_through(ledger: Ledger, seed: int, *, runs: int, first: int = 1) -> None:
    """Give a ledger a random history, the same for the same seed but for the names of runs."""
    chance, other = random.Random(seed), random.Random(seed)
    for number in range(first, first + runs):
        policy = chance.choice(["home", "shop", "mail ä"])
        ledger.see_policies({policy: f"{chance.randrange(3):064x}"})
        if chance.random() < 0.1:
            ledger.skip_run(policy, Operation.BACKUP, RunFailure("Skipped", "paused", 0))
        operation = chance.choice(list(Operation))
        run = begun_somehow(ledger, chance, policy, operation)
        made = []
        if operation is Operation.BACKUP and chance.random() < 0.8:
            made.append(recovery_point(number, policy=policy, run=run))
        if operation is Operation.CHECK:
            made.append(verification(run=run, passed=chance.random() < 0.7, detail="pack 7"))
        end = chance.choice(["ended", "ended", "failed", "dead", "running"])
        if end == "ended":
            ledger.end_run(run, RunState.SUCCEEDED, result={"files": number}, made=made)
        elif end == "failed":
            failure = RunFailure("StorageError", "store refused", 17, "Check the keys.")
            ledger.end_run(run, RunState.FAILED, failure=failure)
        elif end == "dead":
            ledger.interrupt_dead_runs(nobody_lives)
        be_alarmed(ledger, chance, policy)
        if other.random() < 0.2:
            be_drilled(ledger, other, policy, other.randint(1, number))


def begun_somehow(
    ledger: Ledger, chance: random.Random, policy: str, operation: Operation
) -> RunId:
    """Begin a run at once or by way of the queue; now and then another one is cancelled there."""
    queued = ledger.queue_run(policy, operation) if chance.random() < 0.5 else None
    if queued is None:
        return ledger.begin_run(policy, operation)
    if chance.random() < 0.2:
        ledger.cancel_run(queued, RunFailure("Skipped", "no room", 0))
        return ledger.begin_run(policy, operation)
    assert ledger.claim_run(queued, lease=timedelta(minutes=1))
    ledger.renew_lease(queued, lease=timedelta(minutes=1), progress={"files": 1})
    return queued


def be_alarmed(ledger: Ledger, chance: random.Random, policy: str) -> None:
    """Raise or clear an alarm of a policy now and then, and tell somebody."""
    if chance.random() < 0.2:
        raised = ledger.raise_alarm(condition(subject=Subject("policy", policy)))
        ledger.record_notification("mail", raised.id, "raised", delivered=chance.random() < 0.8)
    if chance.random() < 0.2:
        for each in ledger.open_alarms():
            ledger.clear_alarm(each.id)
    if chance.random() < 0.1:
        ledger.record_notification("mail", None, "digest", delivered=True, detail="250 ok")


def what_a_reader_sees(ledger: Ledger) -> list[object]:
    """Everything that the ledger answers, by every way to ask."""
    policies = [None, "home", "shop", "mail ä"]
    return [
        ledger.events(limit=10**9),
        *(ledger.runs(policy) for policy in policies),
        *(ledger.recovery_points(policy) for policy in policies),
        *(ledger.verifications(repository) for repository in (None, "c0ffee")),
        ledger.recent_runs(3),
        ledger.recent_points(3),
        ledger.policies(),
        ledger.alarms(),
        ledger.open_alarms(),
        ledger.notifications(),
        ledger.last_notifications(),
        *what_a_reader_sees_of_drills(ledger),
    ]


TRIGGERS = ("event_is_never_updated", "event_is_never_deleted", "event_follows_the_last")


def behind_its_back(place: Path | str, *statements: str) -> None:
    """Change a ledger as somebody with a database tool would, triggers first removed."""
    if is_url(str(place)):
        _behind_the_server(str(place), statements)
        return
    with closing(sqlite3.connect(place)) as connection:
        kept = connection.execute("SELECT sql FROM sqlite_schema WHERE type = 'trigger'").fetchall()
        for trigger in TRIGGERS:
            connection.execute(f"DROP TRIGGER IF EXISTS {trigger}")
        for statement in statements:
            connection.execute(statement)
        for (trigger,) in kept:
            connection.execute(trigger)
        connection.commit()


def _behind_the_server(url: str, statements: Sequence[str]) -> None:
    import psycopg  # noqa: PLC0415 - an extra

    with closing(psycopg.connect(url)) as connection:
        connection.execute("SET session_replication_role = replica")  # no references are checked
        connection.execute("ALTER TABLE event DISABLE TRIGGER USER")
        for statement in statements:
            connection.execute(statement)
        for trigger in POSTGRESQL_TRIGGERS:
            connection.execute(f"ALTER TABLE event ENABLE ALWAYS TRIGGER {trigger}")
        connection.commit()
