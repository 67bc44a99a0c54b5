"""The demo: the same for the same first day, priced to the last call, and its figures can be worked by hand."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from functools import cache
from typing import Any

import pytest

import outlay
from outlay.errors import InvalidInput
from outlay.faces.cli.demo.build import build, events_of
from outlay.faces.cli.demo.company import CONTRACT_DAY, RUNAWAY_DAY, Fields, days_from
from outlay.faces.cli.demo.infrastructure import bill_of
from outlay.faces.cli.demo.video import RUNAWAY_IMAGES, RUNAWAY_JOB

START = date(2026, 8, 3)
NOW = "2026-11-10T12:00:00Z"


@pytest.fixture(scope="module")
def whole() -> Iterator[outlay.Ledger]:
    """The whole 90 days in memory."""
    with outlay.open("memory:", clock=outlay.FrozenClock(NOW)) as ledger:
        assert build(ledger, START, 90)
        yield ledger


@cache
def _calls() -> list[tuple[int, Fields]]:
    """Every simulated call with the index of its day."""
    return [(day.index, event) for day in days_from(START, 90) for event in events_of(day)[0]]


def _usage(meter: str, indexes: range, **fields: str) -> Decimal:
    """How much of a meter the simulated calls use on these days."""
    chosen = [call for index, call in _calls() if index in indexes]
    chosen = [call for call in chosen if all(call.get(name) == value for name, value in fields.items())]
    return sum((Decimal(str(call["usage"].get(meter, 0))) for call in chosen), Decimal(0))


def test_a_day_is_the_same_whichever_days_are_made_with_it() -> None:
    alone = events_of(days_from(START, 13)[12])
    assert alone == events_of(days_from(START, 90)[12])
    ids = [event["id"] for day in days_from(START, 20) for event in events_of(day)[0]]
    assert len(ids) == len(set(ids))


def test_the_same_first_day_gives_the_same_ledger() -> None:
    answers: list[Any] = []
    for _ in range(2):
        with outlay.open("memory:", clock=outlay.FrozenClock(NOW)) as ledger:
            build(ledger, START, 8)
            table = ledger.costs(("day", "provider", "service", "feature", "customer", "user"))
            answers.append((table.total, table.as_dicts()))
    assert answers[0] == answers[1]


def test_everything_is_priced_but_the_model_that_nobody_knows(whole: outlay.Ledger) -> None:
    table = whole.costs(("provider", "service"))
    assert 20_000 <= table.events <= 40_000
    unpriced = {row.keys: row.unpriced + row.incomplete for row in table.rows if row.unpriced or row.incomplete}
    assert list(unpriced) == [("google", "canvas-experimental-0926")]
    assert 10 <= unpriced["google", "canvas-experimental-0926"] <= 20


def test_the_voice_follows_its_price_change_to_the_last_character(whole: outlay.Ledger) -> None:
    before = _usage("characters", range(CONTRACT_DAY))
    after = _usage("characters", range(CONTRACT_DAY, 90))
    voice = whole.costs((), where={"provider": "elevenlabs"}).total.amount
    # $0.10 per 1,000 characters as published until 29 September, $0.06 by the simulated contract from the 22nd.
    assert voice == before * Decimal("0.10") / 1000 + after * Decimal("0.06") / 1000
    assert before > 100_000 < after


def test_the_images_cost_their_tokens_at_the_published_prices(whole: outlay.Ledger) -> None:
    service = {"service": "gemini-2.5-flash-image"}
    tokens_in = _usage("input_tokens", range(90), **service)
    tokens_out = _usage("output_image_tokens", range(90), **service)
    # gemini-2.5-flash-image: $0.30 per 1M input tokens, $30 per 1M output image tokens.
    expected = (tokens_in * Decimal("0.30") + tokens_out * 30) / 1_000_000
    assert whole.costs((), where=service).total.amount == expected


def test_the_clips_cost_the_seconds_of_their_hardware_failed_ones_too(whole: outlay.Ledger) -> None:
    service = {"service": "lucataco/animate-diff"}
    # An A100 (80 GB) at Replicate: $0.0014 a second.
    expected = _usage("hardware_seconds", range(90), **service) * Decimal("0.0014")
    found = whole.costs((), where=service)
    assert found.total.amount == expected
    assert found.table.total.failed > 50


def test_the_infrastructure_is_charged_as_billed(whole: outlay.Ledger) -> None:
    billed = whole.costs(("service",), where={"basis": "billed"})
    found = {row.keys[0]: row.cost.amount for row in billed.rows}
    assert found.pop("ECS") == 90 * Decimal("1.1849")  # 24 × 0.04937 = 1.18488
    assert found.pop("RDS") == 90 * Decimal("0.816")  # 24 × 0.034
    assert found.pop("ElastiCache") == 90 * Decimal("0.408")  # 24 × 0.017
    assert found.pop("NAT Gateway") == 90 * Decimal("1.08")  # 24 × 0.045
    # Logs: (0.31 + day / 200) GB × 0.50 = 0.155 + day × 0.0025, over days 0 … 89: 13.95 + 4005 × 0.0025.
    assert found == {"CloudWatch": Decimal("23.9625")}
    assert sum(Decimal(row.cost) for day in days_from(START, 90) for row in bill_of(day)) == billed.total.amount


def test_one_night_costs_about_ten_times_a_day_and_one_job_is_why(whole: outlay.Ledger) -> None:
    days = whole.costs(("day",)).rows
    amounts = sorted(row.amount for row in days)
    night = days[RUNAWAY_DAY]
    assert night.amount == amounts[-1]
    assert 8 <= night.amount / amounts[45] <= 12
    job = whole.job(RUNAWAY_JOB)
    assert job.events == RUNAWAY_IMAGES
    # 2,400 images × 1,290 tokens × $30 per 1M = $92.88, and the prompts beside.
    assert Decimal("92.88") < job.total.amount < Decimal("93.00")
    assert job.cost_per_unit is None


def test_working_days_are_busier_than_weekends_and_the_company_grows(whole: outlay.Ledger) -> None:
    calls = [row.events for row in whole.costs(("day",), where={"basis": "measured"}).rows]
    weekends = [calls[day.index] for day in days_from(START, 90) if day.date.weekday() >= 5]
    working = [calls[day.index] for day in days_from(START, 90) if day.date.weekday() < 5]
    assert sum(weekends) / len(weekends) < 0.7 * sum(working) / len(working)
    assert sum(calls[70:84]) > 1.5 * sum(calls[:14])


def test_a_video_costs_what_its_calls_cost_and_failed_ones_are_counted(whole: outlay.Ledger) -> None:
    videos = whole.costs(("job",), where={"project": "clipmaker"})
    outcomes = whole.store.job_outcomes()
    finished = sum(outcome.units for job, outcome in outcomes.items() if job.startswith("video-"))
    assert 0 < finished < len(videos.rows) == sum(job.startswith("video-") for job in outcomes)
    name = next(row.keys[0] for row in videos.rows if outcomes[str(row.keys[0])].units == 1)
    job = whole.job(str(name))
    assert job.total.pico == sum(line.amount for receipt in job.receipts for line in receipt.lines)
    assert job.cost_per_unit == job.total
    assert outcomes[str(name)].recorded_at == max(receipt.event.occurred_from for receipt in job.receipts)


def test_an_interrupted_demo_is_finished_and_a_whole_one_is_left_alone() -> None:
    with outlay.open("memory:", clock=outlay.FrozenClock(NOW)) as ledger:
        with pytest.raises(KeyboardInterrupt):
            build(ledger, START, 5, _interrupt_after(2))
        with pytest.raises(InvalidInput) as other:
            build(ledger, date(2026, 8, 4), 5)
        assert other.value.code == "other_demo"
        assert build(ledger, None, 90), "the standing plan goes on"
        total = ledger.costs().total
        assert not build(ledger, START, 5)
        assert ledger.costs().total == total
        assert ledger.audit().ok
    with outlay.open("memory:", clock=outlay.FrozenClock(NOW)) as ledger:
        build(ledger, START, 5)
        assert ledger.costs().total == total


def _interrupt_after(days: int) -> Any:
    seen = 0

    def advance(step: int) -> None:
        nonlocal seen
        seen += step
        if seen == days:
            raise KeyboardInterrupt

    return advance


def test_a_ledger_of_one_s_own_is_never_made_a_demo() -> None:
    with outlay.open("memory:", clock=outlay.FrozenClock(NOW)) as ledger:
        ledger.record(provider="openai", service="gpt-4o", usage={"input_tokens": 1})
        with pytest.raises(InvalidInput) as caught:
            build(ledger, START, 5)
        assert caught.value.code == "not_a_demo"
        assert ledger.costs().events == 1
