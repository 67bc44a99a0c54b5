"""The half of the reference store that keeps budgets: plainly right, not fast."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from itertools import count

import msgspec
from msgspec.structs import replace

from outlay.clock import Instant
from outlay.ledger import accounts, rules, sightings
from outlay.ledger.budget_store import (
    REFUSALS_KEPT,
    AccountScope,
    Coverage,
    Covering,
    KeptBudget,
    KeptReservation,
    NotedRefusal,
    OutboxRow,
    Overrun,
    ReservationState,
    Reserved,
    Reserving,
    Settled,
    Settling,
)
from outlay.ledger.store import Amendment, StaleBook
from outlay.model import (
    Account,
    AccountKey,
    Appended,
    AuditFinding,
    Entry,
    EntryKind,
    Limit,
    Outcome,
    Share,
)


class _Scope(msgspec.Struct):
    until: int
    from_at: Instant
    active: bool = True
    warm: bool = False


class _Held(msgspec.Struct):
    id: str
    state: ReservationState
    started_at: Instant
    deadline: Instant
    shares: tuple[Share, ...]
    estimate: Entry
    entry: int | None = None


class MemoryBudgets:
    """What `BudgetStore` promises; the entries are the other half's."""

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
        self._held: dict[str, _Held] = {}
        self._waiters: dict[str, tuple[frozenset[AccountKey], Instant]] = {}
        self._outbox: list[OutboxRow] = []
        self._told: set[tuple[AccountKey, str]] = set()
        self._refusals: dict[str, list[NotedRefusal]] = {}
        self._refused: dict[str, int] = {}
        self._numbers = count(1)

    def _open(self) -> threading.RLock:
        raise NotImplementedError

    def _see_again(self, entry: Entry) -> Appended | None:
        raise NotImplementedError

    def _keep_key(self, entry: Entry, root: int) -> None:
        raise NotImplementedError

    def _written_since(self, seq: int) -> list[Entry]:
        raise NotImplementedError

    def _append(self, entry: Entry) -> Appended:
        raise NotImplementedError

    def _amend(self, amendment: Amendment) -> Appended:
        raise NotImplementedError

    def _event(self, root: int) -> list[Entry]:
        raise NotImplementedError

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
            bodies = [budget.body for budget in self._budgets.values() if budget.active]
            self._coverage = self._covering(bodies) if self._covering is not None else None
            wanted = {(name, one.scope, one.window_name): one for one in scopes}
            for scope, known in self._scopes.items():
                if scope[0] == name and scope not in wanted:
                    known.active = False
            for scope, one in wanted.items():
                old = self._scopes.get(scope)
                if old is None or not old.active:
                    self._forget_spent(scope)
                    self._scopes[scope] = _Scope(self._last_seq, one.from_at)
            self._epoch += 1
            return self._epoch

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

    def warm(self) -> int:
        """See BudgetStore.warm."""
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

    # --- reservations

    def reserve(self, asked: Reserving, *, epoch: int | None = None) -> Reserved:
        """See BudgetStore.reserve."""
        return self.reserve_many([asked], epoch=epoch)[0]

    def reserve_many(self, asked: Sequence[Reserving], *, epoch: int | None = None) -> list[Reserved]:
        """See BudgetStore.reserve_many."""
        with self._open():
            self._check_epoch(epoch)
            return [self._reserve(one) for one in asked]

    def _check_epoch(self, epoch: int | None) -> None:
        if epoch is not None and epoch != self._epoch:
            raise StaleBook

    def _reserve(self, asked: Reserving) -> Reserved:
        self._expire(asked.now, accounts.EXPIRE_AT_ONCE)
        known = self._held.get(asked.id)
        if known is not None and known.state is not ReservationState.RELEASED:
            return Reserved(code=_known_code(known, asked), accounts={})
        found = {limit.key: self._account(limit.key, limit.window_name) for limit in asked.limits}
        fitting = all(accounts.fits(limit, found[limit.key]) for limit in asked.limits)
        keys = frozenset(limit.key for limit in asked.limits if limit.hard)
        queued = fitting and self._others_first(asked, keys)
        if not fitting or queued:
            if asked.waits:
                self._waiters[asked.id] = (keys, asked.waits_until)
            return Reserved(code="refused", accounts=found, queued=queued)
        shares = accounts.held_by(asked.limits)
        for share in shares:
            self._add(share, share.amount, 0, asked.now)
        self._held[asked.id] = _Held(
            asked.id, ReservationState.OPEN, asked.now, asked.deadline, shares, asked.estimate
        )
        self._waiters.pop(asked.id, None)
        return Reserved(code="reserved", accounts=found)

    def _others_first(self, asked: Reserving, keys: frozenset[AccountKey]) -> bool:
        for id, (waiting_for, until) in self._waiters.items():
            if id == asked.id:
                return False
            if until > asked.now and not keys.isdisjoint(waiting_for):
                return True
        return False

    def stop_waiting(self, id: str) -> None:
        """See BudgetStore.stop_waiting."""
        with self._open():
            self._waiters.pop(id, None)

    def settle(self, id: str, entry: Entry, *, epoch: int | None = None) -> Settled:
        """See BudgetStore.settle."""
        return self.settle_many([Settling(id, entry)], epoch=epoch)[0]

    def settle_many(self, settlements: Sequence[Settling], *, epoch: int | None = None) -> list[Settled]:
        """See BudgetStore.settle_many."""
        for one in settlements:
            rules.check_storable(one.entry)
        with self._open():
            self._check_epoch(epoch)
            return [self._settle(one.id, one.entry) for one in settlements]

    def _settle(self, id: str, entry: Entry) -> Settled:
        held = self._held.get(id)
        if held is None:
            return Settled(code="no_such_reservation")
        if held.state is ReservationState.EXPIRED:
            return self._settle_late(held, entry)
        if held.state is ReservationState.SETTLED:
            return self._settle_again(held, entry)
        return self._settle_held(held, entry)

    def _settle_again(self, held: _Held, entry: Entry) -> Settled:
        live = rules.live_version(self._event(held.entry)) if held.entry is not None else None
        if live is None and entry.event.call_key is not None:
            before = self._last_seq
            seen = self._see_again(entry)
            self._count(self._written_since(before))
            live = None if seen is None else seen.entry
        if live is None:
            return Settled(code="exists_with_different_body")
        return Settled(
            code=rules.conflict_code(live, entry) if live.event.id == held.id else Outcome.SEEN, entry=live
        )

    def _settle_held(self, held: _Held, entry: Entry) -> Settled:
        before = self._last_seq
        result = self._append(entry)
        if result.entry is None or result.code not in (Outcome.CREATED, Outcome.EXISTS, Outcome.SEEN):
            return Settled(code=result.code, entry=result.entry)
        still_held = held.state is ReservationState.OPEN
        if still_held:
            self._let_go(held, entry.recorded_at)
        over: tuple[Overrun, ...] = ()
        if result.code == Outcome.CREATED:
            over = self._book_entries(held, [result.entry])
        else:
            held.shares = ()
            self._count(self._written_since(before))
        held.state, held.entry = ReservationState.SETTLED, rules.root_of(result.entry)
        code = "settled" if still_held else "settled_after_release"
        code = Outcome.SEEN if result.code == Outcome.SEEN else code
        return Settled(code=code, entry=result.entry, overruns=over)

    def _settle_late(self, held: _Held, entry: Entry) -> Settled:
        live = rules.live_version(self._event(held.entry or 0))
        if live is None:
            return Settled(code="exists_with_different_body")
        before = self._last_seq
        seen = self._see_again(entry)
        if seen is not None and seen.entry is not None:
            # Another capture has booked what the estimate stood for.
            self._count(self._written_since(before))
            _, written = self._amended(Amendment(live.seq, None, entry.recorded_at, sightings.SEEN_AGAIN))
            self._book_entries(held, written)
            held.state = ReservationState.SETTLED
            return Settled(code=Outcome.SEEN, entry=seen.entry)
        result, written = self._amended(Amendment(live.seq, entry, entry.recorded_at, accounts.EXPIRED_LATE))
        over = self._book_entries(held, written)
        self._keep_key(entry, rules.root_of(live))
        held.state = ReservationState.SETTLED
        return Settled(code="settled_late", entry=result.entry, overruns=over)

    def _amended(self, amendment: Amendment) -> tuple[Appended, list[Entry]]:
        before = self._last_seq
        result = self._amend(amendment)
        return result, [self._entries[seq] for seq in range(before + 1, self._last_seq + 1)]

    def _book_entries(self, held: _Held, entries: Sequence[Entry]) -> tuple[Overrun, ...]:
        if self._coverage is None:
            return ()
        self._count(entries, held.shares)
        last = entries[-1]
        coverage = self._coverage
        billed = [replace(share, amount=coverage.amount(share.meter, last)) for share in held.shares]
        over = accounts.overruns(billed, held.shares)
        for one in over:
            self._tell("overrun", last.recorded_at, one.key, held.id, one.billed - one.held)
        return over

    def _let_go(self, held: _Held, at: Instant) -> None:
        for share in held.shares:
            self._add(share, -share.amount, 0, at)

    def release(self, id: str, now: Instant) -> Settled:
        """See BudgetStore.release."""
        with self._open():
            held = self._held.get(id)
            if held is None:
                return Settled(code="no_such_reservation")
            if held.state is ReservationState.EXPIRED:
                live = rules.live_version(self._event(held.entry or 0))
                if live is not None:
                    _, written = self._amended(Amendment(live.seq, None, now, accounts.RELEASED_LATE))
                    self._book_entries(held, written)
                held.state = ReservationState.SETTLED
                return Settled(code="released_late")
            if held.state is ReservationState.OPEN:
                self._let_go(held, now)
                held.state = ReservationState.RELEASED
            return Settled(code=held.state.value)

    def extend(self, id: str, deadline: Instant) -> Settled:
        """See BudgetStore.extend."""
        with self._open():
            held = self._held.get(id)
            if held is None:
                return Settled(code="no_such_reservation")
            if held.state is not ReservationState.OPEN:
                return Settled(code=held.state.value)
            held.deadline = deadline
            return Settled(code="extended")

    def expire(self, now: Instant) -> int:
        """See BudgetStore.expire."""
        with self._open():
            return self._expire(now, len(self._held))

    def _expire(self, now: Instant, most: int) -> int:
        overdue = [
            held for held in self._held.values() if held.state is ReservationState.OPEN and held.deadline <= now
        ]
        overdue.sort(key=lambda held: held.deadline)
        for held in overdue[:most]:
            result = self._append(accounts.expiring(held.estimate, now))
            self._let_go(held, now)
            held.entry = None if result.entry is None else rules.root_of(result.entry)
            if result.code == Outcome.CREATED and result.entry is not None:
                self._book_entries(held, [result.entry])
                held.state = ReservationState.EXPIRED
            else:
                held.shares = ()
                held.state = ReservationState.SETTLED
        return len(overdue[:most])

    def reservation(self, id: str) -> KeptReservation | None:
        """See BudgetStore.reservation."""
        with self._open():
            held = self._held.get(id)
            if held is None:
                return None
            return KeptReservation(
                id=held.id,
                state=held.state,
                started_at=held.started_at,
                deadline=held.deadline,
                shares=held.shares,
                entry=held.entry,
            )

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

    def outbox(self) -> list[OutboxRow]:
        """See BudgetStore.outbox."""
        with self._open():
            return list(self._outbox)

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
        yield from accounts.unsound(self._kept, spent, held, warm, horizon)

    def _rename_accounts(self, kind: str, name: str, anonymous: str) -> None:
        every = [budget.body for budget in self._budgets.values()]
        renamed = frozenset(self._covering(every).of_subjects(kind) if self._covering is not None else ())
        for key in [key for key in self._kept if key.subject == name and key.budget in renamed]:
            share, account = self._kept.pop(key)
            other = replace(share, key=replace(key, subject=anonymous))
            self._kept[other.key] = (other, account)
        self._outbox = [
            replace(row, key=replace(row.key, subject=anonymous))
            if row.key.subject == name and row.key.budget in renamed
            else row
            for row in self._outbox
        ]
        self._told = {(row.key, row.what) for row in self._outbox if row.kind == "mark"}
        for held in self._held.values():
            held.shares = accounts.with_name(held.shares, renamed, name, anonymous)
            held.estimate = accounts.forgotten(held.estimate, kind, name, anonymous)
        for budget in renamed:
            self._refusals.pop(budget, None)
        if (kind, name) in self._tiers:
            self._tiers[kind, anonymous] = self._tiers.pop((kind, name))

    def _drop_reservations(self, before: Instant) -> None:
        for held in list(self._held.values()):
            gone = held.entry is None or held.entry not in self._entries
            if held.state is not ReservationState.OPEN and held.started_at < before and gone:
                del self._held[held.id]


def _known_code(known: _Held, asked: Reserving) -> str:
    if known.state is not ReservationState.OPEN:
        return known.state.value
    same = known.estimate.fingerprint == asked.estimate.fingerprint
    return "exists" if same else "exists_with_different_body"
