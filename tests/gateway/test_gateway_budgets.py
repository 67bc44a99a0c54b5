"""Hard budgets at the gateway: reserved before, settled after, refused in the provider's own words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import httpx
import pytest
from tests.gateway.conftest import PLAIN, Gatewayed
from tests.playback_server import Answer, events, whole

import outlay

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

USAGE = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}
CHAT = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1_700_000_000,
    "model": "gpt-4o",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}],
    "usage": USAGE,
}
CHUNK = {"id": "s1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o"}
DELTA = {**CHUNK, "choices": [{"index": 0, "delta": {"content": "Hi"}, "finish_reason": None}]}
STOP = {**CHUNK, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
TOLD = {**CHUNK, "choices": [], "usage": USAGE}
BODY = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 100}


def _post(gateway: Gatewayed, path: str, body: Mapping[str, Any] | bytes, **headers: str) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    told = {"content-type": "application/json", **{name.replace("_", "-"): value for name, value in headers.items()}}
    return httpx.post(f"{gateway.served.address}/gateway/{path}", content=content, headers=told, verify=PLAIN)


def _spent(ledger: outlay.Ledger) -> tuple[Decimal | int, Decimal | int]:
    (status,) = ledger.budgets("day")
    return outlay.Money(status.spent).amount, outlay.Money(status.reserved).amount


def test_what_a_call_cost_is_in_its_headers_its_receipt_and_its_budget(gateway: Gatewayed) -> None:
    gateway.ledger.budget("day", limit="1.00", window="day", action="refuse")
    gateway.playback.play(whole(CHAT))
    answer = _post(
        gateway, "openai/v1/chat/completions", BODY, x_outlay_user="ada", x_outlay_tags="page=home, tier=a"
    )
    assert answer.json() == CHAT
    # 1,000 × $2.50 + 100 × $10.00 a million
    assert answer.headers["x-outlay-cost"] == "0.0035"
    assert "x-outlay-rewritten" not in answer.headers
    assert gateway.playback.requests[0].body == json.dumps(BODY).encode()
    assert _spent(gateway.settled()) == (Decimal("0.0035"), 0)
    receipt = httpx.get(f"{gateway.served.address}/v1/receipts/{answer.headers['x-outlay-receipt']}").json()
    assert (receipt["user"], receipt["tags"]) == ("ada", {"page": "home", "tier": "a"})


def test_a_call_without_a_maximum_gets_what_the_budget_affords_and_is_told_so(gateway: Gatewayed) -> None:
    gateway.ledger.budget("day", limit="0.005", window="day", action="refuse")
    gateway.playback.play(whole(CHAT))
    body = b'{ "model" : "gpt-4o","messages":[{"role":"user","content":"Hello"}],"temperature":0.50}'
    answer = _post(gateway, "openai/v1/chat/completions", body)
    sent = gateway.playback.requests[0].body
    field, _, tokens = answer.headers["x-outlay-rewritten"].partition("=")
    # $0.005 is 500 output tokens at $10.00 a million, less what the prompt takes.
    assert 0 < int(tokens) <= 500
    # All else is byte for byte as it was.
    assert sent.replace(f'"{field}":{tokens},'.encode(), b"", 1) == body


def test_the_maximum_is_not_written_where_that_is_switched_off(open_gateway: Any) -> None:
    gateway = open_gateway(write_maximum=False)
    gateway.ledger.budget("day", limit="5.00", window="day", action="refuse")
    gateway.playback.play(whole(CHAT))
    body = {name: value for name, value in BODY.items() if name != "max_tokens"}
    answer = _post(gateway, "openai/v1/chat/completions", body)
    assert "x-outlay-rewritten" not in answer.headers
    assert gateway.playback.requests[0].json == body


def test_the_usage_of_a_chat_stream_is_asked_for_and_hidden_again(gateway: Gatewayed) -> None:
    gateway.playback.play(events([DELTA, STOP, TOLD], done=True))
    body = {**BODY, "stream": True}
    answer = _post(gateway, "openai/v1/chat/completions", body)
    assert answer.headers["x-outlay-rewritten"] == "stream_options.include_usage=true"
    assert gateway.playback.requests[0].json == {**body, "stream_options": {"include_usage": True}}
    assert answer.content == b"".join(events([DELTA, STOP], done=True).chunks)
    (receipt,) = gateway.events()
    assert receipt.event.usage == {"input_tokens": 1000, "output_tokens": 100}
    assert receipt.event.id == answer.headers["x-outlay-receipt"]


def test_a_program_that_asks_for_the_usage_itself_gets_it(gateway: Gatewayed) -> None:
    played = events([DELTA, STOP, TOLD], done=True)
    gateway.playback.play(played)
    body = {**BODY, "stream": True, "stream_options": {"include_usage": True}}
    answer = _post(gateway, "openai/v1/chat/completions", body)
    assert answer.content == b"".join(played.chunks)
    assert "x-outlay-rewritten" not in answer.headers


def test_the_usage_is_not_asked_for_where_that_is_switched_off(open_gateway: Any) -> None:
    gateway = open_gateway(ask_usage=False)
    gateway.playback.play(events([DELTA, STOP], done=True))
    _post(gateway, "openai/v1/chat/completions", {**BODY, "stream": True})
    assert gateway.playback.requests[0].json == {**BODY, "stream": True}


REFUSED = [
    ("openai/v1/chat/completions", 429, ("error", "code"), "budget_spent"),
    ("anthropic/v1/messages", 429, ("error", "type"), "rate_limit_error"),
    ("google/v1beta/models/gemini-2.5-flash:generateContent", 429, ("error", "status"), "RESOURCE_EXHAUSTED"),
    ("mistral/v1/chat/completions", 429, ("type",), "budget_spent"),
    ("replicate/v1/models/black-forest-labs/flux-schnell/predictions", 429, ("title",), "budget_spent"),
    ("elevenlabs/v1/text-to-speech/v1", 429, ("detail", "status"), "quota_exceeded"),
]


@pytest.mark.parametrize(
    ("path", "status", "place", "told"), REFUSED, ids=[path.partition("/")[0] for path, *_ in REFUSED]
)
def test_a_refusal_has_the_shape_of_the_providers_own(
    gateway: Gatewayed, path: str, status: int, place: tuple[str, ...], told: str
) -> None:
    gateway.ledger.budget("day", limit="0.0000001", window="day", action="refuse", unbounded="refuse")
    bodies: dict[str, Mapping[str, Any]] = {
        "anthropic": {**BODY, "model": "claude-sonnet-4-5"},
        "google": {"contents": [{"parts": [{"text": "Hello"}]}]},
        "mistral": {**BODY, "model": "mistral-small-latest"},
        "replicate": {"input": {"prompt": "a cat"}},
        "elevenlabs": {"text": "Good morning!", "model_id": "eleven_multilingual_v2"},
    }
    answer = _post(gateway, path, bodies.get(path.partition("/")[0], BODY))
    assert answer.status_code == status
    found = answer.json()
    for name in place:
        found = found[name]
    assert found == told
    assert answer.headers["x-outlay-refused"] in ("budget_spent", "unbounded_usage")
    assert gateway.playback.requests == []


def test_the_sdks_raise_their_providers_errors_and_do_not_try_again(gateway: Gatewayed) -> None:
    import anthropic
    import openai

    gateway.ledger.budget("day", limit="0.0001", window="day", action="refuse")
    with openai.OpenAI(api_key="k", base_url=gateway.url("openai") + "/v1") as client:
        with pytest.raises(openai.RateLimitError) as refused:
            client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "Hi"}])
        assert refused.value.code == "budget_spent"
    with (
        anthropic.Anthropic(api_key="k", base_url=gateway.url("anthropic")) as other,
        pytest.raises(anthropic.RateLimitError),
    ):
        other.messages.create(model="claude-sonnet-4-5", max_tokens=9, messages=[{"role": "user", "content": "Hi"}])
    assert gateway.playback.requests == []


def test_bedrock_is_refused_as_over_a_quota_which_boto3_does_not_try_again(gateway: Gatewayed) -> None:
    import boto3
    import botocore.exceptions

    gateway.ledger.budget("day", limit="0.00001", window="day", action="refuse")
    client = boto3.client(
        "bedrock-runtime",
        region_name="us-east-1",
        endpoint_url=gateway.url("bedrock"),
        aws_access_key_id="k",
        aws_secret_access_key="s",
    )
    with pytest.raises(botocore.exceptions.ClientError) as refused:
        client.converse(
            modelId="anthropic.claude-3-haiku-20240307-v1:0", messages=[{"role": "user", "content": [{"text": "Hi"}]}]
        )
    assert refused.value.response["Error"]["Code"] == "ServiceQuotaExceededException"
    assert refused.value.response["ResponseMetadata"]["RetryAttempts"] == 0


def test_an_upstream_that_breaks_off_stands_at_its_worst_and_one_that_is_not_there_costs_nothing(
    open_gateway: Any,
) -> None:
    gateway = open_gateway(upstreams={"gone": {"url": "http://127.0.0.1:9", "kind": "openai"}})
    gateway.ledger.budget("day", limit="1.00", window="day", action="refuse")
    answer = _post(gateway, "gone/v1/chat/completions", BODY)
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream_unreachable")
    assert _spent(gateway.settled()) == (0, 0)
    gateway.playback.play(Answer((b'{"id": "chat', b"cmpl"), streamed=True, cut_after=1))
    answer = _post(gateway, "openai/v1/chat/completions", BODY)
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream_failed")
    spent, reserved = _spent(gateway.settled())
    assert reserved == 0
    assert spent >= Decimal("0.001")  # The 100 tokens that it might have put out, at $10.00 a million.


def test_a_stream_that_breaks_off_ends_without_its_end(gateway: Gatewayed) -> None:
    gateway.playback.play(events([DELTA, DELTA, STOP], cut_after=2))
    with pytest.raises(httpx.RemoteProtocolError):
        _post(gateway, "openai/v1/chat/completions", {**BODY, "stream": True})
    (receipt,) = gateway.events()
    assert receipt.event.basis == "estimated"


def test_an_error_of_the_provider_passes_as_it_is_and_costs_nothing(gateway: Gatewayed) -> None:
    gateway.ledger.budget("day", limit="1.00", window="day", action="refuse")
    said = {"error": {"message": "no such model", "type": "invalid_request_error", "code": "model_not_found"}}
    gateway.playback.play(whole(said, status=404, headers={"x-request-id": "req_1", "retry-after": "7"}))
    answer = _post(gateway, "openai/v1/chat/completions", BODY)
    assert (answer.status_code, answer.json()) == (404, said)
    assert (answer.headers["x-request-id"], answer.headers["retry-after"]) == ("req_1", "7")
    assert _spent(gateway.settled()) == (0, 0)
    assert [one.event.status for one in gateway.ledger.events()] == ["failed"]


def test_a_cheaper_service_is_called_where_the_budget_says_downgrade(gateway: Gatewayed) -> None:
    gateway.ledger.budget("day", limit="0.0005", window="day", action="downgrade", downgrade_to=["gpt-4o-mini"])
    gateway.playback.play(whole({**CHAT, "model": "gpt-4o-mini"}))
    answer = _post(gateway, "openai/v1/chat/completions", BODY)
    assert answer.status_code == 200
    assert answer.headers["x-outlay-rewritten"] == "model=gpt-4o-mini"
    assert gateway.playback.requests[0].json == {**BODY, "model": "gpt-4o-mini"}


def test_a_cheaper_service_is_called_where_the_path_names_it(gateway: Gatewayed) -> None:
    gateway.ledger.budget(
        "day", limit="0.0005", window="day", action="downgrade", downgrade_to=["gemini-2.5-flash-lite"]
    )
    gateway.playback.play(whole({"candidates": [], "usageMetadata": {"promptTokenCount": 1, "totalTokenCount": 1}}))
    body = {"contents": [{"parts": [{"text": "Hello"}]}], "generationConfig": {"maxOutputTokens": 100}}
    answer = _post(gateway, "google/v1beta/models/gemini-2.5-pro:generateContent", body)
    assert answer.headers["x-outlay-rewritten"] == "model=gemini-2.5-flash-lite"
    assert gateway.playback.requests[0].path == "/v1beta/models/gemini-2.5-flash-lite:generateContent"


UNREADABLE = {
    "cut": b'{"model": "gpt-4o", "messages": [',
    "in another encoding": json.dumps(BODY).encode("utf-16"),
    "with a mark before it": b"\xef\xbb\xbf" + json.dumps(BODY).encode(),
    "too deep": b'{"model": "gpt-4o", "messages": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
}


@pytest.mark.parametrize("content", UNREADABLE.values(), ids=UNREADABLE)
def test_a_body_that_cannot_be_read_is_refused_since_it_cannot_be_bounded(gateway: Gatewayed, content: bytes) -> None:
    answer = _post(gateway, "openai/v1/chat/completions", content)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_json")
    assert gateway.playback.requests == []


def test_an_answer_that_cannot_be_booked_reaches_its_client_and_its_call_stays_held(gateway: Gatewayed) -> None:
    gateway.ledger.budget("day", limit="1.00", window="day", action="refuse")
    odd = {**CHAT, "usage": {"prompt_tokens": -5, "completion_tokens": 100, "total_tokens": 95}}
    gateway.playback.play(whole(odd))
    answer = _post(gateway, "openai/v1/chat/completions", BODY)
    assert (answer.status_code, answer.json()) == (200, odd)
    spent, reserved = _spent(gateway.settled())
    assert spent + reserved >= Decimal("0.001")  # The 100 tokens of output at $10.00 a million.
