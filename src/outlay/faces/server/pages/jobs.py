"""Jobs: what a video, a document, a ticket costs, how unequal that is, and one job call by call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any, ClassVar, Final

from starlette.responses import Response

from outlay.clock import to_instant
from outlay.faces.server.pages.asking import Problem
from outlay.faces.server.pages.components import (
    NONE,
    Badge,
    Bar,
    Card,
    Cards,
    Chart,
    Choice,
    Choices,
    Count,
    Figure,
    Figures,
    Link,
    Notice,
    Percent,
    Piece,
    Several,
    Table,
    columns,
    folded,
    length_of,
    share,
)
from outlay.faces.server.pages.explore import receipt_address, state_of
from outlay.faces.server.pages.overview import TOO_MUCH, chips, quoted, words_on
from outlay.faces.server.pages.visit import Page, Period, Visit, address, period_named

ROWS: Final = 100
OUTLIER_TIMES: Final = 3
"""A job is an outlier when it costs so many times the median."""

TIMELINE_MOST: Final = 300


async def jobs(visit: Visit) -> Response:
    """The distribution of what jobs cost, its course, and the dearest."""
    period, found, said = await _found(visit, visit.period())
    features = await visit.ask.get("/v1/costs", *visit.where(), by="project", limit=12, **period.span)
    rows = [row for row in found["rows"] if row["keys"]["job"] not in (None, "(other)")]
    costs = sorted(Decimal(row["cost"]) for row in rows)
    middle = costs[(len(costs) - 1) // 2] if costs else Decimal(0)
    outliers = [row for row in rows if middle and Decimal(row["cost"]) >= OUTLIER_TIMES * middle]
    span = [("since", str(period.since)), ("until", str(period.until - timedelta(days=1)))]
    blocks: list[Any] = [
        *said,
        visit.periods(),
        _projects(visit, features),
        chips(visit),
        _figures(visit, rows, costs, outliers),
        Cards(
            [
                Card(
                    title="How many jobs cost how much",
                    note=period.label,
                    blocks=[
                        Chart(source=address("/charts/jobs", [*visit.where(), *span]), label="Jobs by what they cost")
                    ],
                    span=6,
                ),
                Card(
                    title="What a job costs, day by day",
                    note="the average of the jobs with calls on that day",
                    blocks=[
                        Chart(
                            source=address("/charts/job-trend", [*visit.where(), *span]),
                            label="Average cost of a job by day",
                        )
                    ],
                    span=6,
                ),
                Card(title="The dearest jobs", note=period.label, blocks=folded(_table(visit, rows, middle, period))),
            ]
        ),
    ]
    return visit.page("Jobs", blocks, lead="a job is what a person pays for: a video, a document, a ticket")


async def _found(visit: Visit, period: Period) -> tuple[Period, Any, list[Any]]:
    """What each job cost; of yesterday only where there are too many calls to look at one by one."""
    try:
        return period, await visit.ask.get("/v1/costs", *visit.where(), by="job", limit=10_000, **period.span), []
    except Problem as problem:
        if problem.code not in TOO_MUCH or period.days == 1:
            raise
    period = period_named("yesterday", visit.today)
    found = await visit.ask.get("/v1/costs", *visit.where(), by="job", limit=10_000, **period.span)
    return period, found, [Notice("Too many calls to look at one by one: these are the jobs of yesterday.", "warn")]


def _projects(visit: Visit, found: Mapping[str, Any]) -> Choices:
    on = visit.query.get("where.project", "")
    names = [row["keys"]["project"] for row in found["rows"] if row["keys"]["project"]]
    if on and on not in names:
        names.append(on)
    every = Choice(text="all", href=visit.here(**{"where.project": None}), on=not on)
    return Choices(
        "Project",
        [every, *(Choice(text=name, href=visit.here(**{"where.project": name}), on=name == on) for name in names)],
    )


def _figures(
    visit: Visit, rows: Sequence[Mapping[str, Any]], costs: Sequence[Decimal], outliers: Sequence[Any]
) -> Figures:
    total = sum(costs, Decimal(0))
    return Figures(
        [
            Figure(
                label="Jobs",
                value=Count(str(len(rows))),
                note=f"{sum(row['events'] for row in rows):,} calls",
                id="jobs",
            ),
            Figure(label="Spend on jobs", value=visit.amount(total), note="calls that name their job"),
            Figure(
                label="Median job", value=visit.amount(_rank(costs, 50)), note="half of them cost less", id="median"
            ),
            Figure(label="95 of 100 jobs", value=visit.amount(_rank(costs, 95)), note="cost at most this"),
            Figure(
                label="Outliers",
                value=Count(str(len(outliers))),
                note=f"cost {OUTLIER_TIMES} times the median or more",
                id="outliers",
            ),
        ]
    )


def _rank(costs: Sequence[Decimal], percent: int) -> Decimal:
    """The nearest-rank percentile of sorted amounts."""
    return costs[max(0, -(-len(costs) * percent // 100) - 1)] if costs else Decimal(0)


def _table(visit: Visit, rows: Sequence[Mapping[str, Any]], middle: Decimal, period: Period) -> Table:
    told = []
    for row in rows[:ROWS]:
        cost = Decimal(row["cost"])
        times = cost / middle if middle else Decimal(0)
        told.append(
            (
                Link(row["keys"]["job"], f"/jobs/{quoted(row['keys']['job'])}"),
                visit.amount(row["cost"]),
                Several((Badge("outlier", "bad"), f"{times:,.0f} × the median"))
                if times >= OUTLIER_TIMES
                else f"{times:,.1f} × the median",
                Count(str(row["events"])),
                Count(str(row["failed"])),
            )
        )
    return Table(
        caption="The dearest jobs",
        columns=columns("Job", ">Cost", "~Against the median", ">Calls", ">~Failed"),
        rows=told,
        empty="No call names its job yet. Pass job=… with each call: a video, a document, a ticket.",
        csv=address("/csv/costs", [*visit.where(), ("by", "job"), *period.span.items()]),
        note=f"{len(rows):,} jobs, the dearest {ROWS} are shown" if len(rows) > ROWS else "",
    )


class Beam(Piece, frozen=True):
    """When a call ran within its job, in percent of the job's length."""

    start: Decimal
    length: Decimal
    tone: str
    label: str
    kind: ClassVar[str] = "beam"


