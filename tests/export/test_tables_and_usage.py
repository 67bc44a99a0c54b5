"""The daily CSV, Parquet for BI, and what customers are billed."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import outlay
from outlay.errors import InvalidInput
from outlay.faces.cli.commands import app
from outlay.faces.export.charges import decimal_text
from outlay.faces.export.sinks import parquet_decimal
from outlay.faces.export.usage import _rounded, read_markup

SEED = """Date,Service,Resource,Cost,Usage,Unit
2025-11-01,CloudWatch,/ecs/dev/ai-video-backend,0.08,0.16,GB-ingested
2025-11-01,ECS,ai-video-backend-service,0.49,24,hours
2025-11-01,ElastiCache,ai-video-redis,0.38,24,hours
2025-11-01,RDS,ai-video-db,0.41,24,hours
2025-11-01,Replicate,animate-diff,0.12,4,runs
2025-11-01,Replicate,stable-diffusion-xl,0.045,9,runs
2025-11-01,S3,ai-video-prod-bucket,0.02,0.5,GB-hours
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str, exits: int = 0) -> str:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == exits, f"{result.output} {result.exception!r}"
    return result.stdout


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_the_daily_csv_gives_back_what_it_was_imported_from(folder: Path) -> None:
    (folder / "bill.csv").write_text(SEED)
    run("import", "bill.csv")
    assert run("export", "csv") == SEED


def test_calls_are_a_row_a_day_model_and_unit(folder: Path) -> None:
    with outlay.open("outlay.db") as ledger:
        for hour in ("08", "09"):
            ledger.record(
                provider="replicate",
                service="animate-diff",
                usage={"runs": 2},
                reported_cost="0.06",
                time=f"2025-11-01T{hour}:00:00Z",
            )
    assert run("export", "csv").splitlines()[1:] == ["2025-11-01,Replicate,animate-diff,0.12,4,runs"]


def test_parquet_holds_every_line_with_exact_decimals(folder: Path) -> None:
    with outlay.open("outlay.db") as ledger:
        ledger.record(
            provider="openai",
            service="gpt-4o-mini",
            usage={"input_tokens": 7, "output_tokens": 3},
            customer="acme",
            tags={"k": "v"},
            time="2026-03-05T10:00:00Z",
        )
        total = ledger.costs().total.amount
    run("export", "parquet", "lines.parquet")
    table = pyarrow.parquet.read_table("lines.parquet")
    found = table.to_pylist()
    assert sum(row["cost"] for row in found) == total
    # 7 × 0.15 / 10⁶
    assert [row["cost"] for row in found if row["meter"] == "input_tokens"] == [Decimal("0.00000105")]
    assert {row["customer"] for row in found} == {"acme"}
    assert json.loads(found[0]["tags"]) == {"k": "v"}
    run("export", "parquet", "days.parquet", "--by", "day,service")
    (day,) = pyarrow.parquet.read_table("days.parquet").to_pylist()
    assert (day["day"], day["service"], day["cost"]) == ("2026-03-05", "gpt-4o-mini", total)


def test_a_decimal_that_parquet_cannot_hold_is_refused_not_rounded() -> None:
    assert parquet_decimal("0.000000000000000001") == Decimal("1E-18")
    with pytest.raises(InvalidInput, match="more than 18"):
        parquet_decimal("0.0000000000000000001")


@given(st.decimals(allow_nan=False, allow_infinity=False, places=12, min_value=-(10**9), max_value=10**9))
def test_a_number_is_written_in_full_and_reads_as_itself(value: Decimal) -> None:
    text = decimal_text(value)
    assert Decimal(text) == value
    assert "E" not in text
    assert "." in text


def used(folder: Path) -> None:
    """Three thirds of a cent for acme, a cent for zeta, one call of nobody's."""
    with outlay.open("outlay.db") as ledger:
        for service in ("m1", "m2", "m3"):
            ledger.record(
                provider="p", service=service, reported_cost="0.0033333", customer="acme", time="2026-03-05T10:00:00Z"
            )
        for customer in ("zeta", None):
            ledger.record(
                provider="p", service="m1", reported_cost="0.01", customer=customer, time="2026-03-06T10:00:00Z"
            )


def test_what_is_invoiced_adds_up_and_a_markup_is_per_customer(folder: Path) -> None:
    used(folder)
    found = rows(run("export", "usage", "--markup", "20", "--markup", "zeta=50%"))
    acme = [row for row in found if row["Customer"] == "acme"]
    # 3 × 0.0033333 × 1.2 = 0.01199988 → 0.01: one row bears the cent.
    assert [row["Price"] for row in acme] == ["0.00399996"] * 3
    assert sorted(row["Amount"] for row in acme) == ["0.00", "0.00", "0.01"]
    (zeta,) = (row for row in found if row["Customer"] == "zeta")
    assert (zeta["Price"], zeta["Amount"], zeta["MarkupPercent"]) == ("0.015", "0.02", "50")
    assert sum(Decimal(row["Cost"]) for row in found) == Decimal("0.0299999")


