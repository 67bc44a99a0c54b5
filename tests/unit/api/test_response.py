"""A provider's answer becomes a receipt: whole, by its own conventions, and never with its text."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest

import outlay
from outlay.model import PricingStatus

CHAT: dict[str, Any] = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "model": "gpt-4o-2024-08-06",
    "choices": [{"message": {"role": "assistant", "content": "a secret answer"}}],
    "usage": {
        "prompt_tokens": 1200,
        "completion_tokens": 350,
        "total_tokens": 1550,
        "prompt_tokens_details": {"cached_tokens": 800},
    },
}


def test_a_body_is_priced_and_attributed(ledger: outlay.Ledger) -> None:
    receipt = ledger.record_response(CHAT, job="video-7", user="u42")
    assert receipt.total.amount == Decimal("0.0055")
    assert (receipt.event.provider, receipt.event.job, receipt.event.user) == ("openai", "video-7", "u42")
    assert ledger.job("video-7").total == receipt.total
    assert "secret" not in repr(list(ledger.events()))


def test_a_name_that_no_price_knows_falls_back_to_the_name_asked_for(ledger: outlay.Ledger) -> None:
    served = {**CHAT, "model": "deployment-7"}
    receipt = ledger.record_response(served, provider="openai", request_body={"model": "gpt-4o", "messages": []})
    assert receipt.pricing_status is PricingStatus.PRICED
    assert receipt.event.service == "gpt-4o"
    assert receipt.event.parameters["served_service"] == "deployment-7"


def test_what_uses_nothing_or_is_not_finished_is_not_kept(ledger: outlay.Ledger) -> None:
    pending = {
        "id": "p1",
        "model": "stability-ai/sdxl",
        "version": "v1",
        "status": "processing",
        "urls": {"get": "https://api.replicate.com/v1/predictions/p1"},
        "input": {},
        "logs": "",
    }
    assert ledger.record_response(pending, provider="replicate").outcome == "pending"
    counted = "https://api.anthropic.com/v1/messages/count_tokens"
    assert ledger.record_response({"input_tokens": 12}, url=counted).outcome == "no_usage"
    assert ledger.costs().events == 0


def test_a_refused_call_is_kept_as_failed(ledger: outlay.Ledger) -> None:
    body = {"error": {"message": "the prompt was: secret", "type": "rate_limit_error", "code": "rate_limited"}}
    receipt = ledger.record_response(body, provider="openai", service="gpt-4o", status_code=429, job="video-7")
    assert receipt.event.status.value == "failed"
    assert receipt.pricing_status is PricingStatus.UNPRICED
    assert (ledger.job("video-7").events, ledger.job("video-7").failed) == (1, 1)
    assert "secret" not in repr(receipt.event)


def test_an_answer_without_the_usage_it_owes_is_kept_unpriced(ledger: outlay.Ledger) -> None:
    owing = {name: value for name, value in CHAT.items() if name != "usage"}
    receipt = ledger.record_response(owing)
    assert receipt.pricing_status is PricingStatus.UNPRICED
    assert ledger.costs().table.total.unpriced == 1


def test_numbers_that_contradict_each_other_are_kept_with_the_reason(ledger: outlay.Ledger) -> None:
    odd = {**CHAT, "usage": {**CHAT["usage"], "prompt_tokens": 100}}
    receipt = ledger.record_response(odd)
    assert receipt.outcome == "created"
    assert ledger.costs().events == 1


def test_a_tracked_call_reads_its_response(ledger: outlay.Ledger) -> None:
    with ledger.track(provider="openai", service="gpt-4o", feature="summary") as call:
        call.response(CHAT)
    assert call.receipt is not None
    assert call.receipt.total.amount == Decimal("0.0055")
    assert call.receipt.event.feature == "summary"


def test_a_response_that_cannot_be_read_never_fails_the_call(ledger: outlay.Ledger) -> None:
    with ledger.track(provider="openai", service="gpt-4o") as call:
        call.response(chunk for chunk in ("never",))
    assert call.receipt is not None
    assert call.receipt.pricing_status is PricingStatus.UNPRICED
    assert call.receipt.event.parameters["reading"] == "stream_not_read"
    with pytest.raises(outlay.InvalidInput):
        ledger.record_response(chunk for chunk in ("never",))


def test_an_answer_on_an_event_loop_is_journaled(ledger: outlay.Ledger) -> None:
    async def call() -> outlay.Receipt:
        return ledger.record_response(CHAT)

    assert asyncio.run(call()).total.amount == Decimal("0.0055")
    ledger.flush()
    assert ledger.costs().events == 1
