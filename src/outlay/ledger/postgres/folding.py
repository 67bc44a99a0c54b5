"""One fold: the server adds up most cells in one statement; what needs Python is the wide cells' cap and the meters.

An entry is folded only when no transaction of the server can still be running that began before its own: numbers are
given before commits, so a later number may be seen before an earlier one. The watermark is the last entry folded,
by (transaction, seq).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from outlay.ledger.cells import (
    IN_PYTHON,
    IN_SQL,
    Packed,
    add_statement,
    cell_of,
    filled,
    named_cells,
    sum_meters,
    summing,
)
from outlay.ledger.folding import Cell, Key, cap, stored
from outlay.ledger.postgres import statements
from outlay.ledger.postgres.connections import SUMMED_SINCE, read_meta
from outlay.ledger.postgres.statements import Connection, numbered, only, rows, rows_of, run, sql
from outlay.ledger.rollups import METERS, SUMMED, WIDE, Rollup

_WIDE_KEYS: Final = 1 + len(WIDE.dimensions)
_Place = tuple[int, int, int, int]


def fold_chunk(connection: Connection, limit: int, day_of: Callable[[int], int], values_a_day: int) -> int:
    """Fold up to `limit` entries in the caller's write transaction; how many there were."""
    run(connection, "lock_fold")
    meta = read_meta(connection)  # Another host may have folded while this one waited.
    (below,) = only(connection, "finished_below")
    since = (meta.folded_xact, meta.folded_seq)
    count, xact, seq, quarter_hours = only(connection, "fold_chunk", (*since, below, limit))
    if not count:
        return 0
    days = [day_of(quarter_hour) for quarter_hour in quarter_hours]
    chunk = (*since, xact, seq, quarter_hours, days)
    wide = _fold_in_sql(connection, chunk, SUMMED if meta.oldest >= SUMMED_SINCE else ())
    cells: dict[str, dict[Key, Cell]] = {WIDE.name: _capped(connection, wide, values_a_day)}
    cells[METERS.name] = sum_meters(_places(rows(connection, "fold_lines", chunk)), bytes)
    for rollup in IN_PYTHON:
        named = named_cells(statements, connection, rollup, cells[rollup.name])
        with connection.cursor() as cursor:
            text = numbered(add_statement(statements, rollup))
            cursor.executemany(text, [stored(rollup, key, named[key]) for key in sorted(named)])
    run(connection, "set_watermark", (xact, seq))
    return int(count)


def _fold_in_sql(connection: Connection, chunk: tuple[Any, ...], summed: Sequence[Rollup]) -> dict[Key, Cell]:
    added = ", ".join(
        (
            *(filled(statements, "fold_sum", rollup) for rollup in IN_SQL),
            *(summing(statements, "fold_sum_source", rollup) for rollup in summed),
            *(filled(statements, "fold_added", rollup) for rollup in (*IN_SQL, *summed)),
        )
    )
    found = rows_of(connection, sql("fold").replace("{added}", added), chunk)
    return {row[:_WIDE_KEYS]: cell_of(row[_WIDE_KEYS:]) for row in found}


def _capped(connection: Connection, wide: dict[Key, Cell], values_a_day: int) -> dict[Key, Cell]:
    admitted: dict[tuple[int, int], set[int]] = {}
    for day, dimension, value in rows(connection, "rollup_values", (sorted({key[0] for key in wide}),)):
        admitted.setdefault((day, dimension), set()).add(value)
    capped, news = cap(wide, admitted, values_a_day)
    if news:
        bound = ([day for day, _, _ in news], [place for _, place, _ in news], [value for *_, value in news])
        run(connection, "insert_rollup_values", bound)
    return capped


def _places(found: Iterable[tuple[Any, ...]]) -> Iterable[tuple[_Place, list[Packed]]]:
    places: dict[_Place, list[Packed]] = {}
    for day, provider, service, basis, *packed in found:
        places.setdefault((day, provider, service, basis), []).append(tuple(packed))
    return places.items()
