"""Forecasts and comparisons asked of a ledger, by hand; and the commands."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import outlay
from outlay.errors import InvalidInput
from outlay.faces.cli.commands import app

NOON = datetime(2026, 9, 15, 12, tzinfo=UTC)


def spent(ledger: outlay.Ledger, cost: str, time: datetime, service: str = "gpt-4o", **fields: Any) -> None:
    ledger.record(provider="openai", service=service, time=time, reported_cost=Decimal(cost), **fields)


@pytest.fixture
def clock() -> outlay.FrozenClock:
    return outlay.FrozenClock(NOON)


@pytest.fixture
def ten_a_day(memory: outlay.Ledger) -> outlay.Ledger:
    """10 a day at ten in the morning from 1 July on, three quarters of it for the feature `story`."""
    for day in range(77):
        time = datetime(2026, 7, 1, 10, tzinfo=UTC) + timedelta(days=day)
        spent(memory, "7.5", time, feature="story")
        spent(memory, "2.5", time, feature="voice", service="tts-1")
    return memory


def test_a_month_is_forecast_to_its_end_in_all_and_by_group(ten_a_day: outlay.Ledger) -> None:
    found = ten_a_day.forecast("month", by="feature")

    # 15 days are spent; half of the 15th and 15 days more are to come.
    assert found.total.spent == 150 * 10**12
    assert found.total.total == pytest.approx(305 * 10**12, rel=1e-6)
    assert [(row.keys, round(row.total / 10**12, 2)) for row in found.rows] == [
        (("story",), 228.75),
        (("voice",), 76.25),
    ]
    assert (found.total.label, found.total.learned.name) == ("2026-09", "WHOLE")


def test_a_filter_and_a_zone_are_kept_to(ten_a_day: outlay.Ledger) -> None:
    found = ten_a_day.forecast("week", where={"feature": "voice"}, zone="Asia/Tokyo")

    # In Tokyo it is Tuesday, 21:00: Monday and Tuesday are spent, an eighth of Tuesday and five days are to come.
    assert (found.total.spent, found.zone) == (5 * 10**12, "Asia/Tokyo")
    assert found.total.rest == pytest.approx(2.5 * 5.125 * 10**12, rel=1e-6)


def test_an_empty_ledger_says_that_nothing_can_be_said(memory: outlay.Ledger) -> None:
    found = memory.forecast()

    assert (found.total.total, found.total.intervals, found.total.learned.name) == (0, (), "NONE")
    assert memory.anomalies() == []


def test_an_hour_is_not_forecast(memory: outlay.Ledger) -> None:
    with pytest.raises(InvalidInput) as error:
        memory.forecast("hour")
    assert error.value.code == "unknown_window"


def test_two_periods_are_compared_and_failures_told_apart(memory: outlay.Ledger) -> None:
    august, september = datetime(2026, 8, 2, tzinfo=UTC), datetime(2026, 9, 2, tzinfo=UTC)
    for _ in range(10):
        spent(memory, "1", august, feature="story")
        spent(memory, "1.5", september, feature="story")
    spent(memory, "3", september, feature="story", status="failed")

    found = memory.compare(
        "feature", before=("2026-08-02", "2026-08-09"), after=("2026-09-02", "2026-09-09")
    ).total.change

    assert (found.before, found.after) == (10 * 10**12, 18 * 10**12)
    assert (found.volume, found.mix, found.price, found.failures) == (0, 0, 5 * 10**12, 3 * 10**12)


def test_the_seeds_sixty_days_before_and_thirty_after_at_two_a_day_are_no_saving(memory: outlay.Ledger) -> None:
    for day in range(100):
        spent(memory, "2", NOON - timedelta(days=day), user="u42")

    found = memory.compare(
        before=("2026-06-17", "2026-08-16"), after=("2026-08-16", "2026-09-15"), where={"user": "u42"}
    )

    assert (found.total.before.amount, found.total.after.amount) == (120 * 10**12, 60 * 10**12)
    assert found.by_day
    assert found.total.change.before == 2 * 10**12
    assert found.total.change.percent == 0


def test_a_week_in_which_the_clocks_change_is_as_long_as_any(memory: outlay.Ledger) -> None:
    # Berlin, 29 March 2026: that week has 167 hours.
    found = memory.compare(
        before=("2026-03-16", "2026-03-23"), after=("2026-03-23", "2026-03-30"), zone="Europe/Berlin"
    )

    assert not found.by_day


def test_two_releases_are_compared_over_the_same_time(memory: outlay.Ledger) -> None:
    for _ in range(4):
        spent(memory, "1", NOON - timedelta(days=1), feature="story", tags={"release": "1.4"})
        spent(memory, "0.5", NOON - timedelta(days=1), feature="story", tags={"release": "1.5"})

    week = ("2026-09-08", "2026-09-16")
    found = memory.compare(
        "feature",
        before=week,
        after=week,
        where_before={"tag.release": "1.4"},
        where_after={"tag.release": "1.5"},
    ).total.change

    assert (found.volume, found.price) == (0, -2 * 10**12)
    assert found.percent == -50


def test_a_period_needs_a_beginning(memory: outlay.Ledger) -> None:
    with pytest.raises(InvalidInput) as error:
        memory.compare(before=(None, "2026-09-01"), after=("2026-09-01", None))
    assert error.value.code == "empty_period"


# --- the commands


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A ledger file with 60 whole days at 2.00 before the last 30 at 2.50, and an hour at 40 yesterday."""
    monkeypatch.chdir(tmp_path)
    for name in ("OUTLAY_LEDGER", "OUTLAY_CONFIG", "OUTLAY_ZONE"):
        monkeypatch.delenv(name, raising=False)
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    with outlay.open("outlay.db") as ledger:
        for day in range(1, 91):
            spent(ledger, "2.5" if day <= 30 else "2", today - timedelta(days=day, hours=-9), user="u42")
        spent(ledger, "40", today - timedelta(days=1, hours=-15), user="u42", job="video-7", service="sora-2")
    return tmp_path


