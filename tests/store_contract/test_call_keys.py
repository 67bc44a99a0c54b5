"""One call that several captures see is booked once, in every store."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.budget_entries import account, cents, put, reserve, state
from tests.ledger_entries import DAY, HOUR, NOON, SECOND, TODAY, make_entry

from outlay.ledger.store import Amendment, EntryFilter, LedgerStore
from outlay.model import Basis, CostQuery, Entry, PricingStatus, Status
from outlay.money import Money

KEY = "openai:chatcmpl-1"


def capture(id: str, later_s: int = 0, **fields: Any) -> Entry:
    """A capture of the call with that key: 1,000 input tokens at $2.50 a million are $0.0025."""
    given: dict[str, Any] = {"call_key": KEY, "time_given": False, "id_given": False}
    return make_entry(id, NOON + later_s * SECOND, **{**given, **fields})


def codes(store: LedgerStore, *entries: Entry) -> list[str]:
    return [appended.code for appended in store.append(entries)]


def live(store: LedgerStore) -> list[Entry]:
    return list(store.entries(EntryFilter()))


def dollars(store: LedgerStore) -> str:
    store.fold()
    assert store.audit().findings == ()
    table = store.costs(CostQuery())
    return str(Money(table.total.amount, "USD").amount)


def test_the_first_capture_books_and_a_later_one_is_seen(store: LedgerStore) -> None:
    (first,) = store.append([capture("wrapper")])
    (second,) = store.append([capture("gateway", 3)])
    assert (first.code, second.code) == ("created", "seen")
    assert second.entry is not None
    assert second.entry.event.id == "wrapper"
    assert dollars(store) == "0.0025"
    assert len(list(store.entries(EntryFilter(live_only=False)))) == 1


def test_captures_are_told_apart_within_one_batch_too(store: LedgerStore) -> None:
    entries = [capture("a"), capture("b"), capture("c", call_key="openai:chatcmpl-2"), capture("d", call_key=None)]
    assert codes(store, *entries) == ["created", "seen", "created", "created"]
    assert codes(store, capture("e"), capture("f", call_key="openai:chatcmpl-3")) == ["seen", "created"]
    assert dollars(store) == "0.01"


def test_another_id_given_by_the_caller_does_not_make_another_call(store: LedgerStore) -> None:
    assert codes(store, capture("mine", id_given=True, probe_days=(TODAY - 1,))) == ["created"]
    assert codes(store, capture("theirs", id_given=True, probe_days=(TODAY - 1,))) == ["seen"]


def test_a_retry_of_a_capture_that_was_seen_is_known_by_its_own_id_for_as_long_as_ids_are(store: LedgerStore) -> None:
    codes(store, capture("wrapper"))
    again = capture("gateway", 1)
    assert codes(store, again) == ["seen"]
    late = msgspec.structs.replace(again, recorded_at=NOON + 10 * DAY)
    assert codes(store, late) == ["seen"]
    other = capture("gateway", 1, recorded_at=NOON + 10 * DAY, usage={"input_tokens": 9})
    assert codes(store, other) == ["exists_with_different_body"]
    assert [version.event.id for (version,) in store.versions("gateway")] == ["wrapper"]
    assert dollars(store) == "0.0025"


@pytest.mark.parametrize(("hours", "code"), [(47, "seen"), (48, "created"), (72, "created")])
def test_a_key_is_looked_for_during_48_hours_after_it_was_recorded(store: LedgerStore, hours: int, code: str) -> None:
    codes(store, capture("a"))
    assert codes(store, capture("b", recorded_at=NOON + hours * HOUR)) == [code]


def test_a_capture_that_read_the_clock_before_midnight_and_wrote_after_is_the_same_call(store: LedgerStore) -> None:
    midnight = (TODAY + 1) * DAY
    codes(store, capture("a", recorded_at=midnight + 5))
    assert codes(store, capture("b", recorded_at=midnight - 5)) == ["seen"]


def test_attribution_that_a_later_capture_adds_is_a_correction_and_what_was_said_first_stands(
    store: LedgerStore,
) -> None:
    codes(store, capture("gateway", user="u1", tags={"a": "1"}))
    added = capture("wrapper", 2, user="u2", feature="chat", job="video-7", tags={"a": "2", "b": "3"})
    (seen,) = store.append([added])
    assert seen.code == "seen"
    (entry,) = live(store)
    event = entry.event
    assert (event.id, event.user, event.feature, event.job) == ("gateway", "u1", "chat", "video-7")
    assert event.tags == {"a": "1", "b": "3"}
    assert (entry.reason, entry.recorded_at) == ("seen by another capture", NOON + 2 * SECOND)
    assert event.occurred_from == NOON
    versions = store.versions("gateway", [TODAY])[0]
    assert [version.sign for version in versions] == [1, -1, 1]
    assert dollars(store) == "0.0025"


ESTIMATED = {"basis": Basis.ESTIMATED, "usage": {"input_tokens": 5_000}}
MEASURED: dict[str, Any] = {"usage": {"input_tokens": 1_000, "output_tokens": 100}}
BETTER: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "measured over estimated": (ESTIMATED, MEASURED),
    "measured over what somebody reported": ({"basis": Basis.REPORTED, "usage": {"input_tokens": 7}}, MEASURED),
    "settled over unsettled": ({"status": Status.UNSETTLED, "usage": {"input_tokens": 9_000}}, MEASURED),
    "some usage over none": ({"usage": {}, "status": Status.FAILED}, MEASURED),
    "more meters over fewer": ({"usage": {"input_tokens": 1_000}}, MEASURED),
}


@pytest.mark.parametrize("case", BETTER)
def test_better_evidence_is_a_correction_whichever_came_first(store: LedgerStore, case: str) -> None:
    worse, better = BETTER[case]
    codes(store, capture("a", **worse), capture("b", 1, **better))
    # 1,000 × $2.50 and 100 × $10 a million.
    assert dollars(store) == "0.0035"
    codes(store, capture("c", 2, call_key="openai:2", **better), capture("d", 3, call_key="openai:2", **worse))
    assert dollars(store) == "0.007"
    assert {entry.event.status for entry in live(store)} == {Status.OK}


def test_a_priced_capture_is_not_given_up_for_one_without_a_price(store: LedgerStore) -> None:
    codes(store, capture("a", basis=Basis.ESTIMATED))
    assert codes(store, capture("b", 1, usage={"characters": 900})) == ["seen"]
    (entry,) = live(store)
    assert (entry.rating.status, entry.event.id) == (PricingStatus.PRICED, "a")


def test_a_call_that_was_cancelled_stays_cancelled(store: LedgerStore) -> None:
    (first,) = store.append([capture("a")])
    assert first.entry is not None
    store.amend([Amendment(first.entry.seq, None, NOON + 1, "no")])
    assert codes(store, capture("b", 2)) == ["seen"]
    assert dollars(store) == "0.00"


def test_accounts_count_a_call_once_and_follow_its_corrections(store: LedgerStore) -> None:
    put(store, "cap", limit="0.10")
    put(store, "chat", limit="0.10", where={"feature": "chat"})
    first = cents(2, "gateway", id_given=False, call_key=KEY, basis=Basis.ESTIMATED)
    again = cents(3, "wrapper", NOON + SECOND, id_given=False, call_key=KEY, feature="chat")
    codes(store, first)
    codes(store, again)
    assert [state(store, again, place) for place in (0, 1)] == [(3, 0), (3, 0)]
    assert store.audit().findings == ()


def test_a_reservation_of_a_call_that_another_capture_booked_gives_back_what_it_held(store: LedgerStore) -> None:
    put(store, "cap", limit="0.10")
    reserve(store, cents(5, "wrapper"))
    codes(store, cents(2, "gateway", call_key=KEY))
    settled = store.settle("wrapper", cents(2, "wrapper", call_key=KEY, user="u1"))
    assert settled.code == "seen"
    assert settled.entry is not None
    assert (settled.entry.event.id, settled.entry.event.user) == ("gateway", "u1")
    assert state(store, cents(1)) == (2, 0)
    assert store.settle("wrapper", cents(2, "wrapper", call_key=KEY, user="u1")).code == "seen"
    assert account(store, cents(1)).committed == account(store, cents(1)).spent
    assert store.audit().findings == ()


def test_an_estimate_is_taken_back_when_its_late_settlement_was_seen_elsewhere(store: LedgerStore) -> None:
    put(store, "cap", limit="0.10")
    reserve(store, cents(5, "wrapper"), for_s=60)
    store.expire(NOON + 60 * SECOND)
    codes(store, cents(2, "gateway", call_key=KEY))
    assert state(store, cents(1)) == (7, 0)
    late = cents(2, "wrapper", call_key=KEY)
    assert store.settle("wrapper", late).code == "seen"
    assert state(store, cents(1)) == (2, 0)
    assert store.settle("wrapper", late).code == "seen"
    assert dollars(store) == "0.02"


def test_a_late_settlement_is_known_by_its_key_from_then_on(store: LedgerStore) -> None:
    put(store, "cap", limit="0.10")
    reserve(store, cents(5, "wrapper"), for_s=60)
    store.expire(NOON + 60 * SECOND)
    assert store.settle("wrapper", cents(2, "wrapper", call_key=KEY)).code == "settled_late"
    assert codes(store, cents(2, "gateway", call_key=KEY)) == ["seen"]
    assert dollars(store) == "0.02"


def test_retention_and_forgetting_go_on_where_calls_were_seen_twice(store: LedgerStore) -> None:
    codes(store, capture("a", user="u1"), capture("b", user="u2", tags={"x": "u1"}))
    assert store.forget("user", "u1") == 1
    retained = store.retain(TODAY + 1, NOON + DAY)
    assert retained.entries == 3
    assert codes(store, capture("a", user="u1"), capture("c")) == ["exists", "seen"]
    assert dollars(store) == "0.0025"
