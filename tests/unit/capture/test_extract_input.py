"""Everything a caller may hold in hand after a call can be given as it is."""

from __future__ import annotations

import base64
import gzip
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from types import SimpleNamespace
from typing import Any, ClassVar
from urllib.parse import quote

import pytest

import outlay
from outlay.capture.extract import extract
from outlay.errors import InvalidInput

BODY: dict[str, Any] = {
    "id": "c",
    "object": "chat.completion",
    "model": "gpt-4o",
    "choices": [{"message": {"content": "ä"}}],
    "usage": {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8},
}
USAGE = {"input_tokens": 5, "output_tokens": 3}
CHUNKS = [
    {"id": "c", "object": "chat.completion.chunk", "model": "gpt-4o", "choices": [{"delta": {"content": "a\nb"}}]},
    {"id": "c", "object": "chat.completion.chunk", "model": "gpt-4o", "choices": [], "usage": BODY["usage"]},
]
EVENTS = "".join(f"event: x\r\ndata: {json.dumps(chunk)}\r\n\r\n" for chunk in CHUNKS) + "data: [DONE]\r\n\r\n"


class Model:
    """A pydantic model, as far as a reader sees."""

    def __init__(self, body: dict[str, Any]) -> None:
        self.body = body

    def model_dump(self, **_: object) -> dict[str, Any]:
        return self.body


class OldModel:
    def __init__(self, body: dict[str, Any]) -> None:
        self.body = body

    def to_dict(self) -> dict[str, Any]:
        return self.body


@dataclass
class Plain:
    id: str
    object: str
    model: str
    choices: list[Any]
    usage: Any


class Http:
    """An answer of an HTTP client."""

    status_code = 200
    headers: ClassVar = {"X-Request-Id": "req-1"}
    url = "https://api.openai.com/v1/chat/completions"
    content = json.dumps(BODY).encode()


