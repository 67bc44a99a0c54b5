"""A ledger file as a whole: read in one view, filled row by row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import apsw

from outlay.ledger.cells import empty_summed, summing
from outlay.ledger.dialect import Row, column, columns
from outlay.ledger.moving import ENTRY, IDENTITY, MOVING, STATE, Filling, Position, Snapshot, Table
from outlay.ledger.rollups import SUMMED
from outlay.ledger.sqlite import statements
from outlay.ledger.sqlite.connections import Connections, read_meta
from outlay.ledger.sqlite.statements import first, only, sql

_READ_OTHERWISE: Final = {"identity": "move_identities", "call_key": "move_call_keys"}
_KEPT_OTHERWISE: Final = {"identity": "put_moved_identity", "call_key": "put_moved_call_key"}


class _View:
    """A consistent view of the file."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def position(self) -> Position:
        """See Snapshot.position."""
        return _position(self._connection)

    def rows(self, table: Table, after: int | None = None) -> Iterator[Row]:
        """See Snapshot.rows."""
        if table.name in _READ_OTHERWISE:
            statement = sql(_READ_OTHERWISE[table.name])
        else:
            since = "" if after is None else " WHERE seq > ?"
            statement = f"SELECT {columns(table.columns)} FROM {table.name}{since} ORDER BY {columns(table.key)}"  # noqa: S608  # names of this package
        found: Iterator[Row] = self._connection.execute(statement, () if after is None else (after,))
        return found


class _Fill:
    """The transaction that fills what is replaced as a whole."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def replace(self, table: Table, rows: Iterable[Row]) -> int:
        """See Filling.replace."""
        before = self._connection.total_changes()
        self._connection.executemany(_insert(table), rows)
        return self._connection.total_changes() - before


class SqliteMover:
    """See `moving.Mover`."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """See Mover.snapshot."""
        with self._connections.reading(float("inf")) as connection:
            yield _View(connection)

    def position(self) -> Position:
        """See Mover.position."""
        with self._connections.reading(float("inf")) as connection:
            return _position(connection)

    def mark(self, source: str | None) -> str | None:
        """See Mover.mark."""
        if source is not None:
            with self._connections.writing() as connection:
                connection.execute(sql("put_setting"), (MOVING, source))
        with self._connections.reading() as connection:
            row = first(connection, "setting", (MOVING,))
        return None if row is None else str(row[0])

    def filled_to(self) -> int:
        """See Mover.filled_to."""
        with self._connections.reading() as connection:
            return int(only(connection, "filled_to")[0])

    def add(self, table: Table, rows: Sequence[Row]) -> int:
        """See Mover.add."""
        with self._connections.writing() as connection:
            before = connection.total_changes()
            connection.executemany(_insert(table), rows)
            return connection.total_changes() - before

    def finish(self, position: Position, fill: Callable[[Filling], None]) -> None:
        """See Mover.finish."""
        with self._connections.writing() as connection:
            # A line of a bill goes before the bill; all are gone before the first is filled again.
            for table in reversed(STATE):
                connection.execute(f"DELETE FROM {table.name}")  # noqa: S608  # a name of this package
            connection.execute(sql("drop_waiters"))
            fill(_Fill(connection))
            for rollup in SUMMED:
                connection.execute(empty_summed(rollup))
                connection.execute(summing(statements, "sum_source", rollup))
            connection.execute(sql("make_spans"))
            bound = (position.currency, position.zone, position.epoch, position.last_seq, position.horizon)
            connection.execute(sql("set_meta"), bound)


def _insert(table: Table) -> str:
    if table.name in _KEPT_OTHERWISE:
        return sql(_KEPT_OTHERWISE[table.name])
    marks = ", ".join("?" for _ in table.columns)
    conflict = "OR IGNORE " if table in (ENTRY, IDENTITY) else ""
    return f"INSERT {conflict}INTO {column(table.name)} ({columns(table.columns)}) VALUES ({marks})"  # noqa: S608  # names of this package


def _position(connection: apsw.Connection) -> Position:
    meta = read_meta(connection)
    currency, zone = only(connection, "currency_and_zone")
    (entries,) = only(connection, "count_entries")
    return Position(currency, zone, meta.epoch, meta.horizon, meta.last_seq, entries)
