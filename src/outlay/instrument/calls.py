"""One operation of an SDK: its attempts, the answer that counts, and the event that is kept of it.

An SDK's own retries are attempts of one operation. It is kept when the method has returned and its stream, if it
has one, is over: read to the end, closed, broken, or forgotten.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextvars import ContextVar, copy_context
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from outlay.calls import inherited
from outlay.capture.extract import extract
from outlay.capture.intake import make_id
from outlay.capture.requests import request_of
from outlay.capture.seen import Seen, bare, bare_headers, bare_request, told
from outlay.capture.streams import Reading, decode, read, unwrapped
from outlay.instrument.clients import safely
from outlay.instrument.streaming import Keeper

if TYPE_CHECKING:
    from outlay.instrument.reserved import Held
    from outlay.instrument.targets import Sdk
    from outlay.instrument.watching import Watch

CURRENT: Final[ContextVar[Operation | None]] = ContextVar("outlay_operation", default=None)
"""The operation under way here: what is sent inside it belongs to it, and another one inside it is a part of it."""

_NO_FIELDS: Final[Mapping[str, Any]] = {}


class Whole:
    """An answer that is there as a whole, as `capture.extract` reads an HTTP client's."""

    def __init__(self, status_code: int, headers: Mapping[str, str], content: bytes | None) -> None:
        self.status_code = status_code
        self.headers = headers
        self.content = content


class Exchange:
    """One attempt: what was sent, and what came back as far as it is known."""

    __slots__ = ("content", "error", "headers", "keeper", "method", "over", "request", "signed", "status_code", "url")

    def __init__(self, method: str, url: str, request: object) -> None:
        """`request` is its body: bytes, text or a mapping."""
        self.method = method
        self.url = url
        self.request = request
        self.status_code: int | None = None
        self.headers: Mapping[str, str] = {}
        self.content: bytes | None = None
        self.keeper: Keeper | None = None
        self.error = ""
        self.over = True
        self.signed = False

    @property
    def whole(self) -> bool:
        """Whether the answer came to its end by itself."""
        return self.over and not self.error

    def answer(self) -> object:
        """What came back, for `capture.extract`."""
        keeper, status = self.keeper, self.status_code
        content = self.content if keeper is None else keeper.body
        if status is None:
            return Reading()
        if keeper is None or keeper.body is not None:
            return Whole(status, self.headers, content)
        reading = keeper.reading()
        reading.headers, reading.status_code = self.headers, status
        return reading


