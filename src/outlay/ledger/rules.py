"""The ledger's rules, pure: what makes two events the same one, and what a correction writes.

An event's identity is (id, UTC day of occurred_from). Two events of one identity are the same event if
their fingerprints are equal: 128 bits of BLAKE2b over the canonical fields below, which leave out what
the ledger stamped itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from hashlib import blake2b
from typing import Final

import msgspec

from outlay.clock import DAY_MICROSECONDS, Instant
from outlay.errors import InvalidInput
from outlay.ledger.store import Amendment, Statement, StatementLine
from outlay.model import ATTRIBUTIONS, AuditFinding, Entry, EntryKind, Quantity, UsageEvent
from outlay.money import EXACT, PICO_PER_UNIT, times_exactly, whole_or_decimal

CANONICAL_FIELDS: Final = (
    "provider",
    "service",
    "operation",
    "usage",
    "conditions",
    "status",
    *ATTRIBUTIONS,
    "step",
    "tags",
    "error",
    "duration_s",
    "parameters",
    "count",
    "basis",
    "reported_cost",
    "call_key",
    "time",
)
"""The fields of a fingerprint, in the order in which a difference is looked for and named."""

IDENTITY_DAYS_KEPT: Final = 35
"""How many days an identity outlives the entries that retention dropped."""

FORGETTABLE: Final = ("user", "customer")
"""Whose names `forget` renames: people's and customers'."""

AMOUNT_LIMIT: Final = 10**12 * PICO_PER_UNIT
"""No single entry is larger: a million of them still sum within the store's two int64."""

_HASH_MASK: Final = (1 << 63) - 1
QUANTITY_LIMIT: Final = 1 << 62
"""No quantity times its calls is larger."""

_INTEGER_LIMIT: Final = 1 << 63
_NANO_PER_UNIT: Final = 10**9
# Deterministic: the keys of a mapping are sorted, so that their order is no part of a body.
_ENCODE: Final = msgspec.msgpack.Encoder(order="deterministic").encode


def identity_hash(id: str) -> int:
    """63 bits of an id: the second half of its key. The full id is compared on a hit."""
    return int.from_bytes(blake2b(id.encode(), digest_size=8).digest(), "big") & _HASH_MASK


def next_hash(hash63: int) -> int:
    """Where to look next when two ids of one day share a hash."""
    return (hash63 + 1) & _HASH_MASK


def identity_day(event: UsageEvent) -> int:
    """The UTC day of an event's identity."""
    return event.occurred_from // DAY_MICROSECONDS


def fingerprint(event: UsageEvent) -> bytes:
    """16 bytes that are equal exactly when two bodies are: 1, 1.0 and "1" of a meter are the same.

    Raises InvalidInput `number_too_large` for a number beyond 64 bits, `bad_text` for text that is no UTF-8.
    """
    try:
        return blake2b(_ENCODE(canonical(event)), digest_size=16).digest()
    except OverflowError as error:
        raise InvalidInput(
            f"event {event.id[:60]!r} holds a number beyond 64 bits; check its usage and parameters",
            code="number_too_large",
        ) from error
    except UnicodeEncodeError as error:
        raise bad_text(event) from error


def bad_text(event: UsageEvent) -> InvalidInput:
    """The error for text that cannot be written as UTF-8."""
    return InvalidInput(
        f"event {ascii(event.id)[:60]} holds text that is not valid Unicode (a lone surrogate); clean it first",
        code="bad_text",
    )


def canonical(event: UsageEvent) -> tuple[object, ...]:
    """The values of CANONICAL_FIELDS in one form each."""
    cost = event.reported_cost
    return (
        event.provider,
        event.service,
        event.operation,
        _quantities(event.usage),
        event.conditions,
        event.status,
        event.user,
        event.customer,
        event.team,
        event.project,
        event.feature,
        event.job,
        event.environment,
        event.request,
        event.trace,
        event.step,
        event.tags,
        event.error,
        None if event.duration_s is None else _number(event.duration_s),
        event.parameters,
        event.count,
        event.basis,
        None if cost is None else (str(cost.pico), cost.currency),
        event.call_key,
        (event.occurred_from, event.occurred_to) if event.time_given else None,
    )


def first_difference(kept: UsageEvent, given: UsageEvent) -> str:
    """The first field, in canonical order, that differs; `body` where only the fingerprint tells them apart."""
    for name, ours, theirs in zip(CANONICAL_FIELDS, canonical(kept), canonical(given), strict=True):
        if ours != theirs and not (name == "time" and (ours is None or theirs is None)):
            return name
    return "body"


def conflict_code(kept: Entry, given: Entry) -> str:
    """`exists` for the same event, else `exists_with_different_<field>`."""
    if kept.fingerprint == given.fingerprint:
        return "exists"
    return f"exists_with_different_{first_difference(kept.event, given.event)}"


def dropped_code(kept_fingerprint: bytes, given: Entry) -> str:
    """The outcome where retention has dropped the entry and only its fingerprint is left."""
    return "exists" if kept_fingerprint == given.fingerprint else "exists_with_different_body"


def live_version(versions: Sequence[Entry]) -> Entry | None:
    """The version of an event that counts: its last entry, unless that is a reversal."""
    last = versions[-1] if versions else None
    return last if last is not None and last.sign > 0 else None


def root_of(entry: Entry) -> int:
    """The seq of the first entry of this entry's event."""
    return entry.seq if entry.corrects is None else entry.corrects


