"""One host that sends a report: run as a process of its own by test_sent_reports.py.

    python report_program.py ADDRESS MAIL_SERVER NOW

It knows the report a moment before it is due, says `ready`, waits for a line, and lives through the moment: it looks
as a watcher does, and sends as `outlay report --send` does. NOW is the first instant at which it looks.
"""

from __future__ import annotations

import sys

import outlay
from outlay.clock import FrozenClock

DUE = "2026-03-16T08:00:01Z"


def main() -> None:
    """Live through the moment."""
    address, mail_server, now = sys.argv[1:]
    clock = FrozenClock(now)
    with outlay.open(address, clock=clock) as ledger:
        ledger.mail_settings = {"smtp": mail_server, "from": "Outlay <outlay@example.com>"}
        ledger.define_report(
            "weekly-finance", period="week", by=["user"], recipients=["ana@example.com"], form="markdown"
        )
        watcher = ledger.watcher({})
        watcher.round(timed=True)
        print("ready", flush=True)
        sys.stdin.readline()
        clock.set(max(DUE, now))
        for _ in range(4):
            watcher.round(timed=True)
            ledger.send_report("weekly-finance")
        print("done", flush=True)


if __name__ == "__main__":
    main()
