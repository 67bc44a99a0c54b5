"""The resources over HTTP: costs in groups, pages and CSV, receipts, budgets, prices, and what a scope hides."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tests.served import Served, served

import outlay
from outlay.faces.server.keys import make_key

CHAT: dict[str, Any] = {"provider": "openai", "service": "gpt-4o", "operation": "chat"}
CENT: dict[str, Any] = {**CHAT, "usage": {"output_tokens": 1_000}}  # 1,000 × $10.00 a million = $0.01


@pytest.fixture
def busy(memory: outlay.Ledger) -> Iterator[Served]:
    """Three users' calls over two days."""
    for number, (user, day) in enumerate([("ann", 9), ("ann", 10), ("ann", 10), ("bert", 10), ("=cmd()", 10)]):
        memory.record(**CENT, user=user, job=f"job {user}", id=f"e{number}", time=f"2026-03-{day:02}T10:00:00Z")
    with served(memory) as server:
        yield server


def test_costs_come_in_any_groups_with_exact_text(busy: Served) -> None:
    found = httpx.get(f"{busy.address}/v1/costs?by=day,user&where.user=ann&since=2026-03-01").json()
    assert found["by"] == ["day", "user"]
    assert [(row["keys"], row["cost"], row["events"]) for row in found["rows"]] == [
        ({"day": "2026-03-09", "user": "ann"}, "0.01", 1),
        ({"day": "2026-03-10", "user": "ann"}, "0.02", 2),
    ]
    assert found["total"]["cost"] == "0.03"
    assert found["next"] is None
    both = httpx.get(f"{busy.address}/v1/costs?by=user&by=provider&where.user=ann&where.user=bert").json()
    assert both["total"]["events"] == 4
    assert httpx.get(f"{busy.address}/v1/costs?where.user=").json()["total"]["events"] == 0  # those without a user


def test_quantities_are_exact_beyond_what_a_float_holds(memory: outlay.Ledger) -> None:
    # Ten times 10^15 - 1, and one: beyond 2^53, and odd, where floats are even.
    for number, tokens in enumerate([999_999_999_999_999] * 10 + [1]):
        memory.record(**CHAT, usage={"output_tokens": tokens}, id=f"e{number}")
    with served(memory) as server:
        found = httpx.get(f"{server.address}/v1/costs?by=provider&quantities=true").json()
    assert found["rows"][0]["quantities"] == {"output_tokens": "9999999999999991"}


