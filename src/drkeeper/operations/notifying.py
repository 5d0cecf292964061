"""Who is to be told what, now: decided from alarms and from what the ledger says was told.

States, not events. An alarm is told to a channel once when it is raised, again while it holds as
often as the channel wants, and once when it is over. What was not delivered is due again, after a
pause that grows with the time it has been due. Nothing is remembered between two looks but what
is in the ledger, so a restart neither loses nor repeats a message.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, tzinfo
from itertools import takewhile
from typing import Final

from drkeeper.model.alarm import Alarm, Subject
from drkeeper.model.channel import Channel, HeartbeatChannel
from drkeeper.model.notification import Notification, Saying
from drkeeper.model.schedule import parse_schedule, runs
from drkeeper.model.status import Overview
from drkeeper.notify.base import Message, Occasion
from drkeeper.operations.digesting import digest
from drkeeper.operations.phrases import Voice
from drkeeper.operations.wording import about_alarm, about_many

RAISED: Final = "raised"
REMINDER: Final = "reminder"
CLEARED: Final = "cleared"
DIGEST: Final = "digest"
"""What was said, in the words of ``Notification.what``."""

SENDING: Final = "being sent"
"""Detail of a notification by which somebody claims that he is telling it."""

CLAIM: Final = timedelta(minutes=5)
"""How long such a claim keeps others from telling the same. Source: ours; longer than any delivery
with all its attempts, and than clocks of machines that share a ledger are apart."""

FIRST_PAUSE: Final = timedelta(minutes=10)
LONGEST_PAUSE: Final = timedelta(hours=6)
"""Between deliveries of the same that fail. Source: ours; half the time that it has been due."""

GATHERED: Final = 5
"""Most messages about alarms that a channel gets at once; more become one. Source: ours."""

_WORDS: Final = {Occasion.ENTERED: RAISED, Occasion.REMINDER: REMINDER, Occasion.LEFT: CLEARED}
_OF: Final = " of "
"""Between the name of a channel, which has no blanks, and that of a machine."""
_DAYS_BACK: Final = timedelta(days=3)
"""Enough to find the newest time of day that has been, whatever the clocks did."""


@dataclass(frozen=True, slots=True)
class Audience:
    """Who is told about one thing.

    Attributes:
        channels: Names of channels.
        zone: In which its times are shown.
        zone_name: IANA name of ``zone``.
        affects: Policies that it touches, if it is none itself.
    """

    channels: frozenset[str]
    zone: tzinfo
    zone_name: str
    affects: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Audiences:
    """Who is told about what.

    Attributes:
        everything: About what belongs to no policy, and of whom nobody knows more; its zone is
            that of digests.
        policies: About policies, by name.
        repositories: About repositories, by name.
    """

    everything: Audience
    policies: Mapping[str, Audience]
    repositories: Mapping[str, Audience]

    def knows(self, subject: Subject) -> bool:
        """Whether this configuration has the subject."""
        match subject.kind:
            case "policy":
                return subject.name in self.policies
            case "repository":
                return subject.name in self.repositories
            case _:
                return True

    def of(self, subject: Subject) -> Audience:
        """Return who is told about ``subject``; a channel never hears of its own failure."""
        match subject.kind:
            case "policy":
                return self.policies.get(subject.name, self.everything)
            case "repository":
                return self.repositories.get(subject.name, self.everything)
            case "channel":
                others = self.everything.channels - {subject.name}
                return replace(self.everything, channels=others)
            case _:
                return self.everything


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message for one channel.

    Attributes:
        channel: Name of the channel.
        items: What the ledger is to remember of it; nothing for a run or a test.
        message: What is told.
        host: The machine that tells it for itself; empty for what any of those that share a ledger
            may tell for all.
    """

    channel: str
    items: tuple[Saying, ...]
    message: Message
    host: str = ""

    @property
    def book(self) -> str:
        """The channel's name in the ledger."""
        return _book(self.channel, self.host)


def _book(channel: str, host: str) -> str:
    return f"{channel}{_OF}{host}" if host else channel


