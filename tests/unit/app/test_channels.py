"""The courier: what the ledger owes each channel is told, once, and nobody waits."""

import dataclasses
import threading
import time
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from msgspec.structs import replace

from doubles.clock import FakeClock
from doubles.ledgers import BEGINNING, ledger_at, somebody
from doubles.processes import until
from doubles.receivers import HttpReceiver, Server, SmtpReceiver, answer, hang, json_of
from drkeeper.app.config.configuration import Configuration
from drkeeper.app.config.locations import Locations
from drkeeper.app.wiring.audiences import audiences_of
from drkeeper.app.wiring.channels import Courier, open_notifier
from drkeeper.app.wiring.told import failing_before
from drkeeper.clock import SystemClock
from drkeeper.errors import ConfigurationError, LedgerError
from drkeeper.model.alarm import AlarmKind, Condition, Subject
from drkeeper.model.channel import (
    AppriseChannel,
    Channel,
    EmailChannel,
    HeartbeatChannel,
    WebhookChannel,
)
from drkeeper.model.notification import Notification, Saying
from drkeeper.model.policy import FilesSource, Policy
from drkeeper.model.run import Operation, Run, RunFailure, RunId, RunState
from drkeeper.model.status import Overview, PolicyState, PolicyStatus
from drkeeper.operations.alarming import reconcile
from drkeeper.operations.delivering import Patience
from drkeeper.operations.notifying import CLAIM, REMINDER, SENDING

SHOP = Subject("policy", "shop")
OVERDUE = Condition(AlarmKind.OVERDUE, SHOP, "shop is overdue", "Run it.", BEGINNING)
HANGS = Patience().attempt.total_seconds()
"""How long a channel that hangs would keep whoever waits for it."""
QUICK = Patience(attempts=2, first=timedelta(milliseconds=1), rest=timedelta(milliseconds=50))


class Timed(FakeClock):
    """Wall time that the test sets, monotonic time that passes by itself."""

    def monotonic(self):
        return super().monotonic() + time.monotonic()


def policy(name, *notify, zone="Europe/Berlin"):
    return Policy(name, FilesSource(("/srv",)), "primary", zone, ZoneInfo(zone), notify=notify)


def configuration(channels, *policies):
    somewhere = Path("/nonexistent")
    locations = Locations(*[somewhere] * 5, chosen_by="a test")
    return Configuration(
        locations=locations,
        host="keeper",
        zone_name="Europe/Berlin",
        repositories=dict.fromkeys(("primary", "spare")),
        policies={each.name: each for each in policies or (policy("shop"),)},
        channels=channels,
    )


def hook(name, receiver, **fields):
    return Channel(name, WebhookChannel(f"{receiver.url}/{name}"), **fields)


def told(receiver):
    """Return what a webhook was told: occasions and subjects."""
    said = [json_of(each) for each in list(receiver.requests)]
    return [(each["type"].partition(".")[2], each["data"]["subject"]) for each in said]


class World:
    """A ledger, a clock, and couriers that come and go."""

    def __init__(self, folder):
        self.path = folder / "ledger.sqlite"
        self.clock = Timed(BEGINNING)
        self.ledger = self.open()

    def open(self):
        return ledger_at(self.path, clock=self.clock)

    def look(self, *conditions, **fields):
        """Reconcile, and return the overview that follows from it."""
        reconcile(self.ledger, conditions, self.clock.now())
        return Overview(
            host="keeper",
            at=self.clock.now(),
            daemon_alive=True,
            alarms=self.ledger.open_alarms(),
            conditions=conditions,
            **fields,
        )

    @contextmanager
    def courier(self, made, **options):
        options = {"open_ledger": self.open, "clock": self.clock, "patience": QUICK} | options
        courier = Courier(made, **options)
        courier.start()
        try:
            yield courier
        finally:
            courier.stop(timedelta(seconds=5))

    def settle(self, courier):
        """Wait until nothing is being told."""
        until(lambda: all(box.empty for box in courier._wiring.boxes.values()), 60)


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    yield made
    made.ledger.close()


@pytest.fixture
def receiver():
    with HttpReceiver() as made:
        yield made


