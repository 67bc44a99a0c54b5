"""NAB's standard score (github.com/numenta/NAB), written from its published formula, and the folder of its series.

A detection in a labelled window earns by how early it lies there: σ(x) = 2 / (1 + e^5x) − 1 from the window's left
edge (x = −1) to its right edge (0); only the earliest counts. A window without one costs the weight of a miss, a
detection outside of windows the weight of a false alarm times σ of how far behind the last window it lies, in its
lengths. The first 15 % of a series, at most 750 points, are for learning and count nothing. A corpus' score is 100
for all windows found at once and 0 for silence.
"""

from __future__ import annotations

import csv
import json
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from datetime import UTC, datetime
from math import exp, floor
from pathlib import Path
from typing import Any, NamedTuple

LEARNING_SHARE = 0.15
LEARNING_POINTS_MAX = LEARNING_SHARE * 5000


class Weights(NamedTuple):
    """What a found window earns, what a false alarm and a missed window cost."""

    found: float
    alarm: float
    missed: float


PROFILES = {
    "standard": Weights(1.0, 0.11, 1.0),
    "low false positives": Weights(1.0, 0.22, 1.0),
    "low false negatives": Weights(1.0, 0.11, 2.0),
}


class Series(NamedTuple):
    """One labelled series: instants in seconds, values, and windows as first and last index."""

    name: str
    instants: list[float]
    values: list[float]
    windows: list[tuple[int, int]]

    @property
    def learning(self) -> float:
        """Before which index nothing counts."""
        return min(floor(LEARNING_SHARE * len(self.values)), LEARNING_POINTS_MAX)

    @property
    def counted(self) -> list[int]:
        """The windows that reach beyond the learning points."""
        return [at for at, (_, last) in enumerate(self.windows) if last >= self.learning]


class Scored(NamedTuple):
    """A detector's score on a corpus, and what it was made of."""

    score: float
    threshold: float
    found: int
    alarms: int


def sigmoid(position: float) -> float:
    """What a detection is worth: nearly 1 at a window's left edge (−1), 0 at its right edge, −1 far behind it."""
    return -1.0 if position > 3.0 else 2 / (1 + exp(5 * position)) - 1


def worth(series: Series, index: int, weights: Weights) -> tuple[int | None, float]:
    """The window in which a point lies (None for outside), and what a detection there is worth."""
    behind: tuple[int, int] | None = None
    for at, (first, last) in enumerate(series.windows):
        if first <= index <= last:
            place = -(last - index + 1) / (last - first + 1)
            return at, sigmoid(place) * weights.found / sigmoid(-1.0)
        if last < index:
            behind = (first, last)
    if behind is None:
        return None, -weights.alarm
    first, last = behind
    return None, sigmoid((index - last) / max(last - first, 1)) * weights.alarm


def best_score(
    corpus: Sequence[Series], scores: Sequence[Sequence[float]], weights: Weights, threshold: float | None = None
) -> Scored:
    """The score of a corpus at one threshold for all series: where none is given at the best one, as NAB does."""
    points = sorted(
        (-value, at, index)
        for at, series in enumerate(corpus)
        for index, value in enumerate(scores[at])
        if index >= series.learning
    )
    standing = {(at, window): -weights.missed for at, series in enumerate(corpus) for window in series.counted}
    windows = len(standing)
    total, alarms, found = -weights.missed * windows, 0, set[tuple[int, int]]()
    best = Scored(total, float("inf"), 0, 0)
    for place, (negative, at, index) in enumerate(points):
        if threshold is not None and -negative < threshold:
            break
        window, value = worth(corpus[at], index, weights)
        if window is None:
            total, alarms = total + value, alarms + 1
        else:
            found.add((at, window))
            total += max(0.0, value - standing[at, window])
            standing[at, window] = max(standing[at, window], value)
        last_of_its_value = place + 1 == len(points) or points[place + 1][0] != negative
        if threshold is not None or (last_of_its_value and total > best.score):
            best = Scored(total, -negative if threshold is None else threshold, len(found), alarms)
    whole = windows * (weights.found + weights.missed)
    return best._replace(score=100 * (best.score + weights.missed * windows) / whole if whole else best.score)


