"""Rollups, declared as data: what is summed ahead of a question, and which question each answers. Pure.

A rollup is a table of cells: a grain of time, some dimensions, and the measures. It equals the fold of
the entries up to a watermark. One that tells less apart than another equals the sum of that one's cells too, so that
it can be added to a ledger whose entries are gone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from enum import StrEnum
from typing import Final

import msgspec

from outlay.clock import (
    QUARTER_HOUR_MICROSECONDS,
    Instant,
    date_to_day,
    day_to_date,
    local_day,
    local_midnight,
)
from outlay.ledger.tallies import TIME_KEYS
from outlay.model import CostQuery

OTHER: Final = "(other)"
"""The value under which a capped rollup counts values beyond its cap."""

VALUES_A_DAY: Final = 10_000
"""How many values of one dimension a capped rollup tells apart on one day."""

INDEXED: Final = ("job", "request")
"""Dimensions by which the entries themselves are found quickly."""


class Grain(StrEnum):
    """How finely a rollup tells times apart: days, weeks or months of the home zone, quarter hours, or not at all."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    QUARTER_HOUR = "quarter_hour"
    ALL_TIME = "all_time"


class Rollup(msgspec.Struct, frozen=True, kw_only=True):
    """One rollup: its table's name, grain and dimensions.

    A `capped` one folds values beyond
    VALUES_A_DAY into OTHER. With `spans` it keeps the first and last instant of a cell. `by_meter` counts
    an event once for each of its meters and keeps their quantities.
    """

    name: str
    grain: Grain
    dimensions: tuple[str, ...]
    capped: bool = False
    spans: bool = False
    by_meter: bool = False


_EACH: Final = ("customer", "project", "team", "user")


def _detailed(dimension: str) -> Rollup:
    return Rollup(
        name=f"rollup_{dimension}",
        grain=Grain.DAY,
        dimensions=(dimension, "provider", "service", "feature", "basis"),
    )


def _short(dimension: str, grain: Grain) -> Rollup:
    often = {Grain.DAY: "daily", Grain.WEEK: "weekly", Grain.MONTH: "monthly"}[grain]
    return Rollup(name=f"rollup_{often}_{dimension}", grain=grain, dimensions=(dimension, "basis"))


WIDE: Final = Rollup(
    name="rollup_day",
    grain=Grain.DAY,
    dimensions=("provider", "service", "operation", "feature", "environment", "status", "basis"),
    capped=True,
)
NARROW: Final = Rollup(
    name="rollup_quarter_hour", grain=Grain.QUARTER_HOUR, dimensions=("provider", "service", "status", "basis")
)
JOBS: Final = Rollup(
    name="rollup_job", grain=Grain.ALL_TIME, dimensions=("job", "provider", "service", "basis"), spans=True
)
METERS: Final = Rollup(
    name="rollup_meter", grain=Grain.DAY, dimensions=("provider", "service", "meter", "basis"), by_meter=True
)
DETAILED: Final = tuple(map(_detailed, _EACH))
DAILY: Final = tuple(_short(name, Grain.DAY) for name in _EACH)
WEEKLY: Final = tuple(_short(name, Grain.WEEK) for name in _EACH)
MONTHLY: Final = tuple(_short(name, Grain.MONTH) for name in _EACH)
JOB_TOTALS: Final = Rollup(name="rollup_job_total", grain=Grain.ALL_TIME, dimensions=("job",), spans=True)
"""It ranks jobs, and answers nothing by itself."""

FOLDED: Final = (WIDE, NARROW, *DETAILED, JOBS, METERS)
"""The rollups of which no other one is the source."""

SOURCES: Final[Mapping[str, Rollup]] = {
    **{short.name: detailed for short, detailed in zip(DAILY, DETAILED, strict=True)},
    **{short.name: daily for shorts in (WEEKLY, MONTHLY) for short, daily in zip(shorts, DAILY, strict=True)},
    JOB_TOTALS.name: JOBS,
}
"""The rollup whose cells each of the others sums, by its name."""

SUMMED: Final = (*DAILY, *WEEKLY, *MONTHLY, JOB_TOTALS)
ROLLUPS: Final = (*FOLDED, *SUMMED)
"""Every rollup, sources first."""

_COARSER: Final = ((MONTHLY, ("month", "quarter", "year")), (WEEKLY, ("week",)))
"""Coarser rollups, and the windows that lie wholly within one of their cells or are made of them."""

_THURSDAY: Final = 3
"""The place in its week of 1970-01-01, day 0."""


class Piece(msgspec.Struct, frozen=True):
    """The cells of a rollup in [since, until), aligned to its grain."""

    rollup: Rollup
    since: Instant | None
    until: Instant | None


class Plan(msgspec.Struct, frozen=True):
    """How a question is answered: cells of `rollup` in [since, until), the rest of the range by a scan.

    `since` and `until` are aligned to the rollup's grain; None means unbounded. `quantities` is the
    rollup that knows the meters' quantities, where they were asked for. `pieces` are what is added up for [since,
    until): cells of `rollup`, and of coarser ones for the whole weeks and months.
    """

    rollup: Rollup
    since: Instant | None
    until: Instant | None
    quantities: Rollup | None = None
    pieces: tuple[Piece, ...] = ()

    def holds(self, instant: Instant) -> bool:
        """Whether the rollup's own range covers an instant; beyond it lie the edges that a scan answers."""
        return (self.since is None or instant >= self.since) and (self.until is None or instant < self.until)


