"""The documented shapes of answers, beyond those that were recorded: one row each."""

from __future__ import annotations

import json
from typing import Any

import pytest

from outlay.capture.extract import extract
from outlay.model import Status

USAGE: dict[str, Any] = {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}
IN_OUT: dict[str, Any] = {"input_tokens": 5, "output_tokens": 3}
RESPONSE = {"id": "r", "object": "response", "model": "gpt-5", "status": "completed"}
REPLICATE = {"id": "p", "model": "acme/sdxl", "version": "v", "urls": {"get": "https://api.replicate.com/v1/p"}}

ROWS: list[tuple[str, object, dict[str, Any], str, str, dict[str, Any]]] = [
    (
        "an assistant's run",
        {"id": "run_1", "object": "thread.run", "status": "completed", "model": "gpt-4o", "usage": USAGE},
        {},
        "openai",
        "gpt-4o",
        IN_OUT,
    ),
    (
        "an image that tells its tokens",
        {"created": 1, "data": [{"b64_json": "x"}], "usage": {"input_tokens": 50, "output_tokens": 4160}},
        {"provider": "openai", "service": "gpt-image-1"},
        "openai",
        "gpt-image-1",
        {"input_tokens": 50, "output_tokens": 4160, "output_image_tokens": 4160},
    ),
    (
        "images that tell none are counted",
        {"created": 1, "data": [{"url": "x"}, {"url": "y"}]},
        {"provider": "openai", "request": {"model": "dall-e-3", "size": "1024x1792", "quality": "hd"}},
        "openai",
        "dall-e-3",
        {"output_images": 2},
    ),
    (
        "a transcription by tokens",
        {
            "text": "x",
            "usage": {
                "type": "tokens",
                "input_tokens": 14,
                "input_token_details": {"text_tokens": 0, "audio_tokens": 14},
                "output_tokens": 45,
                "total_tokens": 59,
            },
        },
        {"provider": "openai", "service": "gpt-4o-transcribe"},
        "openai",
        "gpt-4o-transcribe",
        {"input_tokens": 14, "input_audio_tokens": 14, "output_tokens": 45},
    ),
    (
        "a transcription by the second",
        {"text": "x", "usage": {"type": "duration", "seconds": 9}},
        {"provider": "openai", "service": "whisper-1"},
        "openai",
        "whisper-1",
        {"input_audio_seconds": 9},
    ),
    (
        "speech, by the characters of the request",
        b"\xff\xf3\x00\x01",
        {"url": "https://api.openai.com/v1/audio/speech", "request": {"model": "tts-1", "input": "hello there"}},
        "openai",
        "tts-1",
        {"input_characters": 11},
    ),
    (
        "speech of ElevenLabs",
        b"ID3\x04",
        {
            "url": "https://api.elevenlabs.io/v1/text-to-speech/abc",
            "request": {"text": "hello", "model_id": "eleven_turbo_v2_5"},
        },
        "elevenlabs",
        "eleven_turbo_v2_5",
        {"input_characters": 5},
    ),
    (
        "an image of Stability, which is the body",
        b"\x89PNG\r\n",
        {"url": "https://api.stability.ai/v2beta/stable-image/generate/core"},
        "stability",
        "generate/core",
        {"output_images": 1},
    ),
    (
        "a search model searches before every answer",
        {"object": "chat.completion", "model": "gpt-4o-search-preview", "choices": [{}], "usage": USAGE},
        {},
        "openai",
        "gpt-4o-search-preview",
        {**IN_OUT, "web_searches": 1},
    ),
    (
        "web searches of an answer are counted",
        {
            **RESPONSE,
            "output": [{"type": "web_search_call"}, {"type": "message"}, {"type": "web_search_call"}],
            "usage": {"input_tokens": 5, "output_tokens": 3, "total_tokens": 8},
        },
        {},
        "openai",
        "gpt-5",
        {**IN_OUT, "web_searches": 2},
    ),
    (
        "deep research counts reasoning and citations beside the answer",
        {
            "object": "chat.completion",
            "model": "sonar-deep-research",
            "choices": [{}],
            "usage": USAGE | {"reasoning_tokens": 100, "citation_tokens": 20, "num_search_queries": 4},
        },
        {},
        "perplexity",
        "sonar-deep-research",
        {
            "input_tokens": 5,
            "output_tokens": 123,
            "output_reasoning_tokens": 100,
            "output_citation_tokens": 20,
            "web_searches": 4,
            "requests": 1,
        },
    ),
    (
        "pages read",
        {"model": "mistral-ocr-latest", "pages": [{}], "usage_info": {"pages_processed": 3, "doc_size_bytes": 9}},
        {},
        "mistral",
        "mistral-ocr-latest",
        {"input_document_pages": 3},
    ),
    (
        "a prediction of Replicate",
        {**REPLICATE, "status": "succeeded", "metrics": {"predict_time": 2.811363, "image_count": 4}},
        {},
        "replicate",
        "acme/sdxl",
        {"runs": 1, "hardware_seconds": "2.811363", "output_images": 4},
    ),
    (
        "Gemini's old SDK, in snake case with numbered modalities",
        {
            "usage_metadata": {
                "prompt_token_count": 9,
                "candidates_token_count": 3,
                "total_token_count": 12,
                "prompt_tokens_details": [{"modality": 1, "token_count": 9}],
            },
            "model_version": "gemini-2.0-flash",
        },
        {},
        "google",
        "gemini-2.0-flash",
        {"input_tokens": 9, "input_text_tokens": 9, "output_tokens": 3},
    ),
    (
        "an image of Gemini",
        {
            "candidates": [{"content": {}}],
            "modelVersion": "gemini-2.5-flash-image",
            "usageMetadata": {
                "promptTokenCount": 7,
                "candidatesTokenCount": 1290,
                "totalTokenCount": 1297,
                "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 1290}],
            },
        },
        {},
        "google",
        "gemini-2.5-flash-image",
        {"input_tokens": 7, "output_tokens": 1290, "output_image_tokens": 1290},
    ),
    (
        "searches behind a Gemini 3 answer, each",
        {
            "candidates": [{"groundingMetadata": {"webSearchQueries": ["a", "b"]}}],
            "modelVersion": "gemini-3-pro-preview",
            "usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 3, "totalTokenCount": 8},
        },
        {},
        "google",
        "gemini-3-pro-preview",
        {**IN_OUT, "web_searches": 2},
    ),
    (
        "Imagen",
        {"predictions": [{"bytesBase64Encoded": "x"}, {"bytesBase64Encoded": "y"}]},
        {"url": "https://us-central1-aiplatform.googleapis.com/v1/p/models/imagen-4.0-generate-001:predict"},
        "google",
        "imagen-4.0-generate-001",
        {"output_images": 2},
    ),
    (
        "Nova as invoked",
        {"output": {}, "stopReason": "end_turn", "usage": {"inputTokens": 5, "outputTokens": 3, "totalTokens": 8}},
        {"service": "amazon.nova-lite-v1:0"},
        "aws",
        "amazon.nova-lite-v1:0",
        IN_OUT,
    ),
    (
        "any model of Bedrock by the headers",
        {
            "ResponseMetadata": {
                "HTTPStatusCode": 200,
                "HTTPHeaders": {"x-amzn-bedrock-input-token-count": "5", "x-amzn-bedrock-output-token-count": "3"},
            },
            "body": b'{"outputs": [{"text": "x"}]}',
        },
        {"service": "mistral.mistral-7b-instruct-v0:2"},
        "aws",
        "mistral.mistral-7b-instruct-v0:2",
        IN_OUT,
    ),
    (
        "Claude in Bedrock keeps Bedrock's name",
        {
            "type": "message",
            "role": "assistant",
            "model": "claude-3-haiku-20240307",
            "usage": {"input_tokens": 5, "output_tokens": 3},
        },
        {"provider": "aws", "service": "anthropic.claude-3-haiku-20240307-v1:0"},
        "aws",
        "anthropic.claude-3-haiku-20240307-v1:0",
        IN_OUT,
    ),
    (
        "Databricks and LiteLLM name the cache as Anthropic does but count it inside",
        {
            "object": "chat.completion",
            "model": "m",
            "choices": [{}],
            "usage": USAGE | {"cache_read_input_tokens": 4, "cache_creation_input_tokens": 0},
        },
        {"provider": "databricks"},
        "databricks",
        "m",
        {**IN_OUT, "cache_read_tokens": 4},
    ),
    (
        "Ollama",
        {"model": "llama3", "created_at": "x", "done": True, "prompt_eval_count": 5, "eval_count": 3},
        {},
        "ollama",
        "llama3",
        IN_OUT,
    ),
    (
        "watsonx",
        {"model_id": "ibm/granite", "results": [{"generated_token_count": 3, "input_token_count": 5}]},
        {},
        "watsonx",
        "ibm/granite",
        IN_OUT,
    ),
    (
        "rerank of Cohere",
        {"id": "x", "results": [], "meta": {"billed_units": {"search_units": 2}}},
        {"service": "rerank-v3.5"},
        "cohere",
        "rerank-v3.5",
        {"rerank_searches": 2},
    ),
    (
        "pixels of Voyage",
        {"object": "list", "model": "voyage-multimodal-3", "usage": {"text_tokens": 5, "image_pixels": 400}},
        {"provider": "voyage", "url": "https://api.voyageai.com/v1/multimodalembeddings"},
        "voyage",
        "voyage-multimodal-3",
        {"input_tokens": 5, "input_pixels": 400},
    ),
    (
        "a video of OpenAI",
        {"id": "v", "object": "video", "model": "sora-2", "status": "completed", "seconds": "8", "size": "1280x720"},
        {},
        "openai",
        "sora-2",
        {"output_video_seconds": 8},
    ),
]


