"""What a key may look like."""

import re

import pytest
from hypothesis import given, strategies as st

from drkeeper.errors import StorageError
from drkeeper.storage.keys import check_span, checked_key, checked_prefix, is_key

PART = st.text("abz09._-", min_size=1, max_size=8).filter(lambda part: part.strip("."))


@given(st.lists(PART, min_size=1, max_size=8).map("/".join))
def test_well_formed_keys_are_taken(key: str) -> None:
    """Every join of legal parts is a key, and each of its beginnings a prefix."""
    assert checked_key(key) == key
    for end in range(len(key)):
        if key[:end].rpartition("/")[2].strip(".") or not key[:end].rpartition("/")[2]:
            assert checked_prefix(key[:end]) == key[:end]


@given(st.text(max_size=40))
def test_whatever_is_taken_stays_below_the_root(key: str) -> None:
    """No text at all is taken that could leave the store, hide, or need quoting."""
    if is_key(key):
        assert re.fullmatch("[a-z0-9/._-]{1,512}", key)
        assert not {"", ".", ".."} & set(key.split("/"))
    else:
        with pytest.raises(StorageError):
            checked_key(key)


def test_spans_are_checked() -> None:
    """Negative numbers are refused, everything else is left to the store."""
    check_span("a", 0, None)
    check_span("a", 1 << 60, 0)
    for offset, length in ((-1, None), (0, -1)):
        with pytest.raises(StorageError):
            check_span("a", offset, length)
