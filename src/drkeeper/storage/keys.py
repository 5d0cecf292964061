"""What a key may look like; every adapter asks here before it touches its store."""

import re

from drkeeper.errors import StorageError

MAX_KEY_CHARACTERS = 512
"""Longest key (the port's promise); S3 itself allows 1,024 bytes with the prefix."""

MAX_PART_CHARACTERS = 255
"""Longest part between slashes: a file name may have no more bytes (NAME_MAX, limits.h)."""

_KEY = re.compile(r"[a-z0-9._-]+(?:/[a-z0-9._-]+)*", re.ASCII)
_PREFIX = re.compile(r"[a-z0-9/._-]*", re.ASCII)


def is_key(key: str) -> bool:
    """Tell whether ``key`` is a legal name of an object.

    Legal keys mean the same to a file system, to a URL and to S3: no empty part, no part
    made of dots alone, nothing that needs quoting or has two spellings.
    """
    if len(key) > MAX_KEY_CHARACTERS or _KEY.fullmatch(key) is None:
        return False
    return all(len(part) <= MAX_PART_CHARACTERS and part.strip(".") for part in key.split("/"))


def checked_key(key: str) -> str:
    """Return ``key`` if it is legal.

    Raises:
        StorageError: It is not; nothing was asked of the store.
    """
    if not is_key(key):
        raise StorageError(f"not the name of an object: {key[:80]!r}")
    return key


def checked_prefix(prefix: str) -> str:
    """Return ``prefix`` if some legal key could start with it.

    Raises:
        StorageError: It has characters that no key has, or names a place outside the store.
    """
    legal = len(prefix) <= MAX_KEY_CHARACTERS and _PREFIX.fullmatch(prefix) is not None
    whole_parts = prefix.split("/")[:-1]
    if not legal or not all(part.strip(".") for part in whole_parts):
        raise StorageError(f"not the start of a name: {prefix[:80]!r}")
    return prefix


def check_span(key: str, offset: int, length: int | None) -> None:
    """Refuse a span that no object can have.

    Raises:
        StorageError: The offset or the length is negative.
    """
    if offset < 0 or (length is not None and length < 0):
        raise StorageError(f"no such span: {length} bytes from {offset}", key=key)
