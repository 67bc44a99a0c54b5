"""A report as a mail: tables of 600 pixels that every mail program draws, pictures inside, and plain text beside.

Pictures are parts of the mail that its HTML names by `cid:`. Gmail and Outlook drop images in `data:` addresses, and
an address on the web would have to be public and would tell who reads when.
"""

from __future__ import annotations

import html
from base64 import b64encode
from collections.abc import Iterator, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Final

from msgspec.structs import replace

from outlay.analytics.report import Cell, Report, Section
from outlay.budgets.alert_rules import Severity
from outlay.budgets.alerts import Enclosure, Message
from outlay.faces import charts
from outlay.faces.reports.forms import said, still
from outlay.faces.reports.pictures import SCALE, WIDTH, Picture, pictures
from outlay.money import Money, format_pico

PICTURES_MOST: Final = 2
"""A mail shows the days and the dearest; more belongs on a page."""

BAR_PIXELS: Final = 70
SIGNIFICANT: Final = 3
"""How many digits of a small amount are shown."""

DAILY_KEPT: Final = ("Date", "Total", "Finished", "Cost of one", "Notes")
"""Of the daily table's columns: by provider it is the picture's."""

_INK, _SOFT, _LINE, _BACK, _ACCENT = "#1b2330", "#5b6675", "#e3e7ec", "#f3f5f8", charts.ACCENT
_OVER, _GOOD = "#c8321f", "#157a3c"
_FONT: Final = "font-family:'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif"
_CELL: Final = f"padding:6px 8px 6px 0;border-bottom:1px solid {_LINE}"
_TABLE: Final = '<table role="presentation" cellpadding="0" cellspacing="0" border="0"'
_AT_HEAD: Final = ("Total", "Change", "Change in percent", "Calls", "Failed calls")
_SHARE: Final = ", in percent"


def message(report: Report, *, severity: Severity = Severity.INFO, link: str = "", key: str = "") -> Message:
    """The report as a message: title, plain text, HTML, and the pictures that it shows.

    Without the extra `charts` there are no pictures, and the bars in the tables are all that is drawn.
    """
    shown = [(one, charts.png(one.spec, scale=SCALE)) for one in _drawable(pictures(report)[:PICTURES_MOST])]
    return Message(
        title=f"{report.title}: {_short(report.total)}",
        body=plain(report, link),
        severity=severity,
        html=html_text(report, [picture for picture, _ in shown], link),
        files=tuple(Enclosure(name=_file(one), kind="image/png", body=png, cid=_file(one)) for one, png in shown),
        key=key,
    )


def _drawable(wanted: Sequence[Picture]) -> Sequence[Picture]:
    """The pictures, none where what draws them is not installed."""
    return wanted if charts.can_draw() else ()


def _file(picture: Picture) -> str:
    return f"{picture.name}.png"


def page(report: Report) -> str:
    """The same as one page for a browser, its pictures drawn in it."""
    drawn = [(one, charts.svg(one.spec)) for one in _drawable(pictures(report)[:PICTURES_MOST])]
    found = html_text(report, [one for one, _ in drawn])
    for one, drawing in drawn:
        address = f"data:image/svg+xml;base64,{b64encode(drawing.encode()).decode()}"
        found = found.replace(f'src="cid:{_file(one)}"', f'src="{address}"')
    return found


# --- plain text


def plain(report: Report, link: str = "") -> str:
    """The report for those who read text: every table, its columns aligned."""
    parts = [
        report.title,
        "=" * len(report.title),
        "",
        f"Total {format_pico(report.total.pico, report.total.currency)}{still(report)}",
    ]
    for section in map(_for_mail, report.sections):
        rows = [[_short(cell) for cell in row] for row in section.rows]
        if section.total is not None:
            rows.append([_short(cell) for cell in section.total])
        parts += ["", section.title, "-" * len(section.title), *_aligned(section, rows)]
        if section.note:
            parts.append(section.note)
    return "\n".join([*parts, *(["", link] if link else [])]) + "\n"


