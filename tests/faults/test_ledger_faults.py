"""The ledger when processes die, disks fill up and many write at once."""

import contextlib
import itertools
import os
import random
import resource
import secrets
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from doubles.drilling import end, plan
from doubles.faultpoints import registered_points
from doubles.ledgers import (
    BEGINNING,
    condition,
    ledger_at,
    live_through,
    nobody_lives,
    recovery_point,
    what_a_reader_sees,
)
from drkeeper import faults
from drkeeper.crypto.signing import SigningKey
from drkeeper.errors import DrkeeperError, LedgerError, LedgerUnavailableError, NoSpaceError
from drkeeper.ledger.form import SCHEMA_VERSION
from drkeeper.ledger.postgresql import is_url
from drkeeper.model.notification import Saying
from drkeeper.model.run import Operation, RunFailure, RunState
from services.postgresql import again, alone, fresh_schema, required, stop

MINUTE = timedelta(minutes=1)

TESTS = str(Path(__file__).resolve().parents[1])

WRITER = """
    import sys
    sys.path.insert(0, {tests!r})
    from doubles.ledgers import ledger_at, recovery_point
    from drkeeper.model.run import Operation, RunState
    name, count = sys.argv[2], int(sys.argv[3])
    with ledger_at(sys.argv[1]) as ledger:
        for number in range(count):
            run = ledger.begin_run(name, Operation.BACKUP)
            print(run, flush=True)
            if number % 2:
                point = recovery_point(number, repository=name + run, policy=name, run=run)
                ledger.end_run(run, RunState.SUCCEEDED, made=[point])
                print(run, "ended", flush=True)
"""


def writer(path, name, count, errors=None):
    """Begin a process that appends to the ledger and prints what was acknowledged."""
    script = textwrap.dedent(WRITER).format(tests=TESTS)
    return subprocess.Popen(
        [sys.executable, "-c", script, str(path), name, str(count)],
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
    )


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "state" / "ledger.sqlite"
    ledger_at(path).close()
    return path


KINDS = ["sqlite", pytest.param("postgresql", marks=pytest.mark.integration)]


@pytest.fixture(params=KINDS)
def fresh(request, tmp_path):
    """Gives places where there is no ledger yet: paths, or URLs of empty schemas."""
    if request.param == "postgresql":
        server = request.getfixturevalue("postgresql")
        return lambda _name="": fresh_schema(server)
    return lambda name="one": tmp_path / name / "state" / "ledger.sqlite"


@pytest.fixture
def place(fresh):
    return fresh()


def assert_alone(place):
    """Beside a ledger that is a file there is no other."""
    assert is_url(str(place)) or os.listdir(place.parent) == ["ledger.sqlite"]


def test_eight_processes_write_at_once(place):
    """Eight writers with fifty appends each lose nothing, and the chain has no gap."""
    ledger_at(place).close()
    writers = [writer(place, f"policy{n}", 34) for n in range(8)]
    acknowledged = [one.communicate(timeout=120)[0].splitlines() for one in writers]
    assert [one.returncode for one in writers] == [0] * 8
    with ledger_at(place) as ledger:
        report = ledger.verify()
        assert report.ok
        assert report.events == 1 + 8 * (34 + 2 * 17)
        states = {run.id: run.state for run in ledger.runs(limit=10_000)}
        assert len(ledger.recovery_points()) == 8 * 17
    for line in itertools.chain.from_iterable(acknowledged):
        run, _, ended = line.partition(" ")
        assert not ended or states[run] is RunState.SUCCEEDED


def test_processes_that_make_the_ledger_at_once_make_one(place):
    """Of four first runs on a machine, one makes the ledger and all write to it."""
    writers = [writer(place, f"policy{n}", 3) for n in range(4)]
    for one in writers:
        one.communicate(timeout=60)
    assert [one.returncode for one in writers] == [0] * 4
    with ledger_at(place) as ledger:
        assert ledger.verify().ok
        assert len(ledger.runs()) == 12
    assert_alone(place)


def kill_writers(place, *, times):
    """Kill a writing process again and again; after each, what was acknowledged is there."""
    chance = random.Random(5)
    acknowledged = []
    for _ in range(times):
        victim = writer(place, "shop", 10_000)
        acknowledged.append(victim.stdout.readline().strip())  # it writes
        time.sleep(chance.uniform(0, 0.06))
        victim.send_signal(signal.SIGKILL)
        acknowledged += victim.communicate()[0].splitlines()
        with ledger_at(place) as ledger:
            assert ledger.verify().ok
            ledger.interrupt_dead_runs(nobody_lives)
    with ledger_at(place) as ledger:
        states = {run.id: run.state for run in ledger.runs(limit=10**6)}
        assert ledger.verify().ok
    whole = [line for line in acknowledged if len(line.split(" ")[0]) == 16]
    assert len(whole) >= times
    for line in whole:
        run, _, ended = line.partition(" ")
        expected = {RunState.SUCCEEDED} if ended == "ended" else set(RunState) - {RunState.RUNNING}
        assert states[run] in expected
    assert_alone(place)


