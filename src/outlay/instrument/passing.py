"""Proxies under a program's streams: they hand on every chunk as it is and tell the operation when it is over."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from functools import cache, partial
from types import TracebackType
from typing import TYPE_CHECKING, Any

from outlay.capture.seen import CLOSED
from outlay.instrument.clients import safely
from outlay.instrument.forgotten import attend, collecting, forget
from outlay.instrument.streaming import Keeper, UsageHider

if TYPE_CHECKING:
    from outlay.instrument.calls import Exchange, Operation


class Passage:
    """What all proxies of one stream share: the keeper, what is hidden, and the word that it is over."""

    def __init__(self, operation: Operation, exchange: Exchange, keeper: Keeper, hider: UsageHider | None) -> None:
        self._operation = operation
        self._exchange = exchange
        self._keeper = keeper
        self._hider = hider
        self._pid = os.getpid()
        attend()
        exchange.keeper, exchange.over = keeper, False

    def took(self, data: bytes) -> bytes:
        """A chunk passed; what the program is to see of it, which is itself but where a chunk is hidden."""
        if self._exchange.over:
            return data
        if safely(self._operation.watch.failures, "reading a stream", self._fed, data) is None:
            self._keeper.kind = "opaque"
        return data if self._hider is None else self._hider.feed(data)

    def _fed(self, data: bytes) -> bool:
        self._keeper.feed(data)
        return True

    def took_frame(self, frame: Any) -> None:
        """A parsed event passed."""
        if not self._exchange.over and isinstance(frame, dict):
            safely(self._operation.watch.failures, "reading a stream", self._keeper.add, frame)

    def __enter__(self) -> None:
        """Around what may raise."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """An exception, on its way to the program, is the end."""
        if kind is StopIteration:
            self.over()
        elif kind is GeneratorExit:
            self.left()
        elif kind is not None:
            self.over(kind.__name__)

    def rest(self) -> bytes:
        """What the program has yet to see at the end."""
        return b"" if self._hider is None else self._hider.rest()

    def over(self, error: str = "") -> None:
        """The stream ended; the operation is kept if nothing else of it is to come."""
        if self._operation.stream_over(self._exchange, error):
            self._operation.finish()

    def left(self) -> None:
        """The program wants no more of the stream: it closed it, or forgot it. What the collector closes is kept a
        moment later.
        """
        if self._exchange.over or os.getpid() != self._pid:
            return  # In a forked child the stream is still the parent's, who keeps its call.
        if collecting() and not sys.is_finalizing():
            forget(partial(self.over, CLOSED))
        else:
            self.over(CLOSED)

    async def over_async(self, error: str = "") -> None:
        """The same from a coroutine: a settlement, which commits, leaves the event loop free."""
        if self._operation.stream_over(self._exchange, error):
            if self._operation.held is None:
                self._operation.finish()
            else:
                import asyncio

                await asyncio.to_thread(self._operation.finish)


class _SyncBytes:
    """Under an HTTP response of httpx's kind."""

    def __init__(self, inner: Any, passage: Passage) -> None:
        self._inner = inner
        self._passage = passage

    def __iter__(self) -> Iterator[bytes]:
        passage = self._passage
        with passage:
            for chunk in self._inner:
                shown = passage.took(chunk)
                if shown:
                    yield shown
        rest = passage.rest()
        if rest:
            yield rest
        passage.over()

    def close(self) -> None:
        try:
            self._inner.close()
        finally:
            self._passage.left()

    def __del__(self) -> None:
        self._passage.left()


class _AsyncBytes:
    """The same for an asynchronous response."""

    def __init__(self, inner: Any, passage: Passage) -> None:
        self._inner = inner
        self._passage = passage

    async def __aiter__(self) -> AsyncIterator[bytes]:
        passage = self._passage
        with passage:
            async for chunk in self._inner:
                shown = passage.took(chunk)
                if shown:
                    yield shown
        rest = passage.rest()
        if rest:
            yield rest
        await passage.over_async()

    async def aclose(self) -> None:
        try:
            await self._inner.aclose()
        finally:
            await self._passage.over_async(CLOSED)

    def __del__(self) -> None:
        self._passage.left()


