"""A report as a spreadsheet: the users' three sheets, exact, and nobody's words become a formula."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import outlay
from outlay.analytics.report import Report, Section
from outlay.clock import FrozenClock
from outlay.faces.cli.commands import app
from outlay.faces.reports.workbook import xlsx
from outlay.money import Money

SERVICES = (
    # Of the first users' second sheet: service, budget, actual.
    ("aws", "RDS PostgreSQL", "12.50", "12.26"),
    ("aws", "ElastiCache Redis", "12.00", "11.52"),
    ("aws", "ECS Fargate", "15.00", "14.88"),
    ("aws", "S3", "2.00", "0.62"),
    ("aws", "CloudWatch Logs", "3.00", "2.53"),
    ("aws", "Other AWS", "1.00", "0.95"),
    ("replicate", "Replicate API", "10.00", "8.50"),
)
DAYS = (
    ("01", "1.42", "0.45", 8, "Normal usage"),
    ("02", "1.45", "1.20", 20, "High traffic"),
    ("03", "1.40", "0.30", 5, ""),
)


def spend(ledger: outlay.Ledger, provider: str, service: str, amount: str, **fields: Any) -> None:
    ledger.record(provider=provider, service=service, reported_cost=amount, **fields)


@pytest.fixture
def ledger() -> Iterator[outlay.Ledger]:
    clock = FrozenClock("2025-11-01T12:00:00Z")
    with outlay.open("memory:", clock=clock) as ledger:
        for day, aws, replicate, videos, note in DAYS:
            clock.set(f"2025-11-{day}T12:00:00Z")
            spend(ledger, "aws", "ECS Fargate", aws)
            spend(ledger, "replicate", "Replicate API", replicate, job=f"v{day}")
            ledger.finish(f"v{day}", units=videos)
            if note:
                ledger.note_day(f"2025-11-{day}", note)
        clock.set("2025-11-16T00:00:00Z")
        yield ledger


@pytest.fixture
def planned() -> Iterator[outlay.Ledger]:
    """The second sheet's month, whole."""
    clock = FrozenClock("2025-11-15T12:00:00Z")
    with outlay.open("memory:", clock=clock) as ledger:
        for provider, service, budget, actual in SERVICES:
            spend(ledger, provider, service, actual)
            where = {"provider": provider, "service": service}
            ledger.budget(service.replace(" ", "-"), limit=budget, window="month", where=where)
        clock.set("2025-12-01T08:00:00Z")
        yield ledger


def opened(body: bytes, *, values: bool = True) -> Any:
    return import_module("openpyxl").load_workbook(io.BytesIO(body), data_only=values)


def rows(sheet: Any) -> list[list[Any]]:
    """What stands below the headings, which are in the third row."""
    return [list(row) for row in sheet.iter_rows(min_row=4, values_only=True)]


def headings(sheet: Any) -> list[str]:
    return [cell.value for cell in sheet[3]]


def day(number: int) -> datetime:
    """A date as a cell holds it: without a zone."""
    return datetime.fromisoformat(f"2025-11-{number:02}")


def of(section: Section) -> Report:
    whole = FrozenClock("2025-11-16T00:00:00Z").now()
    return Report(
        title="T", label="l", since=0, until=whole, zone="UTC", whole=True, total=Money(0), sections=(section,)
    )


def test_the_first_sheet_has_days_with_what_was_made_and_the_cost_of_one(ledger: outlay.Ledger) -> None:
    sheet = opened(xlsx(ledger.report("month", running=True)))["Day by day"]
    assert headings(sheet) == ["Date", "Notes", "aws", "replicate", "Others", "Total", "Finished", "Cost of one"]
    assert rows(sheet) == [
        # (1.42 + 0.45) / 8 = 0.23375; the users' document shows 0.23.
        [day(1), "Normal usage", 1.42, 0.45, 0, 1.87, 8, 0.23375],
        [day(2), "High traffic", 1.45, 1.2, 0, 2.65, 20, 0.1325],
        [day(3), None, 1.4, 0.3, 0, 1.7, 5, 0.34],
        ["Total", None, 4.27, 1.95, 0, 6.22, 33, 0.188484848485],
    ]


