"""What a process does not know yet: a long past of a new budget, what others put out, prices that just changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import outlay
from outlay import warming
from outlay.warming import Warmer

CALL: dict[str, Any] = {"provider": "openai", "service": "gpt-4o", "operation": "chat"}
CENT = {"output_tokens": 1_000}
"""A cent of gpt-4o: 1,000 × $10 a million."""


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: outlay.FrozenClock) -> Path:
    """A ledger of 2,500 calls of a cent, of which a new budget counts only a part before its maker goes on."""
    monkeypatch.setattr(warming, "AT_ONCE", 1)
    with outlay.open(tmp_path / "a.db", clock=clock) as ledger:
        ledger.record_many({**CALL, "usage": CENT} for _ in range(2_500))
    return tmp_path / "a.db"


def test_a_budget_with_a_long_past_refuses_what_it_cannot_know_until_that_is_counted(
    path: Path, clock: outlay.FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with outlay.open(path, clock=clock) as ledger:
        with monkeypatch.context() as held_up:
            held_up.setattr(Warmer, "begin", lambda self: None)
            ledger.budget("cap", limit="25.03", window="day", action="refuse")
            (status,) = ledger.budgets("cap")
            assert status.warming
            with pytest.raises(outlay.BudgetExceeded) as refused:
                ledger.reserve(**CALL, usage=CENT)
            assert (refused.value.code, refused.value.opens_at) == ("budget_warming", None)
            assert not ledger.check(**CALL, usage=CENT).granted
            assert ledger.record(**CALL, usage=CENT).outcome == "created"
        # The next that asks begins to count again, and who may wait goes when that is done.
        ledger.reserve(**CALL, usage=CENT, wait_s=30).settle(usage=CENT)
        (status,) = ledger.budgets("cap")
        # 2,500 of a cent before the budget, one while it was warming, one reserved.
        assert (status.warming, str(outlay.Money(status.spent))) == (False, "$25.02")
        assert ledger.audit().ok


def test_a_budget_that_fails_open_refuses_only_on_what_it_knows(
    path: Path, clock: outlay.FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Warmer, "begin", lambda self: None)
    with outlay.open(path, clock=clock) as ledger:
        ledger.budget("cap", limit="20.00", window="day", action="refuse", fail_open=True)
        ledger.reserve(**CALL, usage=CENT).settle(usage=CENT)
        with pytest.raises(outlay.BudgetExceeded) as refused:
            ledger.reserve(**CALL, usage={"output_tokens": 2_000_000})
        assert refused.value.code == "budget_spent"


def test_a_process_that_died_while_it_counted_is_succeeded_by_the_next_that_asks(
    path: Path, clock: outlay.FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as held_up:
        held_up.setattr(Warmer, "begin", lambda self: None)
        with outlay.open(path, clock=clock) as ledger:
            ledger.budget("cap", limit="25.00", window="day", action="refuse")
    with outlay.open(path, clock=clock) as ledger:
        with pytest.raises(outlay.BudgetExceeded):
            ledger.reserve(**CALL, usage=CENT)
        ledger.reserver.warmer.join()
        with pytest.raises(outlay.BudgetExceeded) as refused:
            ledger.reserve(**CALL, usage=CENT)
        assert refused.value.code == "budget_spent"


def test_a_restarted_process_allots_by_what_the_service_and_feature_put_out_before(
    tmp_path: Path, clock: outlay.FrozenClock
) -> None:
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}]}
    with outlay.open(tmp_path / "a.db", clock=clock) as ledger:
        for tokens in (100, 900, 200):
            ledger.record(
                **{**CALL, "service": "gpt-4o-2024-08-06"}, feature="story", usage={"output_tokens": tokens}
            )
        ledger.record(**CALL, feature="story", usage={"output_tokens": 9_000}, status="failed")
    with outlay.open(tmp_path / "a.db", clock=clock) as ledger:
        ledger.budget("cap", limit="5.00", window="day", action="refuse")
        # Four times the 900 that 99 of 100 stayed within; the least that is allotted, where nothing is known.
        assert ledger.reserve(provider="openai", feature="story", body=body).output_tokens_max == 3_600
        assert ledger.reserve(provider="openai", feature="other", body=body).output_tokens_max == 1_024


@pytest.mark.parametrize("address", ["memory", "sqlite"])
def test_a_price_that_changes_between_rating_and_reserving_is_the_one_that_is_reserved(
    address: str, tmp_path: Path, clock: outlay.FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with outlay.open("memory:" if address == "memory" else tmp_path / "a.db", clock=clock) as ledger:
        ledger.budget("cap", limit="1.00", window="day", action="refuse")
        tries = 0

        def meanwhile(name: str) -> None:
            original = getattr(ledger.store, name)

            def changed(*arguments: Any, **named: Any) -> Any:
                nonlocal tries
                tries += 1
                if tries == 1:
                    price = {"reserve": "20", "settle": "30"}[name]
                    ledger.add_rate(
                        **{key: CALL[key] for key in ("provider", "service")},
                        meter="output_tokens",
                        price=price,
                        per=1_000_000,
                    )
                return original(*arguments, **named)

            monkeypatch.setattr(ledger.store, name, changed, raising=False)

        meanwhile("reserve")
        reservation = ledger.reserve(**CALL, usage=CENT)
        assert (tries, str(reservation.bound.total)) == (2, "$0.02")
        (status,) = ledger.budgets("cap")
        assert str(outlay.Money(status.reserved)) == "$0.02"
        tries = 0
        meanwhile("settle")
        receipt = reservation.settle(usage=CENT)
        assert (tries, str(receipt.total)) == (2, "$0.03")
        assert ledger.audit().ok


def test_a_budget_that_changes_between_asking_and_reserving_is_the_one_that_decides(
    memory: outlay.Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.budget("cap", limit="1.00", window="day", action="refuse")
    original, asked = memory.store.reserve, []

    def lowered(*arguments: Any, **named: Any) -> Any:
        asked.append(arguments)
        if len(asked) == 1:
            memory.budget("cap", limit="0.005", window="day", action="refuse")
        return original(*arguments, **named)

    monkeypatch.setattr(memory.store, "reserve", lowered)
    with pytest.raises(outlay.BudgetExceeded) as refused:
        memory.reserve(**CALL, usage=CENT)
    assert (len(asked), str(refused.value.limit)) == (2, "0.005")
