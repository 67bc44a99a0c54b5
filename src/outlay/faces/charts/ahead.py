"""What will be spent and what should not have been: a budget's course, a forecast, an episode."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from outlay.analytics.anomaly import Episode
from outlay.analytics.projection import Projection, Span
from outlay.clock import Instant
from outlay.faces.charts.parts import (
    STEP_WORDS,
    Row,
    Spec,
    Steps,
    amount,
    drawn,
    finished,
    hover,
    moment,
    money_axis,
    place,
    time_axis,
    wall,
    word,
)
from outlay.model import CostTable
from outlay.money import Money, format_pico


class ExpectedPoint(msgspec.Struct, frozen=True):
    """One step of a watched series: what it cost, what was expected, and how far noise would take it; picounits."""

    at: Instant
    actual: int
    expected: int | None = None
    low: int | None = None
    high: int | None = None


def budget_progress(
    table: CostTable,
    projection: Projection,
    *,
    limit: Money | None,
    now: Instant,
    title: str | None = None,
    width: int = 640,
    height: int = 320,
) -> Spec:
    """What a window has cost so far, day upon day, against its budget, and where it is going.

    `table` is the window's spend by hour or day. The bands are the projection's intervals of the whole; on the way
    there they open as the expected rest is spent.
    """
    currency, steps = table.currency, Steps.of(table)
    begin, end = wall(projection.since, table.zone), wall(projection.until, table.zone)
    present = min(wall(now, table.zone), end)
    so_far = [_reached(begin, 0, currency)]
    spent = 0
    for label, cost in _by_step(table).items():
        spent += cost
        so_far.append(_reached(min(steps.after(steps.begin(label)), present), spent, currency))
    ahead = _course(projection, spent, present, table.zone, currency)
    domain = [place(begin), place(end)]
    return finished(
        {
            "data": {"values": so_far},
            "encoding": {
                "x": time_axis("at", steps.step, _places(begin, end, steps), domain),
                "y": money_axis("cost", currency),
            },
            "layer": [
                *_bands(ahead, currency),
                {"mark": {"type": "area", "style": "spent_under"}},
                {"mark": {"type": "line", "style": "spent_line"}},
                {"data": {"values": ahead}, "mark": {"type": "line", "style": "expected_line"}},
                *([] if limit is None else _limit(limit, domain[0])),
                {
                    "data": {"values": so_far[-1:]},
                    "mark": {"type": "point", "style": "point", "filled": True},
                },
                hover(("step", "By"), ("exact", "Spent")),
                {"data": {"values": ahead}, **_hover_ahead("By")},
            ],
        },
        title=title or f"Spent and expected, {projection.label}",
        subtitle=_standing(projection, currency, limit),
        said=f"{Money(spent, currency)} spent, {Money(projection.total, currency)} expected at the end"
        + ("." if limit is None else f", of a budget of {limit}."),
        width=width,
        height=height,
    )


def _places(begin: datetime, end: datetime, steps: Steps) -> list[datetime]:
    found = [begin]
    while (after := steps.after(found[-1])) < end:
        found.append(after)
    return found


def _course(projection: Projection, spent: int, present: datetime, zone: str, currency: str) -> list[Row]:
    """The expected sum at the end of each step to come, with the spans opening as the rest is spent."""
    ends = [*(wall(at, zone) for at, _ in projection.steps[1:]), wall(projection.until, zone)]
    course = [
        _with_spans(_reached(present, spent, currency), [Span(level, spent, spent) for level in (80, 95)], currency)
    ]
    whole = sum(expected for _, expected in projection.steps)
    run = 0
    for at, (_, expected) in zip(ends, projection.steps, strict=False):
        run += expected
        reached = _part(spent, spent + projection.rest, run, whole)
        spans = [
            Span(one.level, _part(spent, one.low, run, whole), _part(spent, one.high, run, whole))
            for one in projection.intervals
        ]
        course.append(_with_spans(_reached(at, reached, currency), spans, currency))
    return course


def _part(begin: int, end: int, run: int, whole: int) -> int:
    """On the way from one amount to another, as far as `run` is of the `whole`."""
    return begin + ((end - begin) * run // whole if whole else 0)


def forecast(
    table: CostTable, projection: Projection, *, title: str | None = None, width: int = 640, height: int = 300
) -> Spec:
    """Spend by hour or day up to now, and each step that is expected, with bands of 80 and 95 %.

    `table` is the spend by the projection's step, from as far back as is to be seen.
    """
    zone, currency, steps = table.zone, table.currency, Steps.of(table)
    first = wall(projection.steps[0][0] if projection.steps else projection.until, zone)
    costs = {steps.begin(label): cost for label, cost in _by_step(table).items()}
    past = [_step_row(at, cost, steps, currency) for at, cost in costs.items() if at < first]
    # The present step is what it cost already and what is left of it.
    already = sum(cost for at, cost in costs.items() if at >= first)
    places = [wall(at, zone) for at, _ in projection.steps]
    ahead = []
    for index, (at, expected) in enumerate(projection.steps):
        spans = [
            Span(one.level, already + one.low, already + one.high)
            for one in (projection.bands[index] if index < len(projection.bands) else ())
        ]
        ahead.append(_with_spans(_step_row(wall(at, zone), already + expected, steps, currency), spans, currency))
        already = 0
    name = STEP_WORDS[steps.step]
    return finished(
        {
            "data": {"values": past},
            "encoding": {
                "x": time_axis("at", steps.step, [*(at for at in costs if at < first), *places]),
                "y": money_axis("cost", currency),
            },
            "layer": [
                *_bands(ahead, currency),
                {"data": {"values": [*past[-1:], *ahead]}, "mark": {"type": "line", "style": "expected_line"}},
                {"mark": {"type": "line", "style": "spent_line"}},
                hover(("step", name), ("exact", "Cost")),
                {"data": {"values": ahead}, **_hover_ahead(name)},
            ],
        },
        title=title or f"Forecast to the end of {projection.label}",
        subtitle=_standing(projection, currency, None),
        said=f"{Money(projection.spent, currency)} spent, {Money(projection.total, currency)} expected at the end.",
        width=width,
        height=height,
        nothing=not past and not ahead,
    )


def anomaly(
    episode: Episode,
    points: Sequence[ExpectedPoint],
    *,
    zone: str,
    currency: str = "USD",
    title: str | None = None,
    width: int = 640,
    height: int = 280,
) -> Spec:
    """A series with what was expected of it, and the episode in which it cost too much."""
    step = episode.step.value
    values = [_watched(one, episode, zone, currency) for one in points]
    known = [value for value in values if "usual" in value]
    span = {"at": place(wall(episode.since, zone)), "end": place(wall(episode.until, zone))}
    x = time_axis("at", step, [wall(one.at, zone) for one in points])
    named = " / ".join(word(by, key) for by, key in zip(episode.by, episode.keys, strict=True))
    percent = "" if episode.percent is None else f" ({float(episode.percent):+,.0f} %)"
    actual, expected = (format_pico(one, currency) for one in (episode.actual, episode.expected))
    band = {"y": money_axis("low", currency), "y2": {"field": "high"}}
    over_span = {"x": x, "x2": {"field": "end"}, "y": None}
    over = [("step", STEP_WORDS[step]), ("exact", "Cost"), ("usual_exact", "Expected")]
    return finished(
        {
            "data": {"values": values},
            "encoding": {"x": x, "y": money_axis("cost", currency)},
            "layer": [
                {"data": {"values": [span]}, "mark": {"type": "rect", "style": "over_span"}, "encoding": over_span},
                {"data": {"values": known}, "mark": {"type": "area", "style": "usual_band"}, "encoding": band},
                {
                    "data": {"values": known},
                    "mark": {"type": "line", "style": "usual_line"},
                    "encoding": {"y": money_axis("usual", currency)},
                },
                {"mark": {"type": "line", "style": "spent_line"}},
                {
                    "data": {"values": [value for value in values if value["odd"]]},
                    "mark": {"type": "point", "style": "over_point", "filled": True},
                },
                hover(*over),
            ],
        },
        title=title or f"Unusual spend: {named}",
        subtitle=f"{actual} where {expected} was expected{percent}",
        said=f"{Money(episode.actual, currency)} from {span['at'][:-1]} to {span['end'][:-1]}.",
        width=width,
        height=height,
        nothing=not values,
    )


def _watched(one: ExpectedPoint, episode: Episode, zone: str, currency: str) -> Row:
    row: Row = {
        **moment(one.at, zone, episode.step.value),
        **amount(one.actual, currency),
        "odd": episode.since <= one.at < episode.until,
        "usual_exact": "",
    }
    if one.expected is None:
        return row
    low = one.expected if one.low is None else one.low
    high = one.expected if one.high is None else one.high
    usual = str(Money(one.expected, currency))
    return {**row, "usual": drawn(one.expected), "usual_exact": usual, "low": drawn(low), "high": drawn(high)}


# --- shared


def _by_step(table: CostTable) -> dict[str, int]:
    sums: dict[str, int] = {}
    for row in sorted(table.rows, key=lambda row: str(row.keys[0])):
        sums[str(row.keys[0])] = sums.get(str(row.keys[0]), 0) + row.amount
    return sums


def _reached(at: datetime, pico: int, currency: str) -> Row:
    return {"at": place(at), "step": f"{at:%a %Y-%m-%d %H:%M}", **amount(pico, currency)}


def _step_row(at: datetime, pico: int, steps: Steps, currency: str) -> Row:
    return {"at": place(at), "step": steps.said(at), **amount(pico, currency)}


def _with_spans(row: Row, spans: Sequence[Span], currency: str) -> Row:
    found: Row = {**row, "between": ""}
    for one in spans:
        found[f"low_{one.level}"], found[f"high_{one.level}"] = drawn(one.low), drawn(one.high)
        if one.level == 80:
            found["between"] = f"{Money(one.low, currency)} and {Money(one.high, currency)}"
    return found


def _bands(ahead: Sequence[Row], currency: str) -> list[Spec]:
    return [
        {
            "data": {"values": [row for row in ahead if f"low_{level}" in row]},
            "mark": {"type": "area", "style": f"band_{level}"},
            "encoding": {"y": money_axis(f"low_{level}", currency), "y2": {"field": f"high_{level}"}},
        }
        for level in (95, 80)
    ]


def _hover_ahead(step: str) -> Spec:
    return hover(("step", step), ("exact", "Expected"), ("between", "80 % between"), name="near_ahead")


def _limit(limit: Money, at: str) -> list[Spec]:
    """The budget as a line with its name."""
    row = {**amount(limit.pico, limit.currency), "at": at, "named": f"Budget {limit}"}
    return [
        {"data": {"values": [row]}, "mark": {"type": "rule", "style": "limit"}, "encoding": {"x": None}},
        {
            "data": {"values": [row]},
            "mark": {"type": "text", "style": "limit_word"},
            "encoding": {"text": {"field": "named", "type": "nominal"}},
        },
    ]


def _standing(projection: Projection, currency: str, limit: Money | None) -> str:
    spent = f"{format_pico(projection.spent, currency)} spent"
    of = "" if limit is None else f" of {limit}"
    found = next((one for one in projection.intervals if one.level == 80), None)
    between = (
        "" if found is None else f" (80 %: {format_pico(found.low, currency)} to {format_pico(found.high, currency)})"
    )
    return f"{spent}{of}; {format_pico(projection.total, currency)} expected at the end{between}"
