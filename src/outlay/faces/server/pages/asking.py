"""Asking the server's own routes in its process: the same functions, checks and answers that a customer gets.

Answers about costs are kept for a moment, as long as nothing new is in the ledger: a page that is looked at by many
asks once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any, Final, TypeVar
from urllib.parse import urlencode

import msgspec

from outlay.errors import OutlayError
from outlay.faces.server.access import CALLER, Caller
from outlay.faces.server.limits import Message, Receive, Send
from outlay.faces.server.routes.live import newest
from outlay.faces.server.state import STATE, ServerState
from outlay.wire import EXACT

Value = TypeVar("Value")
Pairs = Iterable[tuple[str, object]]
Answering = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[object]]

KEPT_S: Final = 15.0
"""The longest that an answer is shown again."""

LOOK_S: Final = 0.2
"""How long what was the newest entry is taken to be so still."""

KEPT_MOST: Final = 512
_CACHED: Final = (
    "/v1/costs",
    "/v1/top",
    "/v1/compare",
    "/v1/forecast",
    "/v1/anomalies",
    "/v1/statements",
    "/v1/reconciliation",
)
_encode: Final = msgspec.json.Encoder().encode


class Problem(OutlayError):
    """A route refused: its status and code, for a page to show."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        """As the route's answer said it."""
        super().__init__(detail, code=code)
        self.status = status


class Kept:
    """Answers of this server that still hold, by who may see them and what was asked."""

    def __init__(self, state: ServerState) -> None:
        """Empty."""
        self._state = state
        self._answers: dict[tuple[object, ...], tuple[int, float, asyncio.Task[Any]]] = {}
        self._newest = (-1.0, 0)
        self._looking = asyncio.Lock()

    async def get(self, key: tuple[object, ...], ask: Callable[[], Awaitable[Any]]) -> Any:
        """The answer to a question, asked once by those who ask together."""
        place = await self.place()
        now_s = time.monotonic()
        kept = self._answers.get(key)
        if kept is None or kept[0] != place or now_s - kept[1] > KEPT_S or _failed(kept[2]):
            if len(self._answers) >= KEPT_MOST:
                self._answers.clear()
            kept = self._answers[key] = (place, now_s, asyncio.ensure_future(ask()))
            kept[2].add_done_callback(lambda task: self._answered(key, place, task))
        return await asyncio.shield(kept[2])

    def _answered(self, key: tuple[object, ...], place: int, task: asyncio.Task[Any]) -> None:
        """An answer that took long is as fresh as one that did not."""
        kept = self._answers.get(key)
        if not task.cancelled():
            task.exception()  # Told to whoever asked; if all have gone meanwhile, to nobody.
        if kept is not None and kept[2] is task:
            self._answers[key] = (place, time.monotonic(), task)

    def clear(self) -> None:
        """Forget all: something was changed here."""
        self._answers.clear()

    async def place(self) -> int:
        """The place of the newest entry, as it was a moment ago at most."""
        async with self._looking:
            looked_s, place = self._newest
            if time.monotonic() - looked_s > LOOK_S:
                place = await newest(self._state)
                self._newest = (time.monotonic(), place)
            return place


def _failed(task: asyncio.Task[Any]) -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)


class Asking:
    """What one visitor asks. Their key's role and scope hold for every question."""

    def __init__(self, answering: Answering, state: ServerState, caller: Caller, kept: Kept) -> None:
        """`answering` is the application with the routes."""
        self._answering = answering
        self._state = state
        self._caller = caller
        self._kept = kept

    async def get(self, path: str, *pairs: tuple[str, object], **named: object) -> Any:
        """What GET answers, as plain values. None and empty values are left out. Raises Problem."""
        query = _query((*pairs, *named.items()))
        if not path.startswith(_CACHED):
            return await self._json("GET", path, query)
        # By the key, not by its scope: what one key may see is not worked out here.
        key = (self._caller.key, tuple(sorted(self._caller.scope.items())), path, query)
        return await self._kept.get(key, lambda: self._json("GET", path, query))

    async def place(self) -> int:
        """The watermark of the ledger."""
        return await self._kept.place()

    async def send(self, method: str, path: str, body: Mapping[str, Any] | None = None, **named: object) -> Any:
        """What another method answers. Raises Problem."""
        found = await self._json(method, path, _query(named.items()), None if body is None else _encode(body))
        self._kept.clear()
        return found

    async def exact(self, kind: type[Value], path: str, *pairs: tuple[str, object], **named: object) -> Value:
        """What GET answers Outlay's own client: the vocabulary's values. Raises Problem."""
        query = _query((*pairs, *named.items()))

        async def asked() -> Any:
            status, _, answer = await self._call("GET", path, query, None, EXACT.encode())
            if status >= 400:
                raise _problem(status, answer)
            return msgspec.json.decode(answer, type=kind)

        key = (self._caller.key, tuple(sorted(self._caller.scope.items())), path, query, kind)
        found: Value = await self._kept.get(key, asked)
        return found

    async def worked_out(self, path: str, body: Mapping[str, Any]) -> Any:
        """What a POST answers that asks and changes nothing, as plain values. Raises Problem."""
        sent = _encode(body)
        key = (self._caller.key, tuple(sorted(self._caller.scope.items())), path, sent)
        return await self._kept.get(key, lambda: self._json("POST", path, "", sent))

    async def passed_on(
        self, path: str, query: str, scope: MutableMapping[str, Any], receive: Receive, send: Send
    ) -> None:
        """Let a route answer a request of the visitor's own, part by part as it comes."""
        wanted = (b"last-event-id", b"accept")
        headers = [(name, value) for name, value in scope["headers"] if name in wanted]
        await self._answering(self._scope("GET", path, query, headers), receive, send)

    async def _json(self, method: str, path: str, query: str, body: bytes | None = None) -> Any:
        status, _, answer = await self._call(method, path, query, body, b"application/json")
        if status >= 400:
            raise _problem(status, answer)
        return msgspec.json.decode(answer) if answer else None

    async def _call(
        self, method: str, path: str, query: str, body: bytes | None, accept: bytes
    ) -> tuple[int, dict[bytes, bytes], bytes]:
        headers = [(b"accept", accept), (b"host", b"pages"), (b"content-type", b"application/json")]
        scope = self._scope(method, path, query, headers)
        parts: list[bytes] = []
        started: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": body or b"", "more_body": False}

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                started.append(message)
            else:
                parts.append(message.get("body", b""))

        await self._answering(scope, receive, send)
        return started[0]["status"], dict(started[0]["headers"]), b"".join(parts)

    def _scope(self, method: str, path: str, query: str, headers: list[tuple[bytes, bytes]]) -> dict[str, Any]:
        return {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": query.encode(),
            "headers": headers,
            "client": None,
            "server": None,
            STATE: self._state,
            CALLER: self._caller,
        }


def _problem(status: int, answer: bytes) -> Problem:
    told = msgspec.json.decode(answer)
    return Problem(status, str(told.get("code", "")), str(told.get("detail", "")))


def _query(pairs: Pairs) -> str:
    return urlencode([(name, _said(value)) for name, value in pairs if value is not None], doseq=False)


def _said(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
