"""What spend will be, what it should not have been, why it changed: forecast, anomalies, compare."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer

from outlay.clock import Instant, local_day, local_midnight, window_of
from outlay.errors import InvalidInput
from outlay.faces.cli.drawing import HtmlOption, PngOption, SvgOption, draw
from outlay.faces.cli.exits import Exit
from outlay.faces.cli.options import (
    CsvOption,
    JsonOption,
    LedgerOption,
    SinceOption,
    UntilOption,
    WhereOption,
    ZoneOption,
    form_of,
    read_filter,
    read_names,
)
from outlay.faces.cli.render import show
from outlay.faces.cli.session import notes_of, opened, read_span
from outlay.faces.cli.when import read_time

if TYPE_CHECKING:
    from outlay.api import Ledger

WINDOWS: Final = ("day", "week", "month", "quarter", "year")
PERIODS: Final = "a number of whole days, last-month, 2026-11, or FROM..TO"

ByOption = Annotated[
    list[str] | None,
    typer.Option("--by", "-b", metavar="NAMES", help="By what, with commas or repeated.", show_default=False),
]


def forecast(
    window: Annotated[
        str, typer.Argument(metavar="WINDOW", help=f"Until the end of which: {', '.join(WINDOWS)}.")
    ] = ("month"),
    by: ByOption = None,
    where: WhereOption = None,
    zone: ZoneOption = None,
    limit: Annotated[int, typer.Option("--limit", "-n", metavar="N", min=1, help="At most this many rows.")] = 20,
    ledger: LedgerOption = None,
    json: JsonOption = False,
    csv: CsvOption = False,
    png: PngOption = None,
    svg: SvgOption = None,
    html: HtmlOption = None,
) -> None:
    """What the present day, week, month, quarter or year will have cost at its end.

    With intervals of 80 and 95 %, and how much there was to learn from.

    For example: outlay forecast month --by feature
    """
    from outlay.faces.cli.analysis_tables import table_of_forecast
    from outlay.faces.cli.charting import charts_of_forecast

    form = form_of(json, csv)
    chosen = next((known for known in WINDOWS if known == window), None)
    if chosen is None:
        raise InvalidInput(f"window {window[:40]!r} is none of {', '.join(WINDOWS)}", code="unknown_window")
    with opened(ledger) as book:
        names = read_names(",".join(by or ()))
        found = book.forecast(chosen, by=names, where=read_filter(where), zone=zone, limit=limit)
        show(table_of_forecast(found), form)
        step = "hour" if chosen == "day" else "day"
        draw(lambda: charts_of_forecast(book, found, read_filter(where), step=step), png, svg, html)


def anomalies(
    since: SinceOption = None,
    until: UntilOption = None,
    amount: Annotated[str, typer.Option("--min", metavar="AMOUNT", help="From this impact on.")] = "5",
    percent: Annotated[int, typer.Option("--percent", metavar="N", min=0, help="And from so much above.")] = 20,
    either: Annotated[bool, typer.Option("--either", help="One of the two is enough.")] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="Also those that somebody judged, and their kind.")
    ] = False,
    expected: Annotated[
        str | None, typer.Option("--expected", metavar="ID", help="Say: this one was expected.", show_default=False)
    ] = None,
    not_an_anomaly: Annotated[
        str | None, typer.Option("--not-an-anomaly", metavar="ID", help="Say: this is none.", show_default=False)
    ] = None,
    why: Annotated[str, typer.Option("--why", metavar="TEXT", help="Why it was expected, or is none.")] = "",
    where: WhereOption = None,
    zone: ZoneOption = None,
    ledger: LedgerOption = None,
    json: JsonOption = False,
    csv: CsvOption = False,
    png: PngOption = None,
    svg: SvgOption = None,
    html: HtmlOption = None,
) -> None:
    """Unusual spend since two weeks ago: what was expected, what it came to, and what explains it.

    For example: outlay anomalies --since 30d --min 1
    """
    from outlay.faces.cli.analysis_tables import table_of_anomalies
    from outlay.faces.cli.charting import charts_of_anomalies

    form = form_of(json, csv)
    with opened(ledger) as book:
        for id, verdict in ((expected, "expected"), (not_an_anomaly, "not_an_anomaly")):
            if id is not None:
                book.judge_anomaly(id, verdict, why=why or "no reason given", who="command line", zone=zone)
        first, last = read_span(book, since, until, zone)
        found = book.anomalies(
            since=first,
            until=last,
            amount=amount.removeprefix("$"),
            percent=percent,
            need="either" if either else "both",
            where=read_filter(where),
            zone=zone,
            judged=everything,
        )
        zone = zone or book.store.home_zone
        show(table_of_anomalies(found, book.currency, zone, notes_of(book, "anomaly")), form)
        draw(lambda: charts_of_anomalies(book, found, read_filter(where), zone), png, svg, html)


def compare(
    before: Annotated[
        str | None, typer.Option("--before", metavar="PERIOD", help=f"{PERIODS}.", show_default="7")
    ] = None,
    after: Annotated[
        str | None, typer.Option("--after", metavar="PERIOD", help="The same; days end today.", show_default="7")
    ] = None,
    by: ByOption = None,
    user: Annotated[
        str | None, typer.Option("--user", metavar="NAME", help="Only this user.", show_default=False)
    ] = None,
    where: WhereOption = None,
    where_before: Annotated[
        list[str] | None,
        typer.Option(
            "--where-before", metavar="NAME=VALUE", help="Only these before: tag.release=1.4", show_default=False
        ),
    ] = None,
    where_after: Annotated[
        list[str] | None,
        typer.Option(
            "--where-after", metavar="NAME=VALUE", help="Only these after: tag.release=1.5", show_default=False
        ),
    ] = None,
    over: Annotated[
        int | None,
        typer.Option("--over", metavar="PERCENT", help="Leave with 1 if it rose by more.", show_default=False),
    ] = None,
    zone: ZoneOption = None,
    ledger: LedgerOption = None,
    json: JsonOption = False,
    csv: CsvOption = False,
    png: PngOption = None,
    svg: SvgOption = None,
    html: HtmlOption = None,
) -> None:
    """Two periods, releases, models, tags or users side by side, and what the change is made of.

    Without periods: the last seven whole days and the seven before.

    For example: outlay compare --before 60 --after 30 --user u42, or
    outlay compare --where-before tag.release=1.4 --where-after tag.release=1.5
    """
    from outlay.analytics.anomaly import risen
    from outlay.faces.cli.analysis_tables import table_of_comparison
    from outlay.faces.cli.charting import charts_of_comparison

    form = form_of(json, csv)
    with opened(ledger) as book:
        zone = zone or book.store.home_zone
        filtered = bool(where_before or where_after)
        spans = read_periods(book, before, after, zone, same=filtered)
        only = {**read_filter(where), **({"user": (user,)} if user is not None else {})}
        names = read_names(",".join(by)) if by else ("feature", "service")
        found = book.compare(
            names,
            before=spans[0],
            after=spans[1],
            where=only,
            where_before=read_filter(where_before),
            where_after=read_filter(where_after),
            zone=zone,
        )
        show(table_of_comparison(found, book.currency, spans, zone), form)
        draw(lambda: charts_of_comparison(found, book.currency, spans, zone), png, svg, html)
        change = found.total.change
        if over is not None and risen(change.before, change.after, over):
            raise typer.Exit(Exit.FINDING)


Span = tuple[Instant, Instant]


def read_periods(
    book: Ledger, before: str | None, after: str | None, zone: str, *, same: bool = False
) -> tuple[Span, Span]:
    """Two periods as typed. A number of days ends where the later period begins; `same` is for two filters, which
    are compared over the same 30 days where nothing else is said.
    """
    now = book.clock.now()
    today = local_midnight(local_day(now, zone), zone)
    if same and before is None and after is None:
        last = (_days_before(today, 30, zone), now)
        return last, last
    later = _period(after or "7", today, now, zone)
    return _period(before or after or "7", later[0], now, zone), later


def _days_before(end: Instant, days: int, zone: str) -> Instant:
    return local_midnight(local_day(end, zone) - days, zone)


def _period(text: str, end: Instant, now: Instant, zone: str) -> Span:
    days = text.strip().lower().removesuffix("d")
    if days.isdigit() and 0 < int(days) < 100_000:
        return _days_before(end, int(days), zone), end
    first, dots, last = text.partition("..")
    if dots:
        span = read_time(first, now, zone), read_time(last, now, zone)
    elif len(text) == len("2026-11"):
        month = window_of(read_time(f"{text}-01", now, zone), "month", zone)
        span = month.start, month.end
    else:
        window = next((name for name in WINDOWS if text.endswith(f"-{name}")), None)
        if window is None:
            raise InvalidInput(f"period {text[:40]!r} is not understood; write {PERIODS}", code="bad_time")
        found = window_of(read_time(text, now, zone), window, zone)  # type: ignore[arg-type]  # one of WINDOWS
        span = found.start, min(found.end, now)
    if span[0] >= span[1]:
        raise InvalidInput(f"period {text[:40]!r} has no length", code="time_reversed")
    return span
