"""A cap holds on PostgreSQL as it does in a file: in threads, in processes, and after kill -9."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest
from tests.concurrency.budget_programs import Watched, run
from tests.concurrency.test_budget_caps import (
    CALLS,
    KILL_ROUNDS,
    LIMIT,
    ROUNDS,
    Rounds,
    States,
    cap,
    kill_round,
    spent,
    states_in,
    workers,
)

import outlay


def seeded() -> random.Random:
    seed = int.from_bytes(os.urandom(4), "big")
    print(f"seed {seed}")
    return random.Random(seed)


def states_of(url: str) -> States:
    """What the reservations of a ledger on PostgreSQL say."""

    def states(feature: str) -> dict[str, int]:
        with psycopg.connect(url) as connection:
            return states_in(connection.execute("SELECT state, shares FROM outlay.reservation").fetchall(), feature)

    return states


def test_sixty_four_threads_get_exactly_ten(new_postgres_ledger: Callable[[], str]) -> None:
    with outlay.open(new_postgres_ledger()) as ledger:
        cap(ledger, "threads")
        assert run(ledger, "threads", "exact", CALLS, threads=CALLS)["granted"] == 10
        assert spent(ledger, "threads") == (LIMIT, 0)
        cap(ledger, "waiting")
        assert run(ledger, "waiting", "unlimited", CALLS, threads=16, wait_s=10)["granted"] == 10
        assert Decimal("0.0999") <= spent(ledger, "waiting")[0] <= LIMIT
        assert ledger.audit().ok


def rounds_of(url: str, rounds: int, seconds: float) -> Rounds:
    watched = Watched(url)
    with watched.ledger, workers(url, 8) as several:
        all_rounds = Rounds(watched, several, seeded())
        end_s = time.monotonic() + seconds
        for number in range(rounds):
            if number > 1 and time.monotonic() > end_s:
                break
            all_rounds.run(number)
        assert watched.ledger.audit().ok
    print(all_rounds.told())
    return all_rounds


def test_threads_and_four_and_eight_processes_get_exactly_ten_time_boxed(
    new_postgres_ledger: Callable[[], str],
) -> None:
    assert sum(rounds_of(new_postgres_ledger(), 1_000, seconds=3).kinds.values()) > 1


@pytest.mark.soak
@pytest.mark.timeout(7_200)
def test_a_thousand_rounds_get_exactly_ten(new_postgres_ledger: Callable[[], str]) -> None:
    assert sum(rounds_of(new_postgres_ledger(), ROUNDS, seconds=7_000).kinds.values()) == ROUNDS


def test_kill_9_leaves_exactly_ten_granted_each_settled_or_expired(
    tmp_path: Path, new_postgres_ledger: Callable[[], str]
) -> None:
    url = new_postgres_ledger()
    with workers(url, 4) as several:
        assert kill_round(url, tmp_path / "kill-0.notes", several, seeded(), states_of(url)) > 0
    with outlay.open(url) as ledger:
        assert ledger.audit().ok


@pytest.mark.soak
@pytest.mark.timeout(3_600)
def test_fifty_rounds_with_kills_leave_exactly_ten_granted(
    tmp_path: Path, new_postgres_ledger: Callable[[], str]
) -> None:
    url, dice = new_postgres_ledger(), seeded()
    with workers(url, 4) as several:
        for number in range(KILL_ROUNDS):
            kill_round(url, tmp_path / f"kill-{number}.notes", several, dice, states_of(url))
    with outlay.open(url) as ledger:
        assert ledger.audit().ok
