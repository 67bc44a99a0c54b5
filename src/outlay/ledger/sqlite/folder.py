"""Folding entries into the rollup tables, in short transactions of its own, up to a watermark.

Rows are read and summed outside the write lock; the transaction only adds cells and moves the watermark,
and does nothing if another process has moved it meanwhile.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterable
from functools import cache
from typing import Final

import apsw

from outlay.clock import QUARTER_HOUR_MICROSECONDS, local_day
from outlay.errors import LedgerError
from outlay.ledger.folding import (
    CAPPED_DIMENSIONS,
    OVERFLOW,
    Folded,
    Key,
    Shares,
    cap,
    fold_rows,
    measures_of,
    stored,
)
from outlay.ledger.rollups import OTHER, ROLLUPS, VALUES_A_DAY, WIDE, Grain, Rollup
from outlay.ledger.sqlite.codec import decode_lines
from outlay.ledger.sqlite.connections import Connections, read_meta
from outlay.ledger.sqlite.names import KIND_NUMBERS, intern_name
from outlay.ledger.sqlite.statements import sql
from outlay.money import PICO_PER_MICRO

CHUNK: Final = 10_000
"""Entries a fold sums at once: more would hold the write lock for longer than callers should wait."""

WAKE_AT: Final = 2_000
"""How many appended entries wake the background fold."""

_NANO_PER_UNIT: Final = 10**9


class Folder:
    """Keeps the rollups of one ledger close behind its entries."""

    def __init__(self, connections: Connections, zone: str, values_a_day: int = VALUES_A_DAY) -> None:
        self._connections = connections
        self.zone = zone
        self._values_a_day = values_a_day
        self._waiting = 0
        self._thread: threading.Thread | None = None
        self._turn = threading.Lock()
        _FOLDERS.add(self)

    # --- folding

    def fold(self, limit: int) -> int:
        """Fold up to `limit` entries; how many were."""
        done = 0
        while done < limit:
            folded = self._fold_chunk(min(CHUNK, limit - done))
            if folded == 0:
                break
            done += max(folded, 0)
        return done

    def _fold_chunk(self, limit: int) -> int:
        """How many entries were folded; −1 where another process was first."""
        with self._connections.reading() as connection:
            meta = read_meta(connection)
            rows = connection.execute(sql("to_fold"), (meta.watermark, meta.last_seq, limit)).fetchall()
            if not rows:
                return 0
            folded = self.sum(rows)
            wide = folded.cells[WIDE.name]
            admitted = _admitted(connection, {key[0] for key in wide})
        folded.cells[WIDE.name], news = cap(wide, admitted, self._values_a_day)
        with self._connections.writing() as connection:
            if read_meta(connection).watermark != meta.watermark:
                return -1
            _write(connection, folded, news)
        return folded.entries

    def sum(self, rows: Iterable[object]) -> Folded:
        """The cells of some rows of the query `to_fold`."""
        return fold_rows(rows, self.day_of, shares_of)

    def day_of(self, quarter_hour: int) -> int:
        """The home zone's day of a quarter hour."""
        return local_day(quarter_hour * QUARTER_HOUR_MICROSECONDS, self.zone)

    # --- in the background

    def appended(self, count: int) -> None:
        """Note that entries were appended; enough of them wake the background fold."""
        self._waiting += count
        if self._waiting < WAKE_AT or self._thread is not None or not self._turn.acquire(blocking=False):
            return
        try:
            self._waiting = 0
            self._thread = threading.Thread(target=_fold_behind, args=(weakref.ref(self),), daemon=True)
            self._thread.start()
        finally:
            self._turn.release()

    def catch_up(self) -> None:
        """Fold until nearly nothing waits; what fails is tried again by the next reader or append."""
        try:
            while self._fold_chunk(CHUNK) not in (0, -1):
                if self._waiting < WAKE_AT:
                    break
                self._waiting = 0
        except LedgerError:
            # A full disk or a busy file is told to the caller who writes; the fold only lags behind.
            return
        finally:
            self._thread = None

    def join(self, timeout_s: float = 30.0) -> None:
        """Wait for the background fold to end."""
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout_s)

    def after_fork_in_child(self) -> None:
        """The parent's thread does not exist here."""
        self._thread = None
        self._turn = threading.Lock()


