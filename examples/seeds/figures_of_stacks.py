"""The tables of infrastructure, of totals and of the pricing sheets: 2.1 to 2.3."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from figures_rated import OHIO, Figure, month, price, rounded, videos


def infrastructure() -> Iterator[Figure]:
    """2.1: seed 1's table of infrastructure."""
    hour = price("aws", "fargate", {"vcpu_hours": 1, "gb_hours": 2}, **OHIO)
    half = ("resource.backend.hours_a_day", 12)
    fargate, part = month(row="ECS Fargate"), month(half, row="ECS Fargate")
    database = month(row="RDS PostgreSQL")
    yield Figure(
        "2.1",
        "1:33, 50-67",
        "$12.71, ~$12.26, $147.12 a year",
        {
            "instance": price("aws", "rds", {"instance_hours": 730}, instance="db.t4g.micro", **OHIO),
            "storage": price("aws", "rds", {"gb_months": 20}, **OHIO),
            "month": database,
            "year": database * 12,
        },
        "12.41 + 2.30 is 14.71",
    )
    cache_month = month(row="ElastiCache Redis")
    yield Figure(
        "2.1",
        "1:34, 74-76",
        "~$11.52",
        {"month": cache_month, "year": cache_month * 12, "of 720 hours at 0.016": Decimal("0.016") * 720},
        "11.52 is another price for another month",
    )
    yield Figure(
        "2.1",
        "1:35, 79-137",
        "$14.88 for 24/7; 15, 18, 27, 36.04",
        {
            "hour": hour,
            "24/7": fargate,
            "12 hours a day": part,
            "mean": (fargate + part) / 2,
            "hours in 14.88": rounded(Decimal("14.88") / hour, 1),
            "% of the month": rounded(Decimal("14.88") / fargate * 100, 2),
        },
        "14.88 pays for 301 of 730 hours",
    )
    four, five = (price("aws", "s3", {"gb_months": gb}, **OHIO) for gb in (4, 5))
    watching = price("aws", "s3", {"object_months": 1000}, storage_class="intelligent_tiering", **OHIO)
    yield Figure(
        "2.1",
        "1:36, 139-154",
        "~5GB $0.12, heading $0.62; 1000 × 0.0025",
        {
            "4 GB, as the prefixes sum": four,
            "5 GB": five,
            "Intelligent-Tiering": watching,
            "4 GB and it": four + watching,
            "5 GB and it": five + watching,
        },
        "0.62 is storage and requests; the fee is per 1,000 objects (as written it would be 2.50)",
    )
    requests = month(row="S3 requests")
    yield Figure(
        "2.1",
        "1:37, 162-176",
        "~100K PUT/GET, $0.50",
        {
            "PUT": price("aws", "s3", {"put_requests": 10_000}, **OHIO),
            "GET": price("aws", "s3", {"get_requests": 50_000}, **OHIO),
            "month": requests,
            "times too much": rounded(Decimal("0.50") / requests, 2),
            "100K PUT": price("aws", "s3", {"put_requests": 100_000}, **OHIO),
            "100K GET": price("aws", "s3", {"get_requests": 100_000}, **OHIO),
        },
        "a margin belongs on a line of its own",
    )
    yield from transfer_and_totals()


