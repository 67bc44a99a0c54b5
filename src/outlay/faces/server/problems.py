"""Errors as RFC 9457 problems: one table from an error's code, else its class, to a status."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import msgspec

from outlay.errors import (
    AccessDenied,
    AmbiguousId,
    BudgetExceeded,
    EventConflict,
    InvalidInput,
    LedgerClosed,
    LedgerError,
    LedgerFull,
    MissingExtra,
    NotFound,
    OutlayError,
    Overloaded,
    PriceBookError,
    Refused,
)

CONTENT_TYPE: Final = b"application/problem+json"

STATUS_OF_CODE: Final[dict[str, int]] = {
    "key_required": 401,
    "unknown_key": 401,
    "key_expired": 401,
    "key_revoked": 401,
    "bad_token": 401,
    "budget_reserved": 429,
    "bad_json": 400,
    "bad_body": 400,
    "bad_compression": 400,
    "too_deep": 400,
    "body_too_slow": 408,
    "no_such_route": 404,
    "method_not_allowed": 405,
    "body_too_large": 413,
    "too_many_events": 413,
    "unknown_content_type": 415,
    "unknown_compression": 415,
    "rate_limited": 429,
    "overloaded": 429,
    "stopping": 503,
    "query_too_slow": 422,
    "too_many_rows": 422,
    "not_on_a_server": 501,
}
"""The status of a code where it is not that of its class."""

STATUS_OF_CLASS: Final[tuple[tuple[type[OutlayError], int], ...]] = (
    (BudgetExceeded, 402),
    (EventConflict, 409),
    (AccessDenied, 403),
    (Refused, 409),
    (AmbiguousId, 409),
    (NotFound, 404),
    (PriceBookError, 422),
    (InvalidInput, 422),
    (Overloaded, 429),
    (LedgerFull, 507),
    (LedgerClosed, 503),
    (LedgerError, 503),
    (MissingExtra, 501),
)
"""The status of a class of errors; the first that fits counts."""

_AMOUNTS: Final = ("budget", "subject", "window", "unit", "spent", "reserved", "limit", "asked", "opens_at")


def status_of(error: OutlayError) -> int:
    """The HTTP status of an error."""
    known = STATUS_OF_CODE.get(error.code)
    if known is not None:
        return known
    return next((status for kind, status in STATUS_OF_CLASS if isinstance(error, kind)), 500)


def problem(error: OutlayError) -> dict[str, Any]:
    """The members of the problem: type, title, status, detail, code, and what the error names besides."""
    told: dict[str, Any] = {
        "type": f"urn:outlay:error:{error.code}",
        "title": (error.__class__.__doc__ or "").split("\n", 1)[0],
        "status": status_of(error),
        "detail": error.message,
        "code": error.code,
        "error": type(error).__name__,
    }
    field = getattr(error, "field", None)
    if field:
        told["field"] = field
    if isinstance(error, EventConflict) and error.id:
        told["id"] = error.id
    if isinstance(error, BudgetExceeded):
        told.update(_amounts(error))
        told["others"] = [{"code": other.code, "detail": other.message, **_amounts(other)} for other in error.others]
    return told


def problem_body(error: OutlayError) -> bytes:
    """The problem as JSON."""
    return msgspec.json.encode(problem(error))


def problem_headers(error: OutlayError) -> list[tuple[bytes, bytes]]:
    """The headers that go with a problem: when to try again, and how to say who one is."""
    headers = [(b"content-type", CONTENT_TYPE)]
    if isinstance(error, Overloaded):
        headers.append((b"retry-after", str(error.retry_after_s).encode()))
    elif error.code in ("budget_reserved", "ledger_busy", "stopping"):
        headers.append((b"retry-after", b"1"))
    if status_of(error) == 401:
        headers.append((b"www-authenticate", b'Bearer realm="outlay"'))
    return headers


def _amounts(error: BudgetExceeded) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for name in _AMOUNTS:
        value = getattr(error, name, None)
        if isinstance(value, Decimal):
            told[name] = format(value, "f")
        elif isinstance(value, datetime):
            told[name] = value.isoformat()
        else:
            told[name] = value
    return told
