"""What callers may pass to the Ledger, and how it is read: times, filters, fields of an event."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, TypedDict

from outlay.capture.extract import Extraction
from outlay.capture.intake import required_text
from outlay.clock import Clock, Instant, date_to_day, local_midnight, to_datetime, to_instant
from outlay.errors import InvalidInput
from outlay.meters import meter_named
from outlay.model import ATTRIBUTIONS, Rate
from outlay.money import Money, parse_decimal

When = datetime | date | str | int | timedelta | None
"""A point in time: aware datetime, date (its midnight in the zone), ISO text, instant, or how long ago."""

Where = Mapping[str, str | Sequence[str | None] | None] | None
"""Dimension or `tag.<name>` to a value, None (events without one), or a list of them."""

CALLED_BASES: Final = ("measured", "reported", "estimated")
"""What calls rest on, where bills and the adjustments to them do not."""

TIME_GROUPS: Final = ("hour", "day", "week", "month")
DIMENSIONS: Final = (
    "provider",
    "service",
    "operation",
    *ATTRIBUTIONS,
    "step",
    "status",
    "basis",
    "meter",
)


_SHARED: Final = frozenset((*ATTRIBUTIONS, "step", "tags", "time", "time_to"))
"""The fields that a call inside another call shares with it."""


class EventFields(TypedDict, total=False):
    """The fields of one call, as `record`, `price` and `track` take them. Only provider and service are needed."""

    provider: str
    service: str
    operation: str | None
    usage: Mapping[str, Any] | None
    conditions: Mapping[str, Any] | None
    user: str | None
    customer: str | None
    team: str | None
    project: str | None
    feature: str | None
    job: str | None
    environment: str | None
    request: str | None
    trace: str | None
    step: str | None
    tags: Mapping[str, Any] | None
    id: str | None
    time: datetime | str | None
    time_to: datetime | str | None
    status: str
    error: str | None
    duration_s: Decimal | float | None
    parameters: Mapping[str, Any] | None
    count: int
    reported_cost: Money | Decimal | str | float | None
    basis: str | None
    call_key: str | None


class RateFields(TypedDict, total=False):
    """The fields of a price of one's own, beside provider, service, meter and price."""

    per: int
    conditions: Mapping[str, str]
    currency: str
    minimum: str | Decimal
    increment: str | Decimal
    attempts: bool
    source: str
    note: str


def checked_dimensions(names: str | Sequence[str], *, times: bool) -> tuple[str, ...]:
    """Names to group or filter by. Raises InvalidInput `unknown_dimension`."""
    if not isinstance(names, str | Iterable):
        raise InvalidInput("give the name of a dimension, or a list of names", code="unknown_dimension")
    chosen = (names,) if isinstance(names, str) else tuple(names)
    known = (*DIMENSIONS, *TIME_GROUPS) if times else DIMENSIONS
    for name in chosen:
        if name not in known and not (isinstance(name, str) and name.startswith("tag.") and len(name) > 4):
            raise InvalidInput(
                f"{str(name)[:40]!r} is no dimension; use {', '.join(known)} or tag.<name>", code="unknown_dimension"
            )
    return chosen


def read_where(where: Where) -> dict[str, tuple[str | None, ...]]:
    """A filter as the store takes it, values as `record` keeps them: 42 as its text.

    Raises InvalidInput `unknown_dimension`, `bad_filter` or `bad_text`.
    """
    if not isinstance(where, Mapping | None):
        raise InvalidInput("where is a mapping of dimension to a value or a list of values", code="bad_filter")
    chosen: dict[str, tuple[str | None, ...]] = {}
    for name, value in (where or {}).items():
        checked_dimensions((name,), times=False)
        values = tuple(value) if isinstance(value, list | tuple | set | frozenset) else (value,)
        chosen[name] = tuple(None if one is None else read_text(one, str(name)) for one in values)
    return chosen


def viewed(where: Where, view: str) -> Where:
    """The filter of a view: `called` leaves out what bills brought, `reconciled` is all, each cost once.

    Raises InvalidInput `bad_choice`.
    """
    if view == "reconciled":
        return where
    if view != "called":
        raise InvalidInput(f"view is called or reconciled, not {str(view)[:40]!r}", code="bad_choice", field="view")
    if not isinstance(where, Mapping | None):
        return where
    told = read_where(where).get("basis", CALLED_BASES)
    return {**(where or {}), "basis": [basis for basis in CALLED_BASES if basis in told]}


def read_when(value: When, zone: str, clock: Clock) -> Instant | None:
    """An instant: dates and naive times are local to `zone`, a timedelta counts back from now.

    Raises InvalidInput `bad_time`, also for what lies in no year from 1 to 9999.
    """
    if value is None:
        return None
    try:
        if isinstance(value, timedelta):
            value = clock.now() - value // timedelta(microseconds=1)
        if isinstance(value, str) and len(value.strip()) == 10:
            value = read_date(value)
        if isinstance(value, date) and not isinstance(value, datetime):
            return local_midnight(date_to_day(value), zone)
        instant = to_instant(value, zone)
        to_datetime(instant, zone)
    except OverflowError as error:
        raise InvalidInput("a time lies in no year from 1 to 9999", code="bad_time") from error
    return instant


def read_date(value: date | str) -> date:
    """A date, or its ISO text. Raises InvalidInput `bad_time`."""
    if isinstance(value, date):
        return value
    try:
        return date.fromisoformat(value.strip())
    except (ValueError, AttributeError) as error:
        raise InvalidInput(f"{str(value)[:40]!r} is no date such as 2026-11-22", code="bad_time") from error