@pytest.mark.parametrize(
    "response",
    [
        BODY,
        json.dumps(BODY),
        json.dumps(BODY).encode(),
        bytearray(json.dumps(BODY).encode()),
        gzip.compress(json.dumps(BODY).encode(), mtime=0),
        "\ufeff" + json.dumps(BODY),
        Model(BODY),
        OldModel(BODY),
        Plain(**{**BODY, "usage": Model(BODY["usage"])}),
        Http(),
        [BODY],
        CHUNKS,
        [Model(chunk) for chunk in CHUNKS],
        EVENTS,
        EVENTS.encode(),
        gzip.compress(EVENTS.encode(), mtime=0),
        EVENTS.splitlines(),
        EVENTS.splitlines(keepends=True),
        [EVENTS.encode()[:100], EVENTS.encode()[100:]],
        [json.dumps(chunk) for chunk in CHUNKS],
        "\n".join(json.dumps(chunk) for chunk in CHUNKS),
        json.dumps(CHUNKS),
        json.dumps(CHUNKS) + "trailing",
        [CHUNKS],
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_response_is_read_as_it_is(response: object) -> None:
    found = extract(response)
    assert (found.provider, found.service, found.usage) == ("openai", "gpt-4o", USAGE)
    assert found.notes == ()


def _message(event: str, payload: dict[str, Any], kind: str = "event") -> bytes:
    names = {":event-type" if kind == "event" else ":exception-type": event, ":message-type": kind}
    headers = b"".join(
        bytes([len(name)]) + name.encode() + b"\x07" + len(value).to_bytes(2, "big") + value.encode()
        for name, value in names.items()
    )
    body = json.dumps(payload).encode()
    prelude = (16 + len(headers) + len(body)).to_bytes(4, "big") + len(headers).to_bytes(4, "big")
    message = prelude + zlib.crc32(prelude).to_bytes(4, "big") + headers + body
    return message + zlib.crc32(message).to_bytes(4, "big")


def test_the_bytes_of_an_amazon_event_stream_are_read_and_a_cut_one_as_far_as_it_goes() -> None:
    usage = {"inputTokens": 5, "outputTokens": 3, "totalTokens": 8}
    data = _message("messageStart", {"role": "assistant"}) + _message("metadata", {"usage": usage})
    whole = extract(data, service="amazon.nova-lite-v1:0")
    assert (whole.provider, whole.usage) == ("aws", USAGE)
    cut = extract(data[:-9], provider="aws", service="amazon.nova-lite-v1:0")
    assert (cut.found, cut.usage) == ("unknown", {})


def test_an_exception_in_an_amazon_event_stream_fails_the_call() -> None:
    usage = {"inputTokens": 5, "outputTokens": 3, "totalTokens": 8}
    data = _message("metadata", {"usage": usage}) + _message("throttlingException", {"message": "x y"}, "exception")
    found = extract(data, service="amazon.nova-lite-v1:0")
    assert (found.status, found.error, found.usage) == ("failed", "throttlingException", USAGE)


def test_chunks_of_an_amazon_event_stream_hold_their_json_in_base64() -> None:
    inner = {
        "inputTextTokenCount": 5,
        "totalOutputTextTokenCount": 3,
        "outputText": "x",
        "completionReason": "FINISH",
    }
    data = _message("chunk", {"bytes": base64.b64encode(json.dumps(inner).encode()).decode(), "p": "abc"})
    assert extract(data, service="amazon.titan-text-express-v1").usage == USAGE


def test_headers_of_other_types_in_an_event_stream_are_stepped_over() -> None:
    """Types by number: 0 true, 4 an int, 8 a time, 6 bytes; 7 is text."""
    odd = b"\x01a\x00" + b"\x01b\x04abcd" + b"\x01c\x08abcdefgh" + b"\x01d\x06\x00\x02xy"
    name = b"\x0b:event-type\x07\x00\x08metadata"
    body = json.dumps({"usage": {"inputTokens": 5, "outputTokens": 3, "totalTokens": 8}}).encode()
    headers = odd + name
    prelude = (16 + len(headers) + len(body)).to_bytes(4, "big") + len(headers).to_bytes(4, "big")
    data = prelude + zlib.crc32(prelude).to_bytes(4, "big") + headers + body + b"\0\0\0\0"
    assert extract(data, service="amazon.nova-lite-v1:0").usage == USAGE


class Field:
    def __init__(self, name: str) -> None:
        self.name = name


class Message:
    """A protocol buffer, as far as a reader sees."""

    DESCRIPTOR = object()

    def __init__(self, **fields: Any) -> None:
        self.fields = fields

    def ListFields(self) -> list[tuple[Field, Any]]:  # noqa: N802 - the name that protocol buffers use
        return [(Field(name), value) for name, value in self.fields.items()]


class Wrapped:
    def __init__(self, proto: Message) -> None:
        self.proto = proto


def test_protocol_buffers_are_read_bare_or_held() -> None:
    usage = Message(
        prompt_tokens=5, completion_tokens=3, total_tokens=108, reasoning_tokens=100, prompt_text_tokens=5
    )
    message = Message(id="x", model="grok-4", outputs=[Message(index=0)], usage=usage)
    for response in (message, Wrapped(message)):
        found = extract(response)
        assert (found.provider, found.service, found.usage["output_tokens"]) == ("x-ai", "grok-4", 103)


def test_an_id_that_names_no_model_gives_way_to_what_the_caller_says() -> None:
    arn = "arn:aws:bedrock:us-east-1:1:application-inference-profile/abc"
    url = f"https://bedrock-runtime.us-east-1.amazonaws.com/model/{quote(arn, safe='')}/converse"
    body = {"usage": {"inputTokens": 5, "outputTokens": 3, "totalTokens": 8}}
    silent = extract(body, url=url)
    assert silent.service == arn
    assert any("names no model" in note for note in silent.notes)
    told = extract(body, url=url, service="amazon.nova-lite-v1:0")
    assert (told.service, told.notes) == ("amazon.nova-lite-v1:0", ())


def test_a_result_of_boto3_brings_its_headers_status_and_stream() -> None:
    metadata = {"RequestId": "r", "HTTPStatusCode": 200, "HTTPHeaders": {"x-amzn-requestid": "r"}}
    usage = {"inputTokens": 5, "outputTokens": 3, "totalTokens": 8}
    stream = [{"messageStart": {}}, {"metadata": {"usage": usage}}]
    found = extract({"ResponseMetadata": metadata, "stream": stream}, service="amazon.nova-lite-v1:0")
    assert (found.usage, found.call_key) == (USAGE, "aws:r")
    refused = extract({"ResponseMetadata": {**metadata, "HTTPStatusCode": 400}, "message": "x y"}, provider="aws")
    assert (refused.status, refused.error) == ("failed", "http_400")


def test_enums_of_an_sdk_are_read_by_their_value() -> None:
    class Modality(Enum):
        TEXT = "TEXT"

    details = [{"modality": Modality.TEXT, "token_count": 5}]
    usage = {"prompt_token_count": 5, "candidates_token_count": 3, "prompt_tokens_details": details}
    assert extract(Model({"usage_metadata": usage})).usage == {**USAGE, "input_text_tokens": 5}


def test_a_module_tells_the_sdk_where_the_shape_is_everyones() -> None:
    kind = type("ChatCompletion", (Model,), {"__module__": "cerebras.cloud.sdk.types"})
    assert extract(kind({**BODY, "model": "llama-3.3-70b"})).provider == "cerebras"


@pytest.mark.parametrize("response", [None, 3, 2.5, True])
def test_what_is_no_response_is_refused_by_name(response: object) -> None:
    with pytest.raises(InvalidInput, match="chunks") as refused:
        extract(response)
    assert refused.value.code == "not_a_response"


def _generator() -> Iterator[dict[str, Any]]:
    yield BODY


class File:
    def read(self) -> bytes:
        raise AssertionError("what the caller holds is never read here")


@pytest.mark.parametrize("response", [_generator(), File(), {"ResponseMetadata": {}, "body": File()}])
def test_a_stream_that_nobody_read_is_refused_and_left_alone(response: object) -> None:
    with pytest.raises(InvalidInput) as refused:
        extract(response)
    assert refused.value.code == "stream_not_read"


@pytest.mark.parametrize("name", ["provider", "service", "operation", "url"])
def test_a_name_that_is_no_text_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        extract(BODY, **{name: 3})  # type: ignore[arg-type]  # the mistake under test
    assert (refused.value.code, refused.value.field) == ("not_text", name)


def test_a_url_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidInput) as refused:
        extract(BODY, url="http://[::1")
    assert refused.value.code == "bad_url"


@pytest.mark.parametrize(
    "answers",
    [
        [BODY, {**BODY, "id": "d"}],
        "\n".join(
            json.dumps({"custom_id": str(n), "response": {"status_code": 200, "body": BODY}}) for n in range(2)
        ),
    ],
    ids=["bodies", "a batch's file"],
)
def test_many_answers_in_one_are_refused_because_one_would_hide_the_others(answers: object) -> None:
    with pytest.raises(InvalidInput, match="each") as refused:
        extract(answers)
    assert refused.value.code == "many_answers"


class Broken:
    """Everything about it raises."""

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("__"):
            return object.__getattribute__(self, name)
        raise RuntimeError(name)


class Vague:
    """Every attribute is another of its kind."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "read":
            raise AttributeError(name)
        return Vague()

    def __call__(self, **_: object) -> Any:
        return Vague()


@pytest.mark.parametrize(
    "response", [Broken(), Vague(), "", b"", [], {}, "[", "{", "data:", "\x00", b"\x1f\x8b", [None]]
)
def test_odd_things_are_kept_with_a_note_and_never_raise(response: object) -> None:
    found = extract(response)
    assert (found.found, found.usage, found.provider, found.service) == ("unknown", {}, "unknown", "unknown")
    assert found.notes


@pytest.mark.parametrize(
    ("url", "provider", "service"),
    [
        ("https://eu.api.openai.com/v1/chat/completions", "openai", "gpt-4o"),
        ("api.groq.com/openai/v1/chat/completions", "groq", "gpt-4o"),
        ("https://x.openai.azure.com/openai/deployments/mine/chat/completions?api-key=k", "azure", "gpt-4o"),
        ("https://router.huggingface.co/together/v1/chat/completions", "huggingface_together", "gpt-4o"),
        ("https://router.huggingface.co/v1/chat/completions", "huggingface", "gpt-4o"),
        ("https://acc.snowflakecomputing.com/api/v2/cortex/v1/chat/completions", "snowflake", "gpt-4o"),
        ("http://localhost:4000/v1/chat/completions", "openai", "gpt-4o"),
    ],
)
def test_an_address_names_the_provider(url: str, provider: str, service: str) -> None:
    found = extract(BODY, url=url)
    assert (found.provider, found.service) == (provider, service)


def test_a_server_of_ones_own_is_its_host() -> None:
    body = {**BODY, "model": "my-llama"}
    found = extract(body, url="http://llm.internal:8000/v1/chat/completions")
    assert (found.provider, found.service, found.usage) == ("llm.internal", "my-llama", USAGE)


def test_a_provider_the_caller_names_is_the_provider() -> None:
    assert extract(BODY, provider="acme", url="https://api.openai.com/v1/chat/completions").provider == "acme"


def test_a_request_tells_its_parameters_and_nothing_of_what_it_asks() -> None:
    request = {
        "model": "gpt-4o",
        "temperature": 0.2,
        "max_tokens": 64,
        "stream": True,
        "messages": [{"content": "secret words"}],
        "size": "a picture of secret words",
    }
    found = extract(BODY, request=json.dumps(request))
    assert found.parameters == {"model": "gpt-4o", "temperature": 0.2, "max_tokens": 64, "stream": True}


def test_a_number_that_no_ledger_holds_keeps_no_call_out_of_it() -> None:
    with outlay.open("memory:") as ledger:
        receipt = ledger.record_response(BODY, request_body={"model": "gpt-4o", "max_tokens": 2**70})
    assert receipt.event.parameters == {"model": "gpt-4o", "max_tokens": "0x400000000000000000"}
    longer = extract(BODY, request={"model": "gpt-4o", "max_tokens": 7**9_000})
    assert len(str(longer.parameters["max_tokens"])) == 64


def test_the_short_fields_of_a_form_are_read() -> None:
    form = '--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n--b--\r\n'
    found = extract(
        {"text": "x", "usage": {"type": "duration", "seconds": 9}}, provider="openai", request=form.encode()
    )
    assert (found.service, found.usage) == ("whisper-1", {"input_audio_seconds": 9})


@pytest.mark.parametrize("count", ["many", True, [], {}])
def test_what_is_no_number_is_no_count(count: object) -> None:
    body = {**BODY, "usage": {"prompt_tokens": 5, "completion_tokens": count}}
    assert extract(body).usage == {"input_tokens": 5}


def test_counts_in_text_or_with_a_point_zero_are_counts() -> None:
    body = {**BODY, "usage": {"prompt_tokens": "5", "completion_tokens": 3.0}}
    assert extract(body).usage == USAGE


def test_plain_objects_in_a_streams_chunks_are_merged_as_mappings_are() -> None:
    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return SimpleNamespace(**{name: plain(item) for name, item in value.items()})
        return value

    start = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-4-5",
        "usage": {"input_tokens": 10},
    }
    chunks = [
        {"type": "message_start", "message": start},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 50}},
    ]
    assert extract([plain(chunk) for chunk in chunks]).usage == {"input_tokens": 10, "output_tokens": 50}


EMBEDDING = {"object": "list", "model": "text-embedding-3-small", "data": [{"embedding": [0.1]}]}
GEMINI = {"candidates": [{"content": {}, "finishReason": "STOP"}], "modelVersion": "gemini-2.5-flash"}
CONVERSE = {"output": {"message": {"role": "assistant"}}, "stopReason": "end_turn"}


@pytest.mark.parametrize(
    "answers",
    [
        [{**EMBEDDING, "usage": {"prompt_tokens": count, "total_tokens": count}} for count in (8, 9)],
        [{**GEMINI, "responseId": name, "usageMetadata": {"promptTokenCount": 1}} for name in "ab"],
        [{**CONVERSE, "usage": {"inputTokens": 10, "outputTokens": 5, "totalTokens": 15}}] * 2,
        [{"created": 1, "data": [{"b64_json": ""}], "usage": {"input_tokens": 1, "output_tokens": 9}}] * 2,
        [{"id": name, "message": {}, "usage": {"billed_units": {"input_tokens": 1}}} for name in "ab"],
        [
            {"id": name, "version": "v", "status": "succeeded", "urls": {"get": f"https://api.replicate.com/{name}"}}
            for name in "ab"
        ],
    ],
)
def test_many_answers_of_providers_that_give_no_common_id_are_refused_too(answers: list[dict[str, Any]]) -> None:
    with pytest.raises(InvalidInput) as refused:
        extract(answers)
    assert refused.value.code == "many_answers"


@pytest.mark.parametrize("count", [-1, 5.5, float("nan"), float("inf"), 1e300, 10**30])
def test_a_count_that_is_none_is_not_taken_for_zero(count: float) -> None:
    found = extract({**BODY, "usage": {"prompt_tokens": count, "completion_tokens": 3}})
    assert (found.usage, found.found) == ({}, "missing")
    assert any(note.startswith("input_tokens was told as") for note in found.notes)


@pytest.mark.parametrize(
    ("id", "provider"), [("msg_bdrk_01", "aws"), ("msg_vrtx_01", "google"), ("msg_01", "anthropic")]
)
def test_claude_is_billed_by_whom_its_ids_name(id: str, provider: str) -> None:
    body = {"id": id, "type": "message", "role": "assistant", "model": "claude-sonnet-4-5-20250929"}
    assert extract({**body, "usage": {"input_tokens": 1, "output_tokens": 1}}).provider == provider
