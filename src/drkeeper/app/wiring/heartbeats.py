"""Heartbeats: who is told of which run, and that the daemon itself lives."""

import threading
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from drkeeper.app.config.configuration import Configuration
from drkeeper.clock import Clock
from drkeeper.model.alarm import Level
from drkeeper.model.channel import Channel, HeartbeatChannel
from drkeeper.model.run import RunId, RunState
from drkeeper.model.status import Overview
from drkeeper.notify.base import Beat
from drkeeper.operations.notifying import Delivery
from drkeeper.operations.phrases import Voice
from drkeeper.operations.wording import RunSign, about_daemon, about_run, sign_of_end

BEAT_EVERY: Final = timedelta(minutes=5)
"""How often the daemon's own heartbeat is sent. Source: ours; docs/notifications.md says so."""


class Heartbeats:
    """Turns runs into pings, each once. For any thread.

    A policy's heartbeats are those that it names, and for a policy that names no channel those
    whose address has a place for its name. A heartbeat that no policy names, and whose address has
    no such place, is the daemon's own.

    Args:
        post: Puts a ping into a letter box; never waits.
        clock: Measures and dates.
    """

    def __init__(self, post: Callable[[Delivery], object], *, clock: Clock) -> None:
        self._post = post
        self._clock = clock
        self._since = clock.now()
        self._lock = threading.Lock()
        self._last: dict[tuple[str, Beat], RunId] = {}
        self._beaten_s: float | None = None
        self._configuration: Configuration | None = None
        self._hearts: tuple[Channel, ...] = ()

    def wire(self, configuration: Configuration, channels: Sequence[Channel]) -> None:
        """Go on with these channels."""
        hearts = tuple(each for each in channels if isinstance(each.kind, HeartbeatChannel))
        with self._lock:
            self._configuration, self._hearts = configuration, hearts

    def watch(self, overview: Overview) -> None:
        """Send what is due: the daemon's own sign of life, and runs that nobody told us of."""
        if self._configuration is None or not self._hearts:
            return
        self._beat(overview)
        ours = self._configuration.host
        for status in overview.policies:
            run, last = status.running, status.last_attempt
            if run is not None and run.state is RunState.RUNNING and run.process.host == ours:
                self.sign(RunSign(status.policy, run.id, Beat.BEGAN))
            if last is not None and last.process.host == ours and self._is_news(last.ended_at):
                self.sign(sign_of_end(last))

    def sign(self, sign: RunSign) -> None:
        """Ping the policy's heartbeats, unless they were told the same before."""
        configuration = self._configuration
        hearts = self._of(sign.policy)
        if configuration is None or not hearts:
            return
        with self._lock:
            begun, ended = (self._last.get((sign.policy, beat)) for beat in Beat)
            if sign.run == ended or (sign.run == begun and sign.beat is Beat.BEGAN):
                return
            self._last[sign.policy, sign.beat] = sign.run
        now = self._clock.now()
        for channel in hearts:
            message = about_run(sign, voice_for(configuration, channel, sign.policy), now)
            self._post(Delivery(channel.name, (), message))

    def _is_news(self, ended_at: datetime | None) -> bool:
        return ended_at is not None and ended_at >= self._since

    def _beat(self, overview: Overview) -> None:
        configuration, now_s = self._configuration, self._clock.monotonic()
        due = self._beaten_s is None or now_s - self._beaten_s >= BEAT_EVERY.total_seconds()
        if configuration is None or not due:
            return
        self._beaten_s = now_s
        bad = sum(alarm.condition.level is Level.FAILURE for alarm in overview.own_alarms)
        named = {name for policy in configuration.policies.values() for name in policy.notify}
        for channel in self._hearts:
            if channel.daemon and channel.name not in named and not _has_place(channel):
                voice = voice_for(configuration, channel)
                message = about_daemon(voice, overview.at, well=not bad, alarms=bad)
                self._post(Delivery(channel.name, (), message))

    def _of(self, policy: str) -> list[Channel]:
        found = self._configuration.policies.get(policy) if self._configuration else None
        names = found.notify if found is not None else ()
        return [
            each for each in self._hearts if each.name in names or (not names and _has_place(each))
        ]


def voice_for(configuration: Configuration, channel: Channel, policy: str | None = None) -> Voice:
    """Return how a channel is spoken to, about a policy or about anything else."""
    found = configuration.policies.get(policy) if policy is not None else None
    zone_name = found.zone_name if found is not None else configuration.zone_name
    return Voice(configuration.host, ZoneInfo(zone_name), zone_name, channel.details)


def _has_place(channel: Channel) -> bool:
    return isinstance(channel.kind, HeartbeatChannel) and channel.kind.is_for_each_policy