def read_text(value: object, field: str) -> str:
    """A name as `record` keeps it: 42 as its text. Raises InvalidInput `missing_field`, `bad_text`, `nul_byte` or
    `text_too_long`.
    """
    text = required_text(value, field) if value is not None else None
    if text is None:
        raise InvalidInput(f"{field} is not given", code="missing_field", field=field)
    return text


def read_rate(
    *,
    provider: str,
    service: str,
    meter: str,
    price: object,
    valid_from: Instant | None,
    valid_to: Instant | None,
    currency: str,
    recorded_at: Instant,
    fields: RateFields,
) -> Rate:
    """A price of the user's own. Raises InvalidInput: `float_money`, `unknown_meter`, `negative_price`, `bad_per`,
    `empty_span`, `not_a_number`, `bad_currency`, `bad_text`, `unknown_field`.
    """
    unknown = sorted(fields.keys() - RateFields.__annotations__.keys())
    if unknown:
        raise InvalidInput(f"a price has no field {', '.join(unknown)}", code="unknown_field")
    if isinstance(price, float | bool):
        raise InvalidInput("a float price would not be exact; give a string such as '0.01'", code="float_money")
    per = fields.get("per", 1)
    if isinstance(per, bool) or not isinstance(per, int) or per < 1:
        raise InvalidInput("per is how many units the price is for: a whole number from 1", code="bad_per")
    amount = parse_decimal(str(price), "price")
    if amount < 0:
        raise InvalidInput(f"price {price} is negative; give a credit by a correction", code="negative_price")
    if valid_from is not None and valid_to is not None and valid_from >= valid_to:
        raise InvalidInput("valid_to does not lie after valid_from", code="empty_span")
    return Rate(
        provider=read_text(provider, "provider"),
        service=read_text(service, "service"),
        meter=meter_named(meter).name,
        price=amount,
        per=per,
        currency=checked_currency(fields.get("currency") or currency),
        conditions=_conditions(fields.get("conditions")),
        valid_from=valid_from,
        valid_to=valid_to,
        minimum=_optional_quantity(fields.get("minimum"), "minimum"),
        increment=_optional_quantity(fields.get("increment"), "increment"),
        attempts=bool(fields.get("attempts", False)),
        source=str(fields.get("source") or ""),
        note=str(fields.get("note") or ""),
        origin="user",
        recorded_at=recorded_at,
    )


def _optional_quantity(value: str | Decimal | None, what: str) -> Decimal | None:
    if value is None:
        return None
    if isinstance(value, float | bool):
        raise InvalidInput(f"a float {what} would not be exact; give a string such as '0.5'", code="float_money")
    amount = parse_decimal(str(value), what)
    if amount <= 0:
        raise InvalidInput(f"{what} is {amount}; give more than 0, or leave it out", code="not_a_number")
    return amount


def _conditions(conditions: object) -> dict[str, str]:
    if not isinstance(conditions, Mapping | None):
        raise InvalidInput("conditions is a mapping of name to value", code="bad_text", field="conditions")
    return {
        read_text(name, "conditions"): read_text(value, "conditions") for name, value in (conditions or {}).items()
    }


def checked_currency(currency: object) -> str:
    """An ISO 4217 code: three capital letters. Raises InvalidInput `bad_currency`."""
    if isinstance(currency, str) and len(currency) == 3 and currency.isascii() and currency.isupper():
        return currency
    raise InvalidInput(f"currency {str(currency)[:40]!r} is no ISO code such as USD", code="bad_currency")


def calls_of(
    found: Extraction, fields: Mapping[str, Any], is_known: Callable[[str, str], bool]
) -> list[dict[str, Any]]:
    """The calls that one response tells: its own, then those of other services that happened inside it.

    Where the book does not know the name that served (`is_known`), the name that was asked for is tried.
    """
    main = of_extraction(found, fields)
    asked = found.requested_service
    if asked and not is_known(main["provider"], main["service"]) and is_known(main["provider"], asked):
        main["parameters"] = {**main["parameters"], "served_service": main["service"]}
        main["parameters"].pop("requested_service", None)
        main["service"] = asked
    calls = [main]
    shared = {name: value for name, value in fields.items() if name in _SHARED}
    for number, inner in enumerate(found.also, 1):
        call = of_extraction(inner, shared)
        if fields.get("id") is not None:
            call["id"] = f"{fields['id']}+{number}"
        calls.append(call)
    return calls


def of_extraction(found: Extraction, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a call read from a provider's response, with what the caller says on top."""
    parameters: dict[str, Any] = dict(found.parameters)
    if found.requested_service and found.requested_service != found.service:
        parameters["requested_service"] = found.requested_service
    if found.notes:
        parameters["reading"] = "; ".join(found.notes)[:500]
    merged: dict[str, Any] = {
        "provider": found.provider,
        "service": found.service,
        "operation": found.operation,
        "usage": found.usage,
        "conditions": found.conditions,
        "status": found.status,
        "error": found.error,
        "reported_cost": found.reported_cost,
        "call_key": found.call_key,
        "basis": found.basis,
        "parameters": parameters,
    }
    for name, value in fields.items():
        if value is None:
            continue
        if name in ("conditions", "parameters", "usage") and merged.get(name) and isinstance(value, Mapping):
            merged[name] = {**merged[name], **value}
        else:
            merged[name] = value
    return merged
