"""A ledger behind a server: the same Ledger, over REST. The server prices and decides, this side checks and keeps.

What is recorded while the server is away goes to a spool on this host and is sent when it is back, each event under
the id it was given here, so that nothing is lost and nothing counts twice.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any, Final, TypeVar, Unpack, cast
from urllib.parse import quote, urlsplit

from msgspec.structs import replace

from outlay.answers import Costs, Job, Repricing
from outlay.api import MEASURED_ANEW, Ledger
from outlay.arguments import (
    EventFields,
    When,
    Where,
    checked_dimensions,
    read_date,
    read_text,
    read_when,
    read_where,
    viewed,
)
from outlay.calls import inherited, keep_late
from outlay.capture.intake import COUNT_MAX, build_event
from outlay.clock import Clock, Instant, isoformat, zone_info
from outlay.config import load_client_settings
from outlay.errors import EventConflict, InvalidInput, LedgerError, OutlayError, Overloaded
from outlay.ledger.store import LedgerStore, Retained
from outlay.model import AuditReport, CostTable, Outcome, Rate, Recorded, UsageEvent
from outlay.pricing.book import PriceBook
from outlay.pricing.catalogue import shipped
from outlay.reader import loop_runs
from outlay.receipt import JOURNALED, PRICED, Receipt
from outlay.recorder import Recorder
from outlay.remote_advising import RemoteAdvice
from outlay.remote_bills import RemoteBills
from outlay.remote_budgets import RemoteBudgets
from outlay.remote_reserving import NoStore, RemoteRecorder, RemoteReserver
from outlay.remote_transport import ServerUnreachable, Transport, not_remote
from outlay.remote_watching import RemoteAnalysis
from outlay.reserving import Reserver
from outlay.spool import Spool
from outlay.wire import (
    LedgerFacts,
    SentBook,
    SentJob,
    SentPage,
    SentReceipt,
    SentRepricing,
    received_job,
    received_receipt,
    received_repricing,
    sendable,
)

logger = logging.getLogger("outlay.remote")

LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")
GROUP: Final = 1_000
"""How many events go in one request."""

_Item = TypeVar("_Item")


class RemoteLedger(RemoteAnalysis, RemoteAdvice, RemoteBudgets, RemoteBills, Ledger):
    """A ledger behind an Outlay server, with every method of Ledger. Safe to share between threads and forks."""

    def __init__(
        self, transport: Transport, clock: Clock, spool_folder: Path, *, currency: str = "USD", zone: str = "UTC"
    ) -> None:
        """Made by `outlay.open`. `currency` and `zone` hold until the server has said what its ledger has."""
        self.transport = transport
        self.clock = clock
        self.currency = currency
        self.closed = False
        self.store = cast("LedgerStore", NoStore(transport, lambda: self._zone))
        self.recorder = cast("Recorder", RemoteRecorder(transport))
        self.budgets_told = RemoteReserver(self)
        self.reserver = cast("Reserver", self.budgets_told)
        self.capture_failures = Counter()
        self._zone = zone
        self._facts: LedgerFacts | None = None
        self._known: dict[tuple[str, str], bool] = {}
        self.spool = Spool(spool_folder, self._send_group, self.events_seen)
        self.settlements = Spool(spool_folder.with_suffix(".settled"), self._send_settlements)
        self._begin()

    # Recording

    def record_stream(self, events: Iterable[Mapping[str, Any] | UsageEvent]) -> Iterator[Recorded]:
        """As `Ledger.record_stream`. Events that cannot be sent now are spooled: their outcome is `journaled`."""
        first = 0
        for group in _groups(events, GROUP):
            yield from self._record_some(group, first)
            first += len(group)

    def price(self, **fields: Unpack[EventFields]) -> Receipt:
        """As `Ledger.price`."""
        return self._priced(build_event(fields, self.clock.now(), self.currency, id=PRICED))

    # Correcting

    def correct(self, id: str, *, reason: str, day: date | str | None = None, **changes: Any) -> Receipt:
        """As `Ledger.correct`."""
        self._flush()
        told = {name: _nothing_or(value) for name, value in changes.items()}
        body = {"id": read_text(id, "id"), "reason": read_text(reason, "reason"), "day": _day(day), "changes": told}
        return received_receipt(self.transport.send("POST", "/v1/corrections", SentReceipt, body, repeatable=False))

    def cancel(self, id: str, *, reason: str, day: date | str | None = None) -> Receipt:
        """As `Ledger.cancel`."""
        self._flush()
        body = {"id": read_text(id, "id"), "reason": read_text(reason, "reason"), "day": _day(day)}
        return received_receipt(self.transport.send("POST", "/v1/cancellations", SentReceipt, body, repeatable=False))

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
        """As `Ledger.reprice`."""
        self._flush()
        body = {
            "since": self._told_time(since),
            "until": self._told_time(until),
            "provider": provider,
            "service": service,
            "dry_run": dry_run,
            "reason": reason,
        }
        return received_repricing(self.transport.send("POST", "/v1/reprice", SentRepricing, body, answer_s=600))

    def finish(self, job: str, *, units: int = 1, status: str = "ok", time: When = None) -> None:
        """As `Ledger.finish`."""
        if isinstance(units, bool) or not isinstance(units, int) or not 0 <= units <= COUNT_MAX:
            raise InvalidInput("units is how many things the job produced, from 0", code="bad_count", field="units")
        job, status = read_text(job, "job"), read_text(status, "status")
        body = {"units": units, "status": status} | ({} if time is None else {"time": self._told_time(time)})
        self.transport.send("PUT", f"/v1/jobs/{_quoted(job)}", dict[str, Any], body)

    # Prices

    @property
    def book(self) -> PriceBook:
        """The price book in force."""
        found = self.transport.ask("/v1/prices/book", SentBook)
        identity, body = shipped()
        if identity != found.catalogue_id:
            body = self.transport.text("/v1/prices/catalogue")
        return PriceBook.of(body, found.catalogue_id, found.rates, found.exchange, currency=self.currency)

    def add_rates(self, rates: Sequence[Rate], *, force: bool = False) -> None:
        """As `Ledger.add_rates`."""
        body = {"rates": list(rates), "force": force}
        self.transport.send("POST", "/v1/prices", Any, body, exact=True, repeatable=False)
        self._known.clear()

    def add_prices(self, path: str | Path, *, force: bool = False) -> int:
        """As `Ledger.add_prices`; the file is read here."""
        body = {"text": price_file_text(path), "name": str(path), "force": force}
        added = self.transport.send("POST", "/v1/prices/file", dict[str, int], body)
        self._known.clear()
        return added["added"]

    def add_exchange_rate(self, *, currency: str, price: str | Decimal, date: str, source: str) -> None:
        """As `Ledger.add_exchange_rate`."""
        body = {"currency": currency, "price": sendable(price), "date": date, "source": source}
        self.transport.send("POST", "/v1/prices/exchange-rates", Any, body, repeatable=False)

    # Asking

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
        """As `Ledger.costs`."""
        self._flush()
        home = zone or self._zone
        zone_info(home)
        parameters = _where_parameters(viewed(where, view))
        parameters["by"] = list(checked_dimensions(by, times=True))
        for name, value in (("since", since), ("until", until), ("as_of", as_of)):
            instant = read_when(value, home, self.clock)
            if instant is not None:
                parameters[name] = isoformat(instant)
        if zone is not None:
            parameters["zone"] = zone
        parameters |= {name: "true" for name, on in (("quantities", quantities), ("percentiles", percentiles)) if on}
        table = self.transport.ask("/v1/costs", CostTable, parameters)
        return Costs(replace(table, spooled=table.spooled + self._spooled()))

    def job(self, name: str) -> Job:
        """As `Ledger.job`."""
        self._flush()
        return received_job(self.transport.ask(f"/v1/jobs/{_quoted(read_text(name, 'job'))}", SentJob))

    def request(self, id: str) -> Job:
        """As `Ledger.request`."""
        self._flush()
        return received_job(self.transport.ask(f"/v1/requests/{_quoted(read_text(id, 'request'))}", SentJob))

    def event(self, id: str, day: date | str | None = None) -> Receipt:
        """As `Ledger.event`."""
        self._flush()
        told = _day(day)
        parameters: dict[str, str | list[str]] = {} if told is None else {"day": told}
        path = f"/v1/receipts/{_quoted(read_text(id, 'id'))}"
        return received_receipt(self.transport.ask(path, SentReceipt, parameters))

    def events(self, *, where: Where = None, since: When = None, until: When = None) -> Iterator[Receipt]:
        """As `Ledger.events`, page by page."""
        parameters = _where_parameters(where)
        for name, value in (("since", since), ("until", until)):
            told = self._told_time(value)
            if told is not None:
                parameters[name] = told
        parameters["limit"] = str(GROUP)
        while True:
            page = self.transport.ask("/v1/receipts", SentPage, parameters)
            yield from map(received_receipt, page.receipts)
            if page.next is None:
                return
            parameters["cursor"] = page.next

    # Keeping

    def audit(self) -> AuditReport:
        """As `Ledger.audit`; what waits on this host is counted too."""
        self._flush()
        report = self.transport.send("POST", "/v1/audit", AuditReport, answer_s=600)
        return replace(report, spooled=report.spooled + self._spooled())

    def retain(self, *, days: int = 90) -> Retained:
        """As `Ledger.retain`."""
        self._flush()
        return self.transport.send("POST", "/v1/retention", Retained, {"days": days}, answer_s=600)

    def forget(self, *, user: str | None = None, customer: str | None = None) -> int:
        """As `Ledger.forget`."""
        self._flush()
        body = {name: value for name, value in (("user", user), ("customer", customer)) if value is not None}
        return self.transport.send("POST", "/v1/forget", dict[str, int], body)["events"]

    def backup(self, path: str | Path) -> None:
        """Not from here: raises LedgerError `not_remote`."""
        raise not_remote("a copy of the ledger")

    def doctor(self) -> dict[str, str]:
        """As `Ledger.doctor`, of the server's ledger; `waiting_here` counts what this host has not sent yet."""
        facts = self.transport.ask("/v1/doctor", dict[str, str])
        return {**facts, "server": self.transport.address, "waiting_here": str(self._spooled())}

    def fold(self) -> int:
        """As `Ledger.fold`."""
        return self.transport.send("POST", "/v1/fold", dict[str, int], answer_s=600)["folded"]

    def flush(self) -> int:
        """Send what waits on this host, also what processes that are gone left here; how many events."""
        keep_late()
        return sum(spool.adopt() + spool.drain() for spool in self._spools())

    def close(self) -> None:
        """Send what waits and close the connections. What cannot be sent stays on this host for the next opener."""
        keep_late()
        self.closed = True
        for spool in self._spools():
            try:
                spool.close()
            except OutlayError as error:
                logger.warning("events wait on this host for %s (%s)", self.transport.address, error.code)
        self.transport.close()

    def __repr__(self) -> str:
        return f"<Ledger {self.transport.address}>"

    # Inner

    def _begin(self) -> None:
        """Ask the server about its ledger, and send what processes that are gone left here."""
        try:
            self._meet()
            for spool in self._spools():
                spool.adopt_or_leave()
        except ServerUnreachable as error:
            logger.warning("%s; what is recorded waits on this host", error.message)

    def _meet(self) -> LedgerFacts:
        facts = self.transport.ask("/v1/ledger", LedgerFacts)
        self.budgets_told.refresh()
        self._facts, self.currency, self._zone = facts, facts.currency, facts.zone
        return facts

    def _instant(self, value: When) -> Instant | None:
        return read_when(value, self._zone, self.clock)

    def _told_time(self, value: When) -> str | None:
        instant = self._instant(value)
        return None if instant is None else isoformat(instant)

    def _book_knows(self, provider: str, service: str) -> bool:
        known = self._known.get((provider, service))
        if known is None:
            parameters: dict[str, str | list[str]] = {"provider": provider, "service": service}
            try:
                known = not self.transport.ask("/v1/prices/match", dict[str, str], parameters)["reason"]
            except OutlayError:
                # The call was made and is to be kept: the catalogue at hand tells nearly as well.
                identity, body = shipped()
                return not PriceBook.of(body, identity).resolve(provider, service).reason
            self._known[(provider, service)] = known
        return known

    def _priced(self, event: UsageEvent) -> Receipt:
        return Receipt(event, PRICED, self.currency, self.recorder.rate(event))

    def _journaled(self, event: UsageEvent, wait: bool) -> Receipt | None:
        if self.spool is not None and wait and self.transport.is_away:
            wait = False
        return super()._journaled(event, wait)

    def _record(self, event: UsageEvent, *, tolerant: bool, measured: bool = False) -> Receipt:
        try:
            return self._recorded_there(event, tolerant)
        except EventConflict as conflict:
            if not measured or conflict.code != MEASURED_ANEW:
                raise
            known = self.event(event.id)
            return self._recorded_there(replace(event, duration_s=known.event.duration_s), tolerant)
        except (LedgerError, Overloaded):
            # The server is away, busy or full: what was used is kept here and sent later, under the same id.
            kept = self._journaled(event, wait=False)
            if kept is None:
                raise
            return kept

    def settle_later(self, event: UsageEvent) -> Receipt:
        """Keep a settlement that cannot be sent now."""
        self.settlements.append(event)
        return Receipt(event, JOURNALED, self.currency, rater=self.recorder.rate)

    def _recorded_there(self, event: UsageEvent, tolerant: bool) -> Receipt:
        body = {"event": event, "tolerant": tolerant}
        return received_receipt(self.transport.send("POST", "/v1/receipts", SentReceipt, body, exact=True))

    def _send_group(self, events: Sequence[UsageEvent]) -> list[Recorded]:
        """Send a group of the spool."""
        return self._send(events, tolerant=True)

    def _send_settlements(self, events: Sequence[UsageEvent]) -> list[Recorded]:
        return self.transport.send("POST", "/v1/reservations/settle/batch", list[Recorded], list(events), exact=True)

    def _send(self, events: Sequence[UsageEvent], *, tolerant: bool) -> list[Recorded]:
        body = {"events": events, "tolerant": tolerant}
        return self.transport.send("POST", "/v1/receipts/batch", list[Recorded], body, exact=True)

    def _record_some(self, group: Sequence[Mapping[str, Any] | UsageEvent], first: int) -> list[Recorded]:
        outcomes: list[Recorded] = []
        events: list[UsageEvent] = []
        now = self.clock.now()
        for at, fields in enumerate(group, first):
            try:
                told = fields if isinstance(fields, UsageEvent) else inherited(fields)
                event = told if isinstance(told, UsageEvent) else build_event(told, now, self.currency)
            except InvalidInput as error:
                id = fields.get("id") if isinstance(fields, Mapping) else None
                outcomes.append(Recorded(at, str(id or ""), error.code, message=error.message))
            else:
                events.append(event)
                outcomes.append(Recorded(at, event.id, Outcome.CREATED))
        places = [place for place, outcome in enumerate(outcomes) if not outcome.message]
        for place, found in zip(places, self._sent_or_kept(events), strict=True):
            outcomes[place] = replace(found, index=outcomes[place].index)
        return outcomes

    def _sent_or_kept(self, events: Sequence[UsageEvent]) -> list[Recorded]:
        if not events:
            return []
        try:
            return self._send(events, tolerant=False)
        except (LedgerError, Overloaded):
            if self.spool is None:
                raise
            for event in events:
                self.spool.append(event)
            return [Recorded(0, event.id, JOURNALED) for event in events]

    def _spools(self) -> tuple[Spool, ...]:
        return (self.settlements,) if self.spool is None else (self.spool, self.settlements)

    def _spooled(self) -> int:
        return sum(spool.pending() for spool in self._spools())

    def _flush(self) -> int:
        if loop_runs():
            return 0
        keep_late()
        try:
            return sum(spool.drain() for spool in self._spools())
        except (LedgerError, Overloaded):
            return 0  # What is asked next says that the server is away; what waits stays.


