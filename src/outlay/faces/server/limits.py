"""What a request may bring: a body read within a size and a time, unpacked within a size, decoded within a depth."""

from __future__ import annotations

import asyncio
import io
import zlib
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

import msgspec

from outlay.errors import InvalidInput, LedgerBusy
from outlay.faces.server.settings import ServerSettings

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

ASIDE_BYTES: Final = 64 * 1024
"""Bodies beyond this are unpacked and decoded on a thread, so that others are served meanwhile."""

_GZIP: Final = 16 + zlib.MAX_WBITS
_WINDOW_BYTES_MAX: Final = 8 * 1024 * 1024
_decode: Final = msgspec.json.Decoder().decode


class BadRequest(InvalidInput):
    """The request cannot be read."""

    code = "bad_body"


class Disconnected(LedgerBusy):
    """The client went away before it had sent all."""

    code = "disconnected"


async def read_body(receive: Receive, headers: dict[bytes, bytes], settings: ServerSettings) -> bytes:
    """A request's body as it was sent. Raises BadRequest `body_too_large`, `body_too_slow`, or Disconnected."""
    told = headers.get(b"content-length", b"")
    if told.isdigit() and int(told) > settings.body_bytes_max:
        raise _too_large(settings.body_bytes_max)
    # A connection whose request does not arrive in time is closed below (serving.PatientConnection): a timer for
    # every request would cost more than the rest of the reading.
    message = await receive()
    if message["type"] == "http.disconnect":
        raise Disconnected
    body: bytes = message.get("body", b"")
    if not message.get("more_body", False):
        _sized(body, settings)
        return body
    return await _rest(body, receive, settings)


async def _rest(body: bytes, receive: Receive, settings: ServerSettings) -> bytes:
    parts = bytearray(body)
    try:
        async with asyncio.timeout(settings.body_seconds_max):
            more = True
            while more:
                _sized(parts, settings)
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Disconnected
                parts += message.get("body", b"")
                more = message.get("more_body", False)
    except TimeoutError as error:
        raise _too_slow(settings) from error
    _sized(parts, settings)
    return bytes(parts)


def _sized(body: bytes | bytearray, settings: ServerSettings) -> None:
    if len(body) > settings.body_bytes_max:
        raise _too_large(settings.body_bytes_max)


def _too_large(most: int) -> BadRequest:
    return BadRequest(f"a body may have {most:,} bytes; send smaller batches", code="body_too_large")


def _too_slow(settings: ServerSettings) -> BadRequest:
    return BadRequest(f"the body did not come within {settings.body_seconds_max:g} seconds", code="body_too_slow")


def unpack(body: bytes, encoding: str, settings: ServerSettings) -> bytes:
    """The body without its compression: gzip, deflate, zstd, identity.

    Raises BadRequest `unknown_compression`, `bad_compression`, or `body_too_large` as soon as it grows too large.
    """
    if encoding in ("", "identity"):
        return body
    if encoding in ("gzip", "x-gzip"):
        return _inflate(body, _GZIP, settings)
    if encoding == "deflate":
        return _inflate(body, zlib.MAX_WBITS, settings)
    if encoding == "zstd":
        return _unpack_zstd(body, settings)
    raise BadRequest(
        f"content-encoding {encoding[:40]!r} is not known; use gzip, zstd or none", code="unknown_compression"
    )


def _inflate(body: bytes, window: int, settings: ServerSettings) -> bytes:
    parts = bytearray()
    rest = body
    try:
        while rest:
            inflater = zlib.decompressobj(wbits=window)
            parts += inflater.decompress(rest, settings.unpacked_bytes_max + 1 - len(parts))
            if len(parts) > settings.unpacked_bytes_max:
                raise _too_large(settings.unpacked_bytes_max)
            if not inflater.eof:
                raise BadRequest("the compressed body ends too early", code="bad_compression")
            rest = inflater.unused_data  # gzip may hold several parts
    except zlib.error as error:
        raise BadRequest("the body is not what its content-encoding says", code="bad_compression") from error
    return bytes(parts)


def _unpack_zstd(body: bytes, settings: ServerSettings) -> bytes:
    import zstandard

    try:
        unpacker = zstandard.ZstdDecompressor(max_window_size=_WINDOW_BYTES_MAX)
        with unpacker.stream_reader(io.BytesIO(body), read_across_frames=True) as stream:
            found = stream.read(settings.unpacked_bytes_max + 1)
    except zstandard.ZstdError as error:
        raise BadRequest("the body is not what its content-encoding says", code="bad_compression") from error
    if len(found) > settings.unpacked_bytes_max:
        raise _too_large(settings.unpacked_bytes_max)
    return found


def read_json(body: bytes, depth_max: int) -> Any:
    """A JSON value. Raises BadRequest `bad_json`, or `too_deep` where it nests deeper than `depth_max`."""
    try:
        value = _decode(body)
    except RecursionError as error:
        raise _too_deep(depth_max) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequest(f"the body is not JSON: {error}", code="bad_json") from error
    check_depth(value, depth_max)
    return value


def check_depth(value: Any, depth_max: int) -> None:
    """Raises BadRequest `too_deep` for a value that nests deeper than `depth_max`."""
    level = [value] if type(value) is dict or type(value) is list else []
    for _ in range(depth_max):
        # All of a level at once: a batch has thousands of values, and few levels.
        level = [
            inner
            for outer in level
            for inner in (outer.values() if type(outer) is dict else outer)
            if type(inner) is dict or type(inner) is list
        ]
        if not level:
            return
    if level:
        raise _too_deep(depth_max)


def _too_deep(depth_max: int) -> BadRequest:
    return BadRequest("the body nests too deep; send flat events", code="too_deep")
