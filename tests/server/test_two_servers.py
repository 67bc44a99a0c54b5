"""Two servers on one PostgreSQL are one service: one is killed, the other is cut off, and clients of both go on."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from tests.dropping_proxy import dropping_proxy
from tests.postgres_server import PostgresServer
from tests.server_process import ServerProcess

import outlay
from outlay.model import EntryKind

CENT: dict[str, Any] = {"provider": "openai", "service": "gpt-4o", "usage": {"output_tokens": 1_000}}
"""1,000 output tokens × $10.00 a million = $0.01."""

WORKERS = 4
SECONDS = 8.0


class Client(threading.Thread):
    """A program with a ledger behind one of the servers: it records, and calls what a budget caps."""

    def __init__(self, number: int, address: str, ends_s: float) -> None:
        super().__init__(name=f"client-{number}")
        self.number = number
        self.ends_s = ends_s
        self.ledger = outlay.open(address)
        self.recorded: set[str] = set()
        self.called: set[str] = set()
        self.outcomes: Counter[str] = Counter()
        self.failure: BaseException | None = None

    def run(self) -> None:
        turn = 0
        try:
            while time.monotonic() < self.ends_s:
                self._turn(f"{self.number}-{turn}")
                turn += 1
        except BaseException as error:
            self.failure = error
            raise

    def _turn(self, name: str) -> None:
        receipt = self.ledger.record(**CENT, id=f"e{name}", user=f"u{self.number}")
        self.recorded.add(receipt.id)
        self.outcomes[receipt.outcome] += 1
        try:
            with self.ledger.reserve(**CENT, project="capped", id=f"r{name}") as held:
                self.called.add(held.id)
                self.outcomes[held.settle(usage={"output_tokens": 1_000}).outcome] += 1
        except outlay.BudgetExceeded as refused:
            self.outcomes[refused.code] += 1
        except outlay.LedgerError as away:
            # The budget fails closed, so the call was not made. Whether it is held nobody knows.
            self.outcomes[away.code] += 1


@pytest.mark.timeout(180)
def test_one_killed_and_the_other_cut_off_lose_nothing_and_break_no_cap(
    durable_postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OUTLAY_SPOOL", str(tmp_path / "waiting"))
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    dice = random.Random(seed)
    with durable_postgres.database() as direct, dropping_proxy(durable_postgres.port) as proxy:
        cut_off = direct.replace(f":{durable_postgres.port}/", f":{proxy.port}/")
        with outlay.open(direct) as ledger:
            ledger.budget("cap", limit="1.50", window="year", where={"project": "capped"}, action="refuse")
        first, second = ServerProcess(direct, tmp_path), ServerProcess(cut_off, tmp_path)
        with first, second:
            ends_s = time.monotonic() + SECONDS
            clients = [Client(number, (first, second)[number % 2].url, ends_s) for number in range(WORKERS)]
            for client in clients:
                client.start()
            time.sleep(SECONDS / 5)
            first.kill()
            for _ in range(6):
                time.sleep(dice.uniform(0.1, SECONDS / 12))
                proxy.cut()
            first.start()
            for client in clients:
                client.join(60)
                assert client.failure is None
                client.ledger.close()  # Sends what waits: both servers are back.
        check(direct, clients)


def check(address: str, clients: list[Client]) -> None:
    """What the clients did against what is in the ledger."""
    recorded = set().union(*(client.recorded for client in clients))
    called = set().union(*(client.called for client in clients))
    outcomes = sum((client.outcomes for client in clients), Counter[str]())
    print(len(recorded), len(called), dict(outcomes))
    assert outcomes["created"] > 0
    assert outcomes["settled"] > 0
    with outlay.open(address) as ledger:
        kept = Counter(receipt.id for receipt in ledger.events())
        assert not [id for id, times in kept.items() if times > 1]
        assert recorded <= kept.keys()
        assert called <= kept.keys()
        (status,) = ledger.budgets("cap")
        assert status.spent + status.reserved <= status.limit
        assert ledger.costs(where={"project": "capped"}).total.pico == status.spent
        # Scheduled work is done once: nothing is folded twice, and what is overdue is booked once.
        ledger.fold()
        assert ledger.audit().ok
        charges = [
            entry for receipt in ledger.events() for entry in receipt.versions if entry.kind is EntryKind.CHARGE
        ]
        assert len(charges) == len(kept)


def test_overdue_reservations_are_booked_once_by_whichever_server_leads(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OUTLAY_SPOOL", str(tmp_path / "waiting"))
    with outlay.open(postgres_url) as ledger:
        ledger.budget("cap", limit="5", window="year", action="refuse")
    first, second = ServerProcess(postgres_url, tmp_path), ServerProcess(postgres_url, tmp_path)
    with first, second:
        with outlay.open(first.url) as one, outlay.open(second.url) as other:
            for number in range(10):
                (one, other)[number % 2].reserve(**CENT, deadline_s=1.0, id=f"late-{number}")
            ends_s = time.monotonic() + 60
            while (booked := other.costs().events) < 10 and time.monotonic() < ends_s:
                time.sleep(0.2)
            assert booked == 10, _standing(postgres_url, first, second)
            time.sleep(2)  # Two rounds more of both servers' upkeep.
            assert one.costs().events == 10
            assert one.costs().total.pico == 10 * 10**10
            (status,) = other.budgets("cap")
            assert (status.spent, status.reserved) == (10 * 10**10, 0)
            assert one.audit().ok
        # The lease: exactly one leads.
        leading = [_leads(server.url) for server in (first, second)]
        assert sorted(leading) == [0, 1]


def _standing(url: str, *servers: ServerProcess) -> str:
    """What the database and the servers are at, for whoever reads that it failed."""
    with psycopg.connect(url) as connection:
        asked = (
            "SELECT name, holder, until_at FROM outlay.lease",
            "SELECT id, state, deadline FROM outlay.reservation",
            "SELECT pid, state, wait_event_type, wait_event, now() - xact_start, query FROM pg_stat_activity",
            "SELECT locktype, pid, mode, granted FROM pg_locks WHERE NOT granted",
        )
        found = [str(row) for statement in asked for row in connection.execute(statement.encode()).fetchall()]
    return "\n".join([f"at {time.time()}", *found, *(server.abort() for server in servers)])


def _leads(address: str) -> int:
    text = httpx.get(f"{address}/metrics", timeout=10).text
    (line,) = [line for line in text.splitlines() if line.startswith("outlay_leading ")]
    return int(float(line.split()[1]))