def run(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == code, f"{result.output}\n{result.stderr}"
    return result.stdout


@pytest.mark.usefixtures("folder")
def test_the_commands_answer_for_people_and_exactly_in_json() -> None:
    compared = json.loads(run("compare", "--before", "60", "--after", "30", "--user", "u42", "--json"))
    # (30 × 2.50 + 40) / 30 a day, against 2.00.
    assert compared["total"]["before"] == "2.00"
    assert compared["total"]["after"] == "3.833333333333"
    assert compared["by_day"] is True
    parts = [Decimal(compared["total"][name]) for name in ("volume", "mix", "price", "failures")]
    assert sum(parts) == Decimal(compared["total"]["change"])
    assert "by the day" in run("compare", "--before", "60", "--after", "30", "--user", "u42")

    told = json.loads(run("anomalies", "--json"))
    [episode] = told["rows"]
    assert (episode["what"], episode["actual"]) == ("openai/sora-2", "40.00")
    assert ("job", "video-7") in {(cause["dimension"], cause["value"]) for cause in told["causes"][episode["id"]]}
    assert "sora-2" in run("anomalies")
    assert "nothing unusual" in run("anomalies", "--expected", episode["id"], "--why", "a film")
    assert "expected" in run("anomalies", "--all")

    forecast = json.loads(run("forecast", "week", "--by", "service", "--json"))
    assert Decimal(forecast["total"]["expected"]) >= Decimal(forecast["total"]["spent"])
    assert [span["level"] for span in forecast["total"]["intervals"]] == [80, 95]
    assert "80 % from" in run("forecast")


@pytest.mark.usefixtures("folder")
def test_week_over_week_leaves_with_one_where_spend_rose_by_more_than_was_allowed() -> None:
    run("compare", "--over", "20", code=1)
    run("compare", "--over", "20", "--where", "service=gpt-4o")
    for wrong in (("--before", "soon"), ("--before", "2026-09-02..2026-09-01")):
        run("compare", *wrong, code=2)
    run("forecast", "fortnight", code=2)
    run("anomalies", "--expected", "0-1", code=4)
