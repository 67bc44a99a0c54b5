"""A call as it was seen on its way, bare of every text, and what it tells.

A program's call must not wait while its answer is read. So what was seen is stripped to what the providers' files
read (numbers, and the words under the names in `KEPT_NAMES`), kept in the spool, and read when the spool is drained.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
from msgspec.structs import replace

from outlay.capture.detect import UNKNOWN, is_known_host
from outlay.capture.extract import Extraction, extract
from outlay.capture.paths import snake
from outlay.capture.streams import Reading
from outlay.clock import Instant
from outlay.model import Basis, Status

CLOSED: Final = "closed"
"""What is said of a stream that the program closed, or forgot, before its end."""

SESSION_CLOSED: Final = "SessionClosed"
"""What is said of an answer that had begun when its live session was closed."""

_CANCELLED: Final = ("CancelledError", "GeneratorExit", "KeyboardInterrupt", "SystemExit", CLOSED, SESSION_CLOSED)
_UNSENT: Final = (
    "ConnectError",
    "ConnectTimeout",
    "PoolTimeout",
    "ConnectTimeoutError",
    "EndpointConnectionError",
    "ClientConnectorError",
    "ClientConnectorDNSError",
    "UnsupportedProtocol",
)
"""Exceptions after which a provider cannot have done, and billed, any work."""

_NAMES: Final = (
    *("__type", "agent", "aspect_ratio", "aspectRatio", "batch", "blockReason", "budget_tokens", "cancel"),
    *("candidateCount", "code", "custom_id", "dimensions", "done", "duration", "durationSeconds", "effort"),
    *("error_code", "event", "event_type", "finish_reason", "foundationModel", "generation_id", "get", "id"),
    *("inference_geo", "invokedModelId", "is_finished", "is_streaming", "log_id", "max_completion_tokens"),
    *("max_output_tokens", "max_tokens", "max_tokens_to_sample", "maxOutputTokens", "maxTokenCount"),
    *("maxTokens", "metric", "modality", "model", "model_id", "model_name", "modelArn", "modelId", "models"),
    *("modelVersion", "n", "name", "num_generations", "num_outputs", "object", "output_dimension"),
    *("outputDimensionality", "quality", "reason", "reasoning_effort", "recordId", "region", "request_id"),
    *("resolution", "response_id", "response_type", "responseId", "role", "sampleCount", "sampleImageSize"),
    *("search_context_size", "search_depth", "search_type", "seconds", "service_tier", "serviceTier", "size"),
    *("speech_model", "speech_model_used", "speed", "status", "status_code", "stream", "style", "success"),
    *("task_id", "temperature", "thinkingBudget", "top_p", "topP", "trafficType", "transcription_id", "ttl"),
    *("type", "version"),
)
KEPT_NAMES: Final = frozenset((*_NAMES, *map(snake, _NAMES)))
"""The names, in both spellings, under which some file reads a text, and one word is kept.

Other texts leave a dash in their place.
"""

_FILLED_NAMES: Final = frozenset(("resolution", "size", "quality", "aspect_ratio", "duration", "model", "style"))
_ARGUMENTS: Final = frozenset(("input", "args", "arguments", "parsed"))
"""What programs and models fill as they please: there a word or a number is kept under those few names only."""

HEADERS: Final = frozenset(
    (
        *("x-request-id", "request-id", "x-amzn-requestid", "apim-request-id", "x-global-transaction-id"),
        *("x-amzn-bedrock-input-token-count", "x-amzn-bedrock-output-token-count", "x-amzn-errortype"),
        *("x-amzn-bedrock-cache-read-input-token-count", "x-amzn-bedrock-cache-write-input-token-count"),
        *("character-cost", "x-character-count", "history-item-id", "dg-char-count", "dg-request-id"),
        *("dg-model-name", "x-litellm-response-cost", "content-type"),
    )
)
"""The headers that a provider's file reads."""

_BYTES: Final = frozenset(name.encode() for name in HEADERS)
_WORD: Final = re.compile(r"[\x21-\x7e]{0,256}\Z")
_DASH: Final = "-"
_DEEP: Final = 24
_LIST_MAX: Final = 512
_VECTOR: Final = 16
MEASURED_TEXT_MAX: Final = 16_384


class Seen(msgspec.Struct, frozen=True, array_like=True):
    """One call: when, what was sent and came back, bare, and what its wrapper says of it.

    `provider` is whose answer it is where neither the address tells it nor (`any_provider`) the answer does; `error`
    is how it ended where it did not end by itself; `fields` are fields of `record`.
    """

    id: str
    at: Instant
    url: str
    provider: str
    any_provider: bool
    request: dict[str, Any]
    frames: list[dict[str, Any]]
    headers: dict[str, str]
    status_code: int | None
    streamed: bool
    ended: bool
    opaque: bool
    error: str
    is_get: bool
    fields: dict[str, Any]


