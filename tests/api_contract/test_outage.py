"""While the server is away nothing is lost, and nothing counts twice when it is back."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import threading
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.lossy_proxy import lossy
from tests.served import Served, free_port

import outlay
from outlay.faces.server.keys import make_key

CENT: dict[str, Any] = {"provider": "openai", "service": "gpt-4o", "usage": {"output_tokens": 1_000}}
"""1,000 output tokens × $10.00 a million = $0.01."""


def test_an_hour_without_the_server_loses_nothing_and_books_nothing_twice(
    remote: outlay.Ledger, serving: Served, kept: outlay.Ledger, clock: outlay.FrozenClock
) -> None:
    remote.record(**CENT, job="before")
    serving.stop()
    outcomes: list[str] = []
    for minute in range(60):
        clock.advance(minutes=1)
        outcomes.append(remote.record(**CENT, user=f"u{minute % 3}", id=f"m{minute}").outcome)
        outcomes += [one.code for one in remote.record_many([{**CENT, "id": f"b{minute}-{n}"} for n in range(3)])]
        with remote.track(**CENT, job="tracked") as call:
            call.set(request=f"r{minute}")
    assert set(outcomes) == {"journaled"}
    assert remote.record(**CENT, id="m0").outcome == "journaled"  # a retry during the outage
    with pytest.raises(outlay.LedgerError) as away:
        remote.costs()
    assert away.value.code == "server_unreachable"
    serving.start()
    remote.flush()
    assert kept.costs().events == 1 + 60 * 5
    assert kept.costs().total.amount == Decimal("3.01")
    assert [row.events for row in kept.costs("hour")] == [1 + 59 * 5, 5]  # each at the time at which it happened
    assert remote.costs("user", where={"user": "u1"}).events == 20
    assert remote.doctor()["waiting_here"] == "0"
    assert remote.audit().ok


def test_answers_that_are_lost_make_no_event_twice(
    serving: Served, kept: outlay.Ledger, clock: outlay.FrozenClock
) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    with lossy(serving.port, 0.0, seed) as proxy, outlay.open(proxy.address, clock=clock) as remote:
        remote.budget("cap", limit="1000", window="day", action="refuse")
        proxy.lost = 0.3

        def work(worker: int) -> None:
            for number in range(25):
                remote.record(**CENT, id=f"w{worker}-{number}")
                remote.record_many([{**CENT, "id": f"g{worker}-{number}-{n}"} for n in range(4)])

        workers = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        proxy.lost = 0.0
        remote.flush()
        assert proxy.losses > 10
    assert kept.costs().events == 4 * 25 * 5
    assert kept.costs().total.amount == Decimal("5.00")
    (status,) = kept.budgets("cap")
    assert status.spent == 5 * 10**12
    assert kept.audit().ok


def test_reservations_whose_answers_are_lost_are_held_and_settled_once(
    serving: Served, kept: outlay.Ledger, clock: outlay.FrozenClock
) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    with lossy(serving.port, 0.0, seed) as proxy, outlay.open(proxy.address, clock=clock) as remote:
        remote.budget("cap", limit="0.50", window="day", action="refuse")
        proxy.lost = 0.2
        settled = lost = 0
        for _ in range(40):
            try:
                with remote.reserve(**CENT) as held:
                    held.settle(usage={"output_tokens": 1_000})
                settled += 1
            except outlay.LedgerError:
                lost += 1  # Nobody knows what became of it; the deadline books it at its worst case.
        proxy.lost = 0.0
        (status,) = remote.budgets("cap")
        assert status.spent + status.reserved <= status.limit
        assert status.spent >= settled * 10**10
        assert status.spent + status.reserved <= (settled + lost) * 10**10
        clock.advance(hours=1)
        remote.expire()
        assert kept.costs().events <= settled + lost
        assert kept.audit().ok


PROGRAM = """
import sys, outlay
ledger = outlay.open(sys.argv[1], clock=outlay.FrozenClock("2026-03-10T12:00:00Z"))
for number in range(50):
    ledger.record(provider="openai", service="gpt-4o", usage={"output_tokens": 1000}, id=f"dead-{number}")
