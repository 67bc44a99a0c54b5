"""Money of one currency in another: by hand from reference rates, and by the central bank's own file."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from outlay.errors import InvalidInput, PriceBookError
from outlay.faces.currency import central_bank_rates
from outlay.faces.currency import converter as central_bank_converter
from outlay.money import Money
from outlay.pricing.fx import Converter, ReferenceRates

FRIDAY, SATURDAY, MONDAY = date(2026, 10, 30), date(2026, 10, 31), date(2026, 11, 2)

BANK = ReferenceRates.of(
    "EUR",
    "a bank",
    [
        ("USD", FRIDAY, Decimal("1.25")),
        ("GBP", FRIDAY, Decimal("0.80")),
        ("USD", MONDAY, Decimal("1.20")),
    ],
)


def dollars() -> Converter:
    return Converter(BANK, "USD")


def test_the_base_becomes_dollars_at_the_rate_of_its_day() -> None:
    # 8 € × 1.25 = 10 $
    found = dollars().convert(Money.of("8", "EUR"), FRIDAY)
    assert (found.amount, found.native, found.exchange.price) == (
        Money.of("10", "USD"),
        Money.of("8", "EUR"),
        Decimal("1.25"),
    )
    assert found.note == "a bank of 2026-10-30"


def test_a_cross_rate_goes_through_the_base() -> None:
    # one pound is 1.25 / 0.80 = 1.5625 $
    found = dollars().convert(Money.of("2", "GBP"), FRIDAY)
    assert (found.exchange.price, found.amount) == (Decimal("1.5625"), Money.of("3.125", "USD"))


def test_on_a_weekend_the_last_day_before_stands_in_and_the_line_says_so() -> None:
    line = dollars().line("billed_cost", Money.of("8", "EUR"), SATURDAY, "as billed")
    assert line.amount == Money.of("10").pico
    assert (line.native_amount, line.exchange and line.exchange.date) == (Money.of("8", "EUR").pico, "2026-10-30")
    assert line.note == "as billed; a bank of 2026-10-30, the last before 2026-10-31"


def test_two_currencies_are_compared_by_rates_of_one_day() -> None:
    # On Monday the pound has no rate: both are of Friday, not 1.20 over 0.80.
    found = dollars().rate_on("GBP", MONDAY)
    assert (found.date, found.price) == ("2026-10-30", Decimal("1.5625"))


def test_the_amount_can_be_computed_again_from_the_line() -> None:
    thirds = Converter(ReferenceRates.of("EUR", "a bank", [("USD", FRIDAY, Decimal(3))]), "EUR")
    found = thirds.convert(Money.of("1", "USD"), FRIDAY)
    assert found.exchange.price == Decimal("0.333333333333333")
    assert found.amount == Money.of("0.333333333333", "EUR")


def test_money_of_this_currency_stays_as_it_is() -> None:
    line = dollars().line("billed_cost", Money.of("3"), SATURDAY)
    assert (line.amount, line.native_amount, line.exchange) == (Money.of("3").pico, None, None)


@pytest.mark.parametrize(
    ("currency", "day", "said"),
    [
        ("XAU", FRIDAY, "no rate of 'XAU'"),
        ("GBP", date(2026, 11, 7), "the last before it is of 2026-10-30"),
        ("GBP", date(2026, 10, 29), "the first is of 2026-10-30"),
    ],
)
def test_what_has_no_rate_is_refused_and_says_what_is_known(currency: str, day: date, said: str) -> None:
    with pytest.raises(InvalidInput, match=said) as refused:
        dollars().convert(Money.of("1", currency), day)
    assert refused.value.code == "no_exchange_rate"


def test_the_rates_of_a_span_are_those_of_days_on_which_both_were_published() -> None:
    found = list(dollars().rates_between("GBP", date(2026, 10, 1), MONDAY))
    assert [(one.date, one.price) for one in found] == [("2026-10-30", Decimal("1.5625"))]
    assert [one.date for one in dollars().rates_between("EUR", SATURDAY, MONDAY)] == ["2026-11-02"]


def test_a_rate_that_is_not_positive_is_refused() -> None:
    with pytest.raises(PriceBookError, match="must be positive"):
        ReferenceRates.of("EUR", "a bank", [("USD", FRIDAY, Decimal(0))])


def test_the_central_banks_file_holds_its_published_rates() -> None:
    # The bank's rates of 28 March 2014: one euro is 1.3759 dollars and 140.9 yen.
    bank = central_bank_converter("USD")
    assert bank.rate_on("EUR", date(2014, 3, 28)).price == Decimal("1.3759")
    # 1.3759 / 140.9 at 15 digits
    assert bank.rate_on("JPY", date(2014, 3, 28)).price == Decimal("0.00976508161816891")
    # Easter 2014: Good Friday to Easter Monday have no rate.
    easter = bank.convert(Money.of("100", "EUR"), date(2014, 4, 21))
    assert easter.note == "ECB reference rate of 2014-04-17, the last before 2014-04-21"
    assert len(central_bank_rates().days) > 30
