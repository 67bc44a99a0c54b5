"""The budget half of the store protocol: accounts, reservations, marks and refusals.

A store decides nothing here either: limits arrive with each reservation, and are checked in its transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Protocol

import msgspec

from outlay.clock import Instant
from outlay.model import Account, AccountKey, Entry, Limit, Refusal, RenamedBudget, Share


class Coverage(Protocol):
    """In which accounts an entry counts: the budgets of a ledger, told to the store from above."""

    def shares(self, entry: Entry, tier_of: Callable[[str, str], str | None]) -> Sequence[Share]:
        """Every account that covers the entry and what it counts there, negative for a reversal."""
        ...

    def sums(self, entries: Iterable[Entry], tier_of: Callable[[str, str], str | None]) -> Sequence[Share]:
        """What many entries count together: one share for each account, by key."""
        ...

    def amount(self, meter: str | None, entry: Entry) -> int:
        """What the entry counts in an account of this meter (None: money), negative for a reversal."""
        ...

    def of_subjects(self, kind: str) -> Sequence[str]:
        """The budgets that have an account for each user (customer, …), or for each value of a tag."""
        ...

    def forgotten(self, body: bytes, kind: str, name: str, anonymous: str) -> RenamedBudget | None:
        """A budget's body in which another name stands for a user's or customer's; None where it bears none."""
        ...


Covering = Callable[[Sequence[bytes]], Coverage]
"""From the bodies of the budgets in force to what they cover."""


class KeptBudget(msgspec.Struct, frozen=True):
    """A budget as kept: its body, of which the store knows nothing, and whether it is in force."""

    name: str
    body: bytes
    active: bool


class TierFilter(msgspec.Struct, frozen=True):
    """Subjects of a kind that were told one tier (None: any), but none of some others. Who was told none has ""."""

    kind: str
    tier: str | None
    but: tuple[str, ...] = ()


class AccountScope(msgspec.Struct, frozen=True):
    """What some accounts of a budget count: a digest and a kind of window, told of entries from `from_at` on.

    `where` is the budget's filter. Where the ledger has seen none of the values of one of its dimensions, there is no
    history to fold, and the accounts are warm from the start.
    """

    scope: str
    window_name: str
    from_at: Instant
    where: Mapping[str, tuple[str | None, ...]] = {}


class ReservationState(StrEnum):
    """What became of a reservation. An expired one is booked at its worst case until it is settled."""

    OPEN = "open"
    SETTLED = "settled"
    RELEASED = "released"
    EXPIRED = "expired"


