"""Bills on the stores that keep them: restated, reconciled and told apart from what retention dropped."""

from __future__ import annotations

import datetime
import zlib
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.postgres_ledgers import PostgresLedgers

import outlay
from outlay.capture.statements import BilledRow
from outlay.ledger.store import EntryFilter

DAY = datetime.date(2026, 3, 2)
RDS = BilledRow(
    date=DAY,
    service="Amazon RDS",
    resource="db",
    cost="0.41",
    quantity="24",
    unit="hours",
    provider="aws",
    meter="hours",
    tags={"user": "ana", "project": "video"},
    cells=("0.41", "24"),
)
LAMBDA = replace(RDS, service="AWS Lambda", resource="", cost="1.20", quantity="", unit="", meter=None, tags={})


@pytest.fixture(params=["sqlite", "postgres"])
def stored(request: pytest.FixtureRequest, clock: outlay.FrozenClock, tmp_path: Path) -> Iterator[outlay.Ledger]:
    if request.param == "sqlite":
        with outlay.open(tmp_path / "outlay.db", clock=clock) as ledger:
            yield ledger
        return
    ledgers: PostgresLedgers = request.getfixturevalue("postgres_ledgers")
    address = ledgers.take("USD", "UTC")
    with outlay.open(address, clock=clock) as ledger:
        yield ledger
    ledgers.give(address)


def call(ledger: outlay.Ledger) -> None:
    ledger.record(provider="aws", service="lambda", usage={}, reported_cost="1.00", time=f"{DAY}T10:00:00Z")


def test_a_bill_is_restated_and_reconciled_and_its_history_stays(stored: outlay.Ledger) -> None:
    call(stored)
    first = stored.import_statement(
        [RDS, LAMBDA], source="a", zone="UTC", restates="period", columns=["cost", "usage"]
    )
    assert (first.charged, first.waiting) == (1, 1)
    restated = [replace(RDS, cost="0.42"), LAMBDA]
    assert stored.import_statement(restated, source="b", zone="UTC", restates="period").restated == 1
    found = stored.reconcile(provider="aws")
    assert stored.costs().total.amount == Decimal("1.62")  # the second bill: 0.42 + 1.20
    assert (found.billed, found.unmetered, found.total.amount) == (
        1_620_000_000_000,
        420_000_000_000,
        200_000_000_000,
    )
    versions = [
        (entry.sign, entry.rating.amount)
        for entry in stored.store.entries(EntryFilter(live_only=False))
        if entry.event.service == "Amazon RDS"
    ]
    assert versions == [(1, 410_000_000_000), (-1, 410_000_000_000), (1, 420_000_000_000)]
    assert next(iter(stored.statement_rows(first.statement))) == {"cost": "0.41", "usage": "24"}
    assert [each.source for each in stored.statements()] == ["a", "b"]
    assert stored.audit().ok


def test_a_persons_name_on_a_bill_is_where_it_can_be_forgotten(stored: outlay.Ledger) -> None:
    stored.import_statement([RDS], source="a", zone="UTC")
    assert stored.costs("user").rows[0].keys == ("ana",)
    for kind in ("statement", "statement_groups", "statement_rows"):
        assert not any(b"ana" in _unpacked(body) for body in stored.store.notes(kind))
    assert stored.forget(user="ana") == 1
    stored.reconcile(provider="aws")
    assert stored.costs("user").rows[0].keys != ("ana",)
    assert stored.costs().total.amount == Decimal("0.41")


def _unpacked(body: bytes) -> bytes:
    return body if body[:1] == b"{" else zlib.decompress(body)


def test_what_retention_dropped_is_neither_charged_nor_adjusted_again(
    stored: outlay.Ledger, clock: outlay.FrozenClock
) -> None:
    call(stored)
    stored.import_statement([RDS, LAMBDA], source="a", zone="UTC", restates="period")
    stored.reconcile()
    before = stored.costs().total
    clock.advance(days=200)
    assert stored.retain(days=30).entries > 0
    again = stored.reconcile()
    assert again.posted is not None
    assert (again.posted.created, again.posted.amount) == (0, 0)
    late = stored.import_statement([replace(RDS, cost="9")], source="b", zone="UTC", restates="period")
    assert (late.charged, len(late.conflicts)) == (0, 1)
    assert "retention" in late.conflicts[0]
    assert stored.costs().total == before


def test_billed_charges_count_in_the_budget_window_of_their_usage(
    stored: outlay.Ledger, clock: outlay.FrozenClock
) -> None:
    stored.budget("aws", limit="1.00", window="month", where={"provider": "aws"}, zone="UTC")
    late = replace(RDS, date=datetime.date(2026, 2, 27), cost="0.70", bill_month="2026-03")
    stored.import_statement([replace(RDS, cost="0.60"), late], source="a", zone="UTC")
    [march] = stored.budgets()
    assert march.spent == 600_000_000_000  # the late row lies in February, though it stands on March's invoice
    by_month = {row.keys[0]: row.cost.amount for row in stored.costs("month", zone="UTC")}
    assert by_month == {"2026-02": Decimal("0.70"), "2026-03": Decimal("0.60")}
