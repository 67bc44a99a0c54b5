"""`outlay prices`: what things cost, where that is written, and what changed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from outlay.errors import InvalidInput, NotFound
from outlay.faces.cli.exits import ErrorsInOneLine, Exit
from outlay.faces.cli.options import (
    ConditionOption,
    CsvOption,
    JsonOption,
    LedgerOption,
    YesOption,
    form_of,
    read_pairs,
)
from outlay.faces.cli.render import Cell, Column, Form, Table, show
from outlay.faces.cli.session import confirm, file_of, opened

if TYPE_CHECKING:
    from outlay.api import Ledger
    from outlay.model import Rate
    from outlay.pricing.book import PriceBook
    from outlay.pricing.difference import PriceChange

prices = typer.Typer(
    name="prices", help="Prices: show, add, check, compare, renew.", no_args_is_help=True, cls=ErrorsInOneLine
)

_RATE_COLUMNS = (
    Column("provider", "provider"),
    Column("service", "service"),
    Column("meter", "meter"),
    Column("price", "price", right=True),
    Column("currency", "", when_empty=False),
    Column("per", "per", right=True),
    Column("conditions", "conditions", when_empty=False),
    Column("context_over", "context over", right=True, when_empty=False),
    Column("valid_from", "from", when_empty=False),
    Column("valid_to", "to", when_empty=False),
    Column("origin", "by"),
    Column("source_date", "date", when_empty=False),
    Column("source", "source", when_empty=False),
    Column("note", "note", when_empty=False),
)


@prices.command("show")
def show_prices(
    provider: Annotated[
        str | None, typer.Argument(metavar="PROVIDER", help="A provider; all providers are listed without one.")
    ] = None,
    service: Annotated[
        str | None, typer.Argument(metavar="SERVICE", help="One of its services, as an event names it.")
    ] = None,
    ledger: LedgerOption = None,
    json: JsonOption = False,
    csv: CsvOption = False,
) -> None:
    """The prices in force: all providers, one provider's services, or every rate of a service."""
    form = form_of(json, csv)
    with price_book(ledger) as book:
        if provider is None:
            show(_table_of_providers(book), form)
        elif service is None:
            show(_table_of_services(book, provider), form)
        else:
            show(_table_of_service(book, provider, service), form)


def _table_of_providers(book: PriceBook) -> Table:
    rows: list[list[Cell]] = [[name, len(book.services(name))] for name in book.providers()]
    note = (
        f"catalogue {book.title} of {book.date} ({book.catalogue_id[:12]}), {len(book.user_rates)} prices of your own"
    )
    return Table((Column("provider", "provider"), Column("services", "services", right=True)), rows, note=note)


def _table_of_services(book: PriceBook, provider: str) -> Table:
    _known_provider(book, provider)
    rows: list[list[Cell]] = []
    for service in book.services(provider):
        meters = sorted({rate.meter for rate in book.rates(provider, service)})
        rows.append([service, ", ".join(meters)])
    return Table((Column("service", "service"), Column("meters", "meters")), rows, title=provider)


def _table_of_service(book: PriceBook, provider: str, service: str) -> Table:
    found = book.resolve(provider, service)
    if not found.rates:
        raise NotFound(found.reason or f"no price of {provider}/{service} is known", code="no_such_price")
    return Table(_RATE_COLUMNS, [rate_cells(rate) for rate in found.rates], note=found.rule)


def _known_provider(book: PriceBook, provider: str) -> None:
    if not book.services(provider):
        raise NotFound(
            f"provider {provider[:60]!r} is not in the price book; outlay prices show lists them",
            code="no_such_price",
        )


def rate_cells(rate: Rate) -> list[Cell]:
    """One rate under the columns of a table of rates."""
    from outlay.clock import isoformat

    return [
        rate.provider,
        rate.service,
        rate.meter,
        rate.price,
        rate.currency,
        rate.per,
        dict(rate.conditions),
        rate.context_over,
        None if rate.valid_from is None else isoformat(rate.valid_from),
        None if rate.valid_to is None else isoformat(rate.valid_to),
        rate.origin,
        rate.source_date,
        rate.source,
        rate.note,
    ]


