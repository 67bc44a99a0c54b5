"""Folding entries into the rollup tables, in short transactions of its own, up to a watermark.

Rows are read and summed outside the write lock; the transaction only adds cells and moves the watermark,
and does nothing if another process has moved it meanwhile.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Iterable
from typing import Final

import apsw

from outlay.clock import QUARTER_HOUR_MICROSECONDS, local_day
from outlay.errors import LedgerError
from outlay.ledger import cells
from outlay.ledger.folding import Folded, cap, fold_rows
from outlay.ledger.rollups import VALUES_A_DAY, WIDE
from outlay.ledger.sqlite import folding
from outlay.ledger.sqlite.connections import Connections, read_meta
from outlay.ledger.sqlite.statements import rows

CHUNK: Final = 10_000
"""Entries a fold sums at once: more would hold the write lock for longer than callers should wait."""

LARGE_CHUNK: Final = 40_000
"""The same while far behind, as in an import: the same pages are then written a quarter as often."""

WAKE_AT: Final = 2_000
"""How many entries not folded yet wake the background fold."""

BEHIND_MAX: Final = 100_000
"""Who appends waits for the fold beyond this: else the first question after a long import would."""


class Folder:
    """Keeps the rollups of one ledger close behind its entries."""

    def __init__(self, connections: Connections, zone: str, values_a_day: int = VALUES_A_DAY) -> None:
        self._connections = connections
        self.zone = zone
        self._values_a_day = values_a_day
        self._behind = 0
        self._stopping = False
        self._thread: threading.Thread | None = None
        # Blocks hold the lock itself: entering a Condition is two steps, and an exception of a signal's handler
        # between them would leave it locked for good.
        self._lock = threading.RLock()
        self._turn = threading.Condition(self._lock)
        _FOLDERS.add(self)

    # --- folding

    def fold(self, limit: int) -> int:
        """Fold up to `limit` entries; how many were."""
        done = 0
        while done < limit:
            folded = self._fold_chunk(min(LARGE_CHUNK if limit - done > BEHIND_MAX // 2 else CHUNK, limit - done))
            if folded == 0:
                break
            done += max(folded, 0)
        return done

    def _fold_chunk(self, limit: int) -> int:
        """How many entries were folded; −1 where another process was first."""
        with self._connections.borrowing(float("inf")) as connection:
            folding.prepare(connection)
            connection.execute("BEGIN")
            meta = read_meta(connection)
            folded = folding.gather(connection, meta, limit, self.day_of)
            self._behind = meta.last_seq - meta.watermark - folded.entries
            if not folded.entries:
                return 0
            wide = folded.cells[WIDE.name]
            admitted = _admitted(connection, {key[0] for key in wide})
            folded.cells[WIDE.name], news = cap(wide, admitted, self._values_a_day)
            connection.execute("COMMIT")
            connection.execute("BEGIN IMMEDIATE")
            if read_meta(connection).watermark != meta.watermark:
                return -1
            folding.write(connection, folded, news)
            connection.execute("COMMIT")
        return folded.entries

    def sum(self, unfolded: Iterable[object]) -> Folded:
        """The cells of some rows of the query `to_fold`."""
        return fold_rows(unfolded, self.day_of, cells.shares_of)

    def day_of(self, quarter_hour: int) -> int:
        """The home zone's day of a quarter hour."""
        return local_day(quarter_hour * QUARTER_HOUR_MICROSECONDS, self.zone)

    # --- in the background

    def appended(self, count: int) -> None:
        """Note that entries were appended. Enough of them wake a thread that folds; far too many wait for it."""
        with self._lock:
            self._behind += count
            if self._behind >= WAKE_AT and self._thread is None and not self._stopping:
                self._thread = threading.Thread(target=_fold_behind, args=(weakref.ref(self),), daemon=True)
                self._thread.start()
            while self._behind > BEHIND_MAX and self._thread is not None:
                self._turn.wait()

    def catch_up(self) -> None:
        """Fold until little waits; what fails is tried again by the next reader or append."""
        try:
            while self._folds_on():
                pass
        except LedgerError:
            # A full disk or a busy file is told to the caller who writes; the fold only lags behind.
            self._ended()

    def _folds_on(self) -> bool:
        """Fold a chunk. It is the thread's last one only if, looked at together, too little waits for another."""
        chunk = LARGE_CHUNK if self._behind > BEHIND_MAX // 2 else CHUNK
        more = self._fold_chunk(chunk) == chunk
        with self._lock:
            self._turn.notify_all()
            if not self._stopping and (more or self._behind >= WAKE_AT):
                return True
            self._thread = None
            return False

    def _ended(self) -> None:
        with self._lock:
            self._thread = None
            self._turn.notify_all()

    def stop(self) -> None:
        """Let the background fold end after its present chunk, and wait for that."""
        self._stopping = True
        self.join()

    def join(self) -> None:
        """Wait for the background fold to end."""
        thread = self._thread
        if thread is not None:
            thread.join()

    def after_fork_in_child(self) -> None:
        """The parent's thread does not exist here."""
        self._thread = None
        self._lock = threading.RLock()
        self._turn = threading.Condition(self._lock)


def _fold_behind(folder: weakref.ref[Folder]) -> None:
    found = folder()
    if found is not None:
        found.catch_up()


def _admitted(connection: apsw.Connection, days: Iterable[int]) -> dict[tuple[int, int], set[int]]:
    admitted: dict[tuple[int, int], set[int]] = {}
    for day in days:
        for dimension, value in rows(connection, "rollup_values", (day,)):
            admitted.setdefault((day, dimension), set()).add(value)
    return admitted


_FOLDERS: weakref.WeakSet[Folder] = weakref.WeakSet()


def _forget_threads() -> None:
    for folder in list(_FOLDERS):
        folder.after_fork_in_child()


os.register_at_fork(after_in_child=_forget_threads)
