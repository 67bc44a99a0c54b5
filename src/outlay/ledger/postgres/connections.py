"""The connections of one ledger on PostgreSQL: a small pool, transactions that are run again, and forks.

Every transaction is one function: where the server undid it for another's sake, or was lost before COMMIT was sent,
the function is run again. Where the connection is lost while COMMIT is under way, a row that each transaction writes
tells whether it landed. So nothing acknowledged is lost, and nothing is done twice.

The pool has no threads of its own: a program that forks keeps what it had, and a wrong password is told to whoever
opens the ledger, at once. As with a file, idle connections are closed before a fork and opened again on both sides.
"""

from __future__ import annotations

import os
import random
import secrets
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit, urlunsplit

import msgspec
import psycopg
from psycopg import RawCursor
from psycopg.adapt import AdaptersMap, Loader
from psycopg.pq import TransactionStatus
from psycopg.types.numeric import Int8Dumper

from outlay.errors import LedgerBusy, LedgerClosed, LedgerCorrupt, LedgerError, OpenedBeforeFork
from outlay.ledger.postgres.failures import lost, translate, undone
from outlay.ledger.postgres.statements import Connection, first, numbered, only, run, sql

READ_SECONDS_MAX: Final = 10.0
"""The server ends a reader's statement after this."""

RECONNECT_SECONDS_MAX: Final = 30.0
"""How long a transaction is tried again while the server is away."""

CONNECTIONS_MAX: Final = 16
"""How many connections a process holds at most; further threads wait for one."""

SUMMED_SINCE: Final = 4
"""From this `Meta.oldest` on the rollups that sum others are kept: an older program's fold would not add to them."""

SCHEMA: Final = "outlay"
"""The schema of the database that holds the ledger."""

_TRIES_UNDONE: Final = 20
_IDLE_MAX: Final = 8
_FIRST_WAIT_S: Final = 0.01
_LONGEST_WAIT_S: Final = 0.5
_numbers = count()
Result = TypeVar("Result")


class Meta(msgspec.Struct, frozen=True):
    """What a transaction reads first. Entries up to (folded_xact, folded_seq) are folded into the rollups.

    Only programs that know the schema `oldest` use the ledger. `xact` numbers this transaction among all of the
    ledger's, 0 for a reader.
    """

    epoch: int
    folded_xact: int
    folded_seq: int
    horizon: int
    oldest: int
    xact: int = 0


class _WholeNumberLoader(Loader):
    """A numeric is a sum of whole numbers here, always."""

    def load(self, data: Any) -> int:
        return int(bytes(data))


def _adapters() -> AdaptersMap:
    adapters = AdaptersMap(psycopg.adapters)
    adapters.register_dumper(int, Int8Dumper)
    adapters.register_loader("numeric", _WholeNumberLoader)
    return adapters


def shown(url: str) -> str:
    """An address without its password, for messages."""
    parts = urlsplit(url)
    place = parts.netloc.rpartition("@")
    user = place[0].split(":", 1)[0]
    return urlunsplit((parts.scheme, f"{user}@{place[2]}" if user else place[2], parts.path, "", ""))


