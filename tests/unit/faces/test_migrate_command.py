"""`outlay migrate` says what it moved, and names what cannot be moved."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
from tests.unit.faces.test_commands import error_of, record, run, run_json

import outlay
from outlay.faces.cli.exits import Exit


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OUTLAY_LEDGER", raising=False)


def test_a_ledger_is_moved_and_proved(postgres_url: str) -> None:
    record("--id", "one")
    # gpt-4o: 1,000,000 × 2.50 / 1M + 100,000 × 10 / 1M = 2.50 + 1.00
    moved = run_json("migrate", "outlay.db", postgres_url)
    assert (moved["entries"], moved["identities"], moved["cost"]) == (1, 1, "3.50")
    assert "both ends sound" in run("migrate", postgres_url, "back.db")
    assert run_json("costs", "--by", "", "--ledger", "back.db")["total"]["cost"] == "3.50"


def test_what_cannot_be_moved_is_named() -> None:
    assert "[no_ledger]" in error_of("migrate", "mistyped.db", "new.db", code=Exit.LEDGER)
    assert not Path("new.db").exists()
    record("--id", "one")
    assert "[same_ledger]" in error_of("migrate", "outlay.db", "outlay.db", code=Exit.BAD_INPUT)
    assert "[not_movable]" in error_of("migrate", "outlay.db", "memory:", code=Exit.BAD_INPUT)


def test_an_upgrade_is_finished_once_and_only_of_one_ledger(postgres_url: str) -> None:
    record("--id", "one")
    outlay.open(postgres_url).close()
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        # As an older program made it, and a newer one brought up to date beside it.
        connection.execute("UPDATE outlay.meta SET oldest = 1; DELETE FROM outlay.migration")
    assert run_json("migrate", "--finish", postgres_url) == {"applied": "004_summed_rollups.sql"}
    assert run_json("migrate", "--finish", postgres_url) == {"applied": "nothing was left to apply"}
    assert "nothing was left" in run("migrate", "--finish", "outlay.db")
    assert "[bad_option]" in error_of("migrate", "--finish", "outlay.db", "new.db", code=Exit.BAD_INPUT)
    assert "[missing_field]" in error_of("migrate", "outlay.db", code=Exit.BAD_INPUT)
