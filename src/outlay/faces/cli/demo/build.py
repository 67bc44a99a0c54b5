"""The simulation becomes a ledger: recorded like any other program's calls, infrastructure through its bill."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, timedelta
from typing import TYPE_CHECKING, Final

from outlay.clock import day_to_date, to_datetime, utc_day
from outlay.errors import InvalidInput
from outlay.faces.cli.demo.company import CONTRACT_DAY, Day, Fields, Outcome, days_from
from outlay.faces.cli.demo.editor import edits_of
from outlay.faces.cli.demo.infrastructure import SOURCE, bill_of
from outlay.faces.cli.demo.manuals import answers_of
from outlay.faces.cli.demo.sellers import VOICE
from outlay.faces.cli.demo.video import videos_of

if TYPE_CHECKING:
    from outlay.api import Ledger

PLAN: Final = "demo_plan"
"""The setting that says what a demo's ledger holds: the first day and how many."""

DONE: Final = "demo_done"
"""The setting that says that the demo is whole."""

CONTRACT_PRICE: Final = "0.06"
CONTRACT_PER: Final = 1_000
CONTRACT_SOURCE: Final = "simulated contract of Lumen Works"


def build(
    ledger: Ledger,
    start: date | None,
    count: int,
    advance: Callable[[int], None] = lambda days: None,
    announce: Callable[[str], None] = lambda sentence: None,
) -> bool:
    """Fill an empty ledger, or one whose making was interrupted; False if it was whole already.

    Without `start` the days end yesterday. `advance` hears of each day's end, `announce` of the beginning.
    Raises InvalidInput `not_a_demo` for a ledger with other entries, `other_demo` for a demo of other days,
    `time_in_future` for days that have not ended.
    """
    plan = _plan(ledger, start, count)
    if ledger.store.setting(DONE):
        return False
    first, days = plan.split("+")
    simulated = days_from(date.fromisoformat(first), int(days))
    _agree_on_prices(ledger, simulated)
    announce(f"simulating {days} days from {first} …")
    outcomes: list[Outcome] = []
    _record(ledger, _events(simulated, outcomes, advance))
    for outcome in outcomes:
        ledger.finish(outcome.job, units=outcome.units, status=outcome.status, time=outcome.time)
    ledger.import_statement([row for day in simulated for row in bill_of(day)], source=SOURCE)
    ledger.fold()
    ledger.store.put_setting(DONE, plan)
    return True


def _plan(ledger: Ledger, start: date | None, count: int) -> str:
    """What this ledger is to hold; kept in it before anything else, so that an interrupted making goes on."""
    today = day_to_date(utc_day(ledger.clock.now()))
    standing = ledger.store.setting(PLAN)
    wanted = f"{(start or today - timedelta(days=count)).isoformat()}+{count}"
    if standing is not None:
        if start is not None and standing != wanted:
            raise InvalidInput(f"this ledger is a demo of {standing}; give --ledger a new file", code="other_demo")
        return standing
    if ledger.costs().events:
        raise InvalidInput("this is a ledger of your own; give --ledger a new file for the demo", code="not_a_demo")
    if start is not None and start + timedelta(days=count) > today:
        raise InvalidInput(f"{count} days from {start} have not ended yet; start earlier", code="time_in_future")
    ledger.store.put_setting(PLAN, wanted)
    return wanted


def _agree_on_prices(ledger: Ledger, simulated: list[Day]) -> None:
    """The voice provider gives a lower price from the contract's day on; what was spoken before keeps its own."""
    if len(simulated) <= CONTRACT_DAY or any(rate.source == CONTRACT_SOURCE for rate in ledger.store.rates()):
        return
    ledger.add_rate(
        provider=VOICE.provider,
        service=VOICE.service,
        meter="characters",
        price=CONTRACT_PRICE,
        per=CONTRACT_PER,
        valid_from=to_datetime(simulated[CONTRACT_DAY].start),
        source=CONTRACT_SOURCE,
    )


def _events(simulated: list[Day], outcomes: list[Outcome], advance: Callable[[int], None]) -> Iterator[Fields]:
    for day in simulated:
        events, ended = events_of(day)
        outcomes += ended
        yield from events
        advance(1)


def events_of(day: Day) -> tuple[list[Fields], list[Outcome]]:
    """All calls of one day in order of time, and the jobs that ended."""
    videos, produced = videos_of(day)
    answers, indexed = answers_of(day)
    events = sorted((*videos, *edits_of(day), *answers), key=lambda event: (event["time"], event["id"]))
    return events, produced + indexed


def _record(ledger: Ledger, events: Iterator[Fields]) -> None:
    for outcome in ledger.record_stream(events):
        if outcome.code not in ("created", "exists"):
            raise InvalidInput(f"the simulated event {outcome.id} was refused: {outcome.message}", code=outcome.code)
