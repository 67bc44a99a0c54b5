"""A request to a hot route, and its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from outlay.errors import OutlayError
from outlay.faces.server.access import Caller
from outlay.faces.server.limits import Receive, read_body, unpack
from outlay.faces.server.problems import problem_body, problem_headers, status_of
from outlay.faces.server.state import ServerState

_JSON_TYPE: Final = b"application/json"
JSON: Final = (b"content-type", _JSON_TYPE)
_encode: Final = msgspec.json.Encoder(decimal_format="string").encode


class Answer(msgspec.Struct, frozen=True):
    """A whole answer."""

    status: int
    body: bytes
    headers: list[tuple[bytes, bytes]]


class Incoming(msgspec.Struct, frozen=True, kw_only=True):
    """A request to a hot route, let in by the gate."""

    scope: Mapping[str, Any]
    headers: dict[bytes, bytes]
    receive: Receive
    caller: Caller

    @property
    def content_type(self) -> str:
        """The media type, lower case, without parameters."""
        told = self.headers.get(b"content-type", b"")
        if told == _JSON_TYPE:
            return "application/json"
        return told.partition(b";")[0].strip().lower().decode("latin-1")

    @property
    def encoding(self) -> str:
        """The content-encoding, lower case."""
        told = self.headers.get(b"content-encoding")
        return "" if told is None else told.strip().lower().decode("latin-1")


def json_answer(value: Any, status: int = 200) -> Answer:
    """An answer in JSON; Decimals as text."""
    return Answer(status, _encode(value), [JSON])


def problem_answer(error: OutlayError) -> Answer:
    """The answer that an error is."""
    return Answer(status_of(error), problem_body(error), problem_headers(error))


async def body_of(state: ServerState, request: Incoming) -> bytes:
    """A request's body, unpacked. Raises BadRequest."""
    sent = await read_body(request.receive, request.headers, state.settings)
    encoding = request.encoding
    if not encoding:
        return sent
    return await asyncio.to_thread(unpack, sent, encoding, state.settings)
