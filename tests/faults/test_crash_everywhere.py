"""A power cut at every fault point of every operation, and an error at every one of them.

Points are taken from the source, how often each is reached from a recording run of every scenario.
"""

import random
from collections.abc import Iterator

import pytest

from doubles.faultpoints import registered_points
from faults.forking import Forker, Outcome
from faults.scenarios import SCENARIOS, Worlds
from faults.worlds import World

ELSEWHERE = {
    "app.config.reading.": "worlds have no configuration to read; test_reloading_faults.py",
    "app.daemon.": "a process that lives on; test_daemon_points.py",
    "app.wiring.reachability.": "only daemons ask; test_daemon_points.py",
    "app.web.": "no operation listens; tests/faults/test_web_faults.py",
    "app.wiring.children.": "runs are processes; tests/faults/test_run_faults.py",
    "app.wiring.execution.": "the same",
    "app.wiring.runlogs.": "the same",
    "operations.hooks.": "the same",
    "storage.s3.": "no process dies differently for a network; tests/faults/test_operations_on_s3.py",
    "ledger.schema.upgrad": "worlds begin with the newest form; test_ledger_faults.py",
    "ledger.schema.cop": "the same",
    "ledger.ledger.rebuilding": "asked for by hand; test_ledger_faults.py",
    "ledger.ledger.rebuilt": "the same",
    "notify.": "no backup tells anybody; test_telling_faults.py",
    "operations.alarming.": "the same",
    "operations.delivering.": "the same",
    "app.wiring.channels.": "the same",
    "app.wiring.told.": "the same",
    "app.wiring.telling.": "only timers do; test_run_faults.py",
    "ledger.claims.": "only daemons do; test_ledger_faults.py",
    "ledger.reconciling.": "the same",
    "ledger.daemons.": "only daemons do; test_ledger_faults.py",
    "ledger.postgresql.": "worlds have their ledgers in files; test_ledger_faults.py",
    "ledger.server.": "the same",
    "repository.records.": "beside snapshots; tests/faults/test_record_faults.py",
    "operations.keeping_ledgers.": "the same",
    "ledger.storing.": "the same",
    "ledger.checkpoints.": "the same",
    "app.wiring.ledger_copies.": "the same",
    "app.wiring.rescue.": "the same",
    "app.wiring.takeover.": "the same",
    "operations.incidents.": "only daemons look; tests/unit/operations/test_incidents.py",
    "scratch.": "only drills have one; test_scratch_faults.py",
    "operations.drills.": "a process of its own; test_drill_faults.py",
    "sources.sqlite.": "worlds hold files; test_sqlite_faults.py",
}
POINTS = sorted(name for name in registered_points() if not name.startswith(tuple(ELSEWHERE)))

FAMILIES = (
    (
        *("first", "changed", "unchanged", "in-parts", "continued"),
        *("lost-state", "unheard", "condemned", "refused"),
    ),
    ("restore", "restore-in-place", "restore-continued"),
    ("check",),
    ("init", "init-again"),
)
"""Of each kind of operation, the first scenario that reaches a point stands for the others."""


@pytest.fixture(scope="session")
def recorded(worlds: Worlds) -> dict[str, dict[str, int]]:
    """How often each scenario reaches each point when nothing goes wrong."""
    found = {}
    for name, scenario in SCENARIOS.items():
        world = worlds.fresh(scenario.world)
        outcome = run(worlds.forker, name, world)
        assert ended_as_expected(name, outcome), (name, outcome)
        found[name] = outcome.hits
        worlds.drop(world)
    return found


def run(forker: Forker, name: str, world: World, *, again: bool = False, **task: object) -> Outcome:
    scenario = SCENARIOS[name]
    operation = scenario.again if again and scenario.again else scenario.operation
    return forker.run(operation.__name__, world, **task)


def ended_as_expected(name: str, outcome: Outcome) -> bool:
    expected = SCENARIOS[name].ends_with
    if expected is None:
        return outcome.status == "done"
    return outcome.status == "raised" and outcome.exit_code == expected


