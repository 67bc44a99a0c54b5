"""What was spent: over time, by whom, how it goes, and beside how much was used."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from outlay.clock import Instant
from outlay.faces.charts.parts import (
    REST,
    SERIES_MOST,
    STEP_WORDS,
    Row,
    Spec,
    Steps,
    amount,
    bar_axis,
    colours,
    finished,
    heading,
    hover,
    legend_columns,
    moment,
    money_axis,
    time_axis,
    tooltip,
    wall,
    word,
)
from outlay.model import CostRow, CostTable, Quantity
from outlay.money import Money, format_pico, round_half_even

TOP: Final = 10
SIGNIFICANT: Final = 3
"""How many digits of a small amount stand at its bar."""

_ROOM: Final = 1.2
"""How much longer the axis of bars is than the longest: room for its amount in words."""


def spend_over_time(table: CostTable, *, title: str | None = None, width: int = 640, height: int = 300) -> Spec:
    """Spend by hour, day, week or month, stacked by one more dimension if the table has one.

    At most eight series are told apart, the dearest; the others are one. Raises InvalidInput `not_a_time_group`.
    """
    steps = Steps.of(table)
    by = table.by[1] if len(table.by) > 1 else ""
    sums = _summed(table.rows, by)
    names = _dearest(sums) if by else [""]
    values = _cells(table, steps, by, names)
    over = [("step", STEP_WORDS[steps.step]), ("series", heading(by)), ("exact", "Cost"), ("calls", "Calls")]
    encoding: Spec = {
        **bar_axis(steps),
        "y": money_axis("cost", table.currency),
        "tooltip": tooltip(*(pair for pair in over if by or pair[0] != "series")),
    }
    body: Spec = {"data": {"values": values}, "mark": {"type": "bar", "orient": "vertical"}, "encoding": encoding}
    if by:
        columns = legend_columns(names)
        height += 20 * (-(-len(names) // columns) - 1)
        encoding["color"] = {
            "field": "series",
            "type": "nominal",
            "scale": colours(names),
            "legend": {"columns": columns},
        }
        encoding["order"] = {"field": "rank", "type": "quantitative"}
        encoding["opacity"] = {"condition": {"param": "picked", "value": 1}, "value": 0.15}
        select = {"type": "point", "fields": ["series"]}
        body["params"] = [{"name": "picked", "select": select, "bind": "legend"}]
    parts = "; ".join(f"{name}: {Money(sums[name], table.currency)}" for name in names if name in sums)
    return finished(
        body,
        title=title or f"Spend by {steps.step}{f' and {by}' if by else ''}",
        subtitle=_headline(table),
        said=f"{steps.span}, {Money(table.total.amount, table.currency)} in all. {parts if by else ''}",
        width=width,
        height=height,
        nothing=not values,
    )


def _cells(table: CostTable, steps: Steps, by: str, names: Sequence[str]) -> list[Row]:
    """One row for each bar's part; what is not named goes into one."""
    ranks = {name: rank for rank, name in enumerate(names)}
    cells: dict[tuple[str, int], tuple[int, int]] = {}
    for row in table.rows:
        name = word(by, row.keys[1]) if by else ""
        key = (str(row.keys[0]), ranks.get(name, len(names) - 1))
        cost, calls = cells.get(key, (0, 0))
        cells[key] = (cost + row.amount, calls + row.events)
    return [
        {
            **steps.bar(label),
            "series": names[rank],
            "rank": rank,
            "calls": f"{calls:,}",
            **amount(cost, table.currency),
        }
        for (label, rank), (cost, calls) in sorted(cells.items())
    ]


def _summed(rows: Iterable[CostRow], by: str) -> dict[str, int]:
    """What each series costs in all, the dearest first."""
    sums: dict[str, int] = {}
    for row in rows:
        name = word(by, row.keys[1]) if by else ""
        sums[name] = sums.get(name, 0) + row.amount
    return dict(sorted(sums.items(), key=lambda pair: (-pair[1], pair[0])))


def _dearest(sums: dict[str, int]) -> list[str]:
    named = [name for name in sums if name != REST]
    rest = len(named) > SERIES_MOST or REST in sums
    return [*named[:SERIES_MOST], REST] if rest else named


