"""The accounts of budgets on PostgreSQL: what each entry adds to those that cover it, in the entry's transaction.

What a transaction does to accounts is gathered in a `Tally` and done at its end by one function of the server, which
locks all accounts in the order of their keys and makes each change in the order in which it was asked for. It is sent
together with COMMIT. So two transactions never wait for each other in a circle, and a hot account is held as shortly
as can be.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final, NamedTuple

import msgspec

from outlay.clock import DAY_MICROSECONDS, Instant
from outlay.ledger import account_rows, accounts, rules
from outlay.ledger.account_rows import decode_shares, tiers
from outlay.ledger.budget_store import AccountScope, Coverage, Covering, TierFilter
from outlay.ledger.codec import Decoder
from outlay.ledger.names import NameBook
from outlay.ledger.postgres import statements
from outlay.ledger.postgres.connections import Connections, Meta, read_meta
from outlay.ledger.postgres.statements import Connection, Statement, only, rows, run
from outlay.ledger.postgres.waiting import Write
from outlay.model import Account, AccountKey, Appended, AuditFinding, Entry, EntryKind, Limit, Outcome, Share
from outlay.money import PICO_PER_MICRO

_SECONDS_MAX: Final = 3_600.0
_LOOKED_AT_MAX: Final = 50_000
_PAGE: Final = 1_000
_ENDLESS: Final = 1 << 62
_encode: Final = msgspec.json.Encoder().encode


class _Known(NamedTuple):
    epoch: int
    changed: int
    coverage: Coverage | None


class _Change(NamedTuple):
    share: Share
    committed: int
    spent: int
    refusals: int
    at: Instant


class _News(NamedTuple):
    kind: str
    at: Instant
    key: AccountKey
    what: str
    amount: int


class Tally:
    """What one transaction changes in accounts, and what it has to tell, in order."""

    def __init__(self) -> None:
        self._steps: list[_Change | _News] = []

    def add(self, share: Share, committed: int, spent: int, at: Instant, *, refusals: int = 0) -> None:
        """Add to an account; the marks that this crosses are told."""
        self._steps.append(_Change(share, committed, spent, refusals, at))

    def tell(self, kind: str, at: Instant, key: AccountKey, what: str, amount: int) -> None:
        """Write to the outbox."""
        self._steps.append(_News(kind, at, key, what, amount))

    def let_go(self, shares: Sequence[Share], at: Instant) -> None:
        """Free what was held."""
        for share in shares:
            self.add(share, -share.amount, 0, at)

    def apply(self, connection: Connection) -> None:
        """Do all of it now, where the transaction goes on to read what stands then."""
        for one in self.statements():
            run(connection, one.name, one.bindings)

    def apply_last(self, connection: Connection) -> None:
        """Do all of it with the transaction's COMMIT, so that a hot account is held for no round trip."""
        connection.last += self.statements()

    def statements(self) -> list[Statement]:
        """What does all of it."""
        if not self._steps:
            return []
        shares = {step.share.key: step.share for step in self._steps if isinstance(step, _Change)}
        keys = sorted(shares)
        places = {key: place for place, key in enumerate(keys)}
        steps = [
            _news_row(step) if isinstance(step, _News) else _change_row(step, places[step.share.key])
            for step in self._steps
        ]
        return [Statement("count", (_json([key_row(shares[key]) for key in keys]), _json(steps)))]


def key_row(share: Share) -> tuple[str | int, ...]:
    """What the server's functions are told of an account."""
    key = share.key
    return (key.budget, key.scope, key.subject, key.window, share.window_name, share.from_at, share.to_at)


def _change_row(change: _Change, place: int) -> tuple[object, ...]:
    marks = [
        (accounts.mark_name(mark), *divmod(mark.amount, PICO_PER_MICRO))
        for mark in change.share.marks
        if not mark.forecast
    ]
    committed, spent = divmod(change.committed, PICO_PER_MICRO), divmod(change.spent, PICO_PER_MICRO)
    return (place, *committed, *spent, change.refusals, change.at, marks)


def _news_row(news: _News) -> tuple[str | int, ...]:
    key = news.key
    amount = divmod(news.amount, PICO_PER_MICRO)
    return (news.kind, news.at, key.budget, key.scope, key.subject, key.window, news.what, *amount)


