"""The store protocol: what every ledger store promises. One contract suite proves it for all of them.

A store keeps entries and their identity, folds them into rollups, and answers queries. It never computes
a price and never decides a limit: both arrive as values. Each writing method is one transaction: when it
returns, all of it is durable; when it raises, none of it happened.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from outlay.clock import Instant
from outlay.errors import LedgerError
from outlay.ledger.budget_store import BudgetStore
from outlay.ledger.serving_store import ServingStore
from outlay.model import (
    Appended,
    AuditReport,
    CostQuery,
    CostTable,
    Entry,
    Rate,
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
    """Which entries a scan walks: by occurred_from, by dimension values (`tag.<name>` too), live versions only.

    `after` is the seq behind which the walk goes on, in its own direction: the place of a cursor.
    """

    since: Instant | None = None
    until: Instant | None = None
    where: dict[str, tuple[str | None, ...]] = {}
    live_only: bool = True
    newest_first: bool = False
    as_of: Instant | None = None
    after: int | None = None


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


class LedgerStore(BudgetStore, ServingStore, Protocol):
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
        `exists_with_different_<field>` (nothing written for it, the rest goes on). A new id whose call_key was
        recorded within 48 hours is `seen`: nothing is charged, its id leads to the entry that stands, and what it
        adds (see `sightings`) is a correction of that. Also within the batch.
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
