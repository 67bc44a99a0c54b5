"""What the pricing tests share: events, rates and books made of a few words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from outlay.clock import to_instant
from outlay.model import ExchangeRate, Rate, UsageEvent
from outlay.pricing import catalogue
from outlay.pricing.book import PriceBook
from outlay.pricing.sync import with_cards

NOON = "2026-11-04T12:00:00Z"


def event(provider: str, service: str, usage: Mapping[str, Any], at: str = NOON, **fields: Any) -> UsageEvent:
    """An event at one instant; conditions as a mapping."""
    instant = to_instant(at)
    return UsageEvent(
        id="e1",
        provider=provider,
        service=service,
        occurred_from=instant,
        occurred_to=instant,
        usage=dict(usage),
        **fields,
    )


def listed(service: str, meter: str, price: str, per: int = 1, provider: str = "acme", **fields: Any) -> Rate:
    """A rate as a catalogue lists it."""
    return Rate(
        provider=provider,
        service=service,
        meter=meter,
        price=Decimal(price),
        per=per,
        source="https://acme.example/prices",
        source_date="2026-11-01",
        **fields,
    )


def own(service: str, meter: str, price: str, per: int = 1, provider: str = "acme", **fields: Any) -> Rate:
    """A rate of the user's own."""
    return Rate(
        provider=provider,
        service=service,
        meter=meter,
        price=Decimal(price),
        per=per,
        origin="user",
        source="contract 2026",
        **fields,
    )


def book_of(
    *rates: Rate,
    user: Sequence[Rate] = (),
    exchange: Sequence[ExchangeRate] = (),
    currency: str = "USD",
) -> PriceBook:
    """A book whose catalogue holds just these rates."""
    packed = catalogue.PackedCatalogue(catalogue.FORMAT, "a test's catalogue", "2026-11-01", with_cards([], rates))
    body = catalogue.encode(packed)
    return PriceBook.of(body, catalogue.content_id(body), user, exchange, currency)


def shipped(user: Sequence[Rate] = ()) -> PriceBook:
    """The book that Outlay ships, with the user's rates."""
    name, body = catalogue.shipped()
    return PriceBook.of(body, name, user)
