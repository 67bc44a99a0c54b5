"""The few dearest of many: their cells alone are read, where a rollup's sums tell which they are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from outlay.ledger.conditions import any_of, as_json, value_numbers
from outlay.ledger.dialect import column
from outlay.ledger.names import Names
from outlay.ledger.querying import Reading
from outlay.ledger.rollups import DAILY, JOB_TOTALS, JOBS, Plan, ranks
from outlay.ledger.tallies import Tally, dimension_value
from outlay.ledger.view import View
from outlay.model import CostQuery, CostTable, Entry

ALIKE_MAX: Final = 1_000
"""How many jobs that cost as much as the last one asked for are looked at before all are."""


def answer(view: View, names: Names, query: CostQuery, zone: str, currency: str) -> CostTable:
    """See LedgerStore.costs."""
    reading = Ranking(view, names, query, zone)
    chosen = reading.planned()
    answered_by = None
    if chosen is not None and query.top is not None and view.summed:
        answered_by = reading.by_rank(chosen, query.top)
    if answered_by is None:
        known = chosen is not None and not reading.hides_values(chosen)
        # What was ranked in vain added nothing yet.
        answered_by = reading.by_plan(chosen) if known and chosen is not None else reading.by_scan()
    return reading.scan.table(currency, answered_by)


class Ranking(Reading):
    """One question for the dearest few."""

    def by_rank(self, chosen: Plan, most: int) -> str | None:
        """Answer from the cells of those that may be among the `most` dearest; None where all must be looked at.

        What is not folded yet moves its own groups only: they are looked at besides, and so many more of the others.
        """
        query = self.query
        if chosen.rollup is JOBS and ranks(query):
            return self._dearest_jobs(most)
        plain = not query.where and not query.quantities and query.by == chosen.rollup.dimensions[:1]
        ends = [query.since] if query.since is not None else []
        ends += [query.until - 1] if query.until is not None else []
        if chosen.rollup in DAILY and plain and all(map(chosen.holds, ends)) and not self.takes_away:
            return self._dearest(chosen, most)
        return None

    def _dearest(self, chosen: Plan, most: int) -> str | None:
        """The dearest users, customers, projects or teams of whole days."""
        (name,) = self.query.by
        tail, moved = self._tail(name)
        wanted = most + len(moved)
        apart, bindings = self._apart(chosen.pieces, [name])
        text = self.dialect.sql("dearest_cells").replace("{key}", column(name)).replace("{pieces}", apart)
        ranked = self._asked(text, (*bindings, wanted + 1), chosen.since, chosen.until)
        if 0 < wanted < len(ranked):
            least, beyond = (tuple(row[1:]) for row in ranked[-2:])
            # Who cost nothing may be no row at all, and of those who cost alike the names decide.
            if least <= (0, 0) or least == beyond:
                return None
        groups = as_json(sorted({row[0] for row in ranked[:wanted]} | set(moved)))
        for piece in chosen.pieces:
            condition = any_of(self.dialect, f"{piece.rollup.name}.{column(name)}")
            days = as_json(self._rollup_days(piece.rollup, piece.since, piece.until))
            self._add_cells_of("cells_by_day", piece.rollup, [name, "basis"], [condition], [days, groups])
        self._add_tail(tail)
        return chosen.rollup.name

    def _dearest_jobs(self, most: int) -> str | None:
        """The dearest jobs of all time."""
        tail, moved = self._tail("job")
        wanted = most + len(moved)
        ranked = list(self.dialect.rows(self.connection, "dearest_jobs", (wanted + ALIKE_MAX,)))
        least = ranked[wanted - 1][1:] if 0 < wanted <= len(ranked) else None
        if len(ranked) == wanted + ALIKE_MAX and ranked[-1][1:] == least:
            return None
        jobs = {job for place, (job, *amount) in enumerate(ranked) if place < wanted or tuple(amount) == least}
        jobs.update(moved)
        condition = any_of(self.dialect, f"{JOBS.name}.job")
        self._add_cells_of("cells", JOBS, ["job", "basis"], [condition], [as_json(sorted(jobs))])
        seen = self._add_tail(tail)
        for first, last in ((seen.first_at, seen.last_at), self.dialect.only(self.connection, "jobs_span")):
            if first is not None and last is not None:
                self.scan.total.span(first, last)
        return JOB_TOTALS.name

    def _tail(self, name: str) -> tuple[list[Entry], list[int]]:
        """What the question covers of the entries that are not folded yet, and the numbers of their groups."""
        unfolded = self.dialect.rows(self.connection, "to_fold_whole", self.view.folded_until)
        tail = [entry for entry in map(self.decoder.entry, unfolded) if self.scan.covers(entry)]
        values = tuple({dimension_value(entry, name) for entry in tail})
        return tail, value_numbers(self.dialect, self.connection, name, values)

    def _add_tail(self, tail: Iterable[Entry]) -> Tally:
        """Add entries to their groups, and set the total to that of all groups; what the groups here come to."""
        for entry in tail:
            self.scan.add(entry)
        ranked = self.scan.total
        self.scan.total = self._whole()
        return ranked
