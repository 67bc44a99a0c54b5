"""Answering cost questions: folding first where much waits, then one consistent view of the file."""

from __future__ import annotations

from collections.abc import Sequence

import apsw

from outlay.clock import DAY_MICROSECONDS, Instant
from outlay.ledger.conditions import as_json
from outlay.ledger.folding import BLOCK_BITS
from outlay.ledger.names import NameBook
from outlay.ledger.querying import TAIL_MAX
from outlay.ledger.ranking import answer
from outlay.ledger.remembering import RememberedCells
from outlay.ledger.shifted import is_planned
from outlay.ledger.sqlite import statements
from outlay.ledger.sqlite.connections import Connections, Meta, read_meta
from outlay.ledger.sqlite.folder import Folder
from outlay.ledger.sqlite.statements import rows, sql
from outlay.ledger.tallies import Scan
from outlay.ledger.view import FAR, View
from outlay.model import CostQuery, CostTable


def costs(
    connections: Connections,
    book: NameBook,
    folder: Folder,
    remembered: RememberedCells,
    query: CostQuery,
    currency: str,
) -> CostTable:
    """See LedgerStore.costs."""
    Scan(query, folder.zone)  # Refuses a question that makes no sense before anything is folded for it.
    if is_planned(query, folder.zone):
        with connections.reading() as connection:
            meta = read_meta(connection)
        if meta.last_seq - meta.watermark > TAIL_MAX:
            folder.fold(meta.last_seq - meta.watermark)
    with connections.reading() as connection:
        meta = read_meta(connection)
        horizon = meta.horizon * DAY_MICROSECONDS
        cells = remembered.at((meta.watermark,), lambda watermark: _folded_since(connection, watermark[0]))
        source = _Source(connection, meta)
        view = View(
            statements,
            connection,
            (meta.watermark,),
            lambda _since, _until: meta.last_seq,
            source,
            horizon=horizon,
            remembered=cells,
        )
        return answer(view, book.at(meta.epoch), query, folder.zone, currency)


class _Source:
    """Where to read: only the blocks of entries whose times overlap the range, and the tail."""

    def __init__(self, connection: apsw.Connection, meta: Meta) -> None:
        self._connection = connection
        self._meta = meta

    def __call__(self, since: Instant | None, until: Instant | None, folded_only: bool) -> tuple[str, list[object]]:
        if since is None and until is None:
            return "entry", []
        watermark = self._meta.watermark
        bounds = (-FAR if since is None else since, FAR if until is None else until)
        runs = _joined(
            [
                (block << BLOCK_BITS, min((block + 1 << BLOCK_BITS) - 1, watermark))
                for (block,) in rows(self._connection, "blocks", bounds)
            ]
        )
        if not folded_only:
            runs.append((watermark + 1, FAR))
        return sql("runs_of_entries"), [as_json(runs)]


def _folded_since(connection: apsw.Connection, watermark: int) -> list[tuple[Instant, Instant]]:
    """The times of the blocks with entries behind a watermark."""
    return [(first, last) for first, last in rows(connection, "spans_since", (watermark + 1 >> BLOCK_BITS,))]


def _joined(blocks: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Adjacent runs of entries joined into one."""
    runs: list[tuple[int, int]] = []
    for first, last in blocks:
        if runs and runs[-1][1] + 1 == first:
            runs[-1] = (runs[-1][0], last)
        else:
            runs.append((first, last))
    return runs