@pytest.mark.parametrize(
    ("body", "named", "provider", "service", "usage"), [row[1:] for row in ROWS], ids=[r[0] for r in ROWS]
)
def test_a_documented_shape_is_read(
    body: object, named: dict[str, Any], provider: str, service: str, usage: dict[str, Any]
) -> None:
    found = extract(body, **named)
    assert (found.provider, found.service) == (provider, service)
    assert {meter: str(amount) for meter, amount in found.usage.items()} == {k: str(v) for k, v in usage.items()}
    assert found.found == "usage"


def test_the_size_and_quality_of_an_image_are_conditions() -> None:
    asked = {"model": "dall-e-3", "size": "1024x1024", "quality": "hd"}
    assert extract({"data": [{"url": "x"}]}, provider="openai", request=asked).conditions == {
        "size": "1024x1024",
        "quality": "hd",
    }


def test_the_image_tool_of_an_answer_is_billed_apart() -> None:
    tool = {
        "input_tokens": 20,
        "input_tokens_details": {"text_tokens": 20, "image_tokens": 0},
        "output_tokens": 1000,
        "output_tokens_details": {"text_tokens": 0, "image_tokens": 1000},
    }
    body = {
        **RESPONSE,
        "tools": [{"type": "image_generation", "model": "gpt-image-1.5"}],
        "usage": {"input_tokens": 5, "output_tokens": 3, "total_tokens": 8},
        "tool_usage": {"image_gen": tool},
    }
    found = extract(body)
    assert found.usage == IN_OUT
    assert [(part.service, part.usage["output_image_tokens"], part.call_key) for part in found.also] == [
        ("gpt-image-1.5", 1000, "openai:r#1")
    ]


