"""How PostgreSQL answers: each statement behind costs, top and a job goes by the index or the partitions it should.

The tables are large enough, and analysed, for the planner to have a choice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from tests.ledger_entries import DAY, HOUR, NOON, make_entry
from tests.postgres_server import PostgresServer

from outlay.ledger import ranking
from outlay.ledger.dialect import Row
from outlay.ledger.postgres import PostgresStore, statements
from outlay.ledger.postgres.partitions import name_of
from outlay.ledger.store import EntryFilter
from outlay.model import CostQuery, Entry

DAYS = 20
ENTRIES_A_DAY = 600
START = NOON - DAYS * DAY - 12 * HOUR
FULL_DAYS = {name_of("entry", START // DAY + number) for number in range(DAYS)}


def entry(number: int) -> Entry:
    at = START + number * DAY // ENTRIES_A_DAY
    return make_entry(
        f"e{number}",
        at,
        user=f"u{number % 397}",
        customer=f"c{number % 211}",
        feature=f"f{number % 7}",
        job=f"j{number // 10}" if number % 2 else None,
        request=f"r{number}",
        service=f"model-{number % 61}",
        usage={"input_tokens": 1_000 + number // 10},
    )


@pytest.fixture(scope="module")
def store(postgres: PostgresServer) -> Iterator[PostgresStore]:
    with postgres.database() as url:
        store = PostgresStore(url, fold_behind=False)
        store._partitions.make(range(START // DAY, START // DAY + DAYS + 1))
        for begin in range(0, DAYS * ENTRIES_A_DAY, 4_000):
            store.append([entry(number) for number in range(begin, begin + 4_000)])
        store.fold(1_000_000)
        store.append([make_entry("late", START + HOUR), make_entry("new", NOON, user="u1")])
        with store._connections.borrowing() as connection:
            connection.execute("ANALYZE")
        yield store
        store.close()


class Watched:
    """Explains every statement that is run on rows, and keeps what it would read."""

    def __init__(self, store: PostgresStore, monkeypatch: pytest.MonkeyPatch) -> None:
        self.indexes: set[str] = set()
        self.whole: set[str] = set()
        self.tables: set[str] = set()
        rows_of = statements.rows_of

        def explained(connection: Any, statement: str, bindings: Sequence[object] = ()) -> Iterator[Row]:
            text = statements.numbered(statement)
            ((plan,),) = connection.execute(f"EXPLAIN (FORMAT JSON) {text}", bindings).fetchall()
            self._read(plan[0]["Plan"])
            return rows_of(connection, statement, bindings)

        monkeypatch.setattr(statements, "rows_of", explained)
        monkeypatch.setattr(statements, "walk", explained)

    def _read(self, node: dict[str, Any]) -> None:
        table = node.get("Relation Name", "")
        self.tables.add(table)
        if node["Node Type"] == "Seq Scan":
            self.whole.add(table)
        if "Index Name" in node:
            self.indexes.add(node["Index Name"])
        for below in node.get("Plans", ()):
            self._read(below)

    def days_read(self) -> set[str]:
        """The full days of which entries would be read; an empty one costs nothing however it is read."""
        return self.tables & FULL_DAYS

    def days_read_whole(self) -> set[str]:
        return self.whole & FULL_DAYS


@pytest.fixture
def watched(store: PostgresStore, monkeypatch: pytest.MonkeyPatch) -> Watched:
    return Watched(store, monkeypatch)


@pytest.mark.parametrize(
    ("by", "table"),
    [
        (("day", "user"), "rollup_daily_user"),
        (("day", "user", "service"), "rollup_user"),
        (("customer",), "rollup_daily_customer"),
        (("day", "service"), "rollup_day"),
        (("meter",), "rollup_meter"),
        (("hour",), "rollup_quarter_hour"),
    ],
)
def test_a_few_days_are_read_from_a_rollup_by_its_key(
    store: PostgresStore, watched: Watched, by: tuple[str, ...], table: str
) -> None:
    day = START + 10 * DAY
    store.costs(CostQuery(by=by, since=day, until=day + 2 * DAY))
    assert f"{table}_pkey" in watched.indexes
    assert not {name for name in watched.whole if name.startswith("rollup")}


def test_one_user_is_sought_on_each_day_of_the_key(store: PostgresStore, watched: Watched) -> None:
    table = store.costs(CostQuery(by=("day", "service"), where={"user": ("u1",)}))
    assert table.answered_by == "rollup_user"
    assert "rollup_user_pkey" in watched.indexes
    assert "rollup_user" not in watched.whole


def test_one_job_is_found_by_its_indexes(store: PostgresStore, watched: Watched) -> None:
    table = store.costs(CostQuery(by=("service",), where={"job": ("j7",)}))
    assert table.answered_by == "rollup_job"
    assert "rollup_job_pkey" in watched.indexes
    assert "rollup_job" not in watched.whole


def test_the_dearest_jobs_come_by_the_indexes_of_their_totals(
    store: PostgresStore, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranking, "ALIKE_MAX", 10)
    table = store.costs(CostQuery(by=("job",), top=3))
    assert [row.keys for row in table.rows] == [(None,), ("j1199",), ("j1198",)]
    assert (table.total.first_at, table.total.last_at) == (START, NOON)
    assert table.answered_by == "rollup_job_total"
    with store._connections.reading() as connection:
        assert list(statements.rows(connection, "jobs_span")) == [(START, START + DAYS * DAY - DAY // ENTRIES_A_DAY)]
    wanted = {f"rollup_job_total_{name}" for name in ("dearest", "first", "last")}
    assert wanted <= watched.indexes
    assert "rollup_job_total" not in watched.whole


def test_a_jobs_entries_come_by_the_partial_index_of_each_day(store: PostgresStore, watched: Watched) -> None:
    assert len(store.job_entries("j7")) == 5
    assert not watched.days_read_whole()


def test_the_tail_comes_by_the_index_of_transactions(store: PostgresStore, watched: Watched) -> None:
    assert store.costs(CostQuery(by=("user",))).total.events == DAYS * ENTRIES_A_DAY + 2
    assert any("_xact_" in name for name in watched.indexes)
    assert not watched.days_read_whole()


def test_the_edges_of_a_range_read_only_their_days(store: PostgresStore, watched: Watched) -> None:
    first = START + 3 * DAY + HOUR // 7
    store.costs(CostQuery(by=("user",), since=first, until=first + 5 * DAY))
    edges = {name_of("entry", first // DAY), name_of("entry", first // DAY + 5)}
    assert edges <= watched.tables
    assert not watched.days_read_whole() - edges


def test_a_request_is_found_by_its_index(store: PostgresStore, watched: Watched) -> None:
    table = store.costs(CostQuery(by=("service",), where={"request": ("r123",)}))
    assert (table.answered_by, table.total.events) == ("request index", 1)
    assert any("_request_" in name for name in watched.indexes)
    assert not watched.days_read_whole()


def test_a_walk_over_one_day_reads_no_other_days_entries_but_corrections(
    store: PostgresStore, watched: Watched
) -> None:
    day = START // DAY + 4
    own = name_of("entry", day)
    assert len(list(store.entries(EntryFilter(since=day * DAY, until=(day + 1) * DAY), 10))) == 10
    assert watched.days_read_whole() <= {own}
    others = {name for name in watched.indexes if name.startswith("entry_2") and not name.startswith(own)}
    assert not {name for name in others if "_corrects_" not in name}
