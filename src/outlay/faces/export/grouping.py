"""Sums by group for any number of groups in bounded memory: what does not fit waits on disk, sorted, to be merged."""

from __future__ import annotations

import heapq
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from decimal import Decimal
from typing import IO, Final

import msgspec

from outlay.money import EXACT

Key = tuple[str, ...]
GROUPS_IN_MEMORY: Final = 100_000


class Sums(msgspec.Struct, gc=False):
    """What one group adds up to: calls, a quantity, picounits of the ledger's and of the price's own currency."""

    calls: int
    quantity: Decimal
    amount: int
    native: int = 0

    def add(self, other: Sums) -> None:
        """Take another's numbers into this one, exactly."""
        self.calls += other.calls
        self.quantity = EXACT.add(self.quantity, other.quantity)
        self.amount += other.amount
        self.native += other.native


def grouped(
    items: Iterable[tuple[Key, Sums]], *, groups_in_memory: int = GROUPS_IN_MEMORY
) -> Iterator[tuple[Key, Sums]]:
    """The sums of each key, by key in order. At most `groups_in_memory` are held; sorted runs of them go to disk."""
    with ExitStack() as files:
        runs: list[IO[bytes]] = []
        groups: dict[Key, Sums] = {}
        for key, sums in items:
            found = groups.get(key)
            if found is not None:
                found.add(sums)
                continue
            groups[key] = sums
            if len(groups) >= groups_in_memory:
                runs.append(files.enter_context(tempfile.TemporaryFile(prefix="outlay-")))
                _write(groups, runs[-1])
                groups = {}
        last = iter(sorted(groups.items()))
        yield from _merged([*(_read(run) for run in runs), last] if runs else [last])


def _merged(runs: list[Iterator[tuple[Key, Sums]]]) -> Iterator[tuple[Key, Sums]]:
    at: Key | None = None
    total = Sums(0, Decimal(0), 0)
    for key, sums in heapq.merge(*runs, key=lambda item: item[0]):
        if key == at:
            total.add(sums)
            continue
        if at is not None:
            yield at, total
        at, total = key, sums
    if at is not None:
        yield at, total


def _write(groups: dict[Key, Sums], run: IO[bytes]) -> None:
    encode = msgspec.json.Encoder().encode
    for key, sums in sorted(groups.items()):
        # Numbers as text: an amount may be wider than 64 bits.
        numbers = (str(sums.calls), str(sums.quantity), str(sums.amount), str(sums.native))
        run.write(encode((key, numbers)) + b"\n")
    run.flush()
    run.seek(0)


def _read(run: IO[bytes]) -> Iterator[tuple[Key, Sums]]:
    decode = msgspec.json.Decoder(tuple[tuple[str, ...], tuple[str, str, str, str]]).decode
    for line in run:
        key, (calls, quantity, amount, native) = decode(line)
        yield key, Sums(int(calls), Decimal(quantity), int(amount), int(native))
