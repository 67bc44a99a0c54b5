"""Retention by dropping days, with checkpoints, and forgetting a name.

A day's partition is summed beside everybody's work. The transaction that drops it is short: no writer runs meanwhile,
and it only looks whether anything came since. Nothing is deleted row by row, so nothing bloats; the exception is what
came for a day without a partition.
"""

from __future__ import annotations

import secrets
from functools import partial
from hashlib import sha256
from typing import Final, NamedTuple

from outlay.clock import DAY_MICROSECONDS, Instant
from outlay.errors import LedgerBusy
from outlay.ledger import rules
from outlay.ledger.names import KIND_NUMBERS, decode_tags, encode_tags
from outlay.ledger.postgres.accounts import Accounts
from outlay.ledger.postgres.connections import Connections, Meta, read_meta
from outlay.ledger.postgres.folder import Folder
from outlay.ledger.postgres.partitions import days_with_partitions, name_of
from outlay.ledger.postgres.statements import Connection, first, only, rows, rows_of, run, sql
from outlay.ledger.store import Retained
from outlay.money import PICO_PER_MICRO

SUM_SECONDS_MAX: Final = 600.0
"""Summing a day may take this long: it holds nobody up."""

_TRIES: Final = 20
_DEFAULT: Final = "entry_default"


class _Sum(NamedTuple):
    """What a day's entries come to, and the watermark up to which they all were folded when it was summed."""

    counts: tuple[int, int, int, int, int]
    amount: int
    digest: bytes
    own_tag_sets: list[int]
    folded: tuple[int, int]


def retain(connections: Connections, folder: Folder, before_day: int, now: Instant) -> Retained:
    """See LedgerStore.retain."""
    rules.check_retention(before_day, now)
    folder.fold_what_waits()
    before = connections.read(_size)
    connections.write(lambda connection, _: run(connection, "set_horizon", (before_day,)), alone=True)
    count = amount = 0
    for day in connections.read(days_with_partitions):
        if day < before_day:
            dropped = _drop_partition(connections, day)
            count += dropped[0]
            amount += dropped[1]
    for day in connections.read(partial(_days_in_default, before_day=before_day)):
        dropped = connections.write(partial(_drop_rows, day=day), alone=True)
        count += dropped[0]
        amount += dropped[1]
    _drop_identities(connections, before_day - rules.IDENTITY_DAYS_KEPT)
    connections.write(
        lambda connection, _: run(connection, "drop_reservations", (before_day * DAY_MICROSECONDS,)), alone=True
    )
    freed = before - connections.read(_size)
    return Retained(before_day=before_day, entries=count, amount=amount, bytes_freed=max(0, freed))


def _size(connection: Connection) -> int:
    return int(only(connection, "size")[0] or 0)


def _days_in_default(connection: Connection, *, before_day: int) -> list[int]:
    return [day for (day,) in rows(connection, "days_to_drop", (before_day * DAY_MICROSECONDS,))]


def _drop_partition(connections: Connections, day: int) -> tuple[int, int]:
    """(entries dropped, their amount). What is not folded yet keeps its day until the next retention."""
    partition = name_of("entry", day)
    for _ in range(_TRIES):
        summed = connections.read(partial(_summed, partition=partition, day=day), SUM_SECONDS_MAX)
        if summed is None:
            return 0, 0
        try:
            if connections.write(partial(_drop, day=day, summed=summed), alone=True):
                return summed.counts[0], summed.amount
        except LedgerBusy:
            # A reader holds the day: writers are not held up behind it, so let go and try again.
            continue
    return 0, 0


def _summed(connection: Connection, *, partition: str, day: int) -> _Sum | None:
    """What a day comes to; None where some of it is not folded yet."""
    meta = read_meta(connection)
    folded = (meta.folded_xact, meta.folded_seq)
    if _anything_since(connection, partition, folded):
        return None
    bounds = (day * DAY_MICROSECONDS, (day + 1) * DAY_MICROSECONDS)
    row = next(rows_of(connection, _of("day_to_drop", partition), bounds))
    own = [id for (id,) in rows_of(connection, _of("own_tag_sets", partition), bounds)]
    return _Sum(row[:5], row[5] * PICO_PER_MICRO + row[6], row[7], own, folded)


