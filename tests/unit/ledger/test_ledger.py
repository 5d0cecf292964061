import os
import re
import sqlite3
import threading
from contextlib import closing
from datetime import timedelta

import pytest

from doubles.ledgers import (
    BEGINNING,
    TickingClock,
    behind_its_back,
    ledger_at,
    live_through,
    nobody_lives,
    recovery_point,
    somebody,
    verification,
    what_a_reader_sees,
)
from drkeeper.errors import LedgerBusyError, LedgerError
from drkeeper.ledger.events import link
from drkeeper.ledger.tables import APPLICATION_ID
from drkeeper.model.run import (
    CheckKind,
    Operation,
    Process,
    Proof,
    RunFailure,
    RunId,
    RunState,
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "ledger.sqlite"


@pytest.fixture
def ledger(path):
    with ledger_at(path) as opened:
        yield opened


def test_a_new_ledger_is_private(path):
    """Nobody but the owner may read the ledger or its directory, whatever the umask says."""
    before = os.umask(0)
    try:
        ledger_at(path).close()
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert os.listdir(path.parent) == ["ledger.sqlite"]


def test_too_wide_rights_are_taken_away(path):
    """A ledger that was made readable to others is private again after it was opened."""
    ledger_at(path).close()
    path.chmod(0o644)
    ledger_at(path).close()
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_run_is_remembered_from_begin_to_end(ledger):
    """A run shows who does it and since when, then how it ended, and which events say so."""
    run_id = ledger.begin_run("home", Operation.BACKUP)
    (running,) = ledger.runs()
    assert running.id == run_id
    assert running.policy == "home"
    assert running.operation is Operation.BACKUP
    assert running.state is RunState.RUNNING
    assert running.process == somebody()
    assert running.started_at == BEGINNING + timedelta(seconds=2)
    assert (running.ended_at, running.begun_event, running.event) == (None, 2, 2)

    ledger.end_run(run_id, RunState.WARNINGS, result={"unreadable": 1})
    (ended,) = ledger.runs()
    assert ended.state is RunState.WARNINGS
    assert ended.ended_at == BEGINNING + timedelta(seconds=4)
    assert ended.result == {"unreadable": 1}
    assert (ended.begun_event, ended.event) == (2, 3)


def test_a_failure_of_very_many_words_is_still_recorded(ledger):
    """However long a path in a message is, the run is known to have ended, and how."""
    run_id = ledger.begin_run("shop", Operation.BACKUP)
    message = "cannot read /" + "d/" * 1_000_000 + " as s3://me:hunter2@store"
    ledger.end_run(run_id, RunState.FAILED, failure=RunFailure("SourceError", message, 18))
    (run,) = ledger.runs()
    assert run.state is RunState.FAILED
    assert run.failure.message.startswith("cannot read /d/d/")
    assert run.failure.message.endswith("… (cut)")
    assert len(run.failure.message) < 10_000


def test_a_failure_is_remembered_as_the_operator_saw_it(ledger):
    """Class, message, exit code and hint of an error come back as they were."""
    failure = RunFailure("SourceError", "source is missing: /srv", 18, "Mount it.")
    run_id = ledger.begin_run(None, Operation.CHECK)
    ledger.end_run(run_id, RunState.FAILED, failure=failure)
    assert ledger.runs()[0].failure == failure
    assert ledger.runs()[0].policy is None


def test_recovery_points_come_back_as_they_were(ledger):
    """Every field of a recovery point survives, and it names its event."""
    run_id = ledger.begin_run("home", Operation.BACKUP)
    made = recovery_point(7, run=run_id, complete=False, proof=Proof.PROVEN, unreadable=2)
    ledger.record_recovery_point(made)
    (found,) = ledger.recovery_points("home")
    assert found == recovery_point(
        7, run=run_id, complete=False, proof=Proof.PROVEN, unreadable=2, event=3
    )
    assert found.id == "c0ffee/7"
    assert ledger.recovery_points("shop") == []


def test_recovery_points_are_ordered_by_their_data(ledger):
    """The newest data comes first, in whatever order points were recorded."""
    for number in (2, 9, 5):
        ledger.record_recovery_point(recovery_point(number))
    assert [p.commit_number for p in ledger.recovery_points()] == [9, 5, 2]
    assert [p.commit_number for p in ledger.recovery_points(limit=1)] == [9]


def test_verifications_come_back_as_they_were(ledger):
    """A check's outcome survives, newest first."""
    run_id = ledger.begin_run(None, Operation.CHECK)
    ledger.record_verification(verification())
    bad = {"run": run_id, "kind": CheckKind.READ_DATA, "passed": False, "findings": 3}
    ledger.record_verification(verification(**bad, detail="pack 1: wrong bytes"))
    newest, oldest = ledger.verifications("c0ffee")
    assert newest == verification(**bad, detail="pack 1: wrong bytes", event=4)
    assert oldest == verification(event=3)
    assert ledger.verifications("other") == []


def test_what_a_run_made_is_recorded_with_its_end(ledger):
    """A run that ends with a point for a run nobody began records neither: all or nothing."""
    run_id = ledger.begin_run("home", Operation.BACKUP)
    stray = recovery_point(1, run=RunId("unheard-of"))
    with pytest.raises(LedgerError, match="never began"):
        ledger.end_run(run_id, RunState.SUCCEEDED, made=[recovery_point(2), stray])
    assert ledger.recovery_points() == []
    assert ledger.runs()[0].state is RunState.RUNNING
    assert ledger.verify().ok


@pytest.mark.parametrize("state", [RunState.QUEUED, RunState.RUNNING])
def test_a_run_ends_only_in_an_end(ledger, state):
    """Ending a run in a state that is no end is a defect, and nothing is recorded."""
    run_id = ledger.begin_run("home", Operation.BACKUP)
    with pytest.raises(ValueError, match="not an end"):
        ledger.end_run(run_id, state)
    assert len(ledger.events()) == 2


def test_a_run_ends_once(ledger):
    """Neither an ended run nor an unknown one can be ended, nor a point recorded twice."""
    run_id = ledger.begin_run("home", Operation.BACKUP)
    ledger.end_run(run_id, RunState.SUCCEEDED)
    ledger.record_recovery_point(recovery_point(1))
    with pytest.raises(LedgerError, match="again"):
        ledger.end_run(run_id, RunState.FAILED)
    with pytest.raises(LedgerError, match="never began"):
        ledger.end_run(RunId("nobody"), RunState.FAILED)
    with pytest.raises(LedgerError, match="again"):
        ledger.record_recovery_point(recovery_point(1))
    assert ledger.verify().ok


def test_dead_runs_are_called_interrupted(path):
    """A run whose process is gone is interrupted; living ones and other hosts' are left alone."""
    begun = {}
    for pid, host in [(1, "keeper"), (2, "keeper"), (3, "other")]:
        with ledger_at(path, me=lambda h=host, p=pid: Process(h, "boot-1", p, "1")) as one:
            begun[pid] = one.begin_run("home", Operation.BACKUP)
    with ledger_at(path) as ledger:
        assert ledger.interrupt_dead_runs(lambda process: process.pid == 2) == [begun[1]]
        assert ledger.interrupt_dead_runs(lambda process: process.pid == 2) == []
        states = {run.id: run.state for run in ledger.runs()}
        assert states == {
            begun[1]: RunState.INTERRUPTED,
            begun[2]: RunState.RUNNING,
            begun[3]: RunState.RUNNING,
        }
        assert ledger.verify().ok


def test_a_run_believed_dead_may_tell_how_it_ended(ledger):
    """The run's own word replaces what others believed, and both are in the chain."""
    run_id = ledger.begin_run("home", Operation.BACKUP)
    ledger.interrupt_dead_runs(nobody_lives)
    ledger.end_run(run_id, RunState.SUCCEEDED)
    assert ledger.runs()[0].state is RunState.SUCCEEDED
    assert [event.kind for event in ledger.events(after=2)] == ["run.interrupted", "run.ended"]


def test_the_newest_runs_come_first(ledger):
    """Runs are listed newest first, of one policy if asked, no more than asked."""
    ids = [ledger.begin_run(policy, Operation.BACKUP) for policy in ("a", "b", "a")]
    assert [run.id for run in ledger.runs()] == ids[::-1]
    assert [run.id for run in ledger.runs("a")] == [ids[2], ids[0]]
    assert [run.id for run in ledger.runs("a", limit=1)] == [ids[2]]


def test_secrets_are_not_recorded(ledger, path):
    """Passwords, identities, URL users and environments in a result never reach the file."""
    canary = "hunter2canary"
    run_id = ledger.begin_run("home", Operation.BACKUP)
    ledger.end_run(
        run_id,
        RunState.FAILED,
        result={
            "repositoryPassword": canary,
            "api_token": canary,
            "hook": {"env": {"PGPASSWORD": canary}, "argv": ["pg_dump"]},
            "identities": [canary],
        },
        failure=RunFailure(
            "StorageError",
            f"cannot reach https://user:{canary}@store/ with AGE-SECRET-KEY-1{canary}",
        ),
    )
    assert canary.encode() not in path.read_bytes()
    assert ledger.runs()[0].result["hook"]["argv"] == ["pg_dump"]
    assert ledger.runs()[0].failure.message.startswith("cannot reach https://[redacted]@store/")


def test_names_of_any_bytes_are_recorded(ledger):
    """File names that are not text, or hold NUL, cannot stop a run from being recorded."""
    run_id = ledger.begin_run("home", Operation.BACKUP)
    odd = os.fsdecode(b"stra\xdfe")
    ledger.end_run(run_id, RunState.WARNINGS, result={"unreadable": [odd, "a\0b", "ä"]})
    assert ledger.runs()[0].result == {"unreadable": ["stra\\udcdfe", "a\\x00b", "ä"]}
    assert ledger.verify().ok


def test_a_body_has_a_limit(ledger):
    """More than a mebibyte in one event is refused, and nothing is recorded."""
    run_id = ledger.begin_run("home", Operation.BACKUP)
    with pytest.raises(LedgerError, match="too long"):
        ledger.end_run(run_id, RunState.FAILED, result={"list": ["x" * 100] * 11_000})
    assert ledger.runs()[0].state is RunState.RUNNING


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE event SET body = '{}' WHERE seq = 1",
        "DELETE FROM event WHERE seq = 1",
        "INSERT OR REPLACE INTO event SELECT seq, at, kind, '{}', prev, hash FROM event",
        "INSERT INTO event SELECT 99, at, kind, body, prev, hash FROM event WHERE seq = 1",
        "INSERT INTO event SELECT 0, at, kind, body, prev, hash FROM event WHERE seq = 1",
    ],
)
def test_the_database_itself_refuses_to_change_events(ledger, path, statement):
    """Events are appended one after the other; the file's own triggers refuse anything else."""
    with closing(sqlite3.connect(path)) as raw, pytest.raises(sqlite3.IntegrityError):
        raw.execute(statement)
    assert ledger.verify().ok


