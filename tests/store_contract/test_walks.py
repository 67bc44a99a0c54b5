"""What every store promises of a walk that goes on behind a place: cursors and live views rest on it."""

from __future__ import annotations

from tests.ledger_entries import NOON, make_entry

from outlay.ledger.store import EntryFilter, LedgerStore


def seqs(store: LedgerStore, limit: int | None = None, **wanted: object) -> list[int]:
    return [entry.seq for entry in store.entries(EntryFilter(**wanted), limit)]  # type: ignore[arg-type]


def test_pages_behind_the_last_seq_make_the_whole_walk(store: LedgerStore) -> None:
    store.append(
        [make_entry(f"e{number}", at=NOON + number, user="ann" if number % 2 else None) for number in range(7)]
    )
    whole = seqs(store)
    assert len(whole) == 7
    pages: list[int] = []
    while page := seqs(store, 3, after=pages[-1] if pages else None):
        pages += page
    assert pages == whole
    assert seqs(store, after=whole[-1]) == []
    assert seqs(store, where={"user": ("ann",)}, after=whole[1]) == [whole[3], whole[5]]


def test_from_the_newest_a_walk_goes_on_below_its_place(store: LedgerStore) -> None:
    store.append([make_entry(f"e{number}", at=NOON + number) for number in range(5)])
    down = seqs(store, newest_first=True)
    assert down == sorted(down, reverse=True)
    assert seqs(store, newest_first=True, after=down[1]) == down[2:]
    assert seqs(store, 1, newest_first=True, after=down[1]) == [down[2]]
    assert seqs(store, newest_first=True, after=down[-1]) == []
