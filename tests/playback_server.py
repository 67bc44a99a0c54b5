"""A real HTTP server on this machine that plays back answers, in order: whole, streamed chunk by chunk, or faulty."""

from __future__ import annotations

import json
import re
import struct
import threading
import time
import zlib
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from tests.cassettes import Exchange

HOP = frozenset(
    ("content-length", "transfer-encoding", "content-encoding", "connection", "date", "server", "alt-svc")
)


class Answer(NamedTuple):
    """What is sent for one request. `chunks` go one by one; after `cut_after` of them the connection is dropped."""

    chunks: tuple[bytes, ...]
    status: int = 200
    content_type: str = "application/json"
    headers: Mapping[str, str] = {}
    streamed: bool = False
    cut_after: int | None = None
    pause_s: float = 0.0


class Request(NamedTuple):
    """What came in."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class PlaybackServer:
    """Answers the next request with the next of its answers, and the last one again and again."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self._answers: deque[Answer] = deque()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Its address, without a path."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def play(self, *answers: Answer) -> None:
        """These come next, instead of what was left."""
        self._answers = deque(answers)
        self.requests.clear()

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)

    def _next(self) -> Answer:
        return self._answers.popleft() if len(self._answers) > 1 else self._answers[0]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        playback = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True
            wbufsize = -1

            def do_POST(self) -> None:
                body = self._body()
                headers = {key.lower(): value for key, value in self.headers.items()}
                playback.requests.append(Request(self.command, self.path, headers, body))
                _send(self, playback._next())

            def do_GET(self) -> None:
                self.do_POST()

            def _body(self) -> bytes:
                if "chunked" not in self.headers.get("transfer-encoding", ""):
                    return self.rfile.read(int(self.headers.get("content-length") or 0))
                parts = []
                while size := int(self.rfile.readline().split(b";")[0], 16):
                    parts.append(self.rfile.read(size))
                    self.rfile.readline()
                self.rfile.readline()
                return b"".join(parts)

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

            def handle(self) -> None:
                try:
                    super().handle()
                except (ConnectionError, TimeoutError):
                    self.close_connection = True

        return Handler


def _send(handler: BaseHTTPRequestHandler, answer: Answer) -> None:
    if answer.pause_s and not answer.streamed:
        time.sleep(answer.pause_s)
    handler.send_response(answer.status)
    handler.send_header("content-type", answer.content_type)
    for name, value in answer.headers.items():
        handler.send_header(name, value)
    if not answer.streamed:
        body = b"".join(answer.chunks)
        handler.send_header("content-length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body if answer.cut_after is None else body[: answer.cut_after])
        handler.close_connection = handler.close_connection or answer.cut_after is not None
        handler.wfile.flush()
        return
    handler.send_header("transfer-encoding", "chunked")
    handler.end_headers()
    handler.wfile.flush()
    for number, chunk in enumerate(answer.chunks):
        if number == answer.cut_after:
            handler.close_connection = True
            return
        if number and answer.pause_s:
            time.sleep(answer.pause_s)
        handler.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
        handler.wfile.flush()
    handler.wfile.write(b"0\r\n\r\n")
    handler.wfile.flush()


@contextmanager
def playing(*answers: Answer) -> Iterator[PlaybackServer]:
    """A server for the time of a with block."""
    server = PlaybackServer()
    try:
        server.play(*answers)
        yield server
    finally:
        server.close()


def whole(body: object, *, status: int = 200, headers: Mapping[str, str] = {}, **fields: Any) -> Answer:
    """A JSON answer."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Answer((data,), status=status, headers=headers, **fields)


def events(chunks: Iterable[object], *, done: bool = False, named: bool = False, **fields: Any) -> Answer:
    """A stream of server-sent events, one a chunk; `named` puts each one's type before it."""
    made = []
    for chunk in chunks:
        data = json.dumps(chunk)
        name = f"event: {chunk['type']}\n" if named and isinstance(chunk, dict) else ""
        made.append(f"{name}data: {data}\n\n".encode())
    if done:
        made.append(b"data: [DONE]\n\n")
    return Answer(tuple(made), content_type="text/event-stream", streamed=True, **fields)


def amazon_message(kind: str, payload: bytes) -> bytes:
    """One message of an Amazon event stream."""
    headers = b""
    for name, value in ((":event-type", kind), (":content-type", "application/json"), (":message-type", "event")):
        headers += (
            struct.pack("!B", len(name)) + name.encode() + b"\x07" + struct.pack("!H", len(value)) + value.encode()
        )
    prelude = struct.pack("!II", 16 + len(headers) + len(payload), len(headers))
    head = prelude + struct.pack("!I", zlib.crc32(prelude)) + headers + payload
    return head + struct.pack("!I", zlib.crc32(head))


def amazon_events(messages: Iterable[tuple[str, object]], **fields: Any) -> Answer:
    """An Amazon event stream, one message a chunk."""
    made = tuple(amazon_message(kind, json.dumps(payload).encode()) for kind, payload in messages)
    return Answer(made, content_type="application/vnd.amazon.eventstream", streamed=True, **fields)


def recorded(exchange: Exchange, **fields: Any) -> Answer:
    """A recorded answer as it came: a stream in its events, anything else whole."""
    headers = {key: value for key, value in exchange.headers.items() if key not in HOP and key != "content-type"}
    body = exchange.body if isinstance(exchange.body, bytes) else json.dumps(exchange.body).encode()
    kind = exchange.content_type or "application/json"
    if body[:2] == b"\x1f\x8b":
        headers["content-encoding"] = "gzip"
    base: dict[str, Any] = {"status": exchange.status or 200, "content_type": kind, "headers": headers}
    if kind.startswith("text/event-stream"):
        if body[:2] == b"\x1f\x8b":
            return Answer(
                tuple(body[at : at + 700] for at in range(0, len(body), 700)), streamed=True, **base, **fields
            )
        chunks = tuple(part for part in re.split(rb"(?<=\n\n)|(?<=\r\n\r\n)", body) if part)
        return Answer(chunks, streamed=True, **base, **fields)
    if kind.startswith("application/vnd.amazon.eventstream"):
        return Answer(tuple(_messages(body)), streamed=True, **base, **fields)
    return Answer((body,), **base, **fields)


def _messages(body: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(body):
        size = int.from_bytes(body[at : at + 4], "big")
        yield body[at : at + size]
        at += size
