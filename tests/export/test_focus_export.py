"""FOCUS out: rows as the specification's AI examples have them, exact, by its validator, and in again."""

from __future__ import annotations

import csv
import gzip
import io
import json
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import outlay
from outlay.faces.cli.commands import app
from outlay.faces.export.charges import Chosen, Grain, Tally, charges_of
from outlay.faces.export.focus import Account, focus_rows
from outlay.faces.export.focus_columns import CUSTOM, columns_of, kind_of
from outlay.faces.export.sinks import open_sink

sys.path.insert(0, str(Path(__file__).parent.parent.parent / "tools"))

import focus_validator

NUMBERS = ("BilledCost", "EffectiveCost", "ListCost", "ContractedCost", "ConsumedQuantity", "PricingQuantity")
PRICES = ("ListUnitPrice", "ContractedUnitPrice")


def exported(ledger: outlay.Ledger, grain: str = "month", **changes: Any) -> list[dict[str, Any]]:
    tally = Tally()
    charges = charges_of(ledger.events(), Chosen(grain=Grain(grain)), tally, **changes)
    return [dict(row) for row in focus_rows(charges, Account(id="acct-1001", name="Acme Corp", draft=True), tally)]


def run(*arguments: str, exits: int = 0) -> str:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == exits, f"{result.output} {result.exception!r}"
    return result.output


def read(path: Path) -> list[dict[str, str]]:
    data = path.read_bytes()
    text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text, newline="")))


def spend(ledger: outlay.Ledger) -> None:
    """Tokens, a told cost, AWS' own services; over two days."""
    for day in ("08", "08", "09"):
        at = f"2026-03-{day}T10:15:30Z"
        whom: Any = {"customer": "acme", "feature": "story", "project": "p1", "team": "red", "user": "u1", "time": at}
        usage = {"input_tokens": 1_200, "cache_read_tokens": 200, "output_tokens": 321}
        ledger.record(provider="openai", service="gpt-4o", operation="chat", usage=usage, tags={"k": "v"}, **whom)
        ledger.record(
            provider="anthropic", service="claude-sonnet-4-5", usage={"input_tokens": 10, "output_tokens": 5}, **whom
        )
        ledger.record(provider="replicate", service="foo/bar", reported_cost="0.0123", time=at)
        ledger.record(
            provider="aws",
            service="lambda",
            usage={"requests": 1, "gb_seconds": "0.6"},
            conditions={"region": "eu-west-1"},
            time=at,
        )


def bill() -> None:
    """A bill of AWS with all that a row may be for."""
    columns = "BilledCost,ChargeCategory,ChargePeriodStart,ChargePeriodEnd,ProviderName,ServiceName,RegionId"
    day = "2026-03-05T00:00:00Z,2026-03-06T00:00:00Z,AWS,Amazon Simple Storage Service,us-east-2"
    rows = (("9.5", "Usage"), ("-2", "Credit"), ("0.75", "Tax"), ("5", "Purchase"))
    lines = [f"{cost},{category},{day}" for cost, category in rows]
    Path("bill.csv").write_text("\n".join([columns, *lines]) + "\n")
    run("import", "bill.csv")


@pytest.fixture
def mixed(memory: outlay.Ledger) -> outlay.Ledger:
    spend(memory)
    return memory


def test_a_row_is_as_the_specifications_own_example_has_it(memory: outlay.Ledger, data_folder: Path) -> None:
    wanted = read(data_folder / "focus" / "spec-draft-ai" / "per_token_ai_model_api.csv")
    for meter, price in (("input_tokens", "5"), ("output_tokens", "25")):
        memory.add_rate(
            provider="solora", service="solora-saturn-4.8", meter=meter, price=price, per=1_000_000, source="list"
        )
    # Two of the month's many calls, with the example's 8.4 and 2.1 million tokens between them.
    for input_tokens, output_tokens in ((8_000_000, 2_000_000), (400_000, 100_000)):
        usage = {"input_tokens": input_tokens, "output_tokens": output_tokens}
        memory.record(provider="solora", service="solora-saturn-4.8", usage=usage, time="2026-03-05T00:00:00Z")
    rows = exported(memory)
    assert len(rows) == len(wanted) == 2
    for row, example in zip(rows, wanted, strict=True):
        for name in (*NUMBERS, *PRICES):
            assert Decimal(row[name]) == Decimal(example[name]), name
        for name in ("ConsumedUnit", "PricingUnit", "SkuId", "SkuMeter", "SkuPriceId", "PricingCategory"):
            assert row[name] == example[name], name
        for name in (
            "ServiceCategory",
            "ServiceSubcategory",
            "ChargeCategory",
            "ChargeFrequency",
            "BillingAccountId",
        ):
            assert row[name] == example[name], name
        details, told = json.loads(row["SkuPriceDetails"]), json.loads(example["SkuPriceDetails"])
        assert {name: told[name] for name in ("TokenDirection", "TokenCacheAction") if name in told} == {
            name: details[name] for name in ("TokenDirection", "TokenCacheAction") if name in details
        }


