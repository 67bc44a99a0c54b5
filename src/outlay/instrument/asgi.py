"""ASGI middleware: every call inside a request is the request's, and the answer says what the request cost.

    app.add_middleware(OutlayMiddleware, ledger=ledger, user=lambda scope: header(scope, "x-user"), envelope=True)

It needs no framework: FastAPI, Starlette and plain ASGI applications are served alike. What the application answers
is not touched but for two headers, and, where `envelope` asks for it, one member more in a JSON object or one event
more at the end of a stream.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Final

from outlay.capture.intake import make_id
from outlay.errors import OutlayError
from outlay.instrument.envelope import Label, RequestCost, encoded, members_of, with_members

if TYPE_CHECKING:
    from outlay.api import Ledger

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
OfScope = Callable[[Scope], Any]
"""From a request's scope to a value, or an awaitable of it."""

logger = logging.getLogger("outlay.asgi")

BUFFERED_BYTES_MAX: Final = 8 << 20
"""A JSON answer beyond this is passed on as it is: nothing waits for the end of it."""

_STREAMS: Final = {
    "text/event-stream": "sse",
    "application/x-ndjson": "lines",
    "application/ndjson": "lines",
    "application/jsonl": "lines",
    "application/jsonlines": "lines",
}
_OF_THE_BODY: Final = (b"content-encoding", b"etag", b"digest", b"content-digest", b"repr-digest", b"content-md5")


def header(scope: Scope, name: str) -> str | None:
    """A request header's value; None where it is not there."""
    wanted = name.lower().encode("latin-1")
    return next((value.decode("latin-1") for key, value in scope.get("headers", ()) if key.lower() == wanted), None)


class OutlayMiddleware:
    """Wraps an ASGI application. One instance serves many requests at the same time."""

    def __init__(
        self,
        app: App,
        ledger: Ledger | None = None,
        *,
        user: OfScope | None = None,
        attribution: OfScope | None = None,
        feature: str | OfScope | None = None,
        operation: str | OfScope | None = None,
        request_id: OfScope | None = None,
        envelope: bool | str = False,
        usage: bool | Callable[[RequestCost], Mapping[str, Any] | None] = False,
        label: Label | None = None,
        finished: Callable[[RequestCost], None] | None = None,
        cost_header: str | None = "x-outlay-cost",
        request_header: str | None = "x-outlay-request",
    ) -> None:
        """Without `ledger` it is `outlay.current_ledger()`, opened at the first request.

        `user` and `attribution` (a mapping of more) are asked when a request begins; what is known only later is
        said by `current_request().attribute(user=…)`. `feature` is the route's path unless it is given, `operation`
        (of the envelope) the route's name. `request_id` may take one from a header; else it is made.

        `envelope` adds the cost to JSON objects under `cost` (or the name given) and to streams as their last event;
        `usage` adds the budgets' block beside it (True: of the request's user and customer). `finished` is told of
        each request at its end, such as an `EmfLog`. A header that is None is not sent.
        """
        self.app = app
        self.key = "cost" if envelope is True else envelope
        self.usage = usage
        self.label = label
        self.headers = tuple(name and name.encode("latin-1") for name in (cost_header, request_header))
        self._ledger = ledger
        self._user = user
        self._more = attribution
        self._feature = feature
        self._operation = operation
        self._request_id = request_id
        self._finished = finished

    @property
    def ledger(self) -> Ledger:
        """The ledger that keeps the requests' calls."""
        if self._ledger is None or self._ledger.closed:
            from outlay import current_ledger

            self._ledger = current_ledger()
        return self._ledger

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or pass on what is none."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        try:
            request = await self._begun(scope)
        except OutlayError as error:
            logger.warning("a request goes unwatched (%s): %s", error.code, error)
            await self.app(scope, receive, send)
            return
        if scope["type"] == "http":
            send = _Answer(self, scope, request, send)
        try:
            with request.gathering():
                await self.app(scope, receive, send)
        finally:
            request.operation = request.operation or _name_of(scope)
            if self._finished is not None:
                self._finished(request)

    async def _begun(self, scope: Scope) -> RequestCost:
        now = self.ledger.clock.now()
        given = await _asked(self._request_id, scope)
        operation = self._operation if isinstance(self._operation, str) else await _asked(self._operation, scope)
        request = _ScopedCost(
            given or make_id(now), currency=self.ledger.currency, operation=operation, started_at=now
        )
        request.scope = scope
        known = {**(await _asked(self._more, scope) or {}), "user": await _asked(self._user, scope)}
        feature = self._feature if isinstance(self._feature, str) else await _asked(self._feature, scope)
        known["feature"] = feature or known.get("feature")
        request.attribute(**{name: value for name, value in known.items() if value is not None})
        return request

    async def block(self, request: RequestCost, scope: Scope) -> dict[str, Any]:
        """What an answer gets: the cost, and the usage where it is asked for."""
        request.operation = request.operation or _name_of(scope)
        told: dict[str, Any] = {}
        usage = await self._usage_of(request)
        if usage:
            told["usage"] = usage
        told[str(self.key)] = request.envelope(self.ledger.clock.now(), label=self.label)
        return told

    async def _usage_of(self, request: RequestCost) -> Mapping[str, Any] | None:
        if self.usage is False:
            return None
        try:
            # It reads the ledger, which may wait: never on the loop.
            return await asyncio.to_thread(self._usage_block, request)
        except OutlayError as error:
            logger.warning("the usage block of request %s is left out (%s)", request.request_id, error.code)
            return None

    def _usage_block(self, request: RequestCost) -> Mapping[str, Any] | None:
        self.ledger.flush()  # What the request itself used counts too.
        if callable(self.usage):
            return self.usage(request)
        known = request.attribution()
        return self.ledger.usage_block(**{name: known[name] for name in ("user", "customer") if known.get(name)})


