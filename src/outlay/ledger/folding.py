"""The fold: rows of entries become cells of every rollup. Pure: values in, values out.

A cell is a list of measures: events, failed, unpriced, incomplete and the amount in picounits; a job's has
its first and last instant besides, a meter's its quantity in billionths. Reversals count negatively.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import msgspec

from outlay.clock import QUARTER_HOUR_MICROSECONDS
from outlay.ledger.rollups import FOLDED, SOURCES, SUMMED, Grain, Rollup, number_of

BLOCK_BITS: Final = 10
"""A block of the span table is 2^10 entries by seq."""

OVERFLOW: Final = -1
"""Stands for OTHER in a key until its id is known."""

CAPPED_DIMENSIONS: Final = ("provider", "service", "operation", "feature", "environment")
"""The interned dimensions of the wide rollup, whose values a day are limited."""

_FAILED: Final = 1
_INCOMPLETE: Final = 1
_UNPRICED: Final = 2
_PICO_PER_MICRO: Final = 10**6
_NANO_PER_UNIT: Final = 10**9

Key = tuple[int, ...]
Cell = list[int]
Shares = Iterable[tuple[int, int, int]]
"""(meter, picounits, billionths) of each line and each unpriced meter of one call, the amount of all calls."""


class Folded(msgspec.Struct):
    """Cells by rollup name, and the first and last occurred_from of each block of entries."""

    cells: dict[str, dict[Key, Cell]]
    spans: dict[int, tuple[int, int]]
    last_seq: int = 0
    entries: int = 0


def fold_rows(rows: Iterable[Any], day_of: Callable[[int], int], shares_of: Callable[[bytes], Shares]) -> Folded:
    """Fold rows of the query `to_fold`; `day_of` gives the home zone's day of a quarter hour."""
    folded = Folded({rollup.name: {} for rollup in FOLDED}, {})
    tables = tuple(folded.cells[rollup.name] for rollup in FOLDED)
    wide, narrow, customers, projects, teams, users, jobs, meters = tables
    days: dict[int, int] = {}
    seq = count = 0
    for row in rows:
        seq, at, until, provider, service, operation, feature, environment, status, basis = row[:10]
        customer, project, team, user, job, pricing, calls, sign, micro, pico, lines = row[10:]
        count += 1
        quarter = at // QUARTER_HOUR_MICROSECONDS
        day = days.get(quarter)
        if day is None:
            day = days[quarter] = day_of(quarter)
        calls *= sign
        amount = sign * (micro * _PICO_PER_MICRO + pico)
        flawed = status == _FAILED or pricing
        for cells, key in (
            (wide, (day, provider, service, operation, feature, environment, status, basis)),
            (narrow, (quarter, provider, service, status, basis)),
            (customers, (day, customer, provider, service, feature, basis)),
            (projects, (day, project, provider, service, feature, basis)),
            (teams, (day, team, provider, service, feature, basis)),
            (users, (day, user, provider, service, feature, basis)),
        ):
            cell = cells.get(key)
            if cell is None:
                cell = cells[key] = [0, 0, 0, 0, 0]
            cell[0] += calls
            cell[4] += amount
            if flawed:
                _count_flaws(cell, calls, status, pricing)
        _add_job(jobs, (job, provider, service, basis), at, until, calls, amount, status, pricing)
        _add_meters(meters, (day, provider, service), basis, shares_of(lines), calls, sign, amount, status, pricing)
        _widen(folded.spans, seq >> BLOCK_BITS, at)
    folded.last_seq = seq
    folded.entries = count
    for rollup in SUMMED:
        folded.cells[rollup.name] = summed(rollup, folded.cells[SOURCES[rollup.name].name])
    return folded


def summed(rollup: Rollup, source: Mapping[Key, Cell]) -> dict[Key, Cell]:
    """The cells of a rollup that sums those of its source."""
    theirs = SOURCES[rollup.name]
    first = 0 if theirs.grain is Grain.ALL_TIME else 1
    places = [first + theirs.dimensions.index(name) for name in rollup.dimensions]
    cells: dict[Key, Cell] = {}
    for key, cell in source.items():
        own = tuple([key[place] for place in places])
        if rollup.grain is not Grain.ALL_TIME:
            own = (number_of(rollup.grain, key[0]), *own)
        known = cells.get(own)
        if known is None:
            cells[own] = list(cell)
            continue
        for at in range(5):
            known[at] += cell[at]
        if rollup.spans:
            known[5:] = min(known[5], cell[5]), max(known[6], cell[6])
    return cells


