"""The part of the PostgreSQL store that keeps keys, the log of changes and leases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from outlay.clock import Instant
from outlay.ledger.codec import Decoder
from outlay.ledger.names import NameBook
from outlay.ledger.postgres.connections import Connections, Meta, read_meta
from outlay.ledger.postgres.statements import Connection, first, rows, run
from outlay.ledger.serving_store import KeptKey, Lease, LoggedChange
from outlay.model import UsageEvent

_NO_NUMBER: Final = 2**63 - 1
_decode_row: Final = msgspec.msgpack.Decoder(list[Any]).decode


def take_lease(connections: Connections, name: str, holder: str, now: Instant, until: Instant) -> bool:
    """See ServingStore.take_lease."""
    return connections.write(
        lambda connection, _: first(connection, "take_lease", (name, holder, now, until)) is not None
    )


def release_lease(connections: Connections, name: str, holder: str) -> None:
    """See ServingStore.release_lease."""
    connections.write(lambda connection, _: run(connection, "release_lease", (name, holder)))


class PostgresServing:
    """What `ServingStore` promises."""

    _connections: Connections
    _book: NameBook

    def put_key(self, id: str, body: bytes, *, expects: bytes | None) -> bool:
        """See ServingStore.put_key."""

        def work(connection: Connection, _: Meta) -> bool:
            if expects is None:
                return run(connection, "insert_access_key", (id, body)) == 1
            return run(connection, "put_access_key", (id, body, expects)) == 1

        return self._connections.write(work)

    def access_keys(self) -> list[KeptKey]:
        """See ServingStore.access_keys."""
        return self._connections.read(lambda connection: [KeptKey(*row) for row in rows(connection, "access_keys")])

    def note_key_uses(self, uses: Mapping[str, Instant]) -> None:
        """See ServingStore.note_key_uses."""
        bound = (list(uses), list(uses.values()))
        self._connections.write(lambda connection, _: run(connection, "note_key_uses", bound))

    def log_changes(self, changes: Sequence[LoggedChange]) -> None:
        """See ServingStore.log_changes."""

        def work(connection: Connection, _: Meta) -> None:
            for one in changes:
                run(connection, "log_change", (one.at, one.who, one.action, one.subject, one.detail))

        self._connections.write(work)

    def logged_changes(self, most: int, before: int | None = None) -> list[LoggedChange]:
        """See ServingStore.logged_changes."""
        bound = (_NO_NUMBER if before is None else before, most)
        return [
            LoggedChange(at=at, who=who, action=action, subject=subject, detail=detail, number=number)
            for at, who, action, subject, detail, number in self._connections.read(
                lambda connection: rows(connection, "logged_changes", bound)
            )
        ]

    def take_lease(self, name: str, holder: str, now: Instant, until: Instant) -> bool:
        """See ServingStore.take_lease."""
        return take_lease(self._connections, name, holder, now, until)

    def release_lease(self, name: str, holder: str) -> None:
        """See ServingStore.release_lease."""
        release_lease(self._connections, name, holder)

    def lease(self, name: str) -> Lease | None:
        """See ServingStore.lease."""
        found = self._connections.read(lambda connection: first(connection, "lease", (name,)))
        return None if found is None else Lease(*found)

    def put_note(self, kind: str, id: str, body: bytes, *, expects: bytes | None, at: Instant, live: bool) -> bool:
        """See ServingStore.put_note."""

        def work(connection: Connection, _: Meta) -> bool:
            if expects is None:
                return run(connection, "insert_note", (kind, id, at, live, body)) == 1
            return run(connection, "put_note", (kind, id, at, live, body, expects)) == 1

        return self._connections.write(work)

    def note(self, kind: str, id: str) -> bytes | None:
        """See ServingStore.note."""
        known = self._connections.read(lambda connection: first(connection, "note", (kind, id)))
        return None if known is None else bytes(known[0])

    def notes(self, kind: str, *, live_only: bool = False, most: int = 1_000) -> list[bytes]:
        """See ServingStore.notes."""
        name = "live_notes" if live_only else "notes"
        return self._connections.read(
            lambda connection: [bytes(body) for (body,) in rows(connection, name, (kind, most))]
        )

    def held_call(self, id: str) -> UsageEvent | None:
        """See ServingStore.held_call."""

        def work(connection: Connection) -> UsageEvent | None:
            found = first(connection, "held_call", (id,))
            if found is None:
                return None
            names = self._book.at(read_meta(connection).epoch)
            return Decoder(connection, names).entry(_decode_row(found[0])).event

        return self._connections.read(work)

    def shared(self) -> bool:
        """See ServingStore.shared. A server's database is there to be shared."""
        return True
