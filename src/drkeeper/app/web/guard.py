"""What every request passes first: methods, the Host header, the token; and what every answer carries.

A page of another site cannot read ours, but it can make a browser ask for it, under a name of its
own that suddenly means 127.0.0.1 (DNS rebinding). So a name that is not this machine's is refused.
"""

import base64
import binascii
import hmac
import ipaddress
import re
from collections.abc import Callable, Iterable
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY: Final = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
"""Nothing from elsewhere, no script at all. Source: W3C, Content Security Policy Level 3."""

HEADERS: Final = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
"""On every answer, errors too. Source: OWASP, HTTP Headers Cheat Sheet."""

OPEN: Final = frozenset({"/health/live", "/health/ready"})
"""Answered without a token: a status code, and nothing else to learn."""

_HOST: Final = re.compile(r"(?P<name>\[[0-9a-fA-F:.]+\]|[^\[\]:/@\s]+)(?::[0-9]{1,5})?", re.ASCII)

Refuse = Callable[[int, str, str], Response]
"""Makes an answer from a status code, what is wrong, and what to do."""


class Guard:
    """The outermost layer of the application.

    Args:
        inner: What answers when all is right.
        refuse: Makes the answer when something is not.
        hosts: Names that mean this machine, beside ``localhost`` and numbers; ``None`` for any,
            where no browser can come from outside.
        token: What clients must show; ``None`` for nothing.
    """

    def __init__(
        self, inner: ASGIApp, *, refuse: Refuse, hosts: Iterable[str] | None, token: str | None
    ) -> None:
        self._inner = inner
        self._refuse = refuse
        self._hosts = None if hosts is None else {name.lower() for name in hosts} | {"localhost"}
        self._token = token.encode() if token else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":  # the server speaks nothing else
            return

        async def dressed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)  # a report brings rules of its own
                headers.setdefault("cache-control", "no-store")
            await send(message)

        refused = self._refused(scope)
        await (refused or self._inner)(scope, receive, dressed)

    def _refused(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        if self._hosts is not None and not _is_ours(headers.getlist("host"), self._hosts):
            return self._refuse(
                421,
                "This name is not one of this machine's",
                "Use 127.0.0.1, localhost or the machine's name, or let the proxy send one.",
            )
        if scope["method"] not in {"GET", "HEAD"}:
            response = self._refuse(405, "Only to look at", "Change things with drkeeper itself.")
            response.headers["allow"] = "GET, HEAD"
            return response
        wanted = None if scope["path"] in OPEN else self._token
        if wanted is not None and not _shows(headers.get("authorization", ""), wanted):
            response = self._refuse(401, "A token is needed", "Send it as a bearer token.")
            response.headers["www-authenticate"] = 'Basic realm="drkeeper", charset="UTF-8"'
            return response
        return None


def _is_ours(hosts: list[str], known: set[str]) -> bool:
    """Tell whether exactly one host is named, and it is a number or a name of ours."""
    match = _HOST.fullmatch(hosts[0]) if len(hosts) == 1 else None
    if match is None:
        return False
    name = match["name"].strip("[]").lower()
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name.rstrip(".") in known
    return True


def _shows(authorization: str, token: bytes) -> bool:
    """Tell whether a header carries the token: as a bearer token, or as a password for browsers.

    Compared in a time that does not depend on where the two differ.
    """
    scheme, _, credentials = authorization.partition(" ")
    shown = credentials.strip().encode("latin-1")  # as headers are read
    if scheme.lower() == "basic":
        try:
            shown = base64.b64decode(shown, validate=True).partition(b":")[2]
        except binascii.Error:
            return False
    elif scheme.lower() != "bearer":
        return False
    return hmac.compare_digest(shown, token)
