"""kill -9 at random points under four writing processes: nothing acknowledged is lost, nothing is there twice."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.ledger_entries import DAY, NOON, make_entry

from outlay.ledger.sqlite import SqliteStore
from outlay.ledger.store import EntryFilter

PROGRAMS = Path(__file__).parent / "store_programs.py"
WRITERS = 4
KILLS = int(os.environ.get("OUTLAY_KILLS", "200"))


def start(name: str, *arguments: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, str(PROGRAMS), name, *map(str, arguments)], stdout=subprocess.DEVNULL)


def kill_writers(folder: Path, kills: int, seconds: float, seed: int) -> int:
    """Run writers and kill one after the other at random moments; how many were killed."""
    dice = random.Random(seed)
    path = folder / "a.db"
    SqliteStore(path).close()

    def writer(number: int) -> subprocess.Popen[bytes]:
        return start("write_for_ever", path, f"w{number}", folder / f"w{number}.ids", dice.randrange(10**9))

    writers = [writer(number) for number in range(WRITERS)]
    killed = 0
    end = time.monotonic() + seconds
    try:
        while killed < kills and time.monotonic() < end:
            time.sleep(dice.uniform(0.05, 0.5))
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
    """Every acknowledged id is there, none twice, and the audit finds nothing; how many are there."""
    acknowledged: set[str] = set()
    for notes in folder.glob("*.ids"):
        text = notes.read_text()
        acknowledged.update(text[: text.rfind("\n")].split("\n"))
    store = SqliteStore(folder / "a.db")
    present = [entry.event.id for entry in store.entries(EntryFilter())]
    assert len(present) == len(set(present))
    assert acknowledged - set(present) == set()
    assert len(acknowledged) > 0
    while store.fold():
        pass
    assert store.audit().findings == ()
    store.close()
    return len(present)


def test_kill_9_loses_nothing_acknowledged_and_doubles_nothing(tmp_path: Path) -> None:
    seed = int.from_bytes(os.urandom(4), "big")
    killed = kill_writers(tmp_path, 1_000, 8.0, seed)
    print(f"seed {seed}: {killed} kills, {check(tmp_path)} events")
    assert killed > 5


@pytest.mark.soak
@pytest.mark.timeout(1_800)
def test_two_hundred_kills_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    seed = int.from_bytes(os.urandom(4), "big")
    killed = kill_writers(tmp_path, KILLS, 1_500.0, seed)
    print(f"seed {seed}: {killed} kills, {check(tmp_path)} events")
    assert killed == KILLS


def test_a_retention_killed_in_the_middle_is_finished_by_the_next(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    store = SqliteStore(path)
    entries = [make_entry(f"e{n}", NOON - (n % 20) * DAY, user=f"u{n % 7}") for n in range(24_000)]
    store.append(entries)
    total = sum(entry.rating.amount for entry in entries)
    store.close()
    process = start("drop_days", path)
    while not Path(f"{path}.dropping").exists():
        time.sleep(0.01)
    time.sleep(random.uniform(0.0, 1.0))
    process.kill()
    process.communicate()
    store = SqliteStore(path)
    assert store.audit().findings == ()
    assert store.audit().amount == total
    store.retain(NOON // DAY - 1, NOON)
    assert store.audit().findings == ()
    assert store.audit().amount == total
    # Today and the day before are left: 2 days of 1,200 entries.
    assert store.facts()["entries"] == "2400"
    store.close()
