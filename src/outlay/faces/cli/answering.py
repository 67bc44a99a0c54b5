"""Answers made tables: costs with categories, jobs, receipts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from outlay.analytics.categories import CATEGORY, add_rows, fields_needed, group_by_category, read_patterns
from outlay.answers import Costs, Job
from outlay.clock import isoformat, to_datetime
from outlay.config import load_settings
from outlay.errors import InvalidInput
from outlay.faces.cli.render import Bar, Cell, Column, Named, Table, exact
from outlay.model import CostRow, PricingStatus
from outlay.money import Money, decimal_to_pico, round_half_even
from outlay.receipt import Receipt

if TYPE_CHECKING:
    from outlay.api import Ledger

TIMES: Final = ("hour", "day", "week", "month")
_PLURALS: Final = {
    "categories": "category",
    "dates": "day",
    "models": "service",
    "status": "status",
    "basis": "basis",
}


def singular(name: str) -> str:
    """`jobs` → `job`: people name lists in the plural."""
    if name in _PLURALS:
        return _PLURALS[name]
    return name[:-1] if name.endswith("s") and not name.startswith("tag.") else name


def ask_costs(
    ledger: Ledger, by: Sequence[str], where: Mapping[str, tuple[str | None, ...]], **question: Any
) -> Costs:
    """Costs as `ledger.costs`, where `category` may also be grouped and filtered by.

    Raises InvalidInput `no_categories` when outlay.toml has none.
    """
    if CATEGORY not in by and CATEGORY not in where:
        return ledger.costs(by, where=where, **question)
    patterns = read_patterns(load_settings().categories)
    if not patterns:
        raise InvalidInput(
            'no categories are defined; add to outlay.toml, for instance, [categories] writing = ["feature:story*"]',
            code="no_categories",
        )
    if question.pop("percentiles", False):
        raise InvalidInput("percentiles cannot be given by category; leave one of them out", code="bad_option")
    named = [name for name in by if name != CATEGORY]
    inner = (*named, *(field for field in fields_needed(patterns) if field not in named))
    others = {name: values for name, values in where.items() if name != CATEGORY}
    table = ledger.costs(inner, where=others, **question).table
    rows = group_by_category(inner, by, table.rows, patterns, where.get(CATEGORY))
    times = [at for at, name in enumerate(by) if name in TIMES]
    rows.sort(key=lambda row: ([row.keys[at] or "" for at in times], -row.amount, str(row.keys)))
    return Costs(replace(table, by=tuple(by), rows=tuple(rows), total=total_of(rows)))


def total_of(rows: Sequence[CostRow]) -> CostRow:
    """The sum of groups, under no keys."""
    total = CostRow(keys=(), amount=0, events=0)
    for row in rows:
        total = add_rows(total, row)
    return replace(total, keys=())


def dearest(answer: Costs, minimum: str | None) -> Costs:
    """The rows of an answer, dearest first, without those that cost less than `minimum`."""
    least = None if minimum is None else decimal_to_pico(minimum.removeprefix("$"))
    rows = sorted(answer.rows, key=lambda row: (-row.amount, str(row.keys)))
    kept = tuple(row for row in rows if least is None or row.amount >= least)
    return Costs(replace(answer.table, rows=kept))


def named(value: str | None, dimension: str) -> str:
    """A group's name for people; `(no user)` for what has none."""
    return f"(no {dimension})" if value is None else value


def table_of_costs(answer: Costs, *, limit: int | None = None, title: str = "") -> Table:
    """The rows of an answer with bars and a total; CSV and JSON hold every figure exactly."""
    rows = answer.rows if limit is None else answer.rows[:limit]
    total = answer.table.total
    most = max((row.amount for row in rows), default=0)
    spread = any(row.amount_p50 is not None for row in rows)
    counted = any(row.quantities for row in rows)
    columns = [
        *(Column(name, name) for name in answer.by),
        Column("cost", "cost", right=True),
        Column("bar", "", for_people=True),
        Column("events", "calls", right=True),
        Column("failed", "failed", right=True, when_empty=False),
        Column("unpriced", "unpriced", right=True, when_empty=False),
        Column("incomplete", "incomplete", right=True, when_empty=False),
        Column("average", "a call", right=True),
        *(Column(f"cost_{name}", name, right=True) for name in ("p50", "p95", "max") if spread),
        *([Column("quantities", "used")] if counted else []),
    ]
    footer = _cells(answer, total, most=0, spread=spread, counted=False)
    tail: list[Cell] = [None] if counted else []
    return Table(
        columns,
        [_row(answer, row, most, spread, counted) for row in rows],
        ["total", *[""] * (len(answer.by) - 1), *footer, *tail] if answer.by else None,
        title,
        _note(answer, len(rows)),
        _facts(answer),
    )


