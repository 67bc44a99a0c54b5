"""What a caller says was used, made a UsageEvent: checked, normalised, bounded.

Every refusal is an InvalidInput with a stable code, raised before anything is written.
"""

from __future__ import annotations

import os
import random
import time as _time
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from math import isfinite
from operator import itemgetter
from typing import Any, Final

import msgspec

from outlay.clock import Instant, to_instant
from outlay.errors import InvalidInput
from outlay.meters import METERS, unknown_meter
from outlay.model import ATTRIBUTIONS, Basis, Parameter, Quantity, Status, UsageEvent
from outlay.money import EXACT, Money, parse_decimal, whole_or_decimal

TEXT_CHARACTERS_MAX: Final = 512
ERROR_CHARACTERS_MAX: Final = 2_000
TAGS_MAX: Final = 64
TAGS_CHARACTERS_MAX: Final = 8_192
QUANTITY_MAX: Final = 10**15
COUNT_MAX: Final = 10**9
FUTURE_MICROSECONDS_MAX: Final = 5 * 60 * 1_000_000
SHAPES_MAX: Final = 4_096
_sound_shapes: set[tuple[str, ...]] = set()
"""Sets of meter names that were found sound, so that a call like an earlier one is checked by its numbers alone."""
_shapes: dict[tuple[str, ...], _Shape] = {}
_PLACES: Final = Decimal("1e-9")
_PICO: Final = Decimal("1e-12")
_DIGITS_MAX: Final = 15
"""Numbers of more digits before the point are refused; those that are not leave room for places."""
_MONEY_DIGITS_MAX: Final = 12
_REPORTED_PICO_LIMIT: Final = 10**24
_INTEGER_LIMIT: Final = 2**63
_STATUSES: Final = {status.value: status for status in Status}
_BASES: Final = {basis.value: basis for basis in (Basis.MEASURED, Basis.REPORTED, Basis.ESTIMATED)}


def build_event(
    fields: Mapping[str, Any], now: Instant, currency: str = "USD", *, zone: str | None = None, id: str | None = None
) -> UsageEvent:
    """The event of one call as recorded at `now`, from `record`'s fields by name.

    Naive times are read in `zone` if one is given. An id is made unless the fields or `id` give one. Raises
    InvalidInput with one of the codes `missing_field`, `unknown_field`, `bad_event`, `bad_text`, `text_too_long`,
    `nul_byte`, `unknown_meter`, `negative_quantity`, `fractional_quantity`, `not_a_number`, `infinite_quantity`,
    `too_precise`, `tags_too_large`, `naive_time`, `bad_time`, `time_in_future`, `time_reversed`, `unknown_status`,
    `unknown_basis`, `bad_count`, `float_money`.
    """
    if type(fields) is not dict and not isinstance(fields, Mapping):
        raise _field_error(fields)
    try:
        clean: dict[str, Any] = dict(fields)
    except (TypeError, ValueError) as error:
        raise _field_error(fields) from error
    try:
        names = tuple(clean)
        shape = _shapes.get(names) or _shape_of(names)
        _check_texts(clean, shape)
        for name, check in shape.others:
            if clean[name] is None:
                del clean[name]
            else:
                clean[name] = check(clean[name], name)
        if shape.placed:
            _place(clean, now, currency, zone)
        else:
            clean["occurred_from"] = clean["occurred_to"] = now
        if "id" in clean:
            clean["id_given"] = True
        else:
            clean["id"] = id or make_id(now)
        return UsageEvent(**clean)
    except (KeyError, TypeError, AttributeError) as error:
        raise _field_error(fields) from error


class _Shape(msgspec.Struct, frozen=True, eq=False):
    """The names of an event's fields in their order, and how each is checked: looked up once for calls alike."""

    texts: tuple[str, ...]
    values: Callable[[dict[str, Any]], tuple[Any, ...]]
    others: tuple[tuple[str, Callable[[Any, str], Any]], ...]
    placed: bool


def _shape_of(names: tuple[str, ...]) -> _Shape:
    """A shape that was not seen yet. Raises KeyError for a name that is no field's, or where one is missing."""
    checks = [(name, _CHECKS[name]) for name in names]
    others = tuple([(name, check) for name, check in checks if name not in _TEXT_FIELDS])
    texts = ("provider", "service", *(name for name in names if name in _TEXT_FIELDS - _NEEDED))
    shape = _Shape(texts, itemgetter(*texts), others, not _PLACED.isdisjoint(names))
    if _NEEDED.issubset(names) and len(_shapes) < SHAPES_MAX:
        _shapes[names] = shape
    return shape