@cache
def _proxy(package: str, asynchronous: bool) -> Callable[[Any, Passage], Any]:
    """The proxy as a stream of this HTTP library's own kind, which it asks for by isinstance."""
    library = sys.modules[package]
    base = getattr(library, "AsyncByteStream" if asynchronous else "SyncByteStream")
    return type("WatchedStream", (_AsyncBytes if asynchronous else _SyncBytes, base), {})


def pass_http(response: Any, passage: Passage, *, asynchronous: bool) -> None:
    """Put the proxy under an open response of httpx or httpx2."""
    package = type(response).__module__.partition(".")[0]
    response.stream = _proxy(package, asynchronous)(response.stream, passage)


class RawBody:
    """Under botocore's StreamingBody: what it reads is read from here."""

    def __init__(self, inner: Any, passage: Passage) -> None:
        self._inner = inner
        self._passage = passage

    def read(self, *arguments: Any, **named: Any) -> Any:
        """Read on; no more bytes, or a read without a limit, is the end."""
        asked = arguments[0] if arguments else named.get("amt")
        data = self._guarded(self._inner.read, *arguments, **named)
        if data:
            self._passage.took(data)
        if asked is None or (not data and asked != 0):
            self._passage.over()
        return data

    def readinto(self, buffer: Any) -> Any:
        """Read on into a buffer."""
        count = self._guarded(self._inner.readinto, buffer)
        if count:
            self._passage.took(bytes(memoryview(buffer)[:count]))
        elif len(buffer):
            self._passage.over()
        return count

    def readlines(self, *arguments: Any) -> Any:
        """All lines that are left."""
        lines = self._guarded(self._inner.readlines, *arguments)
        self._passage.took(b"".join(lines))
        self._passage.over()
        return lines

    def stream(self, *arguments: Any, **named: Any) -> Iterator[Any]:
        """urllib3's own way of iterating."""
        for chunk in self._inner.stream(*arguments, **named):
            self._passage.took(chunk)
            yield chunk
        self._passage.over()

    def close(self) -> None:
        """Close what lies below."""
        try:
            self._inner.close()
        finally:
            self._passage.left()

    def _guarded(self, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        with self._passage:
            return function(*arguments, **named)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def __iter__(self) -> Iterator[Any]:
        for line in self._inner:
            self._passage.took(line)
            yield line
        self._passage.over()

    def __enter__(self) -> RawBody:
        self._inner.__enter__()
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def __del__(self) -> None:
        if "_passage" in self.__dict__:
            self._passage.left()


class RawEvents:
    """Under botocore's EventStream: the generator of its raw events."""

    def __init__(self, inner: Iterator[Any], passage: Passage) -> None:
        self._inner = inner
        self._passage = passage

    def __iter__(self) -> RawEvents:
        return self

    def __next__(self) -> Any:
        with self._passage:
            return next(self._inner)

    def __del__(self) -> None:
        self._passage.left()


def pass_events(stream: Any, passage: Passage) -> None:
    """Put the proxies into a botocore EventStream: its parsed events reach the program by identity."""
    parse, close = stream._parse_event, stream.close

    def parsed(event: Any) -> Any:
        with passage:
            found = parse(event)
        passage.took_frame(found)
        return found

    def closed() -> None:
        try:
            close()
        finally:
            passage.left()

    stream._event_generator = RawEvents(stream._event_generator, passage)
    stream._parse_event, stream.close = parsed, closed


class AsyncContent:
    """Over aiohttp's content of an open response."""

    def __init__(self, inner: Any, passage: Passage) -> None:
        self._inner = inner
        self._passage = passage

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name.startswith("iter_"):
            return lambda *arguments: self._iterated(found(*arguments))
        if name.startswith("read"):
            return lambda *arguments, **named: self._read(found, *arguments, **named)
        return found

    async def _read(self, read: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        with self._passage:
            data = await read(*arguments, **named)
        if isinstance(data, bytes) and data:
            self._passage.took(data)
        if self._inner.at_eof():
            await self._passage.over_async()
        return data

    async def _iterated(self, iterator: Any) -> AsyncIterator[Any]:
        passage = self._passage
        with passage:
            async for item in iterator:
                passage.took(item[0] if isinstance(item, tuple) else item)
                yield item
        await passage.over_async()

    def __aiter__(self) -> AsyncIterator[Any]:
        return self._iterated(self._inner.__aiter__())

    def __del__(self) -> None:
        if "_passage" in self.__dict__:
            self._passage.left()
