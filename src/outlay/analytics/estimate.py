"""A job priced before it is made, line by line, and later beside what it cost. Pure: the rating is handed in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from fractions import Fraction

import msgspec

from outlay.analytics.stack import Amounts, Span
from outlay.clock import Instant
from outlay.model import Rating, Unrated, UsageEvent
from outlay.money import Money


class EstimatedStep(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a job: `event.count` calls alike, at the low and the high end of its prices."""

    name: str
    event: UsageEvent
    low: Rating
    high: Rating

    @property
    def amounts(self) -> Amounts:
        """What all its calls come to."""
        return Amounts(self.low.amount, self.high.amount)

    @property
    def unrated(self) -> tuple[Unrated, ...]:
        """What of it has no price."""
        return self.high.unrated


class JobEstimate(msgspec.Struct, frozen=True, kw_only=True):
    """What a job will cost. `margin_percent` is a line of its own, never mixed into a price."""

    steps: tuple[EstimatedStep, ...]
    margin_percent: Decimal
    currency: str

    @property
    def net(self) -> Amounts:
        """All steps, without the margin."""
        return sum((step.amounts for step in self.steps), Amounts(0, 0))

    @property
    def margin(self) -> Amounts:
        """The margin."""
        return self.net.times(Fraction(self.margin_percent) / 100)

    @property
    def amounts(self) -> Amounts:
        """All steps and the margin, low and high."""
        return self.net + self.margin

    @property
    def total(self) -> Money:
        """The most it will cost by these steps, margin included; `low` is the least."""
        return Money(self.amounts.high, self.currency)

    @property
    def low(self) -> Money:
        """The least it will cost by these steps, margin included."""
        return Money(self.amounts.low, self.currency)

    @property
    def unrated(self) -> tuple[tuple[str, Unrated], ...]:
        """(step, what has no price): with any, the estimate is too low."""
        return tuple((step.name, one) for step in self.steps for one in step.unrated)

    def __repr__(self) -> str:
        shown = f"{self.low} to {self.total}" if self.amounts.is_range else f"{self.total}"
        return f"<JobEstimate {shown} in {len(self.steps)} steps>"


class KeptEstimate(msgspec.Struct, frozen=True, kw_only=True):
    """An estimate as a ledger keeps it for a job: what each service's steps came to, and when it was made."""

    job: str
    made_at: Instant
    margin_percent: Decimal
    parts: tuple[tuple[str, str, int, int], ...]


class ComparedPart(msgspec.Struct, frozen=True, kw_only=True):
    """One service of a job: what it was estimated at, and what it cost. Amounts in picounits."""

    provider: str
    service: str
    estimated: Amounts
    actual: int

    @property
    def difference(self) -> int:
        """How much it cost beyond the high end of the estimate, below the low end as a negative, within it 0."""
        return max(0, self.actual - self.estimated.high) - max(0, self.estimated.low - self.actual)


class EstimateComparison(msgspec.Struct, frozen=True, kw_only=True):
    """A job's estimate beside what it cost, by service; without the margin, which is no cost."""

    job: str
    made_at: Instant
    parts: tuple[ComparedPart, ...]
    currency: str

    @property
    def estimated(self) -> Amounts:
        """All steps."""
        return sum((part.estimated for part in self.parts), Amounts(0, 0))

    @property
    def actual(self) -> Money:
        """What the job cost so far."""
        return Money(sum(part.actual for part in self.parts), self.currency)

    @property
    def difference(self) -> Money:
        """How far the cost lies outside the estimate: above its high end, or below its low one as a negative."""
        actual = self.actual.pico
        outside = max(0, actual - self.estimated.high) - max(0, self.estimated.low - actual)
        return Money(outside, self.currency)


def estimate_job(
    steps: Iterable[tuple[str, UsageEvent]], span: Span, *, margin_percent: Decimal, currency: str
) -> JobEstimate:
    """Each step priced at both ends of its prices."""
    found = [
        EstimatedStep(name=name, event=event, low=low, high=high) for name, event, low, high in _rated(steps, span)
    ]
    return JobEstimate(steps=tuple(found), margin_percent=margin_percent, currency=currency)


def _rated(steps: Iterable[tuple[str, UsageEvent]], span: Span) -> Iterator[tuple[str, UsageEvent, Rating, Rating]]:
    for name, event in steps:
        low, high = span(event)
        yield name, event, low, high


def kept(estimate: JobEstimate, job: str, at: Instant) -> KeptEstimate:
    """What is kept of an estimate, to be compared later."""
    sums: dict[tuple[str, str], Amounts] = {}
    for step in estimate.steps:
        key = (step.event.provider, step.event.service)
        sums[key] = sums.get(key, Amounts(0, 0)) + step.amounts
    parts = tuple((*key, amounts.low, amounts.high) for key, amounts in sums.items())
    return KeptEstimate(job=job, made_at=at, margin_percent=estimate.margin_percent, parts=parts)


def compare_estimate(
    estimate: KeptEstimate, actual: Sequence[tuple[str, str, int]], currency: str
) -> EstimateComparison:
    """Beside what was spent, by (provider, service, amount); a service that nobody foresaw has an estimate of 0."""
    spent: dict[tuple[str, str], int] = {}
    for provider, service, amount in actual:
        spent[provider, service] = spent.get((provider, service), 0) + amount
    foreseen = {(provider, service): Amounts(low, high) for provider, service, low, high in estimate.parts}
    parts = [
        ComparedPart(
            provider=provider,
            service=service,
            estimated=foreseen.get((provider, service), Amounts(0, 0)),
            actual=spent.get((provider, service), 0),
        )
        for provider, service in dict.fromkeys((*foreseen, *spent))
    ]
    return EstimateComparison(job=estimate.job, made_at=estimate.made_at, parts=tuple(parts), currency=currency)