async def job(visit: Visit) -> Response:
    """One job: what it cost by service and by step, and its calls in time."""
    name = visit.request.path_params["name"]
    found = await visit.ask.get(f"/v1/jobs/{name}")
    receipts = sorted(found["receipts"], key=lambda one: one["occurred_at"])
    total = Decimal(found["total"])
    services = [
        (
            f"{one['provider']} / {one['service']}",
            visit.amount(one["cost"]),
            Percent(share(Decimal(one["cost"]), total)),
            Bar(((share(Decimal(one["cost"]), total), "accent"),), f"{share(Decimal(one['cost']), total):.1f} %"),
        )
        for one in found["by_service"]
    ]
    by_service = Table(caption="Cost by service", columns=columns("Service", ">Cost", ">Share", "~"), rows=services)
    blocks = [
        *await words_on(visit, "job", name),
        _job_figures(visit, found, receipts),
        Cards(
            [
                Card(title="By service", blocks=[by_service], span=6),
                Card(title="By step", blocks=[_steps(visit, receipts, total)], span=6),
                Card(
                    title="Timeline",
                    note=f"{len(receipts):,} calls"
                    + (f", the first {TIMELINE_MOST}" if len(receipts) > TIMELINE_MOST else ""),
                    blocks=[_timeline(visit, receipts[:TIMELINE_MOST])],
                ),
            ]
        ),
    ]
    return visit.page(name, blocks, lead="a job, call by call")


