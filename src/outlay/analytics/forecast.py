"""What a series will come to: a forecast to the end of a window, with an interval that says how sure it is.

Several plain methods are asked (the same time last week, its mean over the last weeks, a smoothed level with the
rhythm of the day and of the week, the level alone), on the series and on its logarithm. Each is weighted by how it
would have done on this very series at several moments of its past; how far their mix was off at those moments
makes the interval. Nothing else is learned, and a series too short for that is answered with what little it allows,
in words.

The statistics here are floats: they say what to expect. No amount is ever computed from one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from itertools import accumulate
from math import exp, log, sqrt
from statistics import fmean, median
from typing import Final

import msgspec

Series = Sequence[float]

LEVELS: Final = (80, 95)
"""The intervals that are given, in percent."""

WEEKS_LEARNED: Final = 8
SAME_POINTS: Final = 4
SMOOTHINGS: Final = (0.05, 0.1, 0.2, 0.3, 0.5, 0.8)
FOLDS_WEIGHING: Final = 4
FOLDS_INTERVAL: Final = 24
SHARPNESS: Final = 4
"""The power by which a better method outweighs a worse one: 4 did best on the series of docs/accuracy.md."""

_WIDTHS: Final[Mapping[int, float]] = {80: 1.35, 95: 3.0}
"""An interval in standard deviations of the errors: wider than a normal one, for the errors' tails are not normal."""


class Start(StrEnum):
    """How much there was to learn from."""

    NONE = "no history: nothing can be said yet"
    COLD = "less than two days or points: the mean so far goes on"
    DAYS = "less than two weeks: the rhythm of the day is known, that of the week is not"
    WHOLE = "at least two weeks"


class Interval(msgspec.Struct, frozen=True):
    """Where the sum of the points ahead will lie, `level` percent of the time."""

    level: int
    low: float
    high: float


class Forecast(msgspec.Struct, frozen=True, kw_only=True):
    """The points ahead, their sum, and how sure that is. `weights` says which methods were heard."""

    points: tuple[float, ...]
    total: float
    intervals: tuple[Interval, ...]
    point_intervals: tuple[tuple[Interval, ...], ...] = ()
    start: Start = Start.WHOLE
    weights: dict[str, float] = {}
    moments: int = 0


Method = Callable[[Series, int], list[float] | None]


def forecast(values: Series, ahead: int, *, day_points: int = 1) -> Forecast:
    """What the next `ahead` points of a series will be.

    `values` are equally spaced, the oldest first, none negative; `day_points` is how many points a day has. The
    intervals of the sum and of each point come from the errors at up to 24 moments of the series' own past.
    """
    if not values:
        return Forecast(points=(0.0,) * ahead, total=0.0, intervals=(), start=Start.NONE)
    kept = list(values[-WEEKS_LEARNED * 7 * day_points :])
    methods = _methods(day_points)
    weights, errors = _weigh(kept, ahead, day_points, methods)
    points = _mix(kept, ahead, methods, weights)
    total = sum(points)
    return Forecast(
        points=tuple(points),
        total=total,
        intervals=_intervals(total, errors.totals, kept, ahead),
        point_intervals=tuple(_intervals(point, errors.points, kept, 1) for point in points),
        start=_start(len(kept), day_points),
        weights={name: round(weight, 3) for name, weight in weights.items()},
        moments=len(errors.totals),
    )


def _start(count: int, day_points: int) -> Start:
    if count < 2 * max(day_points, 2):
        return Start.COLD
    return Start.DAYS if count < 14 * day_points else Start.WHOLE


# --- the methods


def _methods(day_points: int) -> dict[str, Method]:
    week = 7 * day_points
    found: dict[str, Method] = {
        "level": _level,
        "mean": lambda values, ahead: [fmean(values[-2 * week :])] * ahead,
        "same time last week": _same_time(week, 1),
        "same time of the last weeks": _same_time(week, SAME_POINTS),
        "level with the rhythm of the week": _rhythm(week),
        "the same on a logarithm": _on_logarithm(_rhythm(week)),
        "level on a logarithm": _on_logarithm(_level),
    }
    if day_points > 1:
        found["same time yesterday"] = _same_time(day_points, 1)
        found["same time of the last days"] = _same_time(day_points, SAME_POINTS)
        found["level with the rhythm of the day"] = _rhythm(day_points)
    return found