@pytest.mark.parametrize(
    ("statement", "finding"),
    [
        ("UPDATE run SET state = 'succeeded'", "run .* is not what its events say"),
        ("DELETE FROM recovery_point", "recovery_point 'c0ffee/1' is missing"),
        ("UPDATE recovery_point SET plain_bytes = 1000.5", "recovery_point"),
        ("UPDATE recovery_point SET plain_bytes = plain_bytes + 1", "recovery_point"),
        ("UPDATE head SET seq = 2", "head"),
        ("DELETE FROM head", "head"),
        ("INSERT INTO head VALUES (2, 1, x'00')", "head"),
        ("UPDATE event SET at = replace(at, '2026', '2025') WHERE seq = 2", "event 2"),
        ("DELETE FROM event WHERE seq = 1", "event 1"),
        ("DELETE FROM event WHERE seq = 3", "head"),
        ("UPDATE recovery_point SET run = 'nobody'", "foreign_key_check"),
        ("CREATE TABLE extra (a)", "table extra is not as"),
        ("DROP INDEX ix_run_state", "index ix_run_state is not as"),
        ("ALTER TABLE run ADD COLUMN more TEXT", "table run is not as"),
        ("UPDATE event SET body = x'00' WHERE seq = 2", "event 2"),
        ("UPDATE event SET body = CAST(x'ff' AS TEXT) WHERE seq = 2", "cannot be read"),
    ],
)
def test_what_a_tool_changed_is_found(path, statement, finding):
    """Whatever is edited with a database tool, in whichever table, verify names it."""
    with ledger_at(path) as ledger:
        ledger.begin_run("home", Operation.BACKUP)
        ledger.record_recovery_point(recovery_point(1))
        behind_its_back(path, statement)
        report = ledger.verify()
    assert not report.ok
    assert any(re.search(finding, found) for found in report.findings), report


