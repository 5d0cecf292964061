"""An installation with many policies and a long ledger, for the daemon's benchmark."""

import sqlite3
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

from drkeeper.app.config.configuration import Configuration, load_configuration
from drkeeper.app.config.locations import Locations, find_locations
from drkeeper.app.wiring.runs import open_run_ledger
from drkeeper.clock import SystemClock
from drkeeper.ledger.drill_rows import end_body, plan_body
from drkeeper.ledger.events import Event, Kind, canonical, link
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
from drkeeper.model.drill_record import DrillEnd, DrillPlan, Restored
from drkeeper.model.judging import verdict_of
from drkeeper.model.run import Consistency, Operation, Proof, RunState

HOST = "bench"
_PROCESS = {"host": HOST, "boot_id": "an earlier boot", "pid": 4711, "started": "100"}
_REPOSITORY, _LINEAGE = "c0ffee" * 5, "11aa" * 8


def make_files(root: Path, policies: int, schedule: str | None = None) -> Locations:
    """Write ``drkeeper.yaml`` and so many policies, no two of them alike; return where all is.

    Args:
        root: Folder for everything; does not exist, or is empty.
        policies: How many.
        schedule: Of all of them; default: daily, at different times half a day from now.
    """
    now = SystemClock().now()
    folder = root / "etc" / "policies.d"
    folder.mkdir(parents=True)
    (root / "etc" / "drkeeper.yaml").write_text(
        f"host: {HOST}\nstate: {root}/state\ncache: {root}/cache\nweb: {{listen: none}}\n"
        f"repositories:\n  primary: {{store: {root}/store}}\n"
    )
    (root / "store").mkdir()
    for number in range(policies):
        (folder / f"{_name(number)}.yaml").write_text(
            f"# what matters of machine {number}\n"
            f"policy: {_name(number)}\n"
            f"source:\n  files:\n    paths: [/srv/machines/{number}, /etc]\n"
            '    exclude: ["*.tmp", cache/]\n'
            f"schedule: {schedule or _daily(now, number)}\n"
            "retention: {hourly: 24, daily: 7, weekly: 5, monthly: 12}\n"
            "objectives: {rpo: 26h, rto: 4h}\n"
            "tags: {team: ops}\n"
        )
    settings = root / "etc" / "drkeeper.yaml"
    return find_locations({}, config=str(settings)).with_folders(
        state=str(root / "state"), cache=str(root / "cache")
    )


def load(locations: Locations) -> Configuration:
    """Read the files."""
    return load_configuration(locations, variables={})


def fill_ledger(configuration: Configuration, runs: int, drills: int = 0) -> None:
    """Give every policy so many runs that succeeded, one a day, with what they made, and drills.

    The newest drills are of the newest days, one a day, each proven.

    Appending them one by one would take minutes: each is a transaction that waits for the disk. The
    chain is written at once, and the ledger computes its other tables from it.
    """
    place, clock = configuration.locations.ledger, SystemClock()
    with open_run_ledger(place, host=HOST, clock=clock) as ledger:
        ledger.see_policies(configuration.definitions())
        last = ledger.last_event()
        assert last is not None
        with closing(sqlite3.connect(place)) as connection, connection:
            rows = list(_chain(last, _history(configuration, runs, drills)))
            connection.executemany("INSERT INTO event VALUES (?, ?, ?, ?, ?, ?)", rows)
            connection.execute("UPDATE head SET seq = ?, hash = ?", (rows[-1][0], rows[-1][5]))
        ledger.rebuild_projections()


_Row = tuple[int, str, str, str, bytes, bytes]


_History = Generator[tuple[Kind, Mapping[str, object]], int, None]
"""Yields events to be, and is sent the number that each of them got."""


def _chain(last: Event, history: _History) -> Iterator[_Row]:
    found = next(history)
    while True:
        kind, body = found
        last = link(last.seq + 1, last.hash, last.at, kind=kind.value, body=canonical(body))
        yield last.seq, last.at, last.kind, last.body, last.prev, last.hash
        try:
            found = history.send(last.seq)
        except StopIteration:
            return


def _history(configuration: Configuration, runs: int, drills: int) -> _History:
    now = SystemClock().now()
    for day in range(runs, 0, -1):
        for number, name in enumerate(configuration.policies):
            # The newest of all were an hour ago at most: nothing is due, as on a good day.
            began = now - timedelta(days=day - 1, seconds=60 + 3 * number % 3000)
            run = f"{day:04x}{number:012x}"
            yield (
                Kind.RUN_BEGUN,
                {
                    "run": run,
                    "policy": name,
                    "operation": Operation.BACKUP,
                    "state": RunState.RUNNING,
                    "started_at": began,
                    "process": _PROCESS,
                },
            )
            yield Kind.POINT_RECORDED, _point(name, run, day * 1_000_000 + number, began)
            yield (
                Kind.RUN_ENDED,
                {
                    "run": run,
                    "state": RunState.SUCCEEDED,
                    "ended_at": began + timedelta(seconds=20),
                    "result": {"files": 1000 + day, "bytes": 10_000_000},
                    "failure": None,
                },
            )
            if day <= drills:
                yield from _drill(name, day * 1_000_000 + number, began + timedelta(seconds=21))


def _drill(policy: str, commit: int, at: datetime) -> _History:
    """Prove a policy, in ten minutes and what the chance of the day adds."""
    plan = DrillPlan(
        policy=policy,
        kind=DrillKind.RESTORE,
        choice=Choice.LATEST,
        promised=Promised(timedelta(hours=26), timedelta(hours=4)),
    )
    number = yield Kind.DRILL_PLANNED, plan_body(plan, at)
    yield Kind.DRILL_DECLARED, {"drill": number, "declared_at": at}
    watch = Stopwatch(at, 0.0)
    for phase in Phase:
        spent_s = 75.0 * (phase.place + 1) + commit % 97
        watch.reach(phase, at + timedelta(seconds=spent_s), spent_s)
    end = DrillEnd(
        ended_at=at + timedelta(minutes=20),
        timeline=watch.timeline(),
        scratch="bubblewrap",
        point=Restored(
            _REPOSITORY, commit, at - timedelta(seconds=21), None, 10**7, 4 * 10**6, 1000
        ),
        restored=True,
        probes=(ProbeResult("bytes", "bytes", Outcome.PASSED, "1000 files", "1000 files"),),
        controls=(ControlResult("flipped-byte", Outcome.PASSED, ("bytes",), "a/b at 7"),),
        achieved_rpo=timedelta(seconds=21),
    )
    yield Kind.DRILL_ENDED, end_body(number, end, verdict_of(end.evidence(plan.promised)))


def _point(policy: str, run: str, number: int, at: object) -> Mapping[str, object]:
    return {
        "repository": _REPOSITORY,
        "lineage": _LINEAGE,
        "commit_number": number,
        "session": run,
        "policy": policy,
        "consistent_at": at,
        "finished_at": at,
        "run": run,
        "plain_bytes": 10_000_000,
        "stored_bytes": 4_000_000,
        "new_bytes": 50_000,
        "files": 1000,
        "entries": 1100,
        "unreadable": 0,
        "changed": 0,
        "complete": True,
        "consistency": Consistency.CRASH,
        "proof": Proof.DURABLE,
    }


def _daily(now: datetime, number: int) -> str:
    """Name a time at which nobody measures any more."""
    return f"daily at {now + timedelta(hours=9, minutes=number % 360):%H:%M}"


def _name(number: int) -> str:
    return f"machine-{number:04}"
