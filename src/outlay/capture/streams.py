"""Whatever a provider's client hands out, as frames: one for a body, many for a stream.

Read are mappings, JSON text and bytes (gzip too), SDK objects, HTTP responses, boto3 results, server-sent
events, JSON lines, a streamed JSON array that was cut, Amazon event streams in bytes or as dicts, and lists
of any of these. What cannot be read becomes a reading without frames, never an error; only what is no
response at all (None, a number, a stream that nobody has read yet) is refused.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from enum import Enum
from typing import Any, Final

import msgspec

from outlay.capture.paths import find, is_number
from outlay.capture.plain import attribute, members
from outlay.errors import InvalidInput
from outlay.money import add_exactly

DECODER: Final = msgspec.json.Decoder(float_hook=Decimal)
_PRELUDE_BYTES: Final = 12
_FRAME_BYTES_MAX: Final = 1 << 26
_STRING_HEADER: Final = 7
_LEAVES: Final = (str, bytes, int, float, Decimal, list, tuple, Enum)
_HEADER_SIZES: Final = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}


class Reading(msgspec.Struct, kw_only=True):
    """What was read: frames (mappings), whether it was a stream and its end was said, and what came beside it.

    `opaque` says that there was a body which is no JSON: an image, audio, a page, plain text.
    """

    frames: list[Mapping[str, Any]] = []
    streamed: bool = False
    ended: bool = False
    opaque: bool = False
    headers: Mapping[str, object] = {}
    status_code: int | None = None
    url: str | None = None
    request: object = None
    package: str = ""


def read(response: object) -> Reading:
    """Read any response; a Reading is one already. Raises InvalidInput `not_a_response` or `stream_not_read`."""
    if isinstance(response, Reading):
        return response
    if response is None or isinstance(response, int | float | Decimal):
        raise InvalidInput(
            f"a response cannot be read from {type(response).__name__}; pass the body, the SDK's object or a list "
            "of the stream's chunks",
            code="not_a_response",
            field="response",
        )
    reading = Reading(package=type(response).__module__ or "")
    if isinstance(response, str | bytes | bytearray | memoryview):
        _read_text(reading, response)
    elif isinstance(response, Sequence):
        _read_list(reading, response)
    else:
        _read_object(reading, response)
    return reading


def _read_object(reading: Reading, response: object) -> None:
    status = attribute(response, "status_code")
    if isinstance(status, int) and not isinstance(response, Mapping):
        _read_http(reading, response, status)
        return
    inner = members(response)
    if inner is None or (not isinstance(response, Mapping) and _unread(response, inner)):
        if _unread(response, inner):
            raise _not_read(response)
        reading.opaque = True
        return
    metadata = inner.get("ResponseMetadata")
    if isinstance(metadata, Mapping):
        _read_boto(reading, inner, metadata)
        return
    reading.frames = [unwrapped(inner)]


def _unread(response: object, inner: Mapping[str, Any] | None) -> bool:
    """A generator, an SDK's stream or a file: reading it here would take it from the caller."""
    if callable(attribute(response, "read")):
        return True
    iterates = hasattr(type(response), "__next__") or hasattr(type(response), "__anext__")
    return iterates and (inner is None or not any(key in inner for key in ("usage", "choices", "usageMetadata")))


def _not_read(response: object) -> InvalidInput:
    return InvalidInput(
        f"{type(response).__name__} is a stream that was not read; read it, then pass the body or the list of its "
        "chunks",
        code="stream_not_read",
        field="response",
    )


def _read_http(reading: Reading, response: object, status: int) -> None:
    """An HTTP client's response: its body, headers, status and address."""
    headers = attribute(response, "headers")
    reading.status_code = status
    reading.headers = members(headers) or {}
    address = attribute(response, "url")
    reading.url = str(address) if address is not None else None
    body = attribute(response, "content")
    if isinstance(body, str | bytes | bytearray):
        _read_text(reading, body)
    else:
        reading.opaque = True


def _read_boto(reading: Reading, inner: Mapping[str, Any], metadata: Mapping[str, Any]) -> None:
    status = metadata.get("HTTPStatusCode")
    reading.status_code = status if isinstance(status, int) else None
    reading.headers = members(metadata.get("HTTPHeaders")) or {}
    body = next((inner[key] for key in ("body", "Body", "stream") if inner.get(key) is not None), None)
    if body is None:
        reading.frames = [unwrapped(inner)]
    elif isinstance(body, str | bytes | bytearray):
        _read_text(reading, body)
    elif isinstance(body, Sequence):
        _read_list(reading, body)
        reading.streamed = True
    elif isinstance(body, Mapping):
        reading.frames = [unwrapped(body)]
    else:
        raise _not_read(body)


