"""Time: instants, local days, and windows that nothing has to reset."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlay.clock import (
    DAY_MICROSECONDS,
    FrozenClock,
    SystemClock,
    WindowName,
    date_to_day,
    day_to_date,
    isoformat,
    local_day,
    local_midnight,
    to_datetime,
    to_instant,
    utc_day,
    window_of,
    windows_between,
    zone_info,
)
from outlay.errors import InvalidInput

ZONES = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Apia", "Africa/Cairo"])
NAMES: st.SearchStrategy[WindowName] = st.sampled_from(get_args(WindowName))
INSTANTS = st.integers(to_instant("2000-01-01T00:00:00Z"), to_instant("2039-12-31T00:00:00Z"))


@given(INSTANTS, NAMES, ZONES)
def test_a_window_holds_its_instant_and_its_end_is_the_next_ones_start(at: int, name: WindowName, zone: str) -> None:
    window = window_of(at, name, zone)
    assert window.start <= at < window.end
    assert window_of(window.start, name, zone) == window
    assert window_of(window.end - 1, name, zone) == window
    following = window_of(window.end, name, zone)
    assert following.start == window.end
    assert following.label != window.label


@given(INSTANTS, ZONES)
def test_an_instant_survives_datetime_and_text(at: int, zone: str) -> None:
    assert to_instant(to_datetime(at, zone)) == at
    assert to_instant(isoformat(at)) == at
    assert utc_day(at) == date_to_day(to_datetime(at).date())
    assert local_midnight(local_day(at, zone), zone) <= at


@given(st.integers(0, 30_000))
def test_days_are_dates(day: int) -> None:
    assert date_to_day(day_to_date(day)) == day
    assert local_midnight(day, "UTC") == day * DAY_MICROSECONDS


def test_a_day_with_a_clock_change_is_23_or_25_hours_long() -> None:
    hours = [
        (window.end - window.start) // 3_600_000_000
        for window in (
            window_of(to_instant("2026-03-29T12:00:00Z"), "day", "Europe/Berlin"),
            window_of(to_instant("2026-10-25T12:00:00Z"), "day", "Europe/Berlin"),
        )
    ]
    assert hours == [23, 25]


def test_the_hour_that_comes_twice_is_two_windows() -> None:
    first = window_of(to_instant("2026-10-25T00:30:00Z"), "hour", "Europe/Berlin")
    second = window_of(to_instant("2026-10-25T01:30:00Z"), "hour", "Europe/Berlin")
    assert (first.label, second.label) == ("2026-10-25T02:00+0200", "2026-10-25T02:00+0100")
    assert first.end == second.start


def test_a_midnight_that_is_skipped_is_the_first_moment_after_the_gap() -> None:
    # Cairo's clocks went from 23:59:59 on 27 April 2023 to 01:00 on the 28th.
    assert isoformat(local_midnight(date_to_day(date(2023, 4, 28)), "Africa/Cairo")) == "2023-04-27T22:00:00Z"


@pytest.mark.parametrize(
    ("name", "label", "start"),
    [
        ("day", "2026-11-22", "2026-11-22T00:00:00Z"),
        ("week", "2026-W47", "2026-11-16T00:00:00Z"),
        ("month", "2026-11", "2026-11-01T00:00:00Z"),
        ("quarter", "2026-Q4", "2026-10-01T00:00:00Z"),
        ("year", "2026", "2026-01-01T00:00:00Z"),
        ("hour", "2026-11-22T10:00+0000", "2026-11-22T10:00:00Z"),
        ("5 minutes", "2026-11-22T10:20+0000/PT5M", "2026-11-22T10:20:00Z"),
    ],
)
def test_labels_and_starts(name: WindowName, label: str, start: str) -> None:
    window = window_of(to_instant("2026-11-22T10:20:30.5Z"), name)
    assert (window.label, isoformat(window.start)) == (label, start)


def test_windows_between_cover_a_range_without_a_gap() -> None:
    since, until = to_instant("2026-01-31T12:00:00Z"), to_instant("2026-04-01T00:00:00Z")
    assert [each.label for each in windows_between(since, until, "month")] == ["2026-01", "2026-02", "2026-03"]
    assert list(windows_between(until, until, "day")) == []


@pytest.mark.parametrize(
    ("value", "zone", "code"),
    [
        ("2026-11-22T10:00:00", None, "naive_time"),
        (datetime(2026, 11, 22), None, "naive_time"),  # noqa: DTZ001 - a naive time is the point
        ("yesterday", None, "bad_time"),
        (None, None, "bad_time"),
        (True, None, "bad_time"),
        ("2026-11-22T10:00:00", "Mars/Olympus", "unknown_zone"),
        ("2026-11-22T10:00:00", "", "unknown_zone"),
    ],
)
def test_a_time_that_cannot_be_is_refused_by_name(value: object, zone: str | None, code: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        to_instant(value, zone)  # type: ignore[arg-type]  # what a careless caller may pass
    assert refused.value.code == code


def test_a_naive_time_is_read_in_the_zone_that_is_given() -> None:
    assert to_instant("2026-11-22T10:00:00", "Asia/Kolkata") == to_instant("2026-11-22T04:30:00Z")
    aware = datetime(2026, 11, 22, 10, tzinfo=timezone(timedelta(hours=2)))
    assert to_instant(aware, "Asia/Kolkata") == to_instant("2026-11-22T08:00:00Z")
    assert to_instant(5) == 5


def test_an_unknown_window_is_refused_by_name() -> None:
    with pytest.raises(InvalidInput) as refused:
        window_of(0, "fortnight")  # type: ignore[arg-type]  # what a careless caller may pass
    assert refused.value.code == "unknown_window"
    assert zone_info("UTC").key == "UTC"


def test_the_clocks() -> None:
    before = datetime.now(UTC)
    assert to_instant(before) <= SystemClock().now() <= to_instant(datetime.now(UTC)) + 1_000_000
    frozen = FrozenClock("2026-11-22T10:00:00Z")
    frozen.advance(hours=1, seconds=-1.5)
    assert isoformat(frozen.now()) == "2026-11-22T10:59:58.500000Z"
    frozen.set(datetime(2026, 1, 1, tzinfo=UTC))
    assert isoformat(frozen.now()) == "2026-01-01T00:00:00Z"
