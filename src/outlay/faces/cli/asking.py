"""Questions to the ledger: costs, top, job, event, explain."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from outlay.errors import NotFound
from outlay.faces.cli.drawing import HtmlOption, PngOption, SvgOption, draw
from outlay.faces.cli.options import (
    CsvOption,
    DayOption,
    JsonOption,
    LedgerOption,
    SinceOption,
    UntilOption,
    WhereOption,
    ZoneOption,
    form_of,
    read_filter,
    read_names,
)
from outlay.faces.cli.render import Form, show, write_json
from outlay.faces.cli.session import notes_of, opened, read_span

if TYPE_CHECKING:
    from outlay.answers import Job
    from outlay.api import Ledger
    from outlay.receipt import Receipt

ViewOption = Annotated[
    str,
    typer.Option("--view", help="called: without what bills brought; reconciled: each cost once, as billed."),
]


def costs(
    by: Annotated[
        list[str] | None,
        typer.Option(
            "--by",
            "-b",
            metavar="NAMES",
            help="What to group by, with commas or repeated: day, provider, service, feature, user, tag.x, category, "
            "…; empty for the total.",
            show_default="provider,service",
        ),
    ] = None,
    category: Annotated[
        bool, typer.Option("--category", help="Group by category (patterns in outlay.toml), as --by category.")
    ] = False,
    where: WhereOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    zone: ZoneOption = None,
    as_of: Annotated[
        str | None,
        typer.Option("--as-of", metavar="TIME", help="As the ledger stood then.", show_default=False),
    ] = None,
    quantities: Annotated[bool, typer.Option("--quantities", help="Also what was used, by meter.")] = False,
    view: ViewOption = "reconciled",
    percentiles: Annotated[
        bool, typer.Option("--percentiles", help="Also the median, 95th percentile and dearest call.")
    ] = False,
    limit: Annotated[
        int | None, typer.Option("--limit", metavar="N", min=1, help="At most this many rows.", show_default=False)
    ] = None,
    ledger: LedgerOption = None,
    json: JsonOption = False,
    csv: CsvOption = False,
    png: PngOption = None,
    svg: SvgOption = None,
    html: HtmlOption = None,
) -> None:
    """What was spent, grouped by anything.

    For example: outlay costs --by day,provider --since 30d --where feature=summary
    """
    from outlay.faces.cli.answering import ask_costs, table_of_costs
    from outlay.faces.cli.charting import charts_of_costs
    from outlay.faces.cli.when import read_time

    form = form_of(json, csv)
    groups = (
        *(("category",) if category else ()),
        *read_names("" if category and by is None else "provider,service" if by is None else ",".join(by)),
    )
    with opened(ledger) as book:
        first, last = read_span(book, since, until, zone)
        stood = None if as_of is None else read_time(as_of, book.clock.now(), zone or book.store.home_zone)
        answer = ask_costs(
            book,
            groups,
            read_filter(where),
            since=first,
            until=last,
            zone=zone,
            as_of=stood,
            quantities=quantities,
            view=view,
            percentiles=percentiles,
        )
        show(table_of_costs(answer, limit=limit), form)
        draw(lambda: charts_of_costs(book, answer), png, svg, html)


def top(
    what: Annotated[
        str,
        typer.Argument(
            metavar="WHAT", help="jobs, users, customers, features, services, requests, … or any name of --by."
        ),
    ] = "jobs",
    limit: Annotated[int, typer.Option("--limit", "-n", metavar="N", min=1, help="How many.")] = 10,
    minimum: Annotated[
        str | None, typer.Option("--min", metavar="AMOUNT", help="Leave out what cost less.", show_default=False)
    ] = None,
    where: WhereOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    zone: ZoneOption = None,
    ledger: LedgerOption = None,
    json: JsonOption = False,
    csv: CsvOption = False,
    png: PngOption = None,
    svg: SvgOption = None,
    html: HtmlOption = None,
) -> None:
    """The dearest jobs, users, features, …

    For example: outlay top jobs --min 1.00 --since 1h
    """
    from outlay.faces.cli.answering import ask_costs, dearest, singular, table_of_costs
    from outlay.faces.cli.charting import charts_of_costs

    form = form_of(json, csv)
    name = singular(what)
    with opened(ledger) as book:
        first, last = read_span(book, since, until, zone)
        answer = ask_costs(book, (name,), read_filter(where), since=first, until=last, zone=zone)
        chosen = dearest(answer, minimum)
        show(table_of_costs(chosen, limit=limit), form)
        draw(lambda: charts_of_costs(book, chosen), png, svg, html)


def job(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The job, or with --request the request.")],
    request: Annotated[bool, typer.Option("--request", help="The name is a request's.")] = False,
    ledger: LedgerOption = None,
    json: JsonOption = False,
    csv: CsvOption = False,
) -> None:
    """What one job cost: a video, a document, a ticket.

    By service, by step, and per unit it produced; then every call.
    """
    from outlay.faces.cli.answering import table_of_calls, tables_of_job

    form = form_of(json, csv)
    with opened(ledger) as book:
        found = book.request(name) if request else book.job(name)
        said = "" if request else notes_of(book, "job", name).get(found.name, "")
        if form is Form.JSON:
            write_json(found.as_dict() | ({"note": said} if said else {}))
        elif form is Form.CSV:
            show(table_of_calls(found), form)
        else:
            for table in tables_of_job(found, book.store.home_zone, said):
                show(table, form)


def event(
    id: Annotated[str, typer.Argument(metavar="ID", help="The event's id.")],
    day: DayOption = None,
    ledger: LedgerOption = None,
    json: JsonOption = False,
    csv: CsvOption = False,
) -> None:
    """One event: its receipt, and every version it has had."""
    from outlay.faces.cli.answering import table_of_lines, table_of_versions

    form = form_of(json, csv)
    with opened(ledger) as book:
        receipt = book.event(id, day)
        if form is Form.JSON:
            write_json(receipt.as_dict())
        elif form is Form.CSV:
            show(table_of_lines(receipt), form)
        else:
            sys.stdout.write(receipt.explain().rstrip() + "\n")
            if receipt.corrected:
                show(table_of_versions(receipt), form)


def explain(
    name: Annotated[str, typer.Argument(metavar="NAME", help="An event's id, a job, or a request.")],
    day: DayOption = None,
    ledger: LedgerOption = None,
    json: JsonOption = False,
    csv: CsvOption = False,
) -> None:
    """Why it cost what it did, line by line.

    The arithmetic of one event, or of every call of a job or request.
    """
    from outlay.answers import Job
    from outlay.faces.cli.answering import table_of_calls, table_of_lines, text_of_job

    form = form_of(json, csv)
    with opened(ledger) as book:
        found = _event_or_job(book, name, day)
        if form is Form.JSON:
            write_json(found.as_dict())
        elif form is Form.CSV:
            show(table_of_calls(found) if isinstance(found, Job) else table_of_lines(found), form)
        elif isinstance(found, Job):
            sys.stdout.write(text_of_job(found, book.store.home_zone))
        else:
            sys.stdout.write(found.explain().rstrip() + "\n")


def _event_or_job(book: Ledger, name: str, day: str | None) -> Receipt | Job:
    """The receipt of an event, else the job, else the request of that name. Raises NotFound `not_found`."""
    try:
        return book.event(name, day)
    except NotFound as error:
        if error.code != "no_such_event" or day is not None:
            raise
    for ask in (book.job, book.request):
        try:
            return ask(name)
        except NotFound:
            continue
    raise NotFound(f"no event, job or request {name[:80]!r} is in the ledger; outlay top jobs lists jobs")
