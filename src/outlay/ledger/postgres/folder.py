"""When to fold: before a question where much waits, and behind those who append, on the host that has the lease."""

from __future__ import annotations

import os
import secrets
import threading
import weakref
from collections.abc import Callable
from functools import partial
from typing import Final

from outlay.clock import QUARTER_HOUR_MICROSECONDS, Instant, local_day
from outlay.errors import LedgerError
from outlay.ledger.postgres import folding
from outlay.ledger.postgres.connections import Connections, Meta
from outlay.ledger.postgres.serving import release_lease, take_lease
from outlay.ledger.postgres.statements import Connection

CHUNK: Final = 20_000
"""Entries of one fold: a transaction of some tenths of a second."""

WAKE_AT: Final = 2_000
"""How many entries appended by this process wake its background fold."""

LEASE: Final = "fold"
LEASE_MICROSECONDS: Final = 30_000_000


class Folder:
    """Keeps the rollups of one ledger close behind its entries."""

    def __init__(self, connections: Connections, zone: str, values_a_day: int, now: Callable[[], Instant]) -> None:
        self._connections = connections
        self.zone = zone
        self._values_a_day = values_a_day
        self._now = now
        self._holder = secrets.token_hex(8)
        self._behind = 0
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._turn = threading.Lock()
        _FOLDERS.add(self)

    # --- folding

    def fold(self, limit: int) -> int:
        """Fold up to `limit` entries; how many were."""
        done = 0
        while done < limit:
            asked = min(CHUNK, limit - done)
            folded = self._fold_chunk(asked)
            done += folded
            if folded < asked:
                break
        return done

    def fold_what_waits(self) -> None:
        """Fold until little waits that may be folded."""
        while self._fold_chunk(CHUNK) == CHUNK:
            pass

    def _fold_chunk(self, limit: int) -> int:
        return self._connections.write(partial(self._within, limit=limit))

    def _within(self, connection: Connection, _: Meta, *, limit: int) -> int:
        return folding.fold_chunk(connection, limit, self.day_of, self._values_a_day)

    def day_of(self, quarter_hour: int) -> int:
        """The home zone's day of a quarter hour."""
        return local_day(quarter_hour * QUARTER_HOUR_MICROSECONDS, self.zone)

    # --- in the background

    def appended(self, count: int) -> None:
        """Note that entries were appended; enough of them wake a thread that folds."""
        with self._turn:
            self._behind += count
            if self._behind >= WAKE_AT and self._thread is None and not self._stopping:
                self._behind = 0
                self._thread = threading.Thread(target=_fold_behind, args=(weakref.ref(self),), daemon=True)
                self._thread.start()

    def catch_up(self) -> None:
        """Fold until little waits, if this host gets the lease; else the one that has it does."""
        try:
            more = True
            while more and not self._stopping and self._leads():
                more = self._fold_chunk(CHUNK) == CHUNK
            release_lease(self._connections, LEASE, self._holder)
        except LedgerError:
            # A lost server is told to the caller who writes; the fold only lags behind.
            return
        finally:
            with self._turn:
                self._thread = None

    def _leads(self) -> bool:
        now = self._now()
        return take_lease(self._connections, LEASE, self._holder, now, now + LEASE_MICROSECONDS)

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
        """The parent's thread does not exist here, and a lease is held by one process."""
        self._thread = None
        self._turn = threading.Lock()
        self._holder = secrets.token_hex(8)


def _fold_behind(folder: weakref.ref[Folder]) -> None:
    found = folder()
    if found is not None:
        found.catch_up()


_FOLDERS: weakref.WeakSet[Folder] = weakref.WeakSet()


def _forget_threads() -> None:
    for folder in list(_FOLDERS):
        folder.after_fork_in_child()


os.register_at_fork(after_in_child=_forget_threads)
