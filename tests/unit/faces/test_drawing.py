"""Commands draw what they say, as picture, drawing and page."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

import outlay
from outlay.analytics.anomaly import SpendSeries, Step, course, episodes
from outlay.clock import DAY_MICROSECONDS, FrozenClock, to_instant
from outlay.faces.cli.charting import charts_of_anomalies, charts_of_comparison, charts_of_costs, charts_of_forecast
from outlay.faces.cli.commands import app
from outlay.money import PICO_PER_UNIT


def spend(ledger: outlay.Ledger, amount: str, service: str = "gpt") -> None:
    ledger.record(provider="openai", service=service, reported_cost=amount)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("drawing") / "a.db"
    with outlay.open(path) as ledger:
        spend(ledger, "1.25")
        spend(ledger, "0.75", "tts")
    return path


@pytest.fixture(scope="module")
def rising() -> Iterator[outlay.Ledger]:
    """Six weeks at $10 a day, then a day at $60."""
    clock = FrozenClock("2026-10-01T12:00:00Z")
    with outlay.open("memory:", clock=clock) as ledger:
        for day in range(45):
            spend(ledger, "60" if day == 43 else "10")
            clock.advance(days=1)
        yield ledger


def run(path: Path, *arguments: str) -> str:
    found = CliRunner().invoke(app, [*arguments, "--ledger", str(path)])
    assert found.exit_code == 0, found.output
    return found.output


@pytest.mark.parametrize(
    "command",
    [
        ("costs", "--by", "day,service"),
        ("costs", "--by", "provider,service"),
        ("top", "services"),
        ("forecast", "month"),
        ("compare",),
        ("report", "month", "--running"),
    ],
)
def test_an_answer_is_drawn_beside_being_said(path: Path, tmp_path: Path, command: tuple[str, ...]) -> None:
    png, svg = tmp_path / "a.png", tmp_path / "a.svg"
    said = run(path, *command, "--png", str(png), "--svg", str(svg))
    assert said.strip(), "the table is still written"
    assert png.read_bytes().startswith(b"\x89PNG")
    assert ElementTree.fromstring(svg.read_text()).attrib["aria-label"]


def test_a_page_has_all_of_a_reports_charts_and_asks_no_network(path: Path, tmp_path: Path) -> None:
    run(path, "report", "month", "--running", "--html", str(tmp_path / "a.html"))
    page = (tmp_path / "a.html").read_text()
    assert page.count("<figure") > 2
    assert not re.search(r'(?:src|href)="', page.split("<script>")[0])


def test_what_cannot_be_drawn_is_refused_in_words(path: Path, tmp_path: Path) -> None:
    for arguments, words in (
        (("costs", "--by", ""), "give --by"),
        (("costs", "--by", "provider,day"), "--by day,provider"),
        (("anomalies",), "nothing to draw"),
    ):
        found = CliRunner().invoke(app, [*arguments, "--ledger", str(path), "--png", str(tmp_path / "b.png")])
        assert found.exit_code != 0
        assert words in " ".join(found.output.split())
        assert not (tmp_path / "b.png").exists()


def test_the_figures_drawn_are_those_of_the_answer(rising: outlay.Ledger) -> None:
    found = rising.costs(("day", "service"))
    drawn = charts_of_costs(rising, found)[0]["data"]["values"]
    assert [one["exact"] for one in drawn] == [str(row.cost) for row in found.rows]


def test_a_forecast_shows_the_past_and_where_it_ends(rising: outlay.Ledger) -> None:
    found = rising.forecast("month")
    each, course_of_it = charts_of_forecast(rising, found, None, step="day")
    assert len(each["data"]["values"]) == 45
    assert course_of_it["data"]["values"][-1]["exact"] == "$190.00"  # 13 days of November at $10, one at $60.


def test_words_about_a_day_stand_at_that_day(rising: outlay.Ledger) -> None:
    rising.note_day("2026-11-03", "Release 1.5")
    rising.note_day("2025-01-01", "Before all this")
    (spec,) = charts_of_costs(rising, rising.costs(("day",)))
    assert [(one["at"], one["note"]) for one in spec["layer"][-1]["data"]["values"]] == [
        ("2026-11-03T00:00:00Z", "Release 1.5")
    ]


def test_a_forecast_shows_the_budget_of_the_same_spend(rising: outlay.Ledger) -> None:
    rising.budget("gpt", limit="400", window="month", where={"service": "gpt"})
    rising.budget("day", limit="20", window="day")
    for where, limits in ((None, []), ({"service": "gpt"}, ["Budget $400.00"])):
        found = rising.forecast("month", where=where)
        layers = charts_of_forecast(rising, found, where, step="day")[1]["layer"]
        rules = [one["data"]["values"][0]["named"] for one in layers if one["mark"].get("style") == "limit"]
        assert rules == limits


def test_a_comparison_is_drawn_with_its_periods(rising: outlay.Ledger) -> None:
    spans = (
        ("2026-10-31T00:00Z", "2026-11-07T00:00Z"),
        ("2026-11-07T00:00Z", "2026-11-14T00:00Z"),
    )
    found = rising.compare(("service",), before=spans[0], after=spans[1])
    days = [rising.costs(since=since, until=until) for since, until in spans]
    instants = tuple((to_instant(since, "UTC"), to_instant(until, "UTC")) for since, until in spans)
    whole = charts_of_comparison(found, "USD", instants, "UTC")[0]["data"]["values"]
    assert [whole[0]["label"], whole[-1]["label"]] == ["31 Oct to 6 Nov", "7 Nov to 13 Nov"]
    assert [whole[0]["exact"], whole[-1]["exact"]] == [str(one.total) for one in days] == ["$70.00", "$120.00"]


def test_an_episode_is_drawn_with_what_was_expected(rising: outlay.Ledger) -> None:
    found = rising.anomalies()
    (spec, *_) = charts_of_anomalies(rising, found, None, "UTC")
    odd = [one for one in spec["data"]["values"] if one["odd"]]
    assert [one["exact"] for one in odd] == ["$60.00"]
    assert odd[0]["usual"] == pytest.approx(10, abs=1)


def test_within_an_episode_the_time_before_it_says_what_was_expected() -> None:
    amounts = [10 * PICO_PER_UNIT] * 30 + [60 * PICO_PER_UNIT] * 4 + [10 * PICO_PER_UNIT] * 3
    starts = tuple(day * DAY_MICROSECONDS for day in range(len(amounts) + 1))
    series = SpendSeries(by=("service",), keys=("gpt",), step=Step.DAY, starts=starts, amounts=tuple(amounts))
    (episode,) = episodes(series)
    found = course(series)
    within = [found[day].expected or 0 for day in range(30, 34)]
    assert sum(within) == pytest.approx(episode.expected)
    assert len(found) == len(amounts)
    for one in found:
        if one.expected is not None and one.low is not None and one.high is not None:
            assert 0 <= one.low <= one.expected <= one.high