def cells(
    recorded: dict[str, dict[str, int]], point: str, *, everywhere: bool = False
) -> list[tuple[str, int]]:
    """Return where and when to strike at a point: scenarios, and first, middle and last hits.

    Within a family the first scenario that reaches the point is struck at its first and last hit, one
    of the others in the middle; without others the first one is. The ledger is asked for the same by
    every operation, so one of each kind is enough.
    """
    common = ("first", "restore") if point.startswith("ledger.") else tuple(SCENARIOS)
    able = [
        name
        for name, hits in recorded.items()
        if (everywhere or (name in common and not SCENARIOS[name].rare)) and point in hits
    ]
    ends, middles = set(able), set(able)
    for family in () if everywhere else FAMILIES:
        present = [name for name in family if name in able]
        ends -= set(present[1:])
        middles -= set(present)
        middles |= set(random.Random(point).sample(present[1:] or present, min(1, len(present))))
    found = []
    for name in able:
        last = recorded[name][point]
        chosen = {1, last} if name in ends else set()
        if name in middles:
            chosen.add((last + 1) // 2)
        found += [(name, hit) for hit in sorted(chosen)]
    if not found:
        names = [name for name, hits in recorded.items() if point in hits]
        found = [(name, hit) for name in names[:1] for hit in {1, recorded[name][point]}]
    assert found, f"no scenario reaches {point}"
    return found


def newest(worlds: Worlds, name: str, world: World, *, idle: bool = False) -> int:
    """Assert the invariants and return the number of the newest commit."""
    return max((commit.n for commit in worlds.examine(name, world, idle=idle)), default=0)


def goes_on(worlds: Worlds, name: str, world: World, before: int) -> None:
    """The next run succeeds without repair and leaves everything in order."""
    outcome = run(worlds.forker, name, world, again=True)
    assert ended_as_expected(name, outcome), outcome
    worlds.examine_end(name, world, before)


def crash(worlds: Worlds, point: str, name: str, hit: int) -> None:
    world = worlds.fresh(SCENARIOS[name].world)
    outcome = run(worlds.forker, name, world, crash=(point, hit))
    # Which directories are made anew depends on random names: the last may be missing.
    assert outcome.status == "crashed" or hit > 1, (name, hit, outcome)
    before = newest(worlds, name, world)
    goes_on(worlds, name, world, before)
    worlds.drop(world)


@pytest.mark.parametrize("point", POINTS)
def test_a_crash_harms_nothing(
    worlds: Worlds, recorded: dict[str, dict[str, int]], point: str
) -> None:
    """The process ends at the first, a middle or the last hit: all invariants hold, the next run works."""
    for name, hit in cells(recorded, point):
        crash(worlds, point, name, hit)


FAILS = {"storage.folder.": "broken", "ledger.": "interrupted", "app.config.": "broken"}
"""What goes wrong beside a system call is an ``OSError``; between them, what a store would say."""


def test_families_are_complete() -> None:
    """No scenario is forgotten but those that differ from another by their worlds alone."""
    assert set(SCENARIOS) - {"lost-cache", "aged"} == {
        name for family in FAMILIES for name in family
    }


@pytest.mark.parametrize("point", POINTS)
def test_an_error_harms_nothing(
    worlds: Worlds, recorded: dict[str, dict[str, int]], point: str
) -> None:
    """A fault at any point, and Ctrl-C once: a known error in good time, no thread left, on it goes."""
    for number, (name, failure) in enumerate(failures(recorded, point)):
        if number < 2 or failure[2] != "interrupted":
            fail(worlds, name, failure)


@pytest.mark.soak
@pytest.mark.parametrize("point", POINTS)
def test_an_interruption_harms_nothing(
    worlds: Worlds, recorded: dict[str, dict[str, int]], point: str
) -> None:
    """Ctrl-C at any point of every kind of operation."""
    for name, failure in failures(recorded, point):
        if failure[2] == "interrupted":
            fail(worlds, name, failure)


def failures(
    recorded: dict[str, dict[str, int]], point: str
) -> Iterator[tuple[str, tuple[str, int, str]]]:
    """Yield, for each family that reaches a point, a scenario with a fault, then with Ctrl-C."""
    kind = next((FAILS[prefix] for prefix in FAILS if point.startswith(prefix)), "unavailable")
    for family in FAMILIES:
        name = next((each for each in family if point in recorded[each]), None)
        if name is not None:
            hits = recorded[name][point]
            yield name, (point, (hits + 1) // 2, kind)
            yield name, (point, hits // 2 + 1, "interrupted")


def fail(worlds: Worlds, name: str, failure: tuple[str, int, str]) -> None:
    world = worlds.fresh(SCENARIOS[name].world)
    outcome = run(worlds.forker, name, world, fail=failure)
    assert outcome.status in {"done", "raised"}, (name, failure, outcome)
    known = outcome.exit_code is not None or outcome.error in {"", "KeyboardInterrupt"}
    assert known, (name, failure, outcome.text)
    assert outcome.threads == [], (name, failure)
    assert outcome.leaked == [], (name, failure)
    finished = outcome.status == "done" and name.startswith("init")
    before = newest(worlds, name, world)
    if not finished:
        goes_on(worlds, name, world, before)
    worlds.drop(world)


@pytest.mark.soak
@pytest.mark.parametrize("point", POINTS)
def test_a_crash_harms_nothing_in_any_situation(
    worlds: Worlds, recorded: dict[str, dict[str, int]], point: str
) -> None:
    """The same in every scenario, rare ones too."""
    for name, hit in cells(recorded, point, everywhere=True):
        crash(worlds, point, name, hit)
