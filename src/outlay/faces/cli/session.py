"""Opening the ledger for a command, asking a person, and showing progress."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from outlay.errors import InvalidInput, LedgerError, OutlayError
from outlay.faces.cli.exits import Exit
from outlay.faces.cli.when import read_time

if TYPE_CHECKING:
    from outlay.api import Ledger


@contextmanager
def opened(address: str | None, *, create: bool = False, here: str = "") -> Iterator[Ledger]:
    """The ledger of a command, closed at its end.

    Without `create` a file that does not exist is an error: a mistyped path must not become an empty ledger. `here`
    names what only the host of the ledger can do. Raises LedgerError `no_ledger`, `not_remote`.
    """
    from msgspec.structs import replace

    from outlay import open_configured
    from outlay.config import load_settings

    settings = load_settings()
    chosen = address or settings.ledger
    if here:
        refuse_remote(chosen, here)
    path = file_of(chosen)
    if not create and path is not None and not path.exists():
        raise LedgerError(
            f"there is no ledger at {path}; give --ledger, or make one with outlay demo, record or import",
            code="no_ledger",
        )
    with open_configured(replace(settings, ledger=chosen)) as ledger:
        yield ledger


def refuse_remote(address: str, what: str) -> None:
    """Raises LedgerError `not_remote` for a server's address, where only the host of the ledger can do `what`."""
    if address.startswith(("http://", "https://")):
        from outlay.remote_transport import not_remote

        raise not_remote(what)


def file_of(address: str) -> Path | None:
    """The file of a ledger's address, None where it is no file."""
    if address.startswith("sqlite:///"):
        return Path(address.removeprefix("sqlite:///"))
    if address.startswith("memory:") or "://" in address:
        return None
    return Path(address)


def notes_of(book: Ledger, on: str, name: str | None = None) -> dict[str, str]:
    """What people said of days, jobs or anomalies; nothing for a key that sees a part of a server's ledger only."""
    try:
        return book.notes(on, name)
    except OutlayError as error:
        if error.code != "outside_scope":
            raise
        return {}


def read_span(
    ledger: Ledger, since: str | None, until: str | None, zone: str | None
) -> tuple[int | None, int | None]:
    """The instants of --since and --until as typed, in `zone` or the ledger's own."""
    now = ledger.clock.now()
    where = zone or ledger.store.home_zone
    first = None if since is None else read_time(since, now, where)
    last = None if until is None else read_time(until, now, where)
    if first is not None and last is not None and first >= last:
        raise InvalidInput("--since does not lie before --until", code="time_reversed")
    return first, last


def confirm(question: str, yes: bool) -> None:
    """Go on only with --yes or a person's yes. Raises InvalidInput `not_confirmed` where nobody can answer."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise InvalidInput(f"{question} Add --yes to do it.", code="not_confirmed")
    if not typer.confirm(question, err=True):
        raise typer.Exit(Exit.BAD_INPUT)


@contextmanager
def progress(title: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
    """A progress bar on stderr if that is a terminal, else nothing; call the value with each step's size."""
    if not sys.stderr.isatty():
        yield lambda step: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(title, total=total)
        yield lambda step: bars.advance(task, step)
