"""Ranges and windows that begin within days of the home zone: which whole days and quarter hours make them. Pure.

New York's day is a day of UTC, less its first four hours, and the first four of the next: sums of whole numbers, so
that a few quarter hours at each boundary and the days' cells tell what all quarter hours would.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from msgspec.structs import replace

from outlay.clock import QUARTER_HOUR_MICROSECONDS, WindowName, local_day, local_midnight
from outlay.ledger.rollups import plan
from outlay.ledger.tallies import TIME_KEYS
from outlay.model import CostQuery

DIRECT_MAX: Final = 96
"""So many quarter hours are read as they are: days and what is to be taken from them are no fewer cells."""


class Edge(NamedTuple):
    """The quarter hours [first, after) between a boundary and the midnight of the home zone nearest to it.

    They count with `sign` in the window that ends at the boundary, and against it in the one that begins there.
    """

    first: int
    after: int
    sign: int


class Shifted(NamedTuple):
    """The home zone's days [first, after) of each window, and the edge at each boundary that has one."""

    days: tuple[tuple[int, int], ...]
    edges: tuple[Edge | None, ...]


def shifted(windows: Sequence[tuple[int, int]], home_zone: str) -> Shifted:
    """How days make windows, each [first, after) in quarter hours and beginning where the one before it ends."""
    boundaries = [windows[0][0], *(after for _, after in windows)]
    nearest = [_nearest(boundary, home_zone) for boundary in boundaries]
    days = [day for day, _ in nearest]
    return Shifted(tuple(pairwise(days)), tuple(edge for _, edge in nearest))


def finest(by: Sequence[str]) -> WindowName:
    """The longest window of which every window asked for is made: weeks and months have only days in common."""
    asked = [name for name in TIME_KEYS if name in by]
    return "day" if "week" in asked and len(asked) > 1 else asked[0]


def hour_phase(windows: Sequence[tuple[int, int]]) -> int | None:
    """The remainder by four of the quarter hours that begin hours; None where that changes, as on Lord Howe."""
    phases = {first % 4 for first, _ in windows[1:]}
    return phases.pop() if len(phases) == 1 else None


def rounded_out(query: CostQuery, home_zone: str) -> CostQuery:
    """The question for all days that its range touches, where cells of days could answer it at all."""
    if query.as_of is not None or query.percentiles or query.quantities:
        return query
    since, until = query.since, query.until
    if since is not None:
        since = local_midnight(local_day(since, home_zone), home_zone)
    if until is not None:
        midnight = local_midnight(local_day(until, home_zone), home_zone)
        until = until if until == midnight else local_midnight(local_day(until, home_zone) + 1, home_zone)
    return replace(query, since=since, until=until)


def is_planned(query: CostQuery, home_zone: str) -> bool:
    """Whether a rollup may answer a question."""
    return plan(query, home_zone) is not None or plan(rounded_out(query, home_zone), home_zone) is not None


def _nearest(quarter_hour: int, home_zone: str) -> tuple[int, Edge | None]:
    """The day whose midnight is nearest to the start of a quarter hour, and what lies between them."""
    day = local_day(quarter_hour * QUARTER_HOUR_MICROSECONDS, home_zone)
    midnight, next_midnight = _midnight(day, home_zone), _midnight(day + 1, home_zone)
    if quarter_hour == midnight:
        return day, None
    if quarter_hour - midnight <= next_midnight - quarter_hour:
        return day, Edge(midnight, quarter_hour, 1)
    return day + 1, Edge(quarter_hour, next_midnight, -1)


def _midnight(day: int, zone: str) -> int:
    """The first quarter hour that begins on a day, of which the day's cells are made."""
    return -(-local_midnight(day, zone) // QUARTER_HOUR_MICROSECONDS)
