"""`outlay budget`: caps on spending, how they stand, who changed them, and why calls were refused."""

from __future__ import annotations

import sys
from typing import Annotated, Any, Final

import typer

from outlay.errors import InvalidInput
from outlay.faces.cli.budget_tables import table_of_budgets, table_of_history, table_of_refusals, write_budget
from outlay.faces.cli.exits import ErrorsInOneLine
from outlay.faces.cli.options import (
    CsvOption,
    JsonOption,
    LedgerOption,
    YesOption,
    form_of,
    read_filter,
    read_names,
)
from outlay.faces.cli.render import Form, show
from outlay.faces.cli.session import confirm, opened

budget = typer.Typer(
    name="budget",
    help="Budgets: caps on spending, how they stand, and why calls were refused.",
    no_args_is_help=True,
    cls=ErrorsInOneLine,
)

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The budget's name.")]
WhoOption = Annotated[str, typer.Option("--who", metavar="TEXT", help="Who does it, for the history.")]
WHO: Final = "command line"

LimitOption = Annotated[
    list[str] | None,
    typer.Option(
        "--limit", metavar="AMOUNT", help="5.00 with --window, or day=5.00, once a window.", show_default=False
    ),
]
WindowOption = Annotated[
    str | None,
    typer.Option(
        "--window", metavar="NAME", help="5-minutes, hour, day, week, month, quarter or year.", show_default=False
    ),
]
TierOption = Annotated[
    list[str] | None,
    typer.Option(
        "--tier",
        metavar="TIER:WINDOW=AMOUNT",
        help="A limit of one tier of an --each budget: free:day=0.50. The first tier is for whom none is known.",
        show_default=False,
    ),
]
WhereOption = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        "-w",
        metavar="NAME=VALUE",
        help="Only such calls: provider=replicate, tag.x=y, user= (without). Repeat a name for several values.",
        show_default=False,
    ),
]
EachOption = Annotated[
    str | None,
    typer.Option("--each", metavar="NAME", help="An account for each user, customer, feature, …", show_default=False),
]
CountOption = Annotated[
    str | None,
    typer.Option(
        "--count", metavar="METER", help="Count calls, or a meter's quantity, not money.", show_default=False
    ),
]
ZoneOption = Annotated[str, typer.Option("--zone", metavar="ZONE", help="The IANA zone of the windows.")]
MarkOption = Annotated[
    list[str] | None,
    typer.Option(
        "--mark",
        metavar="SHARE",
        help="A share worth telling: 80, '>80%', 'forecast 100%'. Repeat.  [default: 50, 80, 100]",
        show_default=False,
    ),
]
ActionOption = Annotated[
    str,
    typer.Option("--action", metavar="ACTION", help="Of what does not fit: notify, refuse, throttle, downgrade."),
]
DowngradeToOption = Annotated[
    list[str] | None,
    typer.Option(
        "--downgrade-to",
        metavar="SERVICES",
        help="With commas or repeated, dear to cheap: a service, service=0.01 (with at least that left) or "
        "'service>0.05'.",
        show_default=False,
    ),
]
WaitSOption = Annotated[
    str | None,
    typer.Option(
        "--wait-s", metavar="SECONDS", help="How long a call may wait for others to settle.", show_default=False
    ),
]
GraceOption = Annotated[
    str | None,
    typer.Option("--grace", metavar="PERCENT", help="May be used above the limit.", show_default=False),
]
UnboundedOption = Annotated[
    str | None,
    typer.Option(
        "--unbounded",
        metavar="POLICY",
        help="Of a part without a bound: refuse, context_window, allow.",
        show_default=False,
    ),
]
UnpricedOption = Annotated[
    str | None,
    typer.Option(
        "--unpriced",
        metavar="POLICY",
        help="Of a call without a price: refuse, assume, allow.",
        show_default=False,
    ),
]
AssumedOption = Annotated[
    str | None,
    typer.Option(
        "--assumed", metavar="AMOUNT", help="What --unpriced assume takes a call to cost.", show_default=False
    ),
]
FailOpenOption = Annotated[
    bool,
    typer.Option("--fail-open", help="Calls go when the ledger cannot be asked, or still counts its past."),
]
ReasonOption = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why, for the history.")]