@pytest.mark.parametrize(
    ("body", "provider", "error", "usage"),
    [
        ({"error": {"code": "rate_limit_exceeded", "message": "secret words"}}, "openai", "rate_limit_exceeded", {}),
        (
            {"type": "error", "error": {"type": "overloaded_error", "message": "x y"}},
            "anthropic",
            "overloaded_error",
            {},
        ),
        ({"__type": "ThrottlingException", "message": "x y"}, "aws", "ThrottlingException", {}),
        ({"detail": "secret words"}, "voyageai", "http_429", {}),
        ("<html>secret</html>", "openai", "http_429", {}),
        (
            {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 12}},
            "google",
            "SAFETY",
            {"input_tokens": 12},
        ),
        (
            {**REPLICATE, "status": "failed", "error": "secret words", "metrics": {"predict_time": 1.5}},
            "replicate",
            "prediction_failed",
            {"hardware_seconds": "1.5"},
        ),
    ],
)
def test_a_refusal_is_told_by_its_code_and_counts_only_what_it_is_told_to_have_used(
    body: object, provider: str, error: str, usage: dict[str, Any]
) -> None:
    found = extract(body, provider=provider, status_code=429)
    assert (found.status, found.error) == (Status.FAILED, error)
    assert {meter: str(amount) for meter, amount in found.usage.items()} == {k: str(v) for k, v in usage.items()}


