"""An Entry as a row, and back: equal to what was written, whatever its numbers were.

Beside the columns that questions are asked by, a row has two blobs: `lines` (what the fold reads: priced
lines and what could not be priced) and `body` (usage, conditions and what is rarely asked for).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal
from operator import attrgetter
from typing import Any, Final, NamedTuple

import msgspec

from outlay.clock import DAY_MICROSECONDS
from outlay.errors import LedgerCorrupt
from outlay.ledger import rules
from outlay.ledger.names import KIND_NUMBERS, KINDS, Ids, Names
from outlay.ledger.rules import quantity_of
from outlay.model import (
    Basis,
    Entry,
    EntryKind,
    ExchangeRate,
    Parameter,
    PricedLine,
    PricingStatus,
    Quantity,
    Rate,
    Rating,
    Status,
    Unrated,
    UsageEvent,
)
from outlay.money import PICO_PER_MICRO, Money

STATUSES: Final = (Status.OK, Status.FAILED, Status.CANCELLED, Status.UNSETTLED)
BASES: Final = (Basis.MEASURED, Basis.REPORTED, Basis.ESTIMATED, Basis.BILLED, Basis.ADJUSTED)
PRICINGS: Final = (PricingStatus.PRICED, PricingStatus.INCOMPLETE, PricingStatus.UNPRICED)
ENTRY_KINDS: Final = (EntryKind.CHARGE, EntryKind.CORRECTION, EntryKind.ADJUSTMENT, EntryKind.CREDIT)
STATUS_NUMBERS: Final = {status: number for number, status in enumerate(STATUSES)}
BASIS_NUMBERS: Final = {basis: number for number, basis in enumerate(BASES)}
_PRICING_NUMBERS: Final = {pricing: number for number, pricing in enumerate(PRICINGS)}
_KIND_NUMBERS: Final = {kind: number for number, kind in enumerate(ENTRY_KINDS)}

MICRO_LIMIT: Final = rules.AMOUNT_LIMIT // PICO_PER_MICRO
METER: Final = KIND_NUMBERS["meter"]
MATCH: Final = KIND_NUMBERS["match"]
_NAMED: Final = tuple(attrgetter(kind) for kind in KINDS[:11])
_NAMES_FROM: Final = 10
_NAMES_TO: Final = 21
"""Where in a row the numbers of names stand."""

_ID_GIVEN: Final = 1
_TIME_GIVEN: Final = 2


class _Rare(msgspec.Struct, omit_defaults=True, rename=str):
    """What most entries do not have."""

    error: str | None = None
    duration_s: Decimal | None = None
    parameters: dict[str, Parameter] = {}
    reported: tuple[int, int, str] | None = None
    call_key: str | None = None
    event_basis: int | None = None
    rating_basis: int | None = None
    reason: str | None = None


class _LineExtra(msgspec.Struct, array_like=True):
    note: str
    native: tuple[int, int] | None
    exchange: tuple[str, Decimal, str, str] | None


class _Line(msgspec.Struct, array_like=True):
    meter: int
    whole: int
    nano: int
    micro: int
    pico: int
    rate: int
    extra: _LineExtra | None = None


class _Unrated(msgspec.Struct, array_like=True):
    meter: int
    whole: int
    nano: int
    reason: str


class Lines(msgspec.Struct, array_like=True):
    """The blob `lines`."""

    priced: list[_Line]
    unrated: list[_Unrated] = []


class _Body(msgspec.Struct, array_like=True):
    flags: int
    match: int
    usage: list[int]
    conditions: dict[str, str] = {}
    probes: list[int] = []
    rare: _Rare | None = None


class Row(NamedTuple):
    """The columns of table entry, in order."""

    seq: int
    id: str
    fingerprint: bytes
    occurred_from: int
    occurred_to: int | None
    recorded_at: int
    counted_at: int | None
    kind: int
    sign: int
    corrects: int | None
    provider: int
    service: int
    operation: int
    feature: int
    environment: int
    user: int
    customer: int
    team: int
    project: int
    job: int | None
    step: int
    request: str | None
    trace: str | None
    tags: int
    status: int
    basis: int
    pricing: int
    calls: int
    micro: int
    pico: int
    lines: bytes
    body: bytes


_encode: Final = msgspec.msgpack.Encoder().encode
decode_lines: Final = msgspec.msgpack.Decoder(Lines).decode
_decode_body: Final = msgspec.msgpack.Decoder(_Body).decode


def encoder(ids: Ids) -> Callable[[Entry], list[Any]]:
    """A function that turns entries into rows, seq still 0, looking names up in `ids`.

    It raises KeyError where `ids` does not know a name, and InvalidInput as `rules.check_storable` does. It is
    bound to its look-ups once a batch: this is the longest step of an append.
    """
    provider, service, operation, feature, environment, user, customer, team, project, job, step, meters, matches = (
        ids.kinds
    )
    rates, tag_sets = ids.rates, ids.tag_sets

    def encode(entry: Entry) -> list[Any]:
        event, rating = entry.event, entry.rating
        # The names that are new most often come first, so that little is done in vain before they are interned.
        job_id = None if event.job is None else job[event.job]
        user_id = user[event.user]
        occurred, until, counted = event.occurred_from, event.occurred_to, entry.counted_at
        micro, pico = divmod(rating.amount, PICO_PER_MICRO)
        if not -MICRO_LIMIT < micro < MICRO_LIMIT:
            raise rules.too_large(entry)
        return [
            0,
            event.id,
            entry.fingerprint,
            occurred,
            None if until == occurred else until,
            entry.recorded_at,
            None if counted == occurred else counted,
            _KIND_NUMBERS[entry.kind],
            entry.sign,
            entry.corrects,
            provider[event.provider],
            service[event.service],
            operation[event.operation],
            feature[event.feature],
            environment[event.environment],
            user_id,
            customer[event.customer],
            team[event.team],
            project[event.project],
            job_id,
            step[event.step],
            event.request,
            event.trace,
            abs(tag_sets[tuple(sorted(event.tags.items()))]) if event.tags else 0,
            STATUS_NUMBERS[event.status],
            BASIS_NUMBERS[entry.basis],
            _PRICING_NUMBERS[rating.status],
            event.count,
            micro,
            pico,
            _encode_lines(entry, meters, rates),
            _encode_body(entry, meters, matches),
        ]

    return encode


def _encode_lines(entry: Entry, meters: dict[str | None, int], rates: dict[Rate | None, int]) -> bytes:
    rating = entry.rating
    most = rules.QUANTITY_LIMIT // entry.event.count
    priced: list[tuple[Any, ...]] = []
    for line in rating.lines:
        whole, nano = line.quantity, 0
        if type(whole) is not int:
            whole, nano = rules.nano_of(whole)
        micro, pico = divmod(line.amount, PICO_PER_MICRO)
        if whole >= most or not -MICRO_LIMIT < micro < MICRO_LIMIT:
            rules.check_storable(entry)
        if line.note or line.native_amount is not None or line.exchange is not None:
            priced.append((meters[line.meter], whole, nano, micro, pico, rates[line.rate], _line_extra(line)))
        else:
            priced.append((meters[line.meter], whole, nano, micro, pico, rates[line.rate]))
    if not rating.unrated:
        return _encode((priced,))
    rules.check_storable(entry)
    return _encode(
        (priced, [(meters[one.meter], *rules.nano_of(one.quantity), one.reason) for one in rating.unrated])
    )


def _line_extra(line: PricedLine) -> tuple[object, ...]:
    exchange = line.exchange
    return (
        line.note,
        None if line.native_amount is None else divmod(line.native_amount, PICO_PER_MICRO),
        None if exchange is None else (exchange.currency, exchange.price, exchange.date, exchange.source),
    )


def _encode_body(entry: Entry, meters: dict[str | None, int], matches: dict[str | None, int]) -> bytes:
    event = entry.event
    usage: list[int] = []
    for name, quantity in event.usage.items():
        if type(quantity) is int:
            usage += (meters[name], quantity, 0)
        else:
            usage += (meters[name], *rules.nano_of(quantity))
    flags = event.id_given + _TIME_GIVEN * event.time_given
    match = matches[entry.rating.match] if entry.rating.match else 0
    rare = _rare(entry)
    if rare is None and not event.conditions and not entry.probe_days:
        return _encode((flags, match, usage))
    own_day = event.occurred_from // DAY_MICROSECONDS
    probes = [day - own_day for day in entry.probe_days]
    return _encode((flags, match, usage, event.conditions, probes, rare))


def _rare(entry: Entry) -> _Rare | None:
    event = entry.event
    if (
        event.error is None
        and event.duration_s is None
        and event.reported_cost is None
        and event.call_key is None
        and entry.reason is None
        and not event.parameters
        and event.basis is entry.basis
        and entry.rating.basis is entry.basis
    ):
        return None
    cost = event.reported_cost
    return _Rare(
        error=event.error,
        duration_s=event.duration_s,
        parameters=event.parameters,
        reported=None if cost is None else (*cost.pair, cost.currency),
        call_key=event.call_key,
        event_basis=None if event.basis is entry.basis else BASIS_NUMBERS[event.basis],
        rating_basis=None if entry.rating.basis is entry.basis else BASIS_NUMBERS[entry.rating.basis],
        reason=entry.reason,
    )


def unknown_names(known: Ids, entries: Sequence[Entry]) -> Iterator[tuple[int, str]]:
    """(kind's number, name) of every name in the entries' rows that is not known; some more than once."""
    events = [entry.event for entry in entries]
    for number, attribute in enumerate(_NAMED):
        for name in set(map(attribute, events)) - known.kinds[number].keys():
            yield number, name
    meters = known.kinds[METER]
    matches = known.kinds[MATCH]
    for entry in entries:
        rating = entry.rating
        for meter in entry.event.usage:
            if meter not in meters:
                yield METER, meter
        for line in rating.lines:
            if line.meter not in meters:
                yield METER, line.meter
        for unrated in rating.unrated:
            if unrated.meter not in meters:
                yield METER, unrated.meter
        if rating.match and rating.match not in matches:
            yield MATCH, rating.match


class Decoder:
    """Turns rows into entries, within one reading of the ledger."""

    def __init__(self, connection: Any, names: Names) -> None:
        self._connection = connection
        self._names = names

    def entries(self, rows: Iterable[Sequence[Any]]) -> list[Entry]:
        """The entries of many rows of table entry, whose names are read at once."""
        found = list(rows)
        self._names.learn(
            self._connection, [id for row in found for id in row[_NAMES_FROM:_NAMES_TO] if id is not None]
        )
        return [self.entry(row) for row in found]

    def entry(self, columns: Sequence[Any]) -> Entry:
        """The entry of a row of table entry. Raises LedgerCorrupt where it cannot be unpacked."""
        row = Row._make(columns)
        try:
            return self._entry(row, _decode_body(row.body), decode_lines(row.lines))
        except (msgspec.DecodeError, IndexError) as error:
            raise LedgerCorrupt(f"entry {row.seq} cannot be unpacked; restore a backup") from error

    def _entry(self, row: Row, body: _Body, lines: Lines) -> Entry:
        rare = body.rare or _Rare()
        basis = BASES[row.basis]
        own_day = row.occurred_from // DAY_MICROSECONDS
        return Entry(
            event=self._event(row, body, rare, basis),
            rating=self._rating(row, lines, body, rare, basis),
            recorded_at=row.recorded_at,
            counted_at=row.occurred_from if row.counted_at is None else row.counted_at,
            fingerprint=row.fingerprint,
            basis=basis,
            kind=ENTRY_KINDS[row.kind],
            sign=row.sign,
            corrects=row.corrects,
            reason=rare.reason,
            probe_days=tuple(own_day + offset for offset in body.probes),
            seq=row.seq,
        )

    def _event(self, row: Row, body: _Body, rare: _Rare, basis: Basis) -> UsageEvent:
        name = self._name
        reported = rare.reported
        return UsageEvent(
            id=row.id,
            provider=name(row.provider) or "",
            service=name(row.service) or "",
            occurred_from=row.occurred_from,
            occurred_to=row.occurred_from if row.occurred_to is None else row.occurred_to,
            operation=name(row.operation),
            usage=self._usage(body.usage),
            conditions=body.conditions,
            status=STATUSES[row.status],
            user=name(row.user),
            customer=name(row.customer),
            team=name(row.team),
            project=name(row.project),
            feature=name(row.feature),
            job=None if row.job is None else name(row.job),
            environment=name(row.environment),
            request=row.request,
            trace=row.trace,
            step=name(row.step),
            tags=dict(self._names.tags(self._connection, row.tags)) if row.tags else {},
            error=rare.error,
            duration_s=rare.duration_s,
            parameters=rare.parameters,
            count=row.calls,
            basis=basis if rare.event_basis is None else BASES[rare.event_basis],
            reported_cost=None
            if reported is None
            else Money(reported[0] * PICO_PER_MICRO + reported[1], reported[2]),
            call_key=rare.call_key,
            id_given=bool(body.flags & _ID_GIVEN),
            time_given=bool(body.flags & _TIME_GIVEN),
        )

    def _rating(self, row: Row, lines: Lines, body: _Body, rare: _Rare, basis: Basis) -> Rating:
        return Rating(
            lines=tuple([self._line(line) for line in lines.priced]),
            amount=row.micro * PICO_PER_MICRO + row.pico,
            status=PRICINGS[row.pricing],
            unrated=tuple(
                [
                    Unrated(self._name(one.meter) or "", quantity_of(one.whole, one.nano), one.reason)
                    for one in lines.unrated
                ]
            ),
            match=(self._name(body.match) or "") if body.match else "",
            basis=basis if rare.rating_basis is None else BASES[rare.rating_basis],
        )

    def _line(self, line: _Line) -> PricedLine:
        meter = self._name(line.meter) or ""
        quantity = quantity_of(line.whole, line.nano)
        amount = line.micro * PICO_PER_MICRO + line.pico
        rate = self._names.rate(self._connection, line.rate)
        extra = line.extra
        if extra is None:
            return PricedLine(meter, quantity, amount, rate)
        native = None if extra.native is None else extra.native[0] * PICO_PER_MICRO + extra.native[1]
        exchange = None
        if extra.exchange is not None:
            currency, price, date, source = extra.exchange
            exchange = ExchangeRate(currency=currency, price=price, date=date, source=source)
        return PricedLine(meter, quantity, amount, rate, extra.note, native, exchange)

    def _usage(self, flat: list[int]) -> dict[str, Quantity]:
        return {self._name(flat[at]) or "": quantity_of(flat[at + 1], flat[at + 2]) for at in range(0, len(flat), 3)}

    def _name(self, id: int) -> str | None:
        return self._names.name(self._connection, id)
