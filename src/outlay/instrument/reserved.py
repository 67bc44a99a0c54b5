"""Hard budgets around an SDK's call: reserved before it is sent, settled when it is over.

Two things may be written into a request, both named and switchable, and only where a refusing, delaying or
downgrading budget covers the call: the maximum of output that the budget affords (with the service to call, where it
says downgrade), and the wish to be told a chat stream's usage.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import msgspec

from outlay.budgets.bounds import bound
from outlay.capture.extract import extract
from outlay.capture.requests import request_of
from outlay.capture.seen import CLOSED, address, told_provider, unsent
from outlay.capture.streams import Reading
from outlay.errors import LedgerError, OutlayError
from outlay.instrument.calls import Exchange, Operation
from outlay.instrument.clients import safely
from outlay.instrument.forgotten import keep_forgotten
from outlay.model import Basis, BudgetAction, Quantity, Status

if TYPE_CHECKING:
    from outlay.api import Ledger
    from outlay.capture.extract import Extraction
    from outlay.holding import Reservation
    from outlay.instrument.watching import Watch


class Stopped(BaseException):
    """Carries a refusal through an SDK, which would take any Exception for a lost connection and try again."""

    def __init__(self, refusal: OutlayError) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


class Plan(msgspec.Struct, frozen=True):
    """A call that a hard budget covers: what to reserve it by, and whether its body may be written anew."""

    fields: dict[str, Any]
    body: dict[str, Any]
    writable: bool
    asks_usage: bool


class Held:
    """A reservation of one operation, and the request as it is to be sent."""

    def __init__(self, reservation: Reservation, plan: Plan, body: dict[str, Any]) -> None:
        self.reservation = reservation
        self.plan = plan
        self.body = body
        self.hides = plan.asks_usage
        self._usage: Mapping[str, Quantity] = reservation.bound.usage

    @property
    def rewritten(self) -> bool:
        """Whether the request differs from the program's."""
        return self.plan.writable and (self.body != self.plan.body or self.replaced is not None)

    @property
    def replaced(self) -> tuple[str, str] | None:
        """The service asked for and the one to call instead, where a budget says downgrade."""
        asked = self.reservation.downgraded_from
        return None if asked is None else (asked, self.reservation.service)

    def settle(
        self, ledger: Ledger, watch: Watch, found: Extraction, fields: dict[str, Any], exchange: Exchange
    ) -> None:
        """Put what is known in the place of what is held; what is not known stands at the worst case, marked."""
        if found.found == "pending" and found.call_key:
            watch.hold(found.call_key, self)
            return
        first, *others = ledger.calls_found(found, fields)
        if is_unsure(found, exchange.status_code, exchange.error):
            first.update(usage=at_worst(found.usage, self._usage), basis=Basis.ESTIMATED)
            if exchange.status_code is None and exchange.error != CLOSED:
                first["status"] = Status.UNSETTLED
        self.reservation.settle(**{name: one for name, one in first.items() if one is not None})
        for other in others:
            ledger.keep_call(other)


def is_unsure(found: Extraction, status_code: int | None, error: str) -> bool:
    """Whether the provider may bill more than was told; `error` is how the exchange ended, if not by itself."""
    if unsent(error):
        return False
    if found.found in ("missing", "unknown"):
        return True
    refused = found.status is Status.FAILED and (status_code or 0) >= 400
    return found.basis is Basis.ESTIMATED and not refused


def at_worst(known: Mapping[str, Quantity], most: Mapping[str, Quantity]) -> dict[str, Quantity]:
    """What was told of the input, and of the output the most that the request allowed (`most`, its worst case)."""
    if "input_tokens" not in known:
        return dict(most)
    told = {meter: amount for meter, amount in known.items() if not meter.startswith("output")}
    outputs = {meter: amount for meter, amount in most.items() if meter.startswith("output")}
    return {**told, **{meter: max(amount, known.get(meter, 0)) for meter, amount in outputs.items()}}


def prepare(operation: Operation, exchange: Exchange, request: Any) -> tuple[Any, bool]:
    """The request as it is to be sent, and whether its usage chunk is to be hidden again. Raises Stopped."""
    held = hold(operation, exchange)
    if held is None:
        return request, False
    sent = safely(operation.watch.failures, "writing a request", written_request, request, held, exchange)
    return (request, False) if sent is None else (sent, held.hides)


async def prepare_async(operation: Operation, exchange: Exchange, request: Any) -> tuple[Any, bool]:
    """The same from a coroutine: asking budgets, which commits, leaves the event loop free."""
    if operation.held is None and not any_hard(operation):
        return request, False
    import asyncio

    return await asyncio.to_thread(prepare, operation, exchange, request)


