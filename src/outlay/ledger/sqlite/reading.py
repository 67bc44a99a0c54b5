"""Reading entries: one event's versions, one job's entries, and walks over many in pages.

A walk is many short reads, not one long one: entries never change, so pages by seq agree with each
other, and no open read keeps the log from being reset.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import apsw
import msgspec

from outlay.ledger import rules
from outlay.ledger.codec import BASIS_NUMBERS, STATUS_NUMBERS, Decoder
from outlay.ledger.names import KIND_NUMBERS, NameBook, decode_tags, find_name
from outlay.ledger.sqlite import statements
from outlay.ledger.sqlite.connections import Connections, read_meta
from outlay.ledger.sqlite.statements import rows, sql
from outlay.ledger.store import EntryFilter
from outlay.ledger.tallies import TAG_PREFIX, check_entry_filter
from outlay.model import Basis, Entry, Status

_PAGE: Final = 2_000

Conditions = tuple[list[str], list[object]]
"""SQL conditions to be joined by AND, and their bindings in order."""


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
    if filter.after is None:
        at = last if filter.newest_first else 0
    else:
        at = filter.after - 1 if filter.newest_first else filter.after
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
        conditions, bindings = where_conditions(connection, filter.where)
        conditions += time_conditions(filter.since, filter.until, filter.as_of, bindings)
        if filter.live_only and filter.as_of is None:
            conditions.append(sql("live_only"))
        elif filter.live_only:
            conditions.append(sql("live_only_as_of"))
            bindings.append(filter.as_of)
        statement = sql("page_down" if filter.newest_first else "page_up")
        bounds = (at, 0) if filter.newest_first else (at, last)
        decoder = Decoder(connection, names)
        rows = connection.execute(
            statement.replace("{conditions}", " AND ".join(conditions) or "1"), (*bounds, *bindings, size)
        )
        return [decoder.entry(row) for row in rows]


def time_conditions(since: int | None, until: int | None, as_of: int | None, bindings: list[object]) -> list[str]:
    """Conditions on when an entry occurred and was recorded; their values are added to `bindings`."""
    conditions = []
    for column, value in (("occurred_from >= ?", since), ("occurred_from < ?", until), ("recorded_at <= ?", as_of)):
        if value is not None:
            conditions.append(f"entry.{column}")
            bindings.append(value)
    return conditions


def where_conditions(connection: apsw.Connection, where: Mapping[str, tuple[str | None, ...]]) -> Conditions:
    """Conditions of table entry for each dimension but meter, and their bindings."""
    conditions: list[str] = []
    bindings: list[object] = []
    for name, values in where.items():
        if name == "meter":
            continue
        condition, bound = _condition(connection, name, values)
        conditions.append(condition)
        bindings += bound
    return conditions, bindings


def _condition(connection: apsw.Connection, name: str, values: Sequence[str | None]) -> tuple[str, list[object]]:
    if name in ("request", "trace"):
        return _text_condition(connection, name, values)
    if name.startswith(TAG_PREFIX):
        ids = tag_sets_with(connection, name.removeprefix(TAG_PREFIX), values)
        return any_of("entry.tags"), [_json(ids)]
    numbers = value_numbers(connection, name, values)
    if name == "job":
        return _nullable("entry.job", [number for number in numbers if number], None in values)
    return any_of(f"entry.{name}"), [_json(numbers)]


def _text_condition(connection: apsw.Connection, name: str, values: Sequence[str | None]) -> tuple[str, list[object]]:
    texts = [value for value in values if value is not None]
    if name == "trace" or None in values:
        return _nullable(f"entry.{name}", texts, None in values)
    # Through the index, which begins with the day.
    return f"entry.seq IN ({sql('request_seqs')})", [_json(texts)]


def _nullable(column: str, values: Sequence[object], none_too: bool) -> tuple[str, list[object]]:
    condition = any_of(column)
    if not none_too:
        return condition, [_json(values)]
    return f"({column} IS NULL OR {condition})", [_json(values)]


def any_of(column: str) -> str:
    """The condition that a column of ours is among the bound JSON list's values."""
    return sql("any_of").replace("{column}", column)


def value_numbers(connection: apsw.Connection, name: str, values: Sequence[str | None]) -> list[int]:
    """The numbers by which rows and cells hold the values of a dimension; unknown ones match nothing."""
    if name == "status":
        return [STATUS_NUMBERS[Status(value)] for value in values if value in set(Status)]
    if name == "basis":
        return [BASIS_NUMBERS[Basis(value)] for value in values if value in set(Basis)]
    return [find_name(statements, connection, KIND_NUMBERS[name], value) for value in values]


def tag_sets_with(connection: apsw.Connection, tag: str, values: Sequence[str | None]) -> list[int]:
    """The tag sets in which a tag has one of the values; 0, no tags, where None is among them."""
    found = [id for id, body in rows(connection, "tag_sets") if decode_tags(body).get(tag) in values]
    return [0, *found] if None in values else found


def _json(values: Sequence[object]) -> str:
    return msgspec.json.encode(values).decode()
