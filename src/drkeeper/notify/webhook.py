"""Webhooks: JSON, signed as Standard Webhooks says, so that receivers find libraries for it.

Source:
    Standard Webhooks 1.0.0, "Signature scheme" and "Webhook headers": HMAC-SHA-256 over
    ``{id}.{timestamp}.{body}``, base64, ``v1,`` before it; the timestamp is the attempt's.
"""

import base64
import binascii
import hashlib
import hmac
import json
from typing import Final

from drkeeper.clock import Clock
from drkeeper.errors import NotifyError
from drkeeper.faults import point
from drkeeper.model.instants import rfc3339
from drkeeper.notify.base import MOST_SECONDS, Message
from drkeeper.notify.http import Poster, place_from_url

REPLAY_WINDOW_S: Final = 300
"""How far a timestamp may be off for a receiver to believe it. Source: the libraries of Standard
Webhooks, and docs/notifications.md."""

_PREFIX: Final = "whsec_"


class Webhook:
    """An HTTP server that takes JSON.

    Args:
        url: Where to POST.
        secret: Key of the signature: ``whsec_`` and base64, or any text, whose UTF-8 is the key;
            ``None`` to sign nothing.
        clock: Measures, and dates the signature.
        ca: File of certificates to trust; ``None`` for the system's.
    """

    def __init__(
        self, url: str, *, clock: Clock, secret: str | None = None, ca: str | None = None
    ) -> None:
        self._url = url
        self._secret = secret
        self._clock = clock
        self._poster = Poster(clock=clock, ca=ca)

    def send(self, message: Message, *, within: float = MOST_SECONDS) -> None:
        """POST once.

        Raises:
            NotifyUnavailableError: No answer, or one that says to come again.
            NotifyError: The server refused, or the URL or the secret cannot be right.
        """
        place = place_from_url(self._url)
        body = payload(message)
        stamp = int(self._clock.now().timestamp())
        headers = {
            "Content-Type": "application/json",
            "webhook-id": message.id,
            "webhook-timestamp": str(stamp),
        }
        if self._secret is not None:
            headers["webhook-signature"] = signature(self._secret, message.id, stamp, body)
        point("notify.webhook.post")
        self._poster.post(place, body, headers, within=within)
        point("notify.webhook.posted")


def payload(message: Message) -> bytes:
    """Spell a message in JSON, as docs/notifications.md shows it."""
    fields = {
        "type": f"drkeeper.{message.occasion}",
        "timestamp": rfc3339(message.at),
        "data": {
            "id": message.id,
            "thread": message.thread,
            "level": message.level,
            "kind": message.kind,
            "subject": message.subject,
            "title": message.title,
            "text": message.text,
            "hint": message.hint,
            "host": message.host,
            "links": list(message.links),
            "facts": dict(message.facts),
        },
    }
    return json.dumps(fields, ensure_ascii=True, separators=(",", ":"), default=str).encode()


def signature(secret: str, message_id: str, stamp: int, body: bytes) -> str:
    """Return the value of ``webhook-signature``.

    Raises:
        NotifyError: The secret begins with ``whsec_`` and does not go on in base64.
    """
    signed = b"%s.%d.%s" % (message_id.encode(), stamp, body)
    digest = hmac.new(_key(secret), signed, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


def _key(secret: str) -> bytes:
    if not secret.startswith(_PREFIX):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError) as error:
        raise NotifyError(
            "the webhook's secret is not base64 after whsec_",
            hint="Copy the secret again, whole.",
        ) from error
