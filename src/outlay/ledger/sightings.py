"""One call that several captures see (wrapper, gateway, OpenTelemetry, callback), pure: what the later ones add.

They agree on the call's key: the provider and the id of its answer or request. The first that comes books. A later
one is kept as seen; it corrects the entry where it says for whom the call was and the first did not, or where
its evidence is better.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

from msgspec.structs import replace

from outlay.clock import DAY_MICROSECONDS, Instant
from outlay.ledger.rules import fingerprint
from outlay.model import ATTRIBUTIONS, Basis, Entry, PricingStatus, Quantity, Status, UsageEvent

KEY_KEPT_MICROSECONDS: Final = 2 * DAY_MICROSECONDS
"""How long after a call was recorded another capture of it is recognised: 48 hours, by recorded_at."""

KEY_DAYS: Final = (1, 0, -1, -2)
"""The days at which a key recorded within 48 hours may stand, counted from the day of the one that looks for it.

The day after is among them: who waited for the lock may have read the clock before the one that went ahead.
"""

SEEN_AGAIN: Final = "seen by another capture"
"""The reason of the correction that a later capture makes."""

_EVIDENCE: Final = (
    "provider",
    "service",
    "operation",
    "usage",
    "conditions",
    "status",
    "error",
    "count",
    "basis",
    "reported_cost",
)
"""What goes together: the rating rests on it."""

_FOR_WHOM: Final = (*ATTRIBUTIONS, "step")


def key_digest(call_key: str) -> bytes:
    """16 bytes that stand for a call's key."""
    return blake2b(call_key.encode(), digest_size=16).digest()


def still_known(recorded_at: Instant, now: Instant) -> bool:
    """Whether a key recorded then is still looked for now."""
    return abs(now - recorded_at) < KEY_KEPT_MICROSECONDS


def replacement(live: Entry, seen: Entry) -> Entry | None:
    """The entry that stands for a call once a later capture of it was seen; None where that adds nothing.

    It keeps the first one's id and time. Nothing that the first one said of whom the call is for is replaced.
    """
    first, later = live.event, seen.event
    changes: dict[str, object] = {
        name: getattr(later, name)
        for name in _FOR_WHOM
        if getattr(first, name) is None and getattr(later, name) is not None
    }
    if not later.tags.keys() <= first.tags.keys():
        changes["tags"] = {**later.tags, **first.tags}
    better = _better(live, seen)
    if better:
        changes.update({name: getattr(later, name) for name in _EVIDENCE})
        changes["parameters"] = {**first.parameters, **later.parameters}
        changes["duration_s"] = first.duration_s if later.duration_s is None else later.duration_s
    if not changes:
        return None
    event = replace(first, **changes)
    rating = seen.rating if better else live.rating
    return replace(
        live,
        event=event,
        rating=rating,
        basis=rating.basis,
        fingerprint=fingerprint(event),
        recorded_at=seen.recorded_at,
    )


def _better(live: Entry, seen: Entry) -> bool:
    """Whether the later capture knows better what the call used."""
    if seen.rating.status is PricingStatus.UNPRICED and live.rating.status is not PricingStatus.UNPRICED:
        return False
    ours, theirs = _rank(live.event), _rank(seen.event)
    return theirs > ours or (theirs == ours and _adds_to(live.event.usage, seen.event.usage))


def _rank(event: UsageEvent) -> int:
    """Nothing told, guessed, told in money or by somebody, measured."""
    if event.status is Status.UNSETTLED or not (any(event.usage.values()) or event.reported_cost):
        return 0
    if event.basis is Basis.ESTIMATED:
        return 1
    return 3 if event.basis is Basis.MEASURED and event.usage else 2


def _adds_to(known: dict[str, Quantity], given: dict[str, Quantity]) -> bool:
    """Whether `given` says the same and more: parts, such as cached tokens, that the first did not see."""
    return len(given) > len(known) and all(given.get(meter) == quantity for meter, quantity in known.items())
