"""How a budget stands."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from outlay.budgets.definition import read_budget
from outlay.budgets.limits import BudgetIndex
from outlay.budgets.status import crossed, status, usage_block
from outlay.budgets.terms import Asking, BudgetStatus
from outlay.clock import isoformat, to_instant
from outlay.model import Account, Limit

UNIT = 10**12
MONTH: dict[str, Any] = {"limit": "62.00", "window": "month", "marks": [50, 80, 100, "forecast >100"]}


def limits_at(moment: str, **fields: Any) -> tuple[Limit, ...]:
    return BudgetIndex([read_budget("b", fields)]).limits({}, to_instant(moment), Asking(amount=0))


def at(moment: str, spent: int, reserved: int = 0, **fields: Any) -> BudgetStatus:
    (limit,) = limits_at(moment, **fields)
    account = Account(committed=spent + reserved, spent=spent, refusals=3, warming=True)
    return status(limit, account, to_instant(moment))


def test_half_a_month_at_51_26_projects_to_102_52() -> None:
    """Seed 1, lines 272 to 292: $51.26 in 15 of November's 30 days is 3.41733 a day, 102.52 a month, 40.52 over."""
    found = at("2025-11-16T00:00:00Z", 5126 * UNIT // 100, UNIT, **MONTH)
    assert found.projected == 10252 * UNIT // 100
    assert (found.spent, found.reserved, found.remaining) == (5126 * UNIT // 100, UNIT, 974 * UNIT // 100)
    assert found.percent == Decimal("82.68")  # 51.26 / 62 = 0.826774…
    assert found.pace == Decimal("1.65")  # 0.826774 / 0.5
    assert (found.refusals, found.warming) == (3, True)
    # 62 / 3.41733 = 18.1428 days after the 1st: 18 days, 3 h 25 min.
    assert found.spent_at is not None
    assert isoformat(found.spent_at).startswith("2025-11-19T03:25:")
    assert [(mark.percent, mark.forecast) for mark in found.marks] == [(50, False), (80, False), (100, True)]
    assert found.warning == "80% of the monthly limit is crossed: $51.26 of $62.00 is used"


def test_month_to_date_at_1_65_a_day_ends_under_the_limit() -> None:
    """The same seed with its own daily average: 15 × 1.65 = 24.75 by the 16th, 49.50 at the end, 12.50 under."""
    found = at("2025-11-16T00:00:00Z", 2475 * UNIT // 100, **MONTH)
    assert (found.projected, found.spent_at, found.warning) == (4950 * UNIT // 100, None, "")


def test_before_anything_is_spent_or_any_time_has_passed_there_is_no_pace() -> None:
    begun = at("2026-03-01T00:00:00Z", UNIT, **MONTH)
    assert (begun.pace, begun.projected) == (None, UNIT)
    nothing = at("2026-03-10T00:00:00Z", 0, **MONTH)
    assert (nothing.pace, nothing.projected, nothing.spent_at) == (Decimal(0), 0, None)
    closed = at("2026-03-10T00:00:00Z", UNIT, limit=0, window="day")
    assert (closed.percent, closed.pace, closed.remaining) == (None, None, 0)


def test_only_a_forecast_warns_of_what_is_not_yet_spent() -> None:
    found = at("2026-03-02T00:00:00Z", 3 * UNIT, **MONTH)
    assert (
        found.warning == "forecast >100% of the monthly limit is crossed: $93.00 of $62.00 will be used at this pace"
    )


def test_a_mark_is_crossed_at_its_share_or_strictly_above_it_once() -> None:
    """Seed 3: 2,000 images of $0.02 are exactly $40.00, 80 % of 50, and must warn."""
    (limit,) = limits_at("2026-03-10T12:00:00Z", limit="50", window="day", marks=[80, ">80", 100, "forecast 10"])
    image = UNIT // 50

    def told(before: int, after: int) -> list[tuple[object, bool]]:
        return [(mark.percent, mark.above) for mark in crossed(limit, before, after)]

    assert told(0, 1999 * image) == []
    assert told(1999 * image, 2000 * image) == [(80, False)]
    assert told(2000 * image, 2001 * image) == [(80, True)]
    assert told(0, 50 * UNIT) == [(80, False), (80, True), (100, False)]
    assert told(50 * UNIT, 60 * UNIT) == []


def test_an_answer_says_what_a_user_has_used_and_warns_at_a_mark() -> None:
    """Seed 4, lines 38 to 43: 15 of 50 queries today, 78 of 1,000 this month."""
    day, month = sorted(
        limits_at("2025-01-10T12:00:00Z", meter="calls", limits={"day": 50, "month": 1000}),
        key=lambda limit: limit.window_name,
    )
    now = to_instant("2025-01-10T12:00:00Z")

    def block(today: int) -> dict[str, object]:
        used = ((day, today), (month, 78))
        return usage_block(
            status(limit, Account(committed=count * UNIT, spent=count * UNIT), now) for limit, count in used
        )

    assert block(15) == {"daily_used": 15, "daily_limit": 50, "monthly_used": 78, "monthly_limit": 1000}
    assert "warning" not in block(24)
    assert block(25)["warning"] == "50% of the daily limit is crossed: 25 calls of 50 calls is used"
    assert block(40)["warning"] == "80% of the daily limit is crossed: 40 calls of 50 calls is used"


def test_of_two_budgets_of_a_window_the_nearest_to_its_limit_is_told() -> None:
    wide = at("2026-03-10T12:00:00Z", UNIT, limit="10", window="day")
    narrow = at("2026-03-10T12:00:00Z", UNIT // 2, limit="1", window="day", marks=[90])
    for order in ((wide, narrow), (narrow, wide)):
        assert usage_block(order) == {"daily_used": Decimal("0.50"), "daily_limit": Decimal("1.00")}
    assert usage_block([]) == {}
