"""The schema that a new ledger gets is the one that an old ledger is migrated to."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest
from tests.ledger_entries import DAY, NOON, make_entry

from outlay.errors import LedgerCorrupt, LedgerError, SchemaTooNew
from outlay.ledger.cells import key_columns
from outlay.ledger.folding import measures_of
from outlay.ledger.rollups import ROLLUPS, SUMMED
from outlay.ledger.sqlite import SqliteStore, connections
from outlay.ledger.sqlite.statements import SCHEMA_VERSION, migration, schema
from outlay.model import CostQuery


def shape(connection: apsw.Connection) -> dict[str, object]:
    """Each table's columns and each index's parts, however the script was written."""
    tables = connection.execute("SELECT name, type, ncol, wr, strict FROM pragma_table_list ORDER BY name").fetchall()
    columns = {name: connection.execute(f"PRAGMA table_xinfo({name})").fetchall() for name, *_ in tables}
    indexes = connection.execute("SELECT tbl_name, name, sql FROM sqlite_master WHERE type = 'index'").fetchall()
    return {"tables": tables, "columns": columns, "indexes": sorted(map(str, indexes))}


def test_the_schema_equals_all_migrations_replayed() -> None:
    new, migrated = apsw.Connection(":memory:"), apsw.Connection(":memory:")
    new.execute(schema())
    for version in range(1, SCHEMA_VERSION + 1):
        migrated.execute(migration(version))
    assert shape(new) == shape(migrated)


def test_every_table_is_strict() -> None:
    connection = apsw.Connection(":memory:")
    connection.execute(schema())
    loose = connection.execute(
        "SELECT name FROM pragma_table_list WHERE schema = 'main' AND name NOT LIKE 'sqlite_%' AND NOT strict"
    ).fetchall()
    assert loose == []


def test_every_rollup_has_the_table_that_it_declares() -> None:
    connection = apsw.Connection(":memory:")
    connection.execute(schema())
    for rollup in ROLLUPS:
        columns = connection.execute(f"SELECT name, pk FROM pragma_table_info('{rollup.name}')").fetchall()
        assert [name for name, _ in columns] == [*key_columns(rollup), *measures_of(rollup)]
        assert [name for name, place in columns if place] == [*key_columns(rollup)]


def test_a_newer_schema_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    store = SqliteStore(path)
    store.append([make_entry("a")])
    store.close()
    connection = apsw.Connection(str(path))
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(SchemaTooNew, match="upgrade the program"):
        SqliteStore(path)
    assert path.read_bytes() == before


def test_another_programs_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    connection = apsw.Connection(str(path))
    connection.execute("CREATE TABLE theirs (a); PRAGMA user_version = 1")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(LedgerCorrupt, match="another program's"):
        SqliteStore(path)
    assert path.read_bytes() == before


def test_an_older_ledger_is_brought_up_to_date_when_it_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.db"
    store = SqliteStore(path)
    store.append([make_entry("a")])
    store.close()
    monkeypatch.setattr(connections, "SCHEMA_VERSION", SCHEMA_VERSION + 1)
    monkeypatch.setattr(connections, "migration", lambda version: f"CREATE TABLE added_{version} (a INTEGER) STRICT")
    store = SqliteStore(path)
    assert store.append([make_entry("a")])[0].code == "exists"
    store.close()
    connection = apsw.Connection(str(path))
    assert connection.pragma("user_version") == SCHEMA_VERSION + 1
    assert connection.table_exists("main", f"added_{SCHEMA_VERSION + 1}")
    connection.close()


def test_a_migration_that_fails_leaves_the_ledger_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.db"
    SqliteStore(path).close()
    monkeypatch.setattr(connections, "SCHEMA_VERSION", SCHEMA_VERSION + 1)
    monkeypatch.setattr(connections, "migration", lambda _: "CREATE TABLE added (a); SELECT nonsense")
    with pytest.raises(LedgerError):
        SqliteStore(path)
    monkeypatch.undo()
    store = SqliteStore(path)
    assert store.facts()["schema"] == str(SCHEMA_VERSION)
    store.close()


def test_what_was_folded_before_is_summed_by_the_rollups_that_came_later(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    store = SqliteStore(path)
    store.append([make_entry(f"e{n}", NOON - n * 9 * DAY, user=f"u{n % 3}", job=f"j{n % 7}") for n in range(40)])
    store.retain((NOON - 100 * DAY) // DAY, NOON)
    store.append([make_entry("not-folded", NOON, user="u1")])
    queries = [CostQuery(by=by, top=top) for by, top in ((("user",), None), (("month", "user"), None), (("job",), 3))]
    before = [store.costs(query) for query in queries]
    store.close()
    connection = apsw.Connection(str(path))
    for rollup in SUMMED:
        connection.execute(f"DROP TABLE {rollup.name}")
    connection.execute("PRAGMA user_version = 6")
    connection.close()
    store = SqliteStore(path)
    assert store.audit().findings == ()
    assert [store.costs(query) for query in queries] == before
    store.close()
