"""Reservations through the writer: those that wait together are taken in one transaction, settled in another."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from outlay.api import Ledger
from outlay.budgets.decide import decide, exceeded, fails_open
from outlay.capture.intake import FIELDS, build_event
from outlay.clock import MICROSECONDS_PER_SECOND, Instant
from outlay.errors import EventConflict, InvalidInput, LedgerError, NotFound, OutlayError
from outlay.faces.server.access import Caller
from outlay.faces.server.writer import STALE_RETRIES_MAX, Work
from outlay.holding import OF_THE_REQUEST, SETTLED
from outlay.ledger.budget_store import NotedRefusal, Reserved, Reserving, Settled, Settling
from outlay.ledger.rules import fingerprint
from outlay.ledger.store import StaleBook
from outlay.model import Appended, BudgetAction, Entry, Outcome, Rating, UsageEvent
from outlay.pricing.book import PriceBook
from outlay.recorder import conflict, rated_tolerantly
from outlay.reserving import DEADLINE_S, DEADLINES_S, Ask, Taken, estimate_of

HELD_KEPT: Final = 100_000
"""How many open reservations a server remembers; of others it asks the ledger."""

GRANTED: Final = ("reserved", "exists")


class Held(msgspec.Struct, frozen=True, gc=False):
    """A reserved call: its worst case as an event, and when its accounts count it."""

    event: UsageEvent
    counted_at: Instant


class Reserve(Work["Taken | None"]):
    """A reservation that is asked for. Its answer is None where it must wait or go elsewhere: then it goes alone.

    `make` makes what it asks for, of another service if one is given, where fields and body do not say it all.
    """

    def __init__(
        self,
        fields: Mapping[str, Any],
        body: Mapping[str, Any] | None,
        *,
        wait_s: float | None,
        deadline_s: float | None,
        make: Callable[[str | None], Ask] | None = None,
    ) -> None:
        super().__init__()
        self.fields = fields
        self.body = body
        self.make = make
        self.wait_s = wait_s
        self.deadline_s = deadline_s


class Settle(Work[tuple[UsageEvent, Settled]]):
    """A settlement: what happened in the place of what is held; as fields, or as a whole `event`.

    `rated` is what a price book made of that event: it is not rated again while that book is in force.
    """

    def __init__(
        self,
        id: str,
        told: Mapping[str, Any],
        response: object | None,
        caller: Caller,
        event: UsageEvent | None = None,
        rated: tuple[PriceBook, Rating] | None = None,
    ) -> None:
        super().__init__()
        self.event = event
        self.rated = rated
        self.id = id
        self.told = told
        self.response = response
        self.caller = caller


class Reservations:
    """Takes and settles the reservations of one server, on the writer's thread."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._reserver = ledger.reserver
        self._store = ledger.store
        self._held: OrderedDict[str, Held] = OrderedDict()

    def remember(self, taken: Taken) -> None:
        """Keep what a settlement needs of a call."""
        if taken.code == "exists":
            return  # It counts from when it was first taken, which the ledger knows.
        self._held[taken.ask.event.id] = Held(taken.ask.event, taken.ask.now)
        while len(self._held) > HELD_KEPT:
            self._held.popitem(last=False)

    # --- taking

    def reserve(self, works: Sequence[Reserve]) -> list[Taken | OutlayError | None]:
        """Take what each asks for, or refuse it. One transaction, and another for what is noted of refusals."""
        for _ in range(STALE_RETRIES_MAX):
            asks = [self._ask(work) for work in works]
            try:
                return self._reserve(works, asks)
            except StaleBook:
                self._reserver.load()
        raise LedgerError("prices or budgets change faster than calls can be reserved; try again", code="stale_book")

    def _ask(self, work: Reserve) -> Ask | OutlayError:
        try:
            if work.make is not None:
                return work.make(None)
            return self._reserver.ask(work.fields, work.body)
        except OutlayError as error:
            return error

    def _reserve(
        self, works: Sequence[Reserve], asks: Sequence[Ask | OutlayError]
    ) -> list[Taken | OutlayError | None]:
        asked = [(work, ask) for work, ask in zip(works, asks, strict=True) if isinstance(ask, Ask)]
        if not asked:
            return [ask for ask in asks if isinstance(ask, OutlayError)]
        epochs = {ask.epoch for _, ask in asked}
        if len(epochs) > 1:
            raise StaleBook
        try:
            found = self._store.reserve_many([_reserving(work, ask) for work, ask in asked], epoch=epochs.pop())
        except StaleBook:
            raise
        except LedgerError:
            if len(asked) == 1 and fails_open(asked[0][1].limits):
                return [Taken(ask=asked[0][1], code="unreserved", held=False)]
            raise  # The writer tries each by itself.
        refused: list[NotedRefusal] = []
        answers = iter([self._taken(work, ask, one, refused) for (work, ask), one in zip(asked, found, strict=True)])
        if refused:
            self._store.note_refusals(refused)
        return [ask if isinstance(ask, OutlayError) else next(answers) for ask in asks]

    def _taken(
        self, work: Reserve, ask: Ask, found: Reserved, refused: list[NotedRefusal]
    ) -> Taken | OutlayError | None:
        if found.code in GRANTED:
            taken = Taken(ask=ask, code=found.code)
            self.remember(taken)
            return taken
        if found.code != "refused":
            return InvalidInput(f"reservation {ask.event.id} is {found.code} already; use a new id", code=found.code)
        decision = decide(ask.limits, found.accounts, ask.now)
        elsewhere = decision.action in (BudgetAction.DOWNGRADE, BudgetAction.THROTTLE)
        if found.queued or decision.granted or elsewhere or _may_wait(work, ask):
            return None
        event = ask.event
        refused += [
            NotedRefusal(at=ask.now, provider=event.provider, service=event.service, refusal=one)
            for one in decision.refusals
        ]
        return exceeded(decision, self._ledger.currency)

    # --- settling

    def settle(self, works: Sequence[Settle]) -> list[tuple[UsageEvent, Settled] | OutlayError]:
        """Put what happened in the place of what is held. One transaction."""
        recorder = self._ledger.recorder
        now = self._ledger.clock.now()
        prepared = [self._prepared(work, now) for work in works]
        for _ in range(STALE_RETRIES_MAX):
            epoch = recorder.epoch  # Before the book, which another thread may read anew at any moment.
            settlings = [
                self._settling(one, work.rated)
                for one, work in zip(prepared, works, strict=True)
                if not isinstance(one, OutlayError)
            ]
            if not settlings:
                return [one for one in prepared if isinstance(one, OutlayError)]
            try:
                found = iter(self._store.settle_many(settlings, epoch=epoch))
            except StaleBook:
                recorder.refresh()
                continue
            return [
                one if isinstance(one, OutlayError) else self._settled(one.event, next(found)) for one in prepared
            ]
        raise LedgerError("prices change faster than calls can be settled; try again", code="stale_book")

    def _prepared(self, work: Settle, now: Instant) -> Held | OutlayError:
        """The event of what happened, where the caller may say it."""
        try:
            held = self.find(work.id, work.caller)
            told = work.caller.attributed(work.told)
            if work.event is not None:
                return Held(work.event, held.counted_at)
            fields = {
                name: value for name in FIELDS if (value := getattr(held.event, name, None)) not in (None, {}, "")
            }
            kept = {name: value for name, value in fields.items() if name not in OF_THE_REQUEST}
            call = {**kept, **told}
            if work.response is not None:
                call, *others = self._ledger.calls_told(work.response, {**kept, **told, "usage": None})
                call["usage"] = {**(call.get("usage") or {}), **(told.get("usage") or {})}
                for other in others:
                    self._ledger.keep_call(other)
            return Held(self._event(call, held, now), held.counted_at)
        except OutlayError as error:
            return error

    def _event(self, call: Mapping[str, Any], held: Held, now: Instant) -> UsageEvent:
        first = held.event
        event = build_event({**call, "id": None, "time": None}, now, self._ledger.currency, id=first.id)
        return replace(
            event,
            occurred_from=first.occurred_from,
            occurred_to=first.occurred_to if first.time_given else max(now, first.occurred_from),
            id_given=first.id_given,
            time_given=first.time_given,
        )

    def find(self, id: str, caller: Caller) -> Held:
        """The reserved call of that id, which the caller may see. Raises NotFound `no_such_reservation`."""
        held = self._held.get(id) or self._look_up(id)
        if held is None or not caller.sees(held.event):
            raise NotFound(f"no reservation {id[:60]!r} is in the ledger", code="no_such_reservation")
        return held

    def _look_up(self, id: str) -> Held | None:
        """What another server, or this one before a restart, has reserved, or what became of it."""
        kept = self._store.reservation(id)
        if kept is None:
            return None
        event = self._store.held_call(id)
        if event is None:
            booked = [entries[0] for entries in self._store.versions(id)]
            event = next((entry.event for entry in booked if entry.seq == kept.entry), None)
        return None if event is None else Held(event, kept.started_at)

    def _settling(self, one: Held, rated: tuple[PriceBook, Rating] | None) -> Settling:
        event = one.event
        book = self._ledger.recorder.book
        rating = rated[1] if rated is not None and rated[0] is book else rated_tolerantly(event, book)
        entry = Entry(
            event=event,
            rating=rating,
            recorded_at=self._ledger.clock.now(),
            counted_at=one.counted_at,
            fingerprint=fingerprint(event),
            basis=rating.basis,
        )
        return Settling(event.id, entry)

    def _settled(self, event: UsageEvent, found: Settled) -> tuple[UsageEvent, Settled] | OutlayError:
        if found.code == "no_such_reservation":
            return NotFound(f"no reservation {event.id!r} is in the ledger", code="no_such_reservation")
        if found.code not in (*SETTLED, Outcome.EXISTS, Outcome.SEEN):
            if found.entry is None:
                return EventConflict(f"reservation {event.id!r} is over and cannot be compared", id=event.id)
            return conflict(event, Appended(found.code, found.entry))
        self._reserver.note_output(event)
        return event, found


def _may_wait(work: Reserve, ask: Ask) -> bool:
    """Whether the caller or the budgets let a call wait for others to settle."""
    if work.wait_s is not None:
        return work.wait_s > 0
    return min((limit.wait_s for limit in ask.limits if limit.hard), default=0) > 0


def _reserving(work: Reserve, ask: Ask) -> Reserving:
    seconds = work.deadline_s
    if seconds is None:
        seconds = DEADLINES_S.get(ask.event.operation or "", DEADLINE_S)
    return Reserving(
        id=ask.event.id,
        limits=ask.limits,
        estimate=estimate_of(ask),
        now=ask.now,
        deadline=ask.now + int(seconds * MICROSECONDS_PER_SECOND),
    )
