"""Money: whole picounits (10⁻¹²) of one currency, never a float.

In memory an amount is one Python int of picounits, so it cannot overflow. At rest it is the pair
(micro, pico): millionths and the remainder in millionths of a millionth, normalised by floor, because
one int64 of picounits would end at 9.2 million units of a currency.

A program that imports Outlay may round its own Decimals as it likes: nothing here or above computes in the
context of its thread, but in `EXACT` or another context that names all it depends on.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import (
    MAX_EMAX,
    MIN_EMIN,
    ROUND_HALF_EVEN,
    Context,
    Decimal,
    DivisionByZero,
    InvalidOperation,
    Overflow,
)
from typing import Final

import msgspec

from outlay.errors import InvalidInput

PICO_PER_UNIT: Final = 10**12
PICO_PER_MICRO: Final = 10**6
_SYMBOLS: Final = {"USD": "$", "EUR": "€", "GBP": "£", "JPY": "¥", "INR": "₹", "VND": "₫", "KRW": "₩"}


def rounding_to(digits: int) -> Context:
    """A context of Outlay's own, named whole: the rest Python would copy from a default that a program may change."""
    return Context(
        prec=digits,
        rounding=ROUND_HALF_EVEN,
        Emin=MIN_EMIN,
        Emax=MAX_EMAX,
        capitals=1,
        clamp=0,
        flags=[],
        traps=[InvalidOperation, DivisionByZero, Overflow],
    )


EXACT: Final = rounding_to(80)
"""Sums and products of quantities, prices and costs keep every digit: parsed numbers have 31 before the point and
40 at most after it. Threads may share it, for nobody reads its flags."""


class Money(msgspec.Struct, frozen=True, gc=False):
    """An exact amount of one currency. `pico` counts 10⁻¹² of a unit; `currency` is an ISO 4217 code."""

    pico: int
    currency: str = "USD"

    @property
    def amount(self) -> Decimal:
        """The exact amount in units of the currency, without trailing zeros after the second decimal."""
        return pico_to_decimal(self.pico)

    @property
    def pair(self) -> tuple[int, int]:
        """(micro, pico) as stored: `pico` is 0 … 999,999 and micro × 10⁶ + pico is the amount."""
        return divmod(self.pico, PICO_PER_MICRO)

    @classmethod
    def of(cls, value: object, currency: str = "USD") -> Money:
        """Read an exact amount from Decimal, int or text.

        Raises InvalidInput: `float_money` for a float, `not_a_number`, `infinite_amount`, or
        `too_precise` for more than 12 decimals.
        """
        return cls(decimal_to_pico(value), currency)

    def digits(self, significant: int = 4) -> str:
        """For people: at least two decimals, and enough to show `significant` digits of a small amount."""
        return format_pico(self.pico, self.currency, significant)

    def __str__(self) -> str:
        """Exact, as in `$0.0055`."""
        return _with_symbol(format(self.amount, ",f"), self.currency)

    def __add__(self, other: Money) -> Money:
        return Money(self.pico + self._same(other), self.currency)

    def __sub__(self, other: Money) -> Money:
        return Money(self.pico - self._same(other), self.currency)

    def __neg__(self) -> Money:
        return Money(-self.pico, self.currency)

    def __mul__(self, factor: int) -> Money:
        if isinstance(factor, bool) or not isinstance(factor, int):
            raise TypeError("Money multiplies by a whole number only; rate a quantity to get a fraction")
        return Money(self.pico * factor, self.currency)

    def __lt__(self, other: Money) -> bool:
        return self.pico < self._same(other)

    def __le__(self, other: Money) -> bool:
        return self.pico <= self._same(other)

    def __gt__(self, other: Money) -> bool:
        return self.pico > self._same(other)

    def __ge__(self, other: Money) -> bool:
        return self.pico >= self._same(other)

    def __bool__(self) -> bool:
        return self.pico != 0

    def _same(self, other: Money) -> int:
        if not isinstance(other, Money):
            raise TypeError(f"Money meets {type(other).__name__}; make it Money first")
        if other.currency != self.currency:
            raise InvalidInput(
                f"{self.currency} and {other.currency} do not add; convert one first", code="currency_mismatch"
            )
        return other.pico


