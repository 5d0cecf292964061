"""From what ``drkeeper.yaml`` says of a channel, and the secrets that stand elsewhere, to the channel."""

from collections.abc import Iterable, Mapping
from typing import Final

from drkeeper.app.config.fields import check_web_address
from drkeeper.app.config.secrets import find_secret
from drkeeper.app.config.settings_schema import ChannelSection, variable_of
from drkeeper.errors import ConfigurationError
from drkeeper.model.channel import (
    AppriseChannel,
    Channel,
    ChannelKind,
    EmailChannel,
    HeartbeatChannel,
    WebhookChannel,
)

_PORTS: Final = {"starttls": 587, "tls": 465, "none": 25}
"""Source: RFC 6409 (submission), RFC 8314 (implicit TLS), RFC 5321."""

_MOST_ADDRESSES: Final = 20


def same_variables(names: Iterable[str]) -> list[tuple[str, str]]:
    """Return the pairs of channels whose secrets would have the same variables."""
    first: dict[str, str] = {}
    pairs = []
    for name in names:
        other = first.setdefault(variable_of(name, ""), name)
        if other != name:
            pairs.append((other, name))
    return pairs


def make_channel(name: str, section: ChannelSection, variables: Mapping[str, str]) -> Channel:
    """Make a channel, asking for its secrets.

    Raises:
        ConfigurationError: A secret is missing or unfit.
    """
    return Channel(
        name=name,
        kind=_kind(name, section, variables),
        level=section.level,
        remind_every=section.remind_every,
        digest_at=section.digest_at,
        details=section.details,
        daemon=section.daemon,
    )


def _kind(name: str, section: ChannelSection, variables: Mapping[str, str]) -> ChannelKind:
    def secret(what: str) -> str | None:
        return find_secret(variable_of(name, what), variables, take=False)

    def needed(what: str) -> str:
        found = secret(what)
        if found is None:
            raise ConfigurationError(
                f"channel {name!r} has no {what}",
                hint=f"Set DRKEEPER_{variable_of(name, what)}_FILE.",
            )
        return found

    def address(what: str, text: str) -> str:
        try:
            return check_web_address(text)
        except ValueError as error:
            raise ConfigurationError(
                f"the {what} of channel {name!r} is {error}",
                hint=f"Correct DRKEEPER_{variable_of(name, what)}.",
            ) from None

    if section.heartbeat is not None:
        return HeartbeatChannel(address("URL", needed("URL")), body=section.heartbeat.body)
    if section.webhook is not None:
        url = section.webhook.url or address("URL", needed("URL"))
        return WebhookChannel(url, secret("SECRET"))
    if section.email is not None:
        mail = section.email
        return EmailChannel(
            server=mail.server,
            port=mail.port or _PORTS[mail.security],
            security=mail.security,
            sender=mail.sender,
            to=tuple(mail.to),
            user=mail.user,
            password=needed("PASSWORD") if mail.user is not None else None,
            ca=mail.ca,
        )
    urls = tuple(needed("URLS").split())
    if len(urls) > _MOST_ADDRESSES:
        raise ConfigurationError(
            f"channel {name!r} has more than {_MOST_ADDRESSES} addresses",
            hint="Make several channels of it.",
        )
    return AppriseChannel(urls)
