"""The analysing half of a ledger: forecasts, anomalies, comparisons. It reads costs and keeps people's verdicts."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Final

import msgspec

from outlay.analytics.anomaly import (
    Cause,
    Episode,
    Judgement,
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
)
from outlay.analytics.comparison import Comparison, compare, sides
from outlay.analytics.projection import Projections, project
from outlay.arguments import When, Where, checked_dimensions, read_text, read_when, read_where
from outlay.clock import (
    DAY_MICROSECONDS,
    Instant,
    Window,
    WindowName,
    local_day,
    local_midnight,
    to_instant,
    window_of,
    windows_between,
)
from outlay.errors import InvalidInput, LedgerError, NotFound
from outlay.model import CostRow
from outlay.money import Money, decimal_to_pico
from outlay.reader import LedgerReader

Period = tuple[When, When]

WATCHED: Final[tuple[tuple[Step, tuple[str, ...]], ...]] = (
    (Step.HOUR, ("provider", "service")),
    (Step.DAY, ("provider", "service")),
    (Step.DAY, ("feature",)),
    (Step.DAY, ("user",)),
)
"""Which series are watched for anomalies, in this order: what a later one shows again is not told twice."""

FORECAST_DAYS: Final = {Step.HOUR: 56, Step.DAY: 182}
"""From how many days a forecast learns."""

WATCHED_DAYS: Final = {Step.HOUR: 56, Step.DAY: 84}
"""How many days before a block of four weeks its episodes are learned from: see `_watched`."""

BLOCK_DAYS: Final = 28
EPISODE_DAYS: Final = {Step.HOUR: 8, Step.DAY: 15}
"""How many days an episode lasts at most, and one more."""

WATCHED_MOST: Final = 200
"""How many groups of a kind are watched: those that cost the most lately."""

RECENT_DAYS: Final = 14
EXPLAINED_MOST: Final = 20
"""How many episodes, the dearest first, are explained: each takes some questions to the ledger."""

EXPLAINING: Final[tuple[tuple[str, ...], ...]] = (
    ("provider", "service", "operation", "feature", "environment"),
    ("user",),
    ("customer",),
    ("job",),
)
"""The questions by which an episode is explained: each is answered by one rollup, or by a scan of its time."""

EARLIER_TIMES: Final = 3
NOTE: Final = "anomaly"
WITHOUT_STATUS: Final = frozenset({"user", "customer", "team", "project"})
"""Dimensions whose rollups do not tell failed calls' costs apart."""

_WHO: Final = "program"


