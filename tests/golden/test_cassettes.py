"""Every recorded exchange is read and rated: priced, or not with its reason; nothing told is passed over."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.cassettes import Exchange, exchanges, parsed
from tests.response_coverage import (
    PAGE,
    Outcome,
    outcomes,
    reasons_table,
    recordings_table,
    shapes_table,
    shipped_book,
)

from outlay.capture.extract import extract
from outlay.model import PricingStatus, Status

TOKEN_WORDS = (
    "prompt_tokens",
    "input_tokens",
    "inputTokens",
    "promptTokenCount",
    "total_tokens",
    "inputTextTokenCount",
)


@pytest.fixture(scope="module")
def recorded(data_folder: Path) -> tuple[Exchange, ...]:
    return exchanges(data_folder)


@pytest.fixture(scope="module")
def found(recorded: tuple[Exchange, ...]) -> list[Outcome]:
    return list(outcomes(recorded, shipped_book()))


def test_every_exchange_is_priced_or_says_why_not(found: list[Outcome]) -> None:
    silent = [outcome.exchange.label for outcome in found if not _says(outcome)]
    assert len(found) > 500
    assert silent == []


def _says(outcome: Outcome) -> bool:
    if outcome.rating is None:
        extraction = outcome.extraction
        return bool(extraction.notes or extraction.error) or extraction.found in ("none", "pending")
    if outcome.rating.status is PricingStatus.PRICED:
        return bool(outcome.rating.lines)
    return bool(outcome.rating.unrated) and all(unrated.reason for unrated in outcome.rating.unrated)


def test_no_answer_of_a_model_goes_unrecognised(found: list[Outcome]) -> None:
    assert [outcome.exchange.label for outcome in found if outcome.extraction.found == "unknown"] == []


def test_no_usage_field_is_passed_over(found: list[Outcome]) -> None:
    passed_over = {
        (outcome.extraction.provider, name): outcome.exchange.label
        for outcome in found
        for name in outcome.extraction.unmapped
    }
    assert passed_over == {}


def test_an_answer_that_tells_tokens_is_never_taken_as_telling_none(found: list[Outcome]) -> None:
    missed = [
        outcome.exchange.label
        for outcome in found
        if outcome.extraction.found in ("missing", "unknown") and _tells_tokens(outcome.exchange)
    ]
    assert missed == []


def _tells_tokens(exchange: Exchange) -> bool:
    """Whether the raw bytes bear a token count anywhere, looked for without the engine."""
    body = exchange.body if isinstance(exchange.body, bytes) else json.dumps(exchange.body).encode()
    return any(f'"{word}":'.encode() in body.replace(b" ", b"") for word in TOKEN_WORDS)


def test_a_provider_that_totals_its_tokens_agrees_with_the_sum_of_ours(found: list[Outcome]) -> None:
    """Of the Gemini Live sessions the total leaves out thoughts, which are billed; of the rest none may differ."""
    checked = 0
    for outcome in found:
        body = parsed(outcome.exchange)
        usage = outcome.extraction.usage
        if not isinstance(body, dict) or "input_tokens" not in usage or outcome.extraction.operation == "realtime":
            continue
        total = _total(body)
        if total is not None:
            checked += 1
            assert usage["input_tokens"] + usage.get("output_tokens", 0) == total, outcome.exchange.label
    assert checked > 250


def _total(body: dict[str, Any]) -> int | None:
    usage = body.get("usage") or body.get("usageMetadata") or {}
    told = usage.get("total_tokens") or usage.get("totalTokens") or usage.get("totalTokenCount")
    return int(told) if told else None


def test_a_recorded_refusal_is_a_failed_call_without_usage(found: list[Outcome]) -> None:
    refused = [outcome for outcome in found if (outcome.exchange.status or 200) >= 400]
    assert len(refused) > 10
    for outcome in refused:
        assert outcome.extraction.status is Status.FAILED
        assert outcome.extraction.usage == {}
        assert outcome.extraction.error


def test_openrouter_tells_its_own_cost_of_every_answer(found: list[Outcome]) -> None:
    answered = [outcome.extraction for outcome in found if outcome.extraction.provider == "openrouter"]
    assert len(answered) > 20
    assert all(extraction.reported_cost for extraction in answered)


def test_the_page_shows_the_coverage_as_it_is(found: list[Outcome]) -> None:
    page = PAGE.read_text()
    for table in (shapes_table(), recordings_table(found), reasons_table(found)):
        assert table in page, "run python -m tests.response_coverage"


SECRET = "Zq7-planted-secret-Zq7"
KEPT_WORDS = {
    "id",
    "object",
    "type",
    "model",
    "modelVersion",
    "version",
    "status",
    "role",
    "code",
    "service_tier",
    "serviceTier",
    "trafficType",
    "modality",
    "size",
    "quality",
    "finish_reason",
    "finishReason",
    "stop_reason",
    "stopReason",
    "completionReason",
    "blockReason",
    "event_type",
    "response_type",
    "embeddingType",
    "responseId",
    "response_id",
    "generation_id",
    "request_id",
    "conversation_id",
    "item_id",
    "provider",
    "get",
    "cancel",
    "stream",
    "name",
    "documentName",
    "created_at",
    "speed",
    "inference_geo",
    "invokedModelId",
    "resolution",
    "key",
    "effort",
    "reasoning_effort",
    "search_depth",
    "server_side_tools_used",
}


def test_no_text_of_a_prompt_or_an_answer_is_in_what_is_read(recorded: tuple[Exchange, ...]) -> None:
    """A secret in every text of every recorded body, save names and codes, is in no extraction."""
    planted = 0
    for exchange in recorded:
        body = parsed(exchange)
        if not isinstance(body, dict | list):
            continue
        spoiled = _spoiled(body)
        planted += json.dumps(spoiled).count(SECRET)
        extraction = extract(
            spoiled, url=exchange.url, request=_spoiled(exchange.request), status_code=exchange.status
        )
        assert SECRET not in msgspec.json.encode(extraction).decode(), exchange.label
    assert planted > 3000


def _spoiled(value: object, key: str = "") -> object:
    if isinstance(value, dict):
        return {name: _spoiled(item, name) for name, item in value.items()}
    if isinstance(value, list):
        return [_spoiled(item, key) for item in value[:20]]
    if isinstance(value, str) and key not in KEPT_WORDS:
        return SECRET
    return value


def test_a_stream_says_the_same_as_the_body_it_makes(recorded: tuple[Exchange, ...]) -> None:
    """A recorded body, cut into a stream as its provider would send it, is read alike."""
    compared = 0
    for exchange in recorded:
        body = parsed(exchange)
        if not isinstance(body, dict) or (exchange.status or 200) >= 400:
            continue
        whole = extract(body, url=exchange.url, request=exchange.request)
        for frames in _as_streams(body):
            stream = extract(frames, url=exchange.url, request=exchange.request)
            assert (stream.usage, stream.service, stream.call_key) == (whole.usage, whole.service, whole.call_key)
            transcript = "".join(f"data: {json.dumps(frame)}\n\n" for frame in frames) + "data: [DONE]\n\n"
            assert extract(transcript, url=exchange.url, request=exchange.request).usage == whole.usage
            compared += 1
    assert compared > 200


def _as_streams(body: dict[str, Any]) -> Iterator[list[dict[str, Any]]]:
    usage = body.get("usage") or {}
    if body.get("object") == "chat.completion" and "prompt_tokens" in usage:
        head = {**body, "object": "chat.completion.chunk", "usage": None, "choices": [{"delta": {"content": "a"}}]}
        yield [head, head, {**head, "choices": [], "usage": usage}]
    elif body.get("object") == "response" and usage:
        begun = {**body, "status": "in_progress", "usage": None, "output": [], "tool_usage": None}
        yield [
            {"type": "response.created", "response": begun},
            {"type": "response.output_text.delta", "delta": "a"},
            {"type": "response.completed", "response": body},
        ]
    elif body.get("type") == "message" and usage:
        begun = {**body, "content": [], "usage": {**usage, "output_tokens": min(1, usage["output_tokens"])}}
        yield [
            {"type": "message_start", "message": begun},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "a"}},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": usage},
            {"type": "message_stop"},
        ]
    elif body.get("usageMetadata") and body.get("candidates"):
        begun = {**body, "usageMetadata": {"promptTokenCount": 1, "totalTokenCount": 1}, "candidates": [{}]}
        yield [begun, body]