def test_a_cursor_leads_through_all_rows_once(busy: Served) -> None:
    rows: list[Any] = []
    cursor = ""
    while True:
        page = httpx.get(f"{busy.address}/v1/costs?by=user&limit=2" + (f"&cursor={cursor}" if cursor else "")).json()
        rows += [row["keys"]["user"] for row in page["rows"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert sorted(rows) == ["=cmd()", "ann", "bert"]
    refused = httpx.get(f"{busy.address}/v1/costs?by=user&cursor=%21%21")
    assert (refused.status_code, refused.json()["code"]) == (422, "bad_cursor")


def test_a_table_is_csv_for_who_asks_for_it(busy: Served) -> None:
    by_format = httpx.get(f"{busy.address}/v1/costs?by=user&format=csv")
    by_header = httpx.get(f"{busy.address}/v1/costs?by=user", headers={"accept": "text/csv"})
    assert by_format.text == by_header.text
    assert by_format.headers["content-type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(by_format.text)))
    assert rows[0] == {
        "user": "ann",
        "cost": "0.03",
        "currency": "USD",
        "events": "3",
        "failed": "0",
        "unpriced": "0",
        "incomplete": "0",
    }


def test_the_dearest_come_first(busy: Served) -> None:
    found = httpx.get(f"{busy.address}/v1/top?by=user&limit=1&minimum=0.02").json()
    assert [row["keys"]["user"] for row in found["rows"]] == ["ann"]


def test_receipts_are_walked_by_page_and_explain_themselves(busy: Served) -> None:
    first = httpx.get(f"{busy.address}/v1/receipts?limit=3").json()
    rest = httpx.get(f"{busy.address}/v1/receipts?limit=3&cursor={first['next']}").json()
    assert [one["id"] for one in first["receipts"] + rest["receipts"]] == ["e0", "e1", "e2", "e3", "e4"]
    assert rest["next"] is None
    one = httpx.get(f"{busy.address}/v1/receipts/e1").json()
    assert "1,000 × 10 USD / 1,000,000 = $0.01" in one["explain"]
    assert [version["amount"] for version in one["history"]] == ["0.01"]


def test_corrections_and_cancellations_leave_every_version(busy: Served) -> None:
    fixed = httpx.post(
        f"{busy.address}/v1/corrections", json={"id": "e1", "reason": "wrong user", "changes": {"user": "carl"}}
    )
    assert fixed.json()["user"] == "carl"
    assert [(one["kind"], one["amount"]) for one in fixed.json()["history"]][-1] == ("correction", "0.01")
    gone = httpx.post(f"{busy.address}/v1/cancellations", json={"id": "e1", "reason": "a test"}).json()
    assert (gone["total"], gone["outcome"]) == ("0.00", "cancelled")
    unknown = httpx.post(f"{busy.address}/v1/corrections", json={"id": "e2", "reason": "x", "changes": {"hue": None}})
    assert (unknown.status_code, unknown.json()["code"]) == (422, "unknown_field")


def test_jobs_have_a_cost_a_unit(busy: Served) -> None:
    told = httpx.put(f"{busy.address}/v1/jobs/job%20ann", json={"units": 2})
    assert told.json() == {"outcome": "finished"}
    found = httpx.get(f"{busy.address}/v1/jobs/job%20ann").json()
    assert (found["total"], found["events"], found["units"], found["cost_per_unit"]) == ("0.03", 3, 2, "0.015")
    missing = httpx.get(f"{busy.address}/v1/jobs/none")
    assert (missing.status_code, missing.json()["code"]) == (404, "no_such_job")
    assert missing.headers["content-type"] == "application/problem+json"


def test_budgets_are_set_raised_read_and_removed(busy: Served) -> None:
    fields = {"limit": "0.05", "window": "day", "action": "refuse", "marks": [50, 80]}
    made = httpx.put(f"{busy.address}/v1/budgets/daily", json={"fields": fields, "why": "trial", "who": "ann"})
    assert made.json()["tiers"] == [{"name": "", "limits": {"day": "0.05"}}]
    raised = {"amount": "0.01", "until": "2026-03-11", "reason": "launch", "who": "bert"}
    httpx.post(f"{busy.address}/v1/budgets/daily/raises", json=raised)
    (now,) = httpx.get(f"{busy.address}/v1/budgets/daily/status").json()["budgets"]
    # Four calls of a cent on the tenth, of 0.05 + 0.01.
    assert (now["limit"], now["spent"], now["remaining"], now["percent"]) == ("0.06", "0.04", "0.02", "66.67")
    assert now["marks"] == ["50%"]
    refused = httpx.post(f"{busy.address}/v1/reserve", json={**CHAT, "usage": {"output_tokens": 3_000}})
    assert (refused.status_code, refused.json()["code"], refused.json()["budget"]) == (402, "budget_spent", "daily")
    told = httpx.get(f"{busy.address}/v1/budgets/daily/refusals").json()
    assert (told["count"], told["refusals"][0]["asked"]) == (1, "0.03")
    assert httpx.get(f"{busy.address}/v1/usage?where.user=ann").json()["daily_limit"] == "0.06"
    history = httpx.get(f"{busy.address}/v1/budgets/daily/history").json()["changes"]
    assert [(one["who"], one["why"]) for one in history] == [("ann", "trial"), ("bert", "launch")]
    assert httpx.delete(f"{busy.address}/v1/budgets/daily?why=over").status_code == 200
    assert httpx.get(f"{busy.address}/v1/budgets/daily").status_code == 404
    bad = httpx.put(f"{busy.address}/v1/budgets/daily", json={"fields": {"limit": "1", "window": "fortnight"}})
    assert (bad.status_code, bad.json()["code"], bad.json()["field"]) == (422, "unknown_window", "window")


def test_prices_are_listed_added_and_looked_through(busy: Served) -> None:
    price = {**CHAT, "meter": "output_tokens", "price": "8.00", "per": 1_000_000, "source": "contract"}
    del price["operation"]
    added = httpx.post(f"{busy.address}/v1/prices", json=price)
    assert (added.status_code, added.json()["price"], added.json()["origin"]) == (200, "8.00", "user")
    own = httpx.get(f"{busy.address}/v1/prices?provider=openai&service=gpt-4o&origin=user").json()["rates"]
    assert [rate["price"] for rate in own] == ["8.00"]
    assert httpx.post(f"{busy.address}/v1/price", json=CENT).json()["total"] == "0.008"
    jump = httpx.post(f"{busy.address}/v1/prices", json={**price, "price": "8000"})
    assert (jump.status_code, jump.json()["code"]) == (422, "suspicious_price")
    wrong = httpx.post(f"{busy.address}/v1/prices", json={"provider": "openai"})
    assert (wrong.status_code, wrong.json()["field"]) == (422, "service")
    found = httpx.get(f"{busy.address}/v1/prices/check").json()["findings"]
    assert all(one["code"] in ("old_price", "no_source", "sources_differ") for one in found)
    page = httpx.get(f"{busy.address}/v1/prices?limit=5").json()
    assert len(page["rates"]) == 5
    assert page["next"]


def test_a_tier_moves_a_limit(busy: Served) -> None:
    tiers = {"tiers": {"free": {"day": "0.01"}, "pro": {"day": "1.00"}}, "each": "user"}
    httpx.put(f"{busy.address}/v1/budgets/each", json={"fields": tiers})
    assert httpx.get(f"{busy.address}/v1/subjects/user/ann").json()["tier"] is None
    httpx.put(f"{busy.address}/v1/subjects/user/ann", json={"tier": "pro"})
    (now,) = httpx.get(f"{busy.address}/v1/budgets/each/status?subject=ann").json()["budgets"]
    assert (now["tier"], now["limit"], now["spent"]) == ("pro", "1.00", "0.02")


def test_a_key_of_one_user_sees_that_users_part_of_everything(memory: outlay.Ledger) -> None:
    for user in ("ann", "bert"):
        memory.record(**CENT, user=user, job="shared", request="shared", id=f"of {user}")
    memory.budget("all", limit="5", window="day")
    memory.budget("each", each="user", limit="1", window="day")
    _, key = make_key(memory.store, memory.clock, roles=["read"], scope={"user": "ann"})
    headers = {"authorization": f"Bearer {key}"}
    with served(memory) as server, httpx.Client(base_url=server.address, headers=headers) as client:
        assert client.get("/v1/costs").json()["total"]["events"] == 1
        assert client.get("/v1/costs?where.user=bert").status_code == 403
        assert [one["id"] for one in client.get("/v1/receipts").json()["receipts"]] == ["of ann"]
        assert client.get("/v1/receipts/of%20bert").status_code == 404
        assert client.get("/v1/jobs/shared").json()["total"] == "0.01"
        assert client.get("/v1/requests/shared").json()["events"] == 1
        standing = [(one["budget"], one["subject"]) for one in client.get("/v1/budgets").json()["budgets"]]
        assert standing == [("each", "ann")]
        assert client.get("/v1/budgets/all").status_code == 404
        assert client.get("/v1/usage").json() == {"daily_used": "0.01", "daily_limit": "1.00"}
        assert client.get("/v1/subjects/user/bert").status_code == 404
        assert client.get("/analytics/features?user=bert").status_code == 403


def test_the_page_of_the_api_needs_neither_script_nor_internet(busy: Served) -> None:
    page = httpx.get(f"{busy.address}/docs")
    document = httpx.get(f"{busy.address}/openapi.json").json()
    assert "<script" not in page.text
    assert not re.search(r'(src|href)="(https?:)?//', page.text)
    assert "default-src 'none'; style-src 'sha256-" in page.headers["content-security-policy"]
    for path in ("/v1/events", "/v1/reserve", "/v1/costs", "/analytics/dashboard", "/v1/live"):
        assert path in document["paths"]
        assert path in page.text
    names = {
        operation["operationId"] for operations in document["paths"].values() for operation in operations.values()
    }
    assert len(names) == sum(
        len(operations) for operations in document["paths"].values()
    )  # a generated client's names
