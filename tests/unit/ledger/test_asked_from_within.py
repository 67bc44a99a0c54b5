"""A ledger that is asked from within its own transaction, as a signal's handler may, keeps that transaction whole."""

from __future__ import annotations

import signal
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import outlay
from outlay.ledger.account_rows import decode_shares

CALL: dict[str, Any] = {"provider": "openai", "service": "gpt-4o", "usage": {"output_tokens": 1_000}}


def test_a_handler_that_records_within_a_transaction_is_told_and_undoes_nothing(tmp_path: Path) -> None:
    codes: list[str] = []
    with outlay.open(tmp_path / "outlay.db") as ledger:

        def handler(number: int, frame: FrameType | None) -> None:
            with pytest.raises(outlay.LedgerError) as told:
                ledger.record(**CALL, id="from within")
            codes.append(told.value.code)

        before = signal.signal(signal.SIGUSR1, handler)
        store: Any = ledger.store
        try:
            with store._connections.writing() as connection:
                connection.execute("INSERT INTO setting (name, value) VALUES ('first', '1')")
                signal.raise_signal(signal.SIGUSR1)
                connection.execute("INSERT INTO setting (name, value) VALUES ('second', '2')")
        finally:
            signal.signal(signal.SIGUSR1, before)
        assert codes == ["ledger_busy"]
        assert (ledger.store.setting("first"), ledger.store.setting("second")) == ("1", "2")
        assert ledger.record(**CALL, id="after").outcome == "created"
        assert ledger.costs().events == 1


@pytest.mark.parametrize("ending", ["settle", "release", "expire"])
def test_a_handler_that_records_within_the_end_of_a_reservation_undoes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    codes: list[str] = []
    clock = outlay.FrozenClock("2026-03-10T12:00:00Z")
    with outlay.open(tmp_path / "outlay.db", clock=clock) as ledger:
        ledger.budget("all", limits={"month": "10"})
        held = ledger.reserve(**{**CALL, "usage": {"output_tokens": 100_000}})

        def handler(number: int, frame: FrameType | None) -> None:
            with pytest.raises(outlay.LedgerError) as told:
                ledger.record(**CALL, id="from within")
            codes.append(told.value.code)

        def interrupted(packed: bytes) -> Any:
            signal.raise_signal(signal.SIGUSR1)
            return decode_shares(packed)

        monkeypatch.setattr("outlay.ledger.sqlite.reservations.decode_shares", interrupted)
        before = signal.signal(signal.SIGUSR1, handler)
        try:
            if ending == "settle":
                held.settle(usage={"output_tokens": 1_000})
            elif ending == "release":
                held.release()
            else:
                clock.advance(hours=48)
                ledger.store.expire(clock.now())
        finally:
            signal.signal(signal.SIGUSR1, before)
        assert codes == ["ledger_busy"]
        (budget,) = ledger.budgets("all")
        # A cent of output, nothing, or the dollar that was held.
        assert budget.spent == {"settle": 10**10, "release": 0, "expire": 10**12}[ending]
        assert budget.reserved == 0
        assert ledger.audit().findings == ()
