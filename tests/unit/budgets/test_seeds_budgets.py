"""The budgets of examples/seeds/budgets.toml: each at the last amount below its limit, at it, and above it."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from outlay.budgets.decide import choose, decide
from outlay.budgets.definition import read_budgets
from outlay.budgets.limits import BudgetIndex, uncovered
from outlay.budgets.status import crossed, status
from outlay.budgets.terms import Asking, Budget
from outlay.clock import to_instant
from outlay.model import Account, AccountKey, BudgetAction, Limit
from outlay.money import decimal_to_pico

UNIT = 10**12
NOON = to_instant("2025-11-10T12:00:00Z")
FILE = Path(__file__).parents[3] / "examples" / "seeds" / "budgets.toml"
BUDGETS: dict[str, Budget] = {
    budget.name: budget for budget in read_budgets(tomllib.loads(FILE.read_text())["budgets"])
}
HAIKU = "anthropic.claude-3-haiku-20240307-v1:0"
SONNET_3_5 = "anthropic.claude-3-5-sonnet-20241022-v2:0"
SONNET_4 = "us.anthropic.claude-sonnet-4-20250514-v1:0"
CALLS: list[tuple[str, dict[str, str], str | None, str, str]] = [
    ("replicate", {"provider": "replicate"}, None, "day", "5"),
    ("replicate", {"provider": "replicate"}, None, "month", "100"),
    ("aws-infrastructure", {"provider": "aws"}, None, "month", "60"),
    ("video-generation", {"project": "ai-video-pipeline"}, None, "day", "50"),
    ("video-generation", {"project": "ai-video-pipeline"}, None, "month", "500"),
    ("manuel-dev", {"project": "manuel", "environment": "dev"}, None, "day", "10"),
    ("manuel-dev", {"project": "manuel", "environment": "dev"}, None, "month", "200"),
    ("manuel-prod", {"project": "manuel", "environment": "prod"}, None, "day", "50"),
    ("manuel-prod", {"project": "manuel", "environment": "prod"}, None, "month", "1000"),
    ("manuel-claude4", {"project": "manuel", "environment": "claude4"}, None, "day", "25"),
    ("manuel-claude4", {"project": "manuel", "environment": "claude4"}, None, "month", "500"),
    ("user-tiers", {"user": "u"}, None, "day", "0.5"),
    ("user-tiers", {"user": "u"}, "free", "month", "5"),
    ("user-tiers", {"user": "u"}, "premium", "day", "5"),
    ("user-tiers", {"user": "u"}, "premium", "month", "50"),
    ("user-tiers", {"user": "u"}, "enterprise", "day", "50"),
    ("user-tiers", {"user": "u"}, "enterprise", "month", "500"),
    ("queries", {"user": "u", "operation": "query"}, None, "day", "50"),
    ("queries", {"user": "u", "operation": "query"}, None, "month", "1000"),
]


def limits_of(name: str, call: dict[str, str], tier: str | None, asked: int) -> dict[str, Limit]:
    index = BudgetIndex([BUDGETS[name]])
    limits = index.limits(call, NOON, Asking(amount=asked), lambda kind, subject: tier)
    return {limit.window_name: limit for limit in limits}


@pytest.mark.parametrize(("name", "call", "tier", "window", "amount"), CALLS)
def test_each_limit_holds_at_the_last_amount_below_at_and_above(
    name: str, call: dict[str, str], tier: str | None, window: str, amount: str
) -> None:
    whole = decimal_to_pico(amount)
    asked = UNIT if name == "queries" else 1
    limit = limits_of(name, call, tier, asked)[window]
    assert (limit.amount, limit.asked) == (whole, asked)

    def decided(spent: int) -> tuple[bool, str]:
        accounts: dict[AccountKey, Account] = {limit.key: Account(committed=spent, spent=spent)}
        decision = decide([limit], accounts, NOON)
        return decision.granted, "" if decision.granted else decision.refusals[0].code

    below, at, above = decided(whole - asked), decided(whole), decided(whole + 1)
    if limit.action is BudgetAction.NOTIFY:
        assert (below, at, above) == ((True, ""),) * 3, "told, never refused"
    else:
        assert below == (True, ""), "the last that fits makes it full"
        assert at == above == (False, "budget_spent")
    top = max(mark.amount for mark in limit.marks if not mark.forecast)
    assert top == whole + any(mark.above for mark in limit.marks)
    assert [mark.percent for mark in crossed(limit, top - 1, top)] == [100]
    assert crossed(limit, top, top + UNIT) == ()


def test_the_bill_of_60_is_marked_above_30_48_and_60_and_by_its_forecast() -> None:
    limit = limits_of("aws-infrastructure", {"provider": "aws"}, None, 0)["month"]
    assert [(mark.amount, mark.forecast) for mark in limit.marks] == [
        (30 * UNIT + 1, False),
        (48 * UNIT + 1, False),
        (60 * UNIT + 1, False),
        (60 * UNIT + 1, True),
    ]
    # By noon of the 10th 9.5 of 30 days have passed: 19.00 projects to exactly 60, and a cent more crosses it.
    for spent, marks in ((19 * UNIT, []), (19 * UNIT + UNIT // 100, [100])):
        found = status(limit, Account(committed=spent, spent=spent), NOON)
        assert [mark.percent for mark in found.marks] == marks


def test_2000_images_of_2_cents_warn_at_exactly_40() -> None:
    limit = limits_of("video-generation", {"project": "ai-video-pipeline"}, None, 0)["day"]
    image = 2 * UNIT // 100
    assert [mark.percent for mark in crossed(limit, 1999 * image, 2000 * image)] == [80]


@pytest.mark.parametrize(("daily", "full_days"), [("manuel-dev", 20), ("manuel-prod", 20), ("manuel-claude4", 20)])
def test_the_month_binds_after_exactly_twenty_full_days(daily: str, full_days: int) -> None:
    environment = daily.removeprefix("manuel-")
    limits = limits_of(daily, {"project": "manuel", "environment": environment}, None, 0)
    assert limits["month"].amount == full_days * limits["day"].amount


def test_the_month_of_a_tier_and_of_the_video_ticket_binds_after_ten_full_days() -> None:
    for tier in ("free", "premium", "enterprise"):
        limits = limits_of("user-tiers", {"user": "u"}, tier, 0)
        assert limits["month"].amount == 10 * limits["day"].amount
    limits = limits_of("video-generation", {"project": "ai-video-pipeline"}, None, 0)
    assert limits["month"].amount == 10 * limits["day"].amount


@pytest.mark.parametrize(
    ("left", "complexity", "service"),
    [
        ("0.0099", "high", HAIKU),
        ("0.01", "high", SONNET_3_5),
        ("0.05", "high", SONNET_3_5),
        ("0.0501", "high", SONNET_4),
        ("0.0099", "low", HAIKU),
        ("0.01", "low", SONNET_3_5),
        ("0.0501", "low", SONNET_3_5),
    ],
)
def test_the_model_is_selected_by_what_is_left_as_in_seed_4(left: str, complexity: str, service: str) -> None:
    choices = BUDGETS["query-cost"].downgrade_to
    assert choose(choices, decimal_to_pico(left), {"complexity": complexity}, lambda service: 0) == service


def test_budgets_of_users_that_refuse_without_a_total_over_them_are_said() -> None:
    assert uncovered(BUDGETS.values()) == ["queries", "query-cost", "user-tiers"]
