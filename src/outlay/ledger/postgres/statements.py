"""Named statements for PostgreSQL, run so that any pooler may stand between.

Text is written with `?` and `?2` as everywhere in this package; the server is given `$1`, `$2`. Nothing is prepared,
and no session state is used: whatever a statement needs is set within its transaction.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any, Final, NamedTuple

import psycopg
from psycopg import RawServerCursor

from outlay.ledger.dialect import Row, named_statements

LEAST: str = "least"
GREATEST: str = "greatest"
MONTH: str = (
    "(extract(year FROM date '1970-01-01' + day) * 12 + extract(month FROM date '1970-01-01' + day))::integer - 1"
)


class Statement(NamedTuple):
    """A named statement, what is bound to it, and who is given its first row once the transaction is committed."""

    name: str
    bindings: Sequence[object]
    receive: Callable[[Row], None] | None = None


class Connection(psycopg.Connection[Row]):
    """A connection to the server, numbered at random: under its number it says which of its transactions landed.

    What is put into `last` is run with the COMMIT of a write transaction.
    """

    number: int
    last: list[Statement]


_AT_A_TIME: Final = 5_000
_MARK: Final = re.compile(r"\?(\d*)")
_FILES: Final = ("queries.sql", "budgets.sql", "serving.sql", "retention.sql", "moving.sql")
_ENTRY: Final = "{entry}"


def sql(name: str) -> str:
    """The statement of that name. A KeyError is a mistake in this package."""
    return _statements()[name]


def rows_of(connection: Any, statement: str, bindings: Sequence[object] = ()) -> Iterator[Row]:
    """The rows of a statement's text, all read before the first is given."""
    return iter(connection.execute(numbered(statement), bindings).fetchall())


def rows(connection: Any, name: str, bindings: Sequence[object] = ()) -> Iterator[Row]:
    """The rows of a named statement."""
    return rows_of(connection, sql(name), bindings)


def walk(connection: Any, statement: str, bindings: Sequence[object] = ()) -> Iterator[Row]:
    """The rows of a statement's text, some thousands at a time; other statements may run between."""
    with RawServerCursor(connection, "walk") as cursor:
        cursor.itersize = _AT_A_TIME
        cursor.execute(numbered(statement), bindings)
        yield from cursor


def first(connection: Any, name: str, bindings: Sequence[object] = ()) -> Row | None:
    """The first row of a named statement; None where there is none."""
    found: Row | None = connection.execute(numbered(sql(name)), bindings).fetchone()
    return found


def only(connection: Any, name: str, bindings: Sequence[object] = ()) -> Row:
    """The row of a statement that always gives one."""
    found: Row = connection.execute(numbered(sql(name)), bindings).fetchone()
    return found


def run(connection: Any, name: str, bindings: Sequence[object] = ()) -> int:
    """Run a named statement; how many rows it touched."""
    touched: int = connection.execute(numbered(sql(name)), bindings).rowcount
    return touched


def whole_numbers(values: Iterable[int | None]) -> str:
    """A list of whole numbers as bound to an array: as text, which is a tenth of the driver's own work."""
    return "{" + ",".join(["NULL" if value is None else str(value) for value in values]) + "}"


def blobs(values: Iterable[bytes]) -> str:
    """A list of bytes as bound to an array."""
    return "{" + ",".join([f'"\\\\x{value.hex()}"' for value in values]) + "}"


@lru_cache(maxsize=4_096)
def numbered(statement: str) -> str:
    """The statement with PostgreSQL's own marks: the first `?` is `$1`, and `?3` is `$3` wherever it stands."""
    count = 0

    def mark(found: re.Match[str]) -> str:
        nonlocal count
        if found.group(1):
            return f"${found.group(1)}"
        count += 1
        return f"${count}"

    return _MARK.sub(mark, statement)


def script(*path: str) -> str:
    """The text of a file of SQL."""
    file = files("outlay.ledger") / "sql" / "postgres"
    for part in path:
        file /= part
    return file.read_text(encoding="utf-8")


def scripts(folder: str) -> list[str]:
    """The names of the scripts in a folder, in the order in which they are run."""
    found = files("outlay.ledger") / "sql" / "postgres" / "migrations" / folder
    return sorted(item.name for item in found.iterdir() if item.name.endswith(".sql")) if found.is_dir() else []


@cache
def _statements() -> dict[str, str]:
    texts = [script(name) for name in _FILES if (files("outlay.ledger") / "sql" / "postgres" / name).is_file()]
    found = named_statements("\n".join(texts))
    every = found["entry_columns"]
    return {name: text.replace(_ENTRY, every) for name, text in found.items()}
