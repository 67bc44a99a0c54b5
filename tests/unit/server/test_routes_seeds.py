"""The documents' own routes answer their own bodies, field for field, with figures that add up."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from tests.served import Served, served

import outlay
from outlay.faces.server.settings import ServerSettings, TokenIssuer

SECRET = "a secret of thirty-two bytes or more"


def exactly(answer: httpx.Response) -> Any:
    """JSON with its numbers as they were written."""
    return json.loads(answer.text, parse_float=Decimal)


@pytest.fixture
def studio(memory: outlay.Ledger) -> Iterator[Served]:
    """Seed 3's agents: a story, an image, a voice; for video v1, and a story of the month before."""
    own = {"provider": "nanobanana", "service": "nanobanana", "meter": "images", "price": "0.02"}
    memory.add_rate(**own, valid_from="2026-01-01")  # type: ignore[arg-type]
    story: dict[str, Any] = {"provider": "openai", "service": "gpt-4o", "operation": "story_generation"}
    memory.record(**story, usage={"input_tokens": 1_000, "output_tokens": 400}, job="v1", user="u1", feature="story")
    memory.record(provider="nanobanana", service="nanobanana", operation="image", usage={"images": 3}, job="v1")
    memory.record(**story, usage={"output_tokens": 1_000}, user="u1", feature="story", time="2026-02-20T10:00:00Z")
    memory.record(**story, usage={}, status="failed", user="u2", feature="script")
    with served(memory) as server:
        yield server


def test_a_days_costs(studio: Served) -> None:
    # 1,000 × 2.50 + 400 × 10.00 a million = 0.0065; 3 images × 0.02 = 0.06
    today = exactly(httpx.get(f"{studio.address}/analytics/costs/daily"))
    assert today == {
        "date": "2026-03-10",
        "costs_by_service": {"nanobanana": Decimal("0.06"), "gpt-4o": Decimal("0.0065")},
        "total": Decimal("0.0665"),
    }
    empty = exactly(httpx.get(f"{studio.address}/analytics/costs/daily?target_date=2026-03-01"))
    assert empty == {"date": "2026-03-01", "costs_by_service": {}, "total": Decimal("0.00")}
    wrong = httpx.get(f"{studio.address}/analytics/costs/daily?target_date=2026-02-30")
    assert (wrong.status_code, wrong.json()["code"]) == (422, "bad_time")


def test_a_months_costs(studio: Served) -> None:
    found = exactly(httpx.get(f"{studio.address}/analytics/costs/monthly?year=2026&month=2"))
    expected = {"year": 2026, "month": 2, "costs_by_service": {"gpt-4o": Decimal("0.01")}, "total": Decimal("0.01")}
    assert found == expected
    # The document's own function answers month 13 with nothing; here it is told.
    assert httpx.get(f"{studio.address}/analytics/costs/monthly?year=2026&month=13").status_code == 422


def test_a_videos_costs(studio: Served) -> None:
    found = exactly(httpx.get(f"{studio.address}/analytics/costs/video/v1"))
    assert found["video_id"] == "v1"
    assert found["total"] == sum(found["costs_by_service"].values()) == Decimal("0.0665")
    assert httpx.get(f"{studio.address}/analytics/costs/video/v2").status_code == 404


def test_a_users_day_is_that_of_the_token(memory: outlay.Ledger, tmp_path: Path) -> None:
    call: dict[str, Any] = {"provider": "openai", "service": "gpt-4o", "operation": "query"}
    memory.record(**call, usage={"input_tokens": 1_000, "output_tokens": 842}, user="user123")
    memory.record(**call, usage={"output_tokens": 5_000}, user="another")
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    issuer = TokenIssuer(issuer="pool", audience="manuals", algorithm="HS256", secret_file=str(secret))
    claims = {"sub": "user123", "iss": "pool", "aud": "manuals", "exp": 2_000_000_000}
    headers = {"authorization": f"Bearer {jwt.encode(claims, SECRET, algorithm='HS256')}"}
    with served(memory, ServerSettings(issuers=(issuer,))) as server:
        address = f"{server.address}/api/user/costs?date=2026-03-10"
        found = exactly(httpx.get(address, headers=headers))
        assert httpx.get(f"{address}&user=another", headers=headers).status_code == 403
        assert httpx.get(address).status_code == 401
    # 1,000 × 2.50 + 842 × 10.00 a million = 0.01092
    assert found == {
        "user_id": "user123",
        "date": "2026-03-10",
        "total_cost": Decimal("0.01092"),
        "currency": "USD",
        "requests": 1,
        "cost_breakdown": [
            {
                "service": "gpt-4o",
                "operation": "query",
                "cost": Decimal("0.01092"),
                "requests": 1,
                "quantities": {"input_tokens": 1_000, "output_tokens": 842},
            }
        ],
    }


def test_a_caller_without_a_user_names_one(studio: Served) -> None:
    assert httpx.get(f"{studio.address}/api/user/costs").json()["code"] == "missing_field"
    assert httpx.get(f"{studio.address}/api/user/costs?user=u1").json()["total_cost"] == 0.0065


