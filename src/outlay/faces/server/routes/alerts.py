"""Alerts and their rules: what crossed which rule, whether it was told, and what people do about it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from outlay.budgets.alert_rules import AlertRule
from outlay.budgets.alerts import Alert, as_dict
from outlay.clock import isoformat
from outlay.faces.server.routes.answering import (
    NAME_MAX,
    PROBLEMS,
    Reads,
    Rules,
    State,
    amount_text,
    exact,
    in_thread,
    plain,
    wants_exact,
)
from outlay.faces.server.routes.budgets import Who, changer
from outlay.watcher import KEPT_LOOK_MAX
from outlay.wire import EXACT

router = APIRouter(tags=["alerts"], responses=PROBLEMS)

AlertId = Annotated[str, Path(description="the alert's id", max_length=64)]
RuleName = Annotated[str, Path(description="the rule's name", max_length=64)]


class AlertTold(BaseModel):
    """One alert: amounts as exact decimal text of `unit`, times ISO 8601."""

    id: str
    rule: str
    kind: str
    severity: str
    title: str
    state: str
    subject: str
    each: str
    window: str
    what: str
    unit: str
    link: str
    owner: str
    amount: str
    threshold: str
    since: str
    until: str | None
    raised_at: str
    resolved_at: str | None
    acknowledged_at: str | None
    acknowledged_by: str
    causes: list[str]
    deliveries: list[dict[str, Any]]


class AlertsTold(BaseModel):
    """The newest alerts; `undelivered` counts those that wait or were given up."""

    alerts: list[AlertTold]
    undelivered: int
    watched: bool


class RuleTold(BaseModel):
    """A rule in force."""

    name: str
    kind: str
    amount: str
    strictly: bool
    window: str
    where: dict[str, list[str | None]]
    each: str | None
    zone: str
    marks: list[str]
    forecast: list[str]
    minutes: int
    percent: int
    need: str
    severity: str
    channels: list[str]
    owner: str


class RuleSent(BaseModel):
    """A rule to set: `above`, or `at` for at-and-above."""

    model_config = ConfigDict(extra="forbid")

    kind: str = "spend"
    above: str | None = Field(None, max_length=64)
    at: str | None = Field(None, max_length=64)
    window: str | None = Field(None, max_length=16)
    where: dict[str, str | list[str | None] | None] | None = None
    each: str | None = Field(None, max_length=128)
    zone: str | None = Field(None, max_length=64)
    marks: list[int | str] | None = Field(None, max_length=20)
    forecast: list[int | str] | None = Field(None, max_length=20)
    minutes: int | None = None
    percent: int | None = None
    need: str | None = Field(None, max_length=8)
    severity: str = "error"
    channels: list[str] | None = None
    owner: str = Field("", max_length=512)


class UndeliveredTold(BaseModel):
    """What was decided and not told: still to be sent, given up, not looked at yet; until when somebody watches."""

    pending: int
    dead: int
    waiting: int
    watched_until: str | None


class OwnerSent(BaseModel):
    """Who sees to an alert."""

    model_config = ConfigDict(extra="forbid")

    owner: str = Field(max_length=NAME_MAX)


class SnoozeSent(BaseModel):
    """Until when nothing of a rule is sent: a date or time."""

    model_config = ConfigDict(extra="forbid")

    until: str = Field(max_length=64)


class SnoozeTold(BaseModel):
    """Until when nothing of a rule is sent."""

    rule: str
    until: str


class Done(BaseModel):
    """What was done."""

    outcome: str


@router.get("/v1/alerts", responses={200: {"model": AlertsTold, "content": {EXACT: {}}}})
async def alerts(
    request: Request,
    caller: Reads,
    state: State,
    open: Annotated[bool, Query(description="only those that still hold")] = False,
    rule: Annotated[str | None, Query(description="only of this rule", max_length=64)] = None,
    limit: Annotated[int, Query(description="the most alerts", ge=1, le=KEPT_LOOK_MAX)] = 100,
) -> Response:
    """The newest alerts. For callers who see the whole ledger."""
    caller.must_see_all()
    found = await in_thread(lambda: state.ledger.alerts(open_only=open, rule=rule, limit=limit))
    if wants_exact(request):
        return exact(found)
    waiting = await in_thread(state.ledger.undelivered_alerts)
    undelivered = waiting.pending + waiting.dead + waiting.waiting
    watched = waiting.watched_until is not None
    return plain({"alerts": [as_dict(one) for one in found], "undelivered": undelivered, "watched": watched})


@router.get("/v1/undelivered-alerts", responses={200: {"model": UndeliveredTold, "content": {EXACT: {}}}})
async def undelivered_alerts(request: Request, caller: Reads, state: State) -> Response:
    """What was decided and not told, and who watches. For callers who see the whole ledger."""
    caller.must_see_all()
    found = await in_thread(state.ledger.undelivered_alerts)
    if wants_exact(request):
        return exact(found)
    until = None if found.watched_until is None else isoformat(found.watched_until)
    counts = {name: getattr(found, name) for name in ("pending", "dead", "waiting")}
    return plain({**counts, "watched_until": until})


@router.post("/v1/alerts/{id}/{action}", responses={200: {"model": AlertTold, "content": {EXACT: {}}}})
async def act(
    request: Request,
    caller: Rules,
    state: State,
    id: AlertId,
    action: Literal["acknowledge", "resolve", "resend"],
    who: Who = "",
) -> Response:
    """Say that a person has seen it, that it is over, or try again where sending it was given up."""
    ledger = state.ledger
    if action == "acknowledge":
        found = await in_thread(lambda: ledger.acknowledge_alert(id, who=changer(caller, who)))
    else:
        found = await in_thread(lambda: (ledger.resolve_alert if action == "resolve" else ledger.resend_alert)(id))
    return _alert(request, found)


@router.put("/v1/alerts/{id}/owner", responses={200: {"model": AlertTold, "content": {EXACT: {}}}})
async def own(request: Request, caller: Rules, state: State, id: AlertId, sent: OwnerSent) -> Response:
    """Say who sees to it."""
    return _alert(request, await in_thread(lambda: state.ledger.own_alert(id, sent.owner)))


@router.put("/v1/snoozes/{rule}", responses={200: {"model": SnoozeTold, "content": {EXACT: {}}}})
async def snooze(request: Request, caller: Rules, state: State, rule: RuleName, sent: SnoozeSent) -> Response:
    """Send nothing new of a rule (or a budget's marks) before `until`; what it finds is kept, and sent after."""
    until = await in_thread(lambda: state.ledger.snooze_alerts(rule, until=sent.until))
    return exact(until) if wants_exact(request) else plain({"rule": rule, "until": isoformat(until)})


@router.get("/v1/alert-rules", responses={200: {"model": list[RuleTold], "content": {EXACT: {}}}})
async def rules(request: Request, caller: Reads, state: State) -> Response:
    """The rules in force, by name. For callers who see the whole ledger."""
    caller.must_see_all()
    found = await in_thread(state.ledger.alert_rules)
    return exact(found) if wants_exact(request) else plain([_rule(one) for one in found])


@router.put("/v1/alert-rules/{name}", responses={200: {"model": RuleTold, "content": {EXACT: {}}}})
async def set_rule(
    request: Request, caller: Rules, state: State, name: RuleName, sent: RuleSent, who: Who = ""
) -> Response:
    """Set a rule; the same again changes nothing."""
    fields = sent.model_dump(exclude_none=True)
    found = await in_thread(lambda: state.ledger.alert_rule(name, who=changer(caller, who), **fields))
    return exact(found) if wants_exact(request) else plain(_rule(found))


@router.delete("/v1/alert-rules/{name}", responses={200: {"model": Done}})
async def remove_rule(caller: Rules, state: State, name: RuleName, who: Who = "") -> Response:
    """Take a rule out of force; its alerts stay."""
    await in_thread(lambda: state.ledger.remove_alert_rule(name, who=changer(caller, who)))
    return plain({"outcome": "removed"})


@router.get("/v1/channels", responses={200: {"model": list[str]}})
async def channels(caller: Rules, state: State) -> Response:
    """The names of the channels that this server sends alerts to."""
    return plain(sorted(state.ledger.channel_settings))


@router.post("/v1/channels/{name}/test", responses={200: {"model": Done}})
async def send_test(
    caller: Rules, state: State, name: Annotated[str, Path(description="the channel's name", max_length=64)]
) -> Response:
    """Send a message that says it is a test."""
    await in_thread(lambda: state.ledger.test_channel(name))
    return plain({"outcome": "sent"})


def _alert(request: Request, found: Alert) -> Response:
    return exact(found) if wants_exact(request) else plain(as_dict(found))


def _rule(rule: AlertRule) -> dict[str, Any]:
    told: dict[str, Any] = msgspec.to_builtins(rule)
    shares = {name: [f"{percent}%" for percent in getattr(rule, name)] for name in ("marks", "forecast")}
    return {**told, "amount": amount_text(rule.amount), **shares}
