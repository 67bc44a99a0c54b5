"""Forecasts, anomalies and comparisons made tables. JSON holds more than people see: steps, causes, weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any

from outlay.analytics.anomaly import Episode
from outlay.analytics.comparison import ComparedRow, Comparison
from outlay.analytics.projection import Projection, Projections
from outlay.clock import Instant, isoformat, to_datetime
from outlay.faces.cli.answering import named
from outlay.faces.cli.render import Cell, Column, Named, Table, exact
from outlay.money import Money

PARTS = ("volume", "mix", "price", "failures")


def table_of_forecast(found: Projections) -> Table:
    """A projection a row, and that of all together below."""
    levels = sorted({span.level for row in (*found.rows, found.total) for span in row.intervals})
    columns = [
        *(Column(name, name) for name in found.by),
        Column("spent", "spent so far", right=True),
        Column("expected", f"at the end of {found.total.label}", right=True),
        *(Column(f"{side}_{level}", f"{level} % {side}", right=True) for level in levels for side in ("from", "to")),
    ]
    rows = [_projection(found, row, levels) for row in found.rows]
    whole = _projection(found, found.total, levels)
    total = ["total", *[""] * (len(found.by) - 1), *whole] if found.by else None
    return Table(
        columns,
        rows if found.by else [whole],
        total,
        note=f"until {_clock_text(found.total.until, found.zone)} {found.zone}; learned from: {found.total.learned}",
        facts={
            "by": list(found.by),
            "currency": found.currency,
            "zone": found.zone,
            "total": _projection_facts(found.total, found.currency),
        },
    )


def _projection(found: Projections, row: Projection, levels: Sequence[int]) -> list[Cell]:
    spans = {span.level: span for span in row.intervals}
    cells: list[Cell] = [Named(key, named(key, name)) for key, name in zip(row.keys, found.by, strict=False)]
    cells += [Money(row.spent, found.currency), Money(row.total, found.currency)]
    for level in levels:
        span = spans.get(level)
        cells += [None, None] if span is None else [Money(at, found.currency) for at in (span.low, span.high)]
    return cells


def _projection_facts(row: Projection, currency: str) -> dict[str, Any]:
    return {
        "window": row.label,
        "since": isoformat(row.since),
        "until": isoformat(row.until),
        "spent": exact(Money(row.spent, currency)),
        "expected": exact(Money(row.total, currency)),
        "intervals": [
            {"level": span.level, "from": exact(Money(span.low, currency)), "to": exact(Money(span.high, currency))}
            for span in row.intervals
        ],
        "learned": str(row.learned),
        "weights": row.weights,
        "steps": [{"time": isoformat(at), "expected": exact(Money(pico, currency))} for at, pico in row.steps],
    }


ANOMALY_COLUMNS = (
    Column("since", "since"),
    Column("until", "until"),
    Column("what", "what"),
    Column("expected", "expected", right=True),
    Column("actual", "actual", right=True),
    Column("impact", "impact", right=True),
    Column("percent", "%", right=True),
    Column("goes_on", "goes on"),
    Column("verdict", "judged", when_empty=False),
    Column("causes", "explained by"),
    Column("note", "note", when_empty=False),
    Column("id", "id"),
)


def table_of_anomalies(found: Sequence[Episode], currency: str, zone: str, notes: Mapping[str, str]) -> Table:
    """An episode a row, the latest first; `notes` are people's words by its id."""
    rows: list[Sequence[Cell]] = [
        [
            Named(isoformat(episode.since), _clock_text(episode.since, zone)),
            Named(isoformat(episode.until), _clock_text(episode.until, zone)),
            _what(episode),
            Money(episode.expected, currency),
            Money(episode.actual, currency),
            Money(episode.impact, currency),
            _percent(episode.percent),
            episode.goes_on,
            None if episode.verdict is None else episode.verdict.value,
            _causes(episode, currency),
            notes.get(episode.id, ""),
            episode.id,
        ]
        for episode in found
    ]
    note = "" if found else "nothing unusual"
    causes = {
        episode.id: [
            {
                "dimension": cause.dimension,
                "value": cause.value,
                "expected": Money(cause.expected, currency),
                "actual": Money(cause.actual, currency),
                "rise": Money(cause.rise, currency),
            }
            for cause in episode.causes
        ]
        for episode in found
    }
    return Table(ANOMALY_COLUMNS, rows, note=note, facts={"currency": currency, "zone": zone, "causes": causes})


def _what(episode: Episode) -> str:
    keys = "/".join(named(key, name) for key, name in zip(episode.keys, episode.by, strict=True))
    return keys if len(episode.by) > 1 else f"{episode.by[0]} {keys}"


def _causes(episode: Episode, currency: str) -> str:
    """The greatest cause of each dimension."""
    first = {cause.dimension: cause for cause in reversed(episode.causes)}
    greatest = sorted(first.values(), key=lambda cause: -cause.rise)
    return ", ".join(
        f"{cause.dimension} {cause.value} +{Money(cause.rise, currency).digits(3)}" for cause in greatest
    )


def table_of_comparison(
    found: Comparison, currency: str, spans: tuple[tuple[Instant, Instant], tuple[Instant, Instant]], zone: str
) -> Table:
    """A group a row, the greatest change first; the parts of each change add up to it."""
    columns = [
        *(Column(name, name) for name in found.by),
        Column("before", "before", right=True),
        Column("after", "after", right=True),
        Column("change", "change", right=True),
        Column("percent", "%", right=True),
        *(Column(name, f"by {name}", right=True) for name in PARTS),
        Column("calls_before", "calls before", right=True),
        Column("calls_after", "calls after", right=True),
    ]
    rows = [
        [
            *(Named(key, named(key, name)) for key, name in zip(row.keys, found.by, strict=True)),
            *_change(row, currency),
        ]
        for row in found.rows
    ]
    times = [f"{_clock_text(first, zone)} to {_clock_text(last, zone)}" for first, last in spans]
    by_day = "; amounts are by the day, for the periods differ in length" if found.by_day else ""
    return Table(
        columns,
        rows,
        ["total", *[""] * (len(found.by) - 1), *_change(found.total, currency)],
        note=f"before: {times[0]}, after: {times[1]} {zone}{by_day}",
        facts={
            "by": list(found.by),
            "currency": currency,
            "by_day": found.by_day,
            "before": [isoformat(at) for at in spans[0]],
            "after": [isoformat(at) for at in spans[1]],
            "total": dict(
                zip((column.name for column in columns[len(found.by) :]), _change(found.total, currency), strict=True)
            ),
        },
    )


def _change(row: ComparedRow, currency: str) -> list[Cell]:
    change = row.change
    return [
        Money(change.before, currency),
        Money(change.after, currency),
        Money(change.amount, currency),
        _percent(change.percent),
        *(Money(getattr(change, name), currency) for name in PARTS),
        row.before.calls,
        row.after.calls,
    ]


def _percent(value: Fraction | None) -> Decimal | None:
    """To one decimal; None where there is nothing to be a part of."""
    return None if value is None else Decimal(round(value * 10)) / 10


def _clock_text(instant: Instant, zone: str) -> str:
    return to_datetime(instant, zone).strftime("%Y-%m-%d %H:%M")
