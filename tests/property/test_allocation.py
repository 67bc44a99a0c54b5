"""What is allocated sums to what there was, whatever the rule, the amount and the weights."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

import outlay
from outlay.analytics.allocate import allocated

AMOUNTS = st.integers(min_value=-(10**24), max_value=10**24)
WEIGHTS = st.dictionaries(
    st.text(min_size=1, max_size=3),
    st.decimals(min_value=0, max_value=10**9, places=6) | st.integers(min_value=0, max_value=10**18),
    min_size=1,
    max_size=12,
)


@given(amount=AMOUNTS, weights=WEIGHTS)
def test_what_is_given_sums_to_what_was_allocated(amount: int, weights: dict[str, int | Decimal]) -> None:
    if not any(weights.values()):
        weights["one"] = 1
    given_to = allocated(amount, weights)
    total = sum((Fraction(weight) for weight in weights.values()), Fraction(0))
    assert sum(given_to.values()) == amount
    assert given_to.keys() == weights.keys()
    for name, share in given_to.items():
        assert abs(share - amount * Fraction(weights[name]) / total) < 1  # within a picounit of the exact share


@given(
    costs=st.lists(st.integers(min_value=1, max_value=10**7), min_size=1, max_size=6),
    shared=st.integers(min_value=0, max_value=10**9),
    rule=st.sampled_from(["even", "usage", "weight"]),
)
def test_every_rule_gives_the_shared_cost_whole(costs: list[int], shared: int, rule: str) -> None:
    with outlay.open("memory:") as ledger:
        for number, cost in enumerate(costs):
            amount = Decimal(cost).scaleb(-6)
            ledger.record(provider="p", service="s", customer=f"c{number}", usage={}, reported_cost=amount)
        ledger.record(provider="p", service="shared", usage={}, reported_cost=Decimal(shared).scaleb(-6))
        weights = {"c0": "1", "new": "2.5"} if rule == "weight" else None
        found = ledger.allocate("customer", rule=rule, weights=weights)
        assert found.shared == shared * 10**6
        assert sum(share.given for share in found.shares) == found.shared
        assert found.total == ledger.costs().total.pico


def test_a_cost_that_does_not_divide_goes_to_the_largest_remainders_then_by_name() -> None:
    assert allocated(100, {"a": 1, "b": 1, "c": 1}) == {"a": 34, "b": 33, "c": 33}
    assert allocated(-100, {"a": 1, "b": 1, "c": 1}) == {"a": -33, "b": -33, "c": -34}
    assert allocated(10, {"a": 2, "b": 1}) == {"a": 7, "b": 3}


def test_usage_may_be_cost_calls_or_a_meter(memory: outlay.Ledger) -> None:
    for feature, calls, tokens in (("chat", 3, 1_000), ("search", 1, 9_000)):
        for _ in range(calls):
            memory.record(provider="openai", service="gpt-4o", feature=feature, usage={"input_tokens": tokens})
    memory.record(provider="aws", service="x", usage={}, reported_cost="12.00")
    by_calls = {each.name: each.given for each in memory.allocate("feature", by="calls").shares}
    by_tokens = {each.name: each.given for each in memory.allocate("feature", by="input_tokens").shares}
    assert by_calls == {"chat": 9 * 10**12, "search": 3 * 10**12}  # 3 calls to 1
    assert by_tokens == {"chat": 3 * 10**12, "search": 9 * 10**12}  # 3,000 tokens to 9,000


def test_an_allocation_that_cannot_be_is_refused(memory: outlay.Ledger) -> None:
    memory.record(provider="aws", service="x", usage={}, reported_cost="12.00")
    for how, code in (
        ({"rule": "fairly"}, "bad_choice"),
        ({"rule": "weight"}, "missing_field"),
        ({"rule": "even", "weights": {"a": 1}}, "missing_field"),
        ({"rule": "weight", "weights": {"a": "-1"}}, "negative_weight"),
        ({"rule": "even"}, "no_receiver"),
    ):
        with pytest.raises(outlay.InvalidInput) as refused:
            memory.allocate("feature", **how)
        assert refused.value.code == code
