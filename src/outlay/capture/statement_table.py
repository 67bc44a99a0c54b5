"""Rows of an exported bill, cell by cell, made BilledRows: texts stay as received, a bad row becomes a BadLine.

A million rows go through here: what a bill repeats (dates, tags, names) is read once and remembered.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from itertools import count
from operator import itemgetter
from typing import Any, Final, NamedTuple

from msgspec.structs import force_setattr

from outlay.capture.lines import BadLine, Line
from outlay.capture.statement_layouts import Layout
from outlay.capture.statement_names import meter_and_size, seller_of
from outlay.capture.statements import BilledRow, Category
from outlay.errors import InvalidInput
from outlay.model import ATTRIBUTIONS, copied
from outlay.money import EXACT

NOTHING: Final = frozenset(("", "NULL", "null", "None", "nan", "NaN", "<NA>"))
"""What exporters write where a cell is empty."""

DIGITS_MAX: Final = 40
_REMEMBERED_MAX: Final = 100_000
_QUOTED_LINES_MAX: Final = 50
_TEXT_MAX: Final = 512
_LARGEST: Final = 15
_SLASHED: Final = re.compile(r"^\s*(\d{1,2})/(\d{1,2})/(\d{2}|\d{4})\s*$")
_WRITTEN: Final = re.compile(r"^\s*(-?)\s*[$€£]?\s*(\d{1,3}(?:,\d{3})+\.\d+|\d+(?:\.\d+)?)\s*$")
_DAY_S: Final = 86_400
_Cells = list[str]
NO_TAGS: Final[dict[str, str]] = {}


class Record(NamedTuple):
    """One record of a table: the line it starts at, its text as received, its cells."""

    number: int
    raw: str
    cells: list[str]


class _Moment(NamedTuple):
    """A time of a bill: its UTC date, and its seconds since 1970."""

    day: date
    seconds: int


class TableReader:
    """Turns records under one header into rows of a bill."""

    def __init__(
        self,
        layout: Layout,
        header: Sequence[str],
        source: str,
        provider: str | None = None,
        columns: Sequence[str] = (),
    ) -> None:
        """`provider` is who sells where the table does not say; `source` is named in bad lines.

        `columns` are kept of each row, in this order, empty where the table has none of that name.
        """
        self.layout = layout
        self.source = source
        self.provider = provider
        self.header = [name.strip() for name in header]
        places = {name.lower(): at for at, name in reversed(list(enumerate(self.header)))}
        self._get: dict[str, Callable[[_Cells], str]] = {
            name: _getter([places[column] for column in getattr(layout, name) if column in places]) for name in _READ
        }
        self._words = _joiner([places[column] for column in layout.words if column in places])
        self._key = _joiner([places[column] for column in layout.key if column in places])
        self._tags_at = next((places[name] for name in layout.tags if name in places), None)
        self._tag_columns = _tag_columns(layout, self.header)
        named = {name: at for at, name in enumerate(self.header)}
        self._keep = _keeper([named.get(name, -1) for name in columns])
        self._is_about = _keeper(self._static_places(places))
        self._templates: dict[tuple[str, ...], BilledRow] = {}
        self._moments: dict[str, _Moment] = {}
        self._month_first: bool | None = None

    def read(self, record: Record) -> BilledRow | BadLine:
        """One record as a row of the bill."""
        try:
            return self._row(record)
        except InvalidInput as error:
            return BadLine(self.source, record.number, error.code, error.message, record.raw)

    def _row(self, record: Record) -> BilledRow:
        cells, get = record.cells, self._get
        moments, start_text, end_text = self._moments, get["start"](cells), get["end"](cells)
        if "/" in start_text:
            start_text, end_text = self._slashed(cells, start_text), self._slashed(cells, end_text)
        start = moments.get(start_text) or self._moment(start_text, "start")
        end = (moments.get(end_text) or self._moment(end_text, "end")) if end_text else start
        quantity = get["quantity"](cells)
        # Most rows of a bill are about what rows before them were about: a copy is a tenth of making one.
        about = self._is_about(cells)
        template = self._templates.get(about)
        if template is None:
            template = self._template(cells, about)
        row = copied(template)
        force_setattr(row, "date", start.day)
        force_setattr(row, "days", max(1, -(-(end.seconds - start.seconds) // _DAY_S)))
        force_setattr(row, "cost", decimal_text(get["cost"](cells), "cost"))
        force_setattr(row, "quantity", decimal_text(quantity, "quantity") if quantity else "")
        force_setattr(row, "list_cost", get["list_cost"](cells))
        force_setattr(row, "line", record.number)
        force_setattr(row, "raw", record.raw)
        force_setattr(row, "key", self._key(cells))
        force_setattr(row, "cells", self._keep(cells))
        return row

    def _static_places(self, places: Mapping[str, int]) -> list[int]:
        """Where all stands that a row is about, whatever it costs and whenever it was."""
        layout = self.layout
        names = [name for field in _ABOUT for name in getattr(layout, field)]
        found = [places[name] for name in (*names, *layout.words, *layout.tags) if name in places]
        return sorted({*found, *(at for at, _ in self._tag_columns)})

    def _template(self, cells: _Cells, about: tuple[str, ...]) -> BilledRow:
        get = self._get
        service, sku, unit = get["service"](cells), get["sku"](cells), get["unit"](cells)
        seller = get["provider"](cells)
        provider = seller_of(seller) if seller else self.provider
        if not provider:
            raise InvalidInput("the row says nobody who sells; give --provider", code="missing_field")
        meter, per = meter_and_size(unit, self._words(cells)) if unit else (None, 1)
        bill = self._slashed(cells, get["bill_start"](cells))
        if len(self._templates) > _REMEMBERED_MAX:
            self._templates.clear()
        found = self._templates[about] = BilledRow(
            date=date.min,
            service=(service or sku or seller)[:_TEXT_MAX],
            resource=get["resource"](cells)[:_TEXT_MAX],
            cost="",
            quantity="",
            unit=unit[:_TEXT_MAX],
            provider=provider,
            meter=meter,
            currency=get["currency"](cells) or None,
            category=self._category(cells),
            account=get["account"](cells),
            sub_account=get["sub_account"](cells),
            region=get["region"](cells),
            sku=sku,
            per=per,
            bill_month=self._moment(bill, "bill").day.isoformat()[:7] if bill else "",
            tags=self._tags_of(cells),
            about=next(_NUMBERS),
        )
        return found

    def _slashed(self, cells: _Cells, text: str) -> str:
        """A date that a spreadsheet wrote with strokes, in ISO form, where the rows so far tell its order: a billing
        period begins on the first of a month, so of 4/1/25 the 1 is the day."""
        bill, found = _SLASHED.match(self._get["bill_start"](cells)), _SLASHED.match(text)
        if bill is not None and (bill[1] == "1") != (bill[2] == "1"):
            self._month_first = bill[2] == "1"
        if found is None or self._month_first is None:
            return text
        first, second, year = found.groups()
        month, day = (first, second) if self._month_first else (second, first)
        return f"{year if len(year) > 2 else '20' + year}-{month:0>2}-{day:0>2}"

    def _category(self, cells: _Cells) -> Category:
        name = self._get["category"](cells).lower()
        found = self.layout.categories.get(name, Category.USAGE)
        if found is Category.USAGE and self._get["commitment"](cells):
            return Category.COMMITMENT
        return found

    def _moment(self, text: str, what: str) -> _Moment:
        known = self._moments.get(text)
        if known is not None:
            return known
        if len(self._moments) > _REMEMBERED_MAX:
            self._moments.clear()
        found = self._moments[text] = _moment(text, what)
        return found

    def _tags_of(self, cells: _Cells) -> dict[str, str]:
        if self._tags_at is not None:
            text = cells[self._tags_at]
            return NO_TAGS if text in NOTHING else json_tags(text)
        return clean_tags([(name, cells[at]) for at, name in self._tag_columns if cells[at] not in NOTHING])


_READ: Final = (
    *("cost", "start", "end", "bill_start", "currency", "category", "commitment", "provider", "service"),
    *("resource", "quantity", "unit", "account", "sub_account", "region", "sku", "list_cost"),
)
_ABOUT: Final = (
    *("bill_start", "currency", "category", "commitment", "provider", "service", "resource", "unit"),
    *("account", "sub_account", "region", "sku"),
)
_NUMBERS: Final = count(1)


def _keeper(places: Sequence[int]) -> Callable[[_Cells], tuple[str, ...]]:
    """What gives some cells, in order; an empty one for a place below 0."""
    if len(places) > 1 and min(places) >= 0:
        return itemgetter(*places)
    return lambda cells: tuple([cells[at] if at >= 0 else "" for at in places])


def kept_columns(layout: Layout, headers: Iterable[Sequence[str]]) -> list[str]:
    """The columns of some tables to keep as received; those that may name a person are kept as tags alone."""
    columns = dict.fromkeys(name.strip() for header in headers for name in header)
    tags = {header for header in columns if header.lower().startswith(layout.tag_columns or ("\0",))}
    return [name for name in columns if name.lower() not in layout.people and name not in tags]


def _getter(places: Sequence[int]) -> Callable[[_Cells], str]:
    """What gives the first cell among some places that is filled."""
    if not places:
        return lambda cells: ""
    if len(places) == 1:
        at = places[0]
        return lambda cells: "" if cells[at] in NOTHING else cells[at]

    def first(cells: _Cells) -> str:
        for at in places:
            if cells[at] not in NOTHING:
                return cells[at]
        return ""

    return first


def _joiner(places: Sequence[int]) -> Callable[[_Cells], str]:
    return lambda cells: " ".join([cells[at] for at in places if cells[at] not in NOTHING])


def _tag_columns(layout: Layout, header: Sequence[str]) -> list[tuple[int, str]]:
    """The columns that hold one tag each, with the tags' names."""
    found = []
    for at, name in enumerate(header):
        for start in layout.tag_columns:
            if name.lower().startswith(start) and len(name) > len(start):
                found.append((at, name[len(start) :]))
                break
    return found


