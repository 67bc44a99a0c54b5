"""One fold in SQL: most cells are summed by SQLite itself, beside the interpreter and outside the write lock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import apsw
import msgspec

from outlay.ledger.cells import (
    IN_PYTHON,
    IN_SQL,
    add_statement,
    cell_of,
    filled,
    key_columns,
    named_cells,
    sum_meters,
    summing,
)
from outlay.ledger.dialect import columns
from outlay.ledger.folding import Folded, measures_of, stored
from outlay.ledger.rollups import METERS, SUMMED, WIDE
from outlay.ledger.sqlite import statements
from outlay.ledger.sqlite.connections import Meta
from outlay.ledger.sqlite.statements import only, rows, sql

_read_entries: Final = msgspec.json.Decoder(list[tuple[int, int, int, int, int, int, int, str]]).decode


def prepare(connection: apsw.Connection) -> None:
    """Make this connection's temporary tables, where it has none yet."""
    connection.execute(sql("fold_tables"))
    for rollup in (*IN_SQL, *SUMMED):
        text = filled(statements, "fold_cells_table", rollup)
        connection.execute(text.replace("{columns}", columns((*key_columns(rollup), *measures_of(rollup)))))


def gather(connection: apsw.Connection, meta: Meta, limit: int, day_of: Callable[[int], int]) -> Folded:
    """Sum the next entries into temporary cells, and the wide and meter cells into `Folded`."""
    folded = Folded({rollup.name: {} for rollup in IN_PYTHON}, {})
    chunk = (meta.watermark, limit)
    quarters = [quarter for (quarter,) in rows(connection, "fold_new_quarter_hours", chunk)]
    connection.executemany(sql("fold_add_day"), [(quarter, day_of(quarter)) for quarter in quarters])
    connection.execute(sql("fold_take"), chunk)
    folded.entries, last = only(connection, "fold_taken")
    if not folded.entries:
        return folded
    folded.last_seq = last
    for rollup in IN_SQL:
        connection.execute(filled(statements, "fold_sum", rollup))
    for rollup in SUMMED:
        connection.execute(summing(statements, "fold_sum_source", rollup))
    width = 1 + len(WIDE.dimensions)
    for row in rows(connection, "fold_wide"):
        folded.cells[WIDE.name][row[:width]] = cell_of(row[width:])
    places = ((place, _read_entries(entries)) for *place, entries in rows(connection, "fold_lines"))
    folded.cells[METERS.name] = sum_meters(((tuple(place), entries) for place, entries in places), bytes.fromhex)
    return folded


def write(connection: apsw.Connection, folded: Folded, news: list[tuple[int, int, int]]) -> None:
    """Add what was gathered to the rollups and move the watermark, in the caller's transaction."""
    connection.executemany(sql("insert_rollup_value"), news)
    for rollup in (*IN_SQL, *SUMMED):
        # The temporary cells are in key order, so that each page is touched once.
        connection.execute(filled(statements, "fold_add", rollup))
    for rollup in IN_PYTHON:
        cells = named_cells(statements, connection, rollup, folded.cells[rollup.name])
        ordered = [stored(rollup, key, cells[key]) for key in sorted(cells)]
        connection.executemany(add_statement(statements, rollup), ordered)
    connection.execute(sql("fold_spans"))
    connection.execute(sql("set_watermark"), (folded.last_seq,))