def bare(value: Any, depth: int = 0, filled: bool = False) -> Any:
    """A body without its texts. `filled` says that it lies where programs and models write as they please."""
    kind = type(value)
    if kind is dict:
        if depth > _DEEP:
            return {}
        found, kept = {}, _FILLED_NAMES if filled else KEPT_NAMES
        for name, item in value.items():
            if type(item) is str:
                found[name] = item if name in kept and _WORD.match(item) else (_DASH if item else item)
            elif type(item) in (int, float, bool) or item is None:
                if not filled or name in kept:
                    found[name] = item
            else:
                found[name] = bare(item, depth + 1, filled or name in _ARGUMENTS)
        return found
    if kind is list:
        if len(value) > _VECTOR and type(value[0]) in (int, float):
            return [0]  # A vector: that it is there says what the answer is.
        return [bare(item, depth + 1, filled) for item in value[:_LIST_MAX]]
    if kind is str or kind is bytes:
        return _DASH
    if isinstance(value, Mapping):
        return bare(dict(value), depth, filled)
    return None if filled else value


def bare_request(body: Mapping[str, Any]) -> dict[str, Any] | None:
    """A request's body without its texts; where a text's length may be what is billed, as many dashes.

    None where such a text is too long to be kept so.
    """
    found: dict[str, Any] = {}
    for name, item in body.items():
        if type(item) is str and name in ("text", "input"):
            if len(item) > MEASURED_TEXT_MAX:
                return None
            found[name] = _DASH * len(item)
        elif type(item) is str:
            if name in KEPT_NAMES and _WORD.match(item):
                found[name] = item
        elif isinstance(item, Mapping):
            found[name] = bare(item, 1, name in _ARGUMENTS or name == "metadata")
        elif type(item) is list:
            kept = _listed(name, item)
            if kept is None:
                return None
            found[name] = kept
        elif isinstance(item, int | float | bool):
            found[name] = item
    return found


def _listed(name: str, items: list[Any]) -> list[Any] | None:
    """Of a request's lists what is read: the texts of `inputs`, the models of `requests`, that there are tools."""
    if name == "inputs":
        texts = [str(one.get("text", "")) if isinstance(one, Mapping) else "" for one in items]
        return [{"text": _DASH * len(text)} for text in texts] if sum(map(len, texts)) <= MEASURED_TEXT_MAX else None
    if name in ("requests", "tools"):
        return [bare(one, 1) for one in items[:_LIST_MAX]]
    return []


def bare_headers(headers: Any) -> dict[str, str]:
    """The headers that are read, by their names in small letters."""
    raw = getattr(headers, "raw", None)
    if raw is not None:
        return {low.decode(): value.decode("latin-1") for name, value in raw if (low := name.lower()) in _BYTES}
    return {low: str(value) for name, value in headers.items() if (low := str(name).lower()) in HEADERS}


def address(url: str) -> str:
    """The address, as far as it says something: of a host that no file names only the path."""
    return url if is_known_host(url) else urlsplit(url).path or "/"


def told_provider(url: str, provider: str) -> str | None:
    """The provider where the address does not tell it."""
    return None if is_known_host(url) else provider


def unsent(error: str) -> bool:
    """Whether after this exception a provider cannot have done any work."""
    return error in _UNSENT


def told(seen: Seen, answer: object | None = None) -> Extraction:
    """What a seen call tells; `answer` is the answer itself where it is still at hand."""
    url = address(seen.url)
    provider = None if seen.any_provider else told_provider(seen.url, seen.provider)

    def read(whose: str | None) -> Extraction:
        reading = answer if answer is not None else _reading(seen)
        return extract(reading, provider=whose, url=url, request=seen.request, status_code=seen.status_code)

    found = read(provider)
    if provider is None and found.provider in (UNKNOWN, "compatible"):
        found = read(seen.provider)
    return marked(found, seen.error, seen.status_code)


def _reading(seen: Seen) -> Reading:
    return Reading(
        frames=list(seen.frames),
        streamed=seen.streamed,
        ended=seen.ended,
        opaque=seen.opaque,
        headers=seen.headers,
        status_code=seen.status_code,
    )


def marked(found: Extraction, error: str, status_code: int | None) -> Extraction:
    """With the mark of what did not come to its end; `error` is how it ended, if not by itself."""
    if not error or found.status is not Status.OK or found.found == "none":
        return found
    answered = status_code is not None
    if answered and not found.cut and (found.usage or error == CLOSED):
        return found  # All was told before the stream was left.
    came = "the answer broke off" if answered else "no answer came"
    note = () if error in _UNSENT else (f"{came}: the provider may bill more than this",)
    return replace(
        found,
        status=Status.CANCELLED if error in _CANCELLED else Status.FAILED,
        error=None if error == CLOSED else error,
        basis=Basis.MEASURED if error in _UNSENT else Basis.ESTIMATED,
        found="usage" if found.usage else "missing",
        notes=(*(one for one in found.notes if not one.startswith("the answer bears no usage")), *note),
    )
