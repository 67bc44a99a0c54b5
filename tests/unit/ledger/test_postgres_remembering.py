"""What a process remembers of sums on PostgreSQL is asked for again as soon as it may have changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from tests.ledger_entries import DAY, HOUR, NOON, make_entry
from tests.postgres_server import PostgresServer

from outlay.errors import LedgerError
from outlay.ledger.dialect import Row
from outlay.ledger.postgres import PostgresStore, querying, statements
from outlay.model import CostQuery, Entry

FROM_THE_MORNING = CostQuery(by=("feature",), since=NOON - DAY - 4 * HOUR, until=NOON + 12 * HOUR)


def entries(name: str, count: int, **fields: Any) -> list[Entry]:
    return [make_entry(f"{name}{n}", NOON - DAY + n, feature="f", **fields) for n in range(count)]


@pytest.fixture
def store(new_postgres_url: Callable[[], str]) -> Iterator[PostgresStore]:
    store = PostgresStore(new_postgres_url(), fold_behind=False)
    store.append([make_entry("early", NOON - DAY - 9 * HOUR, feature="f"), *entries("e", 5)])
    store.fold()
    yield store
    store.close()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The statements that were asked for rows."""
    asked: list[str] = []
    rows_of = statements.rows_of

    def noted(connection: Any, statement: str, bindings: Sequence[object] = ()) -> Iterator[Row]:
        asked.append(statement)
        return rows_of(connection, statement, bindings)

    monkeypatch.setattr(statements, "rows_of", noted)
    return asked


def read_sums(asked: Sequence[str]) -> bool:
    return any("sum(" in statement for statement in asked)


def test_a_question_asked_again_reads_no_sums_until_something_is_folded_in_its_range(
    store: PostgresStore, asked: list[str]
) -> None:
    first = store.costs(FROM_THE_MORNING)
    assert (first.total.events, read_sums(asked)) == (5, True)
    asked.clear()
    store.append([make_entry("elsewhere", NOON - 9 * DAY)])
    store.fold()
    assert store.costs(FROM_THE_MORNING) == first
    assert not read_sums(asked)
    store.append(entries("late", 2))
    store.fold()
    assert store.costs(FROM_THE_MORNING).total.events == 7


def test_more_than_may_be_looked_through_makes_all_be_read_again(
    store: PostgresStore, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(querying, "FOLDED_MAX", 1)
    store.costs(FROM_THE_MORNING)
    store.append([make_entry(f"elsewhere{n}", NOON - 9 * DAY) for n in range(2)])
    store.fold()
    asked.clear()
    assert store.costs(FROM_THE_MORNING).total.events == 5
    assert read_sums(asked)


def test_what_was_remembered_before_a_restore_counts_no_more(postgres: PostgresServer) -> None:
    name = postgres.create()
    older = PostgresStore(postgres.url(name), fold_behind=False)
    older.append(entries("e", 5))
    older.fold()
    older.close()
    kept = postgres.create(name)
    store = PostgresStore(postgres.url(name), fold_behind=False)
    store.append(entries("lost", 3))
    store.fold()
    assert store.costs(FROM_THE_MORNING).total.events == 8
    postgres.drop(name)
    postgres.run(f'CREATE DATABASE "{name}" TEMPLATE "{kept}"')
    store.append([make_entry("elsewhere", NOON - 9 * DAY)])
    store.fold()
    assert store.costs(FROM_THE_MORNING).total.events == 5
    store.close()
    for database in (name, kept):
        postgres.drop(database)


def test_retention_makes_the_entries_of_a_day_be_read_again(store: PostgresStore) -> None:
    whole = CostQuery(by=("day", "feature"), since=NOON - DAY - 4 * HOUR)
    assert store.costs(whole).total.events == 5
    store.retain(NOON // DAY, NOON)
    fresh = PostgresStore(store._connections._url, fold_behind=False)
    assert store.costs(whole) == fresh.costs(whole)
    fresh.close()


@pytest.mark.parametrize(
    ("since", "until"), [(NOON - 40 * DAY, NOON), (NOON - 10 * DAY, NOON), (None, NOON), (-(10**18), DAY - 10**18)]
)
def test_a_scan_counts_entries_where_tables_may_hold_more_than_the_limit(
    store: PostgresStore, since: int | None, until: int
) -> None:
    query = CostQuery(by=("step",), since=since, until=until, as_of=NOON, scan_limit=3)
    if until < 0:  # So long ago that no calendar has the day.
        assert store.costs(query).rows == ()
        return
    with pytest.raises(LedgerError) as caught:
        store.costs(query)
    assert caught.value.code == "scan_too_large"


def test_a_scan_of_few_days_counts_nothing_where_their_tables_are_small(
    store: PostgresStore, asked: list[str]
) -> None:
    day = NOON - DAY
    store.append([make_entry(f"more{n}", NOON + n) for n in range(300)])
    for limit, counts in ((299, True), (100_000, False)):
        asked.clear()
        query = CostQuery(by=("step",), since=day - HOUR, until=day + HOUR, scan_limit=limit)
        assert store.costs(query).total.events == 5
        assert any("AS found" in statement for statement in asked) is counts
