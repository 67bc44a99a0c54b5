"""What can be done to a whole chart: another size, another theme, people's words on its time axis."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

import msgspec

from outlay.clock import Instant
from outlay.faces.charts.parts import Spec, place, plain, tooltip, wall
from outlay.faces.charts.style import Theme, config

WORDS_MOST: Final = 24
WORDS_PIXELS: Final = 22
_MARKED: Final = ("mark", "encoding", "params")


class Note(msgspec.Struct, frozen=True):
    """Words of a person about an instant: a release, a campaign, an outage."""

    at: Instant
    text: str


def sized(spec: Spec, width: int | Literal["container"], height: int | None = None) -> Spec:
    """The same chart in another size, in pixels; `container` takes the width of the element around it."""
    return {**spec, "width": width, "height": spec["height"] if height is None else height}


def themed(spec: Spec, theme: Theme) -> Spec:
    """The same chart for a light or a dark page."""
    return {**spec, "config": config(theme)}


def with_notes(spec: Spec, notes: Iterable[Note], zone: str) -> Spec:
    """A chart over time with each note as a line at its instant, its first words above and all of it on hover."""
    rows = [{"at": place(wall(note.at, zone)), "note": plain(note.text), "word": _short(note.text)} for note in notes]
    if not rows or spec.get("mark", {}).get("style") == "nothing":
        return spec
    layers = spec["layer"] if "layer" in spec else [{key: spec[key] for key in _MARKED if key in spec}]
    encoding = {
        "x": {"field": "at", "type": "temporal", "scale": {"type": "utc"}, "title": None},
        "tooltip": tooltip(("note", "Note")),
    }
    text = {"field": "word", "type": "nominal"}
    over = {
        "data": {"values": rows},
        "encoding": encoding,
        "layer": [
            {"mark": {"type": "rule", "style": "note"}},
            {"mark": {"type": "text", "style": "note_word", "y": 0}, "encoding": {"text": text}},
        ],
    }
    if "color" in layers[0].get("encoding", {}):
        # The words stand between the plot and its legend.
        colour = layers[0]["encoding"]["color"]
        legend = {**(colour.get("legend") or {}), "offset": WORDS_PIXELS}
        encoded = {**layers[0]["encoding"], "color": {**colour, "legend": legend}}
        layers = [{**layers[0], "encoding": encoded}, *layers[1:]]
    shared = {key: value for key, value in spec.items() if "layer" in spec or key not in _MARKED}
    return {**shared, "layer": [*layers, over]}


def _short(text: str) -> str:
    line = plain(text)
    return line if len(line) <= WORDS_MOST else f"{line[: WORDS_MOST - 1]}…"