def test_the_second_sheet_has_each_service_against_its_budget(planned: outlay.Ledger) -> None:
    sheet = opened(xlsx(planned.report("month")))["Services against their budgets"]
    assert headings(sheet) == ["Provider", "Service", "Budget", "Actual", "Variance", "% of total"]
    found = rows(sheet)
    by_service = {row[1]: row for row in found}
    # The document's own variances; its shares are of AWS alone, these of all $51.26: 14.88 is 29.0 %.
    assert by_service["RDS PostgreSQL"][2:5] == [12.5, 12.26, -0.24]
    assert by_service["S3"][2:5] == [2, 0.62, -1.38]
    assert by_service["ECS Fargate"][2:] == [15, 14.88, -0.12, 0.29]
    sums = {row[0]: row for row in found if not row[1]}
    assert sums["aws, all"][2:5] == [45.5, 42.76, -2.74]
    assert sums["Total"][2:] == [55.5, 51.26, -4.24, 1]


def test_services_without_a_budget_are_named_as_far_as_they_matter(planned: outlay.Ledger) -> None:
    planned.clock.set("2025-11-20T00:00:00Z")  # type: ignore[attr-defined]  # It is a FrozenClock.
    for number in range(1, 9):
        spend(planned, "openai", f"model-{number}", str(number))
    report = planned.report("month", running=True)
    found = next(one for one in report.sections if one.name == "services").rows
    # 8, 7, 6, 5, 4 are named; 3 + 2 + 1 are the rest.
    assert [(row[1], str(row[3])) for row in found if row[0] == "openai"] == [
        *((f"model-{number}", f"${number}.00") for number in range(8, 3, -1)),
        ("(other)", "$6.00"),
    ]
    assert [str(row[3]) for row in found if row[0] == "openai, all"] == ["$36.00"]


def test_the_third_sheet_has_budgets_with_their_end_and_a_warning(ledger: outlay.Ledger) -> None:
    ledger.budget("replicate", limit="3", window="month", where={"provider": "replicate"})
    report = ledger.report("month", running=True)
    book = opened(xlsx(report))
    assert book.sheetnames[:4] == [
        "Day by day",
        "Services against their budgets",
        "Budgets against actual",
        "Forecast",
    ]
    (row,) = rows(book["Budgets against actual"])
    expected = next(one.rows[0][6] for one in report.sections if one.name == "budgets")
    assert isinstance(expected, Money)
    assert row[:6] == ["replicate", "2025-11", 3, 1.95, -1.05, -0.35]
    assert Decimal(str(row[6])) == expected.amount


def test_every_figure_of_the_report_is_in_the_workbook_exactly(planned: outlay.Ledger) -> None:
    spend(planned, "openai", "gpt", "1234.567890123")
    report = planned.report("month", running=True)
    book = opened(xlsx(report))
    for sheet, section in zip(
        (book[name] for name in book.sheetnames),
        sorted(report.sections, key=lambda one: book.sheetnames.index(one.title)),
        strict=True,
    ):
        for shown, told in zip(
            rows(sheet), [*section.rows, *([section.total] if section.total else [])], strict=False
        ):
            for cell, value in zip(shown, told, strict=True):
                if isinstance(value, Money):
                    assert Decimal(str(cell)) == value.amount, section.title
                elif isinstance(value, int):
                    assert cell == value