# --- setting


@budget.command("add")
def add_budget(
    name: NameArgument,
    limit: LimitOption = None,
    window: WindowOption = None,
    tier: TierOption = None,
    where: WhereOption = None,
    each: EachOption = None,
    count: CountOption = None,
    zone: ZoneOption = "UTC",
    mark: MarkOption = None,
    action: ActionOption = "notify",
    downgrade_to: DowngradeToOption = None,
    wait_s: WaitSOption = None,
    grace: GraceOption = None,
    unbounded: UnboundedOption = None,
    unpriced: UnpricedOption = None,
    assumed: AssumedOption = None,
    fail_open: FailOpenOption = False,
    reason: ReasonOption = "",
    who: WhoOption = WHO,
    ledger: LedgerOption = None,
    json: JsonOption = False,
    csv: CsvOption = False,
) -> None:
    """Set a budget; one of that name is changed, and its history says so.

    For example: outlay budget add replicate --limit day=5.00 --limit month=100 --where provider=replicate
    --action refuse
    """
    form = form_of(json, csv)
    fields: dict[str, Any] = {
        **_read_limits(limit, window, tier),
        "where": read_filter(where) or None,
        "each": each,
        "meter": count,
        "zone": zone,
        "marks": mark,
        "action": action,
        "downgrade_to": [_read_choice(one) for text in downgrade_to or () for one in read_names(text)] or None,
        "wait_s": wait_s,
        "grace": grace,
        "unbounded": unbounded,
        "unpriced": unpriced,
        "assumed": assumed,
        "fail_open": fail_open,
    }
    with opened(ledger, create=True) as book:
        book.budget(name, why=reason, who=who, **{key: value for key, value in fields.items() if value is not None})
        show(table_of_budgets(book, [name]), form)
        if form is Form.TABLE and name in book.uncovered_budgets():
            print(
                f"outlay: {name} has no total over it: whoever makes up new names may spend without end; "
                "add a budget without --each",
                file=sys.stderr,
            )


def _read_limits(limit: list[str] | None, window: str | None, tier: list[str] | None) -> dict[str, Any]:
    """--limit, --window and --tier as the fields of a budget. Raises InvalidInput `bad_option`."""
    if tier:
        if limit or window:
            raise InvalidInput("give --tier, or --limit and --window, not both", code="bad_option")
        tiers: dict[str, dict[str, str]] = {}
        for text in tier:
            name, colon, rest = text.partition(":")
            if not colon or not name.strip():
                raise InvalidInput(f"--tier {text[:60]!r} is not TIER:WINDOW=AMOUNT", code="bad_option")
            for one in read_names(rest):
                key, amount = _read_limit(one, "--tier")
                tiers.setdefault(name.strip(), {})[key] = amount
        return {"tiers": tiers}
    if window is not None and limit is not None and len(limit) == 1 and "=" not in limit[0]:
        return {"limit": limit[0], "window": _window(window)}
    if window is not None:
        raise InvalidInput("--window goes with one --limit without a name", code="bad_option")
    return {"limits": dict(_read_limit(text, "--limit") for text in limit)} if limit else {}


def _read_limit(text: str, option: str) -> tuple[str, str]:
    window, equals, amount = text.partition("=")
    if not equals:
        raise InvalidInput(f"{option} {text[:60]!r} is not WINDOW=AMOUNT, such as day=5.00", code="bad_option")
    return _window(window), amount.strip()


def _window(text: str) -> str:
    return text.strip().replace("-", " ")


def _read_choice(text: str) -> str | dict[str, str]:
    for sign, key in ((">", "above"), ("=", "room")):
        service, found, amount = text.partition(sign)
        if found:
            return {"service": service.strip(), key: amount.strip()}
    return text