def test_a_killed_writer_loses_nothing_it_was_told_is_kept(place):
    """After SIGKILL at any instant the ledger verifies and holds every acknowledged event."""
    kill_writers(place, times=8)


@pytest.mark.soak
def test_many_killed_writers_lose_nothing(place):
    """As above, three hundred times."""
    kill_writers(place, times=300)


@pytest.mark.integration
def test_a_server_that_crashes_loses_nothing_it_said_is_kept():
    """Ended at once in the midst of writes, and started again: what was acknowledged is there, the
    ledger that was open goes on, and whoever wrote meanwhile was told that it may be tried again.
    """
    required()
    with alone() as server:
        place = fresh_schema(server)
        with ledger_at(place) as ledger:
            one = writer(place, "shop", 10_000, errors=subprocess.DEVNULL)
            acknowledged = [one.stdout.readline() for _ in range(30)]
            stop(server)
            with pytest.raises(LedgerUnavailableError) as caught:
                ledger.begin_run("home", Operation.BACKUP)
            assert caught.value.transient
            acknowledged += one.communicate(timeout=60)[0].splitlines()
            assert one.returncode == 1
            again(server)
            states = {run.id: run.state for run in ledger.runs(limit=10**6)}
            assert ledger.verify().ok
            ledger.begin_run("home", Operation.BACKUP)
    for line in acknowledged:
        run, ended = line.split()[0], line.split()[1:]
        assert states[run] is (RunState.SUCCEEDED if ended else states[run])


class Controller:
    """Counts fault points, and at one hit of one of them does what it was told."""

    def __init__(self, name="", hit=1, act=None):
        self.name, self.hit, self.act = name, hit, act
        self.seen = {}

    def __call__(self, name):
        self.seen[name] = self.seen.get(name, 0) + 1
        if name == self.name and self.seen[name] == self.hit:
            self.act()


class CutError(Exception):
    """What a fault point raises here; nothing in drkeeper expects it."""


def cut():
    raise CutError


@pytest.fixture
def controlled():
    """Hang a controller on this process, and take it off in any case."""
    yield faults.install
    faults.install(None)


def work(place):
    """Everything that a ledger does, from being made."""
    with ledger_at(place) as ledger:
        ledger.see_policies({"home": "aa"})
        run = ledger.begin_run("home", Operation.BACKUP)
        ledger.end_run(run, RunState.SUCCEEDED, made=[recovery_point(ledger.last_event().seq)])
        ledger.interrupt_dead_runs(nobody_lives)
        for queued in ledger.runs(states=[RunState.QUEUED]):
            ledger.cancel_run(queued.id, RunFailure("Skipped", "no room", 0))
        waiting = ledger.queue_run("home", Operation.RESTORE)
        assert ledger.claim_run(waiting, lease=MINUTE)
        ledger.renew_lease(waiting, lease=MINUTE, progress={"files": 1})
        ledger.interrupt_dead_runs(nobody_lives)
        alarm = ledger.raise_alarm(condition())
        ledger.record_notification("mail", alarm.id, "raised", delivered=True)
        ledger.clear_alarm(alarm.id)
        (alarm,), _ = ledger.change_alarms(begun=[condition()])
        said = ledger.claim_notifications("mail", [Saying(alarm.id, "raised")], detail="being sent")
        ledger.record_notifications("mail", said, delivered=True)
        ledger.change_alarms(over=[alarm.id])
        drill = ledger.plan_drill(plan())
        ledger.declare_drill(drill.id, BEGINNING)
        ledger.end_drill(drill.id, end())
        ledger.sign(SigningKey(bytes(32)))
        ledger.beat("1.2.3", BEGINNING)
        ledger.rebuild_projections()


def points_of_work(place):
    """Return how often each fault point is reached by ``work``."""
    controller = Controller()
    faults.install(controller)
    try:
        work(place)
    finally:
        faults.install(None)
    return controller.seen


def hits_of(fresh, hits):
    """First and last of a point's hits; of a server, which is slower and the same, the last."""
    return {hits} if is_url(str(fresh("unused"))) else {1, hits}


def test_an_error_at_any_point_leaves_a_ledger_that_works(fresh, controlled):
    """Cut at every fault point, first and last hit: what is left verifies, and work goes on."""
    seen = points_of_work(fresh("whole"))
    assert len(seen) >= 18
    for name, hits in seen.items():
        for hit in hits_of(fresh, hits):
            place = fresh(f"{name}-{hit}")
            controlled(Controller(name, hit, cut))
            with pytest.raises(CutError):
                work(place)
            controlled(None)
            _works(place)


