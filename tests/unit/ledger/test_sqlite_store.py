"""What only the SQLite store does: caps, shared names, collisions, folding behind, and an audit that finds."""

from __future__ import annotations

import gc
import os
import threading
from pathlib import Path

import msgspec
import pytest
from tests.ledger_entries import DAY, NOON, TODAY, make_entry, plain

from outlay.errors import InvalidInput, LedgerClosed, OpenedBeforeFork
from outlay.ledger import names, rules
from outlay.ledger.sqlite import SqliteStore, folder
from outlay.ledger.sqlite.statements import rows_of
from outlay.ledger.store import Amendment, EntryFilter
from outlay.model import CostQuery, PricedLine, PricingStatus, Rating


def opened(tmp_path: Path, **options: object) -> SqliteStore:
    return SqliteStore(tmp_path / "a.db", **{"fold_behind": False, **options})  # type: ignore[arg-type]  # by test


def change(store: SqliteStore, statement: str) -> None:
    with store._connections.writing() as connection:
        connection.execute(statement)


def found_codes(store: SqliteStore) -> set[str]:
    return {finding.code for finding in store.audit().findings}


def test_values_beyond_the_cap_are_counted_as_other_and_never_hidden(tmp_path: Path) -> None:
    store = opened(tmp_path, values_a_day=2)
    store.append([make_entry(f"e{n}", feature=f"f{n}", user=f"u{n}") for n in range(4)])
    store.append([make_entry("next day", NOON + DAY, feature="f3")])
    store.fold()
    rows = {row.keys: row.events for row in store.costs(CostQuery(by=("day", "feature"))).rows}
    assert rows == {
        ("2026-03-10", "f0"): 1,
        ("2026-03-10", "f1"): 1,
        ("2026-03-10", "(other)"): 2,
        ("2026-03-11", "f3"): 1,
    }
    # Users are never folded together, and a question for a hidden value goes to the entries.
    assert len(store.costs(CostQuery(by=("user",))).rows) == 5
    one = store.costs(CostQuery(by=("feature",), where={"feature": ("f3",)}))
    assert (one.answered_by, one.total.events) == ("scan", 2)
    later = store.costs(CostQuery(where={"feature": ("f3",)}, since=(TODAY + 1) * DAY))
    assert (later.answered_by, later.total.events) == ("rollup_day", 1)
    assert store.audit().findings == ()
    store.append([make_entry("late", feature="f2")])
    store.fold()
    assert store.audit().findings == ()
    store.close()


def test_answers_name_what_they_came_from(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.append([make_entry("a", job="j", request="r")])
    for query, answered_by in (
        (CostQuery(by=("day", "feature")), "rollup_day"),
        (CostQuery(by=("day", "provider"), zone="Asia/Kolkata"), "rollup_quarter_hour"),
        (CostQuery(by=("hour",)), "rollup_quarter_hour"),
        (CostQuery(by=("user",)), "rollup_daily_user"),
        (CostQuery(by=("month", "user")), "rollup_daily_user"),
        (CostQuery(by=("user", "provider")), "rollup_user"),
        (CostQuery(by=("customer", "service"), since=NOON - DAY), "rollup_customer"),
        (CostQuery(by=("job",)), "rollup_job"),
        (CostQuery(by=("job",), top=5), "rollup_job_total"),
        (CostQuery(by=("meter",)), "rollup_meter"),
        (CostQuery(by=("operation",), where={"job": ("j",)}), "job index"),
        (CostQuery(where={"request": ("r",)}), "request index"),
        (CostQuery(by=("user", "team")), "scan"),
        (CostQuery(by=("day", "feature"), zone="Asia/Kolkata"), "scan"),
    ):
        assert (query, store.costs(query).answered_by) == (query, answered_by)
    store.close()


def test_ids_with_one_hash_are_told_apart_by_the_full_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "identity_hash", lambda _: (1 << 63) - 1)
    store = opened(tmp_path)
    store.append([make_entry("a")])
    assert [one.code for one in store.append([make_entry("b"), make_entry("c")])] == ["created", "created"]
    assert [one.code for one in store.append([make_entry("b"), make_entry("c", user="v")])] == [
        "exists",
        "exists_with_different_user",
    ]
    assert [[entry.seq for entry in event] for event in store.versions("c")] == [[3]]
    assert store.versions("d") == []
    assert store.audit().findings == ()
    store.close()


