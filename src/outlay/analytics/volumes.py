"""Free allowances and volume steps of a month: what an estimate applies on top of an event's price. Pure."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Sequence
from decimal import Decimal
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Final

import msgspec

from outlay.model import PricedLine, Quantity, Rate, UsageEvent
from outlay.money import EXACT, PICO_PER_UNIT, round_half_even, whole_or_decimal

_FILE: Final = Path(__file__).parent / "data" / "aws_volumes.toml"


class Step(msgspec.Struct, frozen=True, array_like=True):
    """What a month's quantity strictly above `above` costs for one of its meter, in the rate's currency."""

    above: Decimal
    price: Decimal


class Volume(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One service's meter in a month: what is free, and by which steps the price falls.

    It holds in `regions` (anywhere if none) and for usage without any of the conditions named in `without`.
    """

    provider: str
    service: str
    meter: str
    free: Decimal = Decimal(0)
    steps: tuple[Step, ...] = ()
    regions: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    source: str
    date: str
    note: str = ""

    def covers(self, event: UsageEvent, meter: str) -> bool:
        """Whether a meter of this usage counts here."""
        region = event.conditions.get("region")
        return (
            (event.provider, event.service, meter) == (self.provider, self.service, self.meter)
            and (not self.regions or region in self.regions)
            and not any(name in event.conditions for name in self.without)
        )


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    volume: tuple[Volume, ...]


@cache
def shipped_volumes() -> tuple[Volume, ...]:
    """The allowances and steps that Outlay ships; each has its source and date."""
    return msgspec.convert(tomllib.loads(_FILE.read_text(encoding="utf-8")), _File, strict=False).volume


class Month:
    """One month of one account: what each allowance still gives, and how much of each volume was used."""

    def __init__(self, volumes: Sequence[Volume], *, free: bool = True) -> None:
        """With `free` false no allowance is given: it may be used up by something else."""
        self._volumes = volumes
        self._free = free
        self._used: dict[int, Decimal] = {}

    def take(self, event: UsageEvent, meter: str, quantity: Quantity) -> tuple[Decimal, Decimal, Volume | None]:
        """Use a quantity: (how much of the volume was used before, how much of this is free, the volume)."""
        for at, volume in enumerate(self._volumes):
            if volume.covers(event, meter):
                before = self._used.get(at, Decimal(0))
                self._used[at] = EXACT.add(before, quantity)
                free = (
                    min(Decimal(quantity), max(Decimal(0), EXACT.subtract(volume.free, before)))
                    if self._free
                    else Decimal(0)
                )
                return before, free, volume
        return Decimal(0), Decimal(0), None


def stepped(line: PricedLine, before: Decimal, volume: Volume) -> tuple[PricedLine, ...]:
    """A month's line cut at the volume's steps, each part at its own price; `before` was used already.

    A price of one's own has no steps: what was agreed on is not known here.
    """
    rate = line.rate
    if rate is None or rate.origin != "catalogue" or line.exchange is not None or not volume.steps:
        return (line,)
    end = EXACT.add(before, line.quantity)
    cuts = [Decimal(0), *(step.above for step in volume.steps), end]
    prices = [rate, *(_lowered(rate, step, volume) for step in volume.steps)]
    parts = []
    for lower, upper, price in zip(cuts, cuts[1:], prices, strict=False):
        part = EXACT.subtract(min(upper, end), max(lower, before))
        if part > 0:
            note = line.note if price is rate else f"above {lower.normalize(EXACT):,f} a month"
            parts.append(PricedLine(line.meter, whole_or_decimal(part), _amount(part, price), price, note))
    return tuple(parts) or (line,)


def freed(lines: Sequence[PricedLine], free: Decimal, volume: Volume) -> Iterator[PricedLine]:
    """The credits for what is free of these lines, the first of them first, each at the line's own price."""
    left = free
    for line in lines:
        part = min(left, Decimal(line.quantity))
        if part > 0:
            left = EXACT.subtract(left, part)
            share = Fraction(part) / Fraction(line.quantity)
            amount = round_half_even(line.amount * share.numerator, share.denominator)
            yield PricedLine(
                line.meter, whole_or_decimal(EXACT.minus(part)), -amount, line.rate, f"free each month: {volume.note}"
            )


def _lowered(rate: Rate, step: Step, volume: Volume) -> Rate:
    return msgspec.structs.replace(
        rate, price=step.price, per=1, note=volume.note, source=volume.source, source_date=volume.date
    )


def _amount(quantity: Decimal, rate: Rate) -> int:
    up, down = quantity.as_integer_ratio()
    price_up, price_down = rate.price.as_integer_ratio()
    return round_half_even(up * price_up * PICO_PER_UNIT, down * price_down * rate.per)
