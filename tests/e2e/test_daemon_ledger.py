"""The real daemon has its ledger stored, and keeps incidents."""

import pytest

from doubles.daemons import Keeper, keeping, ledger_of
from drkeeper.model.drill_record import IncidentKind

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def test_a_daemon_stores_its_ledger_and_tells_when_it_is_another(tmp_path):
    """Within a minute of its start, in a process of its own; an exchanged ledger is an alarm at once."""
    made = keeping(tmp_path)
    made.done("backup", "files")
    older = (made.home / "state" / "ledger.sqlite").read_bytes()
    with Keeper(made) as keeper:
        keeper.ready()
        keeper.wait_for("run.process_ended", code=0)
        keeper.wait_for("ledger.stored", repository="primary")
        keeper.end()
    seen, _ = made.lines("ledger", "verify", "--storage")
    assert (seen["ok"], seen["checkpoints"]) == (True, 2)
    (made.home / "state" / "ledger.sqlite").write_bytes(older)
    with Keeper(made) as keeper:
        keeper.ready()
        keeper.wait_for("ledger.unstored", code=20)
        keeper.wait_for("alarm.raised", kind="ledger-unstored")
        keeper.end()


def test_a_daemon_opens_and_closes_incidents(tmp_path):
    """An RPO that cannot be kept, since the source is gone, and is when it is back."""
    made = keeping(tmp_path, rpo="4s")
    made.source.rename(tmp_path / "away")
    with Keeper(made) as keeper:
        keeper.ready()
        keeper.wait_for("incident.opened", policy="files")
        (tmp_path / "away").rename(made.source)
        made.done("backup", "files")
        keeper.wait_for("incident.closed", policy="files")
        keeper.end()
    with ledger_of(made) as ledger:
        over = [each for each in ledger.incidents() if each.ended_at is not None]
        assert {each.kind for each in over} == {IncidentKind.RPO_VIOLATED}
        assert all(each.began_at <= each.ended_at for each in over)
        assert ledger.verify().ok