def _anything_since(connection: Connection, partition: str, folded: tuple[int, int]) -> bool:
    return bool(next(rows_of(connection, _of("any_since", partition), folded))[0])


def _of(name: str, partition: str) -> str:
    return sql(name).replace("{partition}", partition)


def _drop(connection: Connection, _: Meta, *, day: int, summed: _Sum) -> bool:
    """Drop a day that was summed, and write its checkpoint; False where something came since."""
    connection.execute("SET LOCAL lock_timeout = '300ms'")
    partition = name_of("entry", day)
    if not list(rows(connection, "tables_named", ([partition],))):
        return False
    if _anything_since(connection, partition, summed.folded):
        return False
    _write_checkpoint(connection, day, summed)
    connection.execute(_of("drop_partition", partition))
    return True


def _drop_rows(connection: Connection, _: Meta, *, day: int) -> tuple[int, int]:
    summed = _summed(connection, partition=_DEFAULT, day=day)
    if summed is None or not summed.counts[0]:
        return 0, 0
    _write_checkpoint(connection, day, summed)
    run(connection, "drop_rows", (day * DAY_MICROSECONDS, (day + 1) * DAY_MICROSECONDS))
    return summed.counts[0], summed.amount


def _write_checkpoint(connection: Connection, day: int, summed: _Sum) -> None:
    """Add what is dropped to its day's checkpoint, in the same transaction."""
    kept = first(connection, "checkpoint", (day,)) or (0, 0, 0, 0, 0, 0, 0, b"")
    counts = [ours + theirs for ours, theirs in zip(kept[:5], summed.counts, strict=True)]
    amount = kept[5] * PICO_PER_MICRO + kept[6] + summed.amount
    digest = sha256(kept[7] + summed.digest).digest()
    run(connection, "put_checkpoint", (day, *counts, *divmod(amount, PICO_PER_MICRO), digest))
    if summed.own_tag_sets:
        run(connection, "drop_own_tag_sets", (summed.own_tag_sets,))


def _drop_identities(connections: Connections, before_day: int) -> None:
    def work(connection: Connection, _: Meta) -> None:
        connection.execute("SET LOCAL lock_timeout = '300ms'")
        for name, day in rows(connection, "identity_partitions"):
            # A day whose entries wait for their fold keeps its identities.
            if day < before_day and not list(rows(connection, "tables_named", ([name_of("entry", day)],))):
                connection.execute(_of("drop_partition", name))
        run(connection, "drop_identities", (before_day,))

    for _ in range(_TRIES):
        try:
            return connections.write(work, alone=True)
        except LedgerBusy:
            continue
    return None


def forget(connections: Connections, accounts: Accounts, kind: str, name: str) -> int:
    """See LedgerStore.forget."""
    rules.check_forgettable(kind)
    anonymous = f"forgotten-{secrets.token_hex(8)}"

    def work(connection: Connection, _: Meta) -> int:
        tag_sets = _rename_tags(connection, name, anonymous)
        renamed = first(connection, "rename_dimension", (KIND_NUMBERS[kind], name, anonymous))
        statement = sql("bearers").replace("{column}", f'"{kind}"')
        (bearers,) = next(rows_of(connection, statement, (-1 if renamed is None else renamed[0], tag_sets)))
        accounts.forget(connection, kind, name, anonymous)
        run(connection, "raise_epoch")
        return int(bearers)

    return connections.write(work, alone=True)


def _rename_tags(connection: Connection, name: str, anonymous: str) -> list[int]:
    touched: list[int] = []
    for id, body in rows(connection, "tag_sets"):
        tags = decode_tags(body)
        if name not in tags.values():
            continue
        digest, renamed = encode_tags({key: anonymous if value == name else value for key, value in tags.items()})
        # A set kept for one entry alone stays without a digest.
        run(connection, "rename_tag_set", (id, digest, renamed))
        touched.append(id)
    return touched
