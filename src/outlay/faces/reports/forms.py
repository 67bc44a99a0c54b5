"""A report as Markdown, CSV and HTML. Words of users are escaped: a name must not become markup."""

from __future__ import annotations

import csv
import html
import io
from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from outlay.analytics.report import Cell, Report, Section
from outlay.money import Money, format_pico

BAR_PIXELS: Final = 120
_BAD_START: Final = ("=", "+", "-", "@", "\t", "\r")
_STYLE: Final = "border-bottom:1px solid #ddd;padding:4px 10px"


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


def html_text(report: Report) -> str:
    """The report as one HTML page for e-mail: styles in place, bars drawn by cells, nothing fetched from anywhere."""
    parts = [
        '<!doctype html><html><head><meta charset="utf-8"><title>',
        html.escape(report.title),
        '</title></head><body style="font-family:sans-serif;color:#222;max-width:960px">',
        f"<h1>{html.escape(report.title)}</h1>",
        f'<p style="font-size:150%"><b>{html.escape(str(report.total))}</b>{html.escape(still(report))}</p>',
    ]
    for section in report.sections:
        parts += _html_section(section)
    return "".join([*parts, "</body></html>"])


def _html_section(section: Section) -> list[str]:
    drawn = section.columns.index("% of total") if "% of total" in section.columns else None
    parts = [f"<h2>{html.escape(section.title)}</h2>", '<table style="border-collapse:collapse">', "<tr>"]
    parts += [_html_cell("th", column, at >= section.texts) for at, column in enumerate(section.columns)]
    parts.append("</tr>")
    for row in section.rows:
        parts.append("<tr>")
        parts += [_html_cell("td", said(cell), at >= section.texts) for at, cell in enumerate(row)]
        if drawn is not None:
            parts.append(_html_bar(row[drawn]))
        parts.append("</tr>")
    if section.total is not None:
        cells = [_html_cell("th", said(cell), at >= section.texts) for at, cell in enumerate(section.total)]
        parts += ["<tr>", *cells, "</tr>"]
    parts.append("</table>")
    if section.note:
        parts.append(f"<p>{html.escape(section.note)}</p>")
    return parts


def _html_cell(tag: str, text: str, right: bool) -> str:
    side = "right" if right else "left"
    return f'<{tag} style="{_STYLE};text-align:{side}">{html.escape(text)}</{tag}>'


def _html_bar(share: Cell) -> str:
    """A share of the total as a bar that every mail program draws: a cell with a background."""
    percent = min(max(share, Decimal(0)), Decimal(100)) if isinstance(share, Decimal) else Decimal(0)
    pixels = int(percent * BAR_PIXELS / 100)
    return f'<td><div style="background:#3367d6;height:10px;width:{pixels}px"></div></td>'


def still(report: Report) -> str:
    """What is said after a total of a period that is not over."""
    return "" if report.whole else ", and the period still runs"
