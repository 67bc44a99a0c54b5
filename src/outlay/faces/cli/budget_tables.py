"""The tables of `outlay budget`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from outlay.clock import MICROSECONDS_PER_SECOND, isoformat
from outlay.faces.cli.render import Bar, Cell, Column, Form, Named, Table, pairs, show

if TYPE_CHECKING:
    from outlay.api import Ledger
    from outlay.budgets.terms import Budget, BudgetStatus
    from outlay.ledger.budget_store import NotedRefusal

_BUDGET_COLUMNS = (
    Column("budget", "budget"),
    Column("where", "where"),
    Column("each", "each", when_empty=False),
    Column("limits", "limits"),
    Column("unit", "unit", when_empty=False),
    Column("action", "action"),
    Column("zone", "zone"),
    Column("percent", "fullest %", right=True),
    Column("subject", "who", when_empty=False),
    Column("refused", "refused", right=True, when_empty=False),
)
_STATUS_COLUMNS = (
    Column("subject", "who", when_empty=False),
    Column("tier", "tier", when_empty=False),
    Column("window", "window"),
    Column("spent", "spent", right=True),
    Column("reserved", "reserved", right=True),
    Column("limit", "limit", right=True),
    Column("remaining", "remaining", right=True),
    Column("percent", "%", right=True),
    Column("bar", "", for_people=True),
    Column("pace", "pace", right=True),
    Column("projected", "ends at", right=True),
    Column("full_at", "full at", when_empty=False),
    Column("refusals", "refused", right=True, when_empty=False),
    Column("warning", "warning", when_empty=False),
)
_JSON_ONLY = tuple(Column(name, "") for name in ("window_name", "from", "to", "unit", "warming"))
_HISTORY_COLUMNS = (Column("at", "when"), Column("who", "who"), Column("what", "what"), Column("why", "why"))
_REFUSAL_COLUMNS = (
    Column("at", "when"),
    Column("budget", "budget"),
    Column("subject", "who", when_empty=False),
    Column("call", "call"),
    Column("code", "refusal"),
    Column("why", "why"),
    Column("opens_at", "opens at", when_empty=False),
)


def table_of_budgets(book: Ledger, names: Sequence[str]) -> Table:
    """What budgets are, and how full the fullest of their windows is."""
    rows = [_budget_row(book, one) for one in book.defined_budgets() if one.name in names]
    return Table(_BUDGET_COLUMNS, rows, note="" if rows else "no budgets; outlay budget add makes one")


def _budget_row(book: Ledger, one: Budget) -> list[Cell]:
    statuses = book.budgets(one.name, fullest=1)
    fullest = max(statuses, key=lambda status: status.percent or 0, default=None)
    refused, _ = book.refusals(one.name)
    return [
        one.name,
        Named(_where(one) or None, _where(one) or "all calls"),
        one.each,
        _limits(one),
        one.meter,
        one.action.value,
        one.zone,
        None if fullest is None else fullest.percent,
        fullest.key.subject if fullest is not None and one.each is not None else None,
        refused,
    ]


def _where(one: Budget) -> str:
    return ", ".join(f"{name}={value or ''}" for name, values in one.where.items() for value in values)


def _limits(one: Budget) -> str:
    from outlay.money import pico_to_decimal

    return "; ".join(
        f"{tier.name}: " * bool(tier.name)
        + ", ".join(f"{pico_to_decimal(limit.amount)} a {limit.window}" for limit in tier.limits)
        for tier in one.tiers
    )


def write_budget(book: Ledger, name: str, subject: str | None, most: int, form: Form) -> None:
    """Write what a budget is and how it stands."""
    statuses = book.budgets(name, subject=subject, fullest=most)
    (one,) = [defined for defined in book.defined_budgets() if defined.name == name]
    rows = [_status_row(book, status, form) for status in statuses]
    facts = dict(_facts(one))
    warming = any(status.warming for status in statuses)
    note = "what was spent before it was made is still being counted" if warming else ""
    columns = _STATUS_COLUMNS if form is Form.TABLE else (*_STATUS_COLUMNS, *_JSON_ONLY)
    if form is Form.TABLE:
        show(pairs(f"budget {name}", [(key, value) for key, value in facts.items() if value]), form)
        sys.stdout.write("\n")
    if not rows and form is Form.TABLE:
        sys.stdout.write(f"no {one.each} has used any of it in this window\n")
        return
    show(Table(columns, rows, note=note, facts={"budget": {"name": name, **facts}}), form)


def _facts(one: Budget) -> Iterator[tuple[str, Cell]]:
    """What a budget is, for people and for JSON."""
    from outlay.budgets.definition import mark_said
    from outlay.money import pico_to_decimal

    yield "where", _where(one)
    yield "each", one.each
    yield "limits", _limits(one)
    yield "counts", one.meter or "money"
    yield "zone", one.zone
    yield "action", one.action.value
    yield "marks", ", ".join(map(mark_said, one.marks))
    yield "downgrade_to", ", ".join(choice.service for choice in one.downgrade_to)
    yield "grace_percent", one.grace_percent
    yield "wait_s", one.wait_s
    yield "unbounded", one.unbounded.value
    yield "unpriced", one.unpriced.value
    yield "fail_open", one.fail_open
    yield (
        "raises",
        "; ".join(
            f"{more.window} +{pico_to_decimal(more.amount)} until {isoformat(_whole_seconds(more.until))}"
            + (f" for {more.subject}" if more.subject else "")
            for more in one.raises
        ),
    )


def _status_row(book: Ledger, status: BudgetStatus, form: Form) -> list[Cell]:
    def amount(value: int) -> Cell:
        return _amount(value, status.meter, book.currency)

    row: list[Cell] = [
        status.key.subject or None,
        status.tier or None,
        status.key.window,
        amount(status.spent),
        amount(status.reserved),
        amount(status.limit),
        amount(status.remaining),
        status.percent,
        Bar(float(min(status.percent or 0, 100)) / 100),
        status.pace,
        amount(status.projected),
        None if status.spent_at is None else isoformat(_whole_seconds(status.spent_at)),
        status.refusals,
        status.warning,
    ]
    if form is not Form.TABLE:
        row += [
            status.window_name,
            isoformat(status.window.start),
            isoformat(status.window.end),
            status.meter or book.currency,
            status.warming,
        ]
    return row


def _amount(value: int, meter: str | None, currency: str) -> Cell:
    from outlay.budgets.decide import plain
    from outlay.money import Money

    return Money(value, currency) if meter is None else plain(value)


def table_of_history(book: Ledger, name: str) -> Table:
    """Who changed a budget, when, what and why."""
    rows: list[list[Cell]] = [
        [isoformat(_whole_seconds(one.at)), one.who, one.what, one.why or None] for one in book.budget_history(name)
    ]
    return Table(_HISTORY_COLUMNS, rows)


def table_of_refusals(book: Ledger, names: Sequence[str], most: int) -> Table:
    """The last refusals of some budgets, the last first."""
    counted = 0
    noted: list[NotedRefusal] = []
    for name in names:
        total, kept = book.refusals(name)
        counted += total
        noted += kept
    noted.sort(key=lambda refused: refused.at, reverse=True)
    rows = [_refusal_row(book, refused) for refused in noted[:most]]
    note = f"{counted:,} refused, the last {len(rows)} shown" if rows else "nothing was refused"
    return Table(_REFUSAL_COLUMNS, rows, note=note, facts={"refused": counted})


def _refusal_row(book: Ledger, noted: NotedRefusal) -> list[Cell]:
    from outlay.budgets.decide import sentence

    refused = noted.refusal
    key = refused.limit.key
    return [
        isoformat(_whole_seconds(noted.at)),
        key.budget,
        key.subject or None,
        f"{noted.provider} {noted.service}",
        refused.code,
        sentence(refused, book.currency),
        None if refused.opens_at is None else isoformat(refused.opens_at),
    ]


def _whole_seconds(at: int) -> int:
    return at // MICROSECONDS_PER_SECOND * MICROSECONDS_PER_SECOND
