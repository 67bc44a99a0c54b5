"""Reservations: taken all or none, settled, released or expired, each in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Any, Final, NamedTuple, TypeVar

import apsw
import msgspec

from outlay.clock import Instant
from outlay.errors import InvalidInput, LedgerCorrupt
from outlay.ledger import accounts, rules, sightings
from outlay.ledger.account_rows import (
    STATE_NUMBERS,
    STATES,
    decode_refusal,
    decode_shares,
    encode_row,
    encode_shares,
    estimate_of,
    told,
)
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
    find,
    put,
    tell,
)
from outlay.ledger.sqlite.connections import Connections, Meta, meta_of, read_meta
from outlay.ledger.sqlite.statements import Executes, first, only, rows, sql
from outlay.ledger.sqlite.writing import Write
from outlay.ledger.store import Amendment, StaleBook
from outlay.model import Account, AccountKey, Appended, Entry, Outcome, Share

_Found = TypeVar("_Found")
_UNKNOWN: Final = Settled(code="no_such_reservation")
_encode: Final = msgspec.json.Encoder().encode
_NOTHING: Final = Account()
_RESERVING: Final = sql("reserving")
_RESERVATION: Final = sql("reservation")
_PUT_RESERVATION: Final = sql("put_reservation")
_END: Final = sql("end_reservation")
_decode_keys: Final = msgspec.json.Decoder(list[AccountKey]).decode


class _Ready(NamedTuple):
    """A reservation that is asked for, as far as it can be written before the lock: its shares, and these and the
    estimate as they are kept. The estimate is None where it bears a name that only the transaction can make.
    """

    asked: Reserving
    shares: tuple[Share, ...]
    packed: bytes
    estimate: bytes | None

    @classmethod
    def of(cls, asked: Reserving, row: list[Any] | None) -> _Ready:
        """Of what is asked, and of the row of its estimate."""
        shares = accounts.held_by(asked.limits)
        return cls(asked, shares, encode_shares(shares), None if row is None else encode_row(row))


class Reservations:
    """The reservations of one ledger in this process."""

    def __init__(self, connections: Connections, book: NameBook, kept: Accounts) -> None:
        self._connections = connections
        self._book = book
        self._accounts = kept

    def _written(self, work: Callable[[Write], _Found]) -> _Found:
        """What `work` finds in a transaction of its own."""
        with _NAMED_ERRORS, self._connections.writing() as connection:
            write = self._write(connection, read_meta(connection), None)
            found = work(write)
        self._remember(write)
        return found

    def _write(self, connection: apsw.Connection, meta: Meta, epoch: int | None) -> Write:
        if epoch is not None and epoch != meta.epoch:
            raise StaleBook
        return Write(connection, meta, self._book.at(meta.epoch), self._connections.cursor)

    def _remember(self, write: Write | None) -> None:
        if write is not None and write.fresh is not None:
            write.names.remember(write.fresh)

    # --- taking

    def reserve(self, asked: Sequence[Reserving], epoch: int | None) -> list[Reserved]:
        """See BudgetStore.reserve_many."""
        write: Write | None = None
        results = []
        with _NAMED_ERRORS:
            # As much as can be is done before the lock is taken: nobody else writes while it is held.
            names = self._book.newest
            rows = writing.prepare([one.estimate for one in asked], names)
            ready = [_Ready.of(one, row) for one, row in zip(asked, rows, strict=True)]
            with self._connections.writing() as connection:
                cursor = self._connections.cursor
                for one in ready:
                    found = _looked(cursor, one.asked.id)
                    if write is None:
                        write = self._write(connection, meta_of(found), epoch)
                    if found[4] is not None and found[4] <= one.asked.now:
                        self._expire(write, one.asked.now)
                        found = _looked(cursor, one.asked.id)
                    results.append(self._reserve(write, one, found, named=write.meta.epoch == names.epoch))
        self._remember(write)
        return results

    def _reserve(self, write: Write, ready: _Ready, found: Row, *, named: bool) -> Reserved:
        """`found` is the row of `reserving`; `named` is whether names still mean what they did before the lock."""
        connection, cursor, asked = write.connection, write.cursor, ready.asked
        waited_for, known = found[5], found[6]
        if known:
            row = only(connection, "reservation", (asked.id,))
            if STATES[row[0]] is not ReservationState.RELEASED:
                return Reserved(code=_known_code(row, asked), accounts={})
        limits = asked.limits
        kept = [find(cursor, limit.key) for limit in limits]
        read = {limit.key: account or _NOTHING for limit, account in zip(limits, kept, strict=True)}
        fitting = all(accounts.fits(limit, read[limit.key]) for limit in limits)
        queued = fitting and waited_for and _others_first(connection, asked)
        if not fitting or queued:
            if asked.waits:
                _queue(connection, asked)
            return Reserved(code="refused", accounts=read, queued=queued)
        for share, account in zip(ready.shares, kept, strict=True):
            put(cursor, share, account, share.amount, 0)
        estimate = ready.estimate if named else None
        if estimate is None:
            estimate = encode_row(write.row(asked.estimate))
        bound = (asked.id, asked.estimate.fingerprint, asked.now, asked.deadline, ready.packed, estimate)
        cursor.execute(_PUT_RESERVATION, bound)
        if asked.waits and waited_for:
            connection.execute(sql("drop_waiter"), (asked.id,))
        return Reserved(code="reserved", accounts=read)

    def stop_waiting(self, id: str) -> None:
        """See BudgetStore.stop_waiting."""
        with self._connections.writing() as connection:
            connection.execute(sql("drop_waiter"), (id,))

    # --- ending

    def settle(self, settlements: Sequence[Settling], epoch: int | None) -> list[Settled]:
        """See BudgetStore.settle_many."""
        write: Write | None = None
        results = []
        names = self._book.newest
        rows = writing.prepare([one.entry for one in settlements], names)
        with _NAMED_ERRORS, self._connections.writing() as connection:
            for one, row in zip(settlements, rows, strict=True):
                if write is None:
                    write = self._write(connection, read_meta(self._connections.cursor), epoch)
                ready = row if write.meta.epoch == names.epoch else None
                results.append(self._settle(write, one.id, one.entry, ready))
        self._remember(write)
        return results

    def _settle(self, write: Write, id: str, entry: Entry, ready: list[Any] | None) -> Settled:
        """`ready` is the entry's row, if its names were known before the transaction."""
        found = write.cursor.execute(_RESERVATION, (id,)).fetchone()
        if found is None:
            return _UNKNOWN
        state, shares, root = STATES[found[0]], decode_shares(found[4]), found[5]
        if state is ReservationState.EXPIRED:
            return self._settle_late(write, id, entry, root, shares)
        if state is ReservationState.SETTLED:
            return self._settle_again(write, id, entry, root)
        result = writing.append_within(write, entry, ready)
        return self._settle_held(write, id, result, entry.recorded_at, state, shares)

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
        self, write: Write, id: str, result: Appended, at: Instant, state: ReservationState, shares: Sequence[Share]
    ) -> Settled:
        if result.entry is None or result.code not in (Outcome.CREATED, Outcome.EXISTS, Outcome.SEEN):
            return Settled(code=result.code, entry=result.entry)
        still_held = state is ReservationState.OPEN
        over: tuple[Overrun, ...] = ()
        if result.code == Outcome.CREATED:
            over = self._book_entries(write, id, [result.entry], shares, free=still_held)
        else:
            if still_held:
                _let_go(write.connection, shares, at)
            _hold_nothing(write.connection, id)
            self._count_sighting(write)
        root = rules.root_of(result.entry)
        _end(write.cursor, id, ReservationState.SETTLED, root)
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
        over = accounts.overruns(self._accounts.count(write, coverage, entries, shares, free=free), shares)
        for one in over:
            tell(write.connection, "overrun", entries[-1].recorded_at, one.key, id, one.billed - one.held)
        return over

    def release(self, id: str, now: Instant) -> Settled:
        """See BudgetStore.release."""
        return self._written(lambda write: self._release(write, id, now))

    def _release(self, write: Write, id: str, now: Instant) -> Settled:
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
        return self._written(lambda write: _extend(write, id, deadline))

    def expire(self, now: Instant) -> int:
        """See BudgetStore.expire."""
        expired = 0
        while True:
            done = self._written(lambda write: self._expire(write, now))
            expired += done
            if done < accounts.EXPIRE_AT_ONCE:
                return expired

    def _expire(self, write: Write, now: Instant) -> int:
        """Book what is overdue, up to EXPIRE_AT_ONCE."""
        found = list(rows(write.connection, "overdue", (now,)))
        for id, packed, estimate in found:
            shares = decode_shares(packed)
            entry = estimate_of(write.decoder, estimate)
            result = writing.append_within(write, accounts.expiring(entry, now))
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

    def outbox(self, after: int = 0) -> list[OutboxRow]:
        """See BudgetStore.outbox."""
        with self._connections.reading() as connection:
            return [told(row) for row in rows(connection, "outbox", (after,))]

    def note_refusals(self, refusals: Sequence[NotedRefusal]) -> None:
        """See BudgetStore.note_refusals."""
        with self._connections.writing() as connection:
            for one in refusals:
                budget = one.refusal.limit.key.budget
                (number,) = only(connection, "count_refusal", (budget,))
                connection.execute(sql("put_refusal"), (budget, number % REFUSALS_KEPT, number, _encode(one)))
                (share,) = accounts.held_by([one.refusal.limit])
                put(connection, share, find(connection, share.key), 0, 0, refusals=1)

    def refusals(self, budget: str) -> tuple[int, list[NotedRefusal]]:
        """See BudgetStore.refusals."""
        with self._connections.reading() as connection:
            counted = first(connection, "refusal_count", (budget,))
            kept = [decode_refusal(body) for (body,) in rows(connection, "refusals", (budget,))]
        return (0 if counted is None else int(counted[0]), kept)


