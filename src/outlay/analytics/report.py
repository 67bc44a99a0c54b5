"""A report as values: what a period cost, against the one before, by whom and for what. Pure.

The figures are those of `costs`; what is added here is the change, the shares and the order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final

import msgspec
from msgspec.structs import replace

from outlay.analytics.anomaly import Episode
from outlay.analytics.forecast import Start
from outlay.analytics.projection import Projection
from outlay.clock import Instant, Window, to_datetime
from outlay.model import CostTable
from outlay.money import EXACT, PICO_PER_MICRO, PICO_PER_UNIT, Money, round_half_even

Cell = str | int | Decimal | Money | None

TOP: Final = 10
PROVIDERS_MAX: Final = 4
REST: Final = "(other)"
CAUSES_MAX: Final = 3


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """One table of a report. The first `texts` columns are words, the others figures; `total` is a last row."""

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    texts: int = 1
    total: tuple[Cell, ...] | None = None
    note: str = ""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a period [since, until) cost. `whole` is False for one that still runs."""

    title: str
    label: str
    since: Instant
    until: Instant
    zone: str
    whole: bool
    total: Money
    sections: tuple[Section, ...]


class BudgetLine(msgspec.Struct, frozen=True, kw_only=True):
    """How a budget in money stands in the period: picounits."""

    name: str
    window: str
    limit: int
    spent: int
    projected: int


def summary(now: CostTable, before: CostTable, label: str) -> Section:
    """Total, change against the period before, calls, and what the total rests on."""
    total, past = now.total, before.total
    currency = now.currency
    rows: list[tuple[Cell, ...]] = [
        ("Total", Money(total.amount, currency)),
        (f"Before ({label})", Money(past.amount, currency)),
        ("Change", Money(total.amount - past.amount, currency)),
        ("Change in percent", percent(total.amount - past.amount, past.amount)),
        ("Calls", total.events),
        ("Failed calls", total.failed),
        ("Calls without a price", total.unpriced),
        ("Calls with a part that has no price", total.incomplete),
    ]
    for basis, amount in sorted((total.basis or {}).items(), key=lambda pair: -pair[1]):
        rows.append((f"Of it {basis}", Money(amount, currency)))
        rows.append((f"Of it {basis}, in percent", percent(amount, total.amount)))
    note = f"{now.spooled} calls wait in spools and are not in these figures yet" if now.spooled else ""
    return Section(name="summary", title="Summary", columns=("", "Value"), rows=tuple(rows), note=note)


def groups(name: str, title: str, now: CostTable, before: CostTable, most: int = TOP) -> Section:
    """The dearest groups with their share and change; the others as one row, so that the rows sum to the total."""
    past = {row.keys: row.amount for row in before.rows}
    ranked = sorted(now.rows, key=lambda row: (-row.amount, str(row.keys)))
    currency, whole = now.currency, now.total.amount

    def line(words: tuple[str, ...], amount: int, calls: int, was: int) -> tuple[Cell, ...]:
        change = Money(amount - was, currency)
        return (*words, Money(amount, currency), percent(amount, whole), change, percent(amount - was, was), calls)

    rows = []
    for row in ranked[:most]:
        words = tuple(_word(by, key) for by, key in zip(now.by, row.keys, strict=True))
        rows.append(line(words, row.amount, row.events, past.get(row.keys, 0)))
    rest = ranked[most:]
    shown = {row.keys for row in ranked[:most]}
    if rest:
        was = sum(amount for keys, amount in past.items() if keys not in shown)
        words = (REST, *("" for _ in now.by[1:]))
        rows.append(line(words, sum(row.amount for row in rest), sum(row.events for row in rest), was))
    return Section(
        name=name,
        title=title,
        columns=(*(by.capitalize() for by in now.by), "Cost", "% of total", "Change", "Change %", "Calls"),
        rows=tuple(rows),
        texts=len(now.by),
        total=line(("Total", *("" for _ in now.by[1:])), whole, now.total.events, before.total.amount),
    )


def daily(table: CostTable, finished: Mapping[str, int], notes: Mapping[str, str]) -> Section:
    """Each day: what the dearest providers cost, what was finished, the cost of one, and what people noted.

    `table` is by day and provider; `finished` are units and `notes` words, by day.
    """
    sums: dict[str, int] = {}
    days: dict[str, dict[str, int]] = {}
    for row in table.rows:
        day, provider = str(row.keys[0]), row.keys[1] or REST
        sums[provider] = sums.get(provider, 0) + row.amount
        days.setdefault(day, {})[provider] = days.get(day, {}).get(provider, 0) + row.amount
    named = sorted(sums, key=lambda one: (-sums[one], one))[:PROVIDERS_MAX]
    for day in (*finished, *notes):
        days.setdefault(day, {})

    def line(day: str, spent: Mapping[str, int], units: int, note: str) -> tuple[Cell, ...]:
        whole = sum(spent.values())
        each = [spent.get(one, 0) for one in named]
        one_unit = Money(round_half_even(whole, units), table.currency) if units else None
        money = [Money(amount, table.currency) for amount in (*each, whole - sum(each), whole)]
        return (day, note, *money, units, one_unit)

    rows = [line(day, days[day], finished.get(day, 0), notes.get(day, "")) for day in sorted(days)]
    return Section(
        name="daily",
        title="Day by day",
        columns=("Date", "Notes", *named, "Others", "Total", "Finished", "Cost of one"),
        rows=tuple(rows),
        texts=2,
        total=line("Total", sums, sum(finished.values()), ""),
    )


