"""A range of prices: two prices for an estimate, none for an event."""

from __future__ import annotations

from decimal import Decimal

from tests.unit.pricing.builders import book_of, event, own

from outlay.model import PricingStatus
from outlay.money import Money
from outlay.pricing.ends import End
from outlay.pricing.rate import rate

RUNS = own("sdxl", "runs", "0.003", price_high=Decimal("0.005"))
MEASURED = own("sdxl", "runs", "0.0047")


def test_an_estimate_takes_both_ends_and_an_event_neither() -> None:
    book = book_of(user=[RUNS])
    three = event("acme", "sdxl", {"runs": 3})
    low, high = (rate(three, book.at(end)) for end in (End.LOW, End.HIGH))
    assert (low.amount, high.amount) == (Money.of("0.009").pico, Money.of("0.015").pico)
    assert low.lines[0].rate is not None
    assert low.lines[0].rate.note == "low end of 0.003 to 0.005"
    assert rate(three, book).status is PricingStatus.UNPRICED


def test_beside_a_single_price_the_range_is_for_estimates_and_the_price_for_events() -> None:
    book = book_of(user=[RUNS, MEASURED])
    one = event("acme", "sdxl", {"runs": 1})
    assert rate(one, book).amount == Money.of("0.0047").pico
    assert rate(one, book.at(End.HIGH)).amount == Money.of("0.005").pico
    # Asking for an end leaves the book as it was.
    assert rate(one, book).amount == Money.of("0.0047").pico


def test_what_is_no_range_costs_the_same_at_both_ends() -> None:
    book = book_of(user=[MEASURED])
    one = event("acme", "sdxl", {"runs": 1})
    assert rate(one, book.at(End.LOW)).amount == rate(one, book.at(End.HIGH)).amount == Money.of("0.0047").pico
