"""A server yields to others only where there are any."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from outlay.ledger.sqlite import SqliteStore

HOLD = """
import sys
from pathlib import Path
from outlay.ledger.sqlite import SqliteStore
store = SqliteStore(Path(sys.argv[1]))
store.epoch()
print("open", flush=True)
sys.stdin.read()
"""


def test_another_process_on_the_file_is_seen_while_it_is_there(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    store = SqliteStore(path)
    store.epoch()
    assert not store.shared()
    other = subprocess.Popen([sys.executable, "-c", HOLD, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert other.stdout is not None
    assert other.stdin is not None
    with other, other.stdout:
        assert other.stdout.readline() == b"open\n"
        assert store.shared()
        other.stdin.close()
        other.wait(timeout=30)
    assert not store.shared()
    store.close()
