"""A decorator for AWS Lambda handlers: the invocation's own cost beside that of the models it calls.

    @costed(ledger, envelope=True, emf=EmfLog("Manuel/Costs"))
    def handler(event, context): ...

Charged are the function (requests and GB-seconds of the memory it has), the request to API Gateway that brought it,
and what the watched boto3 clients of DynamoDB and S3 used: by the price book's rates for the function's region.
What no client tells, such as the seconds that Transcribe heard, is said by `current_invocation().use(…)`.
"""

from __future__ import annotations

import functools
import logging
import platform
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from decimal import ROUND_CEILING, Decimal
from typing import TYPE_CHECKING, Any, Final

from outlay.capture.intake import make_id, stopwatch_s
from outlay.capture.intake import quantity as read_quantity
from outlay.errors import InvalidInput, OutlayError
from outlay.instrument.envelope import Label, RequestCost, current_request, encoded, members_of, with_members
from outlay.model import Quantity
from outlay.money import EXACT, add_exactly

if TYPE_CHECKING:
    from outlay.api import Ledger

Handler = Callable[[Any, Any], Any]
OfEvent = Callable[[Any], Any]

logger = logging.getLogger("outlay.aws_lambda")

OPERATIONS: Final[Mapping[str, str]] = {
    "lambda": "execution",
    "api-gateway": "requests",
    "dynamodb": "requests",
    "s3": "requests",
    "transcribe": "speech_to_text",
}
"""What the ledger calls what a service of the cloud did for an invocation."""

_MILLISECOND: Final = Decimal("0.001")
_NANO: Final = Decimal("1e-9")
_MB_PER_GB: Final = 1_024
_DYNAMODB_READS: Final = frozenset(("GetItem", "BatchGetItem", "Query", "Scan", "TransactGetItems"))
_DYNAMODB_WRITES: Final = frozenset(("PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem", "TransactWriteItems"))
# https://aws.amazon.com/s3/pricing/: PUT, COPY, POST and LIST are one kind of request, deletes are free.
_S3_PUTS: Final = frozenset(
    (
        "PutObject",
        "CopyObject",
        "CreateMultipartUpload",
        "UploadPart",
        "UploadPartCopy",
        "CompleteMultipartUpload",
        "ListObjects",
        "ListObjectsV2",
        "ListObjectVersions",
        "ListMultipartUploads",
        "ListParts",
        "ListBuckets",
    )
)
_ASKED: Final = "outlay_asked_capacity"
_SERVER_ERROR: Final = 500
_S3_DELETES: Final = frozenset(("DeleteObject", "DeleteObjects", "AbortMultipartUpload", "DeleteBucket"))


class Invocation(RequestCost):
    """One run of a function: a request's cost, to which the cloud's own is added when it ends."""

    ledger: Ledger
    region: str | None = None
    architecture: str | None = None

    def __init__(self, request_id: str, **known: Any) -> None:
        """As for `RequestCost`."""
        super().__init__(request_id, **known)
        self._used: dict[str, dict[str, Quantity]] = {}

    def use(self, service: str, **usage: Any) -> None:
        """Add what an AWS service did for this invocation: `use("transcribe", audio_seconds=18)`.

        One service is one call of the ledger, kept when the invocation ends. Raises InvalidInput
        `negative_quantity`, `not_a_number` or `infinite_quantity`.
        """
        with self._lock:
            sums = self._used.setdefault(service, {})
            for meter, value in usage.items():
                sums[meter] = add_exactly(sums.get(meter, 0), read_quantity(value, meter))

    def keep(self, seconds: Decimal, memory_mb: int | None, function: str | None) -> None:
        """Record what the cloud did: what was `use`d, then the function itself."""
        for service, usage in self._used.items():
            self._record(service, usage)
        if memory_mb is not None:
            gb_seconds = EXACT.divide(EXACT.multiply(seconds, memory_mb), _MB_PER_GB).quantize(_NANO, context=EXACT)
            own = {"memory_mb": memory_mb, "function": function}
            self._record("lambda", {"requests": 1, "gb_seconds": gb_seconds}, duration_s=seconds, parameters=own)

    def _record(self, service: str, usage: Mapping[str, Quantity], **fields: Any) -> None:
        conditions = {"region": self.region}
        if service == "lambda" and self.architecture == "arm64":
            conditions["architecture"] = self.architecture
        if service == "api-gateway-http":
            service, conditions["api"] = "api-gateway", "http"
        operation = OPERATIONS.get(service)
        self.ledger.record(
            provider="aws", service=service, operation=operation, usage=usage, conditions=conditions, **fields
        )