def _job_figures(visit: Visit, found: Mapping[str, Any], receipts: Sequence[Mapping[str, Any]]) -> Figures:
    retried = [one for one in receipts if _attempt(one)]
    failed = [Decimal(one["total"]) for one in receipts if one["status"] != "ok"]
    who = next((one for one in receipts if one["user"] or one["customer"]), None)
    return Figures(
        [
            Figure(label="Cost", value=visit.amount(found["total"]), note=_unit(visit, found), id="cost"),
            Figure(label="Calls", value=Count(str(found["events"])), note=f"{len(retried):,} retries", id="calls"),
            Figure(
                label="Failed",
                value=Count(str(found["failed"])),
                note=Several((visit.amount(sum(failed, Decimal(0))), "was paid for them")),
            ),
            Figure(
                label="Took", value=_took(receipts), note=visit.moment(receipts[0]["occurred_at"]) if receipts else ""
            ),
            Figure(
                label="For",
                value=(who["user"] or who["customer"]) if who else NONE,
                note=(who["customer"] or "") if who and who["user"] else "",
            ),
        ]
    )


def _unit(visit: Visit, found: Mapping[str, Any]) -> Any:
    if found["status"] is None:
        return "not finished yet"
    each = Several((visit.amount(found["cost_per_unit"]), "each")) if found["cost_per_unit"] else ""
    return Several(
        (Badge(found["status"], "good" if found["status"] == "ok" else "bad"), f"{found['units']} made", each)
    )


def _attempt(receipt: Mapping[str, Any]) -> bool:
    told = receipt["tags"].get("attempt") or receipt["tags"].get("retry")
    return bool(told) and told not in ("0", "1", "false")


def _took(receipts: Sequence[Mapping[str, Any]]) -> str:
    if not receipts:
        return NONE
    ends = [_instant(one["occurred_at"]) + _length(one) for one in receipts]
    return length_of(timedelta(microseconds=max(ends) - _instant(receipts[0]["occurred_at"])))


def _instant(text: str) -> int:
    return to_instant(text)


def _length(receipt: Mapping[str, Any]) -> int:
    told = receipt.get("duration_s")
    return int(Decimal(str(told)) * 1_000_000) if told else 0


def _steps(visit: Visit, receipts: Sequence[Mapping[str, Any]], total: Decimal) -> Table:
    sums: dict[str, tuple[Decimal, int]] = {}
    for one in receipts:
        name = one["step"] or one["operation"] or NONE
        cost, calls = sums.get(name, (Decimal(0), 0))
        sums[name] = (cost + Decimal(one["total"]), calls + one["count"])
    rows = [
        (name, visit.amount(cost), Percent(share(cost, total)), Count(str(calls)))
        for name, (cost, calls) in sorted(sums.items(), key=lambda pair: -pair[1][0])[:12]
    ]
    return Table(caption="Cost by step", columns=columns("Step", ">Cost", ">Share", ">Calls"), rows=rows)


def _timeline(visit: Visit, receipts: Sequence[Mapping[str, Any]]) -> Table:
    if not receipts:
        return Table(caption="Timeline", columns=(), rows=(), empty="No call of this job is kept any more.")
    begin = _instant(receipts[0]["occurred_at"])
    end = max(_instant(one["occurred_at"]) + _length(one) for one in receipts)
    whole = max(end - begin, 1)
    rows = []
    for one in receipts:
        offset = _instant(one["occurred_at"]) - begin
        tone = "good" if one["status"] == "ok" else "bad"
        rows.append(
            (
                visit.moment(one["occurred_at"]),
                one["step"] or one["operation"] or "",
                Link(one["service"], receipt_address(one)),
                Beam(
                    Decimal(offset) * 100 / whole,
                    max(Decimal(_length(one)) * 100 / whole, Decimal("0.6")),
                    "accent" if tone == "good" else "bad",
                    f"after {length_of(timedelta(microseconds=offset))}",
                ),
                Several((state_of(one), Badge("retry", "warn"))) if _attempt(one) else state_of(one),
                visit.amount(one["total"]),
            )
        )
    titles = ("Time", "~Step", "Service", "~When in the job", "State", ">Cost")
    return Table(caption="Calls in time", columns=columns(*titles), rows=rows)


PAGES: Final = (
    Page("GET", "/jobs", "read", jobs),
    Page("GET", "/jobs/{name:path}", "read", job),
)