class Connections:
    """The connections of one ledger in this process. Any thread may use them."""

    def __init__(self, url: str) -> None:
        """Opens nothing yet."""
        self._url = url
        self.address = shown(url)
        self.number = next(_numbers)
        self._pid = os.getpid()
        self._closed = False
        self._idle: list[Connection] = []
        self._new_locks()
        _OPEN.add(self)
        self._finalizer = weakref.finalize(self, _close_kept, self._pid, self._idle)

    def _new_locks(self) -> None:
        self._gate = threading.Condition(threading.Lock())
        self._busy = 0
        self._forks = 0

    # --- transactions

    def write(
        self,
        work: Callable[[Connection, Meta], Result],
        *,
        alone: bool = False,
    ) -> Result:
        """Run `work` in one write transaction, again where the server undid it or went away before its COMMIT.

        With `alone` no other write transaction runs meanwhile: for what changes the epoch, and for retention.
        """
        return self._repeated(lambda: self._write_once(work, alone))

    def _write_once(self, work: Callable[[Connection, Meta], Result], alone: bool) -> Result:
        with self.borrowing() as connection:
            meta = _begin(connection, alone)
            if meta.xact <= meta.folded_xact:
                raise _Restored
            result = work(connection, meta)
            try:
                _commit(connection)
            except psycopg.Error as error:
                if not lost(error):
                    raise
            else:
                return result
        if self._landed(connection.number, meta.xact):
            return result
        raise _NotCommitted

    def _landed(self, client: int, xact: int) -> bool:
        """Whether a transaction is there whose COMMIT was not answered."""

        def ended(connection: Connection) -> None:
            if _state_of(connection, xact) == "in progress":
                raise _StillCommitting

        # Two views: the row may become visible between the server's word and a view that was there before.
        self.read(ended)
        return self.read(lambda connection: first(connection, "has_landed", (client, xact)) is not None)

    @contextmanager
    def reading(self, seconds_max: float = READ_SECONDS_MAX) -> Iterator[Connection]:
        """A consistent view for reading, on a connection that no other thread uses meanwhile."""
        with self.borrowing() as connection:
            _begin_reading(connection, seconds_max)
            yield connection
            connection.execute("COMMIT")

    def read(self, work: Callable[[Connection], Result], seconds_max: float = READ_SECONDS_MAX) -> Result:
        """Run `work` within one consistent view, again where the server went away meanwhile."""

        def once() -> Result:
            with self.reading(seconds_max) as connection:
                return work(connection)

        return self._repeated(once)

    def _repeated(self, attempt: Callable[[], Result]) -> Result:
        until = time.monotonic() + RECONNECT_SECONDS_MAX
        tries = 0
        while True:
            tries += 1
            try:
                return attempt()
            except (_NotCommitted, _StillCommitting):
                if time.monotonic() > until:
                    raise LedgerError(
                        f"{self.address} went away while it committed, and cannot be asked; send the same again",
                        code="commit_unknown",
                    ) from None
            except _Restored:
                self._renumber()
            except Undone:
                if tries >= _TRIES_UNDONE:
                    raise LedgerBusy(f"{self.address} was changed by others again and again; try again") from None
            except psycopg.Error as error:
                again = lost(error) and time.monotonic() < until
                if not again and not (undone(error) and tries < _TRIES_UNDONE):
                    raise translate(error, self.address) from error
                if lost(error):
                    self._drop_idle()
            time.sleep(random.uniform(0.5, 1.5) * min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2 ** min(tries - 1, 10)))

    def _renumber(self) -> None:
        """Number new transactions above those of the ledger: only so can the fold tell what it has not seen."""
        with self.borrowing() as connection:
            _begin(connection, True)
            run(connection, "renumber_transactions")
            connection.execute("COMMIT")

    # --- opening and lending

    def check(self) -> None:
        """Raises LedgerClosed or OpenedBeforeFork."""
        if self._closed:
            raise LedgerClosed
        if os.getpid() != self._pid:
            raise OpenedBeforeFork(
                f"{self.address} was open when C code forked this process; open it again after the fork"
            )

    def connect(self) -> Connection:
        """A connection of its own, not of the pool. Raises psycopg.Error."""
        connection = Connection.connect(
            self._url,
            autocommit=True,  # Transactions are begun and ended by name, in as few round trips as they need.
            prepare_threshold=None,
            cursor_factory=RawCursor,
            context=_CONTEXT,
            connect_timeout=5,
            # A host that vanished without a word is noticed in half a minute, not in hours.
            keepalives_idle=10,
            keepalives_interval=5,
            keepalives_count=4,
            tcp_user_timeout=20_000,
            client_encoding="UTF8",
            application_name="outlay",
        )
        connection.number = secrets.randbits(63)
        return connection

    @contextmanager
    def borrowing(self) -> Iterator[Connection]:
        """A connection that no other thread uses meanwhile; a transaction left open is rolled back."""
        connection = self._take()
        try:
            yield connection
        finally:
            self._give(connection)

    def _take(self) -> Connection:
        self.check()
        with self._gate:
            while self._forks or self._busy >= CONNECTIONS_MAX:
                self._gate.wait()
            self._busy += 1
            if self._idle:
                return self._idle.pop()
        with ExitStack() as undo:
            undo.callback(self._leave)
            connection = self.connect()
            undo.pop_all()
        return connection

    def _give(self, connection: Connection) -> None:
        sound = _rolled_back(connection)
        with self._gate:
            keep = sound and len(self._idle) < _IDLE_MAX and not self._closed
            if keep:
                self._idle.append(connection)
        if not keep:
            connection.close()
        self._leave()

    def _leave(self) -> None:
        with self._gate:
            self._busy -= 1
            self._gate.notify_all()

    def _drop_idle(self) -> None:
        """A server that is lost to one connection is most likely lost to all."""
        with self._gate:
            idle = self._idle[:]
            self._idle.clear()
        for connection in idle:
            connection.close()

    # --- closing and forking

    def close(self) -> None:
        """Close what is idle now and the rest when it is given back. Nothing, where a fork was not seen."""
        if self._closed or os.getpid() != self._pid:
            self._closed = True
            return
        self._closed = True
        self._drop_idle()
        self._finalizer.detach()

    def before_fork(self) -> None:
        """Wait for the transactions of this process, hold new ones back, and close everything."""
        if self._closed or os.getpid() != self._pid:
            return
        with self._gate:
            self._forks += 1  # Two threads may fork at the same time.
            while self._busy:
                self._gate.wait()
        self._drop_idle()

    def after_fork_in_parent(self) -> None:
        """Let transactions go on."""
        with self._gate:
            self._forks = max(0, self._forks - 1)
            self._gate.notify_all()

    def after_fork_in_child(self) -> None:
        """Start afresh: nothing is open, and locks held by the parent's other threads do not exist here."""
        if not self._forks:
            return
        self._pid = os.getpid()
        self._new_locks()
        self._finalizer.detach()
        self._finalizer = weakref.finalize(self, _close_kept, self._pid, self._idle)


