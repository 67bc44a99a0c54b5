"""How a server and Outlay's own client speak: the vocabulary itself as JSON, beside the JSON that people read.

Any route answers plain JSON, with money as decimal text. Asked for EXACT it answers the values of `outlay.model` and
the other frozen data as they are, so that what a program gets from a server is what it would get from a file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from outlay.analytics.report import Cell, Report, Section
from outlay.answers import Job, Repricing
from outlay.budgets.definition import mark_said
from outlay.budgets.terms import Bound, Choice, Decision
from outlay.capture.intake import FIELDS, build_event
from outlay.clock import Instant, isoformat
from outlay.errors import InvalidInput
from outlay.ledger.budget_store import NotedRefusal, Overrun
from outlay.ledger.store import JobOutcome
from outlay.model import Entry, ExchangeRate, Mark, Rate, Rating, UsageEvent
from outlay.money import Money, pico_to_decimal
from outlay.receipt import Receipt
from outlay.reserving import WorstCase

EXACT: Final = "application/vnd.outlay+json"
"""The media type of the vocabulary itself."""

_FRACTION: Final = re.compile(r"-?[0-9]{1,400}(/0*[1-9][0-9]{0,399})?")
_TOLD_APART: Final = ("id", "time", "time_to")


class LedgerFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a client must know of the ledger behind a server."""

    currency: str
    zone: str
    version: str


