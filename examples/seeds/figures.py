"""The figures of the five documents, computed anew from their own rates, and where each document is wrong.

    python examples/seeds/figures.py

Every amount comes from a rate through the price book or from the estimate of ../stack.toml; nothing is typed in but
what a document says. The table is that of docs/estimate.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from figures_of_savings import between, commands, manuals, savings
from figures_of_stacks import infrastructure, sheets, totals
from figures_rated import Figure


def figures() -> Iterator[Figure]:
    """All of them, in the order of the documents."""
    for section in (infrastructure, totals, sheets, savings, commands, manuals, between):
        yield from section()


def plain(value: Decimal) -> str:
    """Without an exponent and without zeros at the end beyond the cents."""
    text = f"{value.normalize():,f}"
    whole, point, places = text.partition(".")
    return f"{whole}.{places.ljust(2, '0')}" if point else text


def table() -> str:
    """The Markdown table."""
    rows = ["| place | the document says | right | why |", "|---|---|---|---|"]
    for one in figures():
        right = "; ".join(f"{name} **{plain(value)}**" for name, value in one.right.items())
        rows.append(f"| {one.where} | {one.said} | {right} | {one.why} |")
    return "\n".join(rows)


if __name__ == "__main__":
    print(table())
