"""Day partitions: made ahead, a few days at a time, so that no writer ever waits for one.

A day's entries and identities each have a table of their own, which retention drops in one piece. What comes for
another day, late or from a clock ahead, lies in the default partition; a day of which much comes, as in an import, is
given its partition, into which the little that came before is moved.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import partial
from typing import Final

from outlay.clock import DAY_MICROSECONDS, Instant, day_to_date
from outlay.errors import LedgerBusy
from outlay.ledger.postgres.connections import Connections, Meta
from outlay.ledger.postgres.statements import Connection, only, rows, run, sql

DAYS_AHEAD: Final = 3
"""Partitions are there for today, the day before, and this many days after."""

IMPORTED_MIN: Final = 1_000
"""How many entries of one day that a process writes are worth a partition."""

MOVED_MAX: Final = 50_000
"""A day of which more lies in the default partition stays there: moving it would hold writers up."""

_REMEMBERED_MAX: Final = 10_000
_BOUND_BY: Final = {"entry": "occurred_from", "identity": "day"}


class Partitions:
    """Which days have partitions, as far as this process knows."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._made_until = 0
        self._known: set[int] = set()
        self._seen: Counter[int] = Counter()

    def ahead(self, now: Instant) -> None:
        """Make the partitions of the days around now; they are looked for once a day."""
        today = now // DAY_MICROSECONDS
        if today + 1 < self._made_until:
            return
        if self._make_or_leave(range(today - 1, today + DAYS_AHEAD + 1)):
            self._made_until = today + DAYS_AHEAD + 1
            self._connections.write(lambda connection, _: run(connection, "drop_landed"))

    def for_import(self, instants: Iterable[Instant]) -> None:
        """Make the partitions of days of which much comes."""
        for day, count in Counter(at // DAY_MICROSECONDS for at in instants).items():
            if day in self._known:
                continue
            self._seen[day] += count
            if self._seen[day] >= IMPORTED_MIN:
                del self._seen[day]
                self._make_or_leave([day])
        if len(self._seen) > _REMEMBERED_MAX:
            self._seen.clear()

    def _make_or_leave(self, days: Iterable[int]) -> bool:
        try:
            self.make(days)
        except LedgerBusy:
            # Somebody reads for long: it is tried again, and until then the default partition takes what comes.
            return False
        return True

    def make(self, days: Iterable[int]) -> int:
        """Make the partitions of these days that are not there; how many were made."""
        if len(self._known) > _REMEMBERED_MAX:
            self._known.clear()
        wanted = sorted(set(days))
        there = self._connections.read(lambda connection: _there(connection, wanted))
        missing = [day for day in wanted if day not in there]
        made = 0
        for day in missing:
            made += self._connections.write(partial(_make, day=day), alone=True)
        self._known.update(wanted)
        return made


def name_of(table: str, day: int) -> str:
    """The name of a table's partition of a UTC day."""
    return f"{table}_{day_to_date(day):%Y_%m_%d}"


def _there(connection: Connection, days: Iterable[int]) -> set[int]:
    names = {name_of("entry", day): day for day in days}
    return {names[name] for (name,) in rows(connection, "tables_named", (list(names),))}


def _make(connection: Connection, meta: Meta, *, day: int) -> int:
    if day < meta.horizon:
        return 0
    first, after = day * DAY_MICROSECONDS, (day + 1) * DAY_MICROSECONDS
    connection.execute("SET LOCAL lock_timeout = '500ms'")
    if max(only(connection, "lie_in_default", (first, after, day, MOVED_MAX + 1))) > MOVED_MAX:
        return 0
    made = 0
    for table, bounds in (("entry", (first, after)), ("identity", (day, day + 1))):
        partition = name_of(table, day)
        if not list(rows(connection, "tables_named", ([partition],))):
            text = sql("make_partition").replace("{partition}", partition).replace("{table}", table)
            text = text.replace("{column}", _BOUND_BY[table])
            connection.execute(text.replace("{first}", str(bounds[0])).replace("{after}", str(bounds[1])))
            made = 1
    return made


def days_with_partitions(connection: Connection) -> list[int]:
    """The UTC days that have partitions, in order."""
    found = rows(connection, "partitions")
    return sorted(int(day) for (day,) in found)
