"""A worker process of the budget tests: it takes rounds from its standard input and says what became of its calls.

python budget_programs.py LEDGER          each line in is a JSON object of `run`'s arguments, each line out its result
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import outlay

CALL: dict[str, Any] = {"provider": "openai", "service": "gpt-4o", "operation": "chat"}
BODY = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}]}
CENT = {"output_tokens": 1_000}
"""A cent of gpt-4o: 1,000 × $10 a million."""


STORE_CALLS = ("reserve", "settle", "accounts", "note_refusals", "stop_waiting")


class Shifted:
    """The machine's clock, or on a thread that says so an instant of its own: hosts differ by a little."""

    def __init__(self) -> None:
        self.of_thread = threading.local()

    def now(self) -> int:
        at: int | None = getattr(self.of_thread, "at", None)
        return outlay.SystemClock().now() if at is None else at


class Watched:
    """A ledger whose store is timed: how long the longest of its calls took, the wait for the lock included."""

    def __init__(self, path: Path | str) -> None:
        self.clock = Shifted()
        self.ledger = outlay.open(path, clock=self.clock)
        self.longest_s = 0.0
        self.held: list[Any] = []
        for name in STORE_CALLS:
            setattr(self.ledger.store, name, self._timed(getattr(self.ledger.store, name)))

    def _timed(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any, **named: Any) -> Any:
            began_s = time.perf_counter()
            try:
                return call(*arguments, **named)
            finally:
                self.longest_s = max(self.longest_s, time.perf_counter() - began_s)

        return timed

    def do(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Do what one line asks; what became of it, and the longest call of the store meanwhile."""
        self.longest_s = 0.0
        if "notes" in asked:
            answer = hold_and_settle(self.ledger, **asked)
        elif "hold" in asked:
            answer = self.hold(asked["feature"], asked["hold"])
        elif "settle_held" in asked:
            answer = self.settle_held(asked["settle_held"])
        else:
            answer = run(self.ledger, **asked, clock=self.clock)
        return {**answer, "longest_s": self.longest_s}

    def hold(self, feature: str, calls: int) -> dict[str, Any]:
        """Reserve, and settle nothing yet."""
        for _ in range(calls):
            try:
                self.held.append(self.ledger.reserve(**CALL, feature=feature, usage=CENT))
            except outlay.BudgetExceeded:
                break
        return {"granted": len(self.held), "refusals": {}}

    def settle_held(self, tokens: int) -> dict[str, Any]:
        """Settle all that is held at so many tokens."""
        for reservation in self.held:
            reservation.settle(usage={"output_tokens": tokens})
        settled = len(self.held)
        self.held.clear()
        return {"granted": settled, "refusals": {}}


def exact(ledger: outlay.Ledger, wait_s: float, **fields: Any) -> None:
    """A call of exactly a cent."""
    ledger.reserve(**CALL, **fields, usage=CENT, wait_s=wait_s).settle(usage=CENT)


def above(ledger: outlay.Ledger, wait_s: float, **fields: Any) -> None:
    """A call bounded at a cent that the provider bills at a cent and a half."""
    ledger.reserve(**CALL, **fields, usage=CENT, wait_s=wait_s).settle(usage={"output_tokens": 1_500})


def unlimited(ledger: outlay.Ledger, wait_s: float, **fields: Any) -> None:
    """A request without a maximum that comes to a cent, unless it is allotted less."""
    with ledger.reserve(provider="openai", operation="chat", body=BODY, wait_s=wait_s, **fields) as reservation:
        time.sleep(0.002)
        # 100 × $2.50 + 975 × $10 a million.
        tokens = min(975, reservation.output_tokens_max or 0)
        reservation.settle(usage={"input_tokens": 100, "output_tokens": tokens})


KINDS = {"exact": exact, "above": above, "unlimited": unlimited}


def run(
    ledger: outlay.Ledger,
    feature: str,
    kind: str,
    calls: int,
    threads: int = 1,
    wait_s: float = 0,
    users: int = 0,
    edge: int | None = None,
    clock: Shifted | None = None,
) -> dict[str, Any]:
    """Make `calls` calls of a feature; how many were granted and refused.

    With `edge` every second call is made a second before that instant, by `clock`, and the others at it.
    """
    refusals: dict[str, int] = {}

    def one(number: int) -> bool:
        who = {"user": f"{feature}-u{number % users}"} if users else {}
        if edge is not None and clock is not None:
            clock.of_thread.at = edge - 1_000_000 * (number % 2)
        try:
            KINDS[kind](ledger, wait_s, feature=feature, **who)
        except outlay.BudgetExceeded as error:
            refusals[error.code] = refusals.get(error.code, 0) + 1
            return False
        finally:
            if clock is not None:
                clock.of_thread.at = None
        return True

    with ThreadPoolExecutor(threads) as pool:
        granted = sum(pool.map(one, range(calls)))
    return {"granted": granted, "refusals": refusals}


def hold_and_settle(ledger: outlay.Ledger, feature: str, notes: str) -> dict[str, Any]:
    """Calls until the budget is spent, each noted once it was granted and once it was settled; to be killed."""
    out = os.open(notes, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    while True:
        try:
            reservation = ledger.reserve(**CALL, feature=feature, usage=CENT)
        except outlay.BudgetExceeded as error:
            if error.code == "budget_spent":
                return {}
            time.sleep(0.002)
            continue
        os.write(out, f"granted {reservation.id}\n".encode())
        time.sleep(0.01)
        reservation.settle(usage=CENT)
        os.write(out, f"settled {reservation.id}\n".encode())


def main(path: str) -> None:
    """Serve until the input ends."""
    watched = Watched(path)
    with watched.ledger:
        print("{}", flush=True)
        for line in sys.stdin:
            print(json.dumps(watched.do(json.loads(line))), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