class Undone(Exception):
    """Another host was first with something that this transaction rests on: run it again."""


class _Restored(Exception):
    """The server numbers transactions lower than those of the ledger: it was restored from a copy."""


class _NotCommitted(Exception):
    """The connection was lost at COMMIT, and the transaction is not there: run it again."""


class _StillCommitting(Exception):
    """The server has not ended the transaction yet whose client it lost."""


def read_meta(connection: Connection) -> Meta:
    """The epoch, the watermark and the horizon, as of this transaction."""
    return _meta(only(connection, "meta"))


def _meta(row: tuple[Any, ...] | None) -> Meta:
    if row is None:
        raise LedgerCorrupt("the ledger has lost its settings; restore a backup")
    return Meta(*row)


def _begin(connection: Connection, alone: bool) -> Meta:
    """Begin a write transaction: one round trip. Each of its statements sees what was committed before it."""
    connection.last = []
    text = sql("begin_writing").replace("{client}", str(connection.number)).replace("{alone}", str(alone).lower())
    cursor = connection.execute(text)
    while cursor.nextset():
        pass
    return _meta(cursor.fetchone())


def _commit(connection: Connection) -> None:
    """Run what was left to the last with COMMIT, in one round trip: what it locks is held no longer."""
    if not connection.last:
        connection.execute("COMMIT")
        return
    with connection.pipeline():
        cursors = [connection.execute(numbered(sql(one.name)), one.bindings) for one in connection.last]
        connection.execute("COMMIT")
    for one, cursor in zip(connection.last, cursors, strict=True):
        if one.receive is not None and (row := cursor.fetchone()) is not None:
            one.receive(row)


def _begin_reading(connection: Connection, seconds_max: float) -> None:
    milliseconds = 0 if seconds_max == float("inf") else int(seconds_max * 1_000)
    connection.execute(sql("begin_reading").replace("{milliseconds}", str(milliseconds)))


def _state_of(connection: Connection, xact: int) -> str | None:
    try:
        (state,) = only(connection, "transaction_state", (xact,))
    except psycopg.errors.InvalidParameterValue:
        # A standby was promoted that never heard of this transaction.
        connection.execute("ROLLBACK")
        _begin_reading(connection, READ_SECONDS_MAX)
        return None
    return None if state is None else str(state)


def _rolled_back(connection: Connection) -> bool:
    """Whether a connection may be used again, with nothing left open on it."""
    if connection.closed:
        return False
    status = connection.info.transaction_status
    if status == TransactionStatus.IDLE:
        return True
    if status not in (TransactionStatus.INTRANS, TransactionStatus.INERROR):
        return False
    try:
        connection.execute("ROLLBACK")
    except psycopg.Error:
        return False
    return True


def _close_kept(pid: int, idle: list[Connection]) -> None:
    if os.getpid() != pid:
        return
    for connection in idle:
        connection.close()
    idle.clear()


class _Context:
    """Where psycopg takes a connection's adapters from."""

    adapters = _adapters()
    connection = None


_CONTEXT: Final = _Context()
_OPEN: weakref.WeakSet[Connections] = weakref.WeakSet()


def _each_open(action: Callable[[Connections], None], backwards: bool = False) -> None:
    for connections in sorted(_OPEN, key=lambda one: one.number, reverse=backwards):
        action(connections)


os.register_at_fork(
    before=lambda: _each_open(Connections.before_fork),
    after_in_parent=lambda: _each_open(Connections.after_fork_in_parent, backwards=True),
    after_in_child=lambda: _each_open(Connections.after_fork_in_child),
)
