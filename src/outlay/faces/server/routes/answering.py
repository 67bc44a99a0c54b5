"""What all routes share: who asks, which part of the ledger that may see, and in which form the answer goes."""

from __future__ import annotations

import base64
import binascii
import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Any, Final, TypeVar

import msgspec
from anyio.to_thread import run_sync
from fastapi import Depends, Query, Request
from fastapi.responses import Response

from outlay.arguments import DIMENSIONS, read_when, read_where
from outlay.clock import Instant
from outlay.errors import InvalidInput, NotFound
from outlay.faces.server.access import Caller, caller, require, unlogged
from outlay.faces.server.state import ServerState, state
from outlay.model import UsageEvent
from outlay.money import PICO_PER_UNIT, pico_to_text, round_half_even
from outlay.wire import EXACT

JSON: Final = "application/json"
PAGE: Final = 1_000
PAGE_MAX: Final = 10_000
NAME_MAX: Final = 512

State = Annotated[ServerState, Depends(state)]
Anybody = Annotated[Caller, Depends(caller)]
Reads = Annotated[Caller, Depends(require("read"))]
Records = Annotated[Caller, Depends(require("ingest"))]
Rules = Annotated[Caller, Depends(require("admin"))]
Unlogged = Depends(unlogged)
"""For a route that is no GET and yet changes nothing but usage."""

Result = TypeVar("Result")
Filter = dict[str, tuple[str | None, ...]]

Format = Annotated[str | None, Query(description="json or csv; else by Accept", pattern="^(json|csv)$")]
Limit = Annotated[int, Query(description="the most rows of one page", ge=1, le=PAGE_MAX)]
Cursor = Annotated[str | None, Query(description="`next` of the page before")]
Since = Annotated[str | None, Query(description="from this date or time on, such as 2026-03-01")]
Until = Annotated[str | None, Query(description="up to this date or time, which is not included")]
Day = Annotated[str | None, Query(description="the UTC day of the event, where its id was used on several")]

WHERE: Final = {
    "parameters": [
        {
            "name": f"where.{name}",
            "in": "query",
            "required": False,
            "description": f"only what has this {name}; several may be given, an empty one means none",
            "schema": {"type": "array", "maxItems": 20, "items": {"type": "string", "maxLength": NAME_MAX}},
        }
        for name in DIMENSIONS
    ]
}
"""The filters of a question in OpenAPI; `where.tag.<name>` is read too."""

PROBLEMS: Final[dict[int | str, dict[str, Any]]] = {
    status: {
        "description": text,
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    for status, text in (
        (400, "not HTTP or not JSON as it should be"),
        (401, "no key, or one that is not known, expired or revoked"),
        (402, "a budget refused the call"),
        (403, "the caller's role or scope does not reach this"),
        (404, "nothing by that name"),
        (408, "the request came too slowly"),
        (409, "what stands there contradicts this"),
        (413, "the request is too large"),
        (415, "the content type is not known"),
        (422, "the input cannot be right; `code` names why"),
        (429, "too many requests, or a budget is reserved by others for now; see Retry-After"),
        (501, "not done by a server"),
        (503, "the ledger cannot be asked for now"),
        (507, "the disk is full"),
    )
}
"""What any route may answer besides its own."""

# What is no HTTP at all, or a line longer than it reads, the server below answers by itself.
PROBLEMS[400]["content"]["text/plain"] = {"schema": {"type": "string"}}


def instant_of(state: ServerState, value: str | None) -> Instant | None:
    """A date or time as it was sent; dates are of the ledger's home zone. Raises InvalidInput `bad_time`."""
    return read_when(value, state.ledger.store.home_zone, state.clock)


async def in_thread(work: Callable[[], Result]) -> Result:
    """Do what waits for the store on a thread."""
    return await run_sync(work)


def wants_exact(request: Request) -> bool:
    """Whether the caller is Outlay's own client."""
    return EXACT in request.headers.get("accept", "")


def exact(value: object, status: int = 200) -> Response:
    """The vocabulary's values as they are."""
    return Response(msgspec.json.encode(value), status, media_type=EXACT)


def plain(value: object, status: int = 200) -> Response:
    """JSON for everyone: Decimals as text."""
    return Response(msgspec.json.encode(value), status, media_type=JSON)


_Body = TypeVar("_Body")


async def read_exact(request: Request, kind: type[_Body]) -> _Body:
    """The body of a request of Outlay's own client. Raises InvalidInput `bad_json`, `bad_body`."""
    body = await request.body()
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise InvalidInput(f"the body is not as this route takes it: {error}", code="bad_event") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(f"the body is no JSON: {error}", code="bad_json") from error


def amount_text(pico: int) -> str:
    """An amount as exact decimal text."""
    return pico_to_text(pico)


def number(pico: int) -> msgspec.Raw:
    """An amount as a JSON number with all its digits: it never was a float."""
    return msgspec.Raw(amount_text(pico).encode())


def share_of(pico: int, count: int) -> int:
    """An amount over a count, rounded half-even at 10⁻¹²."""
    return round_half_even(pico, count)


def filter_of(request: Request, caller: Caller) -> Filter:
    """The `where.<dimension>` parameters, with what the caller's key or token fixes.

    Raises InvalidInput `unknown_dimension`, or AccessDenied `outside_scope` for a filter beyond that.
    """
    asked: dict[str, list[str | None]] = {}
    for name, value in request.query_params.multi_items():
        if name.startswith("where."):
            asked.setdefault(name.removeprefix("where."), []).append(value or None)
    return read_where(caller.filtered(asked))


def must_see(caller: Caller, event: UsageEvent) -> None:
    """Raises NotFound `no_such_event` for what lies beyond the caller's scope: its existence is not told either."""
    if not caller.sees(event):
        raise NotFound(f"no event {event.id!r} is in the ledger", code="no_such_event")


def names(values: Iterable[str]) -> tuple[str, ...]:
    """`by=day&by=provider` and `by=day,provider` alike."""
    return tuple(name.strip() for value in values for name in value.split(",") if name.strip())


def cursor_of(place: int) -> str:
    """A place in a list as callers hand it back."""
    return base64.urlsafe_b64encode(str(place).encode()).decode().rstrip("=")


def place_of(cursor: str | None) -> int:
    """The place that a cursor stands for, 0 without one. Raises InvalidInput `bad_cursor`."""
    if not cursor:
        return 0
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        place = int(text) if text.isdecimal() and len(text) < 19 else -1
    except (binascii.Error, ValueError) as error:
        raise InvalidInput("cursor is not one that a page gave as its next", code="bad_cursor") from error
    if place < 0:
        raise InvalidInput("cursor is not one that a page gave as its next", code="bad_cursor", field="cursor")
    return place


def wants_csv(request: Request, format: str | None) -> bool:
    """Whether a table is asked for as CSV, by ?format= or else by the Accept header."""
    if format is not None:
        return format == "csv"
    accept = request.headers.get("accept", "")
    return "text/csv" in accept and JSON not in accept


def csv_of(columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> Response:
    """A table as CSV (RFC 4180), amounts as exact decimal text."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\r\n")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    return Response(text.getvalue(), media_type="text/csv; charset=utf-8")


def _cell(value: object) -> object:
    return format(value, "f") if isinstance(value, Decimal) else value


def count_of(amount: int) -> str:
    """A count that is kept as 10⁻¹² of its unit, as text without needless zeros."""
    whole, rest = divmod(amount, PICO_PER_UNIT)
    return str(whole) if not rest else amount_text(amount)
