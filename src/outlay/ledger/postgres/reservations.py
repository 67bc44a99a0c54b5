"""Reservations on PostgreSQL: taken all or none by one function of the server; settled, released, expired in groups.

A group is decided in memory and written at once. Everybody takes locks in one order: reservations by id, names,
identities, accounts by key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Final, NamedTuple, TypeVar

import msgspec

from outlay.clock import Instant
from outlay.ledger import accounts, rules, sightings
from outlay.ledger.account_rows import (
    STATE_NUMBERS,
    STATES,
    account_from,
    decode_shares,
    encode_row,
    encode_shares,
    estimate_of,
)
from outlay.ledger.budget_store import (
    KeptReservation,
    Overrun,
    ReservationState,
    Reserved,
    Reserving,
    Settled,
    Settling,
)
from outlay.ledger.names import NameBook
from outlay.ledger.postgres.accounts import Accounts, Tally, key_row
from outlay.ledger.postgres.connections import Connections, Meta
from outlay.ledger.postgres.statements import Connection, Statement, first, only, rows, run
from outlay.ledger.postgres.waiting import Write
from outlay.ledger.postgres.writing import (
    amend_within,
    append_within,
    begin,
    key_of,
    prepare,
    remember,
    see_again,
    storable,
)
from outlay.ledger.store import Amendment
from outlay.model import AccountKey, Appended, Entry, Outcome, Share
from outlay.money import PICO_PER_MICRO

_TAKEN: Final = -2
_UNKNOWN: Final = Settled(code="no_such_reservation")
_BOOKED: Final = (Outcome.CREATED, Outcome.EXISTS, Outcome.SEEN)
_encode: Final = msgspec.json.Encoder().encode
Result = TypeVar("Result")


class _Outcome(msgspec.Struct):
    """What the server's function says of one reservation."""

    state: int
    same: bool = False
    queued: bool = False
    accounts: list[tuple[int, int, int, int, int]] = []


_decode_outcomes: Final = msgspec.json.Decoder(list[_Outcome]).decode


class _Kept(NamedTuple):
    """A reservation that this transaction holds."""

    id: str
    state: ReservationState
    shares: tuple[Share, ...]
    root: int | None


class _Ending(NamedTuple):
    id: str
    state: ReservationState
    root: int | None
    shares: bytes | None = None


class _Group:
    """What one transaction does to reservations beside their entries."""

    def __init__(self, write: Write) -> None:
        self.write = write
        self.tally = Tally()
        self.endings: list[_Ending] = []

    def end(self, kept: _Kept, state: ReservationState, root: int | None, *, nowhere_held: bool = False) -> None:
        """Note what became of a reservation.

        With `nowhere_held` the call is in the ledger by another way: it counts only where it is covered.
        """
        self.endings.append(_Ending(kept.id, state, root, encode_shares(()) if nowhere_held else None))

    def apply(self) -> None:
        """Write all of it now, where the transaction goes on to read what stands then."""
        for one in self._statements():
            run(self.write.connection, one.name, one.bindings)

    def apply_last(self) -> None:
        """Write all of it with the transaction's COMMIT."""
        self.write.connection.last += self._statements()

    def _statements(self) -> list[Statement]:
        if not self.endings:
            return self.tally.statements()
        bound = (
            [one.id for one in self.endings],
            [STATE_NUMBERS[one.state] for one in self.endings],
            [one.root for one in self.endings],
            [one.shares for one in self.endings],
        )
        return [Statement("end_reservations", bound), *self.tally.statements()]


