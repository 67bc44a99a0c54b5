"""What the charts are put together from: places in time, amounts to draw beside the exact ones, axes, tooltips.

A place in time is the wall clock of the ledger's zone written as if it were UTC, drawn on a UTC scale: a reader in
another zone sees the ledger's days. An amount appears twice, `cost` as the number that places a mark (a float: a
place on a screen, never computed with) and `exact` as the words of the tooltip.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from outlay.clock import Instant, to_datetime, to_instant
from outlay.errors import InvalidInput
from outlay.faces.charts.style import REST_COLOUR, SERIES, config
from outlay.model import CostTable
from outlay.money import PICO_PER_UNIT, Money

Spec = dict[str, Any]
Row = dict[str, Any]

SCHEMA: Final = "https://vega.github.io/schema/vega-lite/v6.json"
NOTHING: Final = "Nothing was spent here."
_NOTHING: Final[Spec] = {
    "data": {"values": [{}]},
    "mark": {"type": "text", "style": "nothing", "text": NOTHING},
    "encoding": {"x": {"value": {"expr": "width / 2"}}, "y": {"value": {"expr": "height / 2"}}},
}

SERIES_MOST: Final = len(SERIES)
REST: Final = "(other)"
BAR_SHARE: Final = 0.82
_DAY: Final = timedelta(days=1)
_HOUR: Final = timedelta(hours=1)

STEP_WORDS: Final = {"hour": "Hour", "day": "Day", "week": "Week of", "month": "Month"}


def finished(
    body: Spec, *, title: str, subtitle: str, said: str, width: int, height: int, nothing: bool = False
) -> Spec:
    """A whole spec: `said` is its description for those who do not see it. With `nothing` to draw it says so."""
    if nothing:
        body, subtitle, said = _NOTHING, "", NOTHING
    if "layer" in body:
        # A layer with nothing to draw would only make a browser complain of its scale.
        body = {**body, "layer": [layer for layer in body["layer"] if layer.get("data") != {"values": []}]}
    named: Spec = {"text": title}
    if subtitle:
        named["subtitle"] = subtitle
    return {
        "$schema": SCHEMA,
        "description": f"{title}. {said}".strip(),
        "title": named,
        "width": width,
        "height": height,
        "autosize": {"type": "fit", "contains": "padding"},
        "padding": 14,
        **body,
        "config": config("light"),
    }


# --- places in time


def wall(instant: Instant, zone: str) -> datetime:
    """What a clock in the zone shows then, as if the zone were UTC."""
    return to_datetime(instant, zone).replace(tzinfo=UTC)


def place(at: datetime) -> str:
    """A wall clock's time as text that every reader of JSON takes for the same place on the scale."""
    return f"{at:%Y-%m-%dT%H:%M:%S}Z"


class Steps:
    """Where the steps of a series lie: hour, day, week or month, by their labels.

    Hours keep the offset of the first one, so that an hour which autumn repeats has a place of its own.
    """

    @classmethod
    def of(cls, table: CostTable) -> Steps:
        """Those of a table's first group. Raises InvalidInput `not_a_time_group`."""
        return cls(table.by[0] if table.by else "", [str(row.keys[0]) for row in table.rows], table.zone)

    def __init__(self, step: str, labels: Iterable[str], zone: str) -> None:
        """Raises InvalidInput `not_a_time_group` for a step that is none."""
        if step not in STEP_WORDS:
            raise InvalidInput(
                f"a chart over time is by hour, day, week or month first, not by {step[:40]!r}",
                code="not_a_time_group",
                field="by",
            )
        self.step = step
        self.labels = sorted(set(labels))
        first = self.labels[0] if step == "hour" and self.labels else None
        self._offset = to_datetime(to_instant(first, zone), zone).utcoffset() if first else None

    @property
    def places(self) -> list[datetime]:
        """When each step begins."""
        return [self.begin(label) for label in self.labels]

    @property
    def span(self) -> str:
        """From which step to which, for people."""
        if not self.labels:
            return "no time at all"
        first, last = (self.said(self.begin(label)) for label in (self.labels[0], self.labels[-1]))
        return f"{first} to {last}"

    def begin(self, label: str) -> datetime:
        """When the step of that label begins."""
        if self.step == "hour":
            return wall(to_instant(label), "UTC") + (self._offset or timedelta(0))
        if self.step == "week":
            year, _, week = label.partition("-W")
            found = date.fromisocalendar(int(year), int(week), 1)
        else:
            found = date.fromisoformat(f"{label}-01" if self.step == "month" else label)
        return datetime(found.year, found.month, found.day, tzinfo=UTC)

    def after(self, begin: datetime) -> datetime:
        """When the step that begins then ends."""
        if self.step == "month":
            return (begin + 31 * _DAY).replace(day=1)
        return begin + {"hour": _HOUR, "day": _DAY, "week": 7 * _DAY}[self.step]

    def bar(self, label: str) -> Row:
        """The place of a bar: it stands over the tick of its step's beginning."""
        begin = self.begin(label)
        half = (self.after(begin) - begin) * (BAR_SHARE / 2)
        return {"at": place(begin), "from": place(begin - half), "to": place(begin + half), "step": self.said(begin)}

    def said(self, begin: datetime) -> str:
        """The step for people."""
        if self.step == "hour":
            return f"{begin:%a %Y-%m-%d %H:%M}"
        return f"{begin:%B %Y}" if self.step == "month" else f"{begin:%a %Y-%m-%d}"


