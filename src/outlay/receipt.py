"""What people hold after a call was recorded or priced: the receipt, which explains itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from outlay.clock import isoformat
from outlay.errors import EventConflict
from outlay.model import ATTRIBUTIONS, Entry, Outcome, PricedLine, PricingStatus, Rating, UsageEvent
from outlay.money import Money
from outlay.pricing.explain import explain, explain_dict

Rater = Callable[[UsageEvent], Rating]


class Receipt(msgspec.Struct, eq=False):
    """An event's lines and their total, with where each price comes from.

    `outcome` is created, exists (a retry: this is the first receipt), journaled (kept in the spool, not yet in
    the ledger) or priced (only asked for). `versions` holds all entries of the event, oldest first. `rater` rates
    on the first look what the spool's fast path did not.
    """

    event: UsageEvent
    outcome: str
    currency: str
    rated: Rating | None = None
    rater: Rater | None = None
    versions: tuple[Entry, ...] = ()

    @classmethod
    def of_entry(cls, entry: Entry, outcome: str, currency: str, versions: tuple[Entry, ...] = ()) -> Receipt:
        """The receipt of what stands in the ledger."""
        return cls(entry.event, outcome, currency, entry.rating, versions=versions or (entry,))

    @property
    def id(self) -> str:
        """The event's id."""
        return self.event.id

    @property
    def rating(self) -> Rating:
        """Lines, status and what could not be priced."""
        if self.rated is None:
            if self.rater is None:
                raise EventConflict("this receipt has no rating: retention dropped the entry")
            self.rated = self.rater(self.event)
        return self.rated

    @property
    def total(self) -> Money:
        """What the event costs, exactly; nothing once it is cancelled. What could not be priced is not in it."""
        if self.outcome == CANCELLED:
            return Money(0, self.currency)
        rated = self.rated
        return Money(rated.amount if rated is not None else self.rating.amount, self.currency)

    @property
    def lines(self) -> tuple[PricedLine, ...]:
        """One line a meter."""
        return self.rating.lines

    @property
    def pricing_status(self) -> PricingStatus:
        """`priced`, `incomplete` or `unpriced`."""
        return self.rating.status

    @property
    def corrected(self) -> bool:
        """Whether the event has been corrected or cancelled since it was first recorded."""
        return len(self.versions) > 1

    def explain(self) -> str:
        """The arithmetic, line by line, in words: quantity × price, which rate, from where, how it was found."""
        return explain(self.event, self.rating, self.currency)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON; amounts are decimal text, exact."""
        body = explain_dict(self.event, self.rating, self.currency)
        body["id"] = self.event.id
        body["outcome"] = self.outcome
        body["time"] = isoformat(self.event.occurred_from)
        body["usage"] = {meter: str(quantity) for meter, quantity in self.event.usage.items()}
        body["conditions"] = dict(self.event.conditions)
        body["tags"] = dict(self.event.tags)
        body["parameters"] = dict(self.event.parameters)
        for name in (*ATTRIBUTIONS, "step", "error"):
            body[name] = getattr(self.event, name)
        body["duration_s"] = None if self.event.duration_s is None else str(self.event.duration_s)
        if self.corrected:
            body["versions"] = len(self.versions)
        if self.outcome == CANCELLED:
            body["total"] = "0.00"
        return body

    def __repr__(self) -> str:
        name = f"{self.event.provider}/{self.event.service}"
        return f"<Receipt {self.total} {name} {self.pricing_status.value} {self.outcome}>"


PRICED = "priced"
"""The outcome of a receipt that was only asked for."""

CANCELLED = "cancelled"
"""The outcome of a receipt whose event was taken out of all sums."""

JOURNALED = Outcome.JOURNALED.value
