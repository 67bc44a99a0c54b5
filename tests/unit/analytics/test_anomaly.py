"""Episodes of a series, worked by hand: what begins one, what it is measured against, when it is worth telling."""

from __future__ import annotations

import random
from collections.abc import Callable
from math import sin

import pytest

from outlay.analytics.anomaly import (
    Episode,
    Keys,
    Need,
    SpendSeries,
    Step,
    Thresholds,
    Verdict,
    distinct,
    episodes,
    explain,
    judgement,
    risen,
)
from outlay.errors import InvalidInput

HOUR = 3_600_000_000
DOLLAR = 10**12
ANY = Thresholds(amount=0, percent=0)


def hours(values: list[float], keys: tuple[str, ...] = ("aws", "ECS")) -> SpendSeries:
    return series(values, Step.HOUR, HOUR, keys)


def days(values: list[float], keys: tuple[str, ...] = ("aws", "ECS")) -> SpendSeries:
    return series(values, Step.DAY, 24 * HOUR, keys)


def series(values: list[float], step: Step, length: int, keys: tuple[str, ...]) -> SpendSeries:
    return SpendSeries(
        by=("provider", "service"),
        keys=keys,
        step=step,
        starts=tuple(at * length for at in range(len(values) + 1)),
        amounts=tuple(round(value * DOLLAR) for value in values),
    )


def flat(count: int, *, at: dict[int, float] | None = None) -> list[float]:
    return [(at or {}).get(index, 1.0 + 0.01 * (index % 2)) for index in range(count)]


def test_an_hour_far_above_all_before_is_one_episode_with_its_impact() -> None:
    [found] = episodes(hours(flat(600, at={500: 11.0})))

    assert (found.since, found.until, found.steps) == (500 * HOUR, 501 * HOUR, 1)
    assert (found.actual, found.expected, found.impact) == (11 * DOLLAR, DOLLAR, 10 * DOLLAR)
    assert found.percent == 1000
    assert not found.goes_on


