"""What a fold in SQL is made of, whatever the engine: the statements' parts by rollup, and what needs Python.

Most cells are summed by the database itself. What needs Python is small: the wide rollup's few cells, to cap its
values, and the packed lines, to sum meters. The audit folds the same entries by the pure fold of
`outlay.ledger.folding`, so each proves the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any, Final

import msgspec

from outlay.errors import LedgerCorrupt
from outlay.ledger.codec import decode_lines
from outlay.ledger.dialect import Dialect, column, columns
from outlay.ledger.folding import CAPPED_DIMENSIONS, OVERFLOW, Cell, Key, Shares, measures_of
from outlay.ledger.names import KIND_NUMBERS, intern_name
from outlay.ledger.rollups import FOLDED, METERS, OTHER, SOURCES, WIDE, Grain, Rollup
from outlay.money import PICO_PER_MICRO

IN_PYTHON: Final = (WIDE, METERS)
IN_SQL: Final = tuple(rollup for rollup in FOLDED if rollup not in IN_PYTHON)

Packed = tuple[int, int, int, int, int, int, int, Any]
"""(calls, sign, micro, pico, failed, unpriced, incomplete, packed lines) of an entry."""

_NANO_PER_UNIT: Final = 10**9
_unpack: Final = msgspec.msgpack.Decoder().decode


def sum_meters(
    places: Iterable[tuple[tuple[int, int, int, int], Iterable[Packed]]], bytes_of: Callable[[Any], bytes]
) -> dict[Key, Cell]:
    """The cells by meter of the entries of each (day, provider, service, basis); `bytes_of` gives packed lines.

    The one loop of a fold that holds the interpreter, so it is written for speed. Raises LedgerCorrupt.
    """
    summed: dict[Key, Cell] = {}
    try:
        for (day, provider, service, basis), entries in places:
            for meter, cell in _meters_of(entries, bytes_of).items():
                summed[(day, provider, service, meter, basis)] = cell
    except (msgspec.DecodeError, ValueError, TypeError, IndexError) as error:
        raise _not_unpacked() from error
    return summed


def _meters_of(entries: Iterable[Packed], bytes_of: Callable[[Any], bytes]) -> dict[int, Cell]:
    cells: dict[int, Cell] = {}
    for calls, sign, micro, pico, failed, unpriced, incomplete, lines in entries:
        unpacked = _unpack(bytes_of(lines))
        shares = unpacked[0] if len(unpacked) == 1 else [*unpacked[0], *(_without_money(one) for one in unpacked[1])]
        counted: list[int] = []
        for meter, whole, nano, line_micro, line_pico, *_ in shares or ((0, 0, 0, sign * micro, sign * pico),):
            cell = cells.get(meter)
            if cell is None:
                cell = cells[meter] = [0, 0, 0, 0, 0, 0]
            cell[4] += sign * (line_micro * PICO_PER_MICRO + line_pico)
            cell[5] += calls * (whole * _NANO_PER_UNIT + nano)
            if meter not in counted:
                counted.append(meter)
                cell[0] += calls
                cell[1] += failed
                cell[2] += unpriced
                cell[3] += incomplete
    return cells


def _without_money(unrated: list[int]) -> tuple[int, int, int, int, int]:
    return unrated[0], unrated[1], unrated[2], 0, 0


def cell_of(measures: tuple[int, ...]) -> Cell:
    """A cell of a row's first six measures."""
    events, failed, unpriced, incomplete, micro, pico = measures[:6]
    return [events, failed, unpriced, incomplete, micro * PICO_PER_MICRO + pico]


def named_cells(dialect: Dialect, connection: Any, rollup: Rollup, cells: dict[Key, Cell]) -> dict[Key, Cell]:
    """A rollup's cells with OTHER in the place of values beyond the cap; its name is made where it is new."""
    if not rollup.capped or not any(OVERFLOW in key for key in cells):
        return cells

    def id_of(name: str) -> int:
        return intern_name(dialect, connection, KIND_NUMBERS[name], OTHER)

    return {with_other(key, id_of): cell for key, cell in cells.items()}


def shares_of(lines: bytes) -> Shares:
    """(meter, picounits, billionths) of each line and unpriced meter of a packed entry."""
    try:
        unpacked = decode_lines(lines)
    except msgspec.DecodeError as error:
        raise _not_unpacked() from error
    shares = [
        (line.meter, line.micro * PICO_PER_MICRO + line.pico, line.whole * _NANO_PER_UNIT + line.nano)
        for line in unpacked.priced
    ]
    if unpacked.unrated:
        shares += [(one.meter, 0, one.whole * _NANO_PER_UNIT + one.nano) for one in unpacked.unrated]
    return shares


