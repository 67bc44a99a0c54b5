"""Shared work is one server's at a time; it goes to another when that one ends."""

from __future__ import annotations

import asyncio
import json
import logging
import time

import httpx
import pytest
from tests.served import served

import outlay
from outlay.faces.server.app import create_app
from outlay.faces.server.logs import JsonLines
from outlay.faces.server.upkeep import LEASE, WARMED_AT_ONCE, Upkeep


def test_one_of_two_servers_leads_until_it_ends(ledger: outlay.Ledger, clock: outlay.FrozenClock) -> None:
    first, second = (Upkeep(create_app(ledger).state) for _ in range(2))
    assert first._round()
    assert not second._round()
    clock.advance(seconds=5)
    assert first._round()
    clock.advance(seconds=9)
    assert not second._round()
    clock.advance(seconds=1)
    assert second._round()
    assert not first._round()


def test_a_round_folds_and_books_what_is_overdue(ledger: outlay.Ledger, clock: outlay.FrozenClock) -> None:
    ledger.budget("cap", limit="1", window="day", action="refuse")
    ledger.reserve(provider="openai", service="gpt-4o", usage={"output_tokens": 100}, deadline_s=60)
    clock.advance(seconds=61)
    assert Upkeep(create_app(ledger).state)._round()
    assert ledger.costs().total == outlay.Money.of("0.001")
    assert ledger.store.fold() == 0


def test_a_round_looks_at_so_much_of_a_long_history_that_what_is_overdue_never_waits_for_it(
    memory: outlay.Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int | None] = []

    def warm(store: object, most: int | None = None) -> int:
        asked.append(most)
        return 0

    monkeypatch.setattr(type(memory.store), "warm", warm)
    assert Upkeep(create_app(memory).state)._round()
    assert asked == [WARMED_AT_ONCE]


def test_a_round_that_takes_long_is_told(
    memory: outlay.Ledger, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("outlay.faces.server.upkeep.SLOW_SECONDS", -1.0)
    with served(memory):
        ends_s = time.monotonic() + 30
        while "longer than its lease" not in caplog.text and time.monotonic() < ends_s:
            time.sleep(0.01)
    assert "a round of upkeep took longer than its lease" in caplog.text


def test_a_server_that_stops_gives_the_lease_up(memory: outlay.Ledger) -> None:
    upkeep = Upkeep(create_app(memory).state)

    async def live() -> None:
        await upkeep.start()
        while memory.store.lease(LEASE) is None:
            await asyncio.sleep(0.01)
        await upkeep.stop()

    asyncio.run(live())
    assert memory.store.lease(LEASE) is None


def test_a_log_line_names_an_error_and_its_place_and_not_what_it_says() -> None:
    try:
        raise ValueError("the prompt was: my secret")
    except ValueError as error:
        record = logging.LogRecord(
            "outlay", logging.ERROR, "x", 1, "failed", None, (ValueError, error, error.__traceback__)
        )
    line = json.loads(JsonLines().format(record))
    assert (line["level"], line["message"], line["error"]) == ("error", "failed", "ValueError")
    assert "test_upkeep:" in line["raised_at"]
    assert "secret" not in json.dumps(line)


def test_a_round_that_ends_by_what_nobody_foresaw_is_said_and_the_next_one_begins(
    memory: outlay.Ledger, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    whole, rounds = Upkeep._round, []

    def round_of(self: Upkeep) -> bool:
        rounds.append(self)
        if len(rounds) == 1:
            raise RuntimeError("with a secret in its text")
        return whole(self)

    monkeypatch.setattr(Upkeep, "_round", round_of)
    with served(memory) as server:
        ends_s = time.monotonic() + 30
        while "outlay_leading 1" not in httpx.get(f"{server.address}/metrics").text:
            assert time.monotonic() < ends_s, "nobody leads any more"
            time.sleep(0.05)
    assert "upkeep ended; it begins again" in caplog.text
    assert "secret" not in caplog.text
