"""The part of the memory store that keeps keys, the log of changes and leases."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from outlay.clock import Instant
from outlay.ledger.budget_store import ReservationState
from outlay.ledger.memory_accounts import Held
from outlay.ledger.serving_store import KeptKey, Lease, LoggedChange
from outlay.model import UsageEvent


class MemoryServing(ABC):
    """What `ServingStore` promises."""

    _held: dict[str, Held]

    def _make_serving(self) -> None:
        self._keys: dict[str, KeptKey] = {}
        self._changes: list[LoggedChange] = []
        self._leases: dict[str, Lease] = {}
        self._notes: dict[tuple[str, str], tuple[Instant, bool, bytes]] = {}

    @abstractmethod
    def _open(self) -> threading.RLock: ...

    def put_key(self, id: str, body: bytes, *, expects: bytes | None) -> bool:
        """See ServingStore.put_key."""
        with self._open():
            known = self._keys.get(id)
            if (None if known is None else known.body) != expects:
                return False
            self._keys[id] = KeptKey(id, body, None if known is None else known.used_at)
            return True

    def access_keys(self) -> list[KeptKey]:
        """See ServingStore.access_keys."""
        with self._open():
            return sorted(self._keys.values(), key=lambda key: key.id)

    def note_key_uses(self, uses: Mapping[str, Instant]) -> None:
        """See ServingStore.note_key_uses."""
        with self._open():
            for id, at in uses.items():
                known = self._keys.get(id)
                if known is not None and (known.used_at is None or known.used_at < at):
                    self._keys[id] = replace(known, used_at=at)

    def log_changes(self, changes: Sequence[LoggedChange]) -> None:
        """See ServingStore.log_changes."""
        with self._open():
            for change in changes:
                self._changes.append(replace(change, number=len(self._changes) + 1))

    def logged_changes(self, most: int, before: int | None = None) -> list[LoggedChange]:
        """See ServingStore.logged_changes."""
        with self._open():
            last = len(self._changes) if before is None else max(before - 1, 0)
            return self._changes[:last][::-1][:most]

    def take_lease(self, name: str, holder: str, now: Instant, until: Instant) -> bool:
        """See ServingStore.take_lease."""
        with self._open():
            known = self._leases.get(name)
            if known is not None and known.holder != holder and known.until > now:
                return False
            self._leases[name] = Lease(name, holder, until)
            return True

    def release_lease(self, name: str, holder: str) -> None:
        """See ServingStore.release_lease."""
        with self._open():
            known = self._leases.get(name)
            if known is not None and known.holder == holder:
                del self._leases[name]

    def lease(self, name: str) -> Lease | None:
        """See ServingStore.lease."""
        with self._open():
            return self._leases.get(name)

    def put_note(self, kind: str, id: str, body: bytes, *, expects: bytes | None, at: Instant, live: bool) -> bool:
        """See ServingStore.put_note."""
        with self._open():
            known = self._notes.get((kind, id))
            if (None if known is None else known[2]) != expects:
                return False
            self._notes[kind, id] = (at, live, body)
            return True

    def note(self, kind: str, id: str) -> bytes | None:
        """See ServingStore.note."""
        with self._open():
            known = self._notes.get((kind, id))
            return None if known is None else known[2]

    def notes(self, kind: str, *, live_only: bool = False, most: int = 1_000) -> list[bytes]:
        """See ServingStore.notes."""
        with self._open():
            found = [
                (-at, id, body)
                for (its, id), (at, live, body) in self._notes.items()
                if its == kind and (live or not live_only)
            ]
        return [body for _, _, body in sorted(found)[:most]]

    def held_call(self, id: str) -> UsageEvent | None:
        """See ServingStore.held_call."""
        with self._open():
            held = self._held.get(id)
            return held.estimate.event if held is not None and held.state is ReservationState.OPEN else None

    def shared(self) -> bool:
        """See ServingStore.shared: what is in this process's memory no other has."""
        return False
