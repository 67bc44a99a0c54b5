"""Taking a bill in, row by row: lines and columns are kept as they come, charges made when all is read."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date
from decimal import Decimal
from hashlib import blake2b
from itertools import chain, islice
from typing import Final

import msgspec

from outlay.bills import kept
from outlay.bills.charges import (
    RESTATED,
    Charged,
    Standing,
    amounts_by_day,
    charge,
    dropped_days,
    reverse,
    standing_charges,
    taken_back,
)
from outlay.bills.groups import BilledGroup, Grouping, days_of
from outlay.bills.kept import FAR, KeptStatement
from outlay.bills.matching import OF_CALLS
from outlay.capture.statement_names import calls_named
from outlay.capture.statements import BilledRow
from outlay.clock import Clock, Instant, date_to_day, day_to_date, local_day, local_midnight
from outlay.errors import InvalidInput
from outlay.ledger.store import LedgerStore, Statement, StatementLine
from outlay.model import Basis, CostQuery, ExchangeRate
from outlay.money import EXACT, Money

CHARGED: Final = "charged"
WAITING: Final = "waiting"
RESTATES: Final = ("auto", "rows", "period")
BATCH: Final = 10_000
ExchangeOn = Callable[[str, date], ExchangeRate]
"""The rate of a currency on a day, raising InvalidInput where there is none."""


class ImportedStatement(msgspec.Struct, frozen=True, kw_only=True):
    """What importing a statement did: rows charged, waiting for reconciliation, known already, and in conflict.

    `restated` charges of earlier statements were replaced by other amounts and `reversed` ones taken back; `repeated`
    rows bore the key of a row before them and were not used. `amount` is by how much the ledger's sum changed.
    """

    statement: str
    rows: int
    charged: int
    waiting: int
    known: int
    conflicts: tuple[str, ...]
    amount: Money
    restated: int = 0
    reversed: int = 0
    repeated: tuple[int, ...] = ()


class Metering:
    """Which services the ledger itself recorded, month by month: their billed rows wait."""

    def __init__(self, store: LedgerStore, always: Sequence[str]) -> None:
        """`always` names providers or provider/service whose rows wait in any case."""
        self.always = {name.lower() for name in always}
        self._measured: dict[tuple[str, str], set[str]] = {}
        query = CostQuery(by=("provider", "service", "basis", "month"))
        for row in store.costs(query).rows:
            provider, service, basis, month = row.keys
            if basis not in (Basis.BILLED, Basis.ADJUSTED):
                self._measured.setdefault((str(month), str(provider)), set()).add(str(service))
        self._known: dict[tuple[str, str, str, str, str], bool] = {}

    def waits(self, row: BilledRow | BilledGroup) -> bool:
        """Whether a row waits for reconciliation instead of being charged."""
        if row.category not in OF_CALLS:
            return False
        at = (row.date.isoformat()[:7], row.provider, row.service, row.sku, row.resource)
        known = self._known.get(at)
        if known is None:
            known = self._known[at] = self._waits(*at)
        return known

    def _waits(self, month: str, provider: str, service: str, sku: str, resource: str) -> bool:
        seller = provider.lower()
        if not self.always.isdisjoint({f"{seller}/{service}".lower(), f"{seller}/{resource}".lower(), seller}):
            return True
        called = self._measured.get((month, provider))
        return called is not None and bool(calls_named(service, sku, resource, called, provider))


class Taking:
    """One statement on its way in."""

    def __init__(
        self,
        store: LedgerStore,
        clock: Clock,
        *,
        source: str,
        zone: str,
        metered: Sequence[str],
        columns: Sequence[str],
    ) -> None:
        self.store = store
        self.now: Instant = clock.now()
        self.source = source
        self.zone = zone
        self.columns = columns
        self.metering = Metering(store, metered)
        self.grouping = Grouping(zone, store.currency)
        self.rows = self.waiting = self.row_chunks = 0
        self.repeated: list[int] = []
        self._waits: dict[bytes, bool] = {}

    def take(self, statement: Statement, rows: Sequence[BilledRow]) -> None:
        """Keep some rows: their lines, their columns, and what they add up to."""
        lines: list[StatementLine] = []
        for row in rows:
            group = self.grouping.add(row)
            if group is None:
                self.repeated.append(row.line)
                continue
            waits = self._waits.get(group.key)
            if waits is None:
                waits = self._waits[group.key] = self.metering.waits(row)
            self.waiting += waits
            lines.append(self._line(statement.id, row, self.rows, WAITING if waits else CHARGED))
            self.rows += 1
        self.store.add_statement(statement, lines, [])
        if self.columns:
            kept.keep_rows(self.store, statement.id, self.row_chunks, [row.cells for row in rows], self.now)
            self.row_chunks += 1

    def _line(self, statement: str, row: BilledRow, number: int, state: str) -> StatementLine:
        day = date_to_day(row.date)
        return StatementLine(
            statement=statement,
            line=f"{number:09d}",
            service=row.service,
            resource=row.resource,
            occurred_from=local_midnight(day, self.zone),
            occurred_to=local_midnight(day + row.days, self.zone),
            cost=row.cost,
            quantity=row.quantity,
            unit=row.unit,
            state=state,
        )


def import_rows(
    store: LedgerStore,
    clock: Clock,
    rows: Iterable[BilledRow],
    *,
    source: str,
    zone: str,
    metered: Sequence[str],
    restates: str = "rows",
    covers: tuple[date, date] | None = None,
    digest: str = "",
    format: str = "CSV",
    columns: Sequence[str] = (),
    exchange_on: ExchangeOn | None = None,
) -> ImportedStatement:
    """Keep a statement and charge its unmetered rows; rows are read once, some thousands at a time.

    Dates are local to `zone`. `metered` names providers or provider/service whose rows always wait, beside those
    that the ledger has measured in the month of the row. With `restates` "period" the statement replaces all that
    earlier ones said of its provider, accounts and invoices' months (or of the days `covers`, end exclusive), with
    "rows" only what it names itself; "auto" is "period" for one that begins with its invoice's month. `digest` tells
    the same file again (else the rows do). Importing the same again changes nothing. Raises InvalidInput
    `empty_statement`, `bad_choice`, or `currency_mismatch` for a row in another currency without `exchange_on`.
    """
    if restates not in RESTATES:
        raise InvalidInput(f"a statement restates auto, rows or period, not {restates[:40]!r}", code="bad_choice")
    if not digest:
        rows = list(rows)
        digest = _digest(rows)
    told = _told_before(store, digest)
    if told is not None:
        return ImportedStatement(
            statement=digest,
            rows=told.rows,
            charged=0,
            waiting=0,
            known=told.rows,
            conflicts=(),
            amount=Money(0, store.currency),
        )
    taking = Taking(store, clock, source=source, zone=zone, metered=metered, columns=columns)
    checked = _checked(rows, store.currency, exchange_on)
    statement = _take_all(taking, checked, digest, covers)
    groups = taking.grouping.finished(exchange_on)
    document = _document(taking, statement, groups, format, _is_whole(restates, groups), covers)
    done = _charge_all(taking, statement, document, groups)
    kept.keep(
        store, msgspec.structs.replace(document, group_chunks=kept.keep_groups(store, digest, groups, taking.now))
    )
    return _imported(taking, digest, done)


def _told_before(store: LedgerStore, digest: str) -> KeptStatement | None:
    body = store.note(kept.STATEMENT, digest)
    return None if body is None else msgspec.json.decode(body, type=KeptStatement)


def _checked(rows: Iterable[BilledRow], currency: str, exchange_on: ExchangeOn | None) -> Iterator[BilledRow]:
    for row in rows:
        if exchange_on is None and row.currency and row.currency != currency:
            raise InvalidInput(
                f"line {row.line} is in {row.currency}, the ledger in {currency}; convert the bill first",
                code="currency_mismatch",
            )
        yield row


def _take_all(taking: Taking, rows: Iterator[BilledRow], digest: str, covers: tuple[date, date] | None) -> Statement:
    first = _batch(rows)
    if not first:
        raise InvalidInput(f"{taking.source} holds no row that can be used", code="empty_statement")
    days = [date_to_day(row.date) for row in first]
    day_from, day_to = min(days), max(day + row.days for day, row in zip(days, first, strict=True))
    if covers is not None:
        day_from, day_to = date_to_day(covers[0]), date_to_day(covers[1])
    providers = sorted({row.provider for row in first})
    statement = Statement(
        id=digest,
        provider=",".join(providers)[:200],
        source=taking.source,
        period_from=local_midnight(day_from, taking.zone),
        period_to=local_midnight(day_to, taking.zone),
        currency=taking.store.currency,
        recorded_at=taking.now,
    )
    # Rows of plain values hold no cycle, but each round of the collector would walk what waits to be charged.
    collecting = gc.isenabled()
    gc.disable()
    try:
        for batch in chain([first], iter(lambda: _batch(rows), [])):
            taking.take(statement, batch)
    finally:
        if collecting:
            gc.enable()
    return statement


def _batch(rows: Iterator[BilledRow]) -> list[BilledRow]:
    return list(islice(rows, BATCH))


def _is_whole(restates: str, groups: Sequence[BilledGroup]) -> bool:
    """Whether a statement says all of its invoices so far: a file of one later day does not."""
    if restates != "auto":
        return restates == "period"
    month = max(group.bill_month for group in groups)
    return days_of(groups)[0] <= date_to_day(date.fromisoformat(f"{month}-01"))


def _document(
    taking: Taking,
    statement: Statement,
    groups: Sequence[BilledGroup],
    format: str,
    whole: bool,
    covers: tuple[date, date] | None,
) -> KeptStatement:
    day_from, day_to = days_of(groups)
    totals: dict[str, Decimal] = {}
    for group in groups:
        totals[group.currency] = EXACT.add(totals.get(group.currency, Decimal(0)), group.cost)
    # A bill of whole invoices says all of them up to its last day; one of days says those days.
    cover_from, cover_to = (-FAR, day_to) if covers is None else (date_to_day(covers[0]), date_to_day(covers[1]))
    months = {group.bill_month for group in groups}
    if covers is not None:
        months |= {date.fromordinal(at).isoformat()[:7] for at in range(covers[0].toordinal(), covers[1].toordinal())}
    return KeptStatement(
        id=statement.id,
        number=len(kept.statements(taking.store)) + 1,
        source=taking.source,
        format=format,
        providers=tuple(sorted({group.provider for group in groups})),
        accounts=tuple(sorted({group.account for group in groups if group.account})),
        sub_accounts=tuple(sorted({group.sub_account for group in groups if group.sub_account})),
        months=tuple(sorted(months)),
        whole=whole,
        day_from=day_from,
        day_to=day_to,
        cover_from=cover_from,
        cover_to=cover_to,
        zone=taking.zone,
        rows=taking.rows,
        totals={currency: f"{total:f}" for currency, total in sorted(totals.items())},
        columns=tuple(taking.columns),
        group_chunks=0,
        row_chunks=taking.row_chunks,
        recorded_at=taking.now,
    )


def _charge_all(
    taking: Taking, statement: Statement, document: KeptStatement, groups: Sequence[BilledGroup]
) -> Charged:
    """Charge what nothing else measured, and take back what earlier statements said otherwise."""
    store, now = taking.store, taking.now
    earlier = [each for each in kept.statements(store) if not set(each.providers).isdisjoint(document.providers)]
    span = _reach(document, earlier)
    standing: dict[str, Standing] = {}
    dropped: set[int] = set()
    if earlier:
        since, until = (local_midnight(day, taking.zone) for day in span)
        standing = standing_charges(store, document.providers, since, until)
        seen = amounts_by_day(((each.day_from, each.amount) for each in standing.values()), taking.zone)
        dropped = dropped_days(store, document.providers, Basis.BILLED, span, taking.zone, seen)
    charging = [group for group in groups if group.day not in dropped and not taking.metering.waits(group)]
    done = charge(store, statement, charging, standing, now)
    done.conflicts += [
        f"{day_to_date(day)}: retention dropped what was charged on that day; it stays as it was"
        for day in sorted(dropped.intersection(group.day for group in groups))
    ]
    if document.whole and standing:
        named = {group.name for group in charging}
        gone = taken_back(document, standing, named.__contains__)
        kept_back = (each for each in gone if local_day(each.day_from, taking.zone) not in dropped)
        reverse(store, kept_back, now, RESTATED, done)
    return done


def _reach(document: KeptStatement, earlier: Sequence[KeptStatement]) -> tuple[int, int]:
    """The days on which an earlier statement may have charged what this one is about."""
    near = [each for each in earlier if not set(each.months).isdisjoint(document.months)]
    first = min(each.day_from for each in (document, *near))
    after = max(each.day_to for each in (document, *near))
    return first - 1, after + 1


def _imported(taking: Taking, digest: str, done: Charged) -> ImportedStatement:
    return ImportedStatement(
        statement=digest,
        rows=taking.rows,
        charged=done.created,
        waiting=taking.waiting,
        known=done.known,
        conflicts=tuple(done.conflicts),
        amount=Money(done.amount, taking.store.currency),
        restated=done.restated,
        reversed=done.reversed,
        repeated=tuple(taking.repeated),
    )


def _digest(rows: Sequence[BilledRow]) -> str:
    """What tells the same rows again, whatever their order."""
    bodies = sorted(
        "\x1f".join((row.provider, row.date.isoformat(), row.service, row.resource, row.unit, row.quantity, row.cost))
        for row in rows
    )
    return blake2b("\n".join(bodies).encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()
