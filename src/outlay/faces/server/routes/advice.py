"""What may be saved, what was said to it, and what it did; the checklist, ticked from facts."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Path, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

from outlay.advising import DAYS, AdviceReport, read_utilisation
from outlay.analytics.advice import Advice, AdviceEffect
from outlay.analytics.advise_stack import Utilisation
from outlay.analytics.checklist import Fact
from outlay.analytics.stack import Amounts
from outlay.analytics.stack_file import StackFile, stack_file_of
from outlay.clock import isoformat
from outlay.errors import InvalidInput, NotFound
from outlay.estimating import PriceText
from outlay.faces.server.models import Amount, Sent, Time
from outlay.faces.server.routes.answering import (
    PROBLEMS,
    Reads,
    Rules,
    State,
    Unlogged,
    amount_text,
    exact,
    in_thread,
    plain,
    wants_exact,
)
from outlay.faces.server.routes.budgets import changer
from outlay.faces.server.state import ServerState
from outlay.wire import EXACT, encoded, received_custom

router = APIRouter(tags=["advice"], responses=PROBLEMS)

AdviceId = Annotated[str, Path(description="the measure's id", max_length=200)]
DEPTH_MAX: Final = 8
"""How deep the tables of a stack may lie in each other."""

SCENARIOS_MAX: Final = 50


class PricesSent(Sent):
    """A price file (TOML) that holds for this answer only."""

    text: Annotated[str, Field(max_length=1_000_000)]
    name: Annotated[str, Field(max_length=512)] = "sent"


class AdviceSent(Sent):
    """What advice looks at: calls of so many days, and a stack as its file says (docs/estimate.md), as JSON."""

    days: Annotated[int, Field(ge=1, le=366)] = DAYS
    where: Annotated[dict[str, str | list[str | None] | None], Field(default_factory=dict)]
    stack: dict[str, Any] | None = None
    prices: PricesSent | None = None
    utilisation: Annotated[dict[str, Any], Field(default_factory=dict)]
    cheaper: Annotated[dict[str, str], Field(default_factory=dict)]


class DecisionSent(AdviceSent):
    """`accepted`, `dismissed` or `open`, of a measure of this advice."""

    state: Annotated[str, Field(max_length=32)]
    why: Annotated[str, Field(max_length=400)] = ""
    who: Annotated[str, Field(max_length=100)] = ""


class RangeTold(BaseModel):
    """From, to."""

    low: Amount
    high: Amount


class MeasureTold(BaseModel):
    """One measure, with what it rests on; `cost` is what it acts on, a month."""

    id: str
    rule: str
    title: str
    target: str
    cost: Amount
    saving: RangeTold
    effort: str
    how: list[str]
    assumptions: list[str]
    evidence: list[list[str]]
    commits: bool
    month: int
    state: str
    decided_at: Time | None
    why: str


class PlannedTold(BaseModel):
    """What a month of the plan saves, and what is left of the cost."""

    month: int
    measures: list[str]
    saving: RangeTold
    left: RangeTold


class AdviceTold(BaseModel):
    """All measures, the one that saves the most first; what they save together, a month."""

    measures: list[MeasureTold]
    together: RangeTold
    counted: list[str]
    left_out: list[str]
    plan: list[PlannedTold]
    cost: Amount
    calls: int
    currency: str


class EffectTold(BaseModel):
    """What an accepted measure did: the cost of the days before and after it was accepted."""

    id: str
    accepted_at: Time
    days_before: str
    days_after: str
    cost_before: Amount
    cost_after: Amount
    calls_before: int
    calls_after: int
    promised: RangeTold


class TickTold(BaseModel):
    """One item of the checklist: `done`, `open` or `unknown`, and the fact that says so."""

    phase: str
    item: str
    tick: str
    fact: str


class DecisionOfClient(msgspec.Struct, frozen=True, kw_only=True):
    """A decision of Outlay's own client, on a measure that it was told."""

    advice: Advice
    state: str
    why: str = ""
    who: str = ""