def number_of(grain: Grain, day: int) -> int:
    """The number of the day, week (from Monday) or month (since the year 0) that holds a day."""
    if grain is Grain.MONTH:
        found = day_to_date(day)
        return found.year * 12 + found.month - 1
    return (day + _THURSDAY) // 7 if grain is Grain.WEEK else day


def first_day(grain: Grain, number: int) -> int:
    """The first day of the day, week or month of that number."""
    if grain is Grain.MONTH:
        return date_to_day(date(number // 12, number % 12 + 1, 1))
    return number * 7 - _THURSDAY if grain is Grain.WEEK else number


def plan(query: CostQuery, home_zone: str, *, summed: bool = True) -> Plan | None:
    """The rollup that covers a question, or None where entries must be scanned.

    Without `summed` the ledger does not keep the rollups yet that sum others.
    """
    if query.as_of is not None or query.percentiles:
        return None
    times = [name for name in query.by if name in TIME_KEYS]
    needed = {name for name in query.by if name not in TIME_KEYS} | set(query.where)
    by_meter = "meter" in needed
    if by_meter and len(query.where.get("meter", ())) > 1:
        return None  # An event with two of these meters would count twice in the total.
    foreign = bool(times) and (query.zone or home_zone) != home_zone
    for rollup in (*DAILY, *FOLDED) if summed else FOLDED:
        if rollup.by_meter != by_meter or not needed <= set(rollup.dimensions):
            continue
        if rollup in DAILY and rollup.dimensions[0] not in needed:
            continue
        if not _grain_serves(rollup, query, times, foreign):
            continue
        if query.quantities and not by_meter and (foreign or not needed <= set(METERS.dimensions)):
            return None
        since, until = aligned(rollup, query, home_zone)
        if since is not None and until is not None and since >= until:
            return None
        pieces = _pieces(rollup, since, until, times, home_zone)
        return Plan(rollup, since, until, _quantity_rollup(rollup, query), pieces)
    return None


def _pieces(
    rollup: Rollup, since: Instant | None, until: Instant | None, times: Sequence[str], zone: str
) -> tuple[Piece, ...]:
    """Whole months, whole weeks beside them, and days beside those, where rollups sum them."""
    if rollup not in DAILY:
        return (Piece(rollup, since, until),)
    place = DAILY.index(rollup)
    coarser = [rollups[place] for rollups, within in _COARSER if set(times) <= set(within)]
    return tuple(_cover((*coarser, rollup), since, until, zone))


def _cover(rollups: Sequence[Rollup], since: Instant | None, until: Instant | None, zone: str) -> Iterator[Piece]:
    coarsest, *finer = rollups
    if not finer:
        yield Piece(coarsest, since, until)
        return
    grain = coarsest.grain
    first = None if since is None else _start(grain, number_of(grain, local_day(since, zone) - 1) + 1, zone)
    after = None if until is None else _start(grain, number_of(grain, local_day(until, zone)), zone)
    if first is not None and after is not None and first >= after:
        yield from _cover(finer, since, until, zone)
        return
    yield Piece(coarsest, first, after)
    if first != since:
        yield from _cover(finer, since, first, zone)
    if after != until:
        yield from _cover(finer, after, until, zone)


def _start(grain: Grain, number: int, zone: str) -> Instant:
    return local_midnight(first_day(grain, number), zone)


def ranks(query: CostQuery) -> bool:
    """Whether a question is for the dearest jobs of all time, of which a ranking finds the few that matter."""
    return query.top is not None and query.by == ("job",) and not query.where and not query.quantities


def _quantity_rollup(rollup: Rollup, query: CostQuery) -> Rollup | None:
    if not query.quantities:
        return None
    return rollup if rollup.by_meter else METERS


def _grain_serves(rollup: Rollup, query: CostQuery, times: Sequence[str], foreign: bool) -> bool:
    if rollup.grain is Grain.ALL_TIME:
        return not times and query.since is None and query.until is None
    if "job" in query.by:
        return False
    if rollup.grain is Grain.DAY:
        return not foreign and "hour" not in times
    return not query.quantities


def aligned(rollup: Rollup, query: CostQuery, home_zone: str) -> tuple[Instant | None, Instant | None]:
    """The largest whole-grain range within the query's: [since rounded up, until rounded down)."""
    since, until = query.since, query.until
    if rollup.grain is Grain.DAY:
        if since is not None:
            day = local_day(since, home_zone)
            since = since if local_midnight(day, home_zone) == since else local_midnight(day + 1, home_zone)
        if until is not None:
            until = local_midnight(local_day(until, home_zone), home_zone)
    elif rollup.grain is Grain.QUARTER_HOUR:
        if since is not None:
            since = -(-since // QUARTER_HOUR_MICROSECONDS) * QUARTER_HOUR_MICROSECONDS
        if until is not None:
            until = until // QUARTER_HOUR_MICROSECONDS * QUARTER_HOUR_MICROSECONDS
    return since, until


def names_one_index(query: CostQuery) -> str | None:
    """The indexed dimension whose values `where` names, so that a scan reads only their entries."""
    for name in INDEXED:
        values = query.where.get(name)
        if values is not None and None not in values:
            return name
    return None
