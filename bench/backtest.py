"""Forecasts judged on the past of real series: at many moments, what would have been said of the rest of a window.

MASE is the mean absolute error of the points ahead over that of the seasonal naive method within the history then
known. The methods beside ours: *seasonal naive* (the same time last week), *daily average* (what was spent since the
window began, by the day, for each day left) and *straight line* (OptScale's: the same since the window before began).
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from math import exp
from pathlib import Path
from statistics import fmean, median
from typing import NamedTuple

from outlay.analytics.forecast import LEVELS, Forecast, forecast

HOUR_SECONDS = 3_600
DAY_SECONDS = 86_400
WINDOWS_A_SERIES = 10
BASELINES = ("seasonal naive", "daily average", "straight line")

Forecaster = Callable[[Sequence[float], int, int], Forecast]


class Series(NamedTuple):
    """Equally spaced values; `day_points` is 24 for hours and 1 for days."""

    name: str
    values: list[float]
    day_points: int


class Moment(NamedTuple):
    """Where a forecast is asked: the window before began at `previous`, this one at `start` and ends at `end`."""

    previous: int
    start: int
    now: int
    end: int


class Judged(NamedTuple):
    """One series: MASE by method, the error of the total in shares of it, and by level the percentage of hits."""

    name: str
    forecasts: int
    errors: dict[str, float]
    totals: dict[str, float]
    total_hits: dict[int, float]
    point_hits: dict[int, float]


def ours(values: Sequence[float], ahead: int, day_points: int) -> Forecast:
    """Outlay's own forecast."""
    return forecast(values, ahead, day_points=day_points)


def judge(series: Series, forecaster: Forecaster = ours) -> Judged | None:
    """A series at its moments; None where it is too short to ask anything."""
    errors: dict[str, list[float]] = {}
    totals: dict[str, list[float]] = {}
    total_hits: dict[int, list[bool]] = {level: [] for level in LEVELS}
    point_hits: dict[int, list[bool]] = {level: [] for level in LEVELS}
    season = 7 * series.day_points
    for moment in moments(len(series.values), series.day_points):
        history, truth = series.values[: moment.now], series.values[moment.now : moment.end]
        scale = fmean(abs(history[at] - history[at - season]) for at in range(season, len(history)))
        if not scale:
            continue
        found = forecaster(history, len(truth), series.day_points)
        for name, points in (("Outlay", found.points), *_baselines(history, moment, season)):
            errors.setdefault(name, []).append(fmean(abs(a - b) for a, b in zip(truth, points, strict=True)) / scale)
            totals.setdefault(name, []).append(abs(sum(truth) - sum(points)) / max(sum(truth), 1e-9))
        for interval in found.intervals:
            total_hits[interval.level].append(interval.low <= sum(truth) <= interval.high)
        for value, intervals in zip(truth, found.point_intervals, strict=True):
            for interval in intervals:
                point_hits[interval.level].append(interval.low <= value <= interval.high)
    if not errors:
        return None
    return Judged(
        series.name,
        len(errors["Outlay"]),
        {name: fmean(found) for name, found in errors.items()},
        {name: fmean(found) for name, found in totals.items()},
        {level: 100 * fmean(hits) for level, hits in total_hits.items()},
        {level: 100 * fmean(hits) for level, hits in point_hits.items()},
    )


def moments(count: int, day_points: int) -> Iterator[Moment]:
    """When a series is asked: within days and weeks where its points are hours, within weeks and months of days."""
    kinds = ((24, 3), (168, 6)) if day_points > 1 else ((7, 3), (30, 6))
    season = 7 * day_points
    for length, parts in kinds:
        first, last = max(length, season), count - length
        if last < first:
            continue
        windows = min(WINDOWS_A_SERIES, (last - first) // day_points + 1)
        for number in range(windows):
            start = first + (last - first) * number // max(windows - 1, 1) // day_points * day_points
            for part in range(1, parts):
                now = start + length * part // parts
                if now >= season + day_points:
                    yield Moment(start - length, start, now, start + length)


def _baselines(history: Sequence[float], moment: Moment, season: int) -> Iterator[tuple[str, list[float]]]:
    ahead = moment.end - moment.now
    yield BASELINES[0], [history[len(history) - season + at % season] for at in range(ahead)]
    yield BASELINES[1], [fmean(history[moment.start :])] * ahead
    yield BASELINES[2], [fmean(history[moment.previous :])] * ahead


# --- series


def read_all(folder: Path) -> list[Series]:
    """Every CSV under a folder that is a series: a time and a value under a header, or seconds and a value without.

    Finer steps are summed to hours. Series of the logarithm of page views (`…_log_…`) are also read as page views.
    """
    found: list[Series] = []
    for path in sorted(folder.rglob("*.csv")):
        points = _points(path)
        if len(points) < 20:
            continue
        name = path.stem
        found += _series(name, points)
        if "_log_" in name:
            found += _series(f"{name.replace('_log_', '_')} (views)", [(at, exp(value)) for at, value in points])
    return found


def _points(path: Path) -> list[tuple[float, float]]:
    points = []
    with path.open(newline="") as file:
        rows = [row for row in csv.reader(file) if len(row) >= 2]
    if not rows:
        return []
    names = [name.strip().lower() for name in rows[0]]
    places = [names.index(name) for name in ("ds", "date", "timestamp", "time") if name in names]
    values = [names.index(name) for name in ("y", "value", "views", "cost") if name in names]
    if places and values:
        points = [(_seconds(row[places[0]]), float(row[values[0]])) for row in rows[1:] if row[values[0]]]
    elif _is_number(rows[0][0]) and _is_number(rows[0][1]):
        points = [(float(row[0]), float(row[1])) for row in rows]
    return sorted(points)


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text.strip()).replace(tzinfo=UTC).timestamp()


def _is_number(text: str) -> bool:
    return text.strip().replace(".", "", 1).replace("e-", "", 1).isdigit()


def _series(name: str, points: list[tuple[float, float]]) -> Iterator[Series]:
    step = median(later[0] - earlier[0] for earlier, later in pairwise(points))
    if step >= DAY_SECONDS:
        yield Series(name, _regular(points, DAY_SECONDS, 7), 1)
        return
    if not 0 < step <= HOUR_SECONDS:
        return
    hours = _regular(points, HOUR_SECONDS, 168)
    yield Series(f"{name} by the hour", hours, 24)
    if len(hours) >= 60 * 24:
        days = [sum(hours[at : at + 24]) for at in range(0, len(hours) - 23, 24)]
        yield Series(f"{name} by the day", days, 1)


def _regular(points: list[tuple[float, float]], step: int, season: int) -> list[float]:
    """The points summed in steps of time; a step without any is filled by that of a season before, else by zero."""
    origin = points[0][0] // step
    cells: dict[int, float] = {}
    for at, value in points:
        place = int(at // step - origin)
        cells[place] = cells.get(place, 0.0) + value
    filled: list[float] = []
    for place in range(max(cells) + 1):
        before = filled[place - season] if place >= season else 0.0
        filled.append(cells.get(place, before))
    return filled
