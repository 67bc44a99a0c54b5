"""Streams that pass through: each chunk reaches the program as it is, and what usage needs of it is kept beside.

Kept is bounded and bears no text: frames of a stream lose their words on the way in, a body that is one JSON is
held until it can be read, sound and pictures are only counted.
"""

from __future__ import annotations

import importlib
import re
import zlib
from collections.abc import Callable, Mapping
from typing import Any, Final

from outlay.capture.seen import bare
from outlay.capture.streams import Reading, decode, event_stream, unwrapped
from outlay.instrument.clients import say_once

FRAMES_MAX: Final = 2_048
FRAMES_FIRST: Final = 8
BODY_BYTES_MAX: Final = 64 << 20
LINE_BYTES_MAX: Final = 16 << 20
FrameTaker = Callable[[Mapping[str, Any]], bool]
"""Takes a frame for itself, or leaves it (False)."""

_PRELUDE: Final = 12
_TELLING: Final = re.compile(
    rb"(?i)usage|tokens?\W|token_?count|metric|billed|error|_stop|stop_|finish_?reason\"\s*:\s*\"|\"(?:response\.)?"
    rb"(?:completed|complete|done|failed|cancell?ed|incomplete|expired|stream-end|message-end|stop)\"|block_?reason"
    rb"|\"status\"|\"cost|duration|\.done\"|\.completed\"|\"event_type\""
)
"""What a frame has that may say something about usage or the end; others are looked at only at a stream's start."""


class Keeper:
    """What is kept of one answer while its bytes pass: frames, or the body while it may be one JSON."""

    def __init__(self, content_type: str, encoding: str = "", each: FrameTaker | None = None) -> None:
        """`encoding` is the header content-encoding, for what passes is still packed. A frame that `each` takes, such
        as one answer of a batch, is not kept here.
        """
        self.kind = _kind(content_type)
        self._each = each
        self.frames: list[Mapping[str, Any]] = []
        self.lines: list[bytes] | None = None
        self.ended = False
        self.size = 0
        self._seen = 0
        self._unpack = _unpacker(encoding)
        self._parts: list[bytes] = []
        self._name = ""
        self._data: list[bytes] = []

    def feed(self, data: bytes) -> None:
        """Take the next bytes as the network gave them."""
        if self._unpack is not None:
            data = self._unpack(data)
        self.size += len(data)
        if self.kind == "opaque":
            return
        self._parts.append(data)
        if self.kind == "body":
            if self.size > BODY_BYTES_MAX:
                self.kind = "opaque"
                self._parts.clear()
        elif self.kind == "amazon":
            self._amazon()
        elif b"\n" in data:
            *whole, rest = b"".join(self._parts).split(b"\n")
            self._parts = [rest] if rest else []
            for line in whole:
                self._line(line)
        elif len(self._parts) > 1 and sum(map(len, self._parts)) > LINE_BYTES_MAX:
            self._parts = []

    def add(self, frame: Mapping[str, Any]) -> None:
        """Keep one parsed frame, without its texts."""
        self._seen += 1
        kept = bare(unwrapped(frame))
        if self._each is not None and self._each(kept):
            return
        if len(self.frames) >= FRAMES_MAX:
            del self.frames[FRAMES_FIRST]  # Of what is told again and again the last counts.
        self.frames.append(kept)

    @property
    def body(self) -> bytes | None:
        """The body that is to be read as a whole; None for a stream of frames, and for sound and pictures."""
        return b"".join(self._parts) if self.kind == "body" else None

    def reading(self) -> Reading:
        """The frames, as `capture.extract` takes them."""
        if self._parts and self.kind in ("events", "lines"):
            self._line(b"".join(self._parts))
            self._line(b"")
            self._parts = []
        return Reading(frames=list(self.frames), streamed=True, ended=self.ended, opaque=self.kind == "opaque")

    def _line(self, line: bytes) -> None:
        line = line.rstrip(b"\r")
        if self.kind == "lines":
            if line[:1] == b"{":
                self._keep(line)
        elif line[:5] == b"data:":
            data = line[5:].strip()
            if data == b"[DONE]":
                self.ended = True
            else:
                self._data.append(data)
        elif line[:6] == b"event:":
            self._name = line[6:].strip().decode("utf-8", "replace")
        elif not line:
            if self._data:
                self._keep(b"\n".join(self._data))
            self._name, self._data = "", []
        elif line[:1] in b"{[" and not self._data:
            # A refusal that is no stream, sent as one.
            self._keep(line)

    def _keep(self, data: bytes) -> None:
        if self.kind == "events" and self._seen >= FRAMES_FIRST and not _TELLING.search(data):
            return
        frame = decode(data)
        if isinstance(frame, dict):
            named = self._name and "type" not in frame and "object" not in frame
            self.add({**frame, "event": self._name} if named else frame)

    def _amazon(self) -> None:
        """Whole messages of an Amazon event stream; what is not whole waits."""
        data = b"".join(self._parts)
        at = 0
        while len(data) - at >= _PRELUDE:
            length = int.from_bytes(data[at : at + 4], "big")
            if not _PRELUDE < length <= LINE_BYTES_MAX:
                self.kind = "opaque"
                break
            if len(data) - at < length:
                break
            for frame in event_stream(data[at : at + length]):
                self.add(frame)
            at += length
        self._parts = [data[at:]] if at < len(data) else []


def _kind(content_type: str) -> str:
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "text/event-stream":
        return "events"
    if kind == "application/vnd.amazon.eventstream":
        return "amazon"
    if kind in ("application/x-ndjson", "application/ndjson", "application/stream+json", "application/jsonl"):
        return "lines"
    if kind == "application/x-jsonl":
        return "lines"
    return "opaque" if is_opaque(kind) else "body"


def is_opaque(content_type: str) -> bool:
    """Whether a body of this type is sound, a picture or a film, whose bytes tell nothing."""
    kind = content_type.partition("/")[0].strip().lower()
    return kind in ("audio", "image", "video", "font") or content_type.startswith(
        ("application/pdf", "application/zip")
    )


def _unpacker(encoding: str) -> Any:
    """A function that unpacks as bytes come; None where they are not packed or nobody here can."""
    name = encoding.strip().lower()
    if name in ("", "identity"):
        return None
    if name in ("gzip", "x-gzip", "deflate"):
        return zlib.decompressobj(zlib.MAX_WBITS | 32).decompress
    if name == "zstd":
        return importlib.import_module("zstandard").ZstdDecompressor().decompressobj().decompress
    if name == "br":
        return importlib.import_module("brotli").Decompressor().process
    say_once(f"encoding:{name}", "outlay: streams packed as %s cannot be read; their usage is not known", name)
    return lambda _data: b""


class UsageHider:
    """Takes the usage chunk, which only Outlay asked for, out of a chat stream again (server-sent events)."""

    _NULL: Final = re.compile(rb',\s*"usage"\s*:\s*null(?=\s*[,}])')

    def __init__(self) -> None:
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """What the program is to see of these bytes: whole events, but for the one."""
        events = re.split(rb"(?<=\n\n)|(?<=\r\n\r\n)", self._held + data)
        self._held = events.pop()
        return b"".join(map(self._shown, events))

    def rest(self) -> bytes:
        """What is left at the end."""
        held, self._held = self._held, b""
        return self._shown(held)

    def _shown(self, event: bytes) -> bytes:
        if b'"usage"' not in event:
            return event
        frame = decode(event.partition(b"data:")[2].strip())
        if isinstance(frame, dict) and frame.get("usage") and frame.get("choices") == []:
            return b""
        return self._NULL.sub(b"", event)
