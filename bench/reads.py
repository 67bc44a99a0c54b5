"""What people read of a big ledger while programs write into it: the server's answers on two cores.

    python bench/reads.py [--events 10000000] [--folder DIR] [--seconds 20] [--rate 1000]

Fills a ledger with made-up events of 30 days (a folder that holds one of that size is used as it is), serves it, and
sends single events at a steady rate while eight questions are asked in turn, one after the other.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import store_queries

from outlay.clock import isoformat
from outlay.ledger.sqlite import SqliteStore
from server import event, request, running

PORT = 8396
DAY = store_queries.DAY
UNTIL = store_queries.START + store_queries.DAYS * DAY
WRITERS = 4


def filled(folder: Path, events: int) -> Path:
    """The file of a ledger that holds at least so many events."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "ledger.db"
    store = SqliteStore(path)
    held = int(store.facts()["entries"])
    if held < events:
        maker = store_queries.Maker(events)
        for _ in store_queries.ingest(store, maker, events - held):
            pass
    while store.fold():
        pass
    store.close()
    return path


def questions() -> dict[str, str]:
    """What a morning's look asks, each as an address."""
    month = {"since": isoformat(store_queries.START), "until": isoformat(UNTIL)}
    week = {"since": isoformat(UNTIL - 7 * DAY), "until": isoformat(UNTIL)}

    def costs(**fields: str) -> str:
        return "/v1/costs?" + urlencode(fields)

    return {
        "a month by day and provider": costs(by="day,provider", **month),
        "the same in New York": costs(by="day,provider", zone="America/New_York", **month),
        "a month by feature": costs(by="feature", **month),
        "a week by service": costs(by="service", **week),
        "one user's days": "/v1/costs?" + urlencode({"by": "day", "where.user": "user-42"}),
        "dearest users of a month": "/v1/top?" + urlencode({"by": "user", **month}),
        "one job": "/v1/jobs/job-5000",
        "the newest receipts": "/v1/receipts?limit=50",
    }


async def ask(path: str) -> float:
    """Milliseconds until an answer was read whole."""
    began = time.perf_counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", PORT)
    writer.write(f"GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    if b" 200 " not in answer.partition(b"\r\n")[0]:
        raise SystemExit(f"{path}: {answer[:200]!r}")
    return (time.perf_counter() - began) * 1000


async def write(rate: float, numbers: itertools.count[int], taken: list[float]) -> None:
    """Single events at a steady rate on a connection of its own, until cancelled."""
    reader, writer = await asyncio.open_connection("127.0.0.1", PORT)
    due = time.perf_counter()
    while True:
        due += 1 / rate
        began = time.perf_counter()
        writer.write(request("/v1/events", json.dumps(event(next(numbers))).encode()))
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(head.lower().partition(b"content-length:")[2].partition(b"\r")[0]))
        if head[9:10] != b"2":
            raise SystemExit(f"an event was refused: {head[:80]!r}")
        taken.append(time.perf_counter() - began)
        await asyncio.sleep(max(due - time.perf_counter(), 0))


async def load(seconds: float, rate: float) -> tuple[dict[str, list[float]], float]:
    """Milliseconds of each question's answers, and events a second that were written meanwhile."""
    found: dict[str, list[float]] = {name: [] for name in questions()}
    for path in questions().values():
        await ask(path)  # What is read for the first time is read from the disk.
    written: list[float] = []
    numbers = itertools.count()
    writers = [asyncio.create_task(write(rate / WRITERS, numbers, written)) for _ in range(WRITERS)]
    began = time.perf_counter()
    while time.perf_counter() - began < seconds:
        for name, path in questions().items():
            found[name].append(await ask(path))
    spent = time.perf_counter() - began
    for task in writers:
        task.cancel()
    for ended in await asyncio.gather(*writers, return_exceptions=True):
        if isinstance(ended, Exception) and not isinstance(ended, asyncio.CancelledError):
            raise ended
    return found, len(written) / spent


def measure(folder: Path, events: int, seconds: float, rate: float) -> dict[str, Any]:
    """All figures of one run."""
    path = filled(folder, events)
    serve = [sys.executable, "-m", "outlay", "serve", str(path), "--port", str(PORT), "--log-level", "error"]
    with running(serve, PORT, None, folder):
        found, written = asyncio.run(load(seconds, rate))
    everything = sorted(one for answers in found.values() for one in answers)
    return {
        "events": events,
        "written_per_second": written,
        "answers": len(everything),
        "p50_ms": everything[len(everything) // 2],
        "p95_ms": everything[len(everything) * 95 // 100],
        "max_ms": everything[-1],
        "questions": {
            name: {"p50_ms": sorted(one)[len(one) // 2], "p95_ms": sorted(one)[len(one) * 95 // 100]}
            for name, one in found.items()
        },
    }


def section(events: int, folder: Path | None = None) -> str:
    """The page's section."""
    with tempfile.TemporaryDirectory() as name:
        found = measure(folder or Path(name), events, 20, 1_000)
    lines = [
        f"### Reading while programs write, {found['events']:,} events",
        "",
        f"`outlay serve` on two cores; {found['written_per_second']:,.0f} single events a second come in meanwhile. "
        f"All {found['answers']} answers: p50 {found['p50_ms']:.0f} ms, p95 {found['p95_ms']:.0f} ms (under 100 is "
        f"wanted), the longest {found['max_ms']:.0f} ms.",
        "",
        "| question | p50 ms | p95 ms |",
        "|---|---|---|",
    ]
    lines += [f"| {name} | {one['p50_ms']:.1f} | {one['p95_ms']:.1f} |" for name, one in found["questions"].items()]
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else "")
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rate", type=float, default=1_000.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        where = options.folder or Path(temporary)
        print(json.dumps(measure(where, options.events, options.seconds, options.rate), indent=1))
