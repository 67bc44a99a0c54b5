"""A ledger on PostgreSQL as a whole: read in one view, filled by COPY."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

from psycopg import RawServerCursor

from outlay.ledger.cells import empty_summed, summing
from outlay.ledger.dialect import Row, columns
from outlay.ledger.moving import ENTRY, MOVING, STATE, Filling, Position, Snapshot, Table
from outlay.ledger.postgres import statements
from outlay.ledger.postgres.connections import Connections, Meta, read_meta
from outlay.ledger.postgres.partitions import Partitions
from outlay.ledger.postgres.statements import Connection, first, only, rows, run
from outlay.ledger.rollups import SUMMED

_AT_A_TIME: Final = 5_000


class _View:
    """A consistent view of the ledger."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def position(self) -> Position:
        """See Snapshot.position."""
        return _position(self._connection)

    def rows(self, table: Table, after: int | None = None) -> Iterator[Row]:
        """See Snapshot.rows."""
        since = "" if after is None else " WHERE seq > $1"
        statement = f"SELECT {columns(table.columns)} FROM {table.name}{since} ORDER BY {columns(table.key)}"  # noqa: S608  # names of this package
        with RawServerCursor(self._connection, "moving") as cursor:
            cursor.itersize = _AT_A_TIME
            cursor.execute(statement, () if after is None else (after,))
            yield from cursor


class _Fill:
    """The transaction that fills what is replaced as a whole."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def replace(self, table: Table, rows: Iterable[Row]) -> int:
        """See Filling.replace."""
        return _copied(self._connection, table, rows)


class PostgresMover:
    """See `moving.Mover`."""

    def __init__(self, connections: Connections, partitions: Partitions) -> None:
        self._connections = connections
        self._partitions = partitions

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """See Mover.snapshot."""
        with self._connections.reading(float("inf")) as connection:
            yield _View(connection)

    def position(self) -> Position:
        """See Mover.position."""
        return self._connections.read(_position, float("inf"))

    def mark(self, source: str | None) -> str | None:
        """See Mover.mark."""
        if source is not None:
            self._connections.write(lambda connection, _: run(connection, "put_setting", (MOVING, source)))
        row = self._connections.read(lambda connection: first(connection, "setting", (MOVING,)))
        return None if row is None else str(row[0])

    def filled_to(self) -> int:
        """See Mover.filled_to."""
        return self._connections.read(lambda connection: int(only(connection, "filled_to")[0]), float("inf"))

    def add(self, table: Table, rows: Sequence[Row]) -> int:
        """See Mover.add."""
        if table is ENTRY:
            self._partitions.for_import([row[ENTRY.columns.index("occurred_from")] for row in rows])
        return self._connections.write(partial(_added, table=table, added=rows))

    def finish(self, position: Position, fill: Callable[[Filling], None]) -> None:
        """See Mover.finish."""

        def work(connection: Connection, meta: Meta) -> None:
            connection.execute("SET LOCAL statement_timeout = 0")
            # A line of a bill goes before the bill; all are gone before the first is filled again.
            for table in reversed(STATE):
                connection.execute(f"DELETE FROM {table.name}")  # noqa: S608  # a name of this package
            run(connection, "drop_waiters")
            fill(_Fill(connection))
            for rollup in SUMMED:
                connection.execute(empty_summed(rollup))
                connection.execute(summing(statements, "sum_source", rollup))
            bound = (position.currency, position.zone, position.epoch, position.last_seq, position.horizon, meta.xact)
            run(connection, "set_meta", bound)
            only(connection, "set_entry_seq", (position.last_seq, position.last_seq))
            _set_numbers(connection)

        self._connections.write(work, alone=True)


def _added(connection: Connection, meta: Meta, *, table: Table, added: Sequence[Row]) -> int:
    """Copy rows beside the table, then into it where they are not there yet."""
    connection.execute("SET LOCAL statement_timeout = 0")
    entries = table is ENTRY
    run(connection, "fill_entries" if entries else "fill_identities")
    names = (*table.columns, "xact") if entries else table.columns
    complete = ((*row, meta.xact) for row in added) if entries else added
    _copy(connection, "fill", names, complete)
    return run(connection, "filled_entries" if entries else "filled_identities")


def _copied(connection: Connection, table: Table, moved: Iterable[Row]) -> int:
    if not table.flags:
        return _copy(connection, table.name, table.columns, moved)
    flags = [table.columns.index(name) for name in table.flags]

    def told() -> Iterator[list[Any]]:
        for row in moved:
            values = list(row)
            for place in flags:
                values[place] = bool(values[place])
            yield values

    return _copy(connection, table.name, table.columns, told())


def _copy(connection: Connection, name: str, names: Sequence[str], moved: Iterable[Sequence[Any]]) -> int:
    count = 0
    with connection.cursor().copy(f"COPY {name} ({columns(names)}) FROM STDIN") as copy:
        for row in moved:
            copy.write_row(row)
            count += 1
    return count


def _set_numbers(connection: Connection) -> None:
    """Let each table that numbers its rows go on behind the greatest number that came."""
    for table, name, sequence in list(rows(connection, "numbered_tables", ([table.name for table in STATE],))):
        connection.execute(
            f"SELECT setval($1, greatest(coalesce(max({columns([name])}), 0), 1), max({columns([name])}) IS NOT NULL)"  # noqa: S608  # names of this package
            f" FROM {table}",
            (sequence,),
        )


def _position(connection: Connection) -> Position:
    meta = read_meta(connection)
    currency, zone = only(connection, "currency_and_zone")
    (last_seq,) = only(connection, "last_seq")
    (entries,) = only(connection, "count_entries")
    return Position(currency, zone, meta.epoch, meta.horizon, last_seq, entries)
