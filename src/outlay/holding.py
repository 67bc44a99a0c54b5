"""A reservation that people hold: settled, released, extended, or left to expire."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Final, Protocol

from msgspec.structs import force_setattr, replace

from outlay.calls import told
from outlay.capture.intake import build_event, read_usage
from outlay.clock import MICROSECONDS_PER_SECOND
from outlay.errors import EventConflict, InvalidInput, LedgerError, NotFound, OutlayError
from outlay.ledger.budget_store import Overrun, Settled
from outlay.ledger.rules import fingerprint
from outlay.ledger.store import StaleBook
from outlay.model import Appended, Basis, Entry, Outcome, Status, UsageEvent, copied
from outlay.receipt import Receipt
from outlay.recorder import conflict, rated_tolerantly
from outlay.reserving import STALE_RETRIES_MAX, Ask, Reserver, Taken, WorstCase

SETTLED: Final = ("settled", "settled_late", "settled_after_release")
_UNANSWERED: Final = ("Timeout", "Connection", "Cancelled", "Interrupt")
"""What is in the name of an exception after which nobody knows whether the provider did, and bills, the work."""

UNRESERVED: Final = "unreserved"
NEVER_ASKED: Final = (
    "the budgets were never asked for this reservation, so nothing was held: on a thread whose event loop runs, "
    "write `async with ledger.reserve(...)`, or take it by `.take()`"
)
ASKED_TOO_LATE: Final = (
    "the budgets were not asked before this call, which is kept all the same: on a thread whose event loop runs, "
    "write `async with ledger.reserve(...)`, or take it by `.take()`"
)

OF_THE_REQUEST: Final = ("usage", "id", "time", "time_to", "status", "error", "reported_cost", "call_key", "basis")


class Recording(Protocol):
    """What a reservation needs of the ledger."""

    currency: str

    def calls_told(self, response: object, fields: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The calls that a provider's response tells."""
        ...

    def keep_call(self, fields: Mapping[str, Any]) -> Receipt:
        """Keep a call that happened inside another one."""
        ...