def _same_time(season: int, most: int) -> Method:
    def method(values: Series, ahead: int) -> list[float] | None:
        if len(values) < season:
            return None
        return [fmean(_last_same(values, season, index % season, most)) for index in range(ahead)]

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


# --- weighing, and the interval


class _Errors(msgspec.Struct):
    """How far the mix was off: of sums (scaled to the whole way ahead) and of single points."""

    totals: list[float]
    points: list[float]


def _moments(count: int, ahead: int, day_points: int) -> list[int]:
    """From where in the past the same question could have been asked, the latest first."""
    least = max(2 * day_points, min(4, count - 1), 2)
    step = max(1, min(ahead, 7 * day_points) // 4)
    return [at for at in range(count - 1, least - 1, -step) if at + 1 <= count][:FOLDS_INTERVAL]


def _weigh(
    values: list[float], ahead: int, day_points: int, methods: Mapping[str, Method]
) -> tuple[dict[str, float], _Errors]:
    reach = max(1, min(ahead, 30 * day_points, len(values) // 3))
    moments = [at for at in _moments(len(values) - reach + 1, ahead, day_points) if at >= 2]
    asked = [(values[at : at + reach], _ask(values[:at], reach, methods)) for at in moments]
    weights = _weights(methods, asked)
    errors = _Errors([], [])
    for truth, answers in asked:
        mix = _mixed(answers, weights, reach)
        whole = ahead / reach
        errors.totals.append((sum(truth) - sum(mix)) * (sqrt(whole) + whole) / 2)
        errors.points += [actual - expected for actual, expected in zip(truth, mix, strict=True)]
    return weights, errors


def _ask(values: Series, ahead: int, methods: Mapping[str, Method]) -> dict[str, list[float]]:
    answers = {name: method(values, ahead) for name, method in methods.items()}
    return {name: answer for name, answer in answers.items() if answer is not None}


def _weights(
    methods: Mapping[str, Method], asked: Sequence[tuple[list[float], Mapping[str, list[float]]]]
) -> dict[str, float]:
    misses: dict[str, list[float]] = {name: [] for name in methods}
    for truth, answers in asked:
        for name, answer in answers.items():
            misses[name].append(sum(abs(a - b) for a, b in zip(truth, answer, strict=True)))
    least = 1e-12 + 1e-6 * max((sum(abs(value) for value in truth) for truth, _ in asked), default=1.0)
    found = {name: 1 / (fmean(errors) + least) ** SHARPNESS for name, errors in misses.items() if errors}
    if not found:
        return dict.fromkeys(methods, 1 / len(methods))
    # A method that history is too short to judge is heard as the worst of those that were judged.
    found |= {name: min(found.values()) for name in methods if name not in found}
    whole = sum(found.values())
    return {name: weight / whole for name, weight in found.items()}


def _mix(values: Series, ahead: int, methods: Mapping[str, Method], weights: Mapping[str, float]) -> list[float]:
    return _mixed(_ask(values, ahead, methods), weights, ahead)


def _mixed(answers: Mapping[str, list[float]], weights: Mapping[str, float], ahead: int) -> list[float]:
    whole = sum(weights[name] for name in answers)
    return [
        max(0.0, sum(weights[name] * answer[index] for name, answer in answers.items()) / whole)
        for index in range(ahead)
    ]


def _intervals(middle: float, errors: Sequence[float], values: Series, ahead: int) -> tuple[Interval, ...]:
    return tuple(
        Interval(level, max(0.0, middle - width), middle + width)
        for level, width in ((level, _width(level, errors, values, ahead)) for level in LEVELS)
    )


def _width(level: int, errors: Sequence[float], values: Series, ahead: int) -> float:
    """Half an interval: the errors' quantile and their deviation in equal parts, the wider where errors are few."""
    if len(errors) < 2:
        mean = fmean(values)
        deviation = sqrt(fmean((value - mean) ** 2 for value in values))
        return 2 * _WIDTHS[level] * sqrt(ahead) * max(deviation, abs(mean) / 2)
    sizes = sorted(abs(error) for error in errors)
    rank = int((len(sizes) + 1) * level / 100)
    usual = _WIDTHS[level] * sqrt(fmean(size * size for size in sizes)) * (1 + 1.5 / len(sizes))
    return max(usual, sizes[-1]) if rank >= len(sizes) else (sizes[rank] + usual) / 2
