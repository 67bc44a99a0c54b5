"""Exported bills come in by file: every digit kept, nothing lost, nothing twice, whatever the form."""

from __future__ import annotations

import csv
import gzip
import io
import json
from decimal import Decimal
from pathlib import Path

import pyarrow
import pyarrow.csv
import pyarrow.parquet

import outlay
from outlay.capture.lines import BadLine
from outlay.faces.bills.booking import Booking, book_body, book_tables
from outlay.faces.bills.deliveries import delivered, read_json

FOCUS_COLUMNS = (
    "BilledCost,BillingAccountId,BillingCurrency,BillingPeriodEnd,BillingPeriodStart,ChargeCategory,ChargePeriodEnd,"
    "ChargePeriodStart,ConsumedQuantity,ConsumedUnit,ListCost,ServiceProviderName,ResourceId,ServiceName,SkuMeter,Tags"
)
CUR = (
    "identity_line_item_id,identity_time_interval,bill_billing_period_start_date,bill_payer_account_id,"
    "line_item_usage_account_id,line_item_line_item_type,line_item_usage_start_date,line_item_usage_end_date,"
    "line_item_product_code,line_item_usage_type,line_item_usage_amount,pricing_unit,line_item_unblended_cost,"
    "line_item_currency_code,line_item_resource_id,bill_billing_entity,resource_tags,line_item_iam_principal"
)
LEGACY = (
    "identity/LineItemId,identity/TimeInterval,bill/BillingPeriodStartDate,bill/PayerAccountId,"
    "lineItem/UsageAccountId,lineItem/LineItemType,lineItem/UsageStartDate,lineItem/UsageEndDate,"
    "lineItem/ProductCode,lineItem/UsageType,lineItem/UsageAmount,pricing/unit,lineItem/UnblendedCost,"
    "lineItem/CurrencyCode,lineItem/ResourceId,bill/BillingEntity,resourceTags/user:project"
)


def cur_row(
    id: str, start: str, cost: str, *, kind: str = "Usage", product: str = "AmazonRDS", tags: str = "{}"
) -> str:
    end = f"{start[:11]}{int(start[11:13]) + 1:02d}:00:00Z"
    quoted = '"' + tags.replace('"', '""') + '"'
    return (
        f"{id},{start}/{end},2026-03-01T00:00:00Z,111,222,{kind},{start},{end},{product},InstanceUsage:db.t3,1,Hrs,"
        f"{cost},USD,db-1,AWS,{quoted},arn:aws:iam::222:user/ana"
    )


def focus_row(day: str, cost: str, *, resource: str = "r1", service: str = "Amazon RDS", tags: str = "") -> str:
    quoted = '"' + tags.replace('"', '""') + '"'
    return (
        f"{cost},acct,USD,2026-04-01T00:00:00Z,2026-03-01T00:00:00Z,Usage,{day}T01:00:00Z,{day}T00:00:00Z,1,Hours,"
        f"{cost},AWS,{resource},{service},,{quoted}"
    )


def read_csv(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text("utf-8-sig"))))


class Taken:
    """What taking a bill in did."""

    def __init__(self, ledger: outlay.Ledger, address: Path | str, **how: str) -> None:
        self.bad: list[BadLine] = []
        booking = Booking(reject=self.bad.append, advance=lambda step: None, **how)  # type: ignore[arg-type]  # text
        with delivered(str(address)) as found:
            [self.statement] = book_tables(ledger, found.tables, found.whole, booking)


def total(ledger: outlay.Ledger) -> Decimal:
    return ledger.costs().total.amount


def test_the_real_focus_sample_comes_in_to_the_last_digit(memory: outlay.Ledger, data_folder: Path) -> None:
    sample = data_folder / "focus" / "FOCUS-1.0" / "focus_sample.csv"
    rows = read_csv(sample)
    taken = Taken(memory, sample)
    assert (taken.statement.rows, taken.bad) == (1_000, [])
    assert total(memory) == sum(Decimal(row["BilledCost"]) for row in rows)
    kept = list(memory.statement_rows(taken.statement.statement))
    for column in ("BilledCost", "EffectiveCost", "ListUnitPrice", "PricingQuantity", "ConsumedQuantity", "SkuId"):
        assert [row[column] for row in kept] == [row[column] for row in rows]
    assert "Tags" not in kept[0]  # tags may name a person: they are kept where they can be forgotten
    assert memory.costs(where={"tag.application": "BrightLensMatrix"}).events > 0
    assert Taken(memory, sample).statement.known == 1_000
    assert memory.audit().ok


