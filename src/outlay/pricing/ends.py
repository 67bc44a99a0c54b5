"""The ends of a range of prices: an estimate asks for the low and the high one, an event's price for neither."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from msgspec.structs import replace

from outlay.model import Rate


class End(StrEnum):
    """Which end of each range a book for estimates takes."""

    LOW = "low"
    HIGH = "high"


def at_end(rates: Sequence[Rate], end: End) -> tuple[Rate, ...]:
    """The rates with one price in place of each range.

    A range that the same source states beside a single price for the same thing is the one that estimates take:
    whoever wrote a range meant it for them.
    """
    ranges = {_thing(rate) for rate in rates if rate.price_high is not None}
    return tuple(_ended(rate, end) for rate in rates if rate.price_high is not None or _thing(rate) not in ranges)


def _thing(rate: Rate) -> tuple[object, ...]:
    return (rate.origin, rate.service.lower(), rate.meter, tuple(sorted(rate.conditions.items())))


def _ended(rate: Rate, end: End) -> Rate:
    if rate.price_high is None:
        return rate
    said = f"{end} end of {rate.price:f} to {rate.price_high:f}"
    price = rate.price_high if end is End.HIGH else rate.price
    return replace(rate, price=price, price_high=None, note="; ".join(part for part in (rate.note, said) if part))