class SentReceipt(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A receipt on its way: of what stands in the ledger the `entry`, of what was only priced event and rating."""

    outcome: str
    currency: str
    entry: Entry | None = None
    event: UsageEvent | None = None
    rating: Rating | None = None
    versions: tuple[Entry, ...] = ()


class SentJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job, or a request, on its way."""

    name: str
    receipts: tuple[SentReceipt, ...]
    currency: str
    outcome: JobOutcome | None = None


class SentRepricing(msgspec.Struct, frozen=True, kw_only=True):
    """A repricing on its way; `rows` as `Repricing.rows`."""

    examined: int
    rows: tuple[tuple[str, str, str, Money, Money], ...]
    currency: str
    dry_run: bool


class SentPage(msgspec.Struct, frozen=True, kw_only=True):
    """Some receipts, and the cursor behind which the next ones are."""

    receipts: tuple[SentReceipt, ...]
    next: str | None = None


class SentAsking(msgspec.Struct, frozen=True, kw_only=True):
    """A call that asks for a reservation. Its request stays with the client, which works out the bound of it for each
    service that may be called: `fields` are those of `record`, with the worst case as usage where there is no bound.
    """

    fields: dict[str, Any]
    bounds: dict[str, Bound] = {}
    id_given: bool = False
    wait_s: float | None = None
    deadline_s: float | None = None


class SentReservation(msgspec.Struct, frozen=True, kw_only=True):
    """What a client keeps of a reservation: the call as it may go, and its worst case. `allotted` is the maximum of
    output that the request is to be given.
    """

    id: str
    outcome: str
    service: str
    bound: WorstCase
    started_at: Instant
    epoch: int
    output_tokens_max: int | None = None
    downgraded_from: str | None = None
    allotted: int | None = None


class SentSettlement(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a settlement."""

    receipt: SentReceipt
    overruns: tuple[Overrun, ...] = ()


class SentWorth(msgspec.Struct, frozen=True, kw_only=True):
    """What a call may come to and whether it would fit now."""

    bound: WorstCase
    decision: Decision | None = None
    affordable: int | None = None


class SentRefusals(msgspec.Struct, frozen=True, kw_only=True):
    """How many calls a budget ever refused, and the last of them."""

    count: int
    refusals: tuple[NotedRefusal, ...]


class SentBook(msgspec.Struct, frozen=True, kw_only=True):
    """The price book in force, less its catalogue, which has an id of its own."""

    catalogue_id: str
    rates: tuple[Rate, ...]
    exchange: tuple[ExchangeRate, ...]


class SentRows(msgspec.Struct, frozen=True, kw_only=True):
    """Some rows of a bill as they were received, and the cursor behind which the next ones are."""

    rows: list[dict[str, str]]
    next: str | None = None


class SentCatalogue(msgspec.Struct, frozen=True, kw_only=True):
    """A version of the catalogue that a ledger used, less its body."""

    id: str
    recorded_at: Instant
    active: bool


class SentFigure(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A figure of a report that is no whole number: an amount, or a number as its decimal text."""

    money: Money | None = None
    number: str | None = None


SentRow = tuple[str | int | SentFigure | None, ...]


class SentSection(msgspec.Struct, frozen=True, kw_only=True):
    """A table of a report on its way."""

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[SentRow, ...]
    texts: int
    total: SentRow | None
    note: str


class SentReport(msgspec.Struct, frozen=True, kw_only=True):
    """A report on its way."""

    title: str
    label: str
    since: Instant
    until: Instant
    zone: str
    whole: bool
    total: Money
    sections: tuple[SentSection, ...]


def encoded(value: object) -> bytes:
    """A value as JSON, also one that holds fractions: each is text such as 1/3."""
    return msgspec.json.encode(value, enc_hook=_sent_custom)


def _sent_custom(value: object) -> str:
    if isinstance(value, Fraction):
        return str(value)
    # What msgspec wants of a hook: it then says which type cannot be encoded.
    raise NotImplementedError(f"{type(value).__name__} is not sent")


def received_custom(kind: type, value: object) -> object:
    """A fraction as it was sent. For a decoder of msgspec, which says where it was wrong."""
    if kind is Fraction and isinstance(value, str) and _FRACTION.fullmatch(value):
        return Fraction(value)
    raise ValueError(f"{kind.__name__} is expected, as text such as 1/3")


def sent_report(found: Report) -> SentReport:
    """A report made ready to go."""
    sections = tuple(
        SentSection(
            name=one.name,
            title=one.title,
            columns=one.columns,
            rows=tuple(map(_sent_row, one.rows)),
            texts=one.texts,
            total=None if one.total is None else _sent_row(one.total),
            note=one.note,
        )
        for one in found.sections
    )
    told = {name: getattr(found, name) for name in SentReport.__struct_fields__}
    return SentReport(**{**told, "sections": sections})


def received_report(sent: SentReport) -> Report:
    """The report that was sent."""
    sections = tuple(
        Section(
            name=one.name,
            title=one.title,
            columns=one.columns,
            rows=tuple(map(_received_row, one.rows)),
            texts=one.texts,
            total=None if one.total is None else _received_row(one.total),
            note=one.note,
        )
        for one in sent.sections
    )
    told = {name: getattr(sent, name) for name in SentReport.__struct_fields__}
    return Report(**{**told, "sections": sections})


def _sent_row(row: Sequence[Cell]) -> SentRow:
    return tuple(map(_sent_cell, row))


def _sent_cell(cell: Cell) -> str | int | SentFigure | None:
    if isinstance(cell, Money):
        return SentFigure(money=cell)
    return SentFigure(number=format(cell, "f")) if isinstance(cell, Decimal) else cell


def _received_row(row: SentRow) -> tuple[Cell, ...]:
    return tuple(map(_received_cell, row))


def _received_cell(cell: str | int | SentFigure | None) -> Cell:
    if not isinstance(cell, SentFigure):
        return cell
    return cell.money if cell.money is not None else Decimal(cell.number or 0)


def sent_receipt(receipt: Receipt) -> SentReceipt:
    """A receipt made ready to go."""
    versions = receipt.versions
    if versions and versions[-1].event is receipt.event and versions[-1].rating is receipt.rated:
        kept = versions if len(versions) > 1 else ()
        return SentReceipt(outcome=receipt.outcome, currency=receipt.currency, entry=versions[-1], versions=kept)
    return SentReceipt(
        outcome=receipt.outcome,
        currency=receipt.currency,
        event=receipt.event,
        rating=receipt.rating,
        versions=versions,
    )


def received_receipt(sent: SentReceipt) -> Receipt:
    """The receipt that was sent."""
    if sent.entry is not None:
        return Receipt.of_entry(sent.entry, sent.outcome, sent.currency, sent.versions)
    if sent.event is None:
        raise InvalidInput("a receipt bears an entry or an event", code="bad_answer")
    return Receipt(sent.event, sent.outcome, sent.currency, sent.rating, versions=sent.versions)


def sent_job(job: Job) -> SentJob:
    """A job made ready to go."""
    receipts = tuple(map(sent_receipt, job.receipts))
    return SentJob(name=job.name, receipts=receipts, currency=job.currency, outcome=job.outcome)


def received_job(sent: SentJob) -> Job:
    """The job that was sent."""
    return Job(sent.name, [received_receipt(one) for one in sent.receipts], sent.currency, sent.outcome)


def sent_repricing(found: Repricing, currency: str) -> SentRepricing:
    """A repricing made ready to go."""
    return SentRepricing(examined=found.examined, rows=tuple(found.rows), currency=currency, dry_run=found.dry_run)


def received_repricing(sent: SentRepricing) -> Repricing:
    """The repricing that was sent."""
    return Repricing(sent.examined, list(sent.rows), sent.currency, dry_run=sent.dry_run)


def received_event(sent: UsageEvent, now: Instant, currency: str) -> UsageEvent:
    """An event as a client sent it, checked like any other; what the client stamped itself stays no part of its body.

    A stamp ahead of the ledger's clock is taken for now. Raises InvalidInput as `build_event`.
    """
    fields = {name: getattr(sent, name) for name in FIELDS if name not in _TOLD_APART}
    ahead = not sent.time_given and sent.occurred_from > now
    since = now if ahead else sent.occurred_from
    until = max(since, min(sent.occurred_to, now)) if ahead else sent.occurred_to
    event = build_event({**fields, "id": sent.id, "time": since, "time_to": until}, now, currency)
    # The id counts as given, so that a retry whose stamp lies across midnight is looked up on both days.
    return replace(event, time_given=sent.time_given)


def plain_event(event: UsageEvent) -> dict[str, Any]:
    """The fields of `record` for an event, as JSON bears them; what nobody said is left out."""
    told = {name: getattr(event, name) for name in FIELDS if name not in _TOLD_APART}
    fields = {name: sendable(value) for name, value in told.items() if value not in (None, {}, "")}
    fields["id"] = event.id
    if event.time_given:
        fields["time"], fields["time_to"] = isoformat(event.occurred_from), isoformat(event.occurred_to)
    return fields


def sendable(value: object) -> Any:
    """A value that JSON bears and `budget`, `reserve`, `correct` … read as they would the value itself."""
    if isinstance(value, Money):
        return format(pico_to_decimal(value.pico), "f")
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, Mark):
        return mark_said(value)
    if isinstance(value, Choice):
        room = format(pico_to_decimal(value.room), "f")
        return {"service": value.service, "above" if value.above else "room": room, "when": value.when}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(name): sendable(one) for name, one in value.items()}
    if isinstance(value, set | frozenset):
        return [sendable(one) for one in sorted(value, key=str)]
    if isinstance(value, Sequence | Iterable) and not isinstance(value, str | bytes):
        return [sendable(one) for one in value]
    return value
