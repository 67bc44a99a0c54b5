"""Usage that nobody reports: the documents' own rules, each by hand."""

from __future__ import annotations

from decimal import Decimal

import pytest

from outlay.capture.estimates import estimate_audio_seconds, estimate_tokens, with_estimate
from outlay.capture.extract import extract
from outlay.errors import InvalidInput
from outlay.model import Basis

QUESTION = "How do I configure wireless settings?"


def test_37_characters_are_10_tokens_and_6_words_are_12() -> None:
    # 37 / 4 = 9.25; the document that states this rule counts 45 for the same question.
    assert estimate_tokens(QUESTION) == 10
    assert estimate_tokens(QUESTION, "words") == 12
    assert estimate_tokens("") == 0


def test_a_tokenizer_counts_where_there_is_one() -> None:
    assert estimate_tokens(["ab", "c"], "tiktoken", count=len) == 3
    assert estimate_tokens(QUESTION, "tiktoken") == 10


def test_a_megabyte_is_a_minute() -> None:
    assert estimate_audio_seconds(1_000_000) == 60
    assert estimate_audio_seconds(300_001) == Decimal("18.00006")
    with pytest.raises(InvalidInput):
        estimate_audio_seconds(-1)


def test_an_unknown_rule_is_refused() -> None:
    with pytest.raises(InvalidInput, match="characters, words, tiktoken"):
        estimate_tokens(QUESTION, "guess")


BODY = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "model": "local-model",
    "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "Hold the button."}, "finish_reason": "stop"}
    ],
}
REQUEST = {"model": "local-model", "messages": [{"role": "user", "content": QUESTION}]}


def test_an_answer_without_usage_is_estimated_from_its_texts_alone() -> None:
    found = extract(BODY, provider="openai", request=REQUEST)
    estimated = with_estimate(found, BODY, REQUEST, "characters")
    # 37 and 16 characters; neither ids nor roles are text that a model reads.
    assert estimated.usage == {"input_tokens": 10, "output_tokens": 4}
    assert estimated.basis is Basis.ESTIMATED
    assert "estimated by characters ÷ 4" in estimated.notes[-1]
    assert QUESTION not in repr(estimated)


def test_parts_of_a_message_count_and_pictures_in_it_do_not() -> None:
    parts = [{"type": "text", "text": QUESTION}, {"type": "image_url", "image_url": {"url": "data:" + "A" * 400}}]
    request = {"messages": [{"role": "user", "content": parts}]}
    found = extract(BODY, provider="openai", request=request)
    assert with_estimate(found, BODY, request, "words").usage["input_tokens"] == 12


def test_what_a_provider_reports_is_never_replaced() -> None:
    body = {**BODY, "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}}
    found = extract(body, provider="openai", request=REQUEST)
    assert with_estimate(found, body, REQUEST, "characters") is found
    refused = extract({"error": {"code": "overloaded"}}, provider="openai", request=REQUEST, status_code=503)
    assert with_estimate(refused, {}, REQUEST, "characters") is refused
