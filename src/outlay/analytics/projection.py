"""What a window will have cost at its end: what was spent in it so far, and a forecast of the rest.

Amounts that were spent are exact. What is still to come is a statistic, rounded to whole picounits.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from outlay.analytics.forecast import Interval, Start, forecast
from outlay.clock import Instant, Window, local_day
from outlay.money import PICO_PER_UNIT

DAY_POINTS = {"hour": 24, "day": 1}
"""How many points a day has, by the step of a series."""


class Span(msgspec.Struct, frozen=True):
    """Where an amount will lie, `level` percent of the time; picounits."""

    level: int
    low: int
    high: int


class Projection(msgspec.Struct, frozen=True, kw_only=True):
    """One group's window: `spent` so far, `rest` expected until its end, and intervals of the whole, in picounits.

    `steps` are the expected amounts from now on by their instant, the first being what is left of the present one.
    `learned` says how much there was to learn from, `weights` which methods were heard, `bands` where each step will
    lie.
    """

    keys: tuple[str | None, ...]
    label: str
    since: Instant
    until: Instant
    spent: int
    rest: int
    intervals: tuple[Span, ...]
    steps: tuple[tuple[Instant, int], ...]
    learned: Start
    weights: dict[str, float]
    bands: tuple[tuple[Span, ...], ...] = ()

    @property
    def total(self) -> int:
        """What the window is expected to have cost at its end."""
        return self.spent + self.rest


class Projections(msgspec.Struct, frozen=True, kw_only=True):
    """Each group's projection, the dearest first, and that of all together, which is forecast by itself."""

    by: tuple[str, ...]
    rows: tuple[Projection, ...]
    total: Projection
    currency: str
    zone: str


def project(
    keys: tuple[str | None, ...],
    amounts: Sequence[int],
    steps: Sequence[Window],
    window: Window,
    now: Instant,
    *,
    step: str,
    zone: str,
) -> Projection:
    """The projection of one group to the end of `window`.

    `steps` are consecutive hours or days up to the end of the window; `amounts` are those of the first of them, the
    last being the present, unfinished one. What was spent before the window teaches but does not count.
    """
    present = len(amounts) - 1
    spent = sum(amount for amount, at in zip(amounts, steps, strict=False) if at.start >= window.start)
    ahead = list(steps[present:])
    first = next((place for place, amount in enumerate(amounts[:present]) if amount), present)
    found = forecast(
        [max(0, amount) / PICO_PER_UNIT for amount in amounts[first:present]],
        len(ahead),
        day_points=DAY_POINTS[step],
        first_day=local_day(steps[first].start, zone) if step == "day" else None,
    )
    left = (ahead[0].end - now) / (ahead[0].end - ahead[0].start)
    points = [found.points[0] * left, *found.points[1:]]
    share = sum(points) / found.total if found.total else 0.0
    return Projection(
        keys=keys,
        label=window.label,
        since=window.start,
        until=window.end,
        spent=spent,
        rest=_pico(sum(points)),
        intervals=tuple(
            Span(one.level, spent + _pico(one.low * share), spent + _pico(one.high * share))
            for one in found.intervals
        ),
        steps=tuple((at.start, _pico(point)) for at, point in zip(ahead, points, strict=True)),
        learned=found.start,
        weights=found.weights,
        bands=_bands(found.point_intervals, left),
    )


def _bands(intervals: Sequence[tuple[Interval, ...]], left: float) -> tuple[tuple[Span, ...], ...]:
    """Where each step will lie; of the present one only a share is left."""
    parts = [left, *(1.0 for _ in intervals)]
    return tuple(
        tuple(Span(one.level, _pico(one.low * part), _pico(one.high * part)) for one in point)
        for point, part in zip(intervals, parts, strict=False)
    )


def _pico(value: float) -> int:
    return round(value * PICO_PER_UNIT)
