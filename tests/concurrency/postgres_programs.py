"""A herd of processes that record and reserve in one ledger on PostgreSQL, and note what was acknowledged.

python postgres_programs.py URL FOLDER SEED COUNT

Each child appends to FOLDER/<name>.notes once a call has returned. A line `kill N` on the standard input kills N
children with -9 and lets others take their places; the end of the input ends all of them in order.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import outlay

CALL: dict[str, Any] = {"provider": "openai", "service": "gpt-4o", "operation": "chat"}
CENT = {"output_tokens": 1_000}
"""A cent of gpt-4o: 1,000 × $10 a million."""

FEATURES = ("warm", "cold")
HOT = "hot"
"""The feature with a hard cap: nothing is recorded for it but by a reservation."""


class Child:
    """One process's calls, until it is told to end."""

    def __init__(self, ledger: outlay.Ledger, name: str, notes: Path, seed: int) -> None:
        self.ledger = ledger
        self.name = name
        self.dice = random.Random(seed)
        self.out = os.open(notes, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.number = 0
        self.parent = os.getppid()
        self.ended = False

    @property
    def ending(self) -> bool:
        """Whether it is told to end, or nobody is left who would tell it."""
        return self.ended or os.getppid() != self.parent

    def run(self) -> None:
        """Make calls; where the ledger fails, the same call is made again, as a program would."""
        signal.signal(signal.SIGTERM, self._end)
        kinds = (self.record, self.record, self.batch, self.reserve, self.reserve, self.correct)
        while not self.ending:
            self.number += 1
            kind = self.dice.choice(kinds)
            feature, user = self.dice.choice(FEATURES), f"u{self.dice.randrange(50)}"
            while not self.ending:
                try:
                    kind(self.ledger, f"{self.name}-{self.number}", feature=feature, user=user)
                    break
                except outlay.LedgerError:
                    time.sleep(0.05)

    def _end(self, *_: object) -> None:
        self.ended = True

    def note(self, what: str, id: str) -> None:
        os.write(self.out, f"{what} {id}\n".encode())

    def record(self, ledger: outlay.Ledger, id: str, **fields: Any) -> None:
        ledger.record(**CALL, **fields, id=id, usage=CENT)
        self.note("recorded", id)

    def batch(self, ledger: outlay.Ledger, id: str, **fields: Any) -> None:
        ids = [f"{id}-{part}" for part in range(10)]
        tags = {"batch": f"{self.dice.randrange(20)}"}
        results = ledger.record_many([{**CALL, **fields, "id": one, "usage": CENT, "tags": tags} for one in ids])
        for result in results:
            assert result.code in ("created", "exists"), result
            self.note("recorded", result.id)

    def reserve(self, ledger: outlay.Ledger, id: str, **fields: Any) -> None:
        fields["feature"] = self.dice.choice((HOT, fields["feature"]))
        try:
            reservation = ledger.reserve(**CALL, **fields, id=id, usage=CENT)
        except outlay.BudgetExceeded:
            self.note("refused", id)
            return
        if self.dice.random() < 0.1:
            reservation.release()
            self.note("released", id)
            return
        reservation.settle(usage=CENT)
        self.note("settled", id)

    def correct(self, ledger: outlay.Ledger, id: str, **fields: Any) -> None:
        ledger.record(**CALL, **fields, id=id, usage=CENT)
        self.note("recorded", id)
        ledger.correct(id, reason="for another user", user=f"u{self.dice.randrange(50)}")


class Herd:
    """The children of this process, which has opened the ledger before them, as a preloading server does."""

    def __init__(self, ledger: outlay.Ledger, folder: Path, seed: int) -> None:
        self.ledger = ledger
        self.folder = folder
        self.dice = random.Random(seed)
        self.made = 0
        self.pids: list[int] = []

    def add(self) -> None:
        """One more child."""
        self.made += 1
        name, seed = f"c{self.made}", self.dice.randrange(1 << 32)
        pid = os.fork()
        if pid == 0:
            failed = 1
            try:
                Child(self.ledger, name, self.folder / f"{name}.notes", seed).run()
                failed = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(failed)
        self.pids.append(pid)

    def kill(self, count: int) -> None:
        """Kill some with -9; others take their places."""
        for pid in self.dice.sample(self.pids, count):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            self.pids.remove(pid)
            self.add()

    def end(self) -> int:
        """End all in order; how many did not end well."""
        for pid in self.pids:
            os.kill(pid, signal.SIGTERM)
        return sum(os.waitpid(pid, 0)[1] != 0 for pid in self.pids)


def main(url: str, folder: str, seed: str, count: str) -> None:
    """Serve until the input ends; then say how many children failed."""
    with outlay.open(url) as ledger:
        herd = Herd(ledger, Path(folder), int(seed))
        for _ in range(int(count)):
            herd.add()
        for line in sys.stdin:
            herd.kill(int(line.split()[1]))
            print("killed", flush=True)
        print(herd.end(), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