def test_cached_input_is_a_row_of_its_own_and_counted_once(mixed: outlay.Ledger) -> None:
    rows = [row for row in exported(mixed) if row["x_Service"] == "gpt-4o"]
    # 3 calls: 1,000 uncached at $2.50, 200 cached at $1.25, 321 out at $10 a million.
    shown = {row["SkuMeter"]: (row["ConsumedQuantity"], row["BilledCost"]) for row in rows}
    assert shown == {
        "Input Tokens": ("3000.0", "0.0075"),
        "Cache Read Input Tokens": ("600.0", "0.00075"),
        "Output Tokens": ("963.0", "0.00963"),
    }
    (cached,) = (row for row in rows if row["SkuMeter"] == "Cache Read Input Tokens")
    assert json.loads(cached["SkuPriceDetails"])["TokenCacheAction"] == "Read"
    assert (cached["SkuId"], cached["SkuPriceId"]) == ("gpt-4o-cache-read", "gpt-4o-cache-read-ondemand")


@pytest.mark.parametrize("grain", list(Grain))
def test_every_grain_sums_to_what_the_ledger_says(mixed: outlay.Ledger, grain: Grain) -> None:
    total = mixed.costs().total.amount
    rows = exported(mixed, grain)
    assert sum(Decimal(row["BilledCost"]) for row in rows) == total
    for row in rows:
        if row.get("ContractedUnitPrice"):
            product = Decimal(row["PricingQuantity"]) * Decimal(row["ContractedUnitPrice"])
            assert product == Decimal(row["ContractedCost"])


def test_few_groups_in_memory_give_the_same_rows_in_the_same_order(mixed: outlay.Ledger) -> None:
    assert exported(mixed, "day", groups_in_memory=2) == exported(mixed, "day")


def test_a_price_in_another_currency_keeps_both(memory: outlay.Ledger) -> None:
    memory.add_exchange_rate(currency="EUR", price="1.25", date="2026-03-01", source="bank")
    memory.add_rate(
        provider="eu", service="m", meter="input_tokens", price="2", per=1_000_000, currency="EUR", source="list"
    )
    memory.record(provider="eu", service="m", usage={"input_tokens": 500_000}, time="2026-03-05T00:00:00Z")
    (row,) = exported(memory)
    shown = {name: row[name] for name in ("BilledCost", "ListUnitPrice", "PricingCurrency")}
    assert shown == {"BilledCost": "1.25", "ListUnitPrice": "2.5", "PricingCurrency": "EUR"}
    assert (row["PricingCurrencyEffectiveCost"], row["PricingCurrencyListUnitPrice"]) == ("1.0", "2.0")


def test_versions_differ_in_who_is_named_and_custom_columns_come_last(mixed: outlay.Ledger) -> None:
    assert len(columns_of("1.2")) - len(CUSTOM) == 57
    assert len(columns_of("1.4")) - len(CUSTOM) == 65
    assert {"ProviderName", "PublisherName"} <= set(columns_of("1.2"))
    assert not {"ProviderName", "PublisherName"} & set(columns_of("1.4"))
    assert {"ServiceProviderName", "HostProviderName", "InvoiceDetailId"} <= set(columns_of("1.4"))
    for version in ("1.2", "1.4"):
        assert all(name.startswith("x_") for name in columns_of(version)[-len(CUSTOM) :])


def test_usage_without_a_price_is_left_out_said_and_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with outlay.open("outlay.db") as ledger:
        ledger.record(provider="openai", service="gpt-4o", usage={"input_tokens": 1_000_000})
        ledger.record(provider="nobody", service="unknown-model", usage={"input_tokens": 5})
    assert "1 calls used what has no price" in run("export", "focus", "f.csv", exits=1)
    (row,) = read(Path("f.csv"))
    assert row["BilledCost"] == "2.5"


def test_without_users_no_name_leaves_the_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with outlay.open("outlay.db") as ledger:
        ledger.record(provider="openai", service="gpt-4o", usage={"input_tokens": 10}, user="ana@example.com")
    run("export", "focus", "f.csv", "--no-users")
    assert "ana@example.com" not in Path("f.csv").read_text()
    run("export", "focus", "f.csv")
    assert "ana@example.com" in Path("f.csv").read_text()


