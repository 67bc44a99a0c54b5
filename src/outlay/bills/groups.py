"""What a bill says, summed to what one charge is made of. Pure: sums are exact, rounded once where money is made."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date
from decimal import Decimal, InvalidOperation
from hashlib import blake2b
from typing import Final

import msgspec

from outlay.capture.statements import BilledRow, Category
from outlay.clock import Instant, date_to_day, day_to_date, local_midnight
from outlay.model import ExchangeRate
from outlay.money import EXACT, PICO_PER_UNIT, round_half_even

UNIT_SEPARATOR: Final = "\x1f"
_sum: Final = EXACT.add
_ZERO: Final = Decimal(0)
_KNOWN_MAX: Final = 100_000


class BilledGroup(msgspec.Struct, kw_only=True, gc=False, omit_defaults=True):
    """Rows of a bill that are about the same thing on the same day.

    `cost` and `quantity` are exact sums as decimal text (of `unit`s, each `per` of the meter), `amount` the cost in
    picounits of the ledger's currency. `decimals` is the least number of decimals that a row's cost was given with,
    `repeated` the cost of rows that are equal to another one in every column, `listed` the cost before discounts.
    """

    key: bytes
    day: int
    days: int
    bill_month: str
    provider: str
    service: str
    resource: str
    unit: str
    meter: str | None
    per: int
    currency: str
    category: Category
    account: str
    sub_account: str
    region: str
    sku: str
    tags: dict[str, str]
    zone: str
    rows: int = 0
    cost: Decimal = Decimal(0)
    quantity: Decimal | None = None
    listed: Decimal | None = None
    repeated: Decimal = Decimal(0)
    decimals: int = 0
    amount: int = 0
    exchange: ExchangeRate | None = None

    @property
    def name(self) -> str:
        """The key as text, for ids."""
        return self.key.hex()

    @property
    def day_to(self) -> int:
        """The day after the last one that it covers."""
        return self.day + self.days

    @property
    def occurred_from(self) -> Instant:
        """When what it pays for began."""
        return local_midnight(self.day, self.zone)

    @property
    def occurred_to(self) -> Instant:
        """When it ended."""
        return local_midnight(self.day_to, self.zone)

    @property
    def date(self) -> date:
        """Its first day."""
        return day_to_date(self.day)

    def of_meter(self) -> Decimal | None:
        """How much of its meter was billed; None where its unit counts no meter."""
        if self.meter is None or self.quantity is None:
            return None
        return EXACT.multiply(self.quantity, Decimal(self.per))


def pico_of(cost: Decimal, exchange: ExchangeRate | None) -> int:
    """The picounits of a cost, rounded once, half to even; in the ledger's currency by `exchange`."""
    up, down = cost.as_integer_ratio()
    if exchange is not None:
        price_up, price_down = exchange.price.as_integer_ratio()
        up, down = up * price_up, down * price_down
    return round_half_even(up * PICO_PER_UNIT, down)


class Grouping:
    """Sums rows as they come. One group holds what one charge is made of."""

    def __init__(self, zone: str, currency: str) -> None:
        """`zone` is whose days the rows' dates are; `currency` that of rows which name none."""
        self.zone = zone
        self.currency = currency
        self.groups: dict[tuple[object, ...], BilledGroup] = {}
        self._seen: set[int] = set()
        self._known: dict[tuple[int, date, int], BilledGroup] = {}

    def add(self, row: BilledRow) -> BilledGroup | None:
        """Count a row; its group. None for one whose own key came before: a row of a bill is used once."""
        identity = hash(row.key or row.raw) if row.key or row.raw else 0
        repeats = identity != 0 and identity in self._seen
        if repeats and row.key:
            return None
        if identity:
            self._seen.add(identity)
        group = self._group(row)
        cost = Decimal(row.cost)
        group.rows += 1
        group.cost = _sum(group.cost, cost)
        decimals = -int(cost.as_tuple().exponent) if cost else group.decimals
        group.decimals = min(group.decimals, decimals) if group.rows > 1 else decimals
        if repeats:
            group.repeated = _sum(group.repeated, cost)
        if row.quantity:
            group.quantity = _sum(group.quantity or _ZERO, Decimal(row.quantity))
        if row.list_cost:
            group.listed = _sum(group.listed or _ZERO, _evidence(row.list_cost))
        return group

    def _group(self, row: BilledRow) -> BilledGroup:
        known = (row.about, row.date, row.days)
        if row.about and known in self._known:
            return self._known[known]
        tags = tuple(sorted(row.tags.items())) if row.tags else ()
        about = (
            *(
                row.date,
                row.days,
                row.provider,
                row.service,
                row.resource,
                row.unit,
                row.meter,
                row.per,
                row.category,
            ),
            *(row.account, row.sub_account, row.region, row.sku, row.currency, row.bill_month, tags),
        )
        found = self.groups.get(about)
        if found is None:
            found = self.groups[about] = self._new(row, tags)
        if row.about:
            if len(self._known) > _KNOWN_MAX:
                self._known.clear()
            self._known[known] = found
        return found

    def _new(self, row: BilledRow, tags: tuple[tuple[str, str], ...]) -> BilledGroup:
        return BilledGroup(
            key=_digest(row, tags),
            day=date_to_day(row.date),
            days=row.days,
            bill_month=row.bill_month or row.date.isoformat()[:7],
            provider=row.provider,
            service=row.service,
            resource=row.resource,
            unit=row.unit,
            meter=row.meter,
            per=row.per,
            currency=row.currency or self.currency,
            category=row.category,
            account=row.account,
            sub_account=row.sub_account,
            region=row.region,
            sku=row.sku,
            tags=row.tags,
            zone=self.zone,
        )

    def finished(self, exchange_on: Callable[[str, date], ExchangeRate] | None) -> list[BilledGroup]:
        """The groups with their amounts in the ledger's currency, by `exchange_on` the day of each."""
        groups = list(self.groups.values())
        self.groups, self._seen, self._known = {}, set(), {}
        for group in groups:
            if group.currency != self.currency and exchange_on is not None:
                group.exchange = exchange_on(group.currency, group.date)
            group.amount = pico_of(group.cost, group.exchange)
        return groups


def _digest(row: BilledRow, tags: tuple[tuple[str, str], ...]) -> bytes:
    """What a charge's id is made of: what it is about, never what it costs, so that a restatement meets it."""
    about = (
        *(row.provider, row.date.isoformat(), str(row.days), row.service, row.resource, row.unit, row.meter or ""),
        *(row.category.value, row.account, row.sub_account, row.region, row.sku, row.currency or "", row.bill_month),
        *(part for pair in tags for part in pair),
    )
    return blake2b(UNIT_SEPARATOR.join(about).encode("utf-8", "surrogatepass"), digest_size=12).digest()


def _evidence(text: str) -> Decimal:
    """A figure that only explains: nothing where it is no number."""
    try:
        found = Decimal(text, EXACT)
    except InvalidOperation:
        return _ZERO
    return found if found.is_finite() else _ZERO


def days_of(groups: Iterable[BilledGroup]) -> tuple[int, int]:
    """The first day that some groups cover, and the day after the last."""
    first, after = 1 << 62, -(1 << 62)
    for group in groups:
        first, after = min(first, group.day), max(after, group.day_to)
    return first, after
