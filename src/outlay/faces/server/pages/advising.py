"""Advice: what may be saved, how, what was said to it, and what it did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from starlette.responses import Response

from outlay.faces.server.pages.asking import Problem
from outlay.faces.server.pages.components import (
    Action,
    Badge,
    Card,
    Cards,
    Count,
    Facts,
    Figure,
    Figures,
    Fold,
    Percent,
    Prose,
    Several,
    Table,
    Tone,
    change_of,
    columns,
    share,
)
from outlay.faces.server.pages.overview import quoted
from outlay.faces.server.pages.visit import Page, Visit

_TONES: Final[Mapping[str, Tone]] = {"open": "quiet", "accepted": "good", "dismissed": "quiet"}


async def advice(visit: Visit) -> Response:
    """The page stands at once; calls are looked at one by one, which takes some seconds."""
    cards = [
        Card(title="What may be saved", note="by the calls of the last 30 days", part="/parts/advice", height=400),
        Card(title="What accepted measures did", part="/parts/advice-effects", height=120),
    ]
    return visit.page("Advice", [Cards(cards)])


async def measures(visit: Visit) -> Response:
    """All measures with what they rest on, what they save together, and the plan."""
    found = await visit.ask.worked_out("/v1/advice", {})
    standing = [one for one in found["measures"] if one["state"] == "open"]
    figures = Figures(
        [
            Figure(
                label="Together, a month",
                value=_range(visit, found["together"]),
                note="less than the sum: savings of one thing multiply",
                id="together",
            ),
            Figure(label="Of a cost of", value=visit.amount(found["cost"]), note="a month, as of late"),
            Figure(label="Open measures", value=Count(str(len(standing))), note=f"of {len(found['measures'])}"),
            Figure(label="Calls looked at", value=Count(str(found["calls"])), note="one by one, the latest"),
        ]
    )
    details = [Fold(one["title"], _details(visit, one)) for one in found["measures"]]
    return visit.part([figures, _table(visit, found), *_plan(visit, found), *details])


def _table(visit: Visit, found: Mapping[str, Any]) -> Table:
    left_out = set(found["left_out"])
    rows = [
        (
            one["title"],
            visit.amount(one["cost"]),
            _range(visit, one["saving"]),
            Percent(share(Decimal(one["saving"]["high"]), Decimal(one["cost"]))),
            one["effort"],
            Badge("another counts instead") if one["id"] in left_out else Badge(one["state"], _TONES[one["state"]]),
        )
        for one in found["measures"]
    ]
    return Table(
        caption="Measures",
        columns=columns("Measure", ">~Acts on", ">Saves a month", ">~At most", "~Effort", "State"),
        rows=rows,
        empty="Nothing is worth advising: no group of 20 calls or more shows what could be cheaper.",
    )


def _range(visit: Visit, told: Mapping[str, str]) -> Any:
    if told["low"] == told["high"]:
        return visit.amount(told["low"])
    return Several((visit.amount(told["low"]), "to", visit.amount(told["high"])))


def _details(visit: Visit, one: Mapping[str, Any]) -> list[Any]:
    facts = [("Acts on", one["target"]), *((name, value) for name, value in one["evidence"])]
    if one["why"]:
        facts.append(("Said", one["why"]))
    blocks: list[Any] = [Facts(facts), *(Prose(step) for step in one["how"])]
    if one["assumptions"]:
        blocks.append(Prose("Assumed: " + "; ".join(one["assumptions"])))
    return [*blocks, *([_answers(one)] if visit.may_change else [])]


def _answers(one: Mapping[str, Any]) -> Several:
    path, name = f"/advice/{quoted(one['id'])}", one["title"]
    choices = {"open": ("accepted", "dismissed")}.get(one["state"], ("open",))
    words = {"accepted": "Accept", "dismissed": "Dismiss", "open": "Open again"}
    return Several(tuple(Action(words[state], path, (("state", state),), ask="Why", name=name) for state in choices))


def _plan(visit: Visit, found: Mapping[str, Any]) -> list[Any]:
    titles = {one["id"]: one["title"] for one in found["measures"]}
    rows = [
        (
            str(one["month"]),
            _named([titles.get(id, id) for id in one["measures"]]),
            _range(visit, one["saving"]),
            _range(visit, one["left"]),
        )
        for one in found["plan"]
        if one["measures"]
    ]
    if not rows:
        return []
    titled = columns("Month", "What is done", ">Saved a month", ">~Left of the cost")
    return [Table(caption="Month by month", columns=titled, rows=rows)]


def _named(titles: Sequence[str]) -> str:
    more = f", and {len(titles) - 1} more" if len(titles) > 1 else ""
    return titles[0] + more


async def effects(visit: Visit) -> Response:
    """What accepted measures did, four weeks before and since."""
    rows = [await _effect(visit, one) for one in await visit.ask.get("/v1/accepted-advice")]
    table = Table(
        caption="What accepted measures did",
        columns=columns("Measure", "Accepted", ">~A day before", ">A day since", ">Change", ">~Calls a day"),
        rows=rows,
        empty="No measure was accepted yet.",
        note="a cheaper day may come of fewer calls",
    )
    return visit.part([table])


async def _effect(visit: Visit, one: Mapping[str, Any]) -> tuple[Any, ...]:
    try:
        found = await visit.ask.get(f"/v1/advice/{quoted(one['id'])}/effect")
    except Problem as problem:
        return one["title"], visit.moment(one["decided_at"]), "", problem.message, "", ""
    days = [max(Decimal(found[f"days_{side}"]), Decimal("0.001")) for side in ("before", "after")]
    before, after = (
        (Decimal(found[f"cost_{side}"]) / span).quantize(Decimal("1e-12"))
        for side, span in zip(("before", "after"), days, strict=True)
    )
    calls = tuple(
        Count(format(Decimal(found[f"calls_{side}"]) / span, ".1f"))
        for side, span in zip(("before", "after"), days, strict=True)
    )
    return (
        one["title"],
        visit.moment(found["accepted_at"]),
        visit.amount(before),
        visit.amount(after),
        change_of(after, before),
        Several((calls[0], "→", calls[1])),
    )


async def decide(visit: Visit) -> Response:
    """Accept or dismiss a measure, or open it again."""
    id = quoted(visit.request.path_params["id"])
    body = {"state": visit.form.get("state", ""), "why": visit.form.get("why", "")}
    await visit.ask.send("POST", f"/v1/advice/{id}/decision", body)
    return visit.go("/advice", done="decided")


PAGES: Final = (
    Page("GET", "/advice", "read unscoped", advice),
    Page("POST", "/advice/{id}", "admin", decide),
    Page("GET", "/parts/advice", "read unscoped", measures),
    Page("GET", "/parts/advice-effects", "read unscoped", effects),
)
