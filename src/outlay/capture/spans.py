"""From a span's attributes to the call it stands for: OpenTelemetry's GenAI conventions, current and older.

Which attribute says what is data (`data/_spans.toml`). Both the exporter inside a program and a server that takes
OTLP read spans here. Attributes that hold prompts and outputs are never read.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from functools import cache
from typing import Any, Final

import msgspec

from outlay.capture.detect import by_name
from outlay.capture.intake import quantity
from outlay.capture.overlaps import settle
from outlay.capture.profiles import DATA
from outlay.clock import Instant, to_datetime
from outlay.errors import InvalidInput
from outlay.model import ATTRIBUTIONS, Quantity
from outlay.money import EXACT

Attributes = Mapping[str, Any]
Names = tuple[str, ...]

_OWN: Final = "outlay."


class _Rules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    provider: Names
    service: Names
    requested: Names
    operation: Names
    response_id: Names
    error: Names
    reported_cost: Names
    not_calls: frozenset[str]
    operations: dict[str, str]
    usage: dict[str, Names]
    conditions: dict[str, Names]
    parameters: dict[str, Names]
    attribution: dict[str, Names]


def call_of_span(
    attributes: Attributes,
    *,
    trace_id: str,
    span_id: str,
    started_at: Instant,
    ended_at: Instant,
    failed: bool = False,
    resource: Attributes | None = None,
) -> dict[str, Any] | None:
    """The fields of `record` for the call that a span stands for; None for a span that is no call to a model.

    Its id is made of the two ids (lower-case hex), so a span that is exported twice is one event. `resource` are the
    attributes of what sent it. `call_key` is set where the span bears the answer's id, so that a call which a
    wrapper or a gateway saw too is booked once.
    """
    rules = _rules()
    named = str(_first(attributes, rules.provider) or "")
    service = _first(attributes, rules.service)
    told = _first(attributes, rules.operation)
    kind = str(told or "").lower()
    if not isinstance(service, str) or not service or kind in rules.not_calls or not (named or told):
        return None
    profile = by_name(named) if named else None
    provider = profile.id if profile is not None else named or "unknown"
    usage, notes = _usage(attributes, rules)
    response_id, cost = _first(attributes, rules.response_id), _first(attributes, rules.reported_cost)
    both = {**(resource or {}), **attributes}
    fields: dict[str, Any] = {
        "id": f"{trace_id}-{span_id}",
        "provider": provider,
        "service": service,
        "operation": rules.operations.get(kind, kind or None),
        "usage": usage,
        "conditions": _found(both, rules.conditions),
        "parameters": {**_plain(_found(attributes, rules.parameters)), **notes},
        "time": _moment(started_at),
        "time_to": _moment(max(started_at, ended_at)),
        "duration_s": Decimal(max(0, ended_at - started_at)).scaleb(-6, EXACT),
        "trace": trace_id,
        "call_key": f"{provider}:{response_id}" if response_id else None,
        **_attribution(both, rules),
    }
    if not usage and _is_amount(cost):
        # Where there is usage, what a library made of it by a table of its own is no better than the price book.
        fields.update(reported_cost=repr(cost) if isinstance(cost, float) else str(cost), basis="reported")
    requested = _first(attributes, rules.requested)
    if isinstance(requested, str) and requested != service:
        fields["parameters"]["requested_service"] = requested
    if failed or _first(attributes, rules.error):
        fields.update(status="failed", error=str(_first(attributes, rules.error) or "error")[:200])
    return {name: value for name, value in fields.items() if value not in (None, {})}


def _usage(attributes: Attributes, rules: _Rules) -> tuple[dict[str, Quantity], dict[str, str]]:
    usage: dict[str, Quantity] = {}
    notes: list[str] = []
    for meter, names in rules.usage.items():
        value = _first(attributes, names)
        if value is None:
            continue
        try:
            usage[meter] = quantity(value, meter)
        except InvalidInput as error:
            notes.append(error.message)
    usage = {meter: amount for meter, amount in usage.items() if amount or meter in ("input_tokens", "output_tokens")}
    notes += settle(usage)
    return usage, {"reading": "; ".join(notes)[:500]} if notes else {}


def _attribution(attributes: Attributes, rules: _Rules) -> dict[str, Any]:
    names = {name: (_OWN + name, *rules.attribution.get(name, ())) for name in (*ATTRIBUTIONS, "step")}
    return {name: str(value) for name, value in _found(attributes, names).items()}


def _found(attributes: Attributes, names: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    found = {name: _first(attributes, places) for name, places in names.items()}
    return {name: value for name, value in found.items() if value is not None}


def _first(attributes: Attributes, names: Sequence[str]) -> Any:
    return next((attributes[name] for name in names if attributes.get(name) not in (None, "")), None)


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if isinstance(value, str | bool | int | float)}


def _is_amount(cost: object) -> bool:
    return isinstance(cost, int | float | str) and not isinstance(cost, bool)


def _moment(instant: Instant) -> datetime:
    return to_datetime(instant)


@cache
def _rules() -> _Rules:
    return msgspec.convert(tomllib.loads((DATA / "_spans.toml").read_text(encoding="utf-8")), _Rules)
