"""What every store promises beside entries: prices, settings, bills, jobs, retention, forgetting, closing."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from tests.ledger_entries import DAY, HOUR, NOON, RATES, TODAY, make_entry, plain

from outlay.errors import InvalidInput, LedgerClosed, LedgerError
from outlay.ledger.sqlite import SqliteStore
from outlay.ledger.store import Amendment, EntryFilter, JobOutcome, LedgerStore, Statement, StatementLine
from outlay.model import CostQuery

BILL = Statement(
    id="2026-02 aws",
    provider="aws",
    source="bill.csv",
    period_from=NOON - DAY,
    period_to=NOON,
    currency="USD",
    recorded_at=NOON,
)


def line(number: str, state: str = "waiting", cost: str = "1.20", statement: str = BILL.id) -> StatementLine:
    return StatementLine(
        statement=statement,
        line=number,
        service="AmazonRDS",
        resource="db-1",
        occurred_from=NOON - DAY,
        occurred_to=NOON,
        cost=cost,
        quantity="720.000",
        unit="Hrs",
        state=state,
    )


def test_the_epoch_grows_with_every_change_of_prices_names_and_settings(store: LedgerStore) -> None:
    seen = [store.epoch()]
    seen.append(store.add_rates([RATES["input_tokens"]]))
    seen.append(store.put_catalogue("c1", b"body", NOON, activate=True))
    store.put_setting("colour", "blue")
    seen.append(store.epoch())
    store.forget("user", "nobody")
    seen.append(store.epoch())
    assert seen == sorted(set(seen))
    store.append([make_entry("a")])
    store.finish_job(JobOutcome(job="j", units=1, status="ok", recorded_at=NOON))
    assert store.epoch() == seen[-1]


def test_user_rates_are_given_back_in_the_order_they_were_added(store: LedgerStore) -> None:
    store.add_rates([RATES["output_tokens"]])
    store.add_rates([RATES["input_tokens"], RATES["output_tokens"]])
    expected = [RATES["output_tokens"], RATES["input_tokens"], RATES["output_tokens"]]
    assert plain(store.rates()) == plain(expected)


def test_catalogue_versions_stay_and_one_is_active(store: LedgerStore) -> None:
    assert store.catalogue() is None
    store.put_catalogue("c1", b"one", NOON, activate=True)
    store.put_catalogue("c2", b"two", NOON + 1, activate=False)
    store.put_catalogue("c1", b"other bytes of the same name", NOON + 2, activate=False)
    assert store.catalogue() == ("c1", b"one")
    assert store.catalogue("c2") == ("c2", b"two")
    assert store.catalogue("c3") is None
    store.put_catalogue("c2", b"two", NOON + 3, activate=True)
    assert store.catalogues() == [("c1", NOON, False), ("c2", NOON + 1, True)]


def test_the_last_value_of_a_setting_counts(store: LedgerStore) -> None:
    assert store.setting("colour") is None
    store.put_setting("colour", "blue")
    store.put_setting("colour", "red")
    assert store.setting("colour") == "red"


def test_the_same_bill_again_changes_nothing(store: LedgerStore) -> None:
    charge = make_entry("bill-1", usage={}, service="AmazonRDS")
    (first,) = store.add_statement(BILL, [line("1", "charged"), line("2")], [charge])
    (again,) = store.add_statement(BILL, [line("1", "charged"), line("2", cost="9"), line("3")], [charge])
    assert (first.code, again.code) == ("created", "exists")
    assert [(kept.line, kept.cost) for kept in store.statement_lines()] == [
        ("1", "1.20"),
        ("2", "1.20"),
        ("3", "1.20"),
    ]
    assert [kept.line for kept in store.statement_lines("waiting")] == ["2", "3"]
    assert store.statement_lines("charged") == [line("1", "charged")]


def test_a_bill_with_a_foreign_line_is_refused_whole(store: LedgerStore) -> None:
    with pytest.raises(InvalidInput) as raised:
        store.add_statement(BILL, [line("1"), line("2", statement="another")], [make_entry("a")])
    assert raised.value.code == "foreign_line"
    assert store.statement_lines() == []
    assert store.versions("a") == []


def test_the_last_outcome_of_a_job_counts(store: LedgerStore) -> None:
    failed = JobOutcome(job="video-7", units=0, status="failed", recorded_at=NOON)
    done = JobOutcome(job="video-7", units=1, status="ok", recorded_at=NOON + 1)
    other = JobOutcome(job="video-8", units=2, status="ok", recorded_at=NOON)
    for outcome in (failed, other, done):
        store.finish_job(outcome)
    assert store.job_outcomes() == {"video-7": done, "video-8": other}
    assert store.job_outcomes(["video-7", "video-9"]) == {"video-7": done}


def test_retention_drops_whole_days_and_the_rollups_stay(store: LedgerStore) -> None:
    old, recent = NOON - 10 * DAY, NOON - 2 * DAY
    store.append([make_entry("a", old, user="u"), make_entry("b", recent, user="u"), make_entry("c", old, user="u")])
    store.amend([Amendment(1, make_entry("a", old, user="u", usage={"input_tokens": 9}), NOON, "less")])
    before = store.costs(CostQuery(by=("day", "user")))
    dropped = store.retain(TODAY - 5, NOON)
    # a (1,000 tokens, reversed, then 9) and c (1,000): four entries, 1,009 tokens at 2,500,000 picounits.
    assert (dropped.entries, dropped.amount) == (4, 1_009 * 2_500_000)
    assert [entry.event.id for entry in store.entries(EntryFilter(live_only=False))] == ["b"]
    assert store.versions("a") == []
    assert store.costs(CostQuery(by=("day", "user"))).rows == before.rows
    assert store.audit().findings == ()
    assert store.audit().amount == 2_009 * 2_500_000
    again = store.retain(TODAY - 5, NOON)
    assert (again.entries, again.amount) == (0, 0)


def test_a_day_whose_entries_were_dropped_is_not_read_for_a_part_of_it(store: LedgerStore) -> None:
    old = NOON - 20 * DAY
    store.append([make_entry("a", old), make_entry("b", old + 6 * HOUR), make_entry("c", NOON)])
    store.fold(1_000)
    store.retain(TODAY - 5, NOON)
    # The day's cells hold both calls: which of them lay before the afternoon nobody knows any more.
    for by in ((), ("user",)):
        assert store.costs(CostQuery(by=by, since=old + HOUR)).total.events == 1
        assert store.costs(CostQuery(by=by, since=old - 12 * HOUR)).total.events == 3


def test_a_retry_of_a_dropped_event_is_still_known_for_35_days(store: LedgerStore) -> None:
    old = NOON - 10 * DAY
    store.append([make_entry("a", old)])
    store.retain(TODAY - 5, NOON)
    known = store.append([make_entry("a", old), make_entry("a", old, user="v")])
    assert [(one.code, one.entry) for one in known] == [("exists", None), ("exists_with_different_body", None)]
    # 35 days after its day went, its identity goes too.
    store.retain(TODAY + 26, NOON + 40 * DAY)
    assert store.append([make_entry("a", old)])[0].code == "created"


def test_a_late_event_of_a_dropped_day_goes_with_the_next_retention(store: LedgerStore) -> None:
    old = NOON - 10 * DAY
    store.append([make_entry("a", old)])
    store.retain(TODAY - 5, NOON)
    store.append([make_entry("late", old, recorded_at=NOON)])
    assert store.audit().findings == ()
    assert store.retain(TODAY - 5, NOON).entries == 1
    assert store.audit().findings == ()
    assert store.costs(CostQuery(by=("provider",))).total.events == 2


def test_a_correction_of_a_dropped_event_changes_nothing(store: LedgerStore) -> None:
    store.append([make_entry("a", NOON - 10 * DAY)])
    store.retain(TODAY, NOON)
    (done,) = store.amend([Amendment(1, None, NOON, "late")])
    assert (done.code, done.entry) == ("changed_meanwhile", None)


def test_numbers_are_never_given_twice_even_after_all_entries_went(store: LedgerStore) -> None:
    store.append([make_entry("a", NOON - 10 * DAY)])
    store.retain(TODAY, NOON)
    (new,) = store.append([make_entry("b")])
    assert new.entry is not None
    assert new.entry.seq == 2


def test_retention_leaves_today_alone(store: LedgerStore) -> None:
    with pytest.raises(InvalidInput) as raised:
        store.retain(TODAY + 1, NOON)
    assert raised.value.code == "retention_of_today"


def test_a_forgotten_name_is_nowhere_and_its_costs_stay(store: LedgerStore) -> None:
    store.append(
        [
            make_entry("a", user="ann", customer="ann", tags={"owner": "ann", "x": "1"}),
            make_entry("b", user="bob", tags={"owner": "ann"}),
            make_entry("c", user="bob"),
        ]
    )
    store.amend([Amendment(1, make_entry("a", user="ann", usage={"input_tokens": 1}), NOON, "less")])
    store.fold()
    assert store.forget("user", "ann") == 2
    assert store.forget("user", "ann") == 0
    kept = list(store.entries(EntryFilter(live_only=False)))
    assert {entry.event.user for entry in kept if entry.event.id == "a"} != {"ann"}
    assert not any("ann" in (entry.event.user, *entry.event.tags.values()) for entry in kept)
    # Only the user's name was asked to be forgotten: the customer of the same name stays.
    assert {entry.event.customer for entry in kept} == {"ann", None}
    rows = {row.keys[0]: row.events for row in store.costs(CostQuery(by=("user",))).rows}
    (anonymous,) = set(rows) - {"bob"}
    assert anonymous is not None
    assert anonymous.startswith("forgotten-")
    assert rows == {"bob": 2, anonymous: 1}
    assert store.audit().findings == ()
    # The same person again is a new name, and a retry of the old event is still known.
    assert store.append([make_entry("d", user="ann")])[0].code == "created"
    again = make_entry("a", user="ann", customer="ann", tags={"owner": "ann", "x": "1"})
    assert store.append([again])[0].code == "exists"
    assert store.costs(CostQuery(where={"user": ("ann",)})).total.events == 1


def test_only_people_and_customers_are_forgotten(store: LedgerStore) -> None:
    with pytest.raises(InvalidInput) as raised:
        store.forget("provider", "openai")
    assert raised.value.code == "not_forgettable"


def test_fold_says_how_many_entries_it_took(store: LedgerStore) -> None:
    store.append([make_entry(f"e{n}") for n in range(5)])
    assert [store.fold(2), store.fold(), store.fold()] == [2, 3, 0]


def test_facts_name_the_engine_and_count(store: LedgerStore) -> None:
    store.append([make_entry("a")])
    facts = store.facts()
    assert (facts["entries"], facts["last_seq"], facts["currency"], facts["zone"]) == ("1", "1", "USD", "UTC")
    assert "engine" in facts


def test_a_copy_is_a_ledger_of_the_same_entries(store: LedgerStore, tmp_path: Path) -> None:
    store.append([make_entry("a"), make_entry("b")])
    target = tmp_path / "copy.db"
    if not isinstance(store, SqliteStore):
        with pytest.raises(LedgerError) as raised:
            store.backup(target)
        assert raised.value.code == "backup_unsupported"
        return
    store.backup(target)
    copy = SqliteStore(target)
    assert plain(list(copy.entries(EntryFilter()))) == plain(list(store.entries(EntryFilter())))
    assert copy.append([make_entry("c")])[0].code == "created"
    assert copy.audit().findings == ()
    copy.close()
    with pytest.raises(LedgerError) as raised:
        store.backup(target)
    assert raised.value.code == "backup_exists"


def test_a_closed_ledger_says_so(store: LedgerStore) -> None:
    store.close()
    store.close()
    for action in (
        lambda: store.append([make_entry("a")]),
        lambda: store.costs(CostQuery()),
        lambda: list(store.entries(EntryFilter())),
        store.epoch,
    ):
        with pytest.raises(LedgerClosed):
            action()


def test_lines_that_do_not_sum_are_found(store: LedgerStore) -> None:
    entry = make_entry("a")
    wrong = msgspec.structs.replace(entry.rating, amount=entry.rating.amount + 1)
    store.append([msgspec.structs.replace(entry, rating=wrong)])
    (finding,) = store.audit().findings
    assert (finding.code, finding.expected, finding.found) == ("lines_sum", "2500000001", "2500000000")


def test_a_ledger_keeps_the_currency_and_zone_it_was_made_with(store: LedgerStore) -> None:
    assert (store.currency, store.home_zone) == ("USD", "UTC")
    assert msgspec.structs.asdict(store.audit())["entries"] == 0
