"""Why an event costs what it does, for people (`explain`) and programs (`explain_dict`)."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from outlay.clock import isoformat
from outlay.meters import METERS
from outlay.model import PricedLine, PricingStatus, Quantity, Rate, Rating, UsageEvent
from outlay.money import Money, format_pico


def explain(event: UsageEvent, rating: Rating, currency: str) -> str:
    """A text of some lines: what was used, at which rate from which source, the arithmetic, what has no price."""
    return "\n".join(_sentences(event, rating, currency))


def explain_dict(event: UsageEvent, rating: Rating, currency: str) -> dict[str, Any]:
    """The same as plain values: amounts as exact decimal text in `currency`, quantities as decimal text."""
    return {
        "id": event.id,
        "provider": event.provider,
        "service": event.service,
        "operation": event.operation,
        "occurred_at": isoformat(event.occurred_from),
        "count": event.count,
        "status": event.status.value,
        "pricing_status": rating.status.value,
        "basis": rating.basis.value,
        "match": rating.match,
        "total": _exact(rating.amount),
        "currency": currency,
        "lines": [_line_dict(event, line, currency) for line in rating.lines],
        "unrated": [
            {"meter": each.meter, "quantity": _shown(each.quantity).replace(",", ""), "reason": each.reason}
            for each in rating.unrated
        ],
        "reported_cost": None if event.reported_cost is None else str(event.reported_cost.amount),
    }


def arithmetic(line: PricedLine, count: int, currency: str) -> str:
    """`400 × 2.5 USD / 1,000,000 = $0.001`: how a line's amount follows from its quantity and its rate."""
    if line.rate is None:
        return f"{_exact(line.amount)} {currency} as told"
    rate = line.rate
    steps = f"{_shown(line.quantity)} × {rate.price:f} {rate.currency}"
    if rate.per != 1:
        steps += f" / {rate.per:,}"
    if line.exchange is not None:
        steps += f" × {line.exchange.price:f} {currency} a {rate.currency}"
    if count != 1:
        steps += f" × {count:,} calls"
    return f"{steps} = {Money(line.amount, currency)}"


def _sentences(event: UsageEvent, rating: Rating, currency: str) -> Iterator[str]:
    calls = "" if event.count == 1 else f", {event.count:,} calls"
    operation = f" {event.operation}" if event.operation else ""
    yield f"{event.provider} {event.service}{operation} at {isoformat(event.occurred_from)}{calls}"
    if rating.match:
        yield f"  matched: {rating.match}"
    for line in rating.lines:
        yield from _line_sentences(event, line, currency)
    for each in rating.unrated:
        quantity = f" {_shown(each.quantity)}" if each.quantity else ""
        yield f"  not priced: {each.meter}{quantity}"
        yield f"    {each.reason}"
    yield f"  total: {Money(rating.amount, currency)} ({_state(rating)})"
    told = event.reported_cost
    if told is not None and rating.basis != "reported":
        yield f"  {event.provider} itself reported {told}; it is kept beside and not counted"


def _state(rating: Rating) -> str:
    if rating.status is PricingStatus.UNPRICED:
        return "unpriced: this is not zero, it is unknown"
    if rating.status is PricingStatus.INCOMPLETE:
        return "incomplete: a part has no price yet"
    return f"{rating.basis.value}, every meter priced"


def _line_sentences(event: UsageEvent, line: PricedLine, currency: str) -> Iterator[str]:
    unit = f" ({METERS[line.meter].unit})" if line.meter in METERS else ""
    yield f"  {line.meter}{unit}: {arithmetic(line, event.count, currency)}"
    rate = line.rate
    if rate is not None:
        parts = [part for part in _taken_out(event, line) if part]
        if parts:
            yield f"    {_shown(line.quantity)} of {_shown(event.usage[line.meter])}, without {' and '.join(parts)}"
        yield f"    rate: {_rate_words(rate)}"
    if line.note:
        yield f"    {line.note}"
    if line.exchange is not None:
        dated = f"on {line.exchange.date} by {line.exchange.source or 'your file'}"
        yield f"    one {line.exchange.currency} was {line.exchange.price:f} {currency} {dated}"


def _taken_out(event: UsageEvent, line: PricedLine) -> Iterator[str]:
    """The reported parts of a meter that have lines of their own."""
    outer = METERS.get(line.meter)
    if outer is None or event.usage.get(line.meter) in (None, line.quantity):
        return
    for name, quantity in event.usage.items():
        if quantity and outer.contains(METERS[name]):
            yield f"{_shown(quantity)} {name}"


def _rate_words(rate: Rate) -> str:
    per = f" per {rate.per:,} {METERS[rate.meter].unit}s" if rate.per != 1 else f" per {METERS[rate.meter].unit}"
    service = f"any service of {rate.provider}" if rate.service == "*" else rate.service
    words = f"{rate.price:f} {rate.currency}{per} of {service}"
    if rate.conditions:
        words += " for " + ", ".join(f"{key}={value}" for key, value in sorted(rate.conditions.items()))
    if rate.context_over:
        words += f", above {rate.context_over:,} input tokens"
    if rate.valid_from is not None:
        words += f", since {isoformat(rate.valid_from)[:10]}"
    if rate.valid_to is not None:
        words += f", until {isoformat(rate.valid_to)[:10]}"
    origin = "the catalogue" if rate.origin == "catalogue" else "your own rates"
    source = f"; source: {rate.source}" if rate.source else ""
    dated = f" ({rate.source_date})" if rate.source_date else ""
    note = f"; {rate.note}" if rate.note else ""
    return f"{words}, from {origin}{source}{dated}{note}"


def _line_dict(event: UsageEvent, line: PricedLine, currency: str) -> dict[str, Any]:
    rate = line.rate
    found: dict[str, Any] = {
        "meter": line.meter,
        "quantity": _shown(line.quantity).replace(",", ""),
        "amount": _exact(line.amount),
        "shown": format_pico(line.amount, currency),
        "arithmetic": arithmetic(line, event.count, currency),
        "note": line.note,
    }
    if rate is not None:
        found["rate"] = {
            "provider": rate.provider,
            "service": rate.service,
            "meter": rate.meter,
            "price": f"{rate.price:f}",
            "list_price": None if rate.list_price is None else f"{rate.list_price:f}",
            "per": rate.per,
            "currency": rate.currency,
            "conditions": rate.conditions,
            "context_over": rate.context_over,
            "valid_from": None if rate.valid_from is None else isoformat(rate.valid_from),
            "valid_to": None if rate.valid_to is None else isoformat(rate.valid_to),
            "origin": rate.origin,
            "source": rate.source,
            "source_date": rate.source_date,
            "note": rate.note,
        }
    if line.exchange is not None and line.native_amount is not None:
        found["native_amount"] = _exact(line.native_amount)
        found["exchange"] = {
            "currency": line.exchange.currency,
            "price": f"{line.exchange.price:f}",
            "date": line.exchange.date,
            "source": line.exchange.source,
        }
    return found


def _shown(quantity: Quantity) -> str:
    return f"{quantity:,}" if isinstance(quantity, int) else f"{quantity:,f}"


def _exact(pico: int) -> str:
    amount: Decimal = Money(pico).amount
    return format(amount, "f")
