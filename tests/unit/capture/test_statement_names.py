"""A bill's words: its meters, its sellers, and which recorded calls it pays for."""

from __future__ import annotations

import pytest

from outlay.capture.statement_names import bare_name, calls_named, meter_and_size, seller_of

AWS = ["lambda", "s3", "dynamodb", "anthropic.claude-3-5-sonnet-20241022-v2:0", "amazon.titan-embed-text-v2:0"]
SONNET, TITAN = AWS[3], AWS[4]


@pytest.mark.parametrize(
    ("unit", "words", "expected"),
    [
        ("Hrs", "", ("hours", 1)),
        ("GB-Mo", "TimedStorage-ByteHrs", ("gb_months", 1)),
        ("Requests", "", ("requests", 1)),
        ("1K tokens", "USE1-Claude3Sonnet-input-tokens", ("input_tokens", 1_000)),
        ("1000000 Tokens", "Output Tokens", ("output_tokens", 1_000_000)),
        ("1,000 Tokens", "Cache Read Input Tokens", ("cache_read_tokens", 1_000)),
        ("Tokens", "Cache Write Input Tokens", ("cache_write_tokens", 1)),
        ("Tokens", "cache write 1h", ("cache_write_1h_tokens", 1)),
        ("Tokens", "Cached Input Tokens", ("cache_read_tokens", 1)),
        ("Token-Hours", "Context Cache Storage", (None, 1)),
        ("Second", "Lambda", (None, 1)),  # whose seconds these are, the unit does not say
        ("furlongs", "", (None, 1)),
    ],
)
def test_a_unit_counts_its_meter_by_its_size(unit: str, words: str, expected: tuple[str | None, int]) -> None:
    assert meter_and_size(unit, words) == expected


def test_sellers_and_services_are_known_by_their_names_on_bills() -> None:
    assert [
        seller_of(name) for name in ("AWS", "Amazon Web Services, Inc.", "Microsoft", "Google Cloud", "Acme AI")
    ] == [
        *("aws", "aws", "azure", "google"),
        "acme-ai",
    ]
    names = ("Amazon Simple Storage Service", "AmazonS3", "AWS Lambda", "AWSLambda", "Amazon API Gateway", "gpt-4o")
    assert [bare_name(name) for name in names] == ["s3", "s3", "lambda", "lambda", "api-gateway", "gpt-4o"]


@pytest.mark.parametrize(
    ("service", "sku", "resource", "called"),
    [
        ("AWS Lambda", "USE2-Lambda-GB-Second", "", {"lambda"}),
        ("Amazon Simple Storage Service", "Requests-Tier1", "bucket", {"s3"}),
        ("Amazon Bedrock", "USE1-Claude3.5Sonnet-input-tokens", "", {SONNET}),
        ("Amazon Bedrock", "USE1-TitanEmbeddingV2-Text-input-tokens", "", {TITAN}),
        ("Amazon Bedrock", "", "", {SONNET, TITAN}),  # names no model: it may be any
        ("Amazon Relational Database Service", "InstanceUsage:db.t3", "db", set()),
        ("Tax", "", "", set()),
    ],
)
def test_a_row_pays_for_the_calls_that_it_names(service: str, sku: str, resource: str, called: set[str]) -> None:
    assert calls_named(service, sku, resource, AWS, "aws") == called


def test_a_model_is_known_by_its_dated_version_and_a_seller_pays_for_all_of_its_calls() -> None:
    assert calls_named("gpt-4o-2024-08-06", "", "", ["gpt-4o", "gpt-4o-mini"], "openai") == {"gpt-4o"}
    assert calls_named("gpt-4o", "", "", ["gpt-4o-2024-08-06", "gpt-4o-mini"], "openai") == {"gpt-4o-2024-08-06"}
    assert calls_named("Replicate", "", "stable-diffusion-xl", ["a/x", "b/y"], "replicate") == {"a/x", "b/y"}
