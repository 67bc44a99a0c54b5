"""What only the SQLite store can get wrong about budgets: its names, its rows, its older files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import apsw
import msgspec
import pytest
from msgspec.structs import replace
from tests.budget_entries import asking, cents, put, reserve, state
from tests.ledger_entries import HOUR, NOON

from outlay.budgets.coverage import BudgetCoverage
from outlay.ledger.rules import fingerprint
from outlay.ledger.sqlite import SqliteStore
from outlay.ledger.sqlite.statements import migration


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    opened = SqliteStore(tmp_path / "a.db", covering=BudgetCoverage)
    yield opened
    opened.close()


def names(store: SqliteStore) -> set[str]:
    with store._connections.reading() as connection:
        return {name for (name,) in connection.execute("SELECT name FROM dimension")}


def test_a_refused_call_leaves_no_name_behind(store: SqliteStore) -> None:
    put(store, "cap", limit="0.05")
    assert reserve(store, cents(4, "a", user="ann")).code == "reserved"
    assert reserve(store, cents(4, "b", user="bob")).code == "refused"
    assert "ann" in names(store)
    assert "bob" not in names(store)


def test_a_group_in_which_one_fits_names_only_that_one(store: SqliteStore) -> None:
    put(store, "cap", limit="0.05")
    found = store.reserve_many([asking(store, cents(4, id, user=id)) for id in ("ann", "bob")])
    assert [one.code for one in found] == ["reserved", "refused"]
    assert {"ann", "bob"} & names(store) == {"ann"}


def test_names_that_another_process_forgot_meanwhile_are_not_written_from_memory(tmp_path: Path) -> None:
    """An estimate is made before the lock is taken: names may have changed until it is."""
    here = SqliteStore(tmp_path / "a.db", covering=BudgetCoverage)
    there = SqliteStore(tmp_path / "a.db", covering=BudgetCoverage)
    put(here, "cap", limit="1.00")
    reserve(here, cents(1, "r1", user="ann"))
    there.forget("user", "ann")
    # By another call of a person of this name, which is a new name to the ledger.
    reserve(here, cents(1, "r2", user="ann"))
    here.expire(NOON + HOUR)
    users = {id: here.versions(id)[0][0].event.user for id in ("r1", "r2")}
    assert users["r2"] == "ann"
    assert (users["r1"] or "").startswith("forgotten-")
    assert here.audit().findings == ()
    here.close()
    there.close()


def test_what_expires_has_the_fingerprint_that_a_made_id_went_without(store: SqliteStore) -> None:
    put(store, "cap", limit="0.10")
    asked = asking(store, cents(3, "made", id_given=False), for_s=60)
    store.reserve(replace(asked, estimate=replace(asked.estimate, fingerprint=b"")))
    assert store.expire(NOON + HOUR) == 1
    ((entry,),) = store.versions("made")
    assert entry.fingerprint == fingerprint(entry.event)
    assert state(store, cents(1)) == (3, 0)


def test_reservations_of_an_older_file_stand_as_they_stood() -> None:
    connection = apsw.Connection(":memory:")
    for version in range(1, 5):
        connection.execute(migration(version))
    kept = [("r2", b"f", 0, 10, 20, b"[]", b"e", None), ("r1", b"g", 1, 11, 21, b"[]", None, 7)]
    columns = "id, fingerprint, state, started_at, deadline, shares, estimate, entry"
    connection.executemany(f"INSERT INTO reservation ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", kept)
    connection.execute(migration(5))
    assert connection.execute(f"SELECT {columns} FROM reservation ORDER BY id").fetchall() == sorted(kept)


def test_an_estimate_that_an_older_file_holds_as_json_is_booked(store: SqliteStore) -> None:
    put(store, "cap", limit="0.10")
    asked = asking(store, cents(3, "r1"), for_s=60)
    store.reserve(asked)
    with store._connections.writing() as connection:
        connection.execute("UPDATE reservation SET estimate = ?", (msgspec.json.encode(asked.estimate),))
    assert store.expire(NOON + HOUR) == 1
    assert state(store, cents(1)) == (3, 0)
    assert store.audit().findings == ()
