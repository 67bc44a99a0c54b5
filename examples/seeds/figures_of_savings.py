"""What the documents say can be saved, is commanded, and stands in the manuals: 2.4 to 2.7."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal, localcontext
from typing import Any

from figures_rated import IRELAND, OHIO, Figure, ledger, month, price, rounded, stack, videos

import outlay


def savings() -> Iterator[Figure]:
    """2.4: seed 1's savings."""
    fifty, five = (price("aws", "s3", {"gb_months": gb}, **OHIO) for gb in (50, 5))
    yield Figure(
        "2.4",
        "1:378 v. 409",
        "~60 %; $1.03, 90 %",
        {"saving": fifty - five, "%": (fifty - five) / fifty * 100},
        "1.15 − 0.115; 60 % stands beside 90 %",
    )
    hours = price("aws", "rds", {"instance_hours": 730}, instance="db.t4g.micro", **OHIO)
    database = month(row="RDS PostgreSQL")
    older = hours - price("aws", "rds", {"instance_hours": 730}, instance="db.t3.micro", **OHIO)
    yield Figure(
        "2.4",
        "1:419-420",
        "db.t3.micro saves 1.31 (11 %)",
        {
            "saving": older,
            "% of the instance": rounded(older / hours * 100, 2),
            "% with storage": rounded(older / database * 100, 2),
        },
        "compared with 12.26, which is no sum",
    )
    reserved = {"instance": "db.t4g.micro", **OHIO}
    monthly = price("aws", "rds", {"instance_hours": 730}, purchase="reserved_1y_no_upfront", **reserved)
    upfront = price("aws", "rds", {"instance_hours": 8760}, purchase="reserved_1y_all_upfront", **reserved)
    yield Figure(
        "2.4",
        "1:428-433",
        "saves 4.96 (40 %), 5.42 (44 %); $82 a year",
        {
            "no upfront": hours - monthly,
            "%": rounded((hours - monthly) / hours * 100, 2),
            "all upfront": rounded(hours - upfront / 12, 4),
            "its %": rounded((hours - upfront / 12) / hours * 100, 2),
            "% of all of RDS": rounded((hours - monthly) / database * 100, 2),
            "left": database - (hours - monthly),
            "break-even, months": rounded(upfront / hours, 2),
            "no upfront pays above % of hours": rounded(monthly / hours * 100, 2),
            "6.84 × 12": Decimal("6.84") * 12,
        },
        "on 12.41; storage is not reserved",
    )
    node = month(row="ElastiCache Redis")
    yield Figure(
        "2.4",
        "1:456-463",
        "cache: 4.59 (40 %), 1.30 (11 %)",
        {
            "reserved": node - month(("resource.cache.purchase", "reserved_1y_no_upfront"), row="ElastiCache Redis"),
            "cache.t3.micro": node - month(("resource.cache.instance", "cache.t3.micro"), row="ElastiCache Redis"),
        },
        "on 11.534",
    )
    yield from compute_savings()
    yield from other_savings()


def compute_savings() -> Iterator[Figure]:
    """The savings on Fargate, one by one and together."""
    full = month(row="ECS Fargate")
    spot = next(row for row in stack(("resource.backend.purchase", "spot")).rows if row.name == "ECS Fargate").month
    yield Figure(
        "2.4",
        "1:475-478",
        "Spot $7-15; not available",
        {
            "low": outlay.Money(spot.low).amount,
            "high": outlay.Money(spot.high).amount,
            "14.88 low": Decimal("14.88") * Decimal("0.3"),
            "14.88 high": Decimal("14.88") * Decimal("0.5"),
        },
        "Fargate Spot has been there since 2019; the discount is a range, of which month it is not said",
    )
    plan = month(("resource.backend.purchase", "compute_savings_1y"), row="ECS Fargate")
    yield Figure(
        "2.4",
        "1:483-485",
        "12.36-29.93, saves 2.52-6.11",
        {
            "of 14.88": Decimal("14.88") * Decimal("0.83"),
            "24/7": plan,
            "saves of 14.88": Decimal("14.88") * Decimal("0.17"),
            "saves": full - plan,
        },
        "17 % exactly; 14.88 is not 24/7",
    )
    smaller = month(("resource.backend.vcpu", "0.5"), ("resource.backend.memory_gb", 1), row="ECS Fargate")
    yield Figure("2.4", "1:493", "7.44-18.02", {"24/7": smaller, "of 14.88": Decimal("14.88") / 2}, "right")
    off = month(("resource.backend.hours_a_day", 12), row="ECS Fargate")
    yield Figure(
        "2.4",
        "1:625",
        "50 % = 7.44-18.02",
        {"off 24/7": full - off},
        "14.88 is part-time already: the same hours twice",
    )
    together = month(
        ("resource.backend.vcpu", "0.5"),
        ("resource.backend.memory_gb", 1),
        ("resource.backend.hours_a_day", 12),
        ("resource.backend.purchase", "compute_savings_1y"),
        row="ECS Fargate",
    )
    yield Figure(
        "2.4",
        "1:656-662",
        "right-sizing 2.52-15; 18 more from the schedule",
        {
            "all three": full - together,
            "% of it": (full - together) / full * 100,
            "sum of the three": (full - smaller) + (full - off) + (full - plan),
            "of 14.88": Decimal("14.88") * (full - together) / full,
            "sum of 14.88": Decimal("14.88") * (Decimal("0.5") + Decimal("0.5") + Decimal("0.17")),
        },
        "factors multiply: 1 − 0.5 × 0.5 × 0.83; the sum is more than the cost",
    )


