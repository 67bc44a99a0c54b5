"""Budgets in a file: what concerns only a store that is written in steps."""

from __future__ import annotations

from pathlib import Path

from tests.budget_entries import account, cents, put, state

from outlay.budgets.coverage import BudgetCoverage
from outlay.ledger.sqlite import SqliteStore


def opened(path: Path) -> SqliteStore:
    return SqliteStore(path, fold_behind=False, covering=BudgetCoverage)


def test_a_history_is_folded_in_steps_while_others_write_and_a_crash_loses_no_step(tmp_path: Path) -> None:
    store = opened(tmp_path / "a.db")
    for group in range(3):
        store.append([cents(1, f"e{group}-{number}", user=f"u{number % 7}") for number in range(1_000)])
    put(store, "cap", limit="100.00")
    put(store, "users", each="user", limit="100.00")
    assert store.warm(1_000) == 0
    assert account(store, cents(1)).warming
    assert state(store, cents(1)) == (1_000, 0)
    store.append([cents(5, "between")])
    store.close()
    store = opened(tmp_path / "a.db")
    assert sum(store.warm(500) for _ in range(8)) == 2
    # 3,000 from before and five after; each of seven users has a seventh, the first four one more a group.
    assert state(store, cents(1)) == (3_005, 0)
    assert state(store, cents(1, user="u0"), 1) == (429, 0)
    assert store.audit().ok
    store.close()
