"""A signal's handler may raise between any two steps of a write, as a time limit does: nothing stays locked."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

INTERRUPTED = """
import sys, threading
import outlay

class TimeLimit(BaseException):
    pass

steps = 0
stop_at = 0

def trace(frame, event, argument):
    global steps
    if not frame.f_code.co_filename.endswith("sqlite/connections.py"):
        return None
    if frame.f_code.co_name not in ("__enter__", "__exit__", "_leave"):
        return None
    steps += 1
    if steps == stop_at:
        raise TimeLimit
    return trace

def record(name):
    return ledger.record(provider="openai", service="gpt-4o", usage={"input_tokens": 1000}, user="ann", id=name)

ledger = outlay.open(sys.argv[1], clock=outlay.FrozenClock("2026-03-10T12:00:00Z"))
ledger.budget("all", limits={"month": "100"})
record("first")
raised = 0
while True:
    stop_at, steps = stop_at + 1, 0
    sys.settrace(trace)
    try:
        record(f"e{stop_at}")
        whole = True
    except TimeLimit:
        raised += 1
        whole = False
    sys.settrace(None)
    assert record(f"e{stop_at}").outcome in ("created", "exists")
    other = threading.Thread(target=record, args=(f"other {stop_at}",), daemon=True)
    other.start()
    other.join(60)
    assert not other.is_alive(), f"stopped at step {stop_at}, another thread waits for ever"
    if whole:
        break
assert ledger.audit().findings == ()
assert len(list(ledger.events())) == 1 + 2 * stop_at
assert ledger.budgets("all")[0].spent == (1 + 2 * stop_at) * 2_500_000_000
ledger.close()
print(raised)
"""


def test_an_exception_between_any_two_steps_of_a_write_leaves_no_lock_and_no_half(tmp_path: Path) -> None:
    command = [sys.executable, "-c", INTERRUPTED, str(tmp_path / "ledger.db")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 20  # Steps of one write: entering, leaving, and leaving no transaction behind.
