"""The port of channels: one message at a time, told or not told.

An adapter knows nothing of alarms, policies or the ledger, and never tries again: who calls it
decides what is worth a second attempt (``operations.notifying``).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final, Protocol

from drkeeper.model.alarm import Level
from drkeeper.model.run import RunId

MOST_SECONDS: Final = 30.0
"""Longest time one attempt may take, from looking up the server's name to its last word.

Source: Standard Webhooks 1.0.0, "Request timeouts": 15 to 30 s.
"""

LONGEST_TEXT: Final = 16_384
"""Characters of a message's text. Source: ours; webhooks should stay below 20 kB."""


class Occasion(StrEnum):
    """Why something is told."""

    ENTERED = "entered"
    """An alarm was raised."""
    LEFT = "left"
    """It was cleared."""
    REMINDER = "reminder"
    """It still holds."""
    DIGEST = "digest"
    TEST = "test"
    RUN = "run"
    """A run began or ended; only heartbeats are told."""


class Beat(StrEnum):
    """What a heartbeat says."""

    BEGAN = "began"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Pulse:
    """A run's sign of life.

    Attributes:
        beat: Whether it began or ended.
        run: Which run; ``None`` for the daemon's own sign of life.
        exit_code: How it ended, as documented in docs/exit-codes.md; ``None`` when nobody knows,
            which is a failure.
    """

    beat: Beat
    run: RunId | None = None
    exit_code: int | None = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """Something to tell, the same for every channel.

    Attributes:
        id: Names it: letters, digits and dashes; the same however often it is sent.
        occasion: Why it is told.
        level: How urgent it is.
        kind: The alarm's kind, or the occasion when there is no alarm.
        subject: What it is about, such as ``policy/shop``.
        title: One line.
        text: A few lines: what, when (in the zone and in UTC), and what to do next.
        at: When what it tells came to be.
        host: Name of this machine.
        hint: What to do next, one sentence; also in ``text``.
        links: Pages that say more.
        facts: The same for machines: what JSON can hold, no secrets, no names of files unless
            the channel asked for details.
        thread: ``id`` of the first message about the same thing, for reminders and all-clears.
        pulse: For heartbeats.
    """

    id: str
    occasion: Occasion
    level: Level
    kind: str
    subject: str
    title: str
    text: str
    at: datetime
    host: str
    hint: str = ""
    links: tuple[str, ...] = ()
    facts: Mapping[str, object] = field(default_factory=dict)
    thread: str | None = None
    pulse: Pulse | None = None


class Notifier(Protocol):
    """A way to tell somebody.

    Promises, checked by ``tests/contract/test_notifier.py`` for every adapter:

    * *Told*: when ``send`` returns, the other side has said that it took the message.
    * *Bounded*: ``send`` ends within the time it was given, whatever the other side does, and
      reads no more of it than fits into a few hundred kilobytes.
    * *Closed errors*: only ``NotifyError`` and its subclass leave an adapter.
    * *No secrets*: errors name the server's host, never its URL, a password or its answer.
    * *Threads*: any number of threads may send at once.
    """

    def send(self, message: Message, *, within: float = MOST_SECONDS) -> None:
        """Tell ``message`` once.

        Args:
            message: What to tell.
            within: Longest time it may take, in seconds. Only a name server that does not answer
                can make it longer: the system's resolver knows no deadline.

        Raises:
            NotifyUnavailableError: Try later; it may have been told all the same.
            NotifyError: It was refused, or must not be sent like this.
        """
        ...