def decimal_to_pico(value: object) -> int:
    """Picounits of an exact amount given as Decimal, int or text. Errors as `Money.of`."""
    if isinstance(value, Money):
        return value.pico
    if isinstance(value, bool) or not isinstance(value, int | str | Decimal):
        kind = type(value).__name__
        raise InvalidInput(
            f"money from {kind} would not be exact; give a string such as '0.01' or a Decimal", code="float_money"
        )
    if isinstance(value, int):
        return value * PICO_PER_UNIT
    decimal = parse_decimal(value, "amount")
    pico = decimal.scaleb(12, EXACT)
    whole = int(pico)
    if whole != pico:
        raise InvalidInput(f"{str(value)[:60]} has more than 12 decimals; round it first", code="too_precise")
    return whole


def parse_decimal(value: str | Decimal, what: str) -> Decimal:
    """A finite Decimal of at most 80 digits. Raises InvalidInput `not_a_number`, `infinite_amount`, `too_precise`."""
    try:
        decimal = value if isinstance(value, Decimal) else Decimal(value.strip(), EXACT)
    except ArithmeticError as error:
        raise InvalidInput(f"{what} {str(value)[:40]!r} is not a number", code="not_a_number") from error
    if decimal.is_nan():
        raise InvalidInput(f"{what} is NaN, which is not an amount", code="not_a_number")
    if decimal.is_infinite() or decimal.adjusted() > 30:
        raise InvalidInput(f"{what} is infinite or beyond any bill", code="infinite_amount")
    exact = EXACT.plus(decimal)
    if exact != decimal:
        raise InvalidInput(f"{what} has more digits than can be counted; round it first", code="too_precise")
    return exact


def whole_or_decimal(value: Decimal) -> int | Decimal:
    """A finite number as an int where it is whole, else as a Decimal without trailing zeros."""
    whole = int(value)
    return whole if whole == value else value.normalize(EXACT)


def sum_exactly(quantities: Iterable[int | Decimal]) -> int | Decimal:
    """The sum of quantities: 0 of none."""
    total: int | Decimal = 0
    for quantity in quantities:
        total = add_exactly(total, quantity)
    return total


def times_exactly(quantity: int | Decimal, factor: int) -> int | Decimal:
    """A quantity so many times."""
    return quantity * factor if isinstance(quantity, int) else EXACT.multiply(quantity, factor)


def add_exactly(one: int | Decimal, other: int | Decimal) -> int | Decimal:
    """The sum of two quantities."""
    return one + other if isinstance(one, int) and isinstance(other, int) else EXACT.add(one, other)


def pico_to_decimal(pico: int) -> Decimal:
    """The exact amount, trailing zeros cut after the second decimal: 0.0055, 12.50, 3.00."""
    return Decimal(pico_to_text(pico))


def pico_to_text(pico: int) -> str:
    """The digits of `pico_to_decimal`."""
    sign = "-" if pico < 0 else ""
    units, rest = divmod(abs(pico), PICO_PER_UNIT)
    decimals = f"{rest:012d}".rstrip("0").ljust(2, "0")
    return f"{sign}{units}.{decimals}"


def round_half_even(numerator: int, denominator: int) -> int:
    """The nearest whole number to numerator / denominator, ties to even. `denominator` is positive."""
    quotient, remainder = divmod(numerator, denominator)
    twice = remainder + remainder
    if twice > denominator or (twice == denominator and quotient & 1):
        return quotient + 1
    return quotient


def format_pico(pico: int, currency: str, significant: int = 4) -> str:
    """`$1,234.50`, `$0.0001502`: two decimals, more while fewer than `significant` digits would show."""
    magnitude = abs(pico)
    decimals = 2
    if magnitude and magnitude < 10 ** (significant - 3) * PICO_PER_UNIT:
        leading = len(str(magnitude)) - 13
        decimals = min(12, max(2, significant - 1 - leading))
    scale = 10 ** (12 - decimals)
    rounded = round_half_even(pico, scale)
    text = format(Decimal(rounded).scaleb(-decimals, EXACT), f",.{decimals}f")
    if decimals > 2:
        head, _, tail = text.partition(".")
        text = f"{head}.{tail.rstrip('0').ljust(2, '0')}"
    return _with_symbol(text, currency)


def format_beside(pico: int, other: int, currency: str) -> str:
    """As `format_pico`; exact where the amount would look like the `other` that it is set against and is not it."""
    text = format_pico(pico, currency)
    return str(Money(pico, currency)) if pico != other and text == format_pico(other, currency) else text


def _with_symbol(text: str, currency: str) -> str:
    sign, digits = ("-", text[1:]) if text.startswith("-") else ("", text)
    symbol = _SYMBOLS.get(currency)
    return f"{sign}{symbol}{digits}" if symbol else f"{sign}{digits} {currency}"
