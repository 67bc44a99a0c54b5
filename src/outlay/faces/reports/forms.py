"""A report as Markdown and CSV. Words of users are escaped: a name must not become markup."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from outlay.analytics.report import Cell, Report
from outlay.money import Money, format_pico

_BAD_START: Final = ("=", "+", "-", "@", "\t", "\r")


def said(cell: Cell) -> str:
    """A cell for people."""
    if cell is None:
        return ""
    if isinstance(cell, int):
        return f"{cell:,}"
    return str(cell)


def markdown(report: Report) -> str:
    """The report as Markdown, its tables aligned by their renderer."""
    total = format_pico(report.total.pico, report.total.currency)
    parts = [f"# {_marked(report.title)}", "", f"Total **{total}**{still(report)}"]
    for section in report.sections:
        parts += ["", f"## {_marked(section.title)}", "", _markdown_row(section.columns)]
        parts.append(_markdown_row(["---" if at < section.texts else "---:" for at in range(len(section.columns))]))
        parts += [_markdown_row(list(map(said, row))) for row in section.rows]
        if section.total is not None:
            parts.append(_markdown_row([f"**{said(cell)}**" if cell else "" for cell in section.total]))
        if section.note:
            parts += ["", _marked(section.note)]
    return "\n".join(parts) + "\n"


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell if cell.startswith(("---", "**")) else _marked(cell) for cell in cells) + " |"


def _marked(text: str) -> str:
    escaped = "".join(f"\\{letter}" if letter in "\\`*_{}[]<>|#" else letter for letter in text)
    return " ".join(escaped.split())


def csv_text(report: Report) -> str:
    """Every figure as one row: section, row, column, exact value. Words that a spreadsheet would run get a quote."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("section", "row", "column", "value"))
    for section in report.sections:
        rows = [*section.rows, *([section.total] if section.total else [])]
        for row in rows:
            name = " ".join(said(cell) for cell in row[: section.texts] if cell not in (None, ""))
            for column, cell in list(zip(section.columns, row, strict=True))[section.texts :]:
                if cell is not None:
                    writer.writerow((section.name, _inert(name), _inert(column), exact(cell)))
    return out.getvalue()


def exact(cell: Cell) -> str:
    """A figure without rounding."""
    if isinstance(cell, Money):
        return format(cell.amount, "f")
    return format(cell, "f") if isinstance(cell, Decimal) else _inert(str(cell))


def _inert(text: str) -> str:
    return f"'{text}" if text.startswith(_BAD_START) else text


def still(report: Report) -> str:
    """What is said after a total of a period that is not over."""
    return "" if report.whole else ", and the period still runs"
