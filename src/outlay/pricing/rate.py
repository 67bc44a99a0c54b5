"""`rate`: one event and a price book give the event's lines. Pure; the same input gives the same lines for ever."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import NoReturn

from outlay.errors import InvalidInput
from outlay.model import Basis, PricedLine, PricingStatus, Quantity, Rate, Rating, Status, Unrated, UsageEvent
from outlay.money import EXACT, add_exactly, round_half_even
from outlay.pricing.book import CACHE_LIMIT, PriceBook
from outlay.pricing.conditions import normalised
from outlay.pricing.plan import Operation, Plan, Segment


def rate(event: UsageEvent, book: PriceBook) -> Rating:
    """What an event costs, line by line, by the prices of the moment when it occurred.

    Raises InvalidInput `part_exceeds_whole` where a part is more than the whole that contains it,
    `negative_quantity`, `unknown_meter`.
    """
    usage = event.usage
    conditions = event.conditions
    plan = book.quick_plans.get(
        (
            event.provider,
            event.service,
            event.operation,
            tuple(conditions.items()) if conditions else (),
            tuple(usage),
        )
    )
    if plan is None:
        plan = _plan_for(event, book)
    since, until, quick = plan.now
    if not since <= event.occurred_from < until:
        quick = plan.segment(event.occurred_from, usage).quick
    if quick is None:
        return _rate_in_full(event, book, plan)
    lines = []
    total = 0
    count = event.count
    for meter, minus, numerator, denominator, found, note in quick:
        quantity = usage[meter]
        if not isinstance(quantity, int):
            return _rate_in_full(event, book, plan)
        for part in minus:
            less = usage[part]
            if not isinstance(less, int):
                return _rate_in_full(event, book, plan)
            quantity -= less
        if quantity <= 0:
            if quantity < 0:
                _refuse(usage, meter, minus)
            continue
        amount = quantity * numerator if denominator == 1 else round_half_even(quantity * numerator, denominator)
        if count != 1:
            amount *= count
        total += amount
        lines.append(PricedLine(meter, quantity, amount, found, note))
    if not lines:
        return _rate_in_full(event, book, plan)
    return Rating(tuple(lines), total, PricingStatus.PRICED, (), plan.match, event.basis)


def _plan_for(event: UsageEvent, book: PriceBook) -> Plan:
    quick = book.quick_plans
    if len(quick) >= CACHE_LIMIT:
        quick.clear()
    key = (event.provider, event.service, event.operation, tuple(event.conditions.items()), tuple(event.usage))
    plan = quick[key] = _plan(event, book, tuple(event.usage))
    return plan


def _plan(event: UsageEvent, book: PriceBook, meters: tuple[str, ...]) -> Plan:
    """The plan by what matters only, so that conditions that change nothing do not multiply plans."""
    resolution = book.resolve(event.provider, event.service)
    conditions = normalised(event.conditions, event.operation, resolution.offered)
    asked = {key.lower() for rule in resolution.discounts for key in rule.conditions}
    given = {key.lower(): value.lower() for key, value in event.conditions.items() if key.lower() in asked}
    if "operation" in asked and event.operation is not None:
        given.setdefault("operation", event.operation.lower())
    key = (
        event.provider,
        event.service,
        tuple(sorted(conditions.items())),
        tuple(sorted(given.items())),
        meters,
    )
    plan = book.plans.get(key)
    if plan is None:
        plan = Plan(book, resolution, conditions, given, meters)
        if len(book.plans) >= CACHE_LIMIT:
            book.plans.clear()
        book.plans[key] = plan
    return plan


def _rate_in_full(event: UsageEvent, book: PriceBook, plan: Plan) -> Rating:
    """Everything the quick loop leaves out: parts of seconds, minimums, currencies, what has no rate."""
    usage = event.usage
    if not usage:
        return _without_usage(event, book, plan)
    if plan.exclusive and not all(usage.values()):
        # A meter reported as zero measures nothing, so it takes no other meter's place.
        counted = {meter: quantity for meter, quantity in usage.items() if quantity}
        if counted:
            plan, usage = _plan(event, book, tuple(counted)), counted
    segment = plan.segment(event.occurred_from, usage)
    for part, whole in segment.inside:
        if usage[part] > usage[whole]:
            _refuse(usage, whole, (part,))
    return _settled(event, book, plan, *_lines(event.count, usage, segment))


def _lines(count: int, usage: Mapping[str, Quantity], segment: Segment) -> tuple[list[PricedLine], list[Unrated]]:
    lines: list[PricedLine] = []
    unrated: list[Unrated] = []
    nothing: list[Operation] = []
    for operation in segment.operations:
        quantity = operation.once or _leaf(usage, operation)
        if not quantity:
            nothing.append(operation)
        elif operation.rate is None:
            unrated.append(Unrated(operation.meter, quantity, operation.reason))
        else:
            lines.append(_line(operation, operation.rate, quantity, count))
    if not lines and not unrated:
        # All that was reported is zero: zero of a priced meter costs nothing, and a line says so.
        lines.extend(_line(each, each.rate, 0, count) for each in nothing if each.rate is not None)
        if not lines:
            unrated.extend(Unrated(operation.meter, 0, operation.reason) for operation in nothing)
    lines.extend(segment.replaced)
    unrated.extend(segment.caveats)
    return lines, unrated


def _without_usage(event: UsageEvent, book: PriceBook, plan: Plan) -> Rating:
    at = event.occurred_from
    if event.status is Status.FAILED:
        lines = [_line(each, each.rate, 1, event.count) for each in plan.attempts(at) if each.rate is not None]
        unrated = [] if lines else [Unrated("usage", 0, "failed, no usage")]
        return _settled(event, book, plan, lines, unrated)
    operations = plan.segment(at, {}).operations
    lines = [_line(each, each.rate, each.once, event.count) for each in operations if each.rate is not None]
    rates = plan.resolution.rates
    if lines and all(each.implied for each in rates):
        return _settled(event, book, plan, lines, [])
    reason = plan.resolution.reason or "the call reported no usage; record what it used, or correct the event"
    return _settled(event, book, plan, lines, [Unrated("usage", 0, reason)])


def _settled(
    event: UsageEvent, book: PriceBook, plan: Plan, lines: list[PricedLine], unrated: list[Unrated]
) -> Rating:
    rule = plan.match if lines else plan.resolution.rule
    if not lines:
        told = _reported(event, book, unrated)
        if told is not None:
            return Rating((told,), told.amount, PricingStatus.PRICED, (), rule, Basis.REPORTED)
        return Rating((), 0, PricingStatus.UNPRICED, tuple(unrated), rule, event.basis)
    status = PricingStatus.INCOMPLETE if unrated else PricingStatus.PRICED
    return Rating(tuple(lines), sum(line.amount for line in lines), status, tuple(unrated), rule, event.basis)


def _reported(event: UsageEvent, book: PriceBook, unrated: list[Unrated]) -> PricedLine | None:
    """The provider's own figure, for want of a rate. A reported zero is none: nothing is free by hearsay."""
    told = event.reported_cost
    if told is None or told.pico <= 0:
        return None
    why = unrated[0].reason if unrated else "no rate"
    note = f"as reported by {event.provider}; {why}"
    if told.currency == book.currency:
        return PricedLine("reported_cost", 1, told.pico * event.count, None, note)
    exchange = book.exchange_at(told.currency, event.occurred_from)
    if exchange is None:
        unrated.append(
            Unrated("reported_cost", 1, f"no exchange rate of {told.currency} to {book.currency} at the event's time")
        )
        return None
    up, down = exchange.price.as_integer_ratio()
    amount = round_half_even(told.pico * up, down) * event.count
    return PricedLine("reported_cost", 1, amount, None, note, told.pico * event.count, exchange)


