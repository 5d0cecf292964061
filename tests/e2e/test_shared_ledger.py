"""A ledger that machines share, from the command line: kept, verified, never worth a backup."""

import json

import pytest

from doubles.installation import Installation, expect
from doubles.ledgers import BEGINNING, ledger_at
from drkeeper.model.alarm import AlarmKind, Condition, Subject
from services.postgresql import postgresql  # noqa: F401 - a fixture

pytestmark = [pytest.mark.e2e, pytest.mark.integration]

SCHEMA = "shared"


@pytest.fixture(name="server")
def _server(postgresql):  # noqa: F811 - the fixture
    """A server with an empty schema of the role that has a password."""
    postgresql.run(f"CREATE SCHEMA {SCHEMA} AUTHORIZATION keeper")
    yield postgresql
    postgresql.run(f"DROP SCHEMA {SCHEMA} CASCADE")


@pytest.fixture
def installation(tmp_path, server):
    """An installation whose ledger is on the server, and whose password is in a file of its own."""
    made = Installation(tmp_path)
    made.init()
    settings = made.etc / "drkeeper.yaml"
    url = f"postgresql://keeper@127.0.0.1:{server.port}/postgres?options=-csearch_path%3D{SCHEMA}"
    settings.write_text(f"ledger: {url}\n{settings.read_text()}")
    (tmp_path / "password").write_text(server.password)
    (tmp_path / "password").chmod(0o600)
    made.variables["DRKEEPER_LEDGER_PASSWORD_FILE"] = str(tmp_path / "password")
    return made


def test_a_shared_ledger_remembers_and_is_verified(installation, server):
    """Runs are on the server and not in a file; what somebody changed there ends verify with 20."""
    installation.done("backup", "files")
    assert server.run(f"SELECT policy, state FROM {SCHEMA}.run") == [("files", "succeeded")]
    assert not (installation.home / "state" / "ledger.sqlite").exists()
    verified = installation.run("ledger", "verify")
    assert verified.returncode == 0
    assert "events, unchanged" in verified.stdout + verified.stderr
    server.run(f"UPDATE {SCHEMA}.run SET state = 'failed'")
    changed = installation.run("--json", "ledger", "verify")
    assert changed.returncode == 20
    told = [json.loads(line) for line in changed.stdout.splitlines()]
    assert any("is not what its events say" in json.dumps(line) for line in told)
    for said in (verified, changed):
        assert server.password not in said.stdout + said.stderr


def test_a_server_that_is_away_costs_no_backup(installation):
    """The backup is made, warns in so many words, and ends with 3; verify ends with 23."""
    settings = installation.etc / "drkeeper.yaml"
    text = settings.read_text().splitlines()
    text[0] = "ledger: postgresql://keeper@127.0.0.1:1/postgres"
    settings.write_text("\n".join(text) + "\n")
    made = installation.run("backup", "files")
    assert made.returncode == 3
    assert "the ledger could not record that the run began: ledger cannot be reached" in made.stderr
    expect(installation.run("ledger", "verify"), 23, "cannot be reached")


def test_alarms_of_a_machine_that_is_gone_are_cleared_by_hand(installation, server):
    """Nobody else may say that they are over; those of what is configured here end by themselves."""
    installation.done("backup", "files")
    url = f"{server.url()}&options=-csearch_path%3D{SCHEMA}"
    with ledger_at(url) as ledger:
        for name in ("policy/other", "policy/files", "daemon/gone"):
            subject = Subject(*name.split("/"))
            ledger.raise_alarm(Condition(AlarmKind.OVERDUE, subject, "late", "Run it.", BEGINNING))
    expect(installation.run("notify", "clear", "policy/none"), 13, "no open alarm about")
    expect(installation.run("notify", "clear", "policy/files"), 13, "this machine looks after")
    out = installation.done("notify", "clear", "policy/other", "daemon/gone")
    assert out.splitlines() == ["cleared overdue of policy/other", "cleared overdue of daemon/gone"]
    with ledger_at(url) as ledger:
        assert [str(each.condition.subject) for each in ledger.open_alarms()] == ["policy/files"]
