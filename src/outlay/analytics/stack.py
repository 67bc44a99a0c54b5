"""What a stack will cost: each resource's month, line by line, the AI work on top, margin, and scenarios. Pure.

The rating function is handed in: it gives the low and the high rating of one usage, which differ where a price is a
range. A month has 730 hours and a year twelve months.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Final

import msgspec

from outlay.analytics.volumes import Month, Volume, freed, stepped
from outlay.clock import Instant
from outlay.model import PricedLine, Quantity, Rating, Unrated, UsageEvent
from outlay.money import Money, round_half_even, rounding_to

Span = Callable[[UsageEvent], tuple[Rating, Rating]]
"""The low and the high rating of one usage."""

HOURS_A_MONTH: Final = 730
MONTHS_A_YEAR: Final = 12

SHARES: Final = rounding_to(28)
"""How often a step runs may be a third: such a number is cut at 28 digits."""


class Use(msgspec.Struct, frozen=True, kw_only=True):
    """What one thing uses in a month, or one call of a piece of work; `label` says which part it is."""

    provider: str
    service: str
    usage: dict[str, Quantity]
    conditions: dict[str, str] = {}
    operation: str | None = None
    label: str = ""

    def event(self, at: Instant) -> UsageEvent:
        """As an event at one instant, to be rated."""
        return UsageEvent(
            id="estimate",
            provider=self.provider,
            service=self.service,
            occurred_from=at,
            occurred_to=at,
            operation=self.operation,
            usage=dict(self.usage),
            conditions=dict(self.conditions),
        )


class Resource(msgspec.Struct, frozen=True, kw_only=True):
    """One row of a stack. A resource without uses says in `reason` why it costs nothing.

    `billed_as` are the names (provider/service, lower case) under which a ledger may hold what it really cost.
    """

    name: str
    uses: tuple[Use, ...] = ()
    reason: str = ""
    billed_as: tuple[str, ...] = ()


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """AI work counted in units a month (videos, answers), each made of the same steps: (a call, how often)."""

    name: str
    units: int
    steps: tuple[tuple[Use, Decimal], ...]


class Stack(msgspec.Struct, frozen=True, kw_only=True):
    """A whole application before it runs. `margin_percent` is a line of its own, never part of a price."""

    name: str
    resources: tuple[Resource, ...]
    work: tuple[Work, ...] = ()
    margin_percent: Decimal = Decimal(0)
    free_allowances: bool = True


class Amounts(msgspec.Struct, frozen=True):
    """A low and a high amount a month, in picounits; equal where no price is a range."""

    low: int
    high: int

    def __add__(self, other: Amounts) -> Amounts:
        return Amounts(self.low + other.low, self.high + other.high)

    def __sub__(self, other: Amounts) -> Amounts:
        return Amounts(self.low - other.low, self.high - other.high)

    def times(self, factor: int | Fraction) -> Amounts:
        """So many times as much, rounded half to even."""
        exact = Fraction(factor)
        low, high = (round_half_even(one * exact.numerator, exact.denominator) for one in (self.low, self.high))
        return Amounts(low, high)

    @property
    def is_range(self) -> bool:
        """Whether low and high differ."""
        return self.low != self.high


class StackLine(msgspec.Struct, frozen=True):
    """One meter of one row at both ends; `times` is how often it counts in a month."""

    label: str
    low: PricedLine
    high: PricedLine
    times: int = 1

    @property
    def amounts(self) -> Amounts:
        """The line's month."""
        return Amounts(self.low.amount, self.high.amount).times(self.times)


class StackRow(msgspec.Struct, frozen=True, kw_only=True):
    """One resource's or work's month. `unrated` is what has no price: it is not in the amounts, which are too low.

    A row of work has `unit`, the amounts of one.
    """

    name: str
    providers: tuple[str, ...]
    lines: tuple[StackLine, ...]
    unrated: tuple[Unrated, ...] = ()
    reason: str = ""
    unit: Amounts | None = None
    units: int = 0
    billed_as: tuple[str, ...] = ()

    @property
    def month(self) -> Amounts:
        """What the row costs a month."""
        return sum((line.amounts for line in self.lines), Amounts(0, 0))