def _count_flaws(cell: Cell, calls: int, status: int, pricing: int) -> None:
    if status == _FAILED:
        cell[1] += calls
    if pricing == _UNPRICED:
        cell[2] += calls
    elif pricing == _INCOMPLETE:
        cell[3] += calls


def _add_job(
    cells: dict[Key, Cell], key: Key, at: int, until: int, calls: int, amount: int, status: int, pricing: int
) -> None:
    cell = cells.get(key)
    if cell is None:
        cell = cells[key] = [0, 0, 0, 0, 0, at, until]
    cell[0] += calls
    cell[4] += amount
    _count_flaws(cell, calls, status, pricing)
    if at < cell[5]:
        cell[5] = at
    if until > cell[6]:
        cell[6] = until


def _add_meters(
    cells: dict[Key, Cell],
    place: Key,
    basis: int,
    shares: Shares,
    calls: int,
    sign: int,
    amount: int,
    status: int,
    pricing: int,
) -> None:
    counted: set[int] = set()
    for meter, share, nano in shares:
        cell = _meter_cell(cells, (*place, meter, basis))
        cell[4] += share * sign
        cell[5] += nano * calls
        if meter not in counted:
            counted.add(meter)
            cell[0] += calls
            _count_flaws(cell, calls, status, pricing)
    if not counted:
        cell = _meter_cell(cells, (*place, 0, basis))
        cell[0] += calls
        cell[4] += amount
        _count_flaws(cell, calls, status, pricing)


def _meter_cell(cells: dict[Key, Cell], key: Key) -> Cell:
    cell = cells.get(key)
    if cell is None:
        cell = cells[key] = [0, 0, 0, 0, 0, 0]
    return cell


def _widen(spans: dict[int, tuple[int, int]], block: int, at: int) -> None:
    span = spans.get(block)
    if span is None:
        spans[block] = (at, at)
    elif at < span[0]:
        spans[block] = (at, span[1])
    elif at > span[1]:
        spans[block] = (span[0], at)


def cap(
    cells: Mapping[Key, Cell], admitted: dict[tuple[int, int], set[int]], values_a_day: int
) -> tuple[dict[Key, Cell], list[tuple[int, int, int]]]:
    """The wide cells with values beyond the limit merged into OVERFLOW, and the values newly admitted.

    `admitted` holds, by (day, dimension's place), the values told apart so far; it is added to. Values are
    admitted in the order of the entries, so that the outcome does not depend on how they were cut into folds.
    """
    capped: dict[Key, Cell] = {}
    news: list[tuple[int, int, int]] = []
    for key, cell in cells.items():
        day = key[0]
        parts = list(key)
        for place in range(1, 1 + len(CAPPED_DIMENSIONS)):
            known = admitted.setdefault((day, place), set())
            value = parts[place]
            if not value or value in known:
                continue
            if len(known) < values_a_day:
                known.add(value)
                news.append((day, place, value))
            else:
                parts[place] = OVERFLOW
        merge(capped, tuple(parts), cell)
    return capped, news


def merge(cells: dict[Key, Cell], key: Key, cell: Cell) -> None:
    """Add a cell of event measures to the one of that key."""
    known = cells.get(key)
    if known is None:
        cells[key] = list(cell)
        return
    for at, value in enumerate(cell):
        known[at] += value


def stored(rollup: Rollup, key: Key, cell: Cell) -> tuple[int, ...]:
    """A cell as its table's columns: the amount as (micro, pico), a quantity as (whole, nano)."""
    pair = divmod(cell[4], _PICO_PER_MICRO)
    if rollup.spans:
        return (*key, *cell[:4], *pair, cell[5], cell[6])
    if rollup.by_meter:
        return (*key, *cell[:4], *pair, *divmod(cell[5], _NANO_PER_UNIT))
    return (*key, *cell[:4], *pair)


def measures_of(rollup: Rollup) -> tuple[str, ...]:
    """The columns of a rollup's table after its key."""
    common = ("events", "failed", "unpriced", "incomplete", "micro", "pico")
    if rollup.spans:
        return (*common, "first_at", "last_at")
    return (*common, "whole", "nano") if rollup.by_meter else common