# --- the folder


def read_corpus(folder: Path) -> tuple[list[Series], list[str]]:
    """Every series under a folder that has labels, and the names of those without.

    A series is a CSV of timestamp and value; labels are any JSON that maps paths of series to windows of two times.
    """
    labels = _labels(folder)
    corpus, without = [], []
    for path in sorted(folder.rglob("*.csv")):
        rows = _rows(path)
        if rows is None:
            continue
        windows = _windows_of(path, labels)
        if windows is None:
            without.append(path.name)
            continue
        instants = [when.timestamp() for when, _ in rows]
        spans = [(bisect_left(instants, first), bisect_right(instants, last) - 1) for first, last in windows]
        values = [value for _, value in rows]
        corpus.append(Series(f"{path.parent.name}/{path.name}", instants, values, spans))
    return corpus, without


def _rows(path: Path) -> list[tuple[datetime, float]] | None:
    with path.open(newline="") as file:
        reader = csv.reader(file)
        if [name.strip().lower() for name in next(reader, [])] != ["timestamp", "value"]:
            return None
        return sorted((_time(row[0]), float(row[1])) for row in reader if len(row) == 2)


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text.strip()).replace(tzinfo=UTC)


def _labels(folder: Path) -> dict[str, list[tuple[float, float]]]:
    found: dict[str, list[tuple[float, float]]] = {}
    # What is called windows comes last, and so wins over other lists of pairs.
    for path in sorted(folder.rglob("*.json"), key=lambda path: "windows" in path.name):
        body = json.loads(path.read_text())
        if isinstance(body, dict):
            found |= {name: spans for name, given in body.items() if (spans := _spans(given)) is not None}
    return found


def _spans(given: Any) -> list[tuple[float, float]] | None:
    if not isinstance(given, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in given):
        return None
    return [(_time(first).timestamp(), _time(last).timestamp()) for first, last in given]


def _windows_of(path: Path, labels: dict[str, list[tuple[float, float]]]) -> list[tuple[float, float]] | None:
    for length in (2, 1):
        tail = "/".join(path.parts[-length:])
        for name in (tail, *(name for name in labels if name.endswith(f"/{path.name}"))):
            if name in labels:
                return labels[name]
    return None


# --- the detectors beside ours


def windowed_gaussian(values: Sequence[float], points: int = 6400, step: int = 100) -> list[float]:
    """How many deviations a value is off the mean of a window, which moves on by `step` points once it is full."""
    scores: list[float] = []
    mean = squares = 0.0
    deviation = 0.0
    for index, value in enumerate(values):
        scores.append(abs(value - mean) / deviation if deviation else 0.0)
        if index < points:
            off = value - mean
            mean += off / (index + 1)
            squares += off * (value - mean)
            deviation = (squares / (index + 1)) ** 0.5
        elif (index + 1 - points) % step == 0:
            mean, deviation = _mean_and_deviation(values[index + 1 - points : index + 1])
    return scores


def seasonal_z_score(values: Sequence[float], day_points: int) -> list[float]:
    """How many deviations a value is off the mean of the same time of all days before."""
    scores = []
    season = day_points or 1
    for index, value in enumerate(values):
        before = values[index % season : index : season]
        mean, deviation = _mean_and_deviation(before) if len(before) > 2 else (value, 0.0)
        scores.append(abs(value - mean) / deviation if deviation else 0.0)
    return scores


def _mean_and_deviation(values: Sequence[float]) -> tuple[float, float]:
    mean = sum(values) / len(values)
    return mean, (sum((value - mean) ** 2 for value in values) / len(values)) ** 0.5
