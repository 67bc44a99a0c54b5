"""What an answer tells of its usage, by its provider's convention: which terms tell something, and what they sum to.

Answers are alike in their bones, so what leads nowhere in a body is found once and left out from then on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from outlay.capture.overlaps import settle, unsound
from outlay.capture.paths import (
    QUANTITY_LIMIT,
    Document,
    Predicate,
    Skeleton,
    Term,
    at,
    is_number,
    may_hold,
    may_lead,
    measured,
    quantity_of,
    snake,
)
from outlay.capture.profiles import Flavour, place
from outlay.meters import METERS
from outlay.model import Quantity, Status

WORD: Final = re.compile(r"[A-Za-z0-9_.:/+-]{1,64}$")
KEPT_AT_ZERO: Final = ("input_tokens", "output_tokens")
_TELLINGS_MAX: Final = 4_096
_living: Final[dict[tuple[int, Skeleton], tuple[Predicate, ...]]] = {}


def alive(predicates: tuple[Predicate, ...], bones: Skeleton) -> tuple[Predicate, ...]:
    """The predicates that may hold of such a body. Those of the files are made once and kept: an id names them."""
    if not predicates:
        return predicates
    key = (id(predicates), bones)
    found = _living.get(key)
    if found is None:
        found = tuple(one for one in predicates if may_hold(one, bones))
        if len(_living) >= _TELLINGS_MAX:
            _living.clear()
        _living[key] = found
    return found


def usage_of(
    document: Document, bones: Skeleton, flavour: Flavour, status: Status
) -> tuple[dict[str, Quantity], list[str]]:
    """Usage and what had to be assumed, by the provider's convention; where its total disagrees, by the first other
    convention that agrees.
    """
    conventions = _telling(bones, flavour)
    plain = _plain(document, conventions[0])
    unreadable = list(_no_counts(document, conventions[0])) if plain is None else []
    if unreadable:
        return {}, unreadable
    told = measured(document, flavour.total)
    first: tuple[dict[str, Quantity], list[str]] | None = None
    for convention in conventions:
        counted = plain if convention is conventions[0] else None
        usage = dict(amounts(document, convention, status)) if counted is None else counted
        if flavour.rest and told is not None:
            _add_rest(usage, flavour.rest, told)
        before = sum(usage.get(meter, 0) for meter in KEPT_AT_ZERO)
        notes = list(settle(usage, told == before))
        total = sum(usage.get(meter, 0) for meter in KEPT_AT_ZERO)
        if told is None or told == total or not usage:
            first = (usage, notes)
            break
        first = first or (usage, [*notes, f"the provider's total {told} is not the sum {total} of input and output"])
    usage, notes = first or ({}, [])
    wrong = unsound(usage)
    if wrong:
        notes.append(wrong)
    return {meter: amount for meter, amount in usage.items() if amount or meter in KEPT_AT_ZERO}, notes


def _add_rest(usage: dict[str, Quantity], kind: str, told: Quantity) -> None:
    """What the total holds beyond what was counted, as output of its kind: none where that kind was counted."""
    left = told - sum(usage.get(meter, 0) for meter in KEPT_AT_ZERO)
    if left > 0 and usage and not usage.get(kind):
        usage[kind] = left
        usage["output_tokens"] = usage.get("output_tokens", 0) + left


def _plain(document: Document, convention: Convention) -> dict[str, Quantity] | None:
    """The amounts where whole numbers tell each, as in most answers; None where one needs a closer look."""
    usage: dict[str, Quantity] = {}
    for meter, terms in convention.items():
        total: int | None = None
        for term in terms:
            for path in term:
                if path.names is None or path.measure or path.constant is not None:
                    return None
                found = at(document, path)
                if not found:
                    continue
                value = found[0] if type(found) is tuple and len(found) == 1 else None
                if type(value) is not int or not 0 <= value <= QUANTITY_LIMIT:
                    return None
                total = value if total is None else total + value
                break
        if total is not None:
            usage[meter] = total
    return usage


Convention = Mapping[str, tuple[Term, ...]]
_tellings: Final[dict[tuple[int, Skeleton], tuple[Convention, ...]]] = {}


def _telling(bones: Skeleton, flavour: Flavour) -> tuple[Convention, ...]:
    """A flavour's conventions without the terms that lead nowhere in such a body: most answers are alike in that."""
    key = (id(flavour), bones)  # Flavours are made once and kept.
    found = _tellings.get(key)
    if found is None:
        found = tuple(
            {
                meter: kept
                for meter, terms in convention.items()
                if (kept := tuple(filter(None, (tuple(p for p in term if may_lead(p, bones)) for term in terms))))
            }
            for convention in (flavour.usage, *flavour.otherwise)
        )
        if len(_tellings) >= _TELLINGS_MAX:
            _tellings.clear()
        _tellings[key] = found
    return found


def amounts(
    document: Document, convention: Mapping[str, tuple[Term, ...]], status: Status
) -> Iterator[tuple[str, Quantity]]:
    """Each meter's sum of what its terms tell. A failed call counts for nothing but what it is told to have used."""
    for meter, terms in convention.items():
        told: Quantity | None = None
        for term in terms:
            if status is Status.OK or term[0].constant is None:
                amount = measured(document, term)
                if amount is not None:
                    told = amount if told is None else told + amount
        if told is not None:
            yield meter, told


def _no_counts(document: Document, convention: Mapping[str, tuple[Term, ...]]) -> Iterator[str]:
    """What was told of a meter and cannot be its count. The rest would be too cheap, so none of it is priced."""
    for meter, terms in convention.items():
        for term in terms:
            found = [value for path in term for value in at(document, path)]
            if not found:
                continue  # Most terms tell nothing.
            amount = measured(document, term)
            if amount is None:
                wrong = [value for value in found if is_number(value) and quantity_of(value) is None]
                yield from (f"{meter} was told as {str(value)[:40]}, which is no count" for value in wrong[:1])
            elif METERS[meter].whole and not isinstance(amount, int):
                yield f"{meter} was told as {amount}, but {METERS[meter].unit}s come whole"


def unmapped(flavour: Flavour, roots: tuple[Term, ...], document: Document) -> Iterator[tuple[str, Quantity]]:
    """Numbers under these roots of the usage that the flavour neither reads nor knows to cost nothing."""
    for term in roots:
        for path in term:
            for value in at(document, path):
                yield from _numbers(value, place(path), flavour.understood)


def _numbers(value: object, where: str, understood: frozenset[str]) -> Iterator[tuple[str, Quantity]]:
    if where in understood or f"{where}.*" in understood:
        return
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _numbers(item, f"{where}.{snake(str(key))}", understood)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _numbers(item, where, understood)
    elif not isinstance(value, str):
        amount = quantity_of(value)
        if amount is not None and WORD.match(where):
            yield where, amount
