"""Which values of this process are secrets: what a redactor is told at the start.

Everything here is best effort and never fails: a secret file that cannot be read is somebody
else's error, said where the secret is needed.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

from drkeeper.app.wiring.logs.redacting import telling
from drkeeper.model.channel import (
    AppriseChannel,
    Channel,
    EmailChannel,
    HeartbeatChannel,
    WebhookChannel,
)

LARGEST_FILE: Final = 64 * 1024
"""Bytes of the largest secret file that is looked at."""
SHORTEST_PATH_PART: Final = 8
"""Characters from which a part of a private URL is taken for an id, if it is no word."""
LONGEST_WORD: Final = 20
"""Characters from which it is taken for an id in any case."""
_ELSEWHERE: Final = ("_FILE", "_COMMAND")
_KEY_LINE: Final = re.compile(r"(?i)^\s*aws_(?:secret_access_key|session_token)\s*=\s*(\S+)\s*$")
"""Source: AWS CLI user guide, "Configuration and credential file settings"."""


def secrets_of_environment(environment: Mapping[str, str]) -> Iterator[str]:
    """Yield the values of telling variables, of the files they name, and of systemd's credentials.

    Of AWS's credentials file, too; and the passwords in variables that are URLs, such as proxies.
    """
    for name, value in environment.items():
        if name == "AWS_SHARED_CREDENTIALS_FILE":
            continue  # read below, as what it is
        if name.endswith("_FILE") and telling(name.removesuffix("_FILE")):
            yield from _content(Path(value))
        elif telling(name) and not name.endswith(_ELSEWHERE):
            yield value
        if "://" in value:
            yield from secrets_of_url(value)
        if name.startswith("DRKEEPER_NOTIFY_") and not name.endswith(_ELSEWHERE):
            for word in value.split():
                yield from secrets_of_url(word, private=True)
    folder = environment.get("CREDENTIALS_DIRECTORY")
    if folder:
        yield from _credentials(Path(folder))
    yield from _aws_keys(environment)


def secrets_of_url(url: str, *, private: bool = False) -> Iterator[str]:
    """Yield what must not be shown of a URL: its password, and what its query calls a secret.

    Args:
        url: Any; what is none has no secrets.
        private: Whether knowing the URL is all that is needed to use it, as with heartbeats and
            web hooks: then also its parts that look like ids, and the whole path with its query.
    """
    try:
        parts = urlsplit(url)
        password = parts.password
    except ValueError:
        return
    if password:
        yield password
        yield unquote(password)
    if parts.netloc:
        yield from (value for name, value in parse_qsl(parts.query) if telling(name))
    if private:
        if len(parts.path) >= SHORTEST_PATH_PART:
            yield f"{parts.path}?{parts.query}" if parts.query else parts.path
        yield from filter(_is_id, parts.path.split("/"))
        yield from (value for _, value in parse_qsl(parts.query) if _is_id(value))
        if "://" in url:
            yield url


def secrets_of_channels(channels: Iterable[Channel]) -> Iterator[str]:
    """Yield the ids, keys and passwords of channels."""
    for channel in channels:
        match channel.kind:
            case HeartbeatChannel(url=url):
                yield from secrets_of_url(url, private=True)
            case WebhookChannel(url=url, secret=secret):
                yield from secrets_of_url(url, private=True)
                yield secret or ""
            case EmailChannel(password=password):
                yield password or ""
            case AppriseChannel(urls=urls):
                for url in urls:
                    yield from secrets_of_url(url, private=True)
                    # mailto://…, tgram://token/…: the host of such a URL is often the secret.
                    yield from filter(_is_id, re.split(r"[/:@?&=]+", url))


def _is_id(part: str) -> bool:
    # "services" and "webhooks" stand in many logs; ids have digits, or letters of both cases.
    if len(part) < SHORTEST_PATH_PART:
        return False
    mixed = part.lower() != part and part.upper() != part
    return mixed or len(part) >= LONGEST_WORD or any(char.isdigit() for char in part)


def _credentials(folder: Path) -> Iterator[str]:
    names: list[str] = []
    with suppress(OSError):
        names = sorted(os.listdir(folder))
    for name in names:
        yield from _content(folder / name)


def _content(path: Path) -> Iterator[str]:
    text = _text(path)
    if text.strip():
        yield text
    for line in text.splitlines():
        yield from secrets_of_url(line.strip(), private="://" in line)


def _text(path: Path) -> str:
    # A pipe would be empty for whoever is meant to read it.
    with suppress(OSError, ValueError):
        if path.is_file():
            with open(path, "rb") as file:
                return file.read(LARGEST_FILE).decode("utf-8", "replace")
    return ""


def _aws_keys(environment: Mapping[str, str]) -> Iterator[str]:
    home = environment.get("HOME", "")
    files = [
        environment.get("AWS_SHARED_CREDENTIALS_FILE") or (home and f"{home}/.aws/credentials")
    ]
    files.append(environment.get("AWS_CONFIG_FILE") or (home and f"{home}/.aws/config"))
    for file in filter(None, files):
        for line in _text(Path(file)).splitlines():
            found = _KEY_LINE.match(line)
            if found:
                yield found[1]