class Operation:
    """One call of the program's, however often the SDK tries."""

    __slots__ = (
        "attempts",
        "began_s",
        "context",
        "done",
        "exchange",
        "failure",
        "held",
        "lines_kept",
        "provider",
        "returned",
        "sdk",
        "watch",
    )

    def __init__(self, watch: Watch, sdk: Sdk, provider: str) -> None:
        """`provider` is whose answers the client gives where nothing else tells it."""
        self.watch = watch
        self.sdk = sdk
        self.provider = provider
        self.began_s = time.monotonic()
        self.attempts = 0
        self.exchange: Exchange | None = None
        self.held: Held | None = None
        self.failure = ""
        self.returned = False
        self.done = False
        self.context: Any = None
        self.lines_kept = 0

    # --- what the wrappers tell

    def sending(self, exchange: Exchange) -> None:
        """An attempt begins."""
        self.attempts += 1
        self.exchange = exchange

    def fail(self, error: BaseException) -> None:
        """The program's call ended by an exception: kept with what is known of the last attempt."""
        self.failure = type(error).__name__
        exchange = self.exchange
        if exchange is not None and not exchange.error and exchange.status_code is None:
            exchange.error = self.failure
        self.returned = True
        if exchange is not None and not exchange.over:
            # The stream is closed by nobody any more.
            exchange.over, exchange.error = True, exchange.error or self.failure
        self.finish()

    @property
    def waits(self) -> bool:
        """Whether the method has returned a stream that is not over."""
        return self.exchange is not None and not self.exchange.over

    def came_back(self) -> None:
        """The method has returned; where a stream is open, it is kept at its end."""
        self.returned = True
        if self.waits:
            self.context = copy_context()

    def stream_over(self, exchange: Exchange, error: str) -> bool:
        """A stream has ended, by itself where `error` is empty; whether the operation ends with it."""
        if exchange.over:
            return False
        exchange.over, exchange.error = True, error
        return self.returned and exchange is self.exchange

    def finish(self) -> None:
        """Keep the operation, once."""
        if self.done:
            return
        self.done = True
        if self.exchange is None:
            return  # Nothing was sent.
        failures = self.watch.failures
        if self.context is not None:
            safely(failures, "recording a call", self.context.run, self._keep)
        else:
            safely(failures, "recording a call", self._keep)

    # --- what is kept

    def _keep(self) -> None:
        exchange = self.exchange
        if exchange is None:
            return
        lines = batch_lines(exchange)
        if lines or self.lines_kept:
            for line in lines:
                self._keep_line(line)
            return
        ledger = self.watch.ledger
        answer = exchange.answer()
        seen = self._seen(exchange, answer)
        if seen is None or self.held is not None or self.watch.holds or ledger.estimate is not None:
            self._keep_now(exchange, answer, seen)
        else:
            ledger.keep_seen(seen)

    def _keep_now(self, exchange: Exchange, answer: object, seen: Seen | None) -> None:
        """Read the answer here: it settles a reservation, or is read from what is not kept any longer."""
        ledger = self.watch.ledger
        whole = answer if seen is None or exchange.keeper is None else None
        seen = seen or self._made(exchange, request_of(exchange.request), Reading())
        found = told(seen, whole)
        held = self.held or self.watch.held_for(found.call_key)
        if held is not None:
            held.settle(ledger, self.watch, found, seen.fields, exchange)
            return
        if found.found == "none" and seen.is_get:
            return
        if whole is not None:
            found = ledger.estimated(found, whole, exchange.request, ledger.estimate)
        ledger.keep_extraction(found, seen.fields, wait=False)

    def _seen(self, exchange: Exchange, answer: object) -> Seen | None:
        """The call, bare of every text; None where a text that is billed by its length is too long to be kept so."""
        request = bare_request(request_of(exchange.request))
        if request is None:
            return None
        content = exchange.content if exchange.keeper is None else None
        frame = decode(content) if content is not None and content[:1] == b"{" else None
        if isinstance(frame, dict):
            return self._made(exchange, request, Reading(frames=[unwrapped(frame)]))  # The common case.
        return self._made(exchange, request, read(answer))

    def _made(self, exchange: Exchange, request: Mapping[str, Any], reading: Reading) -> Seen:
        now = self.watch.ledger.clock.now()
        kept = exchange.keeper is not None and exchange.keeper.body is None  # What passed is bare already.
        return Seen(
            id=make_id(now),
            at=now,
            url=exchange.url,
            provider=self.provider,
            any_provider=self.sdk.any_provider and self.provider == self.sdk.provider,
            request=dict(request),
            frames=[dict(frame) if kept else bare(frame) for frame in reading.frames],
            headers=bare_headers(exchange.headers),
            status_code=exchange.status_code,
            streamed=reading.streamed,
            ended=reading.ended,
            opaque=reading.opaque,
            error=exchange.error or (self.failure if exchange.status_code is None else ""),
            is_get=exchange.method == "GET",
            fields=self._fields(),
        )

    def keep_line(self, frame: Mapping[str, Any]) -> bool:
        """Keep one answer of a batch as it passes; False for what is none."""
        if "custom_id" not in frame:
            return False
        self.lines_kept += 1
        safely(self.watch.failures, "recording a batch's answer", self._keep_line, frame)
        return True

    def _keep_line(self, line: Mapping[str, Any]) -> None:
        self.watch.ledger.keep_extraction(extract(line, provider=self.provider), _NO_FIELDS, wait=False)

    def _fields(self) -> dict[str, Any]:
        fields = dict(inherited(_NO_FIELDS))
        fields["duration_s"] = round(time.monotonic() - self.began_s, 6)
        if self.attempts > 1:
            fields["parameters"] = {"attempts": self.attempts}
        return fields


def may_be_batch(method: str, url: str) -> bool:
    """Whether an address may be that of a file of a batch's answers."""
    return method == "GET" and urlsplit(url).path.endswith(("/content", "/results"))


def batch_lines(exchange: Exchange) -> list[Mapping[str, Any]]:
    """The lines of a batch's results: many calls, each at the batch's rates. Empty for any other answer."""
    if exchange.status_code != 200 or not may_be_batch(exchange.method, exchange.url):
        return []
    keeper = exchange.keeper
    text = (exchange.content if keeper is None else keeper.body) or b""
    found: list[Mapping[str, Any]] = []
    for line in text.splitlines():
        decoded = decode(line) if line[:1] == b"{" else None
        if isinstance(decoded, dict) and "custom_id" in decoded:
            found.append(decoded)
        elif not found:
            return []  # Another file: it is not read any further.
    return found
