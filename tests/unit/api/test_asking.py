"""Asking through the api: what was spent, on what, by whom, as of when."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest

import outlay
from outlay.clock import to_instant

CHAT: dict[str, Any] = {"provider": "openai", "service": "gpt-4o", "operation": "chat"}
DOLLAR: dict[str, Any] = {"usage": {"output_tokens": 100_000}}  # 100,000 × $10.00 a million = $1.00


def test_costs_group_and_filter_by_anything(ledger: outlay.Ledger) -> None:
    ledger.record(**CHAT, **DOLLAR, user="u1", feature="a", tags={"arm": "x"}, time="2026-03-08T10:00:00Z")
    ledger.record(**CHAT, **DOLLAR, user="u2", feature="a", tags={"arm": "y"}, time="2026-03-09T10:00:00Z")
    ledger.record(**CHAT, **DOLLAR, feature="b", time="2026-03-09T11:00:00Z")
    by_day = {row.keys: row.cost.amount for row in ledger.costs(("day", "feature"))}
    assert by_day == {("2026-03-08", "a"): 1, ("2026-03-09", "a"): 1, ("2026-03-09", "b"): 1}
    assert {row.keys[0]: row.events for row in ledger.costs("user")} == {"u1": 1, "u2": 1, None: 1}
    assert ledger.costs(where={"tag.arm": ["x", "y"]}).total.amount == 2
    assert ledger.costs(where={"user": None}).total.amount == 1
    assert ledger.costs(since="2026-03-09", until=date(2026, 3, 10)).total.amount == 2
    assert ledger.costs(since=timedelta(days=1)).total.amount == 0
    assert {row.keys for row in ledger.costs("tag.arm")} == {("x",), ("y",), (None,)}


def test_a_day_is_the_zones_own(ledger: outlay.Ledger) -> None:
    # 03:30Z on 9 March is still the evening of the 8th in New York, which had lost an hour that morning.
    ledger.record(**CHAT, **DOLLAR, time="2026-03-09T03:30:00Z")
    assert [row.keys for row in ledger.costs("day")] == [("2026-03-09",)]
    assert [row.keys for row in ledger.costs("day", zone="America/New_York")] == [("2026-03-08",)]
    assert [row.keys for row in ledger.costs("hour", zone="Asia/Kolkata")] == [("2026-03-09T09:00+0530",)]


def test_unknown_groups_are_refused_by_name(memory: outlay.Ledger) -> None:
    for question in ({"by": "colour"}, {"where": {"colour": "red"}}, {"where": {"day": "2026-03-09"}}):
        with pytest.raises(outlay.InvalidInput) as refused:
            memory.costs(**question)
        assert refused.value.code == "unknown_dimension"


def test_a_job_sums_all_its_calls_over_services(ledger: outlay.Ledger) -> None:
    ledger.record(**CHAT, **DOLLAR, job="video-7", step="clip-1")
    ledger.record(**CHAT, **DOLLAR, job="video-7", step="clip-2", request="r1")
    ledger.record(provider="anthropic", service="claude-sonnet-4-5", usage={"output_tokens": 1000}, job="video-7")
    ledger.record(**CHAT, **DOLLAR, job="video-8", request="r1")
    job = ledger.job("video-7")
    # claude-sonnet-4-5 output is $15.00 a million: 1,000 × 15e-6 = 0.015
    assert job.total.amount == Decimal("2.015")
    assert list(job.by_step) == ["clip-1", "clip-2", None]
    assert job.cost_per_unit is None
    ledger.finish("video-7", units=2)
    unit = ledger.job("video-7").cost_per_unit
    assert unit is not None
    assert unit.amount == Decimal("1.0075")
    assert ledger.request("r1").total.amount == 2
    for missing in (lambda: ledger.job("video-9"), lambda: ledger.request("r9"), lambda: ledger.event("nobody")):
        with pytest.raises(outlay.NotFound):
            missing()


def test_top_names_the_dearest(ledger: outlay.Ledger) -> None:
    for at in range(1, 6):
        ledger.record(**CHAT, usage={"output_tokens": at * 100_000}, job=f"video-{at}")
    top = ledger.top("job", limit=2)
    assert [(row.keys[0], str(row.cost)) for row in top] == [("video-5", "$5.00"), ("video-4", "$4.00")]
    assert [row.keys[0] for row in ledger.top("job", minimum="3.00")] == ["video-5", "video-4", "video-3"]


def test_rows_go_to_dicts_arrow_and_pandas(ledger: outlay.Ledger) -> None:
    ledger.record(**CHAT, **DOLLAR, feature="a")
    costs = ledger.costs("feature")
    assert costs.as_dicts()[0]["cost"] == Decimal("1.00")
    assert costs.arrow().column("cost").to_pylist() == [Decimal("1.000000000000")]
    assert costs.pandas().loc[0, "cost"] == Decimal("1.00")


def test_percentiles_are_of_single_calls(ledger: outlay.Ledger) -> None:
    for tokens in range(1, 101):
        ledger.record(**CHAT, usage={"output_tokens": tokens * 1000})  # 1 to 100 cents
    row = ledger.costs("service", percentiles=True).rows[0]
    cents = 10**10
    assert (row.amount_p50, row.amount_p95, row.amount_max) == (50 * cents, 95 * cents, 100 * cents)


def test_a_user_has_a_first_and_a_last_use(ledger: outlay.Ledger) -> None:
    for day in (3, 1, 2):
        ledger.record(**CHAT, **DOLLAR, user="u1", time=f"2026-03-0{day}T10:00:00Z")
    row = ledger.costs("user", percentiles=True).rows[0]
    assert row.first_at == to_instant("2026-03-01T10:00:00Z")
    assert row.last_at == to_instant("2026-03-03T10:00:00Z")


def test_shares_say_what_the_spend_rests_on(ledger: outlay.Ledger) -> None:
    ledger.record(**CHAT, **DOLLAR)
    ledger.record(**CHAT, **DOLLAR, basis="estimated")
    shares = {name: amount.amount for name, amount in ledger.costs().shares().items()}
    assert shares == {"measured": 1, "estimated": 1}
