"""The HTTP/1.1 client behind the gateway: httptools over asyncio's transports, connections kept, nothing retried.

A general client costs six times as much (docs/gateway.md has what was measured). This one does what a gateway needs:
one write for a request, bodies as the network brings them, reading that stops while the program at the other end does
not read, and clocks for silence that cost a call no timer.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

import httptools

from outlay.errors import LedgerBusy
from outlay.faces.gateway.headers import Headers
from outlay.faces.gateway.upstreams import Upstream

IDLE_KEPT_S: Final = 15.0
"""How long a connection without a call is kept: servers close theirs after a minute, some after 20 seconds."""

IDLE_KEPT_MAX: Final = 256
HIGH_WATER_BYTES: Final = 256 * 1024
_HEAD_BYTES_MAX: Final = 128 * 1024
_LOOK_S: Final = 1.0


class UpstreamError(LedgerBusy):
    """The upstream could not be reached, or broke off. `sent` says whether it may have begun the work."""

    code = "upstream_failed"

    def __init__(self, message: str, *, code: str, kind: str, sent: bool) -> None:
        """`kind` is the name under which the failure is booked."""
        super().__init__(message, code=code)
        self.kind = kind
        self.sent = sent


class Connection(asyncio.Protocol):
    """One connection to one upstream, with at most one call under way."""

    def __init__(self, client: Client, upstream: Upstream) -> None:
        """Made by `Client`."""
        self.client = client
        self.upstream = upstream
        self.transport: Any = None
        self.deadline_s = 0.0
        self.idle_since_s = 0.0
        self.busy = False
        self._parser: Any = None
        self._begin()

    def _begin(self) -> None:
        self.status = 0
        self.headers: Headers = []
        self.complete = False
        self._keep = False
        self._head_there = False
        self._head_bytes = 0
        self._parts: deque[bytes] = deque()
        self._size = 0
        self._paused = False
        self._failure: UpstreamError | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._answered = False

    # --- one call

    def send(self, data: bytes, body: bytes) -> None:
        """Begin a call: `data` is the request's head."""
        self._begin()
        self.busy = True
        self._parser = httptools.HttpResponseParser(self)
        self.deadline_s = self.client.loop.time() + self.client.head_seconds_max
        if len(body) <= HIGH_WATER_BYTES:
            self.transport.write(data + body)
        else:
            self.transport.write(data)
            self.transport.write(body)

    async def head(self) -> None:
        """Wait until status and headers are there. Raises UpstreamError."""
        while not self._head_there:
            if self._failure is not None:
                raise self._failure
            await self._wait()

    async def next(self) -> bytes:
        """What came since the last time; empty at the end. Raises UpstreamError where it broke off."""
        while not self._parts:
            if self._failure is not None:
                raise self._failure
            if self.complete:
                return b""
            await self._wait()
        data = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts.clear()
        self._size = 0
        if self._paused:
            self._paused = False
            self.transport.resume_reading()
            self.deadline_s = self.client.loop.time() + self.client.idle_seconds_max
        return data

    def done(self) -> None:
        """The call is over: the connection is kept for the next one, or closed where its answer is not at its end."""
        self.busy = False
        if self.complete and self._keep and not self._parts and not self.transport.is_closing():
            self.client.keep(self)
        else:
            self.close()

    def close(self) -> None:
        """Close it."""
        self.busy = False
        self.client.forget(self)
        if self.transport is not None:
            self.transport.close()

    def look(self, now_s: float) -> None:
        """Give the call up where its time is over."""
        if self.busy and not self.complete and now_s > self.deadline_s:
            begun = "went silent inside its answer" if self._head_there else "did not answer in time"
            self._fail(f"the upstream {begun}", "upstream_timeout", "ReadTimeout")
            self.transport.abort()

    async def _wait(self) -> None:
        self._waiter = self.client.loop.create_future()
        await self._waiter

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _fail(self, message: str, code: str, kind: str) -> None:
        if self._failure is None and not self.complete:
            self._failure = UpstreamError(message, code=code, kind=kind, sent=True)
        self._wake()

    # --- asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is there."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Some of an answer."""
        if not self.busy or self.complete:
            self.close()  # Nobody asked for this: it is no part of any answer.
            return
        self._answered = True
        if not self._head_there:
            self._head_bytes += len(data)
            if self._head_bytes > _HEAD_BYTES_MAX:
                self._fail("the upstream's headers are too long", "upstream_failed", "RemoteProtocolError")
                self.transport.abort()
                return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._fail("the upstream's answer is not HTTP/1.1", "upstream_failed", "RemoteProtocolError")
            self.transport.abort()
            return
        self.deadline_s = self.client.loop.time() + self.client.idle_seconds_max
        if self._size > HIGH_WATER_BYTES and not self._paused and not self.complete:
            # Whoever reads does not keep up: let the network hold it back instead of this process.
            self._paused = True
            self.transport.pause_reading()
            self.deadline_s = self.client.loop.time() + self.client.head_seconds_max
        self._wake()

    def eof_received(self) -> bool:
        """The upstream sends no more: the end of an answer without a length."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone: the end of an answer that has no length, else a break."""
        self.client.forget(self)
        if self.busy and not self.complete:
            if self._head_there and exc is None and self._until_closed:
                self.complete = True
                self._wake()
                return
            where = "inside its answer" if self._answered else "before it answered"
            kind = "RemoteProtocolError" if self._answered else "ReadError"
            self._fail(f"the upstream closed the connection {where}", "upstream_failed", kind)

    # --- httptools

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Status and headers are there; those of an interim answer (1xx) are left out."""
        self.status = self._parser.get_status_code()
        if self.status < 200:
            self.headers = []
            return
        self._keep = self._parser.should_keep_alive()
        self._until_closed = not any(
            name.lower() in (b"content-length", b"transfer-encoding") for name, _ in self.headers
        )
        self._head_there = True

    def on_body(self, data: bytes) -> None:
        """Some of the body."""
        self._parts.append(data)
        self._size += len(data)

    def on_message_complete(self) -> None:
        """The whole answer is there."""
        if self._head_there:
            self.complete = True

    _until_closed = False


class Client:
    """Connections to all upstreams of one gateway."""

    def __init__(self, *, connect_seconds_max: float, head_seconds_max: float, idle_seconds_max: float) -> None:
        """Nothing is opened until a call is sent."""
        self.connect_seconds_max = connect_seconds_max
        self.head_seconds_max = head_seconds_max
        self.idle_seconds_max = idle_seconds_max
        self.loop: asyncio.AbstractEventLoop = None  # type: ignore[assignment]  # set by `start`, before any call
        self._idle: dict[str, list[Connection]] = {}
        self._open: set[Connection] = set()
        self._tls: ssl.SSLContext | None = None
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Call on the loop."""
        self.loop = asyncio.get_running_loop()
        self._timer = self.loop.call_later(_LOOK_S, self._look)

    def stop(self) -> None:
        """Close all that is open."""
        if self._timer is not None:
            self._timer.cancel()
        for connection in list(self._open):
            connection.close()

    @property
    def open_count(self) -> int:
        """How many connections are open."""
        return len(self._open)

    async def send(
        self, upstream: Upstream, method: bytes, target: bytes, headers: Sequence[tuple[bytes, bytes]], body: bytes
    ) -> Connection:
        """Send a request and wait for the head of its answer. Raises UpstreamError."""
        connection = self._kept(upstream) or await self._connect(upstream)
        connection.send(request_head(upstream, method, target, headers, len(body)), body)
        try:
            await connection.head()
        except (UpstreamError, asyncio.CancelledError):
            connection.close()
            raise
        return connection

    def keep(self, connection: Connection) -> None:
        """Keep a connection for the next call."""
        idle = self._idle.setdefault(connection.upstream.name, [])
        if len(idle) >= IDLE_KEPT_MAX:
            connection.close()
            return
        connection.idle_since_s = self.loop.time()
        idle.append(connection)

    def forget(self, connection: Connection) -> None:
        """A connection is closed."""
        self._open.discard(connection)
        idle = self._idle.get(connection.upstream.name)
        if idle and connection in idle:
            idle.remove(connection)

    def _kept(self, upstream: Upstream) -> Connection | None:
        idle = self._idle.get(upstream.name)
        while idle:
            connection = idle.pop()
            if not connection.transport.is_closing():
                return connection
        return None

    async def _connect(self, upstream: Upstream) -> Connection:
        context = self._tls_context() if upstream.tls else None
        try:
            async with asyncio.timeout(self.connect_seconds_max):
                _, connection = await self.loop.create_connection(
                    lambda: Connection(self, upstream),
                    upstream.host,
                    upstream.port,
                    ssl=context,
                    server_hostname=upstream.host if context is not None else None,
                )
        except TimeoutError as error:
            raise _unreached("did not take the connection in time", "ConnectTimeout") from error
        except (OSError, ssl.SSLError) as error:
            raise _unreached(f"cannot be reached ({type(error).__name__})", "ConnectError") from error
        self._open.add(connection)
        return connection

    def _tls_context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = ssl.create_default_context()
            self._tls.set_alpn_protocols(["http/1.1"])
        return self._tls

    def _look(self) -> None:
        """Once a second: give up what is silent, close what nobody used."""
        now_s = self.loop.time()
        for connection in list(self._open):
            connection.look(now_s)
        for idle in self._idle.values():
            for connection in [one for one in idle if now_s - one.idle_since_s > IDLE_KEPT_S]:
                connection.close()
        self._timer = self.loop.call_later(_LOOK_S, self._look)


def request_head(
    upstream: Upstream, method: bytes, target: bytes, headers: Sequence[tuple[bytes, bytes]], length: int
) -> bytes:
    """The request line and headers as they are sent."""
    lines = [b"%b %b HTTP/1.1\r\nhost: %b\r\n" % (method, target, upstream.authority)]
    lines += [b"%b: %b\r\n" % pair for pair in headers]
    if length or method in (b"POST", b"PUT", b"PATCH"):
        lines.append(b"content-length: %d\r\n" % length)
    lines.append(b"\r\n")
    return b"".join(lines)


def _unreached(why: str, kind: str) -> UpstreamError:
    return UpstreamError(f"the upstream {why}", code="upstream_unreachable", kind=kind, sent=False)
