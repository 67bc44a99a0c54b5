"""Categories: names for kinds of work, derived from feature, operation or job by ordered patterns.

They are applied when a question is asked, so a changed rule holds for the past too and no entry bears one.
A pattern is a shell glob without regard to case. `feature:story*` looks at the feature only; without a
field, feature, operation and job are looked at in that order. The first category with a match wins.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import translate
from typing import Final, TypeVar

import msgspec

from outlay.errors import InvalidInput
from outlay.model import CostRow, Quantity

FIELDS: Final = ("feature", "operation", "job")
"""What a pattern may look at, in this order."""

CATEGORY: Final = "category"
"""The name by which costs are grouped and filtered."""


_Count = TypeVar("_Count", int, Quantity)


class Pattern(msgspec.Struct, frozen=True):
    """One pattern: the fields it looks at, and the expression a whole value must match."""

    category: str
    fields: tuple[str, ...]
    expression: re.Pattern[str]


def read_patterns(categories: Mapping[str, Sequence[str]]) -> tuple[Pattern, ...]:
    """The patterns of a `[categories]` table, in its order.

    Raises InvalidInput `bad_category` for a field that is none of feature, operation, job, or an empty pattern.
    """
    return tuple(_pattern(category, text) for category, texts in categories.items() for text in texts)


def _pattern(category: str, text: str) -> Pattern:
    field, colon, glob = text.partition(":")
    if not colon:
        field, glob = "", text
    if field and field not in FIELDS:
        raise InvalidInput(
            f"category {category!r}: {text!r} looks at {field!r}; a pattern looks at {', '.join(FIELDS)}",
            code="bad_category",
        )
    if not glob:
        raise InvalidInput(f"category {category!r} has an empty pattern; * matches all", code="bad_category")
    return Pattern(category, (field,) if field else FIELDS, re.compile(translate(glob), re.IGNORECASE))


def fields_needed(patterns: Iterable[Pattern]) -> tuple[str, ...]:
    """Which of feature, operation and job the patterns look at: what costs must be grouped by first."""
    wanted = {field for pattern in patterns for field in pattern.fields}
    return tuple(field for field in FIELDS if field in wanted)


def category_of(values: Mapping[str, str | None], patterns: Iterable[Pattern]) -> str | None:
    """The category of what has these values of feature, operation and job; None where nothing matches."""
    for pattern in patterns:
        for field in pattern.fields:
            value = values.get(field)
            if value is not None and pattern.expression.match(value):
                return pattern.category
    return None


def group_by_category(
    by: Sequence[str],
    asked: Sequence[str],
    rows: Iterable[CostRow],
    patterns: Sequence[Pattern],
    only: Sequence[str | None] | None = None,
) -> list[CostRow]:
    """Rows of costs by `asked` (which may hold `category`), from `rows` grouped by `by` (which holds what
    the patterns look at, and all else of `asked`). `only` keeps these categories, None meaning those without.
    """
    places = {name: at for at, name in enumerate(by)}
    groups: dict[tuple[str | None, ...], CostRow] = {}
    for row in rows:
        values: dict[str, str | None] = {field: row.keys[places[field]] for field in FIELDS if field in places}
        category = category_of(values, patterns)
        if only is not None and category not in only:
            continue
        keys = tuple(category if name == CATEGORY else row.keys[places[name]] for name in asked)
        standing = groups.get(keys)
        groups[keys] = msgspec.structs.replace(row, keys=keys) if standing is None else add_rows(standing, row)
    return list(groups.values())


def add_rows(one: CostRow, other: CostRow) -> CostRow:
    """The sum of two groups under the keys of the first. Percentiles do not add and are left out."""
    return CostRow(
        keys=one.keys,
        amount=one.amount + other.amount,
        events=one.events + other.events,
        failed=one.failed + other.failed,
        unpriced=one.unpriced + other.unpriced,
        incomplete=one.incomplete + other.incomplete,
        quantities=_added(one.quantities, other.quantities),
        basis=_added(one.basis, other.basis),
        currency=one.currency,
        first_at=_least(one.first_at, other.first_at),
        last_at=max((at for at in (one.last_at, other.last_at) if at is not None), default=None),
    )


def _least(one: int | None, other: int | None) -> int | None:
    return min((at for at in (one, other) if at is not None), default=None)


def _added(one: dict[str, _Count] | None, other: dict[str, _Count] | None) -> dict[str, _Count] | None:
    if one is None or other is None:
        return one if other is None else other
    total = dict(one)
    for name, value in other.items():
        total[name] = total[name] + value if name in total else value
    return total
