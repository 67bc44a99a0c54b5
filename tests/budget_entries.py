"""Budgets and reservations for tests of the stores: small, priced by hand."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace
from tests.ledger_entries import NOON, SECOND, make_entry

from outlay.budgets.coverage import packed, told_by, unpacked
from outlay.budgets.definition import WINDOWS, read_budget
from outlay.budgets.limits import BudgetIndex, dimensions_of, scope_of
from outlay.budgets.terms import Budget
from outlay.clock import window_of
from outlay.ledger.budget_store import AccountScope, Reserved, Reserving
from outlay.ledger.store import LedgerStore
from outlay.model import Account, Basis, Entry, Limit, Status

CENT = 10**10
"""Picounits of one cent."""


def put(store: LedgerStore, name: str, now: int = NOON, **fields: Any) -> Budget:
    """Keep a budget, refusing and of a day unless `fields` say otherwise."""
    given = fields if {"limits", "tiers"} & fields.keys() else {"window": "day", **fields}
    budget = read_budget(name, {"action": "refuse", **given})
    used = {limit.window for tier in budget.tiers for limit in tier.limits}
    scopes = [
        AccountScope(scope_of(budget), window, window_of(now, window, budget.zone).start, budget.where)
        for window in WINDOWS
        if window in used
    ]
    store.put_budget(name, packed(budget), scopes)
    return budget


def cents(number: int, id: str = "r1", at: int = NOON, **fields: Any) -> Entry:
    """An entry that costs so many cents: a thousand output tokens are one, at $10 a million."""
    return make_entry(id, at, time_given=False, usage={"output_tokens": 1_000 * number}, **fields)


def estimate_of(entry: Entry) -> Entry:
    """What expiry writes for a call whose worst case is this entry."""
    return replace(
        entry,
        event=replace(entry.event, status=Status.UNSETTLED, basis=Basis.ESTIMATED),
        rating=replace(entry.rating, basis=Basis.ESTIMATED),
        basis=Basis.ESTIMATED,
    )


def limits_of(store: LedgerStore, entry: Entry) -> tuple[Limit, ...]:
    """The limits that cover a call whose worst case is this entry."""
    index = BudgetIndex(unpacked(kept.body) for kept in store.budgets() if kept.active)
    return index.limits(dimensions_of(entry.event), entry.counted_at, told_by(entry), store.tier)


def asking(store: LedgerStore, entry: Entry, *, for_s: int = 600, **fields: Any) -> Reserving:
    """A reservation of what an entry costs, to be asked for."""
    now = entry.counted_at
    return Reserving(
        id=entry.event.id,
        limits=limits_of(store, entry),
        estimate=estimate_of(entry),
        now=now,
        deadline=now + for_s * SECOND,
        **fields,
    )


def reserve(store: LedgerStore, entry: Entry, *, for_s: int = 600, **fields: Any) -> Reserved:
    """Ask for a reservation of what an entry costs."""
    return store.reserve(asking(store, entry, for_s=for_s, **fields))


def account(store: LedgerStore, entry: Entry, place: int = 0) -> Account:
    """One of the accounts that cover a call, in the order of their keys."""
    limits = limits_of(store, entry)
    return store.accounts(limits)[limits[place].key]


def state(store: LedgerStore, entry: Entry, place: int = 0) -> tuple[int, int]:
    """(spent, reserved) of such an account, in cents."""
    found = account(store, entry, place)
    return found.spent // CENT, (found.committed - found.spent) // CENT