def _row(answer: Costs, row: CostRow, most: int, spread: bool, counted: bool) -> list[Cell]:
    keys: list[Cell] = [Named(key, named(key, name)) for key, name in zip(row.keys, answer.by, strict=True)]
    return [*keys, *_cells(answer, row, most=most, spread=spread, counted=counted)]


def _cells(answer: Costs, row: CostRow, *, most: int, spread: bool, counted: bool) -> list[Cell]:
    average = Money(round_half_even(row.amount, row.events), answer.currency) if row.events else None
    unknown = 0 < row.events == row.unpriced and not row.amount
    cells: list[Cell] = [
        cost_of(row.amount, answer.currency, unknown=unknown),
        Bar(row.amount / most) if most > 0 else None,
        row.events,
        row.failed,
        row.unpriced,
        row.incomplete,
        None if unknown else average,
    ]
    if spread:
        parts = (row.amount_p50, row.amount_p95, row.amount_max)
        cells += [None if pico is None else Money(pico, answer.currency) for pico in parts]
    if counted:
        cells.append(dict(row.quantities or {}))
    return cells


def cost_of(amount: int, currency: str, *, unknown: bool) -> Cell:
    """An amount as a cell; people read `unpriced` where nothing of it has a price, which is not zero."""
    money = Money(amount, currency)
    return Named(money, "unpriced") if unknown else money


def _note(answer: Costs, shown: int) -> str:
    notes = []
    if shown < len(answer.rows):
        notes.append(f"{shown} of {len(answer.rows):,} rows; the total is of all of them")
    if answer.spooled:
        notes.append(f"{answer.spooled:,} more events wait to be booked")
    basis = answer.table.total.basis
    if basis and len(basis) > 1 and answer.table.total.amount:
        parts = [f"{name} {100 * pico / answer.table.total.amount:.1f} %" for name, pico in sorted(basis.items())]
        notes.append("of the cost: " + ", ".join(parts))
    return "; ".join(notes)


def _facts(answer: Costs) -> dict[str, Any]:
    total = answer.table.total
    return {
        "by": list(answer.by),
        "currency": answer.currency,
        "zone": answer.zone,
        "answered_by": answer.answered_by,
        "spooled": answer.spooled,
        "total": {
            "cost": exact(answer.total),
            "events": total.events,
            "failed": total.failed,
            "unpriced": total.unpriced,
            "incomplete": total.incomplete,
            "basis": {name: exact(amount) for name, amount in answer.shares().items()},
        },
    }


CALL_COLUMNS: Final = (
    Column("time", "time"),
    Column("id", "id"),
    Column("provider", "provider"),
    Column("service", "service"),
    Column("operation", "operation", when_empty=False),
    Column("step", "step", when_empty=False),
    Column("status", "status"),
    Column("usage", "used"),
    Column("cost", "cost", right=True),
    Column("pricing_status", "pricing"),
)


def table_of_calls(job: Job, zone: str = "UTC", title: str = "") -> Table:
    """Every call of a job, in order of time."""
    rows: list[Sequence[Cell]] = []
    for receipt in job.receipts:
        event = receipt.event
        rows.append(
            [
                Named(isoformat(event.occurred_from), _clock_text(event.occurred_from, zone)),
                event.id,
                event.provider,
                event.service,
                event.operation,
                event.step,
                event.status.value,
                dict(event.usage),
                cost_of(
                    receipt.total.pico, receipt.currency, unknown=receipt.pricing_status is PricingStatus.UNPRICED
                ),
                receipt.pricing_status.value,
            ]
        )
    return Table(CALL_COLUMNS, rows, title=title)


