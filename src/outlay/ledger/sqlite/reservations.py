"""Reservations: taken all or none, settled, released or expired, each in one transaction."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import apsw
import msgspec

from outlay.clock import Instant
from outlay.errors import InvalidInput
from outlay.ledger import accounts, rules, sightings
from outlay.ledger.budget_store import (
    REFUSALS_KEPT,
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
from outlay.ledger.dialect import Row
from outlay.ledger.names import NameBook
from outlay.ledger.sqlite import writing
from outlay.ledger.sqlite.accounts import (
    Accounts,
    add,
    decode_shares,
    encode_shares,
    put,
    standing,
    tell,
)
from outlay.ledger.sqlite.connections import Connections, read_meta
from outlay.ledger.sqlite.statements import first, only, rows, sql
from outlay.ledger.sqlite.writing import Write
from outlay.ledger.store import Amendment, StaleBook
from outlay.model import Account, AccountKey, Entry, Limit, Outcome, Share
from outlay.money import PICO_PER_MICRO

STATES: Final = (
    ReservationState.OPEN,
    ReservationState.SETTLED,
    ReservationState.RELEASED,
    ReservationState.EXPIRED,
)
_NUMBERS: Final = {state: number for number, state in enumerate(STATES)}
_UNKNOWN: Final = Settled(code="no_such_reservation")
_encode: Final = msgspec.json.Encoder().encode
_decode_entry: Final = msgspec.json.Decoder(Entry).decode
_decode_keys: Final = msgspec.json.Decoder(list[AccountKey]).decode
_decode_refusal: Final = msgspec.json.Decoder(NotedRefusal).decode


class Reservations:
    """The reservations of one ledger in this process."""

    def __init__(self, connections: Connections, book: NameBook, kept: Accounts) -> None:
        self._connections = connections
        self._book = book
        self._accounts = kept

    @contextmanager
    def _writing(self, epoch: int | None = None) -> Iterator[Write]:
        try:
            with self._connections.writing() as connection:
                meta = read_meta(connection)
                if epoch is not None and epoch != meta.epoch:
                    raise StaleBook
                write = Write(connection, meta, self._book.at(meta.epoch))
                yield write
        except OverflowError as error:
            raise InvalidInput("a reservation holds a number beyond 64 bits", code="number_too_large") from error
        except UnicodeEncodeError as error:
            raise InvalidInput("a reservation holds text that is not valid Unicode", code="bad_text") from error
        if write.fresh is not None:
            write.names.remember(write.fresh)

    # --- taking

    def reserve(self, asked: Sequence[Reserving], epoch: int | None) -> list[Reserved]:
        """See BudgetStore.reserve_many."""
        with self._writing(epoch) as write:
            return [self._reserve(write, one) for one in asked]

    def _reserve(self, write: Write, asked: Reserving) -> Reserved:
        self._expire(write, asked.now, accounts.EXPIRE_AT_ONCE)
        connection = write.connection
        known = first(connection, "reservation", (asked.id,))
        if known is not None and STATES[known[0]] is not ReservationState.RELEASED:
            return Reserved(code=_known_code(known, asked), accounts={})
        found = {limit.key: standing(connection, limit.key) for limit in asked.limits}
        fitting = all(accounts.fits(limit, found[limit.key]) for limit in asked.limits)
        queued = fitting and _others_first(connection, asked)
        if not fitting or queued:
            if asked.waits:
                _queue(connection, asked)
            return Reserved(code="refused", accounts=found, queued=queued)
        for limit in asked.limits:
            _hold(connection, limit, found[limit.key])
        held = encode_shares(accounts.held_by(asked.limits))
        bound = (asked.id, asked.estimate.fingerprint, asked.now, asked.deadline, held, _encode(asked.estimate))
        connection.execute(sql("put_reservation"), bound)
        if asked.waits:
            connection.execute(sql("drop_waiter"), (asked.id,))
        return Reserved(code="reserved", accounts=found)

    def stop_waiting(self, id: str) -> None:
        """See BudgetStore.stop_waiting."""
        with self._connections.writing() as connection:
            connection.execute(sql("drop_waiter"), (id,))

    # --- ending

    def settle(self, settlements: Sequence[Settling], epoch: int | None) -> list[Settled]:
        """See BudgetStore.settle_many."""
        for one in settlements:
            rules.check_storable(one.entry)
        with self._writing(epoch) as write:
            return [self._settle(write, one.id, one.entry) for one in settlements]

    def _settle(self, write: Write, id: str, entry: Entry) -> Settled:
        row = first(write.connection, "reservation", (id,))
        if row is None:
            return _UNKNOWN
        state, shares, root = STATES[row[0]], decode_shares(row[4]), row[5]
        if state is ReservationState.EXPIRED:
            return self._settle_late(write, id, entry, root, shares)
        if state is ReservationState.SETTLED:
            return self._settle_again(write, id, entry, root)
        return self._settle_held(write, id, entry, state, shares)

    def _settle_again(self, write: Write, id: str, entry: Entry, root: int) -> Settled:
        live = rules.live_version(write.event(root))
        if live is None and entry.event.call_key is not None:
            seen = writing.see_again(write, entry)
            self._count_sighting(write)
            live = None if seen is None else seen.entry
        if live is None:
            return Settled(code="exists_with_different_body")
        return Settled(code=rules.conflict_code(live, entry) if live.event.id == id else Outcome.SEEN, entry=live)

    def _settle_held(
        self, write: Write, id: str, entry: Entry, state: ReservationState, shares: Sequence[Share]
    ) -> Settled:
        result = writing.append_within(write, entry)
        if result.entry is None or result.code not in (Outcome.CREATED, Outcome.EXISTS, Outcome.SEEN):
            return Settled(code=result.code, entry=result.entry)
        still_held = state is ReservationState.OPEN
        over: tuple[Overrun, ...] = ()
        if result.code == Outcome.CREATED:
            over = self._book_entries(write, id, [result.entry], shares, free=still_held)
        else:
            if still_held:
                _let_go(write.connection, shares, entry.recorded_at)
            _hold_nothing(write.connection, id)
            self._count_sighting(write)
        root = rules.root_of(result.entry)
        _end(write.connection, id, ReservationState.SETTLED, root)
        code = "settled" if still_held else "settled_after_release"
        code = Outcome.SEEN if result.code == Outcome.SEEN else code
        return Settled(code=code, entry=result.entry, overruns=over)

    def _settle_late(self, write: Write, id: str, entry: Entry, root: int, shares: Sequence[Share]) -> Settled:
        live = rules.live_version(write.event(root))
        if live is None:
            return Settled(code="exists_with_different_body")
        seen = writing.see_again(write, entry) if entry.event.call_key is not None else None
        if seen is not None and seen.entry is not None:
            # Another capture has booked what the estimate stood for.
            self._count_sighting(write)
            amendment = Amendment(live.seq, None, entry.recorded_at, sightings.SEEN_AGAIN)
            self._book_entries(write, id, writing.amend_within(write, amendment)[1], shares)
            _end(write.connection, id, ReservationState.SETTLED, root)
            return Settled(code=Outcome.SEEN, entry=seen.entry)
        amendment = Amendment(live.seq, entry, entry.recorded_at, accounts.EXPIRED_LATE)
        result, written = writing.amend_within(write, amendment)
        over = self._book_entries(write, id, written, shares)
        writing.keep_key(write, entry, root)
        _end(write.connection, id, ReservationState.SETTLED, root)
        return Settled(code="settled_late", entry=result.entry, overruns=over)

    def _count_sighting(self, write: Write) -> None:
        """Count what a later capture of a call corrected."""
        corrections, write.corrections = write.corrections, []
        coverage = self._accounts.coverage(write.connection, write.meta.epoch)
        if corrections and coverage is not None:
            self._accounts.count(write, coverage, corrections)

    def _book_entries(
        self, write: Write, id: str, entries: Sequence[Entry], shares: Sequence[Share], *, free: bool = False
    ) -> tuple[Overrun, ...]:
        """Count entries of a reservation, and name what came to more than was held for it."""
        coverage = self._accounts.coverage(write.connection, write.meta.epoch)
        if coverage is None:
            if free:
                _let_go(write.connection, shares, entries[-1].recorded_at)
            return ()
        self._accounts.count(write, coverage, entries, shares, free=free)
        last = entries[-1]
        billed = [msgspec.structs.replace(one, amount=coverage.amount(one.meter, last)) for one in shares]
        over = accounts.overruns(billed, shares)
        for one in over:
            tell(write.connection, "overrun", last.recorded_at, one.key, id, one.billed - one.held)
        return over

    def release(self, id: str, now: Instant) -> Settled:
        """See BudgetStore.release."""
        with self._writing() as write:
            row = first(write.connection, "reservation", (id,))
            if row is None:
                return _UNKNOWN
            state, shares, root = STATES[row[0]], decode_shares(row[4]), row[5]
            if state is ReservationState.EXPIRED:
                live = rules.live_version(write.event(root))
                if live is not None:
                    amendment = Amendment(live.seq, None, now, accounts.RELEASED_LATE)
                    _, written = writing.amend_within(write, amendment)
                    self._book_entries(write, id, written, shares)
                _end(write.connection, id, ReservationState.SETTLED, root)
                return Settled(code="released_late")
            if state is ReservationState.OPEN:
                _let_go(write.connection, shares, now)
                _end(write.connection, id, ReservationState.RELEASED, None)
            return Settled(code="settled" if state is ReservationState.SETTLED else "released")

    def extend(self, id: str, deadline: Instant) -> Settled:
        """See BudgetStore.extend."""
        with self._writing() as write:
            row = first(write.connection, "reservation", (id,))
            if row is None:
                return _UNKNOWN
            state = STATES[row[0]]
            if state is not ReservationState.OPEN:
                return Settled(code=state.value)
            write.connection.execute(sql("extend_reservation"), (deadline, id))
            return Settled(code="extended")

    def expire(self, now: Instant) -> int:
        """See BudgetStore.expire."""
        expired = 0
        while True:
            with self._writing() as write:
                done = self._expire(write, now, accounts.EXPIRE_AT_ONCE)
            expired += done
            if done < accounts.EXPIRE_AT_ONCE:
                return expired

    def _expire(self, write: Write, now: Instant, most: int) -> int:
        overdue = rows(write.connection, "overdue", (now, most))
        found = list(overdue)
        for id, packed, estimate in found:
            shares = decode_shares(packed)
            result = writing.append_within(write, accounts.expiring(_decode_entry(estimate), now))
            if result.code == Outcome.CREATED and result.entry is not None:
                self._book_entries(write, id, [result.entry], shares, free=True)
                _end(write.connection, id, ReservationState.EXPIRED, result.entry.seq)
            else:
                # The call was recorded under this id already, by another way: nothing is to be estimated.
                _let_go(write.connection, shares, now)
                root = None if result.entry is None else rules.root_of(result.entry)
                _hold_nothing(write.connection, id)
                _end(write.connection, id, ReservationState.SETTLED, root)
        return len(found)

    # --- asking

    def read(self, id: str) -> KeptReservation | None:
        """See BudgetStore.reservation."""
        with self._connections.reading() as connection:
            row = first(connection, "reservation", (id,))
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

    def outbox(self) -> list[OutboxRow]:
        """See BudgetStore.outbox."""
        with self._connections.reading() as connection:
            return [
                OutboxRow(
                    number=number,
                    kind=kind,
                    at=at,
                    key=AccountKey(budget, scope, subject, window),
                    what=what,
                    amount=micro * PICO_PER_MICRO + pico,
                )
                for number, kind, at, budget, scope, subject, window, what, micro, pico in rows(connection, "outbox")
            ]

    def note_refusals(self, refusals: Sequence[NotedRefusal]) -> None:
        """See BudgetStore.note_refusals."""
        with self._connections.writing() as connection:
            for one in refusals:
                budget = one.refusal.limit.key.budget
                (number,) = only(connection, "count_refusal", (budget,))
                connection.execute(sql("put_refusal"), (budget, number % REFUSALS_KEPT, number, _encode(one)))
                limit = one.refusal.limit
                account = standing(connection, limit.key)
                (share,) = accounts.held_by([limit])
                put(connection, share, msgspec.structs.replace(account, refusals=account.refusals + 1))

    def refusals(self, budget: str) -> tuple[int, list[NotedRefusal]]:
        """See BudgetStore.refusals."""
        with self._connections.reading() as connection:
            counted = first(connection, "refusal_count", (budget,))
            kept = [_decode_refusal(body) for (body,) in rows(connection, "refusals", (budget,))]
        return (0 if counted is None else int(counted[0]), kept)


def _known_code(known: Row, asked: Reserving) -> str:
    state = STATES[known[0]]
    if state is not ReservationState.OPEN:
        return state.value
    return "exists" if known[1] == asked.estimate.fingerprint else "exists_with_different_body"


def _hold(connection: apsw.Connection, limit: Limit, account: Account) -> None:
    (share,) = accounts.held_by([limit])
    put(connection, share, msgspec.structs.replace(account, committed=account.committed + limit.asked))


def _let_go(connection: apsw.Connection, shares: Iterable[Share], at: Instant) -> None:
    for share in shares:
        add(connection, share, -share.amount, 0, at)


def _end(connection: apsw.Connection, id: str, state: ReservationState, root: int | None) -> None:
    connection.execute(sql("end_reservation"), (id, _NUMBERS[state], root))


def _hold_nothing(connection: apsw.Connection, id: str) -> None:
    """Forget where a call was reserved that is in the ledger by another way: it counts only where it is covered."""
    connection.execute(sql("put_shares"), (id, encode_shares(())))


def _others_first(connection: apsw.Connection, asked: Reserving) -> bool:
    """Whether somebody who came earlier waits for an account that this call takes from too."""
    if first(connection, "someone_waits") is None:
        return False
    wanted = {limit.key for limit in asked.limits if limit.hard}
    for id, packed in rows(connection, "waiters", (asked.now,)):
        if id == asked.id:
            return False
        if not wanted.isdisjoint(_decode_keys(packed)):
            return True
    return False


def _queue(connection: apsw.Connection, asked: Reserving) -> None:
    connection.execute(sql("drop_dead_waiters"), (asked.now,))
    keys = _encode([limit.key for limit in asked.limits if limit.hard])
    connection.execute(sql("put_waiter"), (asked.id, keys, asked.waits_until))
