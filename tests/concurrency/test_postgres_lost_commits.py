"""A COMMIT that was not answered: what the server lost in a crash is not taken for what another transaction did.

A server that crashes forgets the numbers of transactions of which nothing was flushed, and gives them away again.
"""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from tests.postgres_server import DURABLE, PostgresServer, a_server

from outlay.ledger.postgres import PostgresStore
from outlay.ledger.postgres.connections import Connections, Meta
from outlay.ledger.postgres.statements import Connection


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """One that flushes nothing but at a commit, so that a crash loses all that was not committed."""
    with a_server(**DURABLE, wal_writer_delay="10s", autovacuum="off") as server:
        yield server


def lose(server: PostgresServer, xact: int) -> bool:
    """Crash the server, and let another transaction commit under the number; False where that is taken already."""
    server.restart("immediate")
    with psycopg.connect(server.url("postgres"), autocommit=True) as other:
        number = 0
        while number < xact:
            ((number,),) = other.execute("SELECT pg_current_xact_id()::text::bigint").fetchall()
        return bool(number == xact)


def test_a_number_that_another_transaction_committed_under_acknowledges_nothing(server: PostgresServer) -> None:
    with server.database() as url:
        PostgresStore(url).close()
        connections = Connections(url)
        tries: list[bool] = []

        def work(connection: Connection, meta: Meta) -> int:
            connection.execute("INSERT INTO setting VALUES ('a', '1')")
            if not any(tries):
                tries.append(lose(server, meta.xact))
            return len(tries)

        connections.write(work)
        assert tries[-1]
        assert connections.read(lambda one: one.execute("SELECT value FROM setting").fetchall()) == [("1",)]
        connections.close()
