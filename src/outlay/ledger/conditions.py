"""From a filter's words to SQL: the conditions that both a walk over entries and a question set on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from outlay.ledger.codec import BASIS_NUMBERS, STATUS_NUMBERS
from outlay.ledger.dialect import Dialect
from outlay.ledger.names import KIND_NUMBERS, decode_tags, find_name
from outlay.ledger.store import EntryFilter
from outlay.ledger.tallies import TAG_PREFIX
from outlay.model import Basis, Status

Conditions = tuple[list[str], list[object]]
"""SQL conditions to be joined by AND, and their bindings in order."""


def joined(conditions: Sequence[str]) -> str:
    """Conditions as one; without any, all rows are meant."""
    return " AND ".join(conditions) or "TRUE"


def filter_conditions(dialect: Dialect, connection: Any, filter: EntryFilter) -> Conditions:
    """The conditions of a walk over entries."""
    conditions, bindings = where_conditions(dialect, connection, filter.where)
    conditions += time_conditions(filter.since, filter.until, filter.as_of, bindings)
    if filter.live_only and filter.as_of is None:
        conditions.append(dialect.sql("live_only"))
    elif filter.live_only:
        conditions.append(dialect.sql("live_only_as_of"))
        bindings.append(filter.as_of)
    return conditions, bindings


def walk_start(filter: EntryFilter, last: int) -> int:
    """The seq at which a walk begins: behind which, or up to which where it goes down from `last`."""
    if filter.after is None:
        return last if filter.newest_first else 0
    return filter.after - 1 if filter.newest_first else filter.after


def time_conditions(since: int | None, until: int | None, as_of: int | None, bindings: list[object]) -> list[str]:
    """Conditions on when an entry occurred and was recorded; their values are added to `bindings`."""
    conditions = []
    for column, value in (("occurred_from >= ?", since), ("occurred_from < ?", until), ("recorded_at <= ?", as_of)):
        if value is not None:
            conditions.append(f"entry.{column}")
            bindings.append(value)
    return conditions


def where_conditions(dialect: Dialect, connection: Any, where: Mapping[str, tuple[str | None, ...]]) -> Conditions:
    """Conditions of table entry for each dimension but meter, and their bindings."""
    conditions: list[str] = []
    bindings: list[object] = []
    for name, values in where.items():
        if name == "meter":
            continue
        condition, bound = _condition(dialect, connection, name, values)
        conditions.append(condition)
        bindings += bound
    return conditions, bindings


def _condition(
    dialect: Dialect, connection: Any, name: str, values: Sequence[str | None]
) -> tuple[str, list[object]]:
    if name in ("request", "trace"):
        return _text_condition(dialect, name, values)
    if name.startswith(TAG_PREFIX):
        ids = tag_sets_with(dialect, connection, name.removeprefix(TAG_PREFIX), values)
        return any_of(dialect, "entry.tags"), [as_json(ids)]
    numbers = value_numbers(dialect, connection, name, values)
    if name == "job":
        known = [number for number in numbers if number]
        return _or_none(any_of(dialect, "entry.job"), "entry.job", known, None in values)
    return any_of(dialect, f"entry.{name}"), [as_json(numbers)]


def _text_condition(dialect: Dialect, name: str, values: Sequence[str | None]) -> tuple[str, list[object]]:
    texts = [value for value in values if value is not None]
    if name == "trace" or None in values:
        column = f"entry.{name}"
        condition = dialect.sql("any_of_texts").replace("{column}", column)
        return _or_none(condition, column, texts, None in values)
    return dialect.sql("requested"), [as_json(texts)]


def _or_none(condition: str, column: str, values: Sequence[object], none_too: bool) -> tuple[str, list[object]]:
    if not none_too:
        return condition, [as_json(values)]
    return f"({column} IS NULL OR {condition})", [as_json(values)]


def any_of(dialect: Dialect, column: str) -> str:
    """The condition that a column of numbers is among the bound JSON list's values."""
    return dialect.sql("any_of").replace("{column}", column)


def value_numbers(dialect: Dialect, connection: Any, name: str, values: Sequence[str | None]) -> list[int]:
    """The numbers by which rows and cells hold the values of a dimension; unknown ones match nothing."""
    if name == "status":
        return [STATUS_NUMBERS[Status(value)] for value in values if value in set(Status)]
    if name == "basis":
        return [BASIS_NUMBERS[Basis(value)] for value in values if value in set(Basis)]
    return [find_name(dialect, connection, KIND_NUMBERS[name], value) for value in values]


def tag_sets_with(dialect: Dialect, connection: Any, tag: str, values: Sequence[str | None]) -> list[int]:
    """The tag sets in which a tag has one of the values; 0, no tags, where None is among them."""
    found = [id for id, body in dialect.rows(connection, "tag_sets") if decode_tags(body).get(tag) in values]
    return [0, *found] if None in values else found


def as_json(values: Sequence[object]) -> str:
    """A list as bound to `any_of`."""
    return msgspec.json.encode(values).decode()