def _moment(text: str, what: str) -> _Moment:
    try:
        moment = datetime.fromisoformat(text.removesuffix(" UTC"))
        # A time that names no zone is UTC: so all these exports say.
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        return _Moment(moment.date(), int(moment.timestamp()))
    except (ValueError, OverflowError) as error:
        raise InvalidInput(
            f"{what} {text[:40]!r} is no time such as 2026-11-22T00:00:00Z", code="bad_date"
        ) from error


def decimal_text(text: str, what: str) -> str:
    """The text as received, once it is known to be a finite number that a bill may hold.

    A currency sign is taken off, and thousands separators where a point after them tells that they are such:
    `$10,000.00` is read, `10,000` is not, because it may be 10.

    Raises InvalidInput `missing_field`, `not_a_number`, `infinite_amount`, `too_precise`.
    """
    if not text:
        raise InvalidInput(f"the row has no {what}", code="missing_field", field=what)
    try:
        number = Decimal(text, EXACT)
    except InvalidOperation as error:
        written = _WRITTEN.match(text)
        if written is not None:
            return decimal_text((written[1] or "") + written[2].replace(",", ""), what)
        raise InvalidInput(f"{what} {text[:40]!r} is not a number", code="not_a_number", field=what) from error
    if not number.is_finite() or number.adjusted() > _LARGEST:
        raise InvalidInput(f"{what} {text[:40]} is beyond any bill", code="infinite_amount", field=what)
    if len(text) > DIGITS_MAX:
        raise InvalidInput(f"{what} {text[:20]}… has more than {DIGITS_MAX} digits", code="too_precise", field=what)
    return text


