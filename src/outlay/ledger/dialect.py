"""What the SQL stores share speaks to an engine through this: named statements, each store's own text of them.

So a question, a fold or an audit is written once, and only what an engine says differently lies in its .sql files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, Protocol

Row = tuple[Any, ...]
"""What a store's tables give back: int, str, bytes or None in each place, as the tables say."""

_MARK: Final = "-- name: "


class Dialect(Protocol):
    """How one engine runs its statements; a store's `statements` module is one. A `connection` is the engine's."""

    LEAST: str
    """The function that gives the least of its arguments."""

    GREATEST: str
    """The function that gives the greatest of its arguments."""

    MONTH: str
    """The month of the column `day`, as `rollups.month_of` gives it."""

    def sql(self, name: str) -> str:
        """The statement of that name. A KeyError is a mistake in this package."""
        ...

    def rows_of(self, connection: Any, statement: str, bindings: Sequence[object] = ()) -> Iterator[Row]:
        """The rows of a statement's text."""
        ...

    def rows(self, connection: Any, name: str, bindings: Sequence[object] = ()) -> Iterator[Row]:
        """The rows of a named statement."""
        ...

    def walk(self, connection: Any, statement: str, bindings: Sequence[object] = ()) -> Iterator[Row]:
        """The rows of a statement's text where there may be millions: they are never all in memory."""
        ...

    def first(self, connection: Any, name: str, bindings: Sequence[object] = ()) -> Row | None:
        """The first row of a named statement; None where there is none."""
        ...

    def only(self, connection: Any, name: str, bindings: Sequence[object] = ()) -> Row:
        """The row of a statement that always gives one."""
        ...

    def run(self, connection: Any, name: str, bindings: Sequence[object] = ()) -> int:
        """Run a named statement that changes rows; how many it touched."""
        ...


def named_statements(text: str) -> dict[str, str]:
    """The statements of .sql files, each behind a line `-- name: …`, without their comments."""
    found: dict[str, str] = {}
    for part in text.split(_MARK)[1:]:
        name, _, body = part.partition("\n")
        lines = [line for line in body.splitlines() if not line.lstrip().startswith("--")]
        found[name.strip()] = "\n".join(lines).strip()
    return found


def column(name: str) -> str:
    """A column's name as an identifier: `user` is a word of PostgreSQL's own."""
    return f'"{name}"'


def columns(names: Sequence[str]) -> str:
    """Columns' names in a list."""
    return ", ".join(map(column, names))
