"""The ledger's laws: a fold in any pieces is one fold, replays change nothing, order does not matter."""

from __future__ import annotations

import itertools
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.ledger_entries import DAY, NOON, make_entry, make_event, plain

from outlay.clock import local_day
from outlay.ledger import rules
from outlay.ledger.folding import Cell, Folded, Key, cap, fold_rows, merge
from outlay.ledger.memory import MemoryStore
from outlay.ledger.rollups import ROLLUPS
from outlay.ledger.sqlite import SqliteStore
from outlay.ledger.store import Amendment, EntryFilter
from outlay.model import CostQuery, Entry

small = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
names = st.sampled_from([None, "x", "y", "z"])
text = st.text(st.characters(codec="utf-8"), max_size=8)
quantities = st.integers(0, 10**9) | st.decimals(0, 10**6, places=9, allow_nan=False)
BY = [("day", "user"), ("meter",), ("job", "provider"), ("hour", "status"), ("feature", "basis"), ()]


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    return make_entry(
        draw(st.uuids()).hex,
        NOON + draw(st.integers(-3 * DAY, 3 * DAY)),
        user=draw(names),
        job=draw(names),
        feature=draw(names),
        tags=draw(st.dictionaries(text, text, max_size=2)),
        parameters=draw(st.dictionaries(text, st.integers(-(2**63), 2**63 - 1) | st.booleans() | text, max_size=2)),
        usage=draw(st.dictionaries(st.sampled_from(["input_tokens", "images", "gb_hours"]), quantities, max_size=3)),
        request=draw(st.none() | text),
        error=draw(st.none() | text),
        duration_s=draw(st.none() | st.decimals(0, 10**5, places=6, allow_nan=False)),
        count=draw(st.integers(1, 5)),
    )


batches = st.lists(entries(), max_size=12)


@small
@given(batch=batches, cut=st.integers(1, 12))
def test_rollups_equal_the_fold_of_the_entries_however_it_was_cut(batch: list[Entry], cut: int) -> None:
    with TemporaryDirectory() as folder:
        store = SqliteStore(Path(folder) / "a.db", fold_behind=False)
        store.append(batch)
        while store.fold(cut):
            assert store.audit().findings == ()
        plainly = MemoryStore()
        plainly.append(batch)
        for by in BY:
            query = CostQuery(by=by, quantities="job" not in by and "hour" not in by)
            assert store.costs(query).rows == plainly.costs(query).rows
            assert store.costs(query).total == plainly.costs(query).total
        store.close()


@small
@given(batch=batches)
def test_an_entry_comes_back_as_it_went_in(batch: list[Entry]) -> None:
    with TemporaryDirectory() as folder:
        store = SqliteStore(Path(folder) / "a.db", fold_behind=False)
        store.append(batch)
        expected = [msgspec.structs.replace(entry, seq=number) for number, entry in enumerate(batch, 1)]
        kept = list(store.entries(EntryFilter()))
        assert [plain_values(entry) for entry in kept] == [plain_values(entry) for entry in expected]
        store.close()


def plain_values(entry: Entry) -> object:
    """By fields; 1 and Decimal("1.0") of a meter are the same quantity."""
    usage = {name: Decimal(value) for name, value in entry.event.usage.items()}
    lines = [(line.meter, Decimal(line.quantity), line.amount) for line in entry.rating.lines]
    unrated = [(one.meter, Decimal(one.quantity), one.reason) for one in entry.rating.unrated]
    bare = msgspec.structs.replace(entry.rating, lines=(), unrated=())
    event = msgspec.structs.replace(entry.event, usage={})
    return usage, lines, unrated, plain(msgspec.structs.replace(entry, rating=bare, event=event))


@small
@given(batch=batches, data=st.data())
def test_a_replay_changes_nothing_and_order_does_not_matter(batch: list[Entry], data: st.DataObject) -> None:
    first, second = MemoryStore(), MemoryStore()
    first.append(batch)
    before = first.costs(CostQuery(by=("day", "user", "meter"))).rows
    assert {result.code for result in first.append(data.draw(st.permutations(batch)))} <= {"exists"}
    assert first.costs(CostQuery(by=("day", "user", "meter"))).rows == before
    second.append(data.draw(st.permutations(batch)))
    assert second.costs(CostQuery(by=("day", "user", "meter"))).rows == before


