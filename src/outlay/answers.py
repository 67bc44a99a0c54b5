"""What the ledger answers: tables of costs, jobs and requests, repricings. Plain values with views on them."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from decimal import Decimal
from types import ModuleType
from typing import Any

from msgspec.structs import replace

from outlay.clock import Instant
from outlay.errors import MissingExtra
from outlay.ledger.store import JobOutcome
from outlay.model import CostRow, CostTable, PricingStatus
from outlay.money import Money, pico_to_decimal, round_half_even
from outlay.receipt import Receipt


class Costs:
    """The answer of `costs` and `top`: rows of one group each, and their total."""

    def __init__(self, table: CostTable) -> None:
        """Views on `table`."""
        if table.currency != "USD":
            rows = tuple(replace(row, currency=table.currency) for row in table.rows)
            table = replace(table, rows=rows, total=replace(table.total, currency=table.currency))
        self.table = table

    @property
    def by(self) -> tuple[str, ...]:
        """What the rows are grouped by; `row.keys` follows it."""
        return self.table.by

    @property
    def rows(self) -> tuple[CostRow, ...]:
        """The groups; amounts in picounits."""
        return self.table.rows

    @property
    def total(self) -> Money:
        """The sum over all groups."""
        return Money(self.table.total.amount, self.table.currency)

    @property
    def events(self) -> int:
        """How many calls."""
        return self.table.total.events

    @property
    def currency(self) -> str:
        """The ledger's currency."""
        return self.table.currency

    @property
    def zone(self) -> str:
        """The zone of day, week and month groups."""
        return self.table.zone

    @property
    def answered_by(self) -> str:
        """The rollup that answered, or `scan`."""
        return self.table.answered_by

    @property
    def spooled(self) -> int:
        """How many events wait in spools and are not in these figures yet."""
        return self.table.spooled

    def shares(self) -> dict[str, Money]:
        """The total split by what it rests on: measured, reported, estimated, billed, adjusted."""
        return {basis: Money(pico, self.currency) for basis, pico in sorted((self.table.total.basis or {}).items())}

    def as_dicts(self) -> list[dict[str, Any]]:
        """One dict a row: the group's keys, then cost (exact Decimal), events, failed, unpriced, …"""
        return [self._as_dict(row) for row in self.rows]

    def arrow(self) -> Any:
        """A pyarrow Table; cost is decimal128(38, 12). Needs the extra `arrow`."""
        pyarrow = _optional("pyarrow", "arrow")
        columns: dict[str, Any] = {
            name: pyarrow.array([row.keys[at] for row in self.rows], pyarrow.string())
            for at, name in enumerate(self.by)
        }
        costs = [pico_to_decimal(row.amount) for row in self.rows]
        columns["cost"] = pyarrow.array(costs, pyarrow.decimal128(38, 12))
        for name in ("events", "failed", "unpriced", "incomplete"):
            columns[name] = pyarrow.array([getattr(row, name) for row in self.rows], pyarrow.int64())
        return pyarrow.table(columns)

    def pandas(self) -> Any:
        """A pandas DataFrame; cost is exact Decimal. Needs the extra `pandas`."""
        pandas = _optional("pandas", "pandas")
        names = [*self.by, "cost", "events", "failed", "unpriced", "incomplete"]
        return pandas.DataFrame([{name: row[name] for name in names} for row in self.as_dicts()], columns=names)

    def _as_dict(self, row: CostRow) -> dict[str, Any]:
        found: dict[str, Any] = dict(zip(self.by, row.keys, strict=True))
        found["cost"] = pico_to_decimal(row.amount)
        found["events"] = row.events
        found["failed"] = row.failed
        found["unpriced"] = row.unpriced
        found["incomplete"] = row.incomplete
        if row.events:
            found["average"] = pico_to_decimal(round_half_even(row.amount, row.events))
        if row.quantities is not None:
            found["quantities"] = dict(row.quantities)
        if row.basis is not None:
            found["basis"] = {name: pico_to_decimal(pico) for name, pico in row.basis.items()}
        for name in ("amount_p50", "amount_p95", "amount_max"):
            value = getattr(row, name)
            if value is not None:
                found[name.replace("amount", "cost")] = pico_to_decimal(value)
        return found

    def __iter__(self) -> Iterator[CostRow]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        return f"<Costs {self.total} in {len(self.rows)} rows by {', '.join(self.by) or 'total'}>"