@prices.command("add")
def add_price(
    provider: Annotated[
        str | None, typer.Option("--provider", "-p", metavar="TEXT", help="Who sells it.", show_default=False)
    ] = None,
    service: Annotated[
        str | None, typer.Option("--service", "-s", metavar="TEXT", help="What is sold.", show_default=False)
    ] = None,
    meter: Annotated[
        str | None,
        typer.Option(
            "--meter", "-m", metavar="TEXT", help="What is counted (outlay prices meters).", show_default=False
        ),
    ] = None,
    price: Annotated[
        str | None,
        typer.Option("--price", metavar="TEXT", help="The price of --per of the meter, exact.", show_default=False),
    ] = None,
    per: Annotated[
        int, typer.Option("--per", metavar="N", min=1, help="How many of the meter the price is for.")
    ] = 1,
    condition: ConditionOption = None,
    valid_from: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="From when on it holds.", show_default=False)
    ] = None,
    valid_to: Annotated[
        str | None, typer.Option("--to", metavar="TIME", help="Until when, exclusive.", show_default=False)
    ] = None,
    source: Annotated[
        str, typer.Option("--source", metavar="TEXT", help="Where it is written: a contract, a page.")
    ] = "",
    note: Annotated[str, typer.Option("--note", metavar="TEXT", help="A word about it.")] = "",
    file: Annotated[
        str | None,
        typer.Option("--file", metavar="TOML", help="Add all prices and discounts of a file.", show_default=False),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Take a price that is more than ten times off the one in force.")
    ] = False,
    ledger: LedgerOption = None,
    json: JsonOption = False,
    csv: CsvOption = False,
) -> None:
    """Add a price of your own, or a file of them; it beats the catalogue's and holds for what comes after.

    What is recorded already keeps its price; outlay reprice brings the past up to date.
    """
    form = form_of(json, csv)
    given = {"--provider": provider, "--service": service, "--meter": meter, "--price": price}
    with opened(ledger, create=True) as book:
        held = len(book.book.user_rates)
        if file is not None:
            book.add_prices(Path(file), force=force)
        else:
            missing = [name for name, value in given.items() if value is None]
            if missing:
                raise InvalidInput(f"a price needs {', '.join(missing)}, or give --file", code="missing_field")
            book.add_rate(
                provider=str(provider),
                service=str(service),
                meter=str(meter),
                price=str(price),
                per=per,
                conditions=read_pairs(condition, "--condition"),
                valid_from=_time(book, valid_from),
                valid_to=_time(book, valid_to),
                source=source,
                note=note,
                force=force,
            )
        added = book.book.user_rates[held:]
        show(Table(_RATE_COLUMNS, [rate_cells(rate) for rate in added], note=f"{len(added)} added"), form)


def _time(book: Ledger, text: str | None) -> int | None:
    from outlay.faces.cli.when import read_time

    return None if text is None else read_time(text, book.clock.now(), book.store.home_zone)


