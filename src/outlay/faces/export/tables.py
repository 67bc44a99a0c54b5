"""The ledger as plain tables: the daily CSV `Date,Service,Resource,Cost,Usage,Unit`, and a row a priced line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from outlay.answers import Costs
from outlay.capture.statements import UNIT_METERS
from outlay.clock import day_to_date, local_day, to_instant
from outlay.faces.export.charges import Charge, Chosen, Tally, amount_text, decimal_text, single_charges
from outlay.faces.export.focus_columns import ColumnKind
from outlay.faces.export.focus_names import seller_name, unit_name
from outlay.faces.export.grouping import Key, Sums, grouped
from outlay.faces.export.sinks import Row
from outlay.meters import METERS
from outlay.model import Basis
from outlay.receipt import Receipt

DAILY_COLUMNS: Final = ("Date", "Service", "Resource", "Cost", "Usage", "Unit")
LINE_COLUMNS: Final = (
    "time",
    "time_to",
    "event",
    "provider",
    "service",
    "operation",
    "meter",
    "calls",
    "quantity",
    "unit",
    "price",
    "price_per",
    "price_currency",
    "price_source",
    "cost",
    "currency",
    "basis",
    "status",
    "user",
    "customer",
    "team",
    "project",
    "feature",
    "job",
    "environment",
    "region",
    "resource",
    "tags",
)
_BILL_UNITS: Final = {meter: unit for unit, meter in reversed(list(UNIT_METERS.items()))}
_PREFERRED: Final = {
    "hours": "hours",
    "runs": "runs",
    "gb_months": "GB-months",
    "gb_hours": "GB-hours",
    "gb_ingested": "GB-ingested",
    "gb": "GB",
    "gb_transferred_out": "GB-out",
}


def daily_rows(receipts: Iterable[Receipt], chosen: Chosen, tally: Tally) -> Iterator[Row]:
    """A row a local day, service, resource and unit: the provider and its model for calls, as billed for the rest.

    `outlay import` reads it; the service of a call is its provider's name and the resource its model.
    """
    for (date, service, resource, unit, _), sums in grouped(_daily(receipts, chosen, tally)):
        tally.rows += 1
        tally.amount += sums.amount
        yield {
            "Date": date,
            "Service": service,
            "Resource": resource,
            "Cost": f"{amount_text(sums.amount)}".removesuffix(".0"),
            "Usage": decimal_text(sums.quantity).removesuffix(".0") if unit else "",
            "Unit": unit,
        }


def _daily(receipts: Iterable[Receipt], chosen: Chosen, tally: Tally) -> Iterator[tuple[Key, Sums]]:
    for key, sums in single_charges(receipts, chosen, tally):
        date = day_to_date(local_day(to_instant(key.start), chosen.zone)).isoformat()
        billed = key.basis == Basis.BILLED
        service = key.service if billed else seller_name(key.provider)
        resource = key.resource if billed else key.resource or key.service
        yield (date, service, resource, bill_unit(key.meter), key.provider), sums


def bill_unit(meter: str) -> str:
    """A meter as a bill's unit: `hours`, `GB-months`; a meter that bills have no unit for is named itself."""
    if meter not in METERS:
        return ""
    return _PREFERRED.get(meter) or _BILL_UNITS.get(meter) or meter.replace("_", "-")


def daily_kind(column: str) -> ColumnKind:
    """What a column of `DAILY_COLUMNS` holds."""
    return ColumnKind.DECIMAL if column in ("Cost", "Usage") else ColumnKind.TEXT


def line_rows(charges: Iterable[Charge], currency: str, tally: Tally) -> Iterator[Row]:
    """A row a charge under `LINE_COLUMNS`: of a line of a call, or of a sum, as the charges are."""
    for key, sums in charges:
        tally.rows += 1
        tally.amount += sums.amount
        measured = key.meter in METERS
        told = {name: getattr(key, name, None) or None for name in LINE_COLUMNS}
        yield told | {
            "time": key.start,
            "time_to": key.end,
            "calls": str(sums.calls),
            "quantity": decimal_text(sums.quantity) if measured else None,
            "unit": unit_name(key.meter) if measured else None,
            "price_per": key.per or None,
            "cost": amount_text(sums.amount),
            "currency": currency,
        }


def line_kind(column: str) -> ColumnKind:
    """What a column of `LINE_COLUMNS` holds."""
    if column in ("time", "time_to"):
        return ColumnKind.TIME
    if column in ("calls", "quantity", "price", "price_per", "cost"):
        return ColumnKind.DECIMAL
    return ColumnKind.JSON if column == "tags" else ColumnKind.TEXT


def cost_columns(costs: Costs) -> tuple[str, ...]:
    """The columns of an answer of `costs`."""
    return (*costs.table.by, "cost", "currency", "calls", "failed", "unpriced")


def cost_rows(costs: Costs) -> Iterator[Row]:
    """The rows of an answer of `costs`, exact."""
    for row in costs.table.rows:
        yield dict(zip(costs.table.by, row.keys, strict=True)) | {
            "cost": amount_text(row.amount),
            "currency": row.currency,
            "calls": str(row.events),
            "failed": str(row.failed),
            "unpriced": str(row.unpriced),
        }


def cost_kind(column: str) -> ColumnKind:
    """What a column of `cost_columns` holds."""
    numbers = ("cost", "calls", "failed", "unpriced")
    return ColumnKind.DECIMAL if column in numbers else ColumnKind.TEXT