def tables_of_job(job: Job, zone: str, said: str = "") -> list[Table]:
    """What people see of a job: its head, what was `said` of it, its cost by service and by step, its calls."""
    facts: list[tuple[str, Cell]] = [("total", job.total), ("calls", job.events), ("failed", job.failed)]
    if job.unpriced:
        facts.append(("unpriced", job.unpriced))
    if job.first_at is not None and job.last_at is not None:
        facts.append(("from", _clock_text(job.first_at, zone)))
        facts.append(("to", _clock_text(job.last_at, zone)))
    if job.outcome is not None:
        facts += [("outcome", job.outcome.status), ("units produced", job.outcome.units)]
        facts.append(("cost per unit", job.cost_per_unit or "nothing was produced"))
    if said:
        facts.append(("note", said))
    tables = [Table((Column("name", ""), Column("value", "", right=True)), [list(f) for f in facts], title=job.name)]
    services = {(one.event.provider, one.event.service) for one in job.receipts if _has_price(one)}
    parts = [([f"{key[0]}/{key[1]}"], amount, key in services) for key, amount in job.by_service.items()]
    tables.append(_shares(("service",), parts, job.total))
    if any(step is not None for step in job.by_step):
        steps = {one.event.step for one in job.receipts if _has_price(one)}
        parts = [([named(step, "step")], amount, step in steps) for step, amount in job.by_step.items()]
        tables.append(_shares(("step",), parts, job.total))
    without_id = table_of_calls(job, zone)
    places = [at for at, column in enumerate(CALL_COLUMNS) if column.name != "provider"]
    columns = [CALL_COLUMNS[at] for at in places]
    tables.append(Table(columns, [[row[at] for at in places] for row in without_id.rows]))
    return tables


def _has_price(receipt: Receipt) -> bool:
    return receipt.pricing_status is not PricingStatus.UNPRICED


def _shares(names: Sequence[str], parts: Sequence[tuple[list[str], Money, bool]], total: Money) -> Table:
    """Shares of a total: the keys and the amount of each, and whether it has a price at all."""
    columns = [*(Column(name, name) for name in names), Column("cost", "cost", right=True), Column("bar", "")]
    rows: list[Sequence[Cell]] = [
        [
            *keys,
            cost_of(amount.pico, amount.currency, unknown=not priced),
            Bar(amount.pico / total.pico) if total.pico > 0 else None,
        ]
        for keys, amount, priced in parts
    ]
    return Table(columns, rows)


LINE_COLUMNS: Final = (
    Column("meter", "meter"),
    Column("quantity", "quantity", right=True),
    Column("price", "price", right=True),
    Column("per", "per", right=True),
    Column("amount", "amount", right=True),
    Column("origin", "from"),
    Column("source", "source"),
    Column("source_date", "date"),
    Column("note", "note", when_empty=False),
)


def table_of_lines(receipt: Receipt) -> Table:
    """The priced lines of one event."""
    rows: list[Sequence[Cell]] = []
    for line in receipt.lines:
        rate = line.rate
        rows.append(
            [
                line.meter,
                line.quantity,
                rate.price if rate else None,
                rate.per if rate else None,
                Money(line.amount, receipt.currency),
                rate.origin if rate else None,
                rate.source if rate else None,
                rate.source_date if rate else None,
                line.note,
            ]
        )
    return Table(LINE_COLUMNS, rows)


def table_of_versions(receipt: Receipt) -> Table:
    """Every entry of an event: what it was, when and why."""
    columns = (
        Column("recorded_at", "recorded"),
        Column("kind", "entry"),
        Column("amount", "amount", right=True),
        Column("reason", "reason"),
    )
    rows: list[Sequence[Cell]] = [
        [
            isoformat(entry.recorded_at),
            "reversal" if entry.sign < 0 else entry.kind.value,
            Money(entry.sign * entry.rating.amount, receipt.currency),
            entry.reason,
        ]
        for entry in receipt.versions
    ]
    return Table(columns, rows, title="versions, oldest first")


def text_of_job(job: Job, zone: str) -> str:
    """A job line by line: its sum by service, then the arithmetic of every call in order of time."""
    lines = [f"{job.name}: {job.total} in {job.events} calls" + (f", {job.failed} failed" if job.failed else "")]
    if job.outcome is not None and job.cost_per_unit is not None:
        units = job.outcome.units
        lines.append(f"{job.total} / {units} produced = {job.cost_per_unit} each ({job.outcome.status})")
    lines += [f"  {amount!s:>16}  {provider}/{service}" for (provider, service), amount in job.by_service.items()]
    for number, receipt in enumerate(job.receipts, 1):
        event = receipt.event
        step = f", {event.step}" if event.step else ""
        lines.append(
            f"\n{number}. {_clock_text(event.occurred_from, zone)} {event.operation or 'call'}{step}  [{event.id}]"
        )
        lines.append(receipt.explain().rstrip())
    return "\n".join(lines) + "\n"


def _clock_text(instant: int, zone: str) -> str:
    return to_datetime(instant, zone).strftime("%Y-%m-%d %H:%M:%S")