def current_invocation() -> Invocation:
    """The invocation that is under way here. Raises InvalidInput `no_invocation` outside a decorated handler."""
    request = current_request()
    if not isinstance(request, Invocation):
        raise InvalidInput("no invocation is under way here; decorate the handler with costed", code="no_invocation")
    return request


def costed(
    ledger: Ledger | None = None,
    *,
    operation: str | OfEvent | None = None,
    user: OfEvent | None = None,
    feature: str | None = None,
    envelope: bool | str = False,
    usage: Callable[[RequestCost], Mapping[str, Any] | None] | None = None,
    emf: Callable[[RequestCost], None] | None = None,
    label: Label | None = None,
    region: str | None = None,
    memory_mb: int | None = None,
    stopwatch: Callable[[], float] = stopwatch_s,
) -> Callable[[Handler], Handler]:
    """The decorator of a handler. Without `ledger` it is `outlay.current_ledger()`, opened at the first invocation.

    `operation` is the last part of the route's path, else the function's name; `user` the subject of the claims that
    API Gateway or AppSync checked. `envelope` puts the cost under `cost` (or the name given) into what the handler
    answers: a proxy answer's JSON object, or a mapping; `usage` what the user may still use beside it. `emf` is told
    of each invocation at its end. Region and memory are the function's own unless they are given.

    The ledger is flushed before the handler answers, since Lambda may freeze the process then. A failure of Outlay is
    logged and never fails the handler.
    """

    def decorate(handler: Handler) -> Handler:
        @functools.wraps(handler)
        def costed_handler(event: Any, context: Any) -> Any:
            started_s = stopwatch()
            try:
                book = ledger if ledger is not None else _configured()
                invocation = _begun(book, event, context, operation, user, region)
            except OutlayError as error:
                logger.warning("an invocation goes unwatched (%s): %s", error.code, error)
                return handler(event, context)
            invocation.attribute(feature=feature or invocation.operation)
            with invocation.gathering():
                try:
                    result = handler(event, context)
                finally:
                    _end(invocation, started_s, stopwatch, context, memory_mb, emf)
            with _never_failing("the envelope"):
                if envelope:
                    key = "cost" if envelope is True else envelope
                    block = {"usage": usage(invocation) if usage is not None else None}
                    block = {name: value for name, value in block.items() if value}
                    return _answer(result, {**block, key: invocation.envelope(book.clock.now(), label=label)})
            return result

        return costed_handler

    return decorate


def count_aws(client: Any, *, ask_capacity: bool = True) -> Any:
    """Count what a boto3 client, resource or session of DynamoDB and S3 uses inside an invocation; it is given back.

    DynamoDB says what a call consumed only when it is asked: with `ask_capacity` it is, and the answer that the
    program sees has it only if the program asked itself.
    """
    events = client.events if not hasattr(client, "meta") else getattr(client.meta, "client", client).meta.events
    if ask_capacity:
        events.register("provide-client-params.dynamodb", _ask_capacity, unique_id="outlay-ask-capacity")
    events.register("after-call.dynamodb", _count_dynamodb, unique_id="outlay-count-dynamodb")
    events.register("after-call.s3", _count_s3, unique_id="outlay-count-s3")
    return client


def _configured() -> Ledger:
    from outlay import current_ledger

    return current_ledger()


@contextmanager
def _never_failing(what: str) -> Iterator[None]:
    try:
        yield
    except OutlayError as error:
        logger.warning("%s of this invocation is left out (%s): %s", what, error.code, error)


def _begun(
    ledger: Ledger,
    event: Any,
    context: Any,
    operation: str | OfEvent | None,
    user: OfEvent | None,
    region: str | None,
) -> Invocation:
    now = ledger.clock.now()
    name = operation(event) if callable(operation) else operation or _operation_of(event, context)
    id = str(getattr(context, "aws_request_id", None) or make_id(now))
    invocation = Invocation(id, currency=ledger.currency, operation=name, started_at=now)
    invocation.ledger = ledger
    invocation.region = region or _region_of(context)
    invocation.architecture = "arm64" if platform.machine() in ("aarch64", "arm64") else None
    who = user(event) if user is not None else _subject_of(event)
    invocation.attribute(user=who)
    gateway = _gateway_of(event)
    if gateway is not None:
        invocation.use(gateway, requests=1)
    return invocation


def _end(
    invocation: Invocation,
    started_s: float,
    stopwatch: Callable[[], float],
    context: Any,
    memory_mb: int | None,
    emf: Callable[[RequestCost], None] | None,
) -> None:
    # Billed is each millisecond that was begun.
    seconds = Decimal(repr(stopwatch() - started_s)).quantize(_NANO, context=EXACT)
    seconds = seconds.quantize(_MILLISECOND, ROUND_CEILING, EXACT)
    memory = memory_mb or getattr(context, "memory_limit_in_mb", None)
    with _never_failing("the cost"):
        invocation.keep(seconds, int(memory) if memory else None, getattr(context, "function_name", None))
    with _never_failing("the flush"):
        invocation.ledger.flush()
    if emf is not None:
        with _never_failing("the metrics"):
            emf(invocation)


