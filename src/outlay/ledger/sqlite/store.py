"""The SQLite store: one file, many threads and processes, safe across forks and kill -9."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import apsw
import msgspec

from outlay.clock import Instant, SystemClock, zone_info
from outlay.errors import InvalidInput, LedgerError
from outlay.ledger import rules
from outlay.ledger.budget_store import Covering
from outlay.ledger.names import KIND_NUMBERS, TAG_SETS_A_DAY, NameBook, intern_name
from outlay.ledger.remembering import RememberedCells
from outlay.ledger.rollups import ROLLUPS, VALUES_A_DAY
from outlay.ledger.sqlite import auditing, querying, reading, retention, statements, writing
from outlay.ledger.sqlite.budgeting import SqliteBudgets
from outlay.ledger.sqlite.connections import Connections, read_meta
from outlay.ledger.sqlite.failures import translated
from outlay.ledger.sqlite.filesystem import filesystem_type, refuse_unsafe
from outlay.ledger.sqlite.folder import Folder
from outlay.ledger.sqlite.moving import SqliteMover
from outlay.ledger.sqlite.serving import SqliteServing
from outlay.ledger.sqlite.statements import SCHEMA_VERSION, first, only, rows, rows_of, sql
from outlay.ledger.store import Amendment, EntryFilter, JobOutcome, Retained, Statement, StatementLine
from outlay.model import Appended, AuditReport, CostQuery, CostTable, Entry, Rate

SYNCHRONOUS: Final = ("normal", "full")
_ACTIVE_CATALOGUE: Final = "outlay.catalogue"
_encode: Final = msgspec.msgpack.Encoder().encode
_decode_rate: Final = msgspec.msgpack.Decoder(Rate).decode


class SqliteStore(SqliteBudgets, SqliteServing):
    """A ledger in one SQLite file, in WAL mode.

    `synchronous` "normal" survives kill -9 of every process; "full" survives a power cut too, for a flush
    of the disk a commit. `currency` and `zone` count where the file is made; an existing one keeps its own.
    """

    def __init__(
        self,
        path: Path,
        *,
        currency: str = "USD",
        zone: str = "UTC",
        synchronous: str = "normal",
        now: Callable[[], Instant] | None = None,
        filesystem: Callable[[Path], str] = filesystem_type,
        values_a_day: int = VALUES_A_DAY,
        tag_sets_a_day: int = TAG_SETS_A_DAY,
        fold_behind: bool = True,
        covering: Covering | None = None,
    ) -> None:
        """Open or make a ledger.

        `values_a_day` and `tag_sets_a_day` bound what the wide rollup tells apart and what tags are shared;
        `fold_behind` lets a thread fold while others append; `covering` says in which accounts an entry counts.
        Raises InvalidInput `bad_setting` or `unknown_zone`, UnsafeFilesystem, LedgerReadOnly, LedgerCorrupt,
        SchemaTooNew, LedgerFull, LedgerBusy or LedgerError `cannot_open`.
        """
        if synchronous not in SYNCHRONOUS:
            raise InvalidInput(f"synchronous is {synchronous!r}; use normal or full", code="bad_setting")
        zone_info(zone)
        path = Path(path).absolute()
        refuse_unsafe(path, filesystem(path))
        self.address = str(path)
        self._now = now or SystemClock().now
        self._connections = Connections(path, synchronous, currency, zone)
        self._book = NameBook(statements, tag_sets_a_day)
        self._make_budgets(covering)
        self._fold_behind = fold_behind
        with self._connections.reading() as connection:
            found = only(connection, "currency_and_zone")
        self.currency: str = found[0]
        self.home_zone: str = found[1]
        self._folder = Folder(self._connections, self.home_zone, values_a_day)
        self._remembered = RememberedCells()

    # --- entries

    def epoch(self) -> int:
        """A number that grows with every change of prices, names or settings."""
        with self._connections.reading() as connection:
            return read_meta(connection).epoch

    def append(self, entries: Sequence[Entry], *, epoch: int | None = None) -> list[Appended]:
        """See LedgerStore.append."""
        results = writing.append(self._connections, self._book, entries, epoch, self._accounts.appended)
        if self._fold_behind:
            self._folder.appended(len(entries))
        return results

    def amend(self, amendments: Sequence[Amendment]) -> list[Appended]:
        """See LedgerStore.amend."""
        results = writing.amend(self._connections, self._book, amendments, self._accounts.corrected)
        if self._fold_behind:
            self._folder.appended(2 * len(amendments))
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
        with self._connections.writing() as connection:
            connection.executemany(sql("add_user_rate"), [(_encode(rate),) for rate in rates])
            return _raise_epoch(connection)

    def rates(self) -> list[Rate]:
        """See LedgerStore.rates."""
        with self._connections.reading() as connection:
            return [_decode_rate(body) for (body,) in rows(connection, "user_rates")]

    def put_catalogue(self, id: str, body: bytes, recorded_at: Instant, *, activate: bool) -> int:
        """See LedgerStore.put_catalogue."""
        with self._connections.writing() as connection:
            connection.execute(sql("put_catalogue"), (id, body, recorded_at))
            if activate:
                connection.execute(sql("put_setting"), (_ACTIVE_CATALOGUE, id))
            return _raise_epoch(connection)

    def catalogue(self, id: str | None = None) -> tuple[str, bytes] | None:
        """See LedgerStore.catalogue."""
        wanted = self.setting(_ACTIVE_CATALOGUE) if id is None else id
        with self._connections.reading() as connection:
            found = first(connection, "catalogue", (wanted,))
        return None if found is None else (found[0], found[1])

    def catalogues(self) -> list[tuple[str, Instant, bool]]:
        """See LedgerStore.catalogues."""
        active = self.setting(_ACTIVE_CATALOGUE)
        with self._connections.reading() as connection:
            return [(id, at, id == active) for id, at in rows(connection, "catalogues")]

    def setting(self, name: str) -> str | None:
        """See LedgerStore.setting."""
        with self._connections.reading() as connection:
            found = first(connection, "setting", (name,))
        return None if found is None else str(found[0])

    def put_setting(self, name: str, value: str) -> None:
        """See LedgerStore.put_setting."""
        with self._connections.writing() as connection:
            connection.execute(sql("put_setting"), (name, value))
            _raise_epoch(connection)

    # --- statements and jobs

    def add_statement(
        self, statement: Statement, lines: Sequence[StatementLine], charges: Sequence[Entry]
    ) -> list[Appended]:
        """See LedgerStore.add_statement."""
        rules.check_statement(statement, lines)

        def keep(write: writing.Write, results: list[Appended]) -> None:
            self._accounts.appended(write, results)
            write.connection.execute(sql("put_statement"), msgspec.structs.astuple(statement))
            write.connection.executemany(sql("put_statement_line"), [msgspec.structs.astuple(line) for line in lines])

        return writing.append(self._connections, self._book, charges, None, keep)

    def statement_lines(self, state: str | None = None) -> list[StatementLine]:
        """See LedgerStore.statement_lines."""
        fields = StatementLine.__struct_fields__
        with self._connections.reading() as connection:
            return [
                StatementLine(**dict(zip(fields, row, strict=True)))
                for row in rows(connection, "statement_lines", (state,))
            ]

    def finish_job(self, outcome: JobOutcome) -> None:
        """See LedgerStore.finish_job."""
        with self._connections.writing() as connection:
            number = intern_name(statements, connection, KIND_NUMBERS["job"], outcome.job)
            connection.execute(sql("put_job_outcome"), (number, outcome.units, outcome.status, outcome.recorded_at))

    def job_outcomes(self, jobs: Sequence[str] | None = None) -> dict[str, JobOutcome]:
        """See LedgerStore.job_outcomes."""
        with self._connections.reading() as connection:
            if jobs is None:
                found = list(rows(connection, "job_outcomes"))
            else:
                kind = KIND_NUMBERS["job"]
                found = [(job, *row) for job in set(jobs) for row in rows(connection, "job_outcome", (kind, job))]
        return {
            job: JobOutcome(job=job, units=units, status=status, recorded_at=at) for job, units, status, at in found
        }

    # --- keeping and forgetting

    def retain(self, before_day: int, now: Instant) -> Retained:
        """See LedgerStore.retain."""
        return retention.retain(self._connections, self._folder, before_day, now)

    def forget(self, kind: str, name: str) -> int:
        """See LedgerStore.forget."""
        return retention.forget(self._connections, self._accounts, kind, name)

    def backup(self, target: Path) -> None:
        """See LedgerStore.backup. Raises LedgerError `backup_exists` rather than overwrite a file."""
        target = Path(target).absolute()
        if target.exists():
            raise LedgerError(f"{target} exists already; give the path of a new file", code="backup_exists")
        with translated(str(target)):
            copy = apsw.Connection(str(target))
        with ExitStack() as undo:
            undo.callback(target.unlink, missing_ok=True)
            undo.callback(copy.close, True)
            with self._connections.reading(float("inf")) as connection, translated(str(target), copy):
                with copy.backup("main", connection, "main") as progress:
                    progress.step(-1)
                copy.execute("PRAGMA journal_mode = DELETE").fetchall()
            undo.pop_all()
        copy.close(True)

    def mover(self) -> SqliteMover:
        """See moving.Movable."""
        return SqliteMover(self._connections)

    def facts(self) -> dict[str, str]:
        """See LedgerStore.facts."""
        with self._connections.reading() as connection:
            meta = read_meta(connection)
            pages, size = connection.pragma("page_count"), connection.pragma("page_size")
            facts = {
                "engine": f"SQLite {apsw.sqlite_lib_version()}",
                "currency": self.currency,
                "zone": self.home_zone,
                "schema": str(SCHEMA_VERSION),
                "bytes": str(pages * size),
                "last_seq": str(meta.last_seq),
                "watermark": str(meta.watermark),
                "epoch": str(meta.epoch),
            }
            for name in ("entry", "identity", "dimension", "rate", *(rollup.name for rollup in ROLLUPS)):
                count = sql("count_cells").replace("{table}", name)
                facts["entries" if name == "entry" else name] = str(next(rows_of(connection, count))[0])
        return facts

    def close(self) -> None:
        """Close every connection; further use raises LedgerClosed."""
        self._folder.stop()
        self._connections.close()


def _raise_epoch(connection: apsw.Connection) -> int:
    return int(only(connection, "raise_epoch")[0])
