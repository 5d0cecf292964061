import os
import re
import sqlite3
from contextlib import closing
from datetime import timedelta

import pytest

from doubles.ledgers import (
    TickingClock,
    behind_its_back,
    condition,
    ledger_at,
    recovery_point,
    somebody,
)
from drkeeper.errors import LedgerBusyError, LedgerError
from drkeeper.ledger.events import link
from drkeeper.ledger.form import APPLICATION_ID
from drkeeper.model.run import (
    Operation,
    RunFailure,
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
        ("run.claimed", '{"run": "nobody"}', "was never queued"),
        ("run.claimed", '{"run": "RUN"}', "is not queued any more"),
        ("alarm.raised", '{"kind": 5}', "has no meaning"),
        ("alarm.cleared", '{"alarm": 2}', "was never raised"),
        ("alarm.cleared", '{"alarm": 3, "cleared_at": ""}', "clears alarm 3 again"),
        (
            "notification.recorded",
            '{"alarm":2,"channel":"c","delivered":true,"detail":"","sent_at":"","what":""}',
            "was never raised",
        ),
    ],
)
def test_sound_links_with_a_senseless_content_are_found(ledger, path, kind, body, finding):
    """Events whose hashes are right but which cannot have happened do not verify either."""
    run_id = ledger.begin_run("home", Operation.BACKUP)
    ledger.clear_alarm(ledger.raise_alarm(condition()).id)
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


def test_a_damaged_chain_rebuilds_nothing(ledger, path):
    """From a chain that does not verify nothing is concluded; the tables stay as they are."""
    ledger.begin_run("home", Operation.BACKUP)
    ledger.begin_run("home", Operation.BACKUP)
    behind_its_back(path, "UPDATE event SET kind = 'run.ended' WHERE seq = 2")
    with pytest.raises(LedgerError, match="event 2 was changed"):
        ledger.rebuild_projections()
    assert len(ledger.runs()) == 2


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


@pytest.mark.parametrize(
    ("edit", "ask"),
    [
        ("UPDATE notification SET channel = x'00'", "notifications"),
        ("UPDATE notification SET alarm = 1.5", "last_notifications"),
        ("UPDATE alarm SET kind = 'boredom'", "alarms"),
        ("UPDATE alarm SET since = 'yesterday'", "open_alarms"),
        ("UPDATE lease SET progress = '[1]'", "leases"),
        ("UPDATE lease SET progress = '{} {}'", "leases"),
        ("UPDATE lease SET expires_at = 'later'", "interrupt_dead_runs"),
        ("UPDATE daemon SET pid = 1.5", "daemons"),
    ],
)
def test_no_other_damaged_value_is_handed_out(path, edit, ask):
    """Wrong types and forms are errors in every table that is read."""
    with ledger_at(path, me=lambda: somebody(host="other")) as ledger:
        ledger.begin_run("home", Operation.BACKUP, lease=timedelta(minutes=1))
    with ledger_at(path) as ledger:
        alarm = ledger.raise_alarm(condition())
        ledger.record_notification("mail", alarm.id, "raised", delivered=True)
        ledger.beat("1.2.3", ledger.now())
        behind_its_back(path, "PRAGMA foreign_keys = OFF", edit)
        with pytest.raises(LedgerError, match="row of the ledger is damaged"):
            getattr(ledger, ask)()
