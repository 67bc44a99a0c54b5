"""The wrappers: around the one method of an SDK through which calls go, and around the sending of its HTTP client.

The method is the operation, each sending inside it an attempt. Both hand on what they are given and what comes
back; what Outlay does beside it is fenced in `clients.safely`.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final

import msgspec

from outlay.instrument.calls import CURRENT, Exchange, Operation, may_be_batch
from outlay.instrument.clients import safely, say_once
from outlay.instrument.passing import AsyncContent, Passage, pass_http
from outlay.instrument.reserved import Stopped, prepare, prepare_async
from outlay.instrument.sessions import Live, connecting
from outlay.instrument.streaming import Keeper, UsageHider, is_opaque
from outlay.instrument.targets import Entry, Sdk, Style, at_path
from outlay.instrument.watching import Watch, mark_of

Function = Callable[..., Any]
_HOOK: Final = "outlay_watch"
_hooked: weakref.WeakSet[Any] = weakref.WeakSet()


class Scope:
    """The time during which an SDK's method runs: what is sent then is its operation's."""

    def __init__(self, operation: Operation) -> None:
        self._operation = operation
        self._token: Any = None

    def __enter__(self) -> None:
        self._token = CURRENT.set(self._operation)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        CURRENT.reset(self._token)
        if isinstance(error, Stopped):
            # The SDK would have taken a refusal for a lost connection, so it went through as something it knows not.
            raise error.refusal from None
        if error is not None:
            self._operation.fail(error)


def operation_of(watch: Watch, sdk: Sdk, client: object) -> Operation:
    """A new operation of this client."""
    return Operation(watch, sdk, _provider_of(sdk, client))


def _provider_of(sdk: Sdk, client: object) -> str:
    if not sdk.providers:
        return sdk.provider
    names = (kind.__name__ for kind in type(client).__mro__)
    return next((sdk.providers[name] for name in names if name in sdk.providers), sdk.provider)


def wrapper(sdk: Sdk, entry: Entry, original: Function, default: Callable[[], Watch | None]) -> Function:
    """The method as it is put in the place of the SDK's own. `default` is the watch of `instrument_all`, if any."""

    def begin(owner: object) -> Operation | None:
        if CURRENT.get() is not None:
            return None  # A retry, or a call inside the call, is a part of it.
        holder = at_path(owner, entry.holder) if entry.holder else owner
        http = at_path(owner, entry.http) if entry.http else None
        watch = mark_of(holder) or _hook_of(http) or default()
        if watch is None:
            return None
        if entry.http and not hook(http, watch, sdk, entry):
            return None
        return operation_of(watch, sdk, owner)

    if entry.style is Style.SESSION:
        made = connecting(original, functools.partial(_session_of, sdk, entry, default))
    else:
        made = _WRAPPERS[entry.style](begin, original)
    # What the program or the SDK asks of its method is answered as before.
    return functools.update_wrapper(made, original)


def _session_of(
    sdk: Sdk, entry: Entry, default: Callable[[], Watch | None], owner: object, model: str
) -> Live | None:
    """How a session that is about to be opened is watched; None where its client is not."""
    client = at_path(owner, entry.holder)
    watch = mark_of(client) or _hook_of(at_path(client, "_client")) or default()
    if watch is None:
        return None
    url = str(at_path(client, "base_url") or "")
    return Live(watch, sdk, entry, _provider_of(sdk, client), model, url)


def _sync(begin: Callable[[object], Operation | None], original: Function) -> Function:
    def call(self: Any, *arguments: Any, **named: Any) -> Any:
        operation = begin(self)
        if operation is None:
            return original(self, *arguments, **named)
        with Scope(operation):
            answer = original(self, *arguments, **named)
        returned(operation)
        return answer

    return call


def _async(begin: Callable[[object], Operation | None], original: Function) -> Function:
    async def call(self: Any, *arguments: Any, **named: Any) -> Any:
        operation = begin(self)
        if operation is None:
            return await original(self, *arguments, **named)
        with Scope(operation):
            answer = await original(self, *arguments, **named)
        await returned_async(operation)
        return answer

    return call


