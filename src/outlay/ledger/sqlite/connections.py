"""Every connection of one ledger file: one writer under a lock, a few readers, and what a fork demands.

A connection that crosses a fork loses acknowledged rows without an error: SQLite's process-wide table of
locks is inherited, so a fresh connection of the child never takes its locks, and whoever closes last
deletes the log under the other. So all connections are closed *before* a fork and reopened lazily on both
sides. A fork by C code passes no hook: there the process id differs, and the inherited connections are
never touched again, not even closed.
"""

from __future__ import annotations

import ctypes
import os
import random
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import count
from pathlib import Path
from types import FrameType, TracebackType
from typing import Final

import apsw
import msgspec

from outlay.errors import LedgerBusy, LedgerClosed, LedgerCorrupt, LedgerReadOnly, OpenedBeforeFork, SchemaTooNew
from outlay.ledger.dialect import Row
from outlay.ledger.sqlite.failures import translate, translated
from outlay.ledger.sqlite.statements import SCHEMA_VERSION, Executes, migration, only, schema, sql

READ_SECONDS_MAX: Final = 10.0
"""A reader is interrupted after this: an open read keeps the log from being reset."""

BUSY_SECONDS_MAX: Final = 10.0
_APPLICATION_ID: Final = 0x4F75746C  # "Outl"
_IDLE_READERS_MAX: Final = 4
_CHECKPOINT_PAGES: Final = 4_000
_WRITER_STATEMENTS: Final = 512
"""How many executions back the writer still knows a statement. apsw's cache is a ring that each execution moves on,
and a group of calls takes hundreds (512 is its most): with 100, every BEGIN and COMMIT was compiled anew.
"""

_OPS_PER_CHECK: Final = 50_000
_FIRST_WAIT_S: Final = 20e-6
_LONGEST_WAIT_S: Final = 2e-3
_numbers = count()


class Meta(msgspec.Struct, frozen=True):
    """What a transaction reads first. `last_seq` is the greatest seq ever given."""

    epoch: int
    watermark: int
    horizon: int
    last_seq: int


class Reader:
    """A connection that reads, and until when it may."""

    def __init__(self, connection: apsw.Connection) -> None:
        self.connection = connection
        self.deadline = float("inf")
        connection.set_progress_handler(self._overdue, _OPS_PER_CHECK)

    def _overdue(self) -> bool:
        return time.monotonic() > self.deadline


