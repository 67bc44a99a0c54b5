"""The part of the SQLite store that keeps keys, the log of changes and leases."""

from __future__ import annotations

import fcntl
import os
import struct
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final

import msgspec

from outlay.clock import Instant
from outlay.ledger.codec import Decoder
from outlay.ledger.names import NameBook
from outlay.ledger.serving_store import KeptKey, Lease, LoggedChange
from outlay.ledger.sqlite.connections import Connections, read_meta
from outlay.ledger.sqlite.statements import first, rows, sql
from outlay.model import UsageEvent

_NO_NUMBER: Final = 2**63 - 1
_decode_row: Final = msgspec.msgpack.Decoder(list[Any]).decode


class SqliteServing:
    """What `ServingStore` promises."""

    _connections: Connections
    _book: NameBook

    def put_key(self, id: str, body: bytes, *, expects: bytes | None) -> bool:
        """See ServingStore.put_key."""
        with self._connections.writing() as connection:
            known = first(connection, "access_key", (id,))
            if (None if known is None else known[0]) != expects:
                return False
            connection.execute(sql("put_access_key"), (id, body))
            return True

    def access_keys(self) -> list[KeptKey]:
        """See ServingStore.access_keys."""
        with self._connections.reading() as connection:
            return [KeptKey(*row) for row in rows(connection, "access_keys")]

    def note_key_uses(self, uses: Mapping[str, Instant]) -> None:
        """See ServingStore.note_key_uses."""
        with self._connections.writing() as connection:
            connection.executemany(sql("note_key_use"), list(uses.items()))

    def log_changes(self, changes: Sequence[LoggedChange]) -> None:
        """See ServingStore.log_changes."""
        with self._connections.writing() as connection:
            connection.executemany(
                sql("log_change"), [(one.at, one.who, one.action, one.subject, one.detail) for one in changes]
            )

    def logged_changes(self, most: int, before: int | None = None) -> list[LoggedChange]:
        """See ServingStore.logged_changes."""
        with self._connections.reading() as connection:
            found = rows(connection, "logged_changes", (_NO_NUMBER if before is None else before, most))
            return [
                LoggedChange(at=at, who=who, action=action, subject=subject, detail=detail, number=number)
                for at, who, action, subject, detail, number in found
            ]

    def take_lease(self, name: str, holder: str, now: Instant, until: Instant) -> bool:
        """See ServingStore.take_lease."""
        with self._connections.writing() as connection:
            return first(connection, "take_lease", (name, holder, now, until)) is not None

    def release_lease(self, name: str, holder: str) -> None:
        """See ServingStore.release_lease."""
        with self._connections.writing() as connection:
            connection.execute(sql("release_lease"), (name, holder))

    def lease(self, name: str) -> Lease | None:
        """See ServingStore.lease."""
        with self._connections.reading() as connection:
            found = first(connection, "lease", (name,))
        return None if found is None else Lease(*found)

    def put_note(self, kind: str, id: str, body: bytes, *, expects: bytes | None, at: Instant, live: bool) -> bool:
        """See ServingStore.put_note."""
        with self._connections.writing() as connection:
            known = first(connection, "note", (kind, id))
            if (None if known is None else known[0]) != expects:
                return False
            connection.execute(sql("put_note"), (kind, id, at, int(live), body))
            return True

    def note(self, kind: str, id: str) -> bytes | None:
        """See ServingStore.note."""
        with self._connections.reading() as connection:
            known = first(connection, "note", (kind, id))
        return None if known is None else known[0]

    def notes(self, kind: str, *, live_only: bool = False, most: int = 1_000) -> list[bytes]:
        """See ServingStore.notes."""
        with self._connections.reading() as connection:
            return [body for (body,) in rows(connection, "live_notes" if live_only else "notes", (kind, most))]

    def held_call(self, id: str) -> UsageEvent | None:
        """See ServingStore.held_call."""
        with self._connections.reading() as connection:
            found = first(connection, "held_call", (id,))
            if found is None:
                return None
            names = self._book.at(read_meta(connection).epoch)
            return Decoder(connection, names).entry(_decode_row(found[0])).event

    def shared(self) -> bool:
        """See ServingStore.shared. Where the system's locks cannot be read, others are taken to be there."""
        return _neighbours(f"{self._connections.address}-shm").present()


class _Neighbours:
    """Tells whether other processes hold a lock of a ledger's shared memory, as each of their connections does.

    The lock is asked for, never taken. The descriptor is kept open for as long as the file lives: closing one drops
    every lock that this process has of the file, and SQLite relies on them.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._descriptor = -1
        self._inode = -1

    def present(self) -> bool:
        """Whether another process has the ledger open."""
        if _LOCK_LAYOUT is None:
            return True
        try:
            inode = os.stat(self._path).st_ino
            if inode != self._inode:
                self._descriptor = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
                self._inode = inode
            asked = _LOCK_LAYOUT.pack(*_asked())
            answer = _LOCK_LAYOUT.unpack(fcntl.fcntl(self._descriptor, fcntl.F_GETLK, asked))
        except FileNotFoundError:
            return False
        except OSError:
            return True
        return bool(answer[_TYPE_AT] != fcntl.F_UNLCK)


def _asked() -> tuple[int, ...]:
    """A write lock of the one byte that every connection holds a read lock of, in this system's order of fields."""
    if sys.platform == "darwin":
        return (_OPEN_BYTE, 1, 0, fcntl.F_WRLCK, 0)
    return (fcntl.F_WRLCK, 0, _OPEN_BYTE, 1, 0)


_OPEN_BYTE: Final = 128
"""SQLite's "dead man's switch" of the shared memory: https://sqlite.org/walformat.html#locks"""

_LOCK_LAYOUT: Final = {"linux": struct.Struct("hhxxxxqqixxxx"), "darwin": struct.Struct("qqihh")}.get(sys.platform)
_TYPE_AT: Final = 3 if sys.platform == "darwin" else 0
_neighbours: Final = cache(_Neighbours)
