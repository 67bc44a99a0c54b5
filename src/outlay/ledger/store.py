"""The store protocol: what every ledger store promises. One contract suite proves it for all of them.

A store keeps entries and their identity, folds them into rollups, and answers queries. It never computes
a price and never decides a limit: both arrive as values. Each writing method is one transaction: when it
returns, all of it is durable; when it raises, none of it happened.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Protocol

import msgspec

from outlay.clock import Instant
from outlay.errors import LedgerError
from outlay.model import (
    Account,
    AccountKey,
    Appended,
    AuditReport,
    CostQuery,
    CostTable,
    Entry,
    Limit,
    Rate,
    Refusal,
    Share,
)


class StaleBook(LedgerError):
    """Prices changed since these entries were rated; rate them again."""

    code = "stale_book"


class Amendment(msgspec.Struct, frozen=True):
    """A correction of one event: reverse its live version and put `replacement` in its place (None: nothing).

    `expects` is the seq of the version that the caller saw live; another one there makes the amendment
    `changed_meanwhile` and nothing is written for it.
    """

    expects: int
    replacement: Entry | None
    recorded_at: Instant
    reason: str


class EntryFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which entries a scan walks: by occurred_from, by dimension values (`tag.<name>` too), live versions only."""

    since: Instant | None = None
    until: Instant | None = None
    where: dict[str, tuple[str | None, ...]] = {}
    live_only: bool = True
    newest_first: bool = False
    as_of: Instant | None = None


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """A provider's bill as it was received: where it came from and the period it covers."""

    id: str
    provider: str
    source: str
    period_from: Instant
    period_to: Instant
    currency: str
    recorded_at: Instant


class StatementLine(msgspec.Struct, frozen=True, kw_only=True):
    """One row of a bill, quantities and cost as the decimal text received. `state` is charged or waiting."""

    statement: str
    line: str
    service: str
    resource: str
    occurred_from: Instant
    occurred_to: Instant
    cost: str
    quantity: str
    unit: str
    state: str
    entry: int | None = None


class JobOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a job produced: `units` finished things (videos, documents) and how it ended."""

    job: str
    units: int
    status: str
    recorded_at: Instant


class Retained(msgspec.Struct, frozen=True, kw_only=True):
    """What retention dropped: entries of whole days before `before_day`, kept as a checkpoint."""

    before_day: int
    entries: int
    amount: int
    bytes_freed: int = 0


class Coverage(Protocol):
    """In which accounts an entry counts: the budgets of a ledger, told to the store from above."""

    def shares(self, entry: Entry, tier_of: Callable[[str, str], str | None]) -> Sequence[Share]:
        """Every account that covers the entry and what it counts there, negative for a reversal."""
        ...

    def amount(self, meter: str | None, entry: Entry) -> int:
        """What the entry counts in an account of this meter (None: money), negative for a reversal."""
        ...

    def of_subjects(self, kind: str) -> Sequence[str]:
        """The budgets that have an account for each user (customer, …), or for each value of a tag."""
        ...


Covering = Callable[[Sequence[bytes]], Coverage]
"""From the bodies of the budgets in force to what they cover."""


class KeptBudget(msgspec.Struct, frozen=True):
    """A budget as kept: its body, of which the store knows nothing, and whether it is in force."""

    name: str
    body: bytes
    active: bool


class AccountScope(msgspec.Struct, frozen=True):
    """What some accounts of a budget count: a digest and a kind of window, told of entries from `from_at` on."""

    scope: str
    window_name: str
    from_at: Instant


class ReservationState(StrEnum):
    """What became of a reservation. An expired one is booked at its worst case until it is settled."""

    OPEN = "open"
    SETTLED = "settled"
    RELEASED = "released"
    EXPIRED = "expired"


class Reserving(msgspec.Struct, frozen=True, kw_only=True):
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


class Reserved(msgspec.Struct, frozen=True, kw_only=True):
    """What became of it: `reserved`, `refused`, or of a known id `exists`, `settled`, `expired`, or
    `exists_with_different_body`. `accounts` are as they were read; `queued` says that all fits but others came first.
    """

    code: str
    accounts: Mapping[AccountKey, Account]
    queued: bool = False


class Overrun(msgspec.Struct, frozen=True):
    """A provider billed more than the bound it was given: what was held in an account, and what it became."""

    key: AccountKey
    held: int
    billed: int


class Settled(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a settlement or a release, and the entry that now stands.

    Settling: `settled`, `settled_late` (after expiry: a correction), `settled_after_release`, `exists` (settled so
    already), `exists_with_different_<field>`. Releasing: `released`, `released_late` (the expired entry is
    cancelled), `settled` (too late). Extending: `extended`, else the state. For an unknown id always
    `no_such_reservation`.
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

    def warm(self) -> int:
        """Fold the entries from before a budget was made into its accounts; how many scopes became warm."""
        ...

    def accounts(self, limits: Sequence[Limit]) -> dict[AccountKey, Account]:
        """The accounts of some limits."""
        ...

    def accounts_of(self, budget: str, scope: str, at: Instant, most: int) -> list[tuple[AccountKey, Account]]:
        """Up to `most` accounts of a budget whose window holds `at`, by key."""
        ...

    def reserve(self, asked: Reserving, *, epoch: int | None = None) -> Reserved:
        """Take all that is asked, or nothing, in one transaction; whatever is overdue expires first.

        Raises StaleBook if `epoch` is given and is not the store's.
        """
        ...

    def settle(self, id: str, entry: Entry, *, epoch: int | None = None) -> Settled:
        """Put what happened in the place of what was held. Raises StaleBook as `append`."""
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

    def outbox(self) -> list[OutboxRow]:
        """What is to be told, in the order in which it happened."""
        ...

    def refusals(self, budget: str) -> tuple[int, list[NotedRefusal]]:
        """How many calls a budget ever refused, and the last of them, newest first."""
        ...


class LedgerStore(BudgetStore, Protocol):
    """What a ledger store does. Safe to share between the threads of a process and across forks."""

    @property
    def address(self) -> str:
        """Where it lives, as given to `open`, for messages."""
        ...

    @property
    def home_zone(self) -> str:
        """The IANA zone whose days the wide rollup uses; fixed when the ledger is made."""
        ...

    @property
    def currency(self) -> str:
        """The one base currency; fixed when the ledger is made."""
        ...

    def epoch(self) -> int:
        """A number that grows with every change of prices, budgets, rules or settings."""
        ...

    def append(self, entries: Sequence[Entry], *, epoch: int | None = None) -> list[Appended]:
        """Write entries, in order, in one transaction; one result each.

        An id is looked up at its own UTC day and `probe_days`: an equal fingerprint is `exists`, another one
        `exists_with_different_<field>` (nothing written for it, the rest goes on). Also within the batch.
        Raises StaleBook if `epoch` is given and is not the store's.
        """
        ...

    def amend(self, amendments: Sequence[Amendment]) -> list[Appended]:
        """Write corrections, in order, in one transaction.

        The result holds the replacement (or the reversal, where there is none); code `created` or
        `changed_meanwhile`.
        """
        ...

    def versions(self, id: str, days: Sequence[int] | None = None) -> list[list[Entry]]:
        """Every event of that id (on those UTC days; all kept days when None), each as its entries by seq.

        An event's live version is its last entry if that has sign +1, else it was cancelled.
        """
        ...

    def entries(self, filter: EntryFilter, limit: int | None = None) -> Iterator[Entry]:
        """Walk entries by seq (or from the newest), on a reader of its own."""
        ...

    def job_entries(self, job: str) -> list[Entry]:
        """All entries of one job by seq, through its index."""
        ...

    def costs(self, query: CostQuery) -> CostTable:
        """Answer from a rollup plus the unfolded tail where one covers the query, else by a bounded scan."""
        ...

    def fold(self, limit: int = 100_000) -> int:
        """Fold up to `limit` entries after the watermark into the rollups; how many were folded."""
        ...

    def audit(self) -> AuditReport:
        """Prove that lines sum to amounts, rollups equal the fold, identity and checkpoints hold."""
        ...

    def add_rates(self, rates: Sequence[Rate]) -> int:
        """Keep user rates (new rows, never edits); the new epoch."""
        ...

    def rates(self) -> list[Rate]:
        """All user rates in the order they were added."""
        ...

    def put_catalogue(self, id: str, body: bytes, recorded_at: Instant, *, activate: bool) -> int:
        """Keep a catalogue version, content-addressed by `id` (kept once); the new epoch."""
        ...

    def catalogue(self, id: str | None = None) -> tuple[str, bytes] | None:
        """A catalogue version, the active one when `id` is None; None when there is none."""
        ...

    def catalogues(self) -> list[tuple[str, Instant, bool]]:
        """(id, recorded_at, active) of every version kept, oldest first."""
        ...

    def add_statement(
        self, statement: Statement, lines: Sequence[StatementLine], charges: Sequence[Entry]
    ) -> list[Appended]:
        """Keep a bill, its lines and the charges of its unmetered lines in one transaction.

        `lines` whose `line` key is known already are left alone (the same file again changes nothing).
        """
        ...

    def statement_lines(self, state: str | None = None) -> list[StatementLine]:
        """The lines of all bills, or of one state."""
        ...

    def finish_job(self, outcome: JobOutcome) -> None:
        """Keep a job's outcome; the last one counts."""
        ...

    def job_outcomes(self, jobs: Sequence[str] | None = None) -> dict[str, JobOutcome]:
        """The outcome of each finished job asked for (all when None)."""
        ...

    def retain(self, before_day: int, now: Instant) -> Retained:
        """Drop the entries of whole UTC days before `before_day`, leaving a checkpoint of them; rollups stay."""
        ...

    def forget(self, kind: str, name: str) -> int:
        """Rename a user's or customer's name everywhere to an anonymous one; how many events bore it."""
        ...

    def backup(self, target: Path) -> None:
        """Copy a live ledger into a new file, consistent as of one moment."""
        ...

    def setting(self, name: str) -> str | None:
        """A named setting kept in the ledger."""
        ...

    def put_setting(self, name: str, value: str) -> None:
        """Keep a setting; raises the epoch."""
        ...

    def facts(self) -> dict[str, str]:
        """What `outlay doctor` shows: sizes, counts, watermark, schema version, engine version."""
        ...

    def close(self) -> None:
        """Release everything; further use raises LedgerClosed."""
        ...
