"""What changed between two catalogues: services and rates that came, went or cost something else."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import msgspec

from outlay.model import Rate
from outlay.money import EXACT
from outlay.pricing.book import PriceBook

_Key = tuple[str, str, str, tuple[tuple[str, str], ...], int, int | None, int | None, int | None, int | None]


class PriceChange(msgspec.Struct, frozen=True):
    """One rate that is new (`before` None), gone (`after` None) or has another price, per one of its meter.

    `ratio` is after / before, where both are and `before` is not free.
    """

    provider: str
    service: str
    meter: str
    conditions: dict[str, str]
    context_over: int
    before: Decimal | None
    after: Decimal | None
    ratio: Decimal | None
    source: str


def difference(before: PriceBook, after: PriceBook) -> list[PriceChange]:
    """Every rate of the catalogues of two books that differs, by provider, service and meter.

    A rate is the same rate when its meter, conditions, context, dates and hours are.
    """
    old, new = dict(_rates(before)), dict(_rates(after))
    changes = []
    for key in sorted({*old, *new}, key=_order):
        was, now = old.get(key), new.get(key)
        if was is None or now is None or _each(was) != _each(now):
            changes.append(_change(new[key] if key in new else old[key], was, now))
    return changes


def _rates(book: PriceBook) -> Iterator[tuple[_Key, Rate]]:
    for rate in book.all_rates():
        key = (
            rate.provider,
            rate.service,
            rate.meter,
            tuple(sorted(rate.conditions.items())),
            rate.context_over,
            rate.valid_from,
            rate.valid_to,
            rate.hours_from,
            rate.hours_to,
        )
        yield key, rate


def _order(key: _Key) -> tuple[str, ...]:
    return tuple("" if part is None else f"{part:024d}" if isinstance(part, int) else str(part) for part in key)


def _change(known: Rate, was: Rate | None, now: Rate | None) -> PriceChange:
    before = None if was is None else _each(was)
    after = None if now is None else _each(now)
    ratio = EXACT.divide(after, before) if before and after is not None else None
    return PriceChange(
        known.provider,
        known.service,
        known.meter,
        known.conditions,
        known.context_over,
        before,
        after,
        ratio,
        known.source,
    )


def _each(rate: Rate) -> Decimal:
    return EXACT.divide(rate.price, Decimal(rate.per))
