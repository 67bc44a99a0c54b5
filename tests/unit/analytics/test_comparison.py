"""What a change is made of: worked by hand, and a law over everything."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlay.analytics.comparison import Keys, Side, compare, sides
from outlay.errors import InvalidInput
from outlay.model import CostRow

Rows = dict[Keys, Side]


def side(amount: int, calls: int, failed_amount: int = 0, failed: int = 0) -> Side:
    return Side(amount + failed_amount, calls + failed, failed, failed_amount, calls)


def test_twice_the_calls_at_the_same_cost_is_volume() -> None:
    found = compare(("service",), {("a",): side(100, 10)}, {("a",): side(200, 20)}).total.change

    assert (found.volume, found.mix, found.price, found.failures) == (100, 0, 0, 0)
    assert found.percent == 100


def test_the_same_calls_at_a_higher_cost_is_price() -> None:
    found = compare(("service",), {("a",): side(100, 10)}, {("a",): side(150, 10)}).total.change

    assert (found.volume, found.mix, found.price) == (0, 0, 50)


def test_calls_that_move_to_a_dearer_service_are_mix() -> None:
    # 10 calls at 1 and 10 at 5; then 5 and 15: 5 × 1 + 15 × 5 = 80 instead of 60.
    before: Rows = {("cheap",): side(10, 10), ("dear",): side(50, 10)}
    after: Rows = {("cheap",): side(5, 5), ("dear",): side(75, 15)}

    found = compare(("service",), before, after).total.change

    assert (found.amount, found.volume, found.mix, found.price) == (20, 0, 20, 0)


def test_a_new_service_is_mix_for_it_had_no_price_before() -> None:
    # 20 calls instead of 10: volume 10 × 1 = 10. The new row's 70 less what volume took from the old one's.
    before: Rows = {("old",): side(10, 10)}
    after: Rows = {("old",): side(10, 10), ("new",): side(70, 10)}

    found = compare(("service",), before, after)

    assert (found.total.change.volume, found.total.change.mix, found.total.change.price) == (10, 60, 0)
    assert found.rows[0].keys == ("new",)


def test_what_failed_calls_cost_more_is_told_apart() -> None:
    before: Rows = {("a",): side(100, 10)}
    after: Rows = {("a",): side(100, 10, failed_amount=30, failed=3)}

    found = compare(("service",), before, after).total

    assert (found.change.amount, found.change.failures, found.change.volume, found.change.price) == (30, 30, 0, 0)
    assert found.after.failed == 3


def test_periods_of_different_lengths_are_compared_by_the_day() -> None:
    # 310 in 31 days and 280 in 28 days are 10 a day both.
    before: Rows = {("a",): side(310, 31)}
    after: Rows = {("a",): side(280, 28)}

    found = compare(("service",), before, after, days_before=31, days_after=28)

    assert found.by_day
    assert (found.total.change.before, found.total.change.after, found.total.change.amount) == (10, 10, 0)


def test_where_nothing_was_before_all_is_volume_and_has_no_percent() -> None:
    found = compare(("service",), {}, {("a",): side(70, 7)}).total.change

    assert (found.volume, found.mix, found.price, found.percent) == (70, 0, 0, None)


def test_a_period_without_length_is_refused() -> None:
    with pytest.raises(InvalidInput, match="length"):
        compare(("service",), {}, {}, days_before=0)


def test_rows_of_costs_become_sides_with_failures_told_apart() -> None:
    rows = [
        CostRow(keys=("chat", "ok"), amount=90, events=9),
        CostRow(keys=("chat", "failed"), amount=5, events=1, failed=1),
    ]

    assert sides(rows, 1) == {("chat",): side(90, 9, failed_amount=5, failed=1)}
    assert sides([CostRow(keys=("chat",), amount=95, events=10, failed=1)], None) == {
        ("chat",): Side(95, 10, 1, 0, 10)
    }


one_side = st.builds(
    side,
    st.integers(0, 10**15),
    st.integers(0, 1_000),
    st.integers(0, 10**12),
    st.integers(0, 20),
)
many = st.dictionaries(st.tuples(st.sampled_from("abcd"), st.none() | st.sampled_from("xy")), one_side)


@given(many, many, st.integers(1, 40), st.integers(1, 40))
def test_the_parts_of_a_change_add_up_exactly(before: Rows, after: Rows, first: int, last: int) -> None:
    found = compare(("feature", "service"), before, after, days_before=Fraction(first), days_after=last)

    for row in (*found.rows, found.total):
        change = row.change
        assert change.volume + change.mix + change.price + change.failures == change.amount
    assert sum(row.change.amount for row in found.rows) == found.total.change.amount
    assert found.total.after.amount == sum(one.amount for one in after.values())


@given(
    st.integers(1, 10**9),
    st.integers(1, 1_000),
    st.integers(1, 1_000),
    st.integers(1, 400),
    st.integers(1, 400),
)
def test_a_price_that_did_not_change_is_exactly_nothing(
    price: int, calls_before: int, calls_after: int, first: int, last: int
) -> None:
    # A day's share of each side is seldom a whole picounit: what is lost in rounding must not look like a price.
    before: Rows = {("a",): side(price * calls_before, calls_before)}
    after: Rows = {("a",): side(price * calls_after, calls_after)}

    found = compare(("service",), before, after, days_before=first, days_after=last).total.change

    assert (found.mix, found.price, found.failures) == (0, 0, 0)
    assert found.volume == found.amount


def test_thirds_of_a_day_are_given_out_whole() -> None:
    # 10 over 3 days and 11 over 1: 3⅓ and 11 a day. Twice the calls (2 a day, not 1): volume 3⅓, price 4⅓; 8 in all.
    before: Rows = {("a",): side(10, 3)}
    after: Rows = {("a",): side(11, 2)}

    found = compare(("service",), before, after, days_before=3, days_after=1).total.change

    assert (found.before, found.after, found.amount) == (3, 11, 8)
    assert (found.volume, found.price) == (4, 4)
