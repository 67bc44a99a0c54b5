"""What is kept of a statement beside its lines: what it covers, its groups, and every column as it was received.

These are notes of the ledger: `statement` says what a bill covers, `statement_groups` and `statement_rows` hold its
groups and its rows, packed. Nothing of them is ever changed; a later statement says what it replaces.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from outlay.bills.groups import BilledGroup
from outlay.clock import Instant
from outlay.ledger.rules import FORGETTABLE
from outlay.ledger.store import LedgerStore

STATEMENT: Final = "statement"
GROUPS: Final = "statement_groups"
ROWS: Final = "statement_rows"
CHUNK: Final = 20_000
STATEMENTS_MAX: Final = 100_000
FAR: Final = 1 << 40
"""A day beyond every calendar."""

_LEVEL: Final = 1
_encode: Final = msgspec.msgpack.Encoder().encode


class KeptStatement(msgspec.Struct, frozen=True, kw_only=True):
    """A bill as it was taken in. `number` counts them in order.

    With `whole` it replaces all that earlier bills said of its providers, accounts (any, where it names none), sub
    accounts (the same) and invoices' months from `cover_from` to before `cover_to` (days since 1970-01-01); else
    only what it names itself. `totals` are the sums of its rows by currency, exactly.
    """

    id: str
    number: int
    source: str
    format: str
    providers: tuple[str, ...]
    accounts: tuple[str, ...]
    sub_accounts: tuple[str, ...]
    months: tuple[str, ...]
    whole: bool
    day_from: int
    day_to: int
    cover_from: int
    cover_to: int
    zone: str
    rows: int
    totals: dict[str, str]
    columns: tuple[str, ...]
    group_chunks: int
    row_chunks: int
    recorded_at: Instant

    def replaces(self, group: BilledGroup) -> bool:
        """Whether an earlier bill's group gives way to this one, though this one may not name it."""
        return self.covers(group.provider, group.account, group.sub_account, group.bill_month, group.day)

    def covers(self, provider: str, account: str, sub_account: str, month: str, day: int) -> bool:
        """Whether this bill is the last word on what was charged so."""
        if not self.whole or provider not in self.providers or month not in self.months:
            return False
        own = not self.accounts or not account or account in self.accounts
        sub = not self.sub_accounts or not sub_account or sub_account in self.sub_accounts
        return own and sub and self.cover_from <= day < self.cover_to


def statements(store: LedgerStore) -> list[KeptStatement]:
    """Every bill that was taken in, in order."""
    kept = [msgspec.json.decode(body, type=KeptStatement) for body in store.notes(STATEMENT, most=STATEMENTS_MAX)]
    return sorted(kept, key=lambda each: each.number)


def keep(store: LedgerStore, statement: KeptStatement) -> None:
    """Say that a bill was taken in whole: the last word of an import."""
    _put(store, STATEMENT, statement.id, msgspec.json.encode(statement), statement.recorded_at)


def keep_groups(store: LedgerStore, statement: str, groups: Sequence[BilledGroup], at: Instant) -> int:
    """Keep the groups of a bill, without names that somebody may ask to be forgotten; how many notes that took."""
    chunks = 0
    for first in range(0, len(groups), CHUNK):
        body = zlib.compress(_encode([_without_people(group) for group in groups[first : first + CHUNK]]), _LEVEL)
        _put(store, GROUPS, f"{statement}/{chunks}", body, at)
        chunks += 1
    return chunks


def keep_rows(store: LedgerStore, statement: str, chunk: int, rows: Sequence[Sequence[str]], at: Instant) -> None:
    """Keep the columns of some rows as they were received."""
    _put(store, ROWS, f"{statement}/{chunk}", zlib.compress(_encode(rows), _LEVEL), at)


def groups_of(store: LedgerStore, statement: KeptStatement) -> Iterator[BilledGroup]:
    """The groups of a bill."""
    for chunk in range(statement.group_chunks):
        body = store.note(GROUPS, f"{statement.id}/{chunk}")
        if body is not None:
            yield from msgspec.msgpack.decode(zlib.decompress(body), type=list[BilledGroup])


def rows_of(store: LedgerStore, statement: KeptStatement) -> Iterator[dict[str, str]]:
    """Every row of a bill as it was received: column to text, but for columns that may name a person."""
    for chunk in range(statement.row_chunks):
        body = store.note(ROWS, f"{statement.id}/{chunk}")
        if body is not None:
            for cells in msgspec.msgpack.decode(zlib.decompress(body), type=list[list[str]]):
                yield dict(zip(statement.columns, cells, strict=True))


def replaced(
    store: LedgerStore, standing: dict[bytes, BilledGroup], statement: KeptStatement
) -> dict[bytes, BilledGroup]:
    """What bills say together after one more: its word on the same thing counts."""
    left = {key: group for key, group in standing.items() if not (statement.whole and statement.replaces(group))}
    left.update((group.key, group) for group in groups_of(store, statement))
    return left


def _without_people(group: BilledGroup) -> BilledGroup:
    if group.tags.keys().isdisjoint(FORGETTABLE):
        return group
    left = {name: value for name, value in group.tags.items() if name not in FORGETTABLE}
    return msgspec.structs.replace(group, tags=left)


def _put(store: LedgerStore, kind: str, id: str, body: bytes, at: Instant) -> None:
    # An import that broke off left notes of the same content; they are written again as they stand.
    kept = store.note(kind, id)
    while kept != body and not store.put_note(kind, id, body, expects=kept, at=at, live=False):
        kept = store.note(kind, id)
