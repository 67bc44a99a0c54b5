"""Settings: keys, alert rules, channels with a test, words about days, and who changed what."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

from starlette.responses import Response

from outlay.faces.server.pages.alerts import rules_and_channels
from outlay.faces.server.pages.asking import Problem
from outlay.faces.server.pages.budgets import WINDOWS
from outlay.faces.server.pages.components import (
    Action,
    Badge,
    Card,
    Code,
    Facts,
    Field,
    Form,
    Notice,
    Several,
    Table,
    columns,
)
from outlay.faces.server.pages.overview import tone_of
from outlay.faces.server.pages.visit import Page, Visit

ROLES: Final = (
    ("read", "read: ask and look"),
    ("ingest", "ingest: record and reserve"),
    ("admin", "admin: everything"),
)
SEVERITIES: Final = ("info", "warning", "error", "critical")


async def settings(visit: Visit) -> Response:
    """What is set, and the forms that change it for those who may."""
    return await _page(visit)


async def _page(visit: Visit, problem: str = "", made: str = "", status: int = 200) -> Response:
    (rules, channels), notes = await asyncio.gather(rules_and_channels(visit), visit.ask.get("/v1/notes"))
    blocks: list[Any] = [Notice(problem, "bad")] if problem else []
    if made:
        text = "The key is made. This is the only time that its text is shown: keep it where secrets are kept."
        blocks.append(Card(title="A new key", blocks=[Notice(text, "warn"), Code(made)]))
    blocks.append(
        Card(title="Alert rules", blocks=[_rules(visit, rules), *([_rule_form(visit)] if visit.may_change else [])])
    )
    blocks.append(
        Card(
            title="Words about days",
            note="they stand on the time axis and in reports",
            blocks=[_notes(notes), *([_note_form()] if visit.may_change else [])],
        )
    )
    if visit.may_change:
        keys, changes = await asyncio.gather(visit.ask.get("/v1/keys"), visit.ask.get("/v1/changes", limit=30))
        blocks.insert(len(blocks) - 2, Card(title="Keys", blocks=[_keys(visit, keys), _key_form()]))
        blocks.append(Card(title="Channels", note="set in outlay.toml", blocks=[_channels(channels)]))
        blocks.append(Card(title="Who changed what", blocks=[_changes(visit, changes)]))
    facts = [
        ("Currency", visit.facts.currency),
        ("Zone of days and months", visit.facts.zone),
        ("Version", visit.facts.version),
        ("You are", visit.caller.key),
    ]
    blocks.append(Card(title="This ledger", blocks=[Facts(facts)]))
    return visit.page("Settings", blocks, status=status)


def _keys(visit: Visit, keys: Sequence[Mapping[str, Any]]) -> Table:
    rows = [
        (
            Several((Code(one["id"]), one["name"])),
            ", ".join(one["roles"]),
            ", ".join(f"{name} {value}" for name, value in one["scope"].items()) or "everything",
            visit.moment(one["created_at"]),
            visit.moment(one["used_at"]) if one["used_at"] else "never",
            _key_state(visit, one),
        )
        for one in keys
    ]
    return Table(
        caption="Keys",
        columns=columns("Key", "May", "Sees", "~Made", "~Last used", "State"),
        rows=rows,
        empty="No key was made: whoever reaches this server on this machine may do all. Make an admin's key first.",
    )


def _key_state(visit: Visit, one: Mapping[str, Any]) -> Any:
    if one["revoked_at"]:
        return Badge("revoked", "bad")
    state = Several(("until", visit.moment(one["expires_at"]))) if one["expires_at"] else Badge("valid", "good")
    rotate = Action("Rotate", "/settings/keys", (("rotate", one["id"]),), name=one["id"])
    return Several(
        (state, rotate, Action("Revoke", "/settings/keys", (("revoke", one["id"]),), tone="bad", name=one["id"]))
    )


def _key_form() -> Form:
    return Form(
        action="/settings/keys",
        button="Make a key",
        fields=(
            Field(name="name", label="Name", hint="for whom it is"),
            Field(name="role", label="May", value="read", options=ROLES),
            Field(name="scope", label="Only of", hint="such as user=anna, project=video; empty: everything"),
        ),
    )


def _rules(visit: Visit, rules: Sequence[Mapping[str, Any]]) -> Table:
    rows = [
        (
            one["name"],
            one["kind"],
            visit.amount(one["amount"]),
            one["window"] or (f"{one['minutes']} minutes" if one["minutes"] else ""),
            ", ".join(
                f"{name} = {' or '.join(value or '(none)' for value in values)}"
                for name, values in one["where"].items()
            )
            or "all calls",
            Badge(one["severity"], tone_of(one["severity"])),
            Action("Remove", "/settings/rules", (("remove", one["name"]),), tone="bad", name=one["name"])
            if visit.may_change
            else "",
        )
        for one in rules
    ]
    return Table(
        caption="Alert rules",
        columns=columns("Rule", "~Kind", ">Above", "A", "~Covers", "Severity", ""),
        rows=rows,
        empty="No rule is set: nothing is told but what budgets cross. The first one can be set below.",
    )


def _rule_form(visit: Visit) -> Form:
    return Form(
        action="/settings/rules",
        button="Set the rule",
        fields=(
            Field(name="name", label="Name", required=True, hint="such as daily-limit"),
            Field(name="above", label=f"Tell above ({visit.facts.currency})", required=True),
            Field(name="window", label="A", value="day", options=tuple((one, one) for one in WINDOWS)),
            Field(name="severity", label="Severity", value="error", options=tuple((one, one) for one in SEVERITIES)),
        ),
    )


def _notes(notes: Sequence[Mapping[str, str]]) -> Table:
    rows = [(one["day"], one["text"]) for one in sorted(notes, key=lambda one: one["day"], reverse=True)[:20]]
    return Table(
        caption="Words about days",
        columns=columns("Day", "What happened"),
        rows=rows,
        empty="Nothing is said of any day: a release, a campaign, an outage.",
    )


def _note_form() -> Form:
    return Form(
        action="/settings/notes",
        button="Add",
        label="Words about a day",
        fields=(
            Field(name="day", label="Day", kind="date", required=True),
            Field(name="text", label="What happened", required=True),
        ),
    )


def _channels(channels: Sequence[str]) -> Table:
    rows = [(name, Action("Send a test", "/settings/channels", (("test", name),), name=name)) for name in channels]
    return Table(
        caption="Channels",
        columns=columns("Channel", ""),
        rows=rows,
        empty="No channel is set: alerts are kept and sent nowhere. Name one in [alerts.channels] of outlay.toml.",
    )


def _changes(visit: Visit, changes: Sequence[Mapping[str, Any]]) -> Table:
    rows = [(visit.moment(one["at"]), one["who"], one["action"], one["subject"], one["detail"]) for one in changes]
    return Table(
        caption="Log of changes",
        columns=columns("When", "Who", "What", "On", "~Detail"),
        rows=rows,
        empty="Nothing was changed yet.",
    )


async def change(visit: Visit) -> Response:
    """Make and end keys, set rules, note days, test channels. A refusal comes back in its own words."""
    what, form = visit.request.path_params["what"], visit.form
    try:
        if what == "keys":
            return await _change_key(visit)
        if what == "rules" and "remove" in form:
            await visit.ask.send("DELETE", f"/v1/alert-rules/{form['remove']}")
            return visit.go("/settings", done="removed")
        if what == "rules":
            body = {name: form[name] for name in ("above", "window", "severity") if form.get(name)}
            await visit.ask.send("PUT", f"/v1/alert-rules/{form.get('name', '').strip()}", body)
        elif what == "notes":
            await visit.ask.send("PUT", f"/v1/notes/{form.get('day', '')}", {"text": form.get("text", "")})
        else:
            await visit.ask.send("POST", f"/v1/channels/{form.get('test', '')}/test")
            return visit.go("/settings", done="sent")
    except Problem as problem:
        return await _page(visit, problem.message, status=problem.status)
    return visit.go("/settings", done="saved")


async def _change_key(visit: Visit) -> Response:
    form = visit.form
    if "revoke" in form:
        await visit.ask.send("POST", f"/v1/keys/{form['revoke']}/revoke")
        return visit.go("/settings", done="removed")
    if "rotate" in form:
        found = await visit.ask.send("POST", f"/v1/keys/{form['rotate']}/rotate")
        return await _page(visit, made=found["text"])
    scope = dict(part.strip().split("=", 1) for part in form.get("scope", "").split(",") if "=" in part)
    body = {"roles": [form.get("role", "read")], "name": form.get("name", ""), "scope": scope}
    found = await visit.ask.send("POST", "/v1/keys", body)
    return await _page(visit, made=found["text"])


PAGES: Final = (
    Page("GET", "/settings", "read unscoped", settings),
    Page("POST", "/settings/{what}", "admin", change),
)
