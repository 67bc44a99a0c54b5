"""What reserve and settle cost: one process, four, and beside much that has no part in the call. Prints JSON.

    python bench/budgets.py [budgets, 10000] [users, 1000000]

Each figure is of a ledger file in a temporary folder, under one refusing budget unless it says more. What is
compared takes turns within one process, so that a machine whose speed drifts slows both.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import median, quantiles
from typing import Any, NamedTuple

import outlay
from outlay.budgets.coverage import packed
from outlay.budgets.definition import read_budget
from outlay.budgets.limits import scope_of
from outlay.clock import window_of
from outlay.ledger.budget_store import AccountScope
from outlay.ledger.names import KIND_NUMBERS

CALL: dict[str, Any] = {"provider": "openai", "service": "gpt-4o", "operation": "chat"}
HELD = {"input_tokens": 1_200, "output_tokens": 500}
USED = {"input_tokens": 1_180, "output_tokens": 312}
PAIRS = 4_000
WARM_UP = 300
PROCESSES = 4
SECONDS = 5.0
TURNS = 30
PAIRS_A_TURN = 100
EVENTS = 200_000
FEW_USERS = 100
SEEN_ONCE = (TURNS + 1) * PAIRS_A_TURN
"""So many users are each called once: what a user costs a process that has not met it yet."""


def pair(ledger: outlay.Ledger, **fields: Any) -> None:
    """One call: reserved, then settled."""
    ledger.reserve(**CALL, **fields, usage=HELD).settle(usage=USED)


def cap(ledger: outlay.Ledger) -> None:
    """A budget that covers every call and refuses none, with all that was spent before counted."""
    ledger.budget("cap", limit="1000000", window="day", action="refuse")
    ledger.store.warm()


def one_process(folder: Path, synchronous: str) -> dict[str, float]:
    """What one pair takes with one budget, in microseconds."""
    wall: list[int] = []
    cpu: list[int] = []
    with outlay.open(folder / f"one-{synchronous}.db", synchronous=synchronous) as ledger:
        cap(ledger)
        for number in range(WARM_UP + PAIRS):
            began, began_cpu = time.perf_counter_ns(), time.thread_time_ns()
            pair(ledger)
            if number >= WARM_UP:
                cpu.append(time.thread_time_ns() - began_cpu)
                wall.append(time.perf_counter_ns() - began)
    tenths, hundredths = quantiles(wall, n=10), quantiles(wall, n=100)
    return {
        "wall_p10_us": tenths[0] / 1_000,
        "wall_p50_us": median(wall) / 1_000,
        "wall_p99_us": hundredths[-1] / 1_000,
        "cpu_p50_us": median(cpu) / 1_000,
    }


# --- several processes


def several_processes(folder: Path, synchronous: str) -> dict[str, float]:
    """Pairs a second of several processes on one file, and the longest that any of them took."""
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
    told = [json.loads(process.communicate()[0]) for process in several]
    done = sum(one["pairs"] for one in told)
    return {"pairs_a_second": done / SECONDS, "longest_ms": max(one["longest_ms"] for one in told)}


def worker(path: str, synchronous: str) -> None:
    """Make pairs for SECONDS; how many, and the longest."""
    with outlay.open(path, synchronous=synchronous) as ledger:
        pair(ledger)
        print("ready", flush=True)
        sys.stdin.readline()
        began_s = now_s = time.perf_counter()
        done, longest_s = 0, 0.0
        while now_s - began_s < SECONDS:
            pair(ledger)
            done += 1
            after_s = time.perf_counter()
            longest_s = max(longest_s, after_s - now_s)
            now_s = after_s
    print(json.dumps({"pairs": done, "longest_ms": longest_s * 1_000}), flush=True)


# --- what has no part in the call


def put_budgets(ledger: outlay.Ledger, count: int) -> None:
    """Budgets of customers who make no call here."""
    start = window_of(ledger.clock.now(), "day").start
    for number in range(count):
        fields = {"limit": "1", "window": "day", "action": "refuse", "where": {"customer": f"c{number}"}}
        budget = read_budget(f"b{number}", fields)
        ledger.store.put_budget(budget.name, packed(budget), [AccountScope(scope_of(budget), "day", start)])
    ledger.store.warm()


def put_events(ledger: outlay.Ledger, count: int) -> None:
    """Calls of other users before."""
    events = ({**CALL, "user": f"u{number % 1_000}", "usage": USED} for number in range(count))
    for _ in ledger.record_stream(events):
        pass
    ledger.fold()


def put_users(ledger: outlay.Ledger, count: int) -> None:
    """A budget of each user, and the names and accounts of so many, as the ledger itself would have made them."""
    budget = ledger.budget("users", each="user", limit="1000000", window="day", action="refuse")
    window = window_of(ledger.clock.now(), "day")
    row = (budget.name, scope_of(budget), window.label, "day", window.start, window.end)
    with ledger.store._connections.writing() as connection:  # type: ignore[attr-defined]  # of SQLite's store
        connection.execute(
            "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < ?7 - 1) "
            "INSERT INTO account SELECT ?1, ?2, 'u' || i, ?3, ?4, ?5, ?6, 5, 0, 5, 0, 0 FROM n ORDER BY 'u' || i",
            (*row, count),
        )
        connection.execute(
            "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < ?2 - 1) "
            "INSERT INTO dimension (kind, name) SELECT ?1, 'u' || i FROM n",
            (KIND_NUMBERS["user"], count),
        )


class Beside(NamedTuple):
    """A ledger that holds what `prepare` puts, called for one user after the other of so many (0: for none)."""

    name: str
    against: str
    prepare: Callable[[outlay.Ledger], None]
    users: int = 0


def besides(budgets: int, users: int) -> list[Beside]:
    """What is compared, each with the plain case that it is held against."""

    def many_budgets(ledger: outlay.Ledger) -> None:
        put_budgets(ledger, budgets)
        cap(ledger)

    def many_events(ledger: outlay.Ledger) -> None:
        put_events(ledger, EVENTS)
        cap(ledger)

    few, once = f"a budget each of {FEW_USERS:,} users", f"… of {SEEN_ONCE:,}, each met once by this process"
    return [
        Beside("one budget", "one budget", cap),
        Beside(f"… and {budgets:,} budgets of others", "one budget", many_budgets),
        Beside(f"… and {EVENTS:,} events before", "one budget", many_events),
        Beside(few, few, lambda ledger: put_users(ledger, FEW_USERS), FEW_USERS),
        Beside(once, few, lambda ledger: put_users(ledger, SEEN_ONCE), SEEN_ONCE),
        Beside(f"… of {users:,}, each met once", once, lambda ledger: put_users(ledger, users), users),
    ]


def beside(folder: Path, budgets: int, users: int) -> dict[str, dict[str, Any]]:
    """A pair's median in ledgers that hold much beside it, and its ratio to the same in one that does not."""
    several = besides(budgets, users)
    taken: dict[str, list[int]] = {one.name: [] for one in several}
    with ExitStack() as opened:
        ledgers = []
        for place, one in enumerate(several):
            ledger = opened.enter_context(outlay.open(folder / f"beside-{place}.db"))
            one.prepare(ledger)
            ledgers.append(ledger)
        for turn in range(TURNS + 1):
            for one, ledger in zip(several, ledgers, strict=True):
                for number in range(turn * PAIRS_A_TURN, (turn + 1) * PAIRS_A_TURN):
                    fields = {"user": f"u{number * 7_919 % one.users}"} if one.users else {}
                    began = time.perf_counter_ns()
                    pair(ledger, **fields)
                    if turn:
                        taken[one.name].append(time.perf_counter_ns() - began)
    found = {name: median(spent) / 1_000 for name, spent in taken.items()}
    return {
        one.name: {"p50_us": found[one.name], "ratio": found[one.name] / found[one.against], "against": one.against}
        for one in several
    }


def load_ms(folder: Path, count: int) -> float:
    """How long the first pair of another process takes beside many budgets: it reads and compiles them all."""
    with outlay.open(folder / "load.db") as ledger:
        put_budgets(ledger, count)
        cap(ledger)
    spent = []
    for _ in range(5):
        with outlay.open(folder / "load.db") as ledger:
            ledger.price(**CALL, usage=USED)
            began = time.perf_counter()
            pair(ledger)
            spent.append((time.perf_counter() - began) * 1_000)
    return median(spent)


def measure(budgets: int = 10_000, users: int = 1_000_000) -> dict[str, Any]:
    """All figures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found: dict[str, Any] = {
            synchronous: {**one_process(folder, synchronous), **several_processes(folder, synchronous)}
            for synchronous in ("normal", "full")
        }
        found["beside"] = beside(folder, budgets, users)
        found["load_ms"] = load_ms(folder, budgets)
        return {**found, "turns": TURNS, "pairs_a_turn": PAIRS_A_TURN}


if __name__ == "__main__":
    if sys.argv[1:2] == ["worker"]:
        worker(*sys.argv[2:])
    else:
        print(json.dumps(measure(*map(int, sys.argv[1:])), indent=2))