@prices.command("check")
def check_prices(
    days: Annotated[
        int | None,
        typer.Option(
            "--days",
            metavar="N",
            min=1,
            help="How old a price may be.  [default: outlay.toml, else 31]",
            show_default=False,
        ),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Check the whole price book, not only what this ledger uses.")
    ] = False,
    ledger: LedgerOption = None,
    json: JsonOption = False,
    csv: CsvOption = False,
) -> None:
    """Find prices that are old, unsourced or differ.

    Of what this ledger uses, or of everything; the exit code is 1 if there are any.
    """
    from outlay.clock import day_to_date, utc_day
    from outlay.config import load_settings
    from outlay.pricing import check

    form = form_of(json, csv)
    age = days or load_settings().prices_age_days_max
    with opened(ledger) as book:
        today = day_to_date(utc_day(book.clock.now()))
        findings = check.check_prices(book.book, _services(book, everything), today, age)
    columns = (
        Column("code", "finding"),
        Column("provider", "provider"),
        Column("service", "service"),
        Column("meter", "meter"),
        Column("message", "what"),
    )
    rows: list[list[Cell]] = [[each.code, each.provider, each.service, each.meter, each.message] for each in findings]
    shown = _collapsed(rows) if form is Form.TABLE else rows
    scope = "the whole price book" if everything else "what this ledger uses"
    show(Table(columns, shown, note=f"{len(rows)} findings in {scope}"), form)
    if rows:
        raise typer.Exit(Exit.FINDING)


def _collapsed(rows: list[list[Cell]]) -> list[list[Cell]]:
    """One row for all findings of a kind about one meter, which may have a price in each of many regions."""
    groups: dict[tuple[Cell, ...], list[list[Cell]]] = {}
    for row in rows:
        groups.setdefault(tuple(row[:4]), []).append(row)
    return [
        [*key, f"{found[0][4]}" + (f" (and {len(found) - 1} more)" if len(found) > 1 else "")]
        for key, found in groups.items()
    ]


def _services(book: Ledger, everything: bool) -> list[tuple[str, str]]:
    if everything:
        known = book.book
        return [(provider, service) for provider in known.providers() for service in known.services(provider)]
    rows = book.costs(("provider", "service", "basis")).rows
    called = [row.keys for row in rows if row.keys[2] != "billed"]
    return sorted({(str(provider), str(service)) for provider, service, _ in called})


@prices.command("diff")
def diff_prices(
    old: Annotated[
        str | None,
        typer.Argument(
            metavar="OLD", help="A catalogue version (outlay prices history); the one in force without one."
        ),
    ] = None,
    new: Annotated[
        str | None, typer.Argument(metavar="NEW", help="Another; the one shipped with this Outlay without one.")
    ] = None,
    provider: Annotated[
        str | None, typer.Option("--provider", "-p", metavar="TEXT", help="Only this provider.", show_default=False)
    ] = None,
    ledger: LedgerOption = None,
    json: JsonOption = False,
    csv: CsvOption = False,
) -> None:
    """What differs between two versions of the catalogue."""
    from outlay.pricing.catalogue import shipped

    form = form_of(json, csv)
    with opened(ledger) as book:
        show(_table_of_changes(_kept(book, old), _kept(book, new) if new else shipped(), provider), form)


def _kept(book: Ledger, wanted: str | None) -> tuple[str, bytes]:
    if wanted is None:
        found = book.store.catalogue()
    else:
        matches = [id for id, _, _ in book.store.catalogues() if id.startswith(wanted)]
        found = book.store.catalogue(matches[0]) if len(matches) == 1 else None
    if found is None:
        raise NotFound(
            f"no catalogue {wanted or ''!r} is in the ledger; outlay prices history lists them",
            code="no_such_catalogue",
        )
    return found


def _table_of_changes(old: tuple[str, bytes], new: tuple[str, bytes], provider: str | None) -> Table:
    from outlay.pricing.book import PriceBook
    from outlay.pricing.difference import difference

    before, after = (PriceBook.of(body, id) for id, body in (old, new))
    kept = [change for change in difference(before, after) if provider is None or change.provider == provider]
    columns = (
        Column("change", "change"),
        Column("provider", "provider"),
        Column("service", "service"),
        Column("meter", "meter"),
        Column("conditions", "conditions", when_empty=False),
        Column("context_over", "context over", right=True, when_empty=False),
        Column("before", "before, each", right=True),
        Column("after", "after, each", right=True),
        Column("ratio", "×", right=True, when_empty=False),
        Column("source", "source", when_empty=False),
    )
    rows = [change_cells(change) for change in kept]
    return Table(columns, rows, note=f"{len(rows)} differences between {old[0][:12]} and {new[0][:12]}")


