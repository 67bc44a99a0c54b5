"""A bill is kept whole, charged once, and never beside what the ledger measured itself."""

from __future__ import annotations

import datetime
from decimal import Decimal

import pytest

import outlay
from outlay.capture.statements import BilledRow

DAY = datetime.date(2026, 3, 1)


def row(service: str, cost: str, *, provider: str = "aws", resource: str = "", unit: str = "hours") -> BilledRow:
    return BilledRow(
        date=DAY,
        service=service,
        resource=resource,
        cost=cost,
        quantity="24",
        unit=unit,
        provider=provider,
        meter="hours" if unit == "hours" else None,
    )


def test_unmetered_rows_are_charged_and_measured_ones_wait(ledger: outlay.Ledger) -> None:
    ledger.record(provider="replicate", service="stability-ai/sdxl", usage={"runs": 1}, time="2026-03-01T10:00:00Z")
    rows = [row("RDS", "0.41"), row("ECS", "0.49"), row("Replicate", "0.045", provider="replicate", unit="runs")]
    done = ledger.import_statement(rows, source="march.csv")
    assert (done.rows, done.charged, done.waiting, done.known) == (3, 2, 1, 0)
    assert done.amount.amount == Decimal("0.90")
    billed = {r.keys: r.cost.amount for r in ledger.costs(("service", "basis")) if r.keys[1] == "billed"}
    assert billed == {("RDS", "billed"): Decimal("0.41"), ("ECS", "billed"): Decimal("0.49")}
    assert [line.service for line in ledger.store.statement_lines("waiting")] == ["Replicate"]
    assert ledger.audit().ok


def test_the_same_bill_again_changes_nothing(ledger: outlay.Ledger) -> None:
    rows = [row("RDS", "0.41"), row("RDS", "0.41")]  # two equal rows of one bill are two charges
    first = ledger.import_statement(rows, source="march.csv")
    again = ledger.import_statement(rows, source="march-copy.csv")
    assert (first.charged, again.charged, again.known) == (2, 0, 2)
    assert ledger.costs().total.amount == Decimal("0.82")


def test_a_restated_row_is_reversed_and_charged_anew(ledger: outlay.Ledger) -> None:
    ledger.import_statement([row("RDS", "0.41"), row("ECS", "0.49")], source="march.csv")
    restated = ledger.import_statement([row("RDS", "0.42")], source="restated.csv")
    assert (restated.charged, restated.restated, restated.conflicts) == (0, 1, ())
    assert restated.amount.amount == Decimal("0.01")
    assert ledger.costs().total.amount == Decimal("0.91")  # 0.42 + 0.49, which the second bill does not name
    assert ledger.audit().ok


def test_what_can_not_be_charged_is_refused_whole(ledger: outlay.Ledger) -> None:
    with pytest.raises(outlay.InvalidInput) as refused:
        ledger.import_statement([], source="empty.csv")
    assert refused.value.code == "empty_statement"
    euro = BilledRow(
        date=DAY, service="RDS", resource="", cost="1", quantity="", unit="", provider="aws", currency="EUR"
    )
    with pytest.raises(outlay.InvalidInput) as refused:
        ledger.import_statement([row("ECS", "1"), euro], source="euro.csv")
    assert refused.value.code == "currency_mismatch"
    assert ledger.costs().events == 0


def test_a_credit_on_a_bill_counts_down(ledger: outlay.Ledger) -> None:
    ledger.import_statement([row("RDS", "10.00"), row("Credit", "-2.50", unit="")], source="march.csv")
    assert ledger.costs().total.amount == Decimal("7.50")
    assert ledger.costs("day", zone="UTC").rows[0].keys == ("2026-03-01",)


def test_rows_named_as_metered_wait_though_nothing_was_measured(ledger: outlay.Ledger) -> None:
    rows = [row("Replicate", "0.12", provider="replicate", unit="runs")]
    done = ledger.import_statement(rows, source="march.csv", metered=["replicate"])
    assert (done.charged, done.waiting) == (0, 1)