def reversal_of(live: Entry, recorded_at: Instant, reason: str) -> Entry:
    """The entry that takes `live` back, to the last digit."""
    return msgspec.structs.replace(
        live,
        kind=EntryKind.CORRECTION,
        sign=-1,
        corrects=root_of(live),
        reason=reason,
        recorded_at=recorded_at,
        probe_days=(),
        seq=0,
    )


def replacement_of(live: Entry, amendment: Amendment) -> Entry | None:
    """The entry that takes the place of `live`, or None where the event is cancelled.

    Raises InvalidInput `correction_moves_event` if it bears another id or another time: cancel the event
    and record a new one instead.
    """
    new = amendment.replacement
    if new is None:
        return None
    if new.event.id != live.event.id or new.event.occurred_from != live.event.occurred_from:
        raise InvalidInput(
            f"a correction keeps the id and the time of event {live.event.id[:60]!r}; "
            "cancel it and record a new event instead",
            code="correction_moves_event",
        )
    return msgspec.structs.replace(
        new,
        kind=EntryKind.CORRECTION,
        sign=1,
        corrects=root_of(live),
        reason=amendment.reason,
        recorded_at=amendment.recorded_at,
        probe_days=(),
        seq=0,
    )


def check_storable(entry: Entry) -> None:
    """Refuse what no store could keep exactly.

    Raises InvalidInput `amount_too_large` for a line or total of 10¹² units and more, `quantity_too_large`.
    """
    rating = entry.rating
    count = entry.event.count
    largest = AMOUNT_LIMIT
    if not -largest < rating.amount < largest:
        raise too_large(entry)
    for line in rating.lines:
        if not -largest < line.amount < largest:
            raise too_large(entry)
        if times_exactly(line.quantity, count) >= QUANTITY_LIMIT:
            raise _too_much(entry, line.meter)
    for unrated in rating.unrated:
        if times_exactly(unrated.quantity, count) >= QUANTITY_LIMIT:
            raise _too_much(entry, unrated.meter)


def nano_of(quantity: Quantity) -> tuple[int, int]:
    """A quantity as (whole, nano), nano being 0 … 999,999,999 billionths.

    Raises InvalidInput `too_precise` for more than 9 decimals.
    """
    if isinstance(quantity, int):
        return quantity, 0
    scaled = quantity.scaleb(9, EXACT)
    nano = int(scaled)
    if nano != scaled:
        raise InvalidInput(f"quantity {quantity} has more than 9 decimals; round it first", code="too_precise")
    return divmod(nano, _NANO_PER_UNIT)


def quantity_of(whole: int, nano: int) -> Quantity:
    """The quantity of a (whole, nano) pair: an int where it is whole."""
    if not nano:
        return whole
    return Decimal(whole * _NANO_PER_UNIT + nano).scaleb(-9, EXACT).normalize(EXACT)


def too_large(entry: Entry) -> InvalidInput:
    """The error for an amount that no store could sum."""
    return InvalidInput(
        f"event {entry.event.id[:60]!r} costs 10^12 units or more; check its usage and its rate",
        code="amount_too_large",
    )


def _too_much(entry: Entry, meter: str) -> InvalidInput:
    return InvalidInput(
        f"event {entry.event.id[:60]!r} uses more {meter} than can be counted",
        code="quantity_too_large",
        field="usage",
    )


def _quantities(usage: Mapping[str, Quantity]) -> Mapping[str, object]:
    for value in usage.values():
        if type(value) is not int:
            return {name: _number(quantity) for name, quantity in usage.items()}
    return usage


def _number(value: Quantity) -> int | str:
    plain = value if isinstance(value, int) else whole_or_decimal(value)
    return plain if isinstance(plain, int) else format(plain, "f")


def check_statement(statement: Statement, lines: Sequence[StatementLine]) -> None:
    """Raises InvalidInput `foreign_line` if a line names another statement."""
    for line in lines:
        if line.statement != statement.id:
            raise InvalidInput(
                f"line {line.line[:60]!r} belongs to statement {line.statement[:60]!r}, not {statement.id[:60]!r}",
                code="foreign_line",
            )


def check_retention(before_day: int, now: Instant) -> None:
    """Raises InvalidInput `retention_of_today` unless every day to drop is over."""
    if before_day * DAY_MICROSECONDS > now:
        raise InvalidInput(
            "retention drops only whole days that are over; give an earlier day", code="retention_of_today"
        )


def check_forgettable(kind: str) -> None:
    """Raises InvalidInput `not_forgettable` for what is not a person's or a customer's name."""
    if kind not in FORGETTABLE:
        raise InvalidInput(f"{kind[:40]!r} cannot be forgotten; give user or customer", code="not_forgettable")


def unsound(entry: Entry) -> Iterator[AuditFinding]:
    """What an entry gets wrong by itself: its lines must sum to its amount."""
    lines = sum(line.amount for line in entry.rating.lines)
    if lines != entry.rating.amount:
        yield AuditFinding("lines_sum", f"entry {entry.seq}", str(entry.rating.amount), str(lines))


def unsound_versions(versions: Sequence[Entry]) -> Iterator[AuditFinding]:
    """What the versions of one event get wrong: each reversal takes back exactly the version before it."""
    live: Entry | None = None
    for entry in versions:
        if entry.sign > 0:
            if live is not None:
                yield AuditFinding(
                    "correction_conserves", f"entry {entry.seq}", "a reversal first", "a second charge"
                )
            live = entry
            continue
        expected = "no reversal" if live is None else str(live.rating.amount)
        if expected != str(entry.rating.amount):
            yield AuditFinding("correction_conserves", f"entry {entry.seq}", expected, str(entry.rating.amount))
        live = None