def test_a_state_is_told_once_across_ticks_and_restarts(world, receiver):
    """Raised, reminded a day later, cleared: three messages, whoever looks how often."""
    made = configuration({"ops": hook("ops", receiver)})
    for step in range(12):
        with world.courier(made) as courier:
            wrong = [OVERDUE] if step < 8 else []
            for _ in range(3):
                courier.tick(world.look(*wrong))
                world.settle(courier)
                world.clock.advance(timedelta(minutes=2))
            world.clock.advance(timedelta(hours=4))
    assert told(receiver) == [
        ("entered", "policy/shop"),
        ("reminder", "policy/shop"),
        ("left", "policy/shop"),
    ]
    assert not courier.conditions()


def test_what_was_told_and_not_recorded_is_told_again(world, receiver):
    """A crash between the two: at least once, with the same id, after the claim has run out."""
    made = configuration({"ops": hook("ops", receiver)})

    class Crashing:
        def __init__(self):
            self.inner = world.open()

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.inner.close()

        def claim_notifications(self, *arguments, **options):
            return self.inner.claim_notifications(*arguments, **options)

        def record_notifications(self, *_arguments, **_options):
            raise LedgerError("killed here")

        def __getattr__(self, name):
            return getattr(self.inner, name)

    with world.courier(made, open_ledger=Crashing) as courier:
        courier.tick(world.look(OVERDUE))
        world.settle(courier)
        courier._looked_s = None
        courier.tick(world.look(OVERDUE))  # this process knows that it told it
        world.settle(courier)
    assert len(receiver.requests) == 1
    assert next(iter(world.ledger.last_notifications().values())).detail == SENDING
    with world.courier(made) as courier:
        courier.tick(world.look(OVERDUE))
        world.settle(courier)
        assert len(receiver.requests) == 1
        world.clock.advance(CLAIM)
        courier._looked_s = None
        courier.tick(world.look(OVERDUE))
        world.settle(courier)
    first, second = (json_of(each)["data"]["id"] for each in receiver.requests)
    assert first == second
    assert world.ledger.verify().ok


class Gated:
    """A ledger that keeps whoever records what was told waiting."""

    def __init__(self, inner, gate, waiting):
        self.inner = inner
        self.gate = gate
        self.waiting = waiting

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.inner.close()

    def record_notifications(self, *arguments, **options):
        self.waiting.set()
        assert self.gate.wait(60)
        self.inner.record_notifications(*arguments, **options)

    def __getattr__(self, name):
        return getattr(self.inner, name)


@pytest.mark.parametrize("recorded_early", [False, True])
def test_what_a_look_had_to_pass_over_is_told_at_the_next_tick(world, receiver, recorded_early):
    """Also when a delivery comes to its end just then, nobody waits a minute for what is due."""
    made = configuration({"ops": hook("ops", receiver)})
    gate, waiting, here = threading.Event(), threading.Event(), threading.current_thread()

    def open_ledger():
        mine = threading.current_thread() is here
        return world.open() if mine else Gated(world.open(), gate, waiting)

    with world.courier(made, open_ledger=open_ledger) as courier:
        courier.tick(world.look(OVERDUE))
        assert waiting.wait(60)
        if recorded_early:  # by the look, while the channel's own thread is about to
            courier._looked_s = None
            courier.tick(world.look(OVERDUE))
        courier.tick(world.look())
        gate.set()
        world.settle(courier)
        courier.tick(world.look())
        world.settle(courier)
        assert told(receiver) == [("entered", "policy/shop"), ("left", "policy/shop")]
        courier.tick(world.look())
        world.settle(courier)
    assert len(receiver.requests) == 2
    assert all(
        each.delivered for each in world.ledger.last_notifications(cleared_since=BEGINNING).values()
    )