class Reservations:
    """The reservations of one ledger in this process."""

    def __init__(self, connections: Connections, book: NameBook, kept: Accounts) -> None:
        self._connections = connections
        self._book = book
        self._accounts = kept

    def _write(self, work: Callable[[Write], Result], epoch: int | None = None) -> Result:
        def begun(connection: Connection, meta: Meta) -> tuple[Write, Result]:
            write = begin(connection, meta, self._book, epoch)
            return write, work(write)

        write, result = self._connections.write(begun)
        remember(write)
        return result

    # --- taking

    def reserve(self, asked: Sequence[Reserving], epoch: int | None) -> list[Reserved]:
        """See BudgetStore.reserve_many."""
        if not asked:
            return []
        names = self._book.newest
        estimates = [one.estimate for one in asked]
        with storable(estimates):
            prepared = prepare(estimates, names)

            def packed(write: Write) -> list[bytes]:
                known = prepared if write.names is names else prepare(estimates, write.names)
                return [
                    encode_row(row if row is not None else write.encode([estimate])[0])
                    for row, estimate in zip(known, estimates, strict=True)
                ]

            answers: list[str | None] = []

            def take(write: Write) -> None:
                # With COMMIT: the accounts are held for no round trip.
                bound = _bound(asked, packed(write))
                write.connection.last.append(Statement("reserve", bound, lambda row: answers.append(row[0])))

            while not answers:  # A COMMIT that landed unanswered: the same again is told what stands.
                self._write(take, epoch)
            if answers[0] is not None:
                return _reserved_all(asked, answers[0])

            def take_after_expiry(write: Write) -> list[Reserved]:
                return [
                    one
                    for reserving, estimate in zip(asked, packed(write), strict=True)
                    for one in self._take_after_expiry(write, reserving, estimate)
                ]

            return self._write(take_after_expiry, epoch)

    def _take_after_expiry(self, write: Write, asked: Reserving, estimate: bytes) -> list[Reserved]:
        self._expire(write, asked.now)
        (answer,) = only(write.connection, "reserve", _bound([asked], [estimate], expired=True))
        return _reserved_all([asked], answer)

    def stop_waiting(self, id: str) -> None:
        """See BudgetStore.stop_waiting."""
        self._connections.write(lambda connection, _: run(connection, "drop_waiter", (id,)))

    # --- settling

    def settle(self, settlements: Sequence[Settling], epoch: int | None) -> list[Settled]:
        """See BudgetStore.settle_many."""
        for one in settlements:
            rules.check_storable(one.entry)
        if not settlements:
            return []

        def work(write: Write) -> list[Settled]:
            *before, group = _apart(settlements)
            settled = []
            for one in before:
                settled += self._settle(write, one, _Group.apply)
            return settled + self._settle(write, group, _Group.apply_last)

        with storable([one.entry for one in settlements]):
            return self._write(work, epoch)

    def _settle(
        self, write: Write, settlements: Sequence[Settling], apply: Callable[[_Group], None]
    ) -> list[Settled]:
        """Settle reservations, each once."""
        kept = _locked(write.connection, [one.id for one in settlements])
        group = _Group(write)
        held = [
            one
            for one in settlements
            if one.id in kept and kept[one.id].state in (ReservationState.OPEN, ReservationState.RELEASED)
        ]
        appended = append_within(write, [one.entry for one in held]) if held else []
        self._count_sightings(group)
        results = {one.id: result for one, result in zip(held, appended, strict=True)}
        settled = []
        for one in settlements:
            reservation = kept.get(one.id)
            if reservation is None:
                settled.append(_UNKNOWN)
            elif one.id in results:
                settled.append(self._settle_held(group, reservation, one.entry, results[one.id]))
            elif reservation.state is ReservationState.EXPIRED:
                settled.append(self._settle_late(group, reservation, one.entry))
            else:
                settled.append(self._settle_again(group, reservation, one.entry))
        apply(group)
        return settled

    def _settle_held(self, group: _Group, kept: _Kept, entry: Entry, result: Appended) -> Settled:
        if result.entry is None or result.code not in _BOOKED:
            return Settled(code=result.code, entry=result.entry)
        still_held = kept.state is ReservationState.OPEN
        over: tuple[Overrun, ...] = ()
        created = result.code == Outcome.CREATED
        if created:
            over = self._book_entries(group, kept, [result.entry], free=still_held)
        elif still_held:
            group.tally.let_go(kept.shares, entry.recorded_at)
        root = rules.root_of(result.entry)
        group.end(kept, ReservationState.SETTLED, root, nowhere_held=not created)
        code = "settled" if still_held else "settled_after_release"
        code = Outcome.SEEN if result.code == Outcome.SEEN else code
        return Settled(code=code, entry=result.entry, overruns=over)

    def _settle_again(self, group: _Group, kept: _Kept, entry: Entry) -> Settled:
        live = rules.live_version(_event(group.write, kept))
        if live is None and entry.event.call_key is not None:
            seen = self._see_again(group, entry)
            live = None if seen is None else seen.entry
        if live is None:
            return Settled(code="exists_with_different_body")
        code = rules.conflict_code(live, entry) if live.event.id == kept.id else Outcome.SEEN
        return Settled(code=code, entry=live)

    def _settle_late(self, group: _Group, kept: _Kept, entry: Entry) -> Settled:
        write = group.write
        live = rules.live_version(_event(write, kept))
        if live is None:
            return Settled(code="exists_with_different_body")
        seen = self._see_again(group, entry) if entry.event.call_key is not None else None
        if seen is not None and seen.entry is not None:
            # Another capture has booked what the estimate stood for.
            amendment = Amendment(live.seq, None, entry.recorded_at, sightings.SEEN_AGAIN)
            self._book_entries(group, kept, amend_within(write, [amendment])[0][1])
            group.end(kept, ReservationState.SETTLED, kept.root)
            return Settled(code=Outcome.SEEN, entry=seen.entry)
        write.keep_key(entry, kept.root or 0, rules.identity_day(live.event))
        amendment = Amendment(live.seq, entry, entry.recorded_at, accounts.EXPIRED_LATE)
        ((result, written),) = amend_within(write, [amendment])
        over = self._book_entries(group, kept, written)
        group.end(kept, ReservationState.SETTLED, kept.root)
        return Settled(code="settled_late", entry=result.entry, overruns=over)

    def _see_again(self, group: _Group, entry: Entry) -> Appended | None:
        """What another capture has booked of a call; what that corrects is counted."""
        seen = see_again(group.write, entry)
        final = group.write.flush()
        self._count_sightings(group)
        return seen if seen is None or seen.entry is None else Appended(seen.code, final(seen.entry))

    def _count_sightings(self, group: _Group) -> None:
        corrections, group.write.corrections = group.write.corrections, []
        if corrections:
            self._accounts.count(group.write, group.tally, corrections)

    def _book_entries(
        self, group: _Group, kept: _Kept, entries: Sequence[Entry], *, free: bool = False
    ) -> tuple[Overrun, ...]:
        """Count entries of a reservation, and name what came to more than was held for it."""
        counted = self._accounts.count(group.write, group.tally, entries, kept.shares, free=free)
        over = accounts.overruns(counted, kept.shares)
        for one in over:
            group.tally.tell("overrun", entries[-1].recorded_at, one.key, kept.id, one.billed - one.held)
        return over

    # --- letting go

    def release(self, id: str, now: Instant) -> Settled:
        """See BudgetStore.release."""

        def work(write: Write) -> Settled:
            kept = _locked(write.connection, [id]).get(id)
            if kept is None:
                return _UNKNOWN
            group = _Group(write)
            code = "settled" if kept.state is ReservationState.SETTLED else "released"
            if kept.state is ReservationState.EXPIRED:
                live = rules.live_version(_event(write, kept))
                if live is not None:
                    amendment = Amendment(live.seq, None, now, accounts.RELEASED_LATE)
                    self._book_entries(group, kept, amend_within(write, [amendment])[0][1])
                group.end(kept, ReservationState.SETTLED, kept.root)
                code = "released_late"
            if kept.state is ReservationState.OPEN:
                group.tally.let_go(kept.shares, now)
                group.end(kept, ReservationState.RELEASED, None)
            group.apply_last()
            return Settled(code=code)

        return self._write(work)

    def extend(self, id: str, deadline: Instant) -> Settled:
        """See BudgetStore.extend."""

        def work(connection: Connection, _: Meta) -> Settled:
            kept = _locked(connection, [id]).get(id)
            if kept is None:
                return _UNKNOWN
            if kept.state is not ReservationState.OPEN:
                return Settled(code=kept.state.value)
            run(connection, "extend_reservation", (deadline, id))
            return Settled(code="extended")

        return self._connections.write(work)

    def expire(self, now: Instant) -> int:
        """See BudgetStore.expire."""
        expired = 0
        while True:
            done = self._write(partial(self._expire, now=now))
            expired += done
            if done < accounts.EXPIRE_AT_ONCE:
                return expired

    def _expire(self, write: Write, now: Instant) -> int:
        """Book what is overdue, up to EXPIRE_AT_ONCE."""
        overdue = list(rows(write.connection, "lock_overdue", (now, accounts.EXPIRE_AT_ONCE)))
        if not overdue:
            return 0
        group = _Group(write)
        kept = [_Kept(id, ReservationState.OPEN, decode_shares(shares), None) for id, shares, _ in overdue]
        estimates = [accounts.expiring(estimate_of(write.decoder, packed), now) for *_, packed in overdue]
        results = append_within(write, estimates)
        self._count_sightings(group)
        for one, result in zip(kept, results, strict=True):
            if result.code == Outcome.CREATED and result.entry is not None:
                self._book_entries(group, one, [result.entry], free=True)
                group.end(one, ReservationState.EXPIRED, result.entry.seq)
            else:
                # The call was recorded under this id already, by another way: nothing is to be estimated.
                group.tally.let_go(one.shares, now)
                root = None if result.entry is None else rules.root_of(result.entry)
                group.end(one, ReservationState.SETTLED, root, nowhere_held=True)
        group.apply()
        return len(overdue)

    # --- asking

    def read(self, id: str) -> KeptReservation | None:
        """See BudgetStore.reservation."""
        row = self._connections.read(lambda connection: first(connection, "reservation", (id,)))
        if row is None:
            return None
        state, _, started_at, deadline, shares, entry = row
        return KeptReservation(
            id=id,
            state=STATES[state],
            started_at=started_at,
            deadline=deadline,
            shares=decode_shares(shares),
            entry=entry,
        )