def test_tag_sets_beyond_the_days_limit_are_kept_for_their_entry_alone(tmp_path: Path) -> None:
    store = opened(tmp_path, tag_sets_a_day=1)
    store.append([make_entry(f"e{n}", NOON - 9 * DAY, tags={"x": str(n % 2)}) for n in range(4)])
    assert store.costs(CostQuery(where={"tag.x": ("1",)})).total.events == 2
    assert [row.keys for row in store.costs(CostQuery(by=("tag.x",))).rows] == [("0",), ("1",)]
    with store._connections.reading() as connection:
        assert len(list(rows_of(connection, "SELECT * FROM tag_set"))) == 3
    assert store.forget("user", "1") == 2
    store.retain(TODAY - 5, NOON)
    with store._connections.reading() as connection:
        assert len(list(rows_of(connection, "SELECT * FROM tag_set"))) == 1
    store.close()


def test_what_no_column_can_hold_is_refused_by_name(tmp_path: Path) -> None:
    """The recorder's fingerprint refuses these first; the store does not rely on it."""
    store = opened(tmp_path)
    known = make_entry("known", user="u")
    store.append([known])
    for fields, code in (
        ({"parameters": {"seed": 2**70}}, "number_too_large"),
        ({"error": "\ud800"}, "bad_text"),
        ({"occurred_to": 2**70}, "number_too_large"),
        ({"request": "\ud800"}, "bad_text"),
        ({"user": "\ud800"}, "bad_text"),
    ):
        event = msgspec.structs.replace(known.event, id="bad", **fields)
        bad = msgspec.structs.replace(known, event=event)
        for entries in ([bad], [bad, make_entry("new", user="new")]):
            with pytest.raises(InvalidInput) as raised:
                store.append(entries)
            assert raised.value.code == code
        event = msgspec.structs.replace(event, id="known")
        amendment = Amendment(1, msgspec.structs.replace(bad, event=event), NOON, "bad")
        with pytest.raises(InvalidInput) as raised:
            store.amend([amendment])
        assert raised.value.code == code
    assert len(list(store.entries(EntryFilter(live_only=False)))) == 1
    store.close()


def test_a_name_of_a_failed_transaction_is_not_remembered(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.append([make_entry("first")])
    unencodable = make_entry("bad", user="new", error="fine")
    with pytest.raises(InvalidInput):
        store.append([unencodable, make_entry("worse", parameters={"x": "\ud800"}, id_given=False)])
    store.append([make_entry("good", user="new"), make_entry("other", user="newer")])
    assert {row.keys[0] for row in store.costs(CostQuery(by=("user",))).rows} == {None, "new", "newer"}
    store.close()


def test_a_name_forgotten_in_one_process_is_not_revived_by_another(tmp_path: Path) -> None:
    first, second = opened(tmp_path), opened(tmp_path)
    second.append([make_entry("a", user="ann")])
    first.forget("user", "ann")
    second.append([make_entry("b", user="ann")])
    rows = first.costs(CostQuery(by=("user",))).rows
    assert len(rows) == 2
    assert [entry.event.user for entry in second.entries(EntryFilter())][1] == "ann"
    first.close()
    second.close()


def test_two_processes_that_fold_at_once_count_nothing_twice(tmp_path: Path) -> None:
    stores = [opened(tmp_path), opened(tmp_path)]
    stores[0].append([make_entry(f"e{n}") for n in range(500)])
    threads = [threading.Thread(target=lambda store=store: [store.fold(20) for _ in range(40)]) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert stores[0].facts()["watermark"] == "500"
    assert stores[0].audit().findings == ()
    for store in stores:
        store.close()


def test_a_fold_that_another_was_faster_than_is_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow, fast = opened(tmp_path), opened(tmp_path)
    slow.append([make_entry("a")])
    day_of = slow._folder.day_of

    def overtaken(quarter_hour: int) -> int:
        fast.fold()
        return day_of(quarter_hour)

    monkeypatch.setattr(slow._folder, "day_of", overtaken)
    assert slow.fold() == 0
    assert slow.audit().findings == ()
    slow.close()
    fast.close()


def test_many_threads_append_and_ask_while_a_thread_folds_behind(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "a.db")

    def work(worker: int) -> None:
        for batch in range(12):
            store.append([make_entry(f"{worker}-{batch}-{n}", user=f"u{worker}") for n in range(100)])
            seen = store.costs(CostQuery(where={"user": (f"u{worker}",)})).total.events
            assert seen == 100 * (batch + 1), "every committed event is seen at once"

    failures: list[BaseException] = []

    def guarded(worker: int) -> None:
        try:
            work(worker)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    store._folder.join()
    assert failures == []
    assert int(store.facts()["watermark"]) > 0
    assert store.audit().findings == ()
    store.close()


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        ("UPDATE entry SET micro = micro + 1 WHERE seq = 1", "lines_sum"),
        ("UPDATE rollup_user SET events = events + 1", "rollup_cell"),
        ("DELETE FROM rollup_job", "rollup_cell"),
        ("INSERT INTO rollup_team VALUES (1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0)", "rollup_cell"),
        ("DELETE FROM identity WHERE seq = 1", "entry_without_identity"),
        ("UPDATE identity SET seq = 99 WHERE seq = 1", "identity_without_entry"),
        ("UPDATE identity SET day = day + 1 WHERE seq = 1", "identity_of_another"),
        ("UPDATE identity SET hash63 = 5 WHERE seq = 1", "identity_of_another"),
        ("UPDATE entry SET micro = 0, pico = 0, lines = x'9190' WHERE sign = -1", "correction_conserves"),
        ("UPDATE entry SET sign = 1 WHERE sign = -1", "correction_conserves"),
        ("UPDATE entry SET sign = -1 WHERE seq = 4", "correction_conserves"),
    ],
)
def test_the_audit_finds_what_was_tampered_with(tmp_path: Path, damage: str, code: str) -> None:
    store = opened(tmp_path)
    store.append([make_entry("a", user="u", job="j"), make_entry("b")])
    store.amend([Amendment(1, make_entry("a", user="u", job="j", usage={"images": 1}), NOON, "checked")])
    store.fold()
    assert store.audit().ok
    change(store, damage)
    assert code in found_codes(store)
    store.close()


