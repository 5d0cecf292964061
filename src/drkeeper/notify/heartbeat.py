"""Heartbeats in the protocol of healthchecks.io: start, success, fail, exit status.

Source:
    https://healthchecks.io/docs/http_api/ (also spoken by what imitates it).
"""

import uuid
from dataclasses import replace
from typing import Final
from urllib.parse import quote

from drkeeper.clock import Clock
from drkeeper.errors import NotifyError, NotifyUnavailableError
from drkeeper.faults import point
from drkeeper.model.channel import POLICY_PLACE
from drkeeper.notify.base import MOST_SECONDS, Beat, Message, Occasion
from drkeeper.notify.http import Place, Poster, place_from_url

_RUNS: Final = uuid.UUID("6f5c1c0e-5f0b-5f0e-9d6b-0d3c5b1c8a52")
"""Names our runs among all UUIDs: the protocol wants one, and a run has 16 digits. Source: ours."""

_MOST_BODY: Final = 10_000
"""Bytes of a body that every such server keeps. Source: healthchecks.io, "Pinging API"."""
_LARGEST_EXIT: Final = 255


class Heartbeat:
    """A monitor that raises the alarm when nothing comes.

    Told of runs and tests; it has no use for anything else, and takes it without a word.

    Args:
        url: Where to ping; ``{policy}`` in its path becomes the policy's name.
        body: Whether pings carry the message's text.
        clock: Measures.
        ca: File of certificates to trust; ``None`` for the system's.
    """

    def __init__(
        self, url: str, *, clock: Clock, body: bool = False, ca: str | None = None
    ) -> None:
        self._url = url
        self._body = body
        self._poster = Poster(clock=clock, ca=ca)

    def send(self, message: Message, *, within: float = MOST_SECONDS) -> None:
        """Ping once: a run's beginning or end, or for a test an entry in the monitor's log.

        Raises:
            NotifyUnavailableError: No answer, or too many pings.
            NotifyError: The server does not know the check, or refused.
        """
        signal = _signal(message)
        if signal is None:
            return
        policy = message.subject.removeprefix("policy/") if message.pulse else "test"
        place = place_from_url(self._url.replace(POLICY_PLACE, quote(policy, safe="")))
        point("notify.heartbeat.ping")
        answer = self._poster.post(
            _with(place, signal, message),
            message.text.encode()[:_MOST_BODY] if self._body else b"",
            {"Content-Type": "text/plain; charset=utf-8"},
            within=within,
        )
        point("notify.heartbeat.pinged")
        _believe(answer, place.server)


def _signal(message: Message) -> str | None:
    """Return what follows the URL, or ``None`` for a message that is none of a heartbeat's."""
    pulse = message.pulse
    if pulse is None:
        # An entry in the log changes nothing in the state of the check.
        return "/log" if message.occasion is Occasion.TEST else None
    if pulse.beat is Beat.BEGAN:
        return "/start"
    if pulse.exit_code is None or not 0 <= pulse.exit_code <= _LARGEST_EXIT:
        return "/fail"
    return f"/{pulse.exit_code}" if pulse.exit_code else ""


def _with(place: Place, signal: str, message: Message) -> Place:
    path = place.path.rstrip("/") + signal
    if message.pulse is None or message.pulse.run is None:
        return replace(place, path=path or "/")
    rid = f"rid={uuid.uuid5(_RUNS, message.pulse.run)}"
    query = f"{place.query}&{rid}" if place.query else rid
    return replace(place, path=path or "/", query=query)


def _believe(answer: bytes, server: str) -> None:
    """Look at the answer: hc-ping.com says 200 also for checks that it does not know.

    Raises:
        NotifyError: The check is not known.
        NotifyUnavailableError: There were too many pings.
    """
    words = answer.strip().lower()
    if words == b"ok (not found)":
        raise NotifyError(
            f"{server} does not know this check", hint="Copy the ping URL of the check again."
        )
    if words == b"ok (rate limited)":
        raise NotifyUnavailableError(
            f"{server} takes no more pings for now", hint="Look what else pings the same check."
        )
