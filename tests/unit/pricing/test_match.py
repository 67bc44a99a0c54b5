"""Which service an event means, by which rule; and that an unknown one stays unknown."""

from __future__ import annotations

import pytest
from tests.unit.pricing.builders import book_of, event, listed, own, shipped

from outlay.model import PricingStatus
from outlay.pricing.rate import rate


@pytest.mark.parametrize(
    ("provider", "service", "rule"),
    [
        ("openai", "gpt-4o", "gpt-4o by equals gpt-4o of openai"),
        ("OpenAI", " GPT-4o ", "gpt-4o by equals gpt-4o of openai"),
        ("openai", "gpt-4o-2024-08-06", "gpt-4o by equals gpt-4o-2024-08-06 of openai"),
        ("openai", "openai/gpt-4o", "gpt-4o by equals gpt-4o of openai, prefix openai/ dropped"),
        ("litellm", "openai/gpt-4o", "gpt-4o by equals gpt-4o of openai, routed to openai"),
        ("openai", "gpt-4o-20240806", "gpt-4o by equals gpt-4o-2024-08-06 of openai, date written with dashes"),
        ("openai", "gpt-4o-2031-01-02", "gpt-4o by equals gpt-4o of openai, date 2031-01-02 dropped"),
        ("azure", "gpt-5-nano", "gpt-5-nano by equals gpt-5-nano of openai, whose models azure offers too"),
        (
            "gemini",
            "models/gemini-2.5-flash",
            "gemini-2.5-flash by equals gemini-2.5-flash of google, resource path dropped",
        ),
        (
            "vertex_ai",
            "publishers/google/models/gemini-2.5-flash",
            "gemini-2.5-flash by equals gemini-2.5-flash of google, resource path dropped",
        ),
        (
            "gcp.vertex_ai",
            "claude-3-5-haiku@20241022",
            "claude-3-5-haiku by contains claude-3-5-haiku of google",
        ),
        (
            "aws.bedrock",
            "anthropic.claude-3-haiku-20240307-v1:0",
            "regional.anthropic.claude-3-haiku-20240307-v1:0 by contains claude-3-haiku-20240307 of aws",
        ),
        ("nanobanana", "nano-banana", "gemini-2.5-flash-image by equals gemini-2.5-flash-image of google, "),
        ("aws", "AmazonS3", "s3 by equals s3 of aws, amazons3 is s3"),
    ],
)
def test_a_name_finds_its_service_and_the_rule_is_kept(provider: str, service: str, rule: str) -> None:
    assert shipped().resolve(provider, service).rule.startswith(rule)


@pytest.mark.parametrize(
    "service",
    [
        "us.anthropic.claude-3-5-sonnet-20241022-v2:0",
        "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-3-5-sonnet-20241022-v2:0",
        "arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-3-5-sonnet-20241022-v2:0",
        "arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Ainference-profile%2F"
        "us.anthropic.claude-3-5-sonnet-20241022-v2%3A0",
        "bedrock/anthropic.claude-3-5-sonnet-20241022-v2:0",
    ],
)
def test_every_way_bedrock_writes_a_model_is_priced(service: str) -> None:
    rating = rate(event("bedrock", service, {"input_tokens": 1_000_000}), shipped())
    assert rating.amount == 3 * 10**12  # Claude 3.5 Sonnet: 3 USD a million


def test_a_region_prefix_is_cut_off_only_where_no_rule_knows_it() -> None:
    book = book_of(listed("vendor.model-1", "input_tokens", "1", provider="aws"))
    assert book.resolve("aws", "eu.vendor.model-1").rule.endswith("region prefix eu. dropped")
    glob = shipped().resolve("aws", "global.anthropic.claude-haiku-4-5-20251001-v1:0")
    assert glob.service.startswith("global.")


def test_an_arn_that_names_no_model_says_what_to_do_and_takes_the_users_rates() -> None:
    arn = "arn:aws:bedrock:eu-west-1:123456789012:application-inference-profile/abc123"
    assert "an ARN of application-inference-profile names no model" in shipped().resolve("aws", arn).reason
    book = shipped(user=[own(arn, "input_tokens", "3", 1_000_000, provider="bedrock")])
    rating = rate(event("aws", arn, {"input_tokens": 1_000_000}), book)
    assert rating.amount == 3 * 10**12
    assert rating.match.endswith("your own rates")


def test_an_unknown_model_is_unpriced_with_near_names() -> None:
    rating = rate(event("openai", "gpt-4o-minx", {"input_tokens": 5}), shipped())
    assert rating.status is PricingStatus.UNPRICED
    assert rating.amount == 0
    assert "openai has no service 'gpt-4o-minx'" in rating.unrated[0].reason
    assert "near: gpt-4o-mini" in rating.unrated[0].reason


def test_an_unknown_provider_is_unpriced_with_near_names() -> None:
    reason = shipped().resolve("anthropc", "claude-haiku-4-5").reason
    assert "provider 'anthropc' is not in the price book; near: anthropic" in reason
    assert "near" not in shipped().resolve("zzzzzz", "x").reason


def test_a_prefix_of_another_house_is_part_of_a_resellers_own_name() -> None:
    book = shipped()
    assert book.resolve("openrouter", "openai/gpt-4o").service == "openai/gpt-4o"
    assert book.resolve("together", "openai/no-such-model").reason


def test_the_first_rule_in_the_catalogues_order_wins() -> None:
    book = shipped()
    assert book.resolve("google", "gemini-2.5-pro-preview-tts").service == "gemini-2.5-pro-tts"
    assert book.resolve("google", "gemini-2.5-pro-002").service == "gemini-2.5-pro"


def test_the_users_own_service_is_found_by_any_spelling() -> None:
    book = book_of(user=[own("img-1", "images", "0.01", provider="Acme")])
    for service in ("img-1", "IMG-1", "acme/img-1", "img-1-2026-01-01"):
        assert rate(event("ACME", service, {"images": 1}), book).amount == 10_000_000_000, service


def test_any_service_of_a_provider_may_have_a_rate_and_a_named_one_goes_before_it() -> None:
    used = event("replicate", "someone/some-model", {"hardware_seconds": 10}, conditions={"hardware": "gpu-t4"})
    rating = rate(used, shipped())
    assert (rating.amount, rating.match) == (2_250_000_000, "any service of replicate")
    book = book_of(listed("*", "runs", "1"), listed("clip", "runs", "2"))
    assert rate(event("acme", "clip", {"runs": 1}), book).amount == 2 * 10**12
    assert rate(event("acme", "else", {"runs": 1}), book).amount == 10**12


def test_a_provider_is_found_by_its_address() -> None:
    book = shipped()
    assert book.provider_of_address("https://api.anthropic.com/v1/messages") == "anthropic"
    assert book.provider_of_address("https://example.org/") is None
