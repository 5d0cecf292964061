"""What was said to somebody, and whether it arrived."""

from datetime import datetime

import msgspec


class Notification(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt to tell somebody something.

    Attributes:
        channel: Name of the channel in the configuration.
        alarm: The alarm it was about; ``None`` for anything else.
        what: What was said, as a word: ``raised``, ``reminder``, ``cleared``, ``digest``...
        delivered: Whether the receiver took it.
        detail: The receiver's answer, or why it was not delivered.
        sent_at: When it was tried.
        event: Ledger event that recorded it.
    """

    channel: str
    what: str
    delivered: bool
    sent_at: datetime
    alarm: int | None = None
    detail: str = ""
    event: int = 0


class Saying(msgspec.Struct, frozen=True):
    """One thing that is said of an alarm.

    Attributes:
        alarm: Its number; ``None`` for what is about no alarm.
        what: What is said, as a word of at most 64 characters.
        after: Event of the newest notification of the same channel and alarm that the caller
            knows; 0 for none.
    """

    alarm: int | None
    what: str
    after: int = 0
