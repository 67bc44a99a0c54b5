"""The laws of budgets, for any budgets, calls, zones and orders of events."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, get_args

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from outlay.budgets.decide import affordable, decide, fits
from outlay.budgets.definition import read_budget
from outlay.budgets.limits import BudgetIndex, marks_of
from outlay.budgets.status import crossed
from outlay.budgets.terms import Asking, Budget
from outlay.clock import WindowName, to_instant
from outlay.model import Account, AccountKey, Limit, Mark

NOON = to_instant("2026-03-10T12:00:00Z")
ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/St_Johns",
    "Asia/Kolkata",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "America/Havana",
)
INSTANTS = st.integers(to_instant("2005-01-01T00:00:00Z"), to_instant("2035-01-01T00:00:00Z"))
WINDOWS = st.sampled_from(get_args(WindowName))


def limit_at(instant: int, window: str, zone: str) -> Limit:
    budget = read_budget("b", {"limit": "1", "window": window, "zone": zone})
    (limit,) = BudgetIndex([budget]).limits({}, instant, Asking(amount=0))
    return limit


@settings(max_examples=200, deadline=None)
@given(INSTANTS, WINDOWS, st.sampled_from(ZONES))
def test_windows_partition_time(instant: int, window: str, zone: str) -> None:
    """Every instant lies in one window; the next begins where it ends; each has an account of its own."""
    here = limit_at(instant, window, zone)
    start, end, _ = here.window
    assert start <= instant < end
    after, before = limit_at(end, window, zone), limit_at(start - 1, window, zone)
    assert (after.window.start, before.window.end) == (end, start)
    assert len({before.key, here.key, after.key}) == 3
    assert limit_at(start, window, zone).key == limit_at(end - 1, window, zone).key == here.key


MARKS = st.lists(st.builds(Mark, st.integers(1, 200), st.just(False), st.booleans()), max_size=5, unique=True)


@settings(max_examples=200, deadline=None)
@given(MARKS, st.integers(0, 50), st.lists(st.integers(-20, 20), max_size=30))
def test_a_mark_fires_once_and_exactly_when_its_share_is_reached(
    marks: list[Mark], amount: int, steps: list[int]
) -> None:
    """Whatever spending does, corrections included, seen from the most that was ever spent."""
    limit = replace(limit_at(NOON, "day", "UTC"), amount=amount, marks=marks_of(marks, amount))
    spent = peak = 0
    fired: list[Mark] = []
    for step in steps:
        spent += step
        fired += crossed(limit, peak, max(peak, spent))
        peak = max(peak, spent)
    assert len(fired) == len(set(fired))
    reached = {
        mark
        for mark in limit.marks
        if (peak * 100 > amount * mark.percent if mark.above else peak * 100 >= amount * mark.percent) and peak > 0
    }
    assert set(fired) == reached


STEPS = st.lists(
    st.tuples(st.sampled_from(("reserve", "settle", "release")), st.integers(0, 9), st.sampled_from(("u1", "u2"))),
    max_size=60,
)
HARD: dict[str, Any] = {"action": "refuse", "unbounded": "allow"}


@settings(max_examples=200, deadline=None)
@given(STEPS, st.integers(0, 30), st.integers(0, 20), st.integers(0, 6), st.sampled_from((0, 10, 50)))
def test_no_order_of_calls_gets_more_granted_than_a_limit(
    steps: list[tuple[str, int, str]], total: int, each: int, calls: int, grace: int
) -> None:
    """reserve + settle + release conserve; all limits that cover a call are taken or none; refusals are true."""
    unit = "0.000000000001"
    index = BudgetIndex(
        [
            read_budget(
                "total", {**HARD, "limits": {"day": f"{total}e-12", "month": f"{total * 2}e-12"}, "grace": grace}
            ),
            read_budget("each", {**HARD, "limit": f"{each}e-12", "window": "day", "each": "user"}),
            read_budget("calls", {**HARD, "limit": calls, "window": "week", "meter": "calls"}),
            read_budget("told", {"limit": unit, "window": "day"}),
        ]
    )
    accounts: dict[AccountKey, Account] = {}
    open_calls: list[tuple[Limit, ...]] = []
    ceilings: dict[AccountKey, int] = {}
    for step, amount, user in steps:
        if step == "reserve":
            limits = index.limits({"user": user}, NOON, Asking(amount=amount))
            ceilings.update({limit.key: limit.ceiling for limit in limits if limit.hard})
            decision = decide(limits, accounts, NOON)
            assert decision.granted == all(fits(limit, accounts.get(limit.key, Account())) for limit in limits)
            for one in decision.refusals:
                alone = one.spent + one.limit.asked <= one.limit.ceiling
                assert (one.code == "budget_reserved") == alone, "it would fit if all others settled at nothing"
            if decision.granted:
                open_calls.append(limits)
                for limit in limits:
                    held = accounts.get(limit.key, Account())
                    accounts[limit.key] = replace(held, committed=held.committed + limit.asked)
        elif open_calls:
            for limit in open_calls.pop(0):
                held = accounts[limit.key]
                used = min(amount, limit.asked) if step == "settle" else 0
                accounts[limit.key] = replace(
                    held, committed=held.committed - limit.asked + used, spent=held.spent + used
                )
        assert all(accounts.get(key, Account()).committed <= ceiling for key, ceiling in ceilings.items())
    for limit in (limit for limits in open_calls for limit in limits):
        held = accounts[limit.key]
        accounts[limit.key] = replace(held, committed=held.committed - limit.asked)
    assert all(account.committed == account.spent for account in accounts.values())


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 100), st.integers(0, 5), st.integers(1, 7), st.integers(0, 60))
def test_the_affordable_output_fits_and_one_token_more_does_not(left: int, fixed: int, rate: int, most: int) -> None:
    limit = replace(
        limit_at(NOON, "day", "UTC"),
        ceiling=left,
        action=read_budget("x", {"limit": 1, "window": "day", "action": "refuse"}).action,
    )

    def at(tokens: int) -> tuple[Limit, ...]:
        return (replace(limit, asked=fixed + rate * tokens),)

    found = affordable(at, {}, most)
    by_trying = [tokens for tokens in range(most + 1) if fits(at(tokens)[0], Account())]
    assert found == (max(by_trying) if by_trying else None)


NAMES = st.sampled_from((None, "a", "b", "c"))
FILTERS = st.dictionaries(
    st.sampled_from(("team", "user", "provider", "tag.x", "tag.y")),
    st.lists(NAMES, min_size=1, max_size=3),
    max_size=3,
)
CALLS = st.dictionaries(st.sampled_from(("team", "user", "provider", "tag.x", "tag.y")), NAMES, max_size=5)


def naive(budget: Budget, call: dict[str, str | None]) -> bool:
    matches = all(call.get(name) in values for name, values in budget.where.items())
    return matches and (budget.each is None or call.get(budget.each) is not None)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(FILTERS, st.sampled_from((None, "user", "team"))), max_size=12), CALLS)
def test_the_index_finds_what_trying_every_budget_finds(
    filters: list[tuple[dict[str, Any], str | None]], call: dict[str, str | None]
) -> None:
    budgets = [
        read_budget(f"b{number:02}", {"limit": "1", "window": "day", "where": where, "each": each})
        for number, (where, each) in enumerate(filters)
    ]
    limits = BudgetIndex(budgets).limits(call, NOON, Asking(amount=1))
    assert [limit.key.budget for limit in limits] == [budget.name for budget in budgets if naive(budget, call)]
    assert all(before < after for before, after in pairwise(limit.key for limit in limits))
