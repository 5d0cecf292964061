"""What was said to somebody, and whether it arrived."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
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
