"""What a series never did before: the one detector of anomalies, for spend and for any other series.

Four views of a series are watched: its value, its mean over the last points, how far that mean is from what the
same hour of the days and weeks before led to expect, and how much it swings. Each view remembers the range in
which it has moved, and that memory fades slowly. A point is as novel as it leaves a range, in widths of that
range. So there is nothing to train, a rhythm is no surprise, growth is none either, and what was seen once and
told is not told again. An outlier may widen a range only so far: what is as large later is told again.

The statistics here are floats: they say where to look. No amount is ever computed from one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from math import log, sqrt

import msgspec


class Watching(msgspec.Struct, frozen=True, kw_only=True):
    """How a series is watched; lengths are in points of it. The same setting serves every series.

    `margin` is by how much of its width a range must be left to be told; a view's weight is taken off first.
    `fading` is after how many points a range that is not reached has lost 1/e of its width. What is told widens a
    range by at most `widening` of its widths or the `outlier_share` of how far it lay outside, whichever is more: a
    series that never moved would else be told of for ever. A range learns from its first `learning_points` and at
    least a day's, that of surprises from a day's points or `surprise_points`, whichever is more.
    """

    margin: float = 0.065
    mean_points: int = 12
    swing_points: int = 48
    swing_weight: float = 0.75
    days_before: int = 7
    weeks_before: int = 4
    fading: float = 20_000.0
    widening: float = 3.0
    outlier_share: float = 0.1
    learning_points: int = 100
    surprise_points: int = 0
    quiet_points: int = 50


class Novelty(msgspec.Struct, frozen=True):
    """One point of a series: how novel it is, whether that is to be told, and what had been expected there.

    `usual` is what the days before led to expect, as `expected` gives it; without such days that is None, and
    `expected` the mean of the last points.
    """

    index: int
    score: float
    told: bool
    expected: float
    usual: float | None


class Range:
    """The range in which a view has moved so far. Of every point it is asked, so it compares by itself."""

    def __init__(self, watching: Watching, weight: float, learning: int, quiet: int) -> None:
        """It learns from `learning` points before it tells anything; `quiet` points after it told, it is wary."""
        self._watching, self._weight, self._quiet = watching, weight, quiet
        self._learning = learning
        self._low = self._high = 0.0
        self._floor = self._ceiling = 0.0
        self._seen = 0
        self._wary = 0
        self._kept = 1 - 1 / watching.fading

    def novelty(self, value: float) -> float:
        """How far `value` leaves the range, in its widths; the range then knows it."""
        low, high = self._low, self._high
        if self._seen < self._learning:
            self._low = value if not self._seen or value < low else low
            self._high = value if not self._seen or value > high else high
            self._seen += 1
            return 0.0
        if low <= value <= high:
            self._learn(value)
            return 0.0
        width = max(high - low, 1e-9 * max(abs(high), abs(low), 1e-12))
        found = self._weight * ((value - high) / width if value > high else (low - value) / width)
        if found >= self._watching.margin and not self._wary:
            self._wary = self._quiet + 1
            most = max(self._watching.widening, self._watching.outlier_share * found / self._weight) * width
            self._ceiling, self._floor = high + most, low - most
        self._learn(value)
        return found

    def _learn(self, value: float) -> None:
        low, high = self._low, self._high
        if self._wary:
            self._wary -= 1
            high, low = max(high, min(value, self._ceiling)), min(low, max(value, self._floor))
        elif value > high:
            high = value
        elif value < low:
            low = value
        middle, kept = (high + low) / 2, self._kept
        self._high = middle + (high - middle) * kept if value < high else high
        self._low = middle + (low - middle) * kept if value > low else low


class Moving:
    """Mean and deviation of the last points."""

    __slots__ = ("_kept", "_origin", "_points", "_squares", "_sum")

    def __init__(self, points: int) -> None:
        """Of the last `points`, or of as many as there were."""
        self._points = points
        self._kept: deque[float] = deque()
        self._sum = self._squares = self._origin = 0.0

    def add(self, value: float) -> None:
        """Take the next point, and forget the oldest."""
        if not self._kept:
            self._origin = value
        centred = value - self._origin  # Squares of what is far from zero would lose their last digits.
        self._kept.append(centred)
        self._sum += centred
        self._squares += centred * centred
        if len(self._kept) > self._points:
            oldest = self._kept.popleft()
            self._sum -= oldest
            self._squares -= oldest * oldest

    @property
    def mean(self) -> float:
        """The mean."""
        return self._origin + self._sum / len(self._kept)

    @property
    def deviation(self) -> float:
        """The standard deviation."""
        count = len(self._kept)
        return sqrt(max(0.0, self._squares / count - (self._sum / count) ** 2))


def expected(values: Sequence[float], index: int, day_points: int, watching: Watching) -> float | None:
    """What the days before lead to expect at this point: the median at the same time of day, or of the same time in
    the weeks before where that is nearer, so that neither a weekend nor slow growth surprises. None before day three.
    """
    if not day_points or index < 2 * day_points:
        return None
    of_days = _middle_before(values, index, day_points, watching.days_before)
    week_points = 7 * day_points
    if index < 2 * week_points:
        return of_days
    of_weeks = _middle_before(values, index, week_points, watching.weeks_before)
    value = values[index]
    return of_weeks if abs(value - of_weeks) < abs(value - of_days) else of_days


def _middle_before(values: Sequence[float], index: int, step: int, most: int) -> float:
    """The median of up to `most` points before this one, a step apart; statistics.median is slow for so few."""
    found = sorted(values[index - step * min(most, index // step) : index : step])
    half = len(found) // 2
    return found[half] if len(found) % 2 else (found[half - 1] + found[half]) / 2


def novelties(values: Sequence[float], *, day_points: int, watching: Watching | None = None) -> Iterator[Novelty]:
    """How novel each point of a series is, looking back only.

    `day_points` is how many points a day has (24 where they are hours), 0 for a series without a daily rhythm.
    """
    watching = watching or Watching()
    quiet = day_points // 2 or watching.quiet_points
    learning = max(watching.learning_points, day_points)
    level = Range(watching, 1.0, learning, quiet)
    course = Range(watching, 1.0, learning, quiet)
    surprise = Range(watching, 1.0, max(day_points, watching.surprise_points), quiet)
    swing = Range(watching, watching.swing_weight, learning, quiet)
    recent, residuals = Moving(watching.mean_points), Moving(watching.mean_points)
    swings, whole = Moving(watching.swing_points), Moving(len(values) + 1)
    silent = 0
    for index, value in enumerate(values):
        for moving in (recent, swings, whole):
            moving.add(value)
        mean = recent.mean
        scores = [level.novelty(value), course.novelty(mean)]
        usual = expected(values, index, day_points, watching)
        if usual is not None:
            residuals.add(value - usual)
            if index >= 2 * day_points + watching.mean_points:
                scores.append(surprise.novelty(residuals.mean))
        if index >= watching.swing_points:
            scores.append(swing.novelty(log(max(swings.deviation, 1e-3 * whole.deviation, 1e-12))))
        score = max(scores)
        told = score >= watching.margin and not silent
        silent = quiet if told else max(0, silent - 1)
        yield Novelty(index, score, told, mean if usual is None else usual, usual)


def told(values: Sequence[float], *, day_points: int, watching: Watching | None = None) -> list[Novelty]:
    """The points of a series that are worth telling: one for each episode."""
    return [found for found in novelties(values, day_points=day_points, watching=watching) if found.told]


def points_a_day(instants: Iterable[float]) -> int:
    """How many points a day has, from the usual distance of some instants in seconds; 0 where that is no rhythm."""
    ordered = list(instants)
    steps = sorted(later - earlier for earlier, later in pairwise(ordered))
    usual = steps[len(steps) // 2] if steps else 0
    return round(86_400 / usual) if 0 < usual <= 43_200 else 0
