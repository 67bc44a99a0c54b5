"""Reading entries: one event's versions, one job's entries, and walks over many in pages.

A walk is many short reads, not one long one: entries never change, so pages by seq agree with each
other, and no open read keeps the log from being reset.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import apsw

from outlay.ledger import rules
from outlay.ledger.codec import Decoder
from outlay.ledger.conditions import filter_conditions, joined, walk_start
from outlay.ledger.names import KIND_NUMBERS, NameBook, find_name
from outlay.ledger.sqlite import statements
from outlay.ledger.sqlite.connections import Connections, read_meta
from outlay.ledger.sqlite.statements import sql
from outlay.ledger.store import EntryFilter
from outlay.ledger.tallies import check_entry_filter
from outlay.model import Entry

_PAGE: Final = 2_000


def versions(connections: Connections, book: NameBook, id: str, days: Sequence[int] | None) -> list[list[Entry]]:
    """See LedgerStore.versions."""
    with connections.reading() as connection:
        decoder = Decoder(connection, book.at(read_meta(connection).epoch))
        if days is None:
            days = [day for (day,) in connection.execute(sql("identity_days"))]
        found = [_event_on(connection, decoder, id, day) for day in sorted(set(days))]
    return [entries for entries in found if entries]


def _event_on(connection: apsw.Connection, decoder: Decoder, id: str, day: int) -> list[Entry]:
    hash63 = rules.identity_hash(id)
    while True:
        found = connection.execute(sql("find_identity"), (day, hash63)).fetchone()
        if found is None:
            return []
        rows = connection.execute(sql("event_entries"), (found[0],)).fetchall()
        # An identity with a fingerprint of its own leads to another capture of the same call.
        if rows and (rows[0][1] == id or found[1] is not None):
            return [decoder.entry(row) for row in rows]
        hash63 = rules.next_hash(hash63)


def job_entries(connections: Connections, book: NameBook, job: str) -> list[Entry]:
    """See LedgerStore.job_entries."""
    with connections.reading() as connection:
        decoder = Decoder(connection, book.at(read_meta(connection).epoch))
        number = find_name(statements, connection, KIND_NUMBERS["job"], job)
        return [decoder.entry(row) for row in connection.execute(sql("job_entries"), (number,))]


def walk(connections: Connections, book: NameBook, filter: EntryFilter, limit: int | None) -> Iterator[Entry]:
    """See LedgerStore.entries."""
    check_entry_filter(filter.where)
    with connections.reading() as connection:
        last = read_meta(connection).last_seq
    at = walk_start(filter, last)
    left = limit
    while left is None or left > 0:
        page = _page(connections, book, filter, at, last, _PAGE if left is None else min(_PAGE, left))
        yield from page
        if not page or (left is not None and len(page) == left):
            return
        left = None if left is None else left - len(page)
        at = page[-1].seq - 1 if filter.newest_first else page[-1].seq


def _page(
    connections: Connections, book: NameBook, filter: EntryFilter, at: int, last: int, size: int
) -> list[Entry]:
    with connections.reading() as connection:
        names = book.at(read_meta(connection).epoch)
        conditions, bindings = filter_conditions(statements, connection, filter)
        statement = sql("page_down" if filter.newest_first else "page_up")
        bounds = (at, 0) if filter.newest_first else (at, last)
        decoder = Decoder(connection, names)
        rows = connection.execute(statement.replace("{conditions}", joined(conditions)), (*bounds, *bindings, size))
        return [decoder.entry(row) for row in rows]