def _json(value: object) -> str:
    return _encode(value).decode()


class Accounts:
    """The accounts of one ledger in this process."""

    def __init__(self, connections: Connections, book: NameBook, covering: Covering | None) -> None:
        """`covering` is None for a store that is opened without its budgets: nothing is counted then."""
        self._connections = connections
        self._book = book
        self._covering = covering
        self._known = _Known(-1, 0, None)

    def coverage(self, connection: Connection, epoch: int) -> Coverage | None:
        """What the budgets in force at this transaction's epoch cover; None where there never was one."""
        known = self._known
        if known.epoch == epoch:
            return known.coverage
        (changed,) = only(connection, "budgets_changed")
        coverage = known.coverage
        if changed != known.changed:
            bodies = [body for _, body, active in rows(connection, "budgets") if active]
            coverage = self._covering(bodies) if self._covering is not None else None
        self._known = _Known(epoch, changed, coverage)
        return coverage

    # --- counting

    def appended(self, write: Write, results: Sequence[Appended]) -> None:
        """Count what was just written; for `writing.append`."""
        created = [one.entry for one in results if one.code == Outcome.CREATED and one.entry is not None]
        corrections, write.corrections = write.corrections, []
        self.corrected(write, created + corrections)

    def corrected(self, write: Write, entries: Sequence[Entry]) -> None:
        """Count entries that were just written; for `writing.amend`."""
        tally = Tally()
        self.count(write, tally, entries)
        tally.apply_last(write.connection)

    def count(
        self, write: Write, tally: Tally, entries: Sequence[Entry], held: Sequence[Share] = (), *, free: bool = False
    ) -> Sequence[Share]:
        """Add what entries spent to the tally; what the last of them counts, account by account.

        `held` says where their call was reserved; with `free` what was held there is let go at the same time.
        """
        coverage = self.coverage(write.connection, write.meta.epoch)
        if coverage is None or not entries:
            if free:
                tally.let_go(held, entries[-1].recorded_at)
            return ()
        tier_of = tiers(statements, write.connection)
        told = {} if held else _held_for(write.connection, entries)
        found: list[Share] = []
        own: Sequence[Share] = ()
        for entry in entries:
            before = held or told.get(rules.root_of(entry), ())
            own = accounts.counted(coverage, entry, coverage.shares(entry, tier_of), before)
            found += own
        sums = accounts.summed(found)
        freed = {share.key: share.amount for share in held} if free else {}
        at = entries[-1].recorded_at
        for key in sorted(sums):
            tally.add(sums[key], sums[key].amount - freed.get(key, 0), sums[key].amount, at)
        return own

    # --- scopes

    def begin(self, connection: Connection, budget: str, scopes: Sequence[AccountScope]) -> None:
        """Note what a budget's accounts count from this transaction on, which is alone; new ones are to be warmed."""
        wanted = {(one.scope, one.window_name): one for one in scopes}
        for scope, window_name, active in rows(connection, "scopes_of", (budget,)):
            if (scope, window_name) not in wanted:
                run(connection, "end_scope", (budget, scope, window_name))
            elif active:
                del wanted[scope, window_name]
            else:
                # It was not counted meanwhile: begin again from what is held now, and fold all before.
                run(connection, "forget_spent", (budget, scope, window_name))
        (last,) = only(connection, "last_seq")
        for one in wanted.values():
            run(connection, "put_scope", (budget, one.scope, one.window_name, last, one.from_at))
            if account_rows.is_unseen(statements, connection, one):
                run(connection, "warm_scope", (budget, one.scope, one.window_name, last))

    def cold_scopes(self) -> int:
        """See BudgetStore.cold_scopes."""
        return self._connections.read(lambda connection: int(only(connection, "count_cold_scopes")[0]))

    def warm(self, most: int | None) -> int:
        """See BudgetStore.warm."""
        left = _ENDLESS if most is None else most
        warmed = 0
        while left > 0:
            step = self._connections.read(partial(self._gathered, most=min(left, _LOOKED_AT_MAX)), _SECONDS_MAX)
            if step is None:
                break
            warmed += self._connections.write(partial(_warmed, step=step))
            left -= max(step.looked_at, 1)
        return warmed

    def _gathered(self, connection: Connection, most: int) -> account_rows.Step | None:
        meta = read_meta(connection)
        decoder = Decoder(connection, self._book.at(meta.epoch))
        coverage = self.coverage(connection, meta.epoch)
        return account_rows.gathered(statements, connection, decoder, coverage, meta.epoch, most)

    # --- proving and forgetting

    def unsound(self, connection: Connection, meta: Meta, decoder: Decoder) -> Iterator[AuditFinding]:
        """What the accounts get wrong, for the audit."""
        coverage = self.coverage(connection, meta.epoch)
        if coverage is not None:
            horizon = meta.horizon * DAY_MICROSECONDS
            yield from account_rows.unsound(statements, connection, decoder, coverage, horizon)

    def forget(self, connection: Connection, kind: str, name: str, anonymous: str) -> None:
        """Rename a person or customer in budgets, accounts, tiers, reservations, the outbox and refusals.

        For a transaction that is alone and raises the epoch.
        """
        if self._covering is not None:
            epoch = read_meta(connection).epoch
            account_rows.forget(statements, connection, self._covering, epoch, (kind, name, anonymous))

    # --- asking

    def read(self, limits: Sequence[Limit]) -> dict[AccountKey, Account]:
        """See BudgetStore.accounts."""

        def work(connection: Connection) -> dict[AccountKey, Account]:
            return {
                limit.key: account_rows.account_of(statements, connection, limit.key, limit.window_name)
                for limit in limits
            }

        return self._connections.read(work)

    def of_budget(self, budget: str, scope: str, at: Instant, most: int) -> list[tuple[AccountKey, Account]]:
        """See BudgetStore.accounts_of."""

        return self._connections.read(
            lambda connection: account_rows.accounts_of(statements, connection, budget, scope, at, most)
        )

    def fullest(
        self, budget: str, scope: str, window_name: str, at: Instant, most: int, chosen: TierFilter | None
    ) -> list[tuple[AccountKey, Account]]:
        """See BudgetStore.fullest."""
        tier = chosen or TierFilter("", None)
        bound = (budget, scope, window_name, at, most, tier.kind, tier.tier, list(tier.but))

        def work(connection: Connection) -> list[tuple[AccountKey, Account]]:
            warming = account_rows.is_cold(statements, connection, budget, scope, window_name)
            return [
                (AccountKey(budget, scope, subject, window), account_rows.account_from(measures, warming=warming))
                for subject, window, *measures in rows(connection, "fullest", bound)
            ]

        return self._connections.read(work)

    def drop(self, now: Instant) -> int:
        """See BudgetStore.drop_accounts."""

        def begin(connection: Connection, _: Meta) -> bool:
            if now <= account_rows.dropped_at(statements, connection):
                return False
            run(connection, "put_setting", (account_rows.DROPPED_SETTING, str(now)))
            return True

        if not self._connections.write(begin, alone=True):
            return 0
        dropped = 0
        bound = (now, accounts.KEPT_MIN, accounts.KEPT_MAX, _PAGE)
        while at_once := self._connections.write(lambda connection, _: run(connection, "drop_accounts", bound)):
            dropped += at_once
        return dropped


def _warmed(connection: Connection, meta: Meta, step: account_rows.Step) -> int:
    """Add what a step found, if its scopes are as they were; how many are warm now."""
    cold = account_rows.cold_scopes(statements, connection, "lock_cold_scopes")
    if meta.epoch != step.epoch or cold != step.cold:
        return 0
    tally = Tally()
    for share in step.sums:
        tally.add(share, share.amount, share.amount, share.from_at)
    tally.apply(connection)
    warmed = 0
    for scope, (until, _) in cold.items():
        down_to = min(until, step.down_to)
        run(connection, "warm_down_to", (*scope, until, down_to))
        if down_to == 0:
            run(connection, "warm_scope", (*scope, down_to))
            warmed += 1
    return warmed


def _held_for(connection: Connection, entries: Sequence[Entry]) -> dict[int, tuple[Share, ...]]:
    """What was held for the calls of corrections whose event came from a reservation, by the event's first entry."""
    ids = sorted({entry.event.id for entry in entries if entry.kind is EntryKind.CORRECTION})
    if not ids:
        return {}
    return {root: decode_shares(shares) for shares, root in rows(connection, "shares_of_roots", (ids,))}
