"""What each customer used and is to pay for it: cost, a markup, the price; as CSV, CloudEvents or Stripe's events.

A price is exact to the picounit. What is invoiced is rounded to the currency's decimals once a customer and period,
and its rows are rounded so that they add up to that.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from hashlib import blake2b
from itertools import groupby
from typing import Any, Final

import msgspec

from outlay.clock import Instant, isoformat, to_instant
from outlay.errors import InvalidInput
from outlay.faces.export.charges import (
    Chosen,
    Tally,
    amount_text,
    decimal_text,
    single_charges,
)
from outlay.faces.export.focus_columns import ColumnKind
from outlay.faces.export.focus_names import unit_name
from outlay.faces.export.grouping import Key, Sums, grouped
from outlay.meters import METERS
from outlay.money import EXACT, parse_decimal, round_half_even
from outlay.receipt import Receipt

COLUMNS: Final = (
    "Customer",
    "PeriodStart",
    "PeriodEnd",
    "Provider",
    "Service",
    "Meter",
    "Calls",
    "Quantity",
    "Unit",
    "Cost",
    "MarkupPercent",
    "Price",
    "Amount",
    "Currency",
)
STRIPE_IDENTIFIER_MAX: Final = 100
_PLACES: Final = 12
_SECOND: Final = 1_000_000
_WHOLE: Final = 10**4
_DECIMALS: Final = {"JPY": 0, "KRW": 0, "VND": 0, "CLP": 0, "BHD": 3, "KWD": 3, "JOD": 3, "OMR": 3, "TND": 3}


class Markup(msgspec.Struct, frozen=True):
    """What is put on the cost, in percent: one for all, and others for named customers."""

    percent: Decimal = Decimal(0)
    of_customers: Mapping[str, Decimal] = {}

    def of(self, customer: str) -> Decimal:
        """The markup of a customer."""
        return self.of_customers.get(customer, self.percent)


class CustomerUsage(msgspec.Struct, frozen=True, kw_only=True):
    """What a customer used of one meter of one service in a period.

    `cost` and `price` are picounits, `amount` is in the currency's smallest unit; `end` is exclusive, UTC.
    """

    customer: str
    start: str
    end: str
    provider: str
    service: str
    meter: str
    calls: int
    quantity: Decimal
    cost: int
    markup: Decimal
    price: int
    amount: int
    currency: str
    decimals: int

    @property
    def id(self) -> str:
        """The same for the same customer, period and meter in every export: what makes a second sending harmless."""
        about = "\x1f".join((self.customer, self.start, self.end, self.provider, self.service, self.meter))
        return blake2b(about.encode(), digest_size=16).hexdigest()


def read_markup(texts: Iterable[str]) -> Markup:
    """`20` for all customers, `acme=15` for one. Raises InvalidInput `bad_markup`."""
    percent, named = Decimal(0), {}
    for text in texts:
        customer, equals, number = text.rpartition("=")
        value = parse_decimal(number.strip().removesuffix("%"), "markup")
        if value < -100 or value != value.quantize(Decimal("0.0001"), context=EXACT):
            raise InvalidInput(
                f"markup {text[:40]!r}: a percentage above -100 of at most 4 decimals", code="bad_markup"
            )
        if equals:
            named[customer.strip()] = value
        else:
            percent = value
    return Markup(percent, named)


def read_customers(path: str | None) -> dict[str, str]:
    """The billing system's ids by customer, from a CSV of `customer,stripe_customer_id`; none without a file.

    Raises InvalidInput `no_such_file` or `bad_customers`.
    """
    if path is None:
        return {}
    try:
        with open(path, newline="", encoding="utf-8-sig") as stream:
            return {row["customer"]: row["stripe_customer_id"] for row in csv.DictReader(stream)}
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}", code="no_such_file") from error
    except (KeyError, UnicodeDecodeError, csv.Error) as error:
        raise InvalidInput(f"{path} has no columns customer and stripe_customer_id", code="bad_customers") from error


def customer_usage(
    receipts: Iterable[Receipt], chosen: Chosen, markup: Markup, currency: str, tally: Tally
) -> Iterator[CustomerUsage]:
    """The usage of each customer by period, provider, service and meter, customers by name."""
    decimals = _DECIMALS.get(currency, 2)
    for (customer, start, end), rows in groupby(_sums(receipts, chosen, tally), key=lambda item: item[0][:3]):
        found = list(rows)
        percent = markup.of(customer)
        prices = [_marked_up(sums.amount, percent) for _, sums in found]
        for (key, sums), price, amount in zip(found, prices, _rounded(prices, decimals), strict=True):
            tally.rows += 1
            tally.amount += sums.amount
            yield CustomerUsage(
                customer=customer,
                start=start,
                end=end,
                provider=key[3],
                service=key[4],
                meter=key[5],
                calls=sums.calls,
                quantity=sums.quantity,
                cost=sums.amount,
                markup=percent,
                price=price,
                amount=amount,
                currency=currency,
                decimals=decimals,
            )


def _sums(receipts: Iterable[Receipt], chosen: Chosen, tally: Tally) -> Iterator[tuple[Key, Sums]]:
    single = (
        ((key.customer, key.start, key.end, key.provider, key.service, key.meter), sums)
        for key, sums in single_charges(receipts, chosen, tally)
    )
    yield from grouped(single)


def _marked_up(cost: int, percent: Decimal) -> int:
    factor = int(percent.scaleb(4, EXACT)) + 100 * _WHOLE
    return round_half_even(cost * factor, 100 * _WHOLE)


def _rounded(prices: list[int], decimals: int) -> list[int]:
    """Prices in the currency's smallest unit, which add up to their sum so rounded: the largest rests go up."""
    unit = 10 ** (_PLACES - decimals)
    total = round_half_even(sum(prices), unit)
    down = [price // unit for price in prices]
    by_rest = sorted(range(len(prices)), key=lambda at: (down[at] * unit - prices[at], at))
    for at in by_rest[: total - sum(down)]:
        down[at] += 1
    return down


def usage_kind(column: str) -> ColumnKind:
    """What a column of `COLUMNS` holds."""
    if column in ("PeriodStart", "PeriodEnd"):
        return ColumnKind.TIME
    decimals = ("Calls", "Quantity", "Cost", "MarkupPercent", "Price", "Amount")
    return ColumnKind.DECIMAL if column in decimals else ColumnKind.TEXT


def usage_row(usage: CustomerUsage) -> dict[str, str]:
    """A row under `COLUMNS`, every number exact."""
    measured = usage.meter in METERS
    return {
        "Customer": usage.customer,
        "PeriodStart": usage.start,
        "PeriodEnd": usage.end,
        "Provider": usage.provider,
        "Service": usage.service,
        "Meter": usage.meter if measured else "",
        "Calls": str(usage.calls),
        "Quantity": decimal_text(usage.quantity),
        "Unit": unit_name(usage.meter) if measured else "Requests",
        "Cost": amount_text(usage.cost),
        "MarkupPercent": f"{usage.markup:f}",
        "Price": amount_text(usage.price),
        "Amount": f"{Decimal(usage.amount).scaleb(-usage.decimals, EXACT):f}",
        "Currency": usage.currency,
    }


def billable(usage: Iterable[CustomerUsage], now: Instant) -> Iterator[CustomerUsage]:
    """What may be sent to who bills: of a named customer, and of a period that has ended.

    An event is recognised by its id and counts once; of a period that goes on it would hold too little for good.
    """
    for each in usage:
        if each.customer and to_instant(each.end) <= now:
            yield each


def cloud_event(usage: CustomerUsage, source: str) -> dict[str, Any]:
    """A CloudEvent 1.0 (JSON): one id for one customer, period and meter, dated by the period's last second."""
    row = usage_row(usage)
    names = ("Provider", "Service", "Meter", "Calls", "Quantity", "Unit", "Cost", "Price", "Amount", "Currency")
    return {
        "specversion": "1.0",
        "id": usage.id,
        "source": source,
        "type": "outlay.usage",
        "subject": usage.customer,
        "time": isoformat(to_instant(usage.end) - _SECOND),
        "datacontenttype": "application/json",
        "data": {name.lower(): row[name] for name in names}
        | {"period_start": usage.start, "period_end": usage.end, "markup_percent": row["MarkupPercent"]},
    }


def stripe_event(
    usage: CustomerUsage, *, name: str, customers: Mapping[str, str], value: str = "amount"
) -> dict[str, Any]:
    """A meter event as Stripe's POST /v1/billing/meter_events takes it.

    `value` is `amount` (what is to be paid, in the currency's smallest unit) or `quantity`; Stripe's default meters
    sum whole numbers, so a part of a unit counts as a whole one. `identifier` is what Stripe knows a second sending
    by, for 24 hours; `timestamp` must lie within the past 35 days (docs.stripe.com/api/billing/meter-event).
    """
    amount = usage.amount if value == "amount" else -(-usage.quantity // 1)
    return {
        "event_name": name,
        "identifier": f"outlay-{usage.id}"[:STRIPE_IDENTIFIER_MAX],
        "timestamp": (to_instant(usage.end) - _SECOND) // _SECOND,
        "payload": {
            "stripe_customer_id": customers.get(usage.customer, usage.customer),
            "value": str(int(amount)),
        },
    }