class _ScopedCost(RequestCost):
    """A request whose feature is its route's, once the application has found the route."""

    scope: Scope

    def attribution(self) -> dict[str, Any]:
        """For whom what is recorded now is."""
        known = super().attribution()
        if known.get("feature") is None:
            path = getattr(self.scope.get("route"), "path", None)
            if path:
                return {**known, "feature": path}
        return known


class _Kind(Enum):
    PASSED = auto()
    JSON = auto()
    STREAM = auto()


class _Answer:
    """One answer on its way out: `send` with the headers, and the envelope where it belongs."""

    def __init__(self, middleware: OutlayMiddleware, scope: Scope, request: RequestCost, send: Send) -> None:
        self._middleware = middleware
        self._scope = scope
        self._request = request
        self._send = send
        self._held: Message | None = None
        self._kind = _Kind.PASSED
        self._framing = ""
        self._chunks: list[bytes] = []
        self._size = 0
        self._tail = b""

    async def __call__(self, message: Message) -> None:
        """Pass on one message of the application's."""
        if message["type"] == "http.response.start":
            await self._start(message)
        elif message["type"] == "http.response.body":
            await self._body(message)
        else:
            await self._let_go(complete=True)  # A file that the server is to send itself.
            await self._send(message)

    async def _start(self, message: Message) -> None:
        self._held = {**message, "headers": list(message.get("headers", ()))}
        type, told = self._content_type(), self._middleware.key
        self._framing = _STREAMS.get(type, "")
        untouched = any(_value(self._held["headers"], name) is not None for name in _OF_THE_BODY)
        wanted = bool(told) and not untouched and self._scope.get("method") != "HEAD" and _plain(message["status"])
        if self._framing:
            fixed = _value(self._held["headers"], b"content-length") is not None
            self._kind = _Kind.STREAM if wanted and not fixed else _Kind.PASSED
            await self._let_go(complete=False)
        elif wanted and (type == "application/json" or type.endswith("+json")):
            self._kind = _Kind.JSON
        elif _value(self._held["headers"], b"content-length") is not None or message["status"] in (204, 304):
            await self._let_go(complete=True)

    def _content_type(self) -> str:
        value = _value(self._held["headers"] if self._held else (), b"content-type") or b""
        return value.decode("latin-1").partition(";")[0].strip().lower()

    async def _body(self, message: Message) -> None:
        body, more = message.get("body", b""), message.get("more_body", False)
        if self._kind is _Kind.JSON:
            self._chunks.append(body)
            self._size += len(body)
            if not more:
                await self._end_json()
            elif self._size > BUFFERED_BYTES_MAX:
                self._kind = _Kind.PASSED
                await self._let_go(complete=False)
                await self._send({"type": "http.response.body", "body": b"".join(self._chunks), "more_body": True})
            return
        await self._let_go(complete=not more)
        if self._kind is _Kind.STREAM:
            self._tail = (self._tail + body)[-4:]
            if not more:
                body += self._last_event(await self._middleware.block(self._request, self._scope))
        await self._send({**message, "body": body})

    async def _end_json(self) -> None:
        body = b"".join(self._chunks)
        own = members_of(body)
        if own is not None:
            block = await self._middleware.block(self._request, self._scope)
            body = with_members(body, own, block)
            if self._held is not None:
                _set(self._held["headers"], b"content-length", str(len(body)).encode())
        await self._let_go(complete=True)
        await self._send({"type": "http.response.body", "body": body, "more_body": False})

    async def _let_go(self, *, complete: bool) -> None:
        """Send the head that is held back, with the cost if nothing can be added to it any more."""
        if self._held is None:
            return
        head, self._held = self._held, None
        cost_header, request_header = self._middleware.headers
        if request_header:
            _set(head["headers"], request_header, self._request.request_id.encode("latin-1", "replace"))
        if cost_header and complete:
            _set(head["headers"], cost_header, f"{self._request.total.amount:f}".encode())
        await self._send(head)

    def _last_event(self, block: dict[str, Any]) -> bytes:
        data = encoded(block)
        if self._framing == "lines":
            return (b"" if not self._tail or self._tail.endswith(b"\n") else b"\n") + data + b"\n"
        ended = not self._tail or self._tail.endswith((b"\n\n", b"\r\r", b"\r\n\r\n"))
        name = str(self._middleware.key).encode()
        return (b"" if ended else b"\n\n") + b"event: " + name + b"\ndata: " + data + b"\n\n"


async def _asked(function: OfScope | str | None, scope: Scope) -> Any:
    if not callable(function):
        return None
    found = function(scope)
    return await found if inspect.isawaitable(found) else found


def _name_of(scope: Scope) -> str | None:
    """The name of the route that the application found, or of the function that served it."""
    route = scope.get("route")
    name = getattr(route, "name", None) or getattr(scope.get("endpoint"), "__name__", None)
    return str(name) if name else scope.get("path")


def _plain(status: int) -> bool:
    """Whether an answer of this status is a whole body of its own; an error's is left alone."""
    return 200 <= status < 300 and status not in (204, 205, 206)


def _value(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> bytes | None:
    return next((value for key, value in headers if key.lower() == name), None)


def _set(headers: list[tuple[bytes, bytes]], name: bytes, value: bytes) -> None:
    headers[:] = [pair for pair in headers if pair[0].lower() != name]
    headers.append((name, value))
