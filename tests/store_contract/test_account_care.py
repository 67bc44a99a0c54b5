"""What is done to accounts beside counting: warming in steps, the fullest, dropping, forgetting; in every store."""

from __future__ import annotations

from msgspec.structs import replace
from tests.budget_entries import CENT, account, cents, limits_of, put, reserve, state
from tests.ledger_entries import DAY, HOUR, NOON, SECOND

from outlay.budgets.coverage import packed, unpacked
from outlay.budgets.decide import refusal
from outlay.budgets.definition import changed, raised, read_budget
from outlay.budgets.limits import scope_of
from outlay.ledger.budget_store import AccountScope, NotedRefusal, TierFilter
from outlay.ledger.store import Amendment, LedgerStore

YEAR = 365 * DAY


def sound(store: LedgerStore) -> bool:
    return store.audit().findings == ()


def test_scopes_are_cold_until_their_history_is_folded(store: LedgerStore) -> None:
    store.append([cents(4, "e1")])
    assert store.cold_scopes() == 0
    put(store, "cap", limits={"day": "0.10", "month": "1.00"})
    assert store.cold_scopes() == 2
    assert store.warm() == 2
    assert store.cold_scopes() == 0
    assert (state(store, cents(1)), state(store, cents(1), 1)) == ((4, 0), (4, 0))


def test_a_mark_is_not_crossed_by_what_was_reversed_before_the_budget_was_made(store: LedgerStore) -> None:
    (first,) = store.append([cents(9, "e1")])
    assert first.entry is not None
    store.append([cents(1, f"fill-{number}") for number in range(3)])
    store.amend([Amendment(first.entry.seq, None, NOON, "cancelled")])
    put(store, "cap", limit="0.10", marks=[80])
    for _ in range(10):
        store.warm(1)
    assert state(store, cents(1)) == (3, 0)
    assert store.outbox() == []


def test_the_fullest_subjects_of_a_tier_come_first(store: LedgerStore) -> None:
    tiers = {"free": {"day": "0.10"}, "premium": {"day": "5.00"}}
    budget = put(store, "users", each="user", tiers=tiers)
    for name, tier in (("ann", "premium"), ("bob", "premium"), ("eve", "gone")):
        store.put_subject("user", name, tier)
    spent = {"ann": 4, "bob": 9, "cem": 6, "dan": 6, "eve": 1}
    store.append([cents(number, f"e-{name}", user=name) for name, number in spent.items()])
    store.append([cents(8, "yesterday", NOON - DAY, user="ann")])

    def fullest(most: int, tiers: TierFilter | None = None) -> list[tuple[str, int]]:
        found = store.fullest("users", scope_of(budget), "day", NOON, most, tiers)
        return [(key.subject, one.spent // CENT) for key, one in found]

    assert fullest(3) == [("bob", 9), ("cem", 6), ("dan", 6)]
    assert fullest(9, TierFilter("user", "premium")) == [("bob", 9), ("ann", 4)]
    # Who was told no tier, or one that the budget does not have, is of the first.
    assert fullest(9, TierFilter("user", None, ("premium",))) == [("cem", 6), ("dan", 6), ("eve", 1)]
    assert fullest(9, TierFilter("user", "")) == [("cem", 6), ("dan", 6)]


def test_what_is_held_keeps_its_account_and_what_comes_late_for_a_dropped_one_is_not_proved(
    store: LedgerStore,
) -> None:
    budget = put(store, "cap", limit="1.00")
    store.append([cents(2, "e1")])
    reserve(store, cents(1, "held"), for_s=YEAR // SECOND)
    assert store.drop_accounts(NOON + 9 * DAY) == 0
    store.release("held", NOON + 9 * DAY)
    assert store.drop_accounts(NOON + 10 * DAY) == 1
    assert store.accounts_of("cap", scope_of(budget), NOON, 9) == []
    store.append([cents(3, "late")])
    assert sound(store)


def test_each_account_is_dropped_at_its_own_time(store: LedgerStore) -> None:
    for window in ("5 minutes", "day", "week", "year"):
        put(store, window.replace(" ", "-"), limit="100.00", window=window)
    store.append([cents(2, "e1")])
    midnight = NOON - NOON % DAY
    # Five minutes and a day are kept two days; a week of which six days are left, seven; a year of 297 more, 35.
    ends = [NOON + 300 * SECOND + 2 * DAY, midnight + 3 * DAY, midnight + 13 * DAY, midnight + (297 + 35) * DAY]
    dropped = [(store.drop_accounts(end - 1), store.drop_accounts(end)) for end in ends]
    assert dropped == [(0, 1)] * 4
    assert store.drop_accounts(NOON) == 0, "a clock that jumped back drops nothing"
    assert sound(store)


def test_a_forgotten_name_is_gone_from_filters_raises_history_and_refusals_and_the_money_stays(
    store: LedgerStore,
) -> None:
    fields = {"limit": "0.10", "window": "day", "action": "refuse", "where": {"user": ["ann", "bob"]}}
    budget = changed(None, read_budget("pair", fields), at=NOON, who="cem", why="for ann, not for anna")
    each = raised(
        read_budget("users", {"each": "user", "limit": "0.10", "window": "day", "action": "refuse"}),
        "0.05",
        since=NOON,
        until=NOON + HOUR,
        reason="ann asked",
        who="cem",
        subject="ann",
    )
    for one in (budget, each):
        store.put_budget(one.name, packed(one), [AccountScope(scope_of(one), "day", NOON - NOON % DAY)])
    store.warm()
    store.append([cents(4, "e1", user="ann")])
    reserve(store, cents(2, "r1", user="ann"))
    limits = limits_of(store, cents(20, user="ann"))
    store.note_refusals(
        [
            NotedRefusal(
                at=NOON,
                provider="openai",
                service="gpt-4o",
                refusal=refusal(limit, account(store, cents(1, user="ann"))),
            )
            for limit in limits
        ]
    )
    before = store.epoch()
    store.forget("user", "ann")
    assert store.epoch() > before
    kept = {one.name: unpacked(one.body) for one in store.budgets()}
    (other,) = set(kept["pair"].where["user"]) - {"bob"}
    assert other is not None
    assert other.startswith("forgotten-")
    assert kept["pair"].history[0].why == f"for {other}, not for anna"
    assert [one.subject for one in kept["users"].raises] == [other]
    told = kept["users"].history[-1]
    assert (told.what.endswith(f"for {other}"), told.why) == (True, f"{other} asked")
    for name, subject in (("pair", ""), ("users", other)):
        counted, (noted,) = store.refusals(name)
        assert (counted, noted.refusal.limit.key.subject) == (1, subject)
    # Both accounts go on under the other name, with what is held.
    call = cents(1, user=other)
    assert (state(store, call), state(store, call, 1)) == ((4, 2), (4, 2))
    assert sound(store)
    assert store.settle("r1", replace(cents(2, "r1", user=other), recorded_at=NOON + SECOND)).code == "settled"
    assert (state(store, call), state(store, call, 1)) == ((6, 0), (6, 0))
    assert "ann" not in repr([kept["pair"].where, kept["users"].raises, store.outbox(), store.reservation("r1")])
    assert sound(store)