def test_an_error_inside_a_stream_fails_the_call_and_keeps_what_was_used() -> None:
    start = {"type": "message", "role": "assistant", "model": "c", "usage": {"input_tokens": 9, "output_tokens": 1}}
    lost = {"type": "error", "error": {"type": "overloaded_error", "message": "secret words"}}
    found = extract([{"type": "message_start", "message": start}, lost])
    assert (found.status, found.error, found.usage["input_tokens"]) == (Status.FAILED, "overloaded_error", 9)


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ({**REPLICATE, "status": "processing"}, "pending"),
        ({**RESPONSE, "status": "queued", "usage": None}, "pending"),
        ({"object": "response.input_tokens", "input_tokens": 18}, "none"),
        ({"object": "list", "data": [{"object": "model", "id": "gpt-4o"}]}, "none"),
        ({"totalTokens": 12}, "none"),
        ({"hello": "there"}, "unknown"),
    ],
)
def test_what_has_no_usage_yet_or_never_is_told_apart(body: dict[str, Any], found: str) -> None:
    provider = "google" if "totalTokens" in body else None if "urls" in body else "openai"
    read = extract(body, provider=provider)
    assert (read.found, read.usage) == (found, {})


def test_a_cancelled_prediction_is_cancelled() -> None:
    assert extract({**REPLICATE, "status": "canceled"}).status is Status.CANCELLED


def test_a_version_behind_a_models_name_is_no_part_of_its_name() -> None:
    answer = {**REPLICATE, "model": f"acme/sdxl:{'0f' * 32}", "status": "succeeded", "metrics": {"predict_time": 2.5}}
    assert extract(answer).service == "acme/sdxl"


def test_sessions_by_voice_sum_their_answers_and_tell_the_transcriber_apart() -> None:
    def done(text: int, audio: int) -> dict[str, Any]:
        details = {"text_tokens": text, "audio_tokens": audio, "cached_tokens": 0}
        usage = {"input_tokens": text + audio, "output_tokens": 1, "input_token_details": details}
        response = {"object": "realtime.response", "id": "x", "status": "completed"}
        return {
            "type": "response.done",
            "response": {**response, "usage": {**usage, "total_tokens": text + audio + 1}},
        }

    heard = {
        "type": "conversation.item.input_audio_transcription.completed",
        "usage": {"type": "duration", "seconds": 3},
    }
    session = {"model": "gpt-realtime", "audio": {"input": {"transcription": {"model": "whisper-1"}}}}
    frames = [{"type": "session.created", "session": session}, heard, done(1, 20), heard, done(2, 30)]
    found = extract(frames)
    assert (found.service, found.operation) == ("gpt-realtime", "realtime")
    assert found.usage == {"input_tokens": 53, "input_text_tokens": 3, "input_audio_tokens": 50, "output_tokens": 2}
    assert [(part.service, part.usage) for part in found.also] == [("whisper-1", {"input_audio_seconds": 6})]


def test_every_shape_of_azure_streams_is_read_past_its_first_empty_chunk() -> None:
    first = {"choices": [], "created": 0, "id": "", "model": "", "object": "", "prompt_filter_results": [{}]}
    rest = {"id": "c", "object": "chat.completion.chunk", "model": "gpt-4o-2024-11-20"}
    found = extract(
        [first, {**rest, "choices": [{"delta": {"content": "a"}}]}, {**rest, "choices": [], "usage": USAGE}]
    )
    assert (found.provider, found.service, found.usage) == ("azure", "gpt-4o-2024-11-20", IN_OUT)


def test_models_of_bedrock_told_in_chunks_of_bytes() -> None:
    def chunk(**body: Any) -> dict[str, Any]:
        return {"chunk": {"bytes": json.dumps(body).encode()}}

    metrics = {"inputTokenCount": 9, "outputTokenCount": 5, "invocationLatency": 3, "firstByteLatency": 2}
    frames = [
        chunk(generation="x", prompt_token_count=9, generation_token_count=1),
        chunk(generation="y", generation_token_count=5, **{"amazon-bedrock-invocationMetrics": metrics}),
    ]
    found = extract(frames, service="meta.llama3-1-8b-instruct-v1:0")
    assert (found.provider, found.usage) == ("aws", {"input_tokens": 9, "output_tokens": 5})
