"""The audit: what the ledger says of itself, proved from its entries and checkpoints.

Cells of days that retention has not touched must equal the fold of their entries, one by one. Older ones
can only be proved together: their sum equals the checkpoints and the entries of those days still kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from outlay.clock import DAY_MICROSECONDS, QUARTER_HOUR_MICROSECONDS, local_day, local_midnight
from outlay.ledger import rules
from outlay.ledger.cells import key_columns, shares_of, with_other
from outlay.ledger.codec import Decoder
from outlay.ledger.dialect import Dialect, Row
from outlay.ledger.folding import CAPPED_DIMENSIONS, OVERFLOW, Cell, Folded, Key, cap, fold_rows, measures_of, stored
from outlay.ledger.names import KIND_NUMBERS, find_name
from outlay.ledger.rollups import FOLDED, OTHER, ROLLUPS, WIDE, Grain, Rollup, first_day
from outlay.model import AuditFinding, AuditReport
from outlay.money import PICO_PER_MICRO

SECONDS_MAX: Final = 3_600.0
"""An audit reads everything and may take this long."""

_MEASURES: Final = ("events", "failed", "unpriced", "incomplete", "amount")


class Audit:
    """One audit, within one consistent view of the ledger."""

    def __init__(
        self, dialect: Dialect, connection: Any, decoder: Decoder, zone: str, horizon: int, *, summed: bool = True
    ) -> None:
        """`horizon` is the first day of which retention has dropped nothing; without `summed` the ledger does not
        keep the rollups yet that sum others.
        """
        self._rollups = ROLLUPS if summed else FOLDED
        self.dialect = dialect
        self.connection = connection
        self.decoder = decoder
        self.zone = zone
        self.horizon = horizon
        self.findings: list[AuditFinding] = []
        self.entries = 0
        self.cells = 0
        self.amount = 0

    def run(self) -> AuditReport:
        """Look at everything."""
        days: dict[int, int] = {}

        def day_of(quarter_hour: int) -> int:
            day = days.get(quarter_hour)
            if day is None:
                day = days[quarter_hour] = local_day(quarter_hour * QUARTER_HOUR_MICROSECONDS, self.zone)
            return day

        folded = fold_rows(self._sound_rows("audit_folded"), day_of, shares_of)
        for _ in self._sound_rows("audit_unfolded"):
            pass
        checkpoints = self._checkpoints()
        self.amount += checkpoints[4]
        self._cap(folded)
        for rollup in self._rollups:
            self._compare(rollup, folded.cells[rollup.name], checkpoints)
        self._corrections()
        self._identities()
        return AuditReport(
            entries=self.entries, rollup_cells=self.cells, amount=self.amount, findings=tuple(self.findings)
        )

    def _walk(self, name: str) -> Iterator[Row]:
        return self.dialect.walk(self.connection, self.dialect.sql(name))

    def _find(self, code: str, subject: str, expected: object, found: object) -> None:
        self.findings.append(AuditFinding(code, subject, str(expected), str(found)))

    # --- entries

    def _sound_rows(self, name: str) -> Iterator[Row]:
        for row in self._walk(name):
            seq = row[0]
            sign, micro, pico, lines = row[17:]
            amount = micro * PICO_PER_MICRO + pico
            total = sum(share for _, share, _ in shares_of(lines))
            if total != amount:
                self._find("lines_sum", f"entry {seq}", amount, total)
            self.entries += 1
            self.amount += sign * amount
            yield row

    def _corrections(self) -> None:
        for (root,) in self._walk("corrected_roots"):
            event = self.dialect.rows(self.connection, "event_entries", (root,))
            self.findings.extend(rules.unsound_versions([self.decoder.entry(row) for row in event]))

    def _identities(self) -> None:
        known = 0
        for day, hash63, seq, fingerprint, id, occurred, corrects in self._walk("identities"):
            if fingerprint is not None:
                continue
            known += 1
            if id is None or corrects is not None:
                self._find("identity_without_entry", f"identity of day {day}", f"entry {seq}", "none")
            elif occurred // DAY_MICROSECONDS != day or not self._leads_to(day, rules.identity_hash(id), hash63):
                self._find("identity_of_another", f"entry {seq}", f"day {occurred // DAY_MICROSECONDS}", f"day {day}")
        (roots,) = self.dialect.only(self.connection, "count_roots")
        if roots != known:
            self._find("entry_without_identity", "identities", roots, known)

    def _leads_to(self, day: int, hash63: int, wanted: int) -> bool:
        while hash63 != wanted:
            if self.dialect.first(self.connection, "find_identity", (day, hash63)) is None:
                return False
            hash63 = rules.next_hash(hash63)
        return True

    # --- rollups

    def _checkpoints(self) -> Cell:
        totals = [0, 0, 0, 0, 0]
        for _, _, events, failed, unpriced, incomplete, micro, pico, _ in self.dialect.rows(
            self.connection, "checkpoints"
        ):
            amount = micro * PICO_PER_MICRO + pico
            for at, value in enumerate((events, failed, unpriced, incomplete, amount)):
                totals[at] += value
        return totals

    def _cap(self, folded: Folded) -> None:
        admitted: dict[tuple[int, int], set[int]] = {}
        for day, dimension, value in self._walk("all_rollup_values"):
            admitted.setdefault((day, dimension), set()).add(value)
        capped, _ = cap(folded.cells[WIDE.name], admitted, 0)
        others = {
            name: find_name(self.dialect, self.connection, KIND_NUMBERS[name], OTHER)
            for name in WIDE.dimensions[: len(CAPPED_DIMENSIONS)]
        }
        folded.cells[WIDE.name] = {
            with_other(key, others.__getitem__) if OVERFLOW in key else key: cell for key, cell in capped.items()
        }

    def _compare(self, rollup: Rollup, expected: dict[Key, Cell], checkpoints: Cell) -> None:
        width = len(key_columns(rollup))
        measures = measures_of(rollup)
        old_expected, old_found = list(checkpoints), [0, 0, 0, 0, 0]
        exact = self._exact(rollup)
        left = dict(expected)
        for row in self.dialect.walk(self.connection, self.dialect.sql("all_cells").replace("{table}", rollup.name)):
            self.cells += 1
            key = row[:width]
            cell = left.pop(key, None)
            if not exact(row):
                _add(old_found, row[width:])
                if cell is not None:
                    _add(old_expected, stored(rollup, key, cell)[width:])
                continue
            should = (0,) * len(measures) if cell is None else stored(rollup, key, cell)[width:]
            if row[width:] != should:
                self._find("rollup_cell", f"{rollup.name} {key}", should, row[width:])
        for key, cell in left.items():
            self._find("rollup_cell", f"{rollup.name} {key}", stored(rollup, key, cell)[width:], "no cell")
        self._compare_old(rollup, old_expected, old_found)

    def _compare_old(self, rollup: Rollup, expected: Cell, found: Cell) -> None:
        for name, should, is_there in zip(_MEASURES, expected, found, strict=True):
            # A checkpoint counts events, not an event's meters: of a rollup by meter only the amount compares.
            if should != is_there and (name == "amount" or not rollup.by_meter):
                self._find("rollup_checkpoint", f"{rollup.name} {name}", should, is_there)

    def _exact(self, rollup: Rollup) -> Callable[[Row], bool]:
        """Whether a cell holds only what no retention can have dropped."""
        horizon = self.horizon * DAY_MICROSECONDS
        if self.horizon <= UNTOUCHED:
            return _always
        zone, grain = self.zone, rollup.grain
        if grain in (Grain.DAY, Grain.WEEK, Grain.MONTH):
            return lambda row: local_midnight(first_day(grain, row[0]), zone) >= horizon
        if rollup.grain is Grain.QUARTER_HOUR:
            return lambda row: row[0] * QUARTER_HOUR_MICROSECONDS >= horizon
        return lambda row: row[-2] >= horizon


UNTOUCHED: Final = -1_000_000
"""The horizon of a ledger of which retention has dropped nothing yet."""


def _always(_: Row) -> bool:
    return True


def _add(totals: Cell, measures: Row) -> None:
    for at in range(4):
        totals[at] += measures[at]
    totals[4] += measures[4] * PICO_PER_MICRO + measures[5]
