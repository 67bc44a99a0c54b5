"""Adjustments: what makes the ledger say what the bill says, posted as entries and kept so when either changes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from hashlib import blake2b
from typing import Final

import msgspec

from outlay.bills.charges import GROUP_SIZE, amend
from outlay.clock import Instant, local_midnight, utc_day
from outlay.ledger.rules import fingerprint, live_version
from outlay.ledger.store import Amendment, EntryFilter, LedgerStore
from outlay.model import (
    Basis,
    Entry,
    EntryKind,
    Outcome,
    PricedLine,
    PricingStatus,
    Rating,
    UsageEvent,
)
from outlay.money import Money

RECONCILE: Final = "reconcile:"
RECONCILED: Final = "reconciled anew"
OPERATION: Final = "reconcile"
_GENERATION: Final = "~"


class Posted(msgspec.Struct, kw_only=True):
    """What posting did, in entries, and by how much the ledger's sum changed (picounits).

    On `dropped_days` nothing was done, because retention dropped what was posted there before.
    """

    created: int = 0
    changed: int = 0
    cancelled: int = 0
    amount: int = 0
    dropped_days: int = 0


def adjustment(
    provider: str, service: str, day: int, zone: str, amount: int, why: str, currency: str, now: Instant
) -> Entry:
    """The entry by which a service's day becomes what was billed. `why` names the parts of the difference."""
    name = blake2b("\x1f".join((provider, service, str(day), zone)).encode(), digest_size=12).hexdigest()
    event = UsageEvent(
        id=RECONCILE + name,
        provider=provider,
        service=service,
        operation=OPERATION,
        occurred_from=local_midnight(day, zone),
        occurred_to=local_midnight(day + 1, zone),
        basis=Basis.ADJUSTED,
        reported_cost=Money(amount, currency),
        id_given=True,
        time_given=True,
    )
    line = PricedLine("billed_cost", 1, amount, None, f"billed less called: {why}")
    rating = Rating((line,), amount, PricingStatus.PRICED, match="from the bill", basis=Basis.ADJUSTED)
    return Entry(
        event=event,
        rating=rating,
        recorded_at=now,
        counted_at=event.occurred_from,
        fingerprint=fingerprint(event),
        basis=Basis.ADJUSTED,
        kind=EntryKind.ADJUSTMENT,
        reason=f"reconciled: {why}"[:400],
    )


def standing_adjustments(
    store: LedgerStore, providers: Iterable[str], since: Instant, until: Instant
) -> dict[str, Entry]:
    """The adjustments that count now in a span, by the name in their id."""
    where: dict[str, tuple[str | None, ...]] = {"provider": tuple(providers), "basis": (Basis.ADJUSTED.value,)}
    found = store.entries(EntryFilter(since=since, until=until, where=where))
    return {
        _name(entry.event.id): entry for entry in found if entry.sign > 0 and entry.event.id.startswith(RECONCILE)
    }


def _name(id: str) -> str:
    return id.removeprefix(RECONCILE).partition(_GENERATION)[0]


def post(
    store: LedgerStore, wanted: Iterable[Entry], standing: Mapping[str, Entry], ours: Collection[str], now: Instant
) -> Posted:
    """Make the standing adjustments the wanted ones: new ones, changed ones by a correction; of the others those that
    are `ours` are taken back."""
    done = Posted()
    left = dict(standing)
    fresh: list[Entry] = []
    changes: list[Amendment] = []
    for entry in wanted:
        before = left.pop(_name(entry.event.id), None)
        if before is None:
            if entry.rating.amount:
                fresh.append(entry)
        elif not entry.rating.amount:
            changes.append(Amendment(before.seq, None, now, RECONCILED))
            done.amount -= before.rating.amount
            done.cancelled += 1
        elif before.rating.amount != entry.rating.amount:
            changes.append(Amendment(before.seq, _same_event(entry, before), now, RECONCILED))
            done.amount += entry.rating.amount - before.rating.amount
    for name, before in left.items():
        if name in ours:
            changes.append(Amendment(before.seq, None, now, RECONCILED))
            done.amount -= before.rating.amount
            done.cancelled += 1
    for first in range(0, len(changes), GROUP_SIZE):
        done.changed += amend(store, changes[first : first + GROUP_SIZE])
    done.changed -= done.cancelled
    for first in range(0, len(fresh), GROUP_SIZE):
        _append(store, fresh[first : first + GROUP_SIZE], done)
    return done


def _same_event(entry: Entry, before: Entry) -> Entry:
    event = msgspec.structs.replace(entry.event, id=before.event.id)
    return msgspec.structs.replace(entry, event=event, fingerprint=fingerprint(event))


def _append(store: LedgerStore, entries: list[Entry], done: Posted) -> None:
    again: list[Entry] = []
    for entry, result in zip(entries, store.append(entries), strict=True):
        if result.code == Outcome.CREATED:
            done.created += 1
            done.amount += entry.rating.amount
            continue
        versions = next(iter(store.versions(entry.event.id, [utc_day(entry.event.occurred_from)])), [])
        if versions and live_version(versions) is None:
            again.append(_next_generation(entry))
    if again:
        _append(store, again, done)


def _next_generation(entry: Entry) -> Entry:
    """The same adjustment under the next id: one that was taken back is charged no more."""
    name, _, generation = entry.event.id.partition(_GENERATION)
    event = msgspec.structs.replace(entry.event, id=f"{name}{_GENERATION}{int(generation or 1) + 1}")
    return msgspec.structs.replace(entry, event=event, fingerprint=fingerprint(event))
