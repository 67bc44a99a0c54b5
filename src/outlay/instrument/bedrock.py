"""boto3's bedrock-runtime: one method makes every call, gives parsed answers, and leaves bodies and events open."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import quote

import msgspec

from outlay.instrument.calls import CURRENT, Exchange, Operation
from outlay.instrument.clients import safely
from outlay.instrument.passing import Passage, RawBody, pass_events
from outlay.instrument.reserved import Held, hold
from outlay.instrument.streaming import Keeper
from outlay.instrument.targets import BOTO_SERVICES, at_path

Function = Callable[..., Any]
_STREAMS: Final = ("stream", "body")


def call_of(begin: Callable[[object], Operation | None], original: Function, scope: Callable[..., Any]) -> Function:
    """`_make_api_call` as it is put in the place of botocore's own."""

    def call(self: Any, operation_name: str, api_params: Any) -> Any:
        if CURRENT.get() is not None or at_path(self, "meta.service_model.service_name") not in BOTO_SERVICES:
            return original(self, operation_name, api_params)
        operation = begin(self)
        exchange = None if operation is None else _sending(operation, self, operation_name, api_params)
        if operation is None or exchange is None:
            return original(self, operation_name, api_params)
        with scope(operation):
            held = hold(operation, exchange)
            sent = api_params
            if held is not None and held.rewritten:
                written = safely(operation.watch.failures, "writing a request", _written, api_params, held)
                sent = api_params if written is None else written
            with _Attempts(operation, exchange):
                answer = original(self, operation_name, sent)
            safely(operation.watch.failures, "reading an answer", _take, operation, exchange, answer)
        operation.came_back()
        if not operation.waits:
            operation.finish()
        return answer

    return call


class _Attempts:
    """botocore's own retries, told in what it gives or raises."""

    def __init__(self, operation: Operation, exchange: Exchange) -> None:
        self._operation = operation
        self._exchange = exchange

    def __enter__(self) -> None:
        """Nothing to do before."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: object) -> None:
        if kind is None:
            return
        self._exchange.error = kind.__name__
        told = getattr(error, "response", None)
        if isinstance(told, Mapping) and "ResponseMetadata" in told:
            safely(self._operation.watch.failures, "reading a refusal", self._refused, told)

    def _refused(self, told: Mapping[str, Any]) -> None:
        exchange = self._exchange
        _metadata(self._operation, exchange, told["ResponseMetadata"])
        exchange.error = ""
        code = str(told.get("Error", {}).get("Code", ""))
        exchange.content = msgspec.json.encode({"error": {"code": code}})


def _sending(operation: Operation, client: Any, operation_name: str, parameters: Any) -> Exchange | None:
    failures = operation.watch.failures
    return safely(failures, "reading a request", _exchange, operation, client, operation_name, parameters)


def _exchange(operation: Operation, client: Any, operation_name: str, parameters: Mapping[str, Any]) -> Exchange:
    """The call as it goes over the wire, whatever endpoint it goes to: the region tells the price."""
    model = client.meta.service_model.operation_model(operation_name)
    path = str(model.http["requestUri"])
    for name, value in parameters.items():
        path = path.replace(f"{{{name}}}", quote(str(value), safe=":")) if isinstance(value, str) else path
    url = f"https://bedrock-runtime.{client.meta.region_name}.amazonaws.com{path}"
    body = parameters.get("body", parameters)
    if hasattr(body, "read"):
        body = None  # A file of the program's, which reading here would empty.
    exchange = Exchange(str(model.http["method"]), url, body)
    operation.sending(exchange)
    return exchange


def _written(parameters: Mapping[str, Any], held: Held) -> dict[str, Any]:
    """The parameters with the body that is to be sent."""
    sent = dict(parameters)
    if "body" in sent:
        sent["body"] = json.dumps(held.body)
    else:
        sent.update(held.body)
    if held.replaced is not None:
        sent["modelId"] = held.replaced[1]
    return sent


def _metadata(operation: Operation, exchange: Exchange, metadata: Mapping[str, Any]) -> None:
    exchange.status_code = metadata.get("HTTPStatusCode")
    exchange.headers = metadata.get("HTTPHeaders") or {}
    operation.attempts = 1 + int(metadata.get("RetryAttempts") or 0)


def _take(operation: Operation, exchange: Exchange, answer: Any) -> None:
    _metadata(operation, exchange, answer["ResponseMetadata"])
    name, stream = next(((name, answer[name]) for name in _STREAMS if answer.get(name) is not None), ("", None))
    if stream is None:
        plain = {key: value for key, value in answer.items() if key != "ResponseMetadata"}
        exchange.content = json.dumps(plain, default=str).encode()
    elif hasattr(stream, "_event_generator"):
        passage = Passage(operation, exchange, Keeper("application/vnd.amazon.eventstream"), None)
        pass_events(stream, passage)
    elif hasattr(stream, "_raw_stream"):
        passage = Passage(operation, exchange, Keeper(exchange.headers.get("content-type", "")), None)
        stream._raw_stream = RawBody(stream._raw_stream, passage)
    else:
        raise TypeError(f"{name} is {type(stream).__name__}, which is no stream that is known")
