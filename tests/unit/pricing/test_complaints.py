"""What users of other tools complained about, each as a promise kept (the number is that of the complaint)."""

from __future__ import annotations

from decimal import Decimal

import pytest
from tests.unit.pricing.builders import book_of, event, listed, shipped

from outlay.clock import to_instant
from outlay.errors import PriceBookError
from outlay.model import Basis, PricingStatus, Status
from outlay.money import Money
from outlay.pricing.card import check_price_jump
from outlay.pricing.rate import rate


def test_1_a_reported_zero_is_never_trusted_against_tokens() -> None:
    used = {"input_tokens": 1000, "output_tokens": 1000}
    rating = rate(event("google", "claude-haiku-4-5", used, reported_cost=Money(0)), shipped())
    assert (rating.basis, rating.amount > 0) == (Basis.MEASURED, True)
    unknown = rate(event("google", "claude-unheard-of", used, reported_cost=Money(0)), shipped())
    assert unknown.status is PricingStatus.UNPRICED


def test_2_a_dated_build_that_is_not_listed_is_priced_by_its_alias_and_says_so() -> None:
    rating = rate(event("openai", "gpt-4o-mini-2030-02-03", {"input_tokens": 1_000_000}), shipped())
    assert rating.amount == 150_000_000_000
    assert "date 2030-02-03 dropped" in rating.match


def test_3_and_11_a_priority_tier_without_a_price_is_incomplete_and_never_the_standard_price_in_silence() -> None:
    used = {"input_tokens": 1000}
    rating = rate(event("openai", "gpt-4-turbo", used, conditions={"service_tier": "priority"}), shipped())
    assert rating.status is PricingStatus.INCOMPLETE
    assert "service_tier=priority" in rating.unrated[0].reason
    priced = rate(event("openai", "gpt-4.1", used, conditions={"service_tier": "priority"}), shipped())
    standard = rate(event("openai", "gpt-4.1", used), shipped())
    assert priced.status is PricingStatus.PRICED
    assert priced.amount > standard.amount


def test_4_reasoning_tokens_do_not_drop_the_rest_of_the_output() -> None:
    used = {"input_tokens": 100, "output_tokens": 500, "output_reasoning_tokens": 400}
    rating = rate(event("openai", "gpt-5-mini", used), shipped())
    # 100 × 0.25 / 10⁶ + 500 × 2 / 10⁶
    assert rating.amount == 25_000_000 + 1_000_000_000
    assert sum(line.quantity for line in rating.lines) == 600


def test_5_an_explicit_zero_is_a_zero_and_a_missing_figure_is_not() -> None:
    zero = rate(event("openai", "gpt-4o", {"input_tokens": 0, "output_tokens": 0}), shipped())
    assert (zero.status, zero.amount) == (PricingStatus.PRICED, 0)
    missing = rate(event("openai", "gpt-4o", {}), shipped())
    assert missing.status is PricingStatus.UNPRICED


def test_7_cached_tokens_inside_the_input_are_charged_once() -> None:
    used = {"input_tokens": 10_000, "cache_read_tokens": 9_000}
    rating = rate(event("anthropic", "claude-haiku-4-5", used), shipped())
    # 1,000 × 1 / 10⁶ + 9,000 × 0.10 / 10⁶
    assert rating.amount == 1_900_000_000


def test_8_a_remainder_without_a_rate_is_visible_and_never_priced_as_output() -> None:
    rating = rate(event("openai", "gpt-4o", {"input_tokens": 100, "credits": Decimal("3.5")}), shipped())
    assert rating.status is PricingStatus.INCOMPLETE
    assert [line.meter for line in rating.lines] == ["input_tokens"]
    assert rating.unrated[0].quantity == Decimal("3.5")


def test_9_and_10_cache_reads_cost_their_own_price_and_both_cache_writes_theirs() -> None:
    used = {
        "input_tokens": 10_000,
        "cache_read_tokens": 4_000,
        "cache_write_tokens": 3_000,
        "cache_write_1h_tokens": 1_000,
    }
    rating = rate(event("anthropic", "claude-haiku-4-5", used), shipped())
    # 3,000 × 1 + 4,000 × 0.10 + 2,000 × 1.25 + 1,000 × 2, each / 10⁶
    assert rating.amount == 3_000_000_000 + 400_000_000 + 2_500_000_000 + 2_000_000_000
    assert sum(line.quantity for line in rating.lines) == 10_000


def test_13_a_variant_is_not_priced_as_its_sibling() -> None:
    book = shipped()
    plain = book.resolve("openrouter", "x-ai/grok-4.20")
    multi = book.resolve("openrouter", "x-ai/grok-4.20-multi-agent")
    assert (plain.service, multi.service) == ("x-ai/grok-4.20", "x-ai/grok-4.20-multi-agent")


def test_14_an_unknown_model_is_not_priced_at_another_models_price() -> None:
    rating = rate(event("openai", "my-own-fine-tune", {"input_tokens": 1000}), shipped())
    assert (rating.status, rating.lines) == (PricingStatus.UNPRICED, ())


def test_14_a_price_that_has_ended_still_prices_the_events_of_its_time() -> None:
    end = to_instant("2026-01-01T00:00:00Z")
    book = book_of(listed("old", "input_tokens", "1", valid_to=end))
    assert rate(event("acme", "old", {"input_tokens": 1}, at="2025-12-31T23:00:00Z"), book).amount == 10**12
    after = rate(event("acme", "old", {"input_tokens": 1}, at="2026-01-01T00:00:00Z"), book)
    assert after.status is PricingStatus.UNPRICED


def test_16_batch_flex_and_priority_have_their_prices_and_regional_ids_match() -> None:
    used = {"input_tokens": 1_000_000}
    prices = {
        tier: rate(event("openai", "gpt-5-mini", used, conditions=conditions), shipped()).amount // 10**9
        for tier, conditions in {
            "standard": {},
            "flex": {"service_tier": "flex"},
            "batch": {"processing": "batch"},
            "priority": {"service_tier": "priority"},
        }.items()
    }
    assert prices["flex"] == prices["batch"] == 125  # thousandths of a dollar a million: half of 0.25
    assert prices["standard"] == 250
    assert prices["priority"] > 250
    assert shipped().resolve("aws", "eu.amazon.nova-lite-v1:0").service == "amazon.nova-lite-v1:0"


def test_19_a_price_typed_per_million_is_caught_before_it_is_kept() -> None:
    old = listed("chat", "input_tokens", "2.50", 1_000_000)
    typed = listed("chat", "input_tokens", "2.50", 1)
    with pytest.raises(PriceBookError, match=r"1000000 times the price in force.* was it meant per 1,000,000"):
        check_price_jump(typed, old)
    check_price_jump(typed, old, force=True)


def test_failed_calls_are_neither_free_nor_full_price() -> None:
    rating = rate(event("openai", "gpt-4o", {}, status=Status.FAILED), shipped())
    assert rating.status is PricingStatus.UNPRICED
    partial = rate(event("openai", "gpt-4o", {"input_tokens": 1000}, status=Status.FAILED), shipped())
    assert partial.amount == 2_500_000_000
