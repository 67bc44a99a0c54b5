"""Estimated calls in a ledger: marked so, counted apart, priced like any other."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

import outlay
from outlay.errors import InvalidInput
from outlay.instrument.estimating import record_estimated
from outlay.model import Basis
from outlay.opening import open_configured

QUESTION = "How do I configure wireless settings?"
BODY = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "model": "gpt-4o",
    "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "Hold the button."}, "finish_reason": "stop"}
    ],
}
REQUEST = {"model": "gpt-4o", "messages": [{"role": "user", "content": QUESTION}]}


def test_an_estimate_is_priced_and_marked(memory: outlay.Ledger) -> None:
    receipt = record_estimated(
        memory, provider="openai", service="gpt-4o", input_text=QUESTION, output_text="Hold the button."
    )
    # 10 × $2.50 and 4 × $10 a million.
    assert receipt.total.amount == Decimal("0.000065")
    assert receipt.event.basis is Basis.ESTIMATED
    assert memory.costs().shares() == {"estimated": receipt.total}
    assert "wireless" not in repr(receipt.as_dict())


def test_a_recording_is_estimated_by_its_size(memory: outlay.Ledger) -> None:
    receipt = record_estimated(
        memory, provider="aws", service="transcribe", audio_bytes=300_000, conditions={"region": "us-east-1"}
    )
    assert receipt.event.usage == {"audio_seconds": 18}


def test_an_answer_without_usage_is_estimated_where_it_is_asked_for(memory: outlay.Ledger) -> None:
    bare = memory.record_response(BODY, provider="openai", request_body=REQUEST)
    assert bare.pricing_status is outlay.PricingStatus.UNPRICED
    again = memory.record_response(BODY, provider="openai", request_body=REQUEST, estimate="words")
    # The same answer is the same call: what was unpriced is corrected. 12 and 6 tokens.
    assert again.outcome == "seen"
    assert again.event.usage == {"input_tokens": 12, "output_tokens": 6}
    assert memory.costs().events == 1
    with pytest.raises(InvalidInput, match="characters, words, tiktoken"):
        memory.record_response(BODY, provider="openai", estimate="guess")


def test_a_ledger_s_own_rule_comes_from_its_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "outlay.toml").write_text('ledger = "memory:"\nestimate = "characters"\n')
    with open_configured() as ledger:
        receipt = ledger.record_response(BODY, provider="openai", request_body=REQUEST)
        assert receipt.event.usage == {"input_tokens": 10, "output_tokens": 4}
