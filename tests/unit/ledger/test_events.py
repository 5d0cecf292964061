from datetime import UTC, datetime, timedelta, timezone

import pytest
from blake3 import blake3

from drkeeper.ledger.events import (
    GENESIS,
    canonical,
    instant_from_text,
    link,
    plain,
)
from drkeeper.model.instants import exact_rfc3339


def test_the_hash_is_what_the_documentation_says():
    """An event's hash can be computed from docs/ledger.md alone; these bytes are frozen."""
    event = link(1, GENESIS, "2026-11-20T02:30:00.000000Z", kind="run.begun", body="{}")
    spelt = (
        b"drkeeper/v1/event\0"
        + bytes.fromhex("0000000000000001")
        + bytes(32)
        + b"\0\0\0\x1b2026-11-20T02:30:00.000000Z"
        + b"\0\0\0\x09run.begun"
        + b"\0\0\0\x02{}"
    )
    assert event.hash == blake3(spelt).digest()
    assert event.hash.hex() == "5a5591d93615010d958795b765428e5a214f4e2cb2c5761dde9f353380e96043"


def test_bodies_have_one_form():
    """Equal bodies are equal bytes, in whatever order their keys came."""
    assert canonical({"b": 1, "a": ["ä", None, True]}) == '{"a":["\\u00e4",null,true],"b":1}'


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_json_lacks_are_defects(value):
    """A figure that is no number cannot be recorded as one."""
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical({"rate": value})


def test_instants_have_one_form_that_sorts():
    """Instants are UTC to the microsecond, whatever zone they came in, and come back equal."""
    berlin = datetime(2026, 11, 20, 3, 30, tzinfo=timezone(timedelta(hours=1)))
    text = exact_rfc3339(berlin)
    assert text == "2026-11-20T02:30:00.000000Z"
    assert instant_from_text(text) == berlin
    assert instant_from_text(text).tzinfo is UTC
    with pytest.raises(ValueError, match="time zone"):
        exact_rfc3339(datetime(2026, 1, 1))  # noqa: DTZ001 - what is refused here
    with pytest.raises(ValueError, match="does not match"):
        instant_from_text("2026-11-20")


@pytest.mark.parametrize(
    ("key", "secret"),
    [
        ("password", True),
        ("db_password", True),
        ("dbPassword", True),
        ("PGPASSWORD", False),
        ("SECRET-KEY", True),
        ("env", True),
        ("environment", True),
        ("identity", True),
        ("tokenizer", False),
        ("envelope", False),
        ("session", False),
        ("key", False),
    ],
)
def test_keys_that_name_secrets_are_recognised_by_their_words(key, secret):
    """A key is taken apart into words; only whole words count, so that figures are not lost."""
    assert plain({key: "value"}) == {key: "[redacted]" if secret else "value"}


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("s3://key:secret@host/bucket", "s3://[redacted]@host/bucket"),
        ("s3://key:s@cr@t@host/bucket", "s3://[redacted]@host/bucket"),
        ("https://host/path@2", "https://host/path@2"),
        ("mail ops@example.org", "mail ops@example.org"),
        ("age-secret-key-pq-1qqq gone", "[redacted] gone"),
    ],
)
def test_secrets_inside_texts_are_left_out(text, kept):
    """Users of URLs and age identities are replaced, everything around them is kept."""
    assert plain(text) == kept
