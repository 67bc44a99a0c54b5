"""What many entries count together is what each counts by itself."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace
from tests.budget_entries import CENT, cents
from tests.ledger_entries import DAY, HOUR, NOON, make_entry

from outlay.budgets.coverage import BudgetCoverage, packed
from outlay.budgets.definition import raised, read_budget
from outlay.ledger import accounts
from outlay.model import Entry, EntryKind, Share

UNIT = 10**12
TOTAL: dict[str, Any] = {"limit": "5.00", "window": "day"}


def coverage_of(**budgets: dict[str, Any]) -> BudgetCoverage:
    return BudgetCoverage([packed(read_budget(name, fields)) for name, fields in budgets.items()])


def no_tier(kind: str, name: str) -> str | None:
    return None


def one_by_one(coverage: BudgetCoverage, entries: list[Entry]) -> list[Share]:
    sums = accounts.summed(share for entry in entries for share in coverage.shares(entry, no_tier))
    return [sums[key] for key in sorted(sums)]


def test_calls_of_one_place_are_added_up_in_money_calls_and_meters() -> None:
    coverage = coverage_of(
        calls={"meter": "calls", "limits": {"day": 9}},
        money=TOTAL,
        tokens={"meter": "output_tokens", "limits": {"day": 9_000}},
    )
    entries = [cents(1), cents(2), cents(4, count=1)]
    sums = coverage.sums(entries, no_tier)
    assert [(share.key.budget, share.amount) for share in sums] == [
        ("calls", 3 * UNIT),
        ("money", 7 * CENT),
        ("tokens", 7_000 * UNIT),
    ]
    assert sums == one_by_one(coverage, entries)


def test_each_subject_tag_and_window_is_a_place_of_its_own() -> None:
    coverage = coverage_of(
        money=TOTAL,
        users={**TOTAL, "each": "user"},
        tagged={**TOTAL, "where": {"tag.plan": "gold"}},
    )
    entries = [
        cents(1, user="a"),
        cents(2, user="b"),
        cents(3, user="a", tags={"plan": "gold"}),
        cents(4),
        cents(5, at=NOON + 12 * HOUR, user="a"),
        cents(6, at=NOON, user="a"),
    ]
    found = {
        (share.key.budget, share.key.subject, share.key.window): share.amount // CENT
        for share in coverage.sums(entries, no_tier)
    }
    assert found == {
        ("money", "", "2026-03-10"): 16,
        ("money", "", "2026-03-11"): 5,
        ("tagged", "", "2026-03-10"): 3,
        ("users", "a", "2026-03-10"): 10,
        ("users", "a", "2026-03-11"): 5,
        ("users", "b", "2026-03-10"): 2,
    }
    assert coverage.sums(entries, no_tier) == one_by_one(coverage, entries)


def test_a_reversal_a_credit_and_a_call_without_a_price_count_as_they_do_alone() -> None:
    coverage = coverage_of(money=TOTAL, calls={"meter": "calls", "limits": {"day": 9}})
    entries = [
        cents(5),
        replace(cents(2), sign=-1, kind=EntryKind.CORRECTION),
        replace(cents(1), kind=EntryKind.CREDIT),
        make_entry(usage={"gpu_seconds": 7}),
    ]
    assert [(share.key.budget, share.amount) for share in coverage.sums(entries, no_tier)] == [
        ("calls", (1 - 1 + 0 + 1) * UNIT),
        ("money", (5 - 2 + 1) * CENT),
    ]


def test_the_marks_are_those_of_the_last_entry_where_a_raise_begins_meanwhile() -> None:
    budget = read_budget("money", {**TOTAL, "marks": (50,)})
    widened = raised(budget, "5.00", since=NOON, until=NOON + DAY, reason="launch", who="program")
    coverage = BudgetCoverage([packed(widened)])
    entries = [cents(1, at=NOON - HOUR), cents(2, at=NOON), cents(3, at=NOON + HOUR)]
    (share,) = coverage.sums(entries, no_tier)
    assert share.amount == 6 * CENT
    assert [mark.amount for mark in share.marks] == [5 * UNIT]
    assert [share] == one_by_one(coverage, entries)


def test_nothing_is_counted_where_no_budget_covers_a_call() -> None:
    coverage = coverage_of(other={**TOTAL, "where": {"user": "somebody"}})
    assert coverage.sums([cents(1), cents(2)], no_tier) == []
