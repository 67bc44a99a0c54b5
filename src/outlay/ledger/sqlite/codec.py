"""An Entry as a row, and back: equal to what was written, whatever its numbers were.

Beside the columns that questions are asked by, a row has two blobs: `lines` (what the fold reads: priced
lines and what could not be priced) and `body` (usage, conditions and what is rarely asked for).
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final, NamedTuple

import apsw
import msgspec

from outlay.clock import DAY_MICROSECONDS
from outlay.ledger.rules import nano_of, quantity_of
from outlay.ledger.sqlite.names import KIND_NUMBERS, Ids, Names
from outlay.model import (
    Basis,
    Entry,
    EntryKind,
    ExchangeRate,
    Parameter,
    PricedLine,
    PricingStatus,
    Quantity,
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

(
    _PROVIDER,
    _SERVICE,
    _OPERATION,
    _FEATURE,
    _ENVIRONMENT,
    _USER,
    _CUSTOMER,
    _TEAM,
    _PROJECT,
    _JOB,
    _STEP,
    _METER,
    _MATCH,
) = range(len(KIND_NUMBERS))

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


def encode(entry: Entry, ids: Ids) -> list[Any]:
    """The row of an entry, seq still 0. Raises KeyError where `ids` does not know a name."""
    event, rating, kinds = entry.event, entry.rating, ids.kinds
    occurred = event.occurred_from
    micro, pico = divmod(rating.amount, PICO_PER_MICRO)
    tags = ids.tag_sets[tuple(sorted(event.tags.items()))] if event.tags else 0
    return [
        0,
        event.id,
        entry.fingerprint,
        occurred,
        None if event.occurred_to == occurred else event.occurred_to,
        entry.recorded_at,
        None if entry.counted_at == occurred else entry.counted_at,
        _KIND_NUMBERS[entry.kind],
        entry.sign,
        entry.corrects,
        kinds[_PROVIDER][event.provider],
        kinds[_SERVICE][event.service],
        kinds[_OPERATION][event.operation],
        kinds[_FEATURE][event.feature],
        kinds[_ENVIRONMENT][event.environment],
        kinds[_USER][event.user],
        kinds[_CUSTOMER][event.customer],
        kinds[_TEAM][event.team],
        kinds[_PROJECT][event.project],
        None if event.job is None else kinds[_JOB][event.job],
        kinds[_STEP][event.step],
        event.request,
        event.trace,
        abs(tags),
        STATUS_NUMBERS[event.status],
        BASIS_NUMBERS[entry.basis],
        _PRICING_NUMBERS[rating.status],
        event.count,
        micro,
        pico,
        _encode_lines(rating, kinds[_METER], ids),
        _encode_body(entry, kinds[_METER], kinds[_MATCH]),
    ]


def _encode_lines(rating: Rating, meters: dict[str | None, int], ids: Ids) -> bytes:
    rates = ids.rates
    priced = []
    for line in rating.lines:
        quantity = line.quantity
        whole, nano = (quantity, 0) if type(quantity) is int else nano_of(quantity)
        micro, pico = divmod(line.amount, PICO_PER_MICRO)
        if line.note or line.native_amount is not None or line.exchange is not None:
            priced.append((meters[line.meter], whole, nano, micro, pico, rates[line.rate], _line_extra(line)))
        else:
            priced.append((meters[line.meter], whole, nano, micro, pico, rates[line.rate]))  # type: ignore[arg-type]  # no extra
    if not rating.unrated:
        return _encode((priced,))
    return _encode((priced, [(meters[one.meter], *nano_of(one.quantity), one.reason) for one in rating.unrated]))


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
        whole, nano = (quantity, 0) if type(quantity) is int else nano_of(quantity)
        usage += (meters[name], whole, nano)
    flags = (_ID_GIVEN if event.id_given else 0) | (_TIME_GIVEN if event.time_given else 0)
    match = matches[entry.rating.match] if entry.rating.match else 0
    rare = _rare(entry)
    if not event.conditions and not entry.probe_days and rare is None:
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


class Decoder:
    """Turns rows into entries, within one reading of the ledger."""

    def __init__(self, connection: apsw.Connection, names: Names) -> None:
        self._connection = connection
        self._names = names

    def entry(self, columns: Sequence[Any]) -> Entry:
        """The entry of a row of table entry."""
        row = Row._make(columns)
        body = _decode_body(row.body)
        rare = body.rare or _Rare()
        basis = BASES[row.basis]
        own_day = row.occurred_from // DAY_MICROSECONDS
        return Entry(
            event=self._event(row, body, rare, basis),
            rating=self._rating(row, body, rare, basis),
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

    def _rating(self, row: Row, body: _Body, rare: _Rare, basis: Basis) -> Rating:
        lines = decode_lines(row.lines)
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
