"""What `outlay prices check` reports: prices that are old, without a source, or differ between sources."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from decimal import Decimal

import msgspec

from outlay.clock import Instant
from outlay.meters import METERS
from outlay.model import Rate, UsageEvent
from outlay.money import EXACT
from outlay.pricing.book import PriceBook, is_discount
from outlay.pricing.rate import rate as rate_event

DEFAULT_AGE_DAYS = 31


class PriceFinding(msgspec.Struct, frozen=True):
    """One price that deserves a look. `code` is `old_price`, `no_source`, `sources_differ` or `hides_catalogue`."""

    code: str
    provider: str
    service: str
    meter: str
    message: str


def check_prices(
    book: PriceBook, services: Iterable[tuple[str, str]], today: date, age_days: int = DEFAULT_AGE_DAYS
) -> list[PriceFinding]:
    """What is to be looked at among the rates of these (provider, service) pairs, and among the user's own.

    A price is old when its source was last read more than `age_days` before `today`. Two sources differ when
    the user's and the catalogue's price of one meter under the same conditions are not equal.
    """
    found: list[PriceFinding] = []
    seen: set[int] = set()
    pairs = dict.fromkeys([*services, *((rate.provider, rate.service) for rate in book.user_rates)])
    for provider, service in pairs:
        rates = [rate for rate in book.rates(provider, service) if not is_discount(rate)]
        fresh = [rate for rate in rates if id(rate) not in seen]
        seen.update(id(rate) for rate in fresh)
        for rate in fresh:
            found.extend(_about(rate, today, age_days))
        found.extend(_differences(rates))
    return list(dict.fromkeys(found))


def rate_in_force(
    book: PriceBook, provider: str, service: str, meter: str, conditions: Mapping[str, str], at: Instant
) -> Rate | None:
    """The rate that an event of that time would be charged for one of a meter; None when it has none."""
    event = UsageEvent(
        id="",
        provider=provider,
        service=service,
        occurred_from=at,
        occurred_to=at,
        usage={meter: 1},
        conditions=dict(conditions),
    )
    lines = rate_event(event, book).lines
    return next((line.rate for line in lines if line.meter == meter), None)


def _about(rate: Rate, today: date, age_days: int) -> Iterator[PriceFinding]:
    where = (rate.provider, rate.service, rate.meter)
    if not rate.source:
        yield PriceFinding("no_source", *where, f"{_words(rate)} has no source; say where it comes from")
    if rate.origin == "catalogue" and not rate.source_date:
        yield PriceFinding("old_price", *where, f"{_words(rate)} does not say when its source was read")
    if rate.source_date:
        age = (today - date.fromisoformat(rate.source_date)).days
        if age > age_days:
            message = f"{_words(rate)} was read {age} days ago, on {rate.source_date}, at {rate.source}"
            yield PriceFinding("old_price", *where, message)


def _differences(rates: list[Rate]) -> Iterator[PriceFinding]:
    groups: dict[tuple[str, tuple[tuple[str, str], ...], int], list[Rate]] = {}
    for rate in rates:
        if rate.valid_to is None:
            key = (rate.meter, tuple(sorted(rate.conditions.items())), rate.context_over)
            groups.setdefault(key, []).append(rate)
    for group in groups.values():
        first = group[0]
        for other in group[1:]:
            if other.source == first.source or other.hours_from != first.hours_from:
                continue
            if first.currency != other.currency or _each(first) != _each(other):
                message = f"{_words(first)} by {first.source}, but {_words(other)} by {other.source}"
                yield PriceFinding("sources_differ", first.provider, first.service, first.meter, message)


def _words(rate: Rate) -> str:
    per = f" per {rate.per:,}" if rate.per != 1 else ""
    of = ", ".join(f"{key}={value}" for key, value in sorted(rate.conditions.items()))
    given = f" ({of})" if of else ""
    unit = METERS[rate.meter].unit
    return f"{rate.meter} of {rate.service}{given} at {rate.price:f} {rate.currency}{per} {unit}"


def _each(rate: Rate) -> Decimal:
    return EXACT.divide(rate.price, Decimal(rate.per))
