"""Ledgers of two years, made by the ledger itself: what a report is computed from."""

import os
import random
from base64 import b64decode
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from doubles.ledgers import TickingClock, ledger_at, recovery_point, verification
from drkeeper.crypto.sampling import draw, sample_seed
from drkeeper.ledger.ledger import Ledger
from drkeeper.model.alarm import AlarmKind, Condition, Subject
from drkeeper.model.drill import (
    Choice,
    ControlResult,
    DrillKind,
    Outcome,
    Phase,
    ProbeResult,
    Promised,
    Stopwatch,
)
from drkeeper.model.drill_record import DrillEnd, DrillPlan, IncidentKind, KeyDrill, Restored
from drkeeper.model.prediction import Measured, predict
from drkeeper.model.run import CheckKind, Operation, RunFailure, RunState
from drkeeper.reports.scope import PolicyScope, RepositoryScope, Scope

SECOND, MINUTE, HOUR, DAY = (timedelta(seconds=s) for s in (1, 60, 3600, 86400))
BEGIN = datetime(2025, 1, 6, 2, 30, tzinfo=UTC)
END = datetime(2027, 1, 1, tzinfo=UTC)
SIZES = {"files": 40 << 30, "shop": 120 << 30, "mail": 9 << 30}
PACE = {"files": 1.0, "shop": 1.7, "mail": 0.3}
PHASES = {
    Phase.KEYS_OPENED: 0.8,
    Phase.JOURNAL_READ: 2.2,
    Phase.MANIFEST_AUTHENTICATED: 1.4,
    Phase.FIRST_BYTE: 0.9,
    Phase.RESTORED: 380.0,
    Phase.ENGINE_STARTED: 6.0,
    Phase.LOG_REPLAYED: 20.0,
    Phase.PROBES_PASSED: 75.0,
    Phase.TORN_DOWN: 4.0,
}


def scope_of(*names: str, host: str = "keeper.example") -> Scope:
    """Promise something for each policy."""
    policies = [
        PolicyScope(
            policy=name,
            definition=definition(name),
            source="sqlite" if name == "shop" else "files",
            protects=(f"/srv/{name}",),
            repository="primary",
            schedule="every day at 02:30 (UTC)",
            keeps=("the newest of 14 days", "the newest of 8 weeks"),
            rpo=26 * HOUR if name != "mail" else 8 * DAY,
            rto=None if name == "mail" else 28 * MINUTE,
        )
        for name in names
    ]
    store = RepositoryScope(
        name="primary", store="s3://backups/keeper", medium="object store", check_within=7 * DAY
    )
    return Scope(host=host, policies=tuple(policies), repositories=(store,))


def definition(name: str) -> str:
    return name.encode().hex().zfill(32)[:32]


def signed(newest) -> dict[str, object]:
    """Return what a plan says of the newest checkpoint."""
    if not newest:
        return {}
    _, size, root, *_ = newest[0].note.split("\n")
    return {"checkpoint_size": int(size), "checkpoint_root": b64decode(root).hex()}