class Job:
    """All calls of one job or request, over every service, and what they came to."""

    def __init__(self, name: str, receipts: list[Receipt], currency: str, outcome: JobOutcome | None = None) -> None:
        """`receipts` are the live ones, in order of time."""
        self.name = name
        self.receipts = receipts
        self.currency = currency
        self.outcome = outcome

    @property
    def total(self) -> Money:
        """What all its calls cost, failed ones too."""
        return Money(sum(receipt.rating.amount for receipt in self.receipts), self.currency)

    @property
    def events(self) -> int:
        """How many calls."""
        return sum(receipt.event.count for receipt in self.receipts)

    @property
    def failed(self) -> int:
        """How many of them failed."""
        return sum(receipt.event.count for receipt in self.receipts if receipt.event.status == "failed")

    @property
    def unpriced(self) -> int:
        """How many of them have no price: the total leaves out what they cost."""
        unpriced = PricingStatus.UNPRICED
        return sum(receipt.event.count for receipt in self.receipts if receipt.pricing_status is unpriced)

    @property
    def by_service(self) -> dict[tuple[str, str], Money]:
        """Cost by (provider, service), dearest first."""
        return self._summed(lambda receipt: (receipt.event.provider, receipt.event.service))

    @property
    def by_step(self) -> dict[str | None, Money]:
        """Cost by step (a clip inside a video), dearest first."""
        return self._summed(lambda receipt: receipt.event.step)

    @property
    def cost_per_unit(self) -> Money | None:
        """The total over the units produced, rounded half-even at 10⁻¹²; None before anything was produced."""
        if self.outcome is None or self.outcome.units < 1:
            return None
        return Money(round_half_even(self.total.pico, self.outcome.units), self.currency)

    @property
    def first_at(self) -> Instant | None:
        """When its first call began."""
        return min((receipt.event.occurred_from for receipt in self.receipts), default=None)

    @property
    def last_at(self) -> Instant | None:
        """When its last call ended."""
        return max((receipt.event.occurred_to for receipt in self.receipts), default=None)

    def explain(self) -> str:
        """The sum by service, then every call's arithmetic."""
        left_out = f", {self.unpriced} of them unpriced" if self.unpriced else ""
        parts = [f"{self.name}: {self.total} in {self.events} calls{left_out}"]
        parts += [f"  {amount}  {provider}/{service}" for (provider, service), amount in self.by_service.items()]
        parts += [receipt.explain() for receipt in self.receipts]
        return "\n".join(parts)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON; amounts are exact Decimals."""
        unit = self.cost_per_unit
        return {
            "name": self.name,
            "total": self.total.amount,
            "currency": self.currency,
            "events": self.events,
            "failed": self.failed,
            "unpriced": self.unpriced,
            "units": self.outcome.units if self.outcome else None,
            "status": self.outcome.status if self.outcome else None,
            "cost_per_unit": unit.amount if unit else None,
            "by_service": [
                {"provider": provider, "service": service, "cost": amount.amount}
                for (provider, service), amount in self.by_service.items()
            ],
            "receipts": [receipt.as_dict() for receipt in self.receipts],
        }

    def _summed(self, key: Any) -> dict[Any, Money]:
        sums: dict[Any, int] = {}
        for receipt in self.receipts:
            found = key(receipt)
            sums[found] = sums.get(found, 0) + receipt.rating.amount
        ordered = sorted(sums.items(), key=lambda item: (-item[1], str(item[0])))
        return {found: Money(pico, self.currency) for found, pico in ordered}

    def __repr__(self) -> str:
        return f"<Job {self.name} {self.total} in {self.events} calls>"


class Repricing:
    """What a reprice did, or in a dry run would do."""

    def __init__(
        self, examined: int, rows: list[tuple[str, str, str, Money, Money]], currency: str, *, dry_run: bool
    ) -> None:
        """`rows` are (id, provider, service, before, after) of each event whose price changes."""
        self.examined = examined
        self.rows = rows
        self.dry_run = dry_run
        self._currency = currency

    @property
    def changed(self) -> int:
        """How many events change."""
        return len(self.rows)

    @property
    def before(self) -> Money:
        """What the changing events cost before."""
        return Money(sum(row[3].pico for row in self.rows), self._currency)

    @property
    def after(self) -> Money:
        """What they cost now."""
        return Money(sum(row[4].pico for row in self.rows), self._currency)

    @property
    def difference(self) -> Money:
        """after − before."""
        return self.after - self.before

    def __repr__(self) -> str:
        verb = "would change" if self.dry_run else "changed"
        return f"<Repricing {self.changed} of {self.examined} {verb}, {self.difference}>"


def decimal_text(value: Decimal) -> str:
    """A Decimal without exponent, for JSON and CSV."""
    return format(value, "f")


def _optional(module: str, extra: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtra(f"this needs {module}: pip install 'outlay[{extra}]'") from error
