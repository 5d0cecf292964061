"""A machine with a past, as the page is told of it: no ledger, the same every time."""

import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from msgspec.structs import replace

from drkeeper.app.web.reading import PolicyWords, RunLog
from drkeeper.model.alarm import Alarm, AlarmKind, Condition, Subject
from drkeeper.model.drill import Verdict
from drkeeper.model.prediction import Prediction
from drkeeper.model.run import (
    DaemonBeat,
    Operation,
    Process,
    Proof,
    RecoveryPoint,
    Run,
    RunFailure,
    RunId,
    RunState,
)
from drkeeper.model.status import Overview, Points, PolicyState, PolicyStatus, RepositoryStatus

NOW = datetime(2026, 11, 20, 13, 7, 42, tzinfo=UTC)
PROCESS = Process("keeper", "boot-1", 4711, "100")
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
GIB = 2**30


@dataclass
class ScriptedReader:
    """Answers what it was given."""

    said: dict[str, PolicyWords] = field(default_factory=dict)
    every_run: list[Run] = field(default_factory=list)
    every_point: list[RecoveryPoint] = field(default_factory=list)
    every_alarm: list[Alarm] = field(default_factory=list)
    logs: dict[str, RunLog] = field(default_factory=dict)

    def words(self, policy: str) -> PolicyWords | None:
        """Return what was given for the policy."""
        return self.said.get(policy)

    def runs(
        self, *, policy: str | None = None, state: RunState | None = None, limit: int
    ) -> Sequence[Run]:
        """Return the runs, newest first."""
        found = [
            run
            for run in self.every_run
            if policy in {None, run.policy} and state in {None, run.state}
        ]
        return sorted(found, key=lambda run: run.started_at, reverse=True)[:limit]

    def run(self, run_id: str) -> Run | None:
        """Return the run of this name."""
        return next((run for run in self.every_run if run.id == run_id), None)

    def points(self, policy: str, *, limit: int) -> Sequence[RecoveryPoint]:
        """Return the points, newest first."""
        found = [point for point in self.every_point if point.policy == policy]
        return sorted(found, key=lambda p: p.consistent_at, reverse=True)[:limit]

    def alarms(self, *, limit: int) -> Sequence[Alarm]:
        """Return the alarms, newest first."""
        return sorted(self.every_alarm, key=lambda a: a.raised_at, reverse=True)[:limit]

    def report(self, quarter: str | None) -> bytes | None:
        """Return a report of quarters, and none of what is no quarter."""
        text = f"<!doctype html>\n<html>{quarter}</html>\n".encode()
        return text if quarter in {None, "2026Q4"} else None

    def run_counts(self) -> Mapping[RunState, int]:
        """Count the runs."""
        return Counter(run.state for run in self.every_run)

    def log(self, run_id: str) -> RunLog | None:
        """Return what was given for the run."""
        return self.logs.get(run_id)


@dataclass
class Machine:
    """What the page is told.

    Attributes:
        overview: Of everything.
        reader: About the rest.
    """

    overview: Overview
    reader: ScriptedReader

    @property
    def told(self) -> tuple[Overview, ScriptedReader]:
        """Both."""
        return self.overview, self.reader


def condition(kind: AlarmKind, policy: str, message: str, hint: str, since: datetime) -> Condition:
    """Return what is wrong with a policy."""
    return Condition(kind, Subject("policy", policy), message, hint, since)


