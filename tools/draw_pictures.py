"""Draw the pictures of the docs from the demo, at a time of its own: `python tools/draw_pictures.py [NAME …]`.

The mail is drawn by Chromium (`--chromium PATH`, else the first that is found), the charts by the extra `charts`.
"""

from __future__ import annotations

import argparse
import base64
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import date
from functools import partial
from pathlib import Path

import outlay
from outlay.clock import DAY_MICROSECONDS, FrozenClock, window_of
from outlay.faces import charts
from outlay.faces.charts.packing import packed
from outlay.faces.cli.charting import charts_of_anomalies, charts_of_comparison, charts_of_forecast
from outlay.faces.cli.demo.build import build
from outlay.faces.reports import mail
from outlay.money import Money

PICTURES = Path(__file__).resolve().parent.parent / "docs" / "pictures"
NOW = "2026-11-19T08:00:00Z"
FIRST, DAYS = date(2026, 8, 24), 87
MAIL_PIXELS = (704, 1500)
BYTES_MAX = 150_000
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def demo() -> outlay.Ledger:
    """The demo's ledger, with a budget and words about two days."""
    clock = FrozenClock(NOW)
    ledger = outlay.open("memory:", clock=clock)
    build(ledger, FIRST, DAYS)
    ledger.note_day("2026-11-10", "Release 1.5")
    ledger.note_day("2026-11-16", "Campaign")
    ledger.budget("images", limit="60", window="month", where={"feature": "images"})
    return ledger


def specs(ledger: outlay.Ledger) -> dict[str, Callable[[], charts.Spec]]:
    """Each picture by its name."""
    now, zone = ledger.clock.now(), ledger.store.home_zone
    month = window_of(now, "month", zone)
    notes = [charts.Note(month.start + 9 * DAY_MICROSECONDS, "Release 1.5")]
    week = 7 * DAY_MICROSECONDS
    end = window_of(now, "day", zone).start
    spans = ((end - 2 * week, end - week), (end - week, end))

    def days(*by: str, since: int) -> charts.Spec:
        return charts.spend_over_time(ledger.costs(("day", *by), since=since).table)

    def compared() -> charts.Spec:
        sides = [
            (f"{day}T00:00Z", f"{other}T00:00Z")
            for day, other in (("2026-11-05", "2026-11-12"), ("2026-11-12", "2026-11-19"))
        ]
        found = ledger.compare(("feature",), before=sides[0], after=sides[1])
        return charts_of_comparison(found, ledger.currency, spans, zone)[0]

    def jobs() -> charts.Spec:
        rows = ledger.costs(("job",), where={"feature": ("clips", "voice", "stories", "images")}).rows
        return charts.histogram([row.amount for row in rows if row.keys[0]], what="videos")

    def budget() -> charts.Spec:
        found = ledger.forecast("month").total
        table = ledger.costs(("day",), since=month.start).table
        return charts.budget_progress(table, found, limit=Money.of("300"), now=now)

    return {
        "spend": lambda: charts.with_notes(days("provider", since=month.start), notes, zone),
        "spend-dark": lambda: charts.themed(days("feature", since=month.start), "dark"),
        "budget": budget,
        "forecast": lambda: charts_of_forecast(ledger, ledger.forecast("month"), None, step="day")[0],
        "anomaly": lambda: charts_of_anomalies(ledger, ledger.anomalies(since="2026-10-20T00:00Z"), None, zone)[0],
        "compare": compared,
        "top": lambda: charts.top_bar(ledger.costs(("service",), since=month.start).table, most=8),
        "videos": jobs,
    }


def _drawn(make: Callable[[], charts.Spec]) -> bytes:
    return charts.png(make(), scale=1.5)


def draw_mail(ledger: outlay.Ledger, browser: str) -> bytes:
    """The weekly report's mail as a browser shows it, its pictures in place."""
    message = mail.message(ledger.report("week"))
    page = message.html
    for one in message.files:
        page = page.replace(f"cid:{one.cid}", f"data:{one.kind};base64,{base64.b64encode(one.body).decode()}")
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "mail.html", Path(folder) / "mail.png"
        source.write_text(page, encoding="utf-8")
        size = ",".join(map(str, MAIL_PIXELS))
        subprocess.run(
            [
                browser,
                "--headless",
                "--no-sandbox",
                "--hide-scrollbars",
                f"--window-size={size}",
                f"--screenshot={target}",
                source.as_uri(),
            ],
            check=True,
            capture_output=True,
        )
        return packed(target.read_bytes())


def main() -> int:
    """Draw those that are named, else all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--chromium", default=next(filter(None, map(shutil.which, BROWSERS)), None))
    asked = parser.parse_args()
    PICTURES.mkdir(exist_ok=True)
    with demo() as ledger:
        wanted: dict[str, Callable[[], bytes]] = {name: partial(_drawn, make) for name, make in specs(ledger).items()}
        if asked.chromium:
            wanted["report-mail"] = lambda: draw_mail(ledger, asked.chromium)
        else:
            print("no Chromium is found, so that the mail is not drawn; give --chromium PATH", file=sys.stderr)
        for name in asked.names or wanted:
            body = wanted[name]()
            if len(body) > BYTES_MAX:
                print(f"{name}.png has {len(body):,} bytes, more than {BYTES_MAX:,}", file=sys.stderr)
                return 1
            (PICTURES / f"{name}.png").write_bytes(body)
            print(f"{name}.png: {len(body):,} bytes")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
