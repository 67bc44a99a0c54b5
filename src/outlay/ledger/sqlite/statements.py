"""SQL lives in .sql files; this reads the named statements of one, so that code and SQL stay apart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from importlib.resources import files
from typing import Final

import apsw

from outlay.ledger.dialect import Row, named_statements

LEAST: str = "min"
GREATEST: str = "max"
MONTH: str = (
    "CAST(strftime('%Y', day * 86400, 'unixepoch') AS INTEGER) * 12"
    " + CAST(strftime('%m', day * 86400, 'unixepoch') AS INTEGER) - 1"
)
_FILES: Final = ("queries.sql", "budgets.sql", "serving.sql", "retention.sql", "moving.sql")
Executes = apsw.Connection | apsw.Cursor
"""What a statement is executed on: a cursor that is used again spares the making of one."""

SCHEMA_VERSION: Final = 7


def schema() -> str:
    """The script that makes an empty ledger."""
    return _text("schema.sql")


def migration(version: int) -> str:
    """The script that brings a ledger from the version before to `version`."""
    folder = files("outlay.ledger") / "sql" / "sqlite" / "migrations"
    found = [item for item in folder.iterdir() if item.name.startswith(f"{version:03d}_")]
    return found[0].read_text(encoding="utf-8")


def sql(name: str) -> str:
    """The statement of that name. A KeyError is a mistake in this package."""
    return _statements()[name]


def rows_of(connection: apsw.Connection, statement: str, bindings: Sequence[object] = ()) -> Iterator[Row]:
    """The rows of a statement's text."""
    found: Iterator[Row] = connection.execute(statement, bindings)
    return found


def rows(connection: apsw.Connection, name: str, bindings: Sequence[object] = ()) -> Iterator[Row]:
    """The rows of a named statement."""
    return rows_of(connection, sql(name), bindings)


walk = rows_of
"""SQLite gives its rows one by one anyway."""


def first(connection: apsw.Connection, name: str, bindings: Sequence[object] = ()) -> Row | None:
    """The first row of a named statement; None where there is none."""
    return next(rows(connection, name, bindings), None)


def only(connection: apsw.Connection, name: str, bindings: Sequence[object] = ()) -> Row:
    """The row of a statement that always gives one."""
    return next(rows(connection, name, bindings))


def run(connection: apsw.Connection, name: str, bindings: Sequence[object] = ()) -> int:
    """Run a named statement that changes rows; how many it touched."""
    connection.execute(sql(name), bindings)
    return connection.changes()


@cache
def _statements() -> dict[str, str]:
    return named_statements("\n".join(map(_text, _FILES)))


def _text(name: str) -> str:
    return (files("outlay.ledger") / "sql" / "sqlite" / name).read_text(encoding="utf-8")
