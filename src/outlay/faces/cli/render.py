"""One table, four ways out: a Rich table on a terminal, aligned plain text in a pipe, CSV and JSON exact.

For people money has sensible digits; in CSV and JSON it is the exact decimal text.
"""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from outlay.money import Money

if TYPE_CHECKING:
    from rich.console import Console

BAR_CELLS: Final = 20
_EIGHTHS: Final = " ▏▎▍▌▋▊▉"
_SPARKS: Final = "▁▂▃▄▅▆▇█"


class Form(StrEnum):
    """How an answer is written."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"


class Column(NamedTuple):
    """A column: its name in CSV and JSON, its heading for people, and whether it stands to the right.

    A column `for_people` only (a bar) is left out of CSV and JSON; one that is not `when_empty` is left out for
    people where all its cells are zero or empty.
    """

    name: str
    heading: str
    right: bool = False
    for_people: bool = False
    when_empty: bool = True


class Bar(NamedTuple):
    """A share between 0 and 1, drawn."""

    share: float


class Named(NamedTuple):
    """A value that people see in other words, such as `(no user)` for None."""

    value: str | Money | None
    shown: str


Cell = str | int | Decimal | Money | Bar | Named | Mapping[str, Any] | Sequence[Any] | None


class Table(NamedTuple):
    """Rows under columns. `footer` is a last row for people; `facts` goes into the JSON beside the rows."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    footer: Sequence[Cell] | None = None
    title: str = ""
    note: str = ""
    facts: Mapping[str, Any] | None = None


def show(table: Table, form: Form) -> None:
    """Write a table to standard output."""
    if form is Form.JSON:
        write_json({**(table.facts or {}), "rows": list(as_dicts(table))})
    elif form is Form.CSV:
        sys.stdout.write(csv_text(table))
    elif sys.stdout.isatty():
        from rich.console import Console

        print_rich(table, Console())
    else:
        sys.stdout.write(plain_text(table))


def json_text(value: object) -> str:
    """A value as indented JSON; decimals and money as exact decimal text, so that nothing is rounded."""
    return msgspec.json.format(msgspec.json.encode(_plain_value(value)), indent=2).decode() + "\n"


def write_json(value: object) -> None:
    """Write a value as indented JSON."""
    sys.stdout.write(json_text(value))


def as_dicts(table: Table) -> Iterator[dict[str, Any]]:
    """One dict a row for JSON, without what is drawn for people only."""
    for row in table.rows:
        yield {
            column.name: _plain_value(cell)
            for column, cell in zip(table.columns, row, strict=True)
            if not column.for_people
        }


def _plain_value(value: object) -> object:
    if isinstance(value, Named):
        value = value.value
    if isinstance(value, Money | Decimal):
        return exact(value)
    if isinstance(value, Mapping):
        return {name: _plain_value(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain_value(each) for each in value]
    return value


def csv_text(table: Table) -> str:
    """The rows as CSV with a header; amounts exact, nothing grouped, no footer."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    kept = [at for at, column in enumerate(table.columns) if not column.for_people]
    writer.writerow([table.columns[at].name for at in kept])
    for row in table.rows:
        writer.writerow([_csv_cell(row[at]) for at in kept])
    return out.getvalue()


def _csv_cell(cell: Cell) -> str:
    if isinstance(cell, Named):
        cell = cell.value
    if cell is None:
        return ""
    if isinstance(cell, Money | Decimal):
        return exact(cell)
    if isinstance(cell, Mapping):
        return msgspec.json.encode(cell).decode()
    # A spreadsheet would run a cell that begins with one of these as a formula.
    text = str(cell)
    return f"'{text}" if text[:1] in ("=", "+", "@", "\t", "\r") else text


def exact(value: Money | Decimal) -> str:
    """The whole amount as decimal text, without a sign of currency."""
    return format(value.amount if isinstance(value, Money) else value, "f")


def for_people(cell: Cell) -> str:
    """A cell as a person reads it."""
    if cell is None:
        return ""
    if isinstance(cell, Money):
        return cell.digits()
    if isinstance(cell, Bar):
        return bar(cell.share)
    if isinstance(cell, Named):
        return printable(cell.shown)
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, int):
        return f"{cell:,}"
    if isinstance(cell, Decimal):
        return f"{cell.normalize():,f}"
    if isinstance(cell, Mapping):
        return ", ".join(f"{name} {for_people(value)}" for name, value in cell.items())
    return printable(str(cell))


def printable(text: str) -> str:
    """Text of others without control signs: a job's name must not steer a terminal."""
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else "�" for sign in text)


