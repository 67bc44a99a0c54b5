"""What runs under the products, as the cloud bills it: one row a day and resource."""

from __future__ import annotations

from decimal import Decimal
from typing import Final, NamedTuple

from outlay.capture.statements import BilledRow, meter_of_unit
from outlay.faces.cli.demo.company import Day

SOURCE: Final = "simulated-bill"
_CENT: Final = Decimal("0.0001")


class Machine(NamedTuple):
    """A resource that runs all day: its usage a day and its price per unit, both as a bill would round them."""

    service: str
    resource: str
    quantity: str
    unit: str
    price: str


MACHINES: Final = (
    Machine("ECS", "clipmaker-workers", "24", "hours", "0.04937"),
    Machine("RDS", "lumen-postgres", "24", "hours", "0.034"),
    Machine("ElastiCache", "lumen-redis", "24", "hours", "0.017"),
    Machine("NAT Gateway", "lumen-nat", "24", "hours", "0.045"),
)

LOGS_GB_A_DAY: Final = Decimal("0.31")
LOGS_PRICE: Final = Decimal("0.50")


def bill_of(day: Day) -> list[BilledRow]:
    """The rows of one day's bill. Hours times the hourly price; logs grow with the days."""
    rows = [_row(day, machine, Decimal(machine.quantity), Decimal(machine.price)) for machine in MACHINES]
    logs = Machine("CloudWatch", "/lumen/all", "", "GB-ingested", "")
    rows.append(_row(day, logs, LOGS_GB_A_DAY + Decimal(day.index) / 200, LOGS_PRICE))
    return rows


def _row(day: Day, machine: Machine, quantity: Decimal, price: Decimal) -> BilledRow:
    return BilledRow(
        date=day.date,
        service=machine.service,
        resource=machine.resource,
        cost=str((quantity * price).quantize(_CENT)),
        quantity=str(quantity.normalize()),
        unit=machine.unit,
        provider="aws",
        meter=meter_of_unit(machine.unit),
        line=day.index + 1,
    )