def hold(operation: Operation, exchange: Exchange) -> Held | None:
    """Reserve what the call may cost, once an operation; None where no hard budget covers it. Raises Stopped."""
    if operation.held is None and any_hard(operation):
        plan = safely(operation.watch.failures, "asking budgets", _plan, operation, exchange)
        if plan is not None:
            operation.held = _taken(operation.watch, plan)
    return operation.held


def any_hard(operation: Operation) -> bool:
    """Whether the ledger has a budget that may refuse anything. Raises Stopped where it cannot be asked and one fails
    closed.
    """
    return any_hard_in(operation.watch)


def any_hard_in(watch: Watch) -> bool:
    """The same, before there is an operation."""
    ledger = safely(watch.failures, "opening the ledger", _ledger_of, watch)
    if ledger is None:
        return False
    try:
        index = watch.budgets(ledger)
    except LedgerError as error:
        watch.failures.note("asking budgets", error)
        known = ledger.reserver.known
        if any(one.action is not BudgetAction.NOTIFY and not one.fail_open for one in known.budgets.values()):
            raise Stopped(error) from error
        return False
    return bool(index.budgets) and any(one.action is not BudgetAction.NOTIFY for one in index.budgets.values())


def _ledger_of(watch: Watch) -> Ledger:
    return watch.ledger


def _plan(operation: Operation, exchange: Exchange) -> Plan | None:
    """What is to be reserved; None for what costs nothing, or is covered by no hard budget."""
    if exchange.method != "POST":
        return None
    watch, ledger = operation.watch, operation.watch.ledger
    body = dict(_plain(exchange.request))
    found = extract(
        Reading(),
        provider=told_provider(exchange.url, operation.provider),
        url=address(exchange.url),
        request=exchange.request,
    )
    if found.found == "none" or (found.found == "unknown" and "model" not in body):
        return None
    fields = {"provider": found.provider, "service": found.service, "operation": found.operation}
    ask = ledger.reserver.ask(fields, body)
    if not any(limit.hard for limit in ask.limits):
        return None
    path = urlsplit(exchange.url).path
    asks = (
        watch.ask_usage
        and not exchange.signed
        and operation.sdk.any_provider
        and path.endswith("/chat/completions")
        and body.get("stream") is True
        and not _mapping(body.get("stream_options")).get("include_usage")
    )
    return Plan(fields, body, watch.write_maximum and not exchange.signed, asks)


def _plain(request: object) -> Mapping[str, Any]:
    """The request's body with plain numbers, as it can be sent again."""
    if isinstance(request, bytes | bytearray | str):
        try:
            found = json.loads(request)
        except ValueError:
            return request_of(request)
        return found if isinstance(found, dict) else {}
    return request_of(request)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _taken(watch: Watch, plan: Plan) -> Held:
    """The reservation. Raises Stopped with the refusal, or with the ledger's error where a budget fails closed."""
    ledger = watch.ledger
    keep_forgotten()  # What a stream that was just closed held is free now.
    try:
        most = bound(str(plan.fields["provider"]), plan.body, plan.fields["service"])
        if plan.writable or most.output_given:
            reservation = ledger.reserve(body=plan.body, **plan.fields).take()
        else:
            # The number that would be allotted cannot be written, so what the provider allows is held.
            reservation = ledger.reserve(usage=most.window_usage or most.usage, **plan.fields).take()
    except OutlayError as refusal:
        raise Stopped(refusal) from None
    body = dict(reservation.body or plan.body) if plan.writable else dict(plan.body)
    if plan.asks_usage:
        body["stream_options"] = {**_mapping(body.get("stream_options")), "include_usage": True}
    return Held(reservation, plan, body)


def written_request(request: Any, held: Held, exchange: Exchange) -> Any:
    """The request with the body that is to be sent, as an object of its own kind; itself where nothing changes."""
    if not held.rewritten and not held.hides:
        return request
    exchange.request = held.body
    if held.replaced is not None:
        exchange.url = _renamed(exchange.url, held.replaced)
    if not hasattr(request, "stream"):
        import copy

        sent = copy.copy(request)  # google-genai's own request.
        sent.data, sent.url = held.body, exchange.url
        return sent
    content = msgspec.json.encode(held.body)
    headers = request.headers.copy()
    headers.pop("transfer-encoding", None)
    headers["content-length"] = str(len(content))
    if held.hides:
        headers["accept-encoding"] = "identity"  # What is hidden is looked for in plain bytes.
    return type(request)(
        request.method, exchange.url, headers=headers, content=content, extensions=request.extensions
    )


def _renamed(url: str, replaced: tuple[str, str]) -> str:
    """The address with the service's name in its path replaced, where the path has it."""
    asked, chosen = replaced
    for one in (asked, quote(asked, safe="")):
        url = url.replace(f"/{one}:", f"/{chosen}:").replace(f"/{one}/", f"/{quote(chosen, safe='')}/")
    return url
