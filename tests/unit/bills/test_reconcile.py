"""A bill with an error in it: the error is named, its money is exact, and the ledger then says what the bill says."""

from __future__ import annotations

import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from msgspec.structs import replace

import outlay
from outlay.analytics.reconcile import Cause
from outlay.bills.comparing import Reconciliation
from outlay.capture.statements import BilledRow, Category

FIRST = datetime.date(2026, 3, 2)
DAYS = 3
CALLS = 100  # a day, each of 1,000 input tokens ($2.50 a million) and 200 output tokens ($10 a million): $0.0045


def call(ledger: outlay.Ledger, number: int, day: datetime.date) -> None:
    ledger.record(
        provider="openai",
        service="gpt-4o",
        usage={"input_tokens": 1_000, "output_tokens": 200},
        feature="summary" if number % 2 else "chat",
        id=f"{day}/{number}",
        time=f"{day}T10:00:00Z",
    )


def days() -> list[datetime.date]:
    return [FIRST + datetime.timedelta(days=step) for step in range(DAYS)]


def billed(day: datetime.date, meter: str, calls: int = CALLS, cost: str | None = None, **other: Any) -> BilledRow:
    per_call, price = (1_000, Decimal("2.5")) if meter == "input_tokens" else (200, Decimal(10))
    quantity = per_call * calls
    row = BilledRow(
        date=day,
        service="gpt-4o",
        resource="",
        cost=cost if cost is not None else f"{quantity * price / 1_000_000:f}",
        quantity=str(quantity),
        unit="tokens",
        provider="openai",
        meter=meter,
        sku=f"gpt-4o, {meter}",
    )
    return replace(row, **other)


def sound_bill() -> list[BilledRow]:
    return [billed(day, meter) for day in days() for meter in ("input_tokens", "output_tokens")]


@pytest.fixture
def called(memory: outlay.Ledger) -> outlay.Ledger:
    for day in days():
        for number in range(CALLS):
            call(memory, number, day)
    return memory


def reconciled(ledger: outlay.Ledger, rows: list[BilledRow], **how: Any) -> Reconciliation:
    ledger.import_statement(rows, source="bill", zone="UTC", **how)
    found = ledger.reconcile(provider="openai")
    billed_total = sum(Decimal(row.cost) for row in rows)
    assert ledger.costs(where={"provider": "openai"}).total.amount == billed_total
    assert sum(found.total.causes.values()) == found.total.amount
    assert ledger.audit().ok
    return found


def causes(found: Reconciliation) -> dict[Cause, Decimal]:
    return {cause: Decimal(amount).scaleb(-12).normalize() for cause, amount in found.total.causes.items()}


def test_a_sound_bill_changes_nothing(called: outlay.Ledger) -> None:
    found = reconciled(called, sound_bill())
    assert (found.total.amount, found.total.causes, found.drifts, found.proposals) == (0, {}, (), ())
    assert found.posted is not None
    assert (found.posted.created, found.posted.amount) == (0, 0)
    assert called.costs().total.amount == Decimal("1.35")  # 300 × $0.0045


def test_a_changed_price_is_named_with_the_rate_that_the_bill_shows(called: outlay.Ledger) -> None:
    dearer = "0.24"  # 20,000 × $12 a million
    rows = [
        replace(row, cost=dearer) if row.meter == "output_tokens" and row.date > FIRST else row
        for row in sound_bill()
    ]
    found = reconciled(called, rows)
    assert causes(found) == {Cause.PRICE: Decimal("0.08")}  # 2 days × 20,000 × $2 a million
    [proposal] = found.proposals
    assert (proposal.service, proposal.meter, proposal.days) == ("gpt-4o", "output_tokens", 2)
    dollars = [each * 1_000_000 for each in (proposal.price_low, proposal.price_high, proposal.price_now)]
    assert dollars == [Fraction(12), Fraction(12), Fraction(10)]
    assert proposal.quantity == Fraction(40_000)


def test_one_percent_of_calls_that_nobody_recorded_are_named_as_missing(called: outlay.Ledger) -> None:
    rows = [billed(day, meter, calls=101) for day in days() for meter in ("input_tokens", "output_tokens")]
    found = reconciled(called, rows)
    assert causes(found) == {Cause.MISSING_CALLS: Decimal("0.0135")}  # 3 × $0.0045
    [drift] = found.drifts
    assert (drift.provider, drift.service, drift.charged, drift.billed, drift.difference) == (
        *("openai", "gpt-4o", "1.35", "1.3635"),
        "0.0135",
    )


