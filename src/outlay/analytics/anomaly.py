"""Episodes of unusual spend: when it rose, what had been expected, how much that was too much, and what explains it.

A series (what one service costs by the hour, what one feature or user costs by the day) is watched by `novelty`.
Where it does what it never did, and more than its own noise, an episode begins. From there on it is measured
against what the time *before* led to expect, so a slow rise cannot make itself usual while it lasts. It ends when
spend is back, or after a week (two, by the day): then what was new is the usual. An episode is worth telling by two
thresholds together or alone, an amount and a percentage. Falls are no episodes: they cost nothing.

Expectations are statistics and so floats, rounded to whole picounits where they stand beside amounts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from fractions import Fraction
from hashlib import blake2b
from itertools import pairwise
from math import sqrt
from typing import Final

import msgspec

from outlay.analytics.novelty import Watching, expected, novelties
from outlay.clock import Instant
from outlay.errors import InvalidInput
from outlay.money import PICO_PER_UNIT, round_half_even

Keys = tuple[str | None, ...]

SAME_KIND_PERCENT: Final = 20
"""An episode is of a kind with one that was judged if it is at most by so much more, by the step."""

_NORMAL_80: Final = 1.2816
"""What four of five values of normal noise are below, in its deviations."""


class Step(StrEnum):
    """How long a point of a series is."""

    HOUR = "hour"
    DAY = "day"


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """How series of one step are watched: lengths in points; `most` is how long an episode lasts before it is usual.

    `pause` is how many points in a row may be as expected within an episode. `noise` is how many deviations of the
    series' usual distance from its expectation, in the last `noise_days`, an episode must make up. Nothing begins
    within the first `learning` points.
    """

    day_points: int
    watching: Watching
    pause: int
    most: int
    learning: int
    noise: float = 5.0
    noise_days: int = 28


PACES: Final[Mapping[Step, Pace]] = {
    Step.HOUR: Pace(day_points=24, watching=Watching(), pause=3, most=7 * 24, learning=7 * 24),
    Step.DAY: Pace(
        day_points=1,
        watching=Watching(
            mean_points=3,
            swing_points=14,
            learning_points=14,
            surprise_points=14,
            quiet_points=2,
        ),
        pause=1,
        most=14,
        learning=14,
    ),
}


class Need(StrEnum):
    """Whether an episode must reach both thresholds or one of them."""

    BOTH = "both"
    EITHER = "either"


class Thresholds(msgspec.Struct, frozen=True, kw_only=True):
    """From which impact on an episode is told: picounits, and percent of what was expected. $5 and 20 % by default.

    Where nothing was expected every percentage is reached.
    """

    amount: int = 5 * PICO_PER_UNIT
    percent: int = 20
    need: Need = Need.BOTH

    def reached(self, actual: int, usual: int) -> bool:
        """Whether `actual` against `usual` is worth telling."""
        impact = actual - usual
        by_amount, by_percent = impact >= self.amount, 100 * impact >= self.percent * usual
        if impact <= 0:
            return False
        return by_amount and by_percent if self.need is Need.BOTH else by_amount or by_percent


class SpendSeries(msgspec.Struct, frozen=True, kw_only=True):
    """What one group cost, step by step. `starts` has one instant more than there are amounts: the end of the
    last.
    """

    by: tuple[str, ...]
    keys: Keys
    step: Step
    starts: tuple[Instant, ...]
    amounts: tuple[int, ...]

    @property
    def digest(self) -> str:
        """A name of the series that tells nobody's: what is kept of it outlives no person's name."""
        text = msgspec.json.encode([self.step.value, self.by, self.keys])
        return blake2b(text, digest_size=8).hexdigest()


class Cause(msgspec.Struct, frozen=True, kw_only=True):
    """How much one value of a dimension cost during an episode, and in a usual such time."""

    dimension: str
    value: str
    actual: int
    expected: int

    @property
    def rise(self) -> int:
        """By how much it rose, in picounits."""
        return self.actual - self.expected


class Verdict(StrEnum):
    """What a person said of an episode: it was expected, or it was no anomaly."""

    EXPECTED = "expected"
    NOT_AN_ANOMALY = "not_an_anomaly"


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """A verdict as it is kept: of which series, and how much the judged episode cost by the step."""

    episode: str
    series: str
    verdict: Verdict
    amount_by_step: int
    who: str
    why: str
    at: Instant


class Episode(msgspec.Struct, frozen=True, kw_only=True):
    """One stretch of unusual spend. Amounts are picounits of the ledger's currency; `until` is exclusive.

    The `id` is of the series and the day on which it began, so the same episode seen again is the same. `verdict` is
    that of a person on this one or one of its kind.
    """

    id: str
    series: str
    by: tuple[str, ...]
    keys: Keys
    step: Step
    since: Instant
    until: Instant
    steps: int
    goes_on: bool
    actual: int
    expected: int
    peak: int
    causes: tuple[Cause, ...] = ()
    verdict: Verdict | None = None

    @property
    def impact(self) -> int:
        """What was spent above the expectation."""
        return self.actual - self.expected

    @property
    def percent(self) -> Fraction | None:
        """The impact in percent of what was expected, None where that is nothing."""
        return Fraction(100 * self.impact, self.expected) if self.expected else None

    @property
    def amount_by_step(self) -> int:
        """What it cost by the hour or the day."""
        return round_half_even(self.actual, self.steps)


class Stretch(msgspec.Struct, frozen=True):
    """Points [first, end) of a series that are unusual, the expectation of each, and the deviation of their sum."""

    first: int
    end: int
    usual: tuple[float, ...]
    noise: float
    goes_on: bool


def stretches(values: Sequence[float], pace: Pace) -> Iterator[Stretch]:
    """Where a series rises as it never did, looking back only."""
    # The series as it would have been: within a stretch its expectation, by which what follows is measured.
    calm = list(values)
    # Up to which point an episode can still be among the weeks by which a point is measured.
    disturbed = -1
    reach = pace.day_points * max(pace.watching.days_before, 7 * pace.watching.weeks_before)
    residuals: list[float | None] = []
    first, last = -1, -1
    usuals: list[float] = []
    noises: list[float] = []
    for point in novelties(values, day_points=pace.day_points, watching=pace.watching):
        index, value = point.index, values[point.index]
        # Where nothing was taken out of what it is measured by, it was measured already.
        usual = expected(calm, index, pace.day_points, pace.watching) if index <= disturbed else point.usual
        novel = first >= 0 or (point.score >= pace.watching.margin and index >= pace.learning)
        noise = _noise(residuals, pace) if novel else 0.0
        if usual is None or (first < 0 and not (novel and value > usual + 2 * noise)):
            residuals.append(None if usual is None else value - usual)
            continue
        residuals.append(None)
        if first < 0:
            first, last, usuals, noises = index, index, [], []
        usuals.append(usual)
        noises.append(noise)
        calm[index] = min(value, usual)
        disturbed = index + reach
        if value > usual + max(noise, 0.1 * usual):
            last = index
        long = index - first + 1 >= pace.most
        if long or index - last > pace.pause:
            yield _stretch(first, last, usuals, noises, goes_on=False)
            if long:
                calm[first : index + 1] = values[first : index + 1]
            first = -1
    if first >= 0:
        yield _stretch(first, last, usuals, noises, goes_on=True)


class Usual(msgspec.Struct, frozen=True):
    """What was expected of one point of a series, and how far its noise reaches: picounits, None if not known."""

    expected: int | None
    low: int | None = None
    high: int | None = None


def course(series: SpendSeries) -> list[Usual]:
    """What was expected of each point, an episode being measured by the time before it: to be shown beside it."""
    pace = PACES[series.step]
    values = [amount / PICO_PER_UNIT for amount in series.amounts]
    calm, within = list(values), dict[int, float]()
    for stretch in stretches(values, pace):
        for index, usual in enumerate(stretch.usual, stretch.first):
            within[index] = usual
            calm[index] = min(values[index], usual)
    found, residuals = [], list[float | None]()
    for index, value in enumerate(values):
        usual_or_none = within.get(index, expected(calm, index, pace.day_points, pace.watching))
        noise = 2 * _noise(residuals, pace)
        residuals.append(None if usual_or_none is None or index in within else value - usual_or_none)
        found.append(_usual(usual_or_none, noise))
    return found


def _usual(value: float | None, noise: float) -> Usual:
    if value is None:
        return Usual(None)
    low, middle, high = (round(max(0.0, one) * PICO_PER_UNIT) for one in (value - noise, value, value + noise))
    return Usual(middle, low, high)


def _stretch(first: int, last: int, usuals: list[float], noises: list[float], *, goes_on: bool) -> Stretch:
    steps = last - first + 1
    noise = sqrt(sum(one * one for one in noises[:steps]))
    return Stretch(first, last + 1, tuple(usuals[:steps]), noise, goes_on)


def _noise(residuals: Sequence[float | None], pace: Pace) -> float:
    """How far the next point may well be off: as it was about this time of the last days, for noise has a rhythm
    too.
    """
    index, near = len(residuals), 1 if pace.day_points > 1 else 0
    found = []
    for days in range(1, pace.noise_days + 1):
        middle = index - days * pace.day_points
        for place in range(max(0, middle - near), min(index, middle + near + 1)):
            residual = residuals[place]
            if residual is not None:
                found.append(abs(residual))
    found.sort()
    return found[int(0.8 * (len(found) - 1))] / _NORMAL_80 if found else 0.0


def episodes(
    series: SpendSeries, thresholds: Thresholds | None = None, judgements: Iterable[Judgement] = ()
) -> list[Episode]:
    """The episodes of a series that are worth telling, the oldest first; `causes` are left to `explain`.

    One that a person judged, or one of its kind, bears the verdict. Raises InvalidInput `bad_series`.
    """
    if len(series.starts) != len(series.amounts) + 1 or any(a >= b for a, b in pairwise(series.starts)):
        raise InvalidInput(
            "a series has the start of each point and the end of the last, in order", code="bad_series"
        )
    thresholds = thresholds or Thresholds()
    pace = PACES[series.step]
    values = [amount / PICO_PER_UNIT for amount in series.amounts]
    known = [judgement for judgement in judgements if judgement.series == series.digest]
    found = []
    for stretch in stretches(values, pace):
        episode = _episode(series, stretch)
        significant = episode.impact / PICO_PER_UNIT >= pace.noise * stretch.noise
        if significant and thresholds.reached(episode.actual, episode.expected):
            found.append(msgspec.structs.replace(episode, verdict=_verdict(episode, known)))
    return found


def _episode(series: SpendSeries, stretch: Stretch) -> Episode:
    amounts = series.amounts[stretch.first : stretch.end]
    since = series.starts[stretch.first]
    digest = series.digest
    return Episode(
        id=f"{digest}-{since // 86_400_000_000}",
        series=digest,
        by=series.by,
        keys=series.keys,
        step=series.step,
        since=since,
        until=series.starts[stretch.end],
        steps=len(amounts),
        goes_on=stretch.goes_on,
        actual=sum(amounts),
        expected=round(sum(stretch.usual) * PICO_PER_UNIT),
        peak=max(amounts),
    )


def _verdict(episode: Episode, judgements: Iterable[Judgement]) -> Verdict | None:
    """That on this episode, else the latest on one of its kind: the same series, and not much dearer by the step."""
    for judgement in sorted(judgements, key=lambda one: (one.episode == episode.id, one.at), reverse=True):
        limit = judgement.amount_by_step * (100 + SAME_KIND_PERCENT)
        if judgement.episode == episode.id or 100 * episode.amount_by_step <= limit:
            return judgement.verdict
    return None


def judgement(episode: Episode, verdict: Verdict, *, who: str, why: str, at: Instant) -> Judgement:
    """A person's verdict on an episode, to be kept and handed to `episodes` from now on."""
    return Judgement(
        episode=episode.id,
        series=episode.series,
        verdict=verdict,
        amount_by_step=episode.amount_by_step,
        who=who,
        why=why,
        at=at,
    )


