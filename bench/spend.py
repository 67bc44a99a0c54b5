"""Simulated spend with one anomaly in it, to measure what is found and what is told for nothing.

Five kinds of series, eight weeks by the hour, each with its own rhythm, noise and growth; in the second half one of
the seeds' four anomalies, its size given in percent of what the series costs in a day. The seed is fixed: the
figures of docs/accuracy.md come out again.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from math import pi, sin
from statistics import fmean
from typing import NamedTuple

from outlay.analytics.anomaly import Episode, SpendSeries, Step, distinct, episodes
from outlay.money import PICO_PER_UNIT

HOURS = 56 * 24
HOUR_MICROSECONDS = 3_600_000_000
SIZES = (20, 50, 100, 300, 1000)
SERIES_A_CELL = 12


class Anomaly(NamedTuple):
    """Hours [first, end) in which a series costs more than it would."""

    first: int
    end: int


class Case(NamedTuple):
    """A simulated series: what it costs by the hour in units of money, and the anomaly put into it."""

    kind: str
    anomaly: Anomaly | None
    values: list[float]


Shape = Callable[[random.Random, int], float]


def chat(chance: random.Random, hour: int) -> float:
    """A product that people use by day, less at weekends, growing 3 % a week."""
    day = max(0.05, sin((hour % 24 - 6) / 24 * 2 * pi) + 0.3)
    week = 0.5 if hour // 24 % 7 >= 5 else 1.0
    return float(8 * day * week * 1.03 ** (hour / 168) * chance.lognormvariate(0, 0.2))


def videos(chance: random.Random, hour: int) -> float:
    """Videos at 0.60 each, some hours none, some many."""
    wanted = 3.0 if 8 <= hour % 24 < 22 else 0.5
    made = sum(chance.random() < wanted / 20 for _ in range(20))
    return 0.60 * made


def storage(chance: random.Random, hour: int) -> float:
    """Storage: flat, growing 1 % a week."""
    return float(0.50 * 1.01 ** (hour / 168) * chance.lognormvariate(0, 0.01))


def transfer(chance: random.Random, hour: int) -> float:
    """Transfer: follows the day, noisy."""
    return float(1.5 * (1.2 + sin((hour % 24 - 8) / 24 * 2 * pi)) * chance.lognormvariate(0, 0.4))


def nightly(chance: random.Random, hour: int) -> float:
    """A batch at night on working days."""
    runs = 2 <= hour % 24 < 5 and hour // 24 % 7 < 5
    return float(20 * chance.lognormvariate(0, 0.1)) if runs else 0.0


SHAPES: dict[str, Shape] = {
    "chat": chat,
    "videos": videos,
    "storage": storage,
    "transfer": transfer,
    "nightly batch": nightly,
}


def runaway(chance: random.Random, amount: float) -> tuple[int, list[float]]:
    """Tasks that do not end: the same on top for half a day, beginning at any hour."""
    return chance.randrange(24), [amount / 12] * 12


def growth(chance: random.Random, amount: float) -> tuple[int, list[float]]:
    """Storage that a lifecycle no longer clears: from nothing on top, every hour a little more, for six days."""
    hours = 144
    return 0, [amount * 2 * (at + 1) / hours / (hours + 1) for at in range(hours)]


def loop(chance: random.Random, amount: float) -> tuple[int, list[float]]:
    """A loop that generates all night until somebody sees it in the morning."""
    return 23, [amount / 9 * chance.uniform(0.8, 1.2) for _ in range(9)]


def spike(chance: random.Random, amount: float) -> tuple[int, list[float]]:
    """A transfer all at once, in two hours."""
    return chance.randrange(24), [amount / 2] * 2


KINDS = {"runaway tasks": runaway, "growth of storage": growth, "generation loop": loop, "transfer spike": spike}


def case(shape: str, kind: str | None, size_percent: int, seed: int) -> Case:
    """A series of that shape with an anomaly of that kind and size."""
    chance = random.Random(f"{shape} {kind} {size_percent} {seed}")
    values = [SHAPES[shape](chance, hour) for hour in range(HOURS)]
    if kind is None:
        return Case("none", None, values)
    day_cost = fmean(values) * 24
    hour, added = KINDS[kind](chance, day_cost * size_percent / 100)
    first = chance.randrange(30, 47) * 24 + hour
    for at, amount in enumerate(added):
        values[first + at] += amount
    return Case(kind, Anomaly(first, first + len(added)), values)


def found_in(values: list[float]) -> list[Episode]:
    """The episodes told of a series by the default thresholds: by the hour, and by the day what that does not
    show.
    """
    days = [sum(values[at : at + 24]) for at in range(0, len(values), 24)]
    return distinct([*episodes(_series(values, Step.HOUR, 1)), *episodes(_series(days, Step.DAY, 24))])


def _series(values: list[float], step: Step, hours: int) -> SpendSeries:
    return SpendSeries(
        by=("service",),
        keys=("simulated",),
        step=step,
        starts=tuple(at * hours * HOUR_MICROSECONDS for at in range(len(values) + 1)),
        amounts=tuple(round(value * PICO_PER_UNIT) for value in values),
    )


def matches(anomaly: Anomaly, episode: Episode) -> bool:
    """Whether an episode lies on the anomaly."""
    first, end = episode.since // HOUR_MICROSECONDS, episode.until // HOUR_MICROSECONDS
    return first < anomaly.end and end > anomaly.first


class Cell(NamedTuple):
    """What was found of one kind and size: how many of them, false alarms, and the error of the impact in percent."""

    cases: int
    worth_telling: int
    found: int
    false: int
    impact_error: float | None


def measure(kind: str, size_percent: int, series: int = SERIES_A_CELL) -> Cell:
    """One kind and size over all shapes."""
    found = false = worth = 0
    errors = []
    cases = [case(shape, kind, size_percent, seed) for shape in SHAPES for seed in range(series)]
    for one in cases:
        assert one.anomaly is not None
        clean = case_without(one, size_percent)
        told = found_in(one.values)
        hits = [episode for episode in told if matches(one.anomaly, episode)]
        false += len(told) - len(hits)
        worth += clean >= 5
        if clean >= 5 and hits:
            found += 1
            impact = sum(episode.impact for episode in hits) / PICO_PER_UNIT
            errors.append(100 * abs(impact - clean) / clean)
    return Cell(len(cases), worth, found, false, fmean(errors) if errors else None)


def case_without(one: Case, size_percent: int) -> float:
    """How much the anomaly of a case costs."""
    share = size_percent / 100
    days = HOURS / 24
    # The day's cost was taken before the anomaly was added: total = days × cost + share × cost.
    return sum(one.values) / (days + share) * share
