"""Money: exact, of one currency, shown with the digits that matter."""

from __future__ import annotations

import operator
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlay.errors import InvalidInput
from outlay.money import (
    Money,
    decimal_to_pico,
    format_beside,
    format_pico,
    parse_decimal,
    pico_to_decimal,
    round_half_even,
)

PICO = st.integers(-(10**24), 10**24)


@given(PICO)
def test_an_amount_survives_text_pair_and_decimal(pico: int) -> None:
    money = Money(pico)
    micro, rest = money.pair
    assert micro * 10**6 + rest == pico
    assert 0 <= rest < 10**6
    assert Money.of(money.amount) == money
    assert Money.of(str(money.amount)) == money


@given(PICO, PICO)
def test_sums_differences_and_order_are_those_of_whole_numbers(one: int, other: int) -> None:
    left, right = Money(one), Money(other)
    assert (left + right).pico == one + other
    assert (left - right).pico == one - other
    assert (-left).pico == -one
    assert (left < right, left <= right, left > right, left >= right) == (
        one < other,
        one <= other,
        one > other,
        one >= other,
    )
    assert bool(left) == bool(one)


@given(st.integers(-(10**30), 10**30), st.integers(1, 10**15))
def test_rounding_is_to_the_nearest_and_ties_to_even(numerator: int, denominator: int) -> None:
    assert round_half_even(numerator, denominator) == round(Fraction(numerator, denominator))


@given(st.integers(-(10**18), 10**18), st.integers(1, 8))
def test_what_is_shown_is_the_amount_to_that_many_digits(pico: int, significant: int) -> None:
    shown = format_pico(pico, "XTS", significant).removesuffix(" XTS").replace(",", "")
    exact = pico_to_decimal(pico)
    decimals = len(shown.partition(".")[2])
    assert (
        abs(Decimal(shown) - exact) <= Decimal(5) / 10 ** (decimals + 1)
        or abs(Decimal(shown) - exact) <= abs(exact) / 10 ** (significant - 1) * 5
    )
    assert decimals >= 2


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("0.0055", "$0.0055"),
        ("12.5", "$12.50"),
        ("1234567.891", "$1,234,567.891"),
        ("-0.1", "-$0.10"),
        (3, "$3.00"),
        (" 7.10 ", "$7.10"),
        (Decimal("0.000000000001"), "$0.000000000001"),
    ],
)
def test_exact_text(value: object, shown: str) -> None:
    assert str(Money.of(value)) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("0.00015", "$0.00015"),
        ("0.000150234", "$0.0001502"),
        ("1234.5", "$1,234.50"),
        ("0", "$0.00"),
        ("9.99999", "$10.00"),
        ("-0.0000123456", "-$0.00001235"),
        ("40", "$40.00"),
    ],
)
def test_people_see_two_decimals_or_four_digits(value: str, shown: str) -> None:
    assert Money.of(value).digits() == shown


def test_currencies_have_their_sign_or_their_code_and_never_mix() -> None:
    assert str(Money.of("2", "EUR")) == "€2.00"
    assert str(Money.of("-2", "CHF")) == "-2.00 CHF"
    with pytest.raises(InvalidInput) as refused:
        Money.of(1) + Money.of(1, "EUR")
    assert refused.value.code == "currency_mismatch"
    assert Money.of(1) != Money.of(1, "EUR")


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (0.1, "float_money"),
        (True, "float_money"),
        (None, "float_money"),
        ("abc", "not_a_number"),
        ("", "not_a_number"),
        ("NaN", "not_a_number"),
        (Decimal("NaN"), "not_a_number"),
        ("Infinity", "infinite_amount"),
        ("1e31", "infinite_amount"),
        ("0.0000000000001", "too_precise"),
    ],
)
def test_what_is_not_exact_money_is_refused_by_name(value: object, code: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        Money.of(value)
    assert refused.value.code == code


def test_money_is_read_from_money_and_numbers_are_cut_in_messages() -> None:
    assert decimal_to_pico(Money(5)) == 5
    with pytest.raises(InvalidInput) as refused:
        parse_decimal("x" * 1000, "price")
    assert len(str(refused.value)) < 100


@pytest.mark.parametrize("sign", [operator.add, operator.sub, operator.lt, operator.le, operator.gt, operator.ge])
def test_money_meets_only_money(sign: Callable[[object, object], object]) -> None:
    with pytest.raises(TypeError):
        sign(Money(1), 1)


def test_money_multiplies_by_whole_numbers_only() -> None:
    assert (Money(3) * 4).pico == 12
    for factor in (0.5, True, Decimal(2)):
        with pytest.raises(TypeError):
            Money(3) * factor  # type: ignore[operator]  # what a careless caller may pass


def test_an_amount_of_more_digits_than_decimal_keeps_is_exact_or_refused() -> None:
    assert Money.of("12345678901234567890.123456789012").pico == 12345678901234567890123456789012
    with pytest.raises(InvalidInput) as refused:
        Money.of("12345678901234567890.1234567890121")
    assert refused.value.code == "too_precise"


def test_an_amount_beside_another_is_exact_where_it_would_look_the_same() -> None:
    assert format_beside(96_167_507_441_890, 120 * 10**12, "USD") == "$96.17"
    assert format_beside(40_000_000_000_001, 40 * 10**12, "USD") == "$40.000000000001"
    assert format_beside(40 * 10**12, 40 * 10**12, "USD") == "$40.00"


def test_digits_that_nothing_needs_are_dropped_and_those_that_none_can_count_are_refused() -> None:
    assert Money.of("1." + "0" * 5000) == Money.of(1)
    for text in ("1." + "1" * 5000, "1e-999999999", "0." + "0" * 90 + "1"):
        with pytest.raises(InvalidInput) as refused:
            Money.of(text)
        assert refused.value.code == "too_precise"
