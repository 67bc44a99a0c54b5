"""Answering cost questions: from a rollup where one covers it, the rest of the range and the tail by a scan."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, Final

import msgspec

from outlay.clock import (
    DAY_MICROSECONDS,
    QUARTER_HOUR_MICROSECONDS,
    Instant,
    local_day,
    local_midnight,
    windows_between,
)
from outlay.ledger.adding import Grouping
from outlay.ledger.conditions import any_of, as_json, joined, time_conditions, value_numbers, where_conditions
from outlay.ledger.dialect import column, columns
from outlay.ledger.names import KIND_NUMBERS, Names, find_name
from outlay.ledger.rollups import (
    METERS,
    NARROW,
    OTHER,
    WIDE,
    Grain,
    Piece,
    Plan,
    Rollup,
    names_one_index,
    number_of,
    plan,
)
from outlay.ledger.rules import quantity_of
from outlay.ledger.shifted import DIRECT_MAX, finest, hour_phase, rounded_out, shifted
from outlay.ledger.tallies import TAG_PREFIX, TIME_KEYS, Tally, scan_too_large
from outlay.ledger.view import FAR, View
from outlay.model import CostQuery

TAIL_MAX: Final = 256
"""A reader adds at most about this many unfolded entries itself; where more wait, it folds them first."""

TAKEN_MAX: Final = 1_000
"""Where no more entries lie between the end of a range and midnight, the day is read and they are taken from it."""

_DAYS: Final = (Grain.DAY, Grain.WEEK, Grain.MONTH)
# Division in SQL truncates towards zero; times before 1970 are floored here as everywhere else.
_QUARTER_HOUR: Final = (
    f"(entry.occurred_from - (entry.occurred_from % {QUARTER_HOUR_MICROSECONDS} + {QUARTER_HOUR_MICROSECONDS}) "
    f"% {QUARTER_HOUR_MICROSECONDS}) / {QUARTER_HOUR_MICROSECONDS}"
)
_REMEMBERED_US: Final = 400 * DAY_MICROSECONDS  # Days of a longer range are asked for all at once.
_FIRST_OF_HOUR: Final = "quarter_hour - ((quarter_hour - {phase}) % 4 + 4) % 4"


class Reading(Grouping):
    """One question, answered within one consistent view of the ledger."""

    def __init__(self, view: View, names: Names, query: CostQuery, zone: str) -> None:
        super().__init__(view, names, query, zone)
        self.takes_away = False
        """Whether entries are to be taken from the cells of the days in which the range begins and ends."""

    # --- by rollup

    def planned(self) -> Plan | None:
        """The rollup that covers the question, of whole days too where next to nothing is to be taken from them."""
        query, view = self.query, self.view
        outer = rounded_out(query, self.zone)
        chosen = plan(outer, self.zone, summed=view.summed)
        if outer == query or chosen is None or chosen.rollup.grain is not Grain.DAY or chosen.rollup.by_meter:
            return plan(query, self.zone, summed=view.summed)
        since = query.since if self._costs_more(chosen, outer.since, query.since, outer) else outer.since
        until = query.until if self._costs_more(chosen, query.until, outer.until, outer) else outer.until
        rounded = msgspec.structs.replace(query, since=since, until=until)
        return plan(rounded, self.zone, summed=view.summed)

    def _costs_more(self, chosen: Plan, first: Instant | None, after: Instant | None, outer: CostQuery) -> bool:
        """Whether to take the entries of [first, after) from a day's cells costs more than to read the others'."""
        if first is None or after is None or first == after:
            return False
        if first < self.view.horizon:
            return True  # What was dropped cannot be taken away.
        source, bindings = self.view.source(first, after, True)
        conditions = time_conditions(first, after, None, bindings)
        text = self.dialect.sql("scan_count").replace("{source}", source).replace("{conditions}", joined(conditions))
        (found,) = next(self.dialect.rows_of(self.connection, text, (*bindings, TAKEN_MAX + 1)))
        self.takes_away = self.takes_away or bool(found)
        if not found:
            return False
        day = local_day(first, self.zone)
        many = found > TAKEN_MAX and after - first > self._others(day, first, after, outer)
        return many or (chosen.rollup.capped and self._overflows({*self.query.by, *self.query.where}, day, day + 1))

    def _others(self, day: int, first: Instant, after: Instant, outer: CostQuery) -> int:
        """The microseconds of a day that the question asks for, where it does not ask for [first, after) of it."""
        begins, ends = local_midnight(day, self.zone), local_midnight(day + 1, self.zone)
        if (outer.since, outer.until) == (begins, ends):
            return 0  # Nothing but entries of one day: they are read as they are.
        return ends - begins - (after - first)

    def by_plan(self, chosen: Plan) -> str:
        """Answer from a rollup, the edges of the range and the tail; what it was answered by."""
        if self._adds_together(chosen):
            self._add_together(chosen.pieces)
        else:
            for piece in chosen.pieces:
                self._add_cells(piece.rollup, piece.since, piece.until)
        if chosen.quantities is not None:
            self._add_quantities(chosen.since, chosen.until)
        self._add_edges(chosen)
        for row in self.dialect.rows(self.connection, "to_fold_whole", self.view.folded_until):
            self.scan.add(self.decoder.entry(row))
        if chosen.rollup.by_meter and "meter" not in self.query.where:
            self._count_events_once()
        return chosen.rollup.name

    def _count_events_once(self) -> None:
        """Cells by meter count an event under each of its meters; the total counts it once."""
        total = self._whole()
        total.quantities = self.scan.total.quantities
        self.scan.total = total

    def _whole(self) -> Tally:
        """The total of all that the query covers."""
        query = msgspec.structs.replace(self.query, by=(), quantities=False, top=None)
        whole = Reading(self.view, self.names, query, self.zone)
        chosen = whole.planned()
        if chosen is None or whole.hides_values(chosen):
            whole.by_scan()
        else:
            whole.by_plan(chosen)
        return whole.scan.total

    def hides_values(self, chosen: Plan) -> bool:
        """Whether `where` names a value that the capped rollup may have counted as OTHER."""
        if not chosen.rollup.capped:
            return False
        return self._overflows(self.query.where, *self._days(chosen.rollup, chosen.since, chosen.until))

    def _overflows(self, names: Iterable[str], first: int, after: int) -> bool:
        """Whether the wide rollup counts a value of these dimensions as OTHER on a day of [first, after)."""
        for name in names:
            if name in KIND_NUMBERS:
                other = find_name(self.dialect, self.connection, KIND_NUMBERS[name], OTHER)
                statement = self.dialect.sql("overflowing").replace("{column}", column(name))
                if other > 0 and next(self.dialect.rows_of(self.connection, statement, (first, after, other)))[0]:
                    return True
        return False

    def _add_cells(self, rollup: Rollup, since: Instant | None, until: Instant | None) -> None:
        keys = self._key_columns(rollup)
        conditions, bindings = self._where(rollup)
        lead = rollup.dimensions[0]
        if rollup.grain in _DAYS and rollup is not WIDE and lead in self.query.where:
            # Its key begins with the day: a seek on each day beats a walk over everyone's cells.
            days = as_json(self._rollup_days(rollup, since, until))
            self._add_cells_of("cells_by_day", rollup, keys, conditions, [days, *bindings])
        elif "quarter_hour" in keys and "hour" not in self.query.by:
            keys.remove("quarter_hour")
            self._add_windows(self._windows(since, until), keys)
        elif "quarter_hour" in keys:
            windows = self._windows(since, until)
            if windows:
                rows = self._cells_within(rollup, keys, windows[0][0], windows[-1][1], hour_phase(windows))
                self._add_rows(keys, rows, spans=False)
        elif rollup is WIDE and "day" in keys and self._remembers_days(since, until):
            keys.remove("day")
            for day in range(*self._days(rollup, since, until)):
                rows = self._cells_within(rollup, keys, day, day + 1)
                self._add_rows(keys, rows, spans=False, window=local_midnight(day, self.zone))
        else:
            self._limit_time(rollup, since, until, conditions, bindings)
            text = self._cells_text("cells", rollup, keys, conditions)
            timed = rollup.grain is not Grain.ALL_TIME
            rows = self._asked(text, bindings, *((since, until) if timed else (None, None)))
            self._add_rows(keys, rows, spans=rollup.spans and "job" in self.query.by)

    def _add_windows(self, windows: Sequence[tuple[int, int]], keys: Sequence[str]) -> None:
        """A question for each window: summing them in one would sort every quarter hour's cells."""
        begins = [first * QUARTER_HOUR_MICROSECONDS for first, _ in windows]
        if windows and windows[-1][1] - windows[0][0] > DIRECT_MAX:
            moved = shifted(windows, self.zone)
            if not self._overflows({*keys, *self.query.where}, moved.days[0][0], moved.days[-1][1]):
                for window, days in zip(begins, moved.days, strict=True):
                    self._add_rows(keys, self._cells_within(WIDE, keys, *days), spans=False, window=window)
                for edge, ended, begun in zip(moved.edges, (None, *begins), (*begins, None), strict=True):
                    if edge is not None:
                        rows = self._cells_within(NARROW, keys, edge.first, edge.after)
                        for one, sign in ((ended, edge.sign), (begun, -edge.sign)):
                            if one is not None:
                                self._add_rows(keys, rows, spans=False, window=one, sign=sign)
                return
        for window, (first, after) in zip(begins, windows, strict=True):
            self._add_rows(keys, self._cells_within(NARROW, keys, first, after), spans=False, window=window)

    def _cells_within(
        self, rollup: Rollup, keys: Sequence[str], first: int, after: int, phase: int | None = None
    ) -> Sequence[Any]:
        """The sums of a rollup's cells in [first, after), as its grain counts; with a `phase`, by the hour."""
        conditions, bindings = self._where(rollup)
        conditions.insert(0, f"{rollup.grain.value} >= ? AND {rollup.grain.value} < ?")
        text = self._cells_text("cells", rollup, keys, conditions)
        if phase is not None:
            text = text.replace(column("quarter_hour"), _FIRST_OF_HOUR.replace("{phase}", str(phase)))
        bound = (first, after, *bindings)

        if rollup.grain is Grain.DAY:
            return self._asked(text, bound, local_midnight(first, self.zone), local_midnight(after, self.zone))
        return self._asked(text, bound, first * QUARTER_HOUR_MICROSECONDS, after * QUARTER_HOUR_MICROSECONDS)

    def _remembers_days(self, since: Instant | None, until: Instant | None) -> bool:
        """Whether to ask for each day by itself, as those gone by are remembered."""
        bounded = since is not None and until is not None and until - since <= _REMEMBERED_US
        return bounded and self.view.remembered is not None and self.view.asks_at_once

    def _asked(
        self, text: str, bound: Sequence[object], since: Instant | None, until: Instant | None
    ) -> Sequence[Any]:
        """The sums of cells in [since, until), or what they were when last asked for where they still hold."""

        def ask() -> list[Any]:
            return list(self.dialect.rows_of(self.connection, text, bound))

        return self._remembered((text, *bound), since, until, ask)

    def _remembered(
        self, key: Hashable, since: Instant | None, until: Instant | None, ask: Callable[[], Sequence[Any]]
    ) -> Sequence[Any]:
        """What `ask` gives of folded entries in [since, until), or gave before where that still holds."""
        if self.view.remembered is None or since is None or until is None:
            return ask()
        # Retention takes entries away that cells still count.
        return self.view.remembered.get((key, self.view.horizon), since, until, ask)

    def _adds_together(self, chosen: Plan) -> bool:
        """Whether one statement sums all pieces: no times are told apart, and nobody's days are sought."""
        times = any(name in TIME_KEYS for name in self.query.by)
        return len(chosen.pieces) > 1 and not times and chosen.rollup.dimensions[0] not in self.query.where

    def _add_together(self, pieces: Sequence[Piece]) -> None:
        keys = self._key_columns(pieces[0].rollup)
        apart, bindings = self._apart(pieces, keys)
        text = self.dialect.sql("cells_together").replace("{keys}", columns(keys)).replace("{pieces}", apart)
        self._add_rows(keys, self.dialect.rows_of(self.connection, text, bindings), spans=False)

    def _apart(self, pieces: Sequence[Piece], keys: Sequence[str]) -> tuple[str, list[object]]:
        """The SQL of all pieces' cells, not summed yet, and what is bound there."""
        apart: list[str] = []
        bindings: list[object] = []
        for piece in pieces:
            conditions, bound = self._where(piece.rollup)
            self._limit_time(piece.rollup, piece.since, piece.until, conditions, bound)
            text = self.dialect.sql("cells_apart").replace("{keys}", columns(keys))
            apart.append(text.replace("{table}", piece.rollup.name).replace("{conditions}", joined(conditions)))
            bindings += bound
        return " UNION ALL ".join(apart), bindings

    def _add_cells_of(
        self,
        statement: str,
        rollup: Rollup,
        keys: Sequence[str],
        conditions: Sequence[str],
        bindings: Sequence[object],
    ) -> None:
        text = self._cells_text(statement, rollup, keys, conditions)
        spans = rollup.spans and "job" in self.query.by
        self._add_rows(keys, self.dialect.rows_of(self.connection, text, bindings), spans=spans)

    def _cells_text(self, statement: str, rollup: Rollup, keys: Sequence[str], conditions: Sequence[str]) -> str:
        return (
            self.dialect.sql(statement)
            .replace("{keys}", columns(keys))
            .replace("{spans}", ", min(first_at), max(last_at)" if rollup.spans else "")
            .replace("{table}", rollup.name)
            .replace("{time}", rollup.grain.value)
            .replace("{conditions}", joined(conditions))
        )

    def _add_quantities(self, since: Instant | None, until: Instant | None) -> None:
        keys = [name for name in self._key_columns(METERS) if name != "meter"]
        conditions, bindings = self._where(METERS)
        self._limit_time(METERS, since, until, conditions, bindings)
        text = (
            self.dialect.sql("quantity_cells")
            .replace("{keys}", columns(keys))
            .replace("{conditions}", joined(conditions))
        )
        rows = list(self.dialect.rows_of(self.connection, text, bindings))
        parts = self._key_parts([*keys, "meter"], rows)
        for row in rows:
            number, whole, nano = row[len(keys) :]
            meter = self.names.name(self.connection, number)
            quantity = quantity_of(whole + nano // 10**9, nano % 10**9)
            group = self.scan.group(tuple([part(row[place]) for place, part in parts]))
            for one in (group, self.scan.total):
                one.add_quantity(meter, quantity)

    def _windows(self, since: Instant | None, until: Instant | None) -> list[tuple[int, int]]:
        """[first, after) in quarter hours of each window of the finest time asked for, within the range."""
        if since is None or until is None:
            first, last = self.dialect.only(self.connection, "quarter_hours")
            since = (first or 0) * QUARTER_HOUR_MICROSECONDS if since is None else since
            until = ((last or -1) + 1) * QUARTER_HOUR_MICROSECONDS if until is None else until
        windows = windows_between(since, until, finest(self.query.by), self.scan.calendar.zone)
        return [
            (max(start, since) // QUARTER_HOUR_MICROSECONDS, min(end, until) // QUARTER_HOUR_MICROSECONDS)
            for start, end, _ in windows
        ]

    def _key_columns(self, rollup: Rollup) -> list[str]:
        times = any(name in TIME_KEYS for name in self.query.by)
        columns = [name for name in self.query.by if name not in TIME_KEYS and name != "basis"]
        if times:
            # First, as in the tables' keys: rows that come nearly in order are sorted the sooner.
            columns.insert(0, rollup.grain.value)
        return [*dict.fromkeys(columns), "basis"]

    def _where(self, rollup: Rollup) -> tuple[list[str], list[object]]:
        conditions: list[str] = []
        bindings: list[object] = []
        for name, values in self.query.where.items():
            if name in rollup.dimensions:
                conditions.append(any_of(self.dialect, f"{rollup.name}.{name}"))
                bindings.append(as_json(value_numbers(self.dialect, self.connection, name, values)))
        return conditions, bindings

    def _limit_time(
        self,
        rollup: Rollup,
        since: Instant | None,
        until: Instant | None,
        conditions: list[str],
        bindings: list[object],
    ) -> None:
        if rollup.grain is Grain.ALL_TIME:
            return
        column = rollup.grain.value
        if rollup.grain in _DAYS:
            first, after = self._days(rollup, since, until)
        else:
            first = -FAR if since is None else since // QUARTER_HOUR_MICROSECONDS
            after = FAR if until is None else until // QUARTER_HOUR_MICROSECONDS
        conditions.append(f"{column} >= ? AND {column} < ?")
        bindings += (first, after)

    def _days(self, rollup: Rollup, since: Instant | None, until: Instant | None) -> tuple[int, int]:
        """[first, after) in days, weeks or months, as the rollup counts."""
        grain = rollup.grain
        first = -FAR if since is None else number_of(grain, local_day(since, self.zone))
        return first, FAR if until is None else number_of(grain, local_day(until, self.zone))

    def _rollup_days(self, rollup: Rollup, since: Instant | None, until: Instant | None) -> list[int]:
        first, after = self._days(rollup, since, until)
        text = self.dialect.sql("rollup_days").replace("{table}", rollup.name).replace("{time}", rollup.grain.value)
        return [day for (day,) in self.dialect.rows_of(self.connection, text) if first <= day < after]

    def _add_edges(self, chosen: Plan) -> None:
        query = self.query
        if query.since is not None and chosen.since is not None:
            first, after = sorted((query.since, chosen.since))
            self._add_edge(chosen, first, after, 1 if first == query.since else -1)
        if query.until is not None and chosen.until is not None:
            first, after = sorted((query.until, chosen.until))
            self._add_edge(chosen, first, after, 1 if first == chosen.until else -1)

    def _add_edge(self, chosen: Plan, first: Instant, after: Instant, sign: int) -> None:
        """Add what lies between whole days and the range's end, or take it away: its quarter hours by their cells."""
        begin = -(-first // QUARTER_HOUR_MICROSECONDS)
        end = after // QUARTER_HOUR_MICROSECONDS
        names = {name for name in self.query.by if name not in TIME_KEYS} | set(self.query.where)
        # Where entries were dropped, a part of a day is told by none of its cells: every store says the same of it.
        kept = first >= self.view.horizon
        if kept and begin < end and chosen.quantities is None and names <= set(NARROW.dimensions):
            keys = self._key_columns(NARROW)
            self._add_rows(keys, self._cells_within(NARROW, keys, begin, end), spans=False, sign=sign)
            between = (
                (first, begin * QUARTER_HOUR_MICROSECONDS),
                (end * QUARTER_HOUR_MICROSECONDS, after),
            )
        else:
            between = ((first, after), (after, after))
        for start, stop in between:
            if start < stop:
                self._scan(start, stop, folded_only=True, sign=sign)

    # --- by scan

    def by_scan(self) -> str:
        """Answer from the entries themselves. Raises LedgerError `scan_too_large`."""
        indexed = names_one_index(self.query)
        self._scan(self.query.since, self.query.until, folded_only=False, indexed=indexed)
        return "scan" if indexed is None else f"{indexed} index"

    def _scan(
        self,
        since: Instant | None,
        until: Instant | None,
        *,
        folded_only: bool,
        indexed: str | None = None,
        sign: int = 1,
    ) -> None:
        query = self.query
        if "meter" in (*query.by, *query.where) or query.quantities or query.percentiles:
            text, bindings = self._entries_text("scan_entries", since, until, folded_only, indexed)
            for row in self.dialect.walk(self.connection, text, bindings):
                self.scan.add(self.decoder.entry(row))
            return
        keys = self._entry_columns()
        spans = "job" in query.by

        def ask() -> list[Any]:
            text, bindings = self._entries_text("entry_cells", since, until, folded_only, indexed)
            text = text.replace("{keys}", ", ".join(expression for _, expression in keys))
            text = text.replace("{spans}", self.dialect.sql("entry_spans") if spans else "")
            return list(self.dialect.rows_of(self.connection, text, bindings))

        if folded_only:
            conditions, bound = where_conditions(self.dialect, self.connection, query.where)
            key = (*keys, *conditions, *bound, query.scan_limit, since, until)
            rows = self._remembered(key, since, until, ask)
        else:
            rows = ask()
        self._add_rows([name for name, _ in keys], rows, spans=spans, sign=sign)

    def _entries_text(
        self, statement: str, since: Instant | None, until: Instant | None, folded_only: bool, indexed: str | None
    ) -> tuple[str, list[object]]:
        """A statement on the entries of a range, and what is bound there. Raises LedgerError `scan_too_large`."""
        query = self.query
        conditions, bindings = where_conditions(self.dialect, self.connection, query.where)
        conditions += time_conditions(since, until, query.as_of, bindings)
        if folded_only:
            conditions.append(self.dialect.sql("is_folded"))
            bindings += self.view.folded_until
        source = "entry"
        if indexed is None:
            source, span_bindings = self.view.source(since, until, folded_only)
            bindings = [*span_bindings, *bindings]
            self._refuse_too_large(source, span_bindings, since, until)
        text = self.dialect.sql(statement).replace("{source}", source)
        return text.replace("{conditions}", joined(conditions)), bindings

    def _refuse_too_large(
        self, source: str, bindings: Sequence[object], since: Instant | None, until: Instant | None
    ) -> None:
        limit = self.query.scan_limit
        if self.view.entries_max(since, until) <= limit:
            return
        bound: list[object] = [*bindings]
        conditions = time_conditions(since, until, None, bound)
        text = self.dialect.sql("scan_count").replace("{source}", source).replace("{conditions}", joined(conditions))
        (found,) = next(self.dialect.rows_of(self.connection, text, (*bound, limit + 1)))
        if found > limit:
            raise scan_too_large(f"more than {limit:,}", limit)

    def _entry_columns(self) -> list[tuple[str, str]]:
        """(name, SQL expression) of what entries are grouped by."""
        names = [*self.query.by]
        columns = {name: f"entry.{name}" for name in names if name not in TIME_KEYS and TAG_PREFIX not in name}
        if any(name in TIME_KEYS for name in names):
            columns["quarter_hour"] = _QUARTER_HOUR
        if any(name.startswith(TAG_PREFIX) for name in names):
            columns["tags"] = "entry.tags"
        columns["basis"] = "entry.basis"
        return list(columns.items())
