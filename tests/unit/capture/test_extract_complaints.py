"""What users of other tools complained about, each as an answer that must be read right."""

from __future__ import annotations

from typing import Any

import pytest

from outlay.capture.extract import extract
from outlay.capture.profiles import heads
from outlay.money import Money

CHUNK = {"id": "c", "object": "chat.completion.chunk", "model": "gpt-4o-2024-11-20"}


def message(**usage: Any) -> dict[str, Any]:
    return {"id": "m", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5", "usage": usage}


def chat(model: str = "gpt-4o-2024-11-20", **usage: Any) -> dict[str, Any]:
    return {"id": "c", "object": "chat.completion", "model": model, "choices": [{}], "usage": usage}


def test_a_reported_cost_of_zero_beside_tokens_is_suspect_and_the_usage_stays() -> None:
    found = extract(
        message(input_tokens=1000, output_tokens=50, cost=0), url="https://aiplatform.googleapis.com/v1/x"
    )
    assert found.reported_cost == Money(0)
    assert found.usage == {"input_tokens": 1000, "output_tokens": 50}
    assert any("suspect" in note for note in found.notes)


def test_a_dated_name_that_served_is_kept_with_the_name_that_was_asked_for() -> None:
    found = extract(chat(prompt_tokens=1, completion_tokens=1), request={"model": "gpt-4o"})
    assert (found.service, found.requested_service) == ("gpt-4o-2024-11-20", "gpt-4o")


def test_the_tier_that_served_is_a_condition_and_the_tier_asked_for_stands_in_where_none_is_told() -> None:
    told = {**chat(prompt_tokens=1, completion_tokens=1), "service_tier": "default"}
    assert extract(told, request={"service_tier": "priority"}).conditions["service_tier"] == "default"
    silent = chat(prompt_tokens=1, completion_tokens=1)
    assert extract(silent, request={"service_tier": "priority"}).conditions["service_tier"] == "priority"


def test_reasoning_is_a_part_of_the_output_and_drops_nothing() -> None:
    found = extract(chat(prompt_tokens=9, completion_tokens=240, completion_tokens_details={"reasoning_tokens": 192}))
    assert found.usage == {"input_tokens": 9, "output_tokens": 240, "output_reasoning_tokens": 192}


def test_an_explicit_zero_of_a_stream_stays_zero_and_is_not_taken_for_silence() -> None:
    zero = {**CHUNK, "choices": [], "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}}
    begun = {**CHUNK, "choices": [{"delta": {"content": "a"}}]}
    told = extract([begun, zero])
    assert (told.found, told.basis, told.usage) == ("usage", "measured", {"input_tokens": 0, "output_tokens": 0})
    assert any("zero" in note for note in told.notes)
    silent = extract([begun])
    assert (silent.found, silent.basis, silent.usage) == ("missing", "estimated", {})
    assert any("include_usage" in note for note in silent.notes)


def test_a_stream_that_was_left_says_what_was_told_so_far() -> None:
    """Anthropic tells the input at the start: a client that leaves has it, and the cut is said."""
    found = extract([{"type": "message_start", "message": message(input_tokens=25, output_tokens=1)}])
    assert found.usage == {"input_tokens": 25, "output_tokens": 1}
    assert any("cut" in note for note in found.notes)


@pytest.mark.parametrize(
    ("provider", "body", "input_tokens"),
    [
        ("anthropic", message(input_tokens=10, cache_read_input_tokens=900, cache_creation_input_tokens=90), 1000),
        ("bedrock", message(input_tokens=10, cache_read_input_tokens=900, cache_creation_input_tokens=90), 1000),
        ("vertex", message(input_tokens=10, cache_read_input_tokens=900, cache_creation_input_tokens=90), 1000),
        ("aws", {"usage": {"inputTokens": 10, "cacheReadInputTokens": 900, "cacheWriteInputTokens": 90}}, 1000),
        ("openai", chat(prompt_tokens=1000, prompt_tokens_details={"cached_tokens": 900}), 1000),
        ("deepseek", chat("deepseek-chat", prompt_tokens=1000, prompt_cache_hit_tokens=900), 1000),
        ("openrouter", chat("x/y", prompt_tokens=1000, prompt_tokens_details={"cached_tokens": 900}), 1000),
        ("gemini", {"usageMetadata": {"promptTokenCount": 1000, "cachedContentTokenCount": 900}}, 1000),
    ],
)
def test_cached_tokens_are_inside_the_input_once_whatever_the_provider_means(
    provider: str, body: dict[str, Any], input_tokens: int
) -> None:
    found = extract(body, provider=provider)
    assert found.usage["input_tokens"] == input_tokens
    assert found.usage["cache_read_tokens"] == 900


def test_writes_for_five_minutes_and_an_hour_are_told_apart() -> None:
    writes = {"ephemeral_5m_input_tokens": 100, "ephemeral_1h_input_tokens": 40}
    found = extract(message(input_tokens=5, cache_creation_input_tokens=140, cache_creation=writes, output_tokens=1))
    assert found.usage == {
        "input_tokens": 145,
        "cache_write_tokens": 140,
        "cache_write_5m_tokens": 100,
        "cache_write_1h_tokens": 40,
        "output_tokens": 1,
    }


def test_a_proxy_that_counts_cached_tokens_beside_the_prompt_is_found_out() -> None:
    """More cached than prompt tokens cannot be inside them; with a total, smaller counts are found out too."""
    beside = chat("acme-1", prompt_tokens=10, completion_tokens=10, prompt_tokens_details={"cached_tokens": 100})
    found = extract(beside)
    assert found.usage["input_tokens"] == 110
    assert any("beside" in note for note in found.notes)
    by_total = chat("acme-1", prompt_tokens=100, completion_tokens=5, total_tokens=125, cached_tokens=20)
    assert extract(by_total).usage["input_tokens"] == 120


def test_what_a_total_holds_beyond_its_parts_is_said_and_not_booked_as_output() -> None:
    found = extract(chat(prompt_tokens=10, completion_tokens=20, total_tokens=99))
    assert found.usage == {"input_tokens": 10, "output_tokens": 20}
    assert any("99" in note and "30" in note for note in found.notes)


def test_a_field_that_nobody_knows_is_kept_by_name() -> None:
    found = extract(chat(prompt_tokens=1, completion_tokens=1, quantum_tokens=7))
    assert found.unmapped == {"usage.quantum_tokens": 7}
    assert any("quantum_tokens" in note for note in found.notes)


@pytest.mark.parametrize(
    ("usage", "output_tokens"),
    [
        ({"prompt_tokens": 32, "completion_tokens": 9, "total_tokens": 135}, 103),
        ({"prompt_tokens": 32, "completion_tokens": 103, "total_tokens": 135}, 103),
    ],
)
def test_reasoning_beside_or_inside_the_output_is_told_by_the_total(
    usage: dict[str, int], output_tokens: int
) -> None:
    body = chat("grok-4", **usage, completion_tokens_details={"reasoning_tokens": 94})
    assert extract(body).usage["output_tokens"] == output_tokens


def test_a_resellers_own_cost_is_kept_beside_the_usage() -> None:
    body = {
        **chat("x-ai/grok-4", prompt_tokens=10, completion_tokens=4, cost=0.00093),
        "id": "gen-1",
        "provider": "xAI",
    }
    found = extract(body)
    assert (found.provider, found.service) == ("openrouter", "x-ai/grok-4")
    assert found.reported_cost == Money.of("0.00093")


def test_xai_counts_its_cost_in_ten_billionths_of_a_dollar() -> None:
    # 37,756,000 ticks of 10⁻¹⁰ $ are $0.0037756.
    body = chat("grok-4", prompt_tokens=1, completion_tokens=1, total_tokens=2, cost_in_usd_ticks=37_756_000)
    assert extract(body).reported_cost == Money.of("0.0037756")


def test_a_model_nobody_knows_keeps_its_name_and_takes_no_other() -> None:
    found = extract(chat("no-such-model", prompt_tokens=1, completion_tokens=1), provider="openai")
    assert (found.provider, found.service) == ("openai", "no-such-model")


def test_regional_and_versioned_ids_of_bedrock_are_kept_whole() -> None:
    url = "https://bedrock-runtime.eu-west-1.amazonaws.com/model/eu.anthropic.claude-sonnet-4-5-20250929-v1%3A0/converse"
    found = extract({"usage": {"inputTokens": 3, "outputTokens": 2, "totalTokens": 5}}, url=url)
    assert found.service == "eu.anthropic.claude-sonnet-4-5-20250929-v1:0"
    assert found.conditions["region"] == "eu-west-1"


def test_batches_are_a_condition() -> None:
    line = {"custom_id": "7", "response": {"status_code": 200, "body": chat(prompt_tokens=1, completion_tokens=1)}}
    assert extract(line).conditions["processing"] == "batch"
    result = {"custom_id": "7", "result": {"type": "succeeded", "message": message(input_tokens=1, output_tokens=1)}}
    assert extract(result).conditions["processing"] == "batch"


def test_audio_and_cached_tokens_whose_overlap_was_not_told_never_make_a_remainder_negative() -> None:
    """64 cached and 50 audio of 100: at least 14 are both. Text is taken as cached first, and that is said."""
    details = {"cached_tokens": 64, "audio_tokens": 50}
    found = extract(chat(prompt_tokens=100, completion_tokens=1, prompt_tokens_details=details))
    assert found.usage["cache_audio_read_tokens"] == 14
    assert any("not told" in note for note in found.notes)
    # Where all input is text there is but one answer.
    metadata = {
        "promptTokenCount": 120,
        "cachedContentTokenCount": 100,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 120}],
    }
    certain = extract({"usageMetadata": metadata})
    assert certain.usage["cache_text_read_tokens"] == 100
    assert certain.notes == ()


def test_every_provider_says_whether_it_counts_in_or_out_in_a_file_and_no_code_names_one() -> None:
    source = "".join(path.read_text() for path in _engine())
    named = [name for name in heads() if len(name) > 4 and name != "compatible" and f'"{name}"' in source]
    assert named == []


def _engine() -> list[Any]:
    from pathlib import Path

    import outlay.capture.extract as module

    folder = Path(module.__file__).parent
    return [folder / f"{name}.py" for name in ("extract", "streams", "detect", "profiles", "overlaps", "paths")]