def transfer_and_totals() -> Iterator[Figure]:
    """The rest of 2.1: logs, transfer, sums."""
    half = ("resource.backend.hours_a_day", 12)
    yield Figure(
        "2.1",
        "1:39, 179-188",
        "$2.53 and $2.50",
        {
            "ingested": month(row="CloudWatch logs"),
            "with 5 GB free": month(row="CloudWatch logs", free=True),
            "kept 7 days, uncompressed": month(("resource.logs.retention_days", 7), row="CloudWatch logs")
            - month(row="CloudWatch logs"),
        },
        "the 0.03 has no line; 5 GB a month are free",
    )
    yield Figure(
        "2.1",
        "1:40, 198",
        "10GB = $0.90 and $0.09/GB after 100GB",
        {
            "list": month(row="Data transfer"),
            "with 100 GB free": month(row="Data transfer", free=True),
            "42.76 with it and the alarms again": Decimal("42.76")
            + month(row="Data transfer")
            + month(row="CloudWatch alarms"),
        },
        "its own allowance makes it free; it stands in both tables",
    )
    alarms = month(row="CloudWatch alarms")
    total, part = month(), month(half)
    yield Figure(
        "2.1",
        "1:46, 200",
        "$42.76 a month, $513.12 a year; target $40-50",
        {
            "its own figures with 5 alarms": Decimal("42.76") + alarms,
            "24/7": total - alarms,
            "with alarms": total,
            "year": total * 12,
            "12 hours a day": part - alarms,
            "12 hours a day, with alarms": part,
        },
        "40-50 holds only at 12 hours a day; 24/7 breaks the $60 budget",
    )
    aurora = price("aws", "aurora", {"acu_hours": Decimal("0.5") * 730}, **OHIO)
    yield Figure("2.1", "1:439", "$43.20", {"month": aurora}, "43.20 is 720 hours; the page has 730")


def totals() -> Iterator[Figure]:
    """2.2: Replicate, totals and the CSV rows."""
    low, high = videos(1)
    spans = {count: videos(count) for count in (100, 500, 1000)}
    yield Figure(
        "2.2",
        "1:212-217",
        "$0.05-0.12; 5-12, 25-60, 50-120",
        {
            "low": low,
            "high": high,
            **{
                f"{count} {end}": one
                for count, span in spans.items()
                for end, one in zip(("low", "high"), span, strict=True)
            },
        },
        "rounded before it was multiplied",
    )
    yield Figure(
        "2.2",
        "1:231-234",
        "47-62, 67-110, 92-170",
        {
            **{
                f"{count} {end}": base + one
                for count, span in spans.items()
                for end, base, one in zip(("low", "high"), (Decimal(42), Decimal(50)), span, strict=True)
            },
            "100 low on the right base": month() + spans[100][0],
            "100 high on the right base": month() + spans[100][1],
        },
        "sums of rounded sums",
    )
    cloud = [Decimal(one) for one in ("0.49", "0.41", "0.38", "0.02", "0.08")]
    runs = price("replicate", "stable-diffusion-xl", {"runs": 9}), price("replicate", "animate-diff", {"runs": 4})
    yield Figure(
        "2.2",
        "1:248 v. 301-307",
        "AWS $1.42, Replicate $0.45, 8 videos",
        {
            "AWS": sum(cloud, Decimal(0)),
            "Replicate": sum(runs, Decimal(0)),
            "videos by images": Decimal(9) / 3,
            "by clips": Decimal(4) / 2,
        },
        "the rows of the CSV are another day's",
    )
    day = price("aws", "rds", {"instance_hours": 24}, instance="db.t4g.micro", **OHIO)
    stored = price("aws", "rds", {"gb_months": 20}, **OHIO)
    gb_hour = price("aws", "s3", {"gb_hours": 730}, **OHIO) / 730
    yield Figure(
        "2.2",
        "1:301-307",
        "0.49, 0.41, 0.02 for 0.5 GB-hours, 0.38, 0.08, 0.045, 0.12",
        {
            "ECS": price("aws", "fargate", {"vcpu_hours": 24, "gb_hours": 48}, **OHIO),
            "RDS": day,
            "with storage": rounded(day + stored * 24 / 730, 12),
            "S3": price("aws", "s3", {"gb_hours": Decimal("0.5")}, **OHIO),
            "GB-hours in 0.02": rounded(Decimal("0.02") / gb_hour, 2),
            "5 GB a day": rounded(gb_hour * 120, 5),
            "cache": price("aws", "elasticache", {"instance_hours": 24}, instance="cache.t4g.micro", **OHIO),
            "logs": price("aws", "cloudwatch", {"gb_ingested": Decimal("0.16")}, **OHIO),
            "images": runs[0],
            "clips": runs[1],
        },
        "0.49 is a day of 14.88 / 30; the last four are right",
    )


