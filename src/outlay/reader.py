"""The asking half of a ledger: costs, jobs, requests, events. It writes nothing but what this process journaled."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from datetime import date
from decimal import Decimal

from msgspec.structs import replace

from outlay.answers import Costs, Job
from outlay.arguments import When, Where, checked_dimensions, read_date, read_text, read_when, read_where, viewed
from outlay.calls import keep_late
from outlay.clock import Clock, Instant, date_to_day, zone_info
from outlay.errors import AmbiguousId, InvalidInput, NotFound
from outlay.ledger.rules import live_version
from outlay.ledger.store import EntryFilter, LedgerStore
from outlay.ledger.tallies import TIME_KEYS
from outlay.model import CostQuery, CostTable, Entry, Outcome
from outlay.money import Money, decimal_to_pico
from outlay.receipt import CANCELLED, Receipt
from outlay.spool import Spool


class LedgerReader:
    """What can be asked of a ledger that is open."""

    store: LedgerStore
    clock: Clock
    currency: str
    spool: Spool | None

    def costs(
        self,
        by: str | Sequence[str] = (),
        *,
        where: Where = None,
        since: When = None,
        until: When = None,
        zone: str | None = None,
        as_of: When = None,
        quantities: bool = False,
        percentiles: bool = False,
        view: str = "reconciled",
    ) -> Costs:
        """Costs grouped by any attribution, provider, service, operation, meter, status, basis, step, `tag.<name>`,
        hour, day, week or month (in `zone`, the ledger's home zone by default).

        `where` maps such names to a value, None (events without one) or a list of them. `since` is inclusive,
        `until` exclusive. `as_of` answers as the ledger stood then. The view `called` leaves out what bills brought;
        `reconciled` has each cost once, as billed where a bill was reconciled and as called elsewhere.
        Raises InvalidInput `unknown_dimension`, `bad_choice`.
        """
        self._flush()
        groups = checked_dimensions(by, times=True)
        zone_name = zone or self.store.home_zone
        zone_info(zone_name)
        query = CostQuery(
            by=groups,
            where=read_where(viewed(where, view)),
            since=read_when(since, zone_name, self.clock),
            until=read_when(until, zone_name, self.clock),
            zone=zone,
            as_of=read_when(as_of, zone_name, self.clock),
            quantities=quantities,
            percentiles=percentiles,
        )
        return Costs(self._with_spooled(query))

    def top(
        self,
        by: str = "job",
        *,
        limit: int = 10,
        minimum: str | Decimal | Money | None = None,
        where: Where = None,
        since: When = None,
        until: When = None,
    ) -> Costs:
        """The dearest jobs, users, features, …; `minimum` leaves out what cost less."""
        if isinstance(limit, bool) or not isinstance(limit, int) or limit < 0:
            raise InvalidInput(
                "limit is how many rows to give: a whole number from 0", code="bad_count", field="limit"
            )
        self._flush()
        zone = self.store.home_zone
        query = CostQuery(
            by=checked_dimensions((by,), times=True),
            where=read_where(where),
            since=read_when(since, zone, self.clock),
            until=read_when(until, zone, self.clock),
            top=None if by in TIME_KEYS else limit,
        )
        table = self._with_spooled(query)
        least = None if minimum is None else decimal_to_pico(minimum)
        rows = sorted(table.rows, key=lambda row: (-row.amount, str(row.keys)))
        kept = [row for row in rows if least is None or row.amount >= least]
        return Costs(replace(table, rows=tuple(kept[:limit])))

    def job(self, name: str) -> Job:
        """All calls of one job: a video, a document, a ticket. Raises NotFound `no_such_job`."""
        self._flush()
        name = read_text(name, "job")
        receipts = self._live(self.store.job_entries(name))
        outcome = self.store.job_outcomes([name]).get(name)
        if not receipts and outcome is None:
            raise NotFound(f"no call is recorded for job {name!r}", code="no_such_job")
        return Job(name, receipts, self.currency, outcome)

    def request(self, id: str) -> Job:
        """All calls of one request of a user's, over every service. Raises NotFound `no_such_request`."""
        self._flush()
        id = read_text(id, "request")
        entries = self.store.entries(EntryFilter(where={"request": (id,)}, live_only=False))
        receipts = self._live(list(entries))
        if not receipts:
            raise NotFound(f"no call is recorded for request {id!r}", code="no_such_request")
        return Job(id, receipts, self.currency)

    def event(self, id: str, day: date | str | None = None) -> Receipt:
        """One event's receipt as it stands, with all its versions.

        Raises NotFound `no_such_event`, or AmbiguousId when ids of several days match and no `day` is given.
        """
        self._flush()
        entries = self._versions(id, day)
        live = live_version(entries)
        outcome = CANCELLED if live is None else Outcome.EXISTS.value
        return Receipt.of_entry(live or entries[0], outcome, self.currency, tuple(entries))

    def events(self, *, where: Where = None, since: When = None, until: When = None) -> Iterator[Receipt]:
        """Walk the live events, oldest recorded first."""
        chosen = EntryFilter(since=self._instant(since), until=self._instant(until), where=read_where(where))
        for entry in self.store.entries(chosen):
            yield Receipt.of_entry(entry, Outcome.EXISTS.value, self.currency)

    # Inner

    def _versions(self, id: str, day: date | str | None) -> list[Entry]:
        id = read_text(id, "id")
        days = None if day is None else [date_to_day(read_date(day))]
        found = self.store.versions(id, days)
        if not found:
            raise NotFound(f"no event {id!r} is in the ledger", code="no_such_event")
        if len(found) > 1:
            raise AmbiguousId(f"{len(found)} events bear the id {id!r} on different days; give day=")
        return found[0]

    def _live(self, entries: Sequence[Entry]) -> list[Receipt]:
        events: dict[int, list[Entry]] = {}
        for entry in entries:
            events.setdefault(entry.corrects or entry.seq, []).append(entry)
        receipts = []
        for versions in events.values():
            live = live_version(versions)
            if live is not None:
                receipts.append(Receipt.of_entry(live, Outcome.EXISTS.value, self.currency, tuple(versions)))
        return sorted(receipts, key=lambda receipt: receipt.event.occurred_from)

    def _instant(self, value: When) -> Instant | None:
        return read_when(value, self.store.home_zone, self.clock)

    def _with_spooled(self, query: CostQuery) -> CostTable:
        table = self.store.costs(query)
        spooled = self._spooled()
        return replace(table, spooled=spooled) if spooled else table

    def _spooled(self) -> int:
        return 0 if self.spool is None else self.spool.pending()

    def _flush(self) -> int:
        # On a thread whose loop runs, waiting for a commit would stall it; the drain thread does it soon.
        if loop_runs():
            return 0
        keep_late()
        return 0 if self.spool is None else self.spool.drain()


def loop_runs() -> bool:
    """Whether an event loop runs on this thread; asyncio is not imported to find out."""
    asyncio = sys.modules.get("asyncio")
    return asyncio is not None and asyncio._get_running_loop() is not None
