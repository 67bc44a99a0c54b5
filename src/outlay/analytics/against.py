"""A stack's estimate beside what was really billed: row by row, over the same days. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Final

import msgspec

from outlay.analytics.stack import Amounts, StackEstimate, StackRow
from outlay.analytics.stack_kinds import DAYS_A_MONTH

ELSEWHERE: Final = "(in no row)"


class BilledRow(msgspec.Struct, frozen=True, kw_only=True):
    """One row: what it should have cost in the period, what it cost, and under which names. In picounits."""

    name: str
    estimated: Amounts
    actual: int
    services: tuple[str, ...]

    @property
    def difference(self) -> int:
        """Actual less estimated, whose nearer end counts; 0 within a range."""
        return max(0, self.actual - self.estimated.high) - max(0, self.estimated.low - self.actual)


class BilledComparison(msgspec.Struct, frozen=True, kw_only=True):
    """All rows, and last what the ledger holds that no row of the stack foresaw."""

    rows: tuple[BilledRow, ...]
    days: Fraction
    currency: str

    @property
    def estimated(self) -> Amounts:
        """All rows for the period."""
        return sum((row.estimated for row in self.rows), Amounts(0, 0))

    @property
    def actual(self) -> int:
        """All that was spent in the period."""
        return sum(row.actual for row in self.rows)


def beside_bill(
    estimate: StackEstimate,
    billed: Mapping[tuple[str, str], int],
    days: Fraction,
    units: Mapping[str, int] | None = None,
) -> BilledComparison:
    """The estimate for so many days beside what (provider, service) cost in them.

    A row of work counts the `units` really made where they are given, else its share of the month. Rows billed under
    one name (storage and requests of a bucket) are one row here: a bill does not tell them apart.
    """
    left = {f"{provider}/{service}".lower(): amount for (provider, service), amount in billed.items()}
    share = days / DAYS_A_MONTH
    rows: list[BilledRow] = []
    for together in _grouped(estimate.rows):
        names = tuple(dict.fromkeys(name for row in together for name in row.billed_as))
        found = tuple(name for name in names if name in left)
        expected = sum((_expected(row, share, units or {}) for row in together), Amounts(0, 0))
        actual = sum(left.pop(name) for name in found)
        rows.append(
            BilledRow(name=", ".join(row.name for row in together), estimated=expected, actual=actual, services=found)
        )
    if left:
        rows.append(
            BilledRow(
                name=ELSEWHERE, estimated=Amounts(0, 0), actual=sum(left.values()), services=tuple(sorted(left))
            )
        )
    return BilledComparison(rows=tuple(rows), days=days, currency=estimate.currency)


def _grouped(rows: tuple[StackRow, ...]) -> list[list[StackRow]]:
    """Rows that share a name on the bill stand together."""
    groups: list[list[StackRow]] = []
    for row in rows:
        home = next(
            (group for group in groups if any(set(one.billed_as) & set(row.billed_as) for one in group)), None
        )
        if home is None:
            groups.append([row])
        else:
            home.append(row)
    return groups


def _expected(row: StackRow, share: Fraction, units: Mapping[str, int]) -> Amounts:
    if row.unit is not None and row.name in units:
        return row.unit.times(units[row.name])
    return row.month.times(share)
