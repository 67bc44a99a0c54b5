"""The dashboard: widgets that query series which are really published.

CloudWatch does not add up dimensions. A widget takes the set of dimensions that it wants where that is published;
else it asks Metrics Insights, which does add up, over the smallest published set that holds it; else it is left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

from outlay.faces.aws.definition import COSTS, Definition, MetricOf

WIDTH: Final = 12
HEIGHT: Final = 6
_HOUR_S: Final = 3_600
_FIVE_MINUTES_S: Final = 300
_PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*$")

Metrics = list[list[Any]]


def dashboard_body(definition: Definition) -> dict[str, Any]:
    """The dashboard as PutDashboard takes it (there as JSON text), widgets two a row."""
    widgets = []
    for place, widget in enumerate(_widgets(definition)):
        where = {"x": place % 2 * WIDTH, "y": place // 2 * HEIGHT, "width": WIDTH, "height": HEIGHT}
        widgets.append({"type": "metric", **where, "properties": {"region": definition.region, **widget}})
    return {"widgets": widgets}


def dashboard_text(definition: Definition) -> str:
    """The body as text, the same for the same definition."""
    return json.dumps(dashboard_body(definition), separators=(",", ":"))


def _widgets(definition: Definition) -> Iterator[dict[str, Any]]:
    cost = definition.first(*COSTS)
    if cost is not None:
        yield from _of_cost(definition, cost)
    request = definition.first(MetricOf.REQUEST)
    if request is not None:
        yield from _grouped(definition, request, ("Operation",), "Request Costs", stacked=False)
    shares = definition.first(MetricOf.SERVICE)
    if shares is not None:
        yield from _grouped(definition, shares, ("Service",), "Service Breakdown", stacked=True)
    day = definition.first(MetricOf.DAY)
    if day is not None:
        line = [definition.metrics[day].namespace, day, {"stat": "Maximum", "label": "day so far"}]
        yield _widget("Cost of the Day so Far ($)", [line], period_s=_FIVE_MINUTES_S, stat="Maximum")
    yield from _of_tokens(definition)


def _of_cost(definition: Definition, cost: str) -> Iterator[dict[str, Any]]:
    hourly = _total(definition, cost, "m1", _HOUR_S)
    if hourly is not None:
        yield _widget("Hourly AI Costs ($)", [hourly], period_s=_HOUR_S, label="Cost ($)")
    rate = _total(definition, cost, "m1", _FIVE_MINUTES_S, visible=False)
    if rate is not None:
        # RATE() is the change of the metric a second; what is spent an hour is the sum by its period.
        per_hour = [{"expression": "m1/PERIOD(m1)*3600", "label": "$ per hour", "id": "e1"}]
        yield _widget("Cost Rate ($/hour)", [rate, per_hour], period_s=_FIVE_MINUTES_S, label="$/hour")
    for kind in (MetricOf.CALL, MetricOf.REQUEST):
        metric = definition.first(kind)
        if metric is not None and (by := list(_grouped(definition, metric, ("Provider",), "Cost by Provider"))):
            yield from by
            break


def _of_tokens(definition: Definition) -> Iterator[dict[str, Any]]:
    lines: Metrics = []
    for place, of in enumerate((MetricOf.INPUT_TOKENS, MetricOf.OUTPUT_TOKENS)):
        metric = definition.first(of)
        found = None if metric is None else _total(definition, metric, f"t{place + 1}", _HOUR_S)
        if found is not None:
            lines.append(found)
    if lines:
        yield _widget("Tokens", lines, period_s=_HOUR_S, label="tokens")


def _grouped(
    definition: Definition, metric: str, names: tuple[str, ...], title: str, *, stacked: bool = False
) -> Iterator[dict[str, Any]]:
    query = _query(definition, metric, names, _HOUR_S)
    if query is not None:
        line = [{"expression": query, "id": "q1", "label": ""}]
        yield _widget(f"{title} ($)", [line], period_s=_HOUR_S, stacked=stacked, label="Cost ($)")


def _total(definition: Definition, metric: str, id: str, period_s: int, *, visible: bool = True) -> list[Any] | None:
    """A line of the sum of a metric over everything, under an id of its own."""
    shown: dict[str, Any] = {"id": id, "period": period_s, "label": metric}
    if not visible:
        shown["visible"] = False
    if frozenset() in definition.published(metric):
        return [definition.metrics[metric].namespace, metric, {**shown, "stat": "Sum"}]
    query = _query(definition, metric, (), period_s)
    return None if query is None else [{"expression": query, **shown}]


def _query(definition: Definition, metric: str, names: tuple[str, ...], period_s: int) -> str | None:
    """What asks a metric by these dimensions; None where no published set has them all."""
    wanted, published = frozenset(names), definition.published(metric)
    if wanted in published:
        schema = ",".join(_quoted(each) for each in (definition.metrics[metric].namespace, *sorted(wanted)))
        return f"SEARCH('{{{schema}}} MetricName=\"{metric}\"', 'Sum', {period_s})"
    holding = sorted((each for each in published if wanted < each), key=lambda each: (len(each), sorted(each)))
    if not holding:
        return None
    schema = ", ".join(_quoted(each) for each in (definition.metrics[metric].namespace, *sorted(holding[0])))
    parts = ["SELECT", f"SUM({_quoted(metric)})", "FROM", f"SCHEMA({schema})"]
    if wanted:
        parts += ["GROUP BY", ", ".join(_quoted(name) for name in sorted(wanted))]
    return " ".join(parts)


def _quoted(name: str) -> str:
    return name if _PLAIN.match(name) else f'"{name}"'


def _widget(
    title: str, metrics: Metrics, *, period_s: int, stacked: bool = False, stat: str = "Sum", label: str = "Cost ($)"
) -> dict[str, Any]:
    return {
        "title": title,
        "view": "timeSeries",
        "stacked": stacked,
        "metrics": metrics,
        "period": period_s,
        "stat": stat,
        "yAxis": {"left": {"label": label, "min": 0}},
    }
