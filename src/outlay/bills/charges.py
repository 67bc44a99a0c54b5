"""Charges of a bill's groups, and what a restated bill changes about them: reversals and new entries, never edits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Final, NamedTuple

import msgspec

from outlay.bills.groups import BilledGroup, pico_of
from outlay.bills.kept import KeptStatement
from outlay.capture.intake import quantity
from outlay.capture.statements import Category
from outlay.clock import Instant, date_to_day, local_day, local_midnight, to_datetime, utc_day
from outlay.errors import InvalidInput
from outlay.ledger.rules import fingerprint, live_version
from outlay.ledger.store import Amendment, EntryFilter, LedgerStore, Statement
from outlay.meters import METERS
from outlay.model import (
    ATTRIBUTIONS,
    Appended,
    Basis,
    CostQuery,
    Entry,
    EntryKind,
    Outcome,
    PricedLine,
    PricingStatus,
    Quantity,
    Rating,
    UsageEvent,
)
from outlay.money import EXACT, Money

BILL: Final = "bill:"
RESTATED: Final = "restated by the provider"
GROUP_SIZE: Final = 5_000
_GENERATION: Final = "~"
_TAGS_MAX: Final = 56
_QUANTITY_PLACES: Final = Decimal("1e-9")


class Charged(msgspec.Struct, kw_only=True):
    """What charging did: rows charged and rows known as they are; charges changed by the bill and taken back."""

    created: int = 0
    known: int = 0
    restated: int = 0
    reversed: int = 0
    amount: int = 0
    conflicts: list[str] = []


class Standing(msgspec.Struct, frozen=True, gc=False):
    """A charge of an earlier bill that counts now: its entry's place, its id, and what it is about."""

    seq: int
    id: str
    amount: int
    fingerprint: bytes
    account: str
    sub_account: str
    month: str
    day_from: Instant


def entry_of(group: BilledGroup, now: Instant, *, id: str | None = None, kind: EntryKind = EntryKind.CHARGE) -> Entry:
    """The charge of a group, with basis `billed`."""
    attributed = {name: group.tags[name] for name in ATTRIBUTIONS if name in group.tags}
    bare = UsageEvent(
        id=id or BILL + group.name,
        provider=group.provider,
        service=group.service,
        occurred_from=group.occurred_from,
        occurred_to=group.occurred_to,
        usage=_usage(group),
        tags=_tags(group),
        parameters={"bill_month": group.bill_month, **({"account": group.account} if group.account else {})},
        basis=Basis.BILLED,
        reported_cost=Money(group.amount, group.currency) if group.exchange is None else _native(group),
        id_given=True,
        time_given=True,
    )
    event = msgspec.structs.replace(bare, **attributed)
    rating = Rating(
        (_billed_line(group),), group.amount, PricingStatus.PRICED, match="from the bill", basis=Basis.BILLED
    )
    return Entry(
        event=event,
        rating=rating,
        recorded_at=now,
        counted_at=event.occurred_from,
        fingerprint=fingerprint(event),
        basis=Basis.BILLED,
        kind=kind,
    )


def _native(group: BilledGroup) -> Money:
    return Money(pico_of(group.cost, None), group.currency)


def _billed_line(group: BilledGroup) -> PricedLine:
    note = "as billed" if group.quantity is None else f"as billed: {group.quantity:f} {group.unit}".rstrip()
    if group.category is not Category.USAGE:
        note = f"{note} ({group.category.value})"
    if group.exchange is None:
        return PricedLine("billed_cost", 1, group.amount, None, note)
    return PricedLine("billed_cost", 1, group.amount, None, note, _native(group).pico, group.exchange)


def _usage(group: BilledGroup) -> dict[str, Quantity]:
    used = group.of_meter()
    if used is None or group.meter is None or used < 0:
        return {}
    used = used.quantize(_QUANTITY_PLACES, context=EXACT) if used.adjusted() < 18 else used
    if METERS[group.meter].whole and used != int(used):
        return {}
    try:
        return {group.meter: quantity(used, group.meter)}
    except InvalidInput:
        return {}  # More than the ledger counts of anything: the statement keeps its text, the charge its cost.


def _tags(group: BilledGroup) -> dict[str, str]:
    own = {"resource": group.resource, "region": group.region, "account": group.sub_account, "sku": group.sku}
    if group.category is not Category.USAGE:
        own["category"] = group.category.value
    told = [(name, value) for name, value in group.tags.items() if name not in ATTRIBUTIONS]
    return {**dict(told[:_TAGS_MAX]), **{name: value for name, value in own.items() if value}}


def standing_charges(
    store: LedgerStore, providers: Iterable[str], since: Instant | None, until: Instant | None
) -> dict[str, Standing]:
    """The charges of bills that count now, by the key in their id."""
    where: dict[str, tuple[str | None, ...]] = {"provider": tuple(providers), "basis": (Basis.BILLED.value,)}
    found: dict[str, Standing] = {}
    for entry in store.entries(EntryFilter(since=since, until=until, where=where)):
        event = entry.event
        if entry.sign < 0 or not event.id.startswith(BILL):
            continue
        key = event.id.removeprefix(BILL).partition(_GENERATION)[0]
        account, month = event.parameters.get("account", ""), event.parameters.get("bill_month", "")
        found[key] = Standing(
            entry.seq,
            event.id,
            entry.rating.amount,
            entry.fingerprint,
            str(account),
            event.tags.get("account", ""),
            str(month) or to_datetime(event.occurred_from).date().isoformat()[:7],
            event.occurred_from,
        )
    return found


