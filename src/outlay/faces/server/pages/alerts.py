"""Alerts and anomalies: what crossed which rule, what was unusual and why, and what people do about it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

from starlette.responses import Response

from outlay.clock import MICROSECONDS_PER_SECOND, isoformat
from outlay.errors import NotFound
from outlay.faces.server.pages.components import (
    NONE,
    Action,
    Badge,
    Card,
    Cards,
    Chart,
    Figure,
    Figures,
    Link,
    Notice,
    Percent,
    Several,
    Table,
    columns,
)
from outlay.faces.server.pages.overview import into, named, quoted, tone_of, words_on
from outlay.faces.server.pages.visit import Page, Period, Visit, address

BACK_DAYS: Final = 30
"""How far back anomalies are looked for."""

SNOOZE_SECONDS: Final = 24 * 3_600


async def alerts(visit: Visit) -> Response:
    """Alerts with what people did about them, and episodes of unusual spend."""
    found = await visit.ask.get("/v1/alerts", limit=100)
    blocks: list[Any] = []
    if found["undelivered"]:
        watch = "" if found["watched"] else ", and nobody watches: run outlay watch, or a server"
        blocks.append(Notice(f"Alerts undelivered: {found['undelivered']}{watch}.", "bad"))
    still = [one for one in found["alerts"] if one["state"] == "open"]
    past = [one for one in found["alerts"] if one["state"] != "open"]
    blocks.append(
        Cards(
            [
                Card(
                    title="Open",
                    note=f"{len(still)} alerts",
                    blocks=[_table(visit, still, "Open alerts", "No alert is open.")],
                ),
                Card(
                    title="Unusual spend",
                    note=f"the last {BACK_DAYS} days",
                    part="/parts/anomalies",
                    height=180,
                ),
                Card(title="Past", blocks=[_table(visit, past, "Past alerts", "No alert was resolved yet.")]),
            ]
        )
    )
    return visit.page("Alerts", blocks)


def _table(visit: Visit, found: list[Any], caption: str, empty: str) -> Table:
    rows = [
        (
            Badge(one["severity"], tone_of(one["severity"])),
            Several((one["title"], *(Badge(cause) for cause in one["causes"][:3]))),
            visit.moment(one["raised_at"]),
            _sent(one),
            _state(visit, one),
        )
        for one in found
    ]
    return Table(
        caption=caption, columns=columns("Severity", "What", "~Raised", "~Sent", "State"), rows=rows, empty=empty
    )


def _sent(one: Mapping[str, Any]) -> Any:
    told = one["deliveries"]
    if any(each["dead"] for each in told):
        return Badge("given up", "bad")
    if any(not each["sent"] for each in told):
        return Badge("waits", "warn")
    return ", ".join(each["channel"] for each in told) or "no channel"


def _state(visit: Visit, one: Mapping[str, Any]) -> Any:
    pieces: list[Any] = []
    if one["acknowledged_by"]:
        pieces.append(Badge(f"seen by {one['acknowledged_by']}", "good"))
    if one["state"] != "open":
        return Several((*pieces, Badge("resolved", "good")))
    if visit.may_change:
        path, name = f"/alerts/{quoted(one['id'])}", one["title"]
        if not one["acknowledged_by"]:
            pieces.append(Action("Acknowledge", path, (("do", "acknowledge"),), name=name))
        pieces.append(Action("Snooze a day", path, (("do", "snooze"), ("rule", one["rule"])), name=name))
        pieces.append(Action("Resolve", path, (("do", "resolve"),), name=name))
        if any(each["dead"] for each in one["deliveries"]):
            pieces.append(Action("Send again", path, (("do", "resend"),), name=name))
    return Several(tuple(pieces) or (Badge("open", "warn"),))


async def act(visit: Visit) -> Response:
    """Acknowledge, snooze, resolve or send again."""
    id, do = visit.request.path_params["id"], visit.form.get("do", "")
    if do == "snooze":
        until = isoformat(visit.now + SNOOZE_SECONDS * MICROSECONDS_PER_SECOND)
        await visit.ask.send("PUT", f"/v1/snoozes/{visit.form.get('rule', '')}", {"until": until})
        return visit.go("/alerts", done="snoozed")
    await visit.ask.send("POST", f"/v1/alerts/{id}/{do}")
    return visit.go("/alerts", done={"acknowledge": "acknowledged", "resolve": "resolved"}.get(do, "saved"))


async def unusual(visit: Visit) -> Response:
    """Episodes of unusual spend, as a table for the page that stands."""
    found = await visit.ask.get("/v1/anomalies", since=_since(visit), judged=True)
    rows = [
        (
            visit.moment(one["since"]),
            Link(named(one["by"]), f"/anomalies/{one['id']}"),
            visit.amount(one["actual"]),
            visit.amount(one["expected"]),
            Several((visit.amount(one["impact"], signed=True), _percent(one))),
            ", ".join(f"{cause['dimension']} {cause['value']}" for cause in one["causes"][:2]),
            _verdict(one),
        )
        for one in found
    ]
    titles = ("Since", "What", ">Cost", ">~Expected", ">Too much", "~Made of", "State")
    empty = "Nothing unusual: every hour and day lies where the past led to expect it."
    return visit.part([Table(caption="Unusual spend", columns=columns(*titles), rows=rows, empty=empty)])


def _since(visit: Visit) -> str:
    return str(visit.today - timedelta(days=BACK_DAYS))


def _percent(one: Mapping[str, Any]) -> Any:
    return "new" if one["percent"] is None else Percent(Decimal(one["percent"]), signed=True, tone="bad")


def _verdict(one: Mapping[str, Any]) -> Badge:
    if one["verdict"]:
        return Badge(one["verdict"].replace("_", " "), "good")
    return Badge("goes on", "bad") if one["goes_on"] else Badge("over", "quiet")


async def anomaly(visit: Visit) -> Response:
    """One episode: what was expected, what came, what it was made of."""
    id = visit.request.path_params["id"]
    found = await visit.ask.get("/v1/anomalies", since=_since(visit), judged=True)
    one = next((each for each in found if each["id"] == id), None)
    if one is None:
        raise NotFound(f"this anomaly is not among those of the last {BACK_DAYS} days", code="no_such_anomaly")
    chart = Chart(
        source=address("/charts/anomaly", [("id", id), ("since", _since(visit))]),
        label="What it cost, and the band in which it was expected",
        height=300,
    )
    causes = Table(
        caption="What it is made of",
        columns=columns("What", "Value", ">Then", ">Usually", ">Rise"),
        rows=[
            (
                cause["dimension"],
                _cause(visit, cause, one),
                visit.amount(cause["actual"]),
                visit.amount(cause["expected"]),
                visit.amount(str(Decimal(cause["actual"]) - Decimal(cause["expected"])), signed=True),
            )
            for cause in one["causes"]
        ],
        empty="What it was made of cannot be told: too many calls to look at, or all rose alike.",
    )
    figures = Figures(
        [
            Figure(
                label="Cost",
                value=visit.amount(one["actual"]),
                note=Several((visit.moment(one["since"]), "to", visit.moment(one["until"]))),
            ),
            Figure(label="Expected", value=visit.amount(one["expected"]), note="by what came before"),
            Figure(
                label="Too much", value=visit.amount(one["impact"], signed=True), change=_percent(one), id="impact"
            ),
            Figure(label=f"Dearest {one['step']}", value=visit.amount(one["peak"]), note=_verdict(one)),
        ]
    )
    blocks = [
        *await words_on(visit, "anomaly", id),
        figures,
        Card(title="The series", blocks=[chart]),
        Card(title="What it is made of", blocks=[causes]),
    ]
    if visit.may_change and not one["verdict"]:
        path = f"/anomalies/{id}"
        actions = Several(
            (
                Action("It was expected", path, (("verdict", "expected"),), ask="Why"),
                Action("It is no anomaly", path, (("verdict", "not_an_anomaly"),), ask="Why it is none"),
            )
        )
        blocks.append(
            Card(title="What do you say?", note="others of its kind are then not told again", blocks=[actions])
        )
    return visit.page(named(one["by"]), blocks, lead="unusual spend")


def _cause(visit: Visit, cause: Mapping[str, str], one: Mapping[str, Any]) -> Any:
    dimension, value = cause["dimension"], cause["value"]
    if value in (NONE, "", "(other)"):
        return value or NONE
    if dimension == "job":
        return Link(value, f"/jobs/{quoted(value)}")
    first, last = (visit.day_of(one[name]) for name in ("since", "until"))
    return Link(value, into(visit, {**one["by"], dimension: value}, Period("", "", first, last + timedelta(days=1))))


async def judge(visit: Visit) -> Response:
    """Say what an episode was."""
    id = visit.request.path_params["id"]
    body = {"verdict": visit.form.get("verdict", ""), "why": visit.form.get("why", "")}
    await visit.ask.send("POST", f"/v1/anomalies/{id}/verdict", body)
    return visit.go("/alerts", done="judged")


async def rules_and_channels(visit: Visit) -> tuple[Any, Any]:
    """The rules in force and the channels' names."""
    rules, channels = await asyncio.gather(
        visit.ask.get("/v1/alert-rules"), visit.ask.get("/v1/channels") if visit.may_change else _nothing()
    )
    return rules, channels


async def _nothing() -> list[str]:
    return []


PAGES: Final = (
    Page("GET", "/alerts", "read unscoped", alerts),
    Page("POST", "/alerts/{id}", "admin", act),
    Page("GET", "/parts/anomalies", "read", unusual),
    Page("GET", "/anomalies/{id}", "read", anomaly),
    Page("POST", "/anomalies/{id}", "admin", judge),
)
