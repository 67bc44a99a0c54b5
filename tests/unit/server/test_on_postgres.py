"""The server on PostgreSQL: the same routes, the same answers, keys and the lease shared by all servers of it."""

from __future__ import annotations

from pathlib import Path

import httpx
from tests.server_process import ServerProcess

import outlay
from outlay.faces.server.keys import make_key
from outlay.faces.server.upkeep import LEASE

CALL = {"provider": "openai", "service": "gpt-4o", "usage": {"output_tokens": 100}}


def test_two_servers_of_one_postgresql_are_one_service(postgres_url: str, tmp_path: Path) -> None:
    with outlay.open(postgres_url) as ledger:
        ledger.budget("cap", limit="0.01", window="month", action="refuse")
        _, key = make_key(ledger.store, ledger.clock, roles=["ingest", "read"], scope={"project": "video"})
    headers = {"authorization": f"Bearer {key}"}
    one, two = (ServerProcess(postgres_url, tmp_path) for _ in range(2))
    with one, two:
        first = httpx.Client(base_url=one.url, headers=headers, timeout=30)
        second = httpx.Client(base_url=two.url, headers=headers, timeout=30)
        with first, second:
            assert first.post("/v1/events", json={**CALL, "id": "e1"}).status_code == 201
            assert second.post("/v1/events", json={**CALL, "id": "e1"}).json()["outcome"] == "exists"
            # $0.001 is spent of $0.01; 500 tokens hold $0.005, and another 500 do not fit beside them.
            held = {**CALL, "usage": {"output_tokens": 500}}
            assert first.post("/v1/reserve", json={**held, "id": "r1"}).status_code == 201
            assert second.post("/v1/reserve", json={**held, "id": "r2"}).json()["code"] == "budget_reserved"
            settled = second.post("/v1/settle", json={"id": "r1", "usage": {"output_tokens": 100}})
            assert settled.json()["outcome"] == "settled", settled.text
            assert second.post("/v1/reserve", json={**held, "id": "r2"}).status_code == 201
            assert first.post("/v1/release", json={"id": "r2"}).json()["outcome"] == "released"
            total = first.get("/v1/costs").json()["total"]
            assert total["cost"] == "0.002"
        with outlay.open(postgres_url) as ledger:
            assert ledger.store.lease(LEASE) is not None
            assert {receipt.event.project for receipt in ledger.events()} == {"video"}
    for log in tmp_path.glob("*.log"):
        assert "error" not in log.read_text().replace("uvicorn.error", "")
