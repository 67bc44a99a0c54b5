"""The plain methods that a forecast mixes: each says from the past of a series what its next points will be.

A method takes the values so far, the oldest first, and how many points are asked; it answers None where the past is
too short for it. Points are floats: statistics, never money.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from itertools import accumulate
from math import exp, log
from statistics import fmean, median
from typing import Final

from outlay.clock import day_to_date

Series = Sequence[float]
Method = Callable[[Series, int], list[float] | None]

WEEKS_LEARNED: Final = 8
SAME_POINTS: Final = 4
SMOOTHINGS: Final = (0.05, 0.1, 0.2, 0.3, 0.5, 0.8)
DAMPING: Final = 0.9
"""By how much a trend goes on from one season to the next: growth does not go on for ever."""

AS_IT_WAS: Final = frozenset({"days of the month"})
"""The methods that look at the values with their spikes; all others are given them calm."""

MONTH_ENDS: Final = 3
"""How many last days of a month are told by their distance from its end, the others by their number."""


def calm(values: Series) -> list[float]:
    """The values with lone spikes (far beyond what nine of ten reach, none beside them) cut to what is around."""
    if len(values) < 10:
        return list(values)
    ordered = sorted(values)
    usual, high = median(ordered), ordered[int(0.9 * (len(ordered) - 1))]
    fence = high + 3 * (high - usual)
    found = list(values)
    for index, value in enumerate(values):
        if value > fence:
            around = median([*values[max(0, index - 2) : index], *values[index + 1 : index + 3]])
            if around <= fence:
                found[index] = max(around, min(value, high))
    return found


def methods(day_points: int, first_day: int | None = None) -> dict[str, Method]:
    """Every method by its name, for a series of `day_points` points a day.

    `first_day` is the day number of the first value of a daily series, from which the days of months are known.
    """
    week = 7 * day_points
    found: dict[str, Method] = {
        "level": _level,
        "mean": lambda values, ahead: [fmean(values[-2 * week :])] * ahead,
        "median": lambda values, ahead: [median(values[-2 * week :])] * ahead,
        "mean of all": lambda values, ahead: [fmean(values)] * ahead,
        "same time last week": _same_time(week, 1),
        "same time of the last weeks": _same_time(week, SAME_POINTS),
        "level with the rhythm of the week": _rhythm(week),
        "the same on a logarithm": _on_logarithm(_rhythm(week)),
        "level on a logarithm": _on_logarithm(_level),
        "trend with the rhythm of the week": _trend(week),
    }
    if day_points > 1:
        found["same time yesterday"] = _same_time(day_points, 1)
        found["same time of the last days"] = _same_time(day_points, SAME_POINTS)
        found["level with the rhythm of the day"] = _rhythm(day_points)
    elif first_day is not None:
        found["days of the month"] = _days_of_month(first_day, _rhythm(week))
    return found


def _same_time(season: int, most: int) -> Method:
    def method(values: Series, ahead: int) -> list[float] | None:
        if len(values) < season:
            return None
        one = [fmean(_last_same(values, season, offset, most)) for offset in range(min(season, ahead))]
        return [one[index % season] for index in range(ahead)]

    return method


def _last_same(values: Series, season: int, offset: int, most: int) -> list[float]:
    places = (len(values) + offset - season * count for count in range(1, most + 1))
    return [values[place] for place in places if place >= 0]


def _level(values: Series, ahead: int) -> list[float]:
    return [_smoothed(values)] * ahead


def _rhythm(season: int) -> Method:
    def method(values: Series, ahead: int) -> list[float] | None:
        if len(values) < 2 * season:
            return None
        shares = rhythm(values, season)
        calm = [value / shares[index % season] for index, value in enumerate(values)]
        level = _smoothed(calm[-4 * season :])
        return [level * shares[(len(values) + index) % season] for index in range(ahead)]

    return method


def _trend(season: int) -> Method:
    """The rhythm around a line through the sums of the last seasons, which flattens from season to season."""

    def method(values: Series, ahead: int) -> list[float] | None:
        seasons = min(len(values) // season, 6)
        if seasons < 3:
            return None
        shares = rhythm(values, season)
        ends = [len(values) - season * count for count in range(seasons)]
        means = [fmean(values[end - season : end]) for end in reversed(ends)]
        slope = _slope(means)
        level = fmean(means) + slope * (seasons - 1) / 2
        found = []
        for index in range(ahead):
            # The last mean stands half a season back; what a damped trend adds is the sum of its steps.
            on = (index + 0.5) / season + 0.5
            grown = slope * (1 - DAMPING**on) / (1 - DAMPING)
            found.append(max(0.0, level + grown) * shares[(len(values) + index) % season])
        return found

    return method


def _slope(values: Series) -> float:
    """The slope of a line through the values: the median over all pairs, so that one of them cannot turn it."""
    pairs = ((later, earlier) for later in range(len(values)) for earlier in range(later))
    return median((values[later] - values[earlier]) / (later - earlier) for later, earlier in pairs)


def _days_of_month(first_day: int, inner: Method) -> Method:
    """What some day of the month costs above the days around it (a subscription on the 1st, a run at its end)."""

    def method(values: Series, ahead: int) -> list[float] | None:
        bumps: dict[int, list[float]] = {}
        for index, value in enumerate(values):
            around = [*values[max(0, index - 3) : index], *values[index + 1 : index + 4]]
            if len(around) >= 3:
                bumps.setdefault(_place_in_month(first_day + index), []).append(value - median(around))
        usual = {place: _agreed(found) for place, found in bumps.items()}
        if not any(usual.values()):
            return None
        even = [value - usual.get(_place_in_month(first_day + index), 0.0) for index, value in enumerate(values)]
        found = inner(calm([max(0.0, value) for value in even]), ahead)
        if found is None:
            return None
        return [
            value + usual.get(_place_in_month(first_day + len(values) + index), 0.0)
            for index, value in enumerate(found)
        ]

    return method


def _place_in_month(day: int) -> int:
    """1 for the first, 2 for the second, …; −1 for the last day of a month, −2 for the one before."""
    date = day_to_date(day)
    for left in range(1, MONTH_ENDS + 1):
        if (date + timedelta(days=left)).month != date.month:
            return -left
    return date.day


def _agreed(bumps: Sequence[float]) -> float:
    """The least bump that every month so far showed; 0.0 where they differ in sign or only one month is known."""
    if len(bumps) < 2 or min(bumps) <= 0 <= max(bumps):
        return 0.0
    return min(bumps, key=abs)


def _on_logarithm(method: Method) -> Method:
    def transformed(values: Series, ahead: int) -> list[float] | None:
        if min(values) <= 0:
            return None
        # A logarithm below one would turn the shares of a rhythm around.
        floor = min(values)
        found = method([1 + log(value / floor) for value in values], ahead)
        return None if found is None else [floor * exp(min(value - 1, 50.0)) for value in found]

    return transformed


def rhythm(values: Series, season: int) -> list[float]:
    """The usual share of each place of a season, 1 on average: the median ratio to the mean of the season around."""
    sums = list(accumulate(values, initial=0.0))
    half = season // 2
    ratios: list[list[float]] = [[] for _ in range(season)]
    for index in range(half, len(values) - half):
        around = (sums[index + half + 1] - sums[index - half]) / (2 * half + 1)
        if around > 0:
            ratios[index % season].append(values[index] / around)
    shares = [median(found) if found else 1.0 for found in ratios]
    mean = fmean(shares)
    return [max(share / mean, 1e-3) for share in shares] if mean > 0 else [1.0] * season


def _smoothed(values: Series) -> float:
    """The level by exponential smoothing, with the factor that would have done best."""
    best, found = float("inf"), values[-1]
    for factor in SMOOTHINGS:
        level, squares = values[0], 0.0
        for value in values:
            error = value - level
            squares += error * error
            level += factor * error
        if squares < best:
            best, found = squares, level
    return found
