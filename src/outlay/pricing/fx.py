"""Money of one currency in another, by the reference rate of its date. Pure: the rates are handed in.

A line in another currency keeps its own amount and the rate of its date. A central bank publishes no rates on
weekends and holidays: the last day before stands in, and the conversion says so.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from decimal import Decimal
from typing import Final

import msgspec

from outlay.errors import InvalidInput, PriceBookError
from outlay.model import ExchangeRate, PricedLine
from outlay.money import Money, round_half_even, rounding_to

DAYS_OLD_MAX: Final = 7
"""Over Christmas and Easter four or five days pass without a rate; beyond a week the rates are out of date."""

_CROSS: Final = rounding_to(15)
"""A rate between two currencies is rounded to 15 digits, so that whoever reads it can compute the amount again."""


class ReferenceRates(msgspec.Struct, frozen=True):
    """One unit of `base` in other currencies: `days[currency]` in order of dates. `source` names the bank."""

    base: str
    source: str
    days: Mapping[str, tuple[tuple[date, Decimal], ...]]

    @classmethod
    def of(cls, base: str, source: str, rates: Iterable[tuple[str, date, Decimal]]) -> ReferenceRates:
        """From (currency, date, price of one unit of base), in any order.

        Raises PriceBookError `bad_exchange_rate` for a price that is not positive.
        """
        found: dict[str, dict[date, Decimal]] = {}
        for currency, day, price in rates:
            if not price.is_finite() or price <= 0:
                raise PriceBookError(
                    f"the exchange rate of {currency} on {day} must be positive", code="bad_exchange_rate"
                )
            found.setdefault(currency, {})[day] = price
        return cls(base, source, {currency: tuple(sorted(days.items())) for currency, days in found.items()})


class Conversion(msgspec.Struct, frozen=True):
    """One amount in two currencies. `exchange` is the rate by which; its date may lie before the day asked for, and
    then `note` says so."""

    amount: Money
    native: Money
    exchange: ExchangeRate
    note: str = ""


class Converter:
    """Amounts of any currency in one, each by the rate of its date."""

    def __init__(self, rates: ReferenceRates, currency: str, *, days_old_max: int = DAYS_OLD_MAX) -> None:
        """`currency` is what all becomes; a rate more than `days_old_max` days before the day asked for is none."""
        self.rates = rates
        self.currency = currency
        self.days_old_max = days_old_max

    def rate_on(self, currency: str, day: date) -> ExchangeRate:
        """What one unit of `currency` was worth on `day`, by the last rate of both currencies on or before it.

        Raises InvalidInput `no_exchange_rate` for a currency or day without one.
        """
        published, here = self._last(self.currency, day)
        from_day, there = self._last(currency, day)
        if published != from_day:
            # Two currencies are compared by rates of one day.
            published = min(published, from_day)
            here, there = self._last(self.currency, published)[1], self._last(currency, published)[1]
        price = _CROSS.divide(here, there)
        return ExchangeRate(currency=currency, price=price, date=published.isoformat(), source=self.rates.source)

    def rates_between(self, currency: str, first: date, last: date) -> Iterator[ExchangeRate]:
        """The rate of every day in [first, last] on which one was published, in order.

        Raises InvalidInput `no_exchange_rate` for a currency that is not known.
        """
        known = [{day for day, _ in self._known(one)} for one in (currency, self.currency) if one != self.rates.base]
        for day in sorted(set.intersection(*known)) if known else ():
            if first <= day <= last:
                yield self.rate_on(currency, day)

    def convert(self, money: Money, day: date) -> Conversion:
        """`money` in this converter's currency as of `day`, rounded once, half to even, at 10⁻¹².

        What is in this currency already comes back as it is, at a rate of 1. Raises InvalidInput `no_exchange_rate`.
        """
        if money.currency == self.currency:
            same = ExchangeRate(currency=money.currency, price=Decimal(1), date=day.isoformat(), source="")
            return Conversion(money, money, same)
        found = self.rate_on(money.currency, day)
        up, down = found.price.as_integer_ratio()
        amount = Money(round_half_even(money.pico * up, down), self.currency)
        return Conversion(amount, money, found, _note(found, day))

    def line(self, meter: str, money: Money, day: date, note: str = "") -> PricedLine:
        """A line of told money (`billed_cost`, `reported_cost`) in this currency, with its own amount beside it."""
        found = self.convert(money, day)
        if money.currency == self.currency:
            return PricedLine(meter, 1, money.pico, None, note)
        said = "; ".join(part for part in (note, found.note) if part)
        return PricedLine(meter, 1, found.amount.pico, None, said, money.pico, found.exchange)

    def _last(self, currency: str, day: date) -> tuple[date, Decimal]:
        if currency == self.rates.base:
            return day, Decimal(1)
        known = self._known(currency)
        at = bisect_right(known, day, key=lambda each: each[0])
        if not at or (day - known[at - 1][0]).days > self.days_old_max:
            last = f"the last before it is of {known[at - 1][0]}" if at else f"the first is of {known[0][0]}"
            raise InvalidInput(
                f"{self.rates.source} has no rate of {currency} for {day}: {last}; bring newer rates",
                code="no_exchange_rate",
                field="date",
            )
        return known[at - 1]

    def _known(self, currency: str) -> tuple[tuple[date, Decimal], ...]:
        known = self.rates.days.get(currency)
        if not known:
            raise InvalidInput(
                f"{self.rates.source} has no rate of {currency[:12]!r}; add one as [[exchange]] of a price file",
                code="no_exchange_rate",
                field="currency",
            )
        return known


def _note(rate: ExchangeRate, day: date) -> str:
    said = f"{rate.source} of {rate.date}"
    return said if rate.date == day.isoformat() else f"{said}, the last before {day.isoformat()}"
