"""Retention with checkpoints, and forgetting a name."""

from __future__ import annotations

import secrets
from hashlib import blake2b
from typing import Final

import apsw

from outlay.clock import DAY_MICROSECONDS, Instant
from outlay.ledger import rules
from outlay.ledger.codec import PRICINGS, STATUSES
from outlay.ledger.dialect import Row
from outlay.ledger.names import KIND_NUMBERS, decode_tags, encode_tags
from outlay.ledger.sqlite.accounts import Accounts
from outlay.ledger.sqlite.connections import Connections, read_meta
from outlay.ledger.sqlite.folder import Folder
from outlay.ledger.sqlite.statements import first, only, rows, rows_of, sql
from outlay.ledger.store import Retained
from outlay.model import PricingStatus, Status
from outlay.money import PICO_PER_MICRO

CHUNK: Final = 5_000
"""Entries dropped in one transaction: a whole day in one would hold the lock for a third of a second."""

_PAGES_A_STEP: Final = 2_000


class _Day:
    """A day's checkpoint, growing as its entries are dropped."""

    def __init__(self, connection: apsw.Connection, day: int) -> None:
        self.day = day
        found: Row = first(connection, "checkpoint", (day,)) or (0, 0, 0, 0, 0, 0, 0, b"")
        self.entries, self.events, self.failed, self.unpriced, self.incomplete = found[:5]
        self.amount = found[5] * PICO_PER_MICRO + found[6]
        self.digest = found[7]

    def take(self, row: Row) -> int:
        """Count an entry that is about to be dropped; its signed amount."""
        seq, fingerprint, sign, calls, status, pricing, micro, pico, _ = row
        amount: int = sign * (micro * PICO_PER_MICRO + pico)
        calls *= sign
        self.entries += 1
        self.events += calls
        self.failed += calls if STATUSES[status] is Status.FAILED else 0
        self.unpriced += calls if PRICINGS[pricing] is PricingStatus.UNPRICED else 0
        self.incomplete += calls if PRICINGS[pricing] is PricingStatus.INCOMPLETE else 0
        self.amount += amount
        self.digest = blake2b(self.digest + fingerprint + f"{seq} {amount}".encode(), digest_size=16).digest()
        return amount

    def write(self, connection: apsw.Connection) -> None:
        """Put the checkpoint beside what is dropped, in the same transaction."""
        pair = divmod(self.amount, PICO_PER_MICRO)
        counts = (self.entries, self.events, self.failed, self.unpriced, self.incomplete)
        connection.execute(sql("put_checkpoint"), (self.day, *counts, *pair, self.digest))


def retain(connections: Connections, folder: Folder, before_day: int, now: Instant) -> Retained:
    """See LedgerStore.retain."""
    rules.check_retention(before_day, now)
    while folder.fold(1_000_000):
        pass
    pages_before = _pages(connections)
    count = amount = 0
    with connections.writing() as connection:
        connection.execute(sql("set_horizon"), (before_day,))
    day = _next_day(connections, -(1 << 62), before_day)
    while day is not None:
        dropped = _drop_day(connections, day)
        count += dropped[0]
        amount += dropped[1]
        day = _next_day(connections, day, before_day)
    _drop_identities(connections, before_day - rules.IDENTITY_DAYS_KEPT)
    with connections.writing() as connection:
        connection.execute(sql("drop_reservations"), (before_day * DAY_MICROSECONDS,))
    freed = (pages_before - _vacuum(connections)) * _page_size(connections)
    return Retained(before_day=before_day, entries=count, amount=amount, bytes_freed=max(0, freed))


def _next_day(connections: Connections, after: int, before: int) -> int | None:
    with connections.reading() as connection:
        (day,) = only(connection, "dropped_day_next", (after, before))
    return None if day is None else int(day)


def _drop_day(connections: Connections, day: int) -> tuple[int, int]:
    count = amount = 0
    cursor: int | None = -1
    while cursor is not None:
        cursor, dropped, dropped_amount = _drop_chunk(connections, day, cursor)
        count += dropped
        amount += dropped_amount
    return count, amount


def _drop_chunk(connections: Connections, day: int, after: int) -> tuple[int | None, int, int]:
    """(where to go on, entries dropped, their amount). What is not folded yet stays for the next retention."""
    count = amount = 0
    with connections.writing() as connection:
        watermark = read_meta(connection).watermark
        checkpoint = _Day(connection, day)
        found = list(rows(connection, "droppable", (day, after, CHUNK)))
        last: int | None = None
        for hash63, root in found:
            last = hash63
            event = list(rows(connection, "event_for_dropping", (root,)))
            if not event or event[-1][0] > watermark:
                continue
            connection.execute(sql("mark_dropped"), (day, hash63, event[0][1]))
            for row in event:
                amount += checkpoint.take(row)
                connection.execute(sql("drop_entry"), (row[0],))
                if row[-1]:
                    connection.execute(sql("drop_own_tag_set"), (row[-1],))
            count += len(event)
            if count >= CHUNK:
                break
        if count:
            checkpoint.write(connection)
    return last, count, amount


def _drop_identities(connections: Connections, before_day: int) -> None:
    dropped = CHUNK
    while dropped >= CHUNK:
        with connections.writing() as connection:
            connection.execute(sql("drop_identities"), (before_day, CHUNK))
            dropped = connection.changes()


def _vacuum(connections: Connections) -> int:
    """Give free pages back to the disk, a few at a time; how many pages are left."""
    before = -1
    after = _pages(connections)
    while before != after:
        before = after
        with connections.vacating() as connection:
            connection.execute(f"PRAGMA incremental_vacuum({_PAGES_A_STEP})").fetchall()
        after = _pages(connections)
    return after


def _pages(connections: Connections) -> int:
    with connections.reading() as connection:
        return int(connection.pragma("page_count"))


def _page_size(connections: Connections) -> int:
    with connections.reading() as connection:
        return int(connection.pragma("page_size"))


def forget(connections: Connections, accounts: Accounts, kind: str, name: str) -> int:
    """See LedgerStore.forget."""
    rules.check_forgettable(kind)
    anonymous = f"forgotten-{secrets.token_hex(8)}"
    with connections.writing() as connection:
        tag_sets = _rename_tags(connection, name, anonymous)
        renamed = first(connection, "rename_dimension", (KIND_NUMBERS[kind], name, anonymous))
        statement = sql("bearers").replace("{column}", kind)
        bound = (-1 if renamed is None else renamed[0], f"[{','.join(map(str, tag_sets))}]")
        (bearers,) = next(rows_of(connection, statement, bound))
        accounts.forget(connection, kind, name, anonymous)
        connection.execute(sql("raise_epoch"))
    return int(bearers)


def _rename_tags(connection: apsw.Connection, name: str, anonymous: str) -> list[int]:
    touched: list[int] = []
    for id, body in list(rows(connection, "tag_sets")):
        tags = decode_tags(body)
        if name not in tags.values():
            continue
        digest, renamed = encode_tags({key: anonymous if value == name else value for key, value in tags.items()})
        # A set kept for one entry alone stays without a digest.
        connection.execute(sql("rename_tag_set"), (id, digest, renamed))
        touched.append(id)
    return touched
