"""How many times a line has been seen in one file, in memory that does not grow with the file.

Fingerprints lie in an open-addressed table in an unnamed temporary file, so a file of any size can be read
while the process stays small; only lines that really repeat are counted in memory. Two lines whose 64-bit
fingerprints collide are both kept: the later one merely bears a higher number.
"""

from __future__ import annotations

import tempfile
from mmap import mmap
from types import TracebackType
from typing import Final

SLOTS_FIRST: Final = 1 << 15
_SLOT_BYTES: Final = 8


class Occurrences:
    """Numbers the occurrences of each fingerprint, from 1. Close it, or use it in a `with`."""

    def __init__(self) -> None:
        self._repeats: dict[int, int] = {}
        self._used = 0
        self._open_table(SLOTS_FIRST)

    def number(self, fingerprint: int) -> int:
        """Which occurrence this is of a fingerprint in [0, 2⁶⁴): 1 for the first."""
        key = fingerprint or 1  # zero marks an empty slot
        if self._add(key):
            return 1
        count = self._repeats.get(key, 1) + 1
        self._repeats[key] = count
        return count

    def close(self) -> None:
        """Release the table and its temporary file."""
        self._slots.release()
        self._map.close()
        self._file.close()

    def __enter__(self) -> Occurrences:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open_table(self, slots: int) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the table
        self._file.truncate(slots * _SLOT_BYTES)
        self._map = mmap(self._file.fileno(), slots * _SLOT_BYTES)
        self._slots = memoryview(self._map).cast("Q")
        self._mask = slots - 1

    def _add(self, key: int) -> bool:
        slots, mask = self._slots, self._mask
        at = key & mask
        while slots[at]:
            if slots[at] == key:
                return False
            at = (at + 1) & mask
        slots[at] = key
        self._used += 1
        if self._used * 2 > mask:
            self._grow()
        return True

    def _grow(self) -> None:
        file, table, slots = self._file, self._map, self._slots
        self._open_table((self._mask + 1) * 2)
        wider, mask = self._slots, self._mask
        for key in slots:
            if key:
                at = key & mask
                while wider[at]:
                    at = (at + 1) & mask
                wider[at] = key
        slots.release()
        table.close()
        file.close()
