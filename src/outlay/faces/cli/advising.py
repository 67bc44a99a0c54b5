"""`outlay advise`: what may be saved and why, what was said to it, what it did, and the checklist."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
import typer

from outlay.clock import to_datetime
from outlay.errors import InvalidInput, NotFound, OutlayError
from outlay.faces.cli.options import (
    CsvOption,
    JsonOption,
    LedgerOption,
    WhereOption,
    form_of,
    read_filter,
    read_pairs,
)
from outlay.faces.cli.render import Form, show
from outlay.faces.cli.session import file_of, opened

if TYPE_CHECKING:
    from outlay.advising import AdviceReport
    from outlay.analytics.advice import Advice, AdviceEffect
    from outlay.analytics.advise_stack import Utilisation
    from outlay.analytics.checklist import Fact
    from outlay.analytics.stack_file import StackFile
    from outlay.api import Ledger
    from outlay.faces.aws.unused import Unused

DAYS: Final = 30


StackArgument = Annotated[
    Path | None,
    typer.Argument(metavar="[STACK]", help="A stack's file: adds advice on its resources.", show_default=False),
]
DaysOption = Annotated[int, typer.Option("--days", metavar="N", min=1, max=366, help="Calls of so many days.")]
AcceptOption = Annotated[
    str | None, typer.Option("--accept", metavar="ID", help="Say: this is done.", show_default=False)
]
DismissOption = Annotated[
    str | None, typer.Option("--dismiss", metavar="ID", help="Say: this is not for us.", show_default=False)
]
ReopenOption = Annotated[
    str | None, typer.Option("--reopen", metavar="ID", help="Take that back.", show_default=False)
]
WhyOption = Annotated[str, typer.Option("--why", metavar="TEXT", help="Why.", show_default=False)]
ExplainOption = Annotated[bool, typer.Option("--explain", help="What each rests on, how to do it, what is assumed.")]
EffectsOption = Annotated[bool, typer.Option("--effects", help="What accepted measures did since.")]
ChecklistOption = Annotated[bool, typer.Option("--checklist", help="The checklist of 24 items, ticked from facts.")]
UnusedOption = Annotated[
    bool, typer.Option("--unused", help="Ask AWS for services at zero, old images, files that should be gone.")
]
DismissedOption = Annotated[bool, typer.Option("--all", help="Also what was dismissed.")]
CheaperOption = Annotated[
    list[str] | None,
    typer.Option("--cheaper", metavar="MODEL=SMALLER", help="Which smaller model to propose.", show_default=False),
]
MetricsOption = Annotated[
    Path | None,
    typer.Option(
        "--metrics",
        metavar="FILE",
        help='JSON: {"backend": {"cpu": [[average, maximum], …], "memory": […]}} by the hour.',
        show_default=False,
    ),
]
AwsOption = Annotated[bool, typer.Option("--aws", help="Read them from CloudWatch, and buckets' rules from S3.")]
PricesOption = Annotated[
    Path | None, typer.Option("--prices", metavar="FILE", help="Prices for the stack only.", show_default=False)
]


def advise(
    stack: StackArgument = None,
    days: DaysOption = DAYS,
    accept: AcceptOption = None,
    dismiss: DismissOption = None,
    reopen: ReopenOption = None,
    why: WhyOption = "",
    explain: ExplainOption = False,
    effects: EffectsOption = False,
    checklist: ChecklistOption = False,
    unused: UnusedOption = False,
    dismissed: DismissedOption = False,
    cheaper: CheaperOption = None,
    metrics: MetricsOption = None,
    aws: AwsOption = False,
    prices: PricesOption = None,
    where: WhereOption = None,
    ledger: LedgerOption = None,
    json: JsonOption = False,
    csv: CsvOption = False,
) -> None:
    """What may be saved, with what it rests on; what several measures save together; a plan by month.

    For example: outlay advise examples/stack.toml --explain
    """
    from outlay.estimating import load_stack
    from outlay.faces.cli import advice_tables as made

    form = form_of(json, csv)
    described = None if stack is None else load_stack(stack)
    decides = bool(accept or dismiss or reopen or effects)
    with _advised_by(ledger, alone=stack is not None and not decides) as book:
        if effects:
            show(made.table_of_effects(_effects(book), book.currency), form)
            return
        if unused:
            show(made.table_of_unused(_unused(book, described), book.currency), form)
            return
        utilisation, facts = _read_usage(book, described, metrics, aws=aws)
        found = book.advice(
            days=days,
            where=read_filter(where),
            stack=described,
            prices=prices or _beside(stack, described),
            utilisation=utilisation,
            cheaper=read_pairs(cheaper, "--cheaper"),
        )
        for id, state in ((accept, "accepted"), (dismiss, "dismissed"), (reopen, "open")):
            if id is not None:
                said = book.decide_advice(_chosen(found, id), state, why=why, who="command line")
                print(f"{said.id}: {said.state}")
        if accept or dismiss or reopen:
            return
        if checklist:
            ticked = book.checklist(found, stack=described, utilisation=utilisation, facts=facts)
            show(made.table_of_checklist(ticked), form)
            return
        _show(found, form, explain=explain, dismissed=dismissed)


@contextmanager
def _advised_by(address: str | None, *, alone: bool) -> Iterator[Ledger]:
    """The ledger that is named or configured; for a stack `alone` also none, with the shipped prices."""
    if alone and address is None:
        from outlay.config import load_settings
        from outlay.opening import open_ledger

        path = file_of(load_settings().ledger)
        if path is not None and not path.exists():
            with open_ledger("memory:") as ledger:
                yield ledger
            return
    with opened(address) as ledger:
        yield ledger


def _show(found: AdviceReport, form: Form, *, explain: bool, dismissed: bool) -> None:
    from outlay.faces.cli import advice_tables as made

    show(made.table_of_advice(found, dismissed=dismissed), form)
    if form is not Form.TABLE:
        return
    if explain:
        for one in found.measures:
            if dismissed or one.state != "dismissed":
                print()
                print("\n".join(made.details(found, one)))
    if found.measures:
        print()
        show(made.table_of_plan(found), form)


def _chosen(found: AdviceReport, id: str) -> Advice:
    """The measure of that id, or of which it is the only beginning. Raises NotFound `no_such_advice`."""
    exact = [one for one in found.measures if one.id == id]
    near = exact or [one for one in found.measures if one.id.startswith(id)]
    if len(near) != 1:
        said = "no advice has" if not near else f"{len(near)} measures begin with"
        raise NotFound(
            f"{said} the id {id[:60]!r}; outlay advise (with the stack's file) lists them", code="no_such_advice"
        )
    return near[0]


def _effects(book: Ledger) -> list[tuple[Advice, AdviceEffect | str]]:
    found: list[tuple[Advice, AdviceEffect | str]] = []
    for advice in book.accepted_advice():
        try:
            found.append((advice, book.advice_effect(advice.id)))
        except OutlayError as error:
            found.append((advice, error.message))
    return found


def _beside(stack: Path | None, described: StackFile | None) -> Path | None:
    if stack is None or described is None or not described.prices:
        return None
    return stack.parent / described.prices


def _read_usage(
    book: Ledger, described: StackFile | None, metrics: Path | None, *, aws: bool
) -> tuple[Sequence[Utilisation], dict[str, Fact]]:
    """What is known of how busy the stack's resources are, and what else was read in AWS."""
    from outlay.advising import read_utilisation as of_file

    if metrics is not None:
        try:
            tables = msgspec.json.decode(metrics.read_bytes())
        except (OSError, msgspec.DecodeError) as error:
            raise InvalidInput(f"{metrics} cannot be read as JSON", code="bad_metrics") from error
        if not isinstance(tables, dict):
            raise InvalidInput(f"{metrics} holds no table of resources", code="bad_metrics")
        return of_file(tables), {}
    if not aws:
        return (), {}
    from outlay.faces.aws.clients import Clients
    from outlay.faces.aws.usage_metrics import read_lifecycle, read_utilisation

    tables, region = _placed(described)
    clients, now = Clients(), to_datetime(book.clock.now())
    found = list(read_utilisation(clients, region, tables, now))
    lifecycle = read_lifecycle(clients, region, tables)
    return found, {} if lifecycle is None else {"lifecycle": lifecycle}


def _unused(book: Ledger, described: StackFile | None) -> list[Unused]:
    from outlay.faces.aws.clients import Clients
    from outlay.faces.aws.unused import find_unused

    tables, region = _placed(described)

    def priced(service: str, gb: Decimal) -> int:
        usage = {"gb_months": gb.quantize(Decimal("1e-9"))}
        return book.price(provider="aws", service=service, usage=usage, conditions={"region": region}).total.pico

    return list(find_unused(Clients(), region, tables, to_datetime(book.clock.now()), priced))


def _placed(described: StackFile | None) -> tuple[Mapping[str, Any], str]:
    """The tables of the stack and its region. Raises InvalidInput `bad_option` without a file, `bad_stack`."""
    if described is None:
        raise InvalidInput("AWS is asked for what a stack's file names: give the file", code="bad_option")
    region = str(described.tables.get("stack", {}).get("region", ""))
    if not region:
        raise InvalidInput("[stack] names no region to read in", code="bad_stack", field="stack.region")
    return described.tables, region