def test_removed_triggers_are_found(ledger, path):
    """A ledger whose guards were taken away does not verify, even if nothing else changed."""
    with closing(sqlite3.connect(path)) as raw:
        raw.execute("DROP TRIGGER event_is_never_deleted")
    assert ledger.verify().findings == (
        "trigger event_is_never_deleted is not as drkeeper made it",
    )


def test_nothing_follows_a_damaged_end(ledger, path):
    """When the last event was changed, nothing is appended to it."""
    behind_its_back(path, "UPDATE event SET body = '{}' WHERE seq = 1")
    with pytest.raises(LedgerError, match="end of the ledger's chain") as caught:
        ledger.begin_run("home", Operation.BACKUP)
    assert caught.value.hint == "Run drkeeper ledger verify, and keep the file."


def test_damaged_rows_are_errors_not_wrong_values(ledger, path):
    """A value that cannot be one of drkeeper's is an error, with a hint."""
    ledger.begin_run("home", Operation.BACKUP)
    behind_its_back(path, "UPDATE run SET state = 'rumming'")
    with pytest.raises(LedgerError, match="row of the ledger is damaged"):
        ledger.runs()


def forge(path, *entries):
    """Append to the file, as somebody who knows how the chain is computed."""
    with closing(sqlite3.connect(path)) as raw:
        for kind, body in entries:
            seq, prev = raw.execute("SELECT seq, hash FROM head").fetchone()
            forged = link(seq + 1, prev, "2026-11-20T05:00:00.000000Z", kind=kind, body=body)
            row = (forged.seq, forged.at, forged.kind, forged.body, forged.prev, forged.hash)
            raw.execute("INSERT INTO event VALUES (?, ?, ?, ?, ?, ?)", row)
            raw.execute("UPDATE head SET seq = ?, hash = ?", (forged.seq, forged.hash))
        raw.commit()