@pytest.mark.slow
def test_a_crash_at_any_point_leaves_a_ledger_that_works(fresh, controlled):
    """The process ends at once at every fault point, first and last hit; the next one goes on."""
    for name, hits in points_of_work(fresh("whole")).items():
        for hit in hits_of(fresh, hits):
            place = fresh(f"{name}-{hit}")
            child = os.fork()
            if child == 0:
                controlled(Controller(name, hit, lambda: os._exit(99)))
                try:
                    work(place)
                finally:
                    os._exit(1)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 99, name
            _works(place)


@pytest.mark.integration
def test_no_point_of_the_ledger_is_left_out(tmp_path, postgresql):
    """Between them, the two databases reach every fault point of the ledger but a few.

    Those are of changes of form, which have a test of their own, and of making a ledger of what is
    stored, which test_record_faults.py cuts off.
    """
    reached = set(points_of_work(tmp_path / "state" / "ledger.sqlite"))
    reached |= set(points_of_work(fresh_schema(postgresql)))
    others = ("ledger.schema.cop", "ledger.schema.upgrad", "ledger.storing.")
    named = {name for name in registered_points() if name.startswith("ledger.")}
    assert {name for name in named - reached if not name.startswith(others)} == set()


def _works(place):
    """The ledger verifies, goes on, and left nothing lying about."""
    work(place)
    with ledger_at(place) as ledger:
        assert ledger.verify().ok
        assert all(run.state.ended for run in ledger.runs())
        assert ledger.leases() == []
        assert ledger.open_alarms() == []
    assert_alone(place)


OLD = Path(TESTS) / "museum" / "ledger-form-0001.sqlite"
"""A ledger of the first form."""


def form_of(path):
    """Return the form that a file says it has."""
    with closing(sqlite3.connect(path)) as raw:
        return raw.execute("SELECT version_num FROM schema_version").fetchone()[0]


def test_a_cut_while_the_form_changes_leaves_the_old_form(tmp_path, controlled):
    """At every fault point of a change of form the ledger stays as it was, and can be changed."""
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    for name in ("copying", "copied", "upgrading", "upgraded"):
        target = folder / f"{name}.db"
        shutil.copy(OLD, target)
        controlled(Controller(f"ledger.schema.{name}", 1, cut))
        with pytest.raises(CutError):
            ledger_at(target)
        controlled(None)
        assert form_of(target) == "0001"
        with ledger_at(target) as ledger:
            assert ledger.verify().ok
        assert form_of(target) == SCHEMA_VERSION
    assert not [name for name in os.listdir(folder) if name.endswith((".new", "-journal"))]


def limited(path, extra):
    """Work on the ledger in a child whose files may grow by ``extra`` bytes only."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    size = path.stat().st_size if path.exists() else 0
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + extra, size + extra))
    code = 1
    try:
        with ledger_at(path) as ledger:
            for number in range(2000):
                ledger.record_recovery_point(recovery_point(number, repository="small disk"))
        code = 0
    except DrkeeperError as error:
        code = error.exit_code
    finally:
        os._exit(code)


@pytest.mark.parametrize("extra", [0, 5000, 30_000])
def test_a_file_that_may_not_grow_is_an_error_not_a_loss(path, extra):
    """When the file reaches its limit, writing fails with the ledger's code; it still verifies."""
    with ledger_at(path) as ledger:
        live_through(ledger, 2, runs=10)
        before = what_a_reader_sees(ledger)
    assert limited(path, extra) in {21, 23}
    with ledger_at(path) as ledger:
        assert ledger.verify().ok
        assert ledger.events()[: len(before[0])] == before[0]
        ledger.begin_run("home", Operation.BACKUP)


@pytest.mark.parametrize("size", [0, 100, 20_000])
def test_a_ledger_that_cannot_be_made_whole_is_not_made(tmp_path, size):
    """Without room for a new ledger none appears under its name; with room, it is made."""
    path = tmp_path / "state" / "ledger.sqlite"
    assert limited(path, size) in {21, 23}
    assert not path.exists()
    ledger_at(path).close()
    assert os.listdir(path.parent) == ["ledger.sqlite"]


def mount(folder, options):
    """Mount a file system in memory, and say whether that is allowed."""
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    return subprocess.run(command, check=False).returncode == 0


@pytest.fixture
def tiny_disk(tmp_path):
    """A file system of 512 KiB of its own; an empty ledger takes less than half of that."""
    folder = tmp_path / "disk"
    folder.mkdir(mode=0o700)
    if not mount(folder, "size=512k,mode=700"):
        pytest.skip(
            "mounting is not allowed here (run as root): ENOSPC of a real file system is not tested"
        )
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def fill(ledger):
    """Record recovery points until the ledger refuses."""
    for number in range(2000):
        ledger.record_recovery_point(recovery_point(number))


