"""The server that the tests of PostgreSQL bring: databases are apart, and it can be stopped in each way."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest
from tests.postgres_server import DURABLE, a_server


def test_each_database_is_empty_and_apart(new_postgres_url: Callable[[], str]) -> None:
    for _ in range(2):
        with psycopg.connect(new_postgres_url()) as connection:
            connection.execute("CREATE TABLE here (n int)")


@pytest.mark.parametrize("how", ["fast", "immediate", "kill"])
def test_what_was_committed_is_there_after_a_restart(how: str) -> None:
    with a_server(**DURABLE) as server:
        with psycopg.connect(server.url("postgres")) as connection:
            connection.execute("CREATE TABLE kept (n int)")
        server.restart(how)  # type: ignore[arg-type]  # one of the three, as parametrised
        with psycopg.connect(server.url("postgres")) as connection:
            assert connection.execute("SELECT count(*) FROM kept").fetchone() == (0,)
