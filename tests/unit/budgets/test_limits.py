"""Which limits cover a call, and what it asks of them."""

from __future__ import annotations

import sys
from decimal import Decimal
from types import FrameType
from typing import Any

import pytest
from msgspec.structs import replace

from outlay.budgets.definition import raised, read_budget
from outlay.budgets.limits import BudgetIndex, dimensions_of, scope_of, uncovered
from outlay.budgets.terms import Asking
from outlay.clock import isoformat, to_instant
from outlay.model import AccountKey, Mark, UsageEvent

UNIT = 10**12
NOON = to_instant("2026-03-10T12:00:00Z")
CENT = Asking(amount=UNIT // 100)
DAILY: dict[str, Any] = {"limit": "5.00", "window": "day"}


def index_of(**budgets: dict[str, Any]) -> BudgetIndex:
    return BudgetIndex(read_budget(name, fields) for name, fields in budgets.items())


def names(index: BudgetIndex, **call: str | None) -> list[str]:
    return [limit.key.budget for limit in index.limits(call, NOON, CENT)]


def test_a_filter_covers_the_calls_that_match_all_of_it_and_any_of_its_values() -> None:
    index = index_of(
        all=DAILY,
        one={**DAILY, "where": {"provider": "openai", "team": ["a", "b"]}},
        nobody={**DAILY, "where": {"user": None}},
        tagged={**DAILY, "where": {"tag.flow": "x"}},
        untagged={**DAILY, "where": {"tag.flow": [None, "y"]}},
    )
    assert names(index) == ["all", "nobody", "untagged"]
    assert names(index, provider="openai", team="b", user="u") == ["all", "one", "untagged"]
    assert names(index, provider="openai", team="c", user="u") == ["all", "untagged"]
    assert names(index, **{"tag.flow": "x", "user": "u"}) == ["all", "tagged"]
    assert [budget.name for budget in index.covering({"tag.flow": "y"})] == ["all", "nobody", "untagged"]


def test_a_filter_of_many_values_is_not_multiplied_out() -> None:
    many = [f"v{number}" for number in range(1000)]
    index = index_of(wide={**DAILY, "where": {"team": many, "feature": many, "user": [*many, "u"]}})
    assert names(index, team="v7", feature="v999", user="u") == ["wide"]
    assert names(index, team="v7", feature="v1000", user="u") == []


def test_each_gives_every_subject_an_account_and_a_call_without_one_is_not_covered() -> None:
    index = index_of(each={**DAILY, "each": "user"})
    limits = [*index.limits({"user": "u1"}, NOON, CENT), *index.limits({"user": "u2"}, NOON, CENT)]
    assert [limit.key.subject for limit in limits] == ["u1", "u2"]
    assert index.limits({"team": "a"}, NOON, CENT) == ()


def test_the_tier_of_a_subject_gives_the_limits_and_an_unknown_one_is_the_first() -> None:
    tiers = {"free": {"day": "0.50", "month": "5.00"}, "premium": {"day": "5.00"}}
    index = index_of(users={"each": "user", "tiers": tiers})
    told = {("user", "u2"): "premium", ("user", "u3"): "gold"}

    def limits(user: str) -> list[tuple[str, str, int]]:
        found = index.limits({"user": user}, NOON, CENT, lambda kind, name: told.get((kind, name)))
        return [(limit.tier, limit.key.window, limit.amount) for limit in found]

    assert limits("u1") == [("free", "2026-03", 5 * UNIT), ("free", "2026-03-10", UNIT // 2)]
    assert limits("u2") == [("premium", "2026-03-10", 5 * UNIT)]
    assert limits("u3") == limits("u1")
    assert index.limits({"user": "u2"}, NOON, CENT)[0].tier == "free"


@pytest.mark.parametrize(
    ("zone", "window", "moment", "label", "start", "end"),
    [
        # A day of 23 hours and one of 25 (clocks change), a leap day, a half-hour zone, an hour told twice.
        ("Europe/Berlin", "day", "2026-03-29T12:00Z", "2026-03-29", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"),
        ("Europe/Berlin", "day", "2026-10-25T12:00Z", "2026-10-25", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"),
        ("UTC", "month", "2028-02-29T23:59Z", "2028-02", "2028-02-01T00:00:00Z", "2028-03-01T00:00:00Z"),
        ("Asia/Kolkata", "day", "2026-03-10T18:29Z", "2026-03-10", "2026-03-09T18:30:00Z", "2026-03-10T18:30:00Z"),
        ("America/New_York", "year", "2026-01-01T04:59Z", "2025", "2025-01-01T05:00:00Z", "2026-01-01T05:00:00Z"),
        (
            *("Europe/Berlin", "hour", "2026-10-25T00:30Z", "2026-10-25T02:00+0200"),
            *("2026-10-25T00:00:00Z", "2026-10-25T01:00:00Z"),
        ),
    ],
)
def test_a_window_is_a_local_date_range_of_its_zone(
    zone: str, window: str, moment: str, label: str, start: str, end: str
) -> None:
    index = index_of(b={"limit": "1", "window": window, "zone": zone})
    index.limits({}, NOON, CENT)
    (limit,) = index.limits({}, to_instant(moment), CENT)
    assert (limit.key.window, isoformat(limit.window.start), isoformat(limit.window.end)) == (label, start, end)


def test_an_account_is_kept_when_a_limit_changes_and_is_another_when_the_scope_does() -> None:
    before = read_budget("b", {**DAILY, "where": {"team": "a"}})
    assert scope_of(read_budget("b", {**DAILY, "limit": "9", "where": {"team": "a"}})) == scope_of(before)
    for change in (
        {"where": {"team": "b"}},
        {"each": "user"},
        {"meter": "calls", "limit": 5},
        {"zone": "Asia/Tokyo"},
    ):
        assert scope_of(read_budget("b", {**DAILY, "where": {"team": "a"}, **change})) != scope_of(before)


def test_raises_and_grace_widen_the_ceiling_and_marks_follow_the_limit() -> None:
    budget = read_budget("b", {**DAILY, "each": "user", "grace": "10%", "marks": [50, ">80"]})
    until = NOON + 10**9
    budget = raised(budget, "1.00", since=NOON, until=until, reason="r", who="w")
    budget = raised(budget, "2.00", since=NOON, until=until, reason="r", who="w", subject="u1")

    def limit(user: str, at: int) -> tuple[int, int]:
        (found,) = BudgetIndex([budget]).limits({"user": user}, at, CENT)
        return found.amount, found.ceiling

    assert limit("u1", NOON) == (8 * UNIT, 88 * UNIT // 10)
    assert limit("u2", NOON) == (6 * UNIT, 66 * UNIT // 10)
    assert limit("u1", until) == (5 * UNIT, 55 * UNIT // 10)
    (found,) = BudgetIndex([budget]).limits({"user": "u1"}, until, CENT)
    assert found.marks == (Mark(50, amount=5 * UNIT // 2), Mark(80, above=True, amount=4 * UNIT + 1))


def test_a_mark_between_two_amounts_is_crossed_at_the_next_one() -> None:
    # 33.3 % of 0.000000000001 is crossed by the whole of it; nothing is no mark of nothing.
    index = index_of(b={"limit": "0.000000000001", "window": "day", "marks": ["33.3"]}, z={**DAILY, "limit": 0})
    tiny, zero = index.limits({}, NOON, CENT)
    assert [mark.amount for mark in tiny.marks] == [1]
    assert [mark.amount for mark in zero.marks] == [1, 1, 1]


def asked(asking: Asking, **fields: Any) -> tuple[int, str]:
    (limit,) = index_of(b={**DAILY, **fields}).limits({}, NOON, asking)
    return limit.asked, limit.barred


def test_what_is_asked_is_money_calls_or_units_of_a_meter() -> None:
    asking = Asking(amount=7, usage={"input_tokens": 100, "output_tokens": 50}, calls=3)
    assert asked(asking) == (7, "")
    assert asked(asking, meter="calls", limit=5) == (3 * UNIT, "")
    assert asked(asking, meter="input_tokens") == (100 * UNIT, "")
    assert asked(asking, meter="output_reasoning_tokens") == (50 * UNIT, ""), "at most its whole"
    assert asked(Asking(amount=0, usage={"output_audio_seconds": Decimal("2.5")}), meter="audio_seconds") == (
        5 * UNIT // 2,
        "",
    )
    assert asked(Asking(amount=0), meter="images") == (0, "")


def test_a_part_without_a_bound_is_refused_taken_as_a_window_or_let_go() -> None:
    asking = Asking(
        amount=7, usage={"input_tokens": 1}, unbounded=True, window_amount=90, window_usage={"input_tokens": 128}
    )
    assert asked(asking, unbounded="refuse") == (0, "unbounded_usage")
    assert asked(asking, unbounded="context_window") == (90, "")
    assert asked(asking, unbounded="allow") == (7, "")
    assert asked(asking, unbounded="context_window", meter="input_tokens") == (128 * UNIT, "")
    assert asked(asking, unbounded="refuse", meter="input_tokens") == (0, "unbounded_usage")
    assert asked(asking, unbounded="refuse", meter="calls", limit=5) == (UNIT, ""), "a call is a call"


def test_a_call_without_a_price_is_refused_assumed_or_let_go() -> None:
    unpriced = Asking(amount=None, calls=2)
    assert asked(unpriced, unpriced="refuse") == (0, "unpriced_usage")
    assert asked(unpriced, unpriced="assume", assumed="0.01") == (2 * UNIT // 100, "")
    assert asked(unpriced, unpriced="allow") == (0, "")


def test_what_happened_counts_in_every_window_that_any_tier_limits() -> None:
    tiers = {"free": {"day": "1"}, "premium": {"month": "9"}}
    index = index_of(users={"each": "user", "tiers": tiers}, calls={"meter": "calls", "limits": {"day": 5}})
    told = Asking(amount=None, usage={"input_tokens": 4}, calls=2)
    event = UsageEvent(id="1", provider="p", service="s", occurred_from=0, occurred_to=0, user="u1", tags={"k": "v"})
    shares = index.shares(dimensions_of(event), NOON, told)
    assert sorted((key.budget, key.subject, key.window, amount) for key, amount in shares) == [
        ("calls", "", "2026-03-10", 2 * UNIT),
        ("users", "u1", "2026-03", 0),
        ("users", "u1", "2026-03-10", 0),
    ]
    tokens = index_of(tokens={"meter": "input_tokens", "limits": {"day": 5}})
    assert [amount for _, amount in tokens.shares({}, NOON, told)] == [4 * UNIT]
    assert dimensions_of(event)["tag.k"] == "v"


def test_limits_come_in_the_order_in_which_accounts_are_locked() -> None:
    index = index_of(b={"limits": {"day": 1, "month": 9}}, a=DAILY)
    keys = [limit.key for limit in index.limits({}, NOON, CENT)]
    assert keys == sorted(keys)
    assert [(key.budget, key.window) for key in keys] == [("a", "2026-03-10"), ("b", "2026-03"), ("b", "2026-03-10")]
    assert isinstance(keys[0], AccountKey)


def test_the_cost_of_a_look_up_does_not_grow_with_the_budgets_that_do_not_cover_the_call() -> None:
    """10,000 budgets of teams and of team and feature, 10,000 tags; a million users need no entry of their own."""
    each = read_budget("users", {**DAILY, "each": "user"})
    few = [each, read_budget("t1", {**DAILY, "where": {"team": "t1"}})]
    many = list(few)
    for number in range(2, 4000):
        many.append(replace(few[1], name=f"t{number}", where={"team": (f"t{number}",)}))
        many.append(replace(few[1], name=f"f{number}", where={"team": (f"t{number}",), "feature": ("f",)}))
        many.append(replace(few[1], name=f"g{number}", where={f"tag.k{number}": ("v",)}))
    small, large = BudgetIndex(few), BudgetIndex(many)
    assert len(large.budgets) > 10_000

    def steps(index: BudgetIndex) -> int:
        """Lines of Python that 50 look-ups run: work done, which no other load of the machine changes."""
        ran = 0

        def count(frame: FrameType, event: str, argument: object) -> Any:
            nonlocal ran
            ran += event == "line"
            return count

        before = sys.gettrace()
        sys.settrace(count)
        try:
            for turn in range(50):
                call = {"provider": "openai", "team": "t1", "feature": "f", "user": f"u{turn * 4999 % 1_000_000}"}
                found = index.limits(call, NOON, CENT)
        finally:
            sys.settrace(before)
        assert [limit.key.budget for limit in found] == ["t1", "users"]
        return ran

    assert steps(small) > 0
    assert steps(large) < 2 * steps(small)


def test_refusing_each_budgets_without_a_total_over_them_are_named() -> None:
    each = {**DAILY, "each": "user", "action": "refuse", "where": {"provider": "openai"}}
    total = {**DAILY, "action": "refuse"}

    def of(**budgets: dict[str, Any]) -> list[str]:
        return uncovered(index_of(**budgets).budgets.values())

    assert of(each=each, soft={**each, "action": "notify"}) == ["each"]
    assert of(each=each, total=total) == []
    assert of(each=each, total={**total, "where": {"provider": ["openai", "groq"]}}) == []
    assert of(each=each, total={**total, "where": {"provider": "groq"}}) == ["each"]
    assert of(each=each, total={**total, "where": {"team": "a"}}) == ["each"]
    assert of(each=each, total={**total, "meter": "calls", "limit": 5}) == ["each"]
    assert of(each=each, total=DAILY) == ["each"]