def budgets(lines: Sequence[BudgetLine], currency: str) -> Section:
    """Budget against actual: what is left, in money and percent, and what the window is expected to end with."""
    rows = tuple(
        (
            line.name,
            line.window,
            Money(line.limit, currency),
            Money(line.spent, currency),
            Money(line.spent - line.limit, currency),
            percent(line.spent - line.limit, line.limit),
            about(line.projected, currency),
            _warned(line, currency),
        )
        for line in lines
    )
    columns = ("Budget", "Window", "Limit", "Actual", "Variance", "Variance %", "Expected", "Warning")
    return Section(name="budgets", title="Budgets against actual", columns=columns, rows=rows, texts=2)


def _warned(line: BudgetLine, currency: str) -> str:
    if line.spent > line.limit:
        return f"over by {Money(line.spent - line.limit, currency)}"
    if line.projected > line.limit:
        return f"would be over by {about(line.projected - line.limit, currency)}"
    return ""


def ahead(
    spent: int, window: Window, now: Instant, days: tuple[int, int], currency: str, found: Projection | None
) -> Section:
    """Of a period that still runs: the daily average so far, and what it is expected to end with.

    `days` are those of the period and those that have not begun. Without a forecast the pace so far goes on.
    """
    elapsed = max(now - window.start, 1)
    at_this_pace = round_half_even(spent * (window.end - window.start), elapsed)
    rows: list[tuple[Cell, ...]] = [
        ("Daily average so far", Money(round_half_even(at_this_pace, max(days[0], 1)), currency)),
        ("Days that have not begun", days[1]),
    ]
    if found is None or found.learned in (Start.NONE, Start.COLD):
        rows.append(("At this pace the period ends with", Money(at_this_pace, currency)))
        return Section(name="forecast", title="Forecast", columns=("", "Value"), rows=tuple(rows))
    rows.append(("Expected at its end", about(found.total, currency)))
    for span in found.intervals:
        rows.append((f"{span.level} % of the time at least", about(span.low, currency)))
        rows.append((f"{span.level} % of the time at most", about(span.high, currency)))
    note = "" if found.learned is Start.WHOLE else f"Learned from {found.learned.value}"
    return Section(name="forecast", title="Forecast", columns=("", "Value"), rows=tuple(rows), note=note)


def anomalies(found: Sequence[Episode], zone: str, currency: str) -> Section:
    """Unusual spend: what, since when, what explains it most, and how much it was above the expectation."""
    rows = tuple(
        (
            f"{to_datetime(one.since, zone):%Y-%m-%d %H:%M}",
            " ".join(key or f"(no {by})" for by, key in zip(one.by, one.keys, strict=True)),
            ", ".join(f"{cause.dimension} {cause.value}" for cause in one.causes[:CAUSES_MAX]),
            about(one.expected, currency),
            Money(one.actual, currency),
            about(one.impact, currency),
            percent(one.impact, one.expected),
        )
        for one in found[:TOP]
    )
    columns = ("Since", "What", "Mostly", "Expected", "Actual", "More", "More %")
    return Section(name="anomalies", title="Unusual spend", columns=columns, rows=rows, texts=3)


def with_notes(section: Section, notes: Sequence[str]) -> Section:
    """The table with people's words about its rows, in a last column; `notes` has one for each of the first rows."""
    if not any(notes):
        return section
    words = [*notes, *("" for _ in section.rows[len(notes) :])]
    rows = tuple((*row, said) for row, said in zip(section.rows, words, strict=True))
    total = None if section.total is None else (*section.total, "")
    return replace(section, columns=(*section.columns, "Notes"), rows=rows, total=total)


def about(pico: int, currency: str) -> Money:
    """An expected amount without digits that nobody can expect: to the cent, below a unit to its millionth."""
    step = PICO_PER_UNIT // 100 if abs(pico) >= PICO_PER_UNIT else PICO_PER_MICRO
    return Money(round_half_even(pico, step) * step, currency)


def percent(part: int, whole: int) -> Decimal | None:
    """To one decimal; None where there is nothing to compare with."""
    if whole <= 0:
        return None
    return Decimal(round_half_even(part * 1_000, whole)).scaleb(-1, EXACT)


def _word(by: str, key: str | None) -> str:
    return f"(no {by})" if key is None else key