def sheets() -> Iterator[Figure]:
    """2.3: seed 1's three sheets."""
    days = (("1.42", "0.45", 8), ("1.45", "1.20", 20), ("1.40", "0.30", 5))
    yield Figure(
        "2.3",
        "1:248-252",
        "0.23, 0.13, 0.34; 0.20 for 250 videos",
        {
            **{f"day {at}": (Decimal(aws) + Decimal(ai)) / count for at, (aws, ai, count) in enumerate(days, 1)},
            "month": Decimal("51.00") / 250,
            "with sheet 2's 42.76": Decimal("51.26") / 250,
            "Replicate a video": Decimal("8.50") / 250,
            "250 videos at the least": videos(250)[0],
            "and at the most": videos(250)[1],
        },
        "8.50 for 250 is below the page's own least price of 0.052",
    )
    actual = [Decimal(one) for one in ("12.26", "11.52", "14.88", "0.62", "2.53", "0.95")]
    budget = [Decimal(one) for one in ("12.50", "12.00", "15.00", "2.00", "3.00", "1.00")]
    names = ("RDS", "cache", "ECS", "S3", "logs", "other")
    shares = {name: rounded(one / sum(actual) * 100, 1) for name, one in zip(names, actual, strict=True)}
    yield Figure(
        "2.3",
        "1:258-264",
        "28.8, 27.0, 34.9, 1.5, 5.9, 2.2 = 100 %",
        {**shares, "sum": sum(shares.values(), Decimal(0))},
        "the page's add up to 100.3; right ones to 99.9, by rounding",
    )
    yield Figure(
        "2.3",
        "1:258-267",
        "−0.24 … −4.24, and 7.24 under",
        {
            **{name: is_ - planned for name, is_, planned in zip(names, actual, budget, strict=True)},
            "AWS": sum(actual, Decimal(0)) - sum(budget, Decimal(0)),
            "Replicate": Decimal("8.50") - Decimal("10.00"),
            "all": sum(actual, Decimal("8.50")) - sum(budget, Decimal(10)),
        },
        "right; but one sheet calls under negative and the other positive: here actual − budget",
    )
    yield Figure(
        "2.3",
        "1:275-285",
        "14.5 %, 29.2 %, 17.3 % under",
        {
            "AWS %": rounded((50 - Decimal("42.76")) / 50 * 100, 4),
            "Replicate %": rounded((12 - Decimal("8.50")) / 12 * 100, 4),
            "all %": rounded((62 - Decimal("51.26")) / 62 * 100, 4),
            "budget of sheet 2": sum(budget, Decimal(10)),
            "budget of sheet 3": Decimal(62),
        },
        "right; but the month has three budgets, 55.50, 62.00 and 60",
    )
    so_far = Decimal("1.65") * 15
    yield Figure(
        "2.3",
        "1:288-292",
        "51.26 + 1.65 × 15 = $76.01, over by $14.01",
        {
            "as written": Decimal("51.26") + so_far,
            "days in 51.26": rounded(Decimal("51.26") / Decimal("1.65"), 2),
            "15 days at 1.65": so_far * 2,
            "under by": 62 - so_far * 2,
            "if 51.26 is 15 days": Decimal("51.26") * 2,
            "over by": Decimal("51.26") * 2 - 62,
        },
        "51.26 is already a whole month",
    )
    yield Figure(
        "2.3",
        "1:364, 778, 863",
        "$2 a day = ~$60; alarm $3 a day; $5 a day and $100 a month",
        {
            "2 a day": Decimal(2) * 30,
            "3 a day": Decimal(3) * 30,
            "5 a day": Decimal(5) * 30,
            "the month binds on day": Decimal(100) / 5,
        },
        "three daily limits, three months",
    )
