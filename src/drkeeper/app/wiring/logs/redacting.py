"""No secret is written: neither a known value, nor whatever stands under a telling name.

By value catches what was handed to drkeeper and comes back in an error text; by name catches what
nobody registered. Neither is perfect alone. Imports nothing but the standard library, so that
every command may use it.
"""

import os
import re
import threading
from collections.abc import Collection, Iterable, Mapping
from itertools import islice
from typing import Any, Final

from drkeeper.app.wiring.logs.spellings import spellings

REDACTED: Final = "[redacted]"
"""What stands in the place of a secret."""
CUT: Final = "..."
"""What stands in the place of what was too deep or too many."""
SHORTEST: Final = 4
"""Characters of the shortest value that is looked for: shorter ones are in every other word."""
SHORTEST_LINE: Final = 8
"""Characters of the shortest line of a longer secret that is looked for by itself."""
DEEPEST: Final = 8
"""Levels of nested values that are followed; what is deeper is not shown."""
MOST_ITEMS: Final = 256
"""Items of a list or mapping that are shown."""

_NAMES: Final = (
    r"(?:pass(?:word|wd|phrase|code)|pwd|secret|token|authorization|credential|cookie"
    r"|api[-_]?key|access[-_]?key|private[-_]?key|signing[-_]?key|session[-_]?key|signature)"
)
_TELLING: Final = re.compile(_NAMES, re.IGNORECASE)
_HARMLESS: Final = re.compile(
    r"^(?:OLD)?PWD$|_(?:at|bytes|count|file|command|path|name|directory|id)$", re.IGNORECASE
)
"""What only says where a secret is, or how many, is not the secret; and the folder one is in."""

_PATTERNS: Final = (
    # password=…, "token": "…", X-Amz-Signature=…; the name may go on: secret_access_key, tokens.
    (
        re.compile(
            rf"({_NAMES}[\w-]{{0,40}}[\"']?[ \t]{{0,4}}[=:][ \t]{{0,4}}[\"']?)(?!\[redacted\])"
            r"((?:(?:bearer|basic|digest|token|aws4-hmac-sha256)[ \t]+)?[^\s\"'&,;}\])]+)",
            re.IGNORECASE,
        ),
        rf"\1{REDACTED}",
    ),
    (re.compile(r"\b((?:bearer|basic)[ \t]+)[\w.~+/=-]{8,}", re.IGNORECASE), rf"\1{REDACTED}"),
    # scheme://user:password@host: the name of the user stays, it says who was refused.
    (
        re.compile(
            r"([a-z][a-z0-9+.-]{0,20}://[^\s/:@?#\"']{0,256}:)[^\s/\"'<>]+(?=@)", re.IGNORECASE
        ),
        rf"\1{REDACTED}",
    ),
    # drkeeper's and age's own secret keys, wherever they turn up.
    (
        re.compile(r"\b((?:AGE-SECRET-KEY-(?:PQ-)?1|DRK-[A-Z-]{1,20}-KEY-1))\w+", re.IGNORECASE),
        rf"\1{REDACTED}",
    ),
)


class Redactor:
    """Knows the secrets of this process; safe to use from any thread.

    Values are registered when they are read and never forgotten: what was a secret once still is
    one in a log.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        """Know ``secrets`` from the start."""
        self._lock = threading.Lock()
        self._known: frozenset[str] = frozenset()
        self._forms: tuple[str, ...] = ()
        self.register(*secrets)

    def register(self, *secrets: str) -> None:
        """Look for these values from now on; those too short to be told from words are left out."""
        wanted: set[str] = set()
        for secret in secrets:
            text = secret.strip()
            if len(text) >= SHORTEST:
                wanted |= {secret, text}
            if "\n" in text:
                lines = (line.strip() for line in text.splitlines())
                wanted.update(line for line in lines if _is_secret_line(line))
        with self._lock:
            if wanted <= self._known:
                return
            self._known |= wanted
            forms = {
                form for one in self._known for form in spellings(one) if len(form) >= SHORTEST
            }
            # Longest first: a short secret must not break up a long one that holds it.
            self._forms = tuple(sorted(forms, key=lambda form: (-len(form), form)))

    def text(self, text: str) -> str:
        """Return ``text`` without secrets; everything else as it was."""
        return _by_name(self._by_value(text))

    def value(self, value: object, *, depth: int = DEEPEST) -> object:
        """Return a value of plain types without secrets, whatever it was.

        Mappings and sequences keep their shape down to ``depth``; texts are redacted; numbers,
        booleans and ``None`` stay; of everything else the text it shows of itself, redacted.
        """
        match value:
            case None | bool() | int() | float():
                return value
            case Mapping() | list() | tuple() | set() | frozenset() if depth <= 0:
                return CUT
            case Mapping():
                return self._mapping(value, depth)
            case list() | tuple() | set() | frozenset():
                return self._items(value, depth)
            case _:
                return self.text(_shown(value))

    def fields(self, fields: Mapping[str, object]) -> dict[str, object]:
        """Return the fields of an event without secrets, neither by value nor by name."""
        return self._mapping(fields, DEEPEST)

    def line(self, line: str) -> str:
        """Return a finished line without known values: the last look before it leaves.

        Not by name again: the line has a form by now, and what stands under a name is done.
        """
        return self._by_value(line)

    def _items(self, items: Collection[object], depth: int) -> list[object]:
        shown = [self.value(one, depth=depth - 1) for one in islice(items, MOST_ITEMS)]
        return [*shown, CUT] if len(items) > MOST_ITEMS else shown

    def _mapping(self, mapping: Mapping[Any, object], depth: int) -> dict[str, object]:
        shown: dict[str, object] = {}
        for key, value in islice(mapping.items(), MOST_ITEMS):
            name = key if isinstance(key, str) else _shown(key)
            hidden = telling(name) and not _is_nothing(value)
            shown[self.text(name)] = REDACTED if hidden else self.value(value, depth=depth - 1)
        if len(mapping) > MOST_ITEMS:
            shown[CUT] = len(mapping) - MOST_ITEMS
        return shown

    def _by_value(self, text: str) -> str:
        for form in self._forms:
            if form in text:
                text = text.replace(form, REDACTED)
        return text


def telling(name: str) -> bool:
    """Say whether a field of this name is taken for a secret, whatever it holds."""
    return _TELLING.search(name) is not None and _HARMLESS.search(name) is None


def _is_secret_line(line: str) -> bool:
    # Of a key file: the comments and the frame around the key are everybody's.
    return len(line) >= SHORTEST_LINE and not line.startswith(("#", "-----"))


def _by_name(text: str) -> str:
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text


def _is_nothing(value: object) -> bool:
    return value is None or isinstance(value, bool) or (isinstance(value, str) and not value)


def _shown(value: object) -> str:
    if isinstance(value, bytes | bytearray):
        return bytes(value).decode("utf-8", "backslashreplace")
    try:
        return str(value) if isinstance(value, str | BaseException | os.PathLike) else repr(value)
    except Exception:  # noqa: BLE001 - somebody's __repr__: it must not take the event with it
        return f"<{type(value).__name__} that cannot be shown>"
