"""Counting what was spent before a budget was made, on a thread of its own, so that nobody waits for it."""

from __future__ import annotations

import threading
from typing import Final

from outlay.errors import LedgerError
from outlay.ledger.store import LedgerStore

AT_ONCE: Final = 10_000
"""How many past entries are looked at before a budget's maker goes on; the rest is looked at behind its back."""

_STEP: Final = 10_000


class Warmer:
    """Warms the budgets of one ledger in this process."""

    def __init__(self, store: LedgerStore) -> None:
        """Nothing runs until `begin`."""
        self._store = store
        self._stopping = False
        self._thread: threading.Thread | None = None

    def warm(self) -> None:
        """Count a short history now and begin to count a long one behind."""
        if self._store.cold_scopes():
            self._store.warm(AT_ONCE)
            if self._store.cold_scopes():
                self.begin()

    def begin(self) -> None:
        """Count behind, unless that is being done. After a fork the thread is the parent's: it is dead here."""
        thread = self._thread
        if self._stopping or (thread is not None and thread.is_alive()):
            return
        self._thread = threading.Thread(target=self._run, name="outlay-warming", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            while not self._stopping and self._store.cold_scopes():
                self._store.warm(_STEP)
        except LedgerError:
            # Progress is kept: whoever next asks a budget that is still warming begins again.
            return

    def join(self) -> None:
        """Wait until all is counted, or what hindered it."""
        if self._thread is not None:
            self._thread.join()

    def stop(self) -> None:
        """End after the present step."""
        self._stopping = True
        self.join()