def top_bar(
    table: CostTable, *, most: int = TOP, title: str | None = None, width: int = 640, height: int | None = None
) -> Spec:
    """The dearest groups as bars with their amounts, what is left over as a last one."""
    by = " / ".join(table.by)
    values = _ranked(table, most)
    named = {"mark": {"type": "bar", "style": "spent"}}
    rest = {"mark": {"type": "bar", "style": "whole"}}
    words = {"mark": {"type": "text", "style": "word"}, "encoding": {"text": {"field": "short", "type": "nominal"}}}
    longest = max((value["cost"] for value in values), default=0.0) or 1.0
    shared = {
        "y": {"field": "name", "type": "nominal", "sort": {"field": "rank", "op": "min"}, "title": None},
        "x": {"field": "cost", "type": "quantitative", "axis": None, "scale": {"domainMax": longest * _ROOM}},
        "tooltip": tooltip(("name", heading(by)), ("exact", "Cost"), ("share", "Share"), ("calls", "Calls")),
    }
    return finished(
        {
            "data": {"values": values},
            "encoding": shared,
            "layer": [
                {"transform": [{"filter": "!datum.rest"}], **named},
                *([{"transform": [{"filter": "datum.rest"}], **rest}] if values and values[-1]["rest"] else []),
                words,
            ],
        },
        title=title or f"Spend by {by}",
        subtitle=_headline(table),
        said="; ".join(f"{value['name']}: {value['exact']}" for value in values),
        width=width,
        height=height or 28 * max(len(values), 1) + 70,
        nothing=not values,
    )


def _ranked(table: CostTable, most: int) -> list[Row]:
    whole = table.total.amount
    ranked = sorted(table.rows, key=lambda row: (row.keys[:1] == (REST,), -row.amount, str(row.keys)))
    most = min(most, sum(row.keys[:1] != (REST,) for row in ranked))
    groups = [
        (" / ".join(word(by, key) for by, key in zip(table.by, row.keys, strict=True)), row.amount, row.events)
        for row in ranked[:most]
    ]
    rest = ranked[most:]
    if rest:
        name = "others" if rest[-1].keys[:1] == (REST,) else f"{len(rest):,} others"
        groups.append((name, sum(row.amount for row in rest), sum(row.events for row in rest)))
    return [
        {
            "name": name,
            "rank": rank,
            "rest": rank >= most,
            "calls": f"{calls:,}",
            "share": share(cost, whole),
            "short": format_pico(cost, table.currency, SIGNIFICANT),
            **amount(cost, table.currency),
        }
        for rank, (name, cost, calls) in enumerate(groups)
    ]


def share(part: int, whole: int) -> str:
    """A part of a whole in percent, in words; nothing where there is no whole."""
    return f"{round_half_even(1000 * part, whole) / 10:.1f} %" if whole > 0 else ""


def trend(
    points: Sequence[tuple[Instant, int | None]],
    *,
    zone: str,
    currency: str = "USD",
    step: str = "day",
    title: str = "Trend",
    subtitle: str = "",
    width: int = 640,
    height: int = 240,
) -> Spec:
    """An amount over time as a line, such as what one finished video costs; None leaves a gap. Picounits."""
    values: list[Row] = [
        {**moment(at, zone, step), **({"cost": None, "exact": ""} if pico is None else amount(pico, currency))}
        for at, pico in points
    ]
    known = [value for value in values if value["cost"] is not None]
    latest = next((pico for _, pico in reversed(points) if pico is not None), None)
    last = {"data": {"values": known[-1:]}, "mark": {"type": "point", "style": "point", "filled": True}}
    return finished(
        {
            "data": {"values": values},
            "encoding": {
                "x": time_axis("at", step, [wall(at, zone) for at, _ in points]),
                "y": money_axis("cost", currency),
            },
            "layer": [
                {"mark": {"type": "area", "style": "spent_under"}},
                {"mark": {"type": "line", "style": "spent_line"}},
                last,
                hover(("step", STEP_WORDS[step]), ("exact", "Cost")),
            ],
        },
        title=title,
        subtitle=subtitle or (f"last {format_pico(latest, currency)}" if latest is not None else "nothing yet"),
        said=f"{len(known)} points, from {known[0]['exact']} to {known[-1]['exact']}." if known else "No points.",
        width=width,
        height=height,
        nothing=not known,
    )


