"""A call's place in the ledger: reserved before it goes, settled when its answer is over, priced for the header.

What may cost is reserved, always: a call whose gateway dies is then booked at its worst case instead of being lost.
The reservation is awaited, in a group with others; the settlement is not.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine, Mapping
from decimal import Decimal
from functools import partial
from typing import Any, Final

import msgspec
from msgspec.structs import force_setattr

from outlay.budgets.bounds import bound
from outlay.capture.extract import Extraction, extract
from outlay.capture.intake import build_event, make_id
from outlay.capture.seen import CLOSED, bare_request, marked
from outlay.capture.streams import Reading, decode, unwrapped
from outlay.clock import Instant
from outlay.errors import BudgetExceeded, LedgerError, OutlayError
from outlay.faces.gateway.upstreams import Upstream
from outlay.faces.server.access import Caller
from outlay.faces.server.hot_budgets import taken_by
from outlay.faces.server.ingest import amount_text
from outlay.faces.server.logs import say
from outlay.faces.server.reserving import Reserve, Settle
from outlay.faces.server.state import ServerState
from outlay.faces.server.writer import Events
from outlay.instrument.calls import Exchange, Whole
from outlay.instrument.reserved import at_worst, is_unsure
from outlay.ledger.budget_store import Settled
from outlay.model import Basis, PricingStatus, Quantity, Rating, Status, UsageEvent
from outlay.recorder import rated_tolerantly
from outlay.reserving import Ask, Taken

BEGUN: Final = "gateway_begun"
"""The kind of notes that say which reservation a piece of work is, by its call_key; empty once it is settled."""

SETTLED_AFTER_S: Final = 0.01
SETTLED_TOGETHER_MAX: Final = 64
_KINDS_KEPT: Final = 4_096
_OF_THE_LOOK: Final = ("id", "time", "time_to", "duration_s")
_NAMES: Final = ("model", "model_id", "modelId", "version")
"""Where a request's body may name its service."""


class Order(msgspec.Struct, kw_only=True):
    """A request as the gateway read it. Capture reads it by `url`; `body` is its JSON, or the fields of a form."""

    upstream: Upstream
    method: str
    url: str
    path: bytes
    content: bytes
    body: Mapping[str, Any]
    is_json: bool
    caller: Caller
    fields: dict[str, Any]
    began_s: float


class Kind(msgspec.Struct, frozen=True):
    """What a request is, before it is answered."""

    provider: str
    service: str
    operation: str | None
    costs: bool


class Held(msgspec.Struct, kw_only=True):
    """A call on its way. `taken` is its reservation; `most` is what it may use; None for what is not reserved."""

    id: str
    at: Instant
    taken: Taken | None = None
    most: Mapping[str, Quantity] = {}
    costs: bool = True


