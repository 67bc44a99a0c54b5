"""One call that several captures see is one event, by whichever way each of them records it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import outlay

USAGE = {"input_tokens": 1_000, "output_tokens": 100}
# 1,000 × $2.50 and 100 × $10 a million.
COST = Decimal("0.0035")
BODY = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "model": "gpt-4o",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 1_000, "completion_tokens": 100, "total_tokens": 1_100},
}
CALL: dict[str, Any] = {
    "provider": "openai",
    "service": "gpt-4o",
    "operation": "chat",
    "usage": USAGE,
    "call_key": "openai:chatcmpl-1",
}


def by_track(ledger: outlay.Ledger) -> None:
    with ledger.track(provider="openai", service="gpt-4o") as call:
        call.response(BODY)


def by_reservation(ledger: outlay.Ledger) -> None:
    reservation = ledger.reserve(provider="openai", service="gpt-4o", usage=USAGE)
    with reservation:
        reservation.settle(response=BODY)


CAPTURES: dict[str, Callable[[outlay.Ledger], object]] = {
    "record": lambda ledger: ledger.record(**CALL),
    "record without waiting": lambda ledger: ledger.record(wait=False, **CALL),
    "record_many": lambda ledger: ledger.record_many([CALL]),
    "record_response": lambda ledger: ledger.record_response(BODY, provider="openai"),
    "track": by_track,
    "reserve": by_reservation,
}


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[outlay.Ledger]:
    with outlay.open(tmp_path / "outlay.db") as opened:
        yield opened


@pytest.mark.parametrize("first", CAPTURES)
@pytest.mark.parametrize("second", CAPTURES)
def test_a_call_that_two_captures_saw_is_booked_once(ledger: outlay.Ledger, first: str, second: str) -> None:
    CAPTURES[first](ledger)
    ledger.flush()
    CAPTURES[second](ledger)
    ledger.flush()
    assert (ledger.costs().events, ledger.costs().total.amount) == (1, COST)
    assert ledger.audit().ok


def test_the_same_answer_twice_is_the_first_receipt(memory: outlay.Ledger) -> None:
    first = memory.record_response(BODY, provider="openai", user="u1")
    again = memory.record_response(BODY, provider="openai")
    assert (first.outcome, again.outcome) == ("created", "seen")
    assert (again.id, again.total, again.event.user) == (first.id, first.total, "u1")


def test_the_key_wins_over_an_id_that_the_caller_gives(memory: outlay.Ledger) -> None:
    memory.record(id="mine", **CALL)
    theirs = memory.record(id="theirs", **CALL)
    assert (theirs.outcome, theirs.id) == ("seen", "mine")
    # Both ids lead to the call from then on, and a correction by either reaches it.
    assert memory.event("theirs").id == "mine"
    memory.correct("theirs", reason="wrong customer", customer="globex")
    assert memory.event("mine").event.customer == "globex"
    assert memory.costs().events == 1


def test_what_a_later_capture_adds_is_in_its_receipt_and_in_the_history(memory: outlay.Ledger) -> None:
    memory.record(**{**CALL, "usage": {"input_tokens": 4_000}, "basis": "estimated"})
    seen = memory.record(feature="chat", **CALL)
    assert (seen.total.amount, seen.event.feature) == (COST, "chat")
    kept = memory.event(seen.id)
    assert [(entry.sign, str(entry.basis)) for entry in kept.versions] == [
        (1, "estimated"),
        (-1, "estimated"),
        (1, "measured"),
    ]


def test_events_without_a_key_are_as_many_as_are_recorded(memory: outlay.Ledger) -> None:
    bare = {name: value for name, value in CALL.items() if name != "call_key"}
    for _ in range(3):
        memory.record(**bare)
    assert memory.costs().events == 3


def test_outcomes_of_a_batch_tell_what_was_seen(memory: outlay.Ledger) -> None:
    memory.record(**CALL)
    outcomes = memory.record_many([CALL, {**CALL, "call_key": "openai:chatcmpl-2"}, CALL])
    assert [outcome.code for outcome in outcomes] == ["seen", "created", "seen"]
    assert all(not outcome.message for outcome in outcomes)
