"""Whether a call fits, and what is told when it does not."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest

from outlay.budgets.decide import affordable, allotment, choose, decide, exceeded, fails_open, fits, room, said
from outlay.budgets.definition import read_budget
from outlay.budgets.limits import BudgetIndex
from outlay.budgets.terms import Asking, Choice, Decision
from outlay.clock import to_instant
from outlay.errors import BudgetExceeded, Refused
from outlay.model import Account, AccountKey, BudgetAction, Limit

UNIT = 10**12
CENT = UNIT // 100
NOON = to_instant("2026-03-10T12:00:00Z")
MIDNIGHT = to_instant("2026-03-11T00:00:00Z")
HARD: dict[str, Any] = {"limit": "0.10", "window": "day", "action": "refuse"}


def limits_of(asking: int | Asking, **budgets: dict[str, Any]) -> tuple[Limit, ...]:
    index = BudgetIndex(read_budget(name, fields) for name, fields in budgets.items())
    told = Asking(amount=asking) if isinstance(asking, int) else asking
    return index.limits({"user": "u1"}, NOON, told)


def decided(asking: int | Asking, accounts: Mapping[str, Account], **budgets: dict[str, Any]) -> Decision:
    limits = limits_of(asking, **budgets)
    return decide(limits, {limit.key: accounts.get(limit.key.budget, Account()) for limit in limits}, NOON)


def test_a_call_fits_up_to_exactly_the_limit_and_not_one_part_in_10_to_the_12_above() -> None:
    nine = {"b": Account(committed=9 * CENT, spent=9 * CENT)}
    assert decided(CENT, nine, b=HARD) == Decision(granted=True)
    assert not decided(CENT + 1, nine, b=HARD).granted
    assert decided(0, {"b": Account(committed=10 * CENT)}, b=HARD).granted
    assert decided(CENT, {"b": Account(committed=10**15)}, b={**HARD, "action": "notify"}).granted
    (limit,) = limits_of(CENT, b=HARD)
    assert limit.committed_max == 9 * CENT
    assert fits(limit, nine["b"])


def test_what_is_spent_refuses_for_the_window_and_what_is_reserved_only_until_others_settle() -> None:
    spent = decided(2 * CENT, {"b": Account(committed=9 * CENT, spent=9 * CENT)}, b=HARD)
    held = decided(2 * CENT, {"b": Account(committed=9 * CENT, spent=8 * CENT)}, b={**HARD, "wait_s": 10})
    assert [(one.code, one.opens_at) for one in spent.refusals] == [("budget_spent", MIDNIGHT)]
    assert (spent.waits, spent.wait_s) == (False, Decimal(0))
    assert [(one.code, one.spent, one.reserved) for one in held.refusals] == [("budget_reserved", 8 * CENT, CENT)]
    assert (held.waits, held.wait_s) == (True, Decimal(10))


def test_a_call_that_is_larger_than_the_limit_opens_at_no_time() -> None:
    (refusal,) = decided(11 * CENT, {}, b=HARD).refusals
    assert (refusal.code, refusal.opens_at) == ("budget_spent", None)


def test_grace_is_granted_above_the_limit() -> None:
    full = {"b": Account(committed=10 * CENT, spent=10 * CENT)}
    assert decided(CENT, full, b={**HARD, "grace": "10%"}).granted
    assert not decided(CENT + 1, full, b={**HARD, "grace": "10%"}).granted


def test_of_several_budgets_all_are_taken_or_none_and_what_no_wait_helps_is_told_first() -> None:
    month = {**HARD, "window": "month", "limit": "1"}
    decision = decided(
        2 * CENT,
        {
            "day": Account(committed=9 * CENT, spent=9 * CENT),
            "held": Account(committed=9 * CENT),
            "month": Account(committed=UNIT, spent=UNIT),
        },
        day=HARD,
        held={**HARD, "wait_s": 5},
        month=month,
        open=HARD,
    )
    assert not decision.granted
    assert [(one.code, one.limit.key.budget) for one in decision.refusals] == [
        ("budget_spent", "month"),
        ("budget_spent", "day"),
        ("budget_reserved", "held"),
    ]
    assert not decision.waits


def test_waiting_for_several_budgets_ends_with_the_least_patient() -> None:
    held = {"a": Account(committed=9 * CENT), "b": Account(committed=9 * CENT)}
    decision = decided(2 * CENT, held, a={**HARD, "wait_s": 10}, b={**HARD, "wait_s": "0.5"})
    assert (decision.waits, decision.wait_s) == (True, Decimal("0.5"))


def test_a_throttled_call_is_delayed_until_its_window_opens_and_refused_when_none_ever_does() -> None:
    throttle = {**HARD, "action": "throttle", "window": "hour"}
    late = decided(2 * CENT, {"b": Account(committed=9 * CENT, spent=9 * CENT)}, b=throttle)
    assert (late.action, late.delay_us) == (BudgetAction.THROTTLE, 3_600_000_000)
    assert (decided(11 * CENT, {}, b=throttle).action, decided(11 * CENT, {}, b=throttle).delay_us) == ("refuse", 0)


def test_the_strictest_action_of_those_that_refuse_counts() -> None:
    full = {"a": Account(committed=10 * CENT), "b": Account(committed=10 * CENT), "c": Account(committed=10 * CENT)}
    throttle = {**HARD, "action": "throttle"}
    cheaper = {**HARD, "action": "downgrade", "downgrade_to": "x"}
    assert decided(CENT, full, a=throttle, b=cheaper).action is BudgetAction.DOWNGRADE
    assert decided(CENT, full, a=throttle, b=cheaper, c=HARD).action is BudgetAction.REFUSE
    assert decided(11 * CENT, {}, b=cheaper).action is BudgetAction.DOWNGRADE, "a cheaper service may still fit"


def test_a_call_that_may_not_go_at_all_is_refused_whatever_is_left() -> None:
    unbounded = decided(Asking(amount=0, unbounded=True), {}, b=HARD)
    unpriced = decided(Asking(amount=None), {}, b=HARD)
    told = decided(Asking(amount=None), {}, b={**HARD, "action": "notify", "unpriced": "refuse"})
    assert [decision.refusals[0].code for decision in (unbounded, unpriced, told)] == [
        "unbounded_usage",
        "unpriced_usage",
        "unpriced_usage",
    ]
    assert unbounded.refusals[0].opens_at is None
    assert not unbounded.waits


def test_the_error_tells_everything_needed_to_act() -> None:
    accounts = {"b": Account(committed=9 * CENT, spent=8 * CENT), "m": Account(committed=2 * UNIT, spent=2 * UNIT)}
    calls = {"meter": "calls", "limits": {"month": 2}, "each": "user", "action": "refuse"}
    error = exceeded(decided(2 * CENT, accounts, b=HARD, m=calls), "USD")
    assert isinstance(error, Refused)
    assert (error.code, error.budget, error.subject, error.window) == ("budget_spent", "m", "u1", "2026-03")
    assert [error.spent, error.reserved, error.limit, error.asked] == [2, 0, 2, 1]
    assert error.unit == "calls"
    assert error.opens_at is not None
    assert error.opens_at.isoformat() == "2026-04-01T00:00:00+00:00"
    assert error.message == (
        "budget m of u1 has 2 calls for 2026-03: 2 calls spent, this call may take 1 call; "
        "it opens again at 2026-04-01T00:00:00Z"
    )
    (other,) = error.others
    assert other.message == (
        "budget b has $0.10 for 2026-03-10: $0.08 spent, $0.01 reserved by calls in flight, "
        "this call may take $0.02; try again when they settle"
    )
    again = pickle.loads(pickle.dumps(error))
    assert (again.code, again.limit, again.others[0].budget) == ("budget_spent", 2, "b")


@pytest.mark.parametrize(
    ("asking", "words"),
    [
        (
            Asking(amount=11 * CENT),
            "budget b has $0.10 for 2026-03-10 and this call may take $0.11: it fits in no window",
        ),
        (Asking(amount=0, unbounded=True), "budget b refuses a call with a part that has no bound"),
        (Asking(amount=None), "budget b refuses a call that has no price; add a rate"),
    ],
)
def test_a_refusal_says_what_to_do(asking: Asking, words: str) -> None:
    error = exceeded(decided(asking, {}, b=HARD), "USD")
    assert error.message.startswith(words)
    assert error.opens_at is None
    assert isinstance(error, BudgetExceeded)


def test_amounts_are_said_with_their_unit() -> None:
    assert said(UNIT // 8, None, "USD") == "$0.125"
    assert said(25 * UNIT // 2, "audio_seconds", "USD") == "12.5 audio_seconds"


def test_a_call_goes_while_the_ledger_is_away_only_if_every_hard_budget_says_so() -> None:
    opens, shuts = {**HARD, "fail_open": True}, HARD
    assert fails_open(limits_of(CENT, a=opens, soft={**HARD, "action": "notify"}))
    assert not fails_open(limits_of(CENT, a=opens, b=shuts))
    assert fails_open(())


def test_the_room_is_what_the_tightest_hard_limit_leaves() -> None:
    limits = limits_of(CENT, a=HARD, b={**HARD, "limit": "1"}, soft={**HARD, "limit": "0.01", "action": "notify"})
    keys = {limit.key.budget: limit.key for limit in limits}
    accounts: dict[AccountKey, Account] = {keys["b"]: Account(committed=98 * CENT)}
    assert room(limits, accounts) == 2 * CENT
    assert room(limits, accounts, "calls") is None


def test_the_affordable_output_is_the_most_that_fits() -> None:
    """$0.0875 is left, and a token costs $0.0000287: 0.0875 / 0.0000287 = 3,048.78 tokens."""
    limit = limits_of(0, b=HARD)[0]
    accounts = {limit.key: Account(committed=UNIT // 80)}
    token = 28_700_000

    def at(tokens: int) -> tuple[Limit, ...]:
        return limits_of(tokens * token, b=HARD)

    assert affordable(at, accounts, 1024) == 1024
    assert affordable(at, accounts, 16_384) == 3048
    assert affordable(at, {limit.key: Account(committed=11 * CENT)}, 16_384) is None
    assert affordable(at, {limit.key: Account(committed=10 * CENT)}, 16_384) == 0


def test_a_call_without_a_maximum_is_allotted_four_times_what_is_usual_never_more_than_the_model_gives() -> None:
    assert allotment(16_384, None) == 1024
    assert allotment(16_384, 100) == 1024
    assert allotment(16_384, 1000) == 4000
    assert allotment(2_048, 1000) == 2048
    assert allotment(512, None) == 512
    assert allotment(None, 5000) == 20_000


def test_the_first_service_of_a_list_that_fits_is_chosen() -> None:
    costs = {"dear": 9 * CENT, "mid": 3 * CENT, "cheap": CENT}
    listed = (Choice("unpriced"), Choice("dear"), Choice("mid"), Choice("cheap"))

    def chosen(left: int | None, choices: tuple[Choice, ...] = listed) -> str | None:
        return choose(choices, left, {"tier": "free"}, costs.get)

    assert chosen(None) == "dear"
    assert chosen(9 * CENT) == "dear"
    assert chosen(9 * CENT - 1) == "mid"
    assert chosen(CENT) == "cheap"
    assert chosen(CENT - 1) is None
    assert chosen(9 * CENT, (Choice("dear", when={"tier": "pro"}), Choice("cheap"))) == "cheap"
