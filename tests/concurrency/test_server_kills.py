"""kill -9 of a server under 32 clients that try again: all that was acknowledged is there, once."""

from __future__ import annotations

import os
import random
import threading
import time
from pathlib import Path

import pytest
from tests.concurrency.server_clients import COST, RetryingClient
from tests.server_process import ServerProcess

import outlay

CLIENTS = 32
KILLS = int(os.environ.get("OUTLAY_KILLS", "200"))


def kill_under_load(folder: Path, kills: int, seconds: float, seed: int) -> tuple[int, list[RetryingClient]]:
    """Kill and start a server again and again under retrying clients; how often, and the clients."""
    dice = random.Random(seed)
    path = folder / "outlay.db"
    with outlay.open(path) as ledger:
        ledger.budget("all", limit="1000000", window="month", action="refuse")
    server = ServerProcess(path, folder)
    server.start()
    stop = threading.Event()
    clients = [RetryingClient(server.port, number, seed, stop) for number in range(CLIENTS)]
    for client in clients:
        client.start()
    killed = 0
    end = time.monotonic() + seconds
    try:
        while killed < kills and time.monotonic() < end:
            time.sleep(dice.uniform(0.3, 1.5))
            server.kill()
            killed += 1
            server.start()
    finally:
        stop.set()
        for client in clients:
            client.join(timeout=60)
        assert server.stop() == 0
    return killed, clients


def check(folder: Path, clients: list[RetryingClient]) -> int:
    """Each acknowledged id is in the ledger once at its price, nothing stays held, the audit is clean."""
    assert [client.refused for client in clients if client.refused] == []
    assert not any(client.is_alive() for client in clients)
    acknowledged = set().union(*(client.acknowledged | client.settled for client in clients))
    released = set().union(*(client.released for client in clients))
    with outlay.open(folder / "outlay.db") as ledger:
        present = [receipt.id for receipt in ledger.events()]
        report = ledger.audit()
        total = ledger.costs().total
        (status,) = ledger.budgets("all")
    assert acknowledged
    assert acknowledged - set(present) == set()
    assert len(present) == len(set(present))
    assert released.isdisjoint(present)
    assert report.findings == ()
    assert total == outlay.Money.of(COST) * len(present)
    # What was spent is what was booked, and every reservation was settled or released.
    assert (status.spent, status.reserved) == (total.pico, 0)
    return len(present)


def test_kill_9_of_the_server_loses_nothing_acknowledged_and_doubles_nothing(tmp_path: Path) -> None:
    seed = int.from_bytes(os.urandom(4), "big")
    print(f"seed {seed}")
    killed, clients = kill_under_load(tmp_path, 1_000, 8.0, seed)
    print(f"{killed} kills, {sum(client.retries for client in clients)} retries, {check(tmp_path, clients)} events")
    assert killed


@pytest.mark.soak
@pytest.mark.timeout(1_800)
def test_two_hundred_kills_of_the_server_lose_nothing_acknowledged(tmp_path: Path) -> None:
    seed = int.from_bytes(os.urandom(4), "big")
    print(f"seed {seed}")
    killed, clients = kill_under_load(tmp_path, KILLS, 1_500.0, seed)
    print(f"{killed} kills, {sum(client.retries for client in clients)} retries, {check(tmp_path, clients)} events")
    assert killed == KILLS


def test_a_server_told_to_stop_answers_and_writes_all_that_it_took(tmp_path: Path) -> None:
    with outlay.open(tmp_path / "outlay.db") as ledger:
        ledger.budget("all", limit="1000000", window="month", action="refuse")
    server = ServerProcess(tmp_path / "outlay.db", tmp_path).start()
    stop = threading.Event()
    clients = [RetryingClient(server.port, number, 1, stop) for number in range(8)]
    for client in clients:
        client.start()
    time.sleep(1.0)
    assert server.stop() == 0
    server.start()
    stop.set()
    for client in clients:
        client.join(timeout=30)
    assert server.stop() == 0
    check(tmp_path, clients)
