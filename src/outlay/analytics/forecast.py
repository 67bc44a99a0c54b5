"""What a series will come to: a forecast to the end of a window, with an interval that says how sure it is.

Several plain methods are asked (`methods`), on the series and on its logarithm. Each is weighted by how it would have
done on this very series at several moments of its past; how far their mix was off at those moments, weighted by the
other moments only, makes the interval. Nothing else is learned, and a series too short for that is answered with what
little it allows, in words. A lone spike is no reason to expect another: the methods see it cut to what is around it,
while the intervals know it whole.

The statistics here are floats: they say what to expect. No amount is ever computed from one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from math import exp, log, sqrt
from statistics import fmean, median
from typing import Final

import msgspec

from outlay.analytics.methods import AS_IT_WAS, Method, Series, calm, methods

LEVELS: Final = (80, 95)
"""The intervals that are given, in percent."""

DAYS_KEPT: Final = 182
HOURS_DAYS_KEPT: Final = 56
MOMENTS: Final = 24
SHARPNESS: Final = 4
"""The power by which a better method outweighs a worse one: 4 did best on the series of docs/accuracy.md."""

LEAST_MISS: Final = 0.01
"""Added to each method's misses, so that one that was exact by chance does not silence all others."""


OVERLAP: Final = 4
"""How many moments of the past fall on one length of what is asked."""

_NORMAL: Final[Mapping[int, float]] = {80: 1.2816, 95: 1.9600}
_SUM_TAILS: Final[Mapping[int, float]] = {80: 0.95, 95: 1.3}
_POINT_TAILS: Final[Mapping[int, float]] = {80: 0.85, 95: 0.95}
"""What the tails of real series take more or less than Student's: so that docs/accuracy.md holds."""

_WIDTHS_UNKNOWN: Final[Mapping[int, float]] = {80: log(3), 95: log(9)}
_WIDEST: Final = 20.0
_FLOOR: Final = 0.1


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


class _Past(msgspec.Struct, frozen=True):
    """One moment of the past: what came, what the mix of methods would have said, and the share of it that is new,
    for moments overlap.
    """

    truth: list[float]
    said: list[float]
    new: float


def forecast(values: Series, ahead: int, *, day_points: int = 1, first_day: int | None = None) -> Forecast:
    """What the next `ahead` points of a series will be.

    `values` are equally spaced, the oldest first, none negative; `day_points` is how many points a day has. With
    `first_day`, the day number of the first of them, a daily series' days of the month are learned too. The intervals
    of the sum and of each point come from the errors at up to 24 moments of the series' own past.
    """
    if not values:
        return Forecast(points=(0.0,) * ahead, total=0.0, intervals=(), start=Start.NONE)
    kept = list(values[-(DAYS_KEPT if day_points == 1 else HOURS_DAYS_KEPT * day_points) :])
    asked = methods(day_points, None if first_day is None else first_day + len(values) - len(kept))
    weights, past = _weigh(kept, ahead, day_points, asked)
    points = _mix(_answers(kept, ahead, asked), weights, ahead)
    total = sum(points)
    return Forecast(
        points=tuple(points),
        total=total,
        intervals=_total_intervals(total, past, kept, ahead),
        point_intervals=_point_intervals(points, past, kept),
        start=_start(len(kept), day_points),
        weights={name: round(weight, 3) for name, weight in weights.items()},
        moments=len(past),
    )


def _start(count: int, day_points: int) -> Start:
    if count < 2 * max(day_points, 2):
        return Start.COLD
    return Start.DAYS if count < 14 * day_points else Start.WHOLE


# --- weighing