@given(st.lists(st.integers(min_value=0, max_value=10**13), min_size=1, max_size=20), st.sampled_from((0, 2, 3)))
def test_rounded_rows_sum_to_the_rounded_sum(prices: list[int], decimals: int) -> None:
    unit = 10 ** (12 - decimals)
    found = _rounded(prices, decimals)
    assert sum(found) == round(Decimal(sum(prices)) / unit)
    assert all(abs(each * unit - price) < unit for each, price in zip(found, prices, strict=True))


def test_cloudevents_have_an_id_that_a_second_sending_bears_again(folder: Path) -> None:
    used(folder)
    first = [json.loads(line) for line in run("export", "usage", "--cloudevents", "--markup", "20").splitlines()]
    second = [json.loads(line) for line in run("export", "usage", "--cloudevents", "--markup", "20").splitlines()]
    assert first == second
    assert len({each["id"] for each in first}) == len(first) == 4
    event = first[0]
    assert (event["specversion"], event["type"], event["subject"]) == ("1.0", "outlay.usage", "acme")
    assert event["time"] == "2026-03-31T23:59:59Z"
    assert (event["data"]["cost"], event["data"]["price"]) == ("0.0033333", "0.00399996")


def test_stripe_events_are_as_its_api_takes_them(folder: Path) -> None:
    used(folder)
    (folder / "ids.csv").write_text("customer,stripe_customer_id\nacme,cus_1\nzeta,cus_2\n")
    lines = run("export", "usage", "--stripe", "ai_usage", "--customers", "ids.csv", "--markup", "100").splitlines()
    found = [json.loads(line) for line in lines]
    assert {each["event_name"] for each in found} == {"ai_usage"}
    # acme: 3 × 0.0033333 × 2 = 0.0199998 → 2 cents, zeta: 2 cents. Stripe takes whole numbers as text.
    by: dict[str, int] = {}
    for each in found:
        payload = each["payload"]
        by[payload["stripe_customer_id"]] = by.get(payload["stripe_customer_id"], 0) + int(payload["value"])
        assert isinstance(each["timestamp"], int)
        assert len(each["identifier"]) <= 100
    assert by == {"cus_1": 2, "cus_2": 2}


def test_a_period_that_goes_on_is_sent_to_nobody_yet(folder: Path) -> None:
    with outlay.open("outlay.db") as ledger:
        ledger.record(provider="p", service="s", reported_cost="1", customer="acme")
    assert run("export", "usage", "--cloudevents") == ""
    assert len(rows(run("export", "usage"))) == 1


@pytest.mark.parametrize("text", ["x", "-101", "1.23456", "acme=", "nan"])
def test_a_markup_that_cannot_be_right_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        read_markup([text])


MANY = """
import resource, sys, outlay
from msgspec.structs import replace
from outlay.faces.export.charges import Chosen, Grain, Tally, charges_of
from outlay.faces.export.focus import Account, focus_rows
from outlay.faces.export.focus_columns import columns_of, kind_of
from outlay.faces.export.sinks import open_sink
count, grain, name = int(sys.argv[1]), sys.argv[2], sys.argv[3]
with outlay.open("memory:") as ledger:
    usage = {"input_tokens": 9, "output_tokens": 4}
    ledger.record(provider="openai", service="gpt-4o", usage=usage, time="2026-03-05T10:00:00Z", customer="c")
    (one,) = ledger.events()
    def receipts():
        for number in range(count // 2):
            at = one.event.occurred_from + number * 1_000_000
            yield replace(one, event=replace(one.event, id=f"e{number}", occurred_from=at, occurred_to=at))
    tally = Tally()
    charges = charges_of(receipts(), Chosen(grain=Grain(grain)), tally, groups_in_memory=20_000)
    with open_sink(name, columns_of("1.4"), kind_of) as sink:
        for row in focus_rows(charges, Account(), tally):
            sink.write(row)
print(tally.rows, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def written(folder: Path, count: int, grain: str, name: str) -> tuple[int, int]:
    """Rows, and the most MB that the process held."""
    done = subprocess.run(
        [sys.executable, "-c", MANY, str(count), grain, str(folder / name)],
        check=True,
        capture_output=True,
        text=True,
    )
    found, held = map(int, done.stdout.split())
    return found, held


@pytest.mark.parametrize("name", ["many.csv.gz", "many.parquet"])
def test_many_rows_are_written_as_they_come(folder: Path, name: str) -> None:
    few, many = written(folder, 2, "call", name), written(folder, 30_000, "call", name)
    assert many[0] == 30_000
    # A batch of 20,000 rows of Parquet is held at once, of CSV one.
    assert many[1] - few[1] < 150


@pytest.mark.soak
@pytest.mark.timeout(1_200)
@pytest.mark.parametrize(("grain", "name"), [("call", "many.csv"), ("hour", "many.csv"), ("call", "many.parquet")])
def test_a_million_rows_take_bounded_memory(folder: Path, grain: str, name: str) -> None:
    found, held = written(folder, 1_000_000, grain, name)
    assert found == (1_000_000 if grain == "call" else 2 * 139)
    assert held < 500
