"""By which rate a bill in another currency is charged: the ledger's own of that date, else the central bank's."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from outlay.bills.taking import ExchangeOn
from outlay.errors import InvalidInput, MissingExtra
from outlay.faces.currency import converter
from outlay.pricing.fx import DAYS_OLD_MAX
from outlay.recorder import Recorder

if TYPE_CHECKING:
    from outlay.api import Ledger
    from outlay.model import ExchangeRate


def exchange_of(ledger: Ledger) -> ExchangeOn:
    """What gives a currency's rate on a day: a user's rate up to a week old, else the European Central Bank's.

    It raises InvalidInput `no_exchange_rate`, also where the central bank's rates are not installed.
    """
    # A ledger behind a server converts there: here it is only asked whether there is a rate at all.
    own = ledger.recorder.exchange_rates() if isinstance(ledger.recorder, Recorder) else []
    currency = ledger.currency

    def exchange_on(native: str, day: date) -> ExchangeRate:
        near = [
            rate
            for rate in own
            if rate.currency == native and 0 <= (day - date.fromisoformat(rate.date)).days <= DAYS_OLD_MAX
        ]
        if near:
            return max(near, key=lambda rate: rate.date)
        try:
            return converter(currency).rate_on(native, day)
        except MissingExtra as error:
            raise InvalidInput(f"no rate of {native} on {day}: {error.message}", code="no_exchange_rate") from error

    return exchange_on
