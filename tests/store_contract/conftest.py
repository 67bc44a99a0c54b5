"""Every test of this folder runs on each store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from outlay.budgets.coverage import BudgetCoverage
from outlay.ledger.memory import MemoryStore
from outlay.ledger.postgres import PostgresStore
from outlay.ledger.sqlite import SqliteStore
from outlay.ledger.store import LedgerStore

OpenStore = Callable[..., LedgerStore]


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OpenStore]:
    """A function that opens a new, empty store of one kind."""
    opened: list[LedgerStore] = []

    def open_one(currency: str = "USD", zone: str = "UTC") -> LedgerStore:
        store: LedgerStore
        if request.param == "memory":
            store = MemoryStore(currency=currency, zone=zone, covering=BudgetCoverage)
        elif request.param == "postgres":
            url = request.getfixturevalue("new_postgres_ledger")(currency, zone)
            store = PostgresStore(url, currency=currency, zone=zone, covering=BudgetCoverage)
        else:
            path = tmp_path / f"{len(opened)}.db"
            store = SqliteStore(path, currency=currency, zone=zone, covering=BudgetCoverage)
        opened.append(store)
        return store

    yield open_one
    for store in opened:
        store.close()


@pytest.fixture
def store(open_store: OpenStore) -> LedgerStore:
    """An empty store in dollars, its home zone UTC."""
    return open_store()
