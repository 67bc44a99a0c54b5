"""`outlay aws`: metrics, dashboards, alarms, budgets and care for storage at AWS, planned, applied and checked."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from outlay.faces.cli.exits import ErrorsInOneLine, Exit
from outlay.faces.cli.options import CsvOption, JsonOption, LedgerOption, YesOption, form_of
from outlay.faces.cli.render import Column, Form, Table, pairs, show, write_json
from outlay.faces.cli.session import confirm, opened

if TYPE_CHECKING:
    from collections.abc import Sequence

    from outlay.api import Ledger
    from outlay.faces.aws.clients import Clients
    from outlay.faces.aws.definition import Definition
    from outlay.faces.aws.plan import Change
    from outlay.faces.aws.resources import Untold

aws = typer.Typer(
    name="aws",
    help="AWS told of costs: metrics, alarms, budgets, dashboards, as [aws] of outlay.toml says.",
    no_args_is_help=True,
    cls=ErrorsInOneLine,
)

ProfileOption = Annotated[
    str | None,
    typer.Option("--profile", metavar="NAME", help="Credentials of this profile of ~/.aws.", show_default=False),
]
_PLAN_COLUMNS = (
    Column("action", "action"),
    Column("kind", "kind"),
    Column("name", "name"),
    Column("region", "region"),
    Column("path", "what", when_empty=False),
    Column("stands", "stands", when_empty=False),
    Column("wanted", "wanted", when_empty=False),
    Column("reason", "why", when_empty=False),
)


@aws.command("plan")
def show_plan(
    profile: ProfileOption = None, ledger: LedgerOption = None, json: JsonOption = False, csv: CsvOption = False
) -> None:
    """What would be made or changed at AWS. It reads only.

    What stands is compared with [aws] of outlay.toml and the ledger's own budgets and rules. The exit code is 1
    where something waits for outlay aws apply, or is refused.
    """
    changes, untold = _changes(ledger, _clients(profile))
    _show(changes, untold, form_of(json, csv))
    if any(change.action.value != "same" for change in changes):
        raise typer.Exit(Exit.FINDING)


@aws.command("apply")
def apply_plan(profile: ProfileOption = None, yes: YesOption = False, ledger: LedgerOption = None) -> None:
    """Show the plan, and do it once it is confirmed.

    Each thing is read back and compared; what failed, was refused, or does not stand as written, makes the exit code
    1. Nothing is ever deleted.
    """
    from outlay.faces.aws.plan import apply, kinds

    clients = _clients(profile)
    changes, untold = _changes(ledger, clients)
    _show(changes, untold, Form.TABLE)
    counts = kinds(changes)
    failed = sum(change.action.value == "refuse" for change in changes)
    if counts:
        told = ", ".join(f"{count} {kind.value}" for kind, count in counts.items())
        confirm(f"This is made or changed at AWS: {told}.", yes)
    else:
        print("nothing to do", file=sys.stderr)
    for done in apply(clients, changes):
        failed += bool(done.failure)
        print(f"{done.change.resource.id}: {done.failure or 'done, and read back'}")
        for each in done.differences:
            print(f"  {each.path}: {each.stands} stands, {each.wanted} is wanted")
    if failed:
        raise typer.Exit(Exit.FINDING)


@aws.command("check")
def check(
    profile: ProfileOption = None, ledger: LedgerOption = None, json: JsonOption = False, csv: CsvOption = False
) -> None:
    """Whether everything stands at AWS as it should.

    Shows only what does not; then the exit code is 1. For cron.
    """
    changes, _ = _changes(ledger, _clients(profile))
    wrong = [change for change in changes if change.action.value != "same"]
    _show(wrong, [], form_of(json, csv))
    if wrong:
        raise typer.Exit(Exit.FINDING)
    print(f"{len(changes)} things stand as they should", file=sys.stderr)


@aws.command("template")
def write_template(
    part: Annotated[
        str,
        typer.Argument(metavar="PART", help="regional, or billing (for us-east-1: budgets, anomalies, the bill)."),
    ] = "regional",
    ledger: LedgerOption = None,
) -> None:
    """Write it all as CloudFormation, every threshold a parameter.

    For example: outlay aws template > costs.json, then aws cloudformation deploy --template-file costs.json
    --stack-name costs --parameter-overrides DailyThreshold=25
    """
    from outlay.faces.aws.template import template

    definition, _ = _definition(ledger)
    write_json(template(definition, part))


@aws.command("publish")
def publish(profile: ProfileOption = None, ledger: LedgerOption = None, json: JsonOption = False) -> None:
    """Send CloudWatch what was recorded since the last time.

    At least once: a process that dies at the wrong moment makes the next one send up to 1,000 sums of a minute again.
    For cron, each minute.
    """
    from outlay.faces.aws.publishing import SETTLE_S, Publisher

    definition, _ = _definition(ledger)
    clients = _clients(profile)

    def put(namespace: str, data: list[dict[str, Any]]) -> None:
        clients.call("cloudwatch", definition.region, "put_metric_data", Namespace=namespace, MetricData=data)

    with opened(ledger, here="publishing to CloudWatch") as book:
        book.flush()
        settle_s = SETTLE_S if book.store.address.startswith("postgres") else 0
        done = Publisher(book.store, book.clock, definition, put, settle_s=settle_s).run()
    facts = {"entries": done.entries, "data": done.data, "requests": done.requests, "too_old": done.too_old}
    if json:
        write_json(facts)
    else:
        show(pairs("", [(name.replace("_", " "), value) for name, value in facts.items()]), Form.TABLE)


@aws.command("queries")
def show_queries(
    check_file: Annotated[
        str | None,
        typer.Option(
            "--check", metavar="FILE", help="Check this query instead; - is standard input.", show_default=False
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Questions for CloudWatch Logs Insights, of the lines that Outlay's embedded metrics leave in the log."""
    from outlay.faces.aws.insights import check_query, queries

    if check_file is not None:
        from pathlib import Path

        check_query(sys.stdin.read() if check_file == "-" else Path(check_file).read_text())
        print("this query can run", file=sys.stderr)
        return
    found = queries()
    if json:
        write_json(found)
        return
    for name, text in found.items():
        sys.stdout.write(f"# {name.replace('_', ' ')}\n{text}\n\n")


