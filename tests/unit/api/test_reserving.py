"""Budgets through the Ledger: what is held before a call, what becomes of it, and how budgets stand."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

import outlay
from outlay.config import load_settings
from outlay.errors import LedgerError
from outlay.ledger.memory import MemoryStore
from outlay.opening import open_configured

CALL: dict[str, Any] = {"provider": "openai", "service": "gpt-4o", "operation": "chat"}
CENT = {"output_tokens": 1_000}
"""A cent of gpt-4o: 1,000 × $10 a million."""


@pytest.fixture
def clock() -> outlay.FrozenClock:
    return outlay.FrozenClock("2026-03-10T12:00:00Z")


@pytest.fixture(params=["memory", "sqlite"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path, clock: outlay.FrozenClock) -> Iterator[outlay.Ledger]:
    address = "memory:" if request.param == "memory" else str(tmp_path / "a.db")
    with outlay.open(address, clock=clock) as opened:
        yield opened


def spent(ledger: outlay.Ledger, name: str = "cap", **named: Any) -> tuple[Decimal | int, Decimal | int]:
    (one,) = ledger.budgets(name, **named)
    return outlay.Money(one.spent).amount, outlay.Money(one.reserved).amount


def test_ten_calls_of_a_cent_fit_ten_cents_and_the_eleventh_is_told_everything(ledger: outlay.Ledger) -> None:
    ledger.budget("cap", limit="0.10", window="day", action="refuse")
    for _ in range(9):
        ledger.reserve(**CALL, usage=CENT).settle(usage=CENT)
    held = ledger.reserve(**CALL, usage=CENT)
    with pytest.raises(outlay.BudgetExceeded) as refused:
        ledger.reserve(**CALL, usage=CENT)
    error = refused.value
    assert (error.code, error.budget, error.window) == ("budget_reserved", "cap", "2026-03-10")
    assert (error.spent, error.reserved, error.limit, error.asked) == (
        Decimal("0.09"),
        Decimal("0.01"),
        Decimal("0.10"),
        Decimal("0.01"),
    )
    assert error.opens_at is not None
    assert error.opens_at.isoformat() == "2026-03-11T00:00:00+00:00"
    held.settle(usage=CENT)
    with pytest.raises(outlay.BudgetExceeded) as refused:
        ledger.reserve(**CALL, usage=CENT)
    assert refused.value.code == "budget_spent"
    counted, kept = ledger.refusals("cap")
    assert (counted, [one.refusal.code for one in kept]) == (2, ["budget_spent", "budget_reserved"])
    assert ledger.audit().ok


def test_a_new_day_opens_the_budget_again(ledger: outlay.Ledger, clock: outlay.FrozenClock) -> None:
    ledger.budget("cap", limit="0.01", window="day", action="refuse")
    ledger.reserve(**CALL, usage=CENT).settle(usage=CENT)
    with pytest.raises(outlay.BudgetExceeded):
        ledger.reserve(**CALL, usage=CENT)
    clock.advance(hours=12)
    ledger.reserve(**CALL, usage=CENT).settle(usage=CENT)


def test_a_reservation_is_settled_at_what_happened_with_a_receipt(ledger: outlay.Ledger) -> None:
    ledger.budget("cap", limit="0.10", window="day", action="refuse")
    with ledger.reserve(**CALL, user="u42", usage={"input_tokens": 1200, "output_tokens": 500}) as reservation:
        assert reservation.output_tokens_max == 500
        # 1,200 × $2.50 + 500 × $10 a million.
        assert str(reservation.bound.total) == "$0.008"
        receipt = reservation.settle(usage={"input_tokens": 1180, "output_tokens": 312})
    # 1,180 × $2.50 + 312 × $10 a million.
    assert (str(receipt.total), receipt.outcome, receipt.event.user) == ("$0.00607", "settled", "u42")
    assert reservation.settle(usage={"input_tokens": 1180, "output_tokens": 312}).outcome == "exists"
    with pytest.raises(outlay.EventConflict, match="another usage"):
        reservation.settle(usage={"output_tokens": 1})
    assert spent(ledger) == (Decimal("0.00607"), Decimal("0.00"))


def test_a_settlement_keeps_what_the_call_was_for_and_nothing_that_only_the_request_knew(
    ledger: outlay.Ledger, clock: outlay.FrozenClock
) -> None:
    asked = {**CALL, "user": "ann", "tags": {"page": "home"}, "conditions": {"service_tier": "default"}, "count": 2}
    guessed: dict[str, Any] = {
        "status": "unsettled",
        "basis": "estimated",
        "error": "none yet",
        "reported_cost": "0.05",
    }
    short, long = ledger.reserve(**asked, **guessed, usage=CENT), ledger.reserve(**asked, **guessed, usage=CENT)
    clock.advance(seconds=2)
    # Whether the usage alone is told or more with it, the same call comes of it.
    one, other = short.settle(usage=CENT).event, long.settle(usage=CENT, status="ok").event
    assert replace(one, id=other.id) == other
    assert (one.user, one.tags, one.count) == ("ann", {"page": "home"}, 2)
    assert (one.status, one.basis, one.error, one.reported_cost) == ("ok", "measured", None, None)
    assert one.occurred_to - one.occurred_from == 2_000_000


def test_a_response_settles_a_reservation(ledger: outlay.Ledger) -> None:
    ledger.budget("cap", limit="0.10", window="day", action="refuse")
    answer = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": "gpt-4o-2024-08-06",
        "choices": [],
        "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110},
    }
    receipt = ledger.reserve(**CALL, usage=CENT).settle(response=answer)
    # 100 × $2.50 + 10 × $10 a million.
    assert (str(receipt.total), receipt.event.service) == ("$0.00035", "gpt-4o-2024-08-06")
    assert spent(ledger)[0] == Decimal("0.00035")


def test_an_error_settles_a_failed_call_and_a_timeout_leaves_it_held(ledger: outlay.Ledger) -> None:
    ledger.budget("cap", limit="0.10", window="day", action="refuse")
    with pytest.raises(ValueError, match="bad request"), ledger.reserve(**CALL, usage=CENT):
        raise ValueError("bad request")
    assert spent(ledger) == (0, 0)
    with pytest.raises(TimeoutError), ledger.reserve(**CALL, usage=CENT):
        raise TimeoutError
    assert spent(ledger) == (Decimal("0.00"), Decimal("0.01"))


def test_what_nobody_settles_is_booked_at_the_worst_case_and_corrected_later(
    ledger: outlay.Ledger, clock: outlay.FrozenClock
) -> None:
    ledger.budget("cap", limit="0.10", window="day", action="refuse")
    reservation = ledger.reserve(**CALL, usage=CENT, deadline_s=60)
    clock.advance(seconds=61)
    assert ledger.expire() == 1
    assert spent(ledger) == (Decimal("0.01"), Decimal("0.00"))
    assert ledger.event(reservation.id).event.status == "unsettled"
    receipt = reservation.settle(usage={"output_tokens": 200})
    assert receipt.outcome == "settled_late"
    assert spent(ledger) == (Decimal("0.002"), Decimal("0.00"))
    assert ledger.audit().ok


def test_the_same_reservation_again_is_the_same_one(ledger: outlay.Ledger) -> None:
    ledger.budget("cap", limit="0.01", window="day", action="refuse")
    ledger.reserve(**CALL, usage=CENT, id="retry-1")
    again = ledger.reserve(**CALL, usage=CENT, id="retry-1")
    assert again.outcome == "exists"
    again.settle(usage=CENT)
    with pytest.raises(outlay.InvalidInput) as refused:
        ledger.reserve(**CALL, usage=CENT, id="retry-1")
    assert refused.value.code == "settled"
    assert again.settle(usage=CENT).outcome == "exists"


def test_release_and_extend_say_what_became_of_it(ledger: outlay.Ledger, clock: outlay.FrozenClock) -> None:
    ledger.budget("cap", limit="0.01", window="day", action="refuse")
    reservation = ledger.reserve(**CALL, usage=CENT, deadline_s=60)
    assert reservation.extend(3_600) == "extended"
    clock.advance(minutes=30)
    assert ledger.expire() == 0
    assert reservation.release() == "released"
    assert reservation.settle(usage=CENT).outcome == "settled_after_release"
    assert reservation.release() == "settled"


def test_a_request_without_a_maximum_is_allotted_one_that_is_written_into_it(ledger: outlay.Ledger) -> None:
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}]}
    with ledger.reserve(provider="openai", body=body) as free:
        assert free.output_tokens_max == 16_384
        assert free.body == body
        free.release()
    ledger.budget("cap", limit="1.00", window="day", action="refuse")
    with ledger.reserve(provider="openai", body=body) as held:
        assert held.body is not None
        assert (held.output_tokens_max, held.body["max_completion_tokens"]) == (1_024, 1_024)
        assert [part.kind for part in held.bound.parts] == ["upper", "upper", "upper"]
    assert "max_completion_tokens" not in body


def test_a_provider_that_bills_above_the_bound_is_a_named_overrun(ledger: outlay.Ledger) -> None:
    ledger.budget("cap", limit="0.01", window="day", action="refuse")
    reservation = ledger.reserve(**CALL, usage=CENT)
    reservation.settle(usage={"output_tokens": 1_500})
    (overrun,) = reservation.overruns
    assert (outlay.Money(overrun.held).amount, outlay.Money(overrun.billed).amount) == (
        Decimal("0.01"),
        Decimal("0.015"),
    )
    # $0.01 of limit and $0.005 of overrun.
    assert spent(ledger)[0] == Decimal("0.015")
    with pytest.raises(outlay.BudgetExceeded):
        ledger.reserve(**CALL, usage=CENT)


def test_a_waiting_call_goes_when_another_settles_lower(ledger: outlay.Ledger) -> None:
    ledger.budget("cap", limit="0.01", window="day", action="refuse")
    first = ledger.reserve(**CALL, usage=CENT)
    timer = threading.Timer(0.1, lambda: first.settle(usage={"output_tokens": 100}))
    timer.start()
    second = ledger.reserve(**CALL, usage={"output_tokens": 900}, wait_s=5)
    timer.join()
    assert second.outcome == "reserved"
    with pytest.raises(outlay.BudgetExceeded):
        ledger.reserve(**CALL, usage={"output_tokens": 900}, wait_s=0.05)


def test_a_throttled_call_waits_for_the_next_five_minutes_or_is_told_when_they_begin(
    ledger: outlay.Ledger, clock: outlay.FrozenClock
) -> None:
    ledger.budget("pace", limits={"5 minutes": "0.01", "hour": "0.02"}, action="throttle")
    ledger.reserve(**CALL, usage=CENT).settle(usage=CENT)
    clock.advance(seconds=299)
    with pytest.raises(outlay.BudgetExceeded) as refused:
        ledger.reserve(**CALL, usage=CENT)
    assert refused.value.opens_at is not None
    assert refused.value.opens_at.isoformat() == "2026-03-10T12:05:00+00:00"
    timer = threading.Timer(0.1, lambda: clock.advance(seconds=1))
    timer.start()
    ledger.reserve(**CALL, usage=CENT, wait_s=5).settle(usage=CENT)
    timer.join()
    clock.advance(minutes=5)
    with pytest.raises(outlay.BudgetExceeded) as refused:
        ledger.reserve(**CALL, usage=CENT)
    assert refused.value.window == "2026-03-10T12:00+0000", "the hour is full, whatever its parts have left"
    assert ledger.usage_block()["5_minute_used"] == 0


def test_what_can_never_fit_does_not_wait(ledger: outlay.Ledger) -> None:
    ledger.budget("cap", limit="0.01", window="day", action="refuse")
    with pytest.raises(outlay.BudgetExceeded) as refused:
        ledger.reserve(**CALL, usage={"output_tokens": 2_000}, wait_s=30)
    assert (refused.value.code, refused.value.opens_at) == ("budget_spent", None)


def test_a_downgrade_takes_the_next_service_of_the_list_that_fits(ledger: outlay.Ledger) -> None:
    ledger.budget("cap", limit="0.01", window="day", action="downgrade", downgrade_to=["gpt-4o", "gpt-4o-mini"])
    with ledger.reserve(**CALL, usage={"output_tokens": 5_000}) as reservation:
        # 5,000 × $10 a million is $0.05; of gpt-4o-mini, × $0.60, $0.003.
        assert (reservation.service, reservation.downgraded_from) == ("gpt-4o-mini", "gpt-4o")
        assert str(reservation.settle(usage={"output_tokens": 5_000}).total) == "$0.003"


def test_an_unpriced_call_is_refused_by_name_under_a_refusing_budget(ledger: outlay.Ledger) -> None:
    ledger.budget("cap", limit="0.01", window="day", action="refuse")
    with pytest.raises(outlay.BudgetExceeded) as refused:
        ledger.reserve(provider="openai", service="no-such-model", usage=CENT)
    assert refused.value.code == "unpriced_usage"


def test_a_budget_that_fails_open_lets_calls_go_when_the_ledger_cannot_be_asked(
    monkeypatch: pytest.MonkeyPatch, clock: outlay.FrozenClock
) -> None:
    with outlay.open("memory:", clock=clock) as ledger:
        ledger.budget("cap", limit="1.00", window="day", action="refuse", fail_open=True)

        def fail(*_: object, **__: object) -> None:
            raise LedgerError("the disk is gone")

        with monkeypatch.context() as broken:
            broken.setattr(MemoryStore, "reserve", fail)
            reservation = ledger.reserve(**CALL, usage=CENT)
        assert (reservation.outcome, reservation.settle(usage=CENT).outcome) == ("unreserved", "settled")
        ledger.budget("strict", limit="1.00", window="day", action="refuse")
        monkeypatch.setattr(MemoryStore, "reserve", fail)
        with pytest.raises(LedgerError, match="gone"):
            ledger.reserve(**CALL, usage=CENT)


def test_on_an_event_loop_the_budgets_are_asked_by_async_with(ledger: outlay.Ledger) -> None:
    ledger.budget("cap", limit="0.01", window="day", action="refuse")

    async def main() -> str:
        async with ledger.reserve(**CALL, usage=CENT) as reservation:
            receipt = reservation.settle(usage=CENT)
        with pytest.raises(outlay.BudgetExceeded):
            async with ledger.reserve(**CALL, usage=CENT):
                pass
        return receipt.outcome

    assert asyncio.run(main()) == "settled"


def test_on_an_event_loop_a_reservation_that_never_asked_says_so(ledger: outlay.Ledger) -> None:
    ledger.budget("cap", limit="0.01", window="day", action="refuse")
    ledger.record(**CALL, usage=CENT)  # The budget is full.

    async def main() -> outlay.Receipt:
        with pytest.warns(RuntimeWarning, match="never asked"):
            ledger.reserve(**CALL, usage=CENT)
        with pytest.warns(RuntimeWarning, match="not asked before this call"):
            return ledger.reserve(**CALL, usage=CENT).settle(usage=CENT)

    # The call was made: it is kept, over the limit, and not lost to a refusal that comes too late.
    assert asyncio.run(main()).outcome == "settled"
    (status,) = ledger.budgets("cap")
    assert (status.spent, status.reserved) == (2 * 10**10, 0)


def test_tiers_move_the_limit_not_what_was_spent(ledger: outlay.Ledger) -> None:
    ledger.budget(
        "per-user",
        each="user",
        action="refuse",
        tiers={"free": {"day": "0.01", "month": "0.05"}, "premium": {"day": "0.05", "month": "0.50"}},
    )
    ledger.reserve(**CALL, user="u42", usage=CENT).settle(usage=CENT)
    with pytest.raises(outlay.BudgetExceeded):
        ledger.reserve(**CALL, user="u42", usage=CENT)
    ledger.subject("user", "u42", tier="premium")
    ledger.reserve(**CALL, user="u42", usage=CENT).settle(usage=CENT)
    day, month = ledger.budgets("per-user", subject="u42")
    assert (day.tier, day.percent, month.percent) == ("premium", Decimal(40), Decimal(4))
    assert ledger.uncovered_budgets() == ["per-user"]


def test_the_usage_block_is_what_the_seeds_return(ledger: outlay.Ledger) -> None:
    ledger.budget("queries", each="user", meter="calls", limits={"day": 50, "month": 1000})
    for _ in range(40):
        ledger.record(**CALL, user="u1", usage=CENT)
    assert ledger.usage_block(user="u1") == {
        "daily_used": 40,
        "daily_limit": 50,
        "monthly_used": 40,
        "monthly_limit": 1000,
        "warning": "80% of the daily limit is crossed: 40 calls of 50 calls is used",
    }


def test_check_and_affordable_ask_without_taking(ledger: outlay.Ledger) -> None:
    ledger.budget("cap", limit="0.01", window="day", action="refuse")
    assert ledger.check(**CALL, usage=CENT).granted
    assert not ledger.check(**CALL, usage={"output_tokens": 1_001}).granted
    body = {"model": "gpt-4o", "messages": []}
    tokens = ledger.affordable(provider="openai", body=body)
    assert tokens is not None
    assert ledger.check(provider="openai", body={**body, "max_completion_tokens": tokens}).granted
    assert not ledger.check(provider="openai", body={**body, "max_completion_tokens": tokens + 1}).granted
    assert spent(ledger) == (0, 0)


def test_a_budget_s_history_says_who_changed_what_when_and_why(
    ledger: outlay.Ledger, clock: outlay.FrozenClock
) -> None:
    ledger.budget("cap", limit="0.01", window="day", action="refuse", who="ann", why="to begin with")
    clock.advance(hours=1)
    ledger.budget("cap", limit="0.02", window="day", action="refuse", who="bob", why="too little")
    ledger.raise_budget("cap", "0.05", until="2026-03-11", reason="launch day", who="ann")
    with ledger.reserve(**CALL, usage={"output_tokens": 7_000}) as reservation:
        reservation.release()
    clock.advance(days=1)
    with pytest.raises(outlay.BudgetExceeded):
        ledger.reserve(**CALL, usage={"output_tokens": 7_000})
    ledger.remove_budget("cap", why="done", who="ann")
    assert [(one.who, one.what, one.why) for one in ledger.budget_history("cap")] == [
        ("ann", "created", "to begin with"),
        ("bob", "tiers: 0.01 a day -> 0.02 a day", "too little"),
        ("ann", "day limit +0.05 until 2026-03-11T00:00:00Z", "launch day"),
        ("ann", "removed", "done"),
    ]
    with pytest.raises(outlay.NotFound) as missing:
        ledger.remove_budget("cap", why="again")
    assert missing.value.code == "no_such_budget"


def test_a_budget_counts_what_was_spent_before_it_was_made(ledger: outlay.Ledger) -> None:
    ledger.record(**CALL, usage=CENT)
    ledger.budget("cap", limit="0.01", window="day", action="refuse")
    with pytest.raises(outlay.BudgetExceeded):
        ledger.reserve(**CALL, usage=CENT)


def test_another_process_s_budget_is_seen_by_the_next_reservation(tmp_path: Path) -> None:
    with outlay.open(tmp_path / "a.db") as one, outlay.open(tmp_path / "a.db") as other:
        one.reserve(**CALL, usage=CENT).settle(usage=CENT)
        other.budget("cap", limit="0.015", window="day", action="refuse")
        with pytest.raises(outlay.BudgetExceeded):
            one.reserve(**CALL, usage=CENT)
        other.remove_budget("cap", why="no more")
        one.record(**CALL, usage=CENT)
        one.reserve(**CALL, usage=CENT).release()


@pytest.mark.parametrize(
    ("wrong", "code"),
    [({"wait_s": -1}, "bad_wait"), ({"deadline_s": 0}, "bad_wait"), ({"usage": {"teeth": 1}}, "unknown_meter")],
)
def test_what_cannot_be_reserved_is_refused_by_name(wrong: dict[str, Any], code: str) -> None:
    with outlay.open("memory:") as ledger, pytest.raises(outlay.InvalidInput) as refused:
        ledger.reserve(**{**CALL, "usage": CENT, **wrong})
    assert refused.value.code == code


def test_the_budgets_of_outlay_toml_are_in_force_and_a_second_opening_changes_nothing(tmp_path: Path) -> None:
    text = f'ledger = "{tmp_path}/a.db"\n[budgets.cap]\nlimit = "0.01"\nwindow = "day"\naction = "refuse"\n'
    (tmp_path / "outlay.toml").write_text(text)
    for _ in range(2):
        with open_configured(load_settings(tmp_path, {})) as ledger:
            with pytest.raises(outlay.BudgetExceeded):
                ledger.reserve(**CALL, usage={"output_tokens": 1_001})
            assert [(one.who, one.what) for one in ledger.budget_history("cap")] == [("outlay.toml", "created")]
