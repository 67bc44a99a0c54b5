"""Tiers, batch, region, resolution: a condition changes the price or is refused a price, never ignored in silence."""

from __future__ import annotations

import pytest
from tests.unit.pricing.builders import book_of, event, listed, own, shipped

from outlay.model import PricingStatus
from outlay.pricing.rate import rate

CLIP = (
    listed("clip", "video_seconds", "0.10", conditions={"resolution": "720p"}),
    listed("clip", "video_seconds", "0.20", conditions={"resolution": "1080p"}),
)
REGIONS = (
    listed("fn", "gb_seconds", "0.00001", conditions={"region": "us-east-1"}),
    listed("fn", "gb_seconds", "0.00001", conditions={"region": "eu-west-1"}),
    listed("fn", "gb_seconds", "0.000008", conditions={"region": "us-east-1", "architecture": "arm64"}),
    listed("fn", "requests", "0.20", 1_000_000),
)


def test_a_matching_condition_takes_its_rate_whatever_the_case() -> None:
    rating = rate(event("acme", "clip", {"video_seconds": 8}, conditions={"Resolution": "1080P"}), book_of(*CLIP))
    assert rating.amount == 1_600_000_000_000


def test_a_missing_condition_is_asked_for_by_name() -> None:
    rating = rate(event("acme", "clip", {"video_seconds": 8}), book_of(*CLIP))
    assert rating.status is PricingStatus.UNPRICED
    assert "give one of resolution=1080p, resolution=720p" in rating.unrated[0].reason


def test_a_value_that_no_rate_knows_is_unpriced_and_never_the_nearest() -> None:
    rating = rate(event("acme", "clip", {"video_seconds": 8}, conditions={"resolution": "4k"}), book_of(*CLIP))
    assert rating.status is PricingStatus.UNPRICED


def test_a_missing_region_is_no_matter_where_all_listed_prices_are_the_same() -> None:
    rating = rate(event("acme", "fn", {"gb_seconds": 1}), book_of(*REGIONS))
    assert rating.amount == 10_000_000
    assert rating.lines[0].note == "region not given: all listed prices are the same"


def test_an_unlisted_region_is_unpriced_where_the_price_depends_on_it_and_no_matter_elsewhere() -> None:
    used = {"gb_seconds": 1, "requests": 1}
    rating = rate(event("acme", "fn", used, conditions={"region": "mars-1"}), book_of(*REGIONS))
    assert rating.status is PricingStatus.INCOMPLETE
    assert [line.meter for line in rating.lines] == ["requests"]
    assert [each.meter for each in rating.unrated] == ["gb_seconds"]


def test_an_operation_is_a_condition_where_rates_use_it() -> None:
    book = book_of(
        listed("images", "images", "0.002", conditions={"operation": "generateImage"}),
        listed("images", "images", "0.010", conditions={"operation": "outpaint"}),
    )
    assert rate(event("acme", "images", {"images": 1}, operation="outpaint"), book).amount == 10_000_000_000
    named = event("acme", "images", {"images": 1}, operation="x", conditions={"operation": "outpaint"})
    assert rate(named, book).amount == 10_000_000_000


@pytest.mark.parametrize("tier", ["default", "standard", "auto", "on_demand", "Standard", "on-demand", ""])
def test_a_tier_that_means_the_default_is_charged_as_the_default(tier: str) -> None:
    rating = rate(event("openai", "gpt-4o", {"input_tokens": 1000}, conditions={"service_tier": tier}), shipped())
    assert (rating.amount, rating.status) == (2_500_000_000, PricingStatus.PRICED)


@pytest.mark.parametrize(
    ("conditions", "cost"),
    [
        ({"service_tier": "priority"}, 4_250_000_000),
        ({"processing": "batch"}, 1_250_000_000),
        ({"service_tier": "batch"}, 1_250_000_000),
        ({"batch": "true"}, 1_250_000_000),
    ],
)
def test_tier_and_batch_take_their_own_published_rate(conditions: dict[str, str], cost: int) -> None:
    rating = rate(event("openai", "gpt-4o", {"input_tokens": 1000}, conditions=conditions), shipped())
    assert (rating.amount, rating.status) == (cost, PricingStatus.PRICED)


def test_a_meter_that_the_batch_price_list_leaves_out_keeps_the_base_rate_and_says_so() -> None:
    used = {"input_tokens": 1000, "cache_read_tokens": 400}
    rating = rate(event("openai", "gpt-4o", used, conditions={"processing": "batch"}), shipped())
    # 600 × 1.25 / 10⁶ by batch; OpenAI publishes no cached price for batch: 400 × 1.25 / 10⁶ by the base rate
    assert [line.amount for line in rating.lines] == [750_000_000, 500_000_000]
    assert rating.lines[1].note == "no own rate for processing=batch: the base rate"
    assert rating.status is PricingStatus.PRICED


def test_a_tier_before_the_day_from_which_it_is_published_is_incomplete() -> None:
    used = event("openai", "gpt-4o", {"input_tokens": 1000}, at="2026-01-01T00:00:00Z")
    tier = event(
        "openai", "gpt-4o", {"input_tokens": 1000}, at="2026-01-01T00:00:00Z", conditions={"service_tier": "priority"}
    )
    assert rate(used, shipped()).status is PricingStatus.PRICED
    rating = rate(tier, shipped())
    assert (rating.status, rating.amount) == (PricingStatus.INCOMPLETE, 2_500_000_000)
    assert "it has none at this time" in rating.unrated[0].reason or "known are" in rating.unrated[0].reason


def test_a_price_that_is_listed_for_another_region_only_is_not_the_base_rate_in_silence() -> None:
    arm = {"region": "eu-west-1", "architecture": "arm64"}
    rating = rate(event("acme", "fn", {"gb_seconds": 1}, conditions=arm), book_of(*REGIONS))
    assert (rating.status, rating.amount) == (PricingStatus.INCOMPLETE, 10_000_000)
    assert rating.unrated[0].reason.startswith("fn has no rate for architecture=arm64, but under other conditions")
    # The user's own rate without the condition is meant for both architectures.
    mine = own("fn", "gb_seconds", "0.000009", conditions={"region": "eu-west-1"})
    rating = rate(event("acme", "fn", {"gb_seconds": 1}, conditions=arm), book_of(*REGIONS, user=[mine]))
    assert (rating.status, rating.amount) == (PricingStatus.PRICED, 9_000_000)


def test_another_houses_tier_is_not_borrowed_with_its_model() -> None:
    used = {"input_tokens": 1000}
    base = rate(event("azure", "gpt-4.1-mini", used), shipped())
    assert base.match.endswith("of openai, whose models azure offers too")
    tier = rate(event("azure", "gpt-4.1-mini", used, conditions={"service_tier": "priority"}), shipped())
    assert (tier.status, tier.amount) == (PricingStatus.INCOMPLETE, base.amount)


def test_conditions_that_no_rate_uses_change_nothing() -> None:
    rating = rate(event("openai", "gpt-4o", {"input_tokens": 1000}, conditions={"region": "eu"}), shipped())
    assert rating.status is PricingStatus.PRICED
