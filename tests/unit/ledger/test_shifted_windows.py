"""Of which days and quarter hours the windows of another zone are made."""

from __future__ import annotations

import pytest

from outlay.clock import QUARTER_HOUR_MICROSECONDS, to_instant
from outlay.ledger.shifted import Edge, shifted


def quarter(text: str) -> int:
    return to_instant(text) // QUARTER_HOUR_MICROSECONDS


def day(text: str) -> int:
    return quarter(f"{text}T00:00:00Z") // 96


def test_new_yorks_days_are_those_of_utc_moved_by_their_first_four_hours() -> None:
    # In summer New York's midnight is 04:00Z: sixteen quarter hours behind the midnight of UTC.
    windows = [(quarter(f"2026-07-0{n}T04:00:00Z"), quarter(f"2026-07-0{n + 1}T04:00:00Z")) for n in (1, 2)]
    found = shifted(windows, "UTC")
    first = day("2026-07-01")
    assert found.days == ((first, first + 1), (first + 1, first + 2))
    assert found.edges == tuple(Edge((first + n) * 96, (first + n) * 96 + 16, 1) for n in range(3))


@pytest.mark.parametrize(
    ("boundary", "near", "first", "after", "sign"),
    [
        # The shorter way to a midnight: Kolkata's is 18:30Z, so 22 quarter hours are left of the day of UTC.
        ("2026-07-01T18:30:00Z", "2026-07-02", "2026-07-01T18:30:00Z", "2026-07-02T00:00:00Z", -1),
        ("2026-07-01T12:00:00Z", "2026-07-01", "2026-07-01T00:00:00Z", "2026-07-01T12:00:00Z", 1),
        ("2026-07-01T12:15:00Z", "2026-07-02", "2026-07-01T12:15:00Z", "2026-07-02T00:00:00Z", -1),
    ],
)
def test_the_nearest_midnight_is_taken(boundary: str, near: str, first: str, after: str, sign: int) -> None:
    found = shifted([(quarter(boundary), quarter("2026-08-01T00:00:00Z"))], "UTC")
    assert found.days == ((day(near), day("2026-08-01")),)
    assert found.edges == (Edge(quarter(first), quarter(after), sign), None)
