"""The laws of rating, for any usage that can be reported."""

from __future__ import annotations

from decimal import Decimal
from functools import cache

from hypothesis import given
from hypothesis import strategies as st
from tests.unit.pricing.builders import book_of, event, listed, shipped

from outlay.meters import METERS, ancestors
from outlay.model import PricingStatus, Quantity, Rating
from outlay.money import round_half_even
from outlay.pricing.book import PriceBook
from outlay.pricing.rate import rate

TOKEN_METERS = sorted(name for name, meter in METERS.items() if meter.family == "tokens")
LEAVES = st.dictionaries(st.sampled_from(TOKEN_METERS), st.integers(1, 10**9), min_size=1, max_size=6)
PRICES = st.dictionaries(st.sampled_from(TOKEN_METERS), st.integers(0, 10**6), max_size=6)
FRACTIONS = st.decimals(min_value=0, max_value=10**6, places=9)


def consistent(leaves: dict[str, int]) -> dict[str, Quantity]:
    """A usage in which every whole that is reported holds exactly its parts and what it counts alone."""
    return {
        name: sum(amount for inner, amount in leaves.items() if inner == name or name in ancestors(inner))
        for name in leaves
    }


def priced(prices: dict[str, int]) -> PriceBook:
    return book_of(*(listed("chat", meter, str(price), 10**6) for meter, price in prices.items()))


@cache
def published() -> PriceBook:
    return shipped()


@given(LEAVES, PRICES)
def test_no_token_is_charged_twice_and_none_is_lost(leaves: dict[str, int], prices: dict[str, int]) -> None:
    rating = rate(event("acme", "chat", consistent(leaves)), priced(prices))
    charged = sum(line.quantity for line in rating.lines)
    unrated = sum(each.quantity for each in rating.unrated)
    assert charged + unrated == sum(leaves.values())


@given(LEAVES, PRICES)
def test_the_lines_sum_to_the_total_and_each_is_its_quantity_at_its_rate(
    leaves: dict[str, int], prices: dict[str, int]
) -> None:
    rating = rate(event("acme", "chat", consistent(leaves)), priced(prices))
    assert rating.amount == sum(line.amount for line in rating.lines)
    for line in rating.lines:
        assert line.rate is not None
        assert isinstance(line.quantity, int)
        assert line.amount == line.quantity * prices[line.rate.meter] * 10**6
        assert line.rate.meter == line.meter or line.rate.meter in ancestors(line.meter)


@given(LEAVES, PRICES)
def test_unknown_is_never_zero(leaves: dict[str, int], prices: dict[str, int]) -> None:
    rating = rate(event("acme", "chat", consistent(leaves)), priced(prices))
    assert (rating.status is PricingStatus.PRICED) == (not rating.unrated)
    assert (rating.status is PricingStatus.UNPRICED) == (not rating.lines)


@given(LEAVES)
def test_the_same_event_and_book_give_the_same_lines_whatever_came_between(leaves: dict[str, int]) -> None:
    used = event("openai", "gpt-4o", consistent(leaves))
    first = rate(used, published())
    rate(event("openai", "gpt-4o", {"output_tokens": 1}, at="2020-01-01T00:00:00Z"), published())
    assert _plain(rate(used, published())) == _plain(first) == _plain(rate(used, shipped()))


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_cost_is_linear_in_whole_units(one: int, other: int) -> None:
    book = priced({"input_tokens": 3})
    costs = [rate(event("acme", "chat", {"input_tokens": n}), book).amount for n in (one, other, one + other)]
    assert costs[0] + costs[1] == costs[2]


@given(FRACTIONS, st.integers(1, 10**6), st.integers(1, 10**4))
def test_a_line_is_the_exact_product_rounded_once(quantity: Decimal, price: int, per: int) -> None:
    book = book_of(listed("f", "gb_seconds", str(price), per))
    rating = rate(event("acme", "f", {"gb_seconds": quantity}), book)
    up, down = quantity.as_integer_ratio()
    assert rating.amount == round_half_even(up * price * 10**12, down * per)


@given(FRACTIONS, st.integers(1, 1000))
def test_n_calls_in_one_event_equal_n_events(quantity: Decimal, count: int) -> None:
    book = book_of(listed("f", "gb_seconds", "0.0000166667"))
    one = rate(event("acme", "f", {"gb_seconds": quantity}), book)
    many = rate(event("acme", "f", {"gb_seconds": quantity}, count=count), book)
    assert many.amount == count * one.amount


@given(st.integers(1, 400_000), st.integers(0, 400_000))
def test_a_tier_is_a_cliff_on_all_tokens(text: int, cached: int) -> None:
    book = book_of(
        listed("long", "input_tokens", "1", 10**6),
        listed("long", "input_tokens", "2", 10**6, context_over=200_000),
    )
    rating = rate(event("acme", "long", {"input_tokens": text + cached, "cache_read_tokens": cached}), book)
    factor = 2 if text + cached > 200_000 else 1
    assert rating.amount == (text + cached) * factor * 10**6


@given(FRACTIONS, FRACTIONS, st.integers(1, 60))
def test_a_minimum_and_an_increment_never_bill_less_than_was_used(
    quantity: Decimal, minimum: Decimal, increment: int
) -> None:
    least = max(minimum, Decimal("0.000000001"))
    book = book_of(listed("s", "audio_seconds", "1", minimum=least, increment=Decimal(increment)))
    line = rate(event("acme", "s", {"audio_seconds": quantity}), book).lines[0]
    if quantity == 0:
        assert line.amount == 0
    else:
        assert line.quantity >= max(quantity, least)
        assert line.quantity - max(quantity, least) < increment
        assert Decimal(line.quantity) % increment == 0


def _plain(rating: Rating) -> list[tuple[str, Quantity, int, str]]:
    return [(line.meter, line.quantity, line.amount, line.note) for line in rating.lines]
