"""What is done to a ledger as a whole: facts, audit, repricing, retention, erasure, bills."""

from __future__ import annotations

from datetime import date
from typing import Any

import msgspec
from fastapi import APIRouter, Request
from fastapi.responses import Response

import outlay
from outlay.capture.statements import BilledRow
from outlay.errors import InvalidInput
from outlay.faces.bills.exchange import exchange_of
from outlay.faces.server.keeping_models import (
    AuditAnswer,
    FactsAnswer,
    Folded,
    ForgetSent,
    Forgotten,
    RepriceSent,
    RepricingAnswer,
    RetentionAnswer,
    RetentionSent,
)
from outlay.faces.server.routes.answering import (
    PROBLEMS,
    Anybody,
    Rules,
    State,
    Unlogged,
    amount_text,
    exact,
    in_thread,
    plain,
    read_exact,
    wants_exact,
)
from outlay.wire import EXACT, LedgerFacts, sent_repricing

router = APIRouter(tags=["keeping"], responses=PROBLEMS)


class StatementSent(msgspec.Struct, frozen=True, kw_only=True):
    """A provider's bill of Outlay's own client."""

    rows: list[BilledRow]
    source: str
    zone: str | None = None
    metered: list[str] = []
    restates: str = "rows"
    covers: tuple[date, date] | None = None
    digest: str = ""
    format: str = "CSV"
    columns: list[str] = []
    converts: bool = False


@router.get("/v1/ledger", responses={200: {"model": FactsAnswer, "content": {EXACT: {}}}})
async def facts(request: Request, caller: Anybody, state: State) -> Response:
    """The ledger's currency and home zone, and this server's version."""
    ledger = state.ledger
    found = LedgerFacts(currency=ledger.currency, zone=ledger.store.home_zone, version=outlay.__version__)
    return exact(found) if wants_exact(request) else plain(found)


@router.post("/v1/audit", responses={200: {"model": AuditAnswer, "content": {EXACT: {}}}}, dependencies=[Unlogged])
async def audit(request: Request, caller: Rules, state: State) -> Response:
    """Prove that lines sum to totals, rollups equal the entries, nothing stands twice."""
    report = await in_thread(state.ledger.audit)
    if wants_exact(request):
        return exact(report)
    return plain(
        {
            "ok": report.ok,
            "entries": report.entries,
            "rollup_cells": report.rollup_cells,
            "amount": amount_text(report.amount),
            "spooled": report.spooled,
            "findings": report.findings,
        }
    )


@router.post("/v1/reprice", responses={200: {"model": RepricingAnswer, "content": {EXACT: {}}}})
async def reprice(request: Request, caller: Rules, state: State, sent: RepriceSent) -> Response:
    """Rate past events by the book in force and write corrections for what changes; a dry run unless told."""
    found = await in_thread(lambda: state.ledger.reprice(**sent.model_dump()))
    if wants_exact(request):
        return exact(sent_repricing(found, state.ledger.currency))
    return plain(
        {
            "examined": found.examined,
            "changed": found.changed,
            "before": amount_text(found.before.pico),
            "after": amount_text(found.after.pico),
            "dry_run": found.dry_run,
        }
    )


@router.post("/v1/retention", responses={200: {"model": RetentionAnswer, "content": {EXACT: {}}}})
async def retain(request: Request, caller: Rules, state: State, sent: RetentionSent) -> Response:
    """Drop single events older than `days` whole UTC days, after a checkpoint; sums stay for ever."""
    found = await in_thread(lambda: state.ledger.retain(days=sent.days))
    if wants_exact(request):
        return exact(found)
    return plain({"entries": found.entries, "amount": amount_text(found.amount), "bytes_freed": found.bytes_freed})


@router.post("/v1/forget", responses={200: {"model": Forgotten}})
async def forget(caller: Rules, state: State, sent: ForgetSent) -> Response:
    """Erase a person's or customer's name everywhere; the money stays."""
    return plain({"events": await in_thread(lambda: state.ledger.forget(**sent.model_dump(exclude_none=True)))})


@router.get("/v1/doctor", responses={200: {"model": dict[str, str]}})
async def doctor(caller: Rules, state: State) -> Response:
    """Facts for a person who looks for a fault."""
    return plain(await in_thread(state.ledger.doctor))


@router.post("/v1/fold", responses={200: {"model": Folded}}, dependencies=[Unlogged])
async def fold(caller: Rules, state: State) -> Response:
    """Fold everything that is not in the rollups yet."""
    return plain({"folded": await in_thread(state.ledger.fold)})


@router.post("/v1/statements", include_in_schema=False)
async def import_statement(request: Request, caller: Rules, state: State) -> Response:
    """Keep a provider's bill, read by Outlay's own client."""
    sent = await read_exact(request, StatementSent)
    if not sent.source:
        raise InvalidInput("source names where the bill comes from", code="missing_field", field="source")
    names = [name for name in sent.__struct_fields__ if name not in ("rows", "converts")]
    told: dict[str, Any] = {name: getattr(sent, name) for name in names}
    told["exchange_on"] = exchange_of(state.ledger) if sent.converts else None
    return exact(await in_thread(lambda: state.ledger.import_statement(sent.rows, **told)))