def _weigh(
    values: list[float], ahead: int, day_points: int, asked: Mapping[str, Method]
) -> tuple[dict[str, float], list[_Past]]:
    """The weight of each method, and what the mix would have said at each moment by the weights of the others."""
    reach = max(1, min(ahead, 30 * day_points, len(values) // 3))
    least = max(2 * day_points, min(4, len(values) - reach), 2)
    # The moments of days reach back over a first of a month, so that those who know it can be told from the others.
    step = max(1, reach // OVERLAP, 2 if day_points == 1 and len(values) >= 60 else 1)
    moments = list(range(len(values) - reach, least - 1, -step))[:MOMENTS]
    truths = [values[at : at + reach] for at in moments]
    answers = [_answers(values[:at], reach, asked) for at in moments]
    misses = [_misses(truth, answer) for truth, answer in zip(truths, answers, strict=True)]
    past = []
    for at, truth, answer in zip(moments, truths, answers, strict=True):
        others = [miss for place, miss in zip(moments, misses, strict=True) if abs(place - at) >= reach]
        weights = _weights(asked, others or misses)
        past.append(_Past(truth, _mix(answer, weights, reach), min(1.0, step / reach)))
    return _weights(asked, misses), past


def _answers(values: Series, ahead: int, asked: Mapping[str, Method]) -> dict[str, list[float]]:
    seen = calm(values)
    answers = {name: method(values if name in AS_IT_WAS else seen, ahead) for name, method in asked.items()}
    return {name: answer for name, answer in answers.items() if answer is not None}


def _misses(truth: Series, answers: Mapping[str, list[float]]) -> dict[str, float]:
    """How far each method was off at one moment, in shares of what is usual then: no moment outweighs another."""
    found = {name: sum(abs(a - b) for a, b in zip(truth, answer, strict=True)) for name, answer in answers.items()}
    usual = max(median(found.values()), 1e-6 * sum(truth), 1e-12)
    return {name: miss / usual for name, miss in found.items()}


def _weights(names: Mapping[str, Method], misses: Sequence[Mapping[str, float]]) -> dict[str, float]:
    found: dict[str, float] = {}
    for name in names:
        errors = [miss[name] for miss in misses if name in miss]
        if errors:
            found[name] = 1 / (fmean(errors) + LEAST_MISS) ** SHARPNESS
    if not found:
        return dict.fromkeys(names, 1 / len(names))
    # A method that history is too short to judge is heard as the worst of those that were judged.
    found |= {name: min(found.values()) for name in names if name not in found}
    whole = sum(found.values())
    return {name: weight / whole for name, weight in found.items()}


def _mix(answers: Mapping[str, list[float]], weights: Mapping[str, float], ahead: int) -> list[float]:
    whole = sum(weights[name] for name in answers)
    return [
        max(0.0, sum(weights[name] * answer[index] for name, answer in answers.items()) / whole)
        for index in range(ahead)
    ]


# --- intervals


def _widths(
    pairs: Sequence[tuple[float, float]], floor: float, independent: float, tails: Mapping[int, float]
) -> dict[int, float]:
    """Half the width of each interval, as a logarithm of a share: from what came and what had been said.

    The mean of two estimates, the errors' own quantile and Student's for as many errors as do not overlap, times
    `tails`. `floor` is added to both numbers of a pair, so that an hour without spend is no infinite error.
    """
    sizes = sorted(abs(log((came + floor) / (said + floor))) for came, said in pairs)
    if not sizes:
        return dict(_WIDTHS_UNKNOWN)
    deviation = sqrt(fmean(size * size for size in sizes)) * sqrt(1 + 1 / independent)
    found = {}
    for level in LEVELS:
        usual = _student(level, max(independent, 2.0)) * deviation
        rank = int((len(sizes) + 1) * level / 100)
        seen = sizes[rank] if rank < len(sizes) else max(usual, sizes[-1])
        found[level] = min(tails[level] * (seen + usual) / 2, _WIDEST)
    return found


def _student(level: int, freedom: float) -> float:
    """The quantile of Student's distribution, by its expansion around the normal one (Abramowitz, Stegun 26.7.5)."""
    z = _NORMAL[level]
    first, second = (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96
    return z + first / freedom + second / freedom**2


def _around(middle: float, widths: Mapping[int, float], floor: float) -> tuple[Interval, ...]:
    return tuple(
        Interval(level, max(0.0, (middle + floor) * exp(-width) - floor), (middle + floor) * exp(width) - floor)
        for level, width in widths.items()
    )


def _total_intervals(total: float, past: Sequence[_Past], values: Series, ahead: int) -> tuple[Interval, ...]:
    reach = len(past[0].truth) if past else 1
    floor = max(_FLOOR * fmean(values), 1e-12)
    pairs = [(sum(moment.truth), sum(moment.said)) for moment in past] or [(value, fmean(values)) for value in values]
    widths = _widths(pairs if len(values) > 1 else [], floor * reach, _independent(past), _SUM_TAILS)
    # Errors further ahead than could be judged grow less than the sum if they are independent, with it if not.
    longer = (1 + 1 / sqrt(ahead / reach)) / 2 if past else 1.0
    return _around(total, {level: width * longer for level, width in widths.items()}, floor * ahead)


def _point_intervals(
    points: Sequence[float], past: Sequence[_Past], values: Series
) -> tuple[tuple[Interval, ...], ...]:
    floor = max(_FLOOR * fmean(values), 1e-12)
    pairs = [pair for moment in past for pair in zip(moment.truth, moment.said, strict=True)]
    widths = _widths(pairs, floor, _independent(past), _POINT_TAILS)
    return tuple(_around(point, widths, floor) for point in points)


def _independent(past: Sequence[_Past]) -> float:
    """How many moments there would be if they did not overlap."""
    return max(1.0, sum(moment.new for moment in past))
