"""Answering cost questions: folding first where much waits, then one consistent view of the ledger."""

from __future__ import annotations

from outlay.clock import DAY_MICROSECONDS, Instant
from outlay.ledger.names import NameBook
from outlay.ledger.postgres import statements
from outlay.ledger.postgres.connections import SUMMED_SINCE, Connections, read_meta
from outlay.ledger.postgres.folder import Folder
from outlay.ledger.postgres.statements import Connection, only
from outlay.ledger.querying import TAIL_MAX
from outlay.ledger.ranking import answer
from outlay.ledger.shifted import is_planned
from outlay.ledger.tallies import Scan
from outlay.ledger.view import View
from outlay.model import CostQuery, CostTable


def costs(connections: Connections, book: NameBook, folder: Folder, query: CostQuery, currency: str) -> CostTable:
    """See LedgerStore.costs."""
    Scan(query, folder.zone)  # Refuses a question that makes no sense before anything is folded for it.
    if is_planned(query, folder.zone) and connections.read(_much_waits):
        folder.fold_what_waits()

    def work(connection: Connection) -> CostTable:
        meta = read_meta(connection)
        last = int(only(connection, "last_seq")[0])
        folded_until, summed = (meta.folded_xact, meta.folded_seq), meta.oldest >= SUMMED_SINCE
        view = View(statements, connection, folded_until, last, _source, summed, meta.horizon * DAY_MICROSECONDS)
        return answer(view, book.at(meta.epoch), query, folder.zone, currency)

    return connections.read(work)


def _much_waits(connection: Connection) -> bool:
    meta = read_meta(connection)
    (waiting,) = only(connection, "unfolded", (meta.folded_xact, meta.folded_seq, TAIL_MAX + 1))
    return bool(waiting > TAIL_MAX)


def _source(since: Instant | None, until: Instant | None, folded_only: bool) -> tuple[str, list[object]]:
    """The server leaves out the days that the times leave out."""
    return "entry", []