def _check_texts(clean: dict[str, Any], shape: _Shape) -> None:
    """Check the texts, all at once where they are as usual: what is printable holds no NUL and no lone surrogate."""
    values = shape.values(clean)
    try:
        together = "".join(values)
    except TypeError:
        together = "\0"
    if together.isprintable() and len(together) <= TEXT_CHARACTERS_MAX and "" not in values:
        return
    for name, value in zip(shape.texts, values, strict=True):
        if value is None:
            del clean[name]
        else:
            clean[name] = _CHECKS[name](value, name)


def _place(clean: dict[str, Any], now: Instant, currency: str, zone: str | None) -> None:
    """Read what needs the clock, the zone or the currency."""
    time, time_to = clean.pop("time", None), clean.pop("time_to", None)
    clean["occurred_from"] = now if time is None else _past(time, now, zone, "time")
    clean["occurred_to"] = clean["occurred_from"] if time_to is None else _past(time_to, now, zone, "time_to")
    clean["time_given"] = time is not None
    if clean["occurred_to"] < clean["occurred_from"]:
        raise InvalidInput("time_to lies before time; swap them", code="time_reversed", field="time_to")
    if "reported_cost" in clean:
        clean["reported_cost"] = _reported(clean["reported_cost"], currency)


def _field_error(fields: object) -> InvalidInput:
    if not isinstance(fields, Mapping):
        return InvalidInput(f"an event is a mapping of field to value, not {type(fields).__name__}", code="bad_event")
    for name in ("provider", "service"):
        if name not in fields:
            return InvalidInput(f"an event needs {name!r}", code="missing_field", field=name)
    unknown = sorted(str(name)[:40] for name in fields if name not in FIELDS)
    if unknown:
        return InvalidInput(
            f"event fields {', '.join(unknown)} are not known; put your own under tags", code="unknown_field"
        )
    return InvalidInput("a field of the event has the wrong type", code="bad_event")


def make_id(now: Instant) -> str:
    """A UUIDv7 (RFC 9562): the millisecond of `now`, then 74 random bits, so ids sort by time."""
    dice = _dice().getrandbits(74)
    digits = f"{now // 1000 << 80 | _VERSION | dice >> 62 << 64 | _VARIANT | dice & _LOWER:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


_VERSION: Final = 7 << 76
_VARIANT: Final = 2 << 62
_LOWER: Final = (1 << 62) - 1
_seeded: list[Any] = [0, random.Random()]


def _dice() -> random.Random:
    """Random bits of this process: seeded anew after any fork, also one that Python could not see."""
    pid = os.getpid()
    if _seeded[0] != pid:
        _seeded[:] = [pid, random.Random()]
    dice: random.Random = _seeded[1]
    return dice


def stopwatch_s() -> float:
    """A monotonic reading in seconds, for durations only."""
    return _time.perf_counter()


def quantity(value: object, what: str = "quantity") -> Quantity:
    """A quantity as Outlay keeps it: an int where it is whole, else a Decimal of at most 9 places.

    Floats are taken by their repr and rounded to 9 places. Raises InvalidInput `not_a_number`,
    `infinite_quantity`, `negative_quantity` or `too_precise`.
    """
    if type(value) is int:
        whole = value
    elif isinstance(value, float):
        # As float spells it: numpy's floats are floats that name their type in their repr.
        decimal = _finite(float.__repr__(value), what)
        return _plain(decimal.quantize(_PLACES, context=EXACT) if decimal.adjusted() < _DIGITS_MAX else decimal, what)
    elif isinstance(value, str | Decimal):
        decimal = _finite(value, what)
        if decimal.adjusted() < _DIGITS_MAX and decimal != decimal.quantize(_PLACES, context=EXACT):
            raise InvalidInput(f"{what} {value} has more than 9 decimals; round it first", code="too_precise")
        return _plain(decimal, what)
    elif hasattr(value, "__index__") and not isinstance(value, bool):
        whole = value.__index__()
    else:
        raise InvalidInput(f"{what} is {type(value).__name__}, not a number", code="not_a_number", field="usage")
    return _plain(whole, what)


def _finite(value: str | Decimal, what: str) -> Decimal:
    try:
        return parse_decimal(value, what)
    except InvalidInput as error:
        code = "infinite_quantity" if error.code == "infinite_amount" else error.code
        raise InvalidInput(error.message, code=code, field="usage") from error