@pytest.mark.parametrize(
    ("kind", "body", "finding"),
    [
        ("run.vanished", "{}", "has no meaning"),
        ("run.begun", "[]", "has no meaning"),
        ("run.begun", "no JSON", "has no meaning"),
        ("run.begun", '{"run": 5}', "has no meaning"),
        (
            "run.begun",
            '{"operation":"backup","policy":null,"process":[],"run":"x","started_at":"","state":""}',
            "has no meaning",
        ),
        ("run.ended", '{"run": "nobody"}', "never began"),
        ("run.begun", '{"run": "RUN"}', "begins run RUN again"),
    ],
)
def test_sound_links_with_a_senseless_content_are_found(ledger, path, kind, body, finding):
    """Events whose hashes are right but which cannot have happened do not verify either."""
    run_id = ledger.begin_run("home", Operation.BACKUP)
    forge(path, (kind, body.replace("RUN", run_id)))
    (found,) = ledger.verify().findings
    assert finding.replace("RUN", run_id) in found


def test_rows_without_events_are_found(ledger, path):
    """A recovery point put into its table by hand, and no event behind it, does not verify."""
    ledger.record_recovery_point(recovery_point(1))
    behind_its_back(
        path,
        "CREATE TEMP TABLE copied AS SELECT * FROM recovery_point",
        "UPDATE copied SET id = 'c0ffee/2', commit_number = 2",
        "INSERT INTO recovery_point SELECT * FROM copied",
    )
    assert ledger.verify().findings == ("recovery_point 'c0ffee/2' is not what its events say",)


def test_a_ledger_set_back_as_a_whole_verifies(ledger, path):
    """The limit that docs/ledger.md states: only checkpoints elsewhere can tell that the end of a
    chain was cut off together with everything that spoke of it.
    """
    ledger.begin_run("home", Operation.BACKUP)
    behind_its_back(
        path,
        "DELETE FROM run",
        "DELETE FROM event WHERE seq = 2",
        "UPDATE head SET seq = 1, hash = (SELECT hash FROM event)",
    )
    assert ledger.verify().ok


@pytest.mark.parametrize(
    "edit",
    ["pid = 1.5", "started_at = 'once'", "result = '[1]'", "failure = '{\"a\": 1}'", "id = x'00'"],
)
def test_no_damaged_value_of_a_run_is_handed_out(ledger, path, edit):
    """Wrong types and forms in a row are errors when the row is read."""
    ledger.begin_run("home", Operation.BACKUP)
    behind_its_back(path, f"UPDATE run SET {edit}")
    with pytest.raises(LedgerError, match="row of the ledger is damaged"):
        ledger.runs()


