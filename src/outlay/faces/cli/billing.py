"""`outlay bill`, `reconcile`, `allocate` and `balance`: what providers bill, and what that means for the ledger."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from outlay.errors import InvalidInput
from outlay.faces.cli.billing_tables import (
    proposals_table,
    reconciled_json,
    reconciled_table,
    show_balances,
    show_facts,
)
from outlay.faces.cli.exits import ErrorsInOneLine, Exit
from outlay.faces.cli.options import (
    CsvOption,
    JsonOption,
    LedgerOption,
    SinceOption,
    UntilOption,
    WhereOption,
    form_of,
    read_filter,
    read_pairs,
)
from outlay.faces.cli.render import Cell, Column, Form, Table, show, write_json
from outlay.faces.cli.session import opened, progress, read_span

if TYPE_CHECKING:
    from outlay.api import Ledger
    from outlay.capture.lines import BadLine
    from outlay.capture.statements import BilledRow

bill = typer.Typer(
    name="bill",
    help="What a provider bills for some days, by service and in total.",
    no_args_is_help=True,
    cls=ErrorsInOneLine,
    rich_markup_mode=None,
)

YesterdayOption = Annotated[bool, typer.Option("--yesterday", help="The day before today, in UTC.")]
KeepOption = Annotated[
    bool, typer.Option("--keep", help="Take it in as a statement too, in place of what was billed for these days.")
]
AddressOption = Annotated[
    str | None, typer.Option("--address", metavar="URL", help="Another address of the API.", show_default=False)
]
_TIMES: Final = "a date, yesterday, 7d, this-month, …; days are UTC"
SinceDay = Annotated[str | None, typer.Option("--since", metavar="DAY", help=f"From: {_TIMES}.", show_default=False)]
UntilDay = Annotated[str | None, typer.Option("--until", metavar="DAY", help="To, exclusive.", show_default=False)]


@bill.command("aws")
def bill_aws(
    yesterday: YesterdayOption = False,
    since: SinceDay = None,
    until: UntilDay = None,
    by: Annotated[
        list[str] | None,
        typer.Option(
            "--by", help="SERVICE, USAGE_TYPE, RECORD_TYPE, LINKED_ACCOUNT, REGION or tag:NAME; at most two."
        ),
    ] = None,
    keep: KeepOption = False,
    ledger: LedgerOption = None,
    json: JsonOption = False,
    csv: CsvOption = False,
) -> None:
    """Ask AWS Cost Explorer; a day's answer is kept, and each request that AWS charges ($0.01) is booked.

    Credentials are found as by the AWS command line; the right ce:GetCostAndUsage is needed.
    """
    from outlay.capture.statement_bodies import rows_of_cost_explorer
    from outlay.capture.statement_layouts import Format
    from outlay.config import cache_folder
    from outlay.faces.bills.cost_explorer import book_request, cost_and_usage

    form = form_of(json, csv)
    with opened(ledger, create=True) as book:
        first, after, today = _days(book, yesterday, since, until)
        pages = cost_and_usage(
            first,
            after,
            by=by or ["SERVICE", "USAGE_TYPE"],
            cache=cache_folder() / "cost-explorer",
            today=today,
            paid=lambda: book_request(book),
        )
        rows = list(rows_of_cost_explorer(pages, "AWS Cost Explorer"))
        _tell(book, rows, Format.COST_EXPLORER.value, (first, after), keep, form)


@bill.command("openai")
def bill_openai(
    yesterday: YesterdayOption = False,
    since: SinceDay = None,
    until: UntilDay = None,
    keep: KeepOption = False,
    address: AddressOption = None,
    ledger: LedgerOption = None,
    json: JsonOption = False,
    csv: CsvOption = False,
) -> None:
    """Ask OpenAI's costs API, with the key in OPENAI_ADMIN_KEY."""
    _bill_of("openai", yesterday, since, until, keep, address, ledger, form_of(json, csv))


@bill.command("anthropic")
def bill_anthropic(
    yesterday: YesterdayOption = False,
    since: SinceDay = None,
    until: UntilDay = None,
    keep: KeepOption = False,
    address: AddressOption = None,
    ledger: LedgerOption = None,
    json: JsonOption = False,
    csv: CsvOption = False,
) -> None:
    """Ask Anthropic's cost report, with the key in ANTHROPIC_ADMIN_KEY."""
    _bill_of("anthropic", yesterday, since, until, keep, address, ledger, form_of(json, csv))


