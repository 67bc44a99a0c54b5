"""What the ledger's entries are as CloudWatch's series: for each metric and set of dimensions a value a call.

The same names and values as the embedded metric format of `outlay.instrument.emf`, made of the same definition.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from typing import Final, NamedTuple

from outlay.clock import Instant
from outlay.faces.aws.definition import Definition, Metric, MetricOf
from outlay.instrument.emf import EmfLog
from outlay.instrument.envelope import label_of
from outlay.model import ATTRIBUTIONS, Entry, PricingStatus, Status, UsageEvent
from outlay.money import Money, pico_to_decimal

MINUTE: Final = 60 * 1_000_000
VALUE_MAX: Final = 1_024
_TOKENS: Final = {MetricOf.INPUT_TOKENS: "input_tokens", MetricOf.OUTPUT_TOKENS: "output_tokens"}


class Series(NamedTuple):
    """One series of CloudWatch's: its namespace, its name, its dimensions by name, and their unit."""

    namespace: str
    metric: str
    dimensions: tuple[tuple[str, str], ...]
    unit: str


class Value(NamedTuple):
    """A value of a series in the minute that begins at `minute`."""

    series: Series
    minute: Instant
    amount: Decimal


def values_of(entries: Iterable[Entry], definition: Definition) -> Iterator[Value]:
    """The values of entries, in order; calls of one request that stand together are one request's cost.

    A call without a price has no cost, rather than one of zero. A reversal takes its amount off again. A set of
    dimensions that a call lacks one of is left out, as in EMF.
    """
    of_calls = [(name, metric) for name, metric in definition.metrics.items() if metric.of is not MetricOf.REQUEST]
    requests: dict[tuple[str, int], list[Entry]] = {}
    for entry in entries:
        for name, metric in of_calls:
            amount = _measured(metric.of, entry)
            if amount is not None:
                yield from _spread(name, metric, entry, amount)
        # A correction changes what its request cost; it is no further request.
        if not _unknown(entry):
            requests.setdefault((entry.event.request or f"\0{entry.seq}", entry.sign), []).append(entry)
    for name, metric in definition.metrics.items():
        if metric.of is MetricOf.REQUEST:
            for calls in requests.values():
                amount = pico_to_decimal(sum(entry.sign * entry.rating.amount for entry in calls))
                yield from _spread(name, metric, calls[0], amount)


def _measured(of: MetricOf, entry: Entry) -> Decimal | None:
    if of in (MetricOf.CALL, MetricOf.SERVICE):
        return None if _unknown(entry) else pico_to_decimal(entry.sign * entry.rating.amount)
    if of not in _TOKENS:
        return None
    tokens = entry.event.usage.get(_TOKENS[of])
    return None if tokens is None else Decimal(entry.sign * tokens * entry.event.count)


def _unknown(entry: Entry) -> bool:
    return entry.rating.status is PricingStatus.UNPRICED


def _spread(name: str, metric: Metric, entry: Entry, amount: Decimal) -> Iterator[Value]:
    minute = entry.event.occurred_from // MINUTE * MINUTE
    values = dimensions_of(entry.event, metric.of)
    for names in metric.dimensions:
        if all(each in values for each in names):
            chosen = tuple((each, values[each]) for each in names)
            yield Value(Series(metric.namespace, name, chosen, metric.unit), minute, amount)


def dimensions_of(event: UsageEvent, of: MetricOf) -> dict[str, str]:
    """The values of a call's dimensions, as the embedded metric format names them.

    The operation of a request, and of the services that it used, is what the application did: its feature.
    """
    service, operation = label_of(event)
    told = event.operation or operation
    if of is MetricOf.REQUEST:
        told = event.feature or told
    values: dict[str, str | None] = {name.capitalize(): getattr(event, name) for name in ATTRIBUTIONS}
    values |= {"Service": service, "Operation": told if of is not MetricOf.SERVICE else operation}
    values |= {"Provider": event.provider, "Model": event.service}
    values["Success"] = "true" if event.status is Status.OK else "false"
    return {name: _plain(value) for name, value in values.items() if value}


def _plain(value: str) -> str:
    """A dimension's value as PutMetricData takes it: ASCII, no colon first, at most 1,024 characters."""
    text = "".join(sign if " " <= sign <= "~" else "?" for sign in value[:VALUE_MAX])
    return f"?{text[1:]}" if text.startswith(":") else text


def emf_logs(definition: Definition, daily_total: Callable[[], Money] | None = None) -> list[EmfLog]:
    """The definition as embedded metrics, for a Lambda function whose ledger nothing publishes.

    One log for each metric of calls or requests; a metric of requests takes the services' with it, and the day's
    where `daily_total` tells the sum.
    """
    logs = []
    for name, metric in definition.metrics.items():
        if metric.of is MetricOf.CALL:
            logs.append(EmfLog(metric.namespace, per="call", metric=name, dimensions=metric.dimensions))
        elif metric.of is MetricOf.REQUEST:
            shares = definition.first(MetricOf.SERVICE)
            sets = definition.metrics[shares].dimensions if shares is not None else ()
            logs.append(
                EmfLog(
                    metric.namespace,
                    metric=name,
                    dimensions=metric.dimensions,
                    service_metric=shares,
                    service_dimensions=sets,
                    daily_metric=None if daily_total is None else definition.first(MetricOf.DAY),
                    daily_total=daily_total,
                )
            )
    return logs
