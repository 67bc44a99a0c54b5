"""Booking what was delivered: rows stream into a statement, what cannot be used is handed to `reject`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

import msgspec

from outlay.bills import ImportedStatement
from outlay.bills.taking import ExchangeOn
from outlay.capture.lines import BadLine
from outlay.capture.statement_bodies import body_format, rows_of_body
from outlay.capture.statement_layouts import Format
from outlay.capture.statement_table import kept_columns
from outlay.capture.statements import BilledRow
from outlay.errors import InvalidInput
from outlay.faces.bills.exchange import exchange_of
from outlay.faces.bills.tables import TableFile, digest_of, rows_of_table

if TYPE_CHECKING:
    from outlay.api import Ledger

UTC: Final = "UTC"
AUTO: Final = "auto"
PERIOD: Final = "period"
ROWS: Final = "rows"


class Booking(msgspec.Struct):
    """How bills are booked, and what is told meanwhile."""

    reject: Callable[[BadLine], None]
    advance: Callable[[int], None]
    provider: str | None = None
    metered: Sequence[str] = ()
    restates: str | None = None
    lines: int = 0


def book_tables(book: Ledger, tables: Sequence[TableFile], whole: bool, to: Booking) -> list[ImportedStatement]:
    """Book tables that were delivered together: one statement a format."""
    booked = []
    for format in dict.fromkeys(table.layout.format for table in tables):
        files = [table for table in tables if table.layout.format is format]
        columns = kept_columns(files[0].layout, [file.header for file in files])
        found = _rows_of_tables(files, columns, to)
        source = files[0].name if len(files) == 1 else f"{files[0].name} and {len(files) - 1} more"
        statement = _booked(
            book,
            _usable(book, found, source, to),
            source=source,
            zone=UTC,
            metered=to.metered,
            restates=to.restates or (AUTO if whole else ROWS),
            digest=digest_of(files),
            format=format.value,
            columns=columns,
        )
        booked += [statement] if statement is not None else []
    return booked


def book_body(
    book: Ledger, body: Any, source: str, to: Booking, *, covers: tuple[date, date] | None = None
) -> ImportedStatement | None:
    """Book a cost API's answer; None where it holds no row."""
    return book_rows(book, rows_of_body(body, source), source, body_format(body) or Format.SEEDS, to, covers=covers)


def book_statement(
    book: Ledger, found: Iterable[BilledRow | BadLine], source: str, zone: str | None, to: Booking
) -> ImportedStatement | None:
    """Book a bill of the seeds' form, whose dates are local to `zone`; None where it holds no row."""
    return _booked(
        book,
        _usable(book, _counted(found, to), source, to),
        source=source,
        zone=zone,
        metered=to.metered,
        restates=to.restates or ROWS,
    )


def book_rows(
    book: Ledger,
    found: Iterable[BilledRow | BadLine],
    source: str,
    format: Format,
    to: Booking,
    *,
    covers: tuple[date, date] | None = None,
) -> ImportedStatement | None:
    """Book rows of days in UTC: they say all that is known of the days that they cover. None where there is none."""
    rows = list(_usable(book, _counted(found, to), source, to))
    if not rows:
        return None
    covered = covers or _days(rows)
    digest = blake2b(msgspec.msgpack.encode((rows, covered)), digest_size=12).hexdigest()
    return _booked(
        book,
        rows,
        source=source,
        zone=UTC,
        metered=to.metered,
        restates=to.restates or PERIOD,
        covers=covered,
        digest=digest,
        format=format.value,
    )


def _booked(book: Ledger, rows: Iterable[BilledRow], **told: Any) -> ImportedStatement | None:
    try:
        return book.import_statement(rows, exchange_on=exchange_of(book), **told)
    except InvalidInput as error:
        if error.code == "empty_statement":
            return None
        raise


def _days(rows: Sequence[BilledRow]) -> tuple[date, date]:
    last = max(row.date.toordinal() + row.days for row in rows)
    return min(row.date for row in rows), date.fromordinal(last)


def _rows_of_tables(files: Sequence[TableFile], columns: list[str], to: Booking) -> Iterator[BilledRow | BadLine]:
    for file in files:
        yield from _counted(rows_of_table(file, columns, to.provider, to.advance), to)


def _counted(found: Iterable[BilledRow | BadLine], to: Booking) -> Iterator[BilledRow | BadLine]:
    for each in found:
        to.lines += 1
        yield each


def _usable(book: Ledger, found: Iterable[BilledRow | BadLine], source: str, to: Booking) -> Iterator[BilledRow]:
    """Rows that can be charged. A row in a currency without a rate of its day is handed to `reject`."""
    known: dict[tuple[str, date], str] = {}
    exchange = exchange_of(book)
    for row in found:
        if isinstance(row, BadLine):
            to.reject(row)
            continue
        if row.currency and row.currency != book.currency:
            at = (row.currency, row.date)
            if at not in known:
                known[at] = _without_rate(exchange, *at)
            if known[at]:
                to.reject(BadLine(source, row.line, "no_exchange_rate", known[at], row.raw))
                continue
        yield row


def _without_rate(exchange: ExchangeOn, currency: str, day: date) -> str:
    """Why a currency cannot be converted on a day; nothing where it can."""
    try:
        exchange(currency, day)
    except InvalidInput as error:
        return error.message
    return ""
