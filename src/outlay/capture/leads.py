"""What of a flavour may be in an answer of some bones: most of what files ask for is in few answers.

Answers are alike in their bones, so what leads nowhere is left out once, and not looked for again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from outlay.capture.amounts import alive
from outlay.capture.paths import Predicate, Skeleton, Step, Term, may_lead, snake
from outlay.capture.profiles import Flavour, Part, common_errors, place

_KEPT_MAX: Final = 4_096


class Leads(msgspec.Struct, frozen=True, kw_only=True):
    """A flavour without what leads nowhere. `roots` are those parts of a body with numbers that nobody may know."""

    cancelled: tuple[Predicate, ...]
    failed: tuple[Predicate, ...]
    pending: tuple[Predicate, ...]
    service: tuple[Term, ...]
    requested: tuple[Term, ...]
    key: Term
    cost: Term
    conditions: Mapping[str, Term]
    roots: tuple[Term, ...]
    parts: tuple[Part, ...]


_known: Final[dict[tuple[int, Skeleton], Leads]] = {}


def leads_of(flavour: Flavour, bones: Skeleton, request_ids: Term) -> Leads:
    """What of a flavour a body of these bones may tell. Flavours are made once and kept: an id names them."""
    key = (id(flavour), bones)
    found = _known.get(key)
    if found is None:
        if len(_known) >= _KEPT_MAX:
            _known.clear()
        found = _known[key] = _leads(flavour, bones, request_ids)
    return found


def _leads(flavour: Flavour, bones: Skeleton, request_ids: Term) -> Leads:
    def reaching(term: Term) -> Term:
        return tuple(path for path in term if may_lead(path, bones))

    def all_reaching(terms: Iterable[Term]) -> tuple[Term, ...]:
        return tuple(filter(None, map(reaching, terms)))

    return Leads(
        cancelled=alive(flavour.cancelled, bones),
        failed=(*alive(common_errors()[0], bones), *alive(flavour.failed, bones)),
        pending=alive(flavour.pending, bones),
        service=all_reaching(flavour.service),
        requested=all_reaching(flavour.requested),
        key=reaching((*flavour.key, *request_ids)),
        cost=reaching(flavour.cost),
        conditions={name: kept for name, term in flavour.conditions.items() if (kept := reaching(term))},
        roots=tuple(
            term
            for term in all_reaching(flavour.roots)
            if any(_may_be_unknown(_bones_at(bones, path.steps), place(path), flavour) for path in term)
        ),
        parts=tuple(part for part in flavour.parts if reaching(part.each)),
    )


def _bones_at(bones: object, steps: Iterable[Step]) -> object:
    """The bones at the end of plain steps; True, which may be anything, past any other."""
    for step in steps:
        if not isinstance(bones, tuple) or step.name in ("", "*") or step.each:
            return True
        named = dict(bones)
        bones = named.get(step.name) or named.get(step.snake) or True
    return bones


def _may_be_unknown(bones: object, where: str, flavour: Flavour) -> bool:
    """Whether numbers may lie under a place that the flavour does not know."""
    if where in flavour.understood or f"{where}.*" in flavour.understood:
        return False
    if isinstance(bones, tuple):
        return any(_may_be_unknown(inner, f"{where}.{snake(name)}", flavour) for name, inner in bones)
    return True
