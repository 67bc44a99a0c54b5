"""A bill against what was called: by service and days, the difference taken apart and each part named. Pure.

billed − called = price + quantity (missing calls, calls not billed) + free tier + commitment + credits + tax
                  + adjustments + repeated rows + rounding + unexplained        exactly, to the picounit
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from fractions import Fraction
from typing import Final

import msgspec

from outlay.money import PICO_PER_UNIT, round_half_even


class Cause(StrEnum):
    """Why a bill differs from what was called."""

    PRICE = "price"
    """The same was used at another price than ours."""
    QUANTITY = "quantity"
    """Some meters were billed with more or less than was recorded."""
    MISSING_CALLS = "missing calls"
    """All meters were billed with more: calls were made that nobody recorded."""
    CALLS_NOT_BILLED = "calls not billed"
    """All meters were billed with less than was recorded."""
    UNPRICED = "unpriced calls"
    """Calls that were recorded without a price."""
    FREE_TIER = "free tier"
    COMMITMENT = "commitment"
    CREDITS = "credits"
    TAX = "tax"
    ADJUSTMENTS = "adjustments"
    REPEATED_ROWS = "repeated rows"
    """The bill holds rows that are equal in every column."""
    ROUNDING = "rounding"
    UNEXPLAINED = "unexplained"
    """The bill gives no quantity, or none of a meter that was recorded."""


class Billed(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a bill: `category` is usage, commitment, purchase, credit, tax or adjustment; amounts in picounits.

    `decimals` is the least number of decimals of its `rows`, `listed` the cost before discounts and `repeated` the
    cost of rows that stand twice.
    """

    meter: str | None
    quantity: Fraction | None
    amount: int
    category: str = "usage"
    rows: int = 1
    decimals: int = 12
    repeated: int = 0
    listed: int | None = None


class Called(msgspec.Struct, frozen=True, kw_only=True):
    """What the ledger recorded of one meter (None: calls that have none)."""

    meter: str | None
    quantity: Fraction
    amount: int
    calls: int = 0
    unpriced: int = 0


class MeterDifference(msgspec.Struct, frozen=True, kw_only=True):
    """One meter on both sides: quantities as fractions, amounts in picounits; None where a side has no quantity."""

    meter: str
    billed_quantity: Fraction | None
    called_quantity: Fraction
    billed: int
    called: int


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """What was billed less what was called, and why: the parts sum to it exactly."""

    billed: int
    called: int
    causes: dict[Cause, int]
    meters: tuple[MeterDifference, ...] = ()

    @property
    def amount(self) -> int:
        """Billed less called, in picounits."""
        return self.billed - self.called


class Proposal(msgspec.Struct, frozen=True, kw_only=True):
    """A price that the bill shows for a meter whose rate is another one; prices in units of currency for one of it.

    The evidence: how much was billed on how many days, the lowest and highest price of a day, what it came to.
    """

    provider: str
    service: str
    meter: str
    price: Fraction
    price_now: Fraction
    quantity: Fraction
    days: int
    price_low: Fraction
    price_high: Fraction
    difference: int


class _Meter:
    """One meter while its two sides are compared."""

    __slots__ = ("billed", "billed_quantity", "called", "called_quantity", "tolerance", "unpriced")

    def __init__(self) -> None:
        self.billed = self.called = self.unpriced = 0
        self.billed_quantity: Fraction | None = None
        self.called_quantity = Fraction(0)
        self.tolerance = Fraction(0)

    @property
    def comparable(self) -> bool:
        return bool(self.billed_quantity) and bool(self.called_quantity)


