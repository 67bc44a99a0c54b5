"""One call through the gateway: read, checked, reserved, sent, answered chunk by chunk, settled."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from outlay.capture.requests import request_of
from outlay.errors import InvalidInput, OutlayError, Overloaded
from outlay.faces.gateway import headers as passing
from outlay.faces.gateway.accounts import Accounts, Held, Order, without_texts
from outlay.faces.gateway.bedrock import signed
from outlay.faces.gateway.client import Client, Connection, UpstreamError
from outlay.faces.gateway.credentials import Credentials, read_credentials
from outlay.faces.gateway.headers import Headers
from outlay.faces.gateway.refusals import refusal
from outlay.faces.gateway.rewriting import ASK_USAGE, Rewrite, asks_usage, renamed, rewritten
from outlay.faces.gateway.settings import GatewaySettings
from outlay.faces.gateway.targets import Target, read_target
from outlay.faces.gateway.upstreams import Upstream, Upstreams
from outlay.faces.gateway.vault import Vault
from outlay.faces.server.limits import BadRequest, Disconnected, Receive, Send, read_body, unpack
from outlay.faces.server.logs import say
from outlay.faces.server.settings import ServerSettings
from outlay.faces.server.state import ServerState
from outlay.instrument.calls import Exchange
from outlay.instrument.streaming import Keeper, UsageHider
from outlay.model import ATTRIBUTIONS

ROUTE: Final = "/gateway/{upstream}/{path}"
_METHODS: Final = frozenset(("GET", "POST", "PUT", "PATCH", "DELETE"))
_OWN: Final = b"x-outlay-"
_ATTRIBUTION: Final[Mapping[bytes, str]] = {
    f"x-outlay-{name}".encode(): name for name in (*ATTRIBUTIONS, "step", "tags")
}
_decode: Final = msgspec.json.Decoder().decode
_ASIDE_BYTES: Final = 1024 * 1024


class Gateway:
    """The gateway of one server."""

    def __init__(self, state: ServerState, settings: GatewaySettings) -> None:
        """Raises InvalidInput `bad_config`, `weak_master_key`."""
        self.settings = settings
        self.upstreams = Upstreams(settings)
        self.vault = Vault(settings.master_key)
        self.accounts = Accounts(state)
        self.client = Client(
            connect_seconds_max=settings.connect_seconds_max,
            head_seconds_max=settings.head_seconds_max,
            idle_seconds_max=settings.idle_seconds_max,
        )
        self._state = state
        self._calls = 0
        self._limits: ServerSettings = msgspec.structs.replace(
            state.settings, body_bytes_max=settings.body_bytes_max, unpacked_bytes_max=settings.body_bytes_max
        )
        self._looking: asyncio.Task[None] | None = None
        state.metrics.gauges["outlay_gateway_calls"] = ("Calls under way.", lambda: self._calls)
        state.metrics.gauges["outlay_gateway_connections"] = (
            "Connections to upstreams.",
            lambda: self.client.open_count,
        )

    # --- the life of the gateway

    async def start(self) -> None:
        """Read the provider keys, and again whenever access keys are."""
        self.client.start()
        await asyncio.to_thread(self.vault.load, self._state.ledger.store)
        self._looking = asyncio.create_task(self._look())

    async def stop(self) -> None:
        """Wait until all is settled that was answered, then close what is open."""
        if self._looking is not None:
            self._looking.cancel()
        await self.accounts.drain()
        self.client.stop()

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(self._state.settings.keys_seconds_max)
            try:
                await asyncio.to_thread(self.vault.load, self._state.ledger.store)
            except OutlayError as error:
                say(logging.WARNING, "provider keys were not read anew; those known go on", code=error.code)

    # --- one call

    async def answer(
        self, scope: Mapping[str, Any], headers: dict[bytes, bytes], receive: Receive, send: Send
    ) -> int:
        """Answer one request; its status. Raises Disconnected where the client left before it had sent all."""
        passage = Passage(self, send)
        self._calls += 1
        try:
            return await passage.run(scope, headers, receive)
        except Disconnected:
            raise
        except OutlayError as error:
            return await passage.refuse(error)
        except Exception as error:  # noqa: BLE001 - the gateway's edge: a client gets an answer in its provider's shape
            _say_failed("the gateway failed", error)
            return await passage.refuse(OutlayError("the gateway failed; its log says where", code="gateway_failed"))
        finally:
            self._calls -= 1

    async def read_order(
        self,
        upstream: Upstream,
        target: Target,
        scope: Mapping[str, Any],
        headers: dict[bytes, bytes],
        receive: Receive,
        told: Credentials,
    ) -> Order:
        """The request with its body. Raises BadRequest, AccessDenied, Disconnected."""
        fields = told.caller.attributed(_attribution(headers))
        content = await read_body(receive, headers, self._limits)
        body, is_json = await self._body(content, headers)
        return Order(
            upstream=upstream,
            method=scope["method"],
            url=upstream.told_url + target.path.decode("latin-1"),
            path=target.path,
            content=content,
            body=body,
            is_json=is_json,
            caller=told.caller,
            fields=fields,
            began_s=time.monotonic(),
        )

    async def _body(self, content: bytes, headers: Mapping[bytes, bytes]) -> tuple[Mapping[str, Any], bool]:
        """What a request says, as far as it can be read: its JSON, or the short fields of a form."""
        if not content:
            return {}, False
        encoding = headers.get(b"content-encoding", b"").strip().lower().decode("latin-1")
        if encoding and encoding != "identity":
            content = await asyncio.to_thread(unpack, content, encoding, self._limits)
        kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        if kind == b"multipart/form-data":
            return await asyncio.to_thread(request_of, content), False
        try:
            body = _decode(content) if len(content) <= _ASIDE_BYTES else await asyncio.to_thread(_decode, content)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            if kind and not kind.endswith(b"json"):
                return {}, False  # Sound, a picture, a text: its address tells what it may cost.
            # What cannot be read cannot be bounded, and an upstream may read it in a way of its own.
            raise BadRequest("the body is not JSON in UTF-8", code="bad_json") from error
        return (body, True) if isinstance(body, dict) else ({}, False)

    @property
    def full(self) -> bool:
        """Whether as many calls are under way as there may be."""
        return self._calls > self.settings.calls_max


class Passage:
    """One request and its answer."""

    def __init__(self, gateway: Gateway, send: Send) -> None:
        """`send` is the client's."""
        self._gateway = gateway
        self._send = send
        self._shape = "openai"
        self._begun = False
        self._held_back: list[bytes] = []

    async def run(self, scope: Mapping[str, Any], headers: dict[bytes, bytes], receive: Receive) -> int:
        """From the request to the end of the answer; its status."""
        gateway = self._gateway
        raw_headers: Headers = scope["headers"]
        target = read_target(scope.get("raw_path") or scope["path"].encode(), scope["query_string"])
        upstream = gateway.upstreams[target.upstream]
        self._shape = upstream.kind.errors
        passing.check_headers(raw_headers)
        if scope["method"] not in _METHODS:
            raise InvalidInput("the gateway passes GET, POST, PUT, PATCH and DELETE", code="method_not_allowed")
        if gateway.full:
            raise Overloaded("as many calls as this gateway takes on are under way; try again in a moment")
        told = read_credentials(headers, target.query, upstream, gateway._state.gate, gateway.vault)
        if told.caller.tier is not None:
            await gateway._state.gate.learn_tier(told.caller)
        order = await gateway.read_order(upstream, target, scope, headers, receive, told)
        held = await gateway.accounts.hold(order)
        rewrites = _rewrites(order, held)
        exchange = Exchange(order.method, order.url, order.body)
        try:
            answer = await self._sent(order, held, target, told, raw_headers, rewrites)
        except (OutlayError, asyncio.CancelledError) as error:
            exchange.error = _ending(error)
            self._settle(order, held, exchange)
            raise
        try:
            return await self._pass(order, held, exchange, answer, rewrites)
        finally:
            answer.done()

    async def refuse(self, error: OutlayError) -> int:
        """Say no in the provider's own words; only what has not begun can still say it."""
        if self._begun:
            return 500
        status, headers, body = refusal(self._shape, error, self._gateway._state.clock.now())
        await self._whole(status, headers, body)
        return status

    async def _sent(
        self,
        order: Order,
        held: Held,
        target: Target,
        told: Credentials,
        raw_headers: Headers,
        rewrites: list[Rewrite],
    ) -> Connection:
        upstream, content, path = order.upstream, order.content, target.path
        dropped: tuple[bytes, ...] = ()
        if rewrites:
            if any(name == b"content-encoding" for name, _ in raw_headers):
                content, dropped = msgspec.json.encode(order.body), (b"content-encoding",)
            content = rewritten(content, order.body, rewrites)
        taken = held.taken
        if taken is not None and taken.downgraded_from is not None:
            path = renamed(path, taken.downgraded_from, taken.ask.event.service)
        headers = passing.outgoing(raw_headers, told.without, plain=ASK_USAGE in rewrites, sent_as=dropped)
        headers += told.instead
        line = upstream.base + path + (b"?" + told.query if told.query else b"")
        if told.signs:
            headers = await signed(upstream, order.method, line, headers, content, told.secret)
        # What was sent is not needed any more; the rest of it goes when the answer begins to stream.
        order.content = b""
        if taken is not None:
            taken.ask.body = None
        return await self._gateway.client.send(upstream, order.method.encode(), line, headers, content)

    async def _pass(
        self, order: Order, held: Held, exchange: Exchange, answer: Connection, rewrites: list[Rewrite]
    ) -> int:
        """The answer to the client: whole with its cost, or as it comes."""
        exchange.status_code = answer.status
        exchange.headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in answer.headers}
        headers = passing.returned(answer.headers)
        if held.costs:
            headers.append((b"x-outlay-receipt", held.id.encode()))
        said = [one.said for one in rewrites]
        if held.taken is not None and held.taken.downgraded_from is not None and "model" not in order.body:
            said.append(f"model={held.taken.ask.event.service}")  # In its path.
        if said:
            headers.append((b"x-outlay-rewritten", ", ".join(said).encode()))
        told = exchange.headers
        keeper = exchange.keeper = Keeper(told.get("content-type", ""), told.get("content-encoding", ""))
        exchange.over = False
        streams = order.body.get("stream") is True or b"stream" in order.path.rpartition(b"/")[2].lower()
        if keeper.kind == "body" and (not streams or answer.status >= 400):
            try:
                body = await self._gathered(answer, exchange)
            except (UpstreamError, asyncio.CancelledError) as error:
                exchange.error, exchange.over = _ending(error), True
                self._settle(order, held, exchange)
                raise
            if body is not None:
                return await self._answer_whole(order, held, exchange, answer, headers, body)
        return await self._stream(order, held, exchange, answer, headers, ASK_USAGE in rewrites)

    async def _gathered(self, answer: Connection, exchange: Exchange) -> bytes | None:
        """The whole body, None where it is too long to be held back."""
        parts: list[bytes] = []
        size = 0
        while data := await answer.next():
            parts.append(data)
            size += len(data)
            if size > self._gateway.settings.buffer_bytes_max:
                self._held_back = parts
                return None
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        _feed(exchange, body)
        return body

    async def _answer_whole(
        self, order: Order, held: Held, exchange: Exchange, answer: Connection, headers: Headers, body: bytes
    ) -> int:
        exchange.over = True
        cost = self._settle(order, held, exchange)
        if cost is not None:
            headers.append((b"x-outlay-cost", cost.encode()))
        await self._whole(answer.status, headers, body)
        return answer.status

    def _settle(self, order: Order, held: Held, exchange: Exchange) -> str | None:
        """Book what happened. What cannot be booked stays held, and keeps no answer from its client."""
        try:
            return self._gateway.accounts.settle(order, held, exchange)
        except Exception as error:  # noqa: BLE001 - the gateway's edge: the provider has answered, whatever fails here
            _say_failed("an answer was not booked; its call stays at its worst case", error)
            self._gateway._state.metrics.reservations["not_booked"] += 1
            return None

    async def _whole(self, status: int, headers: Headers, body: bytes) -> None:
        self._begun = True
        length = (b"content-length", str(len(body)).encode())
        await self._send(
            {"type": "http.response.start", "status": status, "headers": [*headers, length, *passing.SAFE]}
        )
        await self._send({"type": "http.response.body", "body": body})

    async def _stream(
        self, order: Order, held: Held, exchange: Exchange, answer: Connection, headers: Headers, hides: bool
    ) -> int:
        """Chunk by chunk. A client that leaves is not waited for: the answer is read on, and charged."""
        order.body = exchange.request = without_texts(order.body)
        keeper, parts, self._held_back = exchange.keeper, self._held_back, []
        hider = UsageHider() if hides and keeper is not None and keeper.kind == "events" else None
        length = next((value for name, value in answer.headers if name.lower() == b"content-length"), None)
        if length is not None and hider is None:
            headers.append((b"content-length", length))
        self._begun = True
        start = {"type": "http.response.start", "status": answer.status, "headers": [*headers, *passing.SAFE]}
        try:
            await self._send(start)
            await self._chunks(answer, exchange, hider, parts)
            exchange.over = True
        except UpstreamError as error:
            # Ending without an end tells the client that something is missing: its connection is closed.
            exchange.error, exchange.over = _ending(error), True
        except asyncio.CancelledError as error:
            exchange.error, exchange.over = _ending(error), True
            raise
        finally:
            self._settle(order, held, exchange)
        if not exchange.error:
            rest = b"" if hider is None else hider.rest()
            await self._send({"type": "http.response.body", "body": rest})
        return answer.status

    async def _chunks(
        self, answer: Connection, exchange: Exchange, hider: UsageHider | None, parts: list[bytes]
    ) -> None:
        while data := b"".join(parts) or await answer.next():
            parts = []
            _feed(exchange, data)
            shown = data if hider is None else hider.feed(data)
            if shown:
                await self._send({"type": "http.response.body", "body": shown, "more_body": True})


