"""The members of anything an SDK hands out: mappings, pydantic models, protocol buffers, plain objects."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, cast

# A stranger's object may raise anything sensible while it is looked at; none of it may reach the caller's program.
ODD: Final = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    NotImplementedError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)
_SCALARS: Final = (str, bytes, bytearray, int, float, bool, list, tuple, set, frozenset)


def members(value: object) -> Mapping[str, Any] | None:
    """The named members of a value, or None for a scalar or a list."""
    if isinstance(value, dict):
        return value
    if value is None or isinstance(value, _SCALARS):
        return None
    if isinstance(value, Mapping):
        return value
    try:
        return _dumped(value)
    except ODD:
        return None


def attribute(value: object, name: str) -> object:
    """An attribute of a stranger's object, or None where it has none or will not say."""
    try:
        return getattr(value, name, None)
    except ODD:
        return None


def _dumped(value: object) -> Mapping[str, Any] | None:
    for attempt in (_by_pydantic, _by_message, _by_method):
        found = attempt(value)
        if isinstance(found, Mapping):
            return cast("Mapping[str, Any]", found)
    slots = getattr(value, "__struct_fields__", None) or getattr(value, "__dataclass_fields__", None)
    if isinstance(slots, tuple | dict):
        return {name: getattr(value, name, None) for name in slots}
    inner = getattr(value, "__dict__", None)
    return {name: item for name, item in inner.items() if not name.startswith("__")} if inner else None


def _by_pydantic(value: object) -> object:
    dump = getattr(value, "model_dump", None)
    if not callable(dump):
        return None
    try:
        return dump(by_alias=True, warnings=False)
    except (TypeError, ValueError):
        return dump()


def _by_message(value: object) -> object:
    """A protocol buffer, bare, wrapped by proto-plus, or held in `proto` or `_raw_response`."""
    for held in (value, attribute(value, "proto"), attribute(value, "_raw_response"), attribute(value, "_pb")):
        descriptor = getattr(type(held), "DESCRIPTOR", None)
        if descriptor is not None and hasattr(held, "ListFields"):
            return {field.name: _field(item) for field, item in cast("Any", held).ListFields()}
    return None


def _field(item: object) -> object:
    if isinstance(item, str | bytes | int | float | bool) or hasattr(item, "ListFields"):
        return item
    return dict(cast("Any", item)) if hasattr(item, "items") else list(cast("Any", item))


def _by_method(value: object) -> object:
    for name in ("to_dict", "dict", "as_dict", "_asdict"):
        method = getattr(value, name, None)
        if callable(method) and not isinstance(value, type):
            try:
                found = cast("Callable[[], object]", method)()
            except ODD:
                continue
            if isinstance(found, Mapping):
                return found
    return None
