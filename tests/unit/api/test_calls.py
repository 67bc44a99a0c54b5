"""Calls under way: each is kept once, for whom it is, whatever the function around it is and however it ends."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from typing import Any

import pytest

import outlay

CHAT: dict[str, Any] = {"provider": "openai", "service": "gpt-4o"}


def test_many_events_inherit_what_surrounds_them(ledger: outlay.Ledger) -> None:
    with ledger.attribute(job="video-7", tags={"a": "1"}):
        found = ledger.record_many([CHAT, {**CHAT, "job": "video-8", "tags": {"b": "2"}}, {**CHAT, "tags": 5}])
    assert [outcome.code for outcome in found] == ["created", "created", "bad_text"]
    first, second = (ledger.event(outcome.id).event for outcome in found[:2])
    assert (first.job, first.tags) == ("video-7", {"a": "1"})
    assert (second.job, second.tags) == ("video-8", {"a": "1", "b": "2"})


def test_the_steps_of_a_generator_are_attributed_and_nothing_between_them(memory: outlay.Ledger) -> None:
    @memory.tracked(feature="story")
    def write() -> Iterator[int]:
        memory.record(**CHAT, id="inside")
        sent = yield 1
        assert sent == "more"
        yield 2

    steps = write()
    next(steps)
    memory.record(**CHAT, id="between")
    assert steps.send("more") == 2  # type: ignore[attr-defined]  # it is a generator, which its type does not say
    assert memory.event("inside").event.feature == "story"
    assert memory.event("between").event.feature is None


def test_what_is_thrown_into_a_tracked_generator_reaches_it(memory: outlay.Ledger) -> None:
    @contextlib.contextmanager
    @memory.tracked(feature="story")
    def scope() -> Iterator[None]:
        try:
            yield
        except KeyError:
            memory.record(**CHAT, id="handled")

    with scope():
        raise KeyError
    assert memory.event("handled").event.feature == "story"


def test_a_tracked_generator_is_one_call_from_its_first_step_to_its_last(memory: outlay.Ledger) -> None:
    @memory.tracked(**CHAT, feature="story", usage={"output_tokens": 100_000})
    def write() -> Iterator[int]:
        yield from (1, 2)

    steps = write()
    assert memory.costs().events == 0
    assert list(steps) == [1, 2]
    assert str(memory.costs(where={"feature": "story"}).total) == "$1.00"  # 100,000 × $10.00 a million

    left = write()
    next(left)
    left.close()  # type: ignore[attr-defined]  # it is a generator, which its type does not say
    assert [row.keys for row in memory.costs("status")] == [("ok",), ("cancelled",)]


def test_an_asynchronous_generator_is_tracked_too(memory: outlay.Ledger) -> None:
    @memory.tracked(**CHAT, feature="story")
    async def write() -> AsyncIterator[int]:
        memory.record(**CHAT, id="inside")
        yield 1
        await asyncio.sleep(0)
        raise KeyError

    async def read() -> None:
        async for _ in write():
            memory.record(**CHAT, id="between")

    with pytest.raises(KeyError):
        asyncio.run(read())
    assert memory.event("inside").event.feature == "story"
    assert memory.event("between").event.feature is None
    assert [(row.keys, row.events) for row in memory.costs("status", where={"feature": "story"})] == [
        (("failed",), 1),
        (("ok",), 1),
    ]


def test_an_object_that_is_called_asynchronously_is_tracked_while_it_runs(memory: outlay.Ledger) -> None:
    class Writer:
        async def __call__(self) -> outlay.Receipt:
            return memory.record(**CHAT)

    receipt = asyncio.run(memory.tracked(feature="story")(Writer())())
    assert receipt.event.feature == "story"


def test_a_mistake_is_told_before_the_call_is_made_and_paid(ledger: outlay.Ledger) -> None:
    with pytest.raises(outlay.InvalidInput, match="fetaure"):
        ledger.track(**CHAT, fetaure="story")  # type: ignore[call-arg]  # the mistake
    with pytest.raises(outlay.InvalidInput, match="did you mean"):
        ledger.track(**CHAT, usage={"input_tokns": 1})
    with pytest.raises(outlay.InvalidInput, match="cannot be attributed"):
        ledger.tracked(service="gpt-4o")
    with pytest.raises(outlay.InvalidInput, match="tags is a mapping"), ledger.attribute(tags="b"):
        pass


def test_wrong_usage_does_not_lose_the_call(ledger: outlay.Ledger) -> None:
    with pytest.raises(outlay.InvalidInput, match="never negative"), ledger.track(**CHAT) as call:
        call.usage(input_tokens=-1)
    assert [(row.keys, row.events) for row in ledger.costs("status")] == [(("failed",), 1)]


def test_usage_of_several_kinds_of_number_adds_up(ledger: outlay.Ledger) -> None:
    with ledger.track(provider="replicate", service="stability-ai/sdxl") as call:
        call.usage(hardware_seconds=2.4)
        call.usage(hardware_seconds=Decimal("0.1"))
    assert call.receipt is not None
    assert call.receipt.event.usage == {"hardware_seconds": Decimal("2.5")}


def test_the_error_of_the_program_is_never_hidden_by_one_of_the_ledger(ledger: outlay.Ledger) -> None:
    ledger.record(**CHAT, id="taken", usage={"input_tokens": 5})
    with pytest.raises(KeyError) as raised, ledger.track(**CHAT, id="taken"):
        raise KeyError
    assert "exists_with_different" in raised.value.__notes__[0]


def test_a_retry_of_a_tracked_call_may_take_another_time(ledger: outlay.Ledger) -> None:
    outcomes = []
    for _ in range(2):
        with ledger.track(**CHAT, id="call-1") as call:
            call.usage(output_tokens=100_000)
        assert call.receipt is not None
        outcomes.append(call.receipt.outcome)
    assert outcomes == ["created", "exists"]
    with pytest.raises(outlay.EventConflict, match="another usage"), ledger.track(**CHAT, id="call-1") as call:
        call.usage(output_tokens=1)
    assert str(ledger.costs().total) == "$1.00"


def test_what_another_model_did_inside_a_tracked_call_is_kept_too(ledger: outlay.Ledger) -> None:
    answer = {
        "object": "response",
        "status": "completed",
        "model": "gpt-5",
        "usage": {"input_tokens": 0, "output_tokens": 100_000, "total_tokens": 100_000},
        "tool_usage": {"image_gen": {"input_tokens": 0, "output_tokens": 100_000}},
        "tools": [{"type": "image_generation", "model": "gpt-image-1"}],
    }
    with ledger.track(provider="openai", service="gpt-5", job="video-7") as call:
        call.response(answer)
    # gpt-5: 100,000 × $10.00 a million = $1.00; gpt-image-1: 100,000 × $40.00 a million = $4.00
    assert {name: str(cost) for name, cost in ledger.job("video-7").by_service.items()} == {
        ("openai", "gpt-image-1"): "$4.00",
        ("openai", "gpt-5"): "$1.00",
    }


def test_a_tracked_response_falls_back_to_the_name_asked_for(ledger: outlay.Ledger) -> None:
    answer = {
        "object": "chat.completion",
        "model": "deployment-7",
        "choices": [],
        "usage": {"prompt_tokens": 0, "completion_tokens": 100_000, "total_tokens": 100_000},
    }
    with ledger.track(**CHAT) as call:
        call.response(answer)
    assert call.receipt is not None
    assert str(call.receipt.total) == "$1.00"