def test_what_somebody_else_was_quicker_to_claim_is_looked_at_again(world, receiver):
    """A claim that was refused says that what was read is old: the next tick reads it anew."""
    made = configuration({"ops": hook("ops", receiver)})
    late = []

    class Late:
        """A ledger in which somebody says something between a look and the claim."""

        def __init__(self):
            self.inner = world.open()

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.inner.close()

        def claim_notifications(self, channel, sayings, **options):
            if late:
                self.inner.record_notifications(channel, late.pop(), delivered=True)
            return self.inner.claim_notifications(channel, sayings, **options)

        def __getattr__(self, name):
            return getattr(self.inner, name)

    with world.courier(made, open_ledger=Late) as courier:
        courier.tick(world.look(OVERDUE))
        world.settle(courier)
        (alarm,) = world.ledger.open_alarms()
        late.append([Saying(alarm.id, REMINDER)])
        courier.tick(world.look())
        world.settle(courier)
        assert not late
        assert told(receiver) == [("entered", "policy/shop")]
        courier.tick(world.look())
        world.settle(courier)
    assert told(receiver) == [("entered", "policy/shop"), ("left", "policy/shop")]


def test_two_daemons_on_one_ledger_tell_each_alarm_once(world, receiver):
    """Whoever claims it first tells it; 20 alarms, both looking at the same time."""
    made = configuration(
        {"ops": hook("ops", receiver)}, *(policy(f"p{n}") for n in range(20)), policy("shop")
    )
    with world.courier(made) as one, world.courier(made) as other:
        for number in range(20):
            wrong = [
                replace(OVERDUE, subject=Subject("policy", f"p{n}")) for n in range(number + 1)
            ]
            overview = world.look(*wrong)
            together = threading.Barrier(2)

            def tick(courier, overview=overview, together=together):
                together.wait()
                courier.tick(overview)

            threads = [threading.Thread(target=tick, args=(each,)) for each in (one, other)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            world.settle(one)
            world.settle(other)
    assert sorted(told(receiver)) == sorted(("entered", f"policy/p{n}") for n in range(20))
    assert world.ledger.verify().ok


def test_a_channel_that_hangs_delays_nothing_else(world, receiver):
    """Ticks take no time, the other channel is told, and the end does not wait for ever."""
    with Server(hang) as stuck:
        url = f"http://127.0.0.1:{stuck.port}/"
        channels = {"stuck": Channel("stuck", WebhookChannel(url)), "ops": hook("ops", receiver)}
        made = configuration(channels)
        courier = Courier(made, open_ledger=world.open, clock=world.clock)
        courier.start()
        for number in range(5):
            subject = Subject("policy", "shop")
            wrong = [
                replace(OVERDUE, kind=kind, subject=subject)
                for kind in list(AlarmKind)[: number + 1]
            ]
            overview = world.look(*wrong)
            began, worked = time.monotonic(), time.thread_time()
            courier.tick(overview)
            assert time.thread_time() - worked < 0.5
            assert time.monotonic() - began < HANGS / 3
        until(lambda: len(receiver.requests) == 5, 60)
        began = time.monotonic()
        assert not courier.stop(timedelta(milliseconds=300))
        assert time.monotonic() - began < HANGS / 3


def test_a_failing_channel_is_a_condition_that_others_are_told_of(world, receiver):
    """It shows, also after a restart; the channel itself is not told; and it ends."""
    with HttpReceiver() as broken:
        broken.answers += [answer(403)] * 50
        channels = {"ops": hook("ops", broken), "night": hook("night", receiver)}
        made = configuration(channels, policy("shop", "ops"))
        with world.courier(made) as courier:
            courier.tick(world.look(OVERDUE))
            until(courier.conditions, 60)
            (found,) = courier.conditions()
            assert (found.kind, found.subject) == (
                AlarmKind.NOTIFIER_FAILING,
                Subject("channel", "ops"),
            )
            assert "403" in found.message
            assert "http" not in found.message
            world.settle(courier)
        with world.courier(made) as courier:
            # Also before the first look: nobody is told that it is over.
            (found,) = courier.conditions()
            courier.tick(world.look(OVERDUE))
            assert courier.conditions() == (found,)
            courier.tick(world.look(OVERDUE, found))
            world.settle(courier)
            assert told(receiver) == [("entered", "channel/ops")]
            assert len(broken.requests) == 1
            broken.answers.clear()
            world.clock.advance(timedelta(minutes=11))
            courier._looked_s = None
            courier.tick(world.look(OVERDUE, found))
            world.settle(courier)
            assert told(broken)[1:] == [("entered", "policy/shop")]
            assert not courier.conditions()
            courier.tick(world.look(OVERDUE))
            world.settle(courier)
        assert told(receiver)[1:] == [("left", "channel/ops")]


def test_a_channel_that_is_just_being_tried_again_has_not_got_well():
    """After a restart, what the ledger remembers holds until an attempt has come to its end."""
    at = BEGINNING
    failed = Notification(
        channel="ops", what="entered", delivered=False, sent_at=at, alarm=1, detail="refused"
    )
    known = failing_before({("ops", 1): failed}, {})
    assert known["ops"].detail == "refused"
    sending = replace(failed, sent_at=at + timedelta(minutes=1), detail=SENDING)
    assert failing_before({("ops", 1): sending}, known) == known
    assert failing_before({("ops", 1): sending}, {}) == {}
    assert failing_before({("ops", 1): replace(sending, delivered=True, detail="")}, known) == {}


def test_an_alarm_that_came_and_went_while_a_channel_was_down_is_told(world):
    """Nothing is lost, though the channel was left alone meanwhile."""
    with HttpReceiver() as down:
        down.answers += [answer(500)] * 2
        made = configuration({"ops": hook("ops", down)}, policy("shop"), policy("home"))
        patience = dataclasses.replace(QUICK, rest=timedelta(minutes=10))
        home = replace(OVERDUE, subject=Subject("policy", "home"))
        with world.courier(made, patience=patience) as courier:
            courier.tick(world.look(OVERDUE))
            until(courier.conditions, 60)
            world.settle(courier)
            courier.tick(world.look(OVERDUE, home))
            courier.tick(world.look(OVERDUE))
            assert courier._wiring.boxes["ops"].resting
            world.clock.advance(timedelta(minutes=15))
            courier._looked_s = None
            courier.tick(world.look(OVERDUE))
            world.settle(courier)
        assert sorted(told(down)[2:]) == [("entered", "policy/shop"), ("left", "policy/home")]


def test_trouble_of_the_ledger_is_told_without_it(world, receiver):
    """From memory, once; and that it is over when the ledger works again."""
    made = configuration({"ops": hook("ops", receiver)})
    works = False

    def open_ledger():
        if not works:
            raise LedgerError("no space")
        return world.open()

    trouble = Condition(
        AlarmKind.LEDGER_TROUBLE, Subject("daemon", "keeper"), "ledger is full", "Free.", BEGINNING
    )
    with world.courier(made, open_ledger=open_ledger) as courier:
        for _ in range(3):
            courier.tell_unrecorded([trouble])
        world.settle(courier)
        assert told(receiver) == [("entered", "daemon/keeper")]
        overview = world.look(trouble)
        courier.tick(replace(overview, alarms=()))
        works = True
        courier.tick(world.look())
        world.settle(courier)
        courier.tick(world.look())
        world.settle(courier)
    assert told(receiver) == [("entered", "daemon/keeper"), ("left", "daemon/keeper")]


def test_what_was_an_alarm_is_not_told_again_without_the_ledger(world, receiver):
    """Trouble of the ledger makes one message, not one for all that is wrong already."""
    made = configuration({"ops": hook("ops", receiver)})
    empty = replace(OVERDUE, kind=AlarmKind.EMPTY)
    with world.courier(made) as courier:
        courier.tick(world.look(OVERDUE))
        world.settle(courier)
        courier.tell_unrecorded([OVERDUE, empty])
        world.settle(courier)
        assert told(receiver) == [("entered", "policy/shop")] * 2
        policies = [replace(standing("shop"), conditions=(OVERDUE, empty))]
        courier.tick(replace(world.look(OVERDUE), policies=policies))
        world.settle(courier)
        assert len(receiver.requests) == 2
        courier.tick(world.look(OVERDUE))
        world.settle(courier)
    assert told(receiver)[2:] == [("left", "policy/shop")]


def test_much_trouble_without_the_ledger_is_one_message(world, receiver):
    """When nothing can be recorded, a thousand policies do not mean a thousand mails either."""
    names = [f"p{number}" for number in range(1000)]
    made = configuration({"ops": hook("ops", receiver)}, *map(policy, names))
    wrong = [replace(OVERDUE, subject=Subject("policy", name)) for name in names]
    with world.courier(made) as courier:
        courier.tell_unrecorded(wrong)
        courier.tell_unrecorded(wrong)
        world.settle(courier)
        courier.tick(world.look())
        world.settle(courier)
    first, second = (json_of(each)["data"] for each in receiver.requests)
    assert "1000 alarms" in first["title"]
    assert "over: policy p0: overdue" in second["text"]


def beat(name, receiver, *, path=None, **fields):
    return Channel(name, HeartbeatChannel(receiver.url + (path or f"/{name}")), **fields)


def pings(receiver):
    return [each.target.partition("?")[0] for each in list(receiver.requests)]


def run_of(policy_name, number, state, *, exit_code=None, ended_at=None, host="keeper"):
    failure = RunFailure("SourceError", "cannot read /secret", exit_code) if exit_code else None
    return Run(
        RunId(f"{number:016x}"),
        policy_name,
        Operation.BACKUP,
        state,
        somebody(host=host),
        BEGINNING,
        ended_at=ended_at,
        failure=failure,
        result={"files": 7, "name": "secret"},
    )


def standing(policy_name, *, running=None, last=None):
    return PolicyStatus(
        policy=policy_name, source_kind="files", repository="primary", zone_name="UTC",
        state=PolicyState.OK, why="", running=running, last_attempt=last,
    )  # fmt: skip


def test_runs_are_pinged_once_whoever_says_that_they_were(world, receiver):
    """By the executor at once, else by the overview at the next tick; never twice."""
    made = configuration({"beat": beat("beat", receiver)}, policy("shop", "beat"))
    ended = world.clock.now() + timedelta(minutes=1)
    with world.courier(made) as courier:
        first = run_of("shop", 1, RunState.RUNNING)
        courier.run_began("shop", first.id)
        courier.tick(world.look(policies=[standing("shop", running=first)]))
        courier.run_ended("shop", first.id, 0)
        done = replace(first, state=RunState.SUCCEEDED, ended_at=ended)
        courier.tick(world.look(policies=[standing("shop", last=done)]))
        second = run_of("shop", 2, RunState.RUNNING)
        courier.tick(world.look(policies=[standing("shop", running=second, last=done)]))
        failed = replace(
            second, state=RunState.FAILED, ended_at=ended, failure=RunFailure("E", "x", 18)
        )
        courier.tick(world.look(policies=[standing("shop", last=failed)]))
        courier.tick(world.look(policies=[standing("shop", last=failed)]))
        courier.run_began("elsewhere", RunId("f" * 16))
        world.settle(courier)
    assert pings(receiver) == ["/beat/start", "/beat", "/beat/start", "/beat/18"]


@pytest.mark.parametrize(
    ("state", "exit_code", "signal"),
    [
        (RunState.SUCCEEDED, None, ""),
        (RunState.WARNINGS, None, "/3"),
        (RunState.FAILED, 17, "/17"),
        (RunState.FAILED, None, "/fail"),
        (RunState.INTERRUPTED, None, "/fail"),
        (RunState.SKIPPED, None, "/fail"),
    ],
)
def test_each_end_has_its_signal(world, receiver, state, exit_code, signal):
    """Only success is a success."""
    made = configuration({"beat": beat("beat", receiver)}, policy("shop", "beat"))
    ended = run_of("shop", 1, state, exit_code=exit_code, ended_at=BEGINNING)
    with world.courier(made) as courier:
        courier.tick(world.look(policies=[standing("shop", last=ended)]))
        world.settle(courier)
    assert pings(receiver) == [f"/beat{signal}"]


def test_runs_of_the_past_and_of_others_are_not_pinged(world, receiver):
    """A restart repeats nothing, and each host tells of its own runs."""
    made = configuration({"beat": beat("beat", receiver)}, policy("shop", "beat"))
    past = run_of("shop", 1, RunState.SUCCEEDED, ended_at=BEGINNING - timedelta(hours=1))
    others = run_of("shop", 2, RunState.SUCCEEDED, ended_at=BEGINNING, host="other")
    with world.courier(made) as courier:
        for last in (past, others):
            courier.tick(world.look(policies=[standing("shop", last=last)]))
        world.settle(courier)
    assert not receiver.requests


def test_bodies_name_no_files_unless_wanted(world, receiver):
    """Figures are numbers; why a run failed is for those who asked for details."""
    quiet = Channel("quiet", HeartbeatChannel(f"{receiver.url}/quiet", body=True))
    loud = Channel("loud", HeartbeatChannel(f"{receiver.url}/loud", body=True), details=True)
    made = configuration({"quiet": quiet, "loud": loud}, policy("shop", "quiet", "loud"))
    with world.courier(made) as courier:
        courier.run_ended(
            "shop", RunId("1" * 16), 18, figures={"files": 7, "path": "/secret"}, why="no /secret"
        )
        world.settle(courier)
    bodies = {each.target.split("/")[1]: each.body.decode() for each in receiver.requests}
    assert "/secret" not in bodies["quiet"]
    assert "files: 7" in bodies["quiet"]
    assert "2026-11-20 03:30:00 CET (2026-11-20T02:30:00Z)" in bodies["quiet"]
    assert "What to do: Run drkeeper status on keeper" in bodies["quiet"]
    assert "Why: no /secret" in bodies["loud"]


def test_one_address_serves_all_policies_that_name_no_channel(world, receiver):
    """By its place for the name; and a heartbeat that no policy names is the daemon's own."""
    channels = {
        "each": beat("each", receiver, path="/key/{policy}"),
        "own": beat("own", receiver, path="/daemon"),
    }
    made = configuration(channels, policy("shop"), policy("home"))
    with world.courier(made) as courier:
        courier.run_ended("shop", RunId("1" * 16), 0)
        courier.run_ended("home", RunId("2" * 16), 0)
        world.settle(courier)
        assert sorted(pings(receiver)) == ["/key/home", "/key/shop"]
        courier.tick(world.look())
        courier.tick(world.look(OVERDUE, policies=[standing("shop")]))
        world.settle(courier)
        assert pings(receiver)[2:] == ["/daemon"]
        world.clock.advance(timedelta(minutes=5))
        courier.tick(world.look(OVERDUE, policies=[standing("shop")]))
        world.settle(courier)
    assert pings(receiver)[2:] == ["/daemon", "/daemon/fail"]


def test_a_channel_without_its_secret_is_a_condition(world, receiver):
    """The others work, and it works as soon as the secret is there."""

    class Channels(dict):
        def __getitem__(self, name):
            if name == "broken":
                raise ConfigurationError("channel 'broken' has no URL", hint="Set it.")
            return super().__getitem__(name)

    made = configuration(Channels(broken=None, ops=hook("ops", receiver)))
    with world.courier(made) as courier:
        courier.tick(world.look(OVERDUE))
        world.settle(courier)
        assert told(receiver) == [("entered", "policy/shop")]
        (found,) = courier.conditions()
        assert found.subject == Subject("channel", "broken")
        assert found.hint == "Set it."
        courier.reload(configuration({"ops": hook("ops", receiver)}))
        assert not courier.conditions()


def test_a_reload_keeps_what_waits_and_tells_new_channels(world, receiver):
    """Channels that stay keep their box; a new one hears of what is wrong now."""
    ops = hook("ops", receiver)
    with HttpReceiver() as second, world.courier(configuration({"ops": ops})) as courier:
        box = courier._wiring.boxes["ops"]
        courier.tick(world.look(OVERDUE))
        courier.reload(configuration({"ops": ops, "night": hook("night", second)}))
        assert courier._wiring.boxes["ops"] is box
        courier.tick(world.look(OVERDUE))
        world.settle(courier)
        assert (len(receiver.requests), len(second.requests)) == (1, 1)
        courier.reload(configuration({}))
        courier.tick(world.look())
        assert not courier.conditions()
        until(lambda: box.empty, 60)


def test_a_digest_is_sent_once_a_day(world, receiver):
    """At its time of day, across restarts."""
    made = configuration({"ops": hook("ops", receiver, digest_at="08:00")})
    for _ in range(49):
        with world.courier(made) as courier:
            courier._since = BEGINNING
            courier.tick(world.look())
            world.settle(courier)
        world.clock.advance(timedelta(hours=1))
    assert told(receiver) == [("digest", "daemon/keeper")] * 2


def test_each_machine_sends_a_digest_of_its_own(world, receiver):
    """On a shared ledger a digest tells of one machine's policies: another's must not replace it."""
    made = configuration({"ops": hook("ops", receiver, digest_at="08:00")})
    world.clock.advance(timedelta(days=1))
    for host in ("keeper", "other", "keeper", "other"):
        with world.courier(made) as courier:
            courier._since = BEGINNING
            courier.tick(replace(world.look(), host=host))
            world.settle(courier)
    assert told(receiver) == [("digest", "daemon/keeper"), ("digest", "daemon/other")]


def test_each_kind_of_channel_is_wired_to_its_adapter(world, receiver):
    """One match builds them all, and a message through each arrives."""
    with ExitStack() as stack:
        mail = stack.enter_context(SmtpReceiver())
        kinds = {
            "hook": WebhookChannel(f"{receiver.url}/hook"),
            "mail": EmailChannel(
                "127.0.0.1", mail.port, "none", "a@example.org", ("b@example.org",)
            ),
            "chat": AppriseChannel((f"json://127.0.0.1:{receiver.port}/chat",)),
        }
        channels = {name: Channel(name, kind) for name, kind in kinds.items()}
        with world.courier(configuration(channels)) as courier:
            courier.tick(world.look(OVERDUE))
            world.settle(courier)
            assert not courier.conditions()
        assert sorted(pings(receiver)) == ["/chat", "/hook"]
        assert "overdue" in mail.mails[0].message["Subject"]


def test_who_is_told_what_follows_from_policies(receiver):
    """Named channels; all people for a policy that names none; a repository's through policies."""
    channels = {
        "ops": hook("ops", receiver),
        "night": hook("night", receiver, daemon=False),
        "beat": beat("beat", receiver),
    }
    made = configuration(channels, policy("shop", "night", "beat"), policy("home"))
    found = audiences_of(made, channels.values())
    assert found.of(SHOP).channels == {"night", "beat"}
    assert found.of(Subject("policy", "home")).channels == {"ops", "night"}
    primary = found.of(Subject("repository", "primary"))
    assert primary.channels == {"ops", "night", "beat"}
    assert primary.affects == ("home", "shop")
    assert found.of(Subject("repository", "spare")).channels == {"ops", "beat"}
    assert found.of(Subject("daemon", "keeper")).channels == {"ops", "beat"}
    assert not found.knows(Subject("policy", "elsewhere"))
    assert open_notifier(channels["ops"], SystemClock()) is not None


def test_a_thousand_policies_and_hundreds_of_alarms_cost_a_tick_little(world, receiver):
    """Nothing changed: no statement at all; everything changed: one message, in bounded time."""
    names = [f"p{number}" for number in range(1000)]
    made = configuration({"ops": hook("ops", receiver)}, *(policy(name) for name in names))
    wrong = [replace(OVERDUE, subject=Subject("policy", name)) for name in names]
    alarms = [world.ledger.raise_alarm(each) for each in wrong[:300]]
    overview = Overview(
        host="keeper",
        at=world.clock.now(),
        daemon_alive=True,
        alarms=alarms,
        policies=[standing(name) for name in names],
    )
    with world.courier(made) as courier:
        began = time.process_time()
        courier.tick(overview)
        assert time.process_time() - began < 1
        world.settle(courier)
        courier._looked_s = None
        courier.tick(overview)
        began = time.process_time()
        for _ in range(10):
            courier.tick(overview)
        assert (time.process_time() - began) / 10 < 0.01
    assert len(receiver.requests) == 1
    assert len(world.ledger.last_notifications()) == 300