def difference_of(billed: Sequence[Billed], called: Sequence[Called]) -> Difference:
    """Compare the two sides of one service in one span of days."""
    causes: dict[Cause, int] = {}
    meters: dict[str | None, _Meter] = {}
    for line in called:
        meter = meters.setdefault(line.meter, _Meter())
        meter.called += line.amount
        meter.called_quantity += line.quantity
        meter.unpriced += line.unpriced
    calls = sum(line.calls for line in called)
    if "requests" not in meters and calls and any(line.meter == "requests" for line in billed):
        meters.setdefault("requests", _Meter()).called_quantity = Fraction(calls)
    for part in billed:
        _bill(part, meters, causes)
    _compare_all(meters, causes)
    total = sum(part.amount for part in billed) - sum(line.amount for line in called)
    # What is left is what the parts lost when each was rounded to a picounit.
    _add(causes, Cause.ROUNDING, total - sum(causes.values()))
    return Difference(
        billed=sum(part.amount for part in billed),
        called=sum(line.amount for line in called),
        causes={cause: amount for cause, amount in sorted(causes.items()) if amount},
        meters=tuple(_told(name, meter) for name, meter in sorted(meters.items(), key=lambda item: item[0] or "")),
    )


def _told(name: str | None, meter: _Meter) -> MeterDifference:
    return MeterDifference(
        meter=name or "",
        billed_quantity=meter.billed_quantity,
        called_quantity=meter.called_quantity,
        billed=meter.billed,
        called=meter.called,
    )


_WHOLE_CAUSES: Final = {
    "tax": Cause.TAX,
    "credit": Cause.CREDITS,
    "adjustment": Cause.ADJUSTMENTS,
    "purchase": Cause.COMMITMENT,
}


def _bill(part: Billed, meters: dict[str | None, _Meter], causes: dict[Cause, int]) -> None:
    """Put a part of the bill where it is compared; what it is named for by itself goes to its cause at once."""
    whole = _WHOLE_CAUSES.get(part.category)
    if whole is not None:
        _add(causes, whole, part.amount)
        return
    meter = meters.setdefault(part.meter, _Meter())
    amount, quantity = part.amount, part.quantity
    if part.repeated:
        _add(causes, Cause.REPEATED_ROWS, part.repeated)
        if quantity is not None and amount:
            quantity -= quantity * Fraction(part.repeated, amount)
        amount -= part.repeated
    normal = _normal_cost(part, quantity, meter)
    if normal is not None and normal != amount:
        _add(causes, Cause.COMMITMENT if part.category == "commitment" else Cause.FREE_TIER, amount - normal)
        amount = normal
    meter.billed += amount
    if quantity is not None:
        meter.billed_quantity = (meter.billed_quantity or Fraction(0)) + quantity
    meter.tolerance += Fraction(part.rows * PICO_PER_UNIT, 2 * 10**part.decimals)


def _normal_cost(part: Billed, quantity: Fraction | None, meter: _Meter) -> int | None:
    """What usage that was free or paid by a commitment costs at the normal price; None for other usage."""
    covered = part.category == "commitment"
    if not covered and (part.amount or not quantity):
        return None
    if part.listed:
        return part.listed
    if quantity is None or not meter.called_quantity or not meter.called:
        return None
    return _pico(quantity * meter.called / meter.called_quantity)


def _compare_all(meters: dict[str | None, _Meter], causes: dict[Cause, int]) -> None:
    comparable = [meter for meter in meters.values() if meter.comparable]
    quantity_cause = _quantity_cause(comparable)
    for meter in comparable:
        _compare(meter, quantity_cause, causes)
    rest = [meter for meter in meters.values() if not meter.comparable and (meter.billed or meter.called)]
    _compare_rest(rest, bool(comparable), causes)


def _quantity_cause(meters: Sequence[_Meter]) -> Cause:
    """Calls are missing where every meter was billed with more; else it is some meter's own quantity."""
    gaps = [(meter.billed_quantity or 0) - meter.called_quantity for meter in meters]
    if gaps and all(gap > 0 for gap in gaps):
        return Cause.MISSING_CALLS
    if gaps and all(gap < 0 for gap in gaps):
        return Cause.CALLS_NOT_BILLED
    return Cause.QUANTITY


