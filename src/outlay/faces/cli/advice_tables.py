"""Advice made tables: measures, what they save together, the plan, what was accepted and did, the checklist."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from outlay.advising import AdviceReport
from outlay.analytics.advice import Advice, AdviceEffect, AdviceState
from outlay.analytics.checklist import Tick, Ticked
from outlay.clock import isoformat
from outlay.faces.aws.unused import Unused
from outlay.faces.cli.estimate_tables import percent
from outlay.faces.cli.render import Cell, Column, Table
from outlay.money import Money

COLUMNS: Final = (
    Column("id", "id"),
    Column("title", "measure"),
    Column("cost", "of", right=True),
    Column("saving", "saves a month", right=True),
    Column("saving_high", "at most", right=True),
    Column("effort", "effort"),
    Column("state", "state", when_empty=False),
)


def table_of_advice(found: AdviceReport, *, dismissed: bool) -> Table:
    """A measure a row; below, what all save together, which is less than their sum."""
    shown = [one for one in found.measures if dismissed or one.state is not AdviceState.DISMISSED]
    saving = found.joint.saving
    foot: list[Cell] = ["together", "", _money(found, found.joint.cost), _money(found, saving.low)]
    foot += [_money(found, saving.high), "", ""]
    note = f"{found.calls:,} calls of {float(found.days):.0f} days looked at; everything costs "
    note += f"{_money(found, found.cost).digits()} a month. Savings of one thing multiply, so together is not the sum"
    return Table(
        COLUMNS, [_row(found, one) for one in shown], foot if shown else None, note=note, facts=_facts(found)
    )


def table_of_plan(found: AdviceReport) -> Table:
    """Month by month: what is done, and what is saved a month from then on."""
    columns = (
        Column("month", "month", right=True),
        Column("measures", "measures"),
        Column("saving", "saved a month", right=True),
        Column("saving_high", "at most", right=True),
        Column("left", "left of the cost", right=True),
        Column("left_high", "to", right=True),
    )
    rows: list[list[Cell]] = [
        [
            one.month,
            ", ".join(dict.fromkeys(id.rpartition("-")[0].replace("_", " ") for id in one.measures))
            or "nothing more",
            _money(found, one.saving.low),
            _money(found, one.saving.high),
            _money(found, one.left.low),
            _money(found, one.left.high),
        ]
        for one in found.plan
    ]
    return Table(columns, rows, title="plan by month: what is easy, then commitments, then what is hard")


def details(found: AdviceReport, one: Advice) -> Iterator[str]:
    """Everything about a measure, in lines."""
    yield f"{one.title}"
    saved = f"{_money(found, one.saving.low).digits()} to {_money(found, one.saving.high).digits()}"
    yield f"  saves {saved} a month of {_money(found, one.cost).digits()}; effort: {one.effort}; {one.id}"
    for name, value in one.evidence:
        yield f"  seen: {name}: {value}"
    for step in one.how:
        yield f"  how: {step}"
    for assumption in one.assumptions:
        yield f"  assumed: {assumption}"
    if one.state is not AdviceState.OPEN:
        yield f"  {one.state}: {one.why}"


def table_of_effects(effects: Sequence[tuple[Advice, AdviceEffect | str]], currency: str) -> Table:
    """What was accepted, and what it did since; or why that cannot be measured."""
    columns = (
        Column("id", "id"),
        Column("accepted_at", "accepted"),
        Column("day_before", "a day before", right=True),
        Column("day_after", "a day since", right=True),
        Column("call_before", "a call before", right=True),
        Column("call_after", "a call since", right=True),
        Column("saved_a_month", "saves a month", right=True),
        Column("at_same_volume", "at the same volume", right=True),
        Column("promised", "promised", right=True),
        Column("note", "", when_empty=False),
    )
    rows: list[list[Cell]] = []
    for advice, effect in effects:
        if isinstance(effect, str):
            rows.append([advice.id, "", None, None, None, None, None, None, None, effect])
            continue
        figures = (*effect.a_day, *effect.a_call, effect.saved_a_month, effect.saved_at_same_volume)
        promised = (
            f"{Money(effect.promised.low, currency).digits()} to {Money(effect.promised.high, currency).digits()}"
        )
        money: list[Cell] = [Money(one, currency) for one in figures]
        rows.append([advice.id, isoformat(effect.accepted_at)[:10], *money, promised, ""])
    none = "" if rows else "none is accepted yet: outlay advise --accept ID"
    return Table(columns, rows, title="what accepted measures did", note=none)


def table_of_checklist(items: Sequence[Ticked]) -> Table:
    """The items by phase, each with the fact that ticks it."""
    columns = (Column("phase", "phase"), Column("tick", ""), Column("item", "item"), Column("fact", "fact"))
    rows: list[list[Cell]] = [[one.item.phase, one.tick.value, one.item.text, one.fact] for one in items]
    done = sum(one.tick is Tick.DONE for one in items)
    return Table(columns, rows, title="the checklist", note=f"{done} of {len(items)} done by facts")


def table_of_unused(found: Sequence[Unused], currency: str) -> Table:
    """What nothing uses, and what it costs a month."""
    columns = (
        Column("kind", "what"),
        Column("name", "name"),
        Column("why", "why"),
        Column("gb", "GB", right=True, when_empty=False),
        Column("cost", "a month", right=True),
    )
    rows: list[list[Cell]] = [
        [one.kind, one.name, one.why, round(one.gb, 3) if one.gb else None, Money(one.cost, currency)]
        for one in found
    ]
    return Table(columns, rows, title="what nothing uses", note="" if found else "nothing was found")


def _row(found: AdviceReport, one: Advice) -> list[Cell]:
    saving = one.saving
    state = "" if one.state is AdviceState.OPEN else one.state.value
    return [
        one.id,
        one.title,
        _money(found, one.cost),
        _money(found, saving.low),
        _money(found, saving.high),
        one.effort.value,
        state,
    ]


def _facts(found: AdviceReport) -> dict[str, Any]:
    """What JSON has beside the rows: all that the measures rest on."""
    low, high = found.joint.percent
    return {
        "currency": found.currency,
        "calls": found.calls,
        "cost": _money(found, found.cost),
        "together": {
            "cost": _money(found, found.joint.cost),
            "low": _money(found, found.joint.saving.low),
            "high": _money(found, found.joint.saving.high),
            "percent_low": percent(low),
            "percent_high": percent(high),
            "sum_of_single_high": _money(found, found.joint.sum_of_single.high),
            "left_out": list(found.joint.left_out),
        },
        "plan": [
            {
                "month": one.month,
                "measures": list(one.measures),
                "low": _money(found, one.saving.low),
                "high": _money(found, one.saving.high),
            }
            for one in found.plan
        ],
        "details": [
            {
                "id": one.id,
                "evidence": dict(one.evidence),
                "how": list(one.how),
                "assumptions": list(one.assumptions),
                "where": {name: list(values) for name, values in one.where.items()},
            }
            for one in found.measures
        ],
    }


def _money(found: AdviceReport, pico: int) -> Money:
    return Money(pico, found.currency)