def test_the_specifications_examples_come_in_but_for_two_rows_whose_end_is_no_time(data_folder: Path) -> None:
    files = [
        path
        for folder in ("spec-draft-ai", "spec-1.2-examples")
        for path in (data_folder / "focus" / folder).rglob("*.csv")
    ]
    assert len(files) == 31
    rejected = []
    for path in sorted(files):
        rows = read_csv(path)
        with outlay.open("memory:") as ledger:
            taken = Taken(ledger, path, provider="acme")
            assert taken.statement.rows + len(taken.bad) == len(rows)
            rejected += [(bad.code, "T30:00:00Z" in bad.raw) for bad in taken.bad]
            if not taken.bad:  # some are written by a spreadsheet: $10,000.00 on 4/1/25
                sums = (Decimal(row["BilledCost"].strip().replace("$", "").replace(",", "")) for row in rows)
                assert total(ledger) == sum(sums)
    assert rejected == [("bad_date", True)] * 2


def test_gzip_and_parquet_say_what_the_csv_said(memory: outlay.Ledger, tmp_path: Path) -> None:
    text = "\n".join([FOCUS_COLUMNS, focus_row("2026-03-01", "0.123456789012"), focus_row("2026-03-02", "2")]) + "\n"
    (tmp_path / "a.csv").write_text(text)
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(text.encode()))
    types = {"BilledCost": pyarrow.decimal128(20, 12), "ConsumedQuantity": pyarrow.float64()}
    table = pyarrow.csv.read_csv(tmp_path / "a.csv", convert_options=pyarrow.csv.ConvertOptions(column_types=types))
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    first = Taken(memory, tmp_path / "a.csv").statement
    packed, columns = Taken(memory, tmp_path / "a.csv.gz").statement, Taken(memory, tmp_path / "a.parquet").statement
    assert (first.charged, packed.known, columns.known) == (2, 2, 2)
    assert total(memory) == Decimal("2.123456789012")


def test_a_bad_row_is_kept_whole_and_the_rest_goes_on(memory: outlay.Ledger, tmp_path: Path) -> None:
    good, day = focus_row("2026-03-01", "1"), "2026-03-01"
    bad = [
        focus_row(day, "NaN"),
        focus_row(day, ""),
        focus_row("2026-13-01", "1"),
        good + ",one more",
        '"a quote that opens',
        focus_row(day, "1" * 60),
    ]
    (tmp_path / "bill.csv").write_text("\n".join([FOCUS_COLUMNS, *bad, good]) + "\n")
    taken = Taken(memory, tmp_path / "bill.csv")
    told = [(each.line, each.code) for each in taken.bad]
    assert told == [
        (2, "missing_field"),
        (3, "missing_field"),
        (4, "bad_date"),
        (5, "bad_csv"),
        (6, "bad_csv"),
        (7, "infinite_amount"),
    ]
    assert [each.raw for each in taken.bad] == bad
    assert (taken.statement.rows, total(memory)) == (1, Decimal(1))


def test_tags_become_whom_a_cost_is_for(memory: outlay.Ledger, tmp_path: Path) -> None:
    tags = json.dumps({"user:Project": "video", "Team": "media", "cost-center": "42"})
    (tmp_path / "bill.csv").write_text("\n".join([FOCUS_COLUMNS, focus_row("2026-03-01", "3", tags=tags)]) + "\n")
    Taken(memory, tmp_path / "bill.csv")
    [row] = memory.costs(("project", "team", "tag.cost-center", "tag.resource"))
    assert row.keys == ("video", "media", "42", "r1")


def test_a_delivery_replaces_the_one_before_and_a_later_days_file_does_not(
    memory: outlay.Ledger, tmp_path: Path
) -> None:
    first = [
        focus_row("2026-03-01", "1"),
        focus_row("2026-03-02", "2", resource="gone"),
        focus_row("2026-03-02", "3"),
    ]
    again = [focus_row("2026-03-01", "1"), focus_row("2026-03-02", "3.5")]
    (tmp_path / "first.csv").write_text("\n".join([FOCUS_COLUMNS, *first]) + "\n")
    (tmp_path / "again.csv").write_text("\n".join([FOCUS_COLUMNS, *again]) + "\n")
    (tmp_path / "day3.csv").write_text("\n".join([FOCUS_COLUMNS, focus_row("2026-03-03", "7")]) + "\n")
    Taken(memory, tmp_path / "first.csv")
    restated = Taken(memory, tmp_path / "again.csv").statement
    assert (restated.known, restated.restated, restated.reversed) == (1, 1, 1)
    assert total(memory) == Decimal("4.5")
    assert Taken(memory, tmp_path / "day3.csv").statement.charged == 1
    assert total(memory) == Decimal("11.5")
    back = Taken(memory, tmp_path / "day3.csv", restates="period").statement
    assert back.known == 1


def test_a_charge_that_was_taken_back_may_come_back(memory: outlay.Ledger, tmp_path: Path) -> None:
    both = [FOCUS_COLUMNS, focus_row("2026-03-01", "1"), focus_row("2026-03-01", "2", resource="r2")]
    for name, lines in (("a", both), ("b", both[:2]), ("c", [*both, focus_row("2026-03-01", "0", resource="r3")])):
        (tmp_path / f"{name}.csv").write_text("\n".join(lines) + "\n")
        Taken(memory, tmp_path / f"{name}.csv")
    assert total(memory) == 3
    assert memory.audit().ok