def _plain(value: Any, what: str) -> Quantity:
    if value < 0:
        raise InvalidInput(
            f"{what} is {value}; a quantity is never negative", code="negative_quantity", field="usage"
        )
    if value > QUANTITY_MAX:
        raise InvalidInput(f"{what} is beyond 10^15", code="infinite_quantity", field="usage")
    return value if type(value) is int else whole_or_decimal(Decimal(value))


def read_usage(usage: object) -> dict[str, Quantity]:
    """What was used, meter by meter, each checked as `build_event` does. Raises InvalidInput as it does."""
    if not isinstance(usage, Mapping):
        raise InvalidInput(
            f"usage is a mapping of meter to quantity, not {type(usage).__name__}", code="bad_event", field="usage"
        )
    return _usage(usage)


def _usage(usage: Mapping[str, object], _: str = "usage") -> dict[str, Quantity]:
    shape = tuple(usage)
    if shape in _sound_shapes and type(usage) is dict:
        for value in usage.values():
            # Comparing the type keeps bool out, which isinstance would let through.
            if type(value) is not int or value < 0 or value > QUANTITY_MAX:
                break
        else:
            return usage.copy()
    clean = {name: _slow_quantity(name, value) for name, value in usage.items() if value is not None}
    if len(_sound_shapes) < SHAPES_MAX and len(clean) == len(shape):
        _sound_shapes.add(shape)
    return clean


def _slow_quantity(name: str, value: object) -> Quantity:
    meter = METERS.get(name)
    if meter is None:
        raise unknown_meter(name)
    result = quantity(value, name)
    if meter.whole and not isinstance(result, int):
        raise InvalidInput(
            f"{name} is {result}, but {meter.unit}s come whole", code="fractional_quantity", field="usage"
        )
    return result


def required_text(value: object, field: str) -> str:
    """A name, as an event keeps it. Raises InvalidInput `missing_field`, `bad_text`, `nul_byte`, `text_too_long`."""
    text = _text(value, field)
    if text is None:
        raise InvalidInput(f"{field} is empty", code="missing_field", field=field)
    return text


def _text(value: object, field: str) -> str | None:
    return _slow_text(value, field, TEXT_CHARACTERS_MAX)


def _slow_text(value: object, field: str, characters_max: int, *, cut: bool = False) -> str | None:
    if not isinstance(value, str):
        if isinstance(value, bool | float | bytes) or not hasattr(value, "__str__"):
            raise InvalidInput(f"{field} is {type(value).__name__}, not text", code="bad_text", field=field)
        value = str(value)
    if "\0" in value:
        raise InvalidInput(f"{field} holds a NUL byte; remove it", code="nul_byte", field=field)
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InvalidInput(f"{field} is not valid Unicode text", code="bad_text", field=field) from error
    if len(value) > characters_max:
        if cut:
            return value[: characters_max - 1] + "…"
        raise InvalidInput(
            f"{field} has {len(value):,} characters; at most {characters_max:,} are kept",
            code="text_too_long",
            field=field,
        )
    return value or None


def _pairs(values: Mapping[str, object], field: str) -> dict[str, str]:
    """Flat text pairs: nested mappings get dotted names, None is left out, booleans are true and false."""
    flat: dict[str, str] = {}
    try:
        _flatten(values, "", flat, field, 0)
    except AttributeError as error:
        raise InvalidInput(f"{field} is a mapping of name to value", code="bad_text", field=field) from error
    if len(flat) > TAGS_MAX or sum(len(name) + len(text) for name, text in flat.items()) > TAGS_CHARACTERS_MAX:
        raise InvalidInput(
            f"{field} hold more than {TAGS_MAX} names or {TAGS_CHARACTERS_MAX:,} characters; keep big data elsewhere",
            code="tags_too_large",
            field=field,
        )
    return flat


def _flatten(values: Mapping[str, object], prefix: str, flat: dict[str, str], field: str, depth: int) -> None:
    for name, value in values.items():
        if type(value) is str and not prefix:
            text = _text(value, field) if len(value) <= TEXT_CHARACTERS_MAX else value
            flat[required_text(name, field)] = text or ""
        elif isinstance(value, Mapping) and depth < 8:
            _flatten(value, f"{prefix}{name}.", flat, field, depth + 1)
        elif value is not None:
            flat[required_text(f"{prefix}{name}", field)] = _scalar_text(value, field)


