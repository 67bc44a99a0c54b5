"""The seeds' four expected anomalies in a ledger of six weeks: found, explained, judged, told once."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

import outlay
from outlay.analytics.anomaly import Episode, Step, Thresholds
from outlay.errors import InvalidInput, NotFound

START = datetime(2026, 8, 3, tzinfo=UTC)
DAYS = 42
Event = dict[str, Any]


def event(day: int, hour: int, cost: float, provider: str, service: str, **fields: Any) -> Event:
    time = START + timedelta(days=day, hours=hour)
    reported = round(Decimal(repr(cost)), 6)
    return {"provider": provider, "service": service, "time": time, "reported_cost": reported, **fields}


def usual(chance: random.Random) -> Iterator[Event]:
    """Tasks and transfer that follow the day, clips from three users, storage once a day; less at weekends."""
    for day in range(DAYS):
        for hour in range(24):
            busy = (1.0 if 8 <= hour < 20 else 0.3) * (1.0 if day % 7 < 5 else 0.6) * chance.uniform(0.9, 1.1)
            yield event(day, hour, 0.50 * busy, "aws", "ECS", feature="render", environment="production")
            yield event(day, hour, 0.20 * busy, "aws", "DataTransfer", feature="delivery", customer="northwind")
            if 8 <= hour < 20:
                user = f"user-{hour % 3}"
                yield event(day, hour, 0.60 * busy, "replicate", "animate-diff", feature="clips", user=user)
        yield event(day, 0, 0.40 + 0.002 * day, "aws", "S3", feature="temp")
        yield event(day, 0, 0.60 + 0.004 * day, "aws", "S3", feature="generations")


def runaway_tasks() -> Iterator[Event]:
    for hour in range(10, 18):
        yield event(38, hour, 2.0, "aws", "ECS", feature="render", environment="development", job="retry-91")


def lifecycle_failed() -> Iterator[Event]:
    for day in range(35, DAYS):
        yield event(day, 0, 0.50 * (day - 34), "aws", "S3", feature="temp")


def generation_loop() -> Iterator[Event]:
    for hour in range(1, 5):
        for _ in range(60):
            yield event(39, hour, 0.05, "replicate", "animate-diff", feature="clips", user="goran", job="video-7")


def transfer_spike() -> Iterator[Event]:
    yield event(40, 15, 12.0, "aws", "DataTransfer", operation="egress", customer="acme", feature="delivery")


@pytest.fixture(scope="module")
def spending() -> Iterator[outlay.Ledger]:
    clock = outlay.FrozenClock(START + timedelta(days=DAYS))
    with outlay.open("memory:", clock=clock) as ledger:
        ledger.record_many(usual(random.Random(7)))
        for anomaly in (runaway_tasks, lifecycle_failed, generation_loop, transfer_spike):
            ledger.record_many(anomaly())
        yield ledger


@pytest.fixture(scope="module")
def found(spending: outlay.Ledger) -> dict[tuple[str | None, ...], Episode]:
    episodes = spending.anomalies()
    assert len({episode.keys for episode in episodes}) == len(episodes), "each is told once"
    return {episode.keys: episode for episode in episodes}


def explained(episode: Episode) -> dict[str, str]:
    """The greatest cause of each dimension."""
    return {cause.dimension: cause.value for cause in reversed(episode.causes)}


def near(pico: int, dollars: float) -> bool:
    return pico / 10**12 == pytest.approx(dollars, rel=0.15)


def test_the_four_are_found_and_nothing_else(found: dict[tuple[str | None, ...], Episode]) -> None:
    assert set(found) == {
        ("aws", "ECS"),
        ("aws", "S3"),
        ("replicate", "animate-diff"),
        ("aws", "DataTransfer"),
    }


def test_runaway_tasks_are_explained_by_their_environment_and_job(
    found: dict[tuple[str | None, ...], Episode],
) -> None:
    episode = found["aws", "ECS"]

    assert near(episode.impact, 16.0)  # 8 hours × 2.00
    assert (explained(episode)["environment"], explained(episode)["job"]) == ("development", "retry-91")


def test_storage_that_a_lifecycle_no_longer_clears_is_found_while_it_grows(
    found: dict[tuple[str | None, ...], Episode],
) -> None:
    episode = found["aws", "S3"]

    assert episode.goes_on
    assert near(episode.impact, 14.0)  # 0.50 × (1 + 2 + … + 7)
    assert explained(episode) == {"feature": "temp"}


def test_a_generation_loop_is_explained_by_user_and_job(found: dict[tuple[str | None, ...], Episode]) -> None:
    episode = found["replicate", "animate-diff"]

    assert (outlay.clock.isoformat(episode.since), episode.steps) == ("2026-09-11T01:00:00Z", 4)
    assert (episode.actual, episode.expected, episode.percent) == (12 * 10**12, 0, None)  # 4 × 60 × 0.05
    assert (explained(episode)["user"], explained(episode)["job"]) == ("goran", "video-7")


def test_a_transfer_spike_is_explained_by_its_customer(found: dict[tuple[str | None, ...], Episode]) -> None:
    episode = found["aws", "DataTransfer"]

    assert (episode.steps, near(episode.impact, 12.0)) == (1, True)
    assert (explained(episode)["customer"], explained(episode)["operation"]) == ("acme", "egress")


def test_the_same_episode_has_the_same_id_when_asked_again_later(
    spending: outlay.Ledger, found: dict[tuple[str | None, ...], Episode]
) -> None:
    asked_then = spending.anomalies(since="2026-09-08", until="2026-09-12T00:00:00Z")

    assert {one.id for one in asked_then} < {one.id for one in found.values()}
    assert found["replicate", "animate-diff"].id in {one.id for one in asked_then}


def test_what_was_judged_and_its_kind_is_not_told_again_but_what_is_worse_is() -> None:
    clock = outlay.FrozenClock(START + timedelta(days=40))
    with outlay.open("memory:", clock=clock) as ledger:
        ledger.record_many(one for one in usual(random.Random(7)) if one["time"] < START + timedelta(days=40))
        ledger.record_many(generation_loop())
        [loop] = ledger.anomalies()
        ledger.judge_anomaly(loop.id, "expected", why="a load test")
        assert ledger.anomalies() == []
        assert [one.verdict for one in ledger.anomalies(judged=True)] == ["expected"]

        clock.advance(days=2)
        ledger.record_many({**one, "time": one["time"] + timedelta(days=1)} for one in generation_loop())
        assert ledger.anomalies() == [], "the same again is of its kind"

        ledger.record_many(
            {**one, "time": one["time"] + timedelta(days=2), "reported_cost": Decimal("0.15")}
            for one in generation_loop()
        )
        assert [one.id == loop.id for one in ledger.anomalies()] == [False], "three times as dear is not"


def test_a_verdict_on_nothing_known_is_refused_by_name(spending: outlay.Ledger) -> None:
    with pytest.raises(NotFound) as missing:
        spending.judge_anomaly("0000-20000", "expected", why="-")
    with pytest.raises(InvalidInput) as wrong:
        spending.judge_anomaly("0000-20000", "fine", why="-")

    assert (missing.value.code, wrong.value.code) == ("no_such_anomaly", "bad_verdict")


def test_thresholds_come_with_the_question(spending: outlay.Ledger) -> None:
    assert {one.keys for one in spending.anomalies(amount="13")} == {("aws", "ECS"), ("aws", "S3")}
    with pytest.raises(InvalidInput) as error:
        spending.anomalies(need="some")
    assert error.value.code == "bad_threshold"


BLOCK = 20_496
"""A day at which a block of four weeks begins, from 1970 on."""


def restless(chance: random.Random) -> Iterator[Event]:
    """A service whose days vary, most of all three months ago; four days before BLOCK it begins to cost more."""
    for day in range(BLOCK - 114, BLOCK + 3):
        cost = 10 * chance.uniform(0.7, 1.3) * (chance.uniform(0.6, 1.7) if day < BLOCK - 84 else 1)
        cost += chance.uniform(2, 6) if day >= BLOCK - 4 else 0
        time = datetime(1970, 1, 1, 12, tzinfo=UTC) + timedelta(days=day)
        yield {"provider": "aws", "service": "ECS", "time": time, "reported_cost": Decimal(round(cost * 100)) / 100}


def test_an_episode_is_the_same_whatever_time_is_asked_for() -> None:
    # Asked since some days later, four weeks of history were left out at once: an episode that went on began on
    # another day then, or was not seen, and had another id.
    clock = outlay.FrozenClock((BLOCK + 3) * 86_400 * 10**6)
    told = Thresholds(amount=10**12)
    for seed in (23, 38):
        with outlay.open("memory:", clock=clock) as ledger:
            ledger.record_many(restless(random.Random(seed)))
            asked = [
                (since, ledger._episodes(Step.DAY, ("service",), None, since, clock.now(), "UTC", told, ()))
                for since in ((BLOCK + days) * 86_400 * 10**6 for days in range(-3, 3))
            ]
        whole = asked[0][1]
        assert whole
        for since, answer in asked:
            assert answer == [one for one in whole if one.until > since], seed
