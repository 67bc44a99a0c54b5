"""Why spend changed, and how unequal what was bought is: a waterfall, a histogram, boxes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import ceil, floor, log10
from typing import Final

from outlay.analytics.comparison import Change
from outlay.faces.charts.parts import Row, Spec, amount, drawn, finished, money_axis, money_label, plain, tooltip
from outlay.money import PICO_PER_UNIT, Money, format_pico

BINS_MOST: Final = 24
BOXES_MOST: Final = 12
_BEYOND_PERCENT: Final = 150
"""Beyond so much of the 95th percentile is what would leave no room for the others."""

_NICE: Final = (1, 2, 5)
_SEEN: Final = 0.25
"""Which share of the whole the changes must reach to be seen beside it."""

_GROUND: Final = 1
"""How far below the changes an axis begins that does not begin at nothing, in their own reach."""

_MARKS: Final = ((50, "median"), (95, "95th percentile"))


def waterfall(
    change: Change,
    *,
    currency: str = "USD",
    before: str = "Before",
    after: str = "After",
    title: str = "What changed",
    width: int = 640,
    height: int = 300,
) -> Spec:
    """From one period's spend to the other's by what made the difference: volume, mix, price, failures."""
    values = _stairs(change, currency, before, after)
    begin = _floor(values)
    for value in values:
        # What stands on the ground stands where the axis begins.
        value["base"] = max(value["low"], begin) if value["look"] == "whole" else value["low"]
    joins = [
        {"name": first["name"], "next": second["name"], "level": first["high"]} for first, second in pairwise(values)
    ]
    label = {"labelExpr": "slice(datum.label, 2)", "labelAngle": 0, "labelFontSize": 12}
    scale = {"paddingInner": 0.35, "paddingOuter": 0.2}
    axis = {"scale": {"domainMin": begin, "nice": False} if begin else {"zero": True}}
    bars: list[Spec] = [
        {
            "transform": [{"filter": f"datum.look == '{look}'"}],
            "mark": {"type": "bar", "style": style, "cornerRadius": 2},
            "encoding": {
                "y": money_axis("base", currency, **axis),
                "y2": {"field": "high"},
                "tooltip": tooltip(("label", "What"), ("exact", "Amount")),
            },
        }
        for look, style in (("whole", "whole"), ("more", "over"), ("less", "less"))
        if any(value["look"] == look for value in values)
    ]
    percent = "" if change.percent is None else f" ({float(change.percent):+,.1f} %)"
    cut = f"; the axis begins at {Money(round(begin * PICO_PER_UNIT), currency)}" if begin else ""
    return finished(
        {
            "data": {"values": values},
            "encoding": {
                "x": {"field": "name", "type": "nominal", "sort": None, "title": None, "axis": label, "scale": scale}
            },
            "layer": [
                {
                    "data": {"values": joins},
                    "mark": {"type": "rule", "style": "join"},
                    "encoding": {"y": money_axis("level", currency, **axis), "x2": {"field": "next"}},
                },
                *bars,
                {
                    "mark": {"type": "text", "style": "word_above"},
                    "encoding": {
                        "y": money_axis("top", currency, **axis),
                        "text": {"field": "signed", "type": "nominal"},
                    },
                },
            ],
        },
        title=title,
        subtitle=f"{_signed(change.amount, currency)}{percent}{cut}",
        said="; ".join(f"{value['label']}: {value['exact']}" for value in values),
        width=width,
        height=height,
    )


def _stairs(change: Change, currency: str, before: str, after: str) -> list[Row]:
    causes = (("Volume", change.volume), ("Mix", change.mix), ("Price", change.price), ("Failures", change.failures))
    bars = [(before, 0, change.before, "whole")]
    run = change.before
    for name, rise in causes:
        bars.append((name, run, run + rise, "less" if rise < 0 else "more"))
        run += rise
    bars.append((after, 0, change.after, "whole"))
    rows = []
    for index, (name, low, high, look) in enumerate(bars):
        told = high - low
        rows.append(
            {
                # The place before the name keeps two periods of the same name apart.
                "name": f"{index} {name}",
                "label": name,
                "low": drawn(low),
                "high": drawn(high),
                "top": drawn(max(low, high)),
                "look": look,
                "signed": format_pico(told, currency) if look == "whole" else _signed(told, currency),
                **amount(told, currency),
            }
        )
    return rows


def _floor(values: Sequence[Row]) -> float:
    """Where the axis begins: at nothing, but for changes too small to be seen beside the whole, just below them."""
    tops = [value["high"] for value in values] + [value["low"] for value in values if value["look"] != "whole"]
    low, high = min(tops), max(tops)
    reach = high - low
    if reach <= 0 or low <= 0 or reach > _SEEN * high:
        return 0.0
    step = 10.0 ** floor(log10(reach))
    return float(max(0.0, (floor(low / step) - ceil(reach / step) * _GROUND) * step))


def _signed(pico: int, currency: str) -> str:
    return f"{'+' if pico > 0 else ''}{format_pico(pico, currency)}"


def histogram(
    amounts: Sequence[int],
    *,
    currency: str = "USD",
    what: str = "jobs",
    title: str | None = None,
    width: int = 640,
    height: int = 280,
) -> Spec:
    """How many of `what` cost how much, with the median and the 95th percentile (nearest-rank). Picounits."""
    ordered = sorted(amounts)
    values = _bins(ordered, currency)
    room = {"domainMax": 1.28 * max((value["count"] for value in values), default=1)}
    marks = [
        {
            **amount(percentile(ordered, rank), currency),
            "named": f"{name} {format_pico(percentile(ordered, rank), currency)}",
        }
        for rank, name in _MARKS
        if ordered
    ]
    label = {"labelExpr": money_label(currency), "tickCount": 8}
    x = {"type": "quantitative", "title": None, "axis": label, "scale": {"nice": False}}
    count = {
        "field": "count",
        "type": "quantitative",
        "title": what,
        "axis": {"tickMinStep": 1, "tickCount": 5},
        "scale": room,
    }
    rule_x = {"x": {**x, "field": "cost"}, "y": None}
    words = {"text": {"field": "named", "type": "nominal"}, "tooltip": tooltip(("named", "What"), ("exact", "Cost"))}
    first: Spec = {"type": "text", "style": "mark_word", "align": "right", "dx": -4, "y": 0}
    second: Spec = {"type": "text", "style": "mark_word", "y": 0}
    return finished(
        {
            "layer": [
                {
                    "data": {"values": values},
                    "mark": {"type": "bar", "orient": "vertical"},
                    "encoding": {
                        "x": {**x, "field": "from", "bin": "binned"},
                        "x2": {"field": "to"},
                        "y": count,
                        "tooltip": tooltip(("between", "Cost"), ("said", what.capitalize())),
                    },
                },
                {"data": {"values": marks}, "mark": {"type": "rule", "style": "limit"}, "encoding": rule_x},
                {"data": {"values": marks[:1]}, "mark": first, "encoding": {**rule_x, **words}},
                {"data": {"values": marks[1:]}, "mark": second, "encoding": {**rule_x, **words}},
            ]
        },
        title=title or f"What {what} cost",
        subtitle=f"{len(ordered):,} {what}, {format_pico(sum(ordered), currency)} in all",
        said="; ".join(f"{mark['named']}" for mark in marks),
        width=width,
        height=height,
        nothing=not ordered,
    )


def _bins(ordered: Sequence[int], currency: str) -> list[Row]:
    """Bins of one round width, from a multiple of it on; the few that are far beyond all others share the last."""
    if not ordered:
        return []
    usual = max(percentile(ordered, 95) * _BEYOND_PERCENT // 100, percentile(ordered, 50))
    reach = min(ordered[-1], max(usual, ordered[0]))
    width = _round_width(reach - ordered[0])
    first, last = ordered[0] // width, reach // width
    beyond = ordered[-1] // width > last
    counts = [0] * (last - first + 1 + beyond)
    for pico in ordered:
        counts[min(pico // width - first, len(counts) - 1)] += 1
    rows = []
    for index, count in enumerate(counts):
        low = (first + index) * width
        ends = f"to under {Money(low + width, currency)}"
        if beyond and index == len(counts) - 1:
            ends = f"and more, up to {Money(ordered[-1], currency)}"
        between = f"{Money(low, currency)} {ends}"
        place = {"from": drawn(low), "to": drawn(low + width)}
        rows.append({**place, "count": count, "said": f"{count:,}", "between": between})
    return rows


def _round_width(reach: int) -> int:
    """The least of 1, 2, 5 times a power of ten that makes at most so many bins."""
    least, power = max(1, ceil(reach / BINS_MOST)), 1
    while True:
        for factor in _NICE:
            if factor * power >= least:
                return factor * power
        power *= 10


def percentile(ordered: Sequence[int], rank: int) -> int:
    """By nearest rank, as the ledger counts them; `ordered` is not empty."""
    return ordered[max(0, -(-len(ordered) * rank // 100) - 1)]


def boxes(
    groups: Mapping[str, Sequence[int]],
    *,
    currency: str = "USD",
    what: str = "jobs",
    title: str | None = None,
    width: int = 640,
    height: int | None = None,
) -> Spec:
    """How unequal each group's costs are: the middle half as a box, the median, 5 to 95 % as a line. Picounits."""
    values = [_box(plain(name), sorted(amounts), currency) for name, amounts in groups.items() if amounts][
        :BOXES_MOST
    ]
    label = {"labelExpr": money_label(currency), "tickCount": 6, "grid": True}
    x = {"type": "quantitative", "title": None, "axis": label, "scale": {"zero": True}}
    said = tooltip(
        ("name", "Group"),
        ("count", what.capitalize()),
        ("p5", "5 %"),
        ("p25", "25 %"),
        ("p50", "Median"),
        ("p75", "75 %"),
        ("p95", "95 %"),
        ("most", "Dearest"),
    )
    return finished(
        {
            "data": {"values": values},
            "encoding": {"y": {"field": "name", "type": "nominal", "sort": None, "title": None}, "tooltip": said},
            "layer": [
                {
                    "mark": {"type": "rule", "style": "whisker"},
                    "encoding": {"x": {**x, "field": "at_5"}, "x2": {"field": "at_95"}},
                },
                {
                    "mark": {"type": "bar", "style": "spent", "height": 16, "cornerRadius": 2},
                    "encoding": {"x": {**x, "field": "at_25"}, "x2": {"field": "at_75"}},
                },
                {
                    "mark": {"type": "tick", "style": "middle", "thickness": 2, "height": 16},
                    "encoding": {"x": {**x, "field": "at_50"}},
                },
            ],
        },
        title=title or f"What {what} cost, by group",
        subtitle="box: the middle half; line: 5 to 95 %; light mark: the median",
        said="; ".join(f"{value['name']}: median {value['p50']}, 95 % {value['p95']}" for value in values),
        width=width,
        height=height or 34 * max(len(values), 1) + 90,
        nothing=not values,
    )


def _box(name: str, ordered: Sequence[int], currency: str) -> Row:
    row: Row = {"name": name, "count": f"{len(ordered):,}", "most": str(Money(ordered[-1], currency))}
    for rank in (5, 25, 50, 75, 95):
        pico = percentile(ordered, rank)
        row |= {f"at_{rank}": drawn(pico), f"p{rank}": str(Money(pico, currency))}
    return row
