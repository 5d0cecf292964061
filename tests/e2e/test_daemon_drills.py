"""The real daemon drills what is due, with the keys at hand and from the kit alone."""

import pytest

from doubles.daemons import Keeper, keeping, ledger_of, needs
from doubles.scratching import need
from drkeeper.model.drill import DrillKind, Verdict
from drkeeper.scratch.base import ScratchKind

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def test_a_daemon_drills_by_itself(tmp_path):
    """Each kind by its own schedule, one after the other, each proven and remembered with its run;
    backups go on. A policy without schedule is left alone."""
    need(ScratchKind.BUBBLEWRAP, tmp_path)
    made = keeping(tmp_path, rpo="20s")
    terms = f'drill: {{schedule: "* * * * *", bare: "* * * * *", kit: {made.kit}}}'
    needs(made, "files", rpo="20s", more=terms)
    needs(made, "other", rpo="20s", more="drill: {schedule: never}")
    with Keeper(made) as keeper:
        keeper.ready()
        for kind in ("restore", "bare"):
            keeper.wait_for("drill.ended", policy="files", kind=kind, code=0)
        assert not [line for line in keeper.lines("drill.begun") if line["policy"] != "files"]
        keeper.end()
    with ledger_of(made) as ledger:
        drills = ledger.drills(ended=True)
        assert {each.plan.kind for each in drills} >= {DrillKind.RESTORE, DrillKind.BARE}
        assert {each.judgement.verdict for each in drills} == {Verdict.PROVEN}
        assert ledger.verify().ok
