"""What only a server has, as its client sees it: store, recorder, reserver, and a reservation that it holds."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NoReturn, Protocol

from msgspec.structs import replace

from outlay.budgets.bounds import bound, written
from outlay.budgets.limits import BudgetIndex, dimensions_of
from outlay.budgets.terms import Asking, Bound, Budget
from outlay.calls import inherited, told
from outlay.capture.intake import build_event, make_id
from outlay.clock import Clock, Instant
from outlay.errors import InvalidInput, LedgerError, NotFound, Overloaded
from outlay.holding import OF_THE_REQUEST, UNRESERVED, Recording, Reservation
from outlay.ledger.budget_store import Overrun
from outlay.model import ExchangeRate, Rating, UsageEvent
from outlay.receipt import Receipt
from outlay.remote_transport import ANSWER_S, ServerUnreachable, Transport, not_remote
from outlay.reserving import NOTHING_RATED, Ask, WorstCase
from outlay.wire import (
    SentAsking,
    SentBook,
    SentCatalogue,
    SentReceipt,
    SentReservation,
    SentSettlement,
    plain_event,
    received_receipt,
    sendable,
)

BOUND_NEEDED: Final = "bound_needed"
"""The code by which a server asks for the bound of a request to another service, named by the error's field."""

DOWNGRADES_MAX: Final = 20
WAIT_S_MAX: Final = 60.0
BUDGETS_KEPT_S: Final = 1.0
"""For how long a client takes the budgets for unchanged when it asks which may refuse a call."""


class Keeping(Recording, Protocol):
    """What a remote reservation needs of its ledger."""

    transport: Transport
    clock: Clock

    def fails_open(self, event: UsageEvent) -> bool:
        """Whether a call may go while the server is away: every refusing budget that covers it says so."""
        ...

    budgets_told: RemoteReserver

    def settle_later(self, event: UsageEvent) -> Receipt:
        """Keep a settlement that cannot be sent now."""
        ...

    def worst_case(self, fields: Mapping[str, Any], body: Mapping[str, Any] | None) -> WorstCase:
        """What a call may cost at most."""
        ...


class Asked:
    """A call that asks: checked and bounded here, priced and decided there. Its prompt is not sent."""

    def __init__(self, keeping: Keeping, fields: Mapping[str, Any], body: Mapping[str, Any] | None) -> None:
        """Raises InvalidInput as `record`, or as the bound of a request that cannot be read."""
        now = keeping.clock.now()
        self.fields = dict(inherited(fields))
        self.body = body
        self.bounds: dict[str, Bound] = {}
        if body is not None:
            found = bound(str(self.fields.get("provider") or ""), body, self.fields.get("service"))
            self.fields["service"] = self.fields.get("service") or found.service
            self.fields["usage"] = found.usage
            self.bounds[str(self.fields["service"])] = found
        self.event = build_event(self.fields, now, keeping.currency, id=make_id(now))

    def bound_for(self, service: str) -> Bound:
        """The bound of the same request to another service."""
        if service not in self.bounds:
            body = self.body or {}
            request = {**body, "model": service} if "model" in body else body
            self.bounds[service] = bound(self.event.provider, request, service)
        return self.bounds[service]

    def sent(self, wait_s: float | None = None, deadline_s: float | None = None) -> SentAsking:
        """The call made ready to go."""
        return SentAsking(
            fields=plain_event(self.event),
            bounds=self.bounds,
            id_given=self.event.id_given,
            wait_s=wait_s,
            deadline_s=deadline_s,
        )


class NoStore:
    """In the place of the store, which only the server reaches. It answers what a server tells of it."""

    def __init__(self, transport: Transport, home_zone: Callable[[], str]) -> None:
        """`home_zone` tells the zone of the server's ledger, as far as it is known."""
        self.address = transport.address
        self._transport = transport
        self._home_zone = home_zone

    @property
    def home_zone(self) -> str:
        """The zone whose days are meant where none is said."""
        return self._home_zone()

    def catalogues(self) -> list[tuple[str, Instant, bool]]:
        """As `LedgerStore.catalogues`."""
        kept = self._transport.ask("/v1/prices/catalogues", list[SentCatalogue])
        return [(one.id, one.recorded_at, one.active) for one in kept]

    def catalogue(self, id: str | None = None) -> tuple[str, bytes] | None:
        """As `LedgerStore.catalogue`."""
        chosen = [one for one in self.catalogues() if (one[2] if id is None else one[0] == id)]
        if not chosen:
            return None
        (identity, _, _) = chosen[0]
        return identity, self._transport.text("/v1/prices/catalogue", {"id": identity})

    def __getattr__(self, name: str) -> NoReturn:
        raise not_remote(f"the ledger's store ({name})")