def _apart(settlements: Iterable[Settling]) -> Iterator[list[Settling]]:
    """Runs of settlements in which no reservation comes twice."""
    group: dict[str, Settling] = {}
    for one in settlements:
        if one.id in group:
            yield list(group.values())
            group = {}
        group[one.id] = one
    yield list(group.values())


def _locked(connection: Connection, ids: Sequence[str]) -> dict[str, _Kept]:
    """Reservations that nobody else changes until this transaction ends."""
    found = rows(connection, "lock_reservations", (sorted(ids),))
    return {id: _Kept(id, STATES[state], decode_shares(shares), root) for id, state, shares, root in found}


def _event(write: Write, kept: _Kept) -> list[Entry]:
    """The entries of a reservation's event as they stand; nobody corrects them until this transaction ends."""
    versions = write.event(kept.root or 0)
    if versions:
        write.lock([key_of(versions[0])])
        versions = write.read_anew(kept.root or 0, rules.identity_day(versions[0].event))
    return versions


def _bound(asked: Sequence[Reserving], estimates: Sequence[bytes], *, expired: bool = False) -> tuple[str, str, bool]:
    """What the server's function is told to take, each all or none; nothing while what is overdue is not expired."""
    shares = [accounts.held_by(one.limits) for one in asked]
    places: dict[AccountKey, int] = {}
    keys = []
    for share in (share for held in shares for share in held):
        if share.key not in places:
            places[share.key] = len(places)
            keys.append(key_row(share))
    described = [
        _described(one, held, estimate, places) for one, held, estimate in zip(asked, shares, estimates, strict=True)
    ]
    return _encode(keys).decode(), _encode(described).decode(), expired