def test_a_cost_and_usage_report_uses_each_line_once(memory: outlay.Ledger, tmp_path: Path) -> None:
    rows = [
        cur_row("a", "2026-03-01T00:00:00Z", "0.017", tags='{"user_project": "video"}'),
        cur_row("a", "2026-03-01T01:00:00Z", "0.017", tags='{"user_project": "video"}'),
        cur_row("a", "2026-03-01T01:00:00Z", "0.017", tags='{"user_project": "video"}'),
        cur_row("b", "2026-02-27T05:00:00Z", "0.50"),  # late: used in February, on the invoice of March
        cur_row("c", "2026-03-01T00:00:00Z", "-0.01", kind="Credit"),
    ]
    (tmp_path / "cur.csv").write_text("\n".join([CUR, *rows]) + "\n")
    taken = Taken(memory, tmp_path / "cur.csv")
    assert (taken.statement.rows, taken.statement.repeated) == (4, (4,))
    assert total(memory) == Decimal("0.524")
    by_month = {row.keys[0]: row.cost.amount for row in memory.costs("month", zone="UTC")}
    assert by_month == {"2026-02": Decimal("0.50"), "2026-03": Decimal("0.024")}
    assert memory.costs(where={"project": "video"}).total.amount == Decimal("0.034")
    [kept] = {row["line_item_product_code"] for row in memory.statement_rows(taken.statement.statement)}
    assert kept == "AmazonRDS"
    assert all("iam" not in name for row in memory.statement_rows(taken.statement.statement) for name in row)


def test_a_manifest_says_which_files_are_the_delivery(memory: outlay.Ledger, tmp_path: Path) -> None:
    folder = tmp_path / "report" / "20260301-20260401"
    for assembly, cost in (("old", "9"), ("new", "0.4")):
        (folder / assembly).mkdir(parents=True)
        start, end = "2026-03-01T00:00:00Z", "2026-03-01T01:00:00Z"
        row = f"x,i,{start},1,2,Usage,{start},{end},AmazonRDS,t,1,Hrs,{cost},USD,r,AWS,video"
        text = f"{LEGACY}\n{row}\n"
        (folder / assembly / "report-1.csv.gz").write_bytes(gzip.compress(text.encode()))
        manifest = {"reportKeys": [f"report/20260301-20260401/{assembly}/report-1.csv.gz"], "bucket": "b"}
        manifest |= {"billingPeriod": {"start": "20260301T000000.000Z"}}  # type: ignore[dict-item]  # a period too
        (folder / assembly / "report-Manifest.json").write_text(json.dumps(manifest))
    (folder / "report-Manifest.json").write_text((folder / "new" / "report-Manifest.json").read_text())
    taken = Taken(memory, tmp_path)
    assert (taken.statement.rows, total(memory)) == (1, Decimal("0.4"))
    assert memory.costs(where={"project": "video"}).total.amount == Decimal("0.4")


def test_a_bill_of_another_account_or_seller_is_left_alone(memory: outlay.Ledger, tmp_path: Path) -> None:
    for name, account in (("a", "acct"), ("b", "other")):
        (tmp_path / f"{name}.csv").write_text(
            "\n".join([FOCUS_COLUMNS, focus_row("2026-03-01", "1").replace("acct", account)]) + "\n"
        )
        Taken(memory, tmp_path / f"{name}.csv")
    assert total(memory) == 2


def test_cost_explorers_groups_are_summed_over_pages_since_its_total_is_empty(memory: outlay.Ledger) -> None:
    def page(*groups: tuple[str, str]) -> dict[str, object]:
        return {
            "GroupDefinitions": [{"Type": "DIMENSION", "Key": "SERVICE"}],
            "ResultsByTime": [
                {
                    "TimePeriod": {"Start": "2026-03-01", "End": "2026-03-02"},
                    "Total": {},
                    "Groups": [
                        {"Keys": [service], "Metrics": {"UnblendedCost": {"Amount": cost, "Unit": "USD"}}}
                        for service, cost in groups
                    ],
                }
            ],
        }

    body = [page(("Amazon RDS", "0.41"), ("AWS Lambda", "0.0000166667")), page(("Tax", "0.08"))]
    booking = Booking(reject=lambda bad: None, advance=lambda step: None)
    told = book_body(memory, read_json(json.dumps(body)), "explorer.json", booking)
    assert told is not None
    assert (told.charged, total(memory)) == (3, Decimal("0.4900166667"))
    restated = book_body(memory, [page(("Amazon RDS", "0.42"))], "explorer.json", booking)
    assert restated is not None
    assert (restated.restated, restated.reversed, total(memory)) == (1, 2, Decimal("0.42"))
