"""PostgreSQL's errors, translated once into Outlay's: by their SQLSTATE, never with a word of the data."""

from __future__ import annotations

from typing import Final

import psycopg

from outlay.errors import (
    InvalidInput,
    LedgerBusy,
    LedgerCorrupt,
    LedgerError,
    LedgerFull,
    LedgerReadOnly,
    OutlayError,
)

_AGAIN: Final = ("40001", "40P01")
_BUSY: Final = (*_AGAIN, "55P03", "53300", "53200", "25P02")
_FORBIDDEN: Final = ("25006", "42501")
_CORRUPT: Final = ("XX001", "XX002", "42P01", "42703", "3F000")
_NOT_NOW: Final = (
    "starting up",
    "shutting down",
    "recovery",
    "not yet accepting",
    "too many",
    "remaining connection",
)
_REFUSED: Final = ("28000", "28P01", "3D000")


def undone(error: psycopg.Error) -> bool:
    """Whether the transaction was rolled back for the sake of another one, so that it may be run again."""
    return error.sqlstate in _AGAIN


def lost(error: psycopg.Error) -> bool:
    """Whether the connection is gone or the server does not take part now: a restart, a failover, a cut."""
    state = error.sqlstate
    if state is None:
        return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    # A server that became a standby answers that it is read-only: the writer is elsewhere by now.
    return state.startswith("08") or state in ("57P01", "57P02", "57P03", "57P05", "25006")


def restarting(error: psycopg.Error) -> bool:
    """Whether a server that is being restarted, or taken over from, may be what did not answer."""
    if error.sqlstate is None:
        # A name that leads nowhere, or a server that says no, stays so.
        return lost(error) and not _refused(error) and "failed to resolve" not in str(error)
    return lost(error) and error.sqlstate != "25006"


def translate(error: psycopg.Error, address: str) -> OutlayError:
    """The error of Outlay's tree that says what an error of PostgreSQL means."""
    state = error.sqlstate or ""
    if state == "53100":
        return LedgerFull(f"no space is left for {address}; free some and try again: nothing acknowledged was lost")
    if state in _FORBIDDEN:
        return LedgerReadOnly(f"{address} cannot be written; check the user's rights and that it is no standby")
    if state in _REFUSED:
        return _cannot_open(address)
    if state in _BUSY:
        return LedgerBusy(f"{address} was held by others for too long, or has no connection left; try again")
    if state == "57014":
        return LedgerError(
            f"a query of {address} took longer than it may; narrow its range or its groups", code="query_too_slow"
        )
    if state in _CORRUPT:
        return LedgerCorrupt(f"{address} is not a sound ledger; restore a backup")
    if state == "22003":
        return InvalidInput("a number is beyond 64 bits; check usage, times and parameters", code="number_too_large")
    if state.startswith("22") or isinstance(error, psycopg.DataError):
        return InvalidInput(
            "a text cannot be stored (a zero byte, or no valid Unicode); clean it first", code="bad_text"
        )
    if _refused(error):
        return _cannot_open(address)
    if lost(error):
        return LedgerError(f"{address} does not answer; check that the server runs", code="unreachable")
    return LedgerError(f"{address}: PostgreSQL failed with {state or type(error).__name__}", code="store_failed")


def _cannot_open(address: str) -> LedgerError:
    return LedgerError(f"{address} refused the user, the password or the database's name", code="cannot_open")


def _refused(error: psycopg.Error) -> bool:
    """Whether a server answered and said no. While connecting, libpq gives its words and no SQLSTATE."""
    said = str(error)
    return error.sqlstate is None and "FATAL:" in said and not any(word in said for word in _NOT_NOW)
