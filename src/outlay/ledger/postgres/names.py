"""Interning names, rates and tag sets in bulk, in the order that every writer keeps, so none wait in a circle."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from outlay.clock import DAY_MICROSECONDS
from outlay.ledger.codec import unknown_names
from outlay.ledger.names import KINDS, Ids, Interning, Names, TagSet, encode_rate, encode_tags
from outlay.ledger.postgres.statements import Connection, only, rows, run
from outlay.model import Entry, Rate


def interned(connection: Connection, names: Names, entries: Sequence[Entry]) -> Ids:
    """The ids of everything that the rows of these entries name, made where they are new."""
    known = names.known
    kinds = _names(connection, known, entries)
    rates = _rates(connection, known.rates, entries)
    tag_sets = _tag_sets(connection, known.tag_sets, entries, names.tag_sets_a_day)
    return Ids(
        [Interning(known.kinds[number], _in(kinds[number])) for number in range(len(KINDS))],  # type: ignore[arg-type]  # keys are names
        Interning(known.rates, _in(rates)),  # type: ignore[arg-type]  # keys are rates
        Interning(known.tag_sets, tag_sets),  # type: ignore[arg-type]  # keys are tag sets
    )


def _in(found: Mapping[Any, int]) -> Callable[[object], int]:
    return lambda name: found[name]


def _names(connection: Connection, known: Ids, entries: Sequence[Entry]) -> list[dict[str, int]]:
    wanted = set(unknown_names(known, entries))
    found: list[dict[str, int]] = [{} for _ in KINDS]
    for _ in range(2):
        if not wanted:
            break
        asked = sorted(wanted)
        bound = ([kind for kind, _ in asked], [name for _, name in asked])
        for kind, name, id in rows(connection, "dimension_ids", bound):
            found[kind][name] = id
            wanted.discard((kind, name))
        if wanted:
            asked = sorted(wanted)
            run(connection, "intern_dimensions", ([kind for kind, _ in asked], [name for _, name in asked]))
    return found


def _rates(connection: Connection, known: Mapping[Rate | None, int], entries: Iterable[Entry]) -> dict[Rate, int]:
    # Rates are told apart by identity: several of one digest are one row.
    rates = {line.rate for entry in entries for line in entry.rating.lines if line.rate is not None}
    packed = {rate: encode_rate(rate) for rate in rates if rate not in known}
    found: dict[bytes, int] = {}
    for _ in range(2):
        left = sorted({one for one in packed.values() if one[0] not in found})
        if not left:
            break
        found.update(rows(connection, "rate_ids", ([digest for digest, _ in left],)))
        left = [one for one in left if one[0] not in found]
        if left:
            run(connection, "intern_rates", ([digest for digest, _ in left], [body for _, body in left]))
    return {rate: found[digest] for rate, (digest, _) in packed.items()}


def _tag_sets(
    connection: Connection, known: Mapping[TagSet, int], entries: Sequence[Entry], most: int
) -> Callable[[object], int]:
    """A function that gives a tag set's id; the negative of one that belongs to this entry alone."""
    wanted: dict[bytes, tuple[TagSet, bytes]] = {}
    for entry in entries:
        tags = tuple(sorted(entry.event.tags.items()))
        if tags and tags not in known:
            digest, body = encode_tags(entry.event.tags)
            wanted[digest] = (tags, body)
    found: dict[bytes, int] = dict(rows(connection, "tag_set_ids", (list(wanted),))) if wanted else {}
    new = [digest for digest in wanted if digest not in found]
    if new:
        found.update(_make_tag_sets(connection, wanted, new, entries[0].recorded_at // DAY_MICROSECONDS, most))
    ids = {tags: found[digest] for digest, (tags, _) in wanted.items() if digest in found}
    bodies = dict(wanted.values())

    def id_of(tags: Any) -> int:
        id = ids.get(tags)
        return -int(only(connection, "insert_own_tag_set", (bodies[tags],))[0]) if id is None else id

    return id_of


def _make_tag_sets(
    connection: Connection, wanted: Mapping[bytes, tuple[TagSet, bytes]], new: Sequence[bytes], day: int, most: int
) -> dict[bytes, int]:
    """Make as many new tag sets as the day still allows, the first ones first."""
    run(connection, "begin_tag_day", (day,))
    (interned_today,) = only(connection, "tag_sets_interned", (day,))
    chosen = new[: max(0, most - interned_today)]
    made = sum(run(connection, "intern_tag_set", (digest, wanted[digest][1])) for digest in sorted(chosen))
    if made:
        run(connection, "count_tag_sets", (day, made))
    return dict(rows(connection, "tag_set_ids", (list(chosen),)))
