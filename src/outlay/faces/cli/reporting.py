"""`outlay report`: a day, a week, a month or any span, in every form."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, assert_never

import typer

from outlay.clock import local_day, local_midnight
from outlay.errors import InvalidInput
from outlay.faces.cli.drawing import HtmlOption, PngOption, SvgOption, draw
from outlay.faces.cli.options import (
    CsvOption,
    JsonOption,
    LedgerOption,
    SinceOption,
    UntilOption,
    WhereOption,
    ZoneOption,
    form_of,
    read_filter,
)
from outlay.faces.cli.render import Column, Form, Table, json_text, show, write_json
from outlay.faces.cli.session import opened, read_span

if TYPE_CHECKING:
    from outlay.analytics.report import Cell, Report, Section
    from outlay.api import Ledger
    from outlay.faces.charts import Spec


class ReportForm(StrEnum):
    """How a report is written."""

    TERMINAL = "terminal"
    MARKDOWN = "markdown"
    CSV = "csv"
    HTML = "html"
    XLSX = "xlsx"
    JSON = "json"


def report(
    period: Annotated[str, typer.Argument(metavar="PERIOD", help="day, week or month.")] = "day",
    running: Annotated[bool, typer.Option("--running", help="The present period, not the last whole one.")] = False,
    by: Annotated[
        list[str] | None,
        typer.Option("--by", "-b", metavar="NAMES", help="A table by these; repeat for several.", show_default=False),
    ] = None,
    user: Annotated[str | None, typer.Option("--user", help="Only of this user.", show_default=False)] = None,
    days: Annotated[
        int | None,
        typer.Option("--days", metavar="N", min=1, help="The last N days, today included.", show_default=False),
    ] = None,
    where: WhereOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    zone: ZoneOption = None,
    form: Annotated[
        ReportForm, typer.Option("--form", metavar="FORM", help="terminal, markdown, csv, html, xlsx or json.")
    ] = ReportForm.TERMINAL,
    json: JsonOption = False,
    csv: CsvOption = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Into a file.", show_default=False)
    ] = None,
    send: Annotated[
        str | None,
        typer.Option("--send", metavar="NAME", help="Send a report of outlay.toml, once.", show_default=False),
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Also to those who have got it.")] = False,
    sent: Annotated[bool, typer.Option("--sent", help="What was sent, and what was not.")] = False,
    lambda_template: Annotated[
        bool, typer.Option("--lambda-template", help="CloudFormation of a function of AWS that sends a report.")
    ] = False,
    ledger: LedgerOption = None,
    png: PngOption = None,
    svg: SvgOption = None,
    html: HtmlOption = None,
) -> None:
    """What a period cost, against the one before, by whom and for what, and how budgets stand.

    For example: outlay report month --form html -o november.html; outlay report --user u42 --days 30
    """
    from outlay.reporting import BY

    if lambda_template or send is not None or sent:
        _sending(ledger, send, again=again, lambda_template=lambda_template)
        return
    form = _chosen(form, json, csv)
    if days is not None and (since or until):
        raise InvalidInput("give --days, or --since and --until", code="bad_option", field="days")
    filters = {**read_filter(where), **({"user": (user,)} if user else {})}
    with opened(ledger) as book:
        first, last = read_span(book, since, until, zone) if days is None else _last_days(book, days, zone)
        found = book.report(
            period,
            running=running,
            since=first,
            until=last,
            where=filters,
            by=tuple(by) if by else BY,
            zone=zone,
        )
    if form is ReportForm.TERMINAL and output is None:
        _show(found)
    elif form is ReportForm.JSON and output is None:
        write_json(_as_dict(found))
    else:
        _write(_bytes(found, form), output)
    draw(lambda: _charts(found), png, svg, html)


def _chosen(form: ReportForm, json: bool, csv: bool) -> ReportForm:
    """The form of --form, --json or --csv. Raises InvalidInput `bad_option` when two are given."""
    short = form_of(json, csv)
    if short is Form.TABLE:
        return form
    if form is not ReportForm.TERMINAL:
        raise InvalidInput(f"give --form or --{short}, not both", code="bad_option", field="form")
    return ReportForm.JSON if short is Form.JSON else ReportForm.CSV


def _sending(ledger: str | None, name: str | None, *, again: bool, lambda_template: bool) -> None:
    """What `--send`, `--sent` and `--lambda-template` do."""
    if lambda_template:
        from outlay.faces.aws.report_lambda import template

        sys.stdout.write(template())
        return
    from outlay.faces.cli.sending import send_report, show_sent

    with opened(ledger) as book:
        show_sent(book) if name is None else send_report(book, name, again=again)


def _last_days(book: Ledger, days: int, zone: str | None) -> tuple[int, None]:
    """Since when the last days are, today included."""
    now = book.clock.now()
    own = zone or book.store.home_zone
    return local_midnight(local_day(now, own) - days + 1, own), None


def note(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A date such as 2026-11-22; a job; an anomaly's id.")],
    text: Annotated[str, typer.Argument(help="What reports say of it.")],
    on: Annotated[str, typer.Option("--on", metavar="WHAT", help="What it is: day, job or anomaly.")] = "day",
    ledger: LedgerOption = None,
) -> None:
    """Attach words to a day, a job or an anomaly: reports show them. The last word counts.

    For example: outlay note video-7 "made twice for the client" --on job
    """
    from outlay.reporting import checked_noted

    checked_noted(on)
    with opened(ledger) as book:
        if on == "job":
            book.note_job(name, text)
        elif on == "anomaly":
            book.note_anomaly(name, text)
        else:
            book.note_day(name, text)


def _charts(found: Report) -> list[Spec]:
    from outlay.faces.reports.pictures import pictures

    return [one.spec for one in pictures(found, width=720)]


def _bytes(found: Report, form: ReportForm) -> bytes:
    from outlay.faces.reports import forms, mail, workbook

    match form:
        case ReportForm.XLSX:
            return workbook.xlsx(found)
        case ReportForm.HTML:
            return mail.page(found).encode()
        case ReportForm.CSV:
            return forms.csv_text(found).encode()
        case ReportForm.JSON:
            return json_text(_as_dict(found)).encode()
        case ReportForm.MARKDOWN | ReportForm.TERMINAL:
            return forms.markdown(found).encode()
        case _:
            assert_never(form)


def _write(body: bytes, output: Path | None) -> None:
    """Into the file, else to where the output goes. Raises InvalidInput `bad_option` for bytes on a terminal."""
    if output is not None:
        output.write_bytes(body)
    elif body.startswith(b"PK") and sys.stdout.isatty():
        raise InvalidInput("a workbook is no text; give -o FILE", code="bad_option")
    else:
        sys.stdout.flush()
        sys.stdout.buffer.write(body)


def _show(found: Report) -> None:
    from outlay.money import format_pico

    total = format_pico(found.total.pico, found.total.currency)
    print(f"{found.title}: {total}{'' if found.whole else ', and the period still runs'}")
    for section in found.sections:
        print()
        show(_table(section), Form.TABLE)


def _table(section: Section) -> Table:
    columns = tuple(Column(name.lower(), name, right=at >= section.texts) for at, name in enumerate(section.columns))
    return Table(columns, section.rows, footer=section.total, title=section.title, note=section.note)


def _as_dict(found: Report) -> dict[str, object]:
    return {
        "title": found.title,
        "period": found.label,
        "whole": found.whole,
        "total": found.total,
        "sections": {section.name: _rows(section) for section in found.sections},
    }


def _rows(section: Section) -> list[dict[str, Cell]]:
    names = [name.lower() or "what" for name in section.columns]
    return [dict(zip(names, row, strict=True)) for row in section.rows]
