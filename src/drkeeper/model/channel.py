"""Channels: ways in which people, and machines that watch, are told."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

import msgspec

from drkeeper.model.alarm import Level

POLICY_PLACE: Final = "{policy}"
"""In a heartbeat's address: stands for the name of the policy that it is told of."""


@dataclass(frozen=True, slots=True)
class HeartbeatChannel:
    """A monitor that misses us: told of each run, it raises the alarm when nothing comes.

    Attributes:
        url: Where to ping, in the protocol of healthchecks.io; holds a secret id.
        body: Whether pings carry the run's figures and messages.
    """

    url: str = field(repr=False)
    body: bool = False

    @property
    def is_for_each_policy(self) -> bool:
        """Whether the address has a place for a policy's name."""
        return POLICY_PLACE in self.url


@dataclass(frozen=True, slots=True)
class WebhookChannel:
    """An HTTP server that takes JSON, signed.

    Attributes:
        url: Where to POST.
        secret: Key of the signature (HMAC-SHA-256); ``None`` for none.
    """

    url: str = field(repr=False)
    secret: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class EmailChannel:
    """Mail over SMTP.

    Attributes:
        server: Host name.
        port: TCP port.
        security: ``starttls`` (which must succeed), ``tls`` from the first byte, or ``none``.
        sender: Address of the author.
        to: Addresses of the recipients.
        user: Name to log in with; ``None`` to send without.
        password: Its password.
        ca: File with certificates to trust; ``None`` for the system's.
    """

    server: str
    port: int
    security: str
    sender: str
    to: tuple[str, ...]
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    ca: str | None = None


@dataclass(frozen=True, slots=True)
class AppriseChannel:
    """Whatever Apprise speaks (the extra ``drkeeper[apprise]``).

    Attributes:
        urls: Apprise's URLs; hold secrets.
    """

    urls: tuple[str, ...] = field(repr=False)


ChannelKind = HeartbeatChannel | WebhookChannel | EmailChannel | AppriseChannel


class Channel(msgspec.Struct, frozen=True):
    """One way, by name.

    Attributes:
        name: As policies name it in ``notify``.
        kind: How it is reached.
        level: Least urgent thing that is told; heartbeats are told of every run.
        remind_every: How often an alarm that still holds is told again; ``None`` for never.
        digest_at: Time of day ``HH:MM`` of a summary of all policies; ``None`` for none.
        details: Whether messages name files and carry lines of logs.
        daemon: Whether it is also told what belongs to no policy.
    """

    name: str
    kind: ChannelKind
    level: Level = Level.WARNING
    remind_every: timedelta | None = timedelta(days=1)
    digest_at: str | None = None
    details: bool = False
    daemon: bool = True