def _operation_of(event: Any, context: Any) -> str | None:
    path = _at(event, "resource") or str(_at(event, "routeKey") or "").rpartition(" ")[2] or _at(event, "rawPath")
    parts = [part for part in str(path or "").split("/") if part and not part.startswith(("{", "$"))]
    return parts[-1] if parts else getattr(context, "function_name", None)


def _subject_of(event: Any) -> str | None:
    places = (
        ("requestContext", "authorizer", "jwt", "claims", "sub"),
        ("requestContext", "authorizer", "claims", "sub"),
        ("identity", "claims", "sub"),
        ("identity", "sub"),
    )
    return next((str(found) for place in places if (found := _at(event, *place))), None)


def _gateway_of(event: Any) -> str | None:
    """Which API Gateway brought the event: a REST API, an HTTP API, or none (a function's URL, a load balancer)."""
    context = _at(event, "requestContext")
    if not isinstance(context, Mapping) or "elb" in context or ".lambda-url." in str(context.get("domainName")):
        return None
    if "http" in context:
        return "api-gateway-http"
    return "api-gateway" if "resourcePath" in context or "httpMethod" in context else None


def _region_of(context: Any) -> str | None:
    parts = str(getattr(context, "invoked_function_arn", "")).split(":")
    return parts[3] if len(parts) > 3 and parts[3] else None


def _at(value: Any, *names: str) -> Any:
    for name in names:
        if not isinstance(value, Mapping):
            return None
        value = value.get(name)
    return value


def _answer(result: Any, block: Mapping[str, Any]) -> Any:
    """What the handler answers, with the block where there is a place for it; a copy, never changed in place."""
    if not isinstance(result, Mapping):
        return result
    status, body = result.get("statusCode"), result.get("body")
    if status is None:
        plain = members_of(encoded(block)) or {}
        return {**{name: _plain(value) for name, value in plain.items()}, **result}
    if not 200 <= int(status) < 300 or not isinstance(body, str) or result.get("isBase64Encoded"):
        return result
    own = members_of(body.encode())
    if own is None:
        return result
    answer = {**result, "body": with_members(body.encode(), own, block).decode()}
    headers = {
        name: str(len(answer["body"].encode())) if name.lower() == "content-length" else value
        for name, value in (result.get("headers") or {}).items()
    }
    return {**answer, "headers": headers} if headers else answer


def _plain(raw: Any) -> Any:
    """Plain values that Lambda's own JSON encoder takes."""
    import json

    return json.loads(bytes(raw))


# botocore tells its handlers much by name; they take what they need of it.


def _ask_capacity(params: Mapping[str, Any], model: Any, context: dict[str, Any], **_: Any) -> dict[str, Any] | None:
    if model.name not in _DYNAMODB_READS | _DYNAMODB_WRITES or _counting() is None:
        return None
    if "ReturnConsumedCapacity" in params:
        return None
    context[_ASKED] = True
    return {**params, "ReturnConsumedCapacity": "TOTAL"}


def _count_dynamodb(parsed: dict[str, Any], model: Any, context: Mapping[str, Any], **_: Any) -> None:
    invocation = _counting()
    if invocation is None:
        return
    consumed = parsed.pop("ConsumedCapacity", None) if context.get(_ASKED) else parsed.get("ConsumedCapacity")
    own = "read_request_units" if model.name in _DYNAMODB_READS else "write_request_units"
    for table in [consumed] if isinstance(consumed, Mapping) else consumed or ():
        if "ReadCapacityUnits" in table or "WriteCapacityUnits" in table:
            units = {"read_request_units": table.get("ReadCapacityUnits", 0)}
            units["write_request_units"] = table.get("WriteCapacityUnits", 0)
        else:
            units = {own: table.get("CapacityUnits", 0)}
        invocation.use("dynamodb", **{meter: amount for meter, amount in units.items() if amount})


def _count_s3(http_response: Any, model: Any, **_: Any) -> None:
    invocation = _counting()
    if invocation is None or http_response.status_code >= _SERVER_ERROR:
        return
    meter = "put_requests" if model.name in _S3_PUTS else "get_requests"
    invocation.use("s3", **{"delete_requests" if model.name in _S3_DELETES else meter: 1})


def _counting() -> Invocation | None:
    request = current_request()
    return request if isinstance(request, Invocation) else None