@bill.command("replicate")
def bill_replicate(
    yesterday: YesterdayOption = False,
    since: SinceDay = None,
    until: UntilDay = None,
    address: AddressOption = None,
    ledger: LedgerOption = None,
    json: JsonOption = False,
    csv: CsvOption = False,
) -> None:
    """Book Replicate's predictions as calls, with the token in REPLICATE_API_TOKEN; recorded ones are known."""
    from outlay.faces.bills.providers import api_of, book_predictions, replicate_predictions
    from outlay.money import Money

    form = form_of(json, csv)
    counts: dict[str, int] = {}
    amount = 0
    with opened(ledger, create=True) as book, progress("predictions") as advance:
        first, after, _ = _days(book, yesterday, since, until)
        api = api_of("replicate", address=address)
        for outcome in book_predictions(book, replicate_predictions(api, first, after)):
            advance(1)
            counts[outcome.code] = counts.get(outcome.code, 0) + 1
            amount += outcome.amount if outcome.code == "created" else 0
        facts: dict[str, Cell] = {**counts, "cost_booked": Money(amount, book.currency)}
        show_facts(facts, form)


def _bill_of(
    provider: str,
    yesterday: bool,
    since: str | None,
    until: str | None,
    keep: bool,
    address: str | None,
    ledger: str | None,
    form: Form,
) -> None:
    from outlay.faces.bills.providers import COST_APIS, api_of

    with opened(ledger, create=True) as book:
        first, after, _ = _days(book, yesterday, since, until)
        report = COST_APIS[provider](api_of(provider, address=address), first, after)
        _tell(book, report.rows, report.format.value, (first, after), keep, form)


def _days(book: Ledger, yesterday: bool, since: str | None, until: str | None) -> tuple[date, date, date]:
    """The days asked for, `until` exclusive, and today; all in UTC, as providers bill."""
    from outlay.clock import to_datetime
    from outlay.faces.cli.when import read_time

    now = book.clock.now()
    today = to_datetime(now).date()
    if yesterday or since is None:
        if since or until:
            raise InvalidInput("give --yesterday, or --since and --until", code="bad_choice")
        return today - timedelta(days=1), today, today
    first = to_datetime(read_time(since, now, "UTC")).date()
    after = to_datetime(read_time(until, now, "UTC")).date() if until else today
    if after <= first:
        raise InvalidInput("--since does not lie before --until", code="time_reversed")
    return first, after, today


def _tell(
    book: Ledger,
    rows: list[BilledRow | BadLine],
    format: str,
    days: tuple[date, date],
    keep: bool,
    form: Form,
) -> None:
    """Show a bill by service and in total, each currency by itself; take it in where that is wanted."""
    from outlay.capture.lines import BadLine
    from outlay.capture.statement_layouts import Format
    from outlay.faces.bills.booking import Booking, book_rows
    from outlay.money import Money

    sums: dict[tuple[str, str], Decimal] = {}
    bad = [row for row in rows if isinstance(row, BadLine)]
    for row in rows:
        if not isinstance(row, BadLine):
            at = (row.service, row.currency or book.currency)
            sums[at] = sums.get(at, Decimal(0)) + Decimal(row.cost)
    totals: dict[str, Decimal] = {}
    for (_, currency), amount in sums.items():
        totals[currency] = totals.get(currency, Decimal(0)) + amount
    body: list[list[Cell]] = [
        [service, _money(amount, currency), currency]
        for (service, currency), amount in sorted(sums.items(), key=lambda item: (-item[1], item[0]))
    ]
    body += [["total", _money(amount, currency), currency] for currency, amount in sorted(totals.items())]
    title = f"{format}, {days[0]}" + ("" if (days[1] - days[0]).days == 1 else f" to {days[1] - timedelta(days=1)}")
    facts: dict[str, Any] = {"from": days[0].isoformat(), "to": days[1].isoformat(), "unread": len(bad)}
    note = f"{len(bad)} results could not be read: {bad[0].reason}" if bad else ""
    if keep:
        booked = book_rows(book, rows, title, Format(format), Booking(bad.append, lambda step: None), covers=days)
        changed = booked.amount if booked is not None else Money(0, book.currency)
        facts["charged"], facts["waiting"] = changed, booked.waiting if booked is not None else 0
        note = "; ".join(
            part for part in (note, f"taken in: {changed} charged, {facts['waiting']} rows wait") if part
        )
    columns = (
        Column("service", "service"),
        Column("cost", "cost", right=True),
        Column("currency", "", when_empty=False),
    )
    show(Table(columns, body, title=title, note=note, facts=facts), form)
    if bad:
        raise typer.Exit(Exit.FINDING)


def _money(amount: Decimal, currency: str) -> Any:
    from outlay.bills.groups import pico_of
    from outlay.money import Money

    return Money(pico_of(amount, None), currency)