class ChecklistOfClient(msgspec.Struct, frozen=True, kw_only=True):
    """A checklist of Outlay's own client, of advice that it was told."""

    report: AdviceReport
    stack: dict[str, Any] | None = None
    utilisation: list[Utilisation] = []
    facts: dict[str, Fact] = {}


@router.post(
    "/v1/advice",
    responses={200: {"model": AdviceTold, "content": {EXACT: {}}}},
    dependencies=[Unlogged],
)
async def advice(request: Request, caller: Reads, state: State, sent: AdviceSent) -> Response:
    """What may be saved, with what it rests on. Numbers of a stack are JSON numbers or, exactly, text.

    For callers who see the whole ledger.
    """
    caller.must_see_all()
    found = await in_thread(lambda: _advice(state, sent))
    return Response(encoded(found), media_type=EXACT) if wants_exact(request) else plain(_report(found))


@router.get("/v1/accepted-advice", responses={200: {"model": list[MeasureTold], "content": {EXACT: {}}}})
async def accepted(request: Request, caller: Reads, state: State) -> Response:
    """What was accepted, the latest first. For callers who see the whole ledger."""
    caller.must_see_all()
    found = await in_thread(state.ledger.accepted_advice)
    return exact(found) if wants_exact(request) else plain(list(map(_measure, found)))


@router.get("/v1/advice/{id}/effect", responses={200: {"model": EffectTold, "content": {EXACT: {}}}})
async def effect(request: Request, caller: Reads, state: State, id: AdviceId) -> Response:
    """What an accepted measure did. For callers who see the whole ledger."""
    caller.must_see_all()
    found = await in_thread(lambda: state.ledger.advice_effect(id))
    return Response(encoded(found), media_type=EXACT) if wants_exact(request) else plain(_effect(found))


@router.post("/v1/advice/{id}/decision", responses={200: {"model": MeasureTold}})
async def decide(caller: Rules, state: State, id: AdviceId, sent: DecisionSent) -> Response:
    """Accept or dismiss a measure of this advice, or open it again. The last word counts."""

    def work() -> Advice:
        chosen = [one for one in _advice(state, sent).measures if one.id == id]
        if not chosen:
            raise NotFound(f"no advice has the id {id[:60]!r}; POST /v1/advice tells them", code="no_such_advice")
        return state.ledger.decide_advice(chosen[0], sent.state, why=sent.why, who=changer(caller, sent.who))

    return plain(_measure(await in_thread(work)))


@router.post("/v1/advice-decisions", include_in_schema=False)
async def decide_told(request: Request, caller: Rules, state: State) -> Response:
    """A decision of Outlay's own client."""
    sent = await read_custom(request, DecisionOfClient)
    who = changer(caller, sent.who)
    return exact(await in_thread(lambda: state.ledger.decide_advice(sent.advice, sent.state, why=sent.why, who=who)))


@router.post("/v1/checklist", responses={200: {"model": list[TickTold]}}, dependencies=[Unlogged])
async def checklist(caller: Reads, state: State, sent: AdviceSent) -> Response:
    """The 24 items of docs/advice.md, ticked from facts. For callers who see the whole ledger."""
    caller.must_see_all()

    def work() -> list[Any]:
        return state.ledger.checklist(
            _advice(state, sent), stack=_stack(sent.stack), utilisation=read_utilisation(sent.utilisation)
        )

    found = await in_thread(work)
    return plain(
        [{"phase": one.item.phase, "item": one.item.text, "tick": one.tick.value, "fact": one.fact} for one in found]
    )


@router.post("/v1/told-checklist", include_in_schema=False, dependencies=[Unlogged])
async def checklist_told(request: Request, caller: Reads, state: State) -> Response:
    """A checklist of Outlay's own client."""
    caller.must_see_all()
    sent = await read_custom(request, ChecklistOfClient)

    def work() -> list[Any]:
        return state.ledger.checklist(
            sent.report, stack=_stack(sent.stack), utilisation=sent.utilisation, facts=sent.facts
        )

    return exact(await in_thread(work))