def explain(
    episode: Episode,
    by: Sequence[str],
    during: Mapping[Keys, int],
    usual: Sequence[Mapping[Keys, int]],
    *,
    most: int = 8,
    share_percent: int = 20,
) -> Episode:
    """The episode with what explains it: the values whose own rise is at least a fifth of the whole, greatest first.

    `during` are amounts by the dimensions `by` within the episode, `usual` the same in earlier times as long; what a
    value usually costs is the mean of those. What has no value of a dimension explains nothing.
    """
    causes: list[Cause] = []
    for place, dimension in enumerate(by):
        if dimension in episode.by:
            continue
        actual = _summed(during, place)
        before = [_summed(one, place) for one in usual]
        for value, amount in actual.items():
            if value is None:
                continue
            mean = round_half_even(sum(one.get(value, 0) for one in before), len(before)) if before else 0
            cause = Cause(dimension=dimension, value=value, actual=amount, expected=mean)
            if 100 * cause.rise >= share_percent * max(episode.impact, 1):
                causes.append(cause)
    causes.sort(key=lambda cause: (-cause.rise, list(by).index(cause.dimension), cause.value))
    return msgspec.structs.replace(episode, causes=tuple(causes[:most]))


def _summed(amounts: Mapping[Keys, int], place: int) -> dict[str | None, int]:
    found: dict[str | None, int] = {}
    for keys, amount in amounts.items():
        found[keys[place]] = found.get(keys[place], 0) + amount
    return found


