"""Which charts an answer is drawn as, made of the answer and what stands around it in the ledger."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from outlay.analytics.anomaly import Episode, SpendSeries, Step, course
from outlay.arguments import Where, read_where
from outlay.budgets.alert_rules import PREFIX
from outlay.clock import DAY_MICROSECONDS, Instant, WindowName, day_to_date, local_day, to_instant, windows_between
from outlay.errors import InvalidInput
from outlay.faces import charts
from outlay.faces.charts import Note, Spec
from outlay.faces.cli.session import notes_of
from outlay.money import Money

if TYPE_CHECKING:
    from outlay.analytics.comparison import Comparison
    from outlay.analytics.projection import Projection, Projections
    from outlay.answers import Costs
    from outlay.api import Ledger

TIMES: Final = ("hour", "day", "week", "month")
DAYS_BEFORE: Final = {"hour": 14, "day": 56}
"""How much of the past stands before a forecast, in days, by its step."""

AROUND: Final = {Step.HOUR: 72, Step.DAY: 28}
"""How many steps are shown before and after an episode."""

LEARNED_DAYS: Final = {Step.HOUR: 56, Step.DAY: 112}
EPISODES_DRAWN: Final = 12


def charts_of_costs(book: Ledger, found: Costs) -> list[Spec]:
    """Over time if the first group is a time, with people's words about its days; else the dearest."""
    if not found.by:
        raise InvalidInput("a total alone is no chart; give --by", code="nothing_to_draw")
    if found.by[0] in TIMES and len(found.by) < 3:
        return [charts.with_notes(charts.spend_over_time(found.table), _notes(book, found), found.zone)]
    if set(TIMES) & set(found.by):
        raise InvalidInput(
            "a chart over time is by the time first and at most one more: --by day,provider", code="nothing_to_draw"
        )
    return [charts.top_bar(found.table)]


def _notes(book: Ledger, found: Costs) -> Iterator[Note]:
    """What people said of the days that are shown."""
    days = {str(row.keys[0]) for row in found.rows} if found.by[0] == "day" else set()
    for day, text in (notes_of(book, "day") if days else {}).items():
        if day in days:
            yield Note(to_instant(f"{day}T00:00", found.zone), text)


def charts_of_forecast(book: Ledger, found: Projections, where: Where, *, step: str) -> list[Spec]:
    """What each step was and will be, and the sum of the window on its way."""
    whole = found.total
    begin = whole.since - DAYS_BEFORE[step] * DAY_MICROSECONDS
    past = book.costs((step,), where=where, since=begin, zone=found.zone).table
    present = book.costs((step,), where=where, since=whole.since, zone=found.zone).table
    limit = _limit(book, where, whole)
    return [
        charts.forecast(past, whole),
        charts.budget_progress(present, whole, limit=limit, now=book.clock.now()),
    ]


def _limit(book: Ledger, where: Where, whole: Projection) -> Money | None:
    """The least limit in money on the very spend and window that are forecast."""
    covers = {one.name: one.where for one in book.defined_budgets()}
    wanted = read_where(where)
    limits = [
        one.limit
        for one in book.budgets()
        if (one.window.start, one.window.end) == (whole.since, whole.until)
        and one.meter is None
        and not one.key.subject
        and not one.key.budget.startswith(PREFIX)
        and covers.get(one.key.budget) == wanted
    ]
    return Money(min(limits), book.currency) if limits else None


def charts_of_comparison(
    found: Comparison, currency: str, spans: tuple[tuple[Instant, Instant], ...], zone: str
) -> list[Spec]:
    """What the change is made of: of the whole, then of the rows that changed most."""
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
