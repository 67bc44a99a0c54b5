"""The pictures of a report show what its tables say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import outlay
from outlay.clock import FrozenClock
from outlay.faces import charts
from outlay.faces.reports.pictures import Picture, pictures
from outlay.money import Money


@pytest.fixture
def ledger() -> Iterator[outlay.Ledger]:
    clock = FrozenClock("2025-11-01T12:00:00Z")
    with outlay.open("memory:", clock=clock) as ledger:
        for day, aws, replicate, videos in (
            ("01", "1.42", "0.45", 8),
            ("02", "1.45", "1.20", 0),
            ("03", "1.40", "0.30", 5),
        ):
            clock.set(f"2025-11-{day}T12:00:00Z")
            ledger.record(provider="aws", service="fargate", reported_cost=aws)
            ledger.record(provider="replicate", service="sdxl", reported_cost=replicate, feature="<b>video</b>")
            if videos:
                ledger.finish(f"v{day}", units=videos)
        ledger.note_day("2025-11-02", "High traffic")
        clock.set("2025-11-04T00:00:00Z")
        yield ledger


def named(ledger: outlay.Ledger, **fields: Any) -> dict[str, Picture]:
    return {one.name: one for one in pictures(ledger.report("month", running=True, **fields))}


def test_the_days_add_up_to_the_report(ledger: outlay.Ledger) -> None:
    spec = named(ledger)["spend-by-day"].spec
    rows = spec["data"]["values"]
    assert [(one["step"], one["series"], one["exact"]) for one in rows[:2]] == [
        ("Sat 2025-11-01", "aws", "$1.42"),
        ("Sat 2025-11-01", "replicate", "$0.45"),
    ]
    assert (
        sum((Money.of(one["exact"].removeprefix("$")) for one in rows), Money(0))
        == ledger.report("month", running=True).total
    )
    assert [one["note"] for one in spec["layer"][-1]["data"]["values"]] == ["High traffic"]


def test_a_day_on_which_nothing_was_finished_is_a_gap(ledger: outlay.Ledger) -> None:
    spec = named(ledger)["cost-of-one"].spec
    # (1.42 + 0.45) / 8, nothing, (1.40 + 0.30) / 5; in all 6.22 / 13.
    assert [one["exact"] for one in spec["data"]["values"]] == ["$0.23375", "", "$0.34"]
    assert spec["title"]["subtitle"] == "$0.4785 over the whole period"


def test_each_table_by_group_is_a_chart_of_its_rows(ledger: outlay.Ledger) -> None:
    found = named(ledger)
    assert list(found)[:2] == ["spend-by-day", "by-provider-service"]
    assert list(found)[-2:] == ["cost-of-one", "by-provider"]
    rows = found["by-feature"].spec["data"]["values"]
    assert [(one["name"], one["exact"], one["share"]) for one in rows] == [
        ("(no feature)", "$4.27", "68.6 %"),
        ("<b>video</b>", "$1.95", "31.4 %"),
    ]


def test_a_report_of_nothing_has_pictures_that_say_so(ledger: outlay.Ledger) -> None:
    found = pictures(ledger.report("day", since="2024-12-01T00:00Z", until="2024-12-03T00:00Z"))
    assert all("Nothing was spent here." in charts.svg(one.spec) for one in found)