def other_savings() -> Iterator[Figure]:
    """Logs, caching, bitrate, CDN, and what all of them come to."""
    logs = month(row="CloudWatch logs")
    yield Figure(
        "2.4",
        "1:522-523",
        "0.75-1.25, saves 1.25-1.75",
        {"saves least": logs * Decimal("0.5"), "saves most": logs * Decimal("0.7")},
        "right, on 2.50",
    )
    low, high = videos(100)
    yield Figure(
        "2.4",
        "1:550",
        "caching saves $1-5",
        {"least": low * Decimal("0.2"), "most": high * Decimal("0.4")},
        "20-40 % of 100 videos",
    )
    stored, sent = price("aws", "s3", {"gb_months": 5}, **OHIO), month(row="Data transfer")
    some = price("aws", "s3", {"gb_months": 2}, **OHIO)
    yield Figure(
        "2.4",
        "1:562-573",
        "bitrate saves 0.10-0.30",
        {
            "least": (stored + sent) * Decimal("0.3"),
            "most": (stored + sent) * Decimal("0.4"),
            "compositions only, least": (some + sent) * Decimal("0.3"),
            "compositions only, most": (some + sent) * Decimal("0.4"),
            "2M for 3M, %": rounded(Decimal(100) / 3, 1),
        },
        "preset=faster does not make a file smaller",
    )
    yield Figure(
        "2.4",
        "1:601-602, 659",
        "CloudFront saves up to $9, $5-9",
        {
            **{f"{gb} GB": price("aws", "data-transfer", {"gb_transferred_out": gb}, **OHIO) for gb in (10, 50, 100)},
            "10 GB with the allowance": month(row="Data transfer", free=True),
        },
        "at the page's 10 GB it is 0.90, and nothing within 100 GB free",
    )
    least = [Decimal(one) for one in ("1.03", "4.96", "4.59", "1.50", "2.52", "1", "0.30", "5", "7")]
    most = [Decimal(one) for one in ("1.03", "4.96", "4.59", "1.50", "15", "5", "0.30", "9", "18")]
    own = Decimal("4.96") + Decimal("4.59") + Decimal("1.75") + Decimal("14.88") * Decimal("0.7925") + Decimal("0.90")
    yield Figure(
        "2.4",
        "1:662",
        "$28-59, ~50-70 %",
        {
            "rows least": sum(least, Decimal(0)),
            "rows most": sum(most, Decimal(0)),
            "least %": rounded(sum(least) / Decimal("42.76") * 100, 1),
            "most %": rounded(sum(most) / Decimal("42.76") * 100, 1),
            "what can be saved": own,
            "of 42.76 %": rounded(own / Decimal("42.76") * 100, 1),
        },
        "more than the bill: counts what is done (1.03), ECS twice, a CDN above all transfer",
    )
    yield Figure(
        "2.4",
        "1:666-667",
        "month 2: 32-40; month 3: 25-35 (−15-25)",
        {
            "month 2 low": 42 - Decimal("9.55"),
            "month 2 high": 50 - Decimal("9.55"),
            "month 3 low": Decimal(42 - 25),
            "month 3 high": Decimal(50 - 15),
            "50-70 % would leave low": rounded(Decimal("42.76") * Decimal("0.3"), 2),
            "and high": Decimal("42.76") * Decimal("0.5"),
        },
        "42-50 less 15-25 is 17-35",
    )


