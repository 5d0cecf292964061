"""Heartbeats as healthchecks.io understands them."""

import uuid

import pytest

from doubles.messages import message
from doubles.receivers import HttpReceiver, answer
from drkeeper.clock import SystemClock
from drkeeper.errors import NotifyError, NotifyUnavailableError
from drkeeper.model.run import RunId
from drkeeper.notify.base import Beat, Occasion, Pulse
from drkeeper.notify.heartbeat import Heartbeat

RUN = RunId("0123456789abcdef")


@pytest.fixture
def receiver():
    with HttpReceiver() as made:
        yield made


def ping(receiver, pulse, path="/ping/abc", *, body=False, **fields):
    heartbeat = Heartbeat(receiver.url + path, body=body, clock=SystemClock())
    heartbeat.send(message(occasion=Occasion.RUN, pulse=pulse, **fields))
    return receiver.requests[-1]


@pytest.mark.parametrize(
    ("pulse", "signal"),
    [
        (Pulse(Beat.BEGAN, RUN), "/start"),
        (Pulse(Beat.ENDED, RUN, 0), ""),
        (Pulse(Beat.ENDED, RUN, 3), "/3"),
        (Pulse(Beat.ENDED, RUN, 17), "/17"),
        (Pulse(Beat.ENDED, RUN, 255), "/255"),
        (Pulse(Beat.ENDED, RUN, 256), "/fail"),
        (Pulse(Beat.ENDED, RUN, -9), "/fail"),
        (Pulse(Beat.ENDED, RUN, None), "/fail"),
    ],
)
def test_each_signal_has_its_address(receiver, pulse, signal):
    """Start, success, the exit status of a failure, and fail where there is none."""
    path, _, query = ping(receiver, pulse).target.partition("?")
    assert path == f"/ping/abc{signal}"
    assert query.startswith("rid=")


def test_beginning_and_end_of_a_run_have_one_uuid(receiver):
    """The monitor measures how long a run took by it; another run has another."""
    targets = [
        ping(receiver, Pulse(beat, run)).target
        for beat, run in ((Beat.BEGAN, RUN), (Beat.ENDED, RUN), (Beat.ENDED, RunId("f" * 16)))
    ]
    first, second, other = (uuid.UUID(target.partition("rid=")[2]) for target in targets)
    assert first == second != other


def test_a_query_of_the_address_is_kept(receiver):
    """Addresses that make their check by themselves work: ?create=1."""
    request = ping(receiver, Pulse(Beat.BEGAN, RUN), "/key/slug/?create=1")
    assert request.target.startswith("/key/slug/start?create=1&rid=")
    assert ping(receiver, Pulse(Beat.ENDED, None, 0), "/key/slug?create=1").target == (
        "/key/slug?create=1"
    )


@pytest.mark.parametrize("policy", ["shop", "a/../b?c#d", "größe"])
def test_a_place_for_the_policy_takes_its_name_and_no_more(receiver, policy):
    """One address serves many policies, and no name leads anywhere else."""
    request = ping(receiver, Pulse(Beat.BEGAN, RUN), "/key/{policy}", subject=f"policy/{policy}")
    path = request.target.partition("?")[0]
    assert path.startswith("/key/")
    assert path.endswith("/start")
    assert path.count("/") == 3
    assert "#" not in path


def test_the_body_is_empty_unless_wanted(receiver):
    """Nothing about a run leaves the machine but that it was."""
    assert ping(receiver, Pulse(Beat.ENDED, RUN), text="figures\n").body == b""
    assert ping(receiver, Pulse(Beat.ENDED, RUN), body=True, text="figures\n").body == b"figures\n"
    long = ping(receiver, Pulse(Beat.ENDED, RUN), body=True, text="é" * 20_000)
    assert len(long.body) == 10_000


def test_a_test_changes_nothing_in_the_state_of_the_check(receiver):
    """It is written into the monitor's log: a success would hide that none has come."""
    Heartbeat(f"{receiver.url}/abc", clock=SystemClock()).send(message(occasion=Occasion.TEST))
    assert receiver.requests[0].target == "/abc/log"


def test_alarms_are_not_for_heartbeats(receiver):
    """They say nothing with them, and are no failure either."""
    heartbeat = Heartbeat(f"{receiver.url}/abc", clock=SystemClock())
    for occasion in (Occasion.ENTERED, Occasion.LEFT, Occasion.REMINDER, Occasion.DIGEST):
        heartbeat.send(message(occasion=occasion))
    assert not receiver.requests


def test_an_ok_that_is_none_is_not_believed(receiver):
    """hc-ping.com answers 200 to pings of checks that it does not know, or that come too often."""
    receiver.answers += [answer(200, b"OK (not found)"), answer(200, b"OK (rate limited)\n")]
    with pytest.raises(NotifyError, match="does not know") as caught:
        ping(receiver, Pulse(Beat.ENDED, RUN))
    assert not caught.value.transient
    with pytest.raises(NotifyUnavailableError):
        ping(receiver, Pulse(Beat.ENDED, RUN))