def _read_list(reading: Reading, items: Sequence[object]) -> None:
    reading.streamed = True
    text: list[str] = []
    for item in items:
        if isinstance(item, bytes | bytearray | str):
            continue
        if reading.package == "builtins" and item is not None:
            reading.package = type(item).__module__ or ""
        inner = members(item)
        if inner is not None:
            reading.frames.append(unwrapped(inner))
        elif isinstance(item, list | tuple):
            reading.frames.extend(unwrapped(each) for each in map(members, item) if each is not None)
    raw = [bytes(item) for item in items if isinstance(item, bytes | bytearray)]
    text = [item for item in items if isinstance(item, str)]
    if raw:
        joined = b"".join(raw)
        _read_text(reading, joined if b"\n" in joined or _is_event_stream(joined) else b"\n".join(raw))
    if text:
        _read_text(reading, "".join(text) if any("\n" in item for item in text) else "\n".join(text))
    if len(reading.frames) == 1 and not (raw or text):
        reading.streamed = _is_chunk(reading.frames[0])


def _is_chunk(frame: Mapping[str, Any]) -> bool:
    kind = frame.get("object")
    return (isinstance(kind, str) and kind.endswith(".chunk")) or "type" in frame or "delta" in frame


def _read_text(reading: Reading, text: str | bytes | bytearray | memoryview) -> None:
    if not isinstance(text, str):
        data = _inflated(bytes(text))
        if _is_event_stream(data):
            reading.streamed = True
            reading.frames.extend(unwrapped(frame) for frame in event_stream(data))
            return
        if data[:1] == b"{":
            whole = decode(data)  # The common case, without a copy as text.
            if isinstance(whole, dict):
                reading.frames.append(unwrapped(whole))
                return
        text = data.decode("utf-8", "replace")
    body = text.strip().lstrip("\ufeff")
    parsed = decode(body)
    if isinstance(parsed, dict):
        reading.frames.append(unwrapped(parsed))
    elif isinstance(parsed, list) and parsed and all(isinstance(item, dict) for item in parsed):
        reading.streamed = True
        reading.frames.extend(map(unwrapped, parsed))
    elif not _read_lines(reading, body):
        reading.opaque = bool(body)


def _inflated(data: bytes) -> bytes:
    if data[:2] != b"\x1f\x8b":
        return data
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error):
        return data


def decode(text: str | bytes) -> object:
    """JSON with exact decimals; None for what is no JSON."""
    try:
        return DECODER.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        pass
    try:
        return json.loads(text, parse_float=Decimal)
    except (ValueError, RecursionError, ArithmeticError):
        return None


def _read_lines(reading: Reading, text: str) -> bool:
    """Server-sent events, JSON lines or a cut JSON array; False when it is none of them."""
    if text.startswith("["):
        frames: list[object] = list(_array(text))
    else:
        lines = text.splitlines()
        if any(line.startswith(("data:", "event:")) for line in lines):
            reading.streamed = True
            frames = list(_events(reading, lines))
        else:
            frames = [decode(line) for line in lines if line.startswith("{")]
    found = [unwrapped(frame) for frame in frames if isinstance(frame, dict)]
    reading.frames.extend(found)
    reading.streamed = reading.streamed or bool(found)
    return bool(found) or reading.streamed


def _events(reading: Reading, lines: Iterable[str]) -> Iterator[object]:
    """Each event's JSON, under its name where it does not say its own; of an event that is no JSON the name only."""
    name, held = "", list[str]()
    for line in (*lines, ""):
        if line.startswith("event:"):
            name = line[6:].strip()
        elif line.startswith("data:"):
            held.append(line[5:].strip())
            if held[-1] == "[DONE]":
                reading.ended = True
                held.clear()
                continue
            frame = decode("\n".join(held))
            if isinstance(frame, dict):
                held.clear()
                yield frame if not name or "type" in frame or "object" in frame else {**frame, "event": name}
        elif not line.strip():
            if name and held:
                yield {"event": name}
            name, held = "", []


def _array(text: str) -> Iterator[object]:
    """The whole elements of a JSON array, which may be cut."""
    decoder = json.JSONDecoder(parse_float=Decimal)
    position = 1
    while position < len(text):
        while position < len(text) and text[position] in " \t\r\n,":
            position += 1
        try:
            element, position = decoder.raw_decode(text, position)
        except (ValueError, RecursionError, ArithmeticError):
            return
        yield element


