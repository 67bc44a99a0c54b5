"""The first page in a browser: when its numbers are painted, what it loads, whether anything jumps or holds it up.

    python bench/pages.py [--events 10000000] [--rounds 9] [--ledger FILE] [--now TIME]     prints one JSON object

The ledger is that of bench/ingest.py (made in a temporary folder unless --ledger names one that is kept, also of
another kind), its clock stands at --now, a minute before its last event, and `outlay`'s server is a process of its
own. Each round opens the page in a fresh browser profile after a new event, so that nothing is cached anywhere; then
again in the same profile, as one who comes back does.
"""

from __future__ import annotations

import argparse
import json
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import ingest
import reads

import outlay
from outlay.clock import isoformat

MINUTE = 60_000_000
CHROMIUM = Path("/usr/bin/chromium")
NOW = "2026-09-30T23:59:00Z"
"""A minute before the last event: nobody's ledger holds half a day that is still to come."""

PAINT_MS_WANTED = 300
TRANSFER_KB_WANTED = 400
LONG_TASK_MS_WANTED = 200
OBSERVE = """
window.seen = {shift: 0, longest: 0, numbers: 0, paint: 0};
const watch = (type, note) =>
  new PerformanceObserver(list => list.getEntries().forEach(note)).observe({type, buffered: true});
watch('layout-shift', one => { if (!one.hadRecentInput) seen.shift += one.value; });
watch('longtask', one => { seen.longest = Math.max(seen.longest, one.duration); });
watch('paint', one => { if (one.name === 'first-contentful-paint') seen.paint = one.startTime; });
const look = () => {
  if (document.querySelector('#month .value data') && document.querySelector('#projected .value data'))
    requestAnimationFrame(() => { seen.numbers = performance.now(); });
  else requestAnimationFrame(look);
};
requestAnimationFrame(look);
"""
TOLD = """() => {
  const loaded = [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]
    .filter(one => !one.name.includes('/live'));
  return {...seen, kb: loaded.reduce((sum, one) => sum + one.transferSize, 0) / 1000,
    answer: performance.getEntriesByType('navigation')[0].responseEnd};
}"""
STANDS = """() => document.querySelector('[data-chart]').dataset.drawn === 'yes'"""
Seen = dict[str, float]


def serve(path: str, port: int, now: str) -> None:
    """The server, by a clock that stands still."""
    import uvicorn

    from outlay.faces.server.app import create_app

    with outlay.open(path, clock=outlay.FrozenClock(now)) as ledger:
        app: Any = create_app(ledger)
        uvicorn.run(app, port=port, loop="uvloop", http="httptools", log_config=None, lifespan="on")


@contextmanager
def served(path: Path, now: str) -> Iterator[str]:
    """A server of its own process; its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    process = subprocess.Popen([sys.executable, __file__, "--serve", str(path), str(port), now])
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"{address}/readyz", timeout=5).close()
                break
            except OSError:
                time.sleep(0.1)
        yield address
    finally:
        process.terminate()
        process.wait(timeout=60)


def record(address: str, number: int) -> None:
    """One more event, so that no answer kept from before holds."""
    body = json.dumps(
        {
            "id": f"pages-{number}-{time.time_ns()}",
            "provider": "openai",
            "service": "gpt-4o",
            "usage": {"output_tokens": 1},
        }
    )
    headers = {"content-type": "application/json"}
    request = urllib.request.Request(f"{address}/v1/events", body.encode(), headers)
    urllib.request.urlopen(request, timeout=30).close()


def look(address: str, rounds: int) -> dict[str, list[Seen]]:
    """The page opened for the first time, and again."""
    from playwright.sync_api import sync_playwright

    found: dict[str, list[Seen]] = {"first": [], "again": []}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        for number in range(rounds + 1):
            context = browser.new_context(viewport={"width": 1440, "height": 900})
            page = context.new_page()
            page.add_init_script(OBSERVE)
            record(address, number)
            for seen in found.values():
                page.goto(address)
                page.wait_for_function(STANDS)
                page.wait_for_timeout(300)
                if number:  # The first round warms the server and makes the charts' library.
                    seen.append(page.evaluate(TOLD))
            context.close()
        browser.close()
    return found


def measured(events: int, rounds: int, ledger: Path | None, now: str = NOW) -> dict[str, Any]:
    """All figures of the page over a ledger of so many events."""
    if not CHROMIUM.exists():
        raise SystemExit("the pages are measured in Chromium, which is missing here: apt-get install chromium")
    with tempfile.TemporaryDirectory() as folder:
        path = ledger or Path(folder) / "pages.db"
        if not path.exists():
            with outlay.open(str(path), clock=outlay.FrozenClock("2026-10-01T00:00:00Z")) as book:
                ingest.ingest(book, events)
                book.fold()
        with served(path, now) as address:
            seen = look(address, rounds)
    return {
        "events": events,
        "rounds": rounds,
        **{
            name: {
                "numbers_ms": median(one["numbers"] for one in all_seen),
                "numbers_most_ms": max(one["numbers"] for one in all_seen),
                "paint_ms": median(one["paint"] for one in all_seen),
                "answer_ms": median(one["answer"] for one in all_seen),
                "kb": median(one["kb"] for one in all_seen),
                "shift": max(one["shift"] for one in all_seen),
                "longest_task_ms": median(one["longest"] for one in all_seen),
                "longest_task_most_ms": max(one["longest"] for one in all_seen),
            }
            for name, all_seen in seen.items()
        },
    }


def section(events: int, ledgers: Path | None) -> str:
    """The section of docs/benchmarks.md; over the ledger of bench/reads.py where a folder has it."""
    if ledgers is None:
        found = measured(events, 9, None)
    else:
        found = measured(events, 9, reads.filled(ledgers, events), isoformat(reads.UNTIL - MINUTE))
    first, again = found["first"], found["again"]
    lines = [
        f"### The first page, {events:,} events",
        "",
        f"Chromium on the same machine, the median of {found['rounds']} rounds (the worst in brackets). *First*: a "
        "fresh browser profile after a new event, nothing kept anywhere. *Again*: the same profile once more.",
        "",
        "| what | first | again | wanted |",
        "|---|---|---|---|",
        f"| its numbers are painted, ms | {first['numbers_ms']:.0f} ({first['numbers_most_ms']:.0f}) | "
        f"{again['numbers_ms']:.0f} ({again['numbers_most_ms']:.0f}) | < {PAINT_MS_WANTED} |",
        f"| the page's answer is there, ms | {first['answer_ms']:.0f} | {again['answer_ms']:.0f} | |",
        f"| loaded, charts and their library in it, kB compressed | {first['kb']:.0f} | {again['kb']:.0f} | "
        f"< {TRANSFER_KB_WANTED}, then cached |",
        f"| layout shift | {first['shift']:.3f} | {again['shift']:.3f} | 0 |",
        f"| longest task, ms | {first['longest_task_ms']:.0f} ({first['longest_task_most_ms']:.0f}) | "
        f"{again['longest_task_ms']:.0f} ({again['longest_task_most_ms']:.0f}) | < {LONG_TASK_MS_WANTED} |",
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    if sys.argv[1:2] == ["--serve"]:
        serve(sys.argv[2], int(sys.argv[3]), sys.argv[4])
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--ledger", type=Path, help="a ledger of such events that is kept, made if it is not there")
    parser.add_argument("--now", default=NOW, help="the time that the server takes it to be")
    options = parser.parse_args()
    print(json.dumps(measured(options.events, options.rounds, options.ledger, options.now), indent=2))


if __name__ == "__main__":
    main()
