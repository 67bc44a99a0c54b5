"""How bills, reconciliations and balances are shown."""

from __future__ import annotations

from decimal import Context, Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from outlay.faces.cli.render import Cell, Column, Form, Table, pairs, show, write_json

if TYPE_CHECKING:
    from outlay.analytics.reconcile import Difference
    from outlay.bills.comparing import Reconciliation
    from outlay.reconciling import Balance


def reconciled_table(found: Reconciliation, daily: bool) -> Table:
    """Both sides by service, or day by day, with what is written and what is not billed."""
    rows: list[list[Cell]] = []
    if daily:
        rows = [
            [span.day_from, *_difference(span.provider, span.service, span.difference, found.currency)]
            for span in found.spans
        ]
    else:
        rows = [["", *_difference(*each, found.currency)] for each in found.by_service()]
    columns = (
        Column("day", "day", when_empty=False),
        Column("provider", "provider"),
        Column("service", "service"),
        Column("called", "called", right=True),
        Column("billed", "billed", right=True),
        Column("difference", "difference", right=True),
        Column("causes", "because of"),
    )
    total = _difference("", "metered, all", found.total, found.currency)
    return Table(columns, rows, footer=["", *total], title=f"{found.day_from} to {found.day_to}", note=_note(found))


def _difference(provider: str, service: str, difference: Difference, currency: str) -> list[Cell]:
    from outlay.bills.comparing import why_of
    from outlay.money import Money

    sides = (difference.called, difference.billed, difference.amount)
    why = why_of(difference, currency) if difference.causes else ""
    return [provider, service, *(Money(pico, currency) for pico in sides), why]


def _note(found: Reconciliation) -> str:
    from outlay.money import Money

    def money(pico: int) -> str:
        return Money(pico, found.currency).digits()

    said = [f"billed in all {money(found.billed)}, of it {money(found.unmetered)} that no call is recorded of"]
    if found.not_billed:
        said.append(f"called but not billed yet: {money(found.not_billed)}")
    said += [f"restated by {each.source}: {money(each.amount)} in {each.groups} charges" for each in found.restated]
    if found.posted is None:
        said.append("a dry run: nothing was written")
    else:
        done = found.posted
        said.append(
            f"written: {done.created} new, {done.changed} changed, {done.cancelled} taken back, {money(done.amount)}"
        )
    return "\n".join(said)


def proposals_table(found: Reconciliation) -> Table:
    """The prices that a bill shows, their evidence and the command that takes them."""
    columns = (
        Column("service", "proposed price of"),
        Column("price", "price", right=True),
        Column("now", "now", right=True),
        Column("evidence", "evidence"),
        Column("command", "to take it"),
    )
    rows: list[list[Cell]] = []
    for each in found.proposals:
        per, unit = _unit_of(each.meter)
        price, now = _decimal(each.price * per), _decimal(each.price_now * per)
        evidence = (
            f"{_decimal(each.quantity)} on {each.days} days, {_range(each.price_low * per, each.price_high * per)}"
        )
        named = f"-p {each.provider} -s {each.service} -m {each.meter}"
        command = f"outlay prices add {named} --price {price} --per {per} --source bill"
        rows.append(
            [f"{each.provider} {each.service} {each.meter}", f"{price}{unit}", f"{now}{unit}", evidence, command]
        )
    return Table(columns, rows, title="Prices that the bill shows")


def _unit_of(meter: str) -> tuple[int, str]:
    return (1_000_000, " a million") if meter.endswith("tokens") else (1, "")


def _range(low: Fraction, high: Fraction) -> str:
    return f"{_decimal(low)} every day" if low == high else f"{_decimal(low)} to {_decimal(high)}"


def _decimal(value: Fraction) -> str:
    """A price or quantity to 12 significant digits."""
    return format(Context(prec=12).divide(Decimal(value.numerator), Decimal(value.denominator)).normalize(), "f")


def reconciled_json(found: Reconciliation) -> dict[str, Any]:
    """A reconciliation as plain values."""
    from outlay.money import Money

    def amount(pico: int) -> Money:
        return Money(pico, found.currency)

    def side(difference: Difference) -> dict[str, Any]:
        return {
            "called": amount(difference.called),
            "billed": amount(difference.billed),
            "difference": amount(difference.amount),
            "causes": {cause.value: amount(pico) for cause, pico in difference.causes.items()},
        }

    done = found.posted
    return {
        "from": found.day_from,
        "to": found.day_to,
        "currency": found.currency,
        "billed": amount(found.billed),
        "unmetered": amount(found.unmetered),
        "not_billed": amount(found.not_billed),
        "total": side(found.total),
        "services": [
            {"provider": name, "service": service, **side(each)} for name, service, each in found.by_service()
        ],
        "days": [
            {"day": each.day_from, "provider": each.provider, "service": each.service, **side(each.difference)}
            for each in found.spans
        ],
        "proposals": [
            {
                "provider": each.provider,
                "service": each.service,
                "meter": each.meter,
                "days": each.days,
                "price": _decimal(each.price),
                "price_now": _decimal(each.price_now),
                "quantity": _decimal(each.quantity),
            }
            for each in found.proposals
        ],
        "restated": [{"source": each.source, "amount": amount(each.amount)} for each in found.restated],
        "drifts": [f"{each.provider} {each.service}" for each in found.drifts],
        "written": None
        if done is None
        else {
            "created": done.created,
            "changed": done.changed,
            "cancelled": done.cancelled,
            "amount": amount(done.amount),
        },
    }


def show_balances(found: list[Balance], form: Form) -> None:
    """Show prepaid balances."""
    from outlay.clock import isoformat

    columns = (
        Column("provider", "provider"),
        Column("left", "left", right=True),
        Column("burn_a_day", "burn a day", right=True),
        Column("runs_out", "runs out"),
        Column("known", "known", right=True),
        Column("known_at", "since"),
    )
    rows: list[list[Cell]] = [
        [
            each.provider,
            each.left,
            each.burn,
            "" if each.runs_out is None else each.runs_out.isoformat(),
            each.known,
            isoformat(each.known_at),
        ]
        for each in found
    ]
    show(Table(columns, rows), form)


def show_facts(facts: dict[str, Cell], form: Form) -> None:
    """Show names and values."""
    if form is Form.JSON:
        write_json(facts)
    else:
        show(pairs("", facts.items()), form)