print("all kept", flush=True)
import time
time.sleep(60)
"""


def test_what_a_killed_program_kept_is_sent_by_the_next_one(
    kept: outlay.Ledger, clock: outlay.FrozenClock, waiting: Path
) -> None:
    server = Served(kept, port=free_port())
    command = [sys.executable, "-c", PROGRAM, server.address]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ}) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "all kept\n"
        program.send_signal(signal.SIGKILL)
    assert kept.costs().events == 0
    server.start()
    try:
        with outlay.open(server.address, clock=clock) as remote:
            assert remote.costs().events == 50
        with outlay.open(server.address, clock=clock) as remote:
            assert remote.costs().events == 50
    finally:
        server.stop()
    assert not list(waiting.rglob("*.torn"))


def test_a_budget_that_fails_closed_stops_calls_while_the_server_is_away(
    remote: outlay.Ledger, serving: Served
) -> None:
    remote.budget("closed", limit="5", window="day", action="refuse", where={"provider": "openai"})
    remote.budget("open", limit="5", window="day", action="refuse", where={"provider": "mistral"}, fail_open=True)
    remote.reserver._read_s = None  # type: ignore[attr-defined]  # as if a second had passed
    remote.reserver.refresh()
    serving.stop()
    with pytest.raises(outlay.LedgerError) as away:
        remote.reserve(**CENT)
    assert away.value.code == "server_unreachable"
    with remote.reserve(provider="mistral", service="mistral-large-latest", usage={"output_tokens": 10}) as held:
        assert held.outcome == "unreserved"
        assert held.settle(usage={"output_tokens": 5}).outcome == "journaled"
    serving.start()
    assert remote.costs("provider").events == 1


def test_on_an_event_loop_nothing_waits_for_the_server(remote: outlay.Ledger, kept: outlay.Ledger) -> None:
    async def call() -> str:
        async with remote.reserve(**CENT) as held:
            await asyncio.to_thread(held.settle, usage={"output_tokens": 1_000})
        return remote.record(**CENT).outcome

    assert asyncio.run(call()) == "journaled"
    remote.flush()
    assert kept.costs().events == 2


def test_on_an_event_loop_a_reservation_that_never_asked_says_so(remote: outlay.Ledger, kept: outlay.Ledger) -> None:
    kept.budget("cap", limit="0.01", window="day", action="refuse")
    kept.record(**CENT)

    async def call() -> None:
        with pytest.warns(RuntimeWarning, match="never asked"):
            remote.reserve(**CENT)
        with pytest.warns(RuntimeWarning, match="not asked before this call"):
            await asyncio.to_thread(remote.reserve(**CENT).settle, usage={"output_tokens": 1_000})

    asyncio.run(call())
    assert kept.costs().events == 2


def test_a_forked_process_has_connections_of_its_own(remote: outlay.Ledger, kept: outlay.Ledger) -> None:
    remote.record(**CENT, id="parent")
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if remote.record(**CENT, id="child").outcome == "created" else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    remote.record(**CENT, id="parent again")
    assert kept.costs().events == 3


def test_a_key_opens_its_part_of_the_ledger_and_no_key_none(
    kept: outlay.Ledger, serving: Served, clock: outlay.FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept.record(**CENT, project="secret", id="secret")
    _, key = make_key(kept.store, clock, roles=["ingest", "read"], scope={"project": "video"})
    _, other = make_key(kept.store, clock, roles=["admin"])
    serving.stop()  # The server reads keys anew every second; so it has them at once.
    serving.start()
    with pytest.raises(outlay.AccessDenied) as nobody:
        outlay.open(serving.address, clock=clock)
    assert nobody.value.code == "key_required"
    monkeypatch.setenv("OUTLAY_KEY", key)
    with outlay.open(serving.address, clock=clock) as remote:
        assert remote.record(**CENT).event.project == "video"
        assert remote.costs().events == 1
        with remote.reserve(**CENT) as held:
            assert held.settle(usage={"output_tokens": 1_000}).event.project == "video"
        with pytest.raises(outlay.AccessDenied):
            remote.record(**CENT, project="secret")
        with pytest.raises(outlay.NotFound):
            remote.event("secret")
        with pytest.raises(outlay.AccessDenied):
            remote.budget("mine", limit="1", window="day")
    with outlay.open(serving.address, clock=clock, key=other) as admin:
        assert admin.costs("project").events == 3


def test_an_address_or_key_that_cannot_be_right_is_refused_at_once(clock: outlay.FrozenClock) -> None:
    for address, key in (
        ("http://127.0.0.1:1", "not\nakey"),
        ("https://user:secret@example.com", None),
        ("https://", None),
        ("outlay.db", "outlay_x"),
    ):
        with pytest.raises(outlay.InvalidInput) as wrong:
            outlay.open(address, clock=clock, key=key)
        assert "secret" not in wrong.value.message