def _is_event_stream(data: bytes) -> bool:
    if len(data) < _PRELUDE_BYTES:
        return False
    return zlib.crc32(data[:8]) == int.from_bytes(data[8:12], "big")


def event_stream(data: bytes) -> Iterator[dict[str, Any]]:
    """The messages of `application/vnd.amazon.eventstream`, each as boto3 gives it: {event type: payload}.

    An exception is {"error": {"type": its name}}: what it says stays behind.
    """
    position = 0
    while _is_event_stream(data[position : position + _PRELUDE_BYTES]):
        length = int.from_bytes(data[position : position + 4], "big")
        headers_length = int.from_bytes(data[position + 4 : position + 8], "big")
        if not _PRELUDE_BYTES + headers_length + 4 <= length <= _FRAME_BYTES_MAX or position + length > len(data):
            return
        start = position + _PRELUDE_BYTES
        headers = dict(_event_headers(data[start : start + headers_length]))
        payload = decode(data[start + headers_length : position + length - 4])
        exception = headers.get(":exception-type") or headers.get(":error-code")
        if exception:
            yield {"error": {"type": exception}}
        elif headers.get(":event-type"):
            yield {headers[":event-type"]: payload}
        position += length


def _event_headers(data: bytes) -> Iterator[tuple[str, str]]:
    position = 0
    while position < len(data):
        name_end = position + 1 + data[position]
        name, kind = data[position + 1 : name_end].decode("utf-8", "replace"), data[name_end : name_end + 1]
        position = name_end + 1
        if kind and kind[0] in (6, _STRING_HEADER):
            size = int.from_bytes(data[position : position + 2], "big")
            if kind[0] == _STRING_HEADER:
                yield name, data[position + 2 : position + 2 + size].decode("utf-8", "replace")
            position += 2 + size
        elif kind and kind[0] in _HEADER_SIZES:
            position += _HEADER_SIZES[kind[0]]
        else:
            return


def unwrapped(frame: Mapping[str, Any]) -> Mapping[str, Any]:
    """The JSON inside a chunk of bytes, as Bedrock's and SageMaker's streams wrap it; else the frame itself."""
    for outer, inner in (("chunk", "bytes"), ("PayloadPart", "Bytes")):
        part = frame.get(outer)
        if isinstance(part, Mapping) and isinstance(part.get(inner), str | bytes | bytearray):
            found = _from_bytes(part[inner])
            return found if isinstance(found, dict) else {}
    return frame


def _from_bytes(data: str | bytes | bytearray) -> object:
    parsed = decode(data if isinstance(data, str) else bytes(data))
    if isinstance(parsed, dict):
        return parsed
    try:
        return decode(base64.b64decode(data, validate=True))
    except (binascii.Error, ValueError):
        return None


def fold(
    frames: Iterable[Mapping[str, Any]], lift: Sequence[tuple[tuple[Any, ...], str]], numbers: str
) -> dict[str, Any]:
    """One body from a stream's frames.

    `lift` says which parts of a frame belong to the body (steps, and under which name they go). Of a number
    told more than once the `last` counts, the `max` of a running count, or their `sum`; a list told again
    replaces the one before (with `sum` it extends it); null and empty text never replace anything.
    """
    body: dict[str, Any] = {}
    for frame in frames:
        for steps, name in lift:
            for part in find(frame, steps):
                inner = {name: part} if name else members(part)
                if inner is not None:
                    _merge(body, inner, numbers)
    return body


def _merge(body: dict[str, Any], part: Mapping[str, Any], numbers: str) -> None:
    for key, value in part.items():
        if value is None or value == "":
            continue
        known, inner = body.get(key), None if isinstance(value, _LEAVES) else members(value)
        if inner is not None:
            if not isinstance(known, dict):
                known = body[key] = {}
            _merge(known, inner, numbers)
        elif isinstance(known, list) and isinstance(value, list) and (numbers == "sum" or not value):
            body[key] = [*known, *value]
        elif numbers != "last" and is_number(known) and is_number(value):
            body[key] = _joined(known, value, numbers)
        else:
            body[key] = value


def _joined(known: Any, value: Any, numbers: str) -> Decimal | int:
    """The sum or the greater of two numbers, exactly: a float counts as its shortest text."""
    first, second = (Decimal(repr(item)) if isinstance(item, float) else item for item in (known, value))
    return add_exactly(first, second) if numbers == "sum" else max(first, second)