def test_calls_that_were_not_billed_and_more_of_one_meter_are_told_apart(called: outlay.Ledger) -> None:
    fewer = [billed(day, meter, calls=90) for day in days() for meter in ("input_tokens", "output_tokens")]
    assert set(causes(reconciled(called, fewer))) == {Cause.CALLS_NOT_BILLED}
    longer = [
        replace(row, quantity="30000", cost="0.30") if row.meter == "output_tokens" else row for row in sound_bill()
    ]
    assert causes(reconciled(called, longer)) == {Cause.QUANTITY: Decimal("0.3")}  # 3 × 10,000 × $10 a million


def test_credits_tax_and_free_usage_each_have_their_name(called: outlay.Ledger) -> None:
    first, *rest = sound_bill()
    rows = [
        *(replace(first, cost="0"), *rest),  # a free allowance: 100,000 input tokens, $0.25
        billed(FIRST, "input_tokens", cost="-0.10", quantity="", category=Category.CREDIT),
        billed(FIRST, "input_tokens", cost="0.0935", quantity="", category=Category.TAX),
        billed(FIRST, "input_tokens", cost="-0.02", quantity="", category=Category.ADJUSTMENT),
    ]
    assert causes(reconciled(called, rows)) == {
        Cause.FREE_TIER: Decimal("-0.25"),
        Cause.CREDITS: Decimal("-0.1"),
        Cause.TAX: Decimal("0.0935"),
        Cause.ADJUSTMENTS: Decimal("-0.02"),
    }


def test_what_a_commitment_covers_is_named(called: outlay.Ledger) -> None:
    first, *rest = sound_bill()
    covered = replace(first, cost="0", list_cost="0.25", category=Category.COMMITMENT)
    assert causes(reconciled(called, [covered, *rest])) == {Cause.COMMITMENT: Decimal("-0.25")}


def test_an_invoice_rounded_to_cents_differs_by_rounding_only(called: outlay.Ledger) -> None:
    odd = Decimal("0.2475")  # 99 calls' input
    called.cancel(f"{FIRST}/7", reason="never made")
    rows = sound_bill()
    rows[0] = billed(FIRST, "input_tokens", calls=99, cost="0.25")
    rows[1] = billed(FIRST, "output_tokens", calls=99, cost="0.20")
    assert causes(reconciled(called, rows)) == {
        Cause.ROUNDING: Decimal("0.25") - odd + Decimal("0.20") - Decimal("0.198")
    }


def test_rows_that_stand_twice_are_named_where_they_bear_no_key_and_left_out_where_they_do(
    called: outlay.Ledger,
) -> None:
    rows = [replace(row, raw=f"{row.date},{row.meter}") for row in sound_bill()]
    found = reconciled(called, [*rows, rows[0]])
    assert causes(found) == {Cause.REPEATED_ROWS: Decimal("0.25")}
    keyed = [replace(row, key=f"id-{at}", line=at) for at, row in enumerate(sound_bill())]
    told = called.import_statement([*keyed, keyed[1]], source="keyed", zone="UTC", restates="period")
    assert told.repeated == (1,)
    assert called.reconcile(provider="openai").total.amount == 0
    assert called.costs().total.amount == Decimal("1.35")


def test_a_late_restatement_replaces_what_was_billed_and_is_named(called: outlay.Ledger) -> None:
    reconciled(called, sound_bill(), restates="period")
    late = [
        *(
            replace(row, cost="0.30") if row.date == FIRST and row.meter == "input_tokens" else row
            for row in sound_bill()
        ),
    ]
    found = reconciled(called, late, restates="period")
    [restated] = found.restated
    assert (restated.amount, restated.groups) == (50_000_000_000, 1)  # $0.30 instead of $0.25
    assert found.posted is not None
    assert (found.posted.created, found.posted.amount) == (1, 50_000_000_000)
    back = reconciled(called, [*sound_bill(), billed(FIRST, "output_tokens", cost="0.00", quantity="0", sku="late")])
    assert (back.posted.cancelled, back.total.amount) == (1, 0) if back.posted else False


def test_reconciling_twice_writes_nothing_and_a_call_that_comes_late_takes_its_adjustment_back(
    called: outlay.Ledger,
) -> None:
    rows = [billed(day, meter, calls=101) for day in days() for meter in ("input_tokens", "output_tokens")]
    reconciled(called, rows)
    again = called.reconcile(provider="openai").posted
    assert again is not None
    assert (again.created, again.changed, again.cancelled) == (0, 0, 0)
    call(called, CALLS, FIRST)
    late = called.reconcile(provider="openai")
    assert late.posted is not None
    assert (late.posted.cancelled, late.posted.amount) == (1, -4_500_000_000)
    assert called.costs().total.amount == Decimal("1.3635")
    assert called.costs(view="called").total.amount == Decimal("1.3545")  # 301 × $0.0045