def test_the_audit_proves_old_cells_by_their_checkpoints(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "a.db", zone="America/New_York", fold_behind=False)
    store.append([make_entry(f"e{n}", NOON - n * DAY // 3, user="u", job="j") for n in range(30)])
    store.retain(TODAY - 5, NOON)
    assert store.audit().findings == ()
    change(store, "UPDATE checkpoint SET events = events + 1 WHERE day = (SELECT min(day) FROM checkpoint)")
    findings = store.audit().findings
    assert {finding.code for finding in findings} == {"rollup_checkpoint"}
    assert all("events" in finding.subject for finding in findings)
    change(store, "DELETE FROM rollup_meter WHERE day < (SELECT max(day) FROM checkpoint)")
    assert any(finding.subject == "rollup_meter amount" for finding in store.audit().findings)
    store.close()


def test_an_entry_not_folded_yet_outlives_its_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = opened(tmp_path)
    store.append([make_entry("a", NOON - 9 * DAY)])
    monkeypatch.setattr(store._folder, "fold", lambda limit: 0)
    assert store.retain(TODAY, NOON).entries == 0
    monkeypatch.undo()
    assert store.retain(TODAY, NOON).entries == 1
    store.close()


def test_retention_gives_pages_back_to_the_disk(tmp_path: Path) -> None:
    store = opened(tmp_path)
    for day in range(4):
        store.append([make_entry(f"e{day}-{n}", NOON - (9 - day) * DAY, error="x" * 300) for n in range(2_500)])
    dropped = store.retain(TODAY, NOON)
    assert dropped.entries == 10_000
    # Their errors alone were 3 MB.
    assert dropped.bytes_freed > 3_000_000
    store.close()


def test_a_job_or_request_is_found_through_its_index(tmp_path: Path) -> None:
    store = opened(tmp_path)
    with store._connections.reading() as connection:
        for condition, index in (
            ("job IN (SELECT value FROM json_each('[1]'))", "entry_job"),
            ("corrects = 1", "entry_corrects"),
            ("occurred_from / 86400000000 = 1 AND request IN (SELECT value FROM json_each('[1]'))", "entry_request"),
        ):
            plan = list(rows_of(connection, f"EXPLAIN QUERY PLAN SELECT * FROM entry WHERE {condition}"))
            assert any(f"USING INDEX {index}" in str(step) for step in plan), plan
    store.close()


def test_appending_in_one_call_or_one_by_one_is_the_same(tmp_path: Path) -> None:
    entries = [make_entry(f"e{n % 7}", probe_days=(TODAY - 1,) if n % 2 else ()) for n in range(20)]
    (tmp_path / "b").mkdir()
    together, apart = opened(tmp_path), opened(tmp_path / "b")
    codes = [one.code for one in together.append(entries)]
    assert codes == [one.code for entry in entries for one in apart.append([entry])]
    together.close()
    apart.close()


def test_a_ledger_dropped_without_closing_is_closed_by_its_finalizer(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.append([make_entry("a")])
    list(store.entries(EntryFilter()))
    files = len(list(Path("/proc/self/fd").iterdir()))
    del store
    gc.collect()
    assert len(list(Path("/proc/self/fd").iterdir())) < files


def test_closing_while_another_reads_lets_it_end(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.append([make_entry("a")])
    with store._connections.reading() as connection:
        store.close()
        assert list(rows_of(connection, "SELECT id FROM entry")) == [("a",)]
    with pytest.raises(LedgerClosed):
        store.epoch()


def test_in_a_process_that_was_forked_unseen_nothing_is_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = opened(tmp_path)
    store.append([make_entry("a")])
    mine = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: mine + 1)
    with pytest.raises(OpenedBeforeFork):
        store.append([make_entry("b")])
    with pytest.raises(OpenedBeforeFork):
        store.epoch()
    store._connections.before_fork()
    store._connections.after_fork_in_parent()
    store._connections.after_fork_in_child()
    store._connections._finalizer()
    store.close()
    monkeypatch.undo()
    again = opened(tmp_path)
    assert [entry.event.id for entry in again.entries(EntryFilter())] == ["a"]
    again.close()


def test_a_forks_two_sides_reopen(tmp_path: Path) -> None:
    """What the hooks do on either side, one after the other in one process."""
    store = opened(tmp_path)
    store.append([make_entry("a")])
    for side in ("after_fork_in_parent", "after_fork_in_child"):
        store._connections.before_fork()
        getattr(store._connections, side)()
        assert store.append([make_entry(side)])[0].code == "created"
    store._folder.after_fork_in_child()
    assert store.audit().entries == 3
    store.close()


def test_a_reader_waits_while_the_process_forks(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store._connections.before_fork()
    seen: list[int] = []
    reader = threading.Thread(target=lambda: seen.append(store.epoch()))
    reader.start()
    reader.join(0.1)
    assert seen == []
    store._connections.after_fork_in_parent()
    reader.join()
    assert seen == [1]
    store.close()


def test_a_memory_of_names_grown_too_large_starts_afresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "_REMEMBERED_MAX", 1)
    store = opened(tmp_path)
    entries = [make_entry(f"e{n}", user=f"u{n}", tags={"x": str(n)}, usage={"video_seconds": n}) for n in range(5)]
    for entry in entries:
        store.append([entry])
    again = opened(tmp_path)
    kept = list(again.entries(EntryFilter()))
    assert plain(kept) == plain([msgspec.structs.replace(entry, seq=n) for n, entry in enumerate(entries, 1)])
    store.close()
    again.close()


def test_a_line_in_another_currency_keeps_its_own_amount_without_a_rate_of_exchange(tmp_path: Path) -> None:
    store = opened(tmp_path)
    line = PricedLine("credits", 1, 5, None, native_amount=-7)
    entry = msgspec.structs.replace(make_entry("a"), rating=Rating((line, line), 10, PricingStatus.PRICED))
    store.append([entry])
    ((kept,),) = store.versions("a")
    assert kept.rating.lines == (line, line)
    store.fold()
    # A meter with two lines is one meter of one event.
    (row,) = store.costs(CostQuery(by=("meter",), quantities=True)).rows
    assert (row.events, row.amount, row.quantities) == (1, 10, {"credits": 2})
    assert store.audit().findings == ()
    store.close()


def test_who_appends_too_far_ahead_waits_for_the_fold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "WAKE_AT", 10)
    monkeypatch.setattr(folder, "BEHIND_MAX", 50)
    store = SqliteStore(tmp_path / "a.db")
    for batch in range(6):
        store.append([make_entry(f"{batch}-{n}") for n in range(100)])
        assert store._folder._behind <= 50 + 100
    store._folder.join()
    assert store.facts()["watermark"] == "600"
    store.close()


def test_a_write_that_meets_the_end_of_the_process_says_that_the_ledger_is_closed(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.append([make_entry("a")])
    store._connections._finalizer()  # What runs at exit, before daemon threads end.
    with pytest.raises(LedgerClosed, match="open it again"):
        store.append([make_entry("b")])