class LedgerAnalysis(LedgerReader):
    """What a ledger knows about what spend will be, what it should not have been, and why it changed."""

    # What will be

    def forecast(
        self,
        window: WindowName = "month",
        *,
        by: str | Sequence[str] = (),
        where: Where = None,
        zone: str | None = None,
        limit: int = 20,
    ) -> Projections:
        """What the present day, week, month, quarter or year will have cost at its end, by group and in all.

        A day is forecast by the hour, all else by the day. Each projection has intervals of 80 and 95 % and says how
        much there was to learn from; docs/accuracy.md has how good they are. `limit` is how many groups, the dearest
        of the last four weeks. Raises InvalidInput `unknown_window`, `unknown_dimension`.
        """
        if window in ("hour", "5 minutes"):
            raise InvalidInput("forecast a day, week, month, quarter or year", code="unknown_window", field="window")
        now, zone = self.clock.now(), self._zone_or_home(zone)
        whole = window_of(now, window, zone)
        step: Step = Step.HOUR if window == "day" else Step.DAY
        groups = checked_dimensions(by, times=False)
        since = window_of(min(now - FORECAST_DAYS[step] * DAY_MICROSECONDS, whole.start), "day", zone).start
        steps, series = self._series(step, groups, where, since, now + 1, zone)
        present = len(steps) - 1
        steps += windows_between(steps[-1].end, whole.end, step.value, zone)
        recent = steps[max(0, present - 28)].start
        dearest = sorted(series, key=lambda keys: -sum(_since(series[keys], steps, recent)))[:limit] if groups else []
        total = [sum(amounts) for amounts in zip(*series.values(), strict=True)] or [0] * (present + 1)
        rows = [project(keys, series[keys], steps, whole, now, step=step.value, zone=zone) for keys in dearest]
        rows.sort(key=lambda row: -row.total)
        return Projections(
            by=groups,
            rows=tuple(rows),
            total=project((), total, steps, whole, now, step=step.value, zone=zone),
            currency=self.currency,
            zone=zone,
        )

    # What should not have been

    def anomalies(
        self,
        *,
        since: When = None,
        until: When = None,
        amount: str | Decimal | int | Money = "5",
        percent: int = 20,
        need: str = "both",
        where: Where = None,
        zone: str | None = None,
        judged: bool = False,
    ) -> list[Episode]:
        """The episodes of unusual spend since two weeks ago (or `since`), the latest first, with what explains them.

        Watched are the hours of each provider's service, the days of each service, feature and user. An episode is
        told from an impact of `amount` and `percent` above what was expected, or of either with need="either". Those
        that a person judged, and others of their kind, are left out unless `judged`. Raises InvalidInput.
        """
        zone = self._zone_or_home(zone)
        now = self.clock.now()
        end = min(read_when(until, zone, self.clock) or now, now)
        start = read_when(since, zone, self.clock)
        start = end - RECENT_DAYS * DAY_MICROSECONDS if start is None else start
        thresholds = _thresholds(amount, percent, need)
        kept = self._judgements()
        found: list[Episode] = []
        for step, by in WATCHED:
            fresh = self._episodes(step, by, where, start, end, zone, thresholds, kept)
            explained = [self._explained(episode, where) for episode in fresh[:EXPLAINED_MOST]]
            found = distinct([*found, *explained, *fresh[EXPLAINED_MOST:]])
        told = [episode for episode in found if judged or episode.verdict is None]
        return sorted(told, key=lambda episode: (-episode.since, -episode.impact))

    def judge_anomaly(
        self, id: str, verdict: str, *, why: str, who: str = _WHO, zone: str | None = None
    ) -> Judgement:
        """Say of an episode that it was `expected` or `not_an_anomaly`: it and others of its kind are not told again.

        Of its kind is what happens to the same series and is at most a fifth dearer by the hour or day. The last word
        counts. `zone` is that in which anomalies were asked. Raises NotFound `no_such_anomaly`, InvalidInput
        `bad_verdict`.
        """
        if verdict not in tuple(Verdict):
            raise InvalidInput(f"verdict is one of {', '.join(Verdict)}", code="bad_verdict", field="verdict")
        id, why = read_text(id, "id"), read_text(why, "why")
        episode = self._episode(id, self._zone_or_home(zone))
        if episode is None:
            raise NotFound(f"no anomaly {id[:60]!r} is known; outlay anomalies lists them", code="no_such_anomaly")
        found = judgement(episode, Verdict(verdict), who=who, why=why, at=self.clock.now())
        body, kept = msgspec.json.encode(found), False
        while not kept:
            before = self.store.note(NOTE, id)
            kept = self.store.put_note(NOTE, id, body, expects=before, at=found.at, live=True)
        return found

    def _episode(self, id: str, zone: str) -> Episode | None:
        """The episode of that id, asked for as `anomalies` would now, else as it would have then."""
        now, recent = self.clock.now(), RECENT_DAYS * DAY_MICROSECONDS
        day = id.rpartition("-")[2]
        ranges = [(now - recent, now)]
        if day.isdigit() and len(day) < 7:
            # An id may name any day, and what came long after it tells nothing of it.
            at = int(day) * DAY_MICROSECONDS
            ranges += [(start, min(now, at + recent)) for start in (at, at - recent)]
        every = Thresholds(amount=0, percent=0)
        for start, end in ranges:
            for step, by in WATCHED:
                for episode in self._episodes(step, by, None, start, end, zone, every, ()) if start < end else ():
                    if episode.id == id:
                        return episode
        return None

    # Why it changed

    def compare(
        self,
        by: str | Sequence[str] = ("feature", "service"),
        *,
        before: Period,
        after: Period,
        where: Where = None,
        where_before: Where = None,
        where_after: Where = None,
        zone: str | None = None,
    ) -> Comparison:
        """Two periods side by side, or with `where_before` and `where_after` two releases, models, tags or users.

        Periods are (since, until). What changed is split into volume, mix, price and failures, which add up exactly;
        by the day where the lengths differ. What failed calls cost is told apart but for questions by user, customer,
        team or project, where it is a part of the others. Raises InvalidInput `empty_period`, `unknown_dimension`.
        """
        zone = self._zone_or_home(zone)
        groups = checked_dimensions(by, times=False)
        wheres = [{**read_where(where), **read_where(side)} for side in (where_before, where_after)]
        told_apart = WITHOUT_STATUS.isdisjoint(groups) and all(WITHOUT_STATUS.isdisjoint(side) for side in wheres)
        spans = [self._period(period, zone) for period in (before, after)]
        asked = (*groups, "status") if told_apart and "status" not in groups else groups
        tables = [
            self.costs(asked, where=dict(side), since=first, until=last, zone=zone).rows
            for side, (first, last) in zip(wheres, spans, strict=True)
        ]
        status_at = asked.index("status") if told_apart and "status" not in groups else None
        return compare(
            groups,
            sides(tables[0], status_at),
            sides(tables[1], status_at),
            days_before=_days(spans[0], zone),
            days_after=_days(spans[1], zone),
        )

    # Inner

    def _zone_or_home(self, zone: str | None) -> str:
        # A ledger behind a server has no store here; every answer says the zone of the ledger's own days.
        return zone or self.costs((), since=self.clock.now()).zone

    def _period(self, period: Period, zone: str) -> tuple[Instant, Instant]:
        first, last = (read_when(when, zone, self.clock) for when in period)
        now = self.clock.now()
        if first is None or (last or now) <= first:
            raise InvalidInput("a period to compare is (since, until), since first", code="empty_period")
        return first, last or now

    def _series(
        self, step: Step, by: Sequence[str], where: Where, since: Instant, until: Instant, zone: str
    ) -> tuple[list[Window], dict[Keys, list[int]]]:
        """The steps from the first spend on (else the last step), and what each group cost in each of them."""
        rows = self.costs((step.value, *by), where=where, since=since, until=until, zone=zone).rows
        labels = {label for row in rows if (label := row.keys[0]) is not None}
        begin = min((to_instant(label, zone) for label in labels), default=until - 1)
        steps = list(windows_between(begin, until, step.value, zone))
        places = {one.label: at for at, one in enumerate(steps)}
        found: dict[Keys, list[int]] = {}
        for row in rows:
            found.setdefault(row.keys[1:], [0] * len(steps))[places[row.keys[0] or ""]] += row.amount
        return steps, found

    def _episodes(
        self,
        step: Step,
        by: tuple[str, ...],
        where: Where,
        start: Instant,
        end: Instant,
        zone: str,
        thresholds: Thresholds,
        judgements: Sequence[Judgement],
    ) -> list[Episode]:
        """The episodes of one kind of series that reach beyond `start`, the dearest first."""
        least = thresholds.amount if thresholds.need is Need.BOTH else 0
        found: list[Episode] = []
        for block, series in self._watched(step, by, where, start, end, zone, least):
            # An episode belongs to the block in which it began, whose history it is known by for as long as it lasts.
            # Another block's history may see the same time otherwise; what it began earlier is told already.
            for episode in episodes(series, thresholds, judgements):
                known = any(one.keys == episode.keys and episode.since < one.until for one in found)
                if block.start <= episode.since < block.end and not known:
                    found.append(episode)
        return sorted((episode for episode in found if episode.until > start), key=lambda episode: -episode.impact)

    def _watched(
        self, step: Step, by: tuple[str, ...], where: Where, start: Instant, end: Instant, zone: str, least: int
    ) -> Iterator[tuple[Window, SpendSeries]]:
        """The series of those groups that cost at least so much lately: what cost less cannot be worth telling.

        Each comes once for each block of four weeks in which an episode that reaches beyond `start` may have begun,
        with the history that all episodes of that block are learned from, whenever they are asked for.
        """
        days = 7 if step is Step.HOUR else 14
        recent = self.costs(by, where=where, since=start - days * DAY_MICROSECONDS, until=end, zone=zone).rows
        dear = sorted((row for row in recent if row.amount >= least and row.amount > 0), key=lambda row: -row.amount)
        chosen = {row.keys for row in dear if row.keys != (None,)}
        if not chosen:
            return
        if len(by) == 1:
            where = {**read_where(where), by[0]: tuple(row.keys[0] for row in dear[:WATCHED_MOST])}
        blocks = list(_blocks(start - EPISODE_DAYS[step] * DAY_MICROSECONDS, end, zone))
        since = _day_start(blocks[0].start - WATCHED_DAYS[step] * DAY_MICROSECONDS, zone)
        steps, groups = self._series(step, by, where, since, end, zone)
        for block in blocks:
            learned = _day_start(block.start - WATCHED_DAYS[step] * DAY_MICROSECONDS, zone)
            over = block.end + EPISODE_DAYS[step] * DAY_MICROSECONDS
            first, began_at, last = (
                bisect_left(steps, instant, key=_start_of) for instant in (learned, block.start, over)
            )
            began = min((_first_spend(amounts[first:last]) for amounts in groups.values()), default=0)
            for keys in sorted(chosen & groups.keys(), key=str):
                # Before the ledger began nothing was known. A service or feature that came later cost nothing until
                # then; new users come all the time, and are learned first.
                amounts = groups[keys][first:last]
                place = _first_spend(amounts) if by == ("user",) else began
                starts = [one.start for one in steps[first:last]][place:]
                # Without credits no episode of this block rises by more than all that was spent since it began.
                if starts and (sum(groups[keys][began_at:last]) >= least or min(amounts) < 0):
                    yield (
                        block,
                        SpendSeries(
                            by=by,
                            keys=keys,
                            step=step,
                            starts=(*starts, steps[last - 1].end),
                            amounts=tuple(amounts[place:]),
                        ),
                    )

    def _explained(self, episode: Episode, where: Where) -> Episode:
        named = dict(zip(episode.by, episode.keys, strict=True))
        chosen = {**read_where(where), **{name: (value,) for name, value in named.items()}}
        causes: list[Cause] = []
        for by in EXPLAINING:
            asked = tuple(name for name in by if name not in named)
            try:
                during = self._amounts(asked, chosen, episode.since, episode.until)
                usual = [self._amounts(asked, chosen, *span) for span in _earlier(episode)]
            except LedgerError as error:
                if error.code != "scan_too_large":
                    raise
                continue  # Too many calls to look at one by one; the other questions are answered by rollups.
            causes += explain(episode, asked, during, usual).causes
        causes.sort(key=lambda cause: -cause.rise)
        return msgspec.structs.replace(episode, causes=tuple(causes))

    def _amounts(
        self, by: tuple[str, ...], where: Mapping[str, tuple[str | None, ...]], since: Instant, until: Instant
    ) -> dict[Keys, int]:
        rows: Sequence[CostRow] = self.costs(by, where=dict(where), since=since, until=until).rows
        return {row.keys: row.amount for row in rows}

    def _judgements(self) -> list[Judgement]:
        return [msgspec.json.decode(body, type=Judgement) for body in self.store.notes(NOTE, live_only=True)]