def _aligned(section: Section, rows: Sequence[Sequence[str]]) -> Iterator[str]:
    lines = [list(section.columns), *rows] if any(section.columns[: section.texts]) else list(rows)
    widths = [max(len(line[at]) for line in lines) for at in range(len(section.columns))] if lines else []
    for line in lines:
        cells = [
            cell.ljust(width) if _worded(section, at) else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()


# --- HTML


def html_text(report: Report, shown: Sequence[Picture] = (), link: str = "") -> str:
    """The report as the HTML of a mail; `shown` are the pictures that come with it."""
    title = html.escape(report.title)
    blocks = [_head(report), *_key_figures(report), *(_picture(one) for one in shown)]
    for section in map(_for_mail, report.sections):
        blocks += _section(section)
    blocks.append(_foot(report, link))
    rows = "\n".join(f'<tr><td style="padding:0 24px">{block}</td></tr>' for block in blocks)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<meta name="color-scheme" content="light"><title>{title}</title></head>\n'
        f'<body style="margin:0;padding:0;background:{_BACK}">\n'
        f'{_TABLE} width="100%" style="background:{_BACK}"><tr><td align="center" style="padding:24px 8px">\n'
        f'{_TABLE} width="{WIDTH + 48}" style="width:{WIDTH + 48}px;max-width:100%;background:#ffffff;{_FONT};'
        f'color:{_INK};font-size:14px;line-height:20px;border:1px solid {_LINE};border-radius:8px">\n'
        f"{rows}\n</table>\n</td></tr></table>\n</body></html>\n"
    )


def _head(report: Report) -> str:
    return (
        f'<p style="margin:28px 0 4px;font-size:13px;color:{_SOFT}">{html.escape(report.title)}'
        f"{html.escape(still(report))}</p>"
        f'<p style="margin:0 0 16px;font-size:34px;line-height:40px;font-weight:600">{_figure(report.total)}</p>'
    )


def _key_figures(report: Report) -> list[str]:
    """The change, the calls and those that failed, side by side; the other figures of the summary below them."""
    summary = next((one for one in report.sections if one.name == "summary"), None)
    if summary is None:
        return []
    values = {str(row[0]): row[1] for row in summary.rows}
    change, percent = values.get("Change"), values.get("Change in percent")
    before = next((name for name in values if name.startswith("Before")), "Before")
    cells = [
        (f"against {before.removeprefix('Before').strip(' ()') or 'before'}", _change(change, percent)),
        ("calls", _figure(values.get("Calls"))),
        ("failed calls", _figure(values.get("Failed calls"))),
    ]
    row = "".join(
        f'<td style="padding:10px 24px 10px 0;vertical-align:top"><div style="font-size:18px;font-weight:600">'
        f'{figure}</div><div style="font-size:12px;color:{_SOFT}">{html.escape(name)}</div></td>'
        for name, figure in cells
    )
    lines = f"border-top:1px solid {_LINE};border-bottom:1px solid {_LINE}"
    return [f'{_TABLE} style="{lines}" width="100%"><tr>{row}</tr></table>']


def _change(change: Cell, percent: Cell) -> str:
    """A change with its sign and colour: dearer is red, cheaper is green."""
    if not isinstance(change, Money):
        return _figure(change)
    colour = _OVER if change.pico > 0 else _GOOD if change.pico < 0 else _INK
    share = "" if percent is None else f" ({_short(percent)} %)"
    sign = "+" if change.pico > 0 else ""
    return f'<span style="color:{colour}">{sign}{_figure(change)}{html.escape(share)}</span>'


def _picture(picture: Picture) -> str:
    width, height = WIDTH, round(WIDTH * picture.spec["height"] / picture.spec["width"])
    return (
        f'<img src="cid:{_file(picture)}" width="{width}" height="{height}" alt="{html.escape(picture.said)}" '
        f'style="display:block;width:100%;max-width:{width}px;height:auto;border:0;margin:20px 0 4px">'
    )


def _section(section: Section) -> Iterator[str]:
    """A table with its heading; amounts are rounded for the eye and exact under the pointer."""
    title = html.escape(section.title)
    yield f'<h2 style="margin:28px 0 6px;font-size:16px;line-height:22px;font-weight:600">{title}</h2>'
    parts = [f'{_TABLE} width="100%" style="border-collapse:collapse;font-size:13px">']
    if any(section.columns[: section.texts]):
        parts.append("<tr>" + "".join(_heading(section, at) for at in range(len(section.columns))) + "</tr>")
    parts += (
        "<tr>" + "".join(_cell(section, at, cell) for at, cell in enumerate(row)) + "</tr>" for row in section.rows
    )
    if section.total is not None:
        cells = (_cell(section, at, cell, strong=True) for at, cell in enumerate(section.total))
        parts.append("<tr>" + "".join(cells) + "</tr>")
    yield "".join([*parts, "</table>"])
    if section.note:
        yield f'<p style="margin:6px 0 0;font-size:12px;color:{_SOFT}">{html.escape(section.note)}</p>'


