"""`outlay export`: events, FOCUS, tables, and usage to be billed, out of the ledger into files."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from outlay.errors import InvalidInput
from outlay.faces.cli.exits import ErrorsInOneLine, Exit
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
    read_names,
)
from outlay.faces.cli.render import Cell, Column, Form, Table, show, write_json
from outlay.faces.cli.session import opened, progress, read_span

if TYPE_CHECKING:
    from collections.abc import Iterator

    from outlay.api import Ledger
    from outlay.faces.export.charges import Chosen, Tally
    from outlay.faces.export.sinks import Row, Sink
    from outlay.receipt import Receipt

exports = typer.Typer(
    name="export",
    help="Write events, FOCUS, tables, or usage to be billed.",
    cls=ErrorsInOneLine,
    invoke_without_command=True,
)

FileArgument = Annotated[
    str,
    typer.Argument(
        metavar="FILE", help="Its name says the form: .csv, .csv.gz, .parquet or .jsonl; - is CSV on standard output."
    ),
]
GrainOption = Annotated[
    str,
    typer.Option("--grain", metavar="GRAIN", help="A row for each call, or a sum by hour, day or month."),
]
UsersOption = Annotated[bool, typer.Option("--users/--no-users", help="With users' names, or without.")]


@exports.callback()
def export(
    context: typer.Context,
    where: WhereOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    zone: ZoneOption = None,
    ledger: LedgerOption = None,
    json: JsonOption = False,
    csv: CsvOption = False,
) -> None:
    """Write the events as JSONL, or as CSV.

    To standard output; outlay import reads either again. The commands below write other forms into files.
    """
    if context.invoked_subcommand is not None:
        return
    form = form_of(json, csv)
    with opened(ledger) as book:
        first, last = read_span(book, since, until, zone)
        receipts = book.events(where=read_filter(where), since=first, until=last)
        if form is Form.CSV:
            _export_csv(list(receipts))
            return
        if form is Form.JSON:
            write_json([exported(receipt) for receipt in receipts])
            return
        import msgspec

        out = sys.stdout.buffer
        for receipt in receipts:
            out.write(msgspec.json.encode(exported(receipt)) + b"\n")
        out.flush()


def exported(receipt: Receipt) -> dict[str, Any]:
    """An event as `record` and `import` take it, and beside it, under `receipt`, what it cost."""
    from outlay.clock import isoformat
    from outlay.faces.cli.render import exact
    from outlay.model import ATTRIBUTIONS, Basis

    event = receipt.event
    line: dict[str, Any] = {"id": event.id, "time": isoformat(event.occurred_from)}
    if event.occurred_to != event.occurred_from:
        line["time_to"] = isoformat(event.occurred_to)
    line |= {"provider": event.provider, "service": event.service}
    for name in ("operation", *ATTRIBUTIONS, "step", "error", "duration_s", "call_key"):
        if getattr(event, name) is not None:
            line[name] = getattr(event, name)
    for name in ("usage", "conditions", "parameters", "tags"):
        if getattr(event, name):
            line[name] = dict(getattr(event, name))
    line["status"] = event.status.value
    if event.count != 1:
        line["count"] = event.count
    told = event.reported_cost
    if told is not None:
        line["reported_cost"] = exact(told)
    if event.basis not in (Basis.MEASURED, Basis.BILLED, Basis.ADJUSTED):
        line["basis"] = event.basis.value
    line["receipt"] = {
        "total": exact(receipt.total),
        "currency": receipt.currency,
        "pricing_status": receipt.pricing_status.value,
        "basis": receipt.rating.basis.value,
    }
    return line


def _export_csv(receipts: list[Receipt]) -> None:
    lines = [_flat(exported(receipt)) for receipt in receipts]
    names = list(dict.fromkeys(name for line in lines for name in line)) or ["id", "time", "provider", "service"]
    columns = [Column(name, name) for name in names]
    show(Table(columns, [[line.get(name) for name in names] for line in lines]), Form.CSV)


def _flat(line: dict[str, Any]) -> dict[str, Cell]:
    flat: dict[str, Cell] = {}
    for name, value in line.items():
        if isinstance(value, dict):
            prefix = "tag" if name == "tags" else name
            flat |= {f"{prefix}.{inner}": each for inner, each in value.items()}
        else:
            flat[name] = value
    return flat


@exports.command("focus")
def export_focus(
    file: FileArgument,
    version: Annotated[str, typer.Option("--focus-version", metavar="VERSION", help="1.2 or 1.4.")] = "1.2",
    grain: GrainOption = "day",
    account: Annotated[str, typer.Option("--account", metavar="ID", help="BillingAccountId of the rows.")] = "outlay",
    account_name: Annotated[
        str | None,
        typer.Option("--account-name", metavar="NAME", help="BillingAccountName of the rows.", show_default=False),
    ] = None,
    draft: Annotated[
        bool, typer.Option("--draft", help="Name the keys of AI prices as the draft after 1.4 does, without x_.")
    ] = False,
    users: UsersOption = True,
    statement: Annotated[
        str | None,
        typer.Option(
            "--statement",
            metavar="ID",
            help="Write this imported FOCUS bill instead, as it was received; last is the newest.",
            show_default=False,
        ),
    ] = None,
    where: WhereOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    zone: ZoneOption = None,
    ledger: LedgerOption = None,
) -> None:
    """Write the cost and usage table of FOCUS, the open format of cloud bills.

    Usage that has no price is left out, said, and makes the exit code 1: it is not zero.

    For example: outlay export focus october.parquet --since 2026-10-01 --until 2026-11-01
    """
    from outlay.faces.export.charges import charges_of
    from outlay.faces.export.focus import Account, focus_rows
    from outlay.faces.export.focus_columns import columns_of, kind_of
    from outlay.faces.export.sinks import open_sink

    columns = columns_of(version)
    with opened(ledger) as book:
        if statement is not None:
            _export_statement(book, statement, file, version)
            return
        whose = Account(id=account, name=account_name, currency=book.currency, draft=draft)
        source = Source(book, where, since, until, zone, grain, users)
        with open_sink(file, columns, kind_of) as sink:
            source.write(
                sink, focus_rows(charges_of(source.receipts(), source.chosen, source.tally), whose, source.tally)
            )
        source.tell(file)


def _export_statement(book: Ledger, statement: str, file: str, version: str) -> None:
    from outlay.faces.export.focus_columns import kind_of
    from outlay.faces.export.focus_statements import statement_columns, statement_rows
    from outlay.faces.export.sinks import open_sink

    kept = book.statements()
    if statement == "last" and kept:
        statement = kept[-1].id
    rows = book.statement_rows(statement)
    columns = next(each.columns for each in kept if each.id == statement)
    with open_sink(file, statement_columns(columns, version), kind_of) as sink, progress("writing") as advance:
        for row in statement_rows(rows, version):
            sink.write(row)
            advance(1)


@exports.command("csv")
def export_daily(
    file: FileArgument = "-",
    where: WhereOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    zone: ZoneOption = None,
    ledger: LedgerOption = None,
) -> None:
    """Write a row a day, service and resource: Date,Service,Resource,Cost,Usage,Unit.

    Spreadsheets and outlay import read it.
    """
    from outlay.faces.export.sinks import open_sink
    from outlay.faces.export.tables import DAILY_COLUMNS, daily_kind, daily_rows

    with opened(ledger) as book:
        source = Source(book, where, since, until, zone, "day", users=False)
        with open_sink(file, DAILY_COLUMNS, daily_kind) as sink:
            source.write(sink, daily_rows(source.receipts(), source.chosen, source.tally))
        source.tell(file)


@exports.command("parquet")
def export_lines(
    file: FileArgument,
    by: Annotated[
        str | None,
        typer.Option(
            "--by", metavar="NAMES", help="Costs by these instead, as outlay costs --by.", show_default=False
        ),
    ] = None,
    grain: GrainOption = "call",
    users: UsersOption = True,
    where: WhereOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    zone: ZoneOption = None,
    ledger: LedgerOption = None,
) -> None:
    """Write a table for BI tools: a row a priced line, its price and whom it is for.

    DuckDB, Spark and pandas read it with exact decimals. For example: outlay export parquet lines.parquet
    """
    from outlay.faces.export.charges import charges_of
    from outlay.faces.export.sinks import open_sink
    from outlay.faces.export.tables import LINE_COLUMNS, cost_columns, cost_kind, cost_rows, line_kind, line_rows

    with opened(ledger) as book:
        if by is not None:
            first, last = read_span(book, since, until, zone)
            costs = book.costs(read_names(by), where=read_filter(where), since=first, until=last, zone=zone)
            with open_sink(file, cost_columns(costs), cost_kind) as sink:
                for row in cost_rows(costs):
                    sink.write(row)
            return
        source = Source(book, where, since, until, zone, grain, users)
        with open_sink(file, LINE_COLUMNS, line_kind) as sink:
            charges = charges_of(source.receipts(), source.chosen, source.tally)
            source.write(sink, line_rows(charges, book.currency, source.tally))
        source.tell(file)


@exports.command("usage")
def export_usage(
    file: FileArgument = "-",
    markup: Annotated[
        list[str] | None,
        typer.Option(
            "--markup", metavar="PERCENT", help="Put on the cost: 20 for all, acme=15 for one.", show_default=False
        ),
    ] = None,
    period: Annotated[str, typer.Option("--period", metavar="PERIOD", help="hour, day or month.")] = "month",
    cloudevents: Annotated[
        bool, typer.Option("--cloudevents", help="Write CloudEvents 1.0, JSON lines, of periods that have ended.")
    ] = False,
    stripe: Annotated[
        str | None,
        typer.Option(
            "--stripe", metavar="NAME", help="Write Stripe meter events of that name, JSON lines.", show_default=False
        ),
    ] = None,
    value: Annotated[
        str, typer.Option("--value", metavar="WHAT", help="What a Stripe event counts: amount or quantity.")
    ] = "amount",
    customers: Annotated[
        str | None,
        typer.Option("--customers", metavar="FILE", help="CSV with customer,stripe_customer_id.", show_default=False),
    ] = None,
    where: WhereOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    zone: ZoneOption = None,
    ledger: LedgerOption = None,
) -> None:
    """Write what each customer used and is to pay for it.

    Rows are rounded so that they add up to a customer's rounded sum.

    For example: outlay export usage october.csv --since last-month --markup acme=15 --until this-month
    """
    from outlay.faces.export.sinks import JsonSink, open_sink
    from outlay.faces.export.usage import (
        COLUMNS,
        billable,
        cloud_event,
        customer_usage,
        read_customers,
        read_markup,
        stripe_event,
        usage_kind,
        usage_row,
    )

    if (cloudevents and stripe) or value not in ("amount", "quantity"):
        raise InvalidInput("give --cloudevents or --stripe, and --value amount or quantity", code="bad_option")
    with opened(ledger) as book:
        source = Source(book, where, since, until, zone, period, users=False)
        used = customer_usage(
            source.receipts(), source.chosen, read_markup(markup or ()), book.currency, source.tally
        )
        if not cloudevents and stripe is None:
            with open_sink(file, COLUMNS, usage_kind) as sink:
                source.write(sink, map(usage_row, used))
        else:
            ids = read_customers(customers)
            told = billable(used, book.clock.now())
            with JsonSink(file) as lines:
                if stripe is None:
                    source.write(lines, (cloud_event(each, "outlay") for each in told))
                else:
                    source.write(
                        lines, (stripe_event(each, name=stripe, customers=ids, value=value) for each in told)
                    )
        source.tell(file)


class Source:
    """What of a ledger is written, and what became of it."""

    def __init__(
        self,
        book: Ledger,
        where: list[str] | None,
        since: str | None,
        until: str | None,
        zone: str | None,
        grain: str,
        users: bool,
    ) -> None:
        from outlay.faces.export.charges import Chosen, Tally, read_grain

        self.book = book
        self.where = read_filter(where)
        self.span = read_span(book, since, until, zone)
        self.chosen: Chosen = Chosen(grain=read_grain(grain), zone=zone or book.store.home_zone, users=users)
        self.tally: Tally = Tally()

    def receipts(self) -> Iterator[Receipt]:
        """The events chosen, as they stand."""
        return self.book.events(where=self.where, since=self.span[0], until=self.span[1])

    def write(self, sink: Sink, rows: Iterable[Row]) -> None:
        """Write all rows."""
        with progress("writing") as advance:
            for row in rows:
                sink.write(row)
                advance(1)

    def tell(self, file: str) -> None:
        """Say on stderr what was written; exit with 1 where usage had no price."""
        from outlay.money import Money

        told = f"{file}: {self.tally.rows:,} rows, {Money(self.tally.amount, self.book.currency)}"
        print(told, file=sys.stderr)
        if self.tally.unpriced:
            print(
                f"{self.tally.unpriced:,} calls used what has no price: that is left out; outlay prices check",
                file=sys.stderr,
            )
            raise typer.Exit(Exit.FINDING)