def _not_unpacked() -> LedgerCorrupt:
    return LedgerCorrupt("a packed entry cannot be unpacked; restore a backup")


def with_other(key: Key, id_of: Callable[[str], int]) -> Key:
    """A wide key with the id of OTHER, by dimension, where it says OVERFLOW."""
    names = WIDE.dimensions[: len(CAPPED_DIMENSIONS)]
    parts = (
        id_of(name) if part == OVERFLOW else part for name, part in zip(names, key[1 : 1 + len(names)], strict=True)
    )
    return (key[0], *parts, *key[1 + len(names) :])


def key_columns(rollup: Rollup) -> tuple[str, ...]:
    """The key's columns of a rollup's table."""
    time = {Grain.ALL_TIME: ()}.get(rollup.grain, (rollup.grain.value,))
    return (*time, *rollup.dimensions)


def filled(dialect: Dialect, name: str, rollup: Rollup) -> str:
    """A named statement with a rollup's names in it."""
    return _filled(dialect.sql(name), rollup, dialect.LEAST, dialect.GREATEST)


def add_statement(dialect: Dialect, rollup: Rollup) -> str:
    """The statement that adds one cell to a rollup's table."""
    marks = ", ".join("?" * len((*key_columns(rollup), *measures_of(rollup))))
    return filled(dialect, "fold_cells", rollup).replace("{marks}", marks)


def summing(dialect: Dialect, name: str, rollup: Rollup) -> str:
    """A named statement about a rollup that sums the cells of its source."""
    source = SOURCES[rollup.name]
    known = key_columns(source)
    windows = {"week": _WEEK, "month": dialect.MONTH}
    keys = [f"{column(key) if key in known else windows[key]} AS {column(key)}" for key in key_columns(rollup)]
    sums = [f"{_CELL_SUMS[measure]} AS {measure}" for measure in measures_of(rollup)]
    return (
        filled(dialect, name, rollup)
        .replace("{source}", source.name)
        .replace("{source_cells}", ", ".join((*keys, *sums)))
        .replace("{groups}", ", ".join(str(place + 1) for place in range(len(keys))))
    )


def empty_summed(rollup: Rollup) -> str:
    """The statement that empties a rollup's table."""
    return f"DELETE FROM {rollup.name}"  # noqa: S608  # a name of this package


@cache
def _filled(text: str, rollup: Rollup, least: str, greatest: str) -> str:
    keys, measures = key_columns(rollup), measures_of(rollup)
    return (
        text.replace("{keys}", columns(keys))
        .replace("{measures}", ", ".join(measures))
        .replace("{sums}", ", ".join(_SUMS[measure] for measure in measures))
        .replace("{normal}", ", ".join(_NORMAL.get(measure, measure) for measure in measures))
        .replace("{additions}", ", ".join(_ADDITIONS[measure] for measure in measures))
        .replace("{table}", rollup.name)
        .replace("{least}", least)
        .replace("{greatest}", greatest)
    )


_SUMS: Final = {
    **{name: f"sum({name})" for name in ("events", "failed", "unpriced", "incomplete", "micro", "pico")},
    "first_at": "min(occurred_from)",
    "last_at": "max(occurred_to)",
    "whole": "",
    "nano": "",
}
_CELL_SUMS: Final = {**_SUMS, "first_at": "min(first_at)", "last_at": "max(last_at)"}
# Days are floored to Mondays, of which one lies three days before day 0.
_WEEK: Final = "(day + 3 - ((day + 3) % 7 + 7) % 7) / 7"
_PICO: Final = f"((pico % {PICO_PER_MICRO} + {PICO_PER_MICRO}) % {PICO_PER_MICRO})"
# Division in SQL truncates; taking the floored remainder away first makes it exact.
_NORMAL: Final = {"micro": f"micro + (pico - {_PICO}) / {PICO_PER_MICRO}", "pico": _PICO}


def _plain(name: str) -> str:
    return f"{name} = {{table}}.{name} + excluded.{name}"


def _carried(larger: str, smaller: str, ratio: int) -> dict[str, str]:
    return {
        larger: (
            f"{larger} = {{table}}.{larger} + excluded.{larger}"
            f" + ({{table}}.{smaller} + excluded.{smaller}) / {ratio}"
        ),
        smaller: f"{smaller} = ({{table}}.{smaller} + excluded.{smaller}) % {ratio}",
    }


_ADDITIONS: Final[dict[str, str]] = {
    **{name: _plain(name) for name in ("events", "failed", "unpriced", "incomplete")},
    **_carried("micro", "pico", PICO_PER_MICRO),
    **_carried("whole", "nano", _NANO_PER_UNIT),
    "first_at": "first_at = {least}({table}.first_at, excluded.first_at)",
    "last_at": "last_at = {greatest}({table}.last_at, excluded.last_at)",
}
