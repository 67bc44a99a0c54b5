"""The writer: groups that fail are taken apart, everybody is answered, what waits at the end is written."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.server_process import ServerProcess

import outlay
from outlay.capture.intake import build_event
from outlay.errors import LedgerClosed, LedgerFull, NotFound, Overloaded
from outlay.faces.server.access import LOCAL, Caller, Role
from outlay.faces.server.metrics import Metrics
from outlay.faces.server.reserving import Reservations, Reserve, Settle
from outlay.faces.server.writer import Writer
from outlay.model import Appended, UsageEvent

CALL: dict[str, Any] = {"provider": "openai", "service": "gpt-4o", "usage": {"output_tokens": 100}}


def event(ledger: outlay.Ledger, id: str, **fields: Any) -> UsageEvent:
    return build_event({**CALL, "id": id, **fields}, ledger.clock.now())


def with_writer(
    ledger: outlay.Ledger, work: Callable[[Writer], Awaitable[None]], *, queue_events_max: int = 1_000
) -> Metrics:
    """Run something on a loop with a writer that runs."""
    metrics = Metrics()
    writer = Writer(ledger, metrics, queue_events_max=queue_events_max)
    reservations = Reservations(ledger)
    writer.together[Reserve] = reservations.reserve
    writer.together[Settle] = reservations.settle

    async def run() -> None:
        writer.start()
        try:
            await work(writer)
        finally:
            assert await asyncio.to_thread(writer.stop, 30)

    asyncio.run(run())
    return metrics


def test_requests_that_come_together_share_a_commit(ledger: outlay.Ledger) -> None:
    async def work(writer: Writer) -> None:
        await asyncio.gather(*(writer.record([event(ledger, f"e{at}")]) for at in range(50)))

    metrics = with_writer(ledger, work)
    assert sum(metrics.group_sizes.counts) < 50
    assert metrics.group_sizes.total == 50
    assert ledger.costs().events == 50


def test_a_retry_in_the_same_group_is_recognised(ledger: outlay.Ledger) -> None:
    async def work(writer: Writer) -> None:
        answers = await asyncio.gather(*(writer.record([event(ledger, "same")]) for _ in range(10)))
        codes = [one.code for answer in answers for one in answer]
        assert codes == ["created", *["exists"] * 9]

    with_writer(ledger, work)


def test_one_request_that_cannot_be_kept_fails_alone(ledger: outlay.Ledger) -> None:
    async def work(writer: Writer) -> None:
        beyond = event(ledger, "beyond", parameters={"n": 2**62}, usage={"output_tokens": 10**15}, count=10**9)
        sound = [writer.record([event(ledger, f"e{at}")]) for at in range(5)]
        answers = await asyncio.gather(*sound, writer.record([beyond]), return_exceptions=True)
        assert [one[0].code for one in answers[:5] if isinstance(one, list)] == ["created"] * 5

    with_writer(ledger, work)
    assert {receipt.id for receipt in ledger.events()} >= {f"e{at}" for at in range(5)}


def test_a_group_whose_store_fails_is_tried_one_by_one(
    memory: outlay.Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = memory.store.append

    def fails(entries: Sequence[Any], *, epoch: int | None = None) -> list[Appended]:
        if any(entry.event.id == "e3" for entry in entries):
            raise LedgerFull
        return append(entries, epoch=epoch)

    monkeypatch.setattr(memory.store, "append", fails)

    async def work(writer: Writer) -> None:
        calls = (writer.record([event(memory, f"e{at}")]) for at in range(6))
        answers = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(one).__name__ for one in answers] == ["list"] * 3 + ["LedgerFull"] + ["list"] * 2

    metrics = with_writer(memory, work)
    assert metrics.failed_groups == 1


def test_what_nobody_foresaw_is_answered_too(memory: outlay.Ledger) -> None:
    def fails() -> None:
        raise ZeroDivisionError

    async def work(writer: Writer) -> None:
        with pytest.raises(ZeroDivisionError):
            await writer.run(fails)
        assert (await writer.record([event(memory, "after")]))[0].code == "created"

    with_writer(memory, work)


def test_too_much_at_once_is_sent_away_and_nothing_of_it_kept(memory: outlay.Ledger) -> None:
    async def work(writer: Writer) -> None:
        many = [[event(memory, f"{batch}-{at}") for at in range(60)] for batch in range(4)]
        answers = await asyncio.gather(*(writer.record(batch) for batch in many), return_exceptions=True)
        refused = [one for one in answers if isinstance(one, Overloaded)]
        assert len(refused) == 3
        assert refused[0].retry_after_s == 1

    with_writer(memory, work, queue_events_max=100)
    assert memory.costs().events == 60


def test_what_waits_when_it_is_told_to_stop_is_written(ledger: outlay.Ledger) -> None:
    async def work(writer: Writer) -> None:
        waiting = [asyncio.create_task(writer.record([event(ledger, f"e{at}")])) for at in range(20)]
        await asyncio.sleep(0)
        await asyncio.to_thread(writer.stop, 30)
        assert [answer[0].code for answer in await asyncio.gather(*waiting)] == ["created"] * 20
        with pytest.raises(LedgerClosed) as closed:
            await writer.record([event(ledger, "late")])
        assert closed.value.code == "stopping"

    with_writer(ledger, work)


def test_prices_that_change_meanwhile_hold_from_then_on(ledger: outlay.Ledger) -> None:
    async def work(writer: Writer) -> None:
        await writer.record([event(ledger, "before")])
        other = outlay.open(ledger.store.address, clock=ledger.clock) if ledger.store.address != "memory:" else ledger
        # As another process would: 100 tokens at $20.00 a million are $0.002.
        other.add_rate(provider="openai", service="gpt-4o", meter="output_tokens", price="20", per=1_000_000)
        if other is not ledger:
            other.close()
        await writer.record([event(ledger, "after")])

    with_writer(ledger, work)
    assert [str(ledger.event(id).total.amount) for id in ("before", "after")] == ["0.001", "0.002"]


def test_reservations_of_a_group_hold_the_cap_together(ledger: outlay.Ledger) -> None:
    """Ten of $0.01 fit into $0.10, whoever else asks in the same transaction."""
    ledger.budget("cap", limit="0.10", window="day", action="refuse")
    fields = {**CALL, "usage": {"output_tokens": 1_000}}

    async def work(writer: Writer) -> None:
        asked = [Reserve({**fields, "id": f"r{at}"}, None, wait_s=None, deadline_s=None) for at in range(64)]
        answers = await asyncio.gather(*map(writer.do, asked), return_exceptions=True)
        granted = [one for one in answers if not isinstance(one, BaseException)]
        assert len(granted) == 10
        assert {one.code for one in answers if isinstance(one, outlay.BudgetExceeded)} == {"budget_reserved"}
        settled = await asyncio.gather(
            *(writer.do(Settle(f"r{at}", {"usage": {"output_tokens": 100}}, None, LOCAL)) for at in range(10))
        )
        assert {result.code for _, result in settled} == {"settled"}

    with_writer(ledger, work)
    (status,) = ledger.budgets("cap")
    # Ten calls of 100 tokens: $0.01 spent, nothing held.
    assert (status.spent, status.reserved) == (10**10, 0)
    assert ledger.refusals("cap")[0] == 54


def test_another_server_settles_what_this_one_reserved_and_only_within_the_scope(tmp_path: Path) -> None:
    path = tmp_path / "outlay.db"
    with outlay.open(path) as first:
        first.budget("cap", limit="1", window="day", action="refuse")
        first.reserve(id="r1", project="video", user="anna", **CALL)
    outsider = Caller(key="k", roles=frozenset([Role.INGEST]), scope={"project": "other"})
    with outlay.open(path) as second:

        async def work(writer: Writer) -> None:
            told = {"usage": {"output_tokens": 50}}
            with pytest.raises(NotFound):
                await writer.do(Settle("r1", told, None, outsider))
            event, result = await writer.do(Settle("r1", told, None, LOCAL))
            assert (result.code, event.project, event.user) == ("settled", "video", "anna")
            again = await writer.do(Settle("r1", told, None, LOCAL))
            assert again[1].code == "exists"
            with pytest.raises(outlay.EventConflict):
                await writer.do(Settle("r1", {"usage": {"output_tokens": 51}}, None, LOCAL))

        with_writer(second, work)
        # 50 output tokens at $10.00 a million.
        assert str(second.costs(where={"user": "anna"}).total.amount) == "0.0005"


def test_what_a_response_tells_is_settled(ledger: outlay.Ledger) -> None:
    ledger.budget("cap", limit="1", window="day", action="refuse")
    response = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": "gpt-4o-2024-08-06",
        "choices": [{"message": {"content": "a secret answer"}}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 100, "total_tokens": 110},
    }

    async def work(writer: Writer) -> None:
        await writer.do(Reserve({**CALL, "id": "r1", "user": "u1"}, None, wait_s=None, deadline_s=None))
        await writer.do(Settle("r1", {}, response, LOCAL))

    with_writer(ledger, work)
    kept = ledger.event("r1")
    # 10 tokens at $2.50 and 100 at $10.00 a million: 0.000025 + 0.001.
    assert (str(kept.total.amount), kept.event.user) == ("0.001025", "u1")
    assert "secret" not in repr(kept.event)


def test_a_release_or_settlement_sent_again_to_a_restarted_server_is_answered_the_same(tmp_path: Path) -> None:
    """Killed between its commit and its answer, a server is asked again, and remembers nothing."""
    with outlay.open(tmp_path / "outlay.db") as ledger:
        ledger.budget("cap", limit="1", window="day", action="refuse")
        ledger.reserve(id="r1", **CALL).release()
        ledger.reserve(id="r2", **CALL).settle(usage={"output_tokens": 50})
    with ServerProcess(tmp_path / "outlay.db", tmp_path) as server, httpx.Client(base_url=server.url) as client:
        released = client.post("/v1/release", json={"id": "r1"})
        assert (released.status_code, released.json()["outcome"]) == (200, "released")
        settled = client.post("/v1/settle", json={"id": "r2", "usage": {"output_tokens": 50}})
        assert (settled.status_code, settled.json()["outcome"]) == (200, "exists")
        assert client.post("/v1/release", json={"id": "r2"}).json()["outcome"] == "settled"
