"""Answers as pictures: --png, --svg and --html of the commands that can be drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from outlay.analytics.anomaly import Episode, SpendSeries, Step, course
from outlay.clock import DAY_MICROSECONDS, Instant, WindowName, day_to_date, local_day, windows_between
from outlay.errors import InvalidInput

if TYPE_CHECKING:
    from outlay.analytics.comparison import Comparison
    from outlay.analytics.projection import Projections
    from outlay.answers import Costs
    from outlay.api import Ledger
    from outlay.arguments import Where
    from outlay.faces.charts import Spec

PngOption = Annotated[
    Path | None, typer.Option("--png", metavar="FILE", help="Also as a picture.", show_default=False)
]
SvgOption = Annotated[
    Path | None, typer.Option("--svg", metavar="FILE", help="Also as a drawing.", show_default=False)
]
HtmlOption = Annotated[
    Path | None,
    typer.Option(
        "--html", metavar="FILE", help="Also as a page to look into, that needs no network.", show_default=False
    ),
]

TIMES: Final = ("hour", "day", "week", "month")
DAYS_BEFORE: Final = {"hour": 14, "day": 56}
"""How much of the past stands before a forecast, in days, by its step."""

AROUND: Final = {Step.HOUR: 72, Step.DAY: 28}
"""How many steps are shown before and after an episode."""

LEARNED_DAYS: Final = {Step.HOUR: 56, Step.DAY: 112}
EPISODES_DRAWN: Final = 12


def draw(make: Callable[[], Sequence[Spec]], png: Path | None, svg: Path | None, html: Path | None) -> None:
    """Write what is asked for. A page has every chart, a picture or drawing the first.

    Raises InvalidInput `nothing_to_draw`; MissingExtra.
    """
    if png is None and svg is None and html is None:
        return
    from outlay.faces import charts

    specs = make()
    if not specs:
        raise InvalidInput("there is nothing to draw in this answer", code="nothing_to_draw")
    if png is not None:
        png.write_bytes(charts.png(specs[0]))
    if svg is not None:
        svg.write_text(charts.svg(specs[0]), encoding="utf-8")
    if html is not None:
        html.write_text(charts.html(*specs, title=str(specs[0]["title"]["text"])), encoding="utf-8")


def charts_of_costs(found: Costs) -> list[Spec]:
    """Over time if the first group is a time, else the dearest."""
    from outlay.faces import charts

    if not found.by:
        raise InvalidInput("a total alone is no chart; give --by", code="nothing_to_draw")
    if found.by[0] in TIMES and len(found.by) < 3:
        return [charts.spend_over_time(found.table)]
    if set(TIMES) & set(found.by):
        raise InvalidInput(
            "a chart over time is by the time first and at most one more: --by day,provider", code="nothing_to_draw"
        )
    return [charts.top_bar(found.table)]


def charts_of_forecast(book: Ledger, found: Projections, where: Where, *, step: str) -> list[Spec]:
    """What each step was and will be, and the sum of the window on its way."""
    from outlay.faces import charts

    whole = found.total
    begin = whole.since - DAYS_BEFORE[step] * DAY_MICROSECONDS
    past = book.costs((step,), where=where, since=begin, zone=found.zone).table
    present = book.costs((step,), where=where, since=whole.since, zone=found.zone).table
    return [
        charts.forecast(past, whole),
        charts.budget_progress(present, whole, limit=None, now=book.clock.now()),
    ]


def charts_of_comparison(
    found: Comparison, currency: str, spans: tuple[tuple[Instant, Instant], ...], zone: str
) -> list[Spec]:
    """What the change is made of: of the whole, then of the rows that changed most."""
    from outlay.faces import charts

    before, after = ("before", "after") if spans[0] == spans[1] else (_said(span, zone) for span in spans)
    by_day = ", by the day" if found.by_day else ""
    changes = [(f"What changed{by_day}", found.total.change)]
    for row in found.rows[:4]:
        name = " / ".join(key or f"(no {by})" for by, key in zip(found.by, row.keys, strict=True))
        changes.append((f"{name}{by_day}", row.change))
    return [
        charts.waterfall(change, currency=currency, before=before, after=after, title=title)
        for title, change in changes
    ]


def _said(span: tuple[Instant, Instant], zone: str) -> str:
    first, last = (day_to_date(local_day(at, zone)) for at in (span[0], span[1] - 1))
    return f"{first:%-d %b}" if first == last else f"{first:%-d %b} to {last:%-d %b}"


def charts_of_anomalies(book: Ledger, found: Sequence[Episode], where: Where, zone: str) -> list[Spec]:
    """Each episode in its series, with what was expected of it; the dearest first."""
    dearest = sorted(found, key=lambda one: -one.impact)[:EPISODES_DRAWN]
    return [_chart_of_episode(book, one, where, zone) for one in dearest]


def _chart_of_episode(book: Ledger, episode: Episode, where: Where, zone: str) -> Spec:
    from outlay.faces import charts

    named = {name: (key,) for name, key in zip(episode.by, episode.keys, strict=True)}
    length = DAY_MICROSECONDS if episode.step is Step.DAY else DAY_MICROSECONDS // 24
    around = AROUND[episode.step] * length
    since = episode.since - LEARNED_DAYS[episode.step] * DAY_MICROSECONDS
    until = min(book.clock.now(), episode.until + around)
    step: WindowName = "day" if episode.step is Step.DAY else "hour"
    table = book.costs((step,), where={**dict(where or {}), **named}, since=since, until=until, zone=zone)
    amounts = {str(row.keys[0]): row.amount for row in table.rows}
    windows = list(windows_between(since, until, step, zone))
    while windows and not amounts.get(windows[0].label):
        windows.pop(0)
    series = SpendSeries(
        by=episode.by,
        keys=episode.keys,
        step=episode.step,
        starts=(*(one.start for one in windows), windows[-1].end),
        amounts=tuple(amounts.get(one.label, 0) for one in windows),
    )
    points = [
        charts.ExpectedPoint(one.start, actual, usual.expected, usual.low, usual.high)
        for one, actual, usual in zip(windows, series.amounts, course(series), strict=True)
        if one.start >= episode.since - around
    ]
    return charts.anomaly(episode, points, zone=zone, currency=book.currency)
