"""Estimates, advice, allocation and balances over REST, as JSON for everyone."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import httpx
import pytest
from tests.served import served

import outlay

CHAT: dict[str, Any] = {"provider": "openai", "service": "gpt-4o", "operation": "chat"}
STACK: dict[str, Any] = {
    "stack": {"name": "app", "region": "us-east-1"},
    "resource": {"database": {"kind": "rds", "instance": "db.t4g.medium", "storage_gb": 20.5}},
    "scenario": {"reserved": {"resource.database.purchase": "reserved_1y_no_upfront"}},
}


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with outlay.open("memory:") as ledger:
        # $1.00 of a, $3.00 of b, and $2.00 that bears no feature: 100,000 × $10.00 a million is $1.00.
        for feature, tokens in (("a", 100_000), ("b", 300_000), (None, 200_000)):
            ledger.record(**CHAT, usage={"output_tokens": tokens}, feature=feature, job="j")
        with served(ledger) as server, httpx.Client(base_url=server.address) as found:
            yield found


def test_a_job_is_estimated_kept_and_compared_with_what_it_cost(client: httpx.Client) -> None:
    body = {"steps": [{**CHAT, "usage": {"output_tokens": 500_000}}], "margin_percent": "10"}
    told = client.post("/v1/estimates/job", json=body).json()
    assert (told["net"]["low"], told["margin"]["low"], told["total"]["high"]) == ("5.00", "0.50", "5.50")
    assert client.get("/v1/estimates/j").json()["code"] == "no_such_estimate", "nothing was kept"
    client.put("/v1/estimates/j", json=body).raise_for_status()
    kept = client.get("/v1/estimates/j").json()
    assert (kept["estimated"]["low"], kept["actual"]) == ("5.00", "6.00")


def test_a_stack_is_estimated_with_its_scenarios_and_no_file_of_the_server_is_read(client: httpx.Client) -> None:
    told = client.post("/v1/estimates/stack", json={"stack": STACK}).json()
    # 730 × 0.065 and 20.5 × 0.115; reserved 730 × 0.0465 and the same storage.
    assert Decimal(told["month"]["low"]) == Decimal("49.8075")
    assert Decimal(told["scenarios"]["reserved"]["low"]) == Decimal("36.3025")
    wrong = client.post("/v1/estimates/stack", json={"stack": STACK, "prices": "/etc/passwd"})
    assert wrong.status_code == 422
    huge = {**STACK, "resource": {"database": {**STACK["resource"]["database"], "storage_gb": "1e999999999"}}}
    assert client.post("/v1/estimates/stack", json={"stack": huge}).json()["code"] == "bad_stack"


def test_advice_is_told_decided_and_listed(client: httpx.Client) -> None:
    asked = {"stack": STACK, "days": 7}
    told = client.post("/v1/advice", json=asked).json()
    reserved = next(one for one in told["measures"] if one["rule"] == "reserved_1y_no_upfront")
    assert Decimal(reserved["saving"]["high"]).quantize(Decimal("0.001")) == Decimal("13.505")  # 730 × 0.0185
    path = f"/v1/advice/{reserved['id']}/decision"
    decided = client.post(path, json={**asked, "state": "accepted", "why": "runs all year"}).json()
    assert decided["state"] == "accepted"
    assert [one["id"] for one in client.get("/v1/accepted-advice").json()] == [reserved["id"]]
    assert client.post("/v1/advice/nothing/decision", json={"state": "open"}).json()["code"] == "no_such_advice"
    assert len(client.post("/v1/checklist", json=asked).json()) == 24


def test_shared_cost_is_given_out_and_balances_are_entered(client: httpx.Client) -> None:
    told = client.get("/v1/allocation", params={"to": "feature", "rule": "weight", "weight": ["a=3", "b=1"]}).json()
    assert (told["shared"], told["total"]) == ("2.00", "6.00")
    assert {one["name"]: one["given"] for one in told["shares"]} == {"a": "1.50", "b": "0.50"}
    assert client.get("/v1/allocation", params={"rule": "weight", "weight": "a"}).json()["code"] == "bad_option"
    entered = client.post("/v1/balances", json={"provider": "openai", "amount": "50"}).json()
    assert (entered["left"], client.get("/v1/balances/openai").json()["left"]) == ("50.00", "50.00")
    assert client.get("/v1/balances/nobody").json()["code"] == "no_balance"
