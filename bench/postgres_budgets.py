"""Reservations a second on PostgreSQL: one hot budget and a hundred, grouped, alone and from several processes.

The server is one of its own beside the measurement, on the same cores, durable as it is by default. Flushing takes
what the disk takes; 2 ms more are made by commit_delay=2000 and commit_siblings=0: each flush waits that
long before it begins. Reservations are of the store, with the limits that its budgets give; prices are not computed.

python bench/postgres_budgets.py [SECONDS]      prints JSON
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from tests.budget_entries import estimate_of
from tests.ledger_entries import SECOND, make_entry
from tests.postgres_server import DURABLE, PostgresServer, a_server

from outlay.budgets.coverage import BudgetCoverage, packed, told_by
from outlay.budgets.definition import read_budget
from outlay.budgets.limits import BudgetIndex, dimensions_of, scope_of
from outlay.clock import SystemClock, window_of
from outlay.ledger.budget_store import AccountScope, Reserving
from outlay.ledger.postgres import PostgresStore
from outlay.model import Entry

THREADS = 32
SECONDS = 5.0
READY = 60_000
"""How many calls are made ready at most before the clock starts: what is measured is the store."""

DELAYED = {**DURABLE, "commit_delay": "2000", "commit_siblings": "0"}
Call = tuple[Reserving, Entry]


class Bench:
    """A ledger with so many budgets, and calls that each ask one of them."""

    def __init__(self, url: str, budgets: int) -> None:
        self.store = PostgresStore(url, covering=BudgetCoverage, fold_behind=False)
        self.now = SystemClock().now()
        made = []
        for number in range(budgets):
            fields = {"limit": "1000000", "window": "day", "action": "refuse", "where": {"feature": f"f{number}"}}
            budget = read_budget(f"b{number}", fields)
            start = window_of(self.now, "day").start
            self.store.put_budget(budget.name, packed(budget), [AccountScope(scope_of(budget), "day", start)])
            made.append(budget)
        self.store.warm()
        self.budgets = budgets
        self.index = BudgetIndex(made)

    def call(self, number: int) -> Call:
        """One call of a cent, ready to be reserved and settled."""
        feature = f"f{number * 7919 % self.budgets}"
        entry = make_entry(f"c{number}", self.now, time_given=False, usage={"output_tokens": 1_000}, feature=feature)
        limits = self.index.limits(dimensions_of(entry.event), self.now, told_by(entry), self.store.tier)
        estimate = estimate_of(entry)
        reserving = Reserving(
            id=entry.event.id, limits=limits, estimate=estimate, now=self.now, deadline=self.now + 600 * SECOND
        )
        return reserving, entry

    def reserve(self, call: Call) -> None:
        """Reserve only."""
        assert self.store.reserve(call[0]).code == "reserved"

    def pair(self, call: Call) -> None:
        """Reserve, then settle."""
        self.reserve(call)
        assert self.store.settle(call[0].id, call[1]).code == "settled"

    def a_second(self, work: Callable[[Call], None], threads: int, seconds: float) -> float:
        """How often threads do this together in a second."""
        calls = [self.call(number) for number in range(min(READY, int(seconds * 5_000)))]
        work(calls.pop())
        end_s = time.perf_counter() + seconds
        done = [0] * threads

        def run(place: int) -> None:
            for call in calls[place::threads]:
                if time.perf_counter() > end_s:
                    return
                work(call)
                done[place] += 1

        several = [threading.Thread(target=run, args=(place,)) for place in range(threads)]
        began_s = time.perf_counter()
        for one in several:
            one.start()
        for one in several:
            one.join()
        return round(sum(done) / (time.perf_counter() - began_s))

    def p50_us(self, work: Callable[[Call], None], count: int = 300) -> float:
        """The median of one, alone, in microseconds."""
        taken_ns = []
        for number in range(count):
            call = self.call(1_000_000 + number)
            began_ns = time.perf_counter_ns()
            work(call)
            taken_ns.append(time.perf_counter_ns() - began_ns)
        return round(median(taken_ns) / 1_000, 1)


def flush_p50_us(folder: Path | None = None) -> float:
    """What the disk takes to keep 8 kB of a file that is there: the median of fdatasync, in microseconds."""
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(bytes(8_192))
        os.fsync(file.fileno())
        taken_ns = []
        for _ in range(200):
            os.pwrite(file.fileno(), os.urandom(8_192), 0)
            began_ns = time.perf_counter_ns()
            os.fdatasync(file.fileno())
            taken_ns.append(time.perf_counter_ns() - began_ns)
    return round(median(taken_ns) / 1_000, 1)


def figures(server: PostgresServer, seconds: float) -> dict[str, float]:
    """The figures of one server."""
    found: dict[str, float] = {}
    for name, budgets in (("hot", 1), ("100_budgets", 100)):
        with server.database() as url:
            bench = Bench(url, budgets)
            found[f"reserve_alone_p50_us_{name}"] = bench.p50_us(bench.reserve)
            found[f"reserve_a_second_{THREADS}_threads_{name}"] = bench.a_second(bench.reserve, THREADS, seconds)
            bench.store.close()
        with server.database() as url:
            bench = Bench(url, budgets)
            found[f"pairs_a_second_{THREADS}_threads_{name}"] = bench.a_second(bench.pair, THREADS, seconds)
            bench.store.close()
    return found


def measure(seconds: float = SECONDS) -> dict[str, dict[str, float]]:
    """All figures: at the disk's own flush, and at 2 ms more."""
    with a_server(**DURABLE) as server:
        own = {"flush_p50_us": flush_p50_us(), **figures(server, seconds)}
    with a_server(**DELAYED) as server:
        return {"own_flush": own, "flush_2_ms": figures(server, seconds)}


if __name__ == "__main__":
    print(json.dumps(measure(*map(float, sys.argv[1:])), indent=2))