def commands() -> Iterator[Figure]:
    """2.5: the one command of seed 1 whose fault is a figure."""
    yield Figure(
        "2.5",
        "1:776-787",
        "an alarm on more than $3 a day",
        {"fires after days": rounded(3 / (Decimal("42.76") / 30), 2)},
        "EstimatedCharges is the month so far: it fires on day 3 and stays on",
    )


def manuals() -> Iterator[Figure]:
    """2.6: seed 4."""
    answer = [Decimal(one) for one in ("0.0000035", "0.0000012", "0.0000001", "0.0231")]
    words = {"input_tokens": 1200, "output_tokens": 642}
    model = price("bedrock", "anthropic.claude-3-5-sonnet-20241022-v2:0", words)
    dearer = price("aws", "claude-4-sonnet", words)
    function = price("aws", "lambda", {"requests": 1, "gb_seconds": Decimal("0.6")}, **IRELAND)
    table = price("aws", "dynamodb", {"read_request_units": 1, "write_request_units": 1}, **IRELAND)
    gateway = price("aws", "api-gateway", {"requests": 1}, **IRELAND)
    vector = price("aws", "titan-embeddings-v2", {"input_tokens": 45})
    rest = function + table + gateway + vector
    yield Figure(
        "2.6",
        "4:47 v. 49-78",
        "total 0.0234",
        {
            "sum of its parts": sum(answer, Decimal(0)),
            "off by": Decimal("0.0234") - sum(answer),
            "right": rest + model,
            "with Claude 4 at its rates": rest + dearer,
        },
        "the parts do not sum to the total",
    )
    yield Figure(
        "2.6",
        "4:60, 67, 74, 170",
        "lambda 0.0000012, table 0.0000001, bedrock 0.0231, no line for 45 embedding tokens",
        {
            "lambda": function,
            "table": table,
            "Claude 3.5": model,
            "Claude 4": dearer,
            "Haiku": price("bedrock", "anthropic.claude-3-haiku-20240307-v1:0", words),
            "1,340 in + 502 out at 6/30": price(
                "aws", "claude-4-sonnet", {"input_tokens": 1340, "output_tokens": 502}
            ),
            "embedding": vector,
        },
        "1,842 tokens are 1,200 in and 642 out",
    )
    question = "How do I configure wireless settings?"
    yield Figure(
        "2.6",
        "4:170 v. 31, 184",
        "45 tokens",
        {
            "characters": Decimal(len(question)),
            "÷ 4": Decimal(-(-len(question) // 4)),
            "words × 2": Decimal(2 * len(question.split())),
        },
        "by its own rule it is 10",
    )
    speech = price("aws", "transcribe", {"audio_seconds": 18}, **IRELAND)
    put = price("aws", "s3", {"put_requests": 1}, **IRELAND)
    longer = price("aws", "lambda", {"requests": 1, "gb_seconds": Decimal("5.625")}, **IRELAND)
    parts = [Decimal(one) for one in ("0.0072", "0.0000054", "0.0014")]
    with localcontext() as exact:
        exact.prec = 40
        memory_gb = (Decimal("0.0014") - Decimal("0.0000002")) / Decimal("0.0000166667") / Decimal("22.5")
    yield Figure(
        "2.6",
        "4:99-122",
        "total 0.0087; lambda 0.0014",
        {
            "sum of its parts": sum(parts, Decimal(0)),
            "off by": Decimal("0.0087") - sum(parts),
            "speech": speech,
            "PUT": put,
            "lambda": longer,
            "right": speech + put + longer + gateway,
            "without the gateway": speech + put + longer,
            "GB for 0.0014": rounded(memory_gb, 2),
        },
        "the gateway's line is missing; 0.0014 would be 3.73 GB of memory",
    )
    yield Figure(
        "2.6",
        "4:252",
        "ttl 1736510400",
        {"right": Decimal(1736510400 + 90 * 86_400)},
        "1736510400 is the instant of the call: it would expire at once",
    )
    yield Figure(
        "2.6",
        "4:41, 347-360, 448-450",
        "10/200, 50/1000, 25/500 a day and month; tiers .5/5, 5/50, 50/500",
        {
            **{f"{day} a day for 30 days": Decimal(day) * 30 for day in (10, 50, 25)},
            "the month binds after days": Decimal(200) / 10,
            "of a tier after days": Decimal(50) / 5,
        },
        "a month's limit that a day's limit reaches in 20 (10) days",
    )
    million = {"input_tokens": 10**6, "output_tokens": 10**6}
    yield Figure(
        "2.6",
        "4:137-138",
        "Claude 4 Sonnet 6/30, Titan v2 0.20",
        {
            "Claude 4, a million each way": price("bedrock", "anthropic.claude-sonnet-4-20250514-v1:0", million),
            "Titan v2, a million": price("bedrock", "amazon.titan-embed-text-v2:0", {"input_tokens": 10**6}),
        },
        "published are 3/15 and 0.02",
    )


def between() -> Iterator[Figure]:
    """2.7: seeds 2, 3 and 5, and between seeds."""
    image = price("replicate", "image-operations", {"images": 1}, operation="generateImage")
    yield Figure(
        "2.7",
        "2:190, 203",
        "$50 an hour, $500 a day",
        {
            "9,615 images": 9615 * image,
            "9,616 images": 9616 * image,
            "96,154 images": 96_154 * image,
            "50 for 24 hours": Decimal(50) * 24,
        },
        "above 50 with the 9,616th image; 24 such hours are 1,200",
    )
    banana = price("nanobanana", "nano-banana", {"images": 1})
    yield Figure(
        "2.7",
        "3:317-345",
        "50 a day, 500 a month, 80 %",
        {
            "2,000 images": 2000 * banana,
            "25,000 images": 25_000 * banana,
            "250 images": 250 * banana,
            "50 for 30 days": Decimal(50) * 30,
            "the month binds after days": Decimal(500) / 50,
        },
        "in floats 25,000 × 0.02 stays below 500 and no alert fires",
    )
    story = price("gemini", "gemini", {"input_tokens": 100, "output_tokens": 500})
    script = price("gemini", "gemini", {"input_tokens": 200, "output_tokens": 800})
    steps: list[dict[str, Any]] = [
        {"provider": "google", "service": "gemini", "usage": {"input_tokens": 100, "output_tokens": 500}, "count": 3},
        {"provider": "google", "service": "gemini", "usage": {"input_tokens": 200, "output_tokens": 800}},
        {"provider": "google", "service": "nano-banana", "usage": {"images": 5}},
        {"provider": "elevenlabs", "service": "text-to-speech", "usage": {"characters": 1200}},
    ]
    yield Figure(
        "2.7",
        "3:195-212, 391, 470",
        "calculate_video_cost(3, 5, 1200)",
        {
            "gemini(1000, 500)": price("gemini", "gemini", {"input_tokens": 1000, "output_tokens": 500}),
            "story": story,
            "script": script,
            "video": ledger().estimate_job(steps).total.amount,
            "with 10 %": ledger().estimate_job(steps, margin_percent=10).total.amount,
        },
        "the page prints 0.00015 as 0.0001",
    )
    before, after = Decimal(60) * 2, Decimal(30) * 2
    yield Figure(
        "2.7",
        "5:112",
        "60 days before against 30 after",
        {"before": before, "after": after, "a day before": before / 60, "a day after": after / 30},
        "flat $2 a day reads as 50 % saved; a day it is 0 %",
    )
    upscale = price("replicate", "image-operations", {"images": 1}, operation="upscaleImage")
    yield Figure(
        "2.7",
        "1:206-210 v. 2:34-36; 2:49 v. 3:175",
        "an image 0.003-0.005 and 0.0052, upscaling 0.001-0.003 and 0.0104, Gemini 0.0025 and 0.02",
        {
            "upscaling, times least": rounded(upscale / Decimal("0.003"), 1),
            "upscaling, times most": rounded(upscale / Decimal("0.001"), 1),
            "Gemini, times": banana / price("google", "image-operations", {"images": 1}, operation="generateImage"),
        },
        "two services of one house at prices far apart: both are kept, each with its source",
    )
