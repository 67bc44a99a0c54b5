"""Counters of one server, in Prometheus' format. Hot routes count plain numbers; the format is made when asked."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
GROUPS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096)
CONTENT_TYPE: Final = b"text/plain; version=0.0.4; charset=utf-8"


class Distribution:
    """How many values fell under each of some bounds."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        """`bounds` rise."""
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        """Count one value."""
        at = 0
        for bound in self.bounds:
            if value <= bound:
                break
            at += 1
        self.counts[at] += 1
        self.total += value

    def cumulative(self) -> list[tuple[str, float]]:
        """The counts up to each bound, as Prometheus wants them."""
        found, running = [], 0
        for bound, count in zip((*map(str, self.bounds), "+Inf"), self.counts, strict=True):
            running += count
            found.append((bound, float(running)))
        return found


class Metrics(Collector):
    """What a server counts."""

    def __init__(self) -> None:
        """All zero."""
        self.requests: defaultdict[tuple[str, str, int], int] = defaultdict(int)
        self.seconds: dict[str, Distribution] = {}
        self.events: defaultdict[str, int] = defaultdict(int)
        self.reservations: defaultdict[str, int] = defaultdict(int)
        self.group_sizes = Distribution(GROUPS)
        self.commit_seconds = Distribution(SECONDS)
        self.failed_groups = 0
        self.gauges: dict[str, tuple[str, Callable[[], float]]] = {}
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count an answered request. `route` is its template, never its path."""
        self.requests[route, method, status] += 1
        found = self.seconds.get(route)
        if found is None:
            found = self.seconds[route] = Distribution(SECONDS)
        found.add(seconds)

    def collect(self) -> Iterable[Metric]:
        """What is told now."""
        requests = CounterMetricFamily(
            "outlay_http_requests", "Requests answered.", labels=["route", "method", "status"]
        )
        for (route, method, status), count in list(self.requests.items()):
            requests.add_metric([route, method, str(status)], count)
        yield requests
        durations = HistogramMetricFamily("outlay_http_seconds", "Seconds to the answer.", labels=["route"])
        for route, found in list(self.seconds.items()):
            durations.add_metric([route], found.cumulative(), found.total)
        yield durations
        for name, text, counts in (
            ("outlay_events", "Events by what became of them.", self.events),
            ("outlay_reservations", "Reservations and settlements by what became of them.", self.reservations),
        ):
            family = CounterMetricFamily(name, text, labels=["outcome"])
            for outcome, count in list(counts.items()):
                family.add_metric([outcome], count)
            yield family
        yield _histogram("outlay_group_requests", "Requests that shared one commit.", self.group_sizes)
        yield _histogram("outlay_commit_seconds", "Seconds from a group's start to its commit.", self.commit_seconds)
        yield CounterMetricFamily("outlay_failed_groups", "Groups retried one by one.", self.failed_groups)
        for name, (text, read) in self.gauges.items():
            yield GaugeMetricFamily(name, text, read())

    def text(self) -> bytes:
        """The page that Prometheus reads."""
        return generate_latest(self._registry)


def _histogram(name: str, text: str, found: Distribution) -> HistogramMetricFamily:
    return HistogramMetricFamily(name, text, found.cumulative(), found.total)