@budget.command("raise")
def raise_budget(
    name: NameArgument,
    amount: Annotated[str, typer.Argument(metavar="AMOUNT", help="How much more.")],
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why, for the history.")] = "",
    until: Annotated[
        str | None,
        typer.Option(
            "--until", metavar="TIME", help="A date or an ISO time, in the budget's zone.", show_default=False
        ),
    ] = None,
    hours: Annotated[
        float | None, typer.Option("--hours", metavar="N", help="For so many hours from now.", show_default=False)
    ] = None,
    window: Annotated[
        str | None,
        typer.Option("--window", metavar="NAME", help="Which limit, where there are several.", show_default=False),
    ] = None,
    subject: Annotated[
        str | None,
        typer.Option("--for", metavar="NAME", help="Only for this user, customer, …", show_default=False),
    ] = None,
    who: WhoOption = WHO,
    ledger: LedgerOption = None,
    json: JsonOption = False,
    csv: CsvOption = False,
) -> None:
    """Add to a limit for a while.

    For example: outlay budget raise replicate 5.00 --hours 12 --reason launch
    """
    from datetime import timedelta

    form = form_of(json, csv)
    if (until is None) == (hours is None):
        raise InvalidInput("a raise has an end: give --until or --hours", code="bad_option")
    end = until if hours is None else timedelta(hours=hours)
    with opened(ledger) as book:
        more: dict[str, Any] = {} if window is None else {"window": _window(window)}
        book.raise_budget(name, amount, until=end, reason=reason, subject=subject, who=who, **more)
        write_budget(book, name, subject, 10, form)


@budget.command("remove")
def remove_budget(
    name: NameArgument,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why, for the history.")] = "",
    who: WhoOption = WHO,
    yes: YesOption = False,
    ledger: LedgerOption = None,
    json: JsonOption = False,
    csv: CsvOption = False,
) -> None:
    """Take a budget out of force; its history stays."""
    form = form_of(json, csv)
    with opened(ledger) as book:
        confirm(f"Budget {name} caps nothing any more.", yes)
        book.remove_budget(name, why=reason, who=who)
        show(table_of_history(book, name), form)


# --- looking


@budget.command("list")
def list_budgets(ledger: LedgerOption = None, json: JsonOption = False, csv: CsvOption = False) -> None:
    """Every budget in force, and how full the fullest of its windows is."""
    form = form_of(json, csv)
    with opened(ledger) as book:
        show(table_of_budgets(book, [one.name for one in book.defined_budgets()]), form)


@budget.command("show")
def show_budget(
    name: NameArgument,
    subject: Annotated[
        str | None,
        typer.Option("--for", metavar="NAME", help="Only this user, customer, …", show_default=False),
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", "-n", metavar="N", min=1, help="How many of the fullest users, customers, …")
    ] = 10,
    ledger: LedgerOption = None,
    json: JsonOption = False,
    csv: CsvOption = False,
) -> None:
    """How a budget stands: spent, reserved, remaining, percent, pace and projected end.

    Of a budget of each user (customer, …) those are shown that have used most of theirs.
    """
    form = form_of(json, csv)
    with opened(ledger) as book:
        write_budget(book, name, subject, limit, form)


@budget.command("history")
def show_history(
    name: NameArgument, ledger: LedgerOption = None, json: JsonOption = False, csv: CsvOption = False
) -> None:
    """Who changed a budget, when, what and why; also of one that was removed."""
    form = form_of(json, csv)
    with opened(ledger) as book:
        show(table_of_history(book, name), form)


@budget.command("why")
def show_refusals(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="A budget; without one the last refusals of all.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", metavar="N", min=1, help="How many.")] = 10,
    ledger: LedgerOption = None,
    json: JsonOption = False,
    csv: CsvOption = False,
) -> None:
    """Why calls were refused, the last first."""
    form = form_of(json, csv)
    with opened(ledger) as book:
        if name is not None:
            book.budget_history(name)  # A name that never was is an error, not an empty answer.
        names = [one.name for one in book.defined_budgets()] if name is None else [name]
        show(table_of_refusals(book, names, limit), form)
