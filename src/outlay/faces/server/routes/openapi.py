"""The OpenAPI document: FastAPI's own, completed by the hot routes, health, keys and the problem, written by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from fastapi.openapi.utils import get_openapi
from starlette.routing import BaseRoute

import outlay
from outlay.capture.intake import TEXT_CHARACTERS_MAX
from outlay.faces.server.models import Problem
from outlay.faces.server.routes.answering import PROBLEMS
from outlay.meters import METERS
from outlay.model import ATTRIBUTIONS, Basis, Status

DESCRIPTION: Final = (
    "The ledger of what an AI application spends: priced exactly, kept for good, capped before it is spent. Money is"
    " exact decimal text, times are ISO 8601, errors are problem+json (RFC 9457) with a stable `code`. A retry with"
    " the same `id` is recognised."
)

Schema = dict[str, Any]

_TEXT: Final[Schema] = {"type": ["string", "null"], "maxLength": TEXT_CHARACTERS_MAX}
_AMOUNT: Final[Schema] = {"type": ["string", "null"], "description": "exact decimal text"}
_PAIRS: Final[Schema] = {
    "type": ["object", "null"],
    "additionalProperties": {"type": ["string", "number", "boolean"]},
}
_SECONDS: Final[Schema] = {"type": ["number", "null"], "minimum": 0}


def _event_fields() -> Schema:
    texts = ("operation", *ATTRIBUTIONS, "step", "call_key", "id")
    return {
        "provider": {"type": "string", "minLength": 1, "maxLength": TEXT_CHARACTERS_MAX, "examples": ["openai"]},
        "service": {"type": "string", "minLength": 1, "maxLength": TEXT_CHARACTERS_MAX, "examples": ["gpt-4o"]},
        "usage": {
            "type": ["object", "null"],
            "description": "what was used, meter by meter: whole numbers, or decimals as text",
            "propertyNames": {"enum": sorted(METERS)},
            "additionalProperties": {"type": ["integer", "number", "string"]},
            "examples": [{"input_tokens": 1200, "output_tokens": 350}],
        },
        **dict.fromkeys(texts, _TEXT),
        "conditions": _PAIRS,
        "tags": _PAIRS,
        "parameters": _PAIRS,
        "time": {"type": ["string", "null"], "description": "ISO 8601 with a zone", "format": "date-time"},
        "time_to": {"type": ["string", "null"], "description": "when it ended", "format": "date-time"},
        "status": {"enum": [status.value for status in Status]},
        "error": {"type": ["string", "null"], "description": "the kind of failure; never a prompt or an output"},
        "duration_s": _SECONDS,
        "count": {"type": "integer", "minimum": 1, "maximum": 10**9, "description": "identical calls"},
        "reported_cost": {"type": ["string", "number", "null"], "description": "what the provider said it cost"},
        "basis": {"enum": [Basis.MEASURED.value, Basis.REPORTED.value, Basis.ESTIMATED.value]},
    }


EVENT: Final[Schema] = {
    "type": "object",
    "required": ["provider", "service"],
    "additionalProperties": False,
    "description": "One call, or `count` identical ones: what it used and for whom.",
    "properties": _event_fields(),
}

OUTCOME: Final[Schema] = {
    "type": "object",
    "required": ["index", "id", "outcome"],
    "description": "What became of one event: created, exists, seen, or the code of a refusal with what to do.",
    "properties": {
        "index": {"type": "integer"},
        "id": {"type": "string"},
        "outcome": {"type": "string"},
        "cost": _AMOUNT,
        "currency": {"type": ["string", "null"]},
        "pricing_status": {"enum": ["priced", "incomplete", "unpriced", None]},
        "message": {"type": ["string", "null"]},
    },
}

OUTCOMES: Final[Schema] = {
    "type": "object",
    "required": ["accepted", "refused", "outcomes"],
    "description": "What became of a batch, event by event.",
    "properties": {
        "accepted": {"type": "integer"},
        "refused": {"type": "integer"},
        "outcomes": {"type": "array", "items": {"$ref": "#/components/schemas/EventOutcome"}},
    },
}

ASKING: Final[Schema] = {
    "type": "object",
    "required": ["provider"],
    "additionalProperties": False,
    "description": "A call before it is made: `usage` is its worst case, or `body` the request as it will be sent.",
    "properties": {
        **_event_fields(),
        "body": {"type": ["object", "null"], "description": "the provider's request; nothing of it is kept"},
        "wait_s": {**_SECONDS, "description": "how long to wait for others to settle"},
        "deadline_s": {
            "type": ["number", "null"],
            "minimum": 1,
            "maximum": 604_800,
            "description": "after which it is booked at the worst case",
        },
    },
}

RESERVED: Final[Schema] = {
    "type": "object",
    "required": ["id", "outcome", "service", "amount", "currency"],
    "description": "What is held. Call `service`, with `output_tokens_max` at `output_field` of the request.",
    "properties": {
        "id": {"type": "string"},
        "outcome": {"enum": ["reserved", "exists", "unreserved"]},
        "service": {"type": "string"},
        "amount": _AMOUNT,
        "currency": {"type": "string"},
        "downgraded_from": {"type": "string"},
        "output_field": {"type": ["string", "null"]},
        "output_tokens_max": {"type": ["integer", "null"]},
    },
}

SETTLING: Final[Schema] = {
    "type": "object",
    "required": ["id"],
    "description": "What happened: `usage`, or `response`, the provider's answer, of which only the usage is read.",
    "properties": {
        "id": {"type": "string", "minLength": 1, "maxLength": TEXT_CHARACTERS_MAX},
        **{name: value for name, value in _event_fields().items() if name not in ("id", "provider", "service")},
        "response": {"type": ["object", "null"]},
    },
}

SETTLED: Final[Schema] = {
    "type": "object",
    "required": ["id", "outcome", "cost", "currency", "overruns"],
    "properties": {
        "id": {"type": "string"},
        "outcome": {"type": "string"},
        "cost": _AMOUNT,
        "currency": {"type": "string"},
        "pricing_status": {"enum": ["priced", "incomplete", "unpriced", None]},
        "overruns": {"type": "array", "items": {"type": "object"}},
    },
}

RELEASING: Final[Schema] = {
    "type": "object",
    "required": ["id"],
    "properties": {"id": {"type": "string", "minLength": 1, "maxLength": TEXT_CHARACTERS_MAX}},
}

RELEASED: Final[Schema] = {
    "type": "object",
    "required": ["id", "outcome"],
    "properties": {"id": {"type": "string"}, "outcome": {"type": "string"}},
}

FITS: Final[Schema] = {
    "type": "object",
    "required": ["fits", "action", "refusals"],
    "properties": {
        "fits": {"type": "boolean"},
        "action": {"enum": ["notify", "refuse", "throttle", "downgrade"]},
        "refusals": {"type": "array", "items": {"type": "object"}},
    },
}

SPANS: Final[Schema] = {
    "type": "object",
    "description": "An ExportTraceServiceRequest of OTLP in JSON.",
    "properties": {"resourceSpans": {"type": "array", "items": {"type": "object"}}},
}

SPANS_KEPT: Final[Schema] = {
    "type": "object",
    "description": "An ExportTraceServiceResponse of OTLP: which spans were refused, and why.",
    "properties": {"partialSuccess": {"type": "object"}},
}

HEALTH: Final[Schema] = {"type": "object", "additionalProperties": True}

SCHEMAS: Final[dict[str, Schema]] = {
    "Event": EVENT,
    "EventOutcome": OUTCOME,
    "EventOutcomes": OUTCOMES,
    "Asking": ASKING,
    "Reserved": RESERVED,
    "Settling": SETTLING,
    "Settled": SETTLED,
    "Releasing": RELEASING,
    "Released": RELEASED,
    "Fits": FITS,
    "Spans": SPANS,
    "SpansKept": SPANS_KEPT,
    "Problem": Problem.model_json_schema(),
}


def document(routes: Sequence[BaseRoute]) -> Schema:
    """The whole document, from which a client can be generated."""
    found = get_openapi(
        title="Outlay", version=outlay.__version__, description=DESCRIPTION, routes=routes, openapi_version="3.1.0"
    )
    components = found.setdefault("components", {})
    components.setdefault("schemas", {}).update(SCHEMAS)
    components["securitySchemes"] = {
        "key": {"type": "http", "scheme": "bearer", "description": "an access key, or a token of a trusted issuer"}
    }
    found["security"] = [{"key": []}, {}]
    found["paths"] = {**_hot_paths(), **found["paths"], **_public_paths()}
    for operations in found["paths"].values():
        for operation in operations.values():
            # FastAPI tells of its own 422, which this server says as a problem.
            told = operation.get("responses", {})
            told["422"] = PROBLEMS[422]
    for name in ("HTTPValidationError", "ValidationError"):
        components["schemas"].pop(name, None)
    return found


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _answers(statuses: dict[int, str]) -> Schema:
    answers: Schema = {
        str(status): {"description": "done", "content": {"application/json": {"schema": _ref(name)}}}
        for status, name in statuses.items()
    }
    return {**answers, **{str(status): problem for status, problem in PROBLEMS.items()}}


def _post(tag: str, summary: str, description: str, content: Schema, statuses: dict[int, str], name: str) -> Schema:
    return {
        "post": {
            "tags": [tag],
            "operationId": name,
            "summary": summary,
            "description": description,
            "requestBody": {"required": True, "content": content},
            "responses": _answers(statuses),
        }
    }


def _json(name: str) -> Schema:
    return {"application/json": {"schema": _ref(name)}}


def _hot_paths() -> dict[str, Schema]:
    events = {
        "application/json": {"schema": {"anyOf": [_ref("Event"), {"type": "array", "items": _ref("Event")}]}},
        "application/x-ndjson": {"schema": {"type": "string", "description": "one event a line"}},
        "application/cloudevents+json": {"schema": {"type": "object", "description": "its `data` is the event"}},
        "application/cloudevents-batch+json": {"schema": {"type": "array", "items": {"type": "object"}}},
    }
    kept = _post(
        "events",
        "Record calls",
        "One event, an array, or one a line; gzip and zstd are read. Answered once it is durable. One event by itself"
        " is answered by its outcome or as a problem, a batch by an outcome for each.",
        events,
        {201: "EventOutcome"},
        "record_events",
    )
    both = {"anyOf": [_ref("EventOutcome"), _ref("EventOutcomes")]}
    kept["post"]["responses"]["200"] = {
        "description": "known already, or a batch",
        "content": {"application/json": {"schema": both}},
    }
    spans = {"application/json": {"schema": _ref("Spans")}, "application/x-protobuf": {"schema": {"type": "string"}}}
    traces = _post(
        "events",
        "Record OpenTelemetry spans",
        "OTLP over HTTP: spans of generative AI become events, of others nothing is kept, of none its content.",
        spans,
        {200: "SpansKept"},
        "record_spans",
    )
    traces["post"]["responses"]["200"]["content"]["application/x-protobuf"] = {"schema": {"type": "string"}}
    held = {201: "Reserved", 200: "Reserved"}
    about = "budgets"
    return {
        "/v1/events": kept,
        "/v1/traces": traces,
        "/v1/reserve": _post(
            about, "Reserve before a call", str(ASKING["description"]), _json("Asking"), held, "reserve"
        ),
        "/v1/settle": _post(
            about, "Settle after a call", str(SETTLING["description"]), _json("Settling"), {200: "Settled"}, "settle"
        ),
        "/v1/release": _post(
            about, "Release: no call was made", "", _json("Releasing"), {200: "Released"}, "release"
        ),
        "/v1/check": _post(
            about, "Ask whether a call fits", "Nothing is taken.", _json("Asking"), {200: "Fits"}, "check"
        ),
    }


def _public_paths() -> dict[str, Schema]:
    text = {"text/plain": {"schema": {"type": "string"}}}
    json = {"application/json": {"schema": HEALTH}}
    return {
        "/healthz": _get("Whether the process lives", json, "healthz"),
        "/readyz": _get("Whether it can serve", json, "readyz"),
        "/metrics": _get("What Prometheus reads", text, "metrics"),
    }


def _get(summary: str, content: Schema, name: str) -> Schema:
    unready = {**content, **PROBLEMS[503]["content"]}
    answers = {
        "200": {"description": "so it is", "content": content},
        **{str(status): problem for status, problem in PROBLEMS.items()},
        "503": {"description": "not now", "content": unready},
    }
    return {"get": {"tags": ["health"], "operationId": name, "summary": summary, "responses": answers}}
