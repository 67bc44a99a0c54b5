"""What stands in the ledger as charges: one for each priced line of each event, which every export is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from typing import Final, NamedTuple

import msgspec

from outlay.clock import Instant, WindowName, to_datetime, window_of
from outlay.errors import InvalidInput
from outlay.faces.export.grouping import GROUPS_IN_MEMORY, Sums, grouped
from outlay.meters import METERS
from outlay.model import Basis, EntryKind, PricedLine, PricingStatus, Rate, UsageEvent
from outlay.money import EXACT, PICO_PER_UNIT
from outlay.receipt import Receipt

_QUARTER_HOUR: Final = 900 * 1_000_000
_SECOND: Final = 1_000_000
_encode: Final = msgspec.json.Encoder(order="sorted").encode


class Grain(StrEnum):
    """What one row is: one line of one call, or a sum by hour, day or month."""

    CALL = "call"
    HOUR = "hour"
    DAY = "day"
    MONTH = "month"


class ChargeKey(NamedTuple):
    """All that a charge is, but its numbers. Plain text, "" for what is not known, so that keys sort and keep.

    Times are UTC. `price` and `list_price` are for `per` of the meter in `price_currency`, all "" where the cost was
    told and not computed. `terms` names the conditions of the price; `tags` is a JSON object.
    """

    start: str
    end: str
    period_start: str
    period_end: str
    provider: str
    service: str
    operation: str
    meter: str
    category: str
    terms: str
    price: str
    list_price: str
    per: str
    price_currency: str
    price_source: str
    basis: str
    status: str
    region: str
    resource: str
    project: str
    customer: str
    team: str
    feature: str
    environment: str
    user: str
    tags: str
    event: str
    job: str


class Charge(NamedTuple):
    """A charge and its numbers."""

    key: ChargeKey
    sums: Sums


class Chosen(msgspec.Struct, frozen=True, kw_only=True):
    """How charges are made of receipts: as fine as `grain`, in days of `zone`, with or without users' names."""

    grain: Grain = Grain.DAY
    zone: str = "UTC"
    users: bool = True


class Tally(msgspec.Struct):
    """What went out and what could not: rows, their cost, and calls with usage that has no price."""

    rows: int = 0
    amount: int = 0
    unpriced: int = 0


def charges_of(
    receipts: Iterable[Receipt], chosen: Chosen, tally: Tally, *, groups_in_memory: int = GROUPS_IN_MEMORY
) -> Iterator[Charge]:
    """The charges of receipts, by time and name where they are summed, else in the ledger's order.

    Usage without a price makes no charge: it is counted in `tally`, never written as zero.
    """
    singly = single_charges(receipts, chosen, tally)
    if chosen.grain is Grain.CALL:
        yield from singly
        return
    for key, sums in grouped(singly, groups_in_memory=groups_in_memory):
        yield Charge(ChargeKey(*key), sums)


def single_charges(receipts: Iterable[Receipt], chosen: Chosen, tally: Tally) -> Iterator[Charge]:
    """A charge a line, its times those of the grain's window, in the ledger's order; see `charges_of`."""
    window = _window_reader(chosen)
    for receipt in receipts:
        if receipt.pricing_status is not PricingStatus.PRICED:
            tally.unpriced += receipt.event.count
        for line in receipt.lines:
            yield _charge(receipt, line, chosen, window)


Times = tuple[str, str, str, str]