def spool_folder_of(folder: Path, address: str, key: str | None) -> Path:
    """Where events for one server, sent under one key, wait on this host."""
    digest = blake2b(f"{address}\x1f{key or ''}".encode(), digest_size=12).hexdigest()
    return folder / f"{digest}.spool"


def price_file_text(path: str | Path) -> str:
    """A price file's text. Raises InvalidInput `no_such_file`, or `bad_price_file` for what is no UTF-8 text."""
    try:
        return Path(path).read_text()
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}", code="no_such_file") from error
    except UnicodeDecodeError as error:
        from outlay.errors import PriceBookError

        raise PriceBookError(f"{path} is not TOML: it is no UTF-8 text", code="bad_price_file") from error


def _where_parameters(where: Where) -> dict[str, str | list[str]]:
    """A filter as parameters of a request; an empty value stands for events without one."""
    return {f"where.{name}": [value or "" for value in values] for name, values in read_where(where).items()}


def _quoted(name: str) -> str:
    return quote(name, safe="")


def _day(day: date | str | None) -> str | None:
    return None if day is None else read_date(day).isoformat()


def _nothing_or(value: object) -> Any:
    return None if value is None else sendable(value)


def _groups(items: Iterable[_Item], size: int) -> Iterator[list[_Item]]:
    several = iter(items)
    while group := list(islice(several, size)):
        yield group


def open_remote(
    address: str,
    clock: Clock,
    *,
    key: str | None = None,
    currency: str = "USD",
    zone: str = "UTC",
    prices: str | Path | None = None,
) -> RemoteLedger:
    """The ledger behind a server. Raises InvalidInput, or the server's error for a key that it does not take."""
    settings = load_client_settings()
    key = key or settings.key
    parts = urlsplit(address)
    if parts.hostname is None or parts.username is not None or parts.query or parts.fragment:
        raise InvalidInput(
            "a server's address is https://host[:port][/path]; give the key as key= or OUTLAY_KEY",
            code="unknown_address",
        )
    if key is not None and parts.scheme == "http" and parts.hostname not in LOOPBACK:
        logger.warning("the key goes to %s as plain text; use https", parts.hostname)
    if key is not None and not (key.isascii() and key.isprintable()):
        raise InvalidInput("the key holds what no key holds; copy it again", code="bad_setting", field="key")
    folder = spool_folder_of(settings.spool, address.rstrip("/"), key)
    folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    ledger = RemoteLedger(Transport(address, key), clock, folder, currency=currency, zone=zone)
    if prices is not None:
        ledger.add_prices(Path(prices))
    return ledger
