"""What may be saved: one measure each, what several come to together, a plan by month, and what it did. Pure.

A measure acts on a target that costs so much a month and takes a share of it away, from a low to a high one. Shares
of one target multiply: half of a half is a quarter, so savings never exceed the cost they act on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from fractions import Fraction
from hashlib import blake2b
from typing import Final

import msgspec

from outlay.analytics.stack import Amounts
from outlay.clock import Instant
from outlay.money import round_half_even

MONTHS: Final = 3
_SCALE: Final = 10**9
"""A share is kept in billionths: no float decides about money."""


class Effort(StrEnum):
    """How hard a measure is."""

    EASY = "easy"
    MEDIUM = "medium"
    HARD = "hard"


class AdviceState(StrEnum):
    """What a person said to a measure."""

    OPEN = "open"
    ACCEPTED = "accepted"
    DISMISSED = "dismissed"


class Advice(msgspec.Struct, frozen=True, kw_only=True):
    """One measure, with what it rests on.

    `target` is what it acts on and `cost` what that costs a month, in picounits; `share` of it (from, to, billionths)
    is saved. Of measures with the same `alternative` on a target only the best counts. `where` filters the ledger to
    what the measure changes, for its effect afterwards. `commits` says that money is committed for a year. `month`
    is when it may be done at the earliest.
    """

    id: str
    rule: str
    title: str
    target: str
    cost: int
    share: tuple[int, int]
    effort: Effort
    how: tuple[str, ...]
    assumptions: tuple[str, ...] = ()
    evidence: tuple[tuple[str, str], ...] = ()
    alternative: str = ""
    commits: bool = False
    where: dict[str, tuple[str, ...]] = {}
    state: AdviceState = AdviceState.OPEN
    decided_at: Instant | None = None
    why: str = ""

    @property
    def saving(self) -> Amounts:
        """What it saves a month on its own."""
        return Amounts(*(round_half_even(self.cost * share, _SCALE) for share in self.share))

    @property
    def month(self) -> int:
        """The month of the plan: what is easy first, commitments after a month of facts, the hard last."""
        if self.effort is Effort.HARD:
            return MONTHS
        return 2 if self.commits or self.effort is Effort.MEDIUM else 1


class JointSaving(msgspec.Struct, frozen=True, kw_only=True):
    """Several measures at once: what their targets cost, what is saved of it, and what the single savings sum to."""

    cost: int
    saving: Amounts
    sum_of_single: Amounts
    counted: tuple[str, ...]
    left_out: tuple[str, ...]

    @property
    def percent(self) -> tuple[Fraction, Fraction]:
        """The share of the targets' cost that is saved, least and most."""
        low, high = (Fraction(100 * one, self.cost) if self.cost else Fraction(0) for one in _ends(self.saving))
        return low, high


class PlannedMonth(msgspec.Struct, frozen=True, kw_only=True):
    """A month of the plan: what is done in it, and what is saved a month from then on, by all that is done."""

    month: int
    measures: tuple[str, ...]
    saving: Amounts
    left: Amounts


def advice_id(rule: str, target: str) -> str:
    """A name of a measure on a target that is the same whenever it is asked for: `batch-3f9a1c02`."""
    return f"{rule}-{blake2b(target.encode(), digest_size=4).hexdigest()}"


def share_of(saved: int | Fraction, cost: int | Fraction) -> int:
    """A saving as a share of a cost, in billionths, within 0 and all of it."""
    if cost <= 0:
        return 0
    share = Fraction(saved) / Fraction(cost) * _SCALE
    return max(0, min(_SCALE, round(share)))


def shares(low: str | Fraction, high: str | Fraction) -> tuple[int, int]:
    """A range of shares, such as ("0.5", "0.7")."""
    return share_of(Fraction(low), 1), share_of(Fraction(high), 1)


