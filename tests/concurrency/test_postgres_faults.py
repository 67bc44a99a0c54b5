"""PostgreSQL restarted, connections cut, clients killed: what was acknowledged is there once, and no cap is broken.

A herd of processes records and reserves; a seed decides which fault comes next. The normal run is short, the soak is
long.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from tests.dropping_proxy import DroppingProxy, dropping_proxy
from tests.postgres_server import PostgresServer
from tests.transaction_pooler import transaction_pooler

import outlay
from outlay.ledger.store import EntryFilter
from outlay.model import EntryKind

PROGRAM = Path(__file__).parent / "postgres_programs.py"
PROCESSES = 16
HOT_LIMIT = 2
OPERATIONS = int(os.environ.get("OUTLAY_OPERATIONS", "1000000"))
RECOVERY_S = 10
"""Within this many seconds after a fault, its making included, calls are acknowledged again: a promise of its own."""

SOAK_S = float(os.environ.get("OUTLAY_FAULT_SECONDS", "600"))


class Herd:
    """The processes, and what they have noted."""

    def __init__(self, url: str, folder: Path, seed: int, count: int) -> None:
        self.folder = folder
        environment = {**os.environ, "PYTHONPATH": str(PROGRAM.parent.parent.parent)}
        self.process = subprocess.Popen(
            [sys.executable, str(PROGRAM), url, str(folder), str(seed), str(count)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def kill(self, count: int) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"kill {count}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "killed\n"

    def end(self) -> None:
        out, _ = self.process.communicate(timeout=120)
        assert (self.process.returncode, out.strip()) == (0, "0"), out

    def size(self) -> int:
        return sum(path.stat().st_size for path in self.folder.glob("*.notes"))

    def notes(self) -> list[tuple[str, str]]:
        lines = [line.split() for path in self.folder.glob("*.notes") for line in path.read_text().splitlines()]
        return [(what, id) for what, id in lines]

    def acknowledge(self, count: int, seconds: float) -> float:
        """Wait until this many more bytes are noted; how many seconds that took."""
        began_s, before = time.monotonic(), self.size()
        while self.size() < before + count:
            assert time.monotonic() - began_s < seconds, "nothing is acknowledged any more"
            time.sleep(0.02)
        return time.monotonic() - began_s


@contextmanager
def a_herd(url: str, folder: Path, seed: int, count: int = PROCESSES) -> Iterator[Herd]:
    herd = Herd(url, folder, seed, count)
    try:
        yield herd
    finally:
        herd.process.kill()
        herd.process.wait()


def set_budgets(url: str) -> None:
    with outlay.open(url) as ledger:
        ledger.budget("hot", limit=str(HOT_LIMIT), window="month", action="refuse", where={"feature": "hot"})
        ledger.budget("users", each="user", limit="1000", window="day", action="refuse")
        ledger.budget("all", limit="100000", window="month", marks=("50%", "100%"))


def check(url: str, herd: Herd, server: PostgresServer) -> Counter[str]:
    """Nothing acknowledged is lost, nothing is there twice, no cap is broken; what was noted, counted."""
    notes = herd.notes()
    with outlay.open(url) as ledger:
        ledger.fold()
        entries = list(ledger.store.entries(EntryFilter(live_only=False)))
        booked = Counter(entry.event.id for entry in entries if entry.kind is EntryKind.CHARGE)
        assert set(booked.values()) == {1}
        acknowledged = {id for what, id in notes if what in ("recorded", "settled")}
        assert acknowledged <= booked.keys()
        released = {id for what, id in notes if what == "released"}
        assert not released & booked.keys()
        assert ledger.audit().findings == ()
        (hot,) = ledger.budgets("hot")
        assert hot.spent + hot.reserved <= HOT_LIMIT * 10**12
        total = sum(entry.sign * entry.rating.amount for entry in entries)
        assert total == len(booked) * 10**10
    assert "deadlock detected" not in (server.folder / "log").read_text(errors="replace")
    return Counter(what for what, _ in notes)


def faults(server: PostgresServer, proxy: DroppingProxy, herd: Herd, dice: random.Random, seconds: float) -> float:
    """One fault after the other until the time is over; how many seconds the longest recovery took."""
    done: Counter[str] = Counter()
    longest_s = 0.0
    herd.acknowledge(1, 60)
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s:
        herd.acknowledge(1_000, 60)
        fault = dice.choice(("restart", "cut", "cut", "kill", "kill"))
        done[fault] += 1
        began_s = time.monotonic()
        if fault == "restart":
            server.restart("immediate")
        elif fault == "cut":
            proxy.cut()
        else:
            herd.kill(dice.randint(1, 4))
        herd.acknowledge(100, 60)
        longest_s = max(longest_s, time.monotonic() - began_s)
    print(f"{dict(done)}, the longest until a call was acknowledged again: {longest_s:.2f} s")
    return longest_s


def a_run(server: PostgresServer, folder: Path, seconds: float) -> float:
    """A herd under faults, and all it was told checked; how many seconds the longest recovery took."""
    seed = int.from_bytes(os.urandom(4), "big")
    print(f"seed {seed}")
    with server.database() as direct, dropping_proxy(server.port) as proxy:
        url = direct.replace(f":{server.port}/", f":{proxy.port}/")
        set_budgets(url)
        with a_herd(url, folder, seed) as herd:
            longest_s = faults(server, proxy, herd, random.Random(seed), seconds)
            herd.end()
        print(dict(check(direct, herd, server)))
    return longest_s


@pytest.mark.timeout(240)
def test_what_was_acknowledged_is_there_once_after_restarts_cuts_and_kills_time_boxed(
    durable_postgres: PostgresServer, tmp_path: Path
) -> None:
    a_run(durable_postgres, tmp_path, seconds=6)


@pytest.mark.soak
@pytest.mark.timeout(3_600)
def test_what_was_acknowledged_is_there_once_after_many_restarts_cuts_and_kills(
    durable_postgres: PostgresServer, tmp_path: Path
) -> None:
    assert a_run(durable_postgres, tmp_path, seconds=SOAK_S) < RECOVERY_S


@pytest.mark.soak
@pytest.mark.timeout(7_200)
def test_a_million_mixed_operations_know_no_deadlock(durable_postgres: PostgresServer, tmp_path: Path) -> None:
    seed = int.from_bytes(os.urandom(4), "big")
    print(f"seed {seed}")
    with durable_postgres.database() as url:
        set_budgets(url)
        with a_herd(url, tmp_path, seed) as herd:
            while sum(1 for _ in herd.notes()) < OPERATIONS:
                herd.acknowledge(100_000, 600)
            herd.end()
        with psycopg.connect(url) as connection:
            found = connection.execute(
                "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
            ).fetchone()
        assert found == (0,)
        print(dict(check(url, herd, durable_postgres)))


def test_behind_a_pooler_each_transaction_may_run_on_another_connection(
    durable_postgres: PostgresServer, tmp_path: Path
) -> None:
    with durable_postgres.database() as direct, transaction_pooler(durable_postgres.port) as pooler:
        url = direct.replace(f":{durable_postgres.port}/", f":{pooler.port}/")
        set_budgets(url)
        with a_herd(url, tmp_path, 1, count=3) as herd:
            herd.acknowledge(5_000, 60)
            herd.end()
        assert pooler.moved > 50
        assert len(pooler.used) > 1
        check(url, herd, durable_postgres)


def test_a_ledger_is_opened_while_its_server_restarts(durable_postgres: PostgresServer) -> None:
    with durable_postgres.database() as url:
        outlay.open(url).close()
        durable_postgres.stop("immediate")
        with ThreadPoolExecutor(1) as pool:
            opening = pool.submit(outlay.open, url)
            time.sleep(0.5)
            assert not opening.done()
            durable_postgres.start()
            with opening.result() as ledger:
                assert ledger.audit().ok
