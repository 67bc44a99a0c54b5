"""A ledger file keeps calls' keys for as long as they are looked for, and not for ever."""

from __future__ import annotations

from pathlib import Path

import apsw
from tests.ledger_entries import DAY, NOON, make_entry

from outlay.ledger.sqlite import SqliteStore


def test_old_keys_go_by_themselves_while_new_ones_come(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    store = SqliteStore(path)
    for age in range(5):
        at = NOON + age * 3 * DAY
        store.append([make_entry(f"{age}-{n}", at, call_key=f"openai:{age}-{n}") for n in range(1_000)])
    store.close()
    connection = apsw.Connection(str(path))
    days = {row[0]: row[1] for row in connection.execute("SELECT day, count(*) FROM call_key GROUP BY day")}
    connection.close()
    assert days == {(NOON + 12 * DAY) // DAY: 1_000}
