"""The PostgreSQL store: one database, many hosts, safe across forks, restarts of the server and cut connections."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from outlay.clock import Instant, SystemClock, zone_info
from outlay.errors import LedgerError
from outlay.ledger import rules
from outlay.ledger.budget_store import Covering
from outlay.ledger.names import KIND_NUMBERS, TAG_SETS_A_DAY, NameBook, intern_name
from outlay.ledger.postgres import auditing, migrations, querying, reading, retention, statements, writing
from outlay.ledger.postgres.budgeting import PostgresBudgets
from outlay.ledger.postgres.connections import Connections, Meta, read_meta
from outlay.ledger.postgres.folder import Folder
from outlay.ledger.postgres.moving import PostgresMover
from outlay.ledger.postgres.partitions import Partitions, days_with_partitions
from outlay.ledger.postgres.serving import PostgresServing
from outlay.ledger.postgres.statements import Connection, first, only, rows, rows_of, run, sql
from outlay.ledger.postgres.waiting import Write
from outlay.ledger.rollups import ROLLUPS, VALUES_A_DAY
from outlay.ledger.store import Amendment, EntryFilter, JobOutcome, Retained, Statement, StatementLine
from outlay.model import Appended, AuditReport, CostQuery, CostTable, Entry, Rate

_ACTIVE_CATALOGUE: Final = "outlay.catalogue"
_encode: Final = msgspec.msgpack.Encoder().encode
_decode_rate: Final = msgspec.msgpack.Decoder(Rate).decode


class PostgresStore(PostgresBudgets, PostgresServing):
    """A ledger in the schema `outlay` of a PostgreSQL database, 13 or newer.

    `currency` and `zone` count where the ledger is made; an existing one keeps its own. What survives a power cut is
    the server's `synchronous_commit`.
    """

    def __init__(
        self,
        url: str,
        *,
        currency: str = "USD",
        zone: str = "UTC",
        now: Callable[[], Instant] | None = None,
        values_a_day: int = VALUES_A_DAY,
        tag_sets_a_day: int = TAG_SETS_A_DAY,
        fold_behind: bool = True,
        covering: Covering | None = None,
    ) -> None:
        """Open or make a ledger at a URL as libpq reads it.

        `values_a_day` and `tag_sets_a_day` bound what the wide rollup tells apart and what tags are shared;
        `fold_behind` lets a thread fold while others append; `covering` says in which accounts an entry counts.
        Raises InvalidInput `unknown_zone`, SchemaTooNew, LedgerReadOnly, LedgerFull, LedgerBusy or LedgerError
        `cannot_open`, `unreachable`, `server_too_old` or `bad_encoding`.
        """
        zone_info(zone)
        self._now = now or SystemClock().now
        self._connections = Connections(url)
        self.address = self._connections.address
        migrations.prepare(self._connections, currency, zone)
        self._book = NameBook(statements, tag_sets_a_day)
        self._make_budgets(covering)
        self._fold_behind = fold_behind
        found = self._connections.read(lambda connection: only(connection, "currency_and_zone"))
        self.currency: str = found[0]
        self.home_zone: str = found[1]
        self._folder = Folder(self._connections, self.home_zone, values_a_day, self._now)
        self._remembered = querying.Remembered()
        self._partitions = Partitions(self._connections)
        self._partitions.ahead(self._now())

    # --- entries

    def epoch(self) -> int:
        """A number that grows with every change of prices, names or settings."""
        return self._connections.read(lambda connection: read_meta(connection).epoch)

    def append(self, entries: Sequence[Entry], *, epoch: int | None = None) -> list[Appended]:
        """See LedgerStore.append."""
        self._partitions.ahead(self._now())
        self._partitions.for_import([entry.event.occurred_from for entry in entries])
        results = writing.append(self._connections, self._book, entries, epoch, self._accounts.appended)
        self._appended(len(entries))
        return results

    def _appended(self, count: int) -> None:
        if self._fold_behind:
            self._folder.appended(count)

    def amend(self, amendments: Sequence[Amendment]) -> list[Appended]:
        """See LedgerStore.amend."""
        results = writing.amend(self._connections, self._book, amendments, self._accounts.corrected)
        self._appended(2 * len(amendments))
        return results

    def versions(self, id: str, days: Sequence[int] | None = None) -> list[list[Entry]]:
        """See LedgerStore.versions."""
        return reading.versions(self._connections, self._book, id, days)

    def entries(self, filter: EntryFilter, limit: int | None = None) -> Iterator[Entry]:
        """See LedgerStore.entries."""
        return reading.walk(self._connections, self._book, filter, limit)

    def job_entries(self, job: str) -> list[Entry]:
        """See LedgerStore.job_entries."""
        return reading.job_entries(self._connections, self._book, job)

    # --- answers

    def costs(self, query: CostQuery) -> CostTable:
        """See LedgerStore.costs."""
        return querying.costs(self._connections, self._book, self._folder, self._remembered, query, self.currency)

    def fold(self, limit: int = 100_000) -> int:
        """See LedgerStore.fold."""
        return self._folder.fold(limit)

    def audit(self) -> AuditReport:
        """See LedgerStore.audit."""
        return auditing.audit(self._connections, self._book, self.home_zone, self._accounts)

    # --- prices and settings

    def add_rates(self, rates: Sequence[Rate]) -> int:
        """See LedgerStore.add_rates."""

        def work(connection: Connection, _: Meta) -> int:
            for rate in rates:
                run(connection, "add_user_rate", (_encode(rate),))
            return _raise_epoch(connection)

        return self._connections.write(work, alone=True)

    def rates(self) -> list[Rate]:
        """See LedgerStore.rates."""
        return [_decode_rate(body) for (body,) in self._connections.read(lambda one: rows(one, "user_rates"))]

    def put_catalogue(self, id: str, body: bytes, recorded_at: Instant, *, activate: bool) -> int:
        """See LedgerStore.put_catalogue."""

        def work(connection: Connection, _: Meta) -> int:
            run(connection, "put_catalogue", (id, body, recorded_at))
            if activate:
                run(connection, "put_setting", (_ACTIVE_CATALOGUE, id))
            return _raise_epoch(connection)

        return self._connections.write(work, alone=True)

    def catalogue(self, id: str | None = None) -> tuple[str, bytes] | None:
        """See LedgerStore.catalogue."""
        wanted = self.setting(_ACTIVE_CATALOGUE) if id is None else id
        found = self._connections.read(lambda connection: first(connection, "catalogue", (wanted,)))
        return None if found is None else (found[0], found[1])

    def catalogues(self) -> list[tuple[str, Instant, bool]]:
        """See LedgerStore.catalogues."""
        active = self.setting(_ACTIVE_CATALOGUE)
        found = self._connections.read(lambda connection: rows(connection, "catalogues"))
        return [(id, at, id == active) for id, at in found]

    def setting(self, name: str) -> str | None:
        """See LedgerStore.setting."""
        found = self._connections.read(lambda connection: first(connection, "setting", (name,)))
        return None if found is None else str(found[0])

    def put_setting(self, name: str, value: str) -> None:
        """See LedgerStore.put_setting."""

        def work(connection: Connection, _: Meta) -> None:
            run(connection, "put_setting", (name, value))
            _raise_epoch(connection)

        self._connections.write(work, alone=True)

    # --- statements and jobs

    def add_statement(
        self, statement: Statement, lines: Sequence[StatementLine], charges: Sequence[Entry]
    ) -> list[Appended]:
        """See LedgerStore.add_statement."""
        rules.check_statement(statement, lines)

        def keep(write: Write, results: list[Appended]) -> None:
            self._accounts.appended(write, results)
            run(write.connection, "put_statement", msgspec.structs.astuple(statement))
            for line in lines:
                run(write.connection, "put_statement_line", msgspec.structs.astuple(line))

        return writing.append(self._connections, self._book, charges, None, keep)

    def statement_lines(self, state: str | None = None) -> list[StatementLine]:
        """See LedgerStore.statement_lines."""
        fields = StatementLine.__struct_fields__
        found = self._connections.read(lambda connection: rows(connection, "statement_lines", (state,)))
        return [StatementLine(**dict(zip(fields, row, strict=True))) for row in found]

    def finish_job(self, outcome: JobOutcome) -> None:
        """See LedgerStore.finish_job."""

        def work(connection: Connection, _: Meta) -> None:
            number = intern_name(statements, connection, KIND_NUMBERS["job"], outcome.job)
            run(connection, "put_job_outcome", (number, outcome.units, outcome.status, outcome.recorded_at))

        self._connections.write(work)

    def job_outcomes(self, jobs: Sequence[str] | None = None) -> dict[str, JobOutcome]:
        """See LedgerStore.job_outcomes."""

        def work(connection: Connection) -> dict[str, JobOutcome]:
            if jobs is None:
                found = rows(connection, "job_outcomes")
            else:
                found = rows(connection, "job_outcomes_of", (KIND_NUMBERS["job"], list(jobs)))
            return {
                job: JobOutcome(job=job, units=units, status=status, recorded_at=at)
                for job, units, status, at in found
            }

        return self._connections.read(work)

    # --- keeping and forgetting

    def retain(self, before_day: int, now: Instant) -> Retained:
        """See LedgerStore.retain."""
        return retention.retain(self._connections, self._folder, before_day, now)

    def forget(self, kind: str, name: str) -> int:
        """See LedgerStore.forget."""
        return retention.forget(self._connections, self._accounts, kind, name)

    def backup(self, target: Path) -> None:
        """Not done here: the server's own tools copy a database whole. Raises LedgerError `backup_unsupported`."""
        raise LedgerError(
            f"a ledger on PostgreSQL is not copied to {target}: use pg_dump, or the server's base backups",
            code="backup_unsupported",
        )

    def finish_migration(self) -> list[str]:
        """Apply what takes away what no program needs any more, once all programs are new; the scripts applied."""
        return migrations.finish(self._connections)

    def mover(self) -> PostgresMover:
        """See moving.Movable."""
        return PostgresMover(self._connections, self._partitions)

    def facts(self) -> dict[str, str]:
        """See LedgerStore.facts."""

        def work(connection: Connection) -> dict[str, str]:
            meta = read_meta(connection)
            facts = {
                "engine": f"PostgreSQL {only(connection, 'server_version')[0]}",
                "currency": self.currency,
                "zone": self.home_zone,
                "schema": str(migrations.SCHEMA_VERSION),
                "bytes": str(only(connection, "size")[0]),
                "last_seq": str(only(connection, "last_seq")[0]),
                "watermark": f"{meta.folded_xact} {meta.folded_seq}",
                "epoch": str(meta.epoch),
                "partitions": str(len(days_with_partitions(connection))),
            }
            for name in ("entry", "identity", "dimension", "rate", *(rollup.name for rollup in ROLLUPS)):
                (count,) = next(rows_of(connection, sql("count_cells").replace("{table}", name)))
                facts["entries" if name == "entry" else name] = str(count)
            return facts

        return self._connections.read(work)

    def close(self) -> None:
        """Close every connection; further use raises LedgerClosed."""
        self._folder.stop()
        self._connections.close()


def _raise_epoch(connection: Connection) -> int:
    return int(only(connection, "raise_epoch")[0])
