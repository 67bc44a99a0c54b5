"""The SQLite adapter of the ledger: one file, in WAL mode, through apsw."""

from outlay.ledger.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