def change_cells(change: PriceChange) -> list[Cell]:
    """One difference under its columns; prices are of one of the meter."""
    return [
        "added" if change.before is None else "removed" if change.after is None else "changed",
        change.provider,
        change.service,
        change.meter,
        dict(change.conditions),
        change.context_over,
        change.before,
        change.after,
        None if change.ratio is None else change.ratio.quantize(Decimal("0.0001")),
        change.source,
    ]


@prices.command("sync")
def sync_prices(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change; keep nothing.")] = False,
    shipped_one: Annotated[
        bool,
        typer.Option("--shipped", help="Take the catalogue shipped with this Outlay, not the installed package."),
    ] = False,
    yes: YesOption = False,
    ledger: LedgerOption = None,
    json: JsonOption = False,
    csv: CsvOption = False,
) -> None:
    """Put a newer catalogue in force, built from the installed genai-prices (extra `sync`) and Outlay's cards."""
    from outlay.pricing.catalogue import shipped

    form = form_of(json, csv)
    with opened(ledger, create=True, here="putting another catalogue in force") as book:
        if shipped_one:
            fresh = shipped()
        else:
            from outlay.pricing.sync import build_catalogue

            fresh = build_catalogue()
        standing = _kept(book, None)
        if fresh[0] == standing[0]:
            sys.stderr.write("outlay: the catalogue in force is this one already\n")
            return
        changes = _table_of_changes(standing, fresh, None)
        show(changes, form)
        if not dry_run:
            confirm(f"{changes.note}. Put the new catalogue in force for what comes after?", yes)
            book.store.put_catalogue(fresh[0], fresh[1], book.clock.now(), activate=True)


@prices.command("history")
def history_of_prices(ledger: LedgerOption = None, json: JsonOption = False, csv: CsvOption = False) -> None:
    """The catalogue versions this ledger has used, and the prices of your own in the order they came."""
    from outlay.clock import isoformat

    form = form_of(json, csv)
    with opened(ledger) as book:
        columns = (
            Column("catalogue", "catalogue"),
            Column("recorded_at", "kept since"),
            Column("active", "in force"),
        )
        rows: list[list[Cell]] = [[id, isoformat(at), active] for id, at, active in book.store.catalogues()]
        own = [rate_cells(rate) for rate in book.book.user_rates]
        if form is not Form.TABLE:
            facts = {
                "prices_of_your_own": [dict(zip((c.name for c in _RATE_COLUMNS), row, strict=True)) for row in own]
            }
            show(Table(columns, rows, facts=facts), form)
            return
        show(Table(columns, rows), form)
        if own:
            show(Table(_RATE_COLUMNS, own, title="prices of your own"), form)


@prices.command("meters")
def meters(json: JsonOption = False, csv: CsvOption = False) -> None:
    """All meters: what can be counted, in which unit, and which meter each is a part of."""
    from outlay.meters import METERS, ancestors

    form = form_of(json, csv)
    columns = (
        Column("meter", "meter"),
        Column("unit", "unit"),
        Column("whole", "whole"),
        Column("part_of", "part of", when_empty=False),
    )
    rows: list[list[Cell]] = [
        [name, meter.unit, meter.whole, ", ".join(ancestors(name)[:1])] for name, meter in METERS.items()
    ]
    show(Table(columns, rows), form)


@contextmanager
def price_book(ledger: str | None) -> Iterator[PriceBook]:
    """The price book of the ledger, or the shipped catalogue's where no ledger was named and none is there."""
    from outlay.config import load_settings
    from outlay.pricing.book import PriceBook
    from outlay.pricing.catalogue import shipped

    path = file_of(ledger or load_settings().ledger)
    if ledger is None and path is not None and not path.exists():
        id, body = shipped()
        yield PriceBook.of(body, id)
        return
    with opened(ledger) as book:
        yield book.book