def bar(share: float, cells: int = BAR_CELLS) -> str:
    """A bar of up to `cells` signs, in eighths; a share above zero shows at least an eighth."""
    eighths = min(cells * 8, max(int(share > 0), round(share * cells * 8)))
    whole, rest = divmod(eighths, 8)
    return "█" * whole + (_EIGHTHS[rest] if rest else "")


def spark(values: Sequence[int], most: int | None = None) -> str:
    """A line of small columns, one a value; the highest is full, or whatever reaches `most`."""
    top = max(values, default=0) if most is None else most
    if top <= 0:
        return _SPARKS[0] * len(values)
    return "".join(_SPARKS[min(max(0, value), top) * (len(_SPARKS) - 1) // top] for value in values)


def columns_for_people(table: Table) -> list[int]:
    """Which columns people see: those not empty throughout, unless they are to be seen when empty."""
    return [
        at
        for at, column in enumerate(table.columns)
        if column.when_empty or any(row[at] not in (None, 0, "") for row in table.rows)
    ]


def texts_for_people(table: Table, kept: Sequence[int]) -> list[list[str]]:
    """The rows, and the footer after them, as texts; amounts of a column stand with their points in line."""
    rows = [*table.rows, *([] if table.footer is None else [table.footer])]
    by_column = [_column_texts([row[at] for row in rows]) for at in kept]
    return [list(texts) for texts in zip(*by_column, strict=True)]


def _column_texts(cells: Sequence[Cell]) -> list[str]:
    texts = [for_people(cell) for cell in cells]
    if not any(isinstance(cell, Money) for cell in cells):
        return texts
    tails = [len(text) - text.find(".") if "." in text else 0 for text in texts]
    longest = max(tails)
    return [
        text if isinstance(cell, Named) or not text else text + " " * (longest - tail)
        for cell, text, tail in zip(cells, texts, tails, strict=True)
    ]


def plain_text(table: Table) -> str:
    """The table as aligned text for a pipe or a mail."""
    kept = columns_for_people(table)
    columns = [table.columns[at] for at in kept]
    headings = [column.heading for column in columns]
    lines = [*([headings] if any(headings) else []), *texts_for_people(table, kept)]
    widths = [max((len(line[at]) for line in lines), default=0) for at in range(len(kept))]
    out = [table.title] if table.title else []
    for line in lines:
        cells = [
            cell.rjust(width) if column.right else cell.ljust(width)
            for cell, width, column in zip(line, widths, columns, strict=True)
        ]
        out.append("  ".join(cells).rstrip())
    if table.note:
        out.append(table.note)
    return "\n".join(out) + "\n"


def print_rich(table: Table, console: Console) -> None:
    """The table on a terminal, through Rich."""
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    kept = columns_for_people(table)
    drawn = RichTable(
        title=table.title or None,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        show_header=any(table.columns[at].heading for at in kept),
        show_footer=table.footer is not None,
        footer_style="bold",
        pad_edge=False,
    )
    texts = texts_for_people(table, kept)
    foot = texts.pop() if table.footer is not None else [""] * len(kept)
    for place, at in enumerate(kept):
        column = table.columns[at]
        # Figures are never cut; a name that does not fit is folded, so that it can still be read whole.
        drawn.add_column(
            Text(column.heading),
            Text(foot[place]),
            justify="right" if column.right else "left",
            no_wrap=column.right or column.for_people,
            overflow="fold",
            style="cyan" if column.for_people else "",
        )
    for row in texts:
        drawn.add_row(*map(Text, row))
    console.print(drawn)
    if table.note:
        console.print(Text(table.note), style="dim")


def pairs(title: str, facts: Iterable[tuple[str, Cell]]) -> Table:
    """A table of name and value."""
    return Table((Column("name", ""), Column("value", "")), [[name, value] for name, value in facts], title=title)
