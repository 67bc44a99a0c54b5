"""The schema that a new ledger on PostgreSQL gets is the one that an old ledger is migrated to."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import psycopg
from tests.ledger_entries import DAY, NOON, make_entry
from tests.postgres_server import PostgresServer

from outlay.ledger.cells import key_columns
from outlay.ledger.folding import measures_of
from outlay.ledger.postgres import PostgresStore, migrations
from outlay.ledger.postgres.statements import script, scripts
from outlay.ledger.rollups import ROLLUPS, SUMMED
from outlay.ledger.store import Amendment
from outlay.model import CostQuery

COLUMNS = """
SELECT table_name, column_name, data_type, is_nullable, column_default, is_identity
FROM information_schema.columns WHERE table_schema = 'outlay' ORDER BY 1, 2
"""
INDEXES = "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'outlay' ORDER BY 1, 2"
CONSTRAINTS = """
SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
WHERE connamespace = 'outlay'::regnamespace ORDER BY 1, 2
"""


def shape(connection: psycopg.Connection) -> list[list[tuple[object, ...]]]:
    return [connection.execute(text.encode()).fetchall() for text in (COLUMNS, INDEXES, CONSTRAINTS)]


def made_by(postgres: PostgresServer, texts: list[str]) -> list[list[tuple[object, ...]]]:
    with postgres.database() as url, psycopg.connect(url, autocommit=True) as connection:
        connection.execute(b"CREATE SCHEMA outlay; SET search_path = outlay")
        for text in texts:
            connection.execute(text.encode())
        return shape(connection)


def test_the_schema_equals_all_migrations_replayed(postgres: PostgresServer) -> None:
    replayed = [script("migrations", phase, name) for phase in ("pre", "post") for name in scripts(phase)]
    assert made_by(postgres, [script("schema.sql")]) == made_by(postgres, replayed)
    assert migrations.version_of(scripts("pre")[-1]) == migrations.SCHEMA_VERSION


def test_every_rollup_has_the_table_that_it_declares(new_postgres_ledger: Callable[..., str]) -> None:
    with psycopg.connect(new_postgres_ledger(), autocommit=True) as connection:
        for rollup in ROLLUPS:
            columns = connection.execute(
                "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 ORDER BY attnum",
                (f"outlay.{rollup.name}",),
            ).fetchall()
            assert [name for (name,) in columns] == [*key_columns(rollup), *measures_of(rollup)]


def test_programs_that_open_a_new_database_at_the_same_time_make_one_ledger(
    new_postgres_url: Callable[[], str],
) -> None:
    url = new_postgres_url()
    with ThreadPoolExecutor(4) as pool:
        stores = list(pool.map(lambda zone: PostgresStore(url, zone=zone), ["UTC", "Asia/Kolkata"] * 2))
    assert len({store.home_zone for store in stores}) == 1
    for store in stores:
        store.close()


def test_rollups_that_an_older_programs_fold_does_not_know_answer_once_the_migration_is_finished(
    new_postgres_url: Callable[[], str],
) -> None:
    url = new_postgres_url()
    store = PostgresStore(url)
    store.append([make_entry(f"e{n}", NOON - n * 9 * DAY, user=f"u{n % 3}", job=f"j{n % 7}") for n in range(40)])
    store.retain((NOON - 100 * DAY) // DAY, NOON)
    queries = [CostQuery(by=by, top=top) for by, top in ((("user",), None), (("month", "user"), None), (("job",), 3))]
    expected = [store.costs(query) for query in queries]
    with psycopg.connect(url, autocommit=True) as connection:
        # As an older program made it, and brought up to date beside it.
        connection.execute("UPDATE outlay.meta SET oldest = 1; DELETE FROM outlay.migration")
        for rollup in SUMMED:
            connection.execute(f"DELETE FROM outlay.{rollup.name}".encode())
        store.append([make_entry("late", NOON, user="u1")])
        store.fold()
        assert connection.execute("SELECT count(*) FROM outlay.rollup_daily_user").fetchone() == (0,)
    assert store.costs(queries[0]).answered_by == "rollup_user"
    assert store.audit().findings == ()
    assert store.finish_migration() == ["004_summed_rollups.sql"]
    assert store.finish_migration() == []
    assert store.audit().findings == ()
    (late,) = store.versions("late")
    store.amend([Amendment(late[0].seq, None, NOON, "only to see that the rest is as it was")])
    found = [store.costs(query) for query in queries]
    assert [(table.rows, table.total.amount) for table in found] == [
        (table.rows, table.total.amount) for table in expected
    ]
    assert [table.answered_by for table in found] == ["rollup_daily_user", "rollup_daily_user", "rollup_job_total"]
    store.close()


def test_functions_that_a_migration_brings_are_those_of_a_new_ledger(postgres: PostgresServer) -> None:
    def functions(texts: list[str]) -> dict[str, str]:
        with postgres.database() as url, psycopg.connect(url, autocommit=True) as connection:
            connection.execute(b"CREATE SCHEMA outlay; SET search_path = outlay")
            for text in texts:
                connection.execute(text.encode())
            return dict(
                connection.execute(
                    "SELECT oid::regprocedure::text, pg_get_functiondef(oid) FROM pg_proc"
                    " WHERE pronamespace = 'outlay'::regnamespace"
                ).fetchall()
            )

    made = functions([script("schema.sql"), script("functions.sql")])
    brought = functions([script("migrations", "pre", name) for name in scripts("pre")])
    assert len(brought) == 3
    assert brought.items() <= made.items()