def channel_of(book: str) -> str:
    """Return the channel that the ledger means."""
    return book.partition(_OF)[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """All that decides who is told what.

    Attributes:
        overview: How things stand; its instant is the present.
        alarms: Open alarms, and those cleared not long ago.
        told: The newest notification of each channel about each alarm.
        audiences: Who is told about what.
        since: Digests of earlier times of day are nobody's, unless one was sent before.
    """

    overview: Overview
    alarms: Sequence[Alarm]
    told: Mapping[tuple[str, int | None], Notification]
    audiences: Audiences
    since: datetime


def due(channels: Iterable[Channel], situation: Situation) -> list[Delivery]:
    """Return what is to be told now, the oldest alarm first; heartbeats are told of runs alone."""
    found: list[Delivery] = []
    for channel in channels:
        if isinstance(channel.kind, HeartbeatChannel):
            continue
        told = [
            delivery
            for alarm in situation.alarms
            if (delivery := _about(channel, alarm, situation)) is not None
        ]
        found += _gathered(channel, told, situation)
        if _digest_is_due(channel, situation):
            found.append(_digest(channel, situation))
    return found


def _about(channel: Channel, alarm: Alarm, situation: Situation) -> Delivery | None:
    audience = situation.audiences.of(alarm.condition.subject)
    now = situation.overview.at
    last = situation.told.get((channel.name, alarm.id))
    wanted = (
        channel.name in audience.channels
        and alarm.condition.level.rank >= channel.level.rank
        and situation.audiences.knows(alarm.condition.subject)
    )
    occasion = _owed(channel, alarm, last, now=now, wanted=wanted)
    if occasion is None:
        return None
    voice = Voice(
        situation.overview.host,
        audience.zone,
        audience.zone_name,
        channel.details,
        audience.affects,
    )
    nth = 0
    if channel.remind_every:
        nth = max(1, (now - alarm.raised_at) // channel.remind_every)
    message = about_alarm(alarm, occasion, voice, now, nth=nth)
    item = Saying(alarm.id, _WORDS[occasion], last.event if last is not None else 0)
    return Delivery(channel.name, (item,), message)


def _owed(
    channel: Channel, alarm: Alarm, last: Notification | None, *, now: datetime, wanted: bool
) -> Occasion | None:
    """Return what the channel should hear about an alarm, given what it heard last."""
    if last is None:
        # What was over before anybody tried to tell it is in the ledger, and bothers nobody.
        return Occasion.ENTERED if wanted and alarm.cleared_at is None else None
    if _is_claimed(last, now):
        return None
    if alarm.cleared_at is not None:
        # Also when the raising could not be told: that it was, and is over, is news.
        due_now = last.what != CLEARED or _again(last, alarm.cleared_at, now)
        return Occasion.LEFT if due_now else None
    return _owed_while_open(channel, alarm, last, now) if wanted else None


def _owed_while_open(
    channel: Channel, alarm: Alarm, last: Notification, now: datetime
) -> Occasion | None:
    if last.delivered:
        every = channel.remind_every
        due_now = every is not None and _past(last.sent_at + every, now, last)
        return Occasion.REMINDER if due_now else None
    if not _again(last, alarm.raised_at, now):
        return None
    return Occasion.ENTERED if last.what == RAISED else Occasion.REMINDER


def _is_claimed(last: Notification, now: datetime) -> bool:
    """Whether somebody is telling it, as far as the ledger knows."""
    return (
        not last.delivered and last.detail == SENDING and not _past(last.sent_at + CLAIM, now, last)
    )


def _again(last: Notification, due_since: datetime, now: datetime) -> bool:
    """Whether what failed is to be tried again: after half the time that it has been due.

    Of what was claimed and then heard of no more, nobody knows whether it was told: at once.
    """
    if last.delivered or last.detail == SENDING:
        return not last.delivered
    pause = min(max((last.sent_at - due_since) / 2, FIRST_PAUSE), LONGEST_PAUSE)
    return _past(last.sent_at + pause, now, last)


def _past(instant: datetime, now: datetime, last: Notification) -> bool:
    """Whether ``instant`` has been, or rests on a clock that has since been set back."""
    return now >= instant or last.sent_at > now + FIRST_PAUSE


def _gathered(channel: Channel, told: Sequence[Delivery], situation: Situation) -> list[Delivery]:
    """Make one message of many that would arrive at once."""
    if len(told) <= GATHERED:
        return list(told)
    everything = situation.audiences.everything
    host, now = situation.overview.host, situation.overview.at
    voice = Voice(host, everything.zone, everything.zone_name, channel.details)
    message = about_many([each.message for each in told], voice, now)
    items = tuple(item for each in told for item in each.items)
    return [Delivery(channel.name, items, message)]


def _digest_is_due(channel: Channel, situation: Situation) -> bool:
    if channel.digest_at is None:
        return False
    now = situation.overview.at
    slot = _newest_slot(channel.digest_at, situation.audiences.everything.zone, now)
    last = _last_digest(channel, situation)
    if last is None:
        return slot is not None and slot >= situation.since
    if _is_claimed(last, now) or slot is None:
        return False
    if last.delivered and slot <= last.sent_at <= now + FIRST_PAUSE:
        return False
    return last.delivered or last.sent_at < slot or _again(last, slot, now)


def _newest_slot(time_of_day: str, zone: tzinfo, now: datetime) -> datetime | None:
    """Return when that time of day last came: once a day, also when clocks are changed."""
    schedule = parse_schedule(f"daily at {time_of_day}")
    slots = list(takewhile(lambda slot: slot <= now, runs(schedule, zone, now - _DAYS_BACK)))
    return slots[-1] if slots else None


def _digest(channel: Channel, situation: Situation) -> Delivery:
    everything = situation.audiences.everything
    voice = Voice(situation.overview.host, everything.zone, everything.zone_name, channel.details)
    last = _last_digest(channel, situation)
    item = Saying(None, DIGEST, last.event if last is not None else 0)
    host = situation.overview.host
    return Delivery(channel.name, (item,), digest(situation.overview, voice), host)


def _last_digest(channel: Channel, situation: Situation) -> Notification | None:
    """Return the newest of this machine: a digest tells of its policies alone."""
    return situation.told.get((_book(channel.name, situation.overview.host), None))