def test_more_threads_than_connections_are_served(ledger):
    """Forty readers at once all get their answer; none is told that the ledger is damaged."""
    answers = []

    def read():
        answers.append(len(ledger.runs()))

    threads = [threading.Thread(target=read) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [0] * 40


def test_projections_can_be_rebuilt(path):
    """Rebuilding from the chain brings back exactly what was there, and heals damaged tables."""
    with ledger_at(path) as ledger:
        live_through(ledger, 7, runs=12)
        before = what_a_reader_sees(ledger)
        behind_its_back(
            path,
            "DELETE FROM verification",
            "UPDATE run SET state = 'succeeded'",
            "UPDATE recovery_point SET commit_number = 77",
        )
        assert not ledger.verify().ok
        assert ledger.rebuild_projections() > 12
        assert what_a_reader_sees(ledger) == before
        assert ledger.verify().ok


def test_a_damaged_chain_rebuilds_nothing(ledger, path):
    """From a chain that does not verify nothing is concluded; the tables stay as they are."""
    ledger.begin_run("home", Operation.BACKUP)
    ledger.begin_run("home", Operation.BACKUP)
    behind_its_back(path, "UPDATE event SET kind = 'run.ended' WHERE seq = 2")
    with pytest.raises(LedgerError, match="event 2 was changed"):
        ledger.rebuild_projections()
    assert len(ledger.runs()) == 2


def test_threads_share_a_ledger(ledger):
    """Runs begun by many threads at once are all there, in a gapless chain."""

    def work():
        for _ in range(5):
            ledger.begin_run("home", Operation.BACKUP)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ledger.runs()) == 30
    assert ledger.verify().ok


def test_another_process_holding_the_ledger_is_told_plainly(path):
    """A locked ledger is an error that may be tried again, and nothing was recorded."""
    with ledger_at(path, patience=timedelta(milliseconds=50)) as ledger:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            with pytest.raises(LedgerBusyError, match="in use") as caught:
                ledger.begin_run("home", Operation.BACKUP)
            with pytest.raises(LedgerBusyError):
                ledger.runs()
            other.execute("ROLLBACK")
        assert caught.value.transient
        assert caught.value.exit_code == 23
        assert ledger.runs() == []


def test_a_ledger_may_be_only_looked_at(path):
    """Opened read-only, a ledger is read and verified, and every write is refused."""
    with ledger_at(path) as ledger:
        ledger.begin_run("home", Operation.BACKUP)
    before = path.read_bytes()
    with ledger_at(path, read_only=True) as ledger:
        assert len(ledger.runs()) == 1
        assert ledger.verify().ok
        with pytest.raises(LedgerError, match="cannot be written"):
            ledger.begin_run("home", Operation.BACKUP)
    assert path.read_bytes() == before


def test_settings_that_keep_data_safe_are_on(ledger):
    """Rollback journal, EXTRA, foreign keys, untrusted schema, cell checks: as documented."""
    with ledger._engine.connect() as connection:

        def pragma(name):
            return connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()

        assert pragma("journal_mode") == "delete"
        assert pragma("synchronous") == 3
        assert pragma("foreign_keys") == 1
        assert pragma("trusted_schema") == 0
        assert pragma("cell_size_check") == 1
        assert pragma("application_id") == APPLICATION_ID


def test_closing_twice_is_harmless(path):
    """Closing ends the use of the file; a second time changes nothing."""
    ledger = ledger_at(path, clock=TickingClock())
    ledger.close()
    ledger.close()


def test_policies_are_remembered_from_when_they_were_first_seen(ledger):
    """What a policy says is recorded when it is new or changes, and not again before."""
    first = ledger.see_policies({"home": "aa", "shop": "bb"})
    again = ledger.see_policies({"home": "aa", "shop": "bb"})
    changed = ledger.see_policies({"home": "cc"})
    assert again == first
    assert len(ledger.events()) == 4
    assert changed["home"].first_seen_at == first["home"].first_seen_at
    assert changed["home"].changed_at > first["home"].changed_at
    assert (changed["home"].definition, changed["shop"]) == ("cc", first["shop"])
    assert ledger.verify().ok


def test_a_run_that_is_left_out_is_on_record_with_its_reason(ledger):
    """It never ran, has its end with its begin, and says why."""
    why = RunFailure("Skipped", "the next slot is near", 0, None)
    ledger.skip_run("home", Operation.BACKUP, why)
    (skipped,) = ledger.runs("home")
    assert (skipped.state, skipped.failure) == (RunState.SKIPPED, why)
    assert skipped.started_at == skipped.ended_at
    assert ledger.interrupt_dead_runs(nobody_lives) == []
    assert ledger.verify().ok