def _context(begin: Callable[[object], Operation | None], original: Function) -> Function:
    def call(self: Any, *arguments: Any, **named: Any) -> Any:
        operation = begin(self)
        manager = original(self, *arguments, **named)
        return manager if operation is None else _Entered(manager, operation)

    return call


class _Entered:
    """A context manager whose entering is the operation; what the program does inside is its own."""

    def __init__(self, manager: Any, operation: Operation) -> None:
        self._manager = manager
        self._operation = operation

    def __enter__(self) -> Any:
        with Scope(self._operation):
            answer = self._manager.__enter__()
        returned(self._operation)
        return answer

    def __exit__(self, *raised: Any) -> Any:
        return self._manager.__exit__(*raised)

    async def __aenter__(self) -> Any:
        with Scope(self._operation):
            answer = await self._manager.__aenter__()
        await returned_async(self._operation)
        return answer

    async def __aexit__(self, *raised: Any) -> Any:
        return await self._manager.__aexit__(*raised)


def returned(operation: Operation) -> None:
    """The method has returned: kept now, or when its stream is over."""
    operation.came_back()
    if not operation.waits:
        operation.finish()


async def returned_async(operation: Operation) -> None:
    """The same; a settlement, which commits, leaves the event loop free."""
    operation.came_back()
    if operation.waits:
        return
    if operation.held is None:
        operation.finish()
    else:
        import asyncio

        await asyncio.to_thread(operation.finish)


# --- the HTTP client below


def _hook_of(http: object) -> Watch | None:
    found = getattr(http, "__dict__", {}).get("send")
    watch = getattr(found, _HOOK, None)
    return watch if isinstance(watch, Watch) else None


def hook(http: Any, watch: Watch, sdk: Sdk, entry: Entry) -> bool:
    """Put the wrapper around this HTTP client's `send`, once; False where it has none."""
    if _hook_of(http) is not None:
        return True
    original = getattr(http, "send", None)
    if original is None:
        say_once(
            f"{sdk.name}:{entry.http}",
            "outlay: this version of %s has no HTTP client at %s.%s; its calls are not watched",
            sdk.name,
            entry.owner,
            entry.http,
        )
        return False
    wrapped = sending_async(original) if entry.style in (Style.ASYNC, Style.ASYNC_CONTEXT) else sending(original)
    setattr(wrapped, _HOOK, watch)
    http.send = functools.update_wrapper(wrapped, original)
    _hooked.add(http)
    return True


def unhook(watch: Watch) -> None:
    """Take the wrappers of one watch from all HTTP clients."""
    for http in list(_hooked):
        if _hook_of(http) is watch:
            del http.send
            _hooked.discard(http)


def sending(original: Function) -> Function:
    """Around an HTTP client's `send`: what is sent while an operation is under way is an attempt of it."""

    def send(request: Any, *arguments: Any, **named: Any) -> Any:
        operation = CURRENT.get()
        if operation is None:
            return original(request, *arguments, **named)
        exchange = _sending(operation, request)
        if exchange is None:
            return original(request, *arguments, **named)
        sent, hides = prepare(operation, exchange, request)
        with _Attempt(exchange):
            response = original(sent, *arguments, **named)
        _answered(operation, exchange, response, bool(named.get("stream")), hides, asynchronous=False)
        return response

    return send


def sending_async(original: Function) -> Function:
    """The same for an asynchronous client."""

    async def send(request: Any, *arguments: Any, **named: Any) -> Any:
        operation = CURRENT.get()
        if operation is None:
            return await original(request, *arguments, **named)
        exchange = _sending(operation, request)
        if exchange is None:
            return await original(request, *arguments, **named)
        sent, hides = await prepare_async(operation, exchange, request)
        with _Attempt(exchange):
            response = await original(sent, *arguments, **named)
        _answered(operation, exchange, response, bool(named.get("stream")), hides, asynchronous=True)
        return response

    return send


