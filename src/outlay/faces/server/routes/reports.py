"""Reports of a day, a week, a month or any span, as JSON, Markdown, CSV or HTML."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel

from outlay.analytics.own_reports import OwnReport
from outlay.analytics.report import Report
from outlay.clock import isoformat
from outlay.dispatching import Dispatch
from outlay.faces.reports.forms import csv_text, exact, markdown
from outlay.faces.reports.mail import page
from outlay.faces.server.routes.answering import (
    PROBLEMS,
    WHERE,
    Reads,
    Rules,
    Since,
    State,
    Until,
    filter_of,
    in_thread,
    plain,
    wants_exact,
)
from outlay.faces.server.routes.answering import exact as exact_answer
from outlay.reporting import BY
from outlay.wire import EXACT, sent_report

router = APIRouter(tags=["reports"], responses=PROBLEMS)

Zone = Annotated[str | None, Query(description="the IANA zone whose days are meant", max_length=64)]
_PAGE = {
    "content-security-policy": "default-src 'none'; img-src data:; style-src 'unsafe-inline'; frame-ancestors 'none'"
}
"""What a report's page may do: show the pictures that are drawn in it."""

_TEXTS = {
    "markdown": (markdown, "text/markdown; charset=utf-8"),
    "csv": (csv_text, "text/csv; charset=utf-8"),
    "html": (page, "text/html; charset=utf-8"),
}


class SectionTold(BaseModel):
    """One table of a report: figures as exact decimal text."""

    name: str
    title: str
    columns: list[str]
    rows: list[list[str | None]]
    total: list[str | None] | None
    note: str


class ReportTold(BaseModel):
    """What a period [since, until) cost."""

    title: str
    label: str
    since: str
    until: str
    zone: str
    whole: bool
    total: str
    currency: str
    sections: list[SectionTold]


class OwnReportTold(BaseModel):
    """A report that a person defined: `on` is a weekday (0 is Monday) or a day of the month."""

    name: str
    period: str
    zone: str
    by: list[str]
    where: dict[str, str | list[str]]
    columns: list[str]
    at: str
    on: int | None
    recipients: list[str]
    form: str
    title: str


class DeliveryTold(BaseModel):
    """What became of a report for one recipient."""

    recipient: str
    sent_at: str | None
    dead: bool
    attempts: int
    error: str


class DispatchTold(BaseModel):
    """One report of one period on its way."""

    report: str
    label: str
    since: str
    until: str
    raised_at: str
    pending: bool
    dead: bool
    deliveries: list[DeliveryTold]


ReportName = Annotated[str, Path(description="the report's name", max_length=64)]
Form = Annotated[Literal["json", "markdown", "csv", "html"], Query(description="how to write it")]
REPORT: dict[int | str, dict[str, Any]] = {
    200: {
        "model": ReportTold,
        "content": {EXACT: {}} | {kind.split(";")[0]: {"schema": {"type": "string"}} for _, kind in _TEXTS.values()},
    }
}


@router.get("/v1/reports/{period}", responses=REPORT, openapi_extra=WHERE)
async def report(
    request: Request,
    caller: Reads,
    state: State,
    period: Literal["day", "week", "month"],
    running: Annotated[bool, Query(description="the present period, not the last whole one")] = False,
    by: Annotated[list[str], Query(description="a table by these names, with commas; repeat for several")] = [],  # noqa: B006 - FastAPI copies it
    since: Since = None,
    until: Until = None,
    zone: Zone = None,
    title: Annotated[str | None, Query(description="its own title", max_length=200)] = None,
    form: Form = "json",
) -> Response:
    """What the last whole period cost, or [since, until): change, shares, budgets, alerts. The figures are those of
    `costs`. Budgets and alerts are told to callers who see the whole ledger.
    """
    where = filter_of(request, caller)
    found = await in_thread(
        lambda: state.ledger.report(
            period,
            running=running,
            by=tuple(filter(None, by)) if by else BY,
            since=since,
            until=until,
            where=where,
            zone=zone,
            title=title,
        )
    )
    return await _answer(request, found, form)