def test_the_dashboard_of_thirty_days(studio: Served) -> None:
    answer = exactly(httpx.get(f"{studio.address}/analytics/dashboard?days=30"))
    assert (answer["success"], answer["error"]) == (True, None)
    period, projections = answer["data"]["currentPeriod"], answer["data"]["projections"]
    assert (period["startDate"], period["endDate"]) == ("2026-02-09", "2026-03-10")
    assert (period["totalCost"], period["totalInvocations"]) == (Decimal("0.0765"), 4)
    assert sum(period["costByModel"].values()) == period["totalCost"]
    assert sum(period["costByCategory"].values()) == period["totalCost"]
    assert sum(day["cost"] for day in period["dailyTrends"]) == period["totalCost"]
    assert period["topCostlyFeatures"][1] == {
        "flowName": "story",
        "totalCost": Decimal("0.0165"),
        "invocationCount": 2,
        "averageCost": Decimal("0.00825"),
    }
    # 0.0765 over 30 days = 0.00255 a day, 0.0765 in 30 of them; 0.0665 since 1 March.
    forecast = [projections.pop(name) for name in ("monthForecastLow", "monthForecast", "monthForecastHigh")]
    assert Decimal("0.0665") <= forecast[0] <= forecast[1] <= forecast[2]
    assert projections == {
        "dailyAverage": Decimal("0.00255"),
        "monthlyProjection": Decimal("0.0765"),
        "monthToDate": Decimal("0.0665"),
    }
    of_one = exactly(httpx.get(f"{studio.address}/analytics/dashboard?days=30&user=u1"))
    assert of_one["data"]["currentPeriod"]["totalCost"] == Decimal("0.0165")


def test_the_summary_by_feature(studio: Served) -> None:
    answer = exactly(httpx.get(f"{studio.address}/analytics/features?days=30"))
    assert answer["data"]["story"] == {
        "totalCost": Decimal("0.0165"),
        "invocationCount": 2,
        "averageCost": Decimal("0.00825"),
        "failed": 0,
        "tokenUsage": {"input": 1_000, "output": 1_400},
        "costByModel": {"gpt-4o": Decimal("0.0165")},
    }
    assert answer["data"]["script"]["failed"] == 1
    assert sum(one["totalCost"] for one in answer["data"].values()) == Decimal("0.0765")


@pytest.fixture
def steady(memory: outlay.Ledger) -> Iterator[Served]:
    """$2 a day for 90 days; the last 30 of them also $1 of another feature."""
    for days in range(1, 91):
        time = f"{date(2026, 3, 10) - timedelta(days=days)}T10:00:00Z"
        memory.record(provider="x", service="y", reported_cost="2", feature="a", user="u1", time=time)
        if days <= 30:
            memory.record(provider="x", service="y", reported_cost="1", feature="b", user="u2", time=time)
    with served(memory) as server:
        yield server


def test_periods_of_different_length_are_compared_by_the_day(steady: Served) -> None:
    # Seed 5's 60 days before 30: $2 a day each. As sums, 120 and 60 would read as half saved.
    flat = exactly(httpx.get(f"{steady.address}/analytics/compare?before=60&after=30&user=u1"))
    assert (flat["success"], flat["error"]) == (True, None)
    assert flat["data"]["savings"] == {
        "absoluteSavings": Decimal("0.00"),
        "percentageSavings": Decimal("0.00"),
        "perDay": True,
        "monthlySavings": Decimal("0.00"),
    }
    assert flat["data"]["before"] == {
        "startDate": "2025-12-10",
        "endDate": "2026-02-07",
        "days": 60,
        "totalCost": Decimal("120.00"),
        "totalInvocations": 60,
        "averageDailyCost": Decimal("2.00"),
        "monthlyProjection": Decimal("60.00"),
    }


def test_what_is_saved_or_spent_more_is_told_by_feature(steady: Served) -> None:
    data = exactly(httpx.get(f"{steady.address}/analytics/compare?before=60&after=30"))["data"]
    # $2 a day became $3: a dollar a day more, half as much again, $30 in a month.
    assert data["savings"] == {
        "absoluteSavings": Decimal("-1.00"),
        "percentageSavings": Decimal("-50.00"),
        "perDay": True,
        "monthlySavings": Decimal("-30.00"),
    }
    assert data["savingsByFeature"]["b"] == {
        "before": Decimal("0.00"),
        "after": Decimal("1.00"),
        "absoluteSavings": Decimal("-1.00"),
        "percentageSavings": None,
    }
    same = exactly(httpx.get(f"{steady.address}/analytics/compare?before=30&after=30"))["data"]
    # Equal lengths are compared as they are: 60 became 90.
    assert (same["savings"]["absoluteSavings"], same["savings"]["perDay"]) == (Decimal("-30.00"), False)
    assert httpx.get(f"{steady.address}/analytics/compare?before=0").status_code == 422