class RemoteRecorder:
    """In the place of the recorder: it only rates, by asking the server."""

    def __init__(self, transport: Transport) -> None:
        """Rates by the server's prices."""
        self._transport = transport

    def exchange_rates(self) -> list[ExchangeRate]:
        """As `Recorder.exchange_rates`."""
        return list(self._transport.ask("/v1/prices/book", SentBook).exchange)

    def add_exchange_rates(self, rates: Sequence[ExchangeRate]) -> None:
        """As `Recorder.add_exchange_rates`, one by one."""
        for one in rates:
            body = {"currency": one.currency, "price": sendable(one.price), "date": one.date, "source": one.source}
            self._transport.send("POST", "/v1/prices/exchange-rates", Any, body, repeatable=False)

    def rate(self, event: UsageEvent) -> Rating:
        """What the event costs under the server's book."""
        sent = self._transport.send("POST", "/v1/price", SentReceipt, event, exact=True)
        return received_receipt(sent).rating

    def __getattr__(self, name: str) -> NoReturn:
        raise not_remote(f"the ledger's recorder ({name})")


class RemoteReserver:
    """In the place of the reserver, for those who ask which budgets may refuse a call. Limits are those that the
    server told a moment ago; whether a call fits is asked of the server alone.
    """

    def __init__(self, keeping: Keeping) -> None:
        """The budgets are read at first use."""
        self._keeping = keeping
        self._read_s: float | None = None
        self._epoch = -1
        self.known = BudgetIndex(())

    @property
    def index(self) -> BudgetIndex:
        """The budgets when this process last looked."""
        return self.refresh() if self._read_s is None else self.known

    def refresh(self) -> BudgetIndex:
        """The budgets in force, or those of a second ago. Raises ServerUnreachable."""
        now_s = time.monotonic()
        if self._read_s is None or now_s - self._read_s > BUDGETS_KEPT_S:
            self.known = BudgetIndex(self._keeping.transport.ask("/v1/budgets-in-force", list[Budget]))
            self._read_s = now_s
        return self.known

    def look_again(self, epoch: int | None = None) -> None:
        """Read the budgets anew when next asked; now, if the ledger's `epoch` is another than when they were read."""
        if epoch is None:
            self._read_s = None
        elif epoch != self._epoch:
            self._read_s, self._epoch = None, epoch
            self.refresh()

    def ask(self, fields: Mapping[str, Any], body: Mapping[str, Any] | None) -> Ask:
        """The limits that cover a call. What it takes of them only the server knows, so they are asked nothing."""
        asked = Asked(self._keeping, fields, body)
        asking = Asking(amount=0, usage=asked.event.usage, calls=asked.event.count)
        now = self._keeping.clock.now()
        limits = self.index.limits(dimensions_of(asked.event), now, asking)
        return Ask(
            event=asked.event,
            fields=asked.fields,
            asking=asking,
            rating=NOTHING_RATED,
            limits=limits,
            now=now,
            epoch=-1,
            found=next(iter(asked.bounds.values()), None),
            body=body,
        )

    def __getattr__(self, name: str) -> NoReturn:
        raise not_remote(f"what the reserver does ({name})")