def sparkline(amounts: Sequence[int], *, currency: str = "USD", width: int = 120, height: int = 28) -> Spec:
    """A line as small as a word, its last point marked. Picounits, the oldest first."""
    values = [{"at": at, **amount(pico, currency)} for at, pico in enumerate(amounts)]
    last = {"type": "point", "style": "point", "filled": True, "size": 22, "strokeWidth": 0}
    spec = finished(
        {
            "data": {"values": values},
            "encoding": {
                "x": {"field": "at", "type": "quantitative", "axis": None, "scale": {"nice": False}},
                "y": {"field": "cost", "type": "quantitative", "axis": None, "scale": {"zero": True}},
            },
            "layer": [
                {"mark": {"type": "line", "style": "spent_line", "strokeWidth": 1.5}},
                {"data": {"values": values[-1:]}, "mark": last},
            ],
        },
        title="Trend",
        subtitle="",
        said=f"{len(values)} points, the last {values[-1]['exact']}." if values else "No points.",
        width=width,
        height=height,
    )
    del spec["title"]
    return {**spec, "padding": 2}


def money_and_quantity(
    table: CostTable, meter: str, *, unit: str = "", title: str | None = None, width: int = 640, height: int = 360
) -> Spec:
    """What was spent above how much of a meter was used, over the same steps: whether it is more or dearer.

    The table is by a time group and was asked with quantities. Raises InvalidInput `not_a_time_group`.
    """
    steps, unit = Steps.of(table), unit or meter
    sums: dict[str, tuple[int, Quantity]] = {}
    for row in table.rows:
        cost, used = sums.get(str(row.keys[0]), (0, 0))
        sums[str(row.keys[0])] = (cost + row.amount, used + (row.quantities or {}).get(meter, 0))
    values = [
        {**steps.bar(label), "used": float(used), "used_exact": f"{used:,}", **amount(cost, table.currency)}
        for label, (cost, used) in sorted(sums.items())
    ]
    used = sum(one[1] for one in sums.values())
    return finished(
        {
            "data": {"values": values},
            "encoding": {
                **bar_axis(steps),
                "tooltip": tooltip(
                    ("step", STEP_WORDS[steps.step]), ("exact", "Cost"), ("used_exact", heading(unit))
                ),
            },
            "layer": _halves(table.currency, unit),
            "resolve": {"scale": {"y": "independent"}},
        },
        title=title or f"Spend and {unit}",
        subtitle=f"{format_pico(table.total.amount, table.currency)} for {used:,} {unit}",
        said=f"{steps.span}, {Money(table.total.amount, table.currency)} for {used:,} {unit}.",
        width=width,
        height=height,
        nothing=not values,
    )


def _halves(currency: str, unit: str) -> list[Spec]:
    """Two panels by the ranges of their scales, for panels of their own would not fill a page's width."""
    upper = {"scale": {"range": [{"expr": "height * 0.5"}, 18]}}
    lower = {"scale": {"range": [{"expr": "height"}, {"expr": "height * 0.5 + 36"}]}}
    axis = {"labelExpr": "format(datum.value, '~s')", "tickCount": 3, "orient": "left"}
    used = {"field": "used", "type": "quantitative", "title": None, "axis": axis, **lower}

    def caption(text: str, y: Row | int) -> Spec:
        mark = {"type": "text", "style": "caption", "text": text, "x": 0, "y": y}
        return {"data": {"values": [{}]}, "mark": mark, "encoding": {"x": None, "x2": None, "tooltip": None}}

    return [
        {"mark": {"type": "bar", "orient": "vertical"}, "encoding": {"y": money_axis("cost", currency, **upper)}},
        {"mark": {"type": "bar", "style": "whole", "orient": "vertical"}, "encoding": {"y": used}},
        caption("Money", 4),
        caption(heading(unit), {"expr": "height * 0.5 + 24"}),
    ]


def _headline(table: CostTable) -> str:
    if not table.total.events:
        return format_pico(table.total.amount, table.currency)
    return f"{format_pico(table.total.amount, table.currency)} in {table.total.events:,} calls"