class Connections:
    """The connections of one ledger in this process. Any thread may use them.

    `cursor` is the writer's, for statements of which at most the first row is read: within a transaction it spares
    making a cursor for each.
    """

    cursor: apsw.Cursor

    def __init__(self, path: Path, synchronous: str, currency: str, zone: str) -> None:
        """Opens or makes the ledger. `currency` and `zone` are used where it is made."""
        self.path = path
        self.address = str(path)
        self.number = next(_numbers)
        self._synchronous = synchronous
        self._made_with = (currency, zone)
        self._pid = os.getpid()
        self._closed = False
        self._writer: apsw.Connection | None = None
        self._idle: list[Reader] = []
        self._new_locks()
        with self.writer_lock:
            self._writer = self._connect(create=True, statements=_WRITER_STATEMENTS)
            self.cursor = self._writer.cursor()
        _OPEN.add(self)
        self._finalizer = weakref.finalize(self, _close_kept, self._pid, self._idle, kept := _Kept())
        kept.writer = self._writer
        self._kept = kept

    def _new_locks(self) -> None:
        self.writer_lock = threading.RLock()
        self.holder: list[FrameType | None] = [None]
        # Blocks hold the lock itself: an exception of a signal's handler may come within the entering of a Condition.
        self._gate_lock = threading.Lock()
        self._gate = threading.Condition(self._gate_lock)
        self._reading = 0
        self._forking = False

    # --- opening

    def _connect(self, *, create: bool = False, statements: int = 100) -> apsw.Connection:
        flags = apsw.SQLITE_OPEN_READWRITE | (apsw.SQLITE_OPEN_CREATE if create else 0)
        if create:
            self._check_folder()
        with translated(self.address):
            connection = apsw.Connection(self.address, flags=flags, statementcachesize=statements)
        # Never closed by being forgotten: in a child of a fork that we could not see, closing destroys.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))
        with ExitStack() as undo:
            undo.callback(_close, connection)
            with translated(self.address, connection):
                self._configure(connection, create)
            undo.pop_all()
        return connection

    def _check_folder(self) -> None:
        folder = self.path.parent
        if self.path.is_dir():
            raise LedgerCorrupt(f"{self.address} is a folder; give the path of a file")
        if folder.is_dir() and not os.access(folder, os.W_OK):
            raise LedgerReadOnly(f"the folder {folder} cannot be written, which a ledger's log needs")

    def _configure(self, connection: apsw.Connection, create: bool) -> None:
        connection.set_busy_handler(_Patience())
        if connection.readonly("main"):
            raise LedgerReadOnly(f"{self.address} cannot be written; check the permissions of it and its folder")
        if create:
            self._make_or_check(connection)
        connection.execute(f"PRAGMA synchronous = {'FULL' if self._synchronous == 'full' else 'NORMAL'}")
        connection.execute("PRAGMA cache_size = -32768")
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute("PRAGMA journal_size_limit = 67108864")
        connection.wal_autocheckpoint(_CHECKPOINT_PAGES)

    def _make_or_check(self, connection: apsw.Connection) -> None:
        self._refuse_foreign(connection)
        version = connection.pragma("user_version")
        if version > SCHEMA_VERSION:
            raise SchemaTooNew(
                f"{self.address} has schema {version}, this program knows {SCHEMA_VERSION}; upgrade the program"
            )
        if connection.pragma("journal_mode") != "wal":
            # Can only be chosen before the first page is written.
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            connection.execute("PRAGMA journal_mode = WAL")
        if version == SCHEMA_VERSION:
            return
        connection.execute("BEGIN IMMEDIATE")
        try:
            self._upgrade(connection)
            connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")

    def _refuse_foreign(self, connection: apsw.Connection) -> None:
        (tables,) = only(connection, "count_tables")
        if tables and connection.pragma("application_id") != _APPLICATION_ID:
            raise LedgerCorrupt(f"{self.address} is another program's database; give the path of a ledger")

    def _upgrade(self, connection: apsw.Connection) -> None:
        # Read again under the lock: another process may have made or upgraded the ledger meanwhile.
        version = connection.pragma("user_version")
        if version == 0:
            connection.execute(schema())
            connection.execute(sql("insert_meta"), self._made_with)
            connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        else:
            for step in range(version + 1, SCHEMA_VERSION + 1):
                connection.execute(migration(step))
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    # --- writing and reading

    def check(self) -> None:
        """Raises LedgerClosed or OpenedBeforeFork."""
        if self._closed:
            raise LedgerClosed
        if os.getpid() != self._pid:
            raise OpenedBeforeFork(
                f"{self.address} was open when C code forked this process; open it again after the fork"
            )

    def writing(self) -> Writing:
        """A with block that is one write transaction: committed at its end, rolled back when anything is raised."""
        return Writing(self)

    def writer_now(self) -> apsw.Connection:
        """The writer, opened where a fork closed it. Its lock is held."""
        if self._closed:
            raise LedgerClosed
        if self._writer is None:
            self._writer = self._kept.writer = self._connect(statements=_WRITER_STATEMENTS)
            self.cursor = self._writer.cursor()
        return self._writer

    def reclaim(self) -> None:
        """Take back the writer from a block that an exception of a signal's handler left between two steps of its
        end: nobody will end it. Raises LedgerBusy if that block is still running, further up in this thread.
        """
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:
            if frame is self.holder[0]:
                raise LedgerBusy(
                    f"{self.address} was asked from within its own transaction, as a signal's handler may; "
                    "let a thread do it"
                )
            frame = frame.f_back
        if self.writer_now().in_transaction:
            self.cursor.execute("ROLLBACK")
        self.holder[0] = None
        with suppress(RuntimeError):
            while True:  # Until it is not held at all.
                self.writer_lock.release()
        self.writer_lock.acquire()

    @contextmanager
    def vacating(self) -> Iterator[apsw.Connection]:
        """The writer outside any transaction, for pragmas."""
        self.check()
        with self.writer_lock:
            connection = self.writer_now()
            with translated(self.address, connection):
                yield connection

    @contextmanager
    def reading(self, seconds_max: float = READ_SECONDS_MAX) -> Iterator[apsw.Connection]:
        """A consistent view for reading, on a connection that no other thread uses meanwhile."""
        with self.borrowing(seconds_max) as connection:
            connection.execute("BEGIN")
            yield connection

    @contextmanager
    def borrowing(self, seconds_max: float) -> Iterator[apsw.Connection]:
        """A connection that no other thread uses meanwhile; a transaction left open is rolled back."""
        reader = self._take()
        connection = reader.connection
        reader.deadline = time.monotonic() + seconds_max
        try:
            with translated(self.address, connection):
                yield connection
        finally:
            reader.deadline = float("inf")
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            self._give(reader)

    def _take(self) -> Reader:
        self.check()
        with self._gate_lock:
            while self._forking:
                self._gate.wait()
            self._reading += 1
            if self._idle:
                return self._idle.pop()
        with ExitStack() as undo:
            undo.callback(self._leave)
            reader = Reader(self._connect())
            undo.pop_all()
        return reader

    def _give(self, reader: Reader) -> None:
        with self._gate_lock:
            keep = len(self._idle) < _IDLE_READERS_MAX and not self._closed
            if keep:
                self._idle.append(reader)
        if not keep:
            _close(reader.connection)
        self._leave()

    def _leave(self) -> None:
        with self._gate_lock:
            self._reading -= 1
            self._gate.notify_all()

    # --- closing and forking

    def close(self) -> None:
        """Close what is idle now and the rest when it is given back. Nothing, where a fork was not seen."""
        if self._closed or os.getpid() != self._pid:
            self._closed = True
            return
        with self.writer_lock:
            self._closed = True
            self._close_all()
        self._finalizer.detach()

    def _close_all(self) -> None:
        with self._gate_lock:
            idle = self._idle[:]
            self._idle.clear()
        for reader in idle:
            _close(reader.connection)
        if self._writer is not None:
            _close(self._writer)
            self._writer = self._kept.writer = None

    def before_fork(self) -> None:
        """Wait for the writer and the readers of this process, hold new ones back, and close everything."""
        if self._closed or os.getpid() != self._pid:
            return
        self.writer_lock.acquire()
        with self._gate_lock:
            self._forking = True
            while self._reading:
                self._gate.wait()
        self._close_all()

    def after_fork_in_parent(self) -> None:
        """Let writers and readers go on."""
        if not self._forking:
            return
        with self._gate_lock:
            self._forking = False
            self._gate.notify_all()
        self.writer_lock.release()

    def after_fork_in_child(self) -> None:
        """Start afresh: nothing is open, and locks held by the parent's other threads do not exist here."""
        if not self._forking:
            return
        self._pid = os.getpid()
        self._new_locks()
        self._finalizer.detach()
        self._finalizer = weakref.finalize(self, _close_kept, self._pid, self._idle, self._kept)