def _heading(section: Section, at: int) -> str:
    name = html.escape(section.columns[at])
    return f'<th {_side(section, at)} style="{_CELL};color:{_SOFT};font-weight:normal;font-size:12px">{name}</th>'


def _cell(section: Section, at: int, cell: Cell, *, strong: bool = False) -> str:
    column = section.columns[at]
    weight = ";font-weight:600" if strong else ""
    if column == "% of total" and isinstance(cell, Decimal) and not strong:
        shown = _bar(cell)
    elif column == "Change":
        shown = _change(cell, None)
    else:
        shown = _figure(cell)
    return f'<td {_side(section, at)} style="{_CELL}{weight}">{shown}</td>'


def _side(section: Section, at: int) -> str:
    return 'align="left"' if _worded(section, at) else 'align="right" nowrap'


def _worded(section: Section, at: int) -> bool:
    """Whether a column holds words: they begin at its left."""
    cells = [row[at] for row in section.rows]
    return at < section.texts or (any(cells) and all(isinstance(cell, str | None) for cell in cells))


def _bar(share: Decimal) -> str:
    """A share as a bar beside its figure: a cell with a background is drawn by every mail program."""
    pixels = round(Fraction(min(max(share, Decimal(0)), Decimal(100))) * BAR_PIXELS / 100)
    bar = f'<td width="{pixels}" bgcolor="{_ACCENT}" style="font-size:9px;line-height:10px">&nbsp;</td>'
    rest = f'<td width="{BAR_PIXELS - pixels}"></td><td width="42" align="right">{html.escape(_short(share))}</td>'
    return f'{_TABLE} align="right" style="font-size:13px"><tr>{bar if pixels else ""}{rest}</tr></table>'


def _foot(report: Report, link: str) -> str:
    more = f' <a href="{html.escape(link)}" style="color:{_ACCENT}">Open it in Outlay</a>.' if link else ""
    return (
        f'<p style="margin:28px 0 24px;font-size:12px;line-height:18px;color:{_SOFT}">'
        f"Days are those of {html.escape(report.zone)}. Amounts are rounded here, exact in the ledger.{more}</p>"
    )


# --- shared


def _for_mail(section: Section) -> Section:
    """A table as narrow as a mail: of the days their sums, of the summary what does not stand at the head."""
    if section.name == "summary":
        return replace(section, rows=tuple(_rest_of_summary(section)), columns=("", ""))
    if section.name != "daily":
        return section
    named = [section.columns.index(name) for name in DAILY_KEPT if name in section.columns]
    kept = [at for at in named if any(row[at] for row in section.rows)]
    return replace(
        section,
        texts=1,
        columns=tuple(section.columns[at] for at in kept),
        rows=tuple(tuple(row[at] for at in kept) for row in section.rows),
        total=None if section.total is None else tuple(section.total[at] for at in kept),
    )


def _rest_of_summary(section: Section) -> Iterator[tuple[Cell, ...]]:
    """What else a summary says, each amount with its share in one line."""
    values = {str(row[0]): row[1] for row in section.rows}
    for name, cell in values.items():
        if name in _AT_HEAD or name.endswith(_SHARE):
            continue
        share = values.get(name + _SHARE)
        yield (name, cell if share is None else f"{_short(cell)} ({_short(share)} %)")


def _figure(cell: Cell) -> str:
    """A cell as HTML, the exact amount under the pointer where it is rounded."""
    shown = html.escape(_short(cell))
    if isinstance(cell, Money) and str(cell) != _short(cell):
        return f'<span title="{html.escape(str(cell))}">{shown}</span>'
    return shown


def _short(cell: Cell) -> str:
    return cell.digits(SIGNIFICANT) if isinstance(cell, Money) else said(cell)
