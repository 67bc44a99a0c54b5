"""A report as a spreadsheet: days, services against their budgets, budgets with their projection, then every table.

Cells hold the exact values. A formula stands only where it gives the very value that the ledger has, so a person may
change a figure and see the sums follow. Words are written as words: none of them can become a formula or a link.
Needs the extra `xlsx`.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from fractions import Fraction
from importlib import import_module
from typing import Any, Final

from outlay.analytics.report import Cell, Report, Section
from outlay.clock import to_datetime
from outlay.errors import MissingExtra
from outlay.faces.charts.style import REST_COLOUR, SERIES
from outlay.money import EXACT, PICO_PER_UNIT, Money, round_half_even

NAME_MAX: Final = 31
TEXT_MAX: Final = 32_767
WIDTH_MOST: Final = 48
_NOT_IN_NAMES: Final = frozenset("[]:*?/\\")
_FIRST: Final = ("daily", "services", "budgets", "forecast")


def xlsx(report: Report) -> bytes:
    """The report as an XLSX workbook. Raises MissingExtra."""
    library = _library()
    out = io.BytesIO()
    book = library.Workbook(out, {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False})
    # The same report makes the same file.
    book.set_properties({"title": report.title, "created": to_datetime(report.until).replace(tzinfo=None)})
    looks = _Looks(book, report.total.currency)
    taken: set[str] = set()
    for section in sorted(report.sections, key=_order):
        sheet = book.add_worksheet(_sheet_name(section, taken))
        _Sheet(sheet, section, looks).write(report)
        if section.name == "daily" and len(section.rows) > 1:
            _draw_days(book, sheet, section)
    book.close()
    return out.getvalue()


def _order(section: Section) -> int:
    return _FIRST.index(section.name) if section.name in _FIRST else len(_FIRST)


def _sheet_name(section: Section, taken: set[str]) -> str:
    """A name that a sheet may have and no other sheet has."""
    plain = "".join(letter for letter in section.title if letter not in _NOT_IN_NAMES and letter.isprintable())
    name = plain.strip("' ")[:NAME_MAX] or "Sheet"
    number = 2
    while name.lower() in taken:
        name = f"{plain[: NAME_MAX - len(str(number)) - 1]} {number}"
        number += 1
    taken.add(name.lower())
    return name


class _Looks:
    """The formats of a workbook: money to its last digit, at least two decimals."""

    def __init__(self, book: Any, currency: str) -> None:
        before, _, after = str(Money(0, currency)).partition("0.00")
        money = f'"{before}"#,##0.00##########' + (f'"{after}"' if after else "")
        shapes: dict[str, dict[str, str]] = {
            "text": {"text_wrap": "", "valign": "top"},
            "money": {"num_format": f"{money};-{money}"},
            "count": {"num_format": "#,##0"},
            "percent": {"num_format": "0.0%"},
            "date": {"num_format": "yyyy-mm-dd", "align": "left"},
        }
        self.plain = {name: book.add_format(_shape(shape)) for name, shape in shapes.items()}
        self.total = {
            name: book.add_format({**_shape(shape), "bold": True, "top": 1}) for name, shape in shapes.items()
        }
        self.title = book.add_format({"bold": True, "font_size": 14})
        self.heading = book.add_format({"bold": True, "bottom": 1, "bg_color": "#f3f5f8"})
        self.note = book.add_format({"italic": True, "font_color": "#5b6675"})


def _shape(shape: Mapping[str, str]) -> dict[str, object]:
    return {name: value or True for name, value in shape.items()}


class _Sheet:
    """One table on a sheet: a title, the headings, a row each, the total."""

    HEADINGS_AT: Final = 2

    def __init__(self, sheet: Any, section: Section, looks: _Looks) -> None:
        self._sheet = sheet
        self._section = section
        self._looks = looks

    def write(self, report: Report) -> None:
        """Fill the sheet."""
        sheet, section = self._sheet, self._section
        sheet.write_string(0, 0, _words(f"{section.title}: {report.title}"), self._looks.title)
        for column, name in enumerate(section.columns):
            sheet.write_string(self.HEADINGS_AT, column, _words(name), self._looks.heading)
            sheet.set_column(column, column, self._width(column))
        first = self.HEADINGS_AT + 1
        for index, row in enumerate(section.rows):
            self._row(first + index, row, self._looks.plain)
        last = first + len(section.rows)
        if section.total is not None:
            self._row(last, section.total, self._looks.total, sums=True)
            last += 1
        if section.note:
            sheet.write_string(last + 1, 0, _words(section.note), self._looks.note)
        sheet.freeze_panes(first, max(section.texts, 1))

    def _row(self, at: int, row: Sequence[Cell], formats: Mapping[str, Any], *, sums: bool = False) -> None:
        for column, cell in enumerate(row):
            formula = (sums and self._sum(column, cell)) or self._across(at, column, row)
            self._cell(at, column, cell, formats, formula)

    def _cell(self, at: int, column: int, cell: Cell, formats: Mapping[str, Any], formula: str) -> None:
        sheet, name = self._sheet, self._section.columns[column]
        if cell is None or cell == "":
            sheet.write_blank(at, column, None, formats["text"])
        elif isinstance(cell, Money):
            value = float(cell.amount)
            if formula:
                sheet.write_formula(at, column, formula, formats["money"], value)
            else:
                sheet.write_number(at, column, value, formats["money"])
        elif isinstance(cell, str):
            self._text(at, column, cell, formats)
        elif isinstance(cell, Decimal) and name.endswith(("%", "% of total", "percent")):
            sheet.write_number(at, column, float(cell.scaleb(-2, EXACT)), formats["percent"])
        elif formula:
            sheet.write_formula(at, column, formula, formats["count"], cell)
        else:
            sheet.write_number(at, column, cell, formats["count"])

    def _text(self, at: int, column: int, text: str, formats: Mapping[str, Any]) -> None:
        if self._section.columns[column] == "Date" and len(text) == len("2026-11-22") and text[:4].isdigit():
            self._sheet.write_datetime(at, column, date.fromisoformat(text), formats["date"])
        else:
            self._sheet.write_string(at, column, _words(text), formats["text"])

    def _width(self, column: int) -> int:
        cells = [self._section.columns[column], *(_said(row[column]) for row in self._section.rows)]
        return min(WIDTH_MOST, max(map(len, cells)) + 3)

    # Formulas, where they give the ledger's own value

    def _sum(self, column: int, cell: Cell) -> str:
        """The sum over a column, if that is what the total says."""
        cells = [row[column] for row in self._section.rows]
        amounts = [number for one in cells if (number := _number(one)) is not None]
        whole = _number(cell)
        if whole is None or len(amounts) != len(cells) or not _same(sum(map(float, amounts)), whole):
            return ""
        letter = _letter(column)
        first = self.HEADINGS_AT + 2
        return f"=SUM({letter}{first}:{letter}{first + len(cells) - 1})"

    def _across(self, at: int, column: int, row: Sequence[Cell]) -> str:
        """What is computed from its own row: a variance, the total of a day, the cost of one."""
        columns = self._section.columns
        name, value = columns[column], _number(row[column])
        if value is None:
            return ""
        if name == "Variance" and "Actual" in columns:
            planned = columns.index("Limit" if "Limit" in columns else "Budget")
            return self._if_same(value, at, row, (columns.index("Actual"), planned), "-")
        if self._section.name != "daily":
            return ""
        if name == "Cost of one":
            return self._if_same(value, at, row, (columns.index("Total"), columns.index("Finished")), "/")
        if name == "Total":
            parts = [_number(cell) for cell in row[2:column]]
            if all(part is not None for part in parts) and _same(sum(float(part or 0) for part in parts), value):
                return f"=SUM({_letter(2)}{at + 1}:{_letter(column - 1)}{at + 1})"
        return ""

    def _if_same(self, value: Decimal, at: int, row: Sequence[Cell], places: tuple[int, int], sign: str) -> str:
        first, second = (_number(row[place]) for place in places)
        if first is None or second is None or (sign == "/" and not second):
            return ""
        found = float(first) - float(second) if sign == "-" else float(first) / float(second)
        cells = [f"{_letter(place)}{at + 1}" for place in places]
        return f"={cells[0]}{sign}{cells[1]}" if _same(found, value) else ""


def _number(cell: Cell) -> Decimal | None:
    if isinstance(cell, Money):
        return cell.amount
    return Decimal(cell) if isinstance(cell, int | Decimal) else None


def _same(computed: float, exact: Decimal) -> bool:
    """Whether a spreadsheet that computes this shows the exact value, to the picounit that a ledger keeps."""
    up, down = computed.as_integer_ratio()
    return round_half_even(up * PICO_PER_UNIT, down) == Fraction(exact) * PICO_PER_UNIT


def _said(cell: Cell) -> str:
    return "" if cell is None else str(cell)


def _words(text: str) -> str:
    """A person's words as a cell holds them: without controls, and no longer than a cell may be."""
    return "".join(letter if letter.isprintable() or letter == "\n" else " " for letter in text)[:TEXT_MAX]


