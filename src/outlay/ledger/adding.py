"""Adding grouped rows to the tallies of a question: from the numbers that rows hold to what the question names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any, Final

from outlay.clock import QUARTER_HOUR_MICROSECONDS, Instant, local_midnight
from outlay.ledger.codec import BASES, STATUSES, Decoder
from outlay.ledger.names import KIND_NUMBERS, Names
from outlay.ledger.rollups import Grain, first_day
from outlay.ledger.tallies import TAG_PREFIX, TIME_KEYS, Scan
from outlay.ledger.view import View
from outlay.model import CostQuery
from outlay.money import PICO_PER_MICRO

_TIMES: Final = ("day", "week", "month", "quarter_hour")
_Part = Callable[[Any], Any]


class Grouping:
    """One question within one view, and the tallies to which grouped rows are added."""

    def __init__(self, view: View, names: Names, query: CostQuery, zone: str) -> None:
        self.view = view
        self.dialect = view.dialect
        self.connection = view.connection
        self.names = names
        self.query = query
        self.zone = zone
        self.scan = Scan(query, zone)
        self.decoder = Decoder(view.connection, names)

    def _add_rows(
        self,
        keys: Sequence[str],
        rows: Iterable[Any],
        *,
        spans: bool,
        window: Instant | None = None,
        sign: int = 1,
    ) -> None:
        """Add grouped rows, of the window that begins then where no column tells times, or take them away again."""
        rows = list(rows)
        parts = self._key_parts(keys, rows, window)
        basis_of, at = cache(self._value_of("basis")), keys.index("basis")
        width = len(keys)
        for row in rows:
            events, failed, unpriced, incomplete, micro, pico = row[width : width + 6]
            amount = micro * PICO_PER_MICRO + pico
            if sign < 0:
                events, failed, unpriced, incomplete, amount = -events, -failed, -unpriced, -incomplete, -amount
            basis = basis_of(row[at])
            tally = self.scan.group(tuple([part(row[place]) for place, part in parts]))
            for one in (tally, self.scan.total):
                one.add(events, failed, unpriced, incomplete, amount, basis)
                if spans:
                    one.span(row[width + 6], row[width + 7])

    def _key_parts(
        self, keys: Sequence[str], rows: Sequence[Any], window: Instant | None = None
    ) -> list[tuple[int, _Part]]:
        """For each name of `by`, where its number stands in a row and what is made of that; rows repeat numbers."""
        for place, name in enumerate(keys):
            if name in KIND_NUMBERS:
                self.names.learn(self.connection, [row[place] or 0 for row in rows])
        return [self._key_part(name, keys, window) for name in self.query.by]

    def _key_part(self, name: str, keys: Sequence[str], window: Instant | None) -> tuple[int, _Part]:
        if name in TIME_KEYS:
            start = self.scan.calendar.start
            time = next((one for one in keys if one in _TIMES), None)
            if time is None:
                begins = start(name, window or 0)
                return 0, lambda _: begins
            instant_of = self._value_of(time)
            return keys.index(time), cache(lambda number: start(name, instant_of(number)))
        if name.startswith(TAG_PREFIX):
            tags_of, tag = self._value_of("tags"), name.removeprefix(TAG_PREFIX)
            return keys.index("tags"), cache(lambda number: tags_of(number).get(tag))
        return keys.index(name), cache(self._value_of(name))

    def _value_of(self, name: str) -> _Part:
        if name == "status":
            return lambda number: STATUSES[number].value
        if name == "basis":
            return lambda number: BASES[number].value
        if name == "day":
            return lambda day: local_midnight(day, self.zone)
        if name in ("week", "month"):
            return lambda number: local_midnight(first_day(Grain(name), number), self.zone)
        if name == "quarter_hour":
            return lambda quarter: quarter * QUARTER_HOUR_MICROSECONDS
        if name == "tags":
            return lambda number: self.names.tags(self.connection, number)
        if name in ("request", "trace"):
            return lambda text: text
        return lambda number: self.names.name(self.connection, number or 0)
