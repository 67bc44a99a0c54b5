"""kill -9 and fork under the whole write path, spools included: what was acknowledged is there, once."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import outlay

PROGRAMS = Path(__file__).parent / "ledger_programs.py"
WRITERS = 4
KILLS = int(os.environ.get("OUTLAY_KILLS", "200"))


def start(name: str, *arguments: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, str(PROGRAMS), name, *map(str, arguments)])


def kill_at_random(folder: Path, kills: int, seconds: float, seed: int) -> int:
    """Keep four writers running and kill one after the other at random moments; how many were killed."""
    dice = random.Random(seed)
    path = folder / "outlay.db"
    outlay.open(path).close()

    def writer(number: int) -> subprocess.Popen[bytes]:
        return start("record_for_ever", path, folder / f"w{number}.ids", dice.randrange(10**9))

    writers = [writer(number) for number in range(WRITERS)]
    killed = 0
    try:
        # A machine that does other things too takes seconds to start a program.
        while not any(one.stat().st_size for one in folder.glob("*.ids")):
            time.sleep(0.05)
        end = time.monotonic() + seconds
        while killed < kills and time.monotonic() < end:
            time.sleep(dice.uniform(0.1, 0.8))
            number = dice.randrange(WRITERS)
            victim = writers[number]
            assert victim.poll() is None, "a writer ended by itself; what it said is above"
            victim.send_signal(signal.SIGKILL)
            victim.wait()
            killed += 1
            writers[number] = writer(number)
    finally:
        for one in writers:
            one.kill()
            one.wait()
    return killed


def check(folder: Path) -> int:
    """Every acknowledged id is in the ledger once, no spool is left, the audit is clean; how many are there."""
    acknowledged: set[str] = set()
    for notes in folder.glob("*.ids"):
        text = notes.read_text()
        acknowledged.update(text.split("\n")[:-1])  # What follows the last newline was cut.
    with outlay.open(folder / "outlay.db") as ledger:
        present = [receipt.id for receipt in ledger.events()]
        report = ledger.audit()
        total = ledger.costs().total
    assert acknowledged
    assert acknowledged - set(present) == set()
    assert len(present) == len(set(present))
    assert (report.findings, report.spooled) == ((), 0)
    # 100 output tokens of gpt-4o at $10.00 a million are $0.001.
    assert total == outlay.Money.of("0.001") * len(present)
    assert not list((folder / "outlay.db.spool").glob("*.spool"))
    return len(present)


def test_kill_9_loses_nothing_acknowledged_spools_included(tmp_path: Path) -> None:
    seed = int.from_bytes(os.urandom(4), "big")
    killed = kill_at_random(tmp_path, 1_000, 8.0, seed)
    print(f"seed {seed}: {killed} kills, {check(tmp_path)} events")
    assert killed > 3


@pytest.mark.soak
@pytest.mark.timeout(1_800)
def test_two_hundred_kills_lose_nothing_acknowledged_spools_included(tmp_path: Path) -> None:
    seed = int.from_bytes(os.urandom(4), "big")
    killed = kill_at_random(tmp_path, KILLS, 1_500.0, seed)
    print(f"seed {seed}: {killed} kills, {check(tmp_path)} events")
    assert killed == KILLS


def test_forked_workers_keep_what_they_acknowledged(tmp_path: Path) -> None:
    seed = int.from_bytes(os.urandom(4), "big")
    print(f"seed {seed}")
    for number in range(3):
        process = start("record_forked", tmp_path / "outlay.db", tmp_path / f"f{number}.ids", seed + number)
        assert process.wait(timeout=60) == 0
    # 3 × (5 + 4 + 1 by the parent, 4 × 30 by the workers)
    assert check(tmp_path) == 3 * 130
