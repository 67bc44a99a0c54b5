"""Which part of a bill pays for which recorded calls. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from outlay.bills.groups import BilledGroup
from outlay.capture.statement_names import calls_named
from outlay.capture.statements import Category

OF_CALLS: Final = (Category.USAGE, Category.COMMITMENT, Category.CREDIT, Category.ADJUSTMENT, Category.TAX)
"""What may pay for calls, or be about what does; what was bought for later does not."""


class Match(msgspec.Struct, kw_only=True):
    """Parts of a bill and the services whose calls they pay for: what cannot be told apart is compared together."""

    provider: str
    label: str
    called: set[str]
    groups: list[BilledGroup]

    def spans(self) -> list[tuple[int, int]]:
        """The days to compare by: single ones, every day from the first billed to the last, unless parts of the bill
        cover several days (then those together)."""
        covered = sorted({(group.day, group.day_to) for group in self.groups})
        merged: list[tuple[int, int]] = []
        for first, after in covered:
            if merged and first < merged[-1][1]:
                merged[-1] = (merged[-1][0], max(after, merged[-1][1]))
            else:
                merged.append((first, after))
        filled: list[tuple[int, int]] = []
        for first, after in merged:
            at = filled[-1][1] if filled else first
            filled += [(day, day + 1) for day in range(at, first)]
            filled.append((first, after))
        return filled


def matches(
    groups: Iterable[BilledGroup], called: Mapping[str, Sequence[str]]
) -> tuple[list[Match], list[BilledGroup]]:
    """The parts of a bill with the calls that they pay for, and the parts that pay for none.

    `called` are the services recorded of each provider.
    """
    known: dict[tuple[str, str, str, str], frozenset[str]] = {}
    found: list[Match] = []
    unmatched: list[BilledGroup] = []
    by_service: dict[tuple[str, str], Match] = {}
    for group in groups:
        about = (group.provider, group.service, group.sku, group.resource)
        if about not in known:
            services = called.get(group.provider, ())
            known[about] = calls_named(group.service, group.sku, group.resource, services, group.provider)
        names = known[about] if group.category in OF_CALLS else frozenset()
        if not names:
            unmatched.append(group)
            continue
        match = _joined(found, by_service, group.provider, names)
        match.groups.append(group)
    for match in found:
        match.label = _label(match)
    return found, unmatched


def _joined(
    found: list[Match], by_service: dict[tuple[str, str], Match], provider: str, names: frozenset[str]
) -> Match:
    """The one match of all these services; matches that share one become one."""
    present = list({id(match): match for name in names if (match := by_service.get((provider, name)))}.values())
    if present:
        match, *others = present
    else:
        match, others = Match(provider=provider, label="", called=set(), groups=[]), []
        found.append(match)
    for other in others:
        match.called |= other.called
        match.groups += other.groups
        found[:] = [each for each in found if each is not other]
    match.called |= names
    by_service.update(((provider, name), match) for name in match.called)
    return match


def _label(match: Match) -> str:
    """What the calls are recorded under, where it is one service; else what the bill calls them."""
    if len(match.called) == 1:
        return next(iter(match.called))
    services = sorted({group.service for group in match.groups})
    return services[0] if len(services) == 1 else match.provider
