"""A power cut of the real daemon at each of its own fault points, and of the processes it asks.

One installation bears all of them: each life of a daemon begins with what the one before left.
"""

import signal

import pytest

from doubles.daemons import Keeper, alarms_of, keeping, ledger_of, processes_of, wait_for
from doubles.faultpoints import CRASHED, let_strike, registered_points
from drkeeper.model.run import RunState

POINTS = sorted(name for name in registered_points() if name.startswith("app.daemon."))
ASKING = sorted(name for name in registered_points() if name.startswith("app.wiring.reachability."))
AT_RELOAD = "app.daemon.policies."
SETTLED_S = 30
"""How long a run may outlive the daemon that began it."""


def strike(made, point):
    """Let a daemon die at the first hit of a point, and nothing of it live on."""
    with Keeper(made, **let_strike(made.home, "daemon", point)) as keeper:
        if point.startswith(AT_RELOAD):
            keeper.ready()
            keeper.send(signal.SIGHUP)
        assert keeper.process.wait(150) == CRASHED, (point, keeper.text()[-3000:])
    wait_for(lambda: not processes_of(made), f"nothing to live after {point}", SETTLED_S)


@pytest.mark.slow
def test_a_power_cut_of_the_daemon_at_any_point_harms_nothing(tmp_path):
    """Nothing lives on, the ledger verifies, and the next daemon begins, up to its own end.

    The last one is left in peace: it makes up what was interrupted, and all that is stored is whole.
    """
    made = keeping(tmp_path)
    for point in POINTS:
        strike(made, point)
        with ledger_of(made) as ledger:
            assert ledger.verify().ok, point
    with Keeper(made) as keeper:
        keeper.ready()
        keeper.wait_for("run.process_ended", code=0)
        assert keeper.end() == 128 + signal.SIGTERM
    with ledger_of(made) as ledger:
        states = [run.state for run in ledger.runs()]
        assert ledger.verify().ok
        assert ledger.leases() == []
    assert RunState.SUCCEEDED in states
    assert not [state for state in states if state is RunState.RUNNING]
    assert not list((made.home / "state").rglob("*.tmp"))
    made.done("check", "--read-data")


@pytest.mark.slow
def test_who_asks_the_stores_may_die_of_it(tmp_path):
    """At every point: the daemon keeps its policies, and takes it for no answer, good or bad."""
    made = keeping(tmp_path)
    for point in ASKING:
        with Keeper(made, **let_strike(made.home, "--reach", point)) as keeper:
            keeper.ready()
            keeper.wait_for("run.process_ended", code=0)
            assert keeper.end() == 128 + signal.SIGTERM
        assert "storage-unreachable" not in alarms_of(made), point
        assert made.run("doctor", "--reach").returncode == 0
    assert not processes_of(made)
    made.variables.update(let_strike(made.home, "--reach", ASKING[0]))
    assert made.run("doctor", "--reach").returncode == CRASHED
