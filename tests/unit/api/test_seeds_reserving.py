"""The budgets of examples/seeds/budgets.toml in a ledger: what the programs of the five documents would see."""

from __future__ import annotations

import tomllib
from datetime import date
from pathlib import Path
from typing import Any

import pytest

import outlay
from outlay.capture.statements import BilledRow

FILE = Path(__file__).parents[3] / "examples" / "seeds" / "budgets.toml"
HAIKU = "anthropic.claude-3-haiku-20240307-v1:0"
SONNET_4 = "us.anthropic.claude-sonnet-4-20250514-v1:0"
QUERY: dict[str, Any] = {"provider": "aws", "service": SONNET_4, "operation": "query"}


@pytest.fixture
def seeds(ledger: outlay.Ledger) -> outlay.Ledger:
    """A ledger with the seeds' budgets."""
    for name, fields in tomllib.loads(FILE.read_text())["budgets"].items():
        ledger.budget(name, **fields)
    return ledger


def test_the_51st_query_of_a_day_is_refused_and_every_answer_says_what_is_left(seeds: outlay.Ledger) -> None:
    """Seed 4, lines 38 to 43; a warning from the marks on, as its line 417 asks."""
    seeds.subject("user", "u1", tier="enterprise")
    usage = {"input_tokens": 10}
    blocks = []
    for number in range(50):
        with seeds.reserve(**QUERY, user="u1", request=f"r{number}", usage=usage) as reservation:
            reservation.settle(usage=usage)
        blocks.append(seeds.usage_block(user="u1", operation="query", meter="calls"))
    assert blocks[23] == {"daily_used": 24, "daily_limit": 50, "monthly_used": 24, "monthly_limit": 1000}
    assert blocks[24]["warning"] == "50% of the daily limit is crossed: 25 calls of 50 calls is used"
    assert blocks[49] == {
        "daily_used": 50,
        "daily_limit": 50,
        "monthly_used": 50,
        "monthly_limit": 1000,
        "warning": "100% of the daily limit is crossed: 50 calls of 50 calls is used",
    }
    with pytest.raises(outlay.BudgetExceeded) as refused:
        seeds.reserve(**QUERY, user="u1", request="r50", usage=usage)
    assert (refused.value.budget, refused.value.code, refused.value.unit) == ("queries", "budget_spent", "calls")
    assert seeds.reserve(**QUERY, user="u2", request="r51", usage=usage).outcome == "reserved"


def test_a_query_that_does_not_fit_goes_to_the_cheaper_model_of_the_list(seeds: outlay.Ledger) -> None:
    """Seed 4, lines 435 to 441: below a cent that is Haiku."""
    usage = {"input_tokens": 1_200, "output_tokens": 642}
    request: dict[str, Any] = {"request": "r1", "tags": {"complexity": "high"}}
    seeds.record(**QUERY, **request, reported_cost="0.0901", status="ok")
    with seeds.reserve(**QUERY, **request, usage=usage) as reservation:
        # Claude 4 asks 1,200 × $3 + 642 × $15 a million, $0.01323, of the $0.0099 that are left.
        assert (reservation.service, reservation.downgraded_from) == (HAIKU, SONNET_4)
        # 1,200 × $0.25 + 642 × $1.25 a million.
        assert str(reservation.settle(usage=usage).total) == "$0.0011025"


def test_replicate_stops_at_five_dollars_a_day_whatever_its_calls_report(seeds: outlay.Ledger) -> None:
    """Seed 1, lines 863 to 873."""
    seeds.add_rate(provider="replicate", service="animate-diff", meter="runs", price="0.03")
    call: dict[str, Any] = {"provider": "replicate", "service": "animate-diff", "usage": {"runs": 1}}
    seeds.record(**{**call, "usage": {"runs": 165}})
    seeds.reserve(**call).settle(usage={"runs": 1})
    # 166 runs are $4.98, and the next would make $5.01.
    with pytest.raises(outlay.BudgetExceeded, match=r"replicate has \$5.00 for 2026-03-10: \$4.98 spent"):
        seeds.reserve(**call)


def test_imported_cloud_charges_count_in_the_window_of_their_usage(
    seeds: outlay.Ledger, clock: outlay.FrozenClock
) -> None:
    """Seed 1's budget of $60 sees what only the bill knows; a row that comes late lands where it was used."""
    clock.set("2026-04-02T09:00:00Z")
    rows = [
        BilledRow(
            date=date.fromisoformat(day),
            service="rds",
            resource="db",
            cost=cost,
            quantity="1",
            unit="",
            provider="aws",
        )
        for day, cost in (("2026-03-31", "40.00"), ("2026-04-01", "31.00"))
    ]
    seeds.import_statement(rows, source="aws.csv", zone="UTC")
    (status,) = seeds.budgets("aws-infrastructure")
    assert (str(outlay.Money(status.spent)), [mark.percent for mark in status.marks if not mark.forecast]) == (
        "$31.00",
        [50],
    )
    told = [(row.key.window, row.what) for row in seeds.store.outbox() if row.key.budget == "aws-infrastructure"]
    assert told == [("2026-03", ">50%"), ("2026-04", ">50%")]
