"""The half of the reference store that keeps budgets' accounts: plainly right, not fast."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count

import msgspec
from msgspec.structs import replace

from outlay.clock import Instant
from outlay.ledger import accounts, rules
from outlay.ledger.budget_store import (
    REFUSALS_KEPT,
    AccountScope,
    Coverage,
    Covering,
    KeptBudget,
    NotedRefusal,
    OutboxRow,
    ReservationState,
    TierFilter,
)
from outlay.ledger.names import KIND_NUMBERS
from outlay.model import Account, AccountKey, AuditFinding, Entry, EntryKind, Limit, Share


class _Scope(msgspec.Struct):
    until: int
    from_at: Instant
    active: bool = True
    warm: bool = False


class Held(msgspec.Struct):
    """A reservation, whatever became of it."""

    id: str
    state: ReservationState
    started_at: Instant
    deadline: Instant
    shares: tuple[Share, ...]
    estimate: Entry
    entry: int | None = None


class MemoryAccounts(ABC):
    """Budgets and their accounts; the entries and the reservations are the other halves'."""

    _entries: dict[int, Entry]
    _last_seq: int
    _epoch: int

    def _make_budgets(self, covering: Covering | None) -> None:
        self._covering = covering
        self._coverage: Coverage | None = None
        self._budgets: dict[str, KeptBudget] = {}
        self._scopes: dict[accounts.Scope, _Scope] = {}
        self._kept: dict[AccountKey, tuple[Share, Account]] = {}
        self._tiers: dict[tuple[str, str], str] = {}
        self._held: dict[str, Held] = {}
        self._waiters: dict[str, tuple[frozenset[AccountKey], Instant]] = {}
        self._outbox: list[OutboxRow] = []
        self._told: set[tuple[AccountKey, str]] = set()
        self._refusals: dict[str, list[NotedRefusal]] = {}
        self._refused: dict[str, int] = {}
        self._numbers = count(1)
        self._dropped_at: Instant = -(1 << 62)

    @abstractmethod
    def _open(self) -> threading.RLock: ...

    # --- budgets

    def put_budget(self, name: str, body: bytes, scopes: Sequence[AccountScope]) -> int:
        """See BudgetStore.put_budget."""
        return self._change_budget(name, body, scopes, active=True)

    def remove_budget(self, name: str, body: bytes) -> int:
        """See BudgetStore.remove_budget."""
        return self._change_budget(name, body, (), active=False)

    def _change_budget(self, name: str, body: bytes, scopes: Sequence[AccountScope], *, active: bool) -> int:
        with self._open():
            self._budgets[name] = KeptBudget(name, body, active)
            self._cover()
            wanted = {(name, one.scope, one.window_name): one for one in scopes}
            for scope, known in self._scopes.items():
                if scope[0] == name and scope not in wanted:
                    known.active = False
            for scope, one in wanted.items():
                old = self._scopes.get(scope)
                if old is None or not old.active:
                    self._forget_spent(scope)
                    self._scopes[scope] = _Scope(self._last_seq, one.from_at, warm=self._is_unseen(one))
            self._epoch += 1
            return self._epoch

    def _is_unseen(self, scope: AccountScope) -> bool:
        """As `account_rows.is_unseen`."""
        seen = [entry.event for entry in self._entries.values()] + [one.estimate.event for one in self._held.values()]
        return any(
            None not in values and not any(getattr(event, dimension) in values for event in seen)
            for dimension, values in scope.where.items()
            if dimension in KIND_NUMBERS
        )

    def _cover(self) -> None:
        bodies = [budget.body for budget in self._budgets.values() if budget.active]
        self._coverage = self._covering(bodies) if self._covering is not None else None

    def _forget_spent(self, scope: accounts.Scope) -> None:
        for key, (share, account) in self._kept.items():
            if accounts.scope_of(share) == scope:
                left = replace(account, committed=account.committed - account.spent, spent=0)
                self._kept[key] = (share, left)

    def budgets(self) -> list[KeptBudget]:
        """See BudgetStore.budgets."""
        with self._open():
            return [self._budgets[name] for name in sorted(self._budgets)]

    def put_subject(self, kind: str, name: str, tier: str) -> None:
        """See BudgetStore.put_subject."""
        with self._open():
            self._tiers[kind, name] = tier

    def tier(self, kind: str, name: str) -> str | None:
        """See BudgetStore.tier."""
        with self._open():
            return self._tier_of(kind, name)

    def _tier_of(self, kind: str, name: str) -> str | None:
        return self._tiers.get((kind, name))

    # --- accounts

    def cold_scopes(self) -> int:
        """See BudgetStore.cold_scopes."""
        with self._open():
            return sum(known.active and not known.warm for known in self._scopes.values())

    def warm(self, most: int | None = None) -> int:
        """See BudgetStore.warm; here all is folded at once."""
        with self._open():
            cold = {scope: known for scope, known in self._scopes.items() if known.active and not known.warm}
            history = [
                share
                for seq, share in self._fold()
                if (bounds := cold.get(accounts.scope_of(share))) is not None
                and seq <= bounds.until
                and share.from_at >= bounds.from_at
            ]
            for _, share in sorted(accounts.summed(history).items()):
                self._add(share, share.amount, share.amount, share.from_at)
            for known in cold.values():
                known.warm = True
            return len(cold)

    def _fold(self) -> Iterator[tuple[int, Share]]:
        if self._coverage is not None:
            for entry in list(self._entries.values()):
                for share in self._shares(self._coverage, entry, self._held_for(entry)):
                    yield entry.seq, share

    def _shares(self, coverage: Coverage, entry: Entry, held: Sequence[Share]) -> list[Share]:
        return accounts.counted(coverage, entry, coverage.shares(entry, self._tier_of), held)

    def _held_for(self, entry: Entry) -> tuple[Share, ...]:
        held = self._held.get(entry.event.id)
        return held.shares if held is not None and held.entry == rules.root_of(entry) else ()

    def _count(self, entries: Iterable[Entry], held: Sequence[Share] = ()) -> None:
        """Add what entries spent to their accounts, together: a correction crosses no mark on its way."""
        if self._coverage is None:
            return
        sums: dict[AccountKey, Share] = {}
        at = 0
        for entry in entries:
            at = entry.recorded_at
            own = held or (self._held_for(entry) if entry.kind is EntryKind.CORRECTION else ())
            for share in self._shares(self._coverage, entry, own):
                known = sums.get(share.key)
                sums[share.key] = share if known is None else replace(share, amount=share.amount + known.amount)
        for key in sorted(sums):
            self._add(sums[key], sums[key].amount, sums[key].amount, at)

    def _add(self, share: Share, committed: int, spent: int, at: Instant) -> None:
        _, before = self._kept.get(share.key, (share, Account()))
        after = replace(before, committed=before.committed + committed, spent=before.spent + spent)
        self._kept[share.key] = (share, after)
        for mark in accounts.crossed(share.marks, before.spent, after.spent):
            self._tell("mark", at, share.key, accounts.mark_name(mark), after.spent)

    def _tell(self, kind: str, at: Instant, key: AccountKey, what: str, amount: int) -> None:
        if kind == "mark":
            if (key, what) in self._told:
                return
            self._told.add((key, what))
        number = next(self._numbers)
        self._outbox.append(OutboxRow(number=number, kind=kind, at=at, key=key, what=what, amount=amount))

    def _account(self, key: AccountKey, window_name: str) -> Account:
        _, account = self._kept.get(key, (None, Account()))
        known = self._scopes.get((key.budget, key.scope, window_name))
        return replace(account, warming=known is not None and not known.warm)

    def accounts(self, limits: Sequence[Limit]) -> dict[AccountKey, Account]:
        """See BudgetStore.accounts."""
        with self._open():
            return {limit.key: self._account(limit.key, limit.window_name) for limit in limits}

    def accounts_of(self, budget: str, scope: str, at: Instant, most: int) -> list[tuple[AccountKey, Account]]:
        """See BudgetStore.accounts_of."""
        with self._open():
            found = [
                (key, self._account(key, share.window_name))
                for key, (share, _) in sorted(self._kept.items())
                if (key.budget, key.scope) == (budget, scope) and share.from_at <= at < share.to_at
            ]
            return found[:most]

    def fullest(
        self, budget: str, scope: str, window_name: str, at: Instant, most: int, tiers: TierFilter | None = None
    ) -> list[tuple[AccountKey, Account]]:
        """See BudgetStore.fullest."""
        with self._open():
            found = [
                (key, self._account(key, window_name))
                for key, (share, _) in self._kept.items()
                if (key.budget, key.scope, share.window_name) == (budget, scope, window_name)
                and share.from_at <= at < share.to_at
                and (tiers is None or self._is_chosen(tiers, key.subject))
            ]
        return sorted(found, key=lambda one: (-one[1].spent, one[0].subject))[:most]

    def _is_chosen(self, tiers: TierFilter, subject: str) -> bool:
        told = self._tier_of(tiers.kind, subject) or ""
        return tiers.tier in (None, told) and told not in tiers.but

    def drop_accounts(self, now: Instant) -> int:
        """See BudgetStore.drop_accounts."""
        with self._open():
            if now <= self._dropped_at:
                return 0
            self._dropped_at = now
            over = [
                key
                for key, (share, account) in self._kept.items()
                if accounts.kept_until(share.from_at, share.to_at) <= now and account.committed == account.spent
            ]
            for key in over:
                del self._kept[key]
            return len(over)

    # --- what is to be told

    def note_refusals(self, refusals: Sequence[NotedRefusal]) -> None:
        """See BudgetStore.note_refusals."""
        with self._open():
            for one in refusals:
                (share,) = accounts.held_by([one.refusal.limit])
                known, account = self._kept.get(share.key, (share, Account()))
                self._kept[share.key] = (known, replace(account, refusals=account.refusals + 1))
                self._refused[share.key.budget] = self._refused.get(share.key.budget, 0) + 1
                kept = [one, *self._refusals.get(share.key.budget, ())]
                self._refusals[share.key.budget] = kept[:REFUSALS_KEPT]

    def outbox(self, after: int = 0) -> list[OutboxRow]:
        """See BudgetStore.outbox."""
        with self._open():
            return self._outbox[bisect_right(self._outbox, after, key=lambda row: row.number) :]

    def refusals(self, budget: str) -> tuple[int, list[NotedRefusal]]:
        """See BudgetStore.refusals."""
        with self._open():
            return self._refused.get(budget, 0), list(self._refusals.get(budget, ()))

    # --- proving and forgetting

    def _unsound_accounts(self, horizon: Instant) -> Iterator[AuditFinding]:
        """What accounts get wrong: each is what its entries spent, and what open reservations hold."""
        spent = accounts.summed(share for _, share in self._fold())
        held: dict[AccountKey, int] = {}
        for one in self._held.values():
            if one.state is ReservationState.OPEN:
                for share in one.shares:
                    held[share.key] = held.get(share.key, 0) + share.amount
        warm = {scope: known.from_at for scope, known in self._scopes.items() if known.active and known.warm}
        yield from accounts.unsound(self._kept, spent, held, warm, horizon, self._dropped_at)

    def _rename_accounts(self, kind: str, name: str, anonymous: str) -> None:
        if self._covering is None:
            return
        every = self._covering([budget.body for budget in self._budgets.values()])
        renamed = frozenset(every.of_subjects(kind))
        self._move(lambda key: key.subject == name and key.budget in renamed, subject=anonymous)
        for budget in renamed:
            kept = self._refusals.get(budget, ())
            self._refusals[budget] = [accounts.refusal_with_name(one, name, anonymous) for one in kept]
        for held in self._held.values():
            held.shares = accounts.with_name(held.shares, renamed, name, anonymous)
            held.estimate = accounts.forgotten(held.estimate, kind, name, anonymous)
        if (kind, name) in self._tiers:
            self._tiers[kind, anonymous] = self._tiers.pop((kind, name))
        self._waiters.clear()
        self._forget_in_filters(every, kind, name, anonymous)

    def _forget_in_filters(self, every: Coverage, kind: str, name: str, anonymous: str) -> None:
        for budget in list(self._budgets.values()):
            found = every.forgotten(budget.body, kind, name, anonymous)
            if found is None:
                continue
            self._budgets[budget.name] = replace(budget, body=found.body)
            if found.scope != found.scope_before:
                self._move_scope(budget.name, found.scope_before, found.scope)
        self._cover()

    def _move_scope(self, budget: str, before: str, after: str) -> None:
        self._move(lambda key: (key.budget, key.scope) == (budget, before), scope=after)
        self._scopes = {
            (name, after if (name, scope) == (budget, before) else scope, window): known
            for (name, scope, window), known in self._scopes.items()
        }
        for held in self._held.values():
            held.shares = accounts.with_scope(held.shares, budget, before, after)

    def _move(self, chosen: Callable[[AccountKey], bool], **changes: str) -> None:
        """Give accounts other keys, in the outbox too."""
        for key in [key for key in self._kept if chosen(key)]:
            share, account = self._kept.pop(key)
            moved = replace(key, **changes)
            self._kept[moved] = (replace(share, key=moved), account)
        self._outbox = [
            replace(row, key=replace(row.key, **changes)) if chosen(row.key) else row for row in self._outbox
        ]
        self._told = {(row.key, row.what) for row in self._outbox if row.kind == "mark"}
