"""Rollups, declared as data: what is summed ahead of a question, and which question each answers. Pure.

A rollup is a table of cells: a grain of time, some dimensions, and the measures. It equals the fold of
the entries up to a watermark; adding one means declaring it here and folding again.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Final

import msgspec

from outlay.clock import QUARTER_HOUR_MICROSECONDS, Instant, local_day, local_midnight
from outlay.ledger.tallies import TIME_KEYS
from outlay.model import CostQuery

OTHER: Final = "(other)"
"""The value under which a capped rollup counts values beyond its cap."""

VALUES_A_DAY: Final = 10_000
"""How many values of one dimension a capped rollup tells apart on one day."""

INDEXED: Final = ("job", "request")
"""Dimensions by which the entries themselves are found quickly."""


class Grain(StrEnum):
    """How finely a rollup tells times apart: local days of the home zone, quarter hours, or not at all."""

    DAY = "day"
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


def _daily(dimension: str) -> Rollup:
    return Rollup(
        name=f"rollup_{dimension}",
        grain=Grain.DAY,
        dimensions=(dimension, "provider", "service", "feature", "basis"),
    )


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
ROLLUPS: Final = (
    WIDE,
    NARROW,
    _daily("customer"),
    _daily("project"),
    _daily("team"),
    _daily("user"),
    JOBS,
    METERS,
)
"""Every rollup; the first one that covers a question answers it."""


class Plan(msgspec.Struct, frozen=True):
    """How a question is answered: cells of `rollup` in [since, until), the rest of the range by a scan.

    `since` and `until` are aligned to the rollup's grain; None means unbounded. `quantities` is the
    rollup that knows the meters' quantities, where they were asked for.
    """

    rollup: Rollup
    since: Instant | None
    until: Instant | None
    quantities: Rollup | None = None

    def holds(self, instant: Instant) -> bool:
        """Whether the rollup's own range covers an instant; beyond it lie the edges that a scan answers."""
        return (self.since is None or instant >= self.since) and (self.until is None or instant < self.until)


def plan(query: CostQuery, home_zone: str) -> Plan | None:
    """The rollup that covers a question, or None where entries must be scanned."""
    if query.as_of is not None or query.percentiles:
        return None
    times = [name for name in query.by if name in TIME_KEYS]
    needed = {name for name in query.by if name not in TIME_KEYS} | set(query.where)
    by_meter = "meter" in needed
    if by_meter and len(query.where.get("meter", ())) > 1:
        return None  # An event with two of these meters would count twice in the total.
    foreign = bool(times) and (query.zone or home_zone) != home_zone
    for rollup in ROLLUPS:
        if rollup.by_meter != by_meter or not needed <= set(rollup.dimensions):
            continue
        if not _grain_serves(rollup, query, times, foreign):
            continue
        if query.quantities and not by_meter and (foreign or not needed <= set(METERS.dimensions)):
            return None
        since, until = aligned(rollup, query, home_zone)
        if since is not None and until is not None and since >= until:
            return None
        return Plan(rollup, since, until, _quantity_rollup(rollup, query))
    return None


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
