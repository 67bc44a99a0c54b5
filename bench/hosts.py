"""The sections of docs/benchmarks.md that need a server: `outlay serve` over HTTP, and the ledger on PostgreSQL."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent


def _figures(script: str, *arguments: str) -> dict[str, Any]:
    """What a bench prints. The tests' PostgreSQL is a module of the tests, so the root is on the path."""
    command = [sys.executable, str(ROOT / "bench" / script), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    printed = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment, cwd=ROOT).stdout
    found: dict[str, Any] = json.loads(printed)
    return found


def served() -> str:
    """One server on one core, its load on the other: every answer after COMMIT with FULL."""
    found = _figures("server.py", "--streams", "1000")
    empty, single, batches, pairs = (found[name] for name in ("empty_route", "single_events", "batches", "pairs"))
    lines = [
        "### `outlay serve`, on one core",
        "",
        f"{found['connections']} connections, acknowledged after COMMIT with synchronous=FULL; two refusing budgets "
        "cover every event. The load runs on the other core.",
        "",
        "| what | a second | a CPU second of the server | wanted |",
        "|---|---|---|---|",
        f"| an empty raw ASGI route | {empty['rate']:,.0f} | {empty['rate_per_cpu_second']:,.0f} | |",
        f"| single events | {single['rate']:,.0f} ({found['single_to_empty_by_rate']:.2f} of the empty route) | "
        f"{single['rate_per_cpu_second']:,.0f} | ≥ 5,000, or ≥ 0.4 of the empty route |",
        f"| events in batches of 1,000 | {batches['events_per_second']:,.0f} | "
        f"{batches['events_per_cpu_second']:,.0f} | ≥ 22,000 |",
        f"| reserve + settle pairs | {pairs['pairs_per_second']:,.0f} | {pairs['rate_per_cpu_second'] / 2:,.0f} | |",
        "",
        f"Memory of the server: {found['memory_mb']:.0f} MB after this load, "
        f"{found['memory_mb_with_streams']:.0f} MB with 1,000 open live streams.",
    ]
    return "\n".join(lines)


def postgres(events: int) -> str:
    """The ledger on PostgreSQL: the client on one core, the server on the other."""
    found = _figures("postgres.py", "--events", str(events))
    lines = [
        f"### PostgreSQL, {events:,} events",
        "",
        "| what | figure |",
        "|---|---|",
    ]
    for name, value in found.items():
        if isinstance(value, dict):
            lines += [f"| {name}: {one} | {_plain(figure)} |" for one, figure in value.items()]
        elif name != "events":
            lines.append(f"| {name} | {_plain(value)} |")
    return "\n".join(lines)


def postgres_budgets() -> str:
    """Reservations on PostgreSQL, by 32 threads of one process."""
    found = _figures("postgres_budgets.py")
    own, slow = found["own_flush"], found["flush_2_ms"]
    lines = [
        "### Reservations on PostgreSQL, 32 threads",
        "",
        f"Once at this machine's own flush ({own['flush_p50_us']} µs a fdatasync) and once with 2 ms more at each "
        "commit (`commit_delay`). At least 2,000 reservations a second are wanted.",
        "",
        "| what | own flush | 2 ms more |",
        "|---|---|---|",
    ]
    lines += [f"| {name.replace('_', ' ')} | {own[name]:,.0f} | {slow[name]:,.0f} |" for name in slow]
    return "\n".join(lines)


def _plain(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.2f}" if abs(value) < 100 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
