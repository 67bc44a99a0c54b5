"""What the gateway refuses, said as the provider says its own errors, so that each SDK raises what it knows.

A budget refuses with 429, for which every SDK has an error of its own. What is spent for the whole window says
`x-should-retry: false` too, to the SDKs that ask (OpenAI's, Anthropic's, Groq's).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from outlay.clock import MICROSECONDS_PER_SECOND, Instant
from outlay.errors import BudgetExceeded, OutlayError, Overloaded
from outlay.faces.gateway.client import UpstreamError
from outlay.faces.gateway.headers import Headers
from outlay.faces.server.problems import status_of

_STATUS_OF_CODE: Final = {"upstream_timeout": 504, "upstream_unreachable": 502, "upstream_failed": 502}
_RETRIED_SOON: Final = ("budget_reserved", "budget_warming", "ledger_busy", "stopping", "overloaded", "rate_limited")
_SPENT: Final = "budget_spent"
Shape = Callable[[int, OutlayError, int | None], Mapping[str, Any]]
"""A refusal's body from its status, the error, and the seconds after which to try again."""

_OPENAI_TYPES: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "invalid_request_error",
    429: "rate_limit_error",
}
_ANTHROPIC_TYPES: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
}
_GOOGLE_STATES: Final = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_AWS_TYPES: Final = {
    400: "ValidationException",
    401: "UnrecognizedClientException",
    403: "AccessDeniedException",
    404: "ResourceNotFoundException",
    429: "ThrottlingException",
    502: "ModelErrorException",
    503: "ServiceUnavailableException",
    504: "ModelTimeoutException",
}


def status_as_answered(error: OutlayError) -> int:
    """The HTTP status of a refusal at the gateway."""
    if isinstance(error, BudgetExceeded):
        return 429
    if isinstance(error, UpstreamError):
        return _STATUS_OF_CODE.get(error.code, 502)
    status = status_of(error)
    return 400 if status == 422 else status


def retry_after_s(error: OutlayError, now: Instant) -> int | None:
    """After how many seconds it may help to try again; None where nobody knows."""
    if isinstance(error, Overloaded):
        return error.retry_after_s
    if isinstance(error, BudgetExceeded) and error.code == _SPENT:
        opens = error.opens_at
        if opens is None:
            return None
        return max(1, -(-(int(opens.timestamp() * MICROSECONDS_PER_SECOND) - now) // MICROSECONDS_PER_SECOND))
    return 1 if error.code in _RETRIED_SOON else None


def refusal(shape: str, error: OutlayError, now: Instant) -> tuple[int, Headers, bytes]:
    """Status, headers and body of a refusal in the shape of an API (see `upstreams.Kind.errors`)."""
    status, after_s = status_as_answered(error), retry_after_s(error, now)
    headers: Headers = [(b"content-type", b"application/json"), (b"x-outlay-refused", error.code.encode())]
    if after_s is not None:
        headers.append((b"retry-after", str(after_s).encode()))
    if error.code == _SPENT:
        headers.append((b"x-should-retry", b"false"))
    if shape == "aws":
        status, kind = _aws_kind(status, error)
        headers.append((b"x-amzn-errortype", kind.encode()))
    body = msgspec.json.encode(_SHAPES.get(shape, _openai)(status, error, after_s))
    return status, headers, body


def _openai(status: int, error: OutlayError, after_s: int | None) -> Mapping[str, Any]:
    kind = "insufficient_quota" if error.code == _SPENT else _OPENAI_TYPES.get(status, "server_error")
    return {"error": {"message": error.message, "type": kind, "param": None, "code": error.code}}


def _anthropic(status: int, error: OutlayError, after_s: int | None) -> Mapping[str, Any]:
    kind = _ANTHROPIC_TYPES.get(status, "api_error")
    return {"type": "error", "error": {"type": kind, "message": f"{error.message} [{error.code}]"}}


def _google(status: int, error: OutlayError, after_s: int | None) -> Mapping[str, Any]:
    told = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": error.code.upper(), "domain": "outlay"}
    details: list[Mapping[str, Any]] = [told]
    if after_s is not None:
        details.append({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{after_s}s"})
    state = _GOOGLE_STATES.get(status, "INTERNAL")
    return {"error": {"code": status, "message": error.message, "status": state, "details": details}}


def _mistral(status: int, error: OutlayError, after_s: int | None) -> Mapping[str, Any]:
    return {"object": "error", "message": error.message, "type": error.code, "param": None, "code": str(status)}


def _cohere(status: int, error: OutlayError, after_s: int | None) -> Mapping[str, Any]:
    return {"message": f"{error.message} [{error.code}]"}


def _replicate(status: int, error: OutlayError, after_s: int | None) -> Mapping[str, Any]:
    return {"title": error.code, "detail": error.message, "status": status}


def _elevenlabs(status: int, error: OutlayError, after_s: int | None) -> Mapping[str, Any]:
    kind = "quota_exceeded" if isinstance(error, BudgetExceeded) else error.code
    return {"detail": {"status": kind, "message": f"{error.message} [{error.code}]"}}


def _stability(status: int, error: OutlayError, after_s: int | None) -> Mapping[str, Any]:
    return {"id": "outlay", "name": error.code, "errors": [error.message]}


def _aws(status: int, error: OutlayError, after_s: int | None) -> Mapping[str, Any]:
    return {"message": f"{error.message} [{error.code}]"}


def _aws_kind(status: int, error: OutlayError) -> tuple[int, str]:
    """What boto3 and the JavaScript SDK know by name. They try a throttled call again, one over a quota not."""
    if error.code == _SPENT:
        return 400, "ServiceQuotaExceededException"
    return status, _AWS_TYPES.get(status, "InternalServerException")


_SHAPES: Final[Mapping[str, Shape]] = {
    "openai": _openai,
    "anthropic": _anthropic,
    "google": _google,
    "mistral": _mistral,
    "cohere": _cohere,
    "replicate": _replicate,
    "elevenlabs": _elevenlabs,
    "stability": _stability,
    "aws": _aws,
}
