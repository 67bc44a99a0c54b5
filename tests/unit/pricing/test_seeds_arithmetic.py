"""The five documents' own examples, worked from the rate; where a document's figure differs, the test says why."""

from __future__ import annotations

from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from tests.unit.pricing.builders import event, shipped

from outlay.model import PricingStatus, Quantity
from outlay.money import Money
from outlay.pricing.book import PriceBook
from outlay.pricing.card import read_price_file
from outlay.pricing.rate import rate

FILE = Path(__file__).parents[3] / "examples" / "seeds" / "prices.toml"


@cache
def book() -> PriceBook:
    return shipped(user=read_price_file(FILE.read_text(encoding="utf-8"), FILE.name).rates)


def cost(provider: str, service: str, usage: dict[str, Quantity], **fields: Any) -> Decimal:
    conditions = {key: value for key, value in fields.items() if key != "operation"}
    rating = rate(event(provider, service, usage, operation=fields.get("operation"), conditions=conditions), book())
    assert rating.status is PricingStatus.PRICED, rating.unrated
    return Money(rating.amount).amount


OHIO = {"region": "us-east-2"}
IRELAND = {"region": "eu-west-1"}


def test_seed_1_the_database_is_14_71_a_month() -> None:
    # 0.017 × 730 + 20 × 0.115; the document adds the same two figures to 12.71
    hours = cost("aws", "rds", {"instance_hours": 730}, instance="db.t4g.micro", **OHIO)
    storage = cost("aws", "rds", {"gb_months": 20}, storage_type="gp3", **OHIO)
    assert (hours, storage, hours + storage) == (Decimal("12.41"), Decimal("2.30"), Decimal("14.71"))


def test_seed_1_the_cache_is_11_534_a_month() -> None:
    # 0.0158 × 730; the document's 11.52 is 0.016 × 720
    assert cost("aws", "elasticache", {"instance_hours": 730}, instance="cache.t4g.micro", **OHIO) == Decimal(
        "11.534"
    )


@pytest.mark.parametrize(("hours", "amount"), [(730, "36.0401"), (365, "18.02005"), (24, "1.18488")])
def test_seed_1_fargate_is_0_04937_an_hour(hours: int, amount: str) -> None:
    # 1 vCPU and 2 GB: (0.04048 + 2 × 0.004445) × hours; the document's table says 14.88 for 24/7
    used: dict[str, Quantity] = {"vcpu_hours": hours, "gb_hours": 2 * hours}
    assert cost("aws", "fargate", used, **OHIO) == Decimal(amount)


def test_seed_1_a_savings_plan_takes_17_percent_off_fargate() -> None:
    used: dict[str, Quantity] = {"vcpu_hours": 730, "gb_hours": 1460}
    # 36.0401 × 0.83
    assert cost("aws", "fargate", used, purchase="compute_savings_1y", **OHIO) == Decimal("29.913283")


def test_seed_1_reserved_instances() -> None:
    used: dict[str, Quantity] = {"instance_hours": 730}
    monthly = cost("aws", "rds", used, instance="db.t4g.micro", purchase="reserved_1y_no_upfront", **OHIO)
    assert monthly == Decimal("7.30")
    year: dict[str, Quantity] = {"instance_hours": 8760}
    upfront = cost("aws", "rds", year, instance="db.t4g.micro", purchase="reserved_1y_all_upfront", **OHIO)
    assert upfront == Decimal("82.00")


