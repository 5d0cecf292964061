"""Channels as the configuration names them, and the courier that tells them what there is to tell."""

import dataclasses
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from drkeeper.app.config.configuration import Configuration
from drkeeper.app.wiring.audiences import audiences_of
from drkeeper.app.wiring.heartbeats import Heartbeats, voice_for
from drkeeper.app.wiring.overview import all_conditions
from drkeeper.app.wiring.told import Told, failing_before
from drkeeper.clock import Clock
from drkeeper.errors import DrkeeperError
from drkeeper.faults import point
from drkeeper.model.alarm import Alarm, AlarmKind, Condition, Subject
from drkeeper.model.channel import (
    AppriseChannel,
    Channel,
    EmailChannel,
    HeartbeatChannel,
    WebhookChannel,
)
from drkeeper.model.notification import Notification
from drkeeper.model.run import RunId
from drkeeper.model.status import Overview
from drkeeper.notify.base import Beat, Notifier, Occasion
from drkeeper.operations.delivering import Letterbox, Outcome, Patience, Trouble
from drkeeper.operations.notifying import (
    GATHERED,
    Audiences,
    Delivery,
    Situation,
    due,
)
from drkeeper.operations.wording import RunSign, about_alarm, about_many

if TYPE_CHECKING:
    from drkeeper.ledger.ledger import Ledger

_LOOK_EVERY_S: Final = 60.0
"""How often it is looked what is due when no alarm was raised or cleared, and no delivery came to
an end. Source: ours."""
_REMEMBERED: Final = timedelta(days=2)
"""How long after its end an alarm's messages are still tried."""
_LAST_WORDS: Final = timedelta(minutes=1)
"""How long a channel that was changed or removed has for what waits in it."""


def open_notifier(channel: Channel, clock: Clock) -> Notifier:
    """Return the way to tell a channel something; nothing is sent yet."""
    match channel.kind:
        case HeartbeatChannel(url=url, body=body):
            from drkeeper.notify.heartbeat import Heartbeat  # noqa: PLC0415 - see the package

            return Heartbeat(url, body=body, clock=clock)
        case WebhookChannel(url=url, secret=secret):
            from drkeeper.notify.webhook import Webhook  # noqa: PLC0415 - see the package

            return Webhook(url, secret=secret, clock=clock)
        case EmailChannel() as settings:
            from drkeeper.notify.email import Email  # noqa: PLC0415 - see the package

            return Email(settings, clock=clock)
        case AppriseChannel(urls=urls):
            from drkeeper.notify.apprise import AppriseNotifier  # noqa: PLC0415 - an extra

            return AppriseNotifier(urls)


@dataclass(frozen=True, slots=True)
class _Wiring:
    """What one version of the configuration makes of channels."""

    configuration: Configuration
    audiences: Audiences
    channels: dict[str, Channel] = field(default_factory=dict)
    boxes: dict[str, Letterbox] = field(default_factory=dict)
    broken: dict[str, Trouble] = field(default_factory=dict)


