"""`outlay budget`: set, looked at, raised, removed, and why calls were refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.unit.faces.test_commands import error_of, run, run_json

import outlay
from outlay.faces.cli.exits import Exit

CALL: dict[str, Any] = {"provider": "openai", "service": "gpt-4o", "operation": "chat"}
CENT = {"output_tokens": 1_000}
"""A cent of gpt-4o: 1,000 × $10 a million."""


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("OUTLAY_LEDGER", "OUTLAY_CONFIG"):
        monkeypatch.delenv(name, raising=False)


def spend(cents: int, **fields: Any) -> None:
    with outlay.open("outlay.db") as ledger:
        ledger.record(**CALL, usage={"output_tokens": 1_000 * cents}, **fields)


def test_a_budget_is_added_changed_shown_raised_and_removed_with_its_history() -> None:
    added = run_json(
        *("budget", "add", "replicate", "--limit", "day=5.00", "--limit", "month=100", "--action", "refuse"),
        *("-w", "provider=replicate", "-w", "provider=openai", "--reason", "seed 1", "--who", "ann"),
    )
    assert [(row["where"], row["limits"], row["action"]) for row in added["rows"]] == [
        ("provider=openai, provider=replicate", "5.00 a day, 100.00 a month", "refuse")
    ]
    spend(250)
    run("budget", "add", "replicate", "--limit", "10.00", "--window", "day", "-w", "provider=openai", "--who", "bob")
    shown = run_json("budget", "show", "replicate")
    assert shown["budget"]["action"] == "notify"
    (day,) = shown["rows"]
    assert {name: day[name] for name in ("spent", "reserved", "limit", "remaining", "percent", "unit")} == {
        "spent": "2.50",
        "reserved": "0.00",
        "limit": "10.00",
        "remaining": "7.50",
        "percent": "25.00",
        "unit": "USD",
    }
    assert float(day["projected"]) >= 2.5
    (raised,) = run_json("budget", "raise", "replicate", "1.50", "--hours", "2", "--reason", "launch")["rows"]
    assert (raised["limit"], raised["remaining"]) == ("11.50", "9.00")
    assert "launch" in run("budget", "history", "replicate")
    assert "not_confirmed" in error_of("budget", "remove", "replicate", "--reason", "done", code=Exit.BAD_INPUT)
    told = run_json("budget", "remove", "replicate", "--reason", "done", "--yes")
    assert [(row["who"], row["why"]) for row in told["rows"]] == [
        ("ann", "seed 1"),
        ("bob", None),
        ("command line", "launch"),
        ("command line", "done"),
    ]
    assert run_json("budget", "list")["rows"] == []
    assert run_json("budget", "history", "replicate") == told


def test_every_option_of_a_budget_reaches_it() -> None:
    run(
        *("budget", "add", "all", "--each", "user", "--tier", "free:day=0.50,month=5"),
        *("--tier", "premium:5-minutes=1", "--zone", "Europe/Berlin", "--wait-s", "2", "--grace", "10"),
        *("--mark", "80", "--mark", ">100%", "--mark", "forecast 100", "--unbounded", "allow", "--fail-open"),
        *("--action", "downgrade", "--downgrade-to", "gpt-4.1>0.05,gpt-4o=0.01", "--downgrade-to", "gpt-4o-mini"),
        *("--unpriced", "assume", "--assumed", "0.02", "-w", "tag.plan=", "-w", "feature=chat"),
    )
    with outlay.open("outlay.db") as ledger:
        (budget,) = ledger.defined_budgets()
    assert [(tier.name, [(one.window, one.amount) for one in tier.limits]) for tier in budget.tiers] == [
        ("free", [("day", 5 * 10**11), ("month", 5 * 10**12)]),
        ("premium", [("5 minutes", 10**12)]),
    ]
    assert (budget.each, budget.zone, budget.where) == (
        "user",
        "Europe/Berlin",
        {"feature": ("chat",), "tag.plan": (None,)},
    )
    assert [(one.percent, one.forecast, one.above) for one in budget.marks] == [
        (80, False, False),
        (100, False, True),
        (100, True, False),
    ]
    assert [(one.service, one.room, one.above) for one in budget.downgrade_to] == [
        ("gpt-4.1", 5 * 10**10, True),
        ("gpt-4o", 10**10, False),
        ("gpt-4o-mini", 0, False),
    ]
    assert (budget.action, budget.unbounded, budget.unpriced, budget.assumed) == (
        "downgrade",
        "allow",
        "assume",
        2 * 10**10,
    )
    assert budget.fail_open
    assert (str(budget.wait_s), str(budget.grace_percent)) == ("2", "10")
    facts = run("budget", "show", "all")
    for part in ("forecast 100%", "gpt-4.1, gpt-4o, gpt-4o-mini", "Europe/Berlin", "tag.plan=", "no user has used"):
        assert part in facts


def test_fifty_queries_a_day_are_counted_and_the_fullest_users_come_first() -> None:
    run(
        *("budget", "add", "queries", "--each", "user", "--count", "calls", "--action", "refuse"),
        *("--limit", "day=50", "--limit", "month=1000", "-w", "operation=chat"),
    )
    for user, calls in (("ann", 40), ("bob", 45), ("cem", 3)):
        spend(1, user=user, count=calls)
    shown = run_json("budget", "show", "queries", "-n", "2")["rows"]
    assert [(row["subject"], row["window_name"], row["spent"], row["percent"]) for row in shown] == [
        ("bob", "day", 45, "90.00"),
        ("bob", "month", 45, "4.50"),
        ("ann", "day", 40, "80.00"),
        ("ann", "month", 40, "4.00"),
    ]
    assert shown[0]["warning"] == "80% of the daily limit is crossed: 45 calls of 50 calls is used"
    assert [row["spent"] for row in run_json("budget", "show", "queries", "--for", "cem")["rows"]] == [3, 3]
    (row,) = run_json("budget", "list")["rows"]
    assert (row["subject"], row["percent"], row["unit"]) == ("bob", "90.00", "calls")


def test_why_says_of_one_budget_or_of_all_which_call_was_refused_and_what_to_do() -> None:
    run("budget", "add", "day", "--limit", "0.02", "--window", "day", "--action", "refuse")
    run("budget", "add", "users", "--each", "user", "--limit", "0.01", "--window", "day", "--action", "refuse")
    assert "nothing was refused" in run("budget", "why")
    with outlay.open("outlay.db") as ledger:
        ledger.reserve(**CALL, user="ann", usage=CENT).settle(usage=CENT)
        with pytest.raises(outlay.BudgetExceeded):
            ledger.reserve(**CALL, user="ann", usage=CENT)
        with pytest.raises(outlay.BudgetExceeded):
            ledger.reserve(**CALL, user="bob", usage={"output_tokens": 3_000})
    told = run_json("budget", "why")
    assert told["refused"] == 3
    assert [(row["budget"], row["subject"], row["code"]) for row in told["rows"]] == [
        ("day", None, "budget_spent"),
        ("users", "bob", "budget_spent"),
        ("users", "ann", "budget_spent"),
    ]
    (first, second) = run_json("budget", "why", "users")["rows"]
    assert first["why"].startswith("budget users of bob has $0.01 for ")
    assert first["why"].endswith("this call may take $0.03: it fits in no window; ask for less or raise the limit")
    assert "$0.01 spent, this call may take $0.01; it opens again at" in second["why"]
    assert second["call"] == "openai gpt-4o"
    assert len(run_json("budget", "why", "-n", "1")["rows"]) == 1


@pytest.mark.parametrize(
    ("arguments", "code", "name"),
    [
        (("list", "-l", "none.db"), Exit.LEDGER, "no_ledger"),
        (("add", "x", "-l", "memory:"), Exit.BAD_INPUT, "missing_limit"),
        (("add", "x", "--limit", "5", "-l", "memory:"), Exit.BAD_INPUT, "bad_option"),
        (("add", "x", "--limit", "5", "--window", "fortnight", "-l", "memory:"), Exit.BAD_INPUT, "unknown_window"),
        (("add", "x", "--limit", "day=5", "--window", "day"), Exit.BAD_INPUT, "bad_option"),
        (("add", "x", "--tier", "free", "-l", "memory:"), Exit.BAD_INPUT, "bad_option"),
        (("add", "x", "--tier", "free:day=1", "-l", "memory:"), Exit.BAD_INPUT, "missing_each"),
        (("add", "x", "--tier", "free:day=1", "--limit", "day=1"), Exit.BAD_INPUT, "bad_option"),
        (("add", "x", "--limit", "day=5", "--action", "shout", "-l", "memory:"), Exit.BAD_INPUT, "bad_action"),
        (("add", "x", "--limit", "day=5", "-w", "color=red", "-l", "memory:"), Exit.BAD_INPUT, "unknown_dimension"),
        (("add", "no name", "--limit", "day=5", "-l", "memory:"), Exit.BAD_INPUT, "bad_budget_name"),
        (("show", "none", "-l", "memory:"), Exit.NOT_FOUND, "no_such_budget"),
        (("why", "none", "-l", "memory:"), Exit.NOT_FOUND, "no_such_budget"),
        (("history", "none", "-l", "memory:"), Exit.NOT_FOUND, "no_such_budget"),
        (("remove", "none", "--yes", "--reason", "x", "-l", "memory:"), Exit.NOT_FOUND, "no_such_budget"),
        (("raise", "none", "5", "--reason", "x", "-l", "memory:"), Exit.BAD_INPUT, "bad_option"),
        (("raise", "none", "5", "--hours", "1", "--reason", "x", "-l", "memory:"), Exit.NOT_FOUND, "no_such_budget"),
    ],
)
def test_every_error_of_a_budget_is_one_line_with_its_code(arguments: tuple[str, ...], code: Exit, name: str) -> None:
    assert error_of("budget", *arguments, code=code).endswith(f"[{name}]")
