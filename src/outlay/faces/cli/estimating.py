"""`outlay estimate`: what a stack will cost a month, or a job before it is made, and what they did cost."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from outlay.errors import InvalidInput
from outlay.faces.cli.analysing import PERIODS, read_periods
from outlay.faces.cli.options import CsvOption, JsonOption, LedgerOption, form_of, read_pairs
from outlay.faces.cli.render import Form, as_dicts, show, write_json
from outlay.faces.cli.session import opened

if TYPE_CHECKING:
    from outlay.analytics.stack_file import StackFile
    from outlay.api import Ledger


def estimate(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A stack (stack.toml) or the steps of a job, with [[step]].")
    ],
    scenario: Annotated[
        list[str] | None,
        typer.Option("--scenario", metavar="NAME", help="Only these scenarios of the file.", show_default=False),
    ] = None,
    change: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="FIELD=VALUE",
            help="A scenario of one's own: work.video.units=500. Repeat for several fields at once.",
            show_default=False,
        ),
    ] = None,
    free: Annotated[
        bool | None,
        typer.Option("--free/--no-free", help="With or without what the provider gives free each month."),
    ] = None,
    margin: Annotated[
        str | None, typer.Option("--margin", metavar="PERCENT", help="A margin, as its own line.", show_default=False)
    ] = None,
    brief: Annotated[bool, typer.Option("--brief", help="Without the arithmetic of each line.")] = False,
    against: Annotated[
        str | None,
        typer.Option(
            "--against", metavar="PERIOD", help=f"Beside what the ledger holds of: {PERIODS}.", show_default=False
        ),
    ] = None,
    units: Annotated[
        list[str] | None,
        typer.Option(
            "--units", metavar="NAME=N", help="How many units were really made: Videos=93.", show_default=False
        ),
    ] = None,
    job: Annotated[
        str | None,
        typer.Option("--job", metavar="NAME", help="Keep the estimate of a job under its name.", show_default=False),
    ] = None,
    prices: Annotated[
        Path | None,
        typer.Option("--prices", metavar="FILE", help="Prices for this estimate only.", show_default=False),
    ] = None,
    ledger: Annotated[
        str | None,
        typer.Option(
            "--ledger",
            "-l",
            metavar="PATH",
            help="The ledger whose own prices hold and whose costs are compared.  [default: the shipped prices]",
            show_default=False,
        ),
    ] = None,
    json: JsonOption = False,
    csv: CsvOption = False,
) -> None:
    """What a stack will cost a month and a year, or a job before it is made, with the arithmetic of each line.

    For example: outlay estimate examples/stack.toml --set work.video.units=500
    """
    form = form_of(json, csv)
    tables = _tables(file)
    with _priced_by(ledger, needed=bool(against or job)) as book:
        if "step" in tables:
            _job(book, tables, margin, job, prices, form)
            return
        stack = _stack(tables, file, scenario, change, free, margin)
        chosen = prices or (file.parent / stack.prices if stack.prices else None)
        _show_stack(book, stack, chosen, brief, against, read_pairs(units, "--units"), form)


def estimated(
    job: Annotated[str, typer.Argument(metavar="JOB", help="The job whose estimate was kept.")],
    ledger: LedgerOption = None,
    json: JsonOption = False,
    csv: CsvOption = False,
) -> None:
    """A job's estimate beside what it cost, by service.

    For example: outlay estimated video-7
    """
    from outlay.faces.cli.estimate_tables import table_of_comparison

    form = form_of(json, csv)
    with opened(ledger) as book:
        show(table_of_comparison(book.estimate_against(job)), form)


@contextmanager
def _priced_by(address: str | None, *, needed: bool) -> Iterator[Ledger]:
    """The ledger that was named, or that is needed; else one in memory with the shipped prices."""
    if address is not None or needed:
        with opened(address) as ledger:
            yield ledger
        return
    from outlay.opening import open_ledger

    with open_ledger("memory:") as ledger:
        yield ledger


def _tables(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"), parse_float=Decimal)
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise InvalidInput(f"{file} cannot be read: {why}", code="no_such_file") from error
    except tomllib.TOMLDecodeError as error:
        raise InvalidInput(f"{file} is not TOML: {error}", code="bad_stack") from error


def _stack(
    tables: dict[str, Any],
    file: Path,
    scenario: list[str] | None,
    change: list[str] | None,
    free: bool | None,
    margin: str | None,
) -> StackFile:
    from msgspec.structs import replace

    from outlay.analytics.stack_file import stack_file_of

    head = tables.setdefault("stack", {})
    if free is not None:
        head["free_allowances"] = free
    if margin is not None:
        head["margin_percent"] = margin
    changes = read_pairs(change, "--set")
    if changes:
        name = ", ".join(f"{path} = {value}" for path, value in changes.items())
        tables.setdefault("scenario", {})[name] = {path: _value(text) for path, text in changes.items()}
        scenario = [*(scenario or ()), name]
    found = stack_file_of(tables)
    if scenario is None:
        return found
    for name in scenario:
        if name not in found.scenarios:
            known = ", ".join(found.scenarios) or "none"
            raise InvalidInput(f"{file} has no scenario {name[:60]!r}; it has {known}", code="bad_scenario")
    return replace(found, scenarios={name: found.scenarios[name] for name in scenario})


def _value(text: str) -> object:
    """A value as typed: a number, a truth value, TOML's own spelling, else the text itself."""
    try:
        return tomllib.loads(f"value = {text}", parse_float=Decimal)["value"]
    except tomllib.TOMLDecodeError:
        return text


def _show_stack(
    book: Ledger,
    stack: StackFile,
    prices: Path | None,
    brief: bool,
    against: str | None,
    units: dict[str, str],
    form: Form,
) -> None:
    from outlay.faces.cli import estimate_tables as made

    base, scenarios = book.estimate_scenarios(stack, prices=prices)
    billed = None
    if against is not None:
        zone = book.store.home_zone
        since, until = read_periods(book, None, against, zone)[1]
        billed = book.stack_against(base, since=since, until=until, units=_counts(units))
    if form is Form.JSON:
        body = made.as_plain(base)
        body["scenarios"] = list(as_dicts(made.table_of_differences(base, scenarios)))
        if billed is not None:
            body["against"] = list(as_dicts(made.table_of_bill(billed)))
        write_json(body)
        return
    if form is Form.CSV:
        show(made.table_of_stack(base) if brief else made.table_of_lines(base), form)
        return
    tables = [] if brief else [made.table_of_lines(base)]
    tables.append(made.table_of_stack(base))
    if scenarios:
        tables.append(made.table_of_differences(base, scenarios))
    if billed is not None:
        tables.append(made.table_of_bill(billed))
    for place, table in enumerate(tables):
        if place:
            print()
        show(table, form)


def _counts(units: dict[str, str]) -> dict[str, int]:
    for name, text in units.items():
        if not text.isdigit():
            raise InvalidInput(f"--units {name}={text[:40]} is no whole number", code="bad_count")
    return {name: int(text) for name, text in units.items()}


def _job(
    book: Ledger, tables: dict[str, Any], margin: str | None, job: str | None, prices: Path | None, form: Form
) -> None:
    from outlay.faces.cli.estimate_tables import table_of_job

    unknown = sorted(set(tables) - {"step", "margin_percent"})
    if unknown:
        raise InvalidInput(f"a job's file has [[step]] and margin_percent, not {unknown[0]!r}", code="bad_stack")
    percent = margin if margin is not None else tables.get("margin_percent", 0)
    show(table_of_job(book.estimate_job(tables["step"], margin_percent=percent, job=job, prices=prices)), form)
