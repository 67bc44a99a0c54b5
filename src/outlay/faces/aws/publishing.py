"""Costs out to CloudWatch: the entries since the last time, minute by minute, within PutMetricData's limits.

At least once, and no better: CloudWatch adds up what it is sent and knows no second sending. So the ledger keeps how
far each batch came; a process that dies between CloudWatch's answer and that note sends one batch, of at most
1,000 minutes of series, again. Nobody should bill from CloudWatch.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from itertools import islice, takewhile
from typing import Any, Final

import msgspec

from outlay.clock import DAY_MICROSECONDS, Clock, Instant, local_day, local_midnight, to_datetime
from outlay.errors import LedgerError
from outlay.faces.aws.definition import Definition, MetricOf
from outlay.faces.aws.series import MINUTE, Series, values_of
from outlay.ledger.store import EntryFilter, LedgerStore
from outlay.model import CostQuery, Entry
from outlay.money import EXACT, pico_to_decimal, sum_exactly

DATA_MAX: Final = 1_000
VALUES_MAX: Final = 150
BYTES_MAX: Final = 900_000
"""PutMetricData takes 1,000 data, 150 values in each, and 1 MB in all; names are counted with some to spare."""

OLDEST_DAYS: Final = 14
AHEAD_HOURS: Final = 2
ENTRIES: Final = 20_000
SETTLE_S: Final = 30
"""How long entries of a ledger on PostgreSQL wait."""

_KIND: Final = "aws-metrics"
_SECOND: Final = 1_000_000

Put = Callable[[str, list[dict[str, Any]]], object]
"""Sends data of one namespace."""


class Progress(msgspec.Struct, frozen=True):
    """How far it came: entries up to `after` are sent; of those up to `upto`, begun `at`, so many batches."""

    after: int = 0
    upto: int = 0
    batches: int = 0
    at: Instant = 0


class Published(msgspec.Struct):
    """What one run sent: entries, data and requests; entries that CloudWatch takes no more for their age."""

    entries: int = 0
    data: int = 0
    requests: int = 0
    too_old: int = 0


class Publisher:
    """Sends what a ledger recorded since the last run. Two at once are refused by the note that both would write."""

    def __init__(
        self, store: LedgerStore, clock: Clock, definition: Definition, put: Put, *, settle_s: int = 0
    ) -> None:
        """`put` sends one batch; it raises where that fails, and the next run begins with that batch.

        Entries younger than `settle_s` wait for the next run: where several servers write at once, one with a lower
        number may be committed after one with a higher, and would be passed over.
        """
        self._store = store
        self._clock = clock
        self._definition = definition
        self._put = put
        self._settle = settle_s * _SECOND
        self._id = definition.name

    def run(self) -> Published:
        """Send everything that is new, then the day so far. Raises LedgerError `published_meanwhile`, and as `put`.

        The sum of the day is a gauge: only its maximum means anything, so a second sending changes nothing.
        """
        done = Published()
        progress, written = self._read()
        while entries := self._entries(progress):
            upto, at = entries[-1].seq, progress.at or self._clock.now()
            wanted = list(_usable(entries, at, done))
            data = list(_batches(wanted, self._definition))
            for number, (namespace, batch) in enumerate(data):
                if number < progress.batches:
                    continue
                self._put(namespace, batch)
                done.requests += 1
                done.data += len(batch)
                progress, written = self._keep(Progress(progress.after, upto, number + 1, at), written)
            done.entries += len(entries)
            progress, written = self._keep(Progress(upto), written)
        self._day(done)
        return done

    def _entries(self, progress: Progress) -> list[Entry]:
        walk = self._store.entries(EntryFilter(after=progress.after, live_only=False), ENTRIES)
        settled = self._clock.now() - self._settle
        found = list(takewhile(lambda entry: entry.recorded_at <= settled, islice(walk, ENTRIES)))
        if progress.upto:
            # The rest of what a run before this one began: the same entries make the same batches.
            found = [entry for entry in found if entry.seq <= progress.upto]
        return found

    def _day(self, done: Published) -> None:
        now = self._clock.now()
        for name, metric in self._definition.metrics.items():
            if metric.of is MetricOf.DAY:
                zone = self._store.home_zone
                query = CostQuery(since=local_midnight(local_day(now, zone), zone))
                amount = pico_to_decimal(self._store.costs(query).total.amount)
                datum = _datum(Series(metric.namespace, name, (), metric.unit), now // MINUTE * MINUTE)
                self._put(metric.namespace, [{**datum, "Value": float(amount)}])
                done.requests += 1
                done.data += 1

    def _read(self) -> tuple[Progress, bytes | None]:
        body = self._store.note(_KIND, self._id)
        return (Progress() if body is None else msgspec.json.decode(body, type=Progress)), body

    def _keep(self, progress: Progress, expected: bytes | None) -> tuple[Progress, bytes]:
        body = msgspec.json.encode(progress)
        if not self._store.put_note(_KIND, self._id, body, expects=expected, at=self._clock.now(), live=False):
            raise LedgerError(
                "another process publishes to CloudWatch from this ledger; let one do it", code="published_meanwhile"
            )
        return progress, body


def _usable(entries: list[Entry], at: Instant, done: Published) -> Iterator[Entry]:
    """The entries that CloudWatch takes at a time: not older than two weeks, not further ahead than two hours."""
    for entry in entries:
        if -AHEAD_HOURS * 60 * MINUTE <= at - entry.event.occurred_from <= OLDEST_DAYS * DAY_MICROSECONDS:
            yield entry
        else:
            done.too_old += 1


class _Statistics:
    """The values of a series in one minute: how many, their sum, the least and the most, and each of them."""

    def __init__(self) -> None:
        self.counts: dict[Decimal, int] = {}

    def add(self, amount: Decimal) -> None:
        self.counts[amount] = self.counts.get(amount, 0) + 1


def _batches(entries: list[Entry], definition: Definition) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Requests of one namespace each, in an order that the same entries always have."""
    batches: dict[str, list[dict[str, Any]]] = {}
    sizes: dict[str, int] = {}
    for series, datum in metric_data(entries, definition):
        size = len(json.dumps(datum, default=str))
        batch = batches.setdefault(series.namespace, [])
        if batch and (len(batch) >= DATA_MAX or sizes[series.namespace] + size > BYTES_MAX):
            yield series.namespace, batch
            batch = batches[series.namespace] = []
            sizes[series.namespace] = 0
        batch.append(datum)
        sizes[series.namespace] = sizes.get(series.namespace, 0) + size
    yield from ((namespace, batch) for namespace, batch in batches.items() if batch)


