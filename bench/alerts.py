"""From the acknowledged event to the receiver's request, at a given rate: `python bench/alerts.py [--rate 5000]`.

A ledger in a file, calls of many users recorded in groups, a rule for each user, a watcher on its thread, and a
webhook's receiver in the same process. Every few calls one crosses its user's rule: measured is the time from the
return of the commit that crossed to the arrival of the message that tells of it.
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


def main() -> None:
    """Run it and print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=int, default=5_000, help="events a second")
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--alerts", type=int, default=10, help="crossings a second")
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
    print(f"events/s          {rate:,.0f}")
    print(f"alerts            {len(acknowledged)}, arrived {len(waits)}")
    for percent in (50, 95, 99, 100):
        print(f"ack to request p{percent:<3} {waits[-(-len(waits) * percent // 100) - 1] * 1000:,.0f} ms")


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