def json_tags(text: str) -> dict[str, str]:
    """The tags of a cell that holds a JSON object, or a list of key and value; other text holds none."""
    try:
        found: Any = json.loads(text)
    except ValueError:
        return NO_TAGS
    if isinstance(found, Mapping):
        return clean_tags(found.items())
    if isinstance(found, list):
        return clean_tags([each for each in map(_pair, found) if each is not None])
    return NO_TAGS


def _pair(item: object) -> tuple[object, object] | None:
    if isinstance(item, Mapping):
        return item.get("key"), item.get("value")
    return (item[0], item[1]) if isinstance(item, list) and len(item) == 2 else None


def clean_tags(items: Iterable[tuple[object, object]]) -> dict[str, str]:
    """Tags as events take them: `user:` and `user_` before a name come off, a name of an attribution is small."""
    tags: dict[str, str] = {}
    for name, value in items:
        if not isinstance(name, str) or isinstance(value, Mapping | list) or value in (None, ""):
            continue
        bare = name.removeprefix("user:").removeprefix("user_")
        bare = bare.lower() if bare.lower() in ATTRIBUTIONS else bare
        text = str(value).replace("\0", "")[:_TEXT_MAX]
        if bare and text:
            tags[bare[:_TEXT_MAX]] = text
    return tags


def records_of(
    lines: Iterator[Line | BadLine], delimiter: str, source: str, width: int
) -> Iterator[Record | BadLine]:
    """CSV records of `width` cells, quickly. A quote astray costs its own line, not the rest of the file."""
    feeder = _Feeder(lines)
    reader = csv.reader(feeder, delimiter=delimiter, strict=True)
    while True:
        feeder.taken.clear()
        try:
            cells = next(reader)
        except StopIteration:
            yield from feeder.drained()
            return
        except csv.Error as error:
            yield from _given_up(feeder, source, f"the line is not CSV: {error}")
            continue
        yield from feeder.drained()
        if len(cells) != width:
            yield from _given_up(feeder, source, f"the line has {len(cells)} cells under {width} columns")
            continue
        first = feeder.taken[0]
        raw = first.raw if len(feeder.taken) == 1 else "\n".join(line.raw for line in feeder.taken)
        yield Record(first.number, raw, cells)


def _given_up(feeder: _Feeder, source: str, reason: str) -> Iterator[BadLine]:
    """The first line of a record that cannot be read; what was taken after it is read again."""
    yield from feeder.drained()
    if not feeder.taken:
        return
    first, *more = feeder.taken
    feeder.waiting[:0] = more
    yield BadLine(source, first.number, "bad_csv", reason, first.raw)


class _Feeder:
    """Gives a CSV reader its lines one by one, and remembers which a record took."""

    def __init__(self, lines: Iterator[Line | BadLine]) -> None:
        self.lines = lines
        self.taken: list[Line] = []
        self.waiting: list[Line] = []
        self.bad: list[BadLine] = []

    def __iter__(self) -> _Feeder:
        return self

    def __next__(self) -> str:
        if len(self.taken) > _QUOTED_LINES_MAX:
            raise csv.Error("a quote opens and does not close as it should")
        line = self._next()
        self.taken.append(line)
        return line.raw + "\n"

    def _next(self) -> Line:
        if self.waiting:
            return self.waiting.pop(0)
        while isinstance(line := next(self.lines), BadLine):
            self.bad.append(line)
            if self.taken:
                raise csv.Error("a quoted cell runs into a line that cannot be read")
        return line

    def drained(self) -> list[BadLine]:
        """The lines that could not be read since the last look."""
        found, self.bad = self.bad, []
        return found