def _window_reader(chosen: Chosen) -> Callable[[UsageEvent], Times]:
    @lru_cache(maxsize=4_096)
    def of_quarter(quarter: int) -> Times:
        at = quarter * _QUARTER_HOUR
        month = window_of(at, "month", chosen.zone)
        names: dict[Grain, WindowName] = {Grain.HOUR: "hour", Grain.DAY: "day", Grain.MONTH: "month"}
        inner = window_of(at, names.get(chosen.grain, "month"), chosen.zone)
        return utc_text(inner.start), utc_text(inner.end), utc_text(month.start), utc_text(month.end)

    def of_event(event: UsageEvent) -> Times:
        times = of_quarter(event.occurred_from // _QUARTER_HOUR)
        if chosen.grain is not Grain.CALL:
            return times
        # The end is exclusive, and times are in seconds.
        end = max(-(-event.occurred_to // _SECOND) * _SECOND, event.occurred_from // _SECOND * _SECOND + _SECOND)
        return utc_text(event.occurred_from), utc_text(end), times[2], times[3]

    return of_event


def utc_text(instant: Instant) -> str:
    """A time as FOCUS has it: UTC, whole seconds."""
    return _of_second(instant // _SECOND)


@lru_cache(maxsize=10_000)
def _of_second(second: int) -> str:
    return f"{to_datetime(second * _SECOND):%Y-%m-%dT%H:%M:%SZ}"


def _charge(receipt: Receipt, line: PricedLine, chosen: Chosen, window: Callable[[UsageEvent], Times]) -> Charge:
    event, rate = receipt.event, line.rate
    single = chosen.grain is Grain.CALL
    tags = dict(event.tags)
    resource = tags.pop("resource", "")
    # A charge from a bill bears what its rows said as tags.
    billed = event.basis is Basis.BILLED
    region = event.conditions.get("region") or (tags.pop("region", "") if billed else "")
    category = _category(receipt, tags.pop("category", "") if billed else "")
    meter, quantity = _measured(event, line)
    start, end, period_start, period_end = window(event)
    key = ChargeKey(
        start=start,
        end=end,
        period_start=period_start,
        period_end=period_end,
        provider=event.provider,
        service=event.service,
        operation=event.operation or "",
        meter=meter,
        category=category,
        terms="" if rate is None else terms_of(rate),
        price="" if rate is None else f"{rate.price:f}",
        list_price="" if rate is None else f"{rate.price if rate.list_price is None else rate.list_price:f}",
        per="" if rate is None else str(rate.per),
        price_currency="" if rate is None else rate.currency,
        price_source="" if rate is None else rate.source,
        basis=receipt.rating.basis.value if receipt.rating.basis is not Basis.MEASURED else event.basis.value,
        status=event.status.value,
        region=region,
        resource=resource,
        project=event.project or "",
        customer=event.customer or "",
        team=event.team or "",
        feature=event.feature or "",
        environment=event.environment or "",
        user=(event.user or "") if chosen.users else "",
        tags=_encode(tags).decode() if tags else "",
        event=event.id if single else "",
        job=(event.job or "") if single else "",
    )
    native = 0 if line.native_amount is None else line.native_amount
    return Charge(key, Sums(event.count, quantity, line.amount, native))


def _measured(event: UsageEvent, line: PricedLine) -> tuple[str, Decimal]:
    """What a line charges for, and how much of it over all calls; a told cost charges for the one thing measured."""
    if line.rate is not None or line.meter in METERS:
        return line.meter, EXACT.multiply(Decimal(line.quantity), event.count)
    if len(event.usage) == 1:
        ((meter, quantity),) = event.usage.items()
        return meter, EXACT.multiply(Decimal(quantity), event.count)
    return line.meter, Decimal(event.count)


_CATEGORIES: Final = {"credit": "Credit", "tax": "Tax", "adjustment": "Adjustment", "purchase": "Purchase"}


def _category(receipt: Receipt, of_bill: str) -> str:
    """The ChargeCategory: what a bill called it, else by the entry; what a commitment covers is usage."""
    kind = receipt.versions[-1].kind if receipt.versions else EntryKind.CHARGE
    if kind is EntryKind.ADJUSTMENT or receipt.event.basis is Basis.ADJUSTED:
        return "Adjustment"
    if kind is EntryKind.CREDIT:
        return "Credit"
    return _CATEGORIES.get(of_bill, "Usage")


def terms_of(rate: Rate) -> str:
    """What sets a price apart from the plain one of its service and meter; "" for that one."""
    parts = [_term(name, value) for name, value in sorted(rate.conditions.items())]
    if rate.context_over:
        parts.append(f"over-{rate.context_over}")
    if rate.hours_from is not None:
        parts.append(f"from-{rate.hours_from}s")
    return "-".join(parts)


def _term(name: str, value: str) -> str:
    plain = value.lower().replace(" ", "-")
    return name.replace("_", "-") if plain == "true" else plain


def amount_text(pico: int) -> str:
    """An amount of picounits as an exact decimal with a point: `0.0055`, `3.0`."""
    return decimal_text(EXACT.divide(Decimal(pico), Decimal(PICO_PER_UNIT)))


def decimal_text(value: Decimal) -> str:
    """A number in full, never with an exponent, always with a point; no zeros at its end but one."""
    text = f"{value:f}"
    if "." not in text:
        return f"{text}.0"
    return text.rstrip("0") + "0" if text.rstrip("0").endswith(".") else text.rstrip("0")


def read_grain(text: str) -> Grain:
    """A grain by its name. Raises InvalidInput `unknown_grain`."""
    try:
        return Grain(text)
    except ValueError as error:
        raise InvalidInput(
            f"grain {text[:20]!r} is none of {', '.join(Grain)}", code="unknown_grain", field="grain"
        ) from error