class Courier:
    """Tells the channels what there is to tell, and costs nobody else any time.

    ``tick`` reads the ledger and posts into letter boxes; each box has a thread of its own. Every
    method returns soon and raises nothing but defects: a channel that does not work is a
    condition.

    Args:
        configuration: Which channels there are, and whom they are told about.
        open_ledger: Opens the ledger; each thread that needs one closes its own.
        clock: Measures and dates.
        log: Told of what was and was not delivered, in events and fields.
        patience: How long and how often one message is tried.
    """

    def __init__(
        self,
        configuration: Configuration,
        *,
        open_ledger: "Callable[[], Ledger]",
        clock: Clock,
        log: Callable[..., object] = lambda _event, **_fields: None,
        patience: Patience | None = None,
    ) -> None:
        self._open_ledger = open_ledger
        self._clock = clock
        self._log = log
        self._patience = patience
        self._running = False
        self._since = clock.now()
        self._ledger: Ledger | None = None
        self._told = Told(open_ledger, clock=clock)
        self._heartbeats = Heartbeats(self._offer, clock=clock)
        self._remembered: dict[str, Trouble] = {}
        self._lock = threading.Lock()
        self._untold: dict[tuple[AlarmKind, Subject], Alarm] = {}
        self._recorded: frozenset[tuple[AlarmKind, Subject]] = frozenset()
        self._looked_s: float | None = None
        self._seen: tuple[tuple[int, ...], ...] = ()
        self._left: list[Letterbox] = []
        self._wiring = self._wired(configuration, None)

    def start(self) -> None:
        """Begin to deliver, with what the ledger says of channels that did not work before."""
        with suppress(DrkeeperError), self._open_ledger() as ledger:
            since = self._clock.now() - _REMEMBERED
            told = ledger.last_notifications(cleared_since=since)
            self._remembered = failing_before(told, {})
        self._running = True
        for box in self._wiring.boxes.values():
            box.begin()

    def stop(self, within: timedelta) -> bool:
        """Deliver what waits for so long at most, and say whether all was."""
        self._running = False
        end_s = self._clock.monotonic() + within.total_seconds()
        boxes = [*self._wiring.boxes.values(), *self._left]
        threads = [threading.Thread(target=box.end, args=(within,), daemon=True) for box in boxes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(0.0, end_s - self._clock.monotonic()) + 1)
        self._close_ledger()
        return all(box.empty for box in boxes)

    def reload(self, configuration: Configuration) -> None:
        """Go on with another configuration; channels that stay the same keep what waits in them."""
        if configuration is not self._wiring.configuration:
            self._wiring = self._wired(configuration, self._wiring)
            self._looked_s = None

    def conditions(self) -> tuple[Condition, ...]:
        """Return which channels do not work, for the overview and for other channels."""
        wiring = self._wiring
        troubles = dict(wiring.broken)
        for name, box in wiring.boxes.items():
            trouble = box.trouble if box.tried else self._remembered.get(name)
            if trouble is not None:
                troubles[name] = trouble
        return tuple(
            Condition(
                AlarmKind.NOTIFIER_FAILING,
                Subject("channel", name),
                f"channel {name} could not deliver: {trouble.detail}",
                trouble.hint or f"Run drkeeper notify test {name}.",
                trouble.since,
            )
            for name, trouble in sorted(troubles.items())
        )

    def tick(self, overview: Overview) -> None:
        """Post what is due, given how things stand; to be called every few seconds."""
        self._heartbeats.watch(overview)
        self._recorded = frozenset(
            (alarm.condition.kind, alarm.condition.subject) for alarm in overview.alarms
        )
        self._settle_untold(overview)
        # What ends while it is looked has been passed over, or seen as it was before: hence first.
        ends = tuple(box.ended for box in self._wiring.boxes.values())
        seen = (tuple(alarm.id for alarm in overview.alarms), ends)
        now_s = self._clock.monotonic()
        recent = self._looked_s is not None and now_s - self._looked_s < _LOOK_EVERY_S
        if recent and seen == self._seen:
            return
        try:
            self._look(overview)
        except DrkeeperError as error:
            self._close_ledger()
            self._log("notify.ledger_unavailable", error=str(error))
        else:
            self._seen, self._looked_s = seen, now_s

    def tell_unrecorded(self, conditions: Iterable[Condition]) -> None:
        """Tell what cannot be recorded, once, because the ledger itself is in trouble.

        What was an alarm at the last ``tick`` is not told again. What was told like this is told
        to be over by the first ``tick`` that finds it gone. From any thread.
        """
        now = self._clock.now()
        with self._lock:
            new = {
                (each.kind, each.subject): Alarm(0, each, now)
                for each in conditions
                if (each.kind, each.subject) not in self._untold.keys() | self._recorded
            }
            self._untold |= new
        self._tell_all(tuple(new.values()), Occasion.ENTERED)

    def run_began(self, policy: str, run: RunId) -> None:
        """Tell the policy's heartbeats that a run began; ``tick`` finds out by itself, later."""
        self._heartbeats.sign(RunSign(policy, run, Beat.BEGAN))

    def run_ended(
        self,
        policy: str,
        run: RunId,
        exit_code: int | None,
        *,
        figures: Mapping[str, object] | None = None,
        why: str = "",
    ) -> None:
        """Tell the policy's heartbeats how a run ended; ``tick`` finds out by itself, later.

        Args:
            policy: Its name.
            run: Which run.
            exit_code: As documented in docs/exit-codes.md; ``None`` when a signal ended it.
            figures: Its summary; the numbers in it go into the ping's body, if there is one.
            why: Why it failed; only for channels that want details.
        """
        self._heartbeats.sign(RunSign(policy, run, Beat.ENDED, exit_code, figures or {}, why))

    def _wired(self, configuration: Configuration, before: _Wiring | None) -> _Wiring:
        """Return what a configuration says, with the boxes of channels that are as they were."""
        boxes: dict[str, Letterbox] = {}
        channels: dict[str, Channel] = {}
        broken: dict[str, Trouble] = {}
        for name in configuration.channels:
            try:
                channel = configuration.channels[name]
            except DrkeeperError as error:  # its secret is missing, or cannot be one
                old = before.broken.get(name) if before is not None else None
                since = old.since if old is not None else self._clock.now()
                broken[name] = Trouble(since, str(error), error.hint or "")
                continue
            same = before is not None and before.channels.get(name) == channel
            boxes[name] = before.boxes[name] if before is not None and same else self._box(channel)
            channels[name] = channel
        old_boxes = before.boxes if before is not None else {}
        gone = [box for name, box in old_boxes.items() if boxes.get(name) is not box]
        for box in gone:
            threading.Thread(target=box.end, args=(_LAST_WORDS,), daemon=True).start()
        self._left = [*(box for box in self._left if not box.empty), *gone]
        self._heartbeats.wire(configuration, tuple(channels.values()))
        audiences = audiences_of(configuration, channels.values())
        return _Wiring(configuration, audiences, channels, boxes, broken)

    def _box(self, channel: Channel) -> Letterbox:
        box = Letterbox(
            channel.name,
            open_notifier(channel, self._clock),
            clock=self._clock,
            claim=self._claim,
            report=self._report,
            patience=self._patience,
        )
        if self._running:
            box.begin()
        return box

    def _offer(self, delivery: Delivery) -> bool:
        box = self._wiring.boxes.get(delivery.channel)
        return box is not None and box.offer(delivery)

    def _look(self, overview: Overview) -> None:
        """Read what was told, and post what is due.

        Raises:
            DrkeeperError: The ledger cannot be read or written.
        """
        point("app.wiring.channels.looking")
        if self._ledger is None:
            self._ledger = self._open_ledger()
        ledger, since = self._ledger, overview.at - _REMEMBERED
        self._told.settle(ledger)
        told = self._told.over(ledger.last_notifications(cleared_since=since))
        self._remembered = failing_before(told, self._remembered)
        over = [
            alarm
            for alarm in ledger.alarms()
            if alarm.cleared_at is not None and alarm.cleared_at >= since
        ]
        alarms = sorted([*over, *overview.alarms], key=lambda alarm: alarm.id)
        wiring = self._wiring
        situation = Situation(
            overview=overview,
            alarms=alarms,
            told=told,
            audiences=wiring.audiences,
            since=self._since,
        )
        for delivery in due(wiring.channels.values(), situation):
            self._post(delivery, told)
        self._told.settle(ledger)
        point("app.wiring.channels.looked")

    def _post(
        self, delivery: Delivery, told: Mapping[tuple[str, int | None], Notification]
    ) -> None:
        box = self._wiring.boxes[delivery.channel]
        if any(box.holds(item.alarm) for item in delivery.items) or box.offer(delivery):
            return
        # Remembered as not told, so that it is told later even if it is over by then.
        new = tuple(item for item in delivery.items if (delivery.book, item.alarm) not in told)
        if new:
            outcome = Outcome(delivered=False, detail="the channel is left alone after a failure")
            self._told.keep(dataclasses.replace(delivery, items=new), outcome)

    def _claim(self, delivery: Delivery) -> bool:
        """Whether nobody else tells it; called by the threads of boxes."""
        try:
            return self._told.claim(delivery)
        except DrkeeperError as error:
            # Twice is better than not at all, and the ledger may be the very thing to tell.
            self._log("notify.ledger_unavailable", error=str(error))
            return True

    def _report(self, delivery: Delivery, outcome: Outcome) -> None:
        """Take note of an outcome; called by the threads of boxes."""
        self._log(
            "notify.delivered" if outcome.delivered else "notify.failed",
            channel=delivery.channel,
            occasion=delivery.message.occasion.value,
            subject=delivery.message.subject,
            detail=outcome.detail or None,
        )
        if not delivery.items:
            return
        try:
            self._told.record(delivery, outcome)
        except DrkeeperError as error:
            self._log("notify.ledger_unavailable", error=str(error))

    def _settle_untold(self, overview: Overview) -> None:
        """Say of what was told without the ledger that it is over, or leave it to the ledger."""
        if not self._untold:
            return
        holding = {(each.kind, each.subject) for each in all_conditions(overview)}
        with self._lock:
            untold = self._untold
            gone = [alarm for key, alarm in untold.items() if key not in holding]
            self._untold = {
                key: alarm
                for key, alarm in untold.items()
                if key in holding and key not in self._recorded
            }
        over = [replace(alarm, cleared_at=overview.at) for alarm in gone]
        self._tell_all(over, Occasion.LEFT)

    def _tell_all(self, alarms: Sequence[Alarm], occasion: Occasion) -> None:
        """Tell everybody what concerns them, without the ledger: gathered, and once."""
        wiring, now = self._wiring, self._clock.now()
        for name, channel in wiring.channels.items():
            if isinstance(channel.kind, HeartbeatChannel):
                continue
            voice = voice_for(wiring.configuration, channel)
            messages = [
                about_alarm(alarm, occasion, voice, now)
                for alarm in alarms
                if name in wiring.audiences.of(alarm.condition.subject).channels
                and alarm.condition.level.rank >= channel.level.rank
            ]
            if len(messages) > GATHERED:
                messages = [about_many(messages, voice, now)]
            for message in messages:
                self._offer(Delivery(name, (), message))

    def _close_ledger(self) -> None:
        ledger, self._ledger = self._ledger, None
        if ledger is not None:
            ledger.close()
