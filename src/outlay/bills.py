"""Bills come in: a provider's statement is kept whole, and what nothing else measured is charged from it.

A row of a service whose calls the ledger records itself waits for reconciliation, so that no cost counts twice.
The other rows (a database by the hour, a load balancer) become charges with basis `billed`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from decimal import Decimal
from hashlib import blake2b

import msgspec

from outlay.capture.intake import quantity
from outlay.capture.statements import BilledRow
from outlay.clock import Clock, date_to_day, local_midnight
from outlay.errors import InvalidInput
from outlay.ledger.rules import fingerprint
from outlay.ledger.store import LedgerStore, Statement, StatementLine
from outlay.model import (
    Appended,
    Basis,
    CostQuery,
    Entry,
    Outcome,
    PricedLine,
    PricingStatus,
    Quantity,
    Rating,
    UsageEvent,
)
from outlay.money import Money

CHARGED, WAITING = "charged", "waiting"


class ImportedStatement(msgspec.Struct, frozen=True, kw_only=True):
    """What importing a statement did: rows charged, waiting for reconciliation, known already, and in conflict."""

    statement: str
    rows: int
    charged: int
    waiting: int
    known: int
    conflicts: tuple[str, ...]
    amount: Money


def import_rows(
    store: LedgerStore, clock: Clock, rows: Iterable[BilledRow], *, source: str, zone: str, metered: Sequence[str]
) -> ImportedStatement:
    """Keep a statement and charge its unmetered rows, in one transaction.

    Dates are local to `zone`. `metered` names providers or provider/service whose rows always wait, beside those
    that the ledger has measured in the statement's period. Importing the same rows again changes nothing. Raises
    InvalidInput `empty_statement`, or `currency_mismatch` for a row in another currency than the ledger's.
    """
    billed = list(rows)
    if not billed:
        raise InvalidInput(f"{source} holds no row that can be used", code="empty_statement")
    statement = _statement(store, clock, billed, source, zone)
    measured = _measured(store, statement) | {name.lower() for name in metered}
    lines: list[StatementLine] = []
    charges: list[Entry] = []
    for row, key in zip(billed, _keys(billed), strict=True):
        waits = not measured.isdisjoint(_names(row))
        lines.append(_line(statement.id, row, key, zone, WAITING if waits else CHARGED))
        if not waits:
            charges.append(_charge(store, clock, row, key, zone))
    results = store.add_statement(statement, lines, charges)
    return _imported(statement.id, store.currency, billed, charges, results)


def _imported(
    statement: str, currency: str, rows: list[BilledRow], charges: list[Entry], results: list[Appended]
) -> ImportedStatement:
    created = [entry for entry, result in zip(charges, results, strict=True) if result.code == Outcome.CREATED]
    conflicts = [
        f"{entry.event.service} {entry.event.id}: {result.code}"
        for entry, result in zip(charges, results, strict=True)
        if result.code not in (Outcome.CREATED, Outcome.EXISTS)
    ]
    return ImportedStatement(
        statement=statement,
        rows=len(rows),
        charged=len(created),
        waiting=len(rows) - len(charges),
        known=sum(result.code == Outcome.EXISTS for result in results),
        conflicts=tuple(conflicts),
        amount=Money(sum(entry.rating.amount for entry in created), currency),
    )


def _statement(store: LedgerStore, clock: Clock, rows: list[BilledRow], source: str, zone: str) -> Statement:
    days = [date_to_day(row.date) for row in rows]
    providers = sorted({row.provider for row in rows})
    digest = blake2b("\n".join(sorted(_keys(rows))).encode(), digest_size=12).hexdigest()
    return Statement(
        id=digest,
        provider=providers[0] if len(providers) == 1 else ",".join(providers),
        source=source,
        period_from=local_midnight(min(days), zone),
        period_to=local_midnight(max(days) + 1, zone),
        currency=store.currency,
        recorded_at=clock.now(),
    )


def _measured(store: LedgerStore, statement: Statement) -> set[str]:
    """Which services the ledger itself recorded in the statement's period, as lower-case names."""
    query = CostQuery(by=("provider", "service", "basis"), since=statement.period_from, until=statement.period_to)
    names: set[str] = set()
    for row in store.costs(query).rows:
        provider, service, basis = row.keys
        if basis not in (Basis.BILLED, Basis.ADJUSTED):
            names |= {f"{provider}/{service}".lower(), f"{provider}/{provider}".lower()}
    return names


def _names(row: BilledRow) -> set[str]:
    """The names under which a row's service may have been measured."""
    provider = row.provider.lower()
    return {f"{provider}/{row.service}".lower(), f"{provider}/{row.resource}".lower(), provider}


def _keys(rows: Sequence[BilledRow]) -> list[str]:
    """A key a row, the same in every import: what it is about, and its place among rows about the same."""
    seen: Counter[str] = Counter()
    keys = []
    for row in rows:
        about = "\x1f".join((row.provider, row.date.isoformat(), row.service, row.resource, row.unit))
        seen[about] += 1
        keys.append(blake2b(f"{about}\x1f{seen[about]}".encode(), digest_size=12).hexdigest())
    return keys


def _line(statement: str, row: BilledRow, key: str, zone: str, state: str) -> StatementLine:
    day = date_to_day(row.date)
    return StatementLine(
        statement=statement,
        line=key,
        service=row.service,
        resource=row.resource,
        occurred_from=local_midnight(day, zone),
        occurred_to=local_midnight(day + 1, zone),
        cost=row.cost,
        quantity=row.quantity,
        unit=row.unit,
        state=state,
    )


def _charge(store: LedgerStore, clock: Clock, row: BilledRow, key: str, zone: str) -> Entry:
    if row.currency and row.currency != store.currency:
        raise InvalidInput(
            f"line {row.line} is in {row.currency}, the ledger in {store.currency}; convert the bill first",
            code="currency_mismatch",
        )
    day = date_to_day(row.date)
    cost = Money.of(Decimal(row.cost), store.currency)
    usage: dict[str, Quantity] = {}
    if row.meter and row.quantity and not row.quantity.startswith("-"):
        usage[row.meter] = quantity(row.quantity, row.meter)
    event = UsageEvent(
        id=f"bill:{key}",
        provider=row.provider,
        service=row.service,
        occurred_from=local_midnight(day, zone),
        occurred_to=local_midnight(day + 1, zone),
        usage=usage,
        tags={"resource": row.resource} if row.resource else {},
        basis=Basis.BILLED,
        reported_cost=cost,
        id_given=True,
        time_given=True,
    )
    note = f"as billed: {row.quantity} {row.unit}".rstrip() if row.quantity else "as billed"
    line = PricedLine("billed_cost", 1, cost.pico, None, note)
    rating = Rating((line,), cost.pico, PricingStatus.PRICED, match="from the bill", basis=Basis.BILLED)
    return Entry(
        event=event,
        rating=rating,
        recorded_at=clock.now(),
        counted_at=event.occurred_from,
        fingerprint=fingerprint(event),
        basis=Basis.BILLED,
    )
