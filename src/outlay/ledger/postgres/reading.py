"""Reading entries: one event's versions, one job's entries, and walks over many in pages.

A walk is many short transactions, not one long one: entries never change, so pages by seq agree with each other, and
no open view keeps the server from tidying up.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from outlay.ledger import rules
from outlay.ledger.codec import Decoder
from outlay.ledger.conditions import filter_conditions, joined, walk_start
from outlay.ledger.names import KIND_NUMBERS, NameBook, find_name
from outlay.ledger.postgres import statements
from outlay.ledger.postgres.connections import Connections, read_meta
from outlay.ledger.postgres.statements import Connection, only, rows, sql
from outlay.ledger.postgres.waiting import Write
from outlay.ledger.store import EntryFilter
from outlay.ledger.tallies import check_entry_filter
from outlay.model import Entry

_PAGE: Final = 2_000


def versions(connections: Connections, book: NameBook, id: str, days: Sequence[int] | None) -> list[list[Entry]]:
    """See LedgerStore.versions."""

    def work(connection: Connection) -> list[list[Entry]]:
        meta = read_meta(connection)
        asked = [day for (day,) in rows(connection, "identity_days")] if days is None else sorted(set(days))
        view = Write(connection, meta, book.at(meta.epoch))
        hash63 = rules.identity_hash(id)
        view.look_up((day, hash63) for day in asked)
        found = [_event_on(view, id, day, hash63) for day in asked]
        return [entries for entries in found if entries]

    return connections.read(work)


def _event_on(view: Write, id: str, day: int, hash63: int) -> list[Entry]:
    while True:
        found = view.identity((day, hash63))
        if found is None:
            return []
        entries = view.event(found.seq, day if found.root_day is None else found.root_day)
        # An identity with a day of another event leads to another capture of the same call.
        if entries and (entries[0].event.id == id or found.root_day is not None):
            return entries
        hash63 = rules.next_hash(hash63)


def job_entries(connections: Connections, book: NameBook, job: str) -> list[Entry]:
    """See LedgerStore.job_entries."""

    def work(connection: Connection) -> list[Entry]:
        decoder = Decoder(connection, book.at(read_meta(connection).epoch))
        number = find_name(statements, connection, KIND_NUMBERS["job"], job)
        return decoder.entries(rows(connection, "job_entries", (number,)))

    return connections.read(work)


def walk(connections: Connections, book: NameBook, filter: EntryFilter, limit: int | None) -> Iterator[Entry]:
    """See LedgerStore.entries."""
    check_entry_filter(filter.where)
    last = connections.read(lambda connection: int(only(connection, "last_seq")[0]))
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
    def work(connection: Connection) -> list[Entry]:
        conditions, bindings = filter_conditions(statements, connection, filter)
        bounds = (at, 0) if filter.newest_first else (at, last)
        text = sql("page_down" if filter.newest_first else "page_up").replace("{conditions}", joined(conditions))
        decoder = Decoder(connection, book.at(read_meta(connection).epoch))
        return decoder.entries(statements.rows_of(connection, text, (*bounds, *bindings, size)))

    return connections.read(work)
