"""Why spend changed, and how unequal what was bought is: a waterfall, a histogram, boxes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import ceil
from typing import Final

from outlay.analytics.comparison import Change
from outlay.faces.charts.parts import Row, Spec, amount, drawn, finished, money_axis, money_label, tooltip
from outlay.money import Money, format_pico

BINS_MOST: Final = 24
BOXES_MOST: Final = 12
_NICE: Final = (1, 2, 5)
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
    joins = [
        {"name": first["name"], "next": second["name"], "level": first["high"]} for first, second in pairwise(values)
    ]
    label = {"labelExpr": "slice(datum.label, 2)", "labelAngle": 0, "labelFontSize": 12}
    scale = {"paddingInner": 0.35, "paddingOuter": 0.2}
    bars: list[Spec] = [
        {
            "transform": [{"filter": f"datum.look == '{look}'"}],
            "mark": {"type": "bar", "style": style, "cornerRadius": 2},
            "encoding": {
                "y": money_axis("low", currency),
                "y2": {"field": "high"},
                "tooltip": tooltip(("label", "What"), ("exact", "Amount")),
            },
        }
        for look, style in (("whole", "whole"), ("more", "over"), ("less", "less"))
    ]
    percent = "" if change.percent is None else f" ({float(change.percent):+,.1f} %)"
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
                    "encoding": {"y": money_axis("level", currency), "x2": {"field": "next"}},
                },
                *bars,
                {
                    "mark": {"type": "text", "style": "word_above"},
                    "encoding": {
                        "y": money_axis("top", currency),
                        "text": {"field": "signed", "type": "nominal"},
                    },
                },
            ],
        },
        title=title,
        subtitle=f"{_signed(change.amount, currency)}{percent}",
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
    count = {"field": "count", "type": "quantitative", "title": what, "axis": {"tickMinStep": 1, "tickCount": 5}}
    rule_x = {"x": {**x, "field": "cost"}, "y": None}
    words = {"text": {"field": "named", "type": "nominal"}, "tooltip": tooltip(("named", "What"), ("exact", "Cost"))}
    first, second = ({"type": "text", "style": "note_word", "y": at} for at in (0, 15))
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
    )


def _bins(ordered: Sequence[int], currency: str) -> list[Row]:
    """Bins of one round width, from a multiple of it on; the last takes its upper end too."""
    if not ordered:
        return []
    width = _round_width(ordered[-1] - ordered[0])
    first = ordered[0] // width
    counts = [0] * (ordered[-1] // width - first + 1)
    for pico in ordered:
        counts[pico // width - first] += 1
    return [
        {
            "from": drawn(low),
            "to": drawn(low + width),
            "count": count,
            "said": f"{count:,}",
            "between": f"{Money(low, currency)} to under {Money(low + width, currency)}",
        }
        for low, count in (((first + index) * width, count) for index, count in enumerate(counts))
    ]


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
    values = [_box(name, sorted(amounts), currency) for name, amounts in groups.items() if amounts][:BOXES_MOST]
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
    )


def _box(name: str, ordered: Sequence[int], currency: str) -> Row:
    row: Row = {"name": name, "count": f"{len(ordered):,}", "most": str(Money(ordered[-1], currency))}
    for rank in (5, 25, 50, 75, 95):
        pico = percentile(ordered, rank)
        row |= {f"at_{rank}": drawn(pico), f"p{rank}": str(Money(pico, currency))}
    return row
