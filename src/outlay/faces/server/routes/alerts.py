"""Alerts and their rules: what crossed which rule, whether it was told, and what people do about it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Path, Query
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from outlay.budgets.alert_rules import AlertRule
from outlay.budgets.alerts import as_dict
from outlay.faces.server.routes.answering import PROBLEMS, Reads, Rules, State, amount_text, in_thread, plain

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
    minutes: int
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
    marks: list[str] | None = None
    minutes: int | None = None
    severity: str = "error"
    channels: list[str] | None = None
    owner: str = Field("", max_length=512)


class Done(BaseModel):
    """What was done."""

    outcome: str


@router.get("/v1/alerts", responses={200: {"model": AlertsTold}})
async def alerts(
    caller: Reads,
    state: State,
    open: Annotated[bool, Query(description="only those that still hold")] = False,
    rule: Annotated[str | None, Query(description="only of this rule", max_length=64)] = None,
    limit: Annotated[int, Query(description="the most alerts", ge=1, le=1_000)] = 100,
) -> Response:
    """The newest alerts. For callers who see the whole ledger."""
    caller.must_see_all()
    found = await in_thread(lambda: state.ledger.alerts(open_only=open, rule=rule, limit=limit))
    waiting = await in_thread(state.ledger.undelivered_alerts)
    undelivered = waiting.pending + waiting.dead + waiting.waiting
    watched = waiting.watched_until is not None
    return plain({"alerts": [as_dict(one) for one in found], "undelivered": undelivered, "watched": watched})


@router.post("/v1/alerts/{id}/{action}", responses={200: {"model": AlertTold}})
async def act(
    caller: Rules, state: State, id: AlertId, action: Literal["acknowledge", "resolve", "resend"]
) -> Response:
    """Say that a person has seen it, that it is over, or try again where sending it was given up."""
    ledger = state.ledger
    if action == "acknowledge":
        found = await in_thread(lambda: ledger.acknowledge_alert(id, who=caller.key))
    else:
        found = await in_thread(lambda: (ledger.resolve_alert if action == "resolve" else ledger.resend_alert)(id))
    return plain(as_dict(found))


@router.get("/v1/alert-rules", responses={200: {"model": list[RuleTold]}})
async def rules(caller: Reads, state: State) -> Response:
    """The rules in force, by name. For callers who see the whole ledger."""
    caller.must_see_all()
    return plain([_rule(one) for one in await in_thread(state.ledger.alert_rules)])


@router.put("/v1/alert-rules/{name}", responses={200: {"model": RuleTold}})
async def set_rule(caller: Rules, state: State, name: RuleName, sent: RuleSent) -> Response:
    """Set a rule; the same again changes nothing."""
    fields = sent.model_dump(exclude_none=True)
    return plain(_rule(await in_thread(lambda: state.ledger.alert_rule(name, who=caller.key, **fields))))


@router.delete("/v1/alert-rules/{name}", responses={200: {"model": Done}})
async def remove_rule(caller: Rules, state: State, name: RuleName) -> Response:
    """Take a rule out of force; its alerts stay."""
    await in_thread(lambda: state.ledger.remove_alert_rule(name, who=caller.key))
    return plain({"outcome": "removed"})


def _rule(rule: AlertRule) -> dict[str, Any]:
    told: dict[str, Any] = msgspec.to_builtins(rule)
    return {**told, "amount": amount_text(rule.amount), "marks": [f"{percent}%" for percent in rule.marks]}