def joint(measures: Iterable[Advice], costs: Mapping[str, int] | None = None) -> JointSaving:
    """What all these measures would save together; what is done or dismissed is left out.

    Shares of one target multiply. Of alternatives on a target the one that saves the most counts, the others are
    left out. `costs` may say what targets cost; a target's cost is otherwise the largest that a measure saw.
    """
    given = [one for one in measures if one.state is AdviceState.OPEN]
    chosen = _best_alternatives(given)
    cost_of: dict[str, int] = {}
    left: dict[str, tuple[Fraction, Fraction]] = {}
    for one in chosen:
        cost_of[one.target] = max(cost_of.get(one.target, 0), one.cost, (costs or {}).get(one.target, 0))
        least, most = left.get(one.target, (Fraction(1), Fraction(1)))
        low, high = (Fraction(_SCALE - share, _SCALE) for share in one.share)
        left[one.target] = least * low, most * high
    saved = [
        sum((round(cost_of[target] * (1 - factors[end])) for target, factors in left.items()), 0) for end in (0, 1)
    ]
    return JointSaving(
        cost=sum(cost_of.values()),
        saving=Amounts(*saved),
        sum_of_single=sum((one.saving for one in given), Amounts(0, 0)),
        counted=tuple(one.id for one in chosen),
        left_out=tuple(one.id for one in given if one not in chosen),
    )


def plan(measures: Sequence[Advice], cost: int) -> list[PlannedMonth]:
    """Month by month: what is done, what all done so far saves a month, and what is then left of `cost`."""
    months: list[PlannedMonth] = []
    counted = _best_alternatives([one for one in measures if one.state is AdviceState.OPEN])
    for month in range(1, MONTHS + 1):
        done = [one for one in counted if one.month <= month]
        saving = joint(done).saving if done else Amounts(0, 0)
        months.append(
            PlannedMonth(
                month=month,
                measures=tuple(one.id for one in counted if one.month == month),
                saving=saving,
                left=Amounts(cost - saving.high, cost - saving.low),
            )
        )
    return months


def _best_alternatives(measures: Sequence[Advice]) -> list[Advice]:
    best: dict[tuple[str, str], Advice] = {}
    for one in measures:
        key = (one.target, one.alternative)
        known = best.get(key)
        if one.alternative and (known is None or _mean(one) > _mean(known)):
            best[key] = one
    return [one for one in measures if not one.alternative or best[one.target, one.alternative] is one]


def _mean(one: Advice) -> int:
    return one.saving.low + one.saving.high


def _ends(amounts: Amounts) -> tuple[int, int]:
    return amounts.low, amounts.high


class AdviceEffect(msgspec.Struct, frozen=True, kw_only=True):
    """What an accepted measure did: cost by the day and by the call before it was accepted, and since.

    Amounts are picounits. A smaller day may come of fewer calls: `a_call` tells that apart.
    """

    id: str
    accepted_at: Instant
    days_before: Fraction
    days_after: Fraction
    cost_before: int
    cost_after: int
    calls_before: int
    calls_after: int
    promised: Amounts

    @property
    def a_day(self) -> tuple[int, int]:
        """Cost a day, before and after."""
        return _per(self.cost_before, self.days_before), _per(self.cost_after, self.days_after)

    @property
    def a_call(self) -> tuple[int, int]:
        """Cost a call, before and after; 0 without a call."""
        return _per(self.cost_before, Fraction(self.calls_before)), _per(self.cost_after, Fraction(self.calls_after))

    @property
    def saved_a_month(self) -> int:
        """By the day, times 365 / 12 days; negative where it costs more since."""
        before, after = self.a_day
        return round_half_even((before - after) * 365, 12)

    @property
    def saved_at_same_volume(self) -> int:
        """What the calls since would have cost a month more at the cost of a call before."""
        before, after = self.a_call
        calls_a_day = Fraction(self.calls_after) / self.days_after if self.days_after else Fraction(0)
        return round((before - after) * calls_a_day * Fraction(365, 12))


def _per(amount: int, count: Fraction) -> int:
    return round(Fraction(amount) / count) if count else 0