@router.get("/v1/own-reports", responses={200: {"model": list[OwnReportTold]}})
async def own_reports(caller: Reads, state: State) -> Response:
    """The reports that this server's outlay.toml defines. For callers who see the whole ledger."""
    caller.must_see_all()
    defined = state.ledger.own_reports
    return plain([_defined(defined[name]) for name in sorted(defined)])


@router.get("/v1/own-reports/{name}", responses=REPORT)
async def own_report(
    request: Request,
    caller: Reads,
    state: State,
    name: ReportName,
    form: Form = "json",
) -> Response:
    """A defined report of its last period that is due. For callers who see the whole ledger."""
    caller.must_see_all()
    found = await in_thread(lambda: state.ledger.own_report(name))
    return await _answer(request, found, form)


@router.post("/v1/own-reports/{name}/send", responses={200: {"model": DispatchTold, "content": {EXACT: {}}}})
async def send_report(
    request: Request,
    caller: Rules,
    state: State,
    name: ReportName,
    again: Annotated[bool, Query(description="also to those who have got it")] = False,
) -> Response:
    """Send a defined report of its last period that is due to those who have not got it."""
    found = await in_thread(lambda: state.ledger.send_report(name, again=again))
    return exact_answer(found) if wants_exact(request) else plain(_dispatch(found))


@router.get("/v1/report-dispatches", responses={200: {"model": list[DispatchTold], "content": {EXACT: {}}}})
async def report_dispatches(
    request: Request,
    caller: Reads,
    state: State,
    limit: Annotated[int, Query(description="the most of them", ge=1, le=1_000)] = 100,
) -> Response:
    """The newest reports that were sent or are to be. For callers who see the whole ledger."""
    caller.must_see_all()
    found = await in_thread(lambda: state.ledger.report_dispatches(limit=limit))
    return exact_answer(found) if wants_exact(request) else plain(list(map(_dispatch, found)))


async def _answer(request: Request, found: Report, form: str) -> Response:
    if wants_exact(request):
        return exact_answer(sent_report(found))
    if form != "json":
        write, kind = _TEXTS[form]
        return Response(
            await in_thread(lambda: write(found)), media_type=kind, headers=_PAGE if form == "html" else None
        )
    return plain(_told(found))


def _defined(report: OwnReport) -> dict[str, Any]:
    names = ("name", "period", "zone", "by", "where", "columns", "recipients", "form", "title", "on")
    at = f"{report.minute // 60:02}:{report.minute % 60:02}"
    return {**{name: getattr(report, name) for name in names}, "at": at}


def _dispatch(found: Dispatch) -> dict[str, Any]:
    return {
        **{name: getattr(found, name) for name in ("report", "label", "pending", "dead")},
        **{name: isoformat(getattr(found, name)) for name in ("since", "until", "raised_at")},
        "deliveries": [
            {
                "recipient": one.channel,
                "sent_at": None if one.sent_at is None else isoformat(one.sent_at),
                "dead": one.dead,
                "attempts": one.attempts,
                "error": one.error,
            }
            for one in found.deliveries
        ],
    }


def _told(found: Report) -> dict[str, Any]:
    return {
        **{name: getattr(found, name) for name in ("title", "label", "zone", "whole")},
        "since": isoformat(found.since),
        "until": isoformat(found.until),
        "total": exact(found.total),
        "currency": found.total.currency,
        "sections": [
            {
                "name": one.name,
                "title": one.title,
                "columns": one.columns,
                "rows": [[None if cell is None else exact(cell) for cell in row] for row in one.rows],
                "total": None if one.total is None else [None if cell is None else exact(cell) for cell in one.total],
                "note": one.note,
            }
            for one in found.sections
        ],
    }