def reconcile(
    statement: Annotated[
        str | None, typer.Argument(metavar="STATEMENT", help="Its id or source.  [default: all]", show_default=False)
    ] = None,
    provider: Annotated[
        str | None, typer.Option("--provider", help="Only what this one bills.", show_default=False)
    ] = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="DATE", help="From this day.", show_default=False)
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="DATE", help="To this day, exclusive.", show_default=False)
    ] = None,
    drift: Annotated[
        str, typer.Option("--drift", metavar="SHARE", help="Beyond which share a difference is told.")
    ] = "0.005",
    daily: Annotated[bool, typer.Option("--daily", help="Day by day.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write nothing.")] = False,
    ledger: LedgerOption = None,
    json: JsonOption = False,
    csv: CsvOption = False,
) -> None:
    """Make the ledger say what the bills say, and name why they differed from what was called.

    Metered services get adjustments, what no call is recorded of is charged as billed. Doing it again changes
    nothing but what changed since. The exit code is 1 where a service differs by more than the share told as drift.
    """
    form = form_of(json, csv)
    with opened(ledger) as book:
        found = book.reconcile(statement, provider=provider, since=since, until=until, drift=drift, dry_run=dry_run)
        if form is Form.JSON:
            write_json(reconciled_json(found))
        else:
            show(reconciled_table(found, daily), form)
            if form is Form.TABLE and found.proposals:
                show(proposals_table(found), form)
    if found.drifts:
        raise typer.Exit(Exit.FINDING)


def allocate(
    to: Annotated[str, typer.Argument(metavar="TO", help="feature, customer, job, team, tag.NAME, …")],
    rule: Annotated[str, typer.Option("--rule", help="even, usage or weight.")] = "usage",
    by: Annotated[
        str | None,
        typer.Option(
            "--by", metavar="WHAT", help="Usage of: cost, calls, or a meter.  [default: cost]", show_default=False
        ),
    ] = None,
    weight: Annotated[
        list[str] | None,
        typer.Option("--weight", metavar="NAME=NUMBER", help="The rule weight's weights.", show_default=False),
    ] = None,
    where: WhereOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    ledger: LedgerOption = None,
    json: JsonOption = False,
    csv: CsvOption = False,
) -> None:
    """Give the cost that bears no TO to those that do, by a rule; it sums to the last digit. Nothing is written."""
    from outlay.money import Money

    form = form_of(json, csv)
    with opened(ledger) as book:
        first, last = read_span(book, since, until, None)
        weights = {name: str(value) for name, value in read_pairs(weight, "--weight").items()} if weight else None
        found = book.allocate(
            to, rule=rule, by=by, weights=weights, where=read_filter(where), since=first, until=last
        )
    columns = (
        Column(to, to),
        Column("own", "own", right=True),
        Column("given", "given", right=True),
        Column("total", "total", right=True),
    )
    rows: list[list[Cell]] = [
        [each.name, *(Money(pico, found.currency) for pico in (each.own, each.given, each.total))]
        for each in found.shares
    ]
    own = sum(each.own for each in found.shares)
    footer: list[Cell] = ["total", *(Money(pico, found.currency) for pico in (own, found.shared, found.total))]
    facts = {"rule": rule, "shared": Money(found.shared, found.currency), "total": Money(found.total, found.currency)}
    show(Table(columns, rows, footer=footer, facts=facts), form)


def balance(
    provider: Annotated[
        str | None, typer.Argument(metavar="PROVIDER", help="Whose balance.  [default: all]", show_default=False)
    ] = None,
    amount: Annotated[
        str | None, typer.Option("--set", metavar="AMOUNT", help="Enter what is left now.", show_default=False)
    ] = None,
    read: Annotated[
        bool, typer.Option("--read", help="Read it from the provider (openrouter, deepseek, stability).")
    ] = False,
    days: Annotated[int, typer.Option("--days", help="Over how many days the burn is the mean.")] = 14,
    address: AddressOption = None,
    ledger: LedgerOption = None,
    json: JsonOption = False,
    csv: CsvOption = False,
) -> None:
    """Show prepaid balances: what is left, what is spent a day, and the day it runs out."""
    form = form_of(json, csv)
    with opened(ledger, create=amount is not None or read) as book:
        if (amount is not None or read) and provider is None:
            raise InvalidInput("name the provider whose balance it is", code="missing_field")
        if provider is not None and read:
            from outlay.faces.bills.providers import api_of, read_balance

            left, source = read_balance(api_of(provider, address=address), book.currency)
            book.note_balance(provider, left, source=source)
        elif provider is not None and amount is not None:
            book.note_balance(provider, amount)
        found = [book.balance(provider, days=days)] if provider is not None else book.balances()
    show_balances(found, form)
