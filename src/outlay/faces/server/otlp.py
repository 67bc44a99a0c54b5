"""OTLP/HTTP traces in, as protobuf or JSON: spans that stand for calls to models are booked, the rest is passed over.

Which attribute says what is `capture.spans`' to know. Attributes that hold prompts and outputs are never read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec

from outlay.capture.intake import build_event
from outlay.capture.spans import call_of_span
from outlay.clock import Instant
from outlay.errors import AccessDenied, InvalidInput, OutlayError
from outlay.faces.server.exchange import Answer, Incoming, body_of
from outlay.faces.server.limits import ASIDE_BYTES, BadRequest
from outlay.faces.server.state import ServerState
from outlay.model import UsageEvent

JSON_TYPE: Final = "application/json"
PROTOBUF_TYPE: Final = "application/x-protobuf"
SPANS_MAX: Final = 100_000
_FAILED: Final = (2, "2", "STATUS_CODE_ERROR")
_LATEST: Final = 253_402_300_799_000_000
"""The end of the year 9999: a span that says a later time says none."""

_TRACE_DIGITS: Final = 32
_SPAN_DIGITS: Final = 16


class Span(msgspec.Struct, frozen=True, gc=False):
    """What is read of a span. Ids are lower-case hex, times nanoseconds since 1970."""

    trace_id: str
    span_id: str
    start_ns: int
    end_ns: int
    failed: bool
    attributes: Mapping[str, Any]
    resource: Mapping[str, Any]


class _Value(msgspec.Struct, rename="camel"):
    string_value: str | None = None
    int_value: int | str | None = None
    double_value: float | str | None = None
    bool_value: bool | None = None


class _Attribute(msgspec.Struct):
    key: str = ""
    value: _Value | None = None


class _Status(msgspec.Struct):
    code: int | str = 0


class _Span(msgspec.Struct, rename="camel"):
    trace_id: str = ""
    span_id: str = ""
    start_time_unix_nano: int | str = 0
    end_time_unix_nano: int | str = 0
    attributes: list[_Attribute] | None = None
    status: _Status | None = None


class _ScopeSpans(msgspec.Struct):
    spans: list[_Span] | None = None


class _Resource(msgspec.Struct):
    attributes: list[_Attribute] | None = None


class _ResourceSpans(msgspec.Struct, rename="camel"):
    resource: _Resource | None = None
    scope_spans: list[_ScopeSpans] | None = None


class _Request(msgspec.Struct, rename="camel"):
    resource_spans: list[_ResourceSpans] | None = None


async def traces(state: ServerState, request: Incoming) -> Answer:
    """POST /v1/traces: what an OpenTelemetry exporter or collector sends; refusals are told as partial success."""
    kind = request.content_type
    if kind not in (JSON_TYPE, PROTOBUF_TYPE):
        raise BadRequest(f"traces are {PROTOBUF_TYPE} or {JSON_TYPE}", code="unknown_content_type")
    body = await body_of(state, request)

    def read() -> tuple[list[UsageEvent], list[OutlayError]]:
        spans = _json_spans(body) if kind == JSON_TYPE else _protobuf_spans(body)
        return _events(spans, state, request)

    events, refused = read() if len(body) <= ASIDE_BYTES else await asyncio.to_thread(read)
    if events:
        for event, one in zip(events, await state.writer.record(events, tolerant=True), strict=True):
            code = one.code
            state.metrics.events[code] += 1
            if isinstance(one, InvalidInput):
                refused.append(one)
            elif code.startswith("exists_with_"):
                refused.append(InvalidInput(f"span {event.id} is recorded already with other numbers", code=code))
    for error in refused:
        state.metrics.events[error.code] += 1
    return _answer(kind, refused)


def _events(
    spans: Iterable[Span], state: ServerState, request: Incoming
) -> tuple[list[UsageEvent], list[OutlayError]]:
    events: list[UsageEvent] = []
    refused: list[OutlayError] = []
    now = state.clock.now()
    for count, span in enumerate(spans, 1):
        if count > SPANS_MAX:
            raise BadRequest(f"a request may bring {SPANS_MAX:,} spans", code="too_many_events")
        try:
            fields = _fields(span)
            if fields is not None:
                events.append(build_event(request.caller.attributed(fields), now, state.ledger.currency))
        except (InvalidInput, AccessDenied) as error:
            refused.append(error)
    if len(events) > state.settings.events_max:
        raise BadRequest(f"a request may bring {state.settings.events_max:,} calls", code="too_many_events")
    return events, refused


def _fields(span: Span) -> dict[str, Any] | None:
    started, ended = _instant(span.start_ns), _instant(span.end_ns)
    if not _is_hex(span.trace_id, _TRACE_DIGITS) or not _is_hex(span.span_id, _SPAN_DIGITS):
        raise InvalidInput("a span needs a trace id and a span id", code="bad_span")
    return call_of_span(
        span.attributes,
        trace_id=span.trace_id,
        span_id=span.span_id,
        started_at=started,
        ended_at=max(started, ended),
        failed=span.failed,
        resource=span.resource,
    )


def _instant(nanoseconds: int) -> Instant:
    instant = nanoseconds // 1000
    if not 0 < instant <= _LATEST:
        raise InvalidInput("a span needs a start and an end in nanoseconds since 1970", code="bad_span")
    return instant


def _is_hex(text: str, digits: int) -> bool:
    return len(text) == digits and all(digit in "0123456789abcdef" for digit in text)


# --- JSON


def _json_spans(body: bytes) -> Iterator[Span]:
    try:
        sent = _decode(body)
    except RecursionError as error:
        raise BadRequest("the body nests too deep", code="too_deep") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequest(f"the body is not OTLP's JSON: {error}", code="bad_json") from error
    for group in sent.resource_spans or ():
        resource = _json_attributes(group.resource.attributes if group.resource else None)
        for scope in group.scope_spans or ():
            for span in scope.spans or ():
                yield Span(
                    trace_id=span.trace_id.lower(),
                    span_id=span.span_id.lower(),
                    start_ns=_whole(span.start_time_unix_nano),
                    end_ns=_whole(span.end_time_unix_nano),
                    failed=span.status is not None and span.status.code in _FAILED,
                    attributes=_json_attributes(span.attributes),
                    resource=resource,
                )


_decode: Final = msgspec.json.Decoder(_Request).decode
_WHOLE_DIGITS_MAX: Final = 20


def _whole(value: int | str) -> int:
    """OTLP's JSON has 64-bit numbers as text. What is no number is none."""
    if isinstance(value, int):
        return value
    return int(value) if value.isascii() and value.isdigit() and len(value) <= _WHOLE_DIGITS_MAX else 0


