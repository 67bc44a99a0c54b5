"""The part of the store protocol that a server needs: keys, the log of changes, leases, notes.

A store knows nothing of what a key's body says, and no clock: instants arrive with each call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from outlay.clock import Instant
from outlay.model import UsageEvent


class KeptKey(msgspec.Struct, frozen=True):
    """An access key as kept: its body, of which the store knows nothing, and when it was last used."""

    id: str
    body: bytes
    used_at: Instant | None = None


class LoggedChange(msgspec.Struct, frozen=True, kw_only=True):
    """Who changed what through a server or the command line, and when. `number` is given by the store and grows."""

    at: Instant
    who: str
    action: str
    subject: str = ""
    detail: str = ""
    number: int = 0


class Lease(msgspec.Struct, frozen=True):
    """Who does a piece of scheduled work, and until when others leave it alone."""

    name: str
    holder: str
    until: Instant


class ServingStore(Protocol):
    """The part of a store that keeps what servers share."""

    def put_key(self, id: str, body: bytes, *, expects: bytes | None) -> bool:
        """Keep a key's body if what stands there is `expects` (None: nothing); whether it was kept."""
        ...

    def access_keys(self) -> list[KeptKey]:
        """Every key that ever was, by id."""
        ...

    def note_key_uses(self, uses: Mapping[str, Instant]) -> None:
        """Remember when keys were last used; an earlier instant than the one known changes nothing."""
        ...

    def log_changes(self, changes: Sequence[LoggedChange]) -> None:
        """Add to the log of changes; nothing in it is ever changed."""
        ...

    def logged_changes(self, most: int, before: int | None = None) -> list[LoggedChange]:
        """Up to `most` changes, newest first, with numbers under `before`."""
        ...

    def take_lease(self, name: str, holder: str, now: Instant, until: Instant) -> bool:
        """Take a lease that is free or over at `now`, or renew one's own; whether `holder` holds it now."""
        ...

    def release_lease(self, name: str, holder: str) -> None:
        """Give up one's own lease; another's stays."""
        ...

    def lease(self, name: str) -> Lease | None:
        """Who holds it, or held it last; None where nobody ever did or it was released."""
        ...

    def put_note(self, kind: str, id: str, body: bytes, *, expects: bytes | None, at: Instant, live: bool) -> bool:
        """Keep a note's body if what stands there is `expects` (None: nothing); whether it was kept.

        So of several that decide the same thing at once one does. `live` notes are those still to be looked at.
        """
        ...

    def note(self, kind: str, id: str) -> bytes | None:
        """A note's body, None where there is none."""
        ...

    def notes(self, kind: str, *, live_only: bool = False, most: int = 1_000) -> list[bytes]:
        """The bodies of up to `most` notes of a kind, those with the latest `at` first."""
        ...

    def held_call(self, id: str) -> UsageEvent | None:
        """The call that an open reservation stands for, at its worst case; None where it is over or unknown."""
        ...

    def shared(self) -> bool:
        """Whether another process has the ledger open now, as far as this one can tell."""
        ...
