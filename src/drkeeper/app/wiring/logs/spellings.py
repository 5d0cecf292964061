"""The ways in which one secret may be written down."""

import base64
import html
import json
from collections.abc import Iterator
from typing import Final
from urllib.parse import quote, quote_plus

from drkeeper.app.wiring.logs.escaping import escaped

SHORTEST_ENCODED: Final = 6
"""Characters an inner piece of base64 needs; shorter ones occur by chance in any text."""


def spellings(secret: str) -> frozenset[str]:
    """Return ``secret`` as it is, and as the usual encodings show it.

    URLs, JSON, Python and HTML escapes, hexadecimal, and base64 wherever in a longer text the secret
    begins (``user:password`` of basic authentication). Not: anything compressed, encrypted, spaced
    out or cut in pieces.
    """
    return frozenset(text for text in _all(secret) if text)


def _all(secret: str) -> Iterator[str]:
    raw = secret.encode("utf-8", "surrogatepass")
    yield secret
    yield from _in_urls(raw)
    for ascii_only in (True, False):
        yield json.dumps(secret, ensure_ascii=ascii_only)[1:-1]
    for shown in (repr(secret)[1:-1], repr(raw)[2:-1], ascii(secret)[1:-1], escaped(secret)):
        yield shown
        yield shown.replace("\\", "\\\\")  # the representation of a representation
        yield shown.replace("'", "\\'")
    yield html.escape(secret)
    yield html.escape(secret, quote=False)
    yield raw.hex()
    yield raw.hex().upper()
    yield from _in_base64(raw)


def _in_urls(raw: bytes) -> Iterator[str]:
    for text in (
        quote(raw, safe=""),
        quote(raw),
        quote(raw, safe="/:@!$&'()*+,;="),
        quote_plus(raw),
    ):
        yield text
        yield _lower_escapes(text)


def _lower_escapes(text: str) -> str:
    head, *pieces = text.split("%")
    return head + "".join(f"%{piece[:2].lower()}{piece[2:]}" for piece in pieces)


def _in_base64(raw: bytes) -> Iterator[str]:
    # Three bytes are four characters: what the secret alone decides of them depends only on where
    # within its first three bytes it begins. Source: RFC 4648 section 4.
    for before in range(3):
        bits = 8 * (before + len(raw))
        first, last = -(-8 * before // 6), bits // 6
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            piece = encode(bytes(before) + raw).decode("ascii")[first:last]
            if len(piece) >= SHORTEST_ENCODED:
                yield piece
