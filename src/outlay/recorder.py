"""The write path, in order: an event is rated by the book in force and appended to the ledger.

Corrections go the same way: the event as it should have been is rated and takes the place of the live
version, which is reversed. Nothing is ever edited.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from outlay.capture.intake import build_event
from outlay.clock import Clock, Instant, utc_day
from outlay.errors import EventConflict, InvalidInput, LedgerError, NotFound
from outlay.ledger.rules import fingerprint, live_version
from outlay.ledger.store import Amendment, EntryFilter, LedgerStore, StaleBook
from outlay.model import (
    Appended,
    Basis,
    Entry,
    EntryKind,
    ExchangeRate,
    Outcome,
    PricingStatus,
    Rate,
    Rating,
    Recorded,
    Unrated,
    UsageEvent,
)
from outlay.pricing.book import PriceBook
from outlay.pricing.card import check_price_jump, read_price_file
from outlay.pricing.check import rate_in_force
from outlay.pricing.rate import rate

STALE_RETRIES_MAX: Final = 10
RECORD_GROUP: Final = 10_000
REPRICE_GROUP: Final = 1_000
EXCHANGE_SETTING: Final = "exchange_rates"
_WRITTEN: Final = (Outcome.CREATED.value, Outcome.EXISTS.value, Outcome.SEEN.value)


class Repriced(msgspec.Struct, frozen=True):
    """One event whose cost changes under the book in force; amounts in picounits."""

    id: str
    provider: str
    service: str
    before: int
    after: int
    entry: Entry
    rating: Rating


class Recorder:
    """Rates events and writes them. Safe to share between threads."""

    def __init__(self, store: LedgerStore, clock: Clock) -> None:
        """The book is read from `store` at first use, and again whenever its epoch has moved."""
        self.store = store
        self.clock = clock
        self.loaded_book: PriceBook | None = None
        self._epoch = -1
        self._loading = threading.Lock()

    @property
    def book(self) -> PriceBook:
        """The price book in force when this process last looked; a write looks again."""
        book = self.loaded_book
        return self._load() if book is None else book

    @property
    def epoch(self) -> int:
        """The ledger's epoch when the book was read; a write that names it is refused where it has moved."""
        return self._epoch

    def refresh(self) -> PriceBook:
        """Read the book anew if the ledger's epoch has moved."""
        book = self.loaded_book
        if book is None or self.store.epoch() != self._epoch:
            return self._load()
        return book

    def rate(self, event: UsageEvent) -> Rating:
        """What the event costs under the book in force."""
        return rate(event, self.book)

    def record(self, event: UsageEvent, *, tolerant: bool = False) -> Appended:
        """Rate and keep one event. `tolerant` keeps an event whose numbers contradict each other, unpriced.

        Raises InvalidInput (`part_exceeds_whole`, unless tolerant), or LedgerError from the store.
        """
        return self._append_rated([event], tolerant=tolerant)[0]

    def record_group(self, events: Sequence[UsageEvent]) -> list[Recorded]:
        """Rate and keep events in one transaction; an outcome each, in order. Contradictions are kept unpriced.

        Where one of them is more than a ledger can hold, each goes by itself, so that it stops no other.
        """
        try:
            appended = self._append_rated(events, tolerant=True)
        except InvalidInput:
            return [self._recorded_alone(index, event) for index, event in enumerate(events)]
        return [
            self.recorded(index, event, result)
            for index, (event, result) in enumerate(zip(events, appended, strict=True))
        ]

    def record_stream(self, events: Iterable[Mapping[str, Any] | UsageEvent]) -> Iterator[Recorded]:
        """Keep many events, 10,000 a transaction; one outcome each, in order. What is refused is said, not raised."""
        first = 0
        group: list[Mapping[str, Any] | UsageEvent] = []
        for event in events:
            group.append(event)
            if len(group) == RECORD_GROUP:
                yield from self._record_group(group, first)
                first += len(group)
                group = []
        if group:
            yield from self._record_group(group, first)

    def entry_of(self, event: UsageEvent, rating: Rating, now: Instant) -> Entry:
        """The entry of a rated event, recorded `now`."""
        return Entry(
            event=event,
            rating=rating,
            recorded_at=now,
            counted_at=event.occurred_from,
            fingerprint=fingerprint(event),
            basis=rating.basis,
            probe_days=_probe_days(event) if event.id_given else (),
        )

    @staticmethod
    def recorded(index: int, event: UsageEvent, result: Appended) -> Recorded:
        """The outcome of one event for `record_many` and the spool."""
        if result.code in _WRITTEN:
            rating = result.entry.rating if result.entry is not None else None
            return Recorded(
                index,
                event.id,
                result.code,
                rating.amount if rating else 0,
                rating.status if rating else None,
            )
        return Recorded(index, event.id, result.code, message=conflict(event, result).message)

    def correct(self, entries: list[Entry], event: UsageEvent | None, reason: str) -> Entry:
        """Replace the live version among `entries` by `event`, rated now (None cancels it); what now stands.

        Raises NotFound `already_cancelled`, or EventConflict `changed_meanwhile` where another correction won.
        """
        live = live_version(entries)
        if live is None:
            raise NotFound(f"event {entries[0].event.id} was cancelled; record it anew", code="already_cancelled")
        now = self.clock.now()
        replacement = (
            None if event is None else self._replacement(live, event, rate(event, self.refresh()), now, reason)
        )
        result = self.store.amend([Amendment(live.seq, replacement, now, reason)])[0]
        if result.entry is None or result.code != Outcome.CREATED:
            raise EventConflict(
                f"event {live.event.id} was corrected by somebody else meanwhile; look again", code=result.code
            )
        return result.entry

    def repriced(self, filter: EntryFilter) -> Iterator[Repriced | None]:
        """Walk live entries; yields what changes under the book in force, None for what stays."""
        book = self.refresh()
        for entry in self.store.entries(filter):
            if entry.basis in (Basis.BILLED, Basis.ADJUSTED) or entry.sign < 0:
                continue
            event = entry.event
            rating = rated_tolerantly(event, book)
            if _same_price(rating, entry.rating):
                yield None
            else:
                yield Repriced(
                    event.id, event.provider, event.service, entry.rating.amount, rating.amount, entry, rating
                )

    def amend_repriced(self, changes: Iterable[Repriced], reason: str) -> int:
        """Write corrections for what `repriced` found, in groups; how many were written."""
        written = 0
        group: list[Amendment] = []
        for change in changes:
            now = self.clock.now()
            replacement = self._replacement(change.entry, change.entry.event, change.rating, now, reason)
            group.append(Amendment(change.entry.seq, replacement, now, reason))
            if len(group) == REPRICE_GROUP:
                written += self._amend(group)
                group = []
        return written + (self._amend(group) if group else 0)

    def add_rates(self, rates: Sequence[Rate], *, force: bool = False) -> None:
        """Keep user rates, all or none; from here on events are rated by them.

        Raises PriceBookError `suspicious_price` for one that is ten times off the rate in force, unless forced.
        """
        book, now = self.refresh(), self.clock.now()
        for new in rates:
            at = now if new.valid_from is None else new.valid_from
            known = rate_in_force(book, new.provider, new.service, new.meter, new.conditions, at)
            check_price_jump(new, known, force=force)
        self.store.add_rates(rates)
        self._load()

    def add_price_file(self, text: str, name: str, *, force: bool = False) -> int:
        """Keep what a price file says and the ledger does not hold yet; how many rows that was."""
        found = read_price_file(text, name, self.clock.now())
        kept = {_identity(rate) for rate in self.store.rates()}
        rates = [rate for rate in found.rates if _identity(rate) not in kept]
        if rates:
            self.add_rates(rates, force=force)
        known = self.exchange_rates()
        exchange = [rate for rate in found.exchange if rate not in known]
        if exchange:
            self.add_exchange_rates(exchange)
        return len(rates) + len(exchange)

    def add_exchange_rates(self, rates: Sequence[ExchangeRate]) -> None:
        """Keep exchange rates by date; the newest row of a date and currency counts."""
        kept = [*self.exchange_rates(), *rates]
        self.store.put_setting(EXCHANGE_SETTING, msgspec.json.encode(kept).decode())
        self._load()

    def exchange_rates(self) -> list[ExchangeRate]:
        """The exchange rates that the ledger keeps."""
        text = self.store.setting(EXCHANGE_SETTING)
        return msgspec.json.decode(text, type=list[ExchangeRate]) if text else []

    def _record_group(self, group: Sequence[Mapping[str, Any] | UsageEvent], first: int) -> list[Recorded]:
        # Ten thousand events of plain values hold no cycle, but each round of the collector would walk them all.
        collecting = gc.isenabled()
        gc.disable()
        try:
            return self._record_mixed(group, first)
        finally:
            if collecting:
                gc.enable()

    def _record_mixed(self, group: Sequence[Mapping[str, Any] | UsageEvent], first: int) -> list[Recorded]:
        """One group of `record_stream`, whose members may be bad. `first` is the index of its first member."""
        now, currency = self.clock.now(), self.store.currency
        self.refresh()
        epoch, book = self._epoch, self.book
        refused: dict[int, Recorded] = {}
        rated: list[Entry] = []
        for at, fields in enumerate(group, first):
            try:
                event = fields if isinstance(fields, UsageEvent) else build_event(fields, now, currency)
                rated.append(self.entry_of(event, rate(event, book), now))
            except InvalidInput as error:
                refused[at] = Recorded(at, _id_of(fields), error.code, message=error.message)
        places = range(first, first + len(group))
        accepted = [at for at in places if at not in refused] if refused else places
        try:
            appended = self._append_entries(rated, epoch)
        except InvalidInput:
            kept = [self._recorded_alone(at, entry.event) for at, entry in zip(accepted, rated, strict=True)]
        else:
            told = zip(accepted, rated, appended, strict=True)
            kept = [self.recorded(at, entry.event, result) for at, entry, result in told]
        return sorted([*refused.values(), *kept], key=_index_of) if refused else kept

    def _recorded_alone(self, index: int, event: UsageEvent) -> Recorded:
        try:
            result = self._append_rated([event], tolerant=True)[0]
        except InvalidInput as error:
            return Recorded(index, event.id, error.code, message=error.message)
        return self.recorded(index, event, result)

    def _append_entries(self, entries: Sequence[Entry], epoch: int) -> list[Appended]:
        if not entries:
            return []
        try:
            return self.store.append(entries, epoch=epoch)
        except StaleBook:
            return self._append_rated([entry.event for entry in entries], tolerant=True)

    def _append_rated(self, events: Sequence[UsageEvent], *, tolerant: bool) -> list[Appended]:
        for _ in range(STALE_RETRIES_MAX):
            if self.loaded_book is None:
                self._load()
            # The epoch first: another thread may load a newer book at any moment, and what the older one priced must
            # not pass for it.
            epoch, book = self._epoch, self.book
            now = self.clock.now()
            rater = rated_tolerantly if tolerant else rate
            entries = [self.entry_of(event, rater(event, book), now) for event in events]
            try:
                return self.store.append(entries, epoch=epoch)
            except StaleBook:
                self._load()
        raise LedgerError("prices change faster than events can be rated; try again", code="stale_book")

    def _amend(self, group: list[Amendment]) -> int:
        return sum(result.code == Outcome.CREATED for result in self.store.amend(group))

    def _replacement(self, live: Entry, event: UsageEvent, rating: Rating, now: Instant, reason: str) -> Entry:
        return Entry(
            event=event,
            rating=rating,
            recorded_at=now,
            counted_at=live.counted_at,
            fingerprint=fingerprint(event),
            basis=rating.basis,
            kind=EntryKind.CORRECTION,
            corrects=live.corrects or live.seq,
            reason=reason,
        )

    def _load(self) -> PriceBook:
        with self._loading:
            # The epoch is read first: a change between the two reads is seen as stale at the next write.
            epoch = self.store.epoch()
            found = self.store.catalogue()
            if found is None:
                raise LedgerError("this ledger has no price catalogue; open it with outlay.open", code="no_catalogue")
            identity, body = found
            self.loaded_book = book = PriceBook.of(
                body, identity, self.store.rates(), self.exchange_rates(), currency=self.store.currency
            )
            self._epoch = epoch
            return book