def _letter(column: int) -> str:
    """The name of a column: A to Z, AA and on."""
    name = ""
    column += 1
    while column:
        column, rest = divmod(column - 1, 26)
        name = chr(ord("A") + rest) + name
    return name


def _draw_days(book: Any, sheet: Any, section: Section) -> None:
    """A chart beside the days: each provider's part of each day."""
    chart = book.add_chart({"type": "column", "subtype": "stacked"})
    first, last = _Sheet.HEADINGS_AT + 1, _Sheet.HEADINGS_AT + len(section.rows)
    for place, column in enumerate(range(2, section.columns.index("Total"))):
        colour = REST_COLOUR if section.columns[column] == "Others" else SERIES[place % len(SERIES)]
        chart.add_series(
            {
                "name": [sheet.name, _Sheet.HEADINGS_AT, column],
                "categories": [sheet.name, first, 0, last, 0],
                "values": [sheet.name, first, column, last, column],
                "fill": {"color": colour},
                "gap": 40,
            }
        )
    chart.set_title({"name": "Spend by day and provider", "name_font": {"size": 12}})
    chart.set_x_axis({"num_format": "d mmm", "date_axis": True})
    chart.set_y_axis({"major_gridlines": {"visible": True, "line": {"color": "#e3e7ec"}}, "num_format": "#,##0.##"})
    chart.set_legend({"position": "bottom"})
    chart.set_size({"width": 720, "height": 320})
    sheet.insert_chart(_Sheet.HEADINGS_AT + 1, len(section.columns) + 1, chart)


def _library() -> Any:
    try:
        return import_module("xlsxwriter")
    except ImportError as error:
        raise MissingExtra("a spreadsheet needs xlsxwriter: pip install 'outlay[xlsx]'") from error