class Accounts:
    """Reserves and settles the calls of one gateway."""

    def __init__(self, state: ServerState) -> None:
        """Shares the server's writer."""
        self._state = state
        self._ledger = state.ledger
        self._kinds: dict[tuple[object, ...], Kind] = {}
        self._begun: dict[str, str] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._unsettled: list[Settle] = []
        self._settling: set[asyncio.Future[Any]] = set()
        self._timer: asyncio.TimerHandle | None = None

    # --- before

    def kind_of(self, order: Order) -> Kind:
        """Whose call it is and which service it asks for, told by its address and body."""
        named = tuple(text if isinstance(text := order.body.get(name), str) else None for name in _NAMES)
        key = (order.upstream.name, order.method, order.path, named)
        known = self._kinds.get(key)
        if known is None:
            known = _kind_of(order)
            if len(self._kinds) >= _KINDS_KEPT:
                self._kinds.clear()
            self._kinds[key] = known
        return known

    async def hold(self, order: Order) -> Held:
        """Reserve what a call may cost. Raises BudgetExceeded, AccessDenied, Overloaded, LedgerError."""
        now = self._ledger.clock.now()
        kind = self.kind_of(order)
        if not kind.costs:
            return Held(id=make_id(now), at=now, costs=False)
        fields = {**order.fields, "provider": kind.provider, "service": kind.service, "operation": kind.operation}
        made: list[Ask] = []

        def make(service: str | None) -> Ask:
            ask = self._ask(order, fields, service, made[0].event.id if made else None)
            made.append(ask)
            return ask

        try:
            taken = await self._taken(Reserve(fields, order.body, wait_s=None, deadline_s=None, make=make))
        except LedgerError as error:
            if not self._goes_unreserved(error):
                raise
            return Held(id=make_id(now), at=now)
        ask = taken.ask
        if not taken.held:
            return Held(id=ask.event.id, at=ask.now)
        asking = ask.asking
        return Held(id=ask.event.id, at=ask.now, taken=taken, most=asking.window_usage or asking.usage)

    async def _taken(self, work: Reserve) -> Taken:
        """The reservation. What only this gateway's own late settlements leave no room for is asked again."""
        try:
            return await taken_by(self._state, work)
        except BudgetExceeded as error:
            if error.code != "budget_reserved" or not self.unsettled:
                raise
        await self.drain()
        again = Reserve(work.fields, work.body, wait_s=work.wait_s, deadline_s=work.deadline_s, make=work.make)
        return await taken_by(self._state, again)

    def _ask(self, order: Order, fields: dict[str, Any], service: str | None, id: str | None) -> Ask:
        """What a call asks for: by its body, or where no maximum may be written by the most the provider allows."""
        body: Mapping[str, Any] = order.body
        if service is not None:
            fields = {**fields, "service": service}
            body = {**body, "model": service} if "model" in body else body
        reserver = self._ledger.reserver
        if not (order.is_json and order.upstream.write_maximum):
            most = bound(str(fields["provider"]), body, str(fields["service"]))
            if not most.output_given:
                return reserver.ask({**fields, "usage": most.window_usage or most.usage}, None, id=id)
        return reserver.ask(fields, body, id=id)

    def _goes_unreserved(self, error: LedgerError) -> bool:
        """Whether a call may go although the ledger cannot be asked: no budget that is known says otherwise."""
        if error.code in ("overloaded", "rate_limited", "stopping"):
            return False
        budgets = self._ledger.reserver.known.budgets.values()
        return all(one.fail_open or one.action == "notify" for one in budgets)

    # --- after

    def settle(self, order: Order, held: Held, exchange: Exchange) -> str | None:
        """Book what happened; what it cost as text, None where it has no price. Nothing is awaited."""
        answer = exchange.answer()
        found = extract(
            _reading(answer),
            provider=order.upstream.provider,
            url=order.url,
            request=order.body,
            status_code=exchange.status_code,
        )
        found = marked(found, exchange.error, exchange.status_code)
        fields = {**order.fields, "duration_s": _seconds(time.monotonic() - order.began_s)}
        if self._ledger.estimate is not None and not isinstance(answer, Reading):
            found = self._ledger.estimated(found, answer, exchange.request, self._ledger.estimate)
        if held.taken is None:
            return self._book_unreserved(order, held, found, fields)
        if found.found == "pending" and found.call_key:
            self._remember(found.call_key, held)
            return None
        return self._settle(held, order.caller, found, fields, exchange)

    def _settle(
        self, held: Held, caller: Caller, found: Extraction, fields: dict[str, Any], exchange: Exchange
    ) -> str | None:
        if held.taken is None:
            return None
        asked = held.taken.ask.event
        first, *others = self._ledger.calls_found(found, fields)
        capped = any(limit.hard for limit in held.taken.ask.limits)
        if capped and is_unsure(found, exchange.status_code, exchange.error):
            # Under a cap what is not known stands at its worst; else it is kept without a price, and said.
            first.update(usage=at_worst(found.usage, held.most), basis=Basis.ESTIMATED)
            if exchange.status_code is None and exchange.error != CLOSED:
                first["status"] = Status.UNSETTLED
        event = self._happened(asked, first)
        book = self._ledger.recorder.book
        rating = rated_tolerantly(event, book)
        self._later(Settle(held.id, {}, None, caller, event=event, rated=(book, rating)))
        self._keep_others(others)
        return _cost(rating)

    def _happened(self, asked: UsageEvent, call: Mapping[str, Any]) -> UsageEvent:
        """The call as it was, in the place of the one that was asked for."""
        now = self._ledger.clock.now()
        told = {name: value for name, value in call.items() if value is not None and name not in _ITS_OWN}
        duration_s = told.pop("duration_s", None)
        event = build_event(told, now, self._ledger.currency, id=asked.id)
        force_setattr(event, "duration_s", duration_s)  # As `_seconds` makes it.
        for name in _BEFORE:
            if (value := getattr(asked, name)) and name not in told:
                force_setattr(event, name, value)
        force_setattr(event, "occurred_from", asked.occurred_from)
        force_setattr(event, "occurred_to", max(now, asked.occurred_from))
        return event

    def _book_unreserved(self, order: Order, held: Held, found: Extraction, fields: dict[str, Any]) -> str | None:
        kept = found.found == "usage" or (order.method == "POST" and found.found == "missing")
        if not kept and not (order.method == "POST" and found.found == "unknown" and _names_service(order)):
            return None
        first, *others = self._ledger.calls_found(found, fields)
        event = build_event(first, held.at, self._ledger.currency, id=held.id)
        if order.method == "GET" and found.call_key:
            self._task(self._settle_begun(found.call_key, order.caller, first, event))
        else:
            self._book(event)
        self._keep_others(others)
        return _cost(rated_tolerantly(event, self._ledger.recorder.book))

    def _book(self, event: UsageEvent) -> None:
        if self._ledger.spool is not None:
            self._ledger.spool.append(event)
        else:
            self._record(event)

    def _keep_others(self, calls: list[dict[str, Any]]) -> None:
        for call in calls:
            self._ledger.keep_call(call)  # On a thread whose loop runs it goes to the spool.

    # --- work that is begun in one call and told in another

    def _remember(self, call_key: str, held: Held) -> None:
        """Keep whose reservation a piece of work is: whichever gateway is asked about it later settles that."""
        self._begun[call_key] = held.id
        if len(self._begun) > _KINDS_KEPT:
            self._begun.pop(next(iter(self._begun)))
        self._task(self._note(call_key, held.id.encode(), None))

    async def _note(self, call_key: str, body: bytes, expects: bytes | None) -> None:
        now = self._ledger.clock.now()
        put = partial(self._ledger.store.put_note, BEGUN, call_key, body, expects=expects, at=now, live=bool(body))
        try:
            await asyncio.to_thread(put)
        except OutlayError as error:
            say(logging.WARNING, "another gateway will not know of work that was begun", code=error.code)

    async def _settle_begun(self, call_key: str, caller: Caller, call: Mapping[str, Any], event: UsageEvent) -> None:
        """Settle what another call began, or book the look itself where nobody knows of one."""
        kept = await asyncio.to_thread(self._ledger.store.note, BEGUN, call_key)
        id = self._begun.pop(call_key, None) or (kept.decode() if kept else None)
        if kept == b"":
            return  # It was settled by an earlier look.
        if id is None:
            self._book(event)
            return
        told = {name: value for name, value in call.items() if value is not None and name not in _OF_THE_LOOK}
        self._later(Settle(id, told, None, caller))
        await self._note(call_key, b"", id.encode())

    # --- the writer

    def _later(self, work: Settle) -> None:
        """Settle with others: nobody waits for it, and a group costs each a third of what it costs alone."""
        self._unsettled.append(work)
        if len(self._unsettled) >= SETTLED_TOGETHER_MAX:
            self._settle_waiting()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(SETTLED_AFTER_S, self._settle_waiting)

    def _settle_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        works, self._unsettled = self._unsettled, []
        for work in works:
            try:
                future = self._state.writer.post(work)
            except OutlayError as error:
                self._not_settled(work, error)
                continue
            self._settling.add(future)
            future.add_done_callback(partial(self._settled, work))

    def _settled(self, work: Settle, future: asyncio.Future[tuple[UsageEvent, Settled]]) -> None:
        self._settling.discard(future)
        error = None if future.cancelled() else future.exception()
        if error is not None:
            self._not_settled(work, error)
        elif not future.cancelled():
            self._state.metrics.reservations[future.result()[1].code] += 1

    def _not_settled(self, work: Settle, error: BaseException) -> None:
        """It stays held, and is booked at its worst case when its time is over."""
        code = error.code if isinstance(error, OutlayError) else type(error).__name__
        self._state.metrics.reservations[code] += 1
        say(logging.ERROR, "a call was not settled", id=work.id, code=code)

    def _record(self, event: UsageEvent) -> None:
        try:
            future = self._state.writer.post(Events((event,), tolerant=True))
        except OutlayError as error:
            say(logging.ERROR, "a call was not recorded", id=event.id, code=error.code)
            return
        self._settling.add(future)
        future.add_done_callback(self._settling.discard)

    def _task(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @property
    def unsettled(self) -> int:
        """How many calls were answered and are not settled yet."""
        return len(self._unsettled) + len(self._settling) + len(self._tasks)

    async def drain(self) -> None:
        """Wait until all that was answered is settled."""
        if self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)
        self._settle_waiting()
        if self._settling:
            await asyncio.gather(*self._settling, return_exceptions=True)


