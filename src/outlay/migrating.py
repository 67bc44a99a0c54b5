"""Moving a ledger whole from one store to another: every row, in order, with its number; proved on both ends.

Entries and identities travel in batches, each kept by the target as it comes, so that a move that is stopped goes on
where it was. All else is replaced at the end in one transaction, with which the target becomes a ledger.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Final

import msgspec

from outlay.api import Ledger
from outlay.errors import InvalidInput, LedgerError
from outlay.ledger.dialect import Row
from outlay.ledger.moving import (
    ENTRY,
    IDENTITY,
    MOVING,
    STATE,
    Filling,
    Movable,
    Mover,
    Position,
    Snapshot,
    Table,
    Upgradable,
)
from outlay.ledger.store import LedgerStore
from outlay.model import CostQuery
from outlay.money import Money
from outlay.opening import open_ledger

BATCH: Final = 5_000
"""How many rows the target keeps at a time."""

Progress = Callable[[str, int, int], None]
"""Told (what is moved, how many rows came, how many there are in all) after each batch."""

_encode: Final = msgspec.json.Encoder().encode


class Migrated(msgspec.Struct, frozen=True, kw_only=True):
    """What a move did. `resumed` is how many entries a move that was stopped had left; `amount` is in picounits."""

    entries: int
    resumed: int
    identities: int
    rows: int
    amount: int
    currency: str

    @property
    def cost(self) -> Money:
        """What all entries sum to, the same in both ledgers."""
        return Money(self.amount, self.currency)


class _Mark(msgspec.Struct, frozen=True):
    """What a target notes of its source; `done` once it was filled, up to there."""

    source: str
    horizon: int
    done: Position | None = None


_decode_mark: Final = msgspec.json.Decoder(_Mark).decode


def migrate(source: str | Path, target: str | Path, *, progress: Progress | None = None) -> Migrated:
    """Move the ledger at `source` into the one at `target`, which is made; the source stays as it is.

    Nothing may write to either meanwhile. Run again with the same addresses, a move that was stopped goes on; one
    that is done is proved again. Raises InvalidInput `same_ledger`, `not_movable` (a ledger in memory),
    `target_not_empty`; LedgerError `source_changed` (something wrote to it: stop that, then run it again),
    `migration_unsound` (the audit of an end, or a comparison of both, found something).
    """
    if str(source) == str(target):
        raise InvalidInput("source and target are the same ledger; give another target", code="same_ledger")
    with (
        open_ledger(source) as old,
        open_ledger(target, currency=old.currency, zone=old.store.home_zone) as new,
    ):
        while old.fold():
            pass
        done = _moved(old.store, new.store, progress or _tell_nobody)
    # Opened again, as whoever uses it next will.
    with open_ledger(source) as old, open_ledger(target) as new:
        return msgspec.structs.replace(done, amount=_proved(old, new))


def finish_upgrade(address: str | Path) -> list[str]:
    """Apply to a ledger what older programs could not live with; the names of the scripts that were applied.

    For a ledger on PostgreSQL, once every host runs this version: from then on older programs are refused. A file is
    upgraded as a whole when it is opened, so nothing is left to apply.
    """
    with open_ledger(address) as ledger:
        store = ledger.store
        return store.finish_migration() if isinstance(store, Upgradable) else []


def _tell_nobody(what: str, done: int, total: int) -> None:
    """Where nobody asked for progress."""


def _mover(store: LedgerStore) -> Mover:
    if not isinstance(store, Movable):
        raise InvalidInput(f"{store.address} cannot be moved: it lives in memory only", code="not_movable")
    return store.mover()


def _moved(old: LedgerStore, new: LedgerStore, progress: Progress) -> Migrated:
    reader, filler = _mover(old), _mover(new)
    with reader.snapshot() as view:
        position = view.position()
        mark = _Mark(old.address, position.horizon)
        _check_target(new, filler, mark)
        filler.mark(_encode(mark).decode())
        resumed = filler.position().entries
        added = _add(view, filler, ENTRY, progress, position.entries, after=filler.filled_to(), already=resumed)
        identities = _add(view, filler, IDENTITY, progress, position.entries)
        if reader.position() != position:
            raise _source_changed(old)
        rows = 0

        def fill(filling: Filling) -> None:
            nonlocal rows
            rows = sum(_replaced(view, filling, table, mark, position) for table in STATE)
            progress("the rest", rows, rows)

        filler.finish(position, fill)
    return Migrated(
        entries=added + resumed,
        resumed=resumed,
        identities=identities,
        rows=rows,
        amount=0,
        currency=position.currency,
    )


def _check_target(new: LedgerStore, filler: Mover, mark: _Mark) -> None:
    """Only an empty ledger is filled, or one that this source was filling and that nobody has used since."""
    packed = filler.mark(None)
    if packed is None:
        if filler.position().entries or new.budgets() or new.rates():
            raise InvalidInput(
                f"{new.address} is a ledger with a life of its own; give the address of a new one",
                code="target_not_empty",
            )
        return
    known = _decode_mark(packed)
    if known.source != mark.source:
        raise InvalidInput(f"{new.address} was being filled from {known.source}", code="target_not_empty")
    if known.horizon != mark.horizon:
        raise InvalidInput(
            f"{mark.source} has dropped days since {new.address} was begun; give the address of a new target",
            code="target_not_empty",
        )
    if known.done is not None and filler.position() != known.done:
        raise InvalidInput(
            f"{new.address} was filled from this ledger and used since; give the address of a new one",
            code="target_not_empty",
        )


def _add(
    view: Snapshot,
    filler: Mover,
    table: Table,
    progress: Progress,
    total: int,
    *,
    after: int | None = None,
    already: int = 0,
) -> int:
    """Move what grows only, batch by batch; how many rows were new to the target."""
    rows = view.rows(table, after)
    name = "entries" if table is ENTRY else "identities"
    added = seen = 0
    while batch := list(islice(rows, BATCH)):
        added += filler.add(table, batch)
        seen += len(batch)
        progress(name, already + seen, max(total, already + seen))
    return added


def _replaced(view: Snapshot, filling: Filling, table: Table, mark: _Mark, position: Position) -> int:
    """Move a table whole; among the settings goes the note of where they came from."""
    rows = view.rows(table)
    if table.name == "setting":
        rows = _settings(rows, _encode(msgspec.structs.replace(mark, done=position)).decode())
    return filling.replace(table, rows)


def _settings(rows: Iterator[Row], note: str) -> Iterator[Row]:
    for row in rows:
        if row[0] != MOVING:
            yield row
    yield (MOVING, note)


def _source_changed(store: LedgerStore) -> LedgerError:
    return LedgerError(
        f"something wrote to {store.address} while it was read; stop that, then run the same again: it goes on",
        code="source_changed",
    )


def _proved(old: Ledger, new: Ledger) -> int:
    """Audit both ends and compare them; the sum of all entries."""
    for ledger in (old, new):
        found = ledger.audit().findings
        if found:
            first = found[0]
            raise _unsound(f"{first.code} of {first.subject} is {first.found}, not {first.expected}", ledger.store)
    query = CostQuery(by=("provider", "service", "basis"))
    ours, theirs = old.store.costs(query), new.store.costs(query)
    if (ours.rows, ours.total) != (theirs.rows, theirs.total):
        raise _unsound(f"the total is {theirs.total.cost}, not {ours.total.cost}", new.store)
    for name, of in _COMPARED.items():
        if of(old.store) != of(new.store):
            raise _unsound(f"{name} differ from the source's", new.store)
    return ours.total.amount


def _unsound(what: str, store: LedgerStore) -> LedgerError:
    return LedgerError(f"{store.address}: {what}; keep using the source", code="migration_unsound")


_COMPARED: Final[dict[str, Callable[[LedgerStore], object]]] = {
    "entries": lambda store: _mover(store).position(),
    "budgets": lambda store: store.budgets(),
    "what is to be told": lambda store: store.outbox(),
    "statements": lambda store: store.statement_lines(),
    "jobs": lambda store: store.job_outcomes(),
    "catalogues": lambda store: store.catalogues(),
    "access keys": lambda store: store.access_keys(),
}
"""What both ends must say alike, beside the costs."""
