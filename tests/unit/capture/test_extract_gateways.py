"""Answers in which the obvious counts are not the bill: compaction, thoughts in the total alone, gateways, agents."""

from __future__ import annotations

import json
from typing import Any

import pytest

from outlay.capture.extract import extract
from outlay.model import Status

COMPACTED: dict[str, Any] = {
    "input_tokens": 162,
    "output_tokens": 11,
    "cache_read_input_tokens": 0,
    "iterations": [
        {"type": "compaction", "input_tokens": 900, "output_tokens": 80, "cache_read_input_tokens": 5000},
        {"type": "message", "input_tokens": 162, "output_tokens": 11, "cache_read_input_tokens": 0},
    ],
}
MESSAGE = {"id": "m", "type": "message", "role": "assistant", "model": "claude-sonnet-4-6", "content": []}
PAID_COMPACTION = {"input_tokens": 162 + 900 + 5000, "cache_read_tokens": 5000, "output_tokens": 91}


def test_the_pass_that_compacts_a_context_is_counted_though_the_totals_leave_it_out() -> None:
    assert extract({**MESSAGE, "usage": COMPACTED}).usage == PAID_COMPACTION


def test_a_stream_that_compacts_counts_no_pass_twice() -> None:
    begun = {"input_tokens": 900, "output_tokens": 1, "cache_read_input_tokens": 5000}
    stream = [
        {"type": "message_start", "message": {**MESSAGE, "usage": begun}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": COMPACTED},
        {"type": "message_stop"},
    ]
    assert extract(stream).usage == PAID_COMPACTION


def test_a_model_that_fell_back_on_another_is_paid_for_the_one_that_answered() -> None:
    tried = {"type": "message", "model": "claude-fable-5", "input_tokens": 408, "output_tokens": 0}
    answered = {"type": "fallback_message", "model": "claude-opus-4-8", "input_tokens": 412, "output_tokens": 264}
    usage = {"input_tokens": 412, "output_tokens": 264, "iterations": [tried, answered]}
    assert extract({**MESSAGE, "usage": usage}).usage == {"input_tokens": 412, "output_tokens": 264}


def test_thoughts_that_only_the_total_tells_are_output() -> None:
    answer: dict[str, Any] = {
        "object": "chat.completion",
        "model": "gemini-2.5-pro",
        "choices": [],
        "usage": {"prompt_tokens": 35, "completion_tokens": 12, "total_tokens": 109},
    }
    found = extract(answer, url="https://generativelanguage.googleapis.com/v1beta/openai/chat/completions")
    assert found.usage == {"input_tokens": 35, "output_tokens": 74, "output_reasoning_tokens": 62}
    assert found.notes == ()
    answer["usage"] = {"prompt_tokens": 35, "completion_tokens": 12, "total_tokens": 47}
    assert extract(answer, provider="google").usage == {"input_tokens": 35, "output_tokens": 12}


def test_vercels_gateway_charges_reasoning_beside_the_completion() -> None:
    found = extract(
        {
            "id": "gen_1",
            "object": "chat.completion",
            "model": "openai/gpt-5",
            "choices": [],
            "usage": {
                "prompt_tokens": 100,
                "completion_tokens": 300,
                "total_tokens": 400,
                "cost": 0.005685,
                "market_cost": 0.005685,
                "completion_tokens_details": {"reasoning_tokens": 256},
            },
        }
    )
    assert found.provider == "vercel"
    assert found.usage == {"input_tokens": 100, "output_tokens": 556, "output_reasoning_tokens": 256}
    assert str(found.reported_cost) == "$0.005685"  # 100 at $1.25 and 556 at $10 a million
    assert found.unmapped == {}


INTERACTION: dict[str, Any] = {
    "id": "v1_a",
    "object": "interaction",
    "model": "gemini-2.5-flash",
    "status": "completed",
    "service_tier": "standard",
    "usage": {
        "total_tokens": 1983,
        "total_input_tokens": 22,
        "input_tokens_by_modality": [{"modality": "text", "tokens": 22}],
        "total_cached_tokens": 0,
        "total_output_tokens": 590,
        "total_tool_use_tokens": 198,
        "tool_use_tokens_by_modality": [{"modality": "text", "tokens": 198}],
        "total_thought_tokens": 1173,
    },
}


@pytest.mark.parametrize(
    "answer",
    [
        INTERACTION,
        [
            {"event_type": "interaction.created", "interaction": {**INTERACTION, "usage": None}},
            {"event_type": "step.delta", "index": 0, "delta": {"type": "text", "text": "a"}},
            {"event_type": "interaction.completed", "interaction": INTERACTION},
        ],
    ],
)
def test_an_interaction_counts_its_thoughts_and_its_tools(answer: object) -> None:
    found = extract(answer)
    assert (found.provider, found.service, found.conditions) == ("google", "gemini-2.5-flash", {})
    assert found.usage == {
        "input_tokens": 220,
        "input_tool_tokens": 198,
        "input_text_tokens": 220,
        "input_text_tool_tokens": 198,
        "output_tokens": 1763,
        "output_reasoning_tokens": 1173,
    }
    assert (found.notes, found.cut) == ((), False)


def test_an_agents_background_interaction_is_not_finished() -> None:
    begun = {"id": "v1_b", "object": "interaction", "agent": "deep-research-pro", "status": "in_progress"}
    assert (extract(begun).found, extract(begun).service) == ("pending", "deep-research-pro")


def test_an_embedding_that_tells_its_modalities_is_no_chat() -> None:
    details = [{"modality": "IMAGE", "tokenCount": 258}, {"modality": "TEXT", "tokenCount": 3}]
    found = extract(
        {
            "embeddings": [{"values": [0.1]}],
            "usageMetadata": {"promptTokenCount": 261, "promptTokenDetails": details},
        },
        url="https://generativelanguage.googleapis.com/v1beta/models/gemini-embedding-2:batchEmbedContents",
    )
    assert (found.service, found.operation) == ("gemini-embedding-2", "embeddings")
    assert found.usage == {"input_tokens": 261, "input_text_tokens": 3, "input_image_tokens": 258}


def test_a_tier_told_as_a_number_is_the_usual_one() -> None:
    usage = {"promptTokenCount": 4, "candidatesTokenCount": 2, "totalTokenCount": 6, "trafficType": 1}
    assert extract({"modelVersion": "gemini-2.5-pro", "candidates": [], "usageMetadata": usage}).conditions == {}


def test_an_agent_of_bedrock_is_the_sum_of_what_its_models_used() -> None:
    def step(kind: str, spent: int) -> dict[str, Any]:
        used = {"modelInvocationOutput": {"metadata": {"usage": {"inputTokens": spent, "outputTokens": 10}}}}
        return {"trace": {"agentAliasId": "A", "trace": {kind: used}}}

    asked: dict[str, Any] = {
        "trace": {"agentAliasId": "A", "trace": {"orchestrationTrace": {"modelInvocationInput": {"text": "q"}}}}
    }
    asked["trace"]["trace"]["orchestrationTrace"]["modelInvocationInput"]["foundationModel"] = "amazon.nova-pro-v1:0"
    done = {"trace": {"agentAliasId": "A", "trace": {"orchestrationTrace": {"observation": {"finalResponse": {}}}}}}
    found = extract([asked, step("preProcessingTrace", 300), step("orchestrationTrace", 2000), done])
    assert (found.provider, found.service, found.operation) == ("aws", "amazon.nova-pro-v1:0", "agent")
    assert found.usage == {"input_tokens": 2300, "output_tokens": 20}
    assert not found.cut


def test_an_agent_without_its_trace_says_how_to_be_told() -> None:
    url = "https://bedrock-agent-runtime.us-east-1.amazonaws.com/agents/A/agentAliases/B/sessions/s/text"
    found = extract([{"chunk": {"bytes": b"an answer"}}], url=url)
    assert found.found == "missing"
    assert any("enableTrace" in note for note in found.notes)


def test_a_guardrails_answer_is_a_request_of_its_own() -> None:
    answer = {"action": "NONE", "assessments": [], "guardrailCoverage": {}, "usage": {"contentPolicyUnits": 1}}
    url = "https://bedrock-runtime.us-east-1.amazonaws.com/guardrail/g/version/1/apply"
    found = extract(answer, url=url)
    assert (found.service, found.usage) == ("guardrail", {"requests": 1})


@pytest.mark.parametrize(
    ("path", "answer", "request_body", "usage"),
    [
        ("embeddings", {"data": [{"embedding": [1]}], "usage": {"prompt_tokens": 7}}, {}, {"input_tokens": 7}),
        ("rerank", {"results": [{"relevance_score": 1}], "usage": {"total_tokens": 17}}, {}, {"input_tokens": 17}),
        (
            "audio/transcriptions",
            {"text": "a", "usage": {"total_tokens": 49, "input_tokens": 37, "output_tokens": 12}},
            {},
            {"input_tokens": 37, "output_tokens": 12},
        ),
    ],
)
def test_openrouter_tells_the_cost_of_whatever_was_asked(
    path: str, answer: dict[str, Any], request_body: dict[str, Any], usage: dict[str, int]
) -> None:
    answer["usage"] |= {"cost": 0.00000034, "cost_details": {"upstream_inference_cost": 0.00000034}}
    found = extract(answer, url=f"https://openrouter.ai/api/v1/{path}", request=request_body)
    assert found.usage == usage
    assert str(found.reported_cost) == "$0.00000034"
    assert found.unmapped == {}


def test_xais_video_is_told_when_it_is_done() -> None:
    url = "https://api.x.ai/v1/videos/r1"
    waiting = extract({"status": "pending", "progress": 1}, url=url)
    done = {"status": "done", "model": "grok-imagine-video", "video": {"duration": 6}, "progress": 100}
    found = extract({**done, "usage": {"cost_in_usd_ticks": 500_000_000}}, url=url)
    assert waiting.found == "pending"
    assert (found.service, found.usage) == ("grok-imagine-video", {"output_video_seconds": 6})
    assert str(found.reported_cost) == "$0.05"


def test_xais_voices_are_counted_by_second_and_by_character() -> None:
    heard = extract({"text": "a", "duration": 3.7, "words": []}, url="https://api.x.ai/v1/stt")
    spoken = extract(b"\xff\xf3\xc4", url="https://api.x.ai/v1/tts", request={"text": "hello"})
    assert float(heard.usage["input_audio_seconds"]) == 3.7
    assert spoken.usage == {"input_characters": 5}


def test_one_result_of_xais_batch_is_at_the_batchs_price() -> None:
    answer: dict[str, Any] = {"object": "chat.completion", "model": "grok-4.3", "choices": [{"message": {}}]}
    answer["usage"] = {"prompt_tokens": 204, "completion_tokens": 1, "total_tokens": 205}
    found = extract({"batch_request_id": "0", "batch_result": {"response": {"chat_get_completion": answer}}})
    assert (found.provider, found.conditions) == ("x-ai", {"processing": "batch"})
    assert found.usage == {"input_tokens": 204, "output_tokens": 1}


def test_mistral_counts_what_it_heard_beside_the_text() -> None:
    usage: dict[str, Any] = {
        "prompt_audio_seconds": 3,
        "prompt_tokens": 9,
        "total_tokens": 632,
        "completion_tokens": 248,
    }
    usage["prompt_tokens_details"] = {"cached_tokens": 0, "audio_tokens": 375}
    found = extract({"model": "voxtral-small-latest", "choices": [{"message": {}}], "usage": usage})
    assert found.usage == {
        "input_tokens": 384,
        "input_audio_tokens": 375,
        "output_tokens": 248,
        "input_audio_seconds": 3,
    }
    assert found.notes == ()


@pytest.mark.parametrize("model", ["gpt-oss:20b", "gemma-7b-it"])
def test_a_stream_of_another_servers_model_is_no_openais_and_no_anthropics(model: str) -> None:
    usage = {"input_tokens": 31, "output_tokens": 2}
    answered = {"object": "response", "status": "completed", "model": model, "usage": usage}
    begun = {"type": "message", "model": model, "usage": usage}
    assert extract([{"type": "response.completed", "response": answered}]).provider == "unknown"
    assert extract([{"type": "message_start", "message": begun}, {"type": "message_stop"}]).provider == "unknown"


def test_a_stream_of_responses_belongs_to_whose_model_it_is() -> None:
    answered: dict[str, Any] = {"object": "response", "status": "completed", "model": "grok-4-fast-reasoning"}
    answered["usage"] = {"input_tokens": 31, "output_tokens": 2}
    assert extract([{"type": "response.completed", "response": answered}]).provider == "x-ai"


@pytest.mark.parametrize(
    ("url", "answer"),
    [
        ("https://api.openai.com/v1/assistants", {"id": "asst_1", "object": "assistant", "model": "gpt-4o"}),
        ("https://api.openai.com/v1/threads/t/messages", {"id": "msg_1", "object": "thread.message"}),
        ("https://api.openai.com/v1/threads/t/runs", {"object": "list", "data": [{"object": "thread.run"}]}),
        (
            "https://api.openai.com/v1/realtime/client_secrets",
            {"value": "ek_1", "session": {"model": "gpt-realtime"}},
        ),
        (
            "https://api.openai.com/v1/organization/usage/completions",
            {"object": "page", "data": [{"object": "bucket", "results": [{"input_tokens": 9}]}]},
        ),
        ("https://huggingface.co/api/spaces/u/s/runtime", {"stage": "RUNNING"}),
        ("https://api.perplexity.ai/v1/models", {"object": "list", "data": [{"object": "model"}]}),
        ("https://api.x.ai/v1/batches", {"batch_id": "b", "state": {"num_requests": 0}}),
    ],
)
def test_what_no_model_answered_costs_nothing(url: str, answer: object) -> None:
    found = extract(json.dumps(answer), url=url)
    assert (found.found, found.usage, found.status) == ("none", {}, Status.OK)


def test_a_picture_of_dall_e_without_a_size_is_the_usual_size() -> None:
    found = extract({"created": 1, "data": [{"url": "x"}]}, provider="openai", request={"model": "dall-e-2"})
    assert (found.usage, found.conditions) == ({"output_images": 1}, {"size": "1024x1024"})


@pytest.mark.parametrize("told", [{"errors": []}, {"error": {}}, {"error": ""}, {"error": False}, {"error": None}])
def test_an_empty_list_of_errors_is_no_refusal(told: dict[str, Any]) -> None:
    result = {"response": "a", "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}}
    url = "https://api.cloudflare.com/client/v4/accounts/a/ai/run/@cf/meta/llama-3.1-8b-instruct"
    found = extract({"result": result, "success": True, "messages": [], **told}, url=url)
    assert (found.status, found.error) == (Status.OK, None)
    assert found.usage == {"input_tokens": 3, "output_tokens": 2}


@pytest.mark.parametrize(
    "told",
    [
        {"errors": [{"code": 7009}]},
        {"errors": ["no"]},
        {"errors": "no"},
        {"error": "no"},
        {"error": {"code": "bad"}},
        {"error": True},
    ],
)
def test_an_error_however_it_is_told_is_a_refusal(told: dict[str, Any]) -> None:
    assert extract(told, url="https://api.mistral.ai/v1/chat/completions").status is Status.FAILED


def test_a_rerank_of_voyage_is_no_embedding() -> None:
    answer = {"object": "list", "model": "rerank-2.5", "data": [{"relevance_score": 0.5}]}
    found = extract({**answer, "usage": {"total_tokens": 12}})
    assert (found.provider, found.operation, found.usage) == ("voyageai", "rerank", {"input_tokens": 12})


def test_openrouters_pictures_tell_their_tokens_as_chat_does() -> None:
    usage = {"prompt_tokens": 5, "completion_tokens": 1537, "total_tokens": 1542, "cost": 0.03422675}
    details = {"completion_tokens_details": {"image_tokens": 1120}}
    found = extract(
        {"created": 0, "data": [{"b64_json": "x"}], "usage": {**usage, **details}},
        url="https://openrouter.ai/api/v1/images",
        request={"model": "google/gemini-3.1-flash-lite-image"},
    )
    assert (found.operation, found.service) == ("image", "google/gemini-3.1-flash-lite-image")
    assert found.usage == {"input_tokens": 5, "output_tokens": 1537, "output_image_tokens": 1120}


def test_an_embedding_of_perplexity_makes_no_search() -> None:
    answer = {"object": "list", "model": "pplx-embed-v1-0.6b", "data": [{"embedding": "x"}]}
    found = extract(
        {**answer, "usage": {"prompt_tokens": 8, "total_tokens": 8}}, url="https://api.perplexity.ai/v1/embeddings"
    )
    assert (found.operation, found.usage) == ("embeddings", {"input_tokens": 8})


def test_tokens_that_were_written_to_a_cache_and_read_from_it_are_each_counted_once() -> None:
    details = {"cached_tokens": 2161, "cache_write_tokens": 2161}
    usage = {"prompt_tokens": 2168, "completion_tokens": 100, "total_tokens": 2268, "prompt_tokens_details": details}
    found = extract({"model": "google/gemini-2.5-flash", "choices": [], "usage": usage}, provider="openrouter")
    assert found.usage == {
        "input_tokens": 7 + 2161 + 2161,
        "cache_read_tokens": 2161,
        "cache_write_tokens": 2161,
        "output_tokens": 100,
    }
    assert any("overlap" in note for note in found.notes)
