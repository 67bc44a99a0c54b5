"""Care for the ledger: retain, forget, audit, backup, doctor."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from outlay.errors import InvalidInput
from outlay.faces.cli.exits import Exit
from outlay.faces.cli.options import (
    CsvOption,
    JsonOption,
    LedgerOption,
    YesOption,
    form_of,
)
from outlay.faces.cli.render import Cell, Column, Form, Table, pairs, show, write_json
from outlay.faces.cli.session import confirm, opened, progress

if TYPE_CHECKING:
    from outlay.api import Ledger


def retain(
    days: Annotated[
        int, typer.Option("--days", metavar="N", min=1, help="Keep the single events of this many whole days.")
    ] = 90,
    yes: YesOption = False,
    ledger: LedgerOption = None,
    json: JsonOption = False,
    csv: CsvOption = False,
) -> None:
    """Drop single events older than --days; all sums stay."""
    from outlay.clock import day_to_date
    from outlay.money import Money

    form = form_of(json, csv)
    with opened(ledger) as book:
        confirm(f"Events older than {days} days are dropped for good (sums stay).", yes)
        done = book.retain(days=days)
        facts: dict[str, Cell] = {
            "before": day_to_date(done.before_day).isoformat(),
            "events_dropped": done.entries,
            "cost_kept_in_sums": Money(done.amount, book.currency),
            "bytes_freed": done.bytes_freed,
        }
        show_facts(facts, form)


def forget(
    user: Annotated[
        str | None, typer.Option("--user", metavar="TEXT", help="The user to forget.", show_default=False)
    ] = None,
    customer: Annotated[
        str | None, typer.Option("--customer", metavar="TEXT", help="The customer to forget.", show_default=False)
    ] = None,
    yes: YesOption = False,
    ledger: LedgerOption = None,
    json: JsonOption = False,
    csv: CsvOption = False,
) -> None:
    """Erase a user's or customer's name; the money stays."""
    form = form_of(json, csv)
    if (user is None) == (customer is None):
        raise InvalidInput("give either --user or --customer", code="bad_option")
    with opened(ledger) as book:
        confirm(f"The name {user or customer!r} is erased for good.", yes)
        touched = book.forget(user=user, customer=customer)
        if not book.store.address.startswith("http"):  # A server logs what it is asked to do itself.
            _log_forgotten(book, "customer" if user is None else "user", touched)
        show_facts({"events_touched": touched}, form)


def _log_forgotten(book: Ledger, kind: str, touched: int) -> None:
    """Keep in the log of changes that somebody was forgotten, and not who."""
    from outlay.ledger.serving_store import LoggedChange

    detail = f"{touched} events"
    book.store.log_changes(
        [LoggedChange(at=book.clock.now(), who="cli", action="forgotten", subject=kind, detail=detail)]
    )


def audit(ledger: LedgerOption = None, json: JsonOption = False, csv: CsvOption = False) -> None:
    """Prove that every sum is right and nothing stands twice.

    Lines sum to totals, sums equal entries, identities are whole; the exit code is 1 if not.
    """
    from outlay.money import Money

    form = form_of(json, csv)
    with opened(ledger) as book, progress("auditing"):
        report = book.audit()
        facts = {
            "ok": report.ok,
            "entries": report.entries,
            "rollup_cells": report.rollup_cells,
            "amount": Money(report.amount, book.currency),
            "spooled": report.spooled,
        }
        columns = (
            Column("code", "finding"),
            Column("subject", "of"),
            Column("expected", "expected"),
            Column("found", "found"),
        )
        rows = [[finding.code, finding.subject, finding.expected, finding.found] for finding in report.findings]
        verdict = "clean" if report.ok else f"{len(report.findings)} findings"
        note = f"{verdict}: {report.entries:,} entries, {report.rollup_cells:,} sums compared, {facts['amount']}"
        if rows or form is not Form.TABLE:
            show(Table(columns, rows, note=note, facts=facts), form)
        else:
            sys.stdout.write(note + "\n")
    if not report.ok:
        raise typer.Exit(Exit.FINDING)


def backup(
    target: Annotated[str, typer.Argument(metavar="FILE", help="A file that does not exist yet.")],
    ledger: LedgerOption = None,
    json: JsonOption = False,
    csv: CsvOption = False,
) -> None:
    """Copy the ledger, while in use, into a new file."""
    from pathlib import Path

    form = form_of(json, csv)
    with opened(ledger) as book, progress("copying"):
        book.backup(target)
    show_facts({"file": target, "bytes": Path(target).stat().st_size}, form)


def doctor(ledger: LedgerOption = None, json: JsonOption = False, csv: CsvOption = False) -> None:
    """Facts for whoever looks for a fault.

    Sizes, versions, what waits, which prices are in force.
    """
    form = form_of(json, csv)
    with opened(ledger) as book:
        facts: dict[str, Cell] = {**_program_facts(), **book.doctor()}
        show_facts(facts, form)


def _program_facts() -> dict[str, Cell]:
    import platform

    import outlay

    return {"outlay": outlay.__version__, "python": platform.python_version(), "platform": platform.platform()}


def show_facts(facts: dict[str, Cell], form: Form) -> None:
    """Write facts by name, one a line."""
    if form is Form.JSON:
        write_json(facts)
    elif form is Form.CSV:
        show(Table([Column(name, name) for name in facts], [list(facts.values())]), form)
    else:
        show(pairs("", [(name.replace("_", " "), value) for name, value in facts.items()]), form)