def metric_data(entries: list[Entry], definition: Definition) -> Iterator[tuple[Series, dict[str, Any]]]:
    """MetricDatum after MetricDatum: a statistic set a series and minute, or all values for percentiles."""
    found: dict[tuple[Series, Instant], _Statistics] = {}
    for series, minute, amount in values_of(entries, definition):
        found.setdefault((series, minute), _Statistics()).add(amount)
    for (series, minute), statistics in found.items():
        datum = _datum(series, minute)
        if not definition.percentiles:
            yield series, {**datum, "StatisticValues": _statistic_set(statistics.counts)}
            continue
        values = list(statistics.counts.items())
        for start in range(0, len(values), VALUES_MAX):
            part = values[start : start + VALUES_MAX]
            yield series, {**datum, "Values": [float(v) for v, _ in part], "Counts": [float(n) for _, n in part]}


def _statistic_set(counts: Mapping[Decimal, int]) -> dict[str, float]:
    """CloudWatch keeps doubles, so here, at the very edge and after the sums are made, money becomes one."""
    total = sum_exactly(EXACT.multiply(amount, count) for amount, count in counts.items())
    return {
        "SampleCount": float(sum(counts.values())),
        "Sum": float(total),
        "Minimum": float(min(counts)),
        "Maximum": float(max(counts)),
    }


def _datum(series: Series, minute: Instant) -> dict[str, Any]:
    at: datetime = to_datetime(minute)
    dimensions = [{"Name": name, "Value": value} for name, value in series.dimensions]
    return {"MetricName": series.metric, "Dimensions": dimensions, "Timestamp": at, "Unit": series.unit}
