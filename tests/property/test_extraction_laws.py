"""Laws of reading answers: none raises, no part exceeds its whole, streams and bodies agree, no text gets through."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from outlay.capture.extract import extract
from outlay.capture.overlaps import unsound
from outlay.errors import InvalidInput
from outlay.meters import METERS
from outlay.model import UsageEvent
from outlay.pricing import catalogue
from outlay.pricing.book import PriceBook
from outlay.pricing.rate import rate

PROVIDERS = st.sampled_from([None, "openai", "anthropic", "google", "aws", "cohere", "x-ai", "replicate", "acme"])
NAMES = """
    usage usageMetadata prompt_tokens completion_tokens total_tokens input_tokens output_tokens inputTokens
    outputTokens totalTokens promptTokenCount candidatesTokenCount thoughtsTokenCount totalTokenCount
    prompt_tokens_details completion_tokens_details cached_tokens reasoning_tokens audio_tokens text_tokens
    cache_read_input_tokens cache_creation_input_tokens cacheReadInputTokens promptTokensDetails modality tokenCount
    cost model id object type message response delta choices candidates content error status metrics predict_time
    chat.completion chat.completion.chunk response.completed message_start message_delta TEXT AUDIO succeeded failed
    meta billed_units custom_id result body chunk bytes metadata ResponseMetadata HTTPHeaders stream event
"""
WORDS = st.sampled_from(NAMES.split())
NUMBERS = st.one_of(st.integers(-5, 5000), st.integers(), st.floats(), st.just(10**40))
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, WORDS, st.text(max_size=5), st.binary(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(WORDS, inner, max_size=6)),
    max_leaves=30,
)


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.dictionaries(WORDS, VALUES, max_size=8), st.lists(VALUES, max_size=5)), PROVIDERS, VALUES)
def test_no_answer_of_a_provider_raises(body: object, provider: str | None, request: object) -> None:
    try:
        found = extract(body, provider=provider, request=request)
    except InvalidInput as refused:
        # A list may happen to hold two whole answers.
        assert refused.code == "many_answers"  # noqa: PT017 - any other code fails here
        return
    assert set(found.usage) <= set(METERS)
    assert all(amount >= 0 for amount in found.usage.values())
    assert unsound(found.usage) is None
    assert found.provider
    assert found.service


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.text(max_size=200), st.binary(max_size=200)), PROVIDERS)
def test_no_bytes_of_a_provider_raise(body: str | bytes, provider: str | None) -> None:
    assert extract(body, provider=provider).usage == {}


CATALOGUE_ID, CATALOGUE = catalogue.shipped()
BOOK = PriceBook.of(CATALOGUE, CATALOGUE_ID)
COUNTS = st.integers(0, 10_000)


@settings(max_examples=200, deadline=None)
@given(COUNTS, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS)
def test_every_usage_that_is_read_can_be_rated(
    prompt: int, cached: int, written: int, audio: int, completion: int, reasoning: int, spoken: int
) -> None:
    """Whatever parts a provider tells of its totals, no remainder is negative."""
    usage = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "prompt_tokens_details": {"cached_tokens": cached, "cache_write_tokens": written, "audio_tokens": audio},
        "completion_tokens_details": {"reasoning_tokens": reasoning, "audio_tokens": spoken},
    }
    body = {"object": "chat.completion", "model": "gpt-4o-audio-preview", "choices": [{}], "usage": usage}
    found = extract(body)
    assert found.usage["input_tokens"] >= max(prompt, cached + written, audio)
    assert found.usage["output_tokens"] >= max(completion, reasoning, spoken)
    event = UsageEvent(
        id="x", provider="openai", service=found.service, usage=found.usage, occurred_from=0, occurred_to=0
    )
    rating = rate(event, BOOK)
    assert rating.amount == sum(line.amount for line in rating.lines) >= 0


@settings(max_examples=200, deadline=None)
@given(COUNTS, COUNTS, COUNTS, COUNTS)
def test_the_sum_of_the_leaves_is_the_providers_total(prompt: int, tools: int, answer: int, thoughts: int) -> None:
    metadata = {
        "promptTokenCount": prompt,
        "toolUsePromptTokenCount": tools,
        "candidatesTokenCount": answer,
        "thoughtsTokenCount": thoughts,
        "totalTokenCount": prompt + tools + answer + thoughts,
    }
    found = extract({"usageMetadata": metadata, "modelVersion": "gemini-2.5-pro"})
    assert found.usage["input_tokens"] + found.usage["output_tokens"] == metadata["totalTokenCount"]
    assert found.notes == ()


SIZES = st.lists(st.integers(1, 400), max_size=6)


@settings(max_examples=100, deadline=None)
@given(COUNTS, COUNTS, st.integers(1, 10_000), SIZES)
def test_a_stream_of_messages_says_what_its_message_says(fresh: int, read: int, answer: int, cuts: list[int]) -> None:
    """However the transcript's bytes are cut into pieces."""
    usage = {"input_tokens": fresh, "cache_read_input_tokens": read, "output_tokens": answer}
    message = {"id": "m", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5", "content": []}
    frames: list[dict[str, Any]] = [
        {"type": "message_start", "message": {**message, "usage": {**usage, "output_tokens": min(1, answer)}}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "a\n\ndata: b"}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": answer}},
        {"type": "message_stop"},
    ]
    transcript = "".join(f"event: {frame['type']}\ndata: {json.dumps(frame)}\n\n" for frame in frames).encode()
    pieces, rest = [], transcript
    for size in cuts:
        pieces.append(rest[:size])
        rest = rest[size:]
    whole = extract({**message, "usage": usage})
    for stream in (frames, transcript, [*pieces, rest]):
        found = extract(stream)
        assert (found.usage, found.call_key, found.notes) == (whole.usage, whole.call_key, ())


SECRETS = st.text(alphabet=st.characters(codec="utf-8", categories=["L", "N", "P", "Zs"]), min_size=12, max_size=40)


@settings(max_examples=50, deadline=None)
@given(SECRETS)
def test_the_text_of_a_prompt_or_an_answer_never_gets_through(secret: str) -> None:
    spoken = {"role": "assistant", "content": secret, "tool_calls": [{"function": {"name": secret}}]}
    bodies: list[dict[str, Any]] = [
        {"id": "c", "object": "chat.completion", "choices": [{"message": spoken}], "usage": {"prompt_tokens": 1}},
        {"type": "message", "role": "assistant", "content": [{"text": secret}], "usage": {"input_tokens": 1}},
        {"candidates": [{"content": {"parts": [{"text": secret}]}}], "usageMetadata": {"promptTokenCount": 1}},
        {"output": {"message": {"content": [{"text": secret}]}}, "usage": {"inputTokens": 1, "note": secret}},
        {"error": {"message": secret, "code": None, "type": "invalid_request_error"}},
        {"error": secret, "detail": secret, "message": secret},
        {"text": secret, "meta": {"billed_units": {"input_tokens": 1}}},
    ]
    request = {"messages": [{"content": secret}], "input": secret, "prompt": secret, "system": secret}
    for body in bodies:
        for response in (body, [body], json.dumps(body)):
            for status in (200, 400):
                read = msgspec.json.encode(extract(response, request=request, status_code=status)).decode()
                assert secret not in read
                assert json.dumps(secret)[1:-1] not in read
