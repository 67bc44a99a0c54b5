"""Sums of cells of times gone by, kept in this process for as long as nothing was folded there since.

A question for a month is asked again with every look at it, and all but its last days stand still meanwhile. An
answer needs no trust in that: each time the ledger says what times were folded since, late calls and corrections too.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, Final

from outlay.clock import QUARTER_HOUR_MICROSECONDS, Instant

KEPT_MOST: Final = 2_048
"""How many windows' sums are kept; when there are more, all are forgotten."""

ROWS_MOST: Final = 100
"""Sums of more groups than these are not kept."""

Rows = Sequence[Any]
Times = Sequence[tuple[Instant, Instant]]
"""First and last instant of entries."""

Watermark = tuple[int, ...]
"""Up to which entry a view counts, as the store orders them."""


class RememberedCells:
    """The sums that one store read lately, each with the watermark up to which it counts."""

    def __init__(self) -> None:
        """Empty."""
        self._kept: dict[Hashable, tuple[Watermark, Rows]] = {}

    def at(self, watermark: Watermark, folded_since: Callable[[Watermark], Times]) -> CellsInView:
        """What holds in a view of that watermark; `folded_since` tells the times of the entries behind another."""
        return CellsInView(self._kept, watermark, folded_since)


class CellsInView:
    """What is remembered, as far as it holds in one view of the ledger."""

    def __init__(
        self,
        kept: dict[Hashable, tuple[Watermark, Rows]],
        watermark: Watermark,
        folded_since: Callable[[Watermark], Times],
    ) -> None:
        self._kept = kept
        self._watermark = watermark
        self._folded_since = folded_since
        self._times: dict[Watermark, Times] = {}

    def get(self, key: Hashable, since: Instant, until: Instant, ask: Callable[[], Rows]) -> Rows:
        """The sums of a question for [since, until), asked only where they may have changed."""
        found = self._kept.get(key)
        rows = found[1] if found is not None and self._holds(found[0], since, until) else ask()
        if len(self._kept) >= KEPT_MOST:
            self._kept.clear()
        if len(rows) <= ROWS_MOST:
            self._kept[key] = (self._watermark, rows)
        return rows

    def _holds(self, watermark: Watermark, since: Instant, until: Instant) -> bool:
        if watermark >= self._watermark:
            return watermark == self._watermark  # Another reader may see more than this view does.
        times = self._times.get(watermark)
        if times is None:
            times = self._times[watermark] = self._folded_since(watermark)
        # Cells are of whole quarter hours.
        since, until = since - QUARTER_HOUR_MICROSECONDS, until + QUARTER_HOUR_MICROSECONDS
        return not any(first < until and last >= since for first, last in times)