def test_formulas_stand_only_where_they_give_the_value(ledger: outlay.Ledger) -> None:
    body = xlsx(ledger.report("month", running=True))
    formulas = opened(body, values=False)["Day by day"]
    assert [cell.value for cell in formulas[4]][5:] == ["=SUM(C4:E4)", 8, "=F4/G4"]
    assert [cell.value for cell in formulas[7]][2:7] == [
        "=SUM(C4:C6)",
        "=SUM(D4:D6)",
        "=SUM(E4:E6)",
        "=SUM(F4:F6)",
        "=SUM(G4:G6)",
    ]
    # 6.22 / 33 does not end: the cell holds the ledger's own rounding, to 10^-12.
    assert formulas["H7"].value == "=F7/G7"
    values = opened(body)["Day by day"]
    for row in formulas.iter_rows(min_row=4, max_row=7):
        for cell in row:
            if isinstance(cell.value, str) and cell.value.startswith("="):
                assert values[cell.coordinate].value is not None


def test_a_sum_that_a_spreadsheet_would_get_wrong_is_written_as_a_value() -> None:
    amounts = [Money.of("12345678.000000000001"), Money.of("0.000000000002")]
    whole = (("a", amounts[0]), ("b", amounts[1]))
    section = Section(name="x", title="X", columns=("", "Cost"), rows=whole, total=("Total", amounts[0] + amounts[1]))
    cell = opened(xlsx(of(section)), values=False)["X"]["B6"]
    assert not str(cell.value).startswith("=")


@pytest.mark.parametrize(
    "hostile", ["=1+1", "=cmd|'/c calc'!A0", "+1", "-1", "@SUM(A1)", "\t=1", "{=1}", "http://evil.example", "a\x00b"]
)
def test_words_never_become_formulas_or_links(hostile: str) -> None:
    section = Section(name="x", title=hostile, columns=(hostile, "Cost"), rows=((hostile, 1),), note=hostile)
    body = xlsx(of(section))
    sheet = opened(body, values=False).worksheets[0]
    assert sheet["A4"].data_type == "s"
    assert sheet["A4"].value.strip() == hostile.replace("\x00", " ").strip()
    assert all(cell.data_type != "f" for row in sheet.iter_rows() for cell in row)
    assert all(cell.hyperlink is None for row in sheet.iter_rows() for cell in row)
    assert not [name for name in zipfile.ZipFile(io.BytesIO(body)).namelist() if "external" in name.lower()]


def test_titles_become_names_that_a_sheet_may_have() -> None:
    long = Section(name="a", title="By [feature]: and/or * " + "x" * 40, columns=("",), rows=())
    again = Section(name="b", title=long.title, columns=("",), rows=())
    report = of(long)
    two = Report(**{**{name: getattr(report, name) for name in Report.__struct_fields__}, "sections": (long, again)})
    names = opened(xlsx(two)).sheetnames
    assert len(names) == len(set(names)) == 2
    assert all(len(name) <= 31 and not set(name) & set("[]:*?/\\") for name in names)


def test_a_text_longer_than_a_cell_is_cut_and_nothing_is_lost_around_it() -> None:
    section = Section(name="x", title="X", columns=("", "Cost"), rows=(("a" * 40_000, 7),))
    sheet = opened(xlsx(of(section)))["X"]
    assert (len(sheet["A4"].value), sheet["B4"].value) == (32_767, 7)


def test_amounts_are_shown_in_their_currency_with_all_their_digits(ledger: outlay.Ledger) -> None:
    sheet = opened(xlsx(ledger.report("month", running=True)))["Day by day"]
    assert sheet["C4"].number_format == '"$"#,##0.00##########;-"$"#,##0.00##########'


def test_the_same_report_makes_the_same_file(ledger: outlay.Ledger) -> None:
    report = ledger.report("month", running=True)
    assert xlsx(report) == xlsx(report)


def test_the_command_writes_it(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with outlay.open(path) as ledger:
        spend(ledger, "openai", "gpt", "1.5")
    found = CliRunner().invoke(
        app, ["report", "month", "--running", "--ledger", str(path), "--form", "xlsx", "-o", str(tmp_path / "f.xlsx")]
    )
    assert found.exit_code == 0, found.output
    assert "Summary" in opened((tmp_path / "f.xlsx").read_bytes()).sheetnames