def _json_attributes(attributes: list[_Attribute] | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for one in attributes or ():
        value = one.value
        if value is None:
            continue
        if value.string_value is not None:
            found[one.key] = value.string_value
        elif value.int_value is not None:
            found[one.key] = value.int_value if isinstance(value.int_value, int) else _whole(value.int_value)
        elif value.bool_value is not None:
            found[one.key] = value.bool_value
        elif value.double_value is not None:
            found[one.key] = value.double_value
    return found


# --- protobuf


def _protobuf_spans(body: bytes) -> Iterator[Span]:
    from google.protobuf.message import DecodeError
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    try:
        sent = ExportTraceServiceRequest.FromString(body)
    except DecodeError as error:
        raise BadRequest("the body is not OTLP's protobuf", code="bad_body") from error
    for group in sent.resource_spans:
        resource = _protobuf_attributes(group.resource.attributes)
        for scope in group.scope_spans:
            for span in scope.spans:
                yield Span(
                    trace_id=span.trace_id.hex(),
                    span_id=span.span_id.hex(),
                    start_ns=span.start_time_unix_nano,
                    end_ns=span.end_time_unix_nano,
                    failed=span.status.code in _FAILED,
                    attributes=_protobuf_attributes(span.attributes),
                    resource=resource,
                )


def _protobuf_attributes(attributes: Iterable[Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for one in attributes:
        kind = one.value.WhichOneof("value")
        if kind in ("string_value", "int_value", "bool_value", "double_value"):
            found[one.key] = getattr(one.value, kind)
    return found


# --- the answer


def _answer(kind: str, refused: list[OutlayError]) -> Answer:
    message = "" if not refused else f"{refused[0].message} [{refused[0].code}]"
    content_type = (b"content-type", kind.encode())
    if kind == JSON_TYPE:
        told = {"partialSuccess": {"rejectedSpans": str(len(refused)), "errorMessage": message}} if refused else {}
        return Answer(200, msgspec.json.encode(told), [content_type])
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

    response = ExportTraceServiceResponse()
    if refused:
        response.partial_success.rejected_spans = len(refused)
        response.partial_success.error_message = message
    return Answer(200, response.SerializeToString(), [content_type])