_ITS_OWN: Final = frozenset(("id", "time", "time_to"))
_BEFORE: Final = (
    *("operation", "user", "customer", "team", "project", "feature", "job", "environment"),
    *("request", "trace", "step", "tags", "parameters"),
)
"""What was told before the call, and checked then."""


def _kind_of(order: Order) -> Kind:
    """An empty answer is read as one would come: the address and the body tell what was asked for."""
    found = extract(Reading(), provider=order.upstream.provider, url=order.url, request=order.body)
    known = found.found != "none" and not (found.found == "unknown" and not _names_service(order))
    return Kind(found.provider, found.service, found.operation, order.method == "POST" and known)


def _reading(answer: object) -> object:
    """An answer that is one JSON object, as by far the most are, read without asking what else it may be."""
    if isinstance(answer, Whole) and answer.content is not None and answer.content[:1] == b"{":
        frame = decode(answer.content)
        if isinstance(frame, dict):
            return Reading(frames=[unwrapped(frame)], headers=answer.headers)
    return answer


def _cost(rating: Rating) -> str | None:
    return amount_text(rating.amount) if rating.status is PricingStatus.PRICED else None


def _seconds(value: float) -> Decimal:
    """Seconds to the microsecond."""
    whole, rest = divmod(round(value * 1_000_000), 1_000_000)
    return Decimal(f"{whole}.{rest:06d}".rstrip("0").rstrip("."))


def _names_service(order: Order) -> bool:
    return any(isinstance(order.body.get(name), str) for name in _NAMES)


def without_texts(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """A request's body for as long as its answer streams: bare, where what is billed does not need its texts."""
    bare = bare_request(body)
    return body if bare is None else bare
