"""Which thresholds a ledger's past proposes: amounts over all that was usual, and how often each would have fired."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from outlay.money import PICO_PER_UNIT, round_half_even

SPANS: Final = {"hour": 24, "day": 1}
"""The windows that thresholds are proposed for, and how many of them a day has."""

WINDOWS_MIN: Final = 7
_USUAL_PERCENT: Final = 99
_ROOM_PERCENT: Final = 150
_STEPS: Final = (100, 125, 150, 200, 250, 300, 400, 500, 600, 750, 1_000)


class Suggestion(msgspec.Struct, frozen=True, kw_only=True):
    """A spend rule for one window: alert above `amount`, in picounits, which would have fired `fired` times.

    `windows` is how many were looked at; `usual` is what 99 of 100 of them stayed within, `most` the dearest.
    `others` are round amounts around it, each with how often it would have fired.
    """

    window: str
    amount: int
    fired: int
    windows: int
    usual: int
    most: int
    others: tuple[tuple[int, int], ...]


def suggestion(window: str, amounts: Sequence[int], windows: int) -> Suggestion | None:
    """A threshold from the windows in which something was spent; None where they are too few to say.

    `windows` is how many there were in all. It is half above what 99 of 100 spent, rounded up to a round amount.
    """
    spent = sorted(amount for amount in amounts if amount > 0)
    if len(spent) < WINDOWS_MIN:
        return None
    usual = spent[-(-len(spent) * _USUAL_PERCENT // 100) - 1]
    amount = rounded_up(round_half_even(usual * _ROOM_PERCENT, 100))
    around = sorted({rounded_up(round_half_even(amount * percent, 100)) for percent in (25, 50, 200)} - {amount})
    return Suggestion(
        window=window,
        amount=amount,
        fired=fired(spent, amount),
        windows=max(windows, len(amounts)),
        usual=usual,
        most=spent[-1],
        others=tuple((other, fired(spent, other)) for other in around),
    )


def fired(amounts: Sequence[int], threshold: int) -> int:
    """In how many windows more than the threshold was spent."""
    return sum(amount > threshold for amount in amounts)


def rounded_up(amount: int) -> int:
    """The least round amount that is not less: 1, 1.25, 1.5, 2, 2.5, 3, 4, 5, 6, 7.5 times a power of ten."""
    if amount <= 0:
        return PICO_PER_UNIT
    scale = 1
    while scale * _STEPS[-1] < amount:
        scale *= 10
    return next(scale * step for step in _STEPS if scale * step >= amount)