def _reserved_all(asked: Sequence[Reserving], answer: str) -> list[Reserved]:
    return [_reserved(one, outcome) for one, outcome in zip(asked, _decode_outcomes(answer), strict=True)]


def _described(
    asked: Reserving, shares: Sequence[Share], estimate: bytes, places: dict[AccountKey, int]
) -> dict[str, object]:
    """One reservation as the server's function takes it."""
    return {
        "id": asked.id,
        "fingerprint": asked.estimate.fingerprint.hex(),
        "now": asked.now,
        "deadline": asked.deadline,
        "waits": asked.waits,
        "waits_until": asked.waits_until,
        "waits_for": [limit.key for limit in asked.limits if limit.hard],
        "shares": encode_shares(shares).decode(),
        "estimate": estimate.hex(),
        "limits": [
            {
                "place": places[limit.key],
                "asked": divmod(limit.asked, PICO_PER_MICRO),
                "most": divmod(limit.committed_max, PICO_PER_MICRO),
                "hard": limit.hard,
                "barred": bool(limit.barred),
            }
            for limit in asked.limits
        ],
    }


def _reserved(asked: Reserving, outcome: _Outcome) -> Reserved:
    if outcome.state >= 0:
        state = STATES[outcome.state]
        if state is not ReservationState.OPEN:
            return Reserved(code=state.value, accounts={})
        return Reserved(code="exists" if outcome.same else "exists_with_different_body", accounts={})
    found = {
        limit.key: account_from(measures) for limit, measures in zip(asked.limits, outcome.accounts, strict=True)
    }
    return Reserved(code="reserved" if outcome.state == _TAKEN else "refused", accounts=found, queued=outcome.queued)
