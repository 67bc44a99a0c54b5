"""A worker process of the budget tests: it takes rounds from its standard input and says what became of its calls.

python budget_programs.py LEDGER          each line in is a JSON object of `run`'s arguments, each line out its result
"""

from __future__ import annotations

import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import outlay

CALL: dict[str, Any] = {"provider": "openai", "service": "gpt-4o", "operation": "chat"}
BODY = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}]}
CENT = {"output_tokens": 1_000}
"""A cent of gpt-4o: 1,000 × $10 a million."""


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
    ledger: outlay.Ledger, feature: str, kind: str, calls: int, threads: int = 1, wait_s: float = 0, users: int = 0
) -> dict[str, Any]:
    """Make `calls` calls of a feature; how many were granted and refused, and how long the longest took."""
    refusals: dict[str, int] = {}
    longest_s = [0.0]

    def one(number: int) -> bool:
        began_s = time.perf_counter()
        who = {"user": f"{feature}-u{number % users}"} if users else {}
        try:
            KINDS[kind](ledger, wait_s, feature=feature, **who)
        except outlay.BudgetExceeded as error:
            refusals[error.code] = refusals.get(error.code, 0) + 1
            return False
        finally:
            longest_s[0] = max(longest_s[0], time.perf_counter() - began_s)
        return True

    with ThreadPoolExecutor(threads) as pool:
        granted = sum(pool.map(one, range(calls)))
    return {"granted": granted, "refusals": refusals, "longest_s": longest_s[0]}


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
    with outlay.open(path) as ledger:
        print("{}", flush=True)
        for line in sys.stdin:
            asked = json.loads(line)
            answer = hold_and_settle(ledger, **asked) if "notes" in asked else run(ledger, **asked)
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
