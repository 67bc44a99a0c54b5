"""Entries for tests of the ledger: small, complete, priced by hand."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from outlay.clock import to_instant
from outlay.ledger import rules
from outlay.model import Entry, PricedLine, PricingStatus, Quantity, Rate, Rating, UsageEvent

NOON = to_instant("2026-03-10T12:00:00Z")
SECOND = 1_000_000
HOUR = 3_600 * SECOND
DAY = 24 * HOUR
TODAY = NOON // DAY

RATES = {
    # $2.50 and $10 a million tokens: 2,500,000 and 10,000,000 picounits a token.
    "input_tokens": Rate(
        provider="openai", service="gpt-4o", meter="input_tokens", price=Decimal("2.50"), per=1_000_000, source="test"
    ),
    "output_tokens": Rate(
        provider="openai", service="gpt-4o", meter="output_tokens", price=Decimal("10"), per=1_000_000, source="test"
    ),
    # $0.10 a second: 100,000,000 picounits a thousandth.
    "video_seconds": Rate(
        provider="openai", service="gpt-4o", meter="video_seconds", price=Decimal("0.1"), per=1, source="test"
    ),
}


def make_event(id: str = "e1", at: int = NOON, **fields: Any) -> UsageEvent:
    """One call of 1,000 input tokens, unless `fields` say otherwise; its id and time are the caller's."""
    given: dict[str, Any] = {
        "provider": "openai",
        "service": "gpt-4o",
        "occurred_to": at,
        "usage": {"input_tokens": 1_000},
        "id_given": True,
        "time_given": True,
    }
    return UsageEvent(id=id, occurred_from=at, **{**given, **fields})


def rate(event: UsageEvent) -> Rating:
    """Price each meter of RATES, whole picounits a unit; another meter is unrated."""
    from outlay.model import Unrated

    lines = tuple(
        PricedLine(meter, quantity, amount_of(meter, quantity) * event.count, RATES[meter])
        for meter, quantity in event.usage.items()
        if meter in RATES
    )
    unrated = tuple(
        Unrated(meter, quantity, "no rate") for meter, quantity in event.usage.items() if meter not in RATES
    )
    status = PricingStatus.PRICED
    if unrated:
        status = PricingStatus.INCOMPLETE if lines else PricingStatus.UNPRICED
    return Rating(lines, sum(line.amount for line in lines), status, unrated, match="exact")


def amount_of(meter: str, quantity: Quantity) -> int:
    """Picounits of a quantity of one meter."""
    return int(quantity * RATES[meter].price * 10**12 / RATES[meter].per)


def make_entry(id: str = "e1", at: int = NOON, *, probe_days: tuple[int, ...] = (), **fields: Any) -> Entry:
    """An entry of `make_event`, recorded at its own time unless `recorded_at` says otherwise."""
    recorded_at = fields.pop("recorded_at", at)
    kind = {name: fields.pop(name) for name in ("kind", "basis_of_entry") if name in fields}
    event = make_event(id, at, **fields)
    entry = Entry(
        event=event,
        rating=rate(event),
        recorded_at=recorded_at,
        counted_at=at,
        fingerprint=rules.fingerprint(event),
        probe_days=probe_days,
        basis=event.basis,
    )
    return msgspec.structs.replace(entry, **{name.removesuffix("_of_entry"): value for name, value in kind.items()})


def plain(value: object) -> object:
    """A datum by its fields: rates are equal by identity, so two stores' entries compare in this form."""
    return msgspec.to_builtins(value)
