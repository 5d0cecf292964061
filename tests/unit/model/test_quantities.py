"""Durations and sizes as people write them."""

from datetime import timedelta

import pytest

from drkeeper.model.quantities import format_duration, format_size, parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("10s", 10), ("30m", 1800), ("1h", 3600), ("2d", 172800), ("1w", 604800), ("1h 30m", 5400)],
)
def test_durations_are_numbers_with_units(text, seconds):
    """Every unit of the documentation is read, also in combination."""
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text",
    [
        "5218w 1s",
        "5000w 5000d",
        "",
        "10",
        "h",
        "1.5h",
        "-1h",
        "1h1h",
        "1y",
        "999999999w",
        "1 hour",
        "\u0661h",
    ],
)
def test_anything_else_is_no_duration(text):
    """A number without unit, a repeated unit or an absurd length is refused, never guessed."""
    with pytest.raises(ValueError, match=r"."):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "count"),
    [("4096 B", 4096), ("50 GiB", 50 * 2**30), ("50GB", 50 * 10**9), ("1.5 kib", 1536)],
)
def test_sizes_tell_binary_from_decimal_units(text, count):
    """GiB is 1024-based and GB 1000-based, whatever the case of the letters."""
    assert parse_size(text) == count


@pytest.mark.parametrize("text", ["", "50", "GiB", "-1 B", "1e3 B", "99999999 PiB", "1 XB"])
def test_anything_else_is_no_size(text):
    """A bare number or more than a file can hold is refused."""
    with pytest.raises(ValueError, match=r"."):
        parse_size(text)


def test_formatted_values_are_short():
    """Numbers for people have about three digits and durations two units."""
    assert format_size(1023) == "1023 B"
    assert format_size(1536) == "1.50 KiB"
    assert format_size(2**30 * 50) == "50.0 GiB"
    assert format_duration(timedelta(days=1, hours=2, minutes=3)) == "1 d 2 h"
    assert format_duration(timedelta()) == "0 s"
