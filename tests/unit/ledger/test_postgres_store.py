"""What only the PostgreSQL store does: unanswered commits, running transactions, partitions, copies, upgrades."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import psycopg
import pytest
from tests.ledger_entries import DAY, NOON, TODAY, make_entry

from outlay.errors import InvalidInput, LedgerError, SchemaTooNew
from outlay.ledger.postgres import PostgresStore, connections, migrations, waiting
from outlay.ledger.postgres.connections import Connections, Meta, shown
from outlay.ledger.postgres.partitions import days_with_partitions, name_of
from outlay.ledger.postgres.statements import Connection, only
from outlay.ledger.postgres.waiting import Write
from outlay.ledger.store import Amendment, EntryFilter
from outlay.model import Appended, CostQuery, Outcome

OpenStore = Callable[[], PostgresStore]


@pytest.fixture
def open_store(new_postgres_ledger: Callable[..., str]) -> Iterator[OpenStore]:
    """A function that opens one ledger again and again."""
    url = new_postgres_ledger()
    opened: list[PostgresStore] = []

    def open_one() -> PostgresStore:
        opened.append(PostgresStore(url, fold_behind=False))
        return opened[-1]

    yield open_one
    for store in opened:
        store.close()


@pytest.fixture
def store(open_store: OpenStore) -> PostgresStore:
    return open_store()


def sound(store: PostgresStore) -> bool:
    return store.audit().findings == ()


def run_sql(store: PostgresStore, statement: str) -> None:
    store._connections.write(lambda connection, _: connection.execute(statement))


# --- a COMMIT that is not answered


@pytest.mark.parametrize("heard", [True, False])
def test_a_commit_whose_answer_is_lost_is_looked_up_and_done_once(
    store: PostgresStore, monkeypatch: pytest.MonkeyPatch, heard: bool
) -> None:
    store.append([make_entry("before")])
    execute = psycopg.Connection.execute
    cut: list[str] = []

    def lossy(self: Connection, query: Any, *arguments: Any, **options: Any) -> Any:
        if query != "COMMIT" or cut:
            return execute(self, query, *arguments, **options)
        cut.append(query)
        if heard:
            execute(self, query)
        self.close()
        raise psycopg.OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(psycopg.Connection, "execute", lossy)
    (done,) = store.append([make_entry("a")])
    monkeypatch.undo()
    assert cut
    assert done.code == "created"
    assert [entry.event.id for entry in store.entries(EntryFilter())] == ["before", "a"]
    assert sound(store)


def test_a_transaction_that_the_server_ends_is_run_again(store: PostgresStore) -> None:
    runs: list[int] = []

    def work(connection: Connection, _: Meta) -> int:
        runs.append(only(connection, "last_seq")[0])
        if len(runs) == 1:
            with psycopg.connect(store._connections._url, autocommit=True) as other:
                other.execute("SELECT pg_terminate_backend(%s)", (connection.info.backend_pid,))
        connection.execute("INSERT INTO setting (name, value) VALUES ('colour', 'blue')")
        return len(runs)

    assert store._connections.write(work) == 2
    assert store.setting("colour") == "blue"


def test_idle_connections_that_the_server_cut_are_replaced(store: PostgresStore) -> None:
    store.append([make_entry("a")])
    with psycopg.connect(store._connections._url, autocommit=True) as other:
        other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    assert store.append([make_entry("b")])[0].code == "created"
    assert store.costs(CostQuery()).total.events == 2


# --- others at the same time


def test_what_a_running_transaction_may_precede_is_seen_but_not_folded(open_store: OpenStore) -> None:
    slow, quick = open_store(), open_store()
    slow.append([make_entry("first")])  # Its names are known from here on: who makes the same ones waits.
    slow.fold()
    begun, go_on = threading.Event(), threading.Event()

    def hold(write: Write, results: Sequence[Appended]) -> None:
        begun.set()
        assert go_on.wait(30)

    slow._accounts.appended = hold  # type: ignore[method-assign]  # what runs last in an append
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(slow.append, [make_entry("slow")])
        assert begun.wait(30)
        quick.append([make_entry("quick")])
        assert quick.fold() == 0
        assert quick.costs(CostQuery(by=("provider",))).total.events == 2
        go_on.set()
        assert running.result()[0].code == "created"
    assert quick.costs(CostQuery(by=("provider",))).total.events == 3
    assert quick.fold() == 2
    assert quick.costs(CostQuery(by=("provider",))).total.events == 3
    assert sound(quick)


@pytest.mark.parametrize("probed", [True, False])
def test_one_of_those_who_bring_an_id_at_the_same_time_writes_it(open_store: OpenStore, probed: bool) -> None:
    stores = [open_store() for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        for number in range(15):
            # Looked up on other days, an id is one even when each host gives it another day.
            days = [NOON, NOON + DAY] * 2 if probed else [NOON] * 4
            entries = [
                make_entry(f"e{number}", at, probe_days=(at // DAY - 1, at // DAY + 1) if probed else (), usage={})
                for at in days
            ]
            meet = threading.Barrier(4)

            def send(at: int, meet: threading.Barrier = meet, entries: list[Any] = entries) -> str:
                meet.wait()
                return stores[at].append([entries[at]])[0].code

            codes = list(pool.map(send, range(4)))
            assert codes.count("created") == 1, codes
    assert sound(stores[0])


def test_batches_of_the_same_new_names_and_ids_in_other_orders_never_wait_in_a_circle(open_store: OpenStore) -> None:
    stores = [open_store() for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        for number in range(5):
            batch = [make_entry(f"{number} {n}", user=f"u{number} {n}", tags={"n": f"{n}"}) for n in range(20)]
            orders = [batch, batch[::-1], batch[10:] + batch[:10], sorted(batch, key=lambda one: one.fingerprint)]
            codes = [
                one.code
                for results in pool.map(lambda at, orders=orders: stores[at].append(orders[at]), range(4))
                for one in results
            ]
            assert (codes.count("created"), codes.count("exists")) == (20, 60)
    assert sound(stores[0])


def test_a_batch_of_which_another_host_writes_one_meanwhile_is_decided_again(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, other = open_store(), open_store()
    other.append([make_entry("before")])  # Who makes a name holds it until its COMMIT; these are made.
    batch = [make_entry(f"e{n}", NOON + n) for n in range(20)]
    copy_identities = waiting._copy_identities

    def late(*given: Any) -> None:
        monkeypatch.setattr(waiting, "_copy_identities", copy_identities)
        other.append([batch[7]])
        copy_identities(*given)

    monkeypatch.setattr(waiting, "_copy_identities", late)
    codes = [one.code for one in store.append(batch)]
    assert codes == [Outcome.EXISTS.value if n == 7 else Outcome.CREATED.value for n in range(20)]
    assert store.costs(CostQuery()).total.events == 21
    assert sound(store)


def test_one_of_those_who_correct_an_event_at_the_same_time_does(open_store: OpenStore) -> None:
    stores = [open_store() for _ in range(4)]
    live = stores[0].append([make_entry("a")])[0].entry
    assert live is not None
    cancel = Amendment(live.seq, None, NOON, "twice")
    with ThreadPoolExecutor(4) as pool:
        codes = [one[0].code for one in pool.map(lambda store: store.amend([cancel]), stores)]
    assert sorted(codes) == ["changed_meanwhile"] * 3 + ["created"]
    assert sound(stores[0])


def test_nothing_is_written_by_half_of_a_change_of_prices(open_store: OpenStore) -> None:
    """An append that began before a change of the epoch ends before it."""
    writer, changer = open_store(), open_store()
    begun, go_on = threading.Event(), threading.Event()

    def hold(write: Write, results: Sequence[Appended]) -> None:
        begun.set()
        assert go_on.wait(30)

    writer._accounts.appended = hold  # type: ignore[method-assign]  # what runs last in an append
    with ThreadPoolExecutor(2) as pool:
        running = pool.submit(writer.append, [make_entry("a")], epoch=writer.epoch())
        assert begun.wait(30)
        changing = pool.submit(changer.put_setting, "colour", "blue")
        with pytest.raises(TimeoutError):
            changing.result(0.2)
        go_on.set()
        assert running.result()[0].code == "created"
        changing.result(30)


# --- partitions


def test_days_around_now_have_partitions_and_entries_lie_in_them(store: PostgresStore) -> None:
    today = store._now() // DAY
    assert {today - 1, today, today + 1, today + 2, today + 3} <= set(store._connections.read(days_with_partitions))
    store.append([make_entry("a", store._now())])
    count = f"SELECT count(*) FROM {name_of('entry', today)}"
    assert store._connections.read(lambda one: one.execute(count).fetchone()) == (1,)


def test_a_day_of_which_much_comes_is_given_a_partition_and_what_was_there_moves(store: PostgresStore) -> None:
    at = NOON - 50 * DAY
    store.append([make_entry("early", at)])
    store.append([make_entry(f"e{n}", at + n) for n in range(1_000)])
    day = at // DAY
    assert day in store._connections.read(days_with_partitions)
    count = f"SELECT (SELECT count(*) FROM {name_of('entry', day)}), (SELECT count(*) FROM entry_default)"
    assert store._connections.read(lambda one: one.execute(count).fetchone()) == (1_001, 0)
    assert store.append([make_entry("early", at)])[0].code == "exists"
    assert sound(store)


def test_retention_drops_the_table_of_a_day_and_what_lies_elsewhere_by_rows(store: PostgresStore) -> None:
    at = NOON - 60 * DAY
    store._partitions.make([at // DAY])
    store.append([make_entry("a", at), make_entry("b", at - DAY), make_entry("c")])
    before = store.costs(CostQuery(by=("day",)))
    dropped = store.retain(TODAY - 5, NOON)
    # Two of 1,000 tokens at 2,500,000 picounits.
    assert (dropped.entries, dropped.amount) == (2, 2 * 2_500_000_000)
    assert at // DAY not in store._connections.read(days_with_partitions)
    assert store.costs(CostQuery(by=("day",))).rows == before.rows
    assert sound(store)


def test_retention_leaves_a_day_alone_of_which_something_is_not_folded(open_store: OpenStore) -> None:
    slow, store = open_store(), open_store()
    at = NOON - 70 * DAY
    store._partitions.make([at // DAY])
    store.append([make_entry("a", at)])
    begun, go_on = threading.Event(), threading.Event()

    def wait(connection: Connection, _: Meta) -> None:
        begun.set()
        assert go_on.wait(30)

    with ThreadPoolExecutor(1) as pool:
        # A transaction of another program: it may still write what comes before.
        running = pool.submit(_hold_open, slow._connections._url, begun, go_on)
        assert begun.wait(30)
        store.append([make_entry("b", at)])
        assert store.retain(TODAY - 5, NOON).entries == 0
        go_on.set()
        running.result(30)
    assert store.retain(TODAY - 5, NOON).entries == 2
    assert sound(store)


def _hold_open(url: str, begun: threading.Event, go_on: threading.Event) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("SELECT pg_current_xact_id()")
        begun.set()
        assert go_on.wait(30)


# --- copies and upgrades


def test_a_ledger_restored_on_a_server_that_counts_lower_goes_on(store: PostgresStore, open_store: OpenStore) -> None:
    store.append([make_entry("a"), make_entry("b")])
    store.fold(1)
    # As after pg_dump on a server that had counted a billion transactions more.
    run_sql(store, "UPDATE entry SET xact = xact + 1000000000")
    run_sql(store, "UPDATE meta SET folded_xact = folded_xact + 1000000000")
    restored = open_store()
    assert [one.code for one in restored.append([make_entry("a"), make_entry("c")])] == ["exists", "created"]
    assert restored.costs(CostQuery(by=("provider",))).total.events == 3
    assert restored.fold() == 2
    assert restored.costs(CostQuery(by=("provider",))).total.events == 3
    assert sound(restored)


ADDS = "ALTER TABLE setting ADD COLUMN note text"
TAKES_AWAY = "ALTER TABLE setting DROP COLUMN note"


def test_what_is_added_leaves_old_programs_working_and_what_is_taken_away_refuses_them(
    new_postgres_url: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = new_postgres_url()
    old = PostgresStore(url)
    newer = migrations.SCHEMA_VERSION + 1
    name = f"{newer:03d}_notes.sql"
    with monkeypatch.context() as patched:
        patched.setattr(migrations, "SCHEMA_VERSION", newer)
        patched.setattr(migrations, "scripts", lambda folder: [name])
        patched.setattr(migrations, "script", lambda *path: ADDS if "pre" in path else TAKES_AWAY)
        new = PostgresStore(url)
        run_sql(new, "INSERT INTO setting (name, value, note) VALUES ('colour', 'blue', 'new')")
        old.put_setting("shape", "round")
        PostgresStore(url).close()  # Applied once.
        assert new.setting("shape") == "round"
        assert old.setting("colour") == "blue"
    PostgresStore(url).close()  # An old program still opens it.
    with monkeypatch.context() as patched:
        patched.setattr(migrations, "SCHEMA_VERSION", newer)
        patched.setattr(migrations, "scripts", lambda folder: [name])
        patched.setattr(migrations, "script", lambda *path: TAKES_AWAY)
        assert new.finish_migration() == [name]
        assert new.finish_migration() == []
    with pytest.raises(SchemaTooNew):
        PostgresStore(url)
    new.close()
    old.close()


# --- errors


def test_a_password_is_in_no_address_and_no_error(store: PostgresStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrations, "OPEN_SECONDS_MAX", 0.2)
    secret = "postgresql://ann:s3cret@127.0.0.1:1/ledger?sslmode=disable"
    assert shown(secret) == "postgresql://ann@127.0.0.1:1/ledger"
    with pytest.raises(LedgerError) as raised:
        PostgresStore(secret)
    assert raised.value.code == "unreachable"
    assert "s3cret" not in f"{raised.value}"
    with pytest.raises(LedgerError) as raised:
        PostgresStore(store._connections._url + "_nothing")
    assert raised.value.code == "cannot_open"
    with pytest.raises(InvalidInput) as wrong:
        PostgresStore("postgresql://ann:s3cret@127.0.0.1/ledger?colour=blue")
    assert wrong.value.code == "unknown_address"
    assert "s3cret" not in f"{wrong.value}"


def test_a_reader_is_ended_by_the_server_when_it_takes_too_long(store: PostgresStore) -> None:
    with pytest.raises(LedgerError) as raised:
        store._connections.read(lambda connection: connection.execute("SELECT pg_sleep(5)"), 0.05)
    assert raised.value.code == "query_too_slow"


def test_a_text_that_no_database_holds_is_refused_by_name(store: PostgresStore) -> None:
    with pytest.raises(InvalidInput) as raised:
        store.append([make_entry("a", request="zero\0byte")])
    assert raised.value.code == "bad_text"
    assert store.append([make_entry("a")])[0].code == "created"


def test_a_lost_server_is_named_after_the_time_for_its_return(
    store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "RECONNECT_SECONDS_MAX", 0.2)
    gone = Connections("postgresql://127.0.0.1:1/ledger")
    with pytest.raises(LedgerError) as raised:
        gone.read(lambda connection: None)
    assert raised.value.code == "unreachable"
    gone.close()


def test_an_audit_finds_a_cell_that_disagrees(store: PostgresStore) -> None:
    store.append([make_entry("a", user="ann")])
    store.fold()
    run_sql(store, "UPDATE rollup_user SET pico = pico + 1")
    assert [one.code for one in store.audit().findings] == ["rollup_cell"]


def test_two_ids_of_one_hash_are_two_events(store: PostgresStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("outlay.ledger.rules.identity_hash", lambda _: 7)
    batch = [make_entry("a"), make_entry("b"), make_entry("a", user="ann")]
    assert [one.code for one in store.append(batch)] == ["created", "created", "exists_with_different_user"]
    assert [one.code for one in store.append([make_entry("b"), make_entry("c")])] == ["exists", "created"]
    assert [[entry.event.id for entry in event] for event in store.versions("c")] == [["c"]]
    assert sound(store)


def test_the_next_value_beyond_the_cap_is_counted_as_other(new_postgres_ledger: Callable[..., str]) -> None:
    store = PostgresStore(new_postgres_ledger(), values_a_day=2, fold_behind=False)
    store.append([make_entry(f"e{n}", feature=f"f{n}", operation="chat") for n in range(4)])
    store.fold()
    rows = store.costs(CostQuery(by=("feature", "operation"))).rows
    assert sorted((row.keys[0], row.events) for row in rows) == [("(other)", 2), ("f0", 1), ("f1", 1)]
    assert sound(store)
    store.close()


def test_a_thread_folds_behind_and_gives_the_lease_back(new_postgres_ledger: Callable[..., str]) -> None:
    store = PostgresStore(new_postgres_ledger())
    for begin in range(0, 3_000, 1_000):
        store.append([make_entry(f"e{n}", NOON + n) for n in range(begin, begin + 1_000)])
    store._folder.join()
    assert store.fold() <= 1_000
    assert store.lease("fold") is None
    assert msgspec.structs.asdict(store.audit())["entries"] == 3_000
    store.close()
