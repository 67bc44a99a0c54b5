"""What a question is answered from: one consistent view of a ledger, in the words of its engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from outlay.clock import Instant
from outlay.ledger.dialect import Dialect
from outlay.ledger.remembering import CellsInView

FAR: Final = 1 << 62
"""Beyond every instant, day and seq."""


class View(NamedTuple):
    """A consistent view of a ledger: `folded_until` is its watermark as bound to `is_folded` and `to_fold_whole`."""

    dialect: Dialect
    connection: Any
    folded_until: tuple[int, ...]
    entries_max: Callable[[Instant | None, Instant | None], int]
    """No more entries of a range of times are kept than it says."""

    source: Callable[[Instant | None, Instant | None, bool], tuple[str, list[object]]]
    """Where to read the entries of a range of times, folded ones only or all, and what is bound there."""

    summed: bool = True
    """Whether the rollups are kept that sum others."""

    horizon: Instant = -FAR
    """Entries before this instant may have been dropped."""

    remembered: CellsInView | None = None
    """Sums that were read before, where the store can tell whether they still hold."""

    asks_at_once: bool = True
    """Whether a question to the engine takes no time of its own, so that many small ones are no worse than one."""