def _clients(profile: str | None) -> Clients:
    from outlay.faces.aws.clients import Clients

    return Clients(profile)


def _definition(address: str | None) -> tuple[Definition, list[Untold]]:
    """The definition of outlay.toml with the ledger's budgets and rules, if there is a ledger."""
    from outlay.config import load_settings
    from outlay.errors import LedgerError
    from outlay.faces.aws.definition import read_definition
    from outlay.faces.aws.resources import with_ledger

    definition = read_definition(load_settings().aws)
    try:
        with opened(address) as book:
            return with_ledger(definition, _budgets(book), book.alert_rules())
    except LedgerError as error:
        # What AWS is told can be written down before anything was spent.
        if error.code != "no_ledger" or address is not None:
            raise
        return definition, []


def _budgets(book: Ledger) -> Sequence[Any]:
    """Budgets but those that stand behind alert rules, which are told as rules."""
    from outlay.budgets.alert_rules import PREFIX

    return [budget for budget in book.defined_budgets() if not budget.name.startswith(PREFIX)]


def _changes(address: str | None, clients: Clients) -> tuple[list[Change], list[Untold]]:
    from outlay.faces.aws.plan import plan
    from outlay.faces.aws.resources import resources_of

    definition, untold = _definition(address)
    return plan(clients, resources_of(definition)), untold


def _show(changes: Sequence[Change], untold: Sequence[Untold], form: Form) -> None:
    rows: list[list[Any]] = []
    for change in changes:
        resource = change.resource
        head = [change.action.value, resource.kind.value, resource.name, resource.region]
        found = [[each.path, each.stands, each.wanted, ""] for each in change.differences]
        rows += [[*head, *each] for each in found or [["", "", "", change.reason]]]
    for each in untold:
        rows.append(["kept by outlay", "", each.name, "", "", "", "", each.reason])
    show(Table(_PLAN_COLUMNS, rows), form)
