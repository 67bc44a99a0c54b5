"""The Ledger that people hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import date
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any, Final, TypeVar, Unpack

from msgspec.structs import replace

from outlay.advising import LedgerAdvice
from outlay.answers import Repricing
from outlay.arguments import (
    EventFields,
    RateFields,
    When,
    calls_of,
    read_rate,
    read_text,
)
from outlay.budgets.tokenizer import tiktoken_counter
from outlay.calls import (
    Call,
    Function,
    attributed,
    event_of_made,
    inherited,
    is_heard,
    keep_late,
    told,
    tracked_function,
)
from outlay.capture.estimates import checked_rule, with_estimate
from outlay.capture.extract import Extraction, extract
from outlay.capture.intake import COUNT_MAX, FIELDS, build_event
from outlay.capture.seen import Seen
from outlay.capture.seen import told as told_by
from outlay.clock import DAY_MICROSECONDS, Clock
from outlay.errors import InvalidInput, PriceBookError
from outlay.ledger.rules import live_version
from outlay.ledger.store import EntryFilter, JobOutcome, LedgerStore, Retained
from outlay.model import AuditReport, ExchangeRate, Outcome, Rate, Recorded, Status, UsageEvent
from outlay.money import Money, parse_decimal
from outlay.pricing.rate import rate
from outlay.reader import loop_runs
from outlay.receipt import CANCELLED, JOURNALED, PRICED, Receipt
from outlay.reconciling import LedgerBills
from outlay.recorder import Recorder, Repriced, conflict
from outlay.reserving import Reserver
from outlay.scheduling import LedgerSchedule
from outlay.spool import Spool

Client = TypeVar("Client")

NOT_KEPT: Final = {"none": "no_usage", "pending": "pending"}
"""What an answer may tell of which nothing is kept, and the outcome of its receipt."""

ENCODING: Final = "o200k_base"
"""The tokenizer by which the rule `tiktoken` estimates."""

NO_FIELDS: Final[Mapping[str, Any]] = {}
RETAINED_DAYS_MAX: Final = 36_525
SPOOLED_PICO_MAX: Final = 2**63 - 1
MEASURED_ANEW: Final = "exists_with_different_duration_s"


class Ledger(LedgerSchedule, LedgerAdvice, LedgerBills):
    """A ledger that is open. Safe to share between threads and across forks; a context manager."""

    client_watcher: Callable[..., None] | None = None
    """What `watch` calls; `outlay` itself gives it, so that nothing here knows a client."""

    estimate: str | None = None
    """How usage that an answer does not tell is guessed: characters, words or tiktoken; None: not at all."""

    def __init__(self, store: LedgerStore, clock: Clock, spool_folder: Path | None = None) -> None:
        """Made by `outlay.open`, which chooses the store. `spool_folder` is None for a ledger in memory."""
        self.store = store
        self.clock = clock
        self.currency = store.currency
        self.recorder = Recorder(store, clock)
        self.reserver = Reserver(self.recorder, store.currency)
        self.closed = False
        self.capture_failures: Counter[str] = Counter()
        self.spool = Spool(spool_folder, self.recorder.record_group, self.events_seen) if spool_folder else None
        if self.spool is not None:
            self.spool.adopt_or_leave()

    # Recording

    def record(self, *, wait: bool = True, **fields: Unpack[EventFields]) -> Receipt:
        """Keep one call and what it cost; durable when this returns.

        Fields: provider, service, operation, usage, conditions, user, customer, team, project, feature, job,
        environment, request, trace, tags, id, time, time_to, status, error, step, duration_s, parameters,
        count, reported_cost, basis, call_key. The same id with the same body again returns the first receipt
        (outcome `exists`). With `wait=False`, and always on a thread whose event loop runs, the event goes to
        the spool (outcome `journaled`), which survives kill -9 and is drained within a moment. A call that another
        capture booked within 48 hours, known by its call_key, is `seen`: this is the first one's receipt, corrected
        where this one knows more.

        Raises InvalidInput for what cannot be right (nothing is written), EventConflict for a reused id with
        another body, LedgerError when the store cannot write.
        """
        event = self._event(fields)
        return told(self._journaled(event, wait) or self._record(event, tolerant=False))

    def record_many(self, events: Iterable[Mapping[str, Any] | UsageEvent]) -> list[Recorded]:
        """Keep many calls, in groups of 10,000 a transaction; one outcome each, in order.

        A bad event is reported in its place (`invalid` or `exists_with_different_<field>`, with a message) and the
        rest goes on; nothing is written for it, and `index` says which one it was.
        """
        return list(self.record_stream(events))

    def record_stream(self, events: Iterable[Mapping[str, Any] | UsageEvent]) -> Iterator[Recorded]:
        """As `record_many`, but outcomes come group by group, so that neither side is held in memory whole."""
        if inherited(NO_FIELDS):
            events = (inherited(event) if isinstance(event, Mapping) else event for event in events)
        return self.recorder.record_stream(events)

    def record_response(
        self,
        response: object,
        *,
        provider: str | None = None,
        service: str | None = None,
        operation: str | None = None,
        url: str | None = None,
        request_body: object | None = None,
        status_code: int | None = None,
        estimate: str | None = None,
        wait: bool = True,
        **fields: Any,
    ) -> Receipt:
        """Keep a call from what the provider answered: a JSON body, an SDK object, or a list of stream chunks.

        The provider is read from the body (or `url`) unless it is given. An answer that should tell its usage and
        does not is kept unpriced, with the reason in the receipt, unless `estimate` (characters, words or tiktoken;
        else the ledger's own `estimate`) says how to guess it, marked so. No prompt and no output is kept. Of an
        answer that uses nothing (a list of models) or is not finished yet (a prediction that still runs) nothing is
        kept: the receipt's outcome is then `no_usage` or `pending`.

        Raises InvalidInput `not_a_response`, `stream_not_read` or `many_answers` for what is no one answer.
        """
        found = extract(
            response,
            provider=provider,
            service=service,
            operation=operation,
            url=url,
            request=request_body,
            status_code=status_code,
        )
        rule = self.estimate if estimate is None else checked_rule(estimate)
        return self.keep_extraction(self.estimated(found, response, request_body, rule), fields, wait=wait)

    @staticmethod
    def estimated(found: Extraction, response: object, request: object, rule: str | None) -> Extraction:
        """An extraction without usage with an estimate in its place, by the rule, if there is one."""
        if rule is None:
            return found
        count = tiktoken_counter(ENCODING) if rule == "tiktoken" else None
        return with_estimate(found, response, request, rule, count)

    def keep_extraction(self, found: Extraction, fields: Mapping[str, Any], *, wait: bool = True) -> Receipt:
        """Keep what `capture.extract` read from an answer; `fields` are what the caller says on top."""
        calls = [self._event(call) for call in self.calls_found(found, fields)]
        if found.found in NOT_KEPT and found.status is not Status.FAILED:
            return Receipt(calls[0], NOT_KEPT[found.found], self.currency, self.recorder.rate(calls[0]))
        receipts = [self._keep(call, wait) for call in calls]
        return receipts[0]

    def keep_seen(self, seen: Seen) -> None:
        """Keep a call as a wrapper saw it. It is read when the spool is drained, so that the call need not wait; at
        once where somebody listens, or the ledger has no spool.
        """
        if self.spool is not None and not is_heard() and self.spool.append_seen(seen):
            return
        for event in self.events_seen(seen):
            self._keep(event, wait=False)

    def events_seen(self, seen: Seen) -> list[UsageEvent]:
        """The events of a call as it was seen; none where it used nothing, or its work still runs."""
        found = told_by(seen)
        if (seen.is_get and found.found == "none") or (found.found in NOT_KEPT and found.status is not Status.FAILED):
            return []
        calls = self.calls_found(found, seen.fields)
        ids = (f"{seen.id}+{number}" if number else seen.id for number in range(len(calls)))
        return [event_of_made(call, seen.at, self.currency, id) for call, id in zip(calls, ids, strict=True)]

    def record_call(self, fields: Mapping[str, Any], response: object | None, *, measured: bool = False) -> Receipt:
        """Keep a finished call of `track` or `tracked`, and the calls of other services that its response tells.

        A response that cannot be read never fails the call. A duration that was `measured` is no part of what a
        retry must repeat.
        """
        calls: list[Mapping[str, Any]] = [fields]
        if response is not None:
            try:
                calls[:] = self.calls_told(response, fields)
            except InvalidInput as error:
                reading = {**(fields.get("parameters") or {}), "reading": error.code}
                calls[:] = [{**fields, "parameters": reading}]
        receipts = [self._keep(self._event(call), wait=True, measured=measured) for call in calls]
        return receipts[0]

    def calls_told(self, response: object, fields: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The calls that a provider's response tells; `fields` are what the caller says on top."""
        named = {name: fields.get(name) for name in ("provider", "service", "operation")}
        others = {name: value for name, value in fields.items() if name not in named}
        return self.calls_found(extract(response, **named), others)

    def calls_found(self, found: Extraction, fields: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The calls that an extraction tells: its own, then those of other services inside it."""
        return calls_of(found, fields, self._book_knows)

    def keep_call(self, fields: Mapping[str, Any]) -> Receipt:
        """Keep a call that happened inside another one, tolerant of numbers that contradict each other."""
        return self._keep(self._event(fields), wait=True)

    def price(self, **fields: Unpack[EventFields]) -> Receipt:
        """What a call would cost: a receipt of which nothing is kept. Fields as for `record`."""
        event = build_event(fields, self.clock.now(), self.currency, id=PRICED)
        book = self.recorder.loaded_book or self.recorder.book
        return Receipt(event, PRICED, self.currency, rate(event, book))

    def track(self, **fields: Unpack[EventFields]) -> Call:
        """A with block (async too) around one call: its duration is measured, an exception is recorded as a
        failed call and re-raised, and its attribution holds for what is recorded inside.
        """
        return Call(self, dict(fields))

    def tracked(
        self, *, usage: Callable[[Any], Mapping[str, Any]] | Mapping[str, Any] | None = None, **fields: Any
    ) -> Callable[[Function], Function]:
        """The same around a function, sync or async. Without `provider` it only attributes what runs inside.

        `usage` is what a call uses, or a function from the result to that.
        """
        return tracked_function(self, fields, usage)

    def attribute(self, **attribution: Any) -> AbstractContextManager[None]:
        """What is recorded inside this with block is for this user, job, feature, …"""
        return attributed(**attribution)

    def watch(self, client: Client, **settings: Any) -> Client:
        """Keep every call that a provider's SDK client makes from here on; the same client comes back.

        Two settings, for hard budgets only: `write_maximum=False` leaves a request without a maximum of output as
        it is, `ask_usage=False` does not ask a chat stream for its usage (docs/instrument.md). Watching twice is
        watching once. Raises InvalidInput `unknown_client`.
        """
        if self.client_watcher is None:
            raise InvalidInput("open this ledger by outlay.open to watch clients", code="unknown_client")
        self.client_watcher(self, client, **settings)
        return client

    # Correcting

    def correct(self, id: str, *, reason: str, day: date | str | None = None, **changes: Any) -> Receipt:
        """Put right what was recorded: a reversal and a new entry, rated by the book in force. Nothing is edited.

        `changes` are fields of `record`. The occurred time stays. Raises NotFound, InvalidInput, EventConflict.
        """
        reason = read_text(reason, "reason")
        entries = self._versions(id, day)
        fixed = sorted(changes.keys() & {"id", "time", "time_to"})
        if fixed:
            raise InvalidInput(f"{', '.join(fixed)} cannot be corrected; cancel the event and record it anew")
        unknown = sorted(changes.keys() - FIELDS)
        if unknown:
            raise InvalidInput(f"an event has no field {', '.join(unknown)[:60]}", code="unknown_field")
        live = live_version(entries) or entries[0]
        corrected = self._changed(live.event, changes)
        entry = self.recorder.correct(entries, corrected, reason)
        return Receipt.of_entry(entry, "corrected", self.currency, (*entries, entry))

    def cancel(self, id: str, *, reason: str, day: date | str | None = None) -> Receipt:
        """Take an event out of all sums by a reversal; it stays readable."""
        reason = read_text(reason, "reason")
        entries = self._versions(id, day)
        entry = self.recorder.correct(entries, None, reason)
        return Receipt.of_entry(entry, CANCELLED, self.currency, (*entries, entry))

    def reprice(
        self,
        *,
        since: When = None,
        until: When = None,
        provider: str | None = None,
        service: str | None = None,
        dry_run: bool = False,
        reason: str = "reprice",
    ) -> Repricing:
        """Rate past events by the book in force, each by its own time, and write corrections for what changes.

        A dry run writes nothing and shows the difference.
        """
        self._flush()
        where: dict[str, tuple[str | None, ...]] = {}
        if provider is not None:
            where["provider"] = (provider,)
        if service is not None:
            where["service"] = (service,)
        chosen = EntryFilter(since=self._instant(since), until=self._instant(until), where=where)
        examined = 0
        changes: list[Repriced] = []
        for found in self.recorder.repriced(chosen):
            examined += 1
            if found is not None:
                changes.append(found)
        if not dry_run:
            self.recorder.amend_repriced(changes, reason)
        rows = [
            (c.id, c.provider, c.service, Money(c.before, self.currency), Money(c.after, self.currency))
            for c in changes
        ]
        return Repricing(examined, rows, self.currency, dry_run=dry_run)

    def finish(self, job: str, *, units: int = 1, status: str = "ok", time: When = None) -> None:
        """Say what a job produced: cost per unit divides all its calls by `units`. The last word counts.

        `time` is when it ended, now if not told: reports count what was produced by that day.
        """
        if isinstance(units, bool) or not isinstance(units, int) or not 0 <= units <= COUNT_MAX:
            raise InvalidInput("units is how many things the job produced, from 0", code="bad_count", field="units")
        job, status = read_text(job, "job"), read_text(status, "status")
        ended = self._instant(time)
        recorded_at = self.clock.now() if ended is None else ended
        self.store.finish_job(JobOutcome(job=job, units=units, status=status, recorded_at=recorded_at))

    # Prices

    def add_rate(
        self,
        *,
        provider: str,
        service: str,
        meter: str,
        price: str | Decimal | int,
        valid_from: When = None,
        valid_to: When = None,
        force: bool = False,
        **fields: Unpack[RateFields],
    ) -> Rate:
        """Add a price of your own, which beats the catalogue's from `valid_from` on. Nothing past is re-priced.

        `price` is for `per` of the meter: price="2.50", per=1_000_000. Further fields: conditions, currency, minimum,
        increment, attempts, source, note. A price more than ten times off the one in force is refused as
        PriceBookError `suspicious_price` unless `force`: it was likely typed for another unit.
        """
        rate = read_rate(
            provider=provider,
            service=service,
            meter=meter,
            price=price,
            valid_from=self._instant(valid_from),
            valid_to=self._instant(valid_to),
            currency=self.currency,
            recorded_at=self.clock.now(),
            fields=fields,
        )
        self.add_rates([rate], force=force)
        return rate

    def add_rates(self, rates: Sequence[Rate], *, force: bool = False) -> None:
        """Add several prices, checked as in `add_rate`; all or none."""
        self.recorder.add_rates(rates, force=force)

    def add_prices(self, path: str | Path, *, force: bool = False) -> int:
        """Add the prices, discounts and exchange rates of a TOML file, but for those it holds; how many are new.

        Raises PriceBookError `bad_price_file` (naming the line) or `suspicious_price`, InvalidInput `no_such_file`.
        """
        try:
            text = Path(path).read_text(encoding="utf-8")
        except OSError as error:
            raise InvalidInput(f"{path} cannot be read: {error.strerror}", code="no_such_file") from error
        except UnicodeDecodeError as error:
            raise PriceBookError(f"{path} is not TOML: it is no UTF-8 text", code="bad_price_file") from error
        return self.recorder.add_price_file(text, str(path), force=force)

    def add_exchange_rate(self, *, currency: str, price: str | Decimal, date: str, source: str) -> None:
        """One unit of `currency` is `price` units of the ledger's currency on `date` (ISO)."""
        rate = ExchangeRate(currency=currency, price=parse_decimal(price, "price"), date=date, source=source)
        self.recorder.add_exchange_rates([rate])

    # Keeping

    def audit(self) -> AuditReport:
        """Prove that lines sum to totals, rollups equal the entries, nothing stands twice."""
        self._flush()
        report = self.store.audit()
        return replace(report, spooled=self._spooled())

    def retain(self, *, days: int = 90) -> Retained:
        """Drop single events older than `days` whole UTC days, after a checkpoint; sums stay for ever."""
        if isinstance(days, bool) or not isinstance(days, int) or not 1 <= days <= RETAINED_DAYS_MAX:
            raise InvalidInput("retention keeps at least one day, in whole days", code="bad_days", field="days")
        self._flush()
        now = self.clock.now()
        self.store.drop_accounts(now)
        return self.store.retain(now // DAY_MICROSECONDS - days, now)

    def forget(self, *, user: str | None = None, customer: str | None = None) -> int:
        """Erase a person's or customer's name everywhere; the money stays. How many events bore it."""
        self._flush()
        if (user is None) == (customer is None):
            raise InvalidInput("forget takes either user= or customer=", code="missing_field")
        kind, name = ("user", user) if user is not None else ("customer", customer)
        self._forget_in_alerts(str(name))
        return self.store.forget(kind, str(name))

    def backup(self, path: str | Path) -> None:
        """Copy the ledger, while it is used, into a new file."""
        self._flush()
        self.store.backup(Path(path))

    def doctor(self) -> dict[str, str]:
        """Facts for a person who looks for a fault: sizes, versions, what waits, which prices are in force."""
        facts = {**self.store.facts(), "spooled": str(self._spooled()), "catalogue": self.book.catalogue_id}
        failed = ", ".join(f"{count}× {what}" for what, count in self.capture_failures.most_common())
        return {**facts, "capture_failures": failed} if failed else facts

    def fold(self) -> int:
        """Fold everything that is not in the rollups yet; how many entries were folded."""
        folded = 0
        while step := self.store.fold():
            folded += step
        return folded

    def flush(self) -> int:
        """Book what this process journaled; how many events."""
        return self._flush()

    def close(self) -> None:
        """Drain the spool and close the store."""
        keep_late()
        self.closed = True
        try:
            if self.spool is not None:
                self.spool.close()
        finally:
            self.reserver.warmer.stop()
            self.store.close()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Ledger {self.store.address}>"

    # Inner

    def _event(self, fields: Mapping[str, Any]) -> UsageEvent:
        return build_event(inherited(fields), self.clock.now(), self.currency)

    def _book_knows(self, provider: str, service: str) -> bool:
        return not self.recorder.book.resolve(provider, service).reason

    def _keep(self, event: UsageEvent, wait: bool, *, measured: bool = False) -> Receipt:
        return told(self._journaled(event, wait) or self._record(event, tolerant=True, measured=measured))

    def _journaled(self, event: UsageEvent, wait: bool) -> Receipt | None:
        """The receipt of what went to the spool; None for what is to be committed."""
        if self.spool is None or (wait and not loop_runs()):
            return None
        if event.reported_cost is not None and event.reported_cost.pico > SPOOLED_PICO_MAX:
            return None  # The spool's numbers have 64 bits, which 9.2 million of a currency fill.
        self.spool.append(event)
        return Receipt(event, JOURNALED, self.currency, rater=self.recorder.rate)

    def _record(self, event: UsageEvent, *, tolerant: bool, measured: bool = False) -> Receipt:
        result = self.recorder.record(event, tolerant=tolerant)
        if measured and result.code == MEASURED_ANEW and result.entry is not None:
            # A retry takes another time, which the ledger stamped itself: all else decides whether it is the same.
            event = replace(event, duration_s=result.entry.event.duration_s)
            result = self.recorder.record(event, tolerant=tolerant)
        if result.entry is None or result.code not in (Outcome.CREATED, Outcome.EXISTS, Outcome.SEEN):
            if result.code in (Outcome.EXISTS, Outcome.SEEN):
                return Receipt(event, result.code, self.currency, rater=self.recorder.rate)
            raise conflict(event, result)
        return Receipt.of_entry(result.entry, result.code, self.currency)

    def _changed(self, event: UsageEvent, changes: Mapping[str, Any]) -> UsageEvent:
        checked = build_event(
            {"provider": event.provider, "service": event.service, **changes}, self.clock.now(), self.currency
        )
        return replace(event, **{name: getattr(checked, name) for name in changes})
