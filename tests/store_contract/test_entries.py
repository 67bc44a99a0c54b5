"""What every store promises of entries: identity, retries, conflicts, corrections, and giving back what it got."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from tests.ledger_entries import DAY, NOON, TODAY, make_entry, make_event, plain

from outlay.errors import InvalidInput
from outlay.ledger import rules
from outlay.ledger.store import Amendment, EntryFilter, LedgerStore, StaleBook
from outlay.model import (
    Basis,
    Entry,
    EntryKind,
    ExchangeRate,
    PricedLine,
    PricingStatus,
    Rate,
    Rating,
    Status,
    Unrated,
)
from outlay.money import Money


def codes(store: LedgerStore, *entries: Entry) -> list[str]:
    return [appended.code for appended in store.append(entries)]


def full_entry() -> Entry:
    """An entry in which no field has its default."""
    rate = Rate(
        provider="openai",
        service="gpt-4o",
        meter="input_tokens",
        price=Decimal("2.50"),
        per=1_000_000,
        currency="EUR",
        conditions={"service_tier": "flex"},
        context_over=200_000,
        valid_from=NOON - DAY,
        valid_to=NOON + DAY,
        hours_from=3_600,
        hours_to=7_200,
        minimum=Decimal("10"),
        increment=Decimal("0.5"),
        price_high=Decimal("3"),
        list_price=Decimal("5.00"),
        discount=Decimal("0.5"),
        implied=True,
        attempts=True,
        unless=("requests",),
        origin="user",
        source="contract 2026",
        source_date="2026-01-01",
        note="negotiated",
        recorded_at=NOON,
    )
    event = make_event(
        "full",
        occurred_to=NOON + 5,
        operation="chat",
        usage={"input_tokens": 1_200, "video_seconds": Decimal("2.4"), "gb_hours": Decimal("0.000000001")},
        conditions={"service_tier": "flex"},
        status=Status.FAILED,
        user="u42",
        customer="acme",
        team="t",
        project="p",
        feature="f",
        job="video-7",
        environment="prod",
        request="r1",
        trace="0af7651916cd43dd8448eb211c80319c",
        step="draft",
        tags={"b": "2", "a": "1"},
        error="timeout",
        duration_s=Decimal("1.50"),
        parameters={"width": 1024, "scale": 1.5, "upscale": True, "style": "oil", "seed": None},
        count=3,
        basis=Basis.REPORTED,
        reported_cost=Money(9_300_000_000_000_000_000_001),
        call_key="openai resp_1",
    )
    lines = (
        PricedLine("input_tokens", 1_200, -7, rate, "rate of input_tokens", -9, euro()),
        PricedLine("reported_cost", 1, 12_345_678_900_000_000_000, None),
    )
    rating = Rating(
        lines,
        12_345_678_899_999_999_993,
        PricingStatus.INCOMPLETE,
        (Unrated("gb_hours", Decimal("0.000000001"), "no rate"),),
        "prefix gpt-4o",
        Basis.ESTIMATED,
    )
    return Entry(
        event=event,
        rating=rating,
        recorded_at=NOON + 9,
        counted_at=NOON + 7,
        fingerprint=rules.fingerprint(event),
        basis=Basis.BILLED,
        kind=EntryKind.ADJUSTMENT,
        reason="restated",
        probe_days=(TODAY - 1, TODAY + 1),
    )


def euro() -> ExchangeRate:
    return ExchangeRate(currency="EUR", price=Decimal("1.0843"), date="2026-03-10", source="ECB")


def test_an_entry_is_given_back_equal_in_every_field(store: LedgerStore) -> None:
    entry = full_entry()
    store.append([entry, make_entry("other")])
    ((kept,),) = store.versions("full")
    assert plain(kept) == plain(msgspec.structs.replace(entry, seq=1))
    assert kept.event.usage["video_seconds"] == Decimal("2.4")
    assert kept.event.parameters["upscale"] is True


def test_entries_are_numbered_from_one_in_the_order_given(store: LedgerStore) -> None:
    appended = store.append([make_entry("a"), make_entry("b")])
    assert [(one.code, one.entry and one.entry.seq) for one in appended] == [("created", 1), ("created", 2)]


def test_a_retry_of_the_same_body_gives_the_first_entry(store: LedgerStore) -> None:
    (first,) = store.append([make_entry("a", usage={"input_tokens": 5})])
    (again,) = store.append([make_entry("a", usage={"input_tokens": Decimal("5.0")}, recorded_at=NOON + 9)])
    assert again.code == "exists"
    assert plain(again.entry) == plain(first.entry)
    assert len(list(store.entries(EntryFilter()))) == 1


@pytest.mark.parametrize(
    ("field", "other"),
    [
        ("provider", "azure"),
        ("service", "gpt-5"),
        ("operation", "chat"),
        ("usage", {"input_tokens": 6}),
        ("conditions", {"batch": "yes"}),
        ("status", Status.FAILED),
        ("user", "v"),
        ("trace", "t"),
        ("step", "s"),
        ("tags", {"a": "b"}),
        ("error", "boom"),
        ("duration_s", Decimal("1")),
        ("parameters", {"n": 1}),
        ("count", 2),
        ("basis", Basis.REPORTED),
        ("reported_cost", Money(1)),
        ("call_key", "k"),
        ("time", None),
    ],
)
def test_the_same_id_with_another_body_is_refused_by_the_field_that_differs(
    store: LedgerStore, field: str, other: object
) -> None:
    store.append([make_entry("a")])
    fields: dict[str, Any] = {field: other}
    changed = make_entry("a", NOON + 1) if field == "time" else make_entry("a", **fields)
    assert codes(store, changed) == [f"exists_with_different_{field}"]
    assert len(list(store.entries(EntryFilter()))) == 1


def test_where_only_the_fingerprint_tells_two_bodies_apart_it_is_the_body(store: LedgerStore) -> None:
    store.append([make_entry("a", time_given=False)])
    assert codes(store, make_entry("a", time_given=True)) == ["exists_with_different_body"]


def test_what_the_ledger_stamped_itself_is_no_part_of_the_body(store: LedgerStore) -> None:
    store.append([make_entry("a", time_given=False)])
    assert codes(store, make_entry("a", NOON + 1, time_given=False)) == ["exists"]


def test_the_same_id_on_another_day_is_another_event(store: LedgerStore) -> None:
    assert codes(store, make_entry("a"), make_entry("a", NOON + DAY)) == ["created", "created"]
    assert [[entry.seq for entry in event] for event in store.versions("a")] == [[1], [2]]
    assert [[entry.seq for entry in event] for event in store.versions("a", [TODAY + 1])] == [[2]]


def test_a_retry_past_midnight_is_found_on_its_probed_day(store: LedgerStore) -> None:
    midnight = (TODAY + 1) * DAY
    store.append([make_entry("a", midnight - 1, time_given=False)])
    late = make_entry("a", midnight, time_given=False, probe_days=(TODAY,))
    assert codes(store, late) == ["exists"]
    assert codes(store, msgspec.structs.replace(late, probe_days=())) == ["created"]


def test_a_batch_knows_its_own_entries(store: LedgerStore) -> None:
    midnight = (TODAY + 1) * DAY
    batch = [
        make_entry("a", midnight - 1, time_given=False),
        make_entry("b"),
        make_entry("a", midnight, time_given=False, probe_days=(TODAY,)),
        make_entry("b"),
        make_entry("b", user="v"),
        make_entry("c"),
    ]
    assert codes(store, *batch) == ["created", "created", "exists", "exists", "exists_with_different_user", "created"]
    assert [entry.seq for entry in store.entries(EntryFilter())] == [1, 2, 3]


def test_a_batch_sent_again_whole_or_in_part_is_known(store: LedgerStore) -> None:
    store.append([make_entry("a"), make_entry("b")])
    assert codes(store, make_entry("b"), make_entry("a")) == ["exists", "exists"]
    assert codes(store, make_entry("c"), make_entry("a")) == ["created", "exists"]
    assert codes(store, make_entry("d"), make_entry("e", probe_days=(TODAY - 1,))) == ["created", "created"]
    late = make_entry("a", NOON + DAY, probe_days=(TODAY,))
    assert codes(store, make_entry("f"), late) == ["created", "exists_with_different_time"]


def test_an_empty_batch_is_no_work(store: LedgerStore) -> None:
    assert store.append([]) == []
    assert store.amend([]) == []


def test_prices_that_changed_meanwhile_stop_the_append(store: LedgerStore) -> None:
    stale = store.epoch()
    store.put_setting("colour", "blue")
    with pytest.raises(StaleBook) as raised:
        store.append([make_entry("a")], epoch=stale)
    assert raised.value.code == "stale_book"
    assert store.versions("a") == []
    assert store.append([make_entry("a")], epoch=store.epoch())[0].code == "created"


def test_one_bad_entry_leaves_nothing_of_its_batch(store: LedgerStore) -> None:
    huge = PricedLine("input_tokens", 1, 10**24, None)
    back = PricedLine("input_tokens", 1, -(10**24), None)
    for lines in ((huge,), (huge, back)):
        rating = Rating(lines, sum(line.amount for line in lines), PricingStatus.PRICED)
        with pytest.raises(InvalidInput) as raised:
            store.append([make_entry("a"), msgspec.structs.replace(make_entry("huge"), rating=rating)])
        assert raised.value.code == "amount_too_large"
    assert list(store.entries(EntryFilter())) == []


def test_a_line_of_more_calls_than_can_be_counted_is_refused(store: LedgerStore) -> None:
    line = PricedLine("input_tokens", 2**40, 0, None)
    entry = msgspec.structs.replace(make_entry("a", count=2**40), rating=Rating((line,), 0, PricingStatus.PRICED))
    with pytest.raises(InvalidInput) as raised:
        store.append([entry])
    assert raised.value.code == "quantity_too_large"


def test_a_quantity_of_more_than_nine_decimals_is_refused() -> None:
    with pytest.raises(InvalidInput) as raised:
        rules.nano_of(Decimal("0.0000000001"))
    assert raised.value.code == "too_precise"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"usage": {"images": 2**62}}, "quantity_too_large"),
        ({"usage": {"images": 2**40}, "count": 2**40}, "quantity_too_large"),
        ({"parameters": {"seed": 2**70}}, "number_too_large"),
        ({"user": "\ud800"}, "bad_text"),
    ],
)
def test_what_cannot_be_kept_exactly_is_refused_by_name(
    store: LedgerStore, fields: dict[str, Any], code: str
) -> None:
    with pytest.raises(InvalidInput) as raised:
        store.append([make_entry("a", **fields)])
    assert raised.value.code == code


def test_a_correction_reverses_and_replaces(store: LedgerStore) -> None:
    store.append([make_entry("a", user="u", usage={"input_tokens": 1_000})])
    better = make_entry("a", user="v", usage={"input_tokens": 400})
    (done,) = store.amend([Amendment(1, better, recorded_at=NOON + 60, reason="wrong user")])
    assert done.code == "created"
    ((first, reversal, replacement),) = store.versions("a")
    assert (reversal.kind, reversal.sign, reversal.corrects) == (EntryKind.CORRECTION, -1, 1)
    assert (replacement.kind, replacement.sign, replacement.corrects) == (EntryKind.CORRECTION, 1, 1)
    assert (reversal.rating.amount, reversal.event.user) == (first.rating.amount, "u")
    assert (replacement.recorded_at, replacement.reason) == (NOON + 60, "wrong user")
    assert plain(done.entry) == plain(replacement)
    # A retry of the first body is still the same event.
    assert codes(store, make_entry("a", user="u", usage={"input_tokens": 1_000})) == ["exists"]


def test_a_cancelled_event_has_no_live_version(store: LedgerStore) -> None:
    store.append([make_entry("a")])
    (done,) = store.amend([Amendment(1, None, recorded_at=NOON, reason="test call")])
    assert done.entry is not None
    assert done.entry.sign == -1
    assert list(store.entries(EntryFilter())) == []
    assert [entry.seq for entry in store.entries(EntryFilter(live_only=False))] == [1, 2]
    (late,) = store.amend([Amendment(1, make_entry("a"), recorded_at=NOON, reason="again")])
    assert (late.code, late.entry and late.entry.seq) == ("changed_meanwhile", 2)


def test_a_correction_of_what_is_no_longer_live_changes_nothing(store: LedgerStore) -> None:
    store.append([make_entry("a")])
    first, second, missing = store.amend(
        [
            Amendment(1, make_entry("a", user="v"), recorded_at=NOON, reason="one"),
            Amendment(1, make_entry("a", user="w"), recorded_at=NOON, reason="two"),
            Amendment(99, None, recorded_at=NOON, reason="three"),
        ]
    )
    assert (first.code, second.code, missing.code) == ("created", "changed_meanwhile", "changed_meanwhile")
    assert second.entry is not None
    assert (second.entry.event.user, missing.entry) == ("v", None)
    assert [entry.event.user for entry in store.entries(EntryFilter())] == ["v"]


def test_a_correction_keeps_the_id_and_the_time(store: LedgerStore) -> None:
    store.append([make_entry("a"), make_entry("b")])
    for other in (make_entry("a", NOON + 1), make_entry("c")):
        with pytest.raises(InvalidInput) as raised:
            store.amend([Amendment(2, None, NOON, "fine"), Amendment(1, other, NOON, "moves")])
        assert raised.value.code == "correction_moves_event"
    assert len(list(store.entries(EntryFilter(live_only=False)))) == 2


def test_entries_are_walked_by_time_value_and_version(store: LedgerStore) -> None:
    store.append(
        [
            make_entry("a", NOON, user="u", job="j", tags={"x": "1"}, request="r"),
            make_entry("b", NOON + 1, user="v", trace="t"),
            make_entry("c", NOON + 2, job="j"),
        ]
    )
    store.amend([Amendment(2, make_entry("b", NOON + 1, user="w"), recorded_at=NOON + 9, reason="w")])

    def ids(limit: int | None = None, **fields: object) -> list[str]:
        return [entry.event.id for entry in store.entries(EntryFilter(**fields), limit)]  # type: ignore[arg-type]  # by test

    assert ids() == ["a", "c", "b"]
    assert ids(newest_first=True) == ["b", "c", "a"]
    assert ids(limit=2) == ["a", "c"]
    assert ids(limit=0) == []
    assert ids(since=NOON + 1, until=NOON + 2) == ["b"]
    assert ids(where={"user": ("u", None)}) == ["a", "c"]
    assert ids(where={"job": ("j",)}) == ["a", "c"]
    assert ids(where={"job": (None,)}) == ["b"]
    assert ids(where={"tag.x": ("1",)}) == ["a"]
    assert ids(where={"tag.x": (None,)}) == ["c", "b"]
    assert ids(where={"request": ("r",)}) == ["a"]
    assert ids(where={"request": (None,), "trace": ("t", None)}) == ["c", "b"]
    assert ids(where={"status": ("ok",), "basis": ("measured", "nonsense")}) == ["a", "c", "b"]
    assert ids(as_of=NOON + 8, where={"user": ("v",)}) == ["b"]
    assert ids(live_only=False) == ["a", "b", "c", "b", "b"]
    for wrong in ("usr", "meter", "tag."):
        with pytest.raises(InvalidInput) as raised:
            ids(where={wrong: ("u",)})
        assert raised.value.code == "unknown_dimension"


def test_a_walk_goes_on_past_its_first_page(store: LedgerStore) -> None:
    store.append([make_entry(f"e{n}", NOON + n) for n in range(2_100)])
    assert sum(1 for _ in store.entries(EntryFilter())) == 2_100
    newest = [entry.seq for entry in store.entries(EntryFilter(newest_first=True), 2_050)]
    assert newest == list(range(2_100, 50, -1))


def test_a_jobs_entries_are_all_there_by_seq(store: LedgerStore) -> None:
    store.append([make_entry("a", job="j"), make_entry("b", job="k"), make_entry("c", job="j")])
    assert [entry.event.id for entry in store.job_entries("j")] == ["a", "c"]
    assert store.job_entries("nobody") == []
