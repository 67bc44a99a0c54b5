"""Costs as CloudWatch's embedded metric format: one JSON line makes metrics, and stays a log line to be queried.

    log = EmfLog("Manuel/Costs", metric="RequestCost", service_metric="ServiceCost")

CloudWatch does not add up dimensions: a widget or an alarm sees only the sets that are written, so a metric that is
to be read without dimensions needs the empty set among them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from outlay.clock import Instant, isoformat
from outlay.errors import InvalidInput
from outlay.instrument.envelope import CostPart, Label, RequestCost, encoded, label_of
from outlay.meters import METERS
from outlay.model import ATTRIBUTIONS, Quantity, Status, UsageEvent
from outlay.money import Money
from outlay.receipt import Receipt

DimensionSets = Sequence[Sequence[str]]

DIMENSIONS: Final = (
    "Operation",
    "Service",
    "Provider",
    "Model",
    "Success",
    *(name.capitalize() for name in ATTRIBUTIONS if name not in ("request", "trace")),
)
"""What a dimension may be: a name here, or one that `names` gives it."""

FIELDS: Final = (
    "message",
    "timestamp",
    "request_id",
    "user_id",
    "operation",
    "provider",
    "model_id",
    "total_cost",
    "currency",
    "text_input_tokens",
    "text_output_tokens",
    "success",
)
"""The fields of a line, beside dimensions and metrics; `names` may call them otherwise."""

_DIMENSIONS_MAX: Final = 30
_MILLISECOND: Final = 1_000


class EmfLog:
    """Writes a line for each request (or each call of one). Give it to the middleware or the decorator."""

    def __init__(
        self,
        namespace: str,
        *,
        per: str = "request",
        metric: str = "RequestCost",
        dimensions: DimensionSets = ((), ("Operation",)),
        service_metric: str | None = None,
        service_dimensions: DimensionSets = (("Service",), ("Service", "Operation")),
        daily_metric: str | None = None,
        daily_total: Callable[[], Money] | None = None,
        unit: str = "None",
        names: Mapping[str, str] | None = None,
        message: str | None = None,
        label: Label | None = None,
        write: Callable[[str], object] | None = None,
    ) -> None:
        """`per` is request or call. `metric` is what one cost, by each set of `dimensions`.

        `service_metric` adds a line for each service of a request; `daily_metric` the sum of the day so far, which
        `daily_total` tells. `names` renames fields and dimensions: {"user_id": "userId"}. `write` takes a line (with
        its end) and writes to standard output if it is not given.

        Raises InvalidInput `bad_setting` for an unknown dimension, too many of them, or another `per`.
        """
        if per not in ("request", "call"):
            raise InvalidInput(f"per is {per!r}; use request or call", code="bad_setting", field="per")
        if daily_metric is not None and daily_total is None:
            raise InvalidInput("daily_metric needs daily_total, which tells the sum", code="bad_setting")
        for chosen in (*dimensions, *service_dimensions):
            _check_dimensions(chosen)
        self.namespace = namespace
        self.per = per
        self._metric, self._dimensions = metric, dimensions
        self._service_metric, self._service_dimensions = service_metric, service_dimensions
        self._daily_metric, self._daily_total = daily_metric, daily_total
        self._unit = unit
        self._names = dict(names or {})
        self._message = message
        self._label = label or label_of
        self._write = write or _to_standard_output

    def __call__(self, request: RequestCost) -> None:
        """Write the lines of a request that has ended."""
        if self.per == "call":
            for receipt in request.receipts:
                self.call(receipt)
            return
        self._request(request)
        if self._service_metric is not None:
            for part in request.parts(self._label):
                self._service(request, part)

    def call(self, receipt: Receipt) -> None:
        """Write the line of one call."""
        event = receipt.event
        fields = {**_fields_of(event), "request_id": event.request, "total_cost": receipt.total.amount}
        fields |= _tokens_of([event]) if _tokens_of([event])["text_input_tokens"] else {}
        metrics = {self._metric: receipt.total.amount}
        self._line(event.occurred_from, fields, self._values(event), metrics, self._dimensions)

    def _request(self, request: RequestCost) -> None:
        events = [receipt.event for receipt in request.receipts]
        known, cost = request.attribution(), request.total.amount
        failed = any(event.status is Status.FAILED for event in events)
        fields: dict[str, Any] = {
            "request_id": request.request_id,
            "user_id": known.get("user"),
            "operation": request.operation,
            "total_cost": cost,
            "currency": request.currency,
            "success": not failed,
        }
        models = _models_of(events)
        if len(models) == 1:
            fields.update(_fields_of(models[0][0], "provider", "model_id"), **_tokens_of(models[0]))
        values = {name.capitalize(): str(known[name]) for name in ATTRIBUTIONS if known.get(name) is not None}
        values |= {"Operation": request.operation or "unknown", "Success": _truth(not failed)}
        metrics: dict[str, Any] = {self._metric: cost}
        self._line(request.started_at, fields, values, metrics, self._dimensions)
        if len(models) > 1:
            # A sum over models would hide which; a line with total_cost for each would count the request again.
            for calls in models:
                told = {"request_id": request.request_id, **_fields_of(calls[0], "provider", "model_id", "user_id")}
                self._line(request.started_at, {**told, **_tokens_of(calls)}, {}, {}, ())
        if self._daily_metric is not None and self._daily_total is not None:
            daily = {self._daily_metric: self._daily_total().amount}
            self._line(request.started_at, {}, values, daily, ((),))

    def _service(self, request: RequestCost, part: CostPart) -> None:
        values = {"Service": part.service, "Operation": part.operation}
        metrics = {str(self._service_metric): part.cost}
        fields = {"request_id": request.request_id}
        self._line(request.started_at, fields, values, metrics, self._service_dimensions)

    def _values(self, event: UsageEvent) -> dict[str, str]:
        service, operation = self._label(event)
        values = {name.capitalize(): getattr(event, name) for name in ATTRIBUTIONS}
        values |= {"Service": service, "Operation": event.operation or operation, "Provider": event.provider}
        values |= {"Model": event.service, "Success": _truth(event.status is Status.OK)}
        return {name: value for name, value in values.items() if value is not None}

    def _line(
        self,
        at: Instant,
        fields: Mapping[str, Any],
        values: Mapping[str, str],
        metrics: Mapping[str, Any],
        dimensions: DimensionSets,
    ) -> None:
        told = {"message": self._message, "timestamp": isoformat(at), **fields}
        line: dict[str, Any] = {}
        if metrics:
            # A set of which a value is not known would hide the metric: it is left out, the others stay.
            sets = [list(map(self._named, chosen)) for chosen in dimensions if all(name in values for name in chosen)]
            directive = {
                "Namespace": self.namespace,
                "Dimensions": sets,
                "Metrics": [{"Name": name, "Unit": self._unit} for name in metrics],
            }
            line["_aws"] = {"Timestamp": at // _MILLISECOND, "CloudWatchMetrics": [directive]}
        line |= {self._named(name): value for name, value in told.items() if value is not None}
        wanted = {name for chosen in dimensions for name in chosen}
        line |= {self._named(name): value for name, value in values.items() if name in wanted}
        line.update(metrics)
        self._write(encoded(line).decode() + "\n")

    def _named(self, name: str) -> str:
        return self._names.get(name, name)


def _check_dimensions(chosen: Sequence[str]) -> None:
    unknown = [name for name in chosen if name not in DIMENSIONS]
    if unknown or len(chosen) > _DIMENSIONS_MAX or isinstance(chosen, str):
        raise InvalidInput(
            f"dimensions are sets of at most {_DIMENSIONS_MAX} of {', '.join(DIMENSIONS)}, not {list(chosen)[:5]}",
            code="bad_setting",
            field="dimensions",
        )


def _fields_of(event: UsageEvent, *names: str) -> dict[str, Any]:
    fields = {
        "user_id": event.user,
        "operation": event.operation,
        "provider": event.provider,
        "model_id": event.service,
        "success": event.status is Status.OK,
    }
    return {name: fields[name] for name in names} if names else fields


def _models_of(events: Sequence[UsageEvent]) -> list[list[UsageEvent]]:
    """The calls that used tokens, by the model that they asked."""
    models: dict[tuple[str, str], list[UsageEvent]] = {}
    for event in events:
        if any(METERS[meter].unit == "token" for meter in event.usage):
            models.setdefault((event.provider, event.service), []).append(event)
    return list(models.values())


def _tokens_of(events: Sequence[UsageEvent]) -> dict[str, Quantity]:
    def sum_of(meter: str) -> Quantity:
        return sum((event.usage.get(meter, 0) * event.count for event in events), 0)

    return {"text_input_tokens": sum_of("input_tokens"), "text_output_tokens": sum_of("output_tokens")}


def _truth(value: bool) -> str:
    return "true" if value else "false"


def _to_standard_output(line: str) -> None:
    """Where Lambda and the CloudWatch agent look for the format."""
    sys.stdout.write(line)
    sys.stdout.flush()