def test_seed_1_storage_requests_logs_transfer_alarms_and_registry() -> None:
    assert cost("aws", "s3", {"gb_months": 4}, **OHIO) == Decimal("0.092")
    assert cost("aws", "s3", {"gb_months": 5}, **OHIO) == Decimal("0.115")
    # (1000 / 1000) × 0.0025: as the document writes it, 1000 × 0.0025 would be 2.50
    assert cost("aws", "s3", {"object_months": 1000}, storage_class="intelligent_tiering", **OHIO) == Decimal(
        "0.0025"
    )
    requests: dict[str, Quantity] = {"put_requests": 10_000, "get_requests": 50_000, "delete_requests": 5_000}
    # 10 × 0.005 + 50 × 0.0004 + 0; the document rounds 0.07 up to 0.50
    assert cost("aws", "s3", requests, **OHIO) == Decimal("0.07")
    assert cost("aws", "s3", {"gb_hours": Decimal("0.5")}, **OHIO) == Decimal("0.000015753425")  # 0.5 × 0.023 / 730
    assert cost("aws", "cloudwatch", {"gb_ingested": 5}, **OHIO) == Decimal("2.50")
    assert cost("aws", "cloudwatch", {"gb_ingested": Decimal("0.16")}, **OHIO) == Decimal("0.08")
    assert cost("aws", "cloudwatch", {"alarm_months": 5}, **OHIO) == Decimal("0.50")
    assert cost("aws", "data-transfer", {"gb_transferred_out": 10}, **OHIO) == Decimal("0.90")
    assert cost("aws", "ecr", {"gb_months": Decimal("0.5")}) == Decimal("0.05")
    assert cost("aws", "aurora", {"acu_hours": 365}, **OHIO) == Decimal("43.80")  # 0.5 ACU × 730; 43.20 is 720 h
    assert cost("aws", "cloudfront", {"gb_transferred_out": 50}, edge="us") == Decimal("4.25")


def test_seed_1_replicate_runs_by_the_days_own_figures() -> None:
    assert cost("replicate", "stable-diffusion-xl", {"runs": 9}) == Decimal("0.045")
    assert cost("replicate", "animate-diff", {"runs": 4}) == Decimal("0.12")
    assert cost("replicate", "animatediff", {"runs": 2}) == Decimal("0.06")


def test_seed_1_a_range_makes_the_span_of_a_video_and_no_event_price() -> None:
    # 3 × SDXL + 2 × AnimateDiff + 3 × upscaling: 0.052 to 0.124; the document rounds to 0.05 and 0.12
    low = high = Decimal(0)
    for service, runs in (("stable-diffusion-xl", 3), ("animate-diff", 2), ("image-upscaling", 3)):
        span = next(each for each in book().rates("replicate", service) if each.price_high is not None)
        low += runs * span.price
        high += runs * (span.price_high or span.price)
    assert (low, high) == (Decimal("0.052"), Decimal("0.124"))
    unpriced = rate(event("replicate", "image-upscaling", {"runs": 3}), book())
    assert unpriced.status is PricingStatus.UNPRICED


@pytest.mark.parametrize(
    ("provider", "operation", "amount"),
    [
        ("replicate", "generateImage", "0.0052"),
        ("replicate", "upscaleImage", "0.0104"),
        ("replicate", "styleTransfer", "0.0156"),
        ("replicate", "outpaint", "0.0208"),
        ("replicate", "inpaint", "0.0156"),
        ("stability", "generateImage", "0.002"),
        ("stability", "upscaleImage", "0.006"),
        ("stability", "styleTransfer", "0.008"),
        ("stability", "outpaint", "0.01"),
        ("stability", "inpaint", "0.008"),
        ("gemini", "generateImage", "0.0025"),
    ],
)
def test_seed_2_each_operation_has_its_price(provider: str, operation: str, amount: str) -> None:
    assert cost(provider, "image-operations", {"images": 1}, operation=operation).normalize() == Decimal(amount)


def test_seed_2_an_operation_without_a_price_is_unpriced_and_not_one_cent() -> None:
    rating = rate(event("replicate", "image-operations", {"images": 1}, operation="removeBackground"), book())
    assert (rating.status, rating.amount) == (PricingStatus.UNPRICED, 0)


def test_seed_2_the_hour_passes_50_dollars_with_image_9616() -> None:
    one = cost("replicate", "image-operations", {"images": 1}, operation="generateImage")
    assert (9615 * one, 9616 * one) == (Decimal("49.9980"), Decimal("50.0032"))


def test_seed_3_a_video_of_three_stories_five_images_and_1200_characters() -> None:
    story = cost("gemini", "gemini", {"input_tokens": 100, "output_tokens": 500})
    script = cost("gemini", "gemini", {"input_tokens": 200, "output_tokens": 800})
    images = cost("nanobanana", "nano-banana", {"images": 5})
    voice = cost("elevenlabs", "text-to-speech", {"characters": 1200})
    assert (story, script, images, voice) == (
        Decimal("0.00015"),
        Decimal("0.00025"),
        Decimal("0.10"),
        Decimal("0.36"),
    )
    assert 3 * story + script + images + voice == Decimal("0.4607")
    assert cost("gemini", "gemini", {"input_tokens": 1000, "output_tokens": 500}) == Decimal("0.000375")


