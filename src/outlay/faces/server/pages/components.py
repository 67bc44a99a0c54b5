"""What pages are made of: cells, tables, cards. A template draws each kind once; a page only says what is in them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, ClassVar, Final, Literal

import msgspec
from msgspec.structs import replace

from outlay.clock import to_datetime, to_instant
from outlay.money import Money, pico_to_decimal

NONE: Final = "(none)"
"""What stands for events without a value."""

SMALLEST: Final = Decimal("0.000001")
"""What is less is said to be less, for reading."""

Tone = Literal["", "good", "warn", "bad", "accent", "quiet"]


class Piece(msgspec.Struct, frozen=True):
    """Something that the macro `cell` draws by its kind."""

    kind: ClassVar[str] = "text"


class Link(Piece, frozen=True):
    """Words that lead somewhere."""

    text: str
    href: str
    note: str = ""
    kind: ClassVar[str] = "link"


class Amount(Piece, frozen=True):
    """Money: a few digits for reading, all of them on hover. `value` is exact decimal text."""

    value: str
    currency: str
    signed: bool = False
    href: str = ""
    kind: ClassVar[str] = "amount"

    @property
    def money(self) -> Money:
        """The amount itself."""
        return Money.of(self.value, self.currency)

    @property
    def shown(self) -> str:
        """For reading: cents; four or six decimals where the amount is small, so that columns stay aligned."""
        pico = self.money.pico
        number = pico_to_decimal(abs(pico))
        places = 2 if number >= 1 or not number else 4 if number >= Decimal("0.01") else 6
        sign = "−" if pico < 0 else ("+" if self.signed and pico > 0 else "")
        if number and number < SMALLEST:
            return f"{sign}<{self._symbolic(SMALLEST, 6)}"
        return sign + self._symbolic(number, places)

    @property
    def exact(self) -> str:
        """Every digit."""
        return str(self.money)

    def _symbolic(self, number: Decimal, places: int) -> str:
        return str(Money(0, self.currency)).replace("0.00", f"{_rounded(number, places):,f}")


class Count(Piece, frozen=True):
    """A number of things, grouped by thousands; `value` may be decimal text."""

    value: str
    unit: str = ""
    kind: ClassVar[str] = "count"

    @property
    def shown(self) -> str:
        """With its thousands apart."""
        return f"{Decimal(self.value).normalize():,f}"

    @property
    def short(self) -> str:
        """In thousands, millions or billions from 10,000 on."""
        number = Decimal(self.value)
        for size, letter in ((10**9, "B"), (10**6, "M"), (10**3, "k")):
            if abs(number) >= size and abs(number) >= 10_000:
                return f"{_rounded(number / size, 1 if abs(number) < 100 * size else 0):,f} {letter}"
        return self.shown if number == number.to_integral_value() else f"{_rounded(number, 1):,f}"


class Percent(Piece, frozen=True):
    """A share or a change in percent."""

    value: Decimal
    signed: bool = False
    tone: Tone = ""
    kind: ClassVar[str] = "percent"

    @property
    def shown(self) -> str:
        """To one decimal, none from 100 on."""
        places = 0 if abs(self.value) >= 100 else 1
        number = _rounded(abs(self.value), places)
        sign = "−" if self.value < 0 and number else ("+" if self.signed and number else "")
        return f"{sign}{number:,f} %"


class Bar(Piece, frozen=True):
    """A share of a whole as a bar: `parts` are (percent, tone), drawn one after another."""

    parts: tuple[tuple[Decimal, Tone], ...]
    label: str
    marks: tuple[Decimal, ...] = ()
    kind: ClassVar[str] = "bar"


class Moment(Piece, frozen=True):
    """A point in time, shown in a zone. `value` is ISO 8601."""

    value: str
    zone: str
    only_day: bool = False
    kind: ClassVar[str] = "moment"

    @property
    def local(self) -> datetime:
        """In the viewer's zone."""
        return to_datetime(to_instant(self.value), self.zone)

    @property
    def shown(self) -> str:
        """Day and minute."""
        local = self.local
        return f"{local.day} {local:%b %Y}" if self.only_day else f"{local.day} {local:%b, %H:%M}"

    @property
    def exact(self) -> str:
        """With its zone."""
        return f"{self.local:%Y-%m-%d %H:%M:%S} {self.zone}"


class Badge(Piece, frozen=True):
    """A word in a colour that says how things stand; the word says it too."""

    text: str
    tone: Tone = "quiet"
    kind: ClassVar[str] = "badge"


class Code(Piece, frozen=True):
    """An id or a command, as it is typed."""

    text: str
    kind: ClassVar[str] = "code"


class Several(Piece, frozen=True):
    """Pieces one under another, or side by side."""

    pieces: tuple[Any, ...]
    kind: ClassVar[str] = "several"


class Action(Piece, frozen=True):
    """A button that posts a form: `fields` go with it. `ask` is what a person must type, such as a reason."""

    label: str
    href: str
    fields: tuple[tuple[str, str], ...] = ()
    ask: str = ""
    tone: Tone = ""
    name: str = ""
    kind: ClassVar[str] = "action"


class Column(msgspec.Struct, frozen=True):
    """A column of a table. Figures stand right; `minor` ones are left out on a narrow screen."""

    title: str
    right: bool = False
    minor: bool = False


class Table(Piece, frozen=True, kw_only=True):
    """A table with a caption, or the words that say why it is empty."""

    caption: str
    columns: tuple[Column, ...]
    rows: Sequence[Sequence[Any]]
    total: Sequence[Any] | None = None
    empty: str = "Nothing here yet."
    csv: str = ""
    note: str = ""
    kind: ClassVar[str] = "table"