def history(  # noqa: PLR0913 - a past has many sides
    reader: ScriptedReader,
    policy: str,
    *,
    every: timedelta,
    count: int,
    plain_bytes: int,
    failing: int = 0,
    proven: bool = False,
    until: datetime = NOW,
) -> tuple[Run | None, Run]:
    """Give a policy a past, the last ``failing`` runs of which failed; return good and newest."""
    chance = random.Random(repr(policy))
    good: Run | None = None
    newest: Run | None = None
    for number in range(count):
        back = count - number
        began = until - every * (back - 1) - timedelta(seconds=400 + chance.randrange(240))
        took = timedelta(seconds=30 + chance.randrange(90) + number // 3)
        failed = back <= failing or (failing and chance.random() < 0.06)
        run_id = RunId(f"{abs(hash_of(policy)):08x}{number:08x}")
        grown = int(plain_bytes * (1 + number / 300 + chance.random() / 200))
        added = int(plain_bytes * (0.002 + chance.random() / 90)) if number else plain_bytes // 3
        run = Run(
            run_id,
            policy,
            Operation.BACKUP,
            RunState.FAILED if failed else RunState.SUCCEEDED,
            PROCESS,
            began,
            began + (timedelta(seconds=7) if failed else took),
            result={}
            if failed
            else {
                "files": 18_204 + number,
                "plain_bytes": grown,
                "new_bytes": added * 2,
                "stored_bytes": added,
                "requests": 41,
            },
            failure=RunFailure(
                "StorageUnavailableError",
                "s3://backup-eu/keeper did not answer: connection timed out",
                17,
                "Check the network and the store's own status, then run drkeeper doctor.",
            )
            if failed
            else None,
            begun_event=1000 + 2 * number,
            event=1001 + 2 * number,
        )
        newest = run
        reader.every_run.append(run)
        if not failed:
            good = run
            reader.every_point.append(
                RecoveryPoint(
                    repository="c0ffee",
                    lineage="11aa",
                    commit_number=hash_of(policy) % 1000 * 1000 + number,
                    session=f"{number:08x}",
                    policy=policy,
                    consistent_at=began + timedelta(seconds=4),
                    finished_at=began + took,
                    run=run_id,
                    plain_bytes=grown,
                    stored_bytes=added,
                    new_bytes=added * 2,
                    files=18_204 + number,
                    entries=20_000,
                    proof=Proof.PROVEN if proven and number % 12 == 5 else Proof.DURABLE,
                )
            )
    assert newest is not None
    lines = [f"{newest.started_at:%H:%M:%S} backup.began policy={policy} run={newest.id}"]
    if newest.failure:
        lines += [
            f"{newest.started_at:%H:%M:%S} store.retried attempt={n} error='connection timed out'"
            for n in range(1, 6)
        ]
        lines.append(f"error: {newest.failure.message}")
    else:
        lines += [
            f"{newest.started_at:%H:%M:%S} files={n * 3000} plain_bytes={n * 800_000_000}"
            for n in range(1, 7)
        ]
        lines.append("backup.ended state=succeeded warnings=0")
    reader.logs[newest.id] = RunLog("\n".join(lines) + "\n")
    return good, newest


def hash_of(text: str) -> int:
    """Return a number that is the same in every process."""
    return int.from_bytes(repr(text).encode()[:12][-4:].ljust(4, b"x"), "big")


def status(
    reader: ScriptedReader,
    policy: str,
    state: PolicyState,
    past: tuple[Run | None, Run] | None,
    **fields: object,
) -> PolicyStatus:
    """Return how a policy stands after its past."""
    good, newest = past or (None, None)
    points = reader.points(policy, limit=500)
    durable = points[0].consistent_at if points else None
    proven = next((p.consistent_at for p in points if p.proof is Proof.PROVEN), None)
    given: dict[str, object] = {
        "policy": policy,
        "source_kind": "files",
        "repository": "primary",
        "zone_name": "Europe/Berlin",
        "state": state,
        "why": "waiting",
        "last_success": good,
        "last_attempt": newest,
        "points": Points(durable, durable, proven),
        "source_bytes": points[0].plain_bytes if points else None,
        "stored_bytes": points[0].stored_bytes if points else None,
    }
    return PolicyStatus(**(given | fields))  # type: ignore[arg-type]


def kept_machine() -> Machine:
    """Return a machine on which all is well."""
    reader = ScriptedReader()
    words = PolicyWords(
        "every hour, 5 minutes past; also in hours that come twice",
        ("/srv/shop/data", "/etc/shop"),
        ("one an hour for 24 hours", "one a day for 7 days", "one a week for 5 weeks"),
        tuple(NOW.replace(minute=5, second=0) + HOUR * n for n in range(1, 11)),
    )
    shop = history(reader, "shop-database", every=HOUR, count=70, plain_bytes=41 * GIB, proven=True)
    home = history(reader, "home", every=DAY, count=21, plain_bytes=212 * GIB)
    wiki = history(reader, "wiki", every=6 * HOUR, count=30, plain_bytes=3 * GIB)
    reader.said = {"shop-database": words, "home": words, "wiki": words}
    begun = Run(
        RunId("00c0ffee00c0ffee"), "shop-database", Operation.BACKUP, RunState.RUNNING, PROCESS,
        NOW - 2 * MINUTE, begun_event=4000, event=4000,
    )  # fmt: skip
    reader.every_run.append(begun)
    policies = (
        status(
            reader, "home", PolicyState.OK, home, next_due=NOW + 12.4 * HOUR,
            rpo_target=26 * HOUR, expected_interval=DAY,
        ),
        status(
            reader, "shop-database", PolicyState.RUNNING, shop, next_due=NOW + 57 * MINUTE,
            rpo_target=2 * HOUR, rto_target=30 * MINUTE, rto_achieved=12 * MINUTE,
            expected_interval=HOUR, running=begun,
            rto_predicted=Prediction(41 * GIB, 11 * MINUTE, 13 * MINUTE, 16 * MINUTE, 9),
            drills_ended={Verdict.PROVEN: NOW - 6 * DAY, Verdict.INCONCLUSIVE: NOW - 20 * DAY},
            control_caught_at=NOW - 6 * DAY,
        ),
        status(
            reader, "wiki", PolicyState.OK, wiki, next_due=NOW + 3.1 * HOUR, repository="offsite",
            rpo_target=8 * HOUR, rto_target=HOUR, expected_interval=6 * HOUR,
        ),
    )  # fmt: skip
    return Machine(overview_of(policies), reader)


def overview_of(policies: Sequence[PolicyStatus], **fields: object) -> Overview:
    """Return an overview with a daemon and two repositories."""
    given: dict[str, object] = {
        "host": "keeper",
        "at": NOW,
        "daemon_alive": True,
        "daemons": (DaemonBeat(PROCESS, "0.1.0", NOW - 9 * DAY, NOW - timedelta(seconds=4)),),
        "policies": tuple(policies),
        "repositories": (
            RepositoryStatus(
                name="primary", store="s3://backup-eu/keeper", reachable=True,
                asked_at=NOW - 2 * MINUTE, checked_at=NOW - 6 * DAY,
            ),
            RepositoryStatus(
                name="offsite", store="/mnt/offsite/drkeeper", reachable=True,
                asked_at=NOW - 2 * MINUTE, checked_at=NOW - 31 * DAY,
            ),
        ),
        "verified_at": NOW - 7 * HOUR,
    }  # fmt: skip
    return Overview(**(given | fields))  # type: ignore[arg-type]


def troubled_machine() -> Machine:
    """Return a machine on which most things are wrong."""
    machine = kept_machine()
    overview, reader = machine.told
    mail = history(
        reader, "mail", every=HOUR, count=60, plain_bytes=88 * GIB, failing=4, until=NOW - HOUR
    )
    since = NOW - 4.2 * HOUR
    violated = condition(
        AlarmKind.RPO_VIOLATED,
        "mail",
        "policy mail can be brought back to 2026-11-20 09:58 CET only, 4 h 9 min ago; 2 h are promised",
        "Run drkeeper backup mail, and see why its last run failed: drkeeper status.",
        since + 2 * HOUR,
    )
    failing = condition(
        AlarmKind.FAILING,
        "mail",
        "the newest run of policy mail failed at 2026-11-20 12:00 CET: "
        "s3://backup-eu/keeper did not answer: connection timed out",
        "Check the network and the store's own status, then run drkeeper doctor.",
        since + HOUR,
    )
    never = condition(
        AlarmKind.NEVER_RAN,
        "laptop-of-the-managing-director-with-a-long-name",
        "policy laptop-of-the-managing-director-with-a-long-name was due at 2026-11-20 11:00 CET "
        "and has never run",
        "Run drkeeper backup laptop-of-the-managing-director-with-a-long-name.",
        NOW - 3 * HOUR,
    )
    risk = condition(
        AlarmKind.RPO_AT_RISK,
        "wiki",
        "policy wiki can be brought back to 2026-11-20 07:29 CET, 6 h 38 min ago; 8 h are promised",
        "Run drkeeper backup wiki.",
        NOW - 14 * MINUTE,
    )
    unreachable = Condition(
        AlarmKind.STORAGE_UNREACHABLE,
        Subject("repository", "primary"),
        "the store of repository primary has not answered since 2026-11-20 09:40 UTC",
        "Run drkeeper doctor to see what it answers.",
        NOW - 3.5 * HOUR,
    )
    past = replace(
        Alarm(3, replace(risk, since=NOW - 3 * DAY), NOW - 3 * DAY), cleared_at=NOW - 2.9 * DAY
    )
    opened = [
        Alarm(20 + number, found, found.since)
        for number, found in enumerate((violated, failing, never, risk, unreachable))
    ]
    wordy = replace(past.condition, message=f"/srv/{'_' * 90}.yaml:1:1: no word ends here")
    reader.every_alarm = [*opened, past, replace(past, id=past.id + 100, condition=wordy)]
    kept = {one.policy: one for one in overview.policies}
    policies = (
        kept["home"],
        status(
            reader, "laptop-of-the-managing-director-with-a-long-name", PolicyState.OVERDUE, None,
            next_due=NOW - 3 * HOUR, rpo_target=DAY, expected_interval=DAY, conditions=(never,),
        ),
        status(
            reader, "mail", PolicyState.VIOLATED, mail, next_due=NOW - 2 * MINUTE,
            rpo_target=2 * HOUR, rto_target=30 * MINUTE, expected_interval=HOUR,
            conditions=(violated, failing),
        ),
        status(
            reader, "music", PolicyState.BY_HAND, None, zone_name="America/New_York",
            source_kind="files",
        ),
        replace(kept["shop-database"], state=PolicyState.PAUSED, paused_until=NOW + 2 * DAY,
                paused_because="the database moves to its new host", running=None),
        replace(
            kept["wiki"], state=PolicyState.AT_RISK, conditions=(risk,),
            points=Points(NOW - 6.6 * HOUR, NOW - 6.6 * HOUR, None),
        ),
    )  # fmt: skip
    reader.said["mail"] = reader.said["home"]
    repositories = (
        replace(overview.repositories[0], reachable=False, conditions=(unreachable,)),
        overview.repositories[1],
    )
    by_rank = tuple(sorted(opened, key=lambda a: -a.condition.level.rank))
    return Machine(
        overview_of(policies, repositories=repositories, alarms=by_rank, queue_depth=1), reader
    )


HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "javascript:alert(1)",
    "</title><script>alert(1)</script>",
    "\x1b[2Jname\u202etxt.exe\x00",
    "x\udce9 &amp; \ud800",
    "--><svg/onload=alert(1)>",
)
"""Names that want to be more than names."""


