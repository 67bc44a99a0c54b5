"""The half of the reference store that keeps reservations: plainly right, not fast."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from msgspec.structs import replace

from outlay.clock import Instant
from outlay.ledger import accounts, rules, sightings
from outlay.ledger.budget_store import (
    KeptReservation,
    Overrun,
    ReservationState,
    Reserved,
    Reserving,
    Settled,
    Settling,
)
from outlay.ledger.memory_accounts import Held, MemoryAccounts
from outlay.ledger.store import Amendment, StaleBook
from outlay.model import AccountKey, Appended, Entry, Outcome


class MemoryBudgets(MemoryAccounts):
    """What `BudgetStore` promises; the entries are the other half's."""

    @abstractmethod
    def _see_again(self, entry: Entry) -> Appended | None: ...

    @abstractmethod
    def _keep_key(self, entry: Entry, root: int) -> None: ...

    @abstractmethod
    def _written_since(self, seq: int) -> list[Entry]: ...

    @abstractmethod
    def _append(self, entry: Entry) -> Appended: ...

    @abstractmethod
    def _amend(self, amendment: Amendment) -> Appended: ...

    @abstractmethod
    def _event(self, root: int) -> list[Entry]: ...

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
        self._held[asked.id] = Held(
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

    def _settle_again(self, held: Held, entry: Entry) -> Settled:
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

    def _settle_held(self, held: Held, entry: Entry) -> Settled:
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

    def _settle_late(self, held: Held, entry: Entry) -> Settled:
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

    def _book_entries(self, held: Held, entries: Sequence[Entry]) -> tuple[Overrun, ...]:
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

    def _let_go(self, held: Held, at: Instant) -> None:
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

    def _drop_reservations(self, before: Instant) -> None:
        for held in list(self._held.values()):
            gone = held.entry is None or held.entry not in self._entries
            if held.state is not ReservationState.OPEN and held.started_at < before and gone:
                del self._held[held.id]


def _known_code(known: Held, asked: Reserving) -> str:
    if known.state is not ReservationState.OPEN:
        return known.state.value
    same = known.estimate.fingerprint == asked.estimate.fingerprint
    return "exists" if same else "exists_with_different_body"