def _fold_behind(folder: weakref.ref[Folder]) -> None:
    found = folder()
    if found is not None:
        found.catch_up()


def shares_of(lines: bytes) -> Shares:
    """(meter, picounits, billionths) of each line and unpriced meter of a packed entry."""
    unpacked = decode_lines(lines)
    shares = [
        (line.meter, line.micro * PICO_PER_MICRO + line.pico, line.whole * _NANO_PER_UNIT + line.nano)
        for line in unpacked.priced
    ]
    if unpacked.unrated:
        shares += [(one.meter, 0, one.whole * _NANO_PER_UNIT + one.nano) for one in unpacked.unrated]
    return shares


def _admitted(connection: apsw.Connection, days: Iterable[int]) -> dict[tuple[int, int], set[int]]:
    admitted: dict[tuple[int, int], set[int]] = {}
    for day in days:
        for dimension, value in connection.execute(sql("rollup_values"), (day,)):
            admitted.setdefault((day, dimension), set()).add(value)
    return admitted


def _write(connection: apsw.Connection, folded: Folded, news: list[tuple[int, int, int]]) -> None:
    connection.executemany(sql("insert_rollup_value"), news)
    for rollup in ROLLUPS:
        cells = folded.cells[rollup.name]
        if rollup.capped and any(OVERFLOW in key for key in cells):
            cells = {
                with_other(key, lambda name: intern_name(connection, KIND_NUMBERS[name], OTHER)): cell
                for key, cell in cells.items()
            }
        # In key order, so that each page is touched once.
        connection.executemany(fold_statement(rollup), [stored(rollup, key, cells[key]) for key in sorted(cells)])
    connection.executemany(sql("widen_span"), [(block, first, last) for block, (first, last) in folded.spans.items()])
    connection.execute(sql("set_watermark"), (folded.last_seq,))


def with_other(key: Key, id_of: Callable[[str], int]) -> Key:
    """A wide key with the id of OTHER, by dimension, where it says OVERFLOW."""
    names = WIDE.dimensions[: len(CAPPED_DIMENSIONS)]
    parts = (
        id_of(name) if part == OVERFLOW else part for name, part in zip(names, key[1 : 1 + len(names)], strict=True)
    )
    return (key[0], *parts, *key[1 + len(names) :])


def key_columns(rollup: Rollup) -> tuple[str, ...]:
    """The key's columns of a rollup's table."""
    time = {Grain.DAY: ("day",), Grain.QUARTER_HOUR: ("quarter_hour",), Grain.ALL_TIME: ()}[rollup.grain]
    return (*time, *rollup.dimensions)


@cache
def fold_statement(rollup: Rollup) -> str:
    """The statement that adds a cell to a rollup's table."""
    keys, measures = key_columns(rollup), measures_of(rollup)
    return (
        sql("fold_cells")
        .replace("{table}", rollup.name)
        .replace("{keys}", ", ".join(keys))
        .replace("{measures}", ", ".join(measures))
        .replace("{marks}", ", ".join("?" * (len(keys) + len(measures))))
        .replace("{additions}", ", ".join(_ADDITIONS[measure] for measure in measures))
    )


def _plain(name: str) -> str:
    return f"{name} = {name} + excluded.{name}"


def _carried(larger: str, smaller: str, ratio: int) -> dict[str, str]:
    return {
        larger: f"{larger} = {larger} + excluded.{larger} + ({smaller} + excluded.{smaller}) / {ratio}",
        smaller: f"{smaller} = ({smaller} + excluded.{smaller}) % {ratio}",
    }


_ADDITIONS: Final[dict[str, str]] = {
    **{name: _plain(name) for name in ("events", "failed", "unpriced", "incomplete")},
    **_carried("micro", "pico", PICO_PER_MICRO),
    **_carried("whole", "nano", _NANO_PER_UNIT),
    "first_at": "first_at = min(first_at, excluded.first_at)",
    "last_at": "last_at = max(last_at, excluded.last_at)",
}

_FOLDERS: weakref.WeakSet[Folder] = weakref.WeakSet()


def _forget_threads() -> None:
    for folder in list(_FOLDERS):
        folder.after_fork_in_child()


os.register_at_fork(after_in_child=_forget_threads)
