"""Two periods, releases, models, tags or users side by side, and what the change between them is made of.

    change = volume + mix + price + failures, to the last picounit, for each row and for the whole.

*Volume*: as many more calls at what a call cost before. *Mix*: calls moved to dearer or cheaper rows (another
feature, another service); a row that was not there before has no price of its own then, so all of it is mix.
*Price*: a call of the same row costs more or less, by its rates or by its size. *Failures*: what failed calls cost
more. Where the periods differ in length both are taken by the day.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from math import floor

import msgspec

from outlay.errors import InvalidInput
from outlay.model import CostRow, Status

Keys = tuple[str | None, ...]


class Side(msgspec.Struct, frozen=True):
    """One row on one side: the amount in picounits, the calls, and how many of them failed.

    `failed_amount` is what failed calls cost, and `good_calls` are those whose cost is all else.
    """

    amount: int = 0
    calls: int = 0
    failed: int = 0
    failed_amount: int = 0
    good_calls: int = 0

    @property
    def good_amount(self) -> int:
        """What the good calls cost."""
        return self.amount - self.failed_amount

    def plus(self, other: Side) -> Side:
        """Both together."""
        return Side(*(getattr(self, name) + getattr(other, name) for name in self.__struct_fields__))


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A change in picounits (by the day, where the lengths differ) and its parts, which add up to it exactly."""

    before: int
    after: int
    volume: int = 0
    mix: int = 0
    price: int = 0
    failures: int = 0

    @property
    def amount(self) -> int:
        """By how much it rose."""
        return self.after - self.before

    @property
    def percent(self) -> Fraction | None:
        """The same in percent of before, None where there was nothing."""
        return Fraction(100 * self.amount, self.before) if self.before else None


class ComparedRow(msgspec.Struct, frozen=True, kw_only=True):
    """One group on both sides."""

    keys: Keys
    before: Side
    after: Side
    change: Change


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Both sides by group, the greatest change first. `by_day` says that the amounts of changes are of one day."""

    by: tuple[str, ...]
    rows: tuple[ComparedRow, ...]
    total: ComparedRow
    by_day: bool


def sides(rows: Iterable[CostRow], status_at: int | None) -> dict[Keys, Side]:
    """Rows of costs as sides by their other keys. `status_at` is where the status stands in the keys, None where the
    costs were not asked by it: failures are then a part of volume, mix and price.
    """
    found: dict[Keys, Side] = {}
    for row in rows:
        keys, told_apart = row.keys, False
        if status_at is not None:
            told_apart = keys[status_at] == Status.FAILED
            keys = keys[:status_at] + keys[status_at + 1 :]
        side = Side(row.amount, row.events, row.failed, row.amount, 0) if told_apart else _good(row)
        found[keys] = found.get(keys, Side()).plus(side)
    return found


def _good(row: CostRow) -> Side:
    return Side(row.amount, row.events, row.failed, 0, row.events)


def compare(
    by: tuple[str, ...],
    before: Mapping[Keys, Side],
    after: Mapping[Keys, Side],
    *,
    days_before: Fraction | int = 1,
    days_after: Fraction | int = 1,
) -> Comparison:
    """What changed from one side to the other, by group and as a whole.

    The lengths are in days; where they differ every amount of a change is for one day. Raises InvalidInput
    `empty_period` for a length that is not positive.
    """
    if days_before <= 0 or days_after <= 0:
        raise InvalidInput("a period to compare must have a length", code="empty_period")
    by_day = days_before != days_after
    lengths = (Fraction(days_before), Fraction(days_after)) if by_day else (Fraction(1), Fraction(1))
    calls_before = sum(side.good_calls for side in before.values()) / lengths[0]
    calls_after = sum(side.good_calls for side in after.values()) / lengths[1]
    growth = calls_after / calls_before if calls_before else None
    rows = [
        _row(keys, before.get(keys, Side()), after.get(keys, Side()), lengths, growth)
        for keys in sorted({*before, *after}, key=_order)
    ]
    rows.sort(key=lambda row: -abs(row.change.amount))
    return Comparison(by=by, rows=tuple(rows), total=_total(rows), by_day=by_day)


def _row(
    keys: Keys, before: Side, after: Side, lengths: tuple[Fraction, Fraction], growth: Fraction | None
) -> ComparedRow:
    first, last = before.amount / lengths[0], after.amount / lengths[1]
    failed_first, failed_last = before.failed_amount / lengths[0], after.failed_amount / lengths[1]
    good_first, good_last = first - failed_first, last - failed_last
    # What the calls of today would have cost by what a call of this row cost before.
    as_before = good_last
    if before.good_calls:
        as_before = good_first * (after.good_calls / lengths[1]) / (before.good_calls / lengths[0])
    grown = as_before if growth is None else good_first * growth
    was, became = _rounded(first), _rounded(last)
    exact = (grown - good_first, as_before - grown, good_last - as_before, failed_last - failed_first)
    volume, mix, price, failures = _adding_up(exact, became - was)
    change = Change(before=was, after=became, volume=volume, mix=mix, price=price, failures=failures)
    return ComparedRow(keys=keys, before=before, after=after, change=change)


def _rounded(value: Fraction) -> int:
    """To a whole picounit, halves up: two values a whole number apart stay that far apart."""
    return floor(value + Fraction(1, 2))


def _adding_up(parts: Sequence[Fraction], whole: int) -> list[int]:
    """Each part as a whole number beside it, so that all add up to `whole`. What is nothing stays nothing: rounding
    each by itself would make a price that never changed rise by a picounit.
    """
    found = [floor(part) for part in parts]
    most_cut = sorted(range(len(parts)), key=lambda at: found[at] - parts[at])
    for at in most_cut[: whole - sum(found)]:
        found[at] += 1
    return found


def _order(keys: Keys) -> tuple[tuple[bool, str], ...]:
    return tuple((key is None, key or "") for key in keys)


def _total(rows: Iterable[ComparedRow]) -> ComparedRow:
    before = after = Side()
    change = Change(before=0, after=0)
    for row in rows:
        before, after = before.plus(row.before), after.plus(row.after)
        change = Change(
            **{name: getattr(change, name) + getattr(row.change, name) for name in Change.__struct_fields__}
        )
    return ComparedRow(keys=(), before=before, after=after, change=change)