def conflict(event: UsageEvent, result: Appended) -> EventConflict:
    """The refusal of an id that stands with another body."""
    field = result.code.removeprefix("exists_with_different_")
    return EventConflict(
        f"event {event.id} is recorded already with another {field}; use a new id, or correct({event.id!r}, …)",
        code=result.code,
        id=event.id,
        field=field,
    )


def rated_tolerantly(event: UsageEvent, book: PriceBook) -> Rating:
    """The rating, or for numbers that contradict each other an unpriced one that says so."""
    try:
        return rate(event, book)
    except InvalidInput as error:
        unrated = tuple(Unrated(meter, quantity, error.message) for meter, quantity in event.usage.items())
        return Rating((), 0, PricingStatus.UNPRICED, unrated, basis=event.basis)


def _identity(rate: Rate) -> bytes:
    """What makes two rows of price files the same: everything but when they were added."""
    return msgspec.json.encode(replace(rate, recorded_at=0))


_index_of: Final = attrgetter("index")


def _id_of(fields: object) -> str:
    if isinstance(fields, UsageEvent):
        return fields.id
    return str(fields.get("id") or "") if isinstance(fields, Mapping) else ""


def _probe_days(event: UsageEvent) -> tuple[int, ...]:
    day = utc_day(event.occurred_from)
    return (day - 1, day + 1) if event.time_given else (day - 1,)


def _same_price(one: Rating, other: Rating) -> bool:
    if (one.amount, one.status, len(one.lines)) != (other.amount, other.status, len(other.lines)):
        return False
    return all(
        left.meter == right.meter and left.amount == right.amount and left.quantity == right.quantity
        for left, right in zip(one.lines, other.lines, strict=True)
    )
