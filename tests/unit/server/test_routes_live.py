"""Live receipts: few frames, the newest in full and the rest counted, and a subscriber goes on where it was."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from typing import Any

import httpx
from tests.served import served

import outlay
from outlay.faces.server.keys import make_key
from outlay.faces.server.routes.live import Tail

CENT: dict[str, Any] = {"provider": "openai", "service": "gpt-4o", "usage": {"output_tokens": 1_000}}


def frames(answer: httpx.Response) -> Iterator[tuple[int, str, Any]]:
    """(id, event, data) of each frame."""
    fields: dict[str, str] = {}
    for line in answer.iter_lines():
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif fields:
            if "data" in fields:
                yield int(fields["id"]), fields["event"], json.loads(fields["data"])
            fields = {}


def test_what_is_recorded_is_told_in_few_frames(memory: outlay.Ledger) -> None:
    memory.record(**CENT, id="before")
    with served(memory) as server, httpx.stream("GET", f"{server.address}/v1/live?seconds=1.6", timeout=10) as answer:
        told = frames(answer)
        assert next(told)[1:] == ("begin", {})
        memory.record_many([{**CENT, "id": f"n{number}"} for number in range(120)])
        seen = list(told)
    assert len(seen) <= 7  # At most four a second, for 1.6 seconds.
    assert sum(len(data["receipts"]) + data["more"] for _, _, data in seen) == 120
    assert max(len(data["receipts"]) for _, _, data in seen) == 50
    last = seen[-1][2]["receipts"][-1]
    assert (last["id"], last["total"], last["currency"]) == ("n119", "0.01", "USD")


def test_a_subscriber_goes_on_behind_the_last_frame_that_it_saw(memory: outlay.Ledger) -> None:
    with served(memory) as server:
        address = f"{server.address}/v1/live?seconds=0.4"
        memory.record(**CENT, id="first")
        with httpx.stream("GET", address, headers={"last-event-id": "0"}) as answer:
            seen = list(frames(answer))
        assert [one["id"] for one in seen[1][2]["receipts"]] == ["first"]
        memory.record(**CENT, id="meanwhile")
        with httpx.stream("GET", address, headers={"last-event-id": str(seen[1][0])}) as answer:
            again = list(frames(answer))
        assert [one["id"] for one in again[1][2]["receipts"]] == ["meanwhile"]


def test_a_scope_hides_others_receipts(memory: outlay.Ledger) -> None:
    _, key = make_key(memory.store, memory.clock, roles=["read"], scope={"user": "ann"})
    headers = {"authorization": f"Bearer {key}", "last-event-id": "0"}
    memory.record(**CENT, user="bert", id="of bert")
    memory.record(**CENT, user="ann", id="of ann")
    with (
        served(memory) as server,
        httpx.stream("GET", f"{server.address}/v1/live?seconds=0.3", headers=headers) as answer,
    ):
        seen = list(frames(answer))
    assert [one["id"] for _, _, data in seen[1:] for one in data["receipts"]] == ["of ann"]


def test_a_server_that_stops_ends_its_streams(memory: outlay.Ledger) -> None:
    with served(memory) as server, httpx.stream("GET", f"{server.address}/v1/live", timeout=10) as answer:
        told = frames(answer)
        next(told)
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        list(told)
        stopping.join(10)
        assert not stopping.is_alive()


def test_a_filter_that_no_receipt_can_have_is_refused_before_the_stream_begins(memory: outlay.Ledger) -> None:
    with served(memory) as server:
        refused = httpx.get(f"{server.address}/v1/live?where.meter=images")
    assert refused.status_code == 422


def test_many_subscribers_are_told_the_same_and_one_who_lags_far_behind_too(memory: outlay.Ledger) -> None:
    memory.record_many([{**CENT, "id": f"old{number}", "user": "ann"} for number in range(1_200)])
    with served(memory) as server:
        address = f"{server.address}/v1/live?seconds=1.2"
        with (
            httpx.stream("GET", address, headers={"last-event-id": "0"}) as lagging,
            httpx.stream("GET", f"{address}&where.user=bert") as other,
        ):
            told, else_told = frames(lagging), frames(other)
            next(else_told)
            memory.record(**CENT, user="bert", id="new")
            seen, seen_else = list(told), list(else_told)
    assert sum(len(data["receipts"]) + data["more"] for _, event, data in seen if event == "receipts") == 1_201
    assert [one["id"] for _, _, data in seen_else for one in data["receipts"]] == ["new"]


def test_what_is_recorded_while_the_past_is_read_is_told_once(memory: outlay.Ledger) -> None:
    memory.record_many([{**CENT, "id": f"old{number}"} for number in range(3)])

    async def told() -> list[str]:
        tail = Tail(memory.store)
        await tail.fresh()
        memory.record(**CENT, id="new")  # After the tail was read, before the past is.
        found, place = await tail.behind({}, 0)
        await asyncio.sleep(0.2)
        await tail.fresh()
        return [one.event.id for one in (*found, *(await tail.behind({}, place))[0])]

    assert asyncio.run(told()) == ["old0", "old1", "old2", "new"]