class Writing:
    """One write transaction. A class: a generator would take a tenth of a reservation's time.

    It is held by the block of a function, never of a generator: the frame of one that waits is on no stack, so that
    whoever looks for it there would take its transaction for forgotten.
    """

    __slots__ = ("_connection", "_connections", "_cursor", "_holder", "_lock")

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._connection: apsw.Connection | None = None
        self._cursor: apsw.Cursor | None = None
        self._holder: list[FrameType | None] = [None]

    def __enter__(self) -> apsw.Connection:
        connections = self._connections
        connections.check()
        # The lock itself is kept: a fork gives the child new ones.
        lock = self._lock = connections.writer_lock
        begun = False
        try:
            lock.acquire()
            if connections.holder[0] is not None:
                connections.reclaim()
            connection = connections.writer_now()
            self._holder = connections.holder = [sys._getframe(1)]
            self._connection = connection
            cursor = self._cursor = connections.cursor
            cursor.execute("BEGIN IMMEDIATE")
            begun = True
        except apsw.Error as error:
            raise translate(error, connections.address, self._connection) from error
        finally:
            if not begun:
                self._leave()
        return connection

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        connection, cursor = self._connection, self._cursor
        try:
            if error is None and cursor is not None:
                cursor.execute("COMMIT")
            elif isinstance(error, apsw.Error):
                raise translate(error, self._connections.address, connection) from error
        except apsw.Error as failure:
            raise translate(failure, self._connections.address, connection) from failure
        finally:
            self._leave()

    def _leave(self) -> None:
        """Leave no transaction and no lock behind."""
        connection, cursor = self._connection, self._cursor
        try:
            if connection is not None and cursor is not None and connection.in_transaction:
                cursor.execute("ROLLBACK")
        except apsw.ConnectionClosedError:
            pass  # Closed meanwhile, as at the end of the process: closing has rolled it back.
        finally:
            # An exception may come after each step: whoever comes next finds by the frame what was not done.
            try:  # noqa: SIM105 - suppress() takes longer than the release, and every write comes here
                self._lock.release()
            except RuntimeError:
                pass  # It came before the lock was had.
            self._holder[0] = None


