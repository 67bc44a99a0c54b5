"""For providers that have no SDK: an httpx transport that keeps the calls which go through it.

    client = httpx.Client(transport=OutlayTransport(ledger))
    client.post("https://api.stability.ai/v2beta/stable-image/generate/core", …)

Whose call it is, and what it used, is read from its address and its answer by the same files as
`ledger.record_response`. An address that no file names is passed on unseen, unless `provider` says whose it is.
Streams pass through chunk by chunk; hard budgets are asked before a call is sent, as by `ledger.watch`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from outlay.capture.detect import UNKNOWN, is_known_host
from outlay.errors import MissingExtra
from outlay.instrument.calls import CURRENT, Operation
from outlay.instrument.targets import Sdk
from outlay.instrument.watching import Watch
from outlay.instrument.wrapping import Scope, returned, returned_async, sending, sending_async

try:
    import httpx
except ImportError as error:
    raise MissingExtra("this needs httpx: pip install 'outlay[remote]'") from error

if TYPE_CHECKING:
    from outlay.api import Ledger

_NO_SDK: Final = Sdk(
    name="httpx",
    package="httpx",
    tested="0.28.1",
    provider=UNKNOWN,
    calls="any",
    entries=(),
    clients=(),
    any_provider=True,
)


class _Seen:
    """What both transports do: decide which requests are calls, and begin an operation for each."""

    def __init__(self, ledger: Ledger | None, provider: str | None, settings: dict[str, Any]) -> None:
        self._watch = Watch(ledger, **settings)
        self._provider = provider

    def begin(self, request: httpx.Request) -> Operation | None:
        if CURRENT.get() is not None:
            return None  # A watched SDK's own: it is kept there.
        if self._provider is None and not is_known_host(str(request.url)):
            return None
        return Operation(self._watch, _NO_SDK, self._provider or UNKNOWN)


class OutlayTransport(httpx.BaseTransport):
    """Wraps another transport of a synchronous client."""

    def __init__(
        self,
        ledger: Ledger | None = None,
        inner: httpx.BaseTransport | None = None,
        *,
        provider: str | None = None,
        **settings: Any,
    ) -> None:
        """Without `ledger` it is `outlay.current_ledger()`, opened at the first call; `inner` sends.

        `provider` says whose calls these are where the address does not. `settings` as for `ledger.watch`:
        `write_maximum` and `ask_usage`.
        """
        self._inner = inner or httpx.HTTPTransport()
        self._seen = _Seen(ledger, provider, settings)

        def send(request: httpx.Request, *, stream: bool) -> httpx.Response:
            del stream  # A transport's answer is always read by the client.
            return self._inner.handle_request(request)

        self._send = sending(send)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """See httpx.BaseTransport.handle_request. Raises BudgetExceeded where a hard budget refuses the call."""
        operation = self._seen.begin(request)
        if operation is None:
            return self._inner.handle_request(request)
        with Scope(operation):
            response: httpx.Response = self._send(request, stream=True)
        returned(operation)
        return response

    def close(self) -> None:
        """Close what sends."""
        self._inner.close()


class AsyncOutlayTransport(httpx.AsyncBaseTransport):
    """The same for an asynchronous client."""

    def __init__(
        self,
        ledger: Ledger | None = None,
        inner: httpx.AsyncBaseTransport | None = None,
        *,
        provider: str | None = None,
        **settings: Any,
    ) -> None:
        """As for `OutlayTransport`."""
        self._inner = inner or httpx.AsyncHTTPTransport()
        self._seen = _Seen(ledger, provider, settings)

        async def send(request: httpx.Request, *, stream: bool) -> httpx.Response:
            del stream
            return await self._inner.handle_async_request(request)

        self._send = sending_async(send)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """See httpx.AsyncBaseTransport.handle_async_request. Raises BudgetExceeded as `OutlayTransport` does."""
        operation = self._seen.begin(request)
        if operation is None:
            return await self._inner.handle_async_request(request)
        with Scope(operation):
            response: httpx.Response = await self._send(request, stream=True)
        await returned_async(operation)
        return response

    async def aclose(self) -> None:
        """Close what sends."""
        await self._inner.aclose()
