"""Moving a ledger from one store to another: `outlay migrate`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from outlay.errors import InvalidInput, LedgerError
from outlay.faces.cli.keeping import show_facts
from outlay.faces.cli.options import CsvOption, JsonOption, form_of
from outlay.faces.cli.render import Cell
from outlay.faces.cli.session import file_of, refuse_remote


def migrate(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="The ledger to move: a path or postgresql://…")],
    target: Annotated[
        str | None, typer.Argument(metavar="TARGET", help="A new ledger: a path or postgresql://…")
    ] = None,
    finish: Annotated[
        bool, typer.Option("--finish", help="End the upgrade of SOURCE instead: no older program uses it any more.")
    ] = False,
    json: JsonOption = False,
    csv: CsvOption = False,
) -> None:
    """Move a ledger whole, and prove both ends; stopped, the same again goes on.

    Stop what writes to it first. The source stays as it is; let programs open the target once this has ended.
    With --finish nothing is moved: once every host runs this version, it applies to a ledger on PostgreSQL what
    older programs could not live with.
    """
    from outlay.migrating import finish_upgrade
    from outlay.migrating import migrate as move

    form = form_of(json, csv)
    for address in (source, target or ""):
        refuse_remote(address, "moving a ledger")
    path = file_of(source)
    if path is not None and not path.exists():
        raise LedgerError(f"there is no ledger at {path}; give the path of the one to move", code="no_ledger")
    if finish:
        if target is not None:
            raise InvalidInput("--finish takes one ledger and moves nothing; leave the target out", code="bad_option")
        applied = finish_upgrade(source)
        show_facts({"applied": ", ".join(applied) or "nothing was left to apply"}, form)
        return
    if target is None:
        raise InvalidInput("say where to: outlay migrate SOURCE TARGET", code="missing_field", field="target")
    with _shown() as progress:
        done = move(source, target, progress=progress)
    facts: dict[str, Cell] = {
        "entries": done.entries,
        "found_there": done.resumed,
        "identities": done.identities,
        "other_rows": done.rows,
        "cost": done.cost,
        "audit": "both ends sound",
    }
    show_facts(facts, form)


@contextmanager
def _shown() -> Iterator[Callable[[str, int, int], None]]:
    """A bar for each kind of row on stderr if that is a terminal, else nothing."""
    if not sys.stderr.isatty():
        yield lambda what, done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    tasks: dict[str, TaskID] = {}
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:

        def tell(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done, total=total)

        yield tell