def test_hours_apart_by_less_than_a_pause_are_one_episode() -> None:
    spikes = {500: 11.0, 503: 11.0, 520: 11.0}

    assert [(one.since // HOUR, one.steps) for one in episodes(hours(flat(600, at=spikes)))] == [(500, 4), (520, 1)]


@pytest.mark.parametrize(
    ("actual", "usual", "need", "told"),
    [
        (15.0, 10.0, Need.BOTH, True),  # + $5 and 50 %
        (14.99, 10.0, Need.BOTH, False),  # the amount is not reached
        (14.99, 10.0, Need.EITHER, True),
        (120.0, 100.0, Need.BOTH, True),  # exactly 20 %
        (119.99, 100.0, Need.BOTH, False),
        (119.99, 100.0, Need.EITHER, True),
        (10.5, 10.0, Need.EITHER, False),  # neither
        (5.0, 0.0, Need.BOTH, True),  # above nothing every percentage is reached
        (9.0, 10.0, Need.EITHER, False),  # a fall
    ],
)
def test_the_seeds_five_dollars_or_twenty_percent(actual: float, usual: float, need: Need, told: bool) -> None:
    thresholds = Thresholds(need=need)

    assert thresholds.reached(round(actual * DOLLAR), round(usual * DOLLAR)) is told


def rhythm(hour: int, chance: random.Random) -> float:
    """Days, weekends, 5 % growth a week and noise of a tenth."""
    day = 1.2 + sin(hour % 24 / 24 * 6.28)
    week = 0.4 if hour // 24 % 7 >= 5 else 1.0
    return float(20 * day * week * 1.05 ** (hour / 168) * chance.gauss(1, 0.1))


def launches(hour: int, chance: random.Random) -> float:
    """A batch on working nights."""
    return float(30 * chance.gauss(1, 0.05)) if hour % 24 == 3 and hour // 24 % 7 < 5 else 0.0


@pytest.mark.parametrize("shape", [rhythm, launches])
def test_rhythm_weekends_growth_and_noise_are_no_anomaly(shape: Callable[[int, random.Random], float]) -> None:
    chance = random.Random(11)
    told = [episodes(hours([shape(hour, chance) for hour in range(8 * 168)])) for _ in range(5)]

    assert sum(map(len, told)) <= 1


def test_a_slow_rise_cannot_make_itself_usual_while_it_lasts() -> None:
    rising = flat(40) + [1.0 + 0.3 * day for day in range(1, 9)]

    [found] = episodes(days(rising))

    assert (found.since // (24 * HOUR), found.goes_on) == (40, True)
    assert found.expected == pytest.approx(8 * 1.005 * DOLLAR, rel=0.01)
    assert found.impact == pytest.approx(0.3 * 36 * DOLLAR, rel=0.01)  # 0.3 × (1 + … + 8)


def test_what_lasts_becomes_the_usual_and_is_told_once() -> None:
    moved = [1.0] * 400 + [3.0] * 600

    [found] = episodes(hours(moved))

    assert (found.since // HOUR, found.steps) == (400, 168)


def test_nothing_is_said_before_there_was_a_week_to_learn_from() -> None:
    assert episodes(hours(flat(160, at={150: 50.0}))) == []


def test_a_series_whose_times_do_not_fit_is_refused_by_name() -> None:
    good = hours(flat(3))
    for starts in (good.starts[:-1], (0, 2, 1, 3)):
        with pytest.raises(InvalidInput) as error:
            episodes(SpendSeries(by=good.by, keys=good.keys, step=good.step, starts=starts, amounts=good.amounts))
        assert error.value.code == "bad_series"


def test_a_verdict_holds_for_what_is_at_most_a_fifth_dearer() -> None:
    [first] = episodes(hours(flat(600, at={500: 11.0})))
    said = judgement(first, Verdict.EXPECTED, who="ana", why="a load test", at=0)

    def later(value: float) -> list[Verdict | None]:
        found = episodes(hours(flat(800, at={500: 11.0, 700: value})), ANY, [said])
        return [one.verdict for one in found if one.since == 700 * HOUR]

    assert later(13.2) == [Verdict.EXPECTED]  # 11 × 1.2
    assert later(13.3) == [None]
    others = episodes(hours(flat(600, at={500: 11.0}), ("aws", "S3")), ANY, [said])
    assert [one.verdict for one in others if one.since == 500 * HOUR] == [None]


def test_causes_are_the_values_that_rose() -> None:
    [episode] = episodes(hours(flat(600, at={500: 11.0})))
    during: dict[Keys, int] = {("render", "ana"): 8 * DOLLAR, ("render", "bo"): 2 * DOLLAR, ("edit", "ana"): DOLLAR}
    usual: list[dict[Keys, int]] = [{("render", "bo"): 2 * DOLLAR}, {("edit", "ana"): DOLLAR}]

    causes = explain(episode, ("feature", "user"), during, usual).causes

    # render: 10 − (2 + 0) / 2 = 9; ana: 9 − (0 + 1) / 2 = 8.5; bo: 2 − 1 = 1 is less than a fifth of 10.
    assert [(one.dimension, one.value, one.rise) for one in causes] == [
        ("feature", "render", 9 * DOLLAR),
        ("user", "ana", 8_500_000_000_000),
    ]


def test_what_a_service_shows_is_not_told_again_of_its_feature() -> None:
    [by_hour] = episodes(hours(flat(600, at={500: 11.0})))
    caused = explain(by_hour, ("feature",), {("render",): 11 * DOLLAR}, [])

    def of_feature(name: str) -> Episode:
        """A day of 20 hours at 12 instead of 1, the one in which the hour above lies."""
        starts = tuple(at * 20 * HOUR for at in range(27))
        amounts = tuple(round(value * DOLLAR) for value in [*flat(25), 12.0])
        [found] = episodes(SpendSeries(by=("feature",), keys=(name,), step=Step.DAY, starts=starts, amounts=amounts))
        return found

    assert distinct([caused, of_feature("render")]) == [caused]
    assert len(distinct([caused, of_feature("edit")])) == 2


def test_week_over_week_is_flagged_above_twenty_percent() -> None:
    assert not risen(100, 120)
    assert risen(100, 121)
    assert risen(0, 1)