@small
@given(batch=batches.filter(bool), new=entries())
def test_a_correction_conserves(batch: list[Entry], new: Entry) -> None:
    store = MemoryStore()
    store.append(batch)
    first = batch[0]
    event = msgspec.structs.replace(
        new.event, id=first.event.id, occurred_from=first.event.occurred_from, occurred_to=first.event.occurred_to
    )
    store.amend([Amendment(1, msgspec.structs.replace(new, event=event), recorded_at=NOON, reason="checked")])
    expected = sum(entry.rating.amount for entry in batch[1:]) + new.rating.amount
    assert store.costs(CostQuery()).total.amount == expected
    store.amend([Amendment(len(batch) + 2, None, recorded_at=NOON, reason="checked")])
    assert store.costs(CostQuery()).total.amount == sum(entry.rating.amount for entry in batch[1:])


@given(value=st.integers(0, 10**6), extra=st.integers(0, 6), names=st.permutations(["a", "b", "c"]))
def test_a_fingerprint_sees_values_not_their_form(value: int, extra: int, names: list[str]) -> None:
    whole = make_event(usage={"images": value}, tags=dict.fromkeys(sorted(names), "t"))
    padded = make_event(usage={"images": Decimal(value).quantize(Decimal(1).scaleb(-extra))})
    padded = msgspec.structs.replace(padded, tags=dict.fromkeys(names, "t"))
    assert rules.fingerprint(whole) == rules.fingerprint(padded)
    assert rules.first_difference(whole, padded) == "body"


@given(
    values=st.lists(st.integers(1, 6), max_size=30),
    cuts=st.lists(st.integers(0, 30), max_size=3),
    limit=st.integers(0, 4),
)
def test_which_values_a_capped_rollup_tells_apart_does_not_depend_on_the_cuts(
    values: list[int], cuts: list[int], limit: int
) -> None:
    def capped(pieces: list[list[int]]) -> dict[Key, Cell]:
        admitted: dict[tuple[int, int], set[int]] = {}
        whole: dict[Key, Cell] = {}
        for piece in pieces:
            cells: dict[Key, Cell] = {}
            for value in piece:
                merge(cells, (20_000, 1, value, 0, 0, 0, 0, 0), [1, 0, 0, 0, 10])
            for key, cell in cap(cells, admitted, limit)[0].items():
                merge(whole, key, cell)
        return whole

    bounds = [0, *sorted(cuts), len(values)]
    pieces = [values[begin:end] for begin, end in itertools.pairwise(bounds)]
    assert capped(pieces) == capped([values])
    told_apart = {key[2] for key in capped([values])} - {-1}
    assert told_apart == set(list(dict.fromkeys(values))[:limit])


@given(whole=st.integers(0, 2**60), nano=st.integers(0, 10**9 - 1))
def test_a_quantity_pair_is_exact(whole: int, nano: int) -> None:
    assert rules.nano_of(rules.quantity_of(whole, nano)) == (whole, nano)


def test_the_pure_fold_counts_each_rollup_by_its_dimensions() -> None:
    # Two calls of 3 picounits each on one meter, the second reversed: nothing is left but the cells.
    row: list[Any] = [1, NOON, NOON + 5, *range(11, 16), 0, 0, *range(16, 21), 0, 1, 1, 0, 3, b""]
    reversal = [2, *row[1:17], -1, *row[18:]]

    def fold(*rows: list[Any]) -> Folded:
        return fold_rows(rows, lambda quarter: local_day(quarter * 900_000_000, "UTC"), lambda _: [(7, 3, 2 * 10**9)])

    once = fold(row)
    assert {name: list(cells.values()) for name, cells in once.cells.items()} == {
        **{rollup.name: [[1, 0, 0, 0, 3]] for rollup in ROLLUPS},
        "rollup_job": [[1, 0, 0, 0, 3, NOON, NOON + 5]],
        "rollup_job_total": [[1, 0, 0, 0, 3, NOON, NOON + 5]],
        "rollup_meter": [[1, 0, 0, 0, 3, 2 * 10**9]],
    }
    assert all(cell[:5] == [0] * 5 for cells in fold(row, reversal).cells.values() for cell in cells.values())
