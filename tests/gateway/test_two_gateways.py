"""Sixty-four clients over HTTP through two gateway processes on one PostgreSQL: the cap is the cap."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import httpx
import pytest
from tests.gateway.test_budgets import CHAT
from tests.playback_server import playing, whole
from tests.server_process import ServerProcess

import outlay

CLIENTS = 64
CENT = {"model": "penny-model", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1_000}
"""1,000 output tokens × $10.00 a million = $0.01; what goes in is free."""

BILLED = {**CHAT, "usage": {"prompt_tokens": 5, "completion_tokens": 1_000, "total_tokens": 1_005}}


def _priced(address: str) -> None:
    with outlay.open(address) as ledger:
        for meter, price in (("input_tokens", "0"), ("output_tokens", "10")):
            ledger.add_rate(provider="openai", service="penny-model", meter=meter, price=price, per=1_000_000)
        ledger.budget("cap", limit="0.10", window="day", action="refuse")


async def _called(urls: list[str]) -> list[httpx.Response]:
    async with httpx.AsyncClient(timeout=60) as client:
        calls = [
            client.post(f"{urls[number % len(urls)]}/gateway/openai/v1/chat/completions", json=CENT)
            for number in range(CLIENTS)
        ]
        return await asyncio.gather(*calls)


@pytest.mark.parametrize("pause_s", [0.0, 0.3], ids=["answers at once", "answers late"])
def test_sixty_four_clients_of_two_gateways_get_exactly_ten_calls_of_a_cent(
    new_postgres_ledger: Callable[[], str], tmp_path: Path, pause_s: float
) -> None:
    address = new_postgres_ledger()
    _priced(address)
    answers = [
        whole({**BILLED, "model": "penny-model", "id": f"chatcmpl-{n}"}, pause_s=pause_s) for n in range(CLIENTS)
    ]
    with playing(*answers) as upstream:
        tables = f'[gateway.upstreams.openai]\nurl = "{upstream.url}"\n'
        with (
            ServerProcess(address, tmp_path, tables=tables) as one,
            ServerProcess(address, tmp_path, tables=tables) as other,
        ):
            found = asyncio.run(_called([one.url, other.url]))
            reached = len(upstream.requests)
    assert Counter(answer.status_code for answer in found) == {200: 10, 429: 54}
    assert {answer.headers.get("x-outlay-cost") for answer in found} == {None, "0.01"}
    assert reached == 10
    with outlay.open(address) as ledger:
        (status,) = ledger.budgets("cap")
        assert (outlay.Money(status.spent).amount, status.reserved) == (Decimal("0.10"), 0)
        assert ledger.audit().ok
