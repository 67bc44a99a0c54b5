"""Recording through the api: exact, once, whole, and kept when things go wrong."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import outlay
from outlay.model import PricingStatus, Status

CHAT: dict[str, Any] = {"provider": "openai", "service": "gpt-4o", "operation": "chat"}
USAGE: dict[str, Any] = {"input_tokens": 1200, "cache_read_tokens": 800, "output_tokens": 350}
# gpt-4o: $2.50, cached $1.25, output $10.00 a million:
# 400 × 2.50e-6 + 800 × 1.25e-6 + 350 × 10e-6 = 0.001 + 0.001 + 0.0035
COST = Decimal("0.0055")


def test_a_call_costs_what_its_rates_say(ledger: outlay.Ledger) -> None:
    receipt = ledger.record(**CHAT, usage=USAGE, user="u42", job="video-7")
    assert receipt.total.amount == COST
    assert str(receipt.total) == "$0.0055"
    assert receipt.outcome == "created"
    assert receipt.pricing_status is PricingStatus.PRICED
    assert sum(line.amount for line in receipt.lines) == receipt.total.pico
    assert ledger.costs().total.amount == COST
    assert ledger.audit().ok


def test_price_keeps_nothing(ledger: outlay.Ledger) -> None:
    assert ledger.price(**CHAT, usage=USAGE).total.amount == COST
    assert ledger.costs().events == 0


def test_a_retry_returns_the_first_receipt(ledger: outlay.Ledger, clock: outlay.FrozenClock) -> None:
    first = ledger.record(**CHAT, usage=USAGE, id="call-1")
    clock.advance(hours=13)  # past midnight UTC: an honest retry is still the same event
    again = ledger.record(**CHAT, usage={**USAGE, "input_tokens": 1200.0}, id="call-1")
    assert (first.outcome, again.outcome) == ("created", "exists")
    assert again.total == first.total
    assert ledger.costs().events == 1


def test_a_reused_id_with_another_body_is_refused_by_name(ledger: outlay.Ledger) -> None:
    ledger.record(**CHAT, usage=USAGE, id="call-1")
    with pytest.raises(outlay.EventConflict) as refused:
        ledger.record(**CHAT, usage={"input_tokens": 1}, id="call-1")
    assert refused.value.code == "exists_with_different_usage"
    assert refused.value.field == "usage"
    with pytest.raises(outlay.EventConflict) as refused:
        ledger.record(**CHAT, usage=USAGE, user="somebody", id="call-1")
    assert refused.value.code == "exists_with_different_user"
    assert ledger.costs().events == 1


def test_bad_input_writes_nothing(ledger: outlay.Ledger) -> None:
    with pytest.raises(outlay.InvalidInput) as refused:
        ledger.record(**CHAT, usage={"input_tokens": 100, "cache_read_tokens": 200})
    assert refused.value.code == "part_exceeds_whole"
    assert "200" in refused.value.message
    assert "100" in refused.value.message
    assert ledger.costs().events == 0


def test_unknown_is_never_zero(ledger: outlay.Ledger) -> None:
    receipt = ledger.record(provider="openai", service="gpt-unheard-of", usage={"input_tokens": 10})
    assert receipt.pricing_status is PricingStatus.UNPRICED
    costs = ledger.costs()
    assert (costs.events, costs.table.total.unpriced, costs.total) == (1, 1, outlay.Money(0))


def test_record_many_reports_each_in_its_place_and_loses_none(ledger: outlay.Ledger) -> None:
    good = {**CHAT, "usage": USAGE}
    outcomes = ledger.record_many(
        [
            {**good, "id": "a"},
            {**good, "usage": {"input_tokens": -1}},
            {**good, "id": "a"},
            {**good, "id": "a", "user": "other"},
            {"provider": "openai"},
            {**good, "usage": {"input_tokens": 1, "cache_read_tokens": 2}},
            good,
        ]
    )
    codes = [outcome.code for outcome in outcomes]
    assert codes == [
        "created",
        "negative_quantity",
        "exists",
        "exists_with_different_user",
        "missing_field",
        "part_exceeds_whole",
        "created",
    ]
    assert [outcome.index for outcome in outcomes] == list(range(7))
    assert [bool(outcome.message) for outcome in outcomes] == [False, True, False, True, True, True, False]
    assert ledger.costs().total.amount == 2 * COST


def test_count_costs_as_much_as_so_many_events(ledger: outlay.Ledger) -> None:
    one = ledger.price(**CHAT, usage={"input_tokens": 7}).total
    many = ledger.record(**CHAT, usage={"input_tokens": 7}, count=1_000)
    assert many.total == one * 1_000
    assert ledger.costs().events == 1_000


def test_track_measures_and_records_a_failed_call(ledger: outlay.Ledger) -> None:
    with ledger.track(**CHAT, job="video-7") as call:
        call.usage(input_tokens=1000)
        call.usage(input_tokens=200, output_tokens=350)
        call.usage(cache_read_tokens=800)
    assert call.receipt is not None
    assert call.receipt.total.amount == COST
    assert call.receipt.event.duration_s is not None
    with pytest.raises(ZeroDivisionError), ledger.track(**CHAT, job="video-7") as failing:
        raise ZeroDivisionError("the prompt was: secret")
    assert failing.receipt is not None
    assert failing.receipt.event.status is Status.FAILED
    assert failing.receipt.event.error == "ZeroDivisionError"
    assert failing.receipt.pricing_status is PricingStatus.UNPRICED
    job = ledger.job("video-7")
    assert (job.events, job.failed, job.total.amount) == (2, 1, COST)


def test_attribution_nests_and_inner_wins(ledger: outlay.Ledger) -> None:
    @ledger.tracked(feature="story")
    def story() -> outlay.Receipt:
        return ledger.record(**CHAT, usage=USAGE, tags={"arm": "b"})

    with ledger.attribute(user="u1", job="video-1", tags={"release": "7"}), ledger.attribute(job="video-2"):
        event = story().event
    assert (event.user, event.job, event.feature) == ("u1", "video-2", "story")
    assert event.tags == {"release": "7", "arm": "b"}
    assert ledger.record(**CHAT, usage=USAGE).event.user is None
    with pytest.raises(outlay.InvalidInput), ledger.attribute(modle="x"):
        pass


def test_tracked_records_a_function_sync_and_async(ledger: outlay.Ledger) -> None:
    @ledger.tracked(**CHAT, usage=lambda answer: {"input_tokens": len(answer)}, feature="echo")
    def answer(text: str) -> str:
        return text

    @ledger.tracked(**CHAT, usage={"input_tokens": 5})
    async def answer_later(text: str) -> str:
        return text

    assert answer("four") == "four"
    assert asyncio.run(answer_later("x")) == "x"
    ledger.flush()
    quantities = ledger.costs("service", quantities=True).rows[0].quantities
    assert quantities is not None
    assert quantities["input_tokens"] == 9


def test_on_an_event_loop_a_call_is_journaled_then_booked(tmp_path: Path) -> None:
    async def call() -> outlay.Receipt:
        return ledger.record(**CHAT, usage=USAGE)

    with outlay.open(tmp_path / "outlay.db") as ledger:
        receipt = asyncio.run(call())
        assert receipt.outcome == "journaled"
        assert receipt.total.amount == COST
        assert ledger.costs().total.amount == COST
        assert ledger.event(receipt.id).outcome == "exists"


def test_wait_false_goes_to_the_spool_and_is_seen_at_once(tmp_path: Path) -> None:
    with outlay.open(tmp_path / "outlay.db") as ledger:
        receipts = [ledger.record(wait=False, **CHAT, usage=USAGE) for _ in range(50)]
        assert {receipt.outcome for receipt in receipts} == {"journaled"}
        assert ledger.costs().events == 50
        assert ledger.audit().ok


def test_a_reported_cost_counts_only_where_no_rate_is_known(ledger: outlay.Ledger) -> None:
    known = ledger.record(**CHAT, usage=USAGE, reported_cost="0.99")
    assert known.total.amount == COST
    assert str(known.event.reported_cost) == "$0.99"
    unknown = ledger.record(provider="reseller", service="model-x", usage={"input_tokens": 5}, reported_cost="0.02")
    assert unknown.total.amount == Decimal("0.02")
    assert unknown.rating.basis.value == "reported"
    suspect = ledger.record(provider="reseller", service="model-x", usage={"input_tokens": 5}, reported_cost="0")
    assert suspect.pricing_status is PricingStatus.UNPRICED


HUGE: dict[str, Any] = {**CHAT, "usage": {"output_tokens": 10**15}, "count": 10**9}  # 10¹⁹ dollars


def test_one_event_that_no_ledger_can_hold_stops_no_other(ledger: outlay.Ledger) -> None:
    one = {**CHAT, "usage": {"output_tokens": 100_000}}
    found = ledger.record_many([one, HUGE, one])
    assert [outcome.code for outcome in found] == ["created", "amount_too_large", "created"]
    assert str(ledger.costs().total) == "$2.00"


def test_one_event_that_no_ledger_can_hold_does_not_stop_the_spool(clock: outlay.FrozenClock, tmp_path: Path) -> None:
    with outlay.open(tmp_path / "outlay.db", clock=clock) as ledger:
        ledger.record(**HUGE, wait=False)
        ledger.record(**CHAT, usage={"output_tokens": 100_000}, wait=False)
        ledger.flush()
        assert str(ledger.costs().total) == "$1.00"
        assert ledger.costs().spooled == 0
        assert "amount_too_large" in (tmp_path / "outlay.db.spool" / "rejected.jsonl").read_text()


def test_a_reported_cost_beyond_the_spools_numbers_is_committed(clock: outlay.FrozenClock, tmp_path: Path) -> None:
    with outlay.open(tmp_path / "outlay.db", clock=clock, currency="VND") as ledger:
        receipt = ledger.record(provider="acme", service="img", reported_cost="20000000", wait=False)
        assert receipt.outcome == "created"
        assert receipt.event.reported_cost == outlay.Money.of(20_000_000, "VND")


def test_a_ledger_whose_spool_cannot_be_booked_is_closed_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("outlay.spool.DRAIN_INTERVAL_S", 60.0)
    ledger = outlay.open(tmp_path / "outlay.db")
    ledger.record(provider="openai", service="gpt-4o", usage={"output_tokens": 1}, wait=False)

    def full(*_: object, **__: object) -> None:
        raise outlay.LedgerFull("no space is left")

    with monkeypatch.context() as broken:
        broken.setattr(type(ledger.store), "append", full)
        with pytest.raises(outlay.LedgerFull):
            ledger.close()
    with pytest.raises(outlay.LedgerClosed):
        ledger.costs()
    with outlay.open(tmp_path / "outlay.db") as again:
        assert again.costs().events == 1


def test_a_ledger_opens_also_where_what_a_program_left_cannot_be_booked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("outlay.spool.DRAIN_INTERVAL_S", 60.0)
    path = tmp_path / "outlay.db"

    def full(*_: object, **__: object) -> None:
        raise outlay.LedgerFull("no space is left")

    left = outlay.open(path)
    left.record(provider="openai", service="gpt-4o", usage={"output_tokens": 1}, wait=False)
    with monkeypatch.context() as broken:
        broken.setattr(type(left.store), "append", full)
        with pytest.raises(outlay.LedgerFull):
            left.close()
        with outlay.open(path) as reader:
            found = reader.costs()
            assert (found.events, found.spooled) == (0, 1)
    with outlay.open(path) as again:
        assert again.costs().events == 1
