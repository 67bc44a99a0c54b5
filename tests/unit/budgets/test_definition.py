"""Budgets as people write them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from outlay.budgets.definition import changed, raised, read_budget, read_budgets
from outlay.budgets.terms import Choice, Tier, UnboundedPolicy, UnpricedPolicy, WindowLimit
from outlay.clock import to_instant
from outlay.errors import InvalidInput
from outlay.model import BudgetAction, Mark

UNIT = 10**12
MARCH = to_instant("2026-03-10T12:00:00Z")
APRIL = to_instant("2026-04-01T00:00:00Z")
DAILY: dict[str, Any] = {"limit": "5.00", "window": "day"}


def test_a_budget_is_read_as_it_was_written() -> None:
    budget = read_budget(
        "replicate-daily",
        {
            **DAILY,
            "zone": "Europe/Berlin",
            "where": {"provider": "replicate", "tag.team": ["b", None, "a"]},
            "action": "refuse",
            "marks": [80, "50%", ">100 %", "forecast 100%", Mark(Decimal("12.5"), amount=9)],
            "wait_s": "2.5",
            "grace": "10%",
            "fail_open": True,
            "unpriced": "assume",
            "assumed": "0.02",
            "downgrade_to": None,
        },
    )
    assert budget.tiers == (Tier("", (WindowLimit("day", 5 * UNIT),)),)
    assert budget.where == {"provider": ("replicate",), "tag.team": (None, "a", "b")}
    assert budget.marks == (
        Mark(Decimal("12.5")),
        Mark(50),
        Mark(80),
        Mark(100, above=True),
        Mark(100, forecast=True),
    )
    assert (budget.action, budget.zone, budget.wait_s) == (BudgetAction.REFUSE, "Europe/Berlin", Decimal("2.5"))
    assert (budget.grace_percent, budget.fail_open, budget.assumed) == (10, True, UNIT // 50)


def test_tiers_are_several_windows_of_one_budget_the_narrowest_first() -> None:
    tiers = {"free": {"month": "5.00", "day": "0.50"}, "premium": {"day": "5.00", "month": "50.00"}}
    budget = read_budget("per-user", {"each": "user", "tiers": tiers})
    assert budget.tiers[0] == Tier("free", (WindowLimit("day", UNIT // 2), WindowLimit("month", 5 * UNIT)))
    assert [tier.name for tier in budget.tiers] == ["free", "premium"]


def test_a_count_is_of_calls_or_of_units_of_a_meter() -> None:
    calls = read_budget("queries", {"meter": "calls", "limits": {"day": 50, "month": 1000}})
    seconds = read_budget("speech", {"meter": "audio_seconds", "limit": "0.5", "window": "hour"})
    assert calls.tiers[0].limits == (WindowLimit("day", 50 * UNIT), WindowLimit("month", 1000 * UNIT))
    assert (calls.meter, seconds.meter) == ("calls", "audio_seconds")
    assert seconds.tiers[0].limits == (WindowLimit("hour", UNIT // 2),)


def test_a_refusing_budget_refuses_what_it_cannot_know_and_a_notifying_one_counts_the_worst() -> None:
    told, refusing = read_budget("a", DAILY), read_budget("b", {**DAILY, "action": "refuse"})
    assert (told.unbounded, told.unpriced) == (UnboundedPolicy.CONTEXT_WINDOW, UnpricedPolicy.ALLOW)
    assert (refusing.unbounded, refusing.unpriced) == (UnboundedPolicy.REFUSE, UnpricedPolicy.REFUSE)
    assert [mark.percent for mark in told.marks] == [50, 80, 100]


def test_a_list_to_downgrade_to_names_services_and_the_room_they_need() -> None:
    listed = [
        "cheap",
        {"service": "mid", "room": "0.01"},
        {"service": "dear", "above": "0.05", "when": {"c": "high"}},
    ]
    budget = read_budget("d", {**DAILY, "action": "downgrade", "downgrade_to": [*listed, Choice("own")]})
    assert budget.downgrade_to == (
        Choice("cheap"),
        Choice("mid", UNIT // 100),
        Choice("dear", UNIT // 20, True, {"c": "high"}),
        Choice("own"),
    )
    assert read_budget("d", {**DAILY, "downgrade_to": "one"}).downgrade_to == (Choice("one"),)


def test_a_file_s_budgets_are_read_by_name() -> None:
    assert [budget.name for budget in read_budgets({"b": DAILY, "a": DAILY})] == ["a", "b"]


@pytest.mark.parametrize(
    ("code", "fields"),
    [
        ("unknown_field", {**DAILY, "limt": "5"}),
        ("missing_limit", {"window": "day"}),
        ("missing_limit", {"limit": "5"}),
        ("missing_limit", {**DAILY, "limits": {"day": "5"}}),
        ("missing_limit", {"limits": {}}),
        ("missing_limit", {"limits": "5"}),
        ("unknown_window", {"limit": "5", "window": "fortnight"}),
        ("negative_limit", {"limit": "-1", "window": "day"}),
        ("negative_limit", {"limit": "1.5", "window": "day", "meter": "calls"}),
        ("float_money", {"limit": 5.0, "window": "day"}),
        ("not_a_number", {"limit": "five", "window": "day"}),
        ("unknown_dimension", {**DAILY, "where": {"colour": "red"}}),
        ("unknown_dimension", {**DAILY, "each": "colour"}),
        ("unknown_dimension", {**DAILY, "where": {"tag.": "red"}}),
        ("bad_filter", {**DAILY, "where": "replicate"}),
        ("bad_filter", {**DAILY, "where": {"provider": []}}),
        ("bad_filter", {**DAILY, "where": {"provider": [1]}}),
        ("bad_filter", {**DAILY, "where": {"provider": ""}}),
        ("unknown_zone", {**DAILY, "zone": "Mars/Olympus"}),
        ("unknown_meter", {**DAILY, "meter": "tokenz"}),
        ("bad_mark", {**DAILY, "marks": ["eighty"]}),
        ("bad_mark", {**DAILY, "marks": [0]}),
        ("bad_mark", {**DAILY, "marks": True}),
        ("bad_action", {**DAILY, "action": "shout"}),
        ("bad_policy", {**DAILY, "unbounded": "maybe"}),
        ("bad_policy", {**DAILY, "unpriced": "maybe"}),
        ("bad_policy", {**DAILY, "fail_open": "yes"}),
        ("bad_wait", {**DAILY, "wait_s": -1}),
        ("not_a_number", {**DAILY, "wait_s": True}),
        ("bad_grace", {**DAILY, "grace": "5000%"}),
        ("missing_assumed", {**DAILY, "unpriced": "assume"}),
        ("missing_downgrade", {**DAILY, "action": "downgrade"}),
        ("bad_choice", {**DAILY, "downgrade_to": [{"room": "1"}]}),
        ("bad_choice", {**DAILY, "downgrade_to": [""]}),
        ("missing_each", {"tiers": {"free": {"day": "1"}}}),
    ],
)
def test_what_cannot_be_a_budget_is_refused_by_name(code: str, fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput) as refused:
        read_budget("x", fields)
    assert refused.value.code == code
    assert "budget x" in refused.value.message


def test_a_budget_needs_a_name_and_a_table() -> None:
    for name, fields, code in ((" a b", DAILY, "bad_budget_name"), ("a", 5, "unknown_field")):
        with pytest.raises(InvalidInput) as refused:
            read_budget(name, fields)  # type: ignore[arg-type]  # what a file may hold
        assert refused.value.code == code


def test_a_raise_adds_for_a_while_and_is_in_the_history_with_its_reason() -> None:
    budget = read_budget("b", DAILY)
    more = raised(budget, "2.50", since=MARCH, until=APRIL, reason="launch", who="ann")
    for_one = raised(more, 1, since=MARCH, until=APRIL, reason="sorry", who="bob", window="day", subject="u42")
    assert [(one.window, one.amount, one.subject) for one in for_one.raises] == [
        ("day", 5 * UNIT // 2, None),
        ("day", UNIT, "u42"),
    ]
    assert [(entry.who, entry.what, entry.why) for entry in for_one.history] == [
        ("ann", "day limit +2.50 until 2026-04-01T00:00:00Z", "launch"),
        ("bob", "day limit +1.00 until 2026-04-01T00:00:00Z for u42", "sorry"),
    ]


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        ("unknown_window", {}),
        ("unknown_window", {"window": "year"}),
        ("empty_span", {"window": "day", "until": MARCH}),
        ("missing_reason", {"window": "day", "reason": " "}),
        ("negative_limit", {"window": "day", "amount": "-1"}),
    ],
)
def test_a_raise_that_cannot_be_is_refused_by_name(code: str, changes: dict[str, Any]) -> None:
    budget = read_budget("b", {"limits": {"day": "1", "month": "9"}})
    fields = {"amount": "1", "since": MARCH, "until": APRIL, "reason": "launch", "who": "ann", **changes}
    with pytest.raises(InvalidInput) as refused:
        raised(budget, fields.pop("amount"), **fields)
    assert refused.value.code == code


def test_the_history_names_what_was_changed_from_what_to_what() -> None:
    first = changed(None, read_budget("b", DAILY), at=1, who="ann", why="start")
    kept = raised(first, 1, since=1, until=2, reason="r", who="ann")
    fields = {"tiers": {"free": {"day": "1.00"}, "pro": {"day": "9"}}, "each": "user", "where": {"team": ["a", "b"]}}
    after = read_budget("b", {**fields, "marks": [90, ">95", "forecast 100"], "downgrade_to": ["x", "y"]})
    second = changed(kept, after, at=2, who="bob", why="tiers")
    assert second.history[-1].what == (
        "tiers: 5.00 a day -> free 1.00 a day, pro 9.00 a day; where: all -> team a|b; each: none -> user; "
        "marks: 50%, 80%, 100% -> 90%, >95%, forecast 100%; downgrade_to: none -> x, y"
    )
    assert second.raises == kept.raises
    assert [entry.who for entry in second.history] == ["ann", "ann", "bob"]
    assert changed(second, after, at=3, who="eve", why="nothing") is second
