"""One fold in SQL: most cells are summed by SQLite itself, beside the interpreter and outside the write lock.

What needs Python is small: the wide rollup's few cells, to cap its values, and the packed lines, to sum
meters. The audit folds the same entries by the pure fold of `outlay.ledger.folding`, so each proves the other.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Final

import apsw
import msgspec

from outlay.errors import LedgerCorrupt
from outlay.ledger.codec import decode_lines
from outlay.ledger.folding import (
    CAPPED_DIMENSIONS,
    OVERFLOW,
    Cell,
    Folded,
    Key,
    Shares,
    measures_of,
    stored,
)
from outlay.ledger.names import KIND_NUMBERS, intern_name
from outlay.ledger.rollups import METERS, OTHER, ROLLUPS, WIDE, Grain, Rollup
from outlay.ledger.sqlite import statements
from outlay.ledger.sqlite.connections import Meta
from outlay.ledger.sqlite.statements import only, rows, sql
from outlay.money import PICO_PER_MICRO

_NANO_PER_UNIT: Final = 10**9
_unpack: Final = msgspec.msgpack.Decoder().decode
_read_entries: Final = msgspec.json.Decoder(list[tuple[int, int, int, int, int, int, int, str]]).decode
_IN_PYTHON: Final = (WIDE, METERS)
_IN_SQL: Final = tuple(rollup for rollup in ROLLUPS if rollup not in _IN_PYTHON)


def prepare(connection: apsw.Connection) -> None:
    """Make this connection's temporary tables, where it has none yet."""
    connection.execute(sql("fold_tables"))
    for rollup in _IN_SQL:
        columns = ", ".join((*key_columns(rollup), *measures_of(rollup)))
        connection.execute(_filled("fold_cells_table", rollup).replace("{columns}", columns))


def gather(connection: apsw.Connection, meta: Meta, limit: int, day_of: Callable[[int], int]) -> Folded:
    """Sum the next entries into temporary cells, and the wide and meter cells into `Folded`."""
    folded = Folded({rollup.name: {} for rollup in _IN_PYTHON}, {})
    chunk = (meta.watermark, limit)
    quarters = [quarter for (quarter,) in rows(connection, "fold_new_quarter_hours", chunk)]
    connection.executemany(sql("fold_add_day"), [(quarter, day_of(quarter)) for quarter in quarters])
    connection.execute(sql("fold_take"), chunk)
    folded.entries, last = only(connection, "fold_taken")
    if not folded.entries:
        return folded
    folded.last_seq = last
    for rollup in _IN_SQL:
        connection.execute(_filled("fold_sum", rollup))
    width = 1 + len(WIDE.dimensions)
    for row in rows(connection, "fold_wide"):
        folded.cells[WIDE.name][row[:width]] = _cell(row[width:])
    try:
        folded.cells[METERS.name] = _sum_meters(connection)
    except (msgspec.DecodeError, ValueError, TypeError, IndexError) as error:
        raise _not_unpacked() from error
    return folded


def _sum_meters(connection: apsw.Connection) -> dict[Key, Cell]:
    """The cells by meter. The one loop of a fold that holds the interpreter, so it is written for speed."""
    summed: dict[Key, Cell] = {}
    for day, provider, service, basis, entries in rows(connection, "fold_lines"):
        cells: dict[int, Cell] = {}
        for calls, sign, micro, pico, failed, unpriced, incomplete, lines in _read_entries(entries):
            unpacked = _unpack(bytes.fromhex(lines))
            shares = (
                unpacked[0] if len(unpacked) == 1 else [*unpacked[0], *(_without_money(one) for one in unpacked[1])]
            )
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
        for meter, cell in cells.items():
            summed[(day, provider, service, meter, basis)] = cell
    return summed


def _without_money(unrated: list[int]) -> tuple[int, int, int, int, int]:
    return unrated[0], unrated[1], unrated[2], 0, 0


def _cell(measures: tuple[int, ...]) -> Cell:
    events, failed, unpriced, incomplete, micro, pico = measures[:6]
    return [events, failed, unpriced, incomplete, micro * PICO_PER_MICRO + pico]


def write(connection: apsw.Connection, folded: Folded, news: list[tuple[int, int, int]]) -> None:
    """Add what was gathered to the rollups and move the watermark, in the caller's transaction."""
    connection.executemany(sql("insert_rollup_value"), news)
    for rollup in _IN_SQL:
        # The temporary cells are in key order, so that each page is touched once.
        connection.execute(_filled("fold_add", rollup))
    for rollup in _IN_PYTHON:
        cells = folded.cells[rollup.name]
        if rollup.capped and any(OVERFLOW in key for key in cells):
            cells = {
                with_other(key, lambda name: intern_name(statements, connection, KIND_NUMBERS[name], OTHER)): cell
                for key, cell in cells.items()
            }
        connection.executemany(_add_statement(rollup), [stored(rollup, key, cells[key]) for key in sorted(cells)])
    connection.execute(sql("fold_spans"))
    connection.execute(sql("set_watermark"), (folded.last_seq,))


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
    time = {Grain.DAY: ("day",), Grain.QUARTER_HOUR: ("quarter_hour",), Grain.ALL_TIME: ()}[rollup.grain]
    return (*time, *rollup.dimensions)


@cache
def _filled(name: str, rollup: Rollup) -> str:
    """A named statement with a rollup's names in it."""
    keys, measures = key_columns(rollup), measures_of(rollup)
    return (
        sql(name)
        .replace("{table}", rollup.name)
        .replace("{keys}", ", ".join(keys))
        .replace("{measures}", ", ".join(measures))
        .replace("{sums}", ", ".join(_SUMS[measure] for measure in measures))
        .replace("{normal}", ", ".join(_NORMAL.get(measure, measure) for measure in measures))
        .replace("{additions}", ", ".join(_ADDITIONS[measure] for measure in measures))
    )


@cache
def _add_statement(rollup: Rollup) -> str:
    """The statement that adds one cell to a rollup's table."""
    marks = ", ".join("?" * len((*key_columns(rollup), *measures_of(rollup))))
    return _filled("fold_cells", rollup).replace("{marks}", marks)


_SUMS: Final = {
    **{name: f"sum({name})" for name in ("events", "failed", "unpriced", "incomplete", "micro", "pico")},
    "first_at": "min(occurred_from)",
    "last_at": "max(occurred_to)",
    "whole": "",
    "nano": "",
}
_PICO: Final = f"((pico % {PICO_PER_MICRO} + {PICO_PER_MICRO}) % {PICO_PER_MICRO})"
# Division in SQL truncates; taking the floored remainder away first makes it exact.
_NORMAL: Final = {"micro": f"micro + (pico - {_PICO}) / {PICO_PER_MICRO}", "pico": _PICO}


def _plain(name: str) -> str:
    return f"{name} = {name} + excluded.{name}"


def _carried(larger: str, smaller: str, ratio: int) -> dict[str, str]:
    return {
        larger: f"{larger} = {larger} + excluded.{larger} + ({smaller} + excluded.{smaller}) / {ratio}",
        smaller: f"{smaller} = ({smaller} + excluded.{smaller}) % {ratio}",
    }


_ADDITIONS: Final[dict[str, str]] = {
    **{name: _plain(name) for name in ("events", "failed", "unpriced", "incomplete")},
    **_carried("micro", "pico", PICO_PER_MICRO),
    **_carried("whole", "nano", _NANO_PER_UNIT),
    "first_at": "first_at = min(first_at, excluded.first_at)",
    "last_at": "last_at = max(last_at, excluded.last_at)",
}