class RemoteReservation(Reservation):
    """What one call may cost, held by a server in every account that covers it."""

    def __init__(self, keeping: Keeping, asked: Asked, wait_s: float | None, deadline_s: float | None) -> None:
        """Made by `ledger.reserve`."""
        self._keeping = keeping
        self._recording = keeping
        self._asked = asked
        self._waiting = (wait_s, deadline_s)
        self._sent: SentReservation | None = None
        self._held = False
        self._ended = False
        self.receipt: Receipt | None = None
        self.outcome = "new"
        self.overruns: tuple[Overrun, ...] = ()
        self._untaken = True

    def take(self) -> RemoteReservation:
        """Ask the budgets, once. Raises BudgetExceeded; ServerUnreachable unless every refusing budget fails open."""
        if self._sent is not None or self.outcome == UNRESERVED:
            return self
        self._untaken = False
        try:
            self._sent = self._ask_there()
        except ServerUnreachable:
            if not self._keeping.fails_open(self._asked.event):
                raise
            self.outcome = UNRESERVED
            return self
        self._keeping.budgets_told.look_again(self._sent.epoch)
        self.outcome = self._sent.outcome
        self._held = self.outcome != UNRESERVED
        return self

    def _ask_there(self) -> SentReservation:
        wait_s, deadline_s = self._waiting
        for _ in range(DOWNGRADES_MAX):
            body = self._asked.sent(wait_s, deadline_s)
            try:
                return self._keeping.transport.send(
                    "POST",
                    "/v1/reservations",
                    SentReservation,
                    body,
                    exact=True,
                    answer_s=ANSWER_S + float(wait_s or WAIT_S_MAX),
                )
            except InvalidInput as error:
                if error.code != BOUND_NEEDED or not error.field:
                    raise
                self._asked.bound_for(error.field)
        raise LedgerError("the server asks for the bounds of more services than a budget lists", code="bad_answer")

    @property
    def id(self) -> str:
        """The reservation's id, and that of the event it becomes."""
        return self.take()._asked.event.id

    @property
    def service(self) -> str:
        """The service to call: another one than was asked for where a budget says downgrade."""
        sent = self.take()._sent
        return self._asked.event.service if sent is None else sent.service

    @property
    def downgraded_from(self) -> str | None:
        """The service that was asked for, where a cheaper one is to be called instead."""
        sent = self.take()._sent
        return None if sent is None else sent.downgraded_from

    @property
    def bound(self) -> WorstCase:
        """The worst case that is held: parts, kinds, amounts."""
        sent = self.take()._sent
        return self._keeping.worst_case(self._asked.fields, self._asked.body) if sent is None else sent.bound

    @property
    def output_tokens_max(self) -> int | None:
        """The most output tokens that the call may ask for; written into `body` where the request said none."""
        sent = self.take()._sent
        if sent is not None:
            return sent.output_tokens_max
        quantity = self._asked.event.usage.get("output_tokens")
        return None if quantity is None else int(quantity)

    @property
    def body(self) -> dict[str, Any] | None:
        """The request as it is to be sent, with its maximum of output and its service; None where none was given."""
        sent = self.take()._sent
        if self._asked.body is None:
            return None
        body = dict(self._asked.body)
        if sent is not None and sent.allotted is not None:
            body = written(body, self._asked.bound_for(sent.service), sent.allotted)
        if "model" in body:
            body["model"] = self.service
        return body

    def release(self) -> str:
        """Let go of what is held: the call was not made. The outcome, such as `released`."""
        if self._held:
            self.outcome = self._told_there("release", {})
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
        return self._told_there("extend", {"seconds": seconds})

    def _told_there(self, what: str, more: Mapping[str, Any]) -> str:
        answer = self._keeping.transport.send(
            "POST", f"/v1/reservations/{what}", dict[str, str], {"id": self.id, **more}
        )
        if answer["outcome"] == "no_such_reservation":
            raise NotFound(f"no reservation {self.id!r} is in the ledger", code="no_such_reservation")
        return answer["outcome"]

    def settle(
        self, *, usage: Mapping[str, Any] | None = None, response: object | None = None, **fields: Any
    ) -> Receipt:
        """As `Reservation.settle`."""
        self._note_unasked()
        now = self._keeping.clock.now()
        calls = [self._told(usage, fields)]
        if response is not None:
            calls = self._keeping.calls_told(response, self._told(None, fields))
            if usage is not None:
                calls[0]["usage"] = {**(calls[0].get("usage") or {}), **usage}
        receipt = self._settle(self._happened(calls[0], now), now)
        for also in calls[1:]:
            self._keeping.keep_call(also)
        return receipt

    def _pass_unasked(self) -> None:
        self.outcome = UNRESERVED

    def _told(self, usage: Mapping[str, Any] | None, fields: Mapping[str, Any]) -> dict[str, Any]:
        kept = {name: value for name, value in self._asked.fields.items() if name not in OF_THE_REQUEST}
        return {**kept, "service": self.service, "usage": usage, **fields}

    def _settle(self, event: UsageEvent, now: int) -> Receipt:
        # Without an answer nobody knows if the call is held: then it is settled if it is, and else recorded.
        parameters: dict[str, str | list[str]] = {} if self._held else {"or_record": "true"}
        try:
            settled = self._keeping.transport.send(
                "POST", "/v1/reservations/settle", SentSettlement, event, parameters=parameters, exact=True
            )
        except (LedgerError, Overloaded):
            # The server is away, busy or full, and the call was made: it is settled later, under its own id.
            self.receipt = self._keeping.settle_later(event)
        else:
            self.overruns = settled.overruns
            self.receipt = told(received_receipt(settled.receipt))
        self.outcome, self._ended = self.receipt.outcome, True
        return self.receipt

    def _happened(self, call: Mapping[str, Any], now: int) -> UsageEvent:
        """The call as it was, at the time at which it was reserved."""
        asked, sent = self._asked.event, self.take()._sent
        event = build_event({**call, "id": None, "time": None}, now, self._keeping.currency, id=asked.id)
        since = asked.occurred_from if asked.time_given or sent is None else sent.started_at
        until = asked.occurred_to if asked.time_given else max(now, since)
        return replace(
            event, occurred_from=since, occurred_to=until, id_given=asked.id_given, time_given=asked.time_given
        )
