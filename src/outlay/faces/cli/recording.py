"""Writing single things: record, finish, correct, reprice."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from outlay.errors import InvalidInput
from outlay.faces.cli.options import (
    ConditionOption,
    CsvOption,
    DayOption,
    JsonOption,
    LedgerOption,
    SinceOption,
    TagOption,
    UntilOption,
    UsageOption,
    YesOption,
    ZoneOption,
    form_of,
    read_pairs,
)
from outlay.faces.cli.render import Cell, Column, Form, Table, show, write_json
from outlay.faces.cli.session import confirm, opened, read_span

if TYPE_CHECKING:
    from outlay.answers import Repricing
    from outlay.receipt import Receipt

ProviderOption = Annotated[
    str | None,
    typer.Option("--provider", "-p", metavar="TEXT", help="Who sells it: openai, aws, …", show_default=False),
]
ServiceOption = Annotated[
    str | None,
    typer.Option("--service", "-s", metavar="TEXT", help="What is sold: a model, a machine, …", show_default=False),
]


def _text(name: str, help: str) -> Any:
    return typer.Option(f"--{name}", metavar="TEXT", help=help, show_default=False)


OperationOption = Annotated[str | None, _text("operation", "What was done: chat, embed, generate_image, …")]
UserOption = Annotated[str | None, _text("user", "For which user.")]
CustomerOption = Annotated[str | None, _text("customer", "For which customer.")]
TeamOption = Annotated[str | None, _text("team", "For which team.")]
ProjectOption = Annotated[str | None, _text("project", "For which project.")]
FeatureOption = Annotated[str | None, _text("feature", "For which feature.")]
JobOption = Annotated[str | None, _text("job", "For which unit of work: a video, a document, a ticket.")]
EnvironmentOption = Annotated[str | None, _text("environment", "prod, dev, …")]
RequestOption = Annotated[str | None, _text("request", "Which request of a user's it served.")]
TraceOption = Annotated[str | None, _text("trace", "The trace it belongs to.")]
StepOption = Annotated[str | None, _text("step", "The step inside the job, such as a clip.")]
IdOption = Annotated[str | None, _text("id", "An id of your own; the same id with the same content books once.")]
TimeOption = Annotated[str | None, _text("time", "When it happened, ISO 8601 with a zone.  [default: now]")]
StatusOption = Annotated[str | None, _text("status", "ok, failed or cancelled.")]
DurationOption = Annotated[str | None, _text("duration-s", "How many seconds it took.")]
ParameterOption = Annotated[
    list[str] | None,
    typer.Option(
        "--parameter", metavar="NAME=VALUE", help="What it was asked with: temperature, …", show_default=False
    ),
]
ErrorOption = Annotated[str | None, _text("error", "What went wrong, in short.")]
CostOption = Annotated[str | None, _text("reported-cost", "What the provider said it cost.")]

CountOption = Annotated[
    int, typer.Option("--count", metavar="N", min=1, help="How many identical calls this stands for.")
]
ResponseOption = Annotated[
    str | None,
    typer.Option(
        "--response", metavar="FILE", help="Read a provider's JSON answer (- for stdin).", show_default=False
    ),
]


def record(
    provider: ProviderOption = None,
    service: ServiceOption = None,
    operation: OperationOption = None,
    usage: UsageOption = None,
    condition: ConditionOption = None,
    user: UserOption = None,
    customer: CustomerOption = None,
    team: TeamOption = None,
    project: ProjectOption = None,
    feature: FeatureOption = None,
    job: JobOption = None,
    environment: EnvironmentOption = None,
    request: RequestOption = None,
    trace: TraceOption = None,
    step: StepOption = None,
    tag: TagOption = None,
    id: IdOption = None,
    time: TimeOption = None,
    status: StatusOption = None,
    error: ErrorOption = None,
    reported_cost: CostOption = None,
    duration_s: DurationOption = None,
    parameter: ParameterOption = None,
    count: CountOption = 1,
    response: ResponseOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what it would cost; keep nothing.")] = False,
    ledger: LedgerOption = None,
    json: JsonOption = False,
    csv: CsvOption = False,
) -> None:
    """Keep one call and say what it cost.

    For example: outlay record -p openai -s gpt-4o -u input_tokens=1200 -u output_tokens=350 --feature summary
    """
    form = form_of(json, csv)
    fields: dict[str, Any] = {
        "provider": provider,
        "service": service,
        "operation": operation,
        "usage": read_pairs(usage, "--usage") or None,
        "conditions": read_pairs(condition, "--condition") or None,
        "user": user,
        "customer": customer,
        "team": team,
        "project": project,
        "feature": feature,
        "job": job,
        "environment": environment,
        "request": request,
        "trace": trace,
        "step": step,
        "tags": read_pairs(tag, "--tag") or None,
        "id": id,
        "time": time,
        "status": status,
        "error": error,
        "reported_cost": reported_cost,
        "duration_s": duration_s,
        "parameters": {name: _number_or_text(text) for name, text in read_pairs(parameter, "--parameter").items()}
        or None,
        "count": count if count != 1 else None,
    }
    given = {name: value for name, value in fields.items() if value is not None}
    with opened(ledger, create=True) as book:
        if response is not None:
            if dry_run:
                raise InvalidInput("--dry-run needs the usage as --usage, not --response", code="bad_option")
            receipt = book.record_response(_response_of(response), **given)
        else:
            receipt = book.price(**given) if dry_run else book.record(**given)
        _show_receipt(receipt, form)


def _number_or_text(text: str) -> int | float | str:
    """A parameter as a program would have given it: advice compares `max_tokens` as a number."""
    try:
        return int(text) if text.lstrip("-").isdecimal() else float(text)
    except ValueError:
        return text


def _response_of(address: str) -> str:
    try:
        return sys.stdin.read() if address == "-" else Path(address).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{address} cannot be read as text: {error}", code="unreadable_file") from error


def _show_receipt(receipt: Receipt, form: Form) -> None:
    if form is Form.JSON:
        write_json(receipt.as_dict())
    elif form is Form.CSV:
        from outlay.faces.cli.answering import table_of_lines

        show(table_of_lines(receipt), form)
    else:
        sys.stdout.write(f"{receipt.outcome} {receipt.id}\n{receipt.explain().rstrip()}\n")


def finish(
    job: Annotated[str, typer.Argument(metavar="JOB", help="The job that ended.")],
    units: Annotated[int, typer.Option("--units", metavar="N", min=0, help="How many things it produced.")] = 1,
    status: Annotated[str, typer.Option("--status", metavar="TEXT", help="How it ended.")] = "ok",
    time: Annotated[str | None, _text("time", "When it ended, ISO 8601 with a zone.  [default: now]")] = None,
    ledger: LedgerOption = None,
    json: JsonOption = False,
    csv: CsvOption = False,
) -> None:
    """Say what a job produced: it then has a cost per unit.

    The last word counts. Units of 0 say that nothing came of it.
    """
    form = form_of(json, csv)
    with opened(ledger) as book:
        found = book.job(job)
        book.finish(job, units=units, status=status, time=time)
        found = book.job(found.name)
        columns = (
            Column("job", "job"),
            Column("status", "status"),
            Column("units", "units", right=True),
            Column("cost", "cost", right=True),
            Column("cost_per_unit", "per unit", right=True),
        )
        show(Table(columns, [[job, status, units, found.total, found.cost_per_unit]]), form)


def correct(
    id: Annotated[str, typer.Argument(metavar="ID", help="The event's id.")],
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; it stays in the ledger.")],
    cancel: Annotated[bool, typer.Option("--cancel", help="Take the event out of all sums.")] = False,
    provider: ProviderOption = None,
    service: ServiceOption = None,
    operation: OperationOption = None,
    usage: UsageOption = None,
    condition: ConditionOption = None,
    user: UserOption = None,
    customer: CustomerOption = None,
    team: TeamOption = None,
    project: ProjectOption = None,
    feature: FeatureOption = None,
    job: JobOption = None,
    environment: EnvironmentOption = None,
    status: StatusOption = None,
    tag: TagOption = None,
    day: DayOption = None,
    ledger: LedgerOption = None,
    json: JsonOption = False,
    csv: CsvOption = False,
) -> None:
    """Put right what was recorded; nothing is edited.

    A reversal and a new entry are written, priced by the book in force. Both stay readable.
    """
    form = form_of(json, csv)
    fields: dict[str, Any] = {
        "provider": provider,
        "service": service,
        "operation": operation,
        "usage": read_pairs(usage, "--usage") or None,
        "conditions": read_pairs(condition, "--condition") or None,
        "user": user,
        "customer": customer,
        "team": team,
        "project": project,
        "feature": feature,
        "job": job,
        "environment": environment,
        "status": status,
        "tags": read_pairs(tag, "--tag") or None,
    }
    changes = {name: value for name, value in fields.items() if value is not None}
    if cancel == bool(changes):
        raise InvalidInput("give either --cancel or what changes, such as --usage images=2", code="bad_option")
    with opened(ledger) as book:
        if cancel:
            _show_receipt(book.cancel(id, reason=reason, day=day), form)
        else:
            _show_receipt(book.correct(id, reason=reason, day=day, **changes), form)


def reprice(
    since: SinceOption = None,
    until: UntilOption = None,
    provider: ProviderOption = None,
    service: ServiceOption = None,
    zone: ZoneOption = None,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; it stays in the ledger.")] = "reprice",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the difference; write nothing.")] = False,
    yes: YesOption = False,
    ledger: LedgerOption = None,
    json: JsonOption = False,
    csv: CsvOption = False,
) -> None:
    """Rate past events by the prices now in force.

    Each event by its own time; corrections are written for what changes.
    """
    form = form_of(json, csv)
    with opened(ledger) as book:
        first, last = read_span(book, since, until, zone)
        chosen: dict[str, Any] = {"since": first, "until": last, "provider": provider, "service": service}
        found = book.reprice(**chosen, dry_run=True, reason=reason)
        if dry_run or not found.changed:
            show(_table_of_repricing(found), form)
            return
        confirm(
            f"{found.changed:,} events change from {found.before} to {found.after}. Write these corrections?", yes
        )
        show(_table_of_repricing(book.reprice(**chosen, reason=reason)), form)


def _table_of_repricing(found: Repricing) -> Table:
    columns = (
        Column("id", "event"),
        Column("provider", "provider"),
        Column("service", "service"),
        Column("before", "before", right=True),
        Column("after", "after", right=True),
    )
    verb = "would change" if found.dry_run else "changed"
    note = f"{found.changed:,} of {found.examined:,} events {verb}, by {found.difference}"
    facts = {
        "dry_run": found.dry_run,
        "examined": found.examined,
        "changed": found.changed,
        "before": found.before,
        "after": found.after,
        "difference": found.difference,
    }
    footer: list[Cell] | None = ["total", "", "", found.before, found.after] if found.changed else None
    return Table(columns, [list(row) for row in found.rows], footer, note=note, facts=facts)