class _Attempt:
    """One sending: the exception by which it ends is what the HTTP library says, before the SDK words it anew."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def __enter__(self) -> None:
        """Nothing to do before."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            return
        self._exchange.error = kind.__name__
        code = getattr(error, "code", None)
        if isinstance(code, int) and not isinstance(code, bool) and code >= 400:
            # google-genai raises where an HTTP library would answer.
            self._exchange.status_code, self._exchange.error = code, ""
            status = str(getattr(error, "status", None) or "")
            self._exchange.content = msgspec.json.encode({"error": {"status": status}}) if status else b""


def _sending(operation: Operation, request: Any) -> Exchange | None:
    return safely(operation.watch.failures, "reading a request", _exchange_of, operation, request)


def _exchange_of(operation: Operation, request: Any) -> Exchange:
    exchange = Exchange(str(request.method), str(request.url), _body_of(request))
    exchange.signed = str(request.headers.get("authorization", "")).startswith("AWS4-HMAC")
    operation.sending(exchange)
    return exchange


def _body_of(request: Any) -> object:
    """The request's body where it is in memory; of a form the short fields, never a file."""
    fields = getattr(request.stream, "fields", None)
    if fields is not None:
        return {one.name: one.value for one in fields if isinstance(getattr(one, "value", None), str)}
    try:
        return request.content
    except RuntimeError:
        return None  # A body that is made while it is sent.


def _answered(
    operation: Operation, exchange: Exchange, response: Any, streams: bool, hides: bool, *, asynchronous: bool
) -> None:
    failures = operation.watch.failures
    safely(failures, "reading an answer", _take, operation, exchange, response, streams, hides, asynchronous)


def _take(
    operation: Operation, exchange: Exchange, response: Any, streams: bool, hides: bool, asynchronous: bool
) -> None:
    headers = response.headers
    exchange.status_code, exchange.headers = response.status_code, headers
    kind = headers.get("content-type", "")
    if streams and not response.is_closed and not response.is_stream_consumed:
        keeper = keeper_of(operation, exchange, kind, headers.get("content-encoding", ""))
        passage = Passage(operation, exchange, keeper, UsageHider() if hides and keeper.kind == "events" else None)
        pass_http(response, passage, asynchronous=asynchronous)
    elif not is_opaque(kind):
        exchange.content = response.content


def keeper_of(operation: Operation, exchange: Exchange, content_type: str, encoding: str) -> Keeper:
    """What keeps a stream's usage; of a batch's results each line is a call of its own."""
    each = operation.keep_line if may_be_batch(exchange.method, exchange.url) else None
    return Keeper(content_type, encoding, each)


def _aiohttp(begin: Callable[[object], Operation | None], original: Function) -> Function:
    """One attempt of google-genai over aiohttp; over httpx its HTTP client tells more."""
    del begin

    async def call(self: Any, http_request: Any, stream: bool = False, **named: Any) -> Any:
        operation = CURRENT.get()
        if operation is None or not self._use_aiohttp():
            return await original(self, http_request, stream, **named)
        exchange = Exchange(http_request.method.upper(), http_request.url, http_request.data)
        operation.sending(exchange)
        sent, _ = await prepare_async(operation, exchange, http_request)
        with _Attempt(exchange):
            response = await original(self, sent, stream, **named)
        safely(operation.watch.failures, "reading an answer", _take_genai, operation, exchange, response)
        return response

    return call


def _take_genai(operation: Operation, exchange: Exchange, response: Any) -> None:
    exchange.status_code, exchange.headers = response.status_code, response.headers
    body = response.response_stream
    if isinstance(body, list):
        exchange.content = body[0].encode() if body else b""
        return
    keeper = keeper_of(operation, exchange, body.headers.get("content-type", ""), "")  # aiohttp unpacks.
    body.content = AsyncContent(body.content, Passage(operation, exchange, keeper, None))


def _botocore(begin: Callable[[object], Operation | None], original: Function) -> Function:
    from outlay.instrument.bedrock import call_of

    return call_of(begin, original, Scope)


_WRAPPERS: Final = {
    Style.SYNC: _sync,
    Style.ASYNC: _async,
    Style.CONTEXT: _context,
    Style.ASYNC_CONTEXT: _context,
    Style.GENAI: _aiohttp,
    Style.BOTOCORE: _botocore,
}