class _Kept:
    """What a finalizer must close: it may not hold the Connections themselves."""

    writer: apsw.Connection | None = None


class _Patience:
    """A busy handler: short waits with jitter, given up after BUSY_SECONDS_MAX.

    SQLite's own sleeps up to 100 ms between tries and starved a process for 4 s where others were quick.
    """

    def __init__(self) -> None:
        self._since = 0.0

    def __call__(self, tries: int) -> bool:
        if tries == 0:
            self._since = time.monotonic()
        elif time.monotonic() - self._since > BUSY_SECONDS_MAX:
            return False
        time.sleep(random.uniform(0.5, 1.5) * min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 1.5 ** min(tries, 20)))
        return True


def read_meta(connection: Executes) -> Meta:
    """The epoch, the watermark and the last seq, as of this transaction."""
    row = connection.execute(sql("meta")).fetchone()
    if row is None:
        raise LedgerCorrupt("the ledger has lost its settings; restore a backup")
    return meta_of(row)


def meta_of(row: Row) -> Meta:
    """What a row says that begins with the columns of `meta`."""
    epoch, watermark, horizon, last = row[:4]
    return Meta(epoch, watermark, horizon, max(last or 0, watermark))


def _close(connection: apsw.Connection) -> None:
    connection.close(True)
    ctypes.pythonapi.Py_DecRef(ctypes.py_object(connection))


def _close_kept(pid: int, idle: list[Reader], kept: _Kept) -> None:
    if os.getpid() != pid:
        return
    for reader in idle:
        _close(reader.connection)
    idle.clear()
    if kept.writer is not None:
        _close(kept.writer)
        kept.writer = None


_OPEN: weakref.WeakSet[Connections] = weakref.WeakSet()


def _each_open(action: Callable[[Connections], None], backwards: bool = False) -> None:
    for connections in sorted(_OPEN, key=lambda one: one.number, reverse=backwards):
        action(connections)


os.register_at_fork(
    before=lambda: _each_open(Connections.before_fork),
    after_in_parent=lambda: _each_open(Connections.after_fork_in_parent, backwards=True),
    after_in_child=lambda: _each_open(Connections.after_fork_in_child),
)
