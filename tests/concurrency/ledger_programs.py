"""Programs that the api's concurrency tests start: each is one process that records through `outlay.open`.

python ledger_programs.py NAME LEDGER NOTES SEED
"""

from __future__ import annotations

import os
import random
import sys
from typing import Any

import outlay

CALL: dict[str, Any] = {"provider": "openai", "service": "gpt-4o", "usage": {"output_tokens": 100}}


def record_for_ever(path: str, notes: str, seed: str) -> None:
    """Record in every way there is, and note each id once it was acknowledged. Only a kill ends it."""
    dice = random.Random(int(seed))
    out = os.open(notes, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    with outlay.open(path) as ledger:
        while True:
            way = dice.choice(("record", "spool", "spool", "many"))
            if way == "record":
                ids = [ledger.record(**CALL).id]
            elif way == "spool":
                ids = [ledger.record(wait=False, **CALL).id for _ in range(dice.randrange(1, 20))]
            else:
                ids = [outcome.id for outcome in ledger.record_many([CALL] * dice.randrange(1, 50))]
            os.write(out, "".join(f"{id}\n" for id in ids).encode())


def record_forked(path: str, notes: str, seed: str) -> None:
    """Fork workers from a process whose ledger is open and in use; each records, journals and notes, then ends."""
    dice = random.Random(int(seed))
    ledger = outlay.open(path)
    note(notes, [ledger.record(wait=False, **CALL).id for _ in range(5)])
    children = []
    for _ in range(4):
        child = os.fork()
        if child == 0:
            for _ in range(30):
                note(notes, [ledger.record(wait=bool(dice.getrandbits(1)), **CALL).id])
            # Ended without closing anything, as a worker that is told to stop at once.
            os._exit(0)
        children.append(child)
        note(notes, [ledger.record(**CALL).id])
    for child in children:
        os.waitpid(child, 0)
    note(notes, [ledger.record(wait=False, **CALL).id])
    ledger.close()


def note(path: str, ids: list[str]) -> None:
    """Append acknowledged ids to a file."""
    out = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(out, "".join(f"{id}\n" for id in ids).encode())
    os.close(out)


if __name__ == "__main__":
    {"record_for_ever": record_for_ever, "record_forked": record_forked}[sys.argv[1]](*sys.argv[2:])