_TIME_LABEL: Final = {
    "hour": "utchours(datum.value) == 0 ? utcFormat(datum.value, '%-d %b') : utcFormat(datum.value, '%H:%M')",
    "day": "utcFormat(datum.value, '%-d %b')",
    "week": "utcFormat(datum.value, '%-d %b')",
    "month": "utcFormat(datum.value, '%b %Y')",
}
LABELS_MOST: Final = 9
_EVERY: Final = {
    "hour": (1, 2, 3, 6, 12, 24),
    "day": (1, 2, 3, 7, 14, 28, 56),
    "week": (1, 2, 4, 8, 13, 26),
    "month": (1, 2, 3, 6, 12, 24),
}
"""At every how many steps a label may stand."""


def moment(at: Instant, zone: str, step: str) -> Row:
    """The place of a point, and its time for people."""
    shown = wall(at, zone)
    return {"at": place(shown), "step": f"{shown:%a %Y-%m-%d %H:%M}" if step == "hour" else f"{shown:%a %Y-%m-%d}"}


def bar_axis(steps: Steps) -> Spec:
    """The x of bars, from `from` to `to`."""
    return {
        "x": {**time_axis("from", steps.step, steps.places), "timeUnit": "binnedutcyearmonthdatehoursminutes"},
        "x2": {"field": "to"},
    }


def time_axis(field: str, step: str, places: Sequence[datetime], domain: Sequence[str] | None = None) -> Spec:
    """A time axis along x with a label at some of the `places`; with `domain` it reaches from there to there."""
    scale: Spec = {"type": "utc", "nice": False}
    if domain is not None:
        scale["domain"] = list(domain)
    axis: Spec = {"labelExpr": _TIME_LABEL[step], "values": [_milliseconds(at) for at in labelled(places, step)]}
    return {"field": field, "type": "temporal", "scale": scale, "axis": axis, "title": None}


def labelled(places: Sequence[datetime], step: str) -> list[datetime]:
    """Which of the places get a label: at most nine, at round hours, on Mondays, else every so many from the last."""
    every = next((one for one in _EVERY[step] if len(places) <= one * LABELS_MOST), len(places))
    if step == "hour" and every <= _EVERY["hour"][-1]:
        return [at for at in places if at.hour % every == 0]
    if step == "day" and every == 7:
        return [at for at in places if at.weekday() == 0]
    return list(places[::-1][::every])[::-1]


def _milliseconds(at: datetime) -> int:
    return int(at.timestamp()) * 1000


# --- amounts


def drawn(pico: int) -> float:
    """Where an amount stands on a scale: the nearest number that a screen can place."""
    return pico / PICO_PER_UNIT


def amount(pico: int, currency: str) -> Row:
    """The two fields of an amount."""
    return {"cost": drawn(pico), "exact": str(Money(pico, currency))}


def money_axis(field: str, currency: str, **more: Any) -> Spec:
    """An axis of money along y."""
    axis = {"labelExpr": money_label(currency), "tickCount": 5}
    return {"field": field, "type": "quantitative", "axis": axis, "title": None, **more}


def money_label(currency: str) -> str:
    """The expression that writes an axis' amounts: $0.005, $0.50, $1,200, $1.2M."""
    before, _, after = (json.dumps(part) for part in str(Money(0, currency)).partition("0.00"))
    size = "abs(datum.value)"
    few = f"abs({size} * 100 - round({size} * 100)) < 1e-6"
    digits = (
        f"{size} >= 1e5 ? replace(format({size}, '.3~s'), 'G', 'B') : "
        f"{size} == round({size}) ? format({size}, ',.0f') : "
        f"{few} ? format({size}, ',.2f') : format({size}, ',.6~f')"
    )
    return f"(datum.value < 0 ? '\u2212' : '') + {before} + ({digits}) + {after}"


def tooltip(*named: tuple[str, str]) -> list[Spec]:
    """What is shown over a mark: (field, title), all of it text."""
    return [{"field": field, "type": "nominal", "title": title} for field, title in named]


def hover(*named: tuple[str, str], name: str = "near") -> Spec:
    """A layer of points that show only under a pointer, with their tooltip."""
    seen = {"condition": {"param": name, "empty": False, "value": 1}, "value": 0}
    select = {"type": "point", "on": "pointerover", "nearest": True, "clear": "pointerout"}
    return {
        "params": [{"name": name, "select": select}],
        "mark": {"type": "point", "style": "point", "filled": True},
        "encoding": {"opacity": seen, "tooltip": tooltip(*named)},
    }


# --- series

_PLAIN: Final = {
    **{chr(code): " " for code in (*range(32), *range(127, 160), 0x2028, 0x2029)},
    **{chr(code): "" for code in (0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))},
}
"""Controls and separators, which no drawing shows, and marks that turn the direction of what follows."""

_LEGEND_PIXELS: Final = 610
_LETTER_PIXELS: Final = 7
_ENTRY_PIXELS_MOST: Final = 170


def colours(names: Sequence[str]) -> Spec:
    """The colours of series in this order; what is left over is grey."""
    palette = iter(SERIES)
    tones = [REST_COLOUR if name == REST else next(palette) for name in names]
    return {"domain": list(names), "range": tones}


def legend_columns(names: Sequence[str]) -> int:
    """How many entries of a legend stand side by side."""
    longest = max((len(name) for name in names), default=1)
    return max(1, min(len(names), _LEGEND_PIXELS // (min(_LETTER_PIXELS * longest, _ENTRY_PIXELS_MOST) + 36)))


def word(by: str, key: str | None) -> str:
    """A value of a dimension for people."""
    return f"(no {by})" if key is None else plain(key)


def plain(text: str) -> str:
    """A person's words on one line, without what would turn the words around them."""
    return " ".join("".join(_PLAIN.get(letter, letter) for letter in text).split())


def heading(name: str) -> str:
    """A dimension's or meter's name as a heading."""
    return name[:1].upper() + name[1:].replace("_", " ")