class Reservation:
    """What one call may cost, held in every account that covers it. A context manager, async too.

    Left without a settlement it stays held until its deadline and is then booked at the worst case, unsettled; a
    later settlement corrects that. Left by an exception it is settled as a failed call without usage, unless the
    exception says that no answer came (a timeout, a lost connection, a cancellation): such a call may be billed.
    One that never asked the budgets says so by a RuntimeWarning when it is settled or dropped.
    """

    _untaken = False

    def __init__(
        self,
        recording: Recording,
        reserver: Reserver,
        make: Callable[[str | None], Ask],
        wait_s: float | None,
        deadline_s: float | None,
    ) -> None:
        """Made by `ledger.reserve`."""
        self._recording = recording
        self._reserver = reserver
        self._make = make
        self._waiting = (wait_s, deadline_s)
        self._taken: Taken | None = None
        self._ended = False
        self.receipt: Receipt | None = None
        self.outcome = "new"
        self.overruns: tuple[Overrun, ...] = ()
        self._untaken = True

    def take(self) -> Reservation:
        """Ask the budgets, once. Raises BudgetExceeded."""
        if self._taken is None:
            self._untaken = False
            self._taken = self._reserver.take(self._make, *self._waiting)
            self.outcome = self._taken.code
        return self

    @property
    def _ask(self) -> Ask:
        taken = self.take()._taken
        if taken is None:
            raise LedgerError("a reservation that was not taken has no call")
        return taken.ask

    @property
    def id(self) -> str:
        """The reservation's id, and that of the event it becomes."""
        return self._ask.event.id

    @property
    def service(self) -> str:
        """The service to call: another one than was asked for where a budget says downgrade."""
        return self._ask.event.service

    @property
    def downgraded_from(self) -> str | None:
        """The service that was asked for, where a cheaper one is to be called instead."""
        taken = self.take()._taken
        return None if taken is None else taken.downgraded_from

    @property
    def bound(self) -> WorstCase:
        """The worst case that is held: parts, kinds, amounts."""
        return self._reserver.worst(self._ask)

    @property
    def output_tokens_max(self) -> int | None:
        """The most output tokens that the call may ask for; written into `body` where the request said none."""
        found = self._ask.found
        if found is not None:
            return found.output_tokens_max
        quantity = self._ask.event.usage.get("output_tokens")
        return None if quantity is None else int(quantity)

    @property
    def body(self) -> dict[str, Any] | None:
        """The request as it is to be sent, with its maximum of output and its service; None where none was given."""
        ask = self._ask
        if ask.body is None:
            return None
        body = dict(ask.body)
        if "model" in body:
            body["model"] = ask.event.service
        return body

    def settle(
        self, *, usage: Mapping[str, Any] | None = None, response: object | None = None, **fields: Any
    ) -> Receipt:
        """Put what happened in the place of what is held; the receipt's outcome says how.

        `settled`; `settled_late` after expiry (a correction); `settled_after_release`; `exists` for the same again;
        `seen` where another capture had booked the call (the receipt is then of that entry).
        `fields` are further fields of `record`. Raises EventConflict where it was settled with another body.
        """
        self._note_unasked()
        now = self._reserver.clock.now()
        if response is None and not fields:
            return self._settle(self._used(usage, now), now)
        calls = [self._told(usage, fields)]
        if response is not None:
            calls = self._recording.calls_told(response, self._told(None, fields))
            if usage is not None:
                calls[0]["usage"] = {**(calls[0].get("usage") or {}), **usage}
        receipt = self._settle(self._happened(calls[0], now), now)
        for also in calls[1:]:
            self._recording.keep_call(also)
        return receipt

    def release(self) -> str:
        """Let go of what is held: the call was not made. The outcome, such as `released`."""
        if self._taken is not None and self._taken.held:
            result = self._reserver.store.release(self.id, self._reserver.clock.now())
            self._check_known(result)
            self.outcome = result.code
        else:
            self.outcome = "released"
        self._ended, self._untaken = True, False
        return self.outcome

    def extend(self, seconds: float) -> str:
        """Move the deadline to `seconds` from now, for a call that runs long. `extended`, or the state it is in."""
        if seconds <= 0:
            raise InvalidInput(
                "extend takes how many seconds from now, more than 0", code="bad_wait", field="seconds"
            )
        deadline = self._reserver.clock.now() + int(seconds * MICROSECONDS_PER_SECOND)
        result = self._reserver.store.extend(self.id, deadline)
        self._check_known(result)
        return result.code

    def __enter__(self) -> Reservation:
        return self.take()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None or self._ended or not isinstance(error, Exception) or _unanswered(error):
            return
        try:
            # Only the type's name: an exception's text may quote the prompt.
            self.settle(status="failed", error=type(error).__name__)
        except OutlayError as failure:
            error.add_note(f"outlay could not settle this call ({failure.code}): {failure.message}")

    async def __aenter__(self) -> Reservation:
        import asyncio

        return await asyncio.to_thread(self.take)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        import asyncio

        await asyncio.to_thread(self.__exit__, kind, error, traceback)

    def __del__(self) -> None:
        if self._untaken:
            warnings.warn(NEVER_ASKED, RuntimeWarning, stacklevel=1, source=self)

    # Inner

    def _note_unasked(self) -> None:
        """A call that was made without asking is kept as one: a refusal now would only lose what it cost."""
        if self._untaken:
            warnings.warn(ASKED_TOO_LATE, RuntimeWarning, stacklevel=3)
            self._pass_unasked()
            self._untaken = False

    def _pass_unasked(self) -> None:
        self._taken = Taken(ask=self._make(None), code=UNRESERVED, held=False)

    def _told(self, usage: Mapping[str, Any] | None, fields: Mapping[str, Any]) -> dict[str, Any]:
        kept = {name: value for name, value in self._ask.fields.items() if name not in OF_THE_REQUEST}
        return {**kept, "service": self.service, "usage": usage, **fields}

    def _happened(self, call: Mapping[str, Any], now: int) -> UsageEvent:
        """The call as it was told after it was made, at the place of the one that was asked for."""
        asked = self._ask.event
        event = build_event({**call, "id": None, "time": None}, now, self._recording.currency, id=asked.id)
        return replace(
            event,
            occurred_from=asked.occurred_from,
            occurred_to=asked.occurred_to if asked.time_given else max(now, asked.occurred_from),
            id_given=asked.id_given,
            time_given=asked.time_given,
        )

    def _used(self, usage: Mapping[str, Any] | None, now: int) -> UsageEvent:
        """The same where only the usage was told: the event that was asked for, which was checked then."""
        event = copied(self._ask.event)
        force_setattr(event, "usage", {} if usage is None else read_usage(usage))
        if not event.time_given:
            force_setattr(event, "occurred_to", max(now, event.occurred_from))
        if event.status is not Status.OK or event.basis is not Basis.MEASURED:
            force_setattr(event, "status", Status.OK)
            force_setattr(event, "basis", Basis.MEASURED)
        for name in ("error", "reported_cost", "call_key"):
            if getattr(event, name) is not None:
                force_setattr(event, name, None)
        return event

    def _settle(self, event: UsageEvent, now: int) -> Receipt:
        reserver = self._reserver
        result = self._write(event, now)
        self._check_known(result)
        if result.code not in (*SETTLED, Outcome.EXISTS, Outcome.SEEN):
            raise conflict(event, Appended(result.code, result.entry))
        reserver.note_output(event)
        self._ended = True
        self.outcome, self.overruns = result.code, result.overruns
        self.receipt = told(self._receipt(event, result))
        return self.receipt

    def _write(self, event: UsageEvent, now: int) -> Settled:
        """Rate and settle by the prices in force, which may change between the two."""
        recorder = self._reserver.recorder
        for _ in range(STALE_RETRIES_MAX):
            epoch = recorder.epoch  # Before the book, which another thread may read anew at any moment.
            entry = self._entry(event, now)
            try:
                if self._taken is not None and self._taken.held:
                    return recorder.store.settle(event.id, entry, epoch=epoch)
                (result,) = recorder.store.append([entry], epoch=epoch)
            except StaleBook:
                recorder.refresh()
                continue
            code = "settled" if result.code == Outcome.CREATED else result.code
            return Settled(code=code, entry=result.entry)
        raise LedgerError("prices change faster than calls can be settled; try again", code="stale_book")

    def _entry(self, event: UsageEvent, now: int) -> Entry:
        rating = rated_tolerantly(event, self._reserver.recorder.book)
        return Entry(
            event=event,
            rating=rating,
            recorded_at=now,
            counted_at=self._ask.now,
            fingerprint=fingerprint(event),
            basis=rating.basis,
        )

    def _receipt(self, event: UsageEvent, result: Settled) -> Receipt:
        if result.entry is None:
            return Receipt(event, result.code, self._recording.currency, rater=self._reserver.recorder.rate)
        return Receipt.of_entry(result.entry, result.code, self._recording.currency)

    def _check_known(self, result: Settled) -> None:
        if result.code == "no_such_reservation":
            raise NotFound(f"no reservation {self.id!r} is in the ledger", code="no_such_reservation")
        if result.code == "exists_with_different_body" and result.entry is None:
            raise EventConflict(f"reservation {self.id!r} is over and its event cannot be compared", id=self.id)

    def __repr__(self) -> str:
        return f"<Reservation {self.outcome}>"


def _unanswered(error: BaseException) -> bool:
    names = [kind.__name__ for kind in type(error).__mro__]
    return any(word in name for name in names for word in _UNANSWERED)
