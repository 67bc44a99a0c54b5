"""A report says what `costs` says, in every form, and people's words in it stay words."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import outlay
from outlay.analytics.report import Report, Section
from outlay.clock import FrozenClock, to_datetime
from outlay.faces.cli.commands import app
from outlay.faces.reports.forms import csv_text, markdown
from outlay.faces.reports.mail import page


@pytest.fixture
def ledger() -> Iterator[outlay.Ledger]:
    clock = FrozenClock("2026-10-05T12:00:00Z")
    with outlay.open("memory:", clock=clock) as ledger:
        spend(ledger, "aws", "fargate", "8")
        for day, aws, replicate, videos in (("01", "1.42", "0.45", 8), ("02", "1.45", "1.20", 20)):
            clock.set(f"2026-11-{day}T12:00:00Z")
            spend(ledger, "aws", "fargate", aws, user="<b>ana</b>")
            spend(ledger, "replicate", "sdxl", replicate, feature="=video|x", job=f"v{day}")
            ledger.finish(f"v{day}", units=videos)
        ledger.note_day("2026-11-02", "High traffic")
        ledger.budget("aws", limit="2", window="month", where={"provider": "aws"})
        ledger.budget("replicate", limit="12", window="month", where={"provider": "replicate"})
        clock.set("2026-11-11T00:00:00Z")
        yield ledger


def spend(ledger: outlay.Ledger, provider: str, service: str, amount: str, **fields: Any) -> None:
    ledger.record(provider=provider, service=service, reported_cost=amount, **fields)


def section(report: Report, name: str) -> Section:
    return next(one for one in report.sections if one.name == name)


def words(section: Section) -> list[list[str]]:
    return [["" if cell is None else str(cell) for cell in row] for row in section.rows]


def test_every_figure_is_the_one_that_costs_gives(ledger: outlay.Ledger) -> None:
    report = ledger.report("month", running=True)
    span = {"since": "2026-11-01T00:00:00Z", "until": "2026-11-11T00:00:00Z"}
    assert report.total == ledger.costs(**span).total  # type: ignore[arg-type]  # These are two times.
    for by in ("provider", "feature", "user", "job"):
        table = ledger.costs(by, **span)  # type: ignore[arg-type]  # These are two times.
        found = section(report, by)
        assert sorted(row[1].pico for row in found.rows) == sorted(row.amount for row in table.rows)  # type: ignore[union-attr]  # It is money.
        assert found.total is not None
        assert found.total[1] == table.total


def test_the_sheets_of_the_users_documents(ledger: outlay.Ledger) -> None:
    report = ledger.report("month", running=True)
    daily = section(report, "daily")
    # The first sheet: what each provider cost a day, what was finished, the cost of one, and the notes.
    assert daily.columns == ("Date", "Notes", "aws", "replicate", "Others", "Total", "Finished", "Cost of one")
    assert words(daily) == [
        ["2026-11-01", "", "$1.42", "$0.45", "$0.00", "$1.87", "8", "$0.23375"],
        ["2026-11-02", "High traffic", "$1.45", "$1.20", "$0.00", "$2.65", "20", "$0.1325"],
    ]
    # The second: shares and changes by service; ten days of October cost $8 for Fargate.
    assert words(section(report, "provider,service")) == [
        ["aws", "fargate", "$2.87", "63.5", "-$5.13", "-64.1", "2"],
        ["replicate", "sdxl", "$1.65", "36.5", "$1.65", "", "2"],
    ]
    # The third: budgets against actual. Of eight days nothing was spent, so nothing more is expected.
    assert words(section(report, "budgets")) == [
        ["aws", "2026-11", "$2.00", "$2.87", "$0.87", "43.5", "$2.87", "over by $0.87"],
        ["replicate", "2026-11", "$12.00", "$1.65", "-$10.35", "-86.2", "$1.65", ""],
    ]
    assert words(section(report, "forecast"))[:3] == [
        ["Daily average so far", "$0.452"],
        ["Days that have not begun", "19"],
        ["Expected at its end", "$4.52"],
    ]


def test_what_is_expected_is_learned_from_the_weeks_before_and_without_any_the_pace_goes_on() -> None:
    clock = FrozenClock("2026-10-05T12:00:00Z")
    with outlay.open("memory:", clock=clock) as ledger:
        ledger.budget("all", limit="40", window="month")
        spend(ledger, "aws", "fargate", "1")
        # Four and a half of 31 days have passed: $1 × 31 / 4.5.
        assert words(section(ledger.report("month", running=True), "forecast"))[2] == [
            "At this pace the period ends with",
            "$6.888888888889",
        ]
        for _ in range(35):
            clock.advance(days=1)
            spend(ledger, "aws", "fargate", "1")
        clock.set("2026-11-10T00:00:00Z")
        report = ledger.report("month", running=True)
    # $1 a day: $9 so far, 21 days to come.
    assert words(section(report, "forecast"))[2] == ["Expected at its end", "$30.00"]
    assert words(section(report, "budgets"))[0][6:] == ["$30.00", ""]


def test_the_summary_says_the_change_and_what_the_total_rests_on(ledger: outlay.Ledger) -> None:
    found = dict(words(section(ledger.report("month", running=True), "summary")))
    assert (found["Total"], found["Before (2026-10 as far)"], found["Change"]) == ("$4.52", "$8.00", "-$3.48")
    assert (found["Change in percent"], found["Of it reported, in percent"]) == ("-43.5", "100.0")


def test_the_rest_of_a_long_table_is_one_row_and_the_rows_sum_to_the_total() -> None:
    with outlay.open("memory:", clock=FrozenClock("2026-11-10T12:00:00Z")) as ledger:
        for number in range(14):
            spend(ledger, "aws", "lambda", str(number + 1), user=f"u{number}")
        found = section(ledger.report("day", running=True, by=("user",)), "user")
    assert (len(found.rows), found.rows[-1][0]) == (11, "(other)")
    assert str(found.rows[-1][1]) == "$10.00"  # 1 + 2 + 3 + 4
    assert sum(row[1].pico for row in found.rows if isinstance(row[1], outlay.Money)) == 105 * 10**12


def test_no_words_of_users_become_markup_or_formulas(ledger: outlay.Ledger) -> None:
    report = ledger.report("month", running=True)
    assert "<b>ana</b>" not in page(report)
    assert "&lt;b&gt;ana&lt;/b&gt;" in page(report)
    assert "=video\\|x" in markdown(report)
    rows = list(csv.DictReader(io.StringIO(csv_text(report))))
    assert [row["row"] for row in rows if row["section"] == "feature" and row["column"] == "Cost"][1] == "'=video|x"


def test_csv_is_exact(ledger: outlay.Ledger) -> None:
    spend(ledger, "aws", "lambda", "0.000000000001")
    rows = csv.DictReader(io.StringIO(csv_text(ledger.report("month", running=True))))
    total = next(row["value"] for row in rows if row["row"] == "Total" and row["section"] == "summary")
    assert Decimal(total) == Decimal("4.520000000001")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"period": "fortnight"}, "unknown_period"),
        ({"since": "2026-11-02T00:00:00Z", "until": "2026-11-01T00:00:00Z"}, "time_reversed"),
        ({"by": ("colour",)}, "unknown_dimension"),
    ],
)
def test_a_report_that_cannot_be_is_refused_by_name(
    ledger: outlay.Ledger, arguments: dict[str, Any], code: str
) -> None:
    with pytest.raises(outlay.InvalidInput) as caught:
        ledger.report(**arguments)
    assert caught.value.code == code


def test_the_command_writes_every_form(tmp_path: Path) -> None:
    address = str(tmp_path / "a.db")
    with outlay.open(address) as ledger:
        spend(ledger, "aws", "lambda", "3", user="u1")
        spend(ledger, "aws", "lambda", "4", user="u2")
    base = ["report", "day", "--running", "--ledger", address]
    for form in ("terminal", "markdown", "csv", "html"):
        result = CliRunner().invoke(app, [*base, "--form", form])
        assert result.exit_code == 0, result.output
        assert "7.00" in result.output
    result = CliRunner().invoke(app, [*base, "--form", "json", "--user", "u1"])
    assert json.loads(result.output)["total"] == "3.00"
    assert json.loads(CliRunner().invoke(app, [*base, "--json", "--user", "u1"]).output)["total"] == "3.00"
    assert CliRunner().invoke(app, [*base, "--csv"]).output.startswith("section,row,column,value\n")
    for two in (("--csv", "--json"), ("--csv", "--form", "html")):
        assert "[bad_option]" in CliRunner().invoke(app, [*base, *two]).stderr
    CliRunner().invoke(app, [*base, "--form", "html", "-o", str(tmp_path / "r.html")])
    assert "$7.00" in (tmp_path / "r.html").read_text()


def test_a_budget_that_was_set_after_its_window_is_compared_with_what_was_spent_in_it(ledger: outlay.Ledger) -> None:
    ledger.budget("late", limit="7", window="month", where={"service": "fargate"})
    # October cost $8 for Fargate; the budget is of November.
    late = next(row for row in words(section(ledger.report("month"), "budgets")) if row[0] == "late")
    assert late[1:5] == ["2026-10", "$7.00", "$8.00", "$1.00"]


def test_the_last_days_of_one_user(tmp_path: Path) -> None:
    # Seed 5: a report of a user's last 30 days.
    address = str(tmp_path / "a.db")
    now = datetime.now(UTC)
    with outlay.open(address) as ledger:
        for days, user in ((0, "u1"), (29, "u1"), (30, "u1"), (1, "u2")):
            spend(ledger, "aws", "lambda", "1", user=user, time=now - timedelta(days=days))
    base = ["report", "--ledger", address, "--form", "json", "--days", "30"]
    result = CliRunner().invoke(app, [*base, "--user", "u1"])
    assert json.loads(result.output)["total"] == "2.00"
    assert CliRunner().invoke(app, [*base, "--since", "7d"]).exit_code == 2


def test_a_period_that_is_still_to_come_has_cost_nothing(ledger: outlay.Ledger) -> None:
    report = ledger.report(since="2026-12-01T00:00Z", until="2026-12-03T00:00Z")
    assert (str(report.total), report.whole) == ("$0.00", False)


def test_a_running_period_is_compared_with_the_same_stretch_of_the_one_before() -> None:
    """A dollar a day: ten days of March against ten of February, not against all of it."""
    clock = FrozenClock("2026-03-11T00:00:00Z")
    with outlay.open("memory:", clock=clock) as ledger:
        for day in (*(f"2026-02-{number:02}" for number in range(1, 29)), *(f"2026-03-{n:02}" for n in range(1, 11))):
            ledger.record(
                provider="openai", service="gpt-4o", usage={"output_tokens": 100_000}, time=f"{day}T12:00:00Z"
            )
        found = dict(words(section(ledger.report("month", running=True), "summary")))
    assert found["Before (2026-02 as far)"] == "$10.00"
    assert found["Change"] == "$0.00"


def test_words_about_a_job_stand_beside_it_in_reports_and_in_the_job_itself(
    ledger: outlay.Ledger,
) -> None:
    columns = section(ledger.report("month", running=True), "job").columns
    ledger.note_job("v02", "made twice")
    ledger.note_job("v02", "made twice for the client")
    found = section(ledger.report("month", running=True), "job")
    assert found.columns == (*columns, "Notes")
    assert {row[0]: row[-1] for row in found.rows} == {"v02": "made twice for the client", "v01": "", "(no job)": ""}
    assert "made twice" not in markdown(ledger.report("month", running=True, where={"provider": "replicate"}))
    assert ledger.notes("job", "v02") == {"v02": "made twice for the client"}
    with pytest.raises(outlay.NotFound) as refused:
        ledger.note_job("v03", "no such video")
    assert refused.value.code == "no_such_job"


def test_the_command_line_notes_a_job_and_shows_the_words(tmp_path: Path) -> None:
    with outlay.open(str(tmp_path / "outlay.db")) as ledger:
        spend(ledger, "replicate", "sdxl", "1.20", job="v02")
    at = ("-l", str(tmp_path / "outlay.db"))
    run = CliRunner().invoke
    assert run(app, ["note", "v02", "made twice", "--on", "job", *at]).exit_code == 0
    assert "made twice" in run(app, ["job", "v02", *at]).stdout
    assert json.loads(run(app, ["job", "v02", "--json", *at]).stdout)["note"] == "made twice"
    assert "[bad_choice]" in run(app, ["note", "v02", "words", "--on", "user", *at]).stderr
    assert "[no_such_anomaly]" in run(app, ["note", "v02", "words", "--on", "anomaly", *at]).stderr


def test_words_about_an_anomaly_stand_beside_it() -> None:
    clock = FrozenClock("2026-09-01T12:00:00Z")
    with outlay.open("memory:", clock=clock) as ledger:
        for day in range(60):
            at = to_datetime(clock.now()).date()
            spend(ledger, "acme", "x", "400" if day == 55 else "10", time=f"{at}T12:00:00Z")
            clock.advance(days=1)
        since = "2026-10-20T00:00:00Z"
        (episode, *_) = ledger.anomalies(since=since)
        ledger.note_anomaly(episode.id, "the launch")
        found = section(ledger.report(since=since), "anomalies")
        assert found.columns[-1] == "Notes"
        assert "the launch" in [row[-1] for row in found.rows]
        assert ledger.anomalies(since=since), "words are no verdict: it is still told"