def test_a_full_disk_is_no_space_and_loses_nothing(tiny_disk):
    """ENOSPC has its own error; what was recorded before is there, and work goes on with room."""
    path = tiny_disk / "ledger.sqlite"
    with ledger_at(path) as ledger:
        with pytest.raises(NoSpaceError) as caught:
            fill(ledger)
        assert caught.value.exit_code == 21
        recorded = len(ledger.recovery_points())
        assert recorded == ledger.verify().events - 1 > 0
        assert ledger.verify().ok
        subprocess.run(["mount", "-o", "remount,size=4m", str(tiny_disk)], check=True)
        ledger.record_recovery_point(recovery_point(recorded))
        assert ledger.verify().ok


@pytest.fixture
def tiny_schema(postgresql):
    """A URL of an empty schema whose tables are on a file system of 2 MiB of its own, and that."""
    name = "tiny_" + secrets.token_hex(4)
    folder = Path(postgresql.folder) / name
    folder.mkdir()
    if not mount(folder, "size=2m,mode=700"):
        pytest.skip("mounting is not allowed here (run as root): a full server is not tested")
    owner = folder.parent.stat()
    os.chown(folder, owner.st_uid, owner.st_gid)
    try:
        postgresql.run(f"CREATE TABLESPACE {name} LOCATION '{folder}'", f"CREATE SCHEMA {name}")
        yield (
            postgresql.url(options=f"-csearch_path={name} -cdefault_tablespace={name}"),
            folder,
        )
        postgresql.run(f"DROP SCHEMA {name} CASCADE", f"DROP TABLESPACE {name}")
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill_with_runs(ledger):
    """Record runs with very much to say until the ledger refuses."""
    for _ in range(2000):
        run = ledger.begin_run("home", Operation.BACKUP)
        unreadable = [secrets.token_hex(10_000)]
        ledger.end_run(run, RunState.WARNINGS, result={"unreadable": unreadable})


@pytest.mark.integration
def test_a_full_disk_of_the_server_is_no_space_and_loses_nothing(tiny_schema):
    """As for a file: its own error, nothing half recorded, and work goes on with room."""
    url, folder = tiny_schema
    with ledger_at(url) as ledger:
        with pytest.raises(NoSpaceError) as caught:
            fill_with_runs(ledger)
        assert caught.value.exit_code == 21
        report = ledger.verify()
        assert report.ok
        assert report.events > 5
        subprocess.run(["mount", "-o", "remount,size=16m", str(folder)], check=True)
        ledger.begin_run("home", Operation.BACKUP)
        assert ledger.verify().events == report.events + 1


@pytest.mark.parametrize("kept", [100, 4096, 9000, -4096, -1])
def test_a_truncated_file_is_an_error(path, kept):
    """A ledger cut short at any length does not open, or does not verify."""
    with ledger_at(path) as ledger:
        live_through(ledger, 2, runs=10)
    os.truncate(path, kept if kept > 0 else path.stat().st_size + kept)
    with contextlib.suppress(LedgerError), ledger_at(path) as ledger:
        assert not ledger.verify().ok


def test_an_end_that_is_missing_is_an_error_even_if_it_was_zeros(path):
    """SQLite reads zeros where a file has ended, so that nothing else would tell."""
    with ledger_at(path) as ledger:
        live_through(ledger, 2, runs=3)
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            "CREATE TABLE t(x); INSERT INTO t VALUES (zeroblob(20000)); DROP TABLE t"
        )
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\0")
    with ledger_at(path) as ledger:
        assert ledger.verify().ok
    os.truncate(path, path.stat().st_size - 1)
    with ledger_at(path) as ledger:
        assert "its end is missing" in str(ledger.verify().findings)


def test_a_journal_left_by_a_crash_is_rolled_back(path):
    """A transaction that was cut off after it reached the file is undone by the next to open."""
    script = (
        "import os, sqlite3, sys\n"
        "c = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "c.execute('PRAGMA cache_size = 1')\n"
        "c.execute('BEGIN IMMEDIATE')\n"
        "c.execute('DROP TRIGGER event_is_never_updated')\n"
        "c.execute('UPDATE event SET body = zeroblob(300000)')\n"
        "os._exit(0)\n"
    )
    before = path.read_bytes()
    subprocess.run([sys.executable, "-c", script, str(path)], check=True)
    assert path.read_bytes() != before
    with ledger_at(path) as ledger:
        assert ledger.verify().ok
    with closing(sqlite3.connect(path)) as raw:
        assert raw.execute("SELECT count(*) FROM event").fetchone() == (1,)
