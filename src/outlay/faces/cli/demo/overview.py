"""What the demo shows when it has been built: every figure asked from its ledger, nothing known beforehand."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from statistics import median_low
from typing import TYPE_CHECKING, Any, Final

from outlay.clock import to_datetime, window_of
from outlay.faces.cli.answering import dearest, named, table_of_costs
from outlay.faces.cli.render import Bar, Cell, Column, Form, Table, for_people, show, spark
from outlay.money import Money, round_half_even

if TYPE_CHECKING:
    from outlay.answers import Costs, Job
    from outlay.api import Ledger
    from outlay.model import CostRow, PricedLine
    from outlay.receipt import Receipt

UNUSUAL: Final = 3
"""A day is unusual when it costs more than this many times the middle day."""

NAMES: Final = {"clipmaker": "Clipmaker (videos)", "retouch": "Retouch (images)", "manuals": "Manuals (answers)"}


def show_overview(ledger: Ledger, address: str, program: str) -> None:
    """Print the overview of a demo's ledger, whose file is `address`; `program` is how outlay is called here."""
    days = ledger.costs(("day",))
    _say(*_headline(ledger, days))
    for table in _breakdowns(ledger):
        show(table, Form.TABLE)
    night = _unusual_day(days)
    if night is not None:
        _say("", *_night(ledger, days, night))
    videos = _videos(ledger)
    show(_table_of_videos(ledger, videos), Form.TABLE)
    typical = _typical_video(ledger, videos)
    if typical is not None:
        show(_line_by_line(typical, ledger.store.home_zone), Form.TABLE)
    unpriced = [row for row in ledger.costs(("provider", "service")).rows if row.unpriced or row.incomplete]
    _say("", *_unpriced(unpriced))
    _say("", *_next(program, address, typical, night), *_put_right(program, address, unpriced))


def _say(*lines: str) -> None:
    sys.stdout.write("\n".join(lines) + "\n")


def _headline(ledger: Ledger, days: Costs) -> Iterator[str]:
    yield "Lumen Works, a simulated company: three AI products and what they spent. Nothing here was really bought."
    if not days.rows:
        return
    first, last = days.rows[0].keys[0], days.rows[-1].keys[0]
    yield f"{first} to {last}: {days.total.digits()} in {days.events:,} calls and bills"
    yield ""
    amounts = [row.amount for row in days.rows]
    middle = Money(median_low(amounts), days.currency)
    yield f"by day    {spark(amounts, 2 * middle.pico)}"
    most = max(days.rows, key=lambda row: row.amount)
    yield "          (full height: twice the middle day, or more)"
    yield f"          middle day {middle.digits()}, dearest {most.cost.digits()} on {most.keys[0]}"
    basis = ", ".join(f"{name} {amount.digits()}" for name, amount in days.shares().items())
    if basis:
        yield f"          {basis}"


def _breakdowns(ledger: Ledger) -> Iterator[Table]:
    yield table_of_costs(ledger.costs(("week",)), title="by week")
    products = ledger.costs(("project",))
    yield _shares(dearest(products, None), "by product", _product_name)
    yield _shares(dearest(ledger.costs(("project", "feature")), None), "by feature", _product_name, limit=10)
    yield _shares(dearest(ledger.costs(("provider", "service")), None), "by provider and service", _as_is)
    yield _shares(dearest(ledger.costs(("customer",)), None), "by customer", _as_is)


def _product_name(value: str | None, dimension: str) -> str:
    if value is None and dimension == "project":
        return "shared infrastructure"
    return NAMES.get(value or "", _as_is(value, dimension))


def _as_is(value: str | None, dimension: str) -> str:
    return named(value, dimension)


def _shares(answer: Costs, title: str, name_of: Any, limit: int = 20) -> Table:
    total = answer.table.total.amount
    rows: list[list[Cell]] = []
    for row in answer.rows[:limit]:
        names = [name_of(key, name) for key, name in zip(row.keys, answer.by, strict=True)]
        share = row.amount / total if total > 0 else 0.0
        rows.append([*names, row.cost, f"{100 * share:.1f} %", Bar(share), row.events, row.failed])
    columns = (
        *(Column(name, name) for name in answer.by),
        Column("cost", "cost", right=True),
        Column("share", "share", right=True),
        Column("bar", "", for_people=True),
        Column("events", "calls", right=True),
        Column("failed", "failed", right=True, when_empty=False),
    )
    return Table(columns, rows, title=f"\n{title}")


def _unusual_day(days: Costs) -> CostRow | None:
    if not days.rows:
        return None
    most = max(days.rows, key=lambda row: row.amount)
    return most if most.amount > UNUSUAL * median_low([row.amount for row in days.rows]) else None


def _night(ledger: Ledger, days: Costs, night: CostRow) -> Iterator[str]:
    """Which job made the dearest day dear, when, and how it compares with the middle day."""
    middle = median_low([row.amount for row in days.rows])
    since, until = _span_of(ledger, night)
    worst = next((row for row in ledger.top("job", limit=2, since=since, until=until) if row.keys[0]), None)
    tenths = round_half_even(night.amount * 10, middle)
    yield f"the runaway night: {night.keys[0]} cost {night.cost.digits()}, {tenths / 10} times the middle day"
    if worst is None or worst.keys[0] is None:
        return
    job = ledger.job(worst.keys[0])
    begun, ended = (_hour(at, days.zone) for at in (job.first_at, job.last_at))
    dearest_step = next(iter(job.by_step.items()), None)
    yield f"  {job.name}: {job.total.digits()} in {job.events:,} calls from {begun} to {ended} by {_who(job)}"
    if dearest_step is not None and dearest_step[0] is not None:
        yield f"  all for step {dearest_step[0]} ({dearest_step[1].digits()}): a loop that was never content"