def _feed(exchange: Exchange, data: bytes) -> None:
    """Keep of an answer what tells its usage. One that is not packed as it says passes all the same, unread."""
    if exchange.keeper is None:
        return
    try:
        exchange.keeper.feed(data)
    except Exception as error:  # noqa: BLE001 - the gateway's edge: whatever an upstream sends, its client gets it
        _say_failed("an answer cannot be read", error)
        exchange.keeper = Keeper("application/zip")


def _say_failed(what: str, error: Exception) -> None:
    """Log a failure by its kind and place; its text may quote a request."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    where = "" if place is None else f"{place.tb_frame.f_globals.get('__name__', '?')}:{place.tb_lineno}"
    code = error.code if isinstance(error, OutlayError) else ""
    say(logging.ERROR, what, kind=type(error).__name__, raised_at=where, code=code)


def _ending(error: OutlayError | asyncio.CancelledError) -> str:
    """The name under which a broken exchange is booked; what failed before the upstream did is not sent."""
    if isinstance(error, UpstreamError):
        return error.kind
    return "CancelledError" if isinstance(error, asyncio.CancelledError) else "ConnectError"


def _rewrites(order: Order, held: Held) -> list[Rewrite]:
    """What is to be written into the request."""
    found: list[Rewrite] = []
    taken, upstream = held.taken, order.upstream
    if taken is not None and order.is_json:
        ask = taken.ask
        if taken.downgraded_from is not None and "model" in order.body:
            found.append(Rewrite("model", ask.event.service))
        if ask.allotted and ask.found is not None and ask.found.output_field is not None:
            found.append(Rewrite(ask.found.output_field, ask.found.output_tokens_max))
    wanted = upstream.ask_usage and not upstream.kind.tells_usage and order.is_json
    if wanted and asks_usage(order.path, order.body):
        found.append(ASK_USAGE)
    return found


def _attribution(headers: Mapping[bytes, bytes]) -> dict[str, Any]:
    """For whom a call is, as its headers say. Raises InvalidInput `unknown_field`, `bad_text`."""
    found: dict[str, Any] = {}
    for name, value in headers.items():
        if not name.startswith(_OWN) or name == b"x-outlay-key":
            continue
        field = _ATTRIBUTION.get(name)
        if field is None:
            raise InvalidInput(
                f"the header {name.decode('latin-1')[:60]} is not known; x-outlay- takes key, "
                f"{', '.join(_ATTRIBUTION.values())}",
                code="unknown_field",
            )
        text = value.decode("utf-8", "replace").strip()
        if text:
            found[field] = _tags(text) if field == "tags" else text
    return found


def _tags(text: str) -> dict[str, str]:
    """Tags written as name=value, name=value."""
    pairs = [part.partition("=") for part in text.split(",") if part.strip()]
    if any(not mark or not name.strip() for name, mark, _ in pairs):
        raise InvalidInput("x-outlay-tags is written as name=value, name=value", code="bad_text", field="tags")
    return {name.strip(): value.strip() for name, _, value in pairs}
