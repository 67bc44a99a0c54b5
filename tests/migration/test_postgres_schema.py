"""The schema that a new ledger on PostgreSQL gets is the one that an old ledger is migrated to."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import psycopg
from tests.postgres_server import PostgresServer

from outlay.ledger.cells import key_columns
from outlay.ledger.folding import measures_of
from outlay.ledger.postgres import PostgresStore, migrations
from outlay.ledger.postgres.statements import script, scripts
from outlay.ledger.rollups import ROLLUPS

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