class Figure(Piece, frozen=True, kw_only=True):
    """One number that a page leads with."""

    label: str
    value: Any
    note: Any = ""
    change: Any = ""
    href: str = ""
    bar: Bar | None = None
    id: str = ""
    kind: ClassVar[str] = "figure"


class Figures(Piece, frozen=True):
    """The numbers that a page leads with, in a row."""

    items: Sequence[Any]
    kind: ClassVar[str] = "figures"


class Chart(Piece, frozen=True, kw_only=True):
    """A chart that is drawn when the page stands: `source` answers its specification, `label` says what it shows."""

    source: str
    label: str
    height: int = 260
    csv: str = ""
    kind: ClassVar[str] = "chart"


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """One of several states of a page, each of which is a link."""

    text: str
    href: str
    on: bool = False


class Choices(Piece, frozen=True):
    """States of a page, side by side."""

    label: str
    items: Sequence[Choice]
    kind: ClassVar[str] = "choices"


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """A field of a form. With `options` it is a list to choose from: (value, text)."""

    name: str
    label: str
    value: str = ""
    kind: str = "text"
    options: tuple[tuple[str, str], ...] = ()
    hint: str = ""
    required: bool = False


class Form(Piece, frozen=True, kw_only=True):
    """A form that changes something (POST), or asks for another view of a page (GET)."""

    action: str
    button: str
    label: str = ""
    fields: tuple[Field, ...] = ()
    hidden: tuple[tuple[str, str], ...] = ()
    method: Literal["post", "get"] = "post"
    kind: ClassVar[str] = "form"


class Chips(Piece, frozen=True):
    """Filters in force, each with a link that takes it away."""

    items: Sequence[tuple[str, str]]
    kind: ClassVar[str] = "chips"


class Notice(Piece, frozen=True):
    """A sentence that must be seen."""

    text: str
    tone: Tone = "accent"
    link: Link | None = None
    kind: ClassVar[str] = "notice"


class Prose(Piece, frozen=True):
    """Sentences."""

    text: str
    kind: ClassVar[str] = "prose"


class Facts(Piece, frozen=True):
    """Names and their values."""

    items: Sequence[tuple[str, Any]]
    kind: ClassVar[str] = "facts"


class Live(Piece, frozen=True):
    """Receipts as they come."""

    source: str
    kind: ClassVar[str] = "live"


class Fold(Piece, frozen=True):
    """What is shown when it is asked for."""

    title: str
    blocks: Sequence[Any]
    open: bool = False
    kind: ClassVar[str] = "fold"


class Card(Piece, frozen=True, kw_only=True):
    """A titled part of a page, `span` twelfths wide. With `part` its content comes when the page stands."""

    title: str
    blocks: Sequence[Any] = ()
    span: int = 12
    more: Link | None = None
    note: str = ""
    part: str = ""
    height: int = 0
    id: str = ""
    kind: ClassVar[str] = "card"


class Cards(Piece, frozen=True):
    """Cards side by side."""

    items: Sequence[Card]
    kind: ClassVar[str] = "cards"


def folded(table: Table, most: int = 20) -> list[Any]:
    """A long table as its first rows, and the others when they are asked for."""
    if len(table.rows) <= most + 3:
        return [table]
    rest = replace(table, rows=table.rows[most:], caption=f"{table.caption}, the others", csv="", note="", total=None)
    first = replace(table, rows=table.rows[:most])
    return [first, Fold(f"{len(rest.rows)} more", [rest])]


def columns(*titles: str) -> tuple[Column, ...]:
    """Columns by their titles: one that begins with `>` is a figure, with `~` a minor one, `>~` both."""
    return tuple(Column(title.lstrip(">~"), right=">" in title[:2], minor="~" in title[:2]) for title in titles)


def calls_said(count: int) -> str:
    """How many calls, in words."""
    return "1 call" if count == 1 else f"{count:,} calls"


def share(part: Decimal, whole: Decimal) -> Decimal:
    """A part in percent of a whole, 0 of nothing."""
    return part * 100 / whole if whole > 0 else Decimal(0)


def change_of(after: Decimal, before: Decimal, *, rise: Tone = "bad", fall: Tone = "good") -> Percent | str:
    """By how much something changed in percent; `new` where there was nothing before."""
    if before == 0:
        return "new" if after else ""
    value = (after - before) * 100 / before
    return Percent(value, signed=True, tone=rise if value > 0 else fall if value < 0 else "")


def filled(percent: Decimal) -> Tone:
    """The colour of a budget by how much of it is used."""
    return "bad" if percent >= 100 else "warn" if percent >= 80 else "accent"


def total_of(values: Iterable[str]) -> Decimal:
    """The exact sum of amounts that came as text."""
    return sum((Decimal(value) for value in values), Decimal(0))


def length_of(span: timedelta) -> str:
    """How long, for people: 340 ms, 12.5 s, 3 min 20 s, 2 h 5 min."""
    milliseconds = span // timedelta(milliseconds=1)
    if milliseconds < 1_000:
        return f"{milliseconds} ms"
    if milliseconds < 60_000:
        return f"{Decimal(milliseconds) / 1000:.1f} s"
    minutes, seconds = divmod(milliseconds // 1000, 60)
    if minutes < 60:
        return f"{minutes} min {seconds} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} days"


def _rounded(number: Decimal, places: int) -> Decimal:
    return number.quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_EVEN)
