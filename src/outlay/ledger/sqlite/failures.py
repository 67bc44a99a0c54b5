"""SQLite's errors, translated once into Outlay's, with the path in the message and what to do."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

import apsw

from outlay.errors import (
    LedgerBusy,
    LedgerClosed,
    LedgerCorrupt,
    LedgerError,
    LedgerFull,
    LedgerReadOnly,
    OutlayError,
)

_FULL = (errno.ENOSPC, errno.EDQUOT)
_SHORT_READ = apsw.SQLITE_IOERR_SHORT_READ


@contextmanager
def translated(address: str, connection: apsw.Connection | None = None) -> Iterator[None]:
    """Turn what SQLite raises inside into a LedgerError; the original stays its cause."""
    try:
        yield
    except apsw.Error as error:
        raise translate(error, address, connection) from error


def translate(error: apsw.Error, address: str, connection: apsw.Connection | None = None) -> OutlayError:
    """The error of Outlay's tree that says what an error of SQLite means."""
    if isinstance(error, apsw.FullError):
        return LedgerFull(f"no space is left for {address}; free some and try again: nothing acknowledged was lost")
    if isinstance(error, apsw.ReadOnlyError | apsw.PermissionsError):
        return LedgerReadOnly(f"{address} cannot be written; check the permissions of the file and its folder")
    if isinstance(error, apsw.NotADBError | apsw.CorruptError | apsw.FormatError):
        return LedgerCorrupt(f"{address} is not a sound ledger; restore a backup")
    if isinstance(error, apsw.BusyError | apsw.LockedError):
        return LedgerBusy(f"{address} was held by others for too long; try again")
    if isinstance(error, apsw.InterruptError):
        return LedgerError(
            f"a query of {address} took longer than it may; narrow its range or its groups", code="query_too_slow"
        )
    if isinstance(error, apsw.CantOpenError):
        return LedgerError(f"{address} cannot be opened; check that its folder exists", code="cannot_open")
    if isinstance(error, apsw.ConnectionClosedError | apsw.CursorClosedError):
        return LedgerClosed(f"{address} was closed meanwhile; open it again")
    if isinstance(error, apsw.IOError):
        return _io_failure(error, address, connection)
    return LedgerError(f"{address}: SQLite says {error}", code="store_failed")


def _io_failure(error: apsw.Error, address: str, connection: apsw.Connection | None) -> OutlayError:
    if connection is not None and connection.system_errno in _FULL:
        return LedgerFull(f"no space is left for {address}; free some and try again: nothing acknowledged was lost")
    if getattr(error, "extendedresult", 0) == _SHORT_READ:
        return LedgerCorrupt(f"{address} is cut short; restore a backup")
    return LedgerError(f"{address} cannot be read or written: {error}", code="io_failed")
