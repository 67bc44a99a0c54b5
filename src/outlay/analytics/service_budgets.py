"""Each service against its budget: what was planned, what it came to, the difference, its share. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Final

from outlay.analytics.report import REST, Cell, Section, percent
from outlay.model import CostTable
from outlay.money import Money

UNPLANNED_MAX: Final = 5
"""How many of a provider's services without a budget are named."""

Scope = tuple[str, ...]
"""What a budget is of: (provider, service), (provider,), or () for all together."""


def services(table: CostTable, limits: Mapping[Scope, int]) -> Section:
    """The services of each provider, the dearest first, with a sum where a provider has several; all in the last row.

    `table` is by provider and service, `limits` are in picounits. A sum has the budget of that provider, or that of
    all its services together where each has one.
    """
    whole, currency = table.total.amount, table.currency
    spent: dict[str, dict[str, int]] = {}
    for row in table.rows:
        provider, service = (key or f"(no {by})" for by, key in zip(table.by, row.keys, strict=True))
        spent.setdefault(provider, {})[service] = row.amount
    for scope in limits:
        if len(scope) > 1:
            spent.setdefault(scope[0], {}).setdefault(scope[1], 0)
    rows: list[tuple[Cell, ...]] = []
    sums: list[int | None] = []

    def line(provider: str, service: str, limit: int | None, actual: int) -> tuple[Cell, ...]:
        planned = None if limit is None else Money(limit, currency)
        variance = None if limit is None else Money(actual - limit, currency)
        return (provider, service, planned, Money(actual, currency), variance, percent(actual, whole))

    for provider, every in sorted(spent.items(), key=lambda one: (-sum(one[1].values()), one[0])):
        of_it = _folded(every, {scope[1] for scope in limits if len(scope) > 1 and scope[0] == provider})
        ranked = sorted(of_it, key=lambda service: (service == REST, -of_it[service], service))
        rows += (line(provider, service, limits.get((provider, service)), of_it[service]) for service in ranked)
        limit = limits.get((provider,), _summed([limits.get((provider, service)) for service in ranked]))
        sums.append(limit)
        if len(ranked) > 1 or (provider,) in limits:
            rows.append(line(f"{provider}, all", "", limit, sum(of_it.values())))
    return Section(
        name="services",
        title="Services against their budgets",
        columns=("Provider", "Service", "Budget", "Actual", "Variance", "% of total"),
        rows=tuple(rows),
        texts=2,
        total=line("Total", "", limits.get((), _summed(sums)), whole),
    )


def _folded(of_it: Mapping[str, int], planned: AbstractSet[str]) -> dict[str, int]:
    """Services with a budget, the dearest of the others, and what all the rest cost."""
    others = sorted((service for service in of_it if service not in planned), key=lambda one: (-of_it[one], one))
    rest = others[UNPLANNED_MAX:] if len(others) > UNPLANNED_MAX + 1 else []
    kept = {service: amount for service, amount in of_it.items() if service not in rest}
    return {**kept, **({REST: sum(of_it[service] for service in rest)} if rest else {})}


def _summed(limits: Sequence[int | None]) -> int | None:
    """Their sum, None where one of them is not known."""
    known = [limit for limit in limits if limit is not None]
    return sum(known) if limits and len(known) == len(limits) else None
