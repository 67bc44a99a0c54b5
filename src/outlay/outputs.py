"""How much calls of a service and feature put out so far: what sizes the allotment of a call without a maximum.

A statistic, never a decision about money: the check of a budget reads accounts only.
"""

from __future__ import annotations

import re
from collections import deque
from typing import Final

from outlay.ledger.store import EntryFilter, LedgerStore
from outlay.model import Basis, Status, UsageEvent

RECALLED: Final = 2_000
"""The newest entries of the ledger, of all services, that a process reads once when it first allots."""

_KEPT: Final = 256
_DATE: Final = re.compile(r"[-@](20\d\d-?[01]\d-?[0-3]\d)$")

_TOLD: Final = (Basis.MEASURED, Basis.REPORTED)

Key = tuple[str, str | None]


class OutputsSeen:
    """The last outputs of each service and feature, in tokens. Safe to share between threads."""

    def __init__(self, store: LedgerStore) -> None:
        """The ledger is read at the first question, so that a restarted process knows what others saw."""
        self._store = store
        self._seen: dict[Key, deque[int]] = {}
        self._recalled = False

    def note(self, event: UsageEvent) -> None:
        """Remember what a call put out."""
        tokens = event.usage.get("output_tokens")
        if tokens is not None:
            key = _key(event)
            kept = self._seen.get(key)
            if kept is None:
                kept = self._seen.setdefault(key, deque(maxlen=_KEPT))
            kept.append(int(tokens))

    def p99(self, event: UsageEvent) -> int | None:
        """What 99 of 100 such calls stayed within; None where none was seen."""
        if not self._recalled:
            self._recalled = True
            self._recall()
        seen = sorted(self._seen.get(_key(event), ()))
        return seen[len(seen) * 99 // 100] if seen else None

    def _recall(self) -> None:
        """Put what the ledger tells before what this process saw; a call in both weighs double, which is no harm."""
        already, self._seen = self._seen, {}
        newest = EntryFilter(live_only=False, newest_first=True)
        found = [entry for entry in self._store.entries(newest, RECALLED) if entry.sign > 0]
        for entry in reversed(found):
            if entry.event.status is Status.OK and entry.basis in _TOLD:
                self.note(entry.event)
        for key, kept in already.items():
            self._seen.setdefault(key, deque(maxlen=_KEPT)).extend(kept)


def _key(event: UsageEvent) -> Key:
    """A dated snapshot counts with the service that it is of: the answer names the one, the request the other."""
    return _DATE.sub("", event.service), event.feature