def dropped_days(
    store: LedgerStore,
    providers: Iterable[str],
    basis: Basis,
    span: tuple[int, int],
    zone: str,
    seen: Mapping[int, int],
) -> set[int]:
    """The days of a span of which retention dropped entries of a basis: their sums stay, and nobody can reverse them.

    `seen` is what the entries that are left come to, by day.
    """
    query = CostQuery(
        by=("day",),
        where={"provider": tuple(providers), "basis": (basis.value,)},
        since=local_midnight(span[0], zone),
        until=local_midnight(span[1], zone),
        zone=zone,
    )
    summed = {date_to_day(date.fromisoformat(str(row.keys[0]))): row.amount for row in store.costs(query).rows}
    return {day for day, amount in summed.items() if amount != seen.get(day, 0)}


def amounts_by_day(found: Iterable[tuple[Instant, int]], zone: str) -> dict[int, int]:
    """Amounts summed by the day of their instants."""
    sums: dict[int, int] = {}
    for instant, amount in found:
        day = local_day(instant, zone)
        sums[day] = sums.get(day, 0) + amount
    return sums


def charge(
    store: LedgerStore,
    statement: Statement,
    groups: Sequence[BilledGroup],
    standing: dict[str, Standing],
    now: Instant,
    *,
    by_amount: bool = False,
) -> Charged:
    """Charge groups; what an earlier bill charged otherwise is reversed and charged anew.

    With `by_amount` a charge of the same amount is the same: kept groups have lost the names of people.
    """
    done = Charged()
    fresh: list[_Fresh] = []
    changes: list[Amendment] = []
    for group in groups:
        before = standing.get(group.name)
        if before is None:
            fresh.append(_Fresh(entry_of(group, now), group.rows))
        else:
            entry = entry_of(group, now, id=before.id)
            if entry.fingerprint == before.fingerprint or (by_amount and group.amount == before.amount):
                done.known += group.rows
            else:
                changes.append(Amendment(before.seq, entry, now, RESTATED))
                done.amount += group.amount - before.amount
        if len(fresh) == GROUP_SIZE:
            _append(store, statement, fresh, done)
            fresh = []
        if len(changes) == GROUP_SIZE:
            done.restated += amend(store, changes)
            changes = []
    _append(store, statement, fresh, done)
    done.restated += amend(store, changes)
    return done


class _Fresh(NamedTuple):
    """A charge that no earlier one is known of, and of how many rows it is."""

    entry: Entry
    rows: int


def _append(store: LedgerStore, statement: Statement, fresh: list[_Fresh], done: Charged) -> None:
    if not fresh:
        return
    again: list[_Fresh] = []
    for (entry, rows), result in zip(
        fresh, store.add_statement(statement, [], [entry for entry, _ in fresh]), strict=True
    ):
        if result.code == Outcome.CREATED:
            done.created += rows
            done.amount += entry.rating.amount
            continue
        live = _live(store, entry)
        if live is None:
            again.append(_Fresh(_next_generation(entry), rows))
        elif live.fingerprint == entry.fingerprint:
            done.known += rows
        elif amend(store, [Amendment(live.seq, entry, entry.recorded_at, RESTATED)]):
            done.restated += 1
            done.amount += entry.rating.amount - live.rating.amount
        else:
            done.conflicts.append(f"{entry.event.service} {entry.event.id}: {result.code}")
    _append(store, statement, again, done)


def _live(store: LedgerStore, entry: Entry) -> Entry | None:
    """What counts now under a charge's id; None where it was taken back."""
    return live_version(next(iter(store.versions(entry.event.id, [utc_day(entry.event.occurred_from)])), []))


def _next_generation(entry: Entry) -> Entry:
    """The same charge under the next id: an id that was taken back is charged no more."""
    name, _, generation = entry.event.id.partition(_GENERATION)
    event = msgspec.structs.replace(entry.event, id=f"{name}{_GENERATION}{int(generation or 1) + 1}")
    return msgspec.structs.replace(entry, event=event, fingerprint=fingerprint(event))


def amend(store: LedgerStore, changes: Sequence[Amendment]) -> int:
    """Write corrections; how many were."""
    results: list[Appended] = store.amend(changes) if changes else []
    return sum(result.code == Outcome.CREATED for result in results)


def taken_back(
    statement: KeptStatement, standing: dict[str, Standing], named: Callable[[str], bool]
) -> Iterator[Standing]:
    """What an earlier bill charged and this one, which is the last word on it, does not name any more."""
    for key, before in standing.items():
        if named(key):
            continue
        day = local_day(before.day_from, statement.zone)
        about = (before.account, before.sub_account, before.month, day)
        if any(statement.covers(provider, *about) for provider in statement.providers):
            yield before


def reverse(store: LedgerStore, standing: Iterable[Standing], now: Instant, reason: str, done: Charged) -> None:
    """Take charges back."""
    changes: list[Amendment] = []
    for before in standing:
        changes.append(Amendment(before.seq, None, now, reason))
        done.amount -= before.amount
        if len(changes) == GROUP_SIZE:
            done.reversed += amend(store, changes)
            changes = []
    done.reversed += amend(store, changes)
