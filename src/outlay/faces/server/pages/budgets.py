"""Budgets: what is spent and reserved of each, its marks and where it is going; set, changed, raised."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from starlette.responses import Response

from outlay.faces.server.pages.asking import Problem
from outlay.faces.server.pages.components import (
    NONE,
    Action,
    Badge,
    Bar,
    Card,
    Cards,
    Chart,
    Count,
    Facts,
    Field,
    Figure,
    Figures,
    Fold,
    Form,
    Link,
    Moment,
    Notice,
    Percent,
    Several,
    Table,
    columns,
    filled,
    share,
)
from outlay.faces.server.pages.headline import OF_RULES
from outlay.faces.server.pages.overview import quoted
from outlay.faces.server.pages.visit import Page, Visit, address

WINDOWS: Final = ("month", "week", "day", "hour", "quarter", "year")
ACTIONS: Final = (("notify", "tell only"), ("refuse", "refuse the call"), ("throttle", "throttle"))
WINDOWS_AHEAD: Final = ("day", "week", "month", "quarter", "year")
"""Those that are forecast."""

EACH: Final = ("", "user", "customer", "team", "project", "feature", "job", "environment")


async def budgets(visit: Visit) -> Response:
    """All budgets and how they stand now."""
    found = [one for one in (await visit.ask.get("/v1/budgets"))["budgets"] if not one["budget"].startswith(OF_RULES)]
    table = Table(
        caption="Budgets",
        columns=columns(
            "Budget", "Window", ">Used", ">Limit", "Spent and reserved", ">~At this pace", "~When it is full", "State"
        ),
        rows=[_row(visit, one) for one in sorted(found, key=lambda one: -Decimal(one["percent"] or 0))],
        empty="No budget is set. The first one can be set below; it covers all calls unless you say which.",
    )
    blocks: list[Any] = [Card(title="How they stand now", note="each in its own window and zone", blocks=[table])]
    if visit.sees_all:
        uncovered = await visit.ask.get("/v1/uncovered-budgets")
        if uncovered:
            text = f"No total stands over {', '.join(uncovered)}: each subject has its limit, all together have none."
            blocks.insert(0, Notice(text, "warn"))
    if visit.may_change:
        blocks.append(Card(title="Set a budget", blocks=[_form(visit, None)]))
    return visit.page("Budgets", blocks)


def _row(visit: Visit, one: Mapping[str, Any]) -> Sequence[Any]:
    return (
        Several((Link(one["budget"], f"/budgets/{quoted(one['budget'])}"), one["subject"] or "", _tier(one))),
        one["window"],
        said(visit, str(Decimal(one["spent"]) + Decimal(one["reserved"])), one["unit"]),
        said(visit, one["limit"], one["unit"]),
        gauge(one),
        said(visit, one["projected"], one["unit"]),
        visit.moment(one["spent_at"]) if one["spent_at"] else "not in this window",
        standing(one),
    )


def gauge(one: Mapping[str, Any]) -> Bar:
    """What is spent and reserved of a limit, with its marks."""
    limit = Decimal(one["limit"])
    spent = Decimal(one["spent"]) * 100 / limit if limit else Decimal(0)
    reserved = Decimal(one["reserved"]) * 100 / limit if limit else Decimal(0)
    marks = tuple(Decimal(mark.removesuffix("%")) for mark in one["marks"] if mark.removesuffix("%").isdecimal())
    label = f"{spent:.1f} % spent, {reserved:.1f} % reserved"
    return Bar(
        ((spent, filled(spent + reserved)), (reserved, "quiet")), label, tuple(mark for mark in marks if mark < 100)
    )


def standing(one: Mapping[str, Any]) -> Any:
    """How an account stands, in a word."""
    percent = Decimal(one["percent"] or 0)
    if one["warming"]:
        return Badge("counting its past", "accent")
    refused = Badge(f"{one['refusals']:,} refused", "bad") if one["refusals"] else ""
    if percent >= 100:
        return Several((Badge("spent", "bad"), refused))
    projected = Decimal(one["projected"]) > Decimal(one["limit"])
    word = Badge("will be over", "warn") if projected else Badge("on course", "good")
    return Several((word, refused))


def said(visit: Visit, amount: str, unit: str) -> Any:
    """Money, or a count of something."""
    return visit.amount(amount) if unit == visit.facts.currency else Count(amount, unit)


def _tier(one: Mapping[str, Any]) -> Any:
    return Badge(one["tier"]) if one["tier"] else ""


async def budget(visit: Visit) -> Response:
    """One budget: its accounts, its definition and history, and what it refused."""
    name = visit.request.path_params["name"]
    found, stands = await asyncio.gather(
        visit.ask.get(f"/v1/budgets/{name}"), visit.ask.get(f"/v1/budgets/{name}/status", fullest=50)
    )
    accounts = stands["budgets"]
    blocks: list[Any] = []
    if len(accounts) == 1:
        blocks.append(_figures(visit, accounts[0]))
    if found["each"] is None and found["unit"] == visit.facts.currency and accounts:
        blocks.append(
            Card(
                title="Where it is going",
                blocks=[_chart(found, one) for one in accounts[:2] if window_named(one["window"]) in WINDOWS_AHEAD],
            )
        )
    table = Table(
        caption="Accounts",
        columns=columns(
            "Account",
            "Window",
            ">Used",
            ">Limit",
            "Spent and reserved",
            ">~At this pace",
            "~When it is full",
            "State",
        ),
        rows=[_row(visit, one) for one in accounts],
    )
    cards = [
        Card(title="Accounts", note="the fullest", blocks=[table]),
        Card(title="Definition", blocks=[_definition(visit, found)]),
    ]
    if visit.sees_all:
        cards.append(await _refusals(visit, name))
    cards.append(Card(title="History", blocks=[_history(visit, found)]))
    blocks.append(Cards(cards))
    if visit.may_change:
        blocks.append(Card(title="Change", blocks=_changes(visit, found)))
    return visit.page(name, blocks, lead="budget")


def _figures(visit: Visit, one: Mapping[str, Any]) -> Figures:
    used, limit, unit = Decimal(one["spent"]) + Decimal(one["reserved"]), Decimal(one["limit"]), one["unit"]
    percent = share(used, limit)
    window = Several((_day(visit, one["window_from"]), "to", _day(visit, one["window_to"])))
    return Figures(
        [
            Figure(label="Spent", value=said(visit, one["spent"], unit), note=window, id="spent"),
            Figure(label="Reserved", value=said(visit, one["reserved"], unit), note="by calls under way"),
            Figure(
                label="Left",
                value=said(visit, one["remaining"], unit),
                note=Several(("of", said(visit, one["limit"], unit))),
            ),
            Figure(
                label="Used",
                value=Percent(percent),
                bar=gauge(one),
                note=f"{one['pace']} of an even pace" if one["pace"] else "",
            ),
            Figure(
                label="At this pace",
                value=said(visit, one["projected"], unit),
                note=Several(("full", visit.moment(one["spent_at"]))) if one["spent_at"] else "fits in this window",
            ),
        ]
    )


def _day(visit: Visit, text: str) -> Moment:
    return Moment(text, visit.zone, only_day=True)


def _chart(found: Mapping[str, Any], one: Mapping[str, Any]) -> Chart:
    where = [
        (f"where.{name}", value) for name, values in found["where"].items() for value in values if value is not None
    ]
    asked = [*where, ("window", window_named(one["window"])), ("limit", one["limit"]), ("zone", found["zone"])]
    return Chart(
        source=address("/charts/budget", asked),
        label=f"Spend in {one['window']} against the limit of {found['name']}, and where it is going",
        height=300,
    )


def window_named(label: str) -> str:
    """What kind of window a label is of: 2026, 2026-Q1, 2026-03, 2026-W11, 2026-03-10, …"""
    if "Q" in label or "W" in label:
        return "quarter" if "Q" in label else "week"
    return {4: "year", 7: "month", 10: "day"}.get(len(label), "hour")


def _definition(visit: Visit, found: Mapping[str, Any]) -> Facts:
    tiers = [
        f"{tier['name'] or 'everybody'}: "
        + ", ".join(f"{amount} a {window}" for window, amount in tier["limits"].items())
        for tier in found["tiers"]
    ]
    where = ", ".join(
        f"{name} = {' or '.join(value or NONE for value in values)}" for name, values in found["where"].items()
    )
    return Facts(
        [
            ("Covers", where or "all calls"),
            ("Kept for", f"each {found['each']}" if found["each"] else "all together"),
            ("Limits", Several(tuple(tiers))),
            ("Counts", found["unit"]),
            ("When it is spent", found["action"]),
            ("Marks", ", ".join(found["marks"])),
            ("Zone of its windows", found["zone"]),
            ("Calls without a bound", found["unbounded"]),
            ("Calls without a price", found["unpriced"]),
            ("If the ledger cannot be asked", "let through" if found["fail_open"] else "refuse"),
            (
                "Raises",
                Several(
                    tuple(
                        f"+{one['amount']} a {one['window']} until {one['until'][:10]}: {one['reason']}"
                        for one in found["raises"]
                    )
                )
                if found["raises"]
                else "none",
            ),
        ]
    )


async def _refusals(visit: Visit, name: str) -> Card:
    found = await visit.ask.get(f"/v1/budgets/{name}/refusals")
    rows = [
        (
            visit.moment(one["at"]),
            f"{one['provider']} / {one['service']}",
            one["subject"] or "all",
            _why(visit, one),
            _opens(visit, one),
        )
        for one in found["refusals"][:50]
    ]
    table = Table(
        caption="Refused calls",
        columns=columns("Time", "Call", "~Account", "Why", "~Opens again"),
        rows=rows,
        empty="This budget has refused no call.",
    )
    return Card(title="Why calls were refused", note=f"{found['count']:,} in all", blocks=[table])


def _opens(visit: Visit, one: Mapping[str, Any]) -> Any:
    if one["opens_at"]:
        return visit.moment(one["opens_at"])
    if one["code"] == "budget_spent":
        return "in no window: it asks for more than the limit"
    return "when others settle lower"


def _why(visit: Visit, one: Mapping[str, Any]) -> Any:
    unit = one["unit"]
    return Several(
        (
            Badge(
                "spent" if one["code"] == "budget_spent" else "reserved by others",
                "bad" if one["code"] == "budget_spent" else "warn",
            ),
            "spent",
            said(visit, one["spent"], unit),
            "reserved",
            said(visit, one["reserved"], unit),
            "asked",
            said(visit, one["asked"], unit),
            "limit",
            said(visit, one["limit"], unit),
        )
    )


def _history(visit: Visit, found: Mapping[str, Any]) -> Table:
    rows = [(visit.moment(one["at"]), one["who"], one["what"], one["why"]) for one in reversed(found["history"])]
    return Table(caption="History", columns=columns("When", "Who", "What", "Why"), rows=rows, empty="Never changed.")


def _form(visit: Visit, found: Mapping[str, Any] | None) -> Form:
    limits = found["tiers"][0]["limits"] if found else {}
    window, limit = next(iter(limits.items()), ("month", ""))
    name = () if found else (Field(name="name", label="Name", required=True, hint="such as all-video"),)
    where = ", ".join(
        f"{key}={value}" for key, values in (found or {"where": {}})["where"].items() for value in values
    )
    fields = (
        *name,
        Field(name="limit", label=f"Limit ({visit.facts.currency})", value=limit, required=True),
        Field(name="window", label="A", value=window, options=tuple((one, one) for one in WINDOWS)),
        Field(name="action", label="When it is spent", value=found["action"] if found else "notify", options=ACTIONS),
        Field(
            name="each",
            label="For each",
            value=(found["each"] or "") if found else "",
            options=tuple((one, one or "all together") for one in EACH),
        ),
        Field(name="where", label="Covers", value=where, hint="such as feature=video, team=search; empty: all calls"),
        Field(name="why", label="Why", required=True, hint="kept in its history"),
    )
    hidden = (("name", found["name"]),) if found else ()
    return Form(action="/budgets", button="Save" if found else "Set the budget", fields=fields, hidden=hidden)


def _changes(visit: Visit, found: Mapping[str, Any]) -> list[Any]:
    raise_form = Form(
        action="/budgets",
        button="Raise",
        fields=(
            Field(name="amount", label=f"More ({visit.facts.currency})", required=True),
            Field(name="until", label="Until", kind="date", required=True),
            Field(name="subject", label="Only for", hint="one user, customer, …; empty: for all"),
            Field(name="why", label="Why", required=True),
        ),
        hidden=(("raise", found["name"]),),
    )
    simple = len(found["tiers"]) == 1 and found["unit"] == visit.facts.currency
    edit = (
        [_form(visit, found)]
        if simple
        else [
            Notice(
                "This budget has tiers or counts something else than money: change it in outlay.toml or by REST.",
                "accent",
            )
        ]
    )
    remove = Action(
        "Remove this budget", "/budgets", (("remove", found["name"]),), ask="Why", tone="bad", name=found["name"]
    )
    return [*edit, Fold("Raise it for a while", [raise_form]), Fold("Remove it", [remove])]


async def change(visit: Visit) -> Response:
    """Set, raise or remove a budget; a refusal comes back in its own words."""
    form = visit.form
    try:
        if "remove" in form:
            await visit.ask.send("DELETE", f"/v1/budgets/{form['remove']}", why=form.get("why", ""))
            return visit.go("/budgets", done="removed")
        if "raise" in form:
            body = {
                "amount": form.get("amount", ""),
                "until": form.get("until", ""),
                "reason": form.get("why", ""),
                "subject": form.get("subject") or None,
            }
            await visit.ask.send("POST", f"/v1/budgets/{form['raise']}/raises", body)
            return visit.go(f"/budgets/{quoted(form['raise'])}", done="saved")
        name = form.get("name", "").strip()
        fields: dict[str, Any] = {key: form[key] for key in ("limit", "window", "action") if form.get(key)}
        fields["each"] = form.get("each") or None
        fields["where"] = _where(form.get("where", ""))
        await visit.ask.send("PUT", f"/v1/budgets/{name}", {"fields": fields, "why": form.get("why", "")})
    except Problem as problem:
        return visit.page(
            "Budgets",
            [Notice(problem.message, "bad"), Card(title="Set a budget", blocks=[_form(visit, None)])],
            status=problem.status,
        )
    return visit.go(f"/budgets/{quoted(name)}", done="saved")


def _where(text: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for part in text.split(","):
        name, _, value = part.partition("=")
        if name.strip():
            found.setdefault(name.strip(), []).append(value.strip())
    return found


PAGES: Final = (
    Page("GET", "/budgets", "read", budgets),
    Page("POST", "/budgets", "admin", change),
    Page("GET", "/budgets/{name:path}", "read", budget),
)
