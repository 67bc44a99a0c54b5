"""How long reserve and settle take, together: one process, four, many budgets, many users. Prints JSON.

Each figure is of a ledger file of its own in a temporary folder, under one refusing budget unless it says more.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import outlay
from outlay.budgets.coverage import packed
from outlay.budgets.definition import read_budget
from outlay.budgets.limits import scope_of
from outlay.clock import window_of
from outlay.ledger.budget_store import AccountScope

CALL: dict[str, Any] = {"provider": "openai", "service": "gpt-4o", "operation": "chat"}
HELD = {"input_tokens": 1_200, "output_tokens": 500}
USED = {"input_tokens": 1_180, "output_tokens": 312}
PAIRS = 2_000
PROCESSES = 4
SECONDS = 5.0


def pair(ledger: outlay.Ledger, **fields: Any) -> None:
    """One call: reserved, then settled."""
    ledger.reserve(**CALL, **fields, usage=HELD).settle(usage=USED)


def pair_p50_us(ledger: outlay.Ledger, pairs: int = PAIRS, users: int = 0) -> float:
    """The median of one pair in microseconds, after a warm-up."""
    taken_ns = []
    for number in range(pairs + 200):
        fields = {"user": f"u{number * 7919 % users}"} if users else {}
        began_ns = time.perf_counter_ns()
        pair(ledger, **fields)
        taken_ns.append(time.perf_counter_ns() - began_ns)
    return round(median(taken_ns[200:]) / 1_000, 1)


def cap(ledger: outlay.Ledger) -> None:
    """A budget that covers every call and refuses none."""
    ledger.budget("cap", limit="1000000", window="day", action="refuse")


def one_process(folder: Path, synchronous: str) -> float:
    """The median with one budget."""
    with outlay.open(folder / f"{synchronous}.db", synchronous=synchronous) as ledger:
        cap(ledger)
        return pair_p50_us(ledger)


def many_budgets(folder: Path, count: int) -> float:
    """The median beside budgets that do not cover the call."""
    with outlay.open(folder / "budgets.db") as ledger:
        for number in range(count):
            fields = {"limit": "1", "window": "day", "action": "refuse", "where": {"customer": f"c{number}"}}
            budget = read_budget(f"b{number}", fields)
            start = window_of(ledger.clock.now(), "day").start
            ledger.store.put_budget(budget.name, packed(budget), [AccountScope(scope_of(budget), "day", start)])
        cap(ledger)
        return pair_p50_us(ledger)


def many_users(folder: Path, count: int) -> float:
    """The median with an account for each user, that many of them in the ledger."""
    with outlay.open(folder / "users.db") as ledger:
        ledger.budget("users", each="user", limit="1000000", window="day", action="refuse")
        events = ({**CALL, "user": f"u{number}", "usage": USED} for number in range(count))
        for _ in ledger.record_stream(events):
            pass
        return pair_p50_us(ledger, users=count)


def pairs_a_second(folder: Path, synchronous: str) -> float:
    """Pairs a second of several processes on one file."""
    path = folder / f"many-{synchronous}.db"
    with outlay.open(path, synchronous=synchronous) as ledger:
        cap(ledger)
    command = [sys.executable, __file__, "worker", str(path), synchronous]
    several = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True) for _ in range(PROCESSES)
    ]
    for process in several:
        assert process.stdout is not None
        process.stdout.readline()
    for process in several:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    done = [int(process.communicate()[0]) for process in several]
    return round(sum(done) / SECONDS)


def worker(path: str, synchronous: str) -> None:
    """Make pairs for SECONDS; how many."""
    with outlay.open(path, synchronous=synchronous) as ledger:
        pair(ledger)
        print("ready", flush=True)
        sys.stdin.readline()
        end_s = time.perf_counter() + SECONDS
        done = 0
        while time.perf_counter() < end_s:
            pair(ledger)
            done += 1
    print(done, flush=True)


def measure(budgets: int = 10_000, users: int = 1_000_000) -> dict[str, float]:
    """All figures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        return {
            "pair_p50_us_normal": one_process(folder, "normal"),
            "pair_p50_us_full": one_process(folder, "full"),
            "pairs_a_second_4_processes_normal": pairs_a_second(folder, "normal"),
            "pairs_a_second_4_processes_full": pairs_a_second(folder, "full"),
            "budgets": budgets,
            "pair_p50_us_many_budgets": many_budgets(folder, budgets),
            "users": users,
            "pair_p50_us_many_users": many_users(folder, users),
        }


if __name__ == "__main__":
    if sys.argv[1:2] == ["worker"]:
        worker(*sys.argv[2:])
    else:
        print(json.dumps(measure(*map(int, sys.argv[1:])), indent=2))
