"""Times as people type them."""

from __future__ import annotations

import pytest

from outlay.clock import isoformat, to_instant
from outlay.errors import InvalidInput
from outlay.faces.cli.when import read_time

NOW = to_instant("2026-03-10T12:34:56Z")  # a Tuesday; 13:34 in Berlin, whose clocks go forward on 29 March


@pytest.mark.parametrize(
    ("text", "zone", "expected"),
    [
        ("now", "UTC", "2026-03-10T12:34:56Z"),
        ("90s", "UTC", "2026-03-10T12:33:26Z"),
        ("30m", "UTC", "2026-03-10T12:04:56Z"),
        ("24h", "UTC", "2026-03-09T12:34:56Z"),
        ("7d", "UTC", "2026-03-03T00:00:00Z"),
        ("7d", "Europe/Berlin", "2026-03-02T23:00:00Z"),
        ("2w", "UTC", "2026-02-24T00:00:00Z"),
        ("today", "Europe/Berlin", "2026-03-09T23:00:00Z"),
        ("yesterday", "UTC", "2026-03-09T00:00:00Z"),
        ("this-week", "UTC", "2026-03-09T00:00:00Z"),
        ("last week", "UTC", "2026-03-02T00:00:00Z"),
        ("this_month", "UTC", "2026-03-01T00:00:00Z"),
        ("Last-Month", "UTC", "2026-02-01T00:00:00Z"),
        ("last-year", "UTC", "2025-01-01T00:00:00Z"),
        ("2026-03-01", "America/New_York", "2026-03-01T05:00:00Z"),
        ("2026-03-01T10:00", "Europe/Berlin", "2026-03-01T09:00:00Z"),
        ("2026-03-01T10:00+05:30", "Europe/Berlin", "2026-03-01T04:30:00Z"),
    ],
)
def test_a_time_means_what_a_person_in_that_zone_means(text: str, zone: str, expected: str) -> None:
    assert isoformat(read_time(text, NOW, zone)) == expected


@pytest.mark.parametrize("text", ["", "soon", "7", "7x", "this-fortnight", "next-week", "2026-02-30", "10:00"])
def test_what_is_no_time_is_refused_with_the_spellings(text: str) -> None:
    with pytest.raises(InvalidInput, match="yesterday") as caught:
        read_time(text, NOW, "UTC")
    assert caught.value.code == "bad_time"