def distinct(found: Iterable[Episode]) -> list[Episode]:
    """Each thing once: without an episode in the time of one before it that is of the same group, or of which one's
    group explains at least half of the other.
    """
    kept: list[Episode] = []
    for episode in found:
        if not any(same_thing(known, episode) for known in kept):
            kept.append(episode)
    return kept


def same_thing(known: Episode, other: Episode) -> bool:
    """Whether two episodes tell of one thing: at one time, of one group, or of groups that explain one another."""
    if known.since >= other.until or other.since >= known.until:
        return False
    if (known.by, known.keys) == (other.by, other.keys):
        return True
    return _caused(known, other) or _caused(other, known)


def _caused(episode: Episode, other: Episode) -> bool:
    """Whether the values of the other one's group explain at least half of this one."""
    greatest = {(cause.dimension, cause.value): cause.rise for cause in episode.causes}
    named = [(name, key or "") for name, key in zip(other.by, other.keys, strict=True) if name not in episode.by]
    return bool(named) and all(2 * greatest.get(one, 0) >= max(episode.impact, 1) for one in named)


def risen(before: int, after: int, percent: int = 20) -> bool:
    """The seeds' check by hand, week over week: whether `after` is more than `percent` above `before`."""
    return 100 * (after - before) > percent * before
