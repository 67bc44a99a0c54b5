"""Answering cost questions: folding first where much waits, then one consistent view of the ledger."""

from __future__ import annotations

from datetime import date
from typing import Final

from outlay.clock import DAY_MICROSECONDS, Instant, date_to_day
from outlay.ledger.names import NameBook
from outlay.ledger.postgres import statements
from outlay.ledger.postgres.connections import SUMMED_SINCE, Connections, read_meta
from outlay.ledger.postgres.folder import Folder
from outlay.ledger.postgres.partitions import name_of
from outlay.ledger.postgres.statements import Connection, only, rows
from outlay.ledger.querying import TAIL_MAX
from outlay.ledger.ranking import answer
from outlay.ledger.remembering import CellsInView, RememberedCells, Times, Watermark
from outlay.ledger.shifted import is_planned
from outlay.ledger.tallies import Scan
from outlay.ledger.view import FAR, View
from outlay.model import CostQuery, CostTable

FOLDED_MAX: Final = 20_000
"""Where more entries were folded since a sum was read, it is read again."""

DAYS_SIZED_MAX: Final = 31
"""The tables of so many days are looked at to tell how many entries they hold at most."""

_DATED: Final = range(date_to_day(date.min), date_to_day(date.max) + 1)
_EVER: Final = ((-FAR, FAR),)


class Remembered:
    """The sums that one store read lately, in one history of the ledger."""

    def __init__(self) -> None:
        """Empty."""
        self._cells: tuple[str, RememberedCells] = ("", RememberedCells())

    def at(self, connection: Connection, history: str, watermark: Watermark) -> CellsInView:
        """What holds in a view of that watermark and history."""
        of_history, cells = self._cells
        if of_history != history:
            cells = RememberedCells()
            self._cells = (history, cells)
        return cells.at(watermark, lambda earlier: _folded_since(connection, earlier, watermark))


def costs(
    connections: Connections, book: NameBook, folder: Folder, remembered: Remembered, query: CostQuery, currency: str
) -> CostTable:
    """See LedgerStore.costs."""
    Scan(query, folder.zone)  # Refuses a question that makes no sense before anything is folded for it.
    if is_planned(query, folder.zone) and connections.read(_much_waits):
        folder.fold_what_waits()

    def work(connection: Connection) -> CostTable:
        meta = read_meta(connection)
        last, history = only(connection, "standing_of_view")
        folded_until = (meta.folded_xact, meta.folded_seq)

        def entries_max(since: Instant | None, until: Instant | None) -> int:
            return _entries_max(connection, since, until, int(last))

        view = View(
            statements,
            connection,
            folded_until,
            entries_max,
            _source,
            summed=meta.oldest >= SUMMED_SINCE,
            horizon=meta.horizon * DAY_MICROSECONDS,
            remembered=remembered.at(connection, history, folded_until),
            asks_at_once=False,
        )
        return answer(view, book.at(meta.epoch), query, folder.zone, currency)

    return connections.read(work)


def _much_waits(connection: Connection) -> bool:
    meta = read_meta(connection)
    (waiting,) = only(connection, "unfolded", (meta.folded_xact, meta.folded_seq, TAIL_MAX + 1))
    return bool(waiting > TAIL_MAX)


def _source(since: Instant | None, until: Instant | None, folded_only: bool) -> tuple[str, list[object]]:
    """The server leaves out the days that the times leave out."""
    return "entry", []


def _entries_max(connection: Connection, since: Instant | None, until: Instant | None, last: int) -> int:
    """How many entries of a range there may be, by the size of its days' tables."""
    if since is None or until is None or until - since > DAYS_SIZED_MAX * DAY_MICROSECONDS:
        return last
    first, after = since // DAY_MICROSECONDS, until // DAY_MICROSECONDS + 1
    if first < _DATED.start or after > _DATED.stop:
        return last
    names = ["entry_default", *(name_of("entry", day) for day in range(first, after))]
    return min(last, int(only(connection, "most_entries", (names,))[0]))


def _folded_since(connection: Connection, earlier: Watermark, watermark: Watermark) -> Times:
    """The times, by day, of the entries that were folded between two watermarks; all times where these are many."""
    found = list(rows(connection, "folded_since", (*earlier, *watermark, FOLDED_MAX + 1)))
    if sum(count for *_, count in found) > FOLDED_MAX:
        return _EVER
    return [(first, last) for first, last, _ in found]
