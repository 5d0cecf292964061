"""The server of a shared ledger goes away while a real daemon works, and comes back."""

import pytest

from doubles.daemons import Keeper, configure, keeping, wait_for
from doubles.ledgers import ledger_at
from doubles.receivers import HttpReceiver
from drkeeper.model.run import RunState
from services.postgresql import again, alone, required, stop

pytestmark = pytest.mark.slow


def test_a_server_that_goes_away_costs_records_and_no_backup(tmp_path):
    """It is told, runs begin from memory, and with the server all is recorded again, by itself."""
    required()
    made = keeping(tmp_path, rpo="4s")
    with HttpReceiver() as ops, alone() as server:
        configure(made, f"ledger: {server.url()}\nnotify: {{ops: {{webhook: {{}}}}}}\n")
        with Keeper(made, DRKEEPER_NOTIFY_OPS_URL=ops.url) as keeper:
            keeper.ready()
            keeper.wait_for("run.process_ended", count=2, code=0)
            stop(server)
            before = len([*(made.store / "journal").iterdir()])
            wait_for(
                lambda: any(b"ledger-trouble" in each.body for each in ops.requests), "to be told"
            )
            wait_for(
                lambda: len([*(made.store / "journal").iterdir()]) >= before + 3,
                "backups without a record",
            )
            done = len(keeper.lines("run.process_ended"))
            again(server)
            wait_for(
                lambda: any(line["code"] == 0 for line in keeper.lines("run.process_ended")[done:]),
                "a run with a record",
            )
            wait_for(
                lambda: any("drkeeper.left" in str(each.body) for each in ops.requests), "over"
            )
            assert keeper.end() == 143
        with ledger_at(server.url()) as ledger:
            assert ledger.verify().ok
            assert RunState.RUNNING not in {run.state for run in ledger.runs()}
