"""The PostgreSQL adapter of the ledger: many hosts, through psycopg. It needs the extra `postgres`."""

from outlay.errors import MissingExtra

try:
    import psycopg  # noqa: F401  # only whether it is there: the modules below use it
except ModuleNotFoundError as error:
    raise MissingExtra("a ledger on PostgreSQL needs psycopg; install outlay[postgres]") from error

from outlay.ledger.postgres.store import PostgresStore

__all__ = ["PostgresStore"]
