"""`outlay prices exchange`: the central bank's rates into the ledger, so that other currencies have a price."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import typer

from outlay.clock import to_datetime
from outlay.errors import InvalidInput
from outlay.faces.cli.options import LedgerOption
from outlay.faces.cli.session import opened
from outlay.faces.cli.when import read_time


def exchange(
    currencies: Annotated[list[str], typer.Argument(metavar="CURRENCY...", help="Such as EUR GBP.")],
    since: Annotated[str, typer.Option("--since", metavar="TIME", help="From this day on.")] = "90d",
    ledger: LedgerOption = None,
) -> None:
    """Bring the European Central Bank's reference rates into the ledger.

    From the package of the extra `currency`; nothing is fetched. What the ledger holds already stays as it is.

    For example: outlay prices exchange EUR GBP --since 2026-01-01
    """
    from outlay.faces.currency import converter

    with opened(ledger) as book:
        now = book.clock.now()
        first = to_datetime(read_time(since, now, "UTC")).date()
        last = to_datetime(now).date()
        bank = converter(book.currency)
        # The rate of a Friday holds on Saturday: one from before the first day is brought too.
        found = [
            rate
            for currency in currencies
            for rate in bank.rates_between(currency.upper(), first - timedelta(days=bank.days_old_max), last)
        ]
        if not found:
            raise InvalidInput(f"there are no rates since {first}", code="no_exchange_rate")
        known = {(one.currency, one.date) for one in book.recorder.exchange_rates()}
        fresh = [one for one in found if (one.currency, one.date) not in known]
        book.recorder.add_exchange_rates(fresh)
        print(f"{len(fresh):,} rates brought, the newest of {max(one.date for one in found)} by {found[0].source}")
