"""Forecasts of series whose future is known, and what is said where little is."""

from __future__ import annotations

import random
from datetime import date
from math import sin

import pytest

from outlay.analytics.forecast import Start, forecast
from outlay.analytics.methods import calm, methods
from outlay.analytics.projection import project
from outlay.clock import date_to_day, to_instant, window_of, windows_between

WEEK = [10.0, 12.0, 11.0, 13.0, 14.0, 4.0, 3.0]


def test_a_weekly_rhythm_goes_on() -> None:
    found = forecast(WEEK * 6, 7)

    assert found.points == pytest.approx(WEEK, rel=0.02)
    assert found.total == pytest.approx(67.0, rel=0.02)
    assert found.start is Start.WHOLE


def test_a_daily_rhythm_by_the_hour_goes_on() -> None:
    day = [2.0 + sin(hour / 24 * 6.28) for hour in range(24)]

    assert forecast(day * 10, 24, day_points=24).points == pytest.approx(day, rel=0.05)


def test_growth_goes_on_where_a_level_would_fall_behind() -> None:
    # 3 % a week for 12 weeks; the 13th is 3 % above the last one.
    grown = [value * 1.03**week for week in range(12) for value in WEEK]

    assert forecast(grown, 7).total == pytest.approx(67 * 1.03**12, rel=0.02)


def test_a_lone_spike_is_no_reason_to_expect_another() -> None:
    spiked = WEEK * 5 + [10.0, 12.0, 400.0, 13.0, 14.0, 4.0, 3.0]

    assert forecast(spiked, 7).total == pytest.approx(67, rel=0.1)
    assert calm(spiked)[37] < 20


def test_what_is_paid_on_the_first_of_a_month_is_expected_on_the_next_first() -> None:
    # From 1 July 2026: 2 a day, and 50 on each first; asked on 29 September for four days.
    first_day = date_to_day(date(2026, 7, 1))
    days = [2.0 + (50.0 if offset in (0, 31, 62) else 0.0) for offset in range(90)]

    found = forecast(days, 4, first_day=first_day)

    assert found.points[2] > 10  # 1 October
    assert methods(1, first_day)["days of the month"](days, 4) == pytest.approx([2, 2, 52, 2], rel=0.05)


def test_the_last_days_of_months_are_known_from_their_end() -> None:
    # From 1 June: 30, 31, 31 days, with 20 more on each last day; 29 September is two days before the end.
    first_day = date_to_day(date(2026, 6, 1))
    days = [1.0 + (20.0 if offset in (29, 60, 91) else 0.0) for offset in range(120)]

    assert methods(1, first_day)["days of the month"](days, 3) == pytest.approx([1, 21, 1], rel=0.05)


def test_what_little_is_known_is_said_in_words() -> None:
    assert forecast([], 5).start is Start.NONE
    assert forecast([3.0], 2).start is Start.COLD
    assert forecast([3.0] * 5, 2).start is Start.DAYS
    assert forecast([], 5).intervals == ()
    [narrow, wide] = forecast([3.0], 2).intervals
    assert wide.low < narrow.low < 6 < narrow.high < wide.high


def test_a_series_of_zeros_is_expected_to_stay_so() -> None:
    found = forecast([0.0] * 40, 7)

    assert found.total == 0
    assert all(interval.high < 1e-9 for interval in found.intervals)


def test_intervals_hold_as_often_as_they_say_on_noise() -> None:
    chance = random.Random(3)
    hits = {80: 0, 95: 0}
    for _ in range(60):
        values = [value * chance.lognormvariate(0, 0.3) for value in WEEK * 9]
        found = forecast(values[:49], 14)
        for interval in found.intervals:
            hits[interval.level] += interval.low <= sum(values[49:]) <= interval.high

    assert 38 <= hits[80] <= 60  # of 60: 48 expected, three deviations of the count are 9
    assert hits[95] >= 52


def test_a_projection_is_what_was_spent_and_what_is_still_to_come() -> None:
    # 10 a day. On 21 March at noon: 20 whole days and 5 of the present one are spent, 5 + 10 × 10 are to come.
    zone = "UTC"
    now = to_instant("2026-03-21T12:00:00Z")
    month = window_of(now, "month", zone)
    steps = list(windows_between(window_of(now - 40 * 86_400_000_000, "day", zone).start, month.end, "day", zone))
    amounts = [10 * 10**12] * 40 + [5 * 10**12]

    found = project((), amounts, steps, month, now, step="day", zone=zone)

    assert found.spent == 205 * 10**12
    assert found.total == pytest.approx(310 * 10**12)
    assert (found.label, len(found.steps)) == ("2026-03", 11)
    assert all(span.low <= found.total <= span.high for span in found.intervals)
    assert all(span.low >= found.spent for span in found.intervals), "what is spent is spent"
