"""A ledger that was moved is the same ledger: every row, every number, whatever the move went through."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import psycopg
import pytest
from tests.unit.api.test_bills import row

import outlay
from outlay import migrating
from outlay.clock import FrozenClock
from outlay.ledger.dialect import Row
from outlay.ledger.moving import ENTRY, IDENTITY, LEFT, MOVING, STATE, Movable
from outlay.migrating import migrate

CALL: dict[str, Any] = {"provider": "openai", "service": "gpt-4o", "operation": "chat"}
CENT = {"output_tokens": 1_000}
"""A cent of gpt-4o: 1,000 × $10 a million."""


def live(address: str | Path) -> FrozenClock:
    """A ledger in which everything has happened once; its clock."""
    clock = FrozenClock("2026-01-10T12:00:00Z")
    with outlay.open(address, clock=clock, zone="Europe/Berlin") as ledger:
        ledger.add_rate(
            provider="openai", service="own", meter="input_tokens", price="1", per=1_000_000, source="ours"
        )
        ledger.record(**CALL, id="dropped", usage=CENT, user="u1")
        clock.advance(days=40)
        ledger.retain(days=30)
        ledger.budget("cap", limit="0.10", window="month", action="refuse", marks=["50%"])
        tiers = {"basic": {"day": "1"}, "premium": {"day": "5"}}
        ledger.budget("each", each="user", tiers=tiers)
        ledger.subject("user", "u2", tier="premium")
        ledger.store.warm()
        for number in range(25):
            ledger.record(
                **CALL,
                id=f"e{number}",
                usage={"input_tokens": 10},
                user=f"u{number % 3}",
                tags={"n": str(number % 2)},
            )
        ledger.correct("e3", reason="counted twice", usage={"input_tokens": 5})
        ledger.cancel("e4", reason="never happened")
        for key in ("first", "second"):
            ledger.record(**CALL, id=key, usage=CENT, call_key="openai:chatcmpl-1")
        ledger.reserve(**CALL, id="open", usage=CENT)
        ledger.reserve(**CALL, id="settled", usage=CENT).settle(usage={"output_tokens": 1_500})
        ledger.reserve(**CALL, id="released", usage=CENT).release()
        with pytest.raises(outlay.BudgetExceeded):
            ledger.reserve(**CALL, id="refused", usage={"output_tokens": 19_000})
        ledger.import_statement([row("RDS", "0.41")], source="march.csv")
        ledger.finish("video-7", units=2)
        ledger.forget(user="u1")
    return clock


def everything(address: str | Path) -> dict[str, list[Row]]:
    """Every row of a ledger that travels, by table."""
    with outlay.open(address) as ledger:
        assert isinstance(ledger.store, Movable)
        with ledger.store.mover().snapshot() as view:
            found = {table.name: list(view.rows(table)) for table in (ENTRY, IDENTITY, *STATE)}
    found["setting"] = [row for row in found["setting"] if row[0] != MOVING]
    return found


def test_what_comes_back_from_postgresql_is_every_row_that_went(tmp_path: Path, postgres_url: str) -> None:
    clock = live(tmp_path / "a.db")
    done = migrate(tmp_path / "a.db", postgres_url)
    assert done.entries == 25 + 3 + 1 + 1 + 1
    back = migrate(postgres_url, tmp_path / "b.db")
    assert back.entries == done.entries
    assert everything(tmp_path / "b.db") == everything(tmp_path / "a.db") == everything(postgres_url)
    for address in (postgres_url, tmp_path / "b.db"):
        with outlay.open(address, clock=clock) as ledger:
            assert (ledger.currency, ledger.store.home_zone) == ("USD", "Europe/Berlin")
            retried = ledger.record(**CALL, id="e5", usage={"input_tokens": 10}, user="u2", tags={"n": "1"})
            assert retried.outcome == "exists"
            assert ledger.record(**CALL, id="third", usage=CENT, call_key="openai:chatcmpl-1").outcome == "seen"
            assert ledger.record(**CALL, id="new", usage=CENT, user="u2").outcome == "created"
            assert ledger.store.release("open", clock.now()).code == "released"
            assert ledger.audit().ok


KILLED = """
import os, signal, sys
from outlay import migrating

