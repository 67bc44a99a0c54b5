"""A dump that was restored is the same ledger, and goes on."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.postgres_server import PostgresServer
from tests.unit.test_migrating import CALL, CENT, everything, live

import outlay


def test_a_restored_dump_is_the_same_ledger_and_goes_on(
    postgres: PostgresServer, new_postgres_url: Callable[[], str], tmp_path: Path
) -> None:
    kept, restored = new_postgres_url(), new_postgres_url()
    clock = live(kept)
    dump = str(tmp_path / "outlay.dump")
    tools = postgres.binaries
    subprocess.run([tools / "pg_dump", "--format=custom", "--schema=outlay", f"--file={dump}", kept], check=True)
    subprocess.run([tools / "pg_restore", "--exit-on-error", f"--dbname={restored}", dump], check=True)
    assert everything(restored) == everything(kept)
    with outlay.open(restored, clock=clock) as ledger:
        assert ledger.record(**CALL, id="after", usage=CENT).outcome == "created"
        assert ledger.store.release("open", clock.now()).code == "released"
        ledger.fold()
        assert ledger.audit().ok
        assert len(everything(restored)["entry"]) == len(everything(kept)["entry"]) + 1