class StackEstimate(msgspec.Struct, frozen=True, kw_only=True):
    """A stack's month and year, row by row."""

    name: str
    rows: tuple[StackRow, ...]
    margin_percent: Decimal
    currency: str

    @property
    def net(self) -> Amounts:
        """All rows, without the margin."""
        return sum((row.month for row in self.rows), Amounts(0, 0))

    @property
    def margin(self) -> Amounts:
        """The margin on all rows."""
        return self.net.times(Fraction(self.margin_percent) / 100)

    @property
    def month(self) -> Amounts:
        """All rows and the margin."""
        return self.net + self.margin

    @property
    def year(self) -> Amounts:
        """Twelve months."""
        return self.month.times(MONTHS_A_YEAR)

    @property
    def unrated(self) -> tuple[tuple[str, Unrated], ...]:
        """(row, what has no price) of every row: with any, the estimate is too low."""
        return tuple((row.name, one) for row in self.rows for one in row.unrated)

    def by_provider(self) -> dict[str, Amounts]:
        """The month of each provider, in the order of the rows; rows of several providers under their names."""
        found: dict[str, Amounts] = {}
        for row in self.rows:
            if row.providers:
                key = ", ".join(row.providers)
                found[key] = found.get(key, Amounts(0, 0)) + row.month
        return found

    def money(self, pico: int) -> Money:
        """An amount of this estimate as money."""
        return Money(pico, self.currency)


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One scenario beside the stack as it is: `change` a month, negative where it saves."""

    name: str
    estimate: StackEstimate
    change: Amounts

    @property
    def change_percent(self) -> tuple[Fraction | None, Fraction | None]:
        """The change of the low and of the high month, None of nothing."""
        base = self.estimate.month - self.change
        return tuple(  # type: ignore[return-value]  # two of them, as two are zipped
            Fraction(100 * change, whole) if whole else None
            for change, whole in ((self.change.low, base.low), (self.change.high, base.high))
        )


def price_stack(
    stack: Stack, span: Span, volumes: Sequence[Volume], *, at: Instant, currency: str = "USD"
) -> StackEstimate:
    """The stack's month by the prices of `at`: list prices, less what is free each month, cut at volume steps."""
    month = Month(volumes, free=stack.free_allowances)
    rows = [_row(resource, span, month, at) for resource in stack.resources]
    rows += [_work(work, span, at) for work in stack.work]
    return StackEstimate(name=stack.name, rows=tuple(rows), margin_percent=stack.margin_percent, currency=currency)


def differences(base: StackEstimate, scenarios: Mapping[str, StackEstimate]) -> list[Difference]:
    """Each scenario beside the base, in the order given."""
    return [
        Difference(name=name, estimate=found, change=found.month - base.month) for name, found in scenarios.items()
    ]


def _row(resource: Resource, span: Span, month: Month, at: Instant) -> StackRow:
    lines: list[StackLine] = []
    unrated: list[Unrated] = []
    for use in resource.uses:
        event = use.event(at)
        low, high = span(event)
        unrated += high.unrated
        for cheap, dear in zip(low.lines, high.lines, strict=True):
            lines += _monthly(use, event, cheap, dear, month)
    return StackRow(
        name=resource.name,
        providers=tuple(dict.fromkeys(use.provider for use in resource.uses)),
        lines=tuple(lines),
        unrated=tuple(unrated),
        reason=resource.reason,
        billed_as=resource.billed_as,
    )


def _monthly(use: Use, event: UsageEvent, low: PricedLine, high: PricedLine, month: Month) -> Iterator[StackLine]:
    """A line with the month's steps, then the credits for what is free."""
    before, free, volume = month.take(event, low.meter, low.quantity)
    if volume is None:
        yield StackLine(use.label, low, high)
        return
    sides = [stepped(line, before, volume) for line in (low, high)]
    for cheap, dear in zip(*sides, strict=True):
        yield StackLine(use.label, cheap, dear)
    for cheap, dear in zip(*(freed(lines, free, volume) for lines in sides), strict=True):
        yield StackLine(use.label, cheap, dear)


def _work(work: Work, span: Span, at: Instant) -> StackRow:
    lines: list[StackLine] = []
    unrated: list[Unrated] = []
    for use, times in work.steps:
        event = msgspec.structs.replace(
            use.event(at), usage={meter: _times(quantity, times) for meter, quantity in use.usage.items()}
        )
        low, high = span(event)
        unrated += high.unrated
        lines += (
            StackLine(use.label, cheap, dear, work.units) for cheap, dear in zip(low.lines, high.lines, strict=True)
        )
    unit = sum((Amounts(line.low.amount, line.high.amount) for line in lines), Amounts(0, 0))
    return StackRow(
        name=work.name,
        providers=tuple(dict.fromkeys(use.provider for use, _ in work.steps)),
        lines=tuple(lines),
        unrated=tuple(unrated),
        unit=unit,
        units=work.units,
        billed_as=tuple(dict.fromkeys(f"{use.provider}/{use.service}".lower() for use, _ in work.steps)),
    )


def _times(quantity: Quantity, times: Decimal) -> Quantity:
    product = SHARES.multiply(quantity, times)
    whole = int(product)
    return whole if whole == product else product
