"""What every store promises of answers: groups, filters, zones, totals, and the refusal of a scan too large."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace
from tests.ledger_entries import DAY, HOUR, NOON, make_entry

from outlay.clock import to_instant
from outlay.errors import InvalidInput, LedgerError
from outlay.ledger.store import Amendment, LedgerStore
from outlay.model import Basis, CostQuery, CostTable, Status

OpenStore = Callable[..., LedgerStore]
PER_INPUT_TOKEN = 2_500_000
"""Picounits: $2.50 a million."""


def amounts(table: CostTable) -> dict[tuple[str | None, ...], int]:
    return {row.keys: row.amount for row in table.rows}


@pytest.fixture(params=["folded", "unfolded", "half"])
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def settle(store: LedgerStore, mode: str) -> None:
    """Fold all, nothing or one entry: no answer may depend on it."""
    store.fold({"folded": 1_000, "unfolded": 0, "half": 1}[mode])


def test_groups_come_dearest_first_with_their_total(store: LedgerStore, mode: str) -> None:
    store.append(
        [
            make_entry("a", user="u", usage={"input_tokens": 100}),
            make_entry("b", user="v", usage={"input_tokens": 300}, status=Status.FAILED),
            make_entry("c", usage={"input_tokens": 100, "images": 2}, count=2),
            make_entry("d", user="u", usage={"images": 1}),
        ]
    )
    settle(store, mode)
    table = store.costs(CostQuery(by=("user",)))
    # v: 300 tokens; nobody: 100 tokens twice; u: 100 tokens.
    assert [(row.keys, row.amount, row.events) for row in table.rows] == [
        (("v",), 300 * PER_INPUT_TOKEN, 1),
        ((None,), 200 * PER_INPUT_TOKEN, 2),
        (("u",), 100 * PER_INPUT_TOKEN, 2),
    ]
    total = table.total
    assert (total.amount, total.events, total.failed, total.unpriced, total.incomplete) == (
        600 * PER_INPUT_TOKEN,
        5,
        1,
        1,
        2,
    )
    assert table.rows[0].basis == {"measured": 300 * PER_INPUT_TOKEN}
    assert (table.by, table.currency, table.zone) == (("user",), "USD", "UTC")


@pytest.mark.parametrize(
    "name",
    [
        "provider",
        "service",
        "operation",
        "status",
        "basis",
        "step",
        "user",
        "customer",
        "team",
        "project",
        "feature",
        "job",
        "environment",
        "request",
        "trace",
        "tag.x",
    ],
)
def test_costs_group_and_filter_by_every_dimension(store: LedgerStore, mode: str, name: str) -> None:
    values = {"status": Status.FAILED, "basis": "reported"}.get(name, "special")
    fields: dict[str, Any] = {"tags": {"x": "special"}} if name == "tag.x" else {name: values}
    if name == "basis":
        fields = {"basis_of_entry": Basis.REPORTED}
    store.append([make_entry("a", usage={"input_tokens": 1}), make_entry("b", usage={"input_tokens": 10}, **fields)])
    settle(store, mode)
    found = amounts(store.costs(CostQuery(by=(name,))))
    assert found[(str(values),)] == 10 * PER_INPUT_TOKEN
    assert sum(found.values()) == 11 * PER_INPUT_TOKEN
    for query in (
        CostQuery(where={name: (str(values),)}),
        CostQuery(by=("day", "step"), where={name: (str(values),)}),
    ):
        assert store.costs(query).total.amount == 10 * PER_INPUT_TOKEN
    assert store.costs(CostQuery(where={name: ("nothing",)})).rows == ()


def test_none_among_the_values_means_events_without_one(store: LedgerStore, mode: str) -> None:
    store.append([make_entry("a", user="u"), make_entry("b"), make_entry("c", user="v")])
    settle(store, mode)
    assert store.costs(CostQuery(where={"user": (None, "v")})).total.events == 2


def test_meters_are_leaves_and_an_event_counts_once_in_the_total(store: LedgerStore, mode: str) -> None:
    store.append(
        [
            make_entry("a", usage={"input_tokens": 100, "output_tokens": 10}, count=2),
            make_entry("b", usage={"images": 3}),
            make_entry("c", usage={}),
        ]
    )
    settle(store, mode)
    table = store.costs(CostQuery(by=("meter",), quantities=True))
    assert [(row.keys[0], row.amount, row.events, row.quantities) for row in table.rows] == [
        # 2 calls × 100 × $2.50 and 2 × 10 × $10 a million.
        ("input_tokens", 200 * PER_INPUT_TOKEN, 2, {"input_tokens": 200}),
        ("output_tokens", 20 * 10_000_000, 2, {"output_tokens": 20}),
        ("images", 0, 1, {"images": 3}),
        (None, 0, 1, {}),
    ]
    assert (table.total.events, table.total.amount) == (4, 700_000_000)
    one = store.costs(CostQuery(where={"meter": ("output_tokens",)}, by=("provider",)))
    assert (one.total.events, one.total.amount) == (2, 200_000_000)
    two = store.costs(CostQuery(where={"meter": ("output_tokens", "input_tokens")}))
    assert (two.total.events, two.total.amount) == (2, 700_000_000)


def test_quantities_come_with_any_group(store: LedgerStore, mode: str) -> None:
    store.append([make_entry("a", user="u", usage={"input_tokens": 5}), make_entry("b", usage={"video_seconds": 7})])
    settle(store, mode)
    for by in (("provider",), ("user",), ("day",)):
        table = store.costs(CostQuery(by=by, quantities=True))
        assert table.total.quantities == {"input_tokens": 5, "video_seconds": 7}
    assert store.costs(CostQuery(by=("user",))).rows[0].quantities is None


@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
def test_halves_that_add_up_to_a_whole_are_told_as_one_however_they_were_counted(
    store: LedgerStore, mode: str, zone: str
) -> None:
    halves = [make_entry(f"e{n}", NOON + n * 20 * HOUR, usage={"video_seconds": Decimal("0.5")}) for n in range(6)]
    store.append(halves)
    settle(store, mode)
    # Days of the home zone, days of another, and a range with an edge within a day are counted in different ways.
    for until in (None, NOON + 200 * HOUR):
        total = store.costs(CostQuery(by=("month",), quantities=True, zone=zone, until=until)).total
        assert repr(total.quantities) == "{'video_seconds': 3}"


def test_percentiles_are_of_one_calls_amount_by_nearest_rank(store: LedgerStore) -> None:
    # Calls of 1 … 19 tokens and one event of 10 calls of 100 tokens: 29 calls; rank 15 is 15, rank 28 is 100.
    single = [make_entry(f"e{n}", usage={"input_tokens": n}) for n in range(1, 20)]
    store.append([*single, make_entry("many", usage={"input_tokens": 100}, count=10)])
    (row,) = store.costs(CostQuery(percentiles=True)).rows
    assert (row.amount_p50, row.amount_p95, row.amount_max) == (
        15 * PER_INPUT_TOKEN,
        100 * PER_INPUT_TOKEN,
        100 * PER_INPUT_TOKEN,
    )
    store.amend([Amendment(20, None, NOON, "never happened")])
    (row,) = store.costs(CostQuery(percentiles=True)).rows
    # 19 calls are left: rank 10 and rank 19.
    assert (row.amount_p50, row.amount_p95, row.amount_max) == (
        10 * PER_INPUT_TOKEN,
        19 * PER_INPUT_TOKEN,
        19 * PER_INPUT_TOKEN,
    )
    assert store.costs(CostQuery(where={"user": ("x",)}, percentiles=True)).total.amount_p50 is None


@pytest.mark.parametrize(
    ("zone", "days"),
    [
        # 19:00Z to 18:30Z of the next day: one Indian date (+5:30), two dates of UTC, two of New York.
        ("Asia/Kolkata", ["2026-03-11"]),
        ("UTC", ["2026-03-10", "2026-03-11"]),
        ("America/New_York", ["2026-03-10", "2026-03-11"]),
    ],
)
@pytest.mark.parametrize("home", ["UTC", "Asia/Kolkata", "America/New_York"])
def test_a_local_day_is_a_day_of_the_zone_asked_for(
    open_store: OpenStore, home: str, zone: str, days: list[str], mode: str
) -> None:
    store = open_store(zone=home)
    begin = to_instant("2026-03-10T19:00:00Z")
    store.append([make_entry("a", begin), make_entry("b", begin + 23 * HOUR + HOUR // 2 - 1)])
    settle(store, mode)
    assert [row.keys[0] for row in store.costs(CostQuery(by=("day",), zone=zone)).rows] == days
    assert store.home_zone == home


def test_an_hour_repeated_in_autumn_is_two_hours(open_store: OpenStore, mode: str) -> None:
    store = open_store(zone="Europe/Berlin")
    # 25 October 2026: 02:30 summer time is 00:30Z, 02:30 winter time 01:30Z.
    store.append(
        [make_entry("a", to_instant("2026-10-25T00:30:00Z")), make_entry("b", to_instant("2026-10-25T01:30Z"))]
    )
    settle(store, mode)
    hours = store.costs(CostQuery(by=("hour",), zone="Europe/Berlin"))
    assert [row.keys[0] for row in hours.rows] == ["2026-10-25T02:00+0200", "2026-10-25T02:00+0100"]
    (day,) = store.costs(CostQuery(by=("day", "week", "month"), zone="Europe/Berlin")).rows
    assert (day.keys, day.events) == (("2026-10-25", "2026-W43", "2026-10"), 2)


@pytest.fixture(params=[1_000, 0], ids=["taken from whole days", "read beside whole days"])
def edges(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways to answer what lies between the end of a range and midnight."""
    monkeypatch.setattr("outlay.ledger.querying.TAKEN_MAX", request.param)


