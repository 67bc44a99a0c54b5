"""Making a ledger in a database, and bringing an older one up to date while older programs go on.

There are two lists. What a program adds before it runs (`migrations/pre`) leaves older programs working: it is run
when the first new program opens the ledger. What older programs would break (`migrations/post`) is applied by
`finish`, once none of them runs any more; from then on they are refused by name.
"""

from __future__ import annotations

import random
import time
from typing import Final

import psycopg

from outlay.errors import InvalidInput, LedgerError, SchemaTooNew
from outlay.ledger.postgres.connections import SUMMED_SINCE, Connections
from outlay.ledger.postgres.failures import restarting, translate
from outlay.ledger.postgres.statements import Connection, first, only, run, script, scripts, sql

SCHEMA_VERSION: Final = 5
OPEN_SECONDS_MAX: Final = 10.0
"""How long a server that does not answer is waited for while a ledger is opened."""

FINISH_SECONDS_MAX: Final = 3_600
"""How long one statement of a post migration may take."""

OLDEST_SERVER: Final = 13
"""PostgreSQL's major version that the statements need: 64-bit transaction numbers."""

_WAIT_S: Final = 0.1


def prepare(connections: Connections, currency: str, zone: str) -> None:
    """Make the ledger where there is none, or bring it up to date. A server that restarts is waited for.

    Raises SchemaTooNew, InvalidInput `unknown_address`, LedgerError `server_too_old`, `bad_encoding`, `cannot_open`,
    `unreachable`.
    """
    connections.check()
    until = time.monotonic() + OPEN_SECONDS_MAX
    while True:
        try:
            return _prepare(connections, currency, zone)
        except psycopg.ProgrammingError as error:
            if error.sqlstate is not None:
                raise translate(error, connections.address) from error
            raise InvalidInput(
                f"{connections.address} is not a PostgreSQL address; see libpq's connection URIs",
                code="unknown_address",
            ) from error
        except psycopg.Error as error:
            if not restarting(error) or time.monotonic() > until:
                raise translate(error, connections.address) from error
        time.sleep(random.uniform(0.5, 1.5) * _WAIT_S)


def _prepare(connections: Connections, currency: str, zone: str) -> None:
    with connections.connect() as connection:
        _check_server(connection, connections.address)
        if _standing(connection, connections.address) < SCHEMA_VERSION:
            with connection.transaction():
                connection.execute(sql("begin_migrating"))
                _migrate(connection, connections.address, currency, zone)


def _check_server(connection: Connection, address: str) -> None:
    version = connection.info.server_version
    if version < OLDEST_SERVER * 10_000:
        raise LedgerError(
            f"{address} runs PostgreSQL {version // 10_000}; use {OLDEST_SERVER} or newer", code="server_too_old"
        )
    encoding = connection.info.parameter_status("server_encoding")
    if encoding not in (None, "UTF8"):
        raise LedgerError(f"{address} keeps text as {encoding}; make the database with UTF8", code="bad_encoding")


def _standing(connection: Connection, address: str) -> int:
    """The schema of the ledger there, 0 where there is none. Raises SchemaTooNew."""
    if only(connection, "has_ledger")[0] is None:
        return 0
    schema, oldest = only(connection, "standing")
    if oldest > SCHEMA_VERSION:
        raise SchemaTooNew(
            f"{address} needs programs of schema {oldest} or newer, this one knows {SCHEMA_VERSION}; upgrade it"
        )
    return int(schema)


def _migrate(connection: Connection, address: str, currency: str, zone: str) -> None:
    # Read again under the lock: another program may have made or upgraded the ledger meanwhile.
    standing = _standing(connection, address)
    if standing == 0:
        connection.execute(sql("begin_ledger"))
        connection.execute(script("schema.sql"))
        connection.execute(script("functions.sql"))
        run(connection, "insert_meta", (currency, zone, SCHEMA_VERSION, SUMMED_SINCE))
        for name in scripts("post"):
            run(connection, "note_migration", (f"post/{name}",))
    for name in scripts("pre"):
        if standing and standing < version_of(name) <= SCHEMA_VERSION:
            connection.execute(script("migrations", "pre", name))
            run(connection, "note_migration", (f"pre/{name}",))
            run(connection, "set_schema", (version_of(name),))


def finish(connections: Connections) -> list[str]:
    """Apply what older programs would break; they are refused from then on. Writers go on meanwhile, folds wait."""

    def work(connection: Connection, _: object) -> list[str]:
        connection.execute(f"SET LOCAL statement_timeout = '{FINISH_SECONDS_MAX}s'")
        run(connection, "lock_fold")
        applied = []
        for name in scripts("post"):
            if version_of(name) <= SCHEMA_VERSION and first(connection, "is_noted", (f"post/{name}",)) is None:
                connection.execute(script("migrations", "post", name))
                run(connection, "note_migration", (f"post/{name}",))
                run(connection, "set_oldest", (version_of(name),))
                applied.append(name)
        return applied

    return connections.write(work)


def version_of(name: str) -> int:
    """The schema that a script leads to: `002_call_keys.sql` to 2."""
    return int(name.split("_", 1)[0])
