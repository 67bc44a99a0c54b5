"""`outlay demo`: a simulated company's ledger, and an overview of it."""

from __future__ import annotations

import shutil
import sys
from datetime import date
from pathlib import Path
from typing import Annotated, Final

import typer

from outlay.errors import InvalidInput

DEMO_LEDGER: Final = "outlay-demo.db"
"""Where the demo goes unless told otherwise: never into a ledger of one's own."""


def demo(
    days: Annotated[
        int, typer.Option("--days", metavar="N", min=1, max=730, help="How many days are simulated.")
    ] = 90,
    start: Annotated[
        str | None,
        typer.Option(
            "--start",
            metavar="DATE",
            help="The first day.  [default: so that yesterday is the last]",
            show_default=False,
        ),
    ] = None,
    ledger: Annotated[
        str,
        typer.Option("--ledger", "-l", metavar="PATH", help="The demo's own ledger, made once and then reused."),
    ] = DEMO_LEDGER,
) -> None:
    """Three simulated AI products and what they spent.

    Makes 90 days of a company that does not exist (videos, images, answers, and what runs under them), the same
    for the same first day, prices them like real calls, and shows what can be asked.
    """
    from outlay.faces.cli.demo.build import build
    from outlay.faces.cli.demo.overview import show_overview
    from outlay.faces.cli.session import opened, progress

    first = None if start is None else _date(start)
    with opened(ledger, create=True) as book:
        with progress("simulating", days) as advance:
            build(book, first, days, advance, lambda sentence: print(sentence, file=sys.stderr))
        show_overview(book, ledger, _program())


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise InvalidInput(f"--start {text[:40]!r} is not a date such as 2026-08-24", code="bad_time") from error


def _program() -> str:
    """How this program is called in this shell."""
    if shutil.which("outlay"):
        return "outlay"
    called = Path(sys.argv[0])
    if called.name != "outlay":
        return "python -m outlay"
    here = Path.cwd()
    return str(called.relative_to(here)) if called.is_absolute() and called.is_relative_to(here) else str(called)