def _scalar_text(value: object, field: str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(value)
    return _slow_text(value, field, TAGS_CHARACTERS_MAX + 1) or ""


def _parameters(parameters: Mapping[str, object], _: str) -> dict[str, Parameter]:
    clean: dict[str, Parameter] = {}
    for name, value in parameters.items():
        if isinstance(value, int) and not -_INTEGER_LIMIT <= value < _INTEGER_LIMIT:
            raise InvalidInput(
                f"parameter {str(name)[:40]} is beyond 64 bits; give it as text",
                code="number_too_large",
                field="parameters",
            )
        if isinstance(value, Decimal) or (isinstance(value, float) and not isfinite(value)):
            clean[required_text(name, "parameters")] = str(value)
        elif value is None or isinstance(value, bool | int | float):
            clean[required_text(name, "parameters")] = value
        else:
            clean[required_text(name, "parameters")] = _text(value, "parameters")
    if len(clean) > TAGS_MAX:
        raise InvalidInput(f"parameters hold more than {TAGS_MAX} names", code="tags_too_large", field="parameters")
    return clean


def _past(value: datetime | str, now: Instant, zone: str | None, field: str) -> Instant:
    try:
        instant = to_instant(value, zone)
    except InvalidInput as error:
        error.field = field
        raise
    if instant > now + FUTURE_MICROSECONDS_MAX:
        raise InvalidInput(
            f"{field} lies more than 5 minutes ahead of the ledger's clock", code="time_in_future", field=field
        )
    if instant < 0:
        raise InvalidInput(f"{field} lies before 1970", code="bad_time", field=field)
    return instant


def _status(value: str, _: str) -> Status:
    try:
        return _STATUSES[value]
    except (KeyError, TypeError):
        known = ", ".join(_STATUSES)
        raise InvalidInput(
            f"status {str(value)[:40]!r} is none of {known}", code="unknown_status", field="status"
        ) from None


def _basis(value: str, _: str) -> Basis:
    try:
        return _BASES[value]
    except (KeyError, TypeError):
        known = ", ".join(_BASES)
        raise InvalidInput(
            f"basis {str(value)[:40]!r} is none of {known}", code="unknown_basis", field="basis"
        ) from None


def _count(value: int, _: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= COUNT_MAX:
        raise InvalidInput(
            "count is how many identical calls this event stands for: a whole number from 1",
            code="bad_count",
            field="count",
        )
    return value


def _duration(value: object, _: str) -> Decimal:
    return Decimal(quantity(value, "duration_s"))


def _reported(value: object, currency: str) -> Money:
    if isinstance(value, float):
        # A provider's JSON number: its repr is what was sent, cut to the 12 decimals that money has.
        value = parse_decimal(float.__repr__(value), "reported_cost")
        value = value.quantize(_PICO, context=EXACT) if value.adjusted() < _MONEY_DIGITS_MAX else value
    cost = value if isinstance(value, Money) else Money.of(value, currency)
    if cost.pico < 0:
        raise InvalidInput(
            "reported_cost is negative; a credit is a correction", code="negative_amount", field="reported_cost"
        )
    if cost.pico >= _REPORTED_PICO_LIMIT:
        raise InvalidInput(
            "reported_cost is 10^12 units or more; check it", code="amount_too_large", field="reported_cost"
        )
    return cost


def _error(value: object, field: str) -> str | None:
    return _slow_text(value, field, ERROR_CHARACTERS_MAX, cut=True)


def _later(value: object, _: str) -> object:
    """Read by `_place`, which knows the clock, the zone and the currency."""
    return value


_NEEDED: Final = frozenset(("provider", "service"))
_PLACED: Final = frozenset(("time", "time_to", "reported_cost"))
_TEXT_FIELDS: Final = frozenset(("operation", *ATTRIBUTIONS, "step", "call_key", "provider", "service", "id"))
_CHECKS: Final[dict[str, Callable[[Any, str], Any]]] = {
    **dict.fromkeys(("provider", "service", "id"), required_text),
    **dict.fromkeys(("operation", *ATTRIBUTIONS, "step", "call_key"), _text),
    **dict.fromkeys(("conditions", "tags"), _pairs),
    **dict.fromkeys(_PLACED, _later),
    "usage": _usage,
    "status": _status,
    "error": _error,
    "duration_s": _duration,
    "parameters": _parameters,
    "count": _count,
    "basis": _basis,
}

FIELDS: Final = frozenset(_CHECKS)
"""The fields that `record` takes, and a JSONL line or CSV column may bear."""
