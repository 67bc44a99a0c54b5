"""Correcting through the api: nothing is edited, sums follow, the past can be seen as it stood."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

import outlay

CHAT: dict[str, Any] = {"provider": "openai", "service": "gpt-4o", "operation": "chat"}
OWN: dict[str, Any] = {"provider": "acme", "service": "img"}


def test_a_correction_is_a_reversal_and_a_new_entry(ledger: outlay.Ledger, clock: outlay.FrozenClock) -> None:
    ledger.record(**CHAT, usage={"output_tokens": 100_000}, id="call-1", user="u1")
    before = clock.now() + 1
    clock.advance(days=3)
    receipt = ledger.correct("call-1", reason="the meter was read twice", usage={"output_tokens": 50_000})
    assert receipt.total.amount == Decimal("0.50")
    assert [entry.sign for entry in ledger.event("call-1").versions] == [1, -1, 1]
    costs = ledger.costs("day")
    assert [(row.keys[0], row.cost.amount, row.events) for row in costs] == [("2026-03-10", Decimal("0.50"), 1)]
    assert ledger.costs(as_of=before).total.amount == 1
    assert ledger.audit().ok


def test_a_cancelled_event_leaves_the_sums_and_stays_readable(ledger: outlay.Ledger) -> None:
    ledger.record(**CHAT, usage={"output_tokens": 100_000}, id="call-1")
    ledger.cancel("call-1", reason="a test call")
    assert ledger.costs().total.amount == 0
    assert ledger.costs().events == 0
    assert ledger.event("call-1").outcome == "cancelled"
    assert ledger.event("call-1").total.amount == 0
    assert ledger.event("call-1").event.usage == {"output_tokens": 100_000}
    with pytest.raises(outlay.NotFound) as refused:
        ledger.cancel("call-1", reason="again")
    assert refused.value.code == "already_cancelled"


def test_a_retry_after_a_correction_is_still_the_first_event(ledger: outlay.Ledger) -> None:
    call = {**CHAT, "usage": {"output_tokens": 100_000}, "id": "call-1"}
    ledger.record(**call)
    ledger.correct("call-1", reason="wrong user", user="u2")
    assert ledger.record(**call).outcome == "exists"
    assert ledger.costs("user").rows[0].keys == ("u2",)


def test_what_cannot_be_corrected_is_said(ledger: outlay.Ledger) -> None:
    ledger.record(**CHAT, usage={"output_tokens": 1}, id="call-1")
    with pytest.raises(outlay.InvalidInput):
        ledger.correct("call-1", reason="no", time="2026-03-01T00:00:00Z")
    with pytest.raises(outlay.NotFound):
        ledger.correct("call-2", reason="no", user="u")


def test_the_same_id_on_two_days_needs_the_day(ledger: outlay.Ledger) -> None:
    ledger.record(**CHAT, usage={"output_tokens": 1}, id="nightly", time="2026-03-01T00:00:00Z")
    ledger.record(**CHAT, usage={"output_tokens": 2}, id="nightly", time="2026-03-08T00:00:00Z")
    with pytest.raises(outlay.AmbiguousId) as refused:
        ledger.event("nightly")
    assert refused.value.code == "ambiguous_id"
    assert ledger.event("nightly", day="2026-03-08").event.usage == {"output_tokens": 2}


def test_a_price_of_ones_own_reprices_the_past_on_request(ledger: outlay.Ledger, clock: outlay.FrozenClock) -> None:
    ledger.record(**OWN, usage={"images": 5}, id="img-1")
    assert ledger.costs().table.total.unpriced == 1
    ledger.add_rate(**OWN, meter="images", price="0.02", source="contract 2026")
    assert ledger.record(**OWN, usage={"images": 5}).total.amount == Decimal("0.10")
    dry = ledger.reprice(provider="acme", dry_run=True)
    assert (dry.examined, dry.changed, str(dry.difference)) == (2, 1, "$0.10")
    assert ledger.costs().table.total.unpriced == 1
    done = ledger.reprice(provider="acme")
    assert done.changed == 1
    assert ledger.costs().total.amount == Decimal("0.20")
    assert ledger.costs().table.total.unpriced == 0
    assert ledger.reprice(provider="acme").changed == 0
    assert ledger.audit().ok


def test_an_event_is_rated_by_its_own_time(ledger: outlay.Ledger) -> None:
    ledger.add_rate(**OWN, meter="images", price="0.02", valid_from="2026-01-01", source="contract")
    ledger.add_rate(**OWN, meter="images", price="0.01", valid_from="2026-03-05", source="contract 2")
    march, february = "2026-03-06T00:00:00Z", "2026-02-06T00:00:00Z"
    assert ledger.record(**OWN, usage={"images": 1}, time=march).total.amount == Decimal("0.01")
    assert ledger.record(**OWN, usage={"images": 1}, time=february).total.amount == Decimal("0.02")


def test_a_price_typed_per_million_is_caught(ledger: outlay.Ledger) -> None:
    with pytest.raises(outlay.PriceBookError) as refused:
        ledger.add_rate(provider="openai", service="gpt-4o", meter="input_tokens", price="2.50", source="typo")
    assert refused.value.code == "suspicious_price"
    ledger.add_rate(
        provider="openai", service="gpt-4o", meter="input_tokens", price="2.00", per=1_000_000, source="contract"
    )
    # 1,000 × $2.00 a million
    assert ledger.price(**CHAT, usage={"input_tokens": 1000}).total.amount == Decimal("0.002")
    with pytest.raises(outlay.InvalidInput):
        ledger.add_rate(provider="acme", service="x", meter="images", price=0.01, source="a float")  # type: ignore[arg-type]


def test_forget_erases_the_name_and_keeps_the_money(ledger: outlay.Ledger) -> None:
    ledger.record(**CHAT, usage={"output_tokens": 100_000}, user="ann@example.org", tags={"by": "ann@example.org"})
    ledger.record(**CHAT, usage={"output_tokens": 100_000}, user="bob")
    assert ledger.forget(user="ann@example.org") == 1
    assert ledger.costs().total.amount == 2
    assert ledger.costs(where={"user": "ann@example.org"}).events == 0
    assert "ann@example.org" not in repr([receipt.event for receipt in ledger.events()])
    assert ledger.audit().ok


def test_retention_drops_detail_and_keeps_sums(ledger: outlay.Ledger) -> None:
    ledger.record(**CHAT, usage={"output_tokens": 100_000}, time="2025-11-01T00:00:00Z")
    ledger.record(**CHAT, usage={"output_tokens": 100_000})
    retained = ledger.retain(days=90)
    assert retained.entries == 1
    assert ledger.costs().total.amount == 2
    assert len(list(ledger.events())) == 1
    assert ledger.audit().ok
    with pytest.raises(outlay.InvalidInput):
        ledger.retain(days=0)