def _leaf(usage: Mapping[str, Quantity], operation: Operation) -> Quantity:
    quantity = usage[operation.meter]
    for part in operation.plus:
        quantity = add_exactly(quantity, usage[part])
    for part in operation.minus:
        quantity = _subtract(quantity, usage[part])
    if quantity < 0:
        _refuse(usage, operation.meter, operation.minus)
    return quantity


def _line(operation: Operation, found: Rate, quantity: Quantity, count: int) -> PricedLine:
    billed, note = quantity, operation.note
    # A remainder beside parts that have their own line is no call of its own, so no minimum applies to it.
    if quantity and not operation.minus and (found.minimum is not None or found.increment is not None):
        billed = _billed(quantity, found.minimum, found.increment)
        if billed != quantity:
            note = "; ".join(part for part in (note, f"{quantity} measured, {billed:f} billed") if part)
    amount = _amount(billed, operation.numerator, operation.denominator) * count
    native = None
    if operation.native is not None:
        native = _amount(billed, *operation.native) * count
    return PricedLine(operation.meter, billed, amount, found, note, native, operation.exchange)


def _billed(quantity: Quantity, minimum: Decimal | None, increment: Decimal | None) -> Quantity:
    """The quantity a rate charges: at least its minimum, rounded up to whole increments."""
    billed = Decimal(quantity)
    if minimum is not None and billed < minimum:
        billed = minimum
    if increment is not None:
        steps, rest = EXACT.divmod(billed, increment)
        billed = EXACT.multiply(EXACT.add(steps, 1) if rest else steps, increment)
    return quantity if billed == quantity else billed


def _amount(quantity: Quantity, numerator: int, denominator: int) -> int:
    """Picounits of a quantity, rounded once, half to even."""
    up, down = quantity.as_integer_ratio()
    return round_half_even(up * numerator, down * denominator)


def _subtract(one: Quantity, other: Quantity) -> Quantity:
    if isinstance(one, int) and isinstance(other, int):
        return one - other
    return EXACT.subtract(Decimal(one), Decimal(other))


def _refuse(usage: Mapping[str, Quantity], whole: str, parts: tuple[str, ...]) -> NoReturn:
    if usage[whole] < 0:
        raise InvalidInput(
            f"{whole} is {usage[whole]}; a quantity cannot be negative", code="negative_quantity", field="usage"
        )
    held = " and ".join(f"{part} {usage[part]}" for part in dict.fromkeys(parts))
    raise InvalidInput(
        f"{held} are part of {whole}, which is only {usage[whole]}; {whole} must contain its parts",
        code="part_exceeds_whole",
        field="usage",
    )
