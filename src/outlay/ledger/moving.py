"""What a move from one SQL store to another carries: every table of a ledger, row by row, in one form.

Rows travel as they are, so that numbers, identities, accounts, what retention left and what is to be told stay what
they were. The form is that of the PostgreSQL tables; a store says what it keeps otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Final, NamedTuple, Protocol, runtime_checkable

import msgspec

from outlay.ledger.cells import key_columns
from outlay.ledger.codec import Row as EntryRow
from outlay.ledger.dialect import Row
from outlay.ledger.folding import measures_of
from outlay.ledger.rollups import FOLDED, SUMMED, Rollup


class Table(NamedTuple):
    """A table that is moved: its columns in order, by which of them rows are told apart, and which are yes or no."""

    name: str
    columns: tuple[str, ...]
    keys: int = 1
    flags: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[str, ...]:
        """The columns that tell rows apart: the first ones."""
        return self.columns[: self.keys]


class Position(msgspec.Struct, frozen=True):
    """How far a ledger is. Two that are equal have the same entries, the same settings and the same horizon."""

    currency: str
    zone: str
    epoch: int
    horizon: int
    last_seq: int
    entries: int


ENTRY: Final = Table("entry", EntryRow._fields)
IDENTITY: Final = Table("identity", ("day", "hash63", "seq", "fingerprint", "root_day"), 2)
"""A row's `fingerprint` is always there; its `root_day` only where another capture of the call had been booked."""

_ACCOUNT: Final = ("budget", "scope", "subject", "window")


def _rollup(rollup: Rollup) -> Table:
    keys = key_columns(rollup)
    return Table(rollup.name, (*keys, *measures_of(rollup)), len(keys))


STATE: Final = (
    Table("dimension", ("id", "kind", "name")),
    Table("tag_set", ("id", "digest", "body")),
    Table("tag_day", ("day", "interned")),
    Table("rate", ("id", "digest", "body")),
    Table("call_key", ("day", "digest", "recorded_at", "root", "root_day", "seen"), 2),
    *map(_rollup, FOLDED),
    Table("rollup_value", ("day", "dimension", "value"), 3),
    Table("checkpoint", ("day", "entries", "events", "failed", "unpriced", "incomplete", "micro", "pico", "digest")),
    Table("user_rate", ("id", "body")),
    Table("catalogue", ("number", "id", "body", "recorded_at")),
    Table("setting", ("name", "value")),
    Table("statement", ("id", "provider", "source", "period_from", "period_to", "currency", "recorded_at")),
    Table(
        "statement_line",
        (
            *("number", "statement", "line", "service", "resource", "occurred_from", "occurred_to"),
            *("cost", "quantity", "unit", "state", "entry"),
        ),
    ),
    Table("job_outcome", ("job", "units", "status", "recorded_at")),
    Table("budget", ("name", "body", "active", "changed"), flags=("active",)),
    Table(
        "account_scope",
        ("budget", "scope", "window_name", "active", "warm", "until_seq", "from_at"),
        3,
        ("active", "warm"),
    ),
    Table(
        "account",
        (
            *_ACCOUNT,
            *("window_name", "from_at", "to_at"),
            *("committed_micro", "committed_pico", "spent_micro", "spent_pico", "refusals"),
        ),
        4,
    ),
    Table("subject", ("kind", "name", "tier"), 2),
    Table(
        "reservation",
        (
            *("id", "fingerprint", "state", "started_at", "deadline"),
            *("shares", "estimate", "entry"),
        ),
    ),
    Table("outbox", ("number", "kind", "at", *_ACCOUNT, "what", "amount_micro", "amount_pico")),
    Table("refusal", ("budget", "place", "number", "body"), 2),
    Table("refusal_count", ("budget", "refused")),
    Table("access_key", ("id", "body", "used_at")),
    Table("change_log", ("number", "at", "who", "action", "subject", "detail")),
    Table("note", ("kind", "id", "at", "live", "body"), 2, ("live",)),
)
"""The tables that are replaced as a whole at the end of a move. A statement comes before its lines."""

LEFT: Final = (
    *("meta", "span", "waiter", "lease", "entry", "identity", "migration", "landed"),
    *(rollup.name for rollup in SUMMED),
)
"""Tables that are no state of their own: made anew by a store, gone with who waits, or moved by hand here."""

MOVING: Final = "outlay.moving_from"
"""The setting that says that a ledger is being filled, and from where."""


class Snapshot(Protocol):
    """One consistent view of a ledger that is read from beginning to end."""

    def position(self) -> Position:
        """How far the ledger is in this view."""
        ...

    def rows(self, table: Table, after: int | None = None) -> Iterator[Row]:
        """A table's rows by key, never all in memory; of entries those with a seq after `after`."""
        ...


class Filling(Protocol):
    """The one transaction that makes a ledger that was filled whole."""

    def replace(self, table: Table, rows: Iterable[Row]) -> int:
        """Put these rows in the place of all that the table held; how many."""
        ...


class Mover(Protocol):
    """How one store is read and filled as a whole."""

    def snapshot(self) -> AbstractContextManager[Snapshot]:
        """A view for reading."""
        ...

    def mark(self, source: str | None) -> str | None:
        """Which ledger this one is being filled from; with `source` it is noted first. None: from none."""
        ...

    def position(self) -> Position:
        """How far the ledger is now."""
        ...

    def filled_to(self) -> int:
        """The greatest seq of the entries that are there, 0 for none: a move goes on behind it."""
        ...

    def add(self, table: Table, rows: Sequence[Row]) -> int:
        """Add entries or identities, in one transaction; those that are there already stay as they are. How many."""
        ...

    def finish(self, position: Position, fill: Callable[[Filling], None]) -> None:
        """Run `fill`, and set the ledger to where its source was, all in one transaction."""
        ...


@runtime_checkable
class Upgradable(Protocol):
    """A store that old and new programs share while they are upgraded one after the other."""

    def finish_migration(self) -> list[str]:
        """Apply what older programs could not live with, once none runs any more; the scripts applied."""
        ...


@runtime_checkable
class Movable(Protocol):
    """A store that can be moved, or moved into."""

    def mover(self) -> Mover:
        """How this store is read and filled as a whole."""
        ...
