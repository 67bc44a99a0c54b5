"""A COMMIT that was not answered: what the server lost in a crash is not taken for what another transaction did.

A server that crashes forgets the numbers of transactions of which nothing was flushed, and gives them away again.
"""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from tests.budget_entries import CENT, account, cents, put, reserve
from tests.postgres_server import DURABLE, PostgresServer, a_server

from outlay.budgets.coverage import BudgetCoverage
from outlay.ledger.postgres import PostgresStore, connections
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
        pool = Connections(url)
        tries: list[bool] = []

        def work(connection: Connection, meta: Meta) -> int:
            connection.execute("INSERT INTO setting VALUES ('a', '1')")
            if not any(tries):
                tries.append(lose(server, meta.xact))
            return len(tries)

        pool.write(work)
        assert tries[-1]
        assert pool.read(lambda one: one.execute("SELECT value FROM setting").fetchall()) == [("1",)]
        pool.close()


def test_what_landed_though_its_commit_was_not_answered_is_held_and_counted_once(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = PostgresStore(postgres_url, covering=BudgetCoverage)
    put(store, "cap", limit="1")
    commit = connections._commit
    cut: list[bool] = []

    def commit_unheard(connection: Connection) -> None:
        cut.append(bool(connection.last) and not any(cut[-1:]))
        if cut[-1]:
            connection.last = [one._replace(receive=None) for one in connection.last]
        commit(connection)
        if cut[-1]:
            connection.close()
            raise psycopg.OperationalError("the connection was cut")

    monkeypatch.setattr(connections, "_commit", commit_unheard)
    assert reserve(store, cents(30)).code == "exists"
    assert account(store, cents(30)).committed == 30 * CENT
    assert store.settle("r1", cents(20)).code == "settled"
    assert store.append([cents(10, "other")])[0].code == "created"
    assert store.append([cents(5, "third")])[0].code == "created"
    found = account(store, cents(1))
    assert (found.committed, found.spent) == (35 * CENT, 35 * CENT)
    # The reservation was asked for twice; the rest had landed and was not done again.
    assert cut == [True, False, True, False, True]
    assert store.audit().findings == ()
    store.close()
