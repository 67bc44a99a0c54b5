"""What the conditions of a call mean for its price: which values are the default, which are spelled otherwise.

All of it is data. A condition that a service's rates do not use is ignored, except for the few that change
the price wherever they are offered.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

ALWAYS_MATERIAL: Final = frozenset({"service_tier", "processing", "speed"})
"""Keys that change the price of any service that honours them: an unknown value is never taken as the default."""

DEFAULT_VALUES: Final[dict[str, frozenset[str]]] = {
    "service_tier": frozenset(
        {
            "default",
            "standard",
            "auto",
            "on_demand",
            "ondemand",
            "standard_only",
            "unspecified",
            "service_tier_unspecified",
            "none",
            "null",
            "",
        }
    ),
    "processing": frozenset({"default", "standard", "online", "realtime", "real_time", "synchronous", ""}),
    "speed": frozenset({"default", "standard", "normal", "auto", ""}),
    "traffic_type": frozenset({"on_demand", "default", ""}),
    "purchase": frozenset({"on_demand", "default", ""}),
    "storage_class": frozenset({"standard", "default", ""}),
    "search_type": frozenset({"default", "auto", ""}),
    "route": frozenset({"default", "auto", ""}),
}
"""Values that mean what would be charged if the key were absent."""

_ANY_DEFAULT: Final = frozenset({"default", ""})

SPELLINGS: Final[dict[tuple[str, str], tuple[str, str]]] = {
    ("service_tier", "batch"): ("processing", "batch"),
    ("batch", "true"): ("processing", "batch"),
    ("batch", "1"): ("processing", "batch"),
    ("mode", "batch"): ("processing", "batch"),
}
"""(key, value) pairs that say the same as another pair, in the words of the catalogue."""


def normalised(
    conditions: Mapping[str, str], operation: str | None, offered: Mapping[str, set[str]]
) -> dict[str, str]:
    """The conditions that may change the price of a service, keys and values in lower case.

    `offered` holds, for each key that the service's rates use, the values they know (in lower case). A value
    that means the default is left out, unless a rate names it.
    """
    found: dict[str, str] = {}
    pairs = [(key.strip().lower(), value.strip().lower()) for key, value in conditions.items()]
    if operation is not None and "operation" in offered and not any(key == "operation" for key, _ in pairs):
        pairs.append(("operation", operation.strip().lower()))
    for given_key, given_value in pairs:
        key, value = given_key, given_value.replace("-", "_") if given_key in ALWAYS_MATERIAL else given_value
        if value not in offered.get(key, ()):
            key, value = SPELLINGS.get((key, value), (key, value))
        if key not in offered and key not in ALWAYS_MATERIAL:
            continue
        if value in offered.get(key, ()) or value not in DEFAULT_VALUES.get(key, _ANY_DEFAULT):
            found[key] = value
    return found
