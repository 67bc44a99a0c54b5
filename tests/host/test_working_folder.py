"""A program that goes to another folder still has its ledger, and what it spools, where it opened it."""

from __future__ import annotations

import asyncio
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import outlay

LEFT = """
import asyncio, os, signal, sys
import outlay
ledger = outlay.open("ledger.db")
os.chdir(sys.argv[1])
async def main():
    receipt = ledger.record(provider="openai", service="gpt-4o", usage={"input_tokens": 1000}, id="spooled")
    assert receipt.outcome == "journaled"
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""


def test_what_a_killed_program_spooled_is_booked_though_it_had_gone_to_another_folder(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    subprocess.run([sys.executable, "-c", LEFT, str(elsewhere)], cwd=tmp_path, timeout=120, check=False)
    assert list(elsewhere.iterdir()) == []
    with outlay.open(tmp_path / "ledger.db") as ledger:
        ledger.flush()
        assert [receipt.event.id for receipt in ledger.events()] == ["spooled"]


def test_others_cannot_write_into_the_spool_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with outlay.open(tmp_path / "ledger.db") as ledger:

            async def main() -> None:
                ledger.record(provider="openai", service="gpt-4o", usage={"input_tokens": 1})

            asyncio.run(main())
            folder = tmp_path / "ledger.db.spool"
            assert not stat.S_IMODE(folder.stat().st_mode) & stat.S_IWOTH
            assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o600}
    finally:
        os.umask(before)


def test_settings_are_read_as_utf8_whatever_the_locale(tmp_path: Path) -> None:
    (tmp_path / "outlay.toml").write_text('ledger = "Größe.db"\n', encoding="utf-8")
    program = "from outlay.config import load_settings; print(ascii(load_settings().ledger))"
    plain = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=tmp_path, env=plain, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == ascii("Größe.db")