def test_a_dry_run_writes_nothing(called: outlay.Ledger) -> None:
    rows = [replace(row, cost="9") for row in sound_bill()]
    called.import_statement(rows, source="bill", zone="UTC")
    found = called.reconcile(dry_run=True)
    assert (found.posted, found.total.amount > 0) == (None, True)
    assert called.costs().total.amount == Decimal("1.35")


def test_what_was_charged_as_billed_is_taken_back_once_calls_are_recorded(memory: outlay.Ledger) -> None:
    memory.import_statement(sound_bill(), source="bill", zone="UTC")
    assert memory.costs().total.amount == Decimal("1.35")  # nobody recorded a call: all of it as billed
    for number in range(CALLS):
        call(memory, number, FIRST)
    assert memory.costs().total.amount == Decimal("1.80")
    found = memory.reconcile()
    assert memory.costs().total.amount == Decimal("1.35")
    assert causes(found) == {Cause.MISSING_CALLS: Decimal("0.9")}


def test_a_row_of_the_whole_month_is_spread_over_the_days_that_were_called(called: outlay.Ledger) -> None:
    month = BilledRow(
        date=datetime.date(2026, 3, 1),
        days=31,
        service="gpt-4o",
        resource="",
        cost="2.70",
        quantity="",
        unit="",
        provider="openai",
    )
    reconciled(called, [month])
    by_day = {row.keys[0]: row.cost.amount for row in called.costs("day", zone="UTC")}
    assert by_day == {str(day): Decimal("0.90") for day in days()}


def test_seed_4s_lambda_is_counted_once_under_a_bill(memory: outlay.Ledger) -> None:
    # Seed 4, line 60: 2.4 s at 256 MB is 0.6 GB-seconds × $0.0000166667 and one request × $0.0000002.
    memory.record(
        provider="aws",
        service="lambda",
        usage={"gb_seconds": "0.6", "requests": 1},
        time="2026-03-02T09:00:00Z",
        id="lambda-1",
    )
    as_called = memory.costs().total.amount
    assert as_called == Decimal("0.00001020002")
    bill = [
        _aws("AWS Lambda", "0.0000102", "Lambda-GB-Second", "0.6", "GB-Seconds", "gb_seconds"),
        _aws("AWS Lambda", "0.0000002", "Request", "1", "Requests", "requests"),
        _aws("Amazon Relational Database Service", "0.41", "InstanceUsage:db.t3", "24", "Hrs", "hours"),
    ]
    told = memory.import_statement(bill, source="aws", zone="UTC")
    assert (told.charged, told.waiting) == (1, 2)
    assert memory.costs().total.amount == as_called + Decimal("0.41")
    found = memory.reconcile(provider="aws")
    assert memory.costs().total.amount == Decimal("0.4100104")  # the invoice: 0.0000102 + 0.0000002 + 0.41
    assert memory.costs(view="called").total.amount == as_called
    assert memory.costs(where={"service": "lambda"}, view="reconciled").total.amount == Decimal("0.0000104")
    assert found.unmetered == 410_000_000_000


def _aws(service: str, cost: str, sku: str, quantity: str, unit: str, meter: str) -> BilledRow:
    return BilledRow(
        date=FIRST,
        service=service,
        resource="",
        cost=cost,
        quantity=quantity,
        unit=unit,
        provider="aws",
        meter=meter,
        sku=sku,
    )


def test_each_providers_days_are_those_of_its_own_bills(called: outlay.Ledger) -> None:
    called.record(provider="replicate", service="a/x", usage={}, reported_cost="0.50", time="2026-03-02T23:30:00Z")
    berlin = replace(_aws("Replicate", "0.50", "", "", "", ""), date=datetime.date(2026, 3, 3), provider="replicate")
    called.import_statement([replace(berlin, meter=None)], source="berlin.csv", zone="Europe/Berlin")
    called.import_statement(sound_bill(), source="bill", zone="UTC")
    found = called.reconcile()
    assert (found.total.amount, found.not_billed, len(found.by_service())) == (0, 0, 2)
    assert called.costs().total.amount == Decimal("1.85")


def test_what_was_never_imported_is_named() -> None:
    with outlay.open("memory:") as empty, pytest.raises(outlay.NotFound) as refused:
        empty.reconcile(provider="openai")
    assert refused.value.code == "no_such_statement"