class Story:
    """Lives through a time, day after day.

    Args:
        ledger: That remembers it.
        clock: Its clock, which is set along.
        seed: Of everything that is not said.
    """

    def __init__(self, ledger: Ledger, clock: TickingClock, seed: int = 7) -> None:
        self.ledger, self.clock, self.chance = ledger, clock, random.Random(seed)
        self.commit = 0
        self.points: dict[str, tuple[int, datetime, int]] = {}
        self.kept: dict[str, list[tuple[int, datetime, int]]] = {}
        self.measured: dict[str, list[Measured]] = {}

    def at(self, instant: datetime) -> None:
        self.clock.at = instant - SECOND  # it ticks when it is asked

    def size(self, policy: str, at: datetime) -> int:
        grown = 1 + (at - BEGIN).days / 900
        return int(SIZES.get(policy, 5 << 30) * grown)

    def backup(self, policy: str, at: datetime, *, state=RunState.SUCCEEDED, message="") -> None:
        self.at(at)
        if state is RunState.SKIPPED:
            self.ledger.skip_run(policy, Operation.BACKUP, RunFailure("Skipped", message, 0))
            return
        run = self.ledger.begin_run(policy, Operation.BACKUP)
        took = timedelta(seconds=self.chance.randint(300, 900))
        self.at(at + took)
        if state in {RunState.FAILED, RunState.INTERRUPTED}:
            failure = RunFailure("StorageUnavailableError", message, 17, "Look at the store.")
            self.ledger.end_run(run, state, failure=failure)
            return
        self.commit += 1
        size = self.size(policy, at)
        made = recovery_point(
            self.commit, policy=policy, run=run, consistent_at=at, finished_at=at + took,
            plain_bytes=size, stored_bytes=size // 3, new_bytes=size // 50, files=size >> 17,
        )  # fmt: skip
        self.points[policy] = self.commit, at, size
        self.kept[policy] = [*self.kept.get(policy, []), self.points[policy]][-14:]
        self.ledger.end_run(run, state, result={"files": made.files}, made=[made])

    def drill(  # noqa: PLR0913 - what can go wrong, by name
        self, policy: str, at: datetime, *, kind=DrillKind.RESTORE, choice=Choice.LATEST,
        promised=None, slow=1.0, bad="", scratch="", missed="",
    ) -> int:  # fmt: skip
        """Drill the newest point, or one that is drawn; return the number of the drill."""
        self.at(at)
        commit, consistent_at, size = self.points[policy]
        newest = self.ledger.checkpoints(limit=1)
        known = list(reversed(self.measured.get(policy, [])))
        plan = DrillPlan(
            policy=policy, kind=kind, choice=choice,
            promised=promised
            or Promised(None if choice is Choice.RANDOM else 26 * HOUR, 28 * MINUTE),
            criteria={"probes": ["bytes", "engine"], "controls": ["flipped-byte", "stale-point"]},
            **signed(newest),
            prediction=predict(known, size),
        )  # fmt: skip
        planned = self.ledger.plan_drill(plan)
        self.ledger.declare_drill(planned.id, at)
        detail = {}
        if choice is Choice.RANDOM:
            kept = self.kept[policy]
            seed = sample_seed(bytes.fromhex(planned.plan.checkpoint_root), planned.id)
            commit, consistent_at, size = kept[draw(seed, len(kept))[0]]
            detail = {"candidates": [number for number, *_ in kept]}
        watch, elapsed_s = Stopwatch(at, 0.0), 0.0
        until = Phase.RESTORED if bad and bad.startswith("could") else Phase.TORN_DOWN
        for phase, seconds in PHASES.items():
            if phase.place > until.place or (policy != "shop" and phase in ENGINE):
                continue
            big = size / SIZES.get(policy, size) if phase in BIG else 1.0
            part = seconds * PACE.get(policy, 1) * big * slow * self.chance.uniform(0.93, 1.08)
            elapsed_s += part
            watch.reach(phase, at + timedelta(seconds=elapsed_s), elapsed_s)
        timeline = watch.timeline()
        failed = Outcome.FAILED if bad else Outcome.PASSED
        end = DrillEnd(
            ended_at=at + timedelta(seconds=elapsed_s),
            timeline=timeline,
            scratch="bubblewrap",
            point=Restored("c0ffee", commit, consistent_at, None, size, size // 3, size >> 17),
            restored=until is Phase.TORN_DOWN,
            failure=bad if until is Phase.RESTORED else "",
            scratch_failure=scratch,
            probes=(
                ProbeResult("bytes", "bytes", Outcome.PASSED, "all", "all", 40 * SECOND),
                ProbeResult("rows of orders", "sql", failed, "at least 1000", bad or "18220", SECOND),
            ),
            controls=(
                ControlResult("flipped-byte", Outcome.PASSED, ("bytes",), "orders.db at 81920"),
                ControlResult(
                    "stale-point", Outcome.FAILED if missed else Outcome.PASSED,
                    () if missed else ("rows of orders",), "the point of a week before",
                ),
            ),
            achieved_rpo=at - consistent_at,
            detail=detail,
        )  # fmt: skip
        self.at(end.ended_at)
        self.ledger.end_drill(planned.id, end)
        if not bad and not scratch and not missed:
            self.measured.setdefault(policy, []).append(Measured(timeline.took(), size))
        return planned.id

    def check(self, at: datetime, *, passed=True) -> None:
        self.at(at)
        run = self.ledger.begin_run(None, Operation.CHECK)
        detail = "" if passed else "pack-damaged pack 7"
        found = verification(
            run=run, kind=CheckKind.READ_DATA, passed=passed, checked_at=at, objects=8123,
            read_bytes=60 << 30, findings=0 if passed else 1, detail=detail,
        )  # fmt: skip
        self.ledger.end_run(run, RunState.SUCCEEDED if passed else RunState.FAILED, made=[found])

    def key_drill(self, at: datetime, *, recipient="age1pq1qy3z8example", opened=True) -> None:
        self.at(at)
        plan = DrillPlan(policy=None, kind=DrillKind.KEY)
        planned = self.ledger.plan_drill(plan)
        self.ledger.declare_drill(planned.id, at)
        probe = ProbeResult("canary", "key", Outcome.PASSED, "opened", "opened", SECOND)
        control = ControlResult("wrong-key", Outcome.PASSED, ("canary",))
        self.ledger.record_key_drill(
            KeyDrill(repository="c0ffee", recipient=recipient, role="recovery", opened=opened,
                     checked_at=at, took=SECOND, drill=planned.id)
        )  # fmt: skip
        self.ledger.end_drill(
            planned.id,
            DrillEnd(ended_at=at + SECOND, restored=True, probes=(probe,), controls=(control,)),
        )

    def trouble(self, policy: str, at: datetime, until: datetime | None, cause: str) -> int:
        """Violate an RPO for a while, and promise to do something about it."""
        self.at(at)
        raised = self.ledger.raise_alarm(
            Condition(AlarmKind.RPO_VIOLATED, Subject("policy", policy),
                      f"policy {policy}: its newest point is too old", "Look at the store.", at)
        )  # fmt: skip
        opened = self.ledger.open_incident(
            IncidentKind.RPO_VIOLATED, policy, at, cause=cause, alarm_id=raised.id
        )
        action = self.ledger.open_action(
            f"Let {policy} go to a second store", "platform team",
            due_at=at + 30 * DAY, policy=policy, incident_id=opened.id,
        )  # fmt: skip
        if until is not None:
            self.at(until)
            self.ledger.clear_alarm(raised.id)
            self.ledger.close_incident(opened.id, until, worst=until - at + 26 * HOUR)
            self.at(until + 3 * DAY)
            self.ledger.close_action(action.id, "A second store is in use.")
        return opened.id


ENGINE = {Phase.ENGINE_STARTED, Phase.LOG_REPLAYED}
BIG = {Phase.RESTORED, Phase.PROBES_PASSED}


@contextmanager
def quick_folder():
    """Give a folder in memory, where there is one: a thousand transactions each wait for the disk."""
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        yield Path(folder)


def two_years(
    path: Path, *, every: timedelta = 7 * DAY, names=("files", "shop"), key=None
) -> Ledger:
    """Return a ledger of eight quarters; weekly, or as dense as asked for."""
    clock = TickingClock(BEGIN - HOUR)
    ledger = ledger_at(path, clock=clock)
    story = Story(ledger, clock)
    ledger.see_policies({name: definition(name) for name in names})
    at, week = BEGIN, 0
    while at < END:
        for place, name in enumerate(names):
            _backup_somehow(story, name, at + place * 20 * MINUTE)
        if (at - BEGIN) // (7 * DAY) > week:
            week = (at - BEGIN) // (7 * DAY)
            _week(story, names, at, week, key)
        at += every
    story.at(END + DAY)
    return ledger


def _backup_somehow(story: Story, name: str, at: datetime) -> None:
    if (
        datetime(2026, 11, 10, tzinfo=UTC) < at < datetime(2026, 11, 13, tzinfo=UTC)
        and name == "shop"
    ):
        story.backup(name, at, state=RunState.FAILED, message="store refused: 503 SlowDown")
    elif story.chance.random() < 0.012:
        story.backup(name, at, state=RunState.SKIPPED, message="another run was going on")
    elif story.chance.random() < 0.02:
        story.backup(name, at, state=RunState.FAILED, message="connection to the store was lost")
    elif story.chance.random() < 0.02:
        story.backup(name, at, state=RunState.WARNINGS)
    else:
        story.backup(name, at)


def _week(story: Story, names, at: datetime, week: int, key) -> None:
    for place, name in enumerate(names):
        if name == "mail" or name not in story.points or (week + place) % 2:
            continue
        when = at + 3 * HOUR + place * HOUR
        slow = 1.9 if week == 70 else 1.0
        bad = "17 rows are missing" if (week, name) == (98, "shop") else ""
        scratch = "scratch has no space left" if week == 95 else ""
        drill = story.drill(
            name, when, slow=slow, bad=bad, scratch=scratch, missed="x" if week == 52 else "",
            choice=Choice.RANDOM if week % 3 == 0 else Choice.LATEST,
            kind=DrillKind.BARE if week % 13 == 6 else DrillKind.RESTORE,
        )  # fmt: skip
        if bad:
            story.ledger.open_action("Find out why rows are missing", "database team",
                                     due_at=when + 14 * DAY, policy=name, drill_id=drill)  # fmt: skip
    if week % 4 == 0:
        story.check(at + 9 * HOUR, passed=week != 44)
    if week % 13 == 5:
        story.key_drill(at + 10 * HOUR)
        story.key_drill(at + 11 * HOUR, recipient="age1pq1zzz9second", opened=week < 90)
    if week == 60:
        story.trouble("shop", at + 12 * HOUR, at + 20 * HOUR, "store was out of reach")
    if week == 96:
        story.trouble("shop", at + DAY, at + 2 * DAY, "store refused: 503 SlowDown")
    if key is not None and week % 4 == 0:
        story.at(at + 12 * HOUR)
        story.ledger.sign(key)