def _compare(meter: _Meter, quantity_cause: Cause, causes: dict[Cause, int]) -> None:
    difference = meter.billed - meter.called
    if meter.unpriced and not meter.called:
        _add(causes, Cause.UNPRICED, difference)
        return
    more = (meter.billed_quantity or 0) - meter.called_quantity
    if not more and abs(difference) <= meter.tolerance:
        _add(causes, Cause.ROUNDING, difference)
        return
    of_quantity = _pico(more * meter.called / meter.called_quantity)
    _add(causes, quantity_cause, of_quantity)
    of_price = difference - of_quantity
    _add(causes, Cause.ROUNDING if abs(of_price) <= meter.tolerance else Cause.PRICE, of_price)


def _compare_rest(meters: Sequence[_Meter], others: bool, causes: dict[Cause, int]) -> None:
    """What one side alone knows a quantity of: it can be named only as a whole."""
    billed = sum(meter.billed for meter in meters)
    called = sum(meter.called for meter in meters)
    tolerance = sum((meter.tolerance for meter in meters), Fraction(0))
    difference = billed - called
    if abs(difference) <= tolerance and called:
        _add(causes, Cause.ROUNDING, difference)
    elif not called and any(meter.unpriced for meter in meters):
        _add(causes, Cause.UNPRICED, difference)
    elif not called and not others:
        _add(causes, Cause.MISSING_CALLS, difference)
    elif not billed and not others:
        _add(causes, Cause.CALLS_NOT_BILLED, difference)
    elif not called or not billed:
        _add(causes, Cause.QUANTITY, difference)
    else:
        _add(causes, Cause.UNEXPLAINED, difference)


def proposals_of(
    provider: str, service: str, days: Iterable[Difference], *, share_min: Fraction = Fraction(1, 1000)
) -> list[Proposal]:
    """Prices that the bill of some days shows instead of ours, where they differ by `share_min` of ours or more."""
    by_meter: dict[str, list[MeterDifference]] = {}
    for day in days:
        if Cause.PRICE in day.causes:
            for meter in day.meters:
                if meter.meter and meter.billed_quantity and meter.called_quantity and meter.called:
                    by_meter.setdefault(meter.meter, []).append(meter)
    found = []
    for name, cells in sorted(by_meter.items()):
        proposal = _proposal(provider, service, name, cells)
        if abs(proposal.price - proposal.price_now) >= share_min * proposal.price_now:
            found.append(proposal)
    return found


def _proposal(provider: str, service: str, meter: str, cells: Sequence[MeterDifference]) -> Proposal:
    quantity = sum((cell.billed_quantity or Fraction(0) for cell in cells), Fraction(0))
    called = sum((cell.called_quantity for cell in cells), Fraction(0))
    unit = [Fraction(cell.billed, PICO_PER_UNIT) / (cell.billed_quantity or 1) for cell in cells]
    price = Fraction(sum(cell.billed for cell in cells), PICO_PER_UNIT) / quantity
    price_now = Fraction(sum(cell.called for cell in cells), PICO_PER_UNIT) / called
    return Proposal(
        provider=provider,
        service=service,
        meter=meter,
        price=price,
        price_now=price_now,
        quantity=quantity,
        days=len(cells),
        price_low=min(unit),
        price_high=max(unit),
        difference=_pico((price - price_now) * quantity * PICO_PER_UNIT),
    )


def summed(differences: Iterable[Difference]) -> Difference:
    """Several differences as one, without their meters."""
    billed = called = 0
    causes: dict[Cause, int] = {}
    for each in differences:
        billed += each.billed
        called += each.called
        for cause, amount in each.causes.items():
            _add(causes, cause, amount)
    kept = {cause: amount for cause, amount in sorted(causes.items()) if amount}
    return Difference(billed=billed, called=called, causes=kept)


def _add(causes: dict[Cause, int], cause: Cause, amount: int) -> None:
    if amount:
        causes[cause] = causes.get(cause, 0) + amount


def _pico(value: Fraction) -> int:
    return round_half_even(value.numerator, value.denominator)
