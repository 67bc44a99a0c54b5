"""Budgets, accounts and reservations behave alike in every store."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from tests.budget_entries import CENT, account, asking, cents, limits_of, put, reserve, state
from tests.ledger_entries import DAY, HOUR, NOON, SECOND, make_entry

from outlay.budgets.coverage import packed
from outlay.budgets.decide import refusal
from outlay.errors import InvalidInput
from outlay.ledger.budget_store import REFUSALS_KEPT, NotedRefusal, Settling
from outlay.ledger.postgres import PostgresStore
from outlay.ledger.store import Amendment, LedgerStore, StaleBook


def sound(store: LedgerStore) -> bool:
    return store.audit().findings == ()


def test_what_fits_is_reserved_and_what_does_not_is_refused_with_the_account_as_read(store: LedgerStore) -> None:
    put(store, "cap", limit="0.10")
    for number in range(10):
        assert reserve(store, cents(1, f"r{number}")).code == "reserved"
    refused = reserve(store, cents(1, "r10"))
    assert refused.code == "refused"
    assert [(one.committed, one.spent) for one in refused.accounts.values()] == [(10 * CENT, 0)]
    assert state(store, cents(1)) == (0, 10)
    assert store.reservation("r10") is None
    assert sound(store)


def test_a_settlement_puts_what_was_billed_in_the_place_of_what_was_held(store: LedgerStore) -> None:
    put(store, "cap", limit="0.10")
    reserve(store, cents(5))
    settled = store.settle("r1", cents(2))
    assert (settled.code, settled.overruns) == ("settled", ())
    assert settled.entry is not None
    assert settled.entry.rating.amount == 2 * CENT
    assert state(store, cents(1)) == (2, 0)
    assert sound(store)


def test_settling_twice_is_exists_and_with_another_body_a_named_conflict(store: LedgerStore) -> None:
    put(store, "cap", limit="0.10")
    reserve(store, cents(5))
    store.settle("r1", cents(2))
    assert store.settle("r1", cents(2)).code == "exists"
    assert store.settle("r1", cents(3)).code == "exists_with_different_usage"
    assert state(store, cents(1)) == (2, 0)


def test_the_same_reservation_again_is_not_held_twice(store: LedgerStore) -> None:
    put(store, "cap", limit="0.10")
    assert reserve(store, cents(5)).code == "reserved"
    assert reserve(store, cents(5)).code == "exists"
    assert reserve(store, cents(6)).code == "exists_with_different_body"
    assert state(store, cents(1)) == (0, 5)
    store.settle("r1", cents(5))
    assert reserve(store, cents(5)).code == "settled"


def test_a_released_reservation_gives_everything_back_and_may_be_taken_again(store: LedgerStore) -> None:
    put(store, "cap", limit="0.10")
    reserve(store, cents(10))
    assert store.release("r1", NOON).code == "released"
    assert store.release("r1", NOON).code == "released"
    assert state(store, cents(1)) == (0, 0)
    assert reserve(store, cents(10)).code == "reserved"
    store.settle("r1", cents(10))
    assert store.release("r1", NOON).code == "settled"


def test_a_call_settled_after_its_release_still_counts(store: LedgerStore) -> None:
    put(store, "cap", limit="0.10")
    reserve(store, cents(5))
    store.release("r1", NOON)
    assert store.settle("r1", cents(5)).code == "settled_after_release"
    assert state(store, cents(1)) == (5, 0)
    assert sound(store)


def test_what_expires_is_booked_at_its_worst_case_and_corrected_by_a_late_settlement(store: LedgerStore) -> None:
    put(store, "cap", limit="0.10")
    reserve(store, cents(8), for_s=60)
    assert store.expire(NOON + 59 * SECOND) == 0
    assert store.expire(NOON + 60 * SECOND) == 1
    assert state(store, cents(1)) == (8, 0)
    ((entry,),) = store.versions("r1")
    assert (entry.event.status, entry.basis, entry.recorded_at) == ("unsettled", "estimated", NOON + 60 * SECOND)
    late = store.settle("r1", replace(cents(3), recorded_at=NOON + 90 * SECOND))
    assert late.code == "settled_late"
    assert state(store, cents(1)) == (3, 0)
    assert len(store.versions("r1")[0]) == 3
    assert store.settle("r1", cents(3)).code == "exists"
    assert sound(store)


def test_a_release_after_expiry_cancels_what_was_booked(store: LedgerStore) -> None:
    put(store, "cap", limit="0.10")
    reserve(store, cents(8), for_s=60)
    store.expire(NOON + 60 * SECOND)
    assert store.release("r1", NOON + 61 * SECOND).code == "released_late"
    assert state(store, cents(1)) == (0, 0)
    assert sound(store)


def test_the_next_caller_books_what_is_overdue(store: LedgerStore) -> None:
    put(store, "cap", limit="0.10")
    reserve(store, cents(10), for_s=60)
    assert reserve(store, cents(1, "r2", NOON + HOUR)).code == "refused"
    assert state(store, cents(1)) == (10, 0)
    tomorrow = cents(1, "r3", NOON + DAY)
    assert reserve(store, tomorrow).code == "reserved"


def test_a_deadline_can_be_moved_while_the_reservation_is_open(store: LedgerStore) -> None:
    put(store, "cap", limit="0.10")
    reserve(store, cents(8), for_s=60)
    assert store.extend("r1", NOON + HOUR).code == "extended"
    assert store.expire(NOON + 61 * SECOND) == 0
    store.settle("r1", cents(8))
    assert store.extend("r1", NOON + HOUR).code == "settled"


def test_an_unknown_reservation_is_said(store: LedgerStore) -> None:
    for found in (store.settle("no", cents(1, "no")), store.release("no", NOON), store.extend("no", NOON)):
        assert found.code == "no_such_reservation"


def test_a_provider_that_bills_above_the_bound_is_a_named_overrun_and_the_next_call_feels_it(
    store: LedgerStore,
) -> None:
    put(store, "cap", limit="0.10")
    reserve(store, cents(9))
    settled = store.settle("r1", cents(12))
    assert [(one.held, one.billed) for one in settled.overruns] == [(9 * CENT, 12 * CENT)]
    assert [(row.kind, row.what, row.amount) for row in store.outbox() if row.kind == "overrun"] == [
        ("overrun", "r1", 3 * CENT)
    ]
    assert reserve(store, cents(1, "r2")).code == "refused"
    assert state(store, cents(1)) == (12, 0)


def test_all_limits_are_taken_or_none(store: LedgerStore) -> None:
    put(store, "small", limit="0.02")
    put(store, "wide", limit="9.00")
    assert reserve(store, cents(3)).code == "refused"
    assert [state(store, cents(1), place) for place in (0, 1)] == [(0, 0), (0, 0)]
    assert reserve(store, cents(2)).code == "reserved"
    assert [state(store, cents(1), place) for place in (0, 1)] == [(0, 2), (0, 2)]


def test_a_plain_record_counts_at_once_and_its_correction_never_refuses(store: LedgerStore) -> None:
    put(store, "cap", limit="0.10")
    (written,) = store.append([cents(9, "e1")])
    assert state(store, cents(1)) == (9, 0)
    assert written.entry is not None
    store.amend([Amendment(written.entry.seq, cents(30, "e1"), NOON, "billed more")])
    assert state(store, cents(1)) == (30, 0)
    assert reserve(store, cents(1)).code == "refused"
    assert sound(store)


def test_a_batch_counts_each_new_event_once_in_every_account_and_crosses_marks_together(store: LedgerStore) -> None:
    put(store, "cap", limit="1.00", marks=["50%"])
    put(store, "users", limit="1.00", each="user")
    batch = [cents(number, f"e{number}", user=f"u{number % 2}") for number in range(1, 11)]
    store.append(batch)
    store.append([*batch[:5], cents(2, "e11", user="u1")])
    assert state(store, cents(1)) == (55 + 2, 0)
    assert state(store, cents(1, user="u0"), place=1) == (2 + 4 + 6 + 8 + 10, 0)
    assert state(store, cents(1, user="u1"), place=1) == (1 + 3 + 5 + 7 + 9 + 2, 0)
    assert [(row.key.budget, row.what, row.amount) for row in store.outbox()] == [("cap", "50%", 55 * CENT)]
    assert sound(store)


def test_an_answer_that_names_another_service_counts_where_it_was_reserved(store: LedgerStore) -> None:
    put(store, "asked", limit="0.10", where={"service": "gpt-4o"})
    put(store, "served", limit="0.10", where={"service": "gpt-4o-2024-08-06"})
    reserve(store, cents(5))
    store.settle("r1", cents(2, service="gpt-4o-2024-08-06"))
    assert state(store, cents(1)) == (2, 0)
    assert state(store, cents(1, service="gpt-4o-2024-08-06")) == (2, 0)
    ((entry,),) = store.versions("r1")
    store.amend([Amendment(entry.seq, None, NOON, "never happened")])
    assert state(store, cents(1)) == (0, 0)
    assert sound(store)


def test_a_mark_is_told_once_in_the_transaction_that_crosses_it(store: LedgerStore) -> None:
    put(store, "cap", limit="0.10", marks=["50%", ">80%", "forecast 100%"])
    (first,) = store.append([cents(5, "e1")])
    assert [(row.what, row.amount) for row in store.outbox()] == [("50%", 5 * CENT)]
    store.append([cents(3, "e2")])
    store.append([cents(1, "e3")])
    assert [row.what for row in store.outbox()] == ["50%", ">80%"]
    assert first.entry is not None
    store.amend([Amendment(first.entry.seq, None, NOON, "cancelled")])
    store.append([cents(5, "e4")])
    assert [row.what for row in store.outbox()] == ["50%", ">80%"]


def test_a_new_budget_is_warming_until_the_entries_before_it_are_folded(store: LedgerStore) -> None:
    store.append([cents(4, "e1"), cents(2, "yesterday", NOON - DAY)])
    put(store, "cap", limit="0.10")
    assert account(store, cents(1)).warming
    assert state(store, cents(1)) == (0, 0)
    store.append([cents(3, "e2")])
    assert store.warm() == 1
    assert store.warm() == 0
    assert not account(store, cents(1)).warming
    assert state(store, cents(1)) == (7, 0)
    assert sound(store)


def test_a_budget_of_what_the_ledger_has_never_seen_is_warm_at_once(store: LedgerStore) -> None:
    store.append([cents(4, "e1", feature="video")])
    put(store, "new", limit="0.10", where={"provider": ["openai"], "feature": ["avatar", "song"]})
    assert store.cold_scopes() == 0
    put(store, "known", limit="0.10", where={"feature": ["avatar", "video"]})
    assert store.cold_scopes() == 1
    store.append([cents(3, "e2", feature="avatar")])
    assert store.warm() == 1
    assert [state(store, cents(1, feature="avatar"), place) for place in (0, 1)] == [(7, 0), (3, 0)]
    assert sound(store)


def test_a_budget_that_was_taken_out_and_put_back_counts_what_happened_meanwhile(store: LedgerStore) -> None:
    budget = put(store, "cap", limit="0.10")
    store.warm()
    store.append([cents(1, "e1")])
    reserve(store, cents(2, "r1"))
    store.remove_budget("cap", packed(budget))
    assert [(kept.name, kept.active) for kept in store.budgets()] == [("cap", False)]
    store.append([cents(3, "e2")])
    store.settle("r1", cents(2, "r1"))
    put(store, "cap", limit="0.10")
    assert store.warm() == 1
    assert state(store, cents(1)) == (6, 0)
    assert sound(store)


def test_a_changed_limit_keeps_what_was_spent(store: LedgerStore) -> None:
    put(store, "cap", limit="0.10")
    store.append([cents(9, "e1")])
    put(store, "cap", limit="0.20")
    assert state(store, cents(1)) == (9, 0)
    assert reserve(store, cents(11)).code == "reserved"


def test_each_subject_has_an_account_and_its_tier_a_limit(store: LedgerStore) -> None:
    tiers = {"free": {"day": "0.01"}, "premium": {"day": "0.05"}}
    budget = put(store, "users", each="user", tiers=tiers)
    store.put_subject("user", "ann", "premium")
    assert store.tier("user", "ann") == "premium"
    assert store.tier("user", "bob") is None
    assert reserve(store, cents(5, "a", user="ann")).code == "reserved"
    assert reserve(store, cents(5, "b", user="bob")).code == "refused"
    assert reserve(store, cents(1, "c", user="bob")).code == "reserved"
    (limit,) = limits_of(store, cents(1, user="ann"))
    subjects = store.accounts_of(budget.name, limit.key.scope, NOON, 10)
    assert [(key.subject, one.committed) for key, one in subjects] == [("ann", 5 * CENT), ("bob", CENT)]


def test_counts_of_calls_and_meters_are_kept_like_money(store: LedgerStore) -> None:
    put(store, "calls", limit=3, meter="calls")
    put(store, "tokens", limit=5_000, meter="output_tokens")
    assert reserve(store, cents(2, "a")).code == "reserved"
    assert reserve(store, cents(4, "b")).code == "refused"
    store.append([cents(1, "c", count=2)])
    assert reserve(store, cents(1, "d")).code == "refused"
    assert account(store, cents(1)).committed == 3 * 10**12
    assert account(store, cents(1), 1).committed == 4_000 * 10**12


def test_amounts_beyond_64_bits_are_kept(store: LedgerStore) -> None:
    put(store, "year", limit="500000000000", window="year")
    big = make_entry("big", usage={"video_seconds": 10**12})
    assert reserve(store, big).code == "reserved"
    assert store.settle("big", big).code == "settled"
    # 10^12 seconds at $0.10.
    assert account(store, big).spent == 10**11 * 10**12
    assert sound(store)


def test_a_changed_budget_makes_what_was_asked_before_stale(store: LedgerStore) -> None:
    put(store, "cap", limit="0.10")
    epoch = store.epoch()
    put(store, "cap", limit="0.20")
    asked = asking(store, cents(1))
    assert len(asked.limits) == 1
    with pytest.raises(StaleBook):
        store.reserve(asked, epoch=epoch)


def test_who_waits_comes_first_and_loses_the_place_when_it_is_given_up(store: LedgerStore) -> None:
    put(store, "cap", limit="0.10")
    reserve(store, cents(10, "holder"))
    until = NOON + 2 * SECOND
    assert not reserve(store, cents(5, "first"), waits=True, waits_until=until).queued
    store.settle("holder", cents(4, "holder"))
    second = reserve(store, cents(1, "second"), waits=True, waits_until=until)
    assert (second.code, second.queued) == ("refused", True)
    assert reserve(store, cents(5, "first"), waits=True, waits_until=until).code == "reserved"
    assert reserve(store, cents(1, "second"), waits=True, waits_until=until).code == "reserved"
    reserve(store, cents(9, "third"), waits=True, waits_until=until)
    store.stop_waiting("third")
    store.settle("second", cents(1, "second"))
    store.release("first", NOON)
    assert reserve(store, cents(5, "fourth")).code == "reserved"


def test_a_waiter_that_died_loses_its_place(store: LedgerStore) -> None:
    put(store, "cap", limit="0.10")
    reserve(store, cents(10, "holder"))
    reserve(store, cents(5, "dead"), waits=True, waits_until=NOON + SECOND)
    store.release("holder", NOON)
    assert reserve(store, cents(1, "next", NOON + SECOND - 1)).queued
    assert reserve(store, cents(1, "next", NOON + SECOND)).code == "reserved"


def test_refusals_are_counted_and_the_last_are_kept_in_full(store: LedgerStore) -> None:
    put(store, "cap", limit="0.10")
    (limit,) = limits_of(store, cents(11))
    told = [
        NotedRefusal(
            at=NOON + number, provider="openai", service="gpt-4o", refusal=refusal(limit, account(store, cents(1)))
        )
        for number in range(REFUSALS_KEPT + 5)
    ]
    store.note_refusals(told)
    counted, kept = store.refusals("cap")
    assert (counted, len(kept)) == (REFUSALS_KEPT + 5, REFUSALS_KEPT)
    assert (kept[0].at, kept[-1].at) == (NOON + REFUSALS_KEPT + 4, NOON + 5)
    # $0.11 fits in no window of $0.10.
    assert (kept[0].refusal.code, kept[0].refusal.opens_at) == ("budget_spent", None)
    assert account(store, cents(1)).refusals == REFUSALS_KEPT + 5


def test_a_forgotten_user_s_account_goes_on_under_another_name(store: LedgerStore) -> None:
    put(store, "users", each="user", limit="0.10")
    store.put_subject("user", "ann", "premium")
    store.append([cents(4, "e1", user="ann")])
    reserve(store, cents(2, "r1", user="ann"))
    store.forget("user", "ann")
    assert store.tier("user", "ann") is None
    assert state(store, cents(1, user="ann")) == (0, 0)
    assert sound(store)
    assert store.expire(NOON + HOUR) == 1
    assert sound(store)
    assert not [row for row in store.outbox() if row.key.subject == "ann"]


def test_retention_leaves_accounts_as_they_are(store: LedgerStore) -> None:
    put(store, "month", limit="1.00", window="month")
    store.append([cents(4, "old", NOON - 5 * DAY), cents(2, "new")])
    reserve(store, cents(1, "r1"))
    store.settle("r1", cents(1, "r1"))
    store.retain((NOON - DAY) // DAY, NOON)
    assert state(store, cents(1)) == (7, 0)
    assert sound(store)


def test_an_audit_finds_an_account_that_disagrees_with_its_entries(store: LedgerStore) -> None:
    put(store, "cap", limit="0.10")
    store.warm()
    store.append([cents(4, "e1")])
    (limit,) = limits_of(store, cents(1))
    if hasattr(store, "_kept"):
        share, found = store._kept[limit.key]
        store._kept[limit.key] = (share, replace(found, committed=found.committed + 1, spent=found.spent + 2))
    else:
        meddling = "UPDATE account SET committed_pico = committed_pico + 1, spent_pico = spent_pico + 2"
        if isinstance(store, PostgresStore):
            store._connections.write(lambda connection, _: connection.execute(meddling))
        else:
            with store._connections.writing() as connection:  # type: ignore[attr-defined]  # of SQLite's store
                connection.execute(meddling)
    assert [one.code for one in store.audit().findings] == ["account_held", "account_fold"]


def test_a_group_of_reservations_is_one_transaction_in_order_and_each_takes_all_or_nothing(
    store: LedgerStore,
) -> None:
    put(store, "cap", limit="0.10")
    put(store, "ann", limit="0.04", where={"user": "ann"})
    asked = [
        cents(4, "a", user="ann"),
        cents(1, "b", user="ann"),
        cents(6, "c"),
        cents(1, "d"),
        cents(4, "a", user="ann"),
    ]
    found = store.reserve_many([asking(store, entry) for entry in asked], epoch=store.epoch())
    # Ann's own cap refuses "b", which then holds nothing of the other one, so that "c" just fits; "a" is known.
    assert [one.code for one in found] == ["reserved", "refused", "reserved", "refused", "exists"]
    assert state(store, cents(1)) == (0, 10)
    assert sorted(account.committed // CENT for account in found[1].accounts.values()) == [4, 4]
    assert sound(store)


def test_a_group_of_settlements_is_one_transaction_with_an_outcome_for_each(store: LedgerStore) -> None:
    put(store, "cap", limit="0.10")
    store.reserve_many([asking(store, cents(3, id)) for id in ("a", "b", "c")])
    store.release("c", NOON)
    settlements = [
        Settling("a", cents(1, "a")),
        Settling("no", cents(1, "no")),
        Settling("b", cents(4, "b")),
        Settling("a", cents(1, "a")),
        Settling("a", cents(2, "a")),
        Settling("c", cents(2, "c")),
    ]
    found = store.settle_many(settlements, epoch=store.epoch())
    assert [one.code for one in found] == [
        "settled",
        "no_such_reservation",
        "settled",
        "exists",
        "exists_with_different_usage",
        "settled_after_release",
    ]
    assert [(one.held, one.billed) for one in found[2].overruns] == [(3 * CENT, 4 * CENT)]
    assert state(store, cents(1)) == (7, 0)
    assert sound(store)


def test_nothing_of_a_group_happens_when_it_is_stale_or_holds_what_cannot_be_stored(store: LedgerStore) -> None:
    put(store, "cap", limit="0.10")
    stale = store.epoch()
    put(store, "cap", limit="0.20")
    with pytest.raises(StaleBook):
        store.reserve_many([asking(store, cents(1, "a"))], epoch=stale)
    store.reserve_many([asking(store, cents(1, id)) for id in ("a", "b")])
    with pytest.raises(StaleBook):
        store.settle_many([Settling("a", cents(1, "a"))], epoch=stale)
    with pytest.raises(InvalidInput) as caught:
        store.settle_many([Settling("a", cents(1, "a")), Settling("b", cents(10**17, "b"))])
    assert caught.value.code == "number_too_large"
    assert state(store, cents(1)) == (0, 2)
    assert store.reserve_many([]) == []
    assert store.settle_many([]) == []
