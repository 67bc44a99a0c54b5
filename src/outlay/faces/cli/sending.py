"""`outlay report --send` and `--sent`: reports of outlay.toml on their way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from outlay.clock import to_datetime
from outlay.faces.cli.exits import Exit
from outlay.faces.cli.render import Column, Form, Table, show

if TYPE_CHECKING:
    from outlay.api import Ledger
    from outlay.budgets.alerts import Delivery
    from outlay.dispatching import Dispatch


def send_report(book: Ledger, name: str, *, again: bool) -> None:
    """Send a report that outlay.toml defines. Exits with 1 where somebody has not got it."""
    dispatch = book.send_report(name, again=again)
    for one in dispatch.deliveries:
        print(f"{name} of {dispatch.label} to {one.channel}: {_state(book, one)}")
    if dispatch.pending or dispatch.dead:
        raise typer.Exit(Exit.FINDING)


def show_sent(book: Ledger) -> None:
    """The newest reports, and what became of each for whom."""
    columns = (Column("report", "Report"), Column("label", "Of"), Column("to", "To"), Column("state", "Sent"))
    rows = [_row(book, dispatch, one) for dispatch in book.report_dispatches() for one in dispatch.deliveries]
    show(Table(columns, rows), Form.TABLE)


def _row(book: Ledger, dispatch: Dispatch, one: Delivery) -> tuple[str, str, str, str]:
    return dispatch.report, dispatch.label, one.channel, _state(book, one)


def _state(book: Ledger, one: Delivery) -> str:
    if one.sent_at is not None:
        return f"sent at {to_datetime(one.sent_at, book.store.home_zone):%Y-%m-%d %H:%M}"
    why = f" ({one.error})" if one.error else ""
    return f"gave up{why}" if one.dead else f"is tried again{why}"