class _NamedErrors:
    """Says what cannot be kept; the transaction inside is rolled back then."""

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(error, OverflowError):
            raise InvalidInput("a reservation holds a number beyond 64 bits", code="number_too_large") from error
        if isinstance(error, UnicodeEncodeError):
            raise InvalidInput("a reservation holds text that is not valid Unicode", code="bad_text") from error


_NAMED_ERRORS: Final = _NamedErrors()


def _looked(cursor: apsw.Cursor, id: str) -> Row:
    """What is looked at before a reservation, in one statement."""
    row: Row | None = cursor.execute(_RESERVING, (id,)).fetchone()
    if row is None:
        raise LedgerCorrupt("the ledger has lost its settings; restore a backup")
    return row


def _known_code(known: Row, asked: Reserving) -> str:
    state = STATES[known[0]]
    if state is not ReservationState.OPEN:
        return state.value
    return "exists" if known[1] == asked.estimate.fingerprint else "exists_with_different_body"


def _extend(write: Write, id: str, deadline: Instant) -> Settled:
    row = first(write.connection, "reservation", (id,))
    if row is None:
        return _UNKNOWN
    state = STATES[row[0]]
    if state is not ReservationState.OPEN:
        return Settled(code=state.value)
    write.connection.execute(sql("extend_reservation"), (deadline, id))
    return Settled(code="extended")


def _let_go(connection: apsw.Connection, shares: Iterable[Share], at: Instant) -> None:
    for share in shares:
        add(connection, share, -share.amount, 0, at)


def _end(connection: Executes, id: str, state: ReservationState, root: int | None) -> None:
    connection.execute(_END, (id, STATE_NUMBERS[state], root))


def _hold_nothing(connection: apsw.Connection, id: str) -> None:
    """Forget where a call was reserved that is in the ledger by another way: it counts only where it is covered."""
    connection.execute(sql("put_shares"), (id, encode_shares(())))


def _others_first(connection: apsw.Connection, asked: Reserving) -> bool:
    """Whether somebody who came earlier waits for an account that this call takes from too."""
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