migrating.BATCH = 7
left = int(sys.argv[3])

def progress(what, done, total):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)

migrating.migrate(sys.argv[1], sys.argv[2], progress=progress)
"""


def test_a_move_that_is_killed_goes_on_and_nothing_is_there_twice(
    tmp_path: Path, new_postgres_url: Callable[[], str]
) -> None:
    live(tmp_path / "a.db")
    for target in (str(tmp_path / "b.db"), new_postgres_url()):
        killed = 0
        # Once within the entries, once within the identities, once within the last transaction.
        for batches in (2, 4, 5):
            ended = subprocess.run(
                [sys.executable, "-c", KILLED, str(tmp_path / "a.db"), target, str(batches)], check=False
            )
            killed += ended.returncode == -9
        assert killed == 3
        done = migrate(tmp_path / "a.db", target)
        assert 0 < done.resumed <= done.entries
        assert everything(target) == everything(tmp_path / "a.db")


def test_a_source_that_is_written_to_is_named_and_the_same_again_goes_on(tmp_path: Path) -> None:
    live(tmp_path / "a.db")

    def write(what: str, done: int, total: int) -> None:
        if what == "entries":
            with outlay.open(tmp_path / "a.db") as ledger:
                ledger.record(**CALL, usage=CENT)

    with pytest.raises(outlay.LedgerError) as raised:
        migrate(tmp_path / "a.db", tmp_path / "b.db", progress=write)
    assert raised.value.code == "source_changed"
    assert migrate(tmp_path / "a.db", tmp_path / "b.db").resumed > 0
    assert everything(tmp_path / "b.db") == everything(tmp_path / "a.db")


def test_only_an_empty_ledger_is_filled(tmp_path: Path) -> None:
    live(tmp_path / "a.db")
    with outlay.open(tmp_path / "used.db") as ledger:
        ledger.record(**CALL, usage=CENT)
    migrate(tmp_path / "a.db", tmp_path / "b.db")
    assert migrate(tmp_path / "a.db", tmp_path / "b.db").resumed > 0
    with outlay.open(tmp_path / "b.db") as ledger:
        ledger.record(**CALL, usage=CENT)
    for source, target, code in (
        ("a.db", "used.db", "target_not_empty"),
        ("a.db", "b.db", "target_not_empty"),
        ("a.db", "a.db", "same_ledger"),
    ):
        with pytest.raises(outlay.InvalidInput) as raised:
            migrate(tmp_path / source, tmp_path / target)
        assert raised.value.code == code
    with pytest.raises(outlay.InvalidInput) as raised:
        migrate(tmp_path / "a.db", "memory:")
    assert raised.value.code == "not_movable"


def test_an_end_that_is_not_sound_is_not_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    live(tmp_path / "a.db")
    moved = tuple(table for table in STATE if table.name != "account")
    monkeypatch.setattr(migrating, "STATE", moved)
    with pytest.raises(outlay.LedgerError) as raised:
        migrate(tmp_path / "a.db", tmp_path / "b.db")
    assert raised.value.code == "migration_unsound"


def test_every_table_of_a_ledger_travels_or_is_left_by_name(tmp_path: Path, postgres_url: str) -> None:
    known = {ENTRY.name, IDENTITY.name, *LEFT, *(table.name for table in STATE)}
    outlay.open(tmp_path / "a.db").close()
    connection = apsw.Connection(str(tmp_path / "a.db"))
    tables = {str(name) for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    connection.close()
    assert tables - known == set()
    outlay.open(postgres_url).close()
    with psycopg.connect(postgres_url) as database:
        found = database.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'outlay'::regnamespace AND relkind IN ('r', 'p')"
            " AND NOT relispartition"
        ).fetchall()
    assert {name for (name,) in found} - known == set()