@pytest.mark.usefixtures("edges")
@pytest.mark.parametrize("offset", [0, 1, HOUR // 4, HOUR])
def test_a_range_includes_its_start_and_excludes_its_end(store: LedgerStore, mode: str, offset: int) -> None:
    midnight = NOON - 12 * HOUR
    since, until = midnight + offset, midnight + DAY + offset
    times = [since - 1, since, until - 1, until]
    store.append([make_entry(f"e{n}", at, usage={"input_tokens": 10**n}) for n, at in enumerate(times)])
    settle(store, mode)
    for by in ((), ("provider",), ("feature",), ("hour",), ("request",)):
        table = store.costs(CostQuery(by=by, since=since, until=until))
        assert (by, table.total.amount) == (by, 110 * PER_INPUT_TOKEN)
    assert store.costs(CostQuery(since=since)).total.events == 3
    assert store.costs(CostQuery(until=until)).total.events == 3
    assert store.costs(CostQuery(since=since, until=since)).rows == ()
    # Within one day, or until now.
    assert store.costs(CostQuery(by=("user",), since=since - 1, until=since + 1)).total.events == 2
    assert store.costs(CostQuery(by=("user",), since=since, until=until + DAY // 2)).total.events == 3


def test_as_of_leaves_out_what_was_recorded_later(store: LedgerStore) -> None:
    store.append([make_entry("a", usage={"input_tokens": 1}), make_entry("b", NOON, recorded_at=NOON + DAY)])
    store.amend([Amendment(1, make_entry("a", usage={"input_tokens": 9}), NOON + 2 * DAY, "late")])
    assert store.costs(CostQuery(as_of=NOON)).total.amount == PER_INPUT_TOKEN
    assert store.costs(CostQuery(as_of=NOON + DAY)).total.amount == 1_001 * PER_INPUT_TOKEN
    assert store.costs(CostQuery()).total.amount == 1_009 * PER_INPUT_TOKEN


def test_a_cancelled_event_leaves_no_row(store: LedgerStore, mode: str) -> None:
    store.append([make_entry("a", user="u"), make_entry("b", user="v")])
    store.amend([Amendment(1, None, NOON, "test")])
    settle(store, mode)
    assert [row.keys for row in store.costs(CostQuery(by=("user",))).rows] == [("v",)]


def test_a_jobs_row_says_when_it_began_and_ended(store: LedgerStore, mode: str) -> None:
    store.append(
        [
            make_entry("a", NOON, job="j", occurred_to=NOON + 9),
            make_entry("b", NOON - 5, job="j"),
            make_entry("c", NOON + 2, job="j", occurred_to=NOON + 3),
        ]
    )
    settle(store, mode)
    (row,) = store.costs(CostQuery(by=("job",))).rows
    assert (row.first_at, row.last_at) == (NOON - 5, NOON + 9)
    (row,) = store.costs(CostQuery(by=("job", "day"), where={"job": ("j",)}, since=NOON)).rows
    assert (row.first_at, row.last_at, row.events) == (NOON, NOON + 9, 2)


def test_a_scan_too_large_is_refused_and_says_how_to_narrow(store: LedgerStore) -> None:
    store.append([make_entry(f"e{n}", NOON + n * DAY, request=f"r{n}") for n in range(4)])
    with pytest.raises(LedgerError) as raised:
        store.costs(CostQuery(by=("step",), scan_limit=3))
    assert raised.value.code == "scan_too_large"
    assert "narrow since and until" in raised.value.message
    narrower = CostQuery(by=("step",), scan_limit=3, since=NOON + DAY)
    assert store.costs(narrower).total.events == 3
    assert store.costs(CostQuery(by=("step",), where={"request": ("r1",)}, scan_limit=0)).total.events == 1
    assert store.costs(CostQuery(by=("provider",), scan_limit=0)).total.events == 4


@pytest.mark.parametrize(
    ("query", "code"),
    [
        (CostQuery(by=("usr",)), "unknown_dimension"),
        (CostQuery(by=("fortnight",)), "unknown_dimension"),
        (CostQuery(by=("tag.",)), "unknown_dimension"),
        (CostQuery(where={"day": ("2026-03-10",)}), "unknown_dimension"),
        (CostQuery(zone="Mars/Base"), "unknown_zone"),
        (CostQuery(since=2, until=1), "bad_range"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused_by_name(store: LedgerStore, query: CostQuery, code: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        store.costs(query)
    assert raised.value.code == code


def test_amounts_beyond_an_int64_of_picounits_are_exact(store: LedgerStore, mode: str) -> None:
    # 4e12 tokens at $2.50 a million are $10,000,000: 10^19 picounits, more than an int64 holds.
    store.append([make_entry(f"e{n}", usage={"input_tokens": 4 * 10**12}) for n in range(5)])
    settle(store, mode)
    for by in ((), ("user",), ("meter",), ("step",)):
        assert store.costs(CostQuery(by=by)).total.amount == 5 * 10**19


@pytest.mark.usefixtures("edges")
def test_whole_months_and_the_days_beside_them_add_up_to_what_a_scan_finds(open_store: OpenStore, mode: str) -> None:
    store = open_store(zone="Europe/Berlin")
    # Every sixth day for seven months and more, over the end of the year and both changes of the clock.
    start = to_instant("2025-10-03T22:30:00Z")
    for number in range(40):
        user = f"u{number % 3}"
        store.append(
            [make_entry(f"e{number}", start + number * 6 * DAY, user=user, usage={"input_tokens": 1 + number})]
        )
    settle(store, mode)
    for since, until in (
        ("2025-10-15T00:00:00+02:00", "2026-04-10T00:00:00+02:00"),
        ("2025-10-15T12:00:00+02:00", "2026-03-31T23:00:00Z"),
        ("2025-12-31T23:00:00Z", "2026-02-28T23:00:00Z"),
        ("2026-01-15T00:00:00+01:00", "2026-02-14T00:00:00+01:00"),
        (None, "2026-02-10T00:00:00+01:00"),
        ("2026-02-10T00:00:00+01:00", None),
        (None, None),
    ):
        query = CostQuery(
            where={"user": ("u0", "u2")},
            since=None if since is None else to_instant(since),
            until=None if until is None else to_instant(until),
        )
        for by in (("user",), ("month", "user"), ("quarter", "year"), ("week", "user"), ("day",)):
            table = store.costs(replace(query, by=by))
            # With percentiles every entry is looked at.
            looked_at = store.costs(replace(query, by=by, percentiles=True))
            assert amounts(table) == amounts(looked_at)
            assert table.total.amount == looked_at.total.amount
            assert table.total.events == looked_at.total.events


@pytest.mark.parametrize(
    ("home", "zone"),
    [
        ("UTC", "America/New_York"),
        ("UTC", "Asia/Kathmandu"),
        ("Europe/Berlin", "Australia/Lord_Howe"),
        ("Europe/Berlin", "UTC"),
    ],
)
def test_windows_of_another_zone_are_what_a_scan_finds(
    open_store: OpenStore, home: str, zone: str, mode: str
) -> None:
    store = open_store(zone=home)
    # Every five hours for 40 days, over the changes of the clock in March and April 2026, the last of half an hour on
    # Lord Howe; some calls never happened.
    start = to_instant("2026-03-01T00:10:00Z")
    store.append(
        [
            make_entry(
                f"e{number}",
                start + number * 5 * HOUR,
                provider=f"p{number % 3}",
                status=Status.FAILED if number % 7 == 0 else Status.OK,
                usage={"input_tokens": 1 + number},
            )
            for number in range(40 * 24 // 5)
        ]
    )
    store.amend([Amendment(number, None, NOON, "never happened") for number in (3, 4, 5, 90)])
    settle(store, mode)
    for since, until, where in (
        (None, None, {}),
        ("2026-03-05T00:00:00Z", "2026-04-05T00:00:00Z", {"provider": ("p1", "p2")}),
        ("2026-03-07T11:15:00Z", "2026-03-29T20:52:00Z", {"status": ("failed",)}),
        ("2026-03-29T03:00:00Z", "2026-03-29T13:00:00Z", {}),
    ):
        query = CostQuery(
            zone=zone,
            where=where,
            since=None if since is None else to_instant(since),
            until=None if until is None else to_instant(until),
        )
        for by in (("day", "provider"), ("week",), ("month", "status"), ("week", "day"), ("hour", "provider")):
            table = store.costs(replace(query, by=by))
            # With percentiles every entry is looked at.
            looked_at = store.costs(replace(query, by=by, percentiles=True))
            assert [(row.keys, row.amount, row.events, row.failed, row.basis) for row in table.rows] == [
                (row.keys, row.amount, row.events, row.failed, row.basis) for row in looked_at.rows
            ]
            assert (table.total.amount, table.total.events) == (looked_at.total.amount, looked_at.total.events)


def test_an_answer_given_again_counts_what_came_meanwhile(store: LedgerStore) -> None:
    start = NOON - NOON % DAY
    query = CostQuery(by=("day", "provider"), zone="America/New_York")
    hours = replace(query, by=("hour",))
    past = CostQuery(since=start, until=start + 9 * DAY)
    closed = [replace(past, by=by) for by in (("day", "provider"), ("feature",), ("user", "day"))]
    dearest = replace(past, by=("user",), top=2)

    def told(fold: bool) -> list[tuple[tuple[str | None, ...], int]]:
        if fold:
            store.fold(10_000)
        for one in (query, hours, *closed, dearest):
            table, looked_at = store.costs(one), store.costs(replace(one, percentiles=True))
            assert amounts(table) == amounts(looked_at)
            assert table.total.amount == looked_at.total.amount
        return [(row.keys, row.events) for row in store.costs(query).rows]

    # More than a block of entries, so that what is late lies in a block of its own.
    store.append(
        [make_entry(f"e{number}", start + number * DAY // 100, user=f"u{number % 7}") for number in range(1_100)]
    )
    before = told(fold=True)
    assert told(fold=True) == before
    # Late by ten days, then a correction of a first call, then one of today that leaves the past as it was.
    store.append([make_entry("late", start + DAY // 2)])
    assert told(fold=False) == told(fold=True) != before
    store.amend([Amendment(1, None, NOON, "never happened")])
    corrected = told(fold=True)
    store.append([make_entry("today", start + 11 * DAY)])
    assert told(fold=False)[:10] == told(fold=True)[:10] == corrected[:10]
    assert sum(events for _, events in told(fold=True)) == 1_101


def test_the_dearest_users_of_whole_days_are_the_first_of_all_users(store: LedgerStore, mode: str) -> None:
    start = NOON - NOON % DAY
    tokens = [500, 400, 400, 300, 200, 100, 0, 0, 50]
    for number in range(90):
        place = number % len(tokens)
        user = f"u{place}" if place else None
        usage = {"input_tokens": tokens[place]} if place != 7 else {"images": 1}
        store.append([make_entry(f"e{number}", start + number * DAY // 2, user=user, usage=usage)])
    settle(store, mode)
    # Not folded: a new one becomes the dearest, and of one all calls are cancelled.
    store.append([make_entry("late", start + 20 * DAY, user="new", usage={"input_tokens": 9_000})])
    store.append([make_entry("outside", start + 80 * DAY, user="u8", usage={"input_tokens": 90_000})])
    for number in range(3, 90, 9):
        (event,) = store.versions(f"e{number}")
        store.amend([Amendment(event[0].seq, None, NOON + DAY, "never happened")])
    for since, until in (
        (None, None),
        (start + 2 * DAY, start + 41 * DAY),
        (start + 3 * DAY, start + 4 * DAY),
        (start + 2 * DAY, start + 41 * DAY + 13 * HOUR),  # All of the last day: its second call was at noon.
        (start + 2 * DAY + DAY // 2 + 1, start + 41 * DAY),
    ):
        for where in ({}, {"provider": (make_entry("x").event.provider,)}):
            query = CostQuery(by=("user",), since=since, until=until, where=where)
            every = store.costs(query)
            assert ("u3",) not in [row.keys for row in every.rows]
            for most in (0, 1, 2, 3, 5, 6, 100):
                table = store.costs(replace(query, top=most))
                assert (most, table.rows, table.total) == (most, every.rows[:most], every.total)


def test_the_dearest_jobs_are_the_first_of_all_jobs(store: LedgerStore, mode: str) -> None:
    for number in range(30):
        job = f"j{number % 12}" if number % 13 else None
        tokens = 100 if number % 12 < 5 else 10 + number
        store.append([make_entry(f"e{number}", NOON + number * HOUR, job=job, usage={"input_tokens": tokens})])
    settle(store, mode)
    # Not folded: the dearest so far is no longer there, another one is, and a third is cancelled.
    store.append([make_entry("late", NOON, job="new", usage={"input_tokens": 5_000})])
    (event,) = store.versions("e11")
    store.amend([Amendment(event[0].seq, None, NOON + DAY, "never happened")])
    every = store.costs(CostQuery(by=("job",)))
    assert every.rows[0].keys == ("new",)
    for most in (0, 1, 2, 5, 100):
        table = store.costs(CostQuery(by=("job",), top=most))
        assert table.rows == every.rows[:most]
        assert table.total == every.total
        assert (
            store.costs(CostQuery(by=("provider",), top=most)).rows
            == store.costs(CostQuery(by=("provider",))).rows[:most]
        )


def test_of_more_jobs_that_cost_alike_than_are_looked_at_the_first_names_are_given(
    store: LedgerStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("outlay.ledger.ranking.ALIKE_MAX", 3)
    store.append(
        [make_entry(f"e{number}", NOON, job=f"j{9 - number}", usage={"input_tokens": 10}) for number in range(9)]
    )
    store.append([make_entry("dear", NOON, job="z", usage={"input_tokens": 11})])
    store.fold(1_000)
    table = store.costs(CostQuery(by=("job",), top=3))
    assert [row.keys for row in table.rows] == [("z",), ("j1",), ("j2",)]