def test_seed_3_2000_images_are_exactly_40_dollars() -> None:
    # 80 % of 50: in floats 25,000 × 0.02 stays below 500
    assert cost("nanobanana", "nano-banana", {"images": 2000}) == Decimal("40.00")
    assert 25_000 * cost("nanobanana", "nano-banana", {"images": 1}) == Decimal("500.00")


def test_seed_4_the_question_costs_0_01325286672() -> None:
    # The document says 0.0234 in total and parts that sum to 0.0231048.
    function = cost("aws", "lambda", {"requests": 1, "gb_seconds": Decimal("0.6")}, **IRELAND)
    table = cost("aws", "dynamodb", {"read_request_units": 1, "write_request_units": 1}, **IRELAND)
    gateway = cost("aws", "api-gateway", {"requests": 1}, **IRELAND)
    words: dict[str, Quantity] = {"input_tokens": 1200, "output_tokens": 642}
    model = cost("bedrock", "anthropic.claude-3-5-sonnet-20241022-v2:0", words)
    vector = cost("aws", "titan-embeddings-v2", {"input_tokens": 45})
    assert function == Decimal("0.00001020002")  # 2.4 s × 0.25 GB × 0.0000166667 + 0.0000002
    assert table == Decimal("0.0000001667")
    assert gateway == Decimal("0.0000035")
    assert model == Decimal("0.01323")  # 1,200 × 3 / 10⁶ + 642 × 15 / 10⁶; 0.0231 is other tokens at 6 and 30
    assert vector == Decimal("0.000009")
    assert function + table + gateway + model + vector == Decimal("0.01325286672")
    assert cost("aws", "claude-4-sonnet", words) == Decimal("0.02646")


def test_seed_4_the_recording_costs_0_0073028501875() -> None:
    # 18 s × 0.0004 + one PUT + 22.5 s × 0.25 GB + one request to the gateway; the document says 0.0087
    speech = cost("aws", "transcribe", {"audio_seconds": 18}, **IRELAND)
    put = cost("aws", "s3", {"put_requests": 1}, **IRELAND)
    function = cost("aws", "lambda", {"requests": 1, "gb_seconds": Decimal("5.625")}, **IRELAND)
    gateway = cost("aws", "api-gateway", {"requests": 1}, **IRELAND)
    assert (speech, put) == (Decimal("0.0072"), Decimal("0.0000054"))
    # 5.625 × 0.0000166667 + 0.0000002 = 0.0000939501875, and half a 10⁻¹² goes to the even neighbour
    assert function == Decimal("0.000093950188")
    assert speech + put + function + gateway == Decimal("0.007302850188")


def test_published_prices_that_the_documents_misstate_stay_as_published() -> None:
    sonnet = cost(
        "bedrock", "anthropic.claude-sonnet-4-20250514-v1:0", {"input_tokens": 10**6, "output_tokens": 10**6}
    )
    titan = cost("bedrock", "amazon.titan-embed-text-v2:0", {"input_tokens": 10**6})
    assert (sonnet, titan) == (Decimal("18.00"), Decimal("0.02"))
    # 18 s × 0.0001; the document has 0.0004, the list price until September 2026
    assert cost("aws", "transcribe", {"audio_seconds": 18}, region="us-east-1") == Decimal("0.0018")
    # 0.032384 × 730 + 0.003556 × 1,460: a fifth off, not 17 %
    used: dict[str, Quantity] = {"vcpu_hours": 730, "gb_hours": 1460}
    plan = cost("aws", "fargate", used, region="us-east-1", purchase="compute_savings_1y")
    assert plan == Decimal("28.83208")


@pytest.mark.parametrize(
    ("model", "amount"),
    [
        ("anthropic.claude-3-haiku-20240307-v1:0", "1.50"),
        ("anthropic.claude-3-sonnet-20240229-v1:0", "18.00"),
        ("anthropic.claude-3-5-sonnet-20240620-v1:0", "18.00"),
        ("anthropic.claude-3-5-sonnet-20241022-v2:0", "18.00"),
        ("anthropic.claude-3-opus-20240229-v1:0", "90.00"),
    ],
)
def test_seed_5_the_five_models_cost_what_the_document_says(model: str, amount: str) -> None:
    assert cost("bedrock", model, {"input_tokens": 10**6, "output_tokens": 10**6}) == Decimal(amount)