def _thresholds(amount: str | Decimal | int | Money, percent: int, need: str) -> Thresholds:
    least = decimal_to_pico(amount)
    if isinstance(percent, bool) or not isinstance(percent, int) or percent < 0 or least < 0:
        raise InvalidInput("thresholds are an amount and a whole percentage, from 0", code="bad_threshold")
    if need not in tuple(Need):
        raise InvalidInput("need is both or either of the thresholds", code="bad_threshold", field="need")
    return Thresholds(amount=least, percent=percent, need=Need(need))


def _earlier(episode: Episode) -> list[tuple[Instant, Instant]]:
    """The same time of the weeks before, of as many weeks back as the episode is long."""
    week = 7 * DAY_MICROSECONDS
    shift = week * -(-(episode.until - episode.since) // week)
    return [(episode.since - count * shift, episode.until - count * shift) for count in range(1, EARLIER_TIMES + 1)]


def _blocks(start: Instant, end: Instant, zone: str) -> Iterator[Window]:
    """The blocks of four weeks that [start, end) touches, always the same ones, from midnight to midnight."""
    length = BLOCK_DAYS * DAY_MICROSECONDS
    for number in range(start // length, (end - 1) // length + 1):
        first, last = (_day_start(at * length, zone) for at in (number, number + 1))
        yield Window(first, last, str(number))


def _start_of(window: Window) -> Instant:
    return window.start


def _day_start(instant: Instant, zone: str) -> Instant:
    return window_of(instant, "day", zone).start


def _since(amounts: Sequence[int], steps: Sequence[Window], start: Instant) -> list[int]:
    return [amount for amount, one in zip(amounts, steps, strict=False) if one.start >= start]


def _first_spend(amounts: Sequence[int]) -> int:
    return next((at for at, amount in enumerate(amounts) if amount), len(amounts))


def _days(span: tuple[Instant, Instant], zone: str) -> Fraction:
    """How many days a period has: whole ones by the calendar, of 23 or 25 hours too."""
    first, last = (local_day(instant, zone) for instant in span)
    if all(local_midnight(day, zone) == instant for day, instant in zip((first, last), span, strict=True)):
        return Fraction(last - first)
    return Fraction(span[1] - span[0], DAY_MICROSECONDS)