def test_a_file_that_is_not_whole_never_stands(tmp_path: Path) -> None:
    target = tmp_path / "f.csv"
    target.write_text("before")

    def failing() -> Iterator[dict[str, str]]:
        yield {"BilledCost": "1.0"}
        raise ConnectionError

    def write() -> None:
        with open_sink(str(target), columns_of("1.2"), kind_of) as sink:
            for row in failing():
                sink.write(row)

    with pytest.raises(ConnectionError):
        write()
    assert [path.name for path in tmp_path.iterdir()] == ["f.csv"]
    assert target.read_text() == "before"


def test_the_official_validator_finds_only_the_rules_that_contradict_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A null InvoiceId fails InvoiceId-C-005-C, a filled one InvoiceId-C-004-C, so one of them always fails."""
    if focus_validator.find_python() is None:
        pytest.skip("FOCUS' validator needs Python 3.12, which is not on this machine")
    monkeypatch.chdir(tmp_path)
    with outlay.open("outlay.db") as ledger:
        spend(ledger)
    bill()
    with open_sink("all.csv", columns_of("1.2"), kind_of) as sink:
        for grain in Grain:
            run("export", "focus", "some.csv", "--grain", grain, "--account", "acct-1001")
            for row in read(Path("some.csv")):
                sink.write(row)
    verdict = focus_validator.validate(Path("all.csv"))
    assert verdict.checked > 200
    assert set(verdict.failed) == {"InvoiceId-C-005-C"}


@pytest.mark.soak
def test_the_official_validator_sees_what_is_wrong(mixed: outlay.Ledger, tmp_path: Path) -> None:
    if focus_validator.find_python() is None:
        pytest.skip("FOCUS' validator needs Python 3.12, which is not on this machine")
    path = tmp_path / "wrong.csv"
    with open_sink(str(path), columns_of("1.2"), kind_of) as sink:
        for row in exported(mixed, "day"):
            sink.write({**row, "ChargeCategory": "Spending"})
    assert any(rule.startswith("ChargeCategory") for rule in focus_validator.validate(path).failed)


FILES = (
    "FOCUS-1.0/focus_sample.csv",
    "spec-draft-ai/ai_prompt_caching_a.csv",
    "spec-draft-ai/cached_tokens_via_csp_marketplace.csv",
    "spec-draft-ai/multi_model_usage.csv",
    "spec-draft-ai/per_token_ai_model_api.csv",
)


@pytest.mark.parametrize(("version", "form"), [("1.2", "csv"), ("1.4", "csv.gz"), ("1.4", "parquet")])
@pytest.mark.parametrize("name", FILES)
def test_a_bill_goes_in_out_and_in_again_equal_to_the_last_digit(
    data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, version: str, form: str
) -> None:
    monkeypatch.chdir(tmp_path)
    source = data_folder / "focus" / name
    run("import", str(source), "--ledger", "first.db")
    out = f"out.{form}"
    run("export", "focus", out, "--statement", "last", "--focus-version", version, "--ledger", "first.db")
    run("import", out, "--ledger", "second.db")
    received = read(source)
    with outlay.open("first.db") as first, outlay.open("second.db") as second:
        assert first.costs().total == second.costs().total
        again = list(second.statement_rows(second.statements()[-1].id))
    assert len(again) == len(received)
    exact = form != "parquet"
    for row, came in zip(again, received, strict=True):
        for column in (*NUMBERS, *PRICES):
            if column in came and came[column] not in ("", "NULL"):
                assert Decimal(row[column]) == Decimal(came[column]), column
                assert not exact or row[column] == came[column], column
        for column in ("ChargeCategory", "SkuId", "ConsumedUnit", "ServiceName", "ChargeDescription", "SubAccountId"):
            if column in came:
                assert row[column].replace("NULL", "") == came[column].replace("NULL", ""), column


def test_what_was_charged_from_a_bill_is_exported_with_its_sum(
    data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run("import", str(data_folder / "focus" / "FOCUS-1.0" / "focus_sample.csv"))
    run("export", "focus", "out.csv", "--grain", "month")
    with outlay.open("outlay.db") as ledger:
        assert sum(Decimal(row["BilledCost"]) for row in read(Path("out.csv"))) == ledger.costs().total.amount


def test_a_bills_credits_taxes_and_regions_keep_their_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    bill()
    run("export", "focus", "out.csv")
    found = read(Path("out.csv"))
    shown = {row["ChargeCategory"]: (Decimal(row["BilledCost"]), row["RegionId"]) for row in found}
    region = "us-east-2"
    assert shown == {
        "Usage": (Decimal("9.5"), region),
        "Credit": (Decimal(-2), region),
        "Tax": (Decimal("0.75"), region),
        "Purchase": (Decimal(5), region),
    }
    assert [row["EffectiveCost"] for row in found if row["ChargeCategory"] == "Purchase"] == ["0.0"]
    assert all("category" not in json.loads(row["Tags"]) for row in found)
