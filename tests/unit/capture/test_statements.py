"""Bills: the decimal text as received, and every row accounted for."""

from __future__ import annotations

import io
from datetime import date
from decimal import Decimal

import pytest

from outlay.capture.lines import BadLine, contents_of
from outlay.capture.statements import BilledRow, meter_of_unit, provider_of, read_statement
from outlay.errors import InvalidInput

SEED_1_LINES_300_TO_307 = """\
Date,Service,Resource,Cost,Usage,Unit
2025-11-01,ECS,ai-video-backend-service,0.49,24,hours
2025-11-01,RDS,ai-video-db,0.41,24,hours
2025-11-01,ElastiCache,ai-video-redis,0.38,24,hours
2025-11-01,S3,ai-video-prod-bucket,0.02,0.5,GB-hours
2025-11-01,CloudWatch,/ecs/dev/ai-video-backend,0.08,0.16,GB-ingested
2025-11-01,Replicate,stable-diffusion-xl,0.045,9,runs
2025-11-01,Replicate,animate-diff,0.12,4,runs
"""


def read(text: str) -> list[BilledRow | BadLine]:
    return list(read_statement(contents_of(io.BytesIO(text.encode()), "bill.csv")))


def test_the_seeds_bill_keeps_every_digit_and_knows_its_sellers_and_units() -> None:
    rows = [row for row in read(SEED_1_LINES_300_TO_307) if isinstance(row, BilledRow)]
    assert sum(Decimal(row.cost) for row in rows) == Decimal("1.545")  # 0.49+0.41+0.38+0.02+0.08+0.045+0.12
    assert [(row.provider, row.quantity, row.meter) for row in rows] == [
        ("aws", "24", "hours"),
        ("aws", "24", "hours"),
        ("aws", "24", "hours"),
        ("aws", "0.5", "gb_hours"),
        ("aws", "0.16", "gb_ingested"),
        ("replicate", "9", "runs"),
        ("replicate", "4", "runs"),
    ]
    assert rows[5] == BilledRow(
        date=date(2025, 11, 1),
        service="Replicate",
        resource="stable-diffusion-xl",
        cost="0.045",
        quantity="9",
        unit="runs",
        provider="replicate",
        meter="runs",
        line=7,
        raw="2025-11-01,Replicate,stable-diffusion-xl,0.045,9,runs",
    )


def test_columns_may_stand_in_any_order_with_semicolons_and_more_beside() -> None:
    [row] = read(
        "unit;Usage;cost;resource;SERVICE;date;Currency;Provider\nruns;1;-0.50;;Credit;2026-01-02;EUR;acme\n"
    )
    assert isinstance(row, BilledRow)
    assert (row.cost, row.currency, row.provider, row.service) == ("-0.50", "EUR", "acme", "Credit")


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ("2025-13-01,ECS,x,1,1,hours", "bad_date"),
        ("2025-11-01,ECS,x,,1,hours", "missing_field"),
        ("2025-11-01,,x,1,1,hours", "missing_field"),
        ("2025-11-01,ECS,x,NaN,1,hours", "not_a_number"),
        ("2025-11-01,ECS,x,1,many,hours", "not_a_number"),
        ("2025-11-01,ECS,x,0.0000000000001,1,hours", "too_precise"),
        ("2025-11-01,ECS,x,1,1", "bad_csv"),
    ],
)
def test_a_bad_row_is_kept_whole_and_the_next_is_read(row: str, code: str) -> None:
    header = "Date,Service,Resource,Cost,Usage,Unit"
    found = read(f"{header}\n{row}\n2025-11-01,ECS,x,$1,,hours\n")
    rejected, accepted = found
    assert isinstance(rejected, BadLine)
    assert (rejected.line, rejected.code, rejected.raw) == (2, code, row)
    assert isinstance(accepted, BilledRow)
    assert (accepted.cost, accepted.quantity) == ("1", "")


def test_a_file_without_the_six_columns_is_no_statement() -> None:
    with pytest.raises(InvalidInput, match="Date,Service,Resource,Cost,Usage,Unit") as caught:
        read("Date,Service,Cost\n")
    assert caught.value.code == "not_a_statement"


def test_sellers_and_units_are_known_by_their_usual_spellings() -> None:
    names = ("Amazon Elastic Compute", "AWS Lambda", "rds", "S3 Standard", "Route 53", "ElevenLabs", "Nano Banana")
    assert [provider_of(name) for name in names] == ["aws", "aws", "aws", "aws", "aws", "elevenlabs", "google"]
    assert provider_of("Acme Cloud") == "acme-cloud"
    assert provider_of("Acme Cloud", "acme") == "acme"
    assert [meter_of_unit(unit) for unit in ("GB Hours", "gb_months", "furlongs")] == ["gb_hours", "gb_months", None]