def _span_of(ledger: Ledger, row: CostRow) -> tuple[int, int]:
    from outlay.faces.cli.when import read_time

    zone = ledger.store.home_zone
    start = read_time(str(row.keys[0]), ledger.clock.now(), zone)
    window = window_of(start, "day", zone)
    return window.start, window.end


def _hour(instant: int | None, zone: str) -> str:
    return "?" if instant is None else to_datetime(instant, zone).strftime("%H:%M")


def _who(job: Job) -> str:
    event = job.receipts[0].event
    return f"{event.user or 'nobody'} of {event.customer or 'nobody'}"


def _videos(ledger: Ledger) -> Costs:
    return dearest(ledger.costs(("job",), where={"project": "clipmaker"}), None)


def _table_of_videos(ledger: Ledger, videos: Costs) -> Table:
    outcomes = ledger.store.job_outcomes()
    rows: list[list[Cell]] = []
    for row in videos.rows[:8]:
        outcome = outcomes.get(row.keys[0] or "")
        rows.append([row.keys[0], row.cost, row.events, row.failed, outcome.status if outcome else "open"])
    units = sum(outcomes[row.keys[0]].units for row in videos.rows if row.keys[0] in outcomes)
    note = f"{len(videos.rows):,} videos begun, {units:,} finished: {videos.total.digits()}"
    if units:
        each = Money(round_half_even(videos.total.pico, units), videos.currency)
        note += f" / {units:,} = {each.digits()} per finished video, what came to nothing included"
    columns = (
        Column("job", "video"),
        Column("cost", "cost", right=True),
        Column("events", "calls", right=True),
        Column("failed", "failed", right=True),
        Column("outcome", "outcome"),
    )
    return Table(columns, rows, title="\nthe dearest videos", note=note)


def _typical_video(ledger: Ledger, videos: Costs) -> Job | None:
    """The finished video in the middle: half of them cost less."""
    outcomes = ledger.store.job_outcomes()
    done = [row for row in videos.rows if row.keys[0] in outcomes and outcomes[row.keys[0]].units]
    if not done:
        return None
    name = done[len(done) // 2].keys[0]
    return None if name is None else ledger.job(name)


def _line_by_line(job: Job, zone: str) -> Table:
    """Every priced line of a job: quantity × price = amount; they sum to its total."""
    rows: list[list[Cell]] = []
    for receipt in job.receipts:
        event = receipt.event
        for at, line in enumerate(receipt.lines):
            what = event.step or event.operation or ""
            clock = to_datetime(event.occurred_from, zone).strftime("%H:%M:%S")
            head: list[Cell] = [clock, what, event.service] if at == 0 else ["", "", ""]
            rows.append([*head, line.meter, *_arithmetic(line, receipt)])
    columns = (
        Column("time", "time"),
        Column("what", "call"),
        Column("service", "service"),
        Column("meter", "meter"),
        Column("quantity", "quantity", right=True),
        Column("price", "× price", right=True),
        Column("amount", "=", right=True),
    )
    footer: list[Cell] = ["total", "", "", "", "", "", str(job.total)]
    return Table(columns, rows, footer, title=f"\nwhy {job.name}, the middle one, cost {job.total}")


def _arithmetic(line: PricedLine, receipt: Receipt) -> list[Cell]:
    amount = Money(line.amount, receipt.currency)
    if line.rate is None:
        return [line.quantity, "as told", str(amount)]
    price = for_people(line.rate.price) + (f" / {line.rate.per:,}" if line.rate.per != 1 else "")
    return [line.quantity, price, str(amount)]


def _unpriced(unpriced: list[CostRow]) -> Iterator[str]:
    if not unpriced:
        yield "everything is priced"
    for row in unpriced:
        provider, service = row.keys
        yield (
            f"unpriced: {row.unpriced + row.incomplete} calls of {provider}/{service}, for no price of it is known;"
            " they are kept, and a price added later puts them right"
        )


def _next(program: str, address: str, video: Job | None, night: CostRow | None) -> Iterator[str]:
    """Commands that work with this ledger as they stand."""
    ledger = f"-l {address}"
    yield "what to try next"
    if video is not None:
        yield f"  {program} explain {video.name} {ledger}"
    yield f"  {program} costs --by day,project --since 14d {ledger}"
    if night is not None:
        yield f"  {program} top jobs --since {night.keys[0]} {ledger}"
    yield f"  {program} costs --by customer,feature --where project=retouch {ledger}"
    yield f"  {program} costs --by month,provider --json {ledger}"
    yield f"  {program} advise --explain {ledger}"
    yield f"  {program} prices show elevenlabs eleven_multilingual_v2 {ledger}"
    yield f"  {program} audit {ledger}"


def _put_right(program: str, address: str, unpriced: list[CostRow]) -> Iterator[str]:
    if unpriced:
        provider, service = unpriced[0].keys
        yield f"  {program} prices add -p {provider} -s {service} -m images --price 0.03 -l {address}"
        yield f"  {program} reprice --dry-run -l {address}"
