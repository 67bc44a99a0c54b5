"""Sixty-four clients over HTTP through two gateway processes on one PostgreSQL: the cap is the cap."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import httpx
from tests.gateway.test_gateway_budgets import CHAT
from tests.playback_server import Answer, PlaybackServer, whole
from tests.server_process import ServerProcess

import outlay

CLIENTS = 64
ROUNDS = {"at-once": 0.0, "late": 0.3}
"""Services whose answers come at once, and when all others have asked; each has a cap of its own."""


def _priced(address: str) -> None:
    """1,000 output tokens × $10.00 a million = $0.01; what goes in is free."""
    with outlay.open(address) as ledger:
        for name in ROUNDS:
            for meter, price in (("input_tokens", "0"), ("output_tokens", "10")):
                ledger.add_rate(provider="openai", service=name, meter=meter, price=price, per=1_000_000)
            ledger.budget(name, limit="0.10", window="day", action="refuse", where={"service": name})


async def _called(urls: list[str], name: str) -> list[httpx.Response]:
    body = {"model": name, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1_000}
    async with httpx.AsyncClient(timeout=60) as client:
        calls = [
            client.post(f"{urls[number % len(urls)]}/gateway/openai/v1/chat/completions", json=body)
            for number in range(CLIENTS)
        ]
        return await asyncio.gather(*calls)


def _answers(name: str, pause_s: float) -> list[Answer]:
    usage = {"prompt_tokens": 5, "completion_tokens": 1_000, "total_tokens": 1_005}
    told = {**CHAT, "model": name, "usage": usage}
    return [whole({**told, "id": f"chatcmpl-{name}-{number}"}, pause_s=pause_s) for number in range(CLIENTS)]


def test_sixty_four_clients_of_two_gateways_get_exactly_ten_calls_of_a_cent(
    new_postgres_ledger: Callable[[], str], tmp_path: Path
) -> None:
    address = new_postgres_ledger()
    _priced(address)
    upstream = PlaybackServer()
    tables = f'[gateway.upstreams.openai]\nurl = "{upstream.url}"\n'
    with (
        ServerProcess(address, tmp_path, tables=tables) as one,
        ServerProcess(address, tmp_path, tables=tables) as other,
    ):
        for name, pause_s in ROUNDS.items():
            upstream.play(*_answers(name, pause_s))
            found = asyncio.run(_called([one.url, other.url], name))
            assert Counter(answer.status_code for answer in found) == {200: 10, 429: 54}, name
            assert {answer.headers.get("x-outlay-cost") for answer in found} == {None, "0.01"}
            assert len(upstream.requests) == 10
    upstream.close()
    with outlay.open(address) as ledger:
        for status in ledger.budgets():
            assert (outlay.Money(status.spent).amount, status.reserved) == (Decimal("0.10"), 0)
        assert ledger.audit().ok