async def read_custom(request: Request, kind: type[Any]) -> Any:
    """A body of Outlay's own client that holds fractions. Raises InvalidInput `bad_event`, `bad_json`."""
    try:
        return msgspec.json.decode(await request.body(), type=kind, dec_hook=received_custom)
    except msgspec.ValidationError as error:
        raise InvalidInput(f"the body is not as this route takes it: {error}", code="bad_event") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(f"the body is no JSON: {error}", code="bad_json") from error


def stack_of_json(tables: dict[str, Any]) -> StackFile:
    """The stack of a body; a number with a point is taken for the decimal that stands there.

    Raises InvalidInput `bad_stack`, `bad_scenario`.
    """
    scenarios = tables.get("scenario")
    if isinstance(scenarios, dict) and len(scenarios) > SCENARIOS_MAX:
        raise InvalidInput(f"a stack has at most {SCENARIOS_MAX} scenarios", code="bad_stack", field="scenario")
    return stack_file_of(_decimals(tables, DEPTH_MAX))


def price_text(sent: PricesSent | None) -> PriceText | None:
    """A price file as it was sent."""
    return None if sent is None else PriceText(sent.text, sent.name)


def _stack(tables: dict[str, Any] | None) -> StackFile | None:
    return None if tables is None else stack_of_json(tables)


def _decimals(value: Any, depth: int) -> Any:
    if depth == 0:
        raise InvalidInput(f"the tables of a stack lie at most {DEPTH_MAX} deep", code="bad_stack")
    if isinstance(value, dict):
        return {name: _decimals(one, depth - 1) for name, one in value.items()}
    if isinstance(value, list):
        return [_decimals(one, depth - 1) for one in value]
    # The shortest decimal that names a float is what its sender wrote, up to 15 digits.
    return Decimal(repr(value)) if isinstance(value, float) else value


def _advice(state: ServerState, sent: AdviceSent) -> AdviceReport:
    where = {name: value if isinstance(value, list) else [value] for name, value in sent.where.items()}
    return state.ledger.advice(
        days=sent.days,
        where=where,
        stack=_stack(sent.stack),
        prices=price_text(sent.prices),
        utilisation=read_utilisation(sent.utilisation),
        cheaper=sent.cheaper,
    )


def range_told(found: Amounts) -> dict[str, str]:
    """From, to, as exact text."""
    return {"low": amount_text(found.low), "high": amount_text(found.high)}


def _measure(found: Advice) -> dict[str, Any]:
    same = ("id", "rule", "title", "target", "effort", "how", "assumptions", "evidence", "commits", "month")
    return {
        **{name: getattr(found, name) for name in same},
        "cost": amount_text(found.cost),
        "saving": range_told(found.saving),
        "state": found.state.value,
        "decided_at": None if found.decided_at is None else isoformat(found.decided_at),
        "why": found.why,
    }


def _report(found: AdviceReport) -> dict[str, Any]:
    return {
        "measures": list(map(_measure, found.measures)),
        "together": range_told(found.joint.saving),
        "counted": found.joint.counted,
        "left_out": found.joint.left_out,
        "plan": [
            {
                "month": one.month,
                "measures": one.measures,
                "saving": range_told(one.saving),
                "left": range_told(one.left),
            }
            for one in found.plan
        ],
        "cost": amount_text(found.cost),
        "calls": found.calls,
        "currency": found.currency,
    }


def _effect(found: AdviceEffect) -> dict[str, Any]:
    return {
        "id": found.id,
        "accepted_at": isoformat(found.accepted_at),
        "days_before": f"{float(found.days_before):.3f}",
        "days_after": f"{float(found.days_after):.3f}",
        "cost_before": amount_text(found.cost_before),
        "cost_after": amount_text(found.cost_after),
        "calls_before": found.calls_before,
        "calls_after": found.calls_after,
        "promised": range_told(found.promised),
    }
