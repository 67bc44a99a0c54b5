"""What the figures of the five documents are computed by: the price book, and the estimate of ../stack.toml."""

from __future__ import annotations

from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import outlay
from outlay.analytics.stack import StackEstimate

HERE = Path(__file__).parent
OHIO, IRELAND = {"region": "us-east-2"}, {"region": "eu-west-1"}


class Figure(NamedTuple):
    """One place of a document: what it says, what is right by its own rates, and why they differ."""

    section: str
    where: str
    said: str
    right: dict[str, Decimal]
    why: str


@cache
def ledger() -> outlay.Ledger:
    """A ledger that knows the documents' prices beside the published ones."""
    return outlay.open("memory:", prices=HERE / "prices.toml")


def price(provider: str, service: str, usage: dict[str, Any], **conditions: str) -> Decimal:
    """What one usage costs."""
    operation = conditions.pop("operation", None)
    receipt = ledger().price(
        provider=provider, service=service, usage=usage, conditions=conditions, operation=operation
    )
    if receipt.pricing_status != "priced":
        raise SystemExit(f"{provider}/{service} {usage} {conditions}: {receipt.rating.unrated}")
    return receipt.total.amount


@cache
def stack(*changes: tuple[str, Any], free: bool = False) -> StackEstimate:
    """The estimate of seed 1's stack with some fields changed."""
    import tomllib

    from outlay.analytics.stack_file import changed, stack_of

    tables = tomllib.loads((HERE.parent / "stack.toml").read_text(), parse_float=Decimal)
    tables.pop("scenario")
    tables = changed(tables, {**dict(changes), "stack.free_allowances": free}, "figures")
    return ledger().estimate_stack(stack_of(tables))


def month(*changes: tuple[str, Any], row: str | None = None, provider: str = "aws", free: bool = False) -> Decimal:
    """A month of the stack at list prices: one row of it, or all of one provider."""
    found = stack(*changes, free=free)
    if row is not None:
        return found.money(next(one for one in found.rows if one.name == row).month.low).amount
    return found.money(found.by_provider()[provider].low).amount


def videos(count: int) -> tuple[Decimal, Decimal]:
    """What so many videos cost, at the least and at the most."""
    found = stack(("work.video.units", count)).by_provider()["replicate"]
    return outlay.Money(found.low).amount, outlay.Money(found.high).amount


def rounded(value: Decimal, places: int) -> Decimal:
    """To so many places, half to even."""
    return round(value, places)
