"""Cost that served many, given to each by a rule; what is given sums to what there was, to the picounit. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction

import msgspec

from outlay.errors import InvalidInput


class AllocationRule(StrEnum):
    """How shared cost is given: the same to each, by what each used, or by weights that are told."""

    EVEN = "even"
    USAGE = "usage"
    WEIGHT = "weight"


class AllocatedShare(msgspec.Struct, frozen=True, kw_only=True):
    """One receiver: what was its own, what it was given of the shared cost, both in picounits, and by which share."""

    name: str
    own: int
    given: int
    share: Fraction

    @property
    def total(self) -> int:
        """Its own cost and what it was given."""
        return self.own + self.given


class Allocation(msgspec.Struct, frozen=True, kw_only=True):
    """Shared cost of a period given to features, customers, …; `given` of all shares sums to `shared` exactly."""

    to: str
    rule: str
    shared: int
    shares: tuple[AllocatedShare, ...]
    currency: str = "USD"

    @property
    def total(self) -> int:
        """What all receivers bear together, in picounits."""
        return sum(each.total for each in self.shares)


def allocated(amount: int, weights: Mapping[str, int | Decimal | Fraction]) -> dict[str, int]:
    """An amount given by weights: whole picounits whose sum is the amount, by the largest remainders, then by name.

    Raises InvalidInput `negative_weight`, or `no_receiver` where there is an amount and no weight above zero.
    """
    exact = {name: Fraction(weight) for name, weight in weights.items()}
    for name, weight in exact.items():
        if weight < 0:
            raise InvalidInput(f"the weight of {name[:60]!r} is below zero", code="negative_weight")
    total = sum(exact.values(), Fraction(0))
    if not total:
        if not amount:
            return dict.fromkeys(exact, 0)
        raise InvalidInput("nobody is there to bear this cost; give weights above zero", code="no_receiver")
    shares = {name: amount * weight / total for name, weight in exact.items()}
    given = {name: share.numerator // share.denominator for name, share in shares.items()}
    left = amount - sum(given.values())
    by_remainder = sorted(shares, key=lambda name: (given[name] - shares[name], name))
    for name in by_remainder[:left]:
        given[name] += 1
    return given


def allocation(
    to: str,
    rule: AllocationRule | str,
    shared: int,
    own: Mapping[str, int],
    weights: Mapping[str, int | Decimal | Fraction],
    currency: str = "USD",
) -> Allocation:
    """Shared cost given to the receivers of `weights`, beside what each has of its own."""
    given = allocated(shared, weights)
    total = sum((Fraction(weight) for weight in weights.values()), Fraction(0))
    names = sorted({*own, *weights}, key=lambda name: (-(own.get(name, 0) + given.get(name, 0)), name))
    return Allocation(
        to=to,
        rule=str(rule),
        shared=shared,
        shares=tuple(
            AllocatedShare(
                name=name,
                own=own.get(name, 0),
                given=given.get(name, 0),
                share=Fraction(weights.get(name, 0)) / total if total else Fraction(0),
            )
            for name in names
        ),
        currency=currency,
    )
