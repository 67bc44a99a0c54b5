"""Empty ledgers on PostgreSQL for tests of which each needs one: databases are emptied and used again.

Making a ledger takes half a second, emptying one a hundredth; what is left of the last test is its partitions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import psycopg
import pytest
from tests.postgres_server import PostgresServer

from outlay.ledger.postgres import PostgresStore

EMPTY = """
DO $$
DECLARE
    item record;
BEGIN
    FOR item IN SELECT relname, relkind FROM pg_class WHERE relnamespace = 'outlay'::regnamespace LOOP
        IF item.relkind = 'r' AND item.relname NOT IN ('meta', 'migration', 'statement') THEN
            EXECUTE format('DELETE FROM outlay.%I', item.relname);
        ELSIF item.relkind = 'S' THEN
            PERFORM setval(format('outlay.%I', item.relname)::regclass, 1, false);
        END IF;
    END LOOP;
    DELETE FROM outlay.statement;
END
$$
"""
MAKE_NEW = """
UPDATE outlay.meta SET
    currency = %s, zone = %s, epoch = 1, folded_xact = 0, folded_seq = 0, horizon = -1000000, xact_offset = 0
"""


class PostgresLedgers:
    """The databases of a test process that hold ledgers."""

    def __init__(self, server: PostgresServer) -> None:
        self.server = server
        self._free: list[str] = []

    def take(self, currency: str, zone: str) -> str:
        """The address of an empty ledger."""
        if not self._free:
            url = self.server.url(self.server.create())
            PostgresStore(url, currency=currency, zone=zone).close()
            return url
        url = self._free.pop()
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(EMPTY.encode())
            connection.execute(MAKE_NEW.encode(), (currency, zone))
        return url

    def give(self, url: str) -> None:
        """Let another test have it."""
        self._free.append(url)


@pytest.fixture(scope="session")
def postgres_ledgers(postgres: PostgresServer) -> PostgresLedgers:
    """The ledgers of this test process."""
    return PostgresLedgers(postgres)


@pytest.fixture
def new_postgres_ledger(postgres_ledgers: PostgresLedgers) -> Iterator[Callable[..., str]]:
    """A function that gives the address of an empty ledger of some currency and zone."""
    taken: list[str] = []

    def take(currency: str = "USD", zone: str = "UTC") -> str:
        taken.append(postgres_ledgers.take(currency, zone))
        return taken[-1]

    yield take
    for url in taken:
        postgres_ledgers.give(url)