def hostile_machine() -> Machine:
    """Return a machine whose every text wants to be markup."""
    reader = ScriptedReader()
    policies, alarms = [], []
    for number, text in enumerate(HOSTILE):
        past = history(reader, text, every=HOUR, count=5, plain_bytes=GIB, failing=1)
        reader.said[text] = PolicyWords(text, (text,), (text,), (NOW + HOUR,))
        wrong = Condition(AlarmKind.FAILING, Subject("policy", text), text, text, NOW - HOUR)
        alarms.append(Alarm(number + 1, wrong, NOW - HOUR))
        alarms.append(Alarm(number + 100, wrong, NOW - DAY, NOW - HOUR))
        policies.append(
            status(
                reader, text, PolicyState.PAUSED, past, source_kind=text, repository=text,
                zone_name=text, paused_until=NOW + DAY, paused_because=text, conditions=(wrong,),
                rpo_target=HOUR,
            )
        )  # fmt: skip
    reader.every_run = [
        replace(
            run,
            process=replace(PROCESS, host=run.policy or ""),
            result={str(run.policy): str(run.policy)},
            failure=RunFailure(str(run.policy), str(run.policy), 1, run.policy),
        )
        for run in reader.every_run
    ]
    for run in reader.every_run:
        reader.logs[run.id] = RunLog(f"{run.policy}\n", cut=True)
    reader.every_alarm = alarms
    repositories = tuple(RepositoryStatus(name=text, store=text) for text in HOSTILE)
    overview = overview_of(
        policies,
        repositories=repositories,
        host=HOSTILE[0],
        alarms=tuple(a for a in alarms if a.cleared_at is None),
    )
    return Machine(overview, reader)


def empty_machine() -> Machine:
    """Return a machine on which nothing has been set up."""
    overview = Overview(host="keeper", at=NOW, daemon_alive=False)
    return Machine(overview, ScriptedReader())


def texts_of(page: str) -> str:
    """Return what a page shows, without its tags."""
    return re.sub(r"<[^>]*>", " ", page)
