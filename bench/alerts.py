"""From the acknowledged event to the receiver's request: `python bench/alerts.py [--rate 5000] [--write]`.

A ledger in a file, calls of many users recorded in groups, a rule for each user, a watcher on its thread, and a
webhook's receiver in the same process. Every few calls one crosses its user's rule: measured is the time from the
return of the commit that crossed to the arrival of the message that tells of it. With `--write` the section of
docs/benchmarks.md is written anew.
"""

from __future__ import annotations

import argparse
import http.server
import json
import tempfile
import threading
import time
from pathlib import Path

import outlay

GROUP = 50
PERCENTS = (50, 95, 99, 100)
PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"
MARK = "## From an event to its alert"


def main() -> None:
    """Run it and print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=int, default=5_000, help="events a second")
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--alerts", type=int, default=10, help="crossings a second")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md")
    chosen = parser.parse_args()
    arrived: dict[str, float] = {}
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(arrived))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    channel = {"webhook": f"http://127.0.0.1:{server.server_port}/", "secret": "bench"}
    with tempfile.TemporaryDirectory() as folder, outlay.open(Path(folder) / "a.db") as ledger:
        ledger.alert_rule("each", above="1", each="user")
        with ledger.watcher({"hook": channel}):
            acknowledged, rate = _record(ledger, chosen.rate, chosen.seconds, chosen.alerts)
            deadline = time.monotonic() + 30
            while len(arrived) < len(acknowledged) and time.monotonic() < deadline:
                time.sleep(0.05)
    server.shutdown()
    waits = sorted(arrived[user] - at for user, at in acknowledged.items() if user in arrived)
    ms = {percent: waits[-(-len(waits) * percent // 100) - 1] * 1000 for percent in PERCENTS}
    print(f"events/s          {rate:,.0f} of {chosen.rate:,}")
    print(f"alerts            {len(acknowledged)}, arrived {len(waits)}")
    for percent, wait in ms.items():
        print(f"ack to request p{percent:<3} {wait:,.0f} ms")
    if chosen.write:
        figures = " | ".join(f"{wait:,.0f} ms" for wait in ms.values())
        write(f"| {rate:,.0f} | {len(acknowledged)} | {len(waits)} | {figures} |")


def write(row: str) -> None:
    """Put the section into docs/benchmarks.md in place of the one that is there."""
    head, _, rest = PAGE.read_text().partition(f"{MARK}\n")
    _, mark, after = rest.partition("\n## ")
    section = "\n".join(
        [
            MARK,
            "",
            "`python bench/alerts.py --write`: calls of many users go into a ledger in a file in groups of 50, and",
            "ten users a second cross their rule. Measured is the time from the return of the commit to the arrival",
            "of the webhook's request, watcher and receiver being in the same process. Wanted: p99 under 1 s.",
            "",
            "| events/s | alerts | arrived | p50 | p95 | p99 | most |",
            "|---|---|---|---|---|---|---|",
            row,
            "",
        ]
    )
    PAGE.write_text(head.rstrip("\n") + "\n\n" + section + (f"{mark}{after}" if mark else ""))


def _record(ledger: outlay.Ledger, rate: int, seconds: int, alerts: int) -> tuple[dict[str, float], float]:
    """Record at the rate; when each crossing was acknowledged, and the rate that was reached."""
    acknowledged: dict[str, float] = {}
    groups = rate * seconds // GROUP
    every = max(1, rate // GROUP // alerts)
    began = time.monotonic()
    for number in range(groups):
        time.sleep(max(0.0, began + number * GROUP / rate - time.monotonic()))
        usual = {"provider": "openai", "service": "gpt-4o", "reported_cost": "0.000001"}
        events = [{**usual, "user": f"u{at}"} for at in range(GROUP)]
        dear = f"dear{number}" if number % every == 0 else None
        if dear:
            events[-1] |= {"user": dear, "reported_cost": "2"}
        ledger.record_many(events)
        if dear:
            acknowledged[dear] = time.monotonic()
    return acknowledged, groups * GROUP / (time.monotonic() - began)


def _handler(arrived: dict[str, float]) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            at = time.monotonic()
            for alert in json.loads(self.rfile.read(int(self.headers["content-length"])))["alerts"]:
                arrived.setdefault(alert["subject"], at)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    return Handler


if __name__ == "__main__":
    main()