class Reserving(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A reservation that is asked for: all of `limits` or nothing, until `deadline`.

    `estimate` is the entry that expiry writes: unsettled, at the worst case, counted at `now`. With `waits` a
    call that does not go now takes a place in the queue until `waits_until`, unless it has one.
    """

    id: str
    limits: tuple[Limit, ...]
    estimate: Entry
    now: Instant
    deadline: Instant
    waits: bool = False
    waits_until: Instant = 0


class Settling(msgspec.Struct, frozen=True, gc=False):
    """A settlement that is asked for: the reservation's id, and the entry of what happened."""

    id: str
    entry: Entry


class Reserved(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What became of it: `reserved`, `refused`, or of a known id `exists`, `settled`, `expired`, or
    `exists_with_different_body`. `accounts` are as they were read; `queued` says that all fits but others came first.
    """

    code: str
    accounts: Mapping[AccountKey, Account]
    queued: bool = False


class Overrun(msgspec.Struct, frozen=True, gc=False):
    """A provider billed more than the bound it was given: what was held in an account, and what it became."""

    key: AccountKey
    held: int
    billed: int


class Settled(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What became of a settlement or a release, and the entry that now stands.

    Settling: `settled`, `settled_late` (after expiry: a correction), `settled_after_release`, `exists` (settled so
    already), `seen` (another capture had booked the call), `exists_with_different_<field>`. Releasing: `released`,
    `released_late` (the expired entry is cancelled), `settled` (too late). Extending: `extended`, else the state.
    For an unknown id always `no_such_reservation`.
    """

    code: str
    entry: Entry | None = None
    overruns: tuple[Overrun, ...] = ()


class KeptReservation(msgspec.Struct, frozen=True, kw_only=True):
    """A reservation as it stands. `entry` is the seq of the first entry of its event, once there is one."""

    id: str
    state: ReservationState
    started_at: Instant
    deadline: Instant
    shares: tuple[Share, ...]
    entry: int | None = None


class OutboxRow(msgspec.Struct, frozen=True, kw_only=True):
    """Something to tell, written in the transaction in which it happened: a `mark` crossed, an `overrun`.

    `what` is the mark as percent, or the reservation; `amount` what was spent then, or by how much it was overrun.
    """

    number: int
    kind: str
    at: Instant
    key: AccountKey
    what: str
    amount: int


class NotedRefusal(msgspec.Struct, frozen=True, kw_only=True):
    """A refusal as it was noted: when, of which call, and why."""

    at: Instant
    provider: str
    service: str
    refusal: Refusal


REFUSALS_KEPT: int = 1_000
"""How many refusals of a budget are kept in full; all are counted."""


class BudgetStore(Protocol):
    """The half of a store that keeps budgets, their accounts and reservations."""

    def put_budget(self, name: str, body: bytes, scopes: Sequence[AccountScope]) -> int:
        """Keep a budget; accounts of scopes that it did not have are cold until `warm`. The new epoch."""
        ...

    def remove_budget(self, name: str, body: bytes) -> int:
        """Take a budget out of force; its body, with the history, stays. The new epoch."""
        ...

    def budgets(self) -> list[KeptBudget]:
        """Every budget that ever was, by name."""
        ...

    def put_subject(self, kind: str, name: str, tier: str) -> None:
        """Keep the tier of a user, customer, …"""
        ...

    def tier(self, kind: str, name: str) -> str | None:
        """The tier of a subject, None where nobody told."""
        ...

    def warm(self, most: int | None = None) -> int:
        """Fold entries from before a budget was made into its accounts; how many scopes became warm.

        After about `most` entries it stops and the next call goes on from there (None: when all is folded). It
        holds no lock for long, however many there are.
        """
        ...

    def cold_scopes(self) -> int:
        """How many scopes of budgets in force have a history that is not folded yet; it only falls in an epoch."""
        ...

    def accounts(self, limits: Sequence[Limit]) -> dict[AccountKey, Account]:
        """The accounts of some limits."""
        ...

    def accounts_of(self, budget: str, scope: str, at: Instant, most: int) -> list[tuple[AccountKey, Account]]:
        """Up to `most` accounts of a budget whose window holds `at`, by key."""
        ...

    def fullest(
        self, budget: str, scope: str, window_name: str, at: Instant, most: int, tiers: TierFilter | None = None
    ) -> list[tuple[AccountKey, Account]]:
        """Up to `most` accounts of a budget's windows of that name that hold `at`, the most spent first, then by key.

        `tiers` chooses among the subjects.
        """
        ...

    def drop_accounts(self, now: Instant) -> int:
        """Drop the accounts whose windows are long over (`accounts.kept_until`) and hold nothing; how many."""
        ...

    def reserve(self, asked: Reserving, *, epoch: int | None = None) -> Reserved:
        """Take all that is asked, or nothing, in one transaction; whatever is overdue expires first.

        Raises StaleBook if `epoch` is given and is not the store's.
        """
        ...

    def reserve_many(self, asked: Sequence[Reserving], *, epoch: int | None = None) -> list[Reserved]:
        """Several independent reservations, in order, in one transaction; one result each.

        Each takes all that it asks, or nothing, after what those before it took; a refusal undoes no other. Raises
        StaleBook as `reserve`; what it raises is of the whole group, of which nothing happened then.
        """
        ...

    def settle(self, id: str, entry: Entry, *, epoch: int | None = None) -> Settled:
        """Put what happened in the place of what was held. Raises StaleBook as `append`."""
        ...

    def settle_many(self, settlements: Sequence[Settling], *, epoch: int | None = None) -> list[Settled]:
        """Several independent settlements, in order, in one transaction; one result each, conflicts too.

        What it raises (StaleBook; InvalidInput for an entry that cannot be stored) is of the whole group, of which
        nothing happened then.
        """
        ...

    def release(self, id: str, now: Instant) -> Settled:
        """Let go of what was held: the call was not made."""
        ...

    def extend(self, id: str, deadline: Instant) -> Settled:
        """Move an open reservation's deadline."""
        ...

    def expire(self, now: Instant) -> int:
        """Book every overdue reservation at its estimate, unsettled; how many."""
        ...

    def stop_waiting(self, id: str) -> None:
        """Leave the queue."""
        ...

    def reservation(self, id: str) -> KeptReservation | None:
        """A reservation by its id."""
        ...

    def note_refusals(self, refusals: Sequence[NotedRefusal]) -> None:
        """Count refused calls, and keep the last of each budget in full."""
        ...

    def outbox(self, after: int = 0) -> list[OutboxRow]:
        """What is to be told, in the order in which it happened: all, or what has a number over `after`."""
        ...

    def refusals(self, budget: str) -> tuple[int, list[NotedRefusal]]:
        """How many calls a budget ever refused, and the last of them, newest first."""
        ...
