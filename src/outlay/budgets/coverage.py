"""The budgets in force as a store sees them: in which accounts an entry counts, and how much."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import Final

import msgspec
from msgspec.structs import replace

from outlay.budgets.definition import ordered_values
from outlay.budgets.limits import BudgetIndex, amount_of, dimensions_of, scope_of
from outlay.budgets.terms import Asking, Budget
from outlay.clock import Instant
from outlay.model import AccountKey, Entry, EntryKind, PricingStatus, Quantity, RenamedBudget, Share, UsageEvent

_decode: Final = msgspec.json.Decoder(Budget).decode
_encode: Final = msgspec.json.Encoder().encode
_LONG_AGO: Final = -(1 << 62)
_NEVER: Final = 1 << 62
_CALLS: Final = (EntryKind.CHARGE, EntryKind.CORRECTION)


class _Place(msgspec.Struct, eq=False):
    """Where calls of the same dimensions count in [since, until), and how much they do there, by meter."""

    since: Instant
    until: Instant
    shares: list[Share]
    amounts: dict[str | None, int]


class BudgetCoverage:
    """What the budgets of a ledger cover. Safe to share between threads; made anew when a budget changes."""

    def __init__(self, bodies: Sequence[bytes]) -> None:
        """`bodies` are budgets as `packed` made them."""
        self.index = BudgetIndex(map(_decode, bodies))
        every = self.index.budgets.values()
        self._asked_of = _reader({name for one in every for name in (*one.where, one.each) if name is not None})

    def shares(self, entry: Entry, tier_of: Callable[[str, str], str | None]) -> list[Share]:
        """Every account that covers the entry and what it counts there, negative for a reversal."""
        found = self.index.counted(dimensions_of(entry.event), entry.counted_at, told_by(entry), tier_of)
        if entry.sign > 0:
            return found
        return [msgspec.structs.replace(share, amount=-share.amount) for share in found]

    def sums(self, entries: Iterable[Entry], tier_of: Callable[[str, str], str | None]) -> list[Share]:
        """What many entries count together, one share for each account, by key.

        Calls of one place, which is all that budgets ask of a call, are looked up once and added up from there on.
        """
        open_places: dict[object, _Place] = {}
        places: list[_Place] = []
        for entry in entries:
            asked = self._asked_of(entry.event)
            place = open_places.get(asked)
            if place is None or not place.since <= entry.counted_at < place.until:
                place = open_places[asked] = self._place(self.shares(entry, tier_of))
                places.append(place)
                continue
            for meter in place.amounts:
                place.amounts[meter] += self.amount(meter, entry)
        sums: dict[AccountKey, Share] = {}
        for place in places:
            for share in place.shares:
                known = sums.get(share.key)
                amount = place.amounts[share.meter] + (0 if known is None else known.amount)
                sums[share.key] = replace(share, amount=amount)
        return [sums[key] for key in sorted(sums)]

    def _place(self, shares: list[Share]) -> _Place:
        """The place of an entry with these shares: as long as none of their windows ends, and no raise may begin."""
        raised = any(self.index.budgets[share.key.budget].raises for share in shares)
        since = max((share.from_at for share in shares), default=_LONG_AGO)
        until = since if raised else min((share.to_at for share in shares), default=_NEVER)
        return _Place(since, until, shares, {share.meter: share.amount for share in shares})

    def amount(self, meter: str | None, entry: Entry) -> int:
        """What the entry counts in an account of this meter (None: money), negative for a reversal."""
        if meter is None:
            return entry.sign * (_money_of(entry) or 0)
        return entry.sign * amount_of(meter, told_by(entry))

    def of_subjects(self, kind: str) -> list[str]:
        """The budgets that have an account for each user (customer, …), or for each value of a tag."""
        every = self.index.budgets.values()
        return [one.name for one in every if one.each is not None and (one.each == kind or one.each[:4] == "tag.")]

    def forgotten(self, body: bytes, kind: str, name: str, anonymous: str) -> RenamedBudget | None:
        """A budget's body in which another name stands for a user's or customer's; None where it bears none."""
        budget = _decode(body)
        renamed = _forgotten(budget, kind, name, anonymous)
        return None if renamed == budget else RenamedBudget(packed(renamed), scope_of(budget), scope_of(renamed))


def _reader(names: Iterable[str]) -> Callable[[UsageEvent], object]:
    """A function that reads these dimensions of an event, as one value."""
    ordered = sorted(names)
    if not ordered:
        return lambda _: None
    if not any(name.startswith("tag.") for name in ordered):
        return attrgetter(*ordered)

    def read(event: UsageEvent) -> object:
        dimensions = dimensions_of(event)
        return tuple([dimensions.get(name) for name in ordered])

    return read


def _forgotten(budget: Budget, kind: str, name: str, anonymous: str) -> Budget:
    """The name is gone from the filter, the raises and the words of the history; a budget's own name stays."""
    word = re.compile(rf"(?<!\w){re.escape(name)}(?!\w)")

    def bears(dimension: str | None) -> bool:
        return dimension is not None and (dimension == kind or dimension.startswith("tag."))

    where = {
        dimension: ordered_values(anonymous if value == name else value for value in values)
        if bears(dimension)
        else values
        for dimension, values in budget.where.items()
    }
    if not bears(budget.each) and not any(map(bears, budget.where)):
        return budget
    raises = tuple(
        replace(
            one, subject=anonymous if one.subject == name else one.subject, reason=word.sub(anonymous, one.reason)
        )
        for one in budget.raises
    )
    history = tuple(
        replace(one, what=word.sub(anonymous, one.what), why=word.sub(anonymous, one.why)) for one in budget.history
    )
    return replace(budget, where=where, raises=raises, history=history)


def told_by(entry: Entry) -> Asking:
    """What happened: the money, the calls and the meters of all calls together."""
    event = entry.event
    usage: dict[str, Quantity] = event.usage
    if event.count != 1:
        usage = {meter: quantity * event.count for meter, quantity in usage.items()}
    return Asking(amount=_money_of(entry), usage=usage, calls=event.count if entry.kind in _CALLS else 0)


def _money_of(entry: Entry) -> int | None:
    """Picounits of all calls together; None where the entry has no price."""
    return None if entry.rating.status is PricingStatus.UNPRICED else entry.rating.amount


def packed(budget: Budget) -> bytes:
    """A budget as it is kept: JSON, whose numbers are as large as they must be."""
    return _encode(budget)


def unpacked(body: bytes) -> Budget:
    """A budget from what was kept."""
    return _decode(body)
