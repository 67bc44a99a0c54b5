"""A span's attributes as the call it stands for: current and older conventions, and what is no call."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from outlay.capture.spans import call_of_span

BEGAN = 1_773_144_000_000_000
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def call(attributes: dict[str, Any], **more: Any) -> dict[str, Any] | None:
    return call_of_span(
        attributes, trace_id=TRACE, span_id=SPAN, started_at=BEGAN, ended_at=BEGAN + 2_400_000, **more
    )


CURRENT = {
    "gen_ai.provider.name": "openai",
    "gen_ai.operation.name": "chat",
    "gen_ai.request.model": "gpt-4o",
    "gen_ai.response.model": "gpt-4o-2024-08-06",
    "gen_ai.response.id": "chatcmpl-1",
    "gen_ai.usage.input_tokens": 1_000,
    "gen_ai.usage.output_tokens": 100,
    "gen_ai.usage.cache_read.input_tokens": 600,
    "gen_ai.usage.reasoning.output_tokens": 40,
    "gen_ai.request.max_tokens": 500,
    "gen_ai.input.messages": "secret",
    "openai.response.service_tier": "default",
    "user.id": "u42",
}


def test_a_span_of_the_current_conventions_is_the_whole_call_and_never_its_text() -> None:
    found = call(CURRENT, resource={"deployment.environment.name": "prod", "service.name": "shop"})
    assert found is not None
    assert {name: found[name] for name in found if name not in ("time", "time_to")} == {
        "id": f"{TRACE}-{SPAN}",
        "provider": "openai",
        "service": "gpt-4o-2024-08-06",
        "operation": "chat",
        "usage": {
            "input_tokens": 1_000,
            "output_tokens": 100,
            "cache_read_tokens": 600,
            "output_reasoning_tokens": 40,
        },
        "conditions": {"service_tier": "default"},
        "parameters": {"max_tokens": 500, "requested_service": "gpt-4o"},
        "duration_s": Decimal("2.4"),
        "trace": TRACE,
        "call_key": "openai:chatcmpl-1",
        "user": "u42",
        "environment": "prod",
    }
    assert found["time"].isoformat() == "2026-03-10T12:00:00+00:00"
    assert "secret" not in repr(found)


OLDER: dict[str, tuple[dict[str, Any], tuple[Any, ...]]] = {
    "GenAI before 1.27": (
        {
            "gen_ai.system": "anthropic",
            "gen_ai.request.model": "claude-sonnet-4-5",
            "gen_ai.usage.prompt_tokens": 9,
            "gen_ai.usage.completion_tokens": 4,
        },
        ("anthropic", "claude-sonnet-4-5", None, {"input_tokens": 9, "output_tokens": 4}),
    ),
    "OpenLLMetry": (
        {
            "llm.vendor": "Cohere",
            "llm.request.type": "completion",
            "llm.response.model": "command-r",
            "llm.usage.prompt_tokens": 9,
            "llm.usage.completion_tokens": 4,
        },
        ("cohere", "command-r", "completion", {"input_tokens": 9, "output_tokens": 4}),
    ),
    "OpenInference": (
        {
            "openinference.span.kind": "LLM",
            "llm.provider": "azure",
            "llm.model_name": "gpt-4o",
            "llm.token_count.prompt": 9,
            "llm.token_count.completion": 4,
            "llm.token_count.prompt_details.cache_read": 3,
        },
        ("azure", "gpt-4o", "chat", {"input_tokens": 9, "output_tokens": 4, "cache_read_tokens": 3}),
    ),
    "Bedrock": (
        {
            "gen_ai.provider.name": "aws.bedrock",
            "gen_ai.operation.name": "embeddings",
            "gen_ai.request.model": "amazon.titan-embed-text-v2:0",
            "gen_ai.usage.input_tokens": 45,
        },
        ("aws", "amazon.titan-embed-text-v2:0", "embeddings", {"input_tokens": 45}),
    ),
    "Gemini": (
        {
            "gen_ai.provider.name": "gcp.gemini",
            "gen_ai.operation.name": "generate_content",
            "gen_ai.response.model": "gemini-2.5-flash",
            "gen_ai.usage.input_tokens": "7",
        },
        ("google", "gemini-2.5-flash", "chat", {"input_tokens": 7}),
    ),
}


@pytest.mark.parametrize("case", OLDER)
def test_other_conventions_say_the_same(case: str) -> None:
    attributes, (provider, service, operation, usage) = OLDER[case]
    found = call(attributes)
    assert found is not None
    assert (found["provider"], found["service"], found.get("operation"), found["usage"]) == (
        provider,
        service,
        operation,
        usage,
    )


NO_CALLS: dict[str, dict[str, Any]] = {
    "an agent, which sums what is inside it": {**CURRENT, "gen_ai.operation.name": "invoke_agent"},
    "a tool": {**CURRENT, "gen_ai.operation.name": "execute_tool"},
    "a chain": {**CURRENT, "gen_ai.operation.name": None, "openinference.span.kind": "CHAIN"},
    "no model": {"gen_ai.provider.name": "openai", "gen_ai.operation.name": "chat"},
    "an HTTP request": {"http.request.method": "GET", "url.full": "https://api.openai.com"},
    "a model that is no text": {**CURRENT, "gen_ai.response.model": 7},
}


@pytest.mark.parametrize("case", NO_CALLS)
def test_what_is_no_call_to_a_model_is_not_booked(case: str) -> None:
    assert call(NO_CALLS[case]) is None


def test_tokens_told_beside_the_input_are_counted_beside_it() -> None:
    # Anthropic's own convention, as some libraries pass it on: 3 tokens of input and 1,800 read from the cache.
    found = call({**CURRENT, "gen_ai.usage.input_tokens": 3, "gen_ai.usage.cache_read.input_tokens": 1_800})
    assert found is not None
    assert found["usage"]["input_tokens"] == 1_803
    assert "counted beside it" in found["parameters"]["reading"]


def test_a_bad_count_is_left_out_and_said() -> None:
    found = call({**CURRENT, "gen_ai.usage.input_tokens": "many", "gen_ai.usage.cache_read.input_tokens": 0})
    assert found is not None
    assert found["usage"] == {"output_tokens": 100, "output_reasoning_tokens": 40}
    assert found["parameters"]["reading"]


def test_a_cost_counts_only_where_there_is_no_usage() -> None:
    priced = {**CURRENT, "gen_ai.usage.cost": 0.25}
    found = call(priced)
    assert found is not None
    assert "reported_cost" not in found
    bare = call(
        {name: value for name, value in priced.items() if not name.startswith("gen_ai.usage.") or "cost" in name}
    )
    assert bare is not None
    assert (bare["reported_cost"], bare["basis"]) == ("0.25", "reported")


def test_a_failed_span_is_a_failed_call_and_outlay_s_own_names_win() -> None:
    found = call(
        {**CURRENT, "outlay.user": "u7", "outlay.job": "video-7", "error.type": "RateLimitError"}, failed=True
    )
    assert found is not None
    assert (found["status"], found["error"], found["user"], found["job"]) == (
        "failed",
        "RateLimitError",
        "u7",
        "video-7",
    )
