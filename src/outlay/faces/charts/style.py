"""How charts look: one set of series colours for light and dark pages, one accent, calm type, and two themes.

A spec names no colour but those of the series, which stand out from both backgrounds by 3:1 or more and can be told
apart by people who do not see red, green or blue. All else is named styles, so that a theme is a config to be
swapped, in Python by `themed` and in a browser by vega-embed's option `config`.
"""

from __future__ import annotations

from typing import Any, Final, Literal

Theme = Literal["light", "dark"]

SERIES: Final = (
    "#2f6fde",
    "#f2661e",
    "#1fa64f",
    "#c40562",
    "#02727a",
    "#aa35b4",
    "#ad4608",
    "#3393fd",
)
"""The colours of series in order, the dearest first."""

REST_COLOUR: Final = "#7c8490"
"""What is left over after the named series: no colour, so that it draws no eye."""

ACCENT: Final = SERIES[0]
LESS: Final = SERIES[4]

FONT: Final = '"Segoe UI", Roboto, "Helvetica Neue", "Liberation Sans", Arial, sans-serif'
"""Faces whose digits are all equally wide by themselves, for a canvas knows no tabular figures."""

_PAPER: Final = {
    "light": {"back": "#ffffff", "ink": "#1b2330", "soft": "#5b6675", "line": "#e3e7ec", "over": "#c8321f"},
    "dark": {"back": "#14181f", "ink": "#e8ecf2", "soft": "#a3adba", "line": "#2b323d", "over": "#f0705c"},
}


def config(theme: Theme = "light") -> dict[str, Any]:
    """The Vega-Lite config of a theme."""
    paper = _PAPER[theme]
    return {
        "background": paper["back"],
        "font": FONT,
        "view": {"stroke": None},
        "title": {
            "anchor": "start",
            "frame": "bounds",
            "fontSize": 15,
            "fontWeight": 600,
            "color": paper["ink"],
            "subtitleColor": paper["soft"],
            "subtitleFontSize": 12,
            "subtitlePadding": 5,
            "offset": 14,
        },
        "axis": _axis(paper),
        "axisX": {"grid": False, "domain": True, "domainColor": paper["soft"], "domainOpacity": 0.6},
        "legend": {
            "orient": "top",
            "title": None,
            "symbolType": "square",
            "symbolSize": 90,
            "symbolStrokeWidth": 0,
            "labelFontSize": 12,
            "labelColor": paper["ink"],
            "labelLimit": 170,
            "columnPadding": 14,
            "offset": 8,
        },
        "range": {"category": list(SERIES)},
        "bar": {"color": ACCENT, "stroke": paper["back"], "strokeWidth": 0.6},
        "style": _styles(paper),
    }


def _axis(paper: dict[str, str]) -> dict[str, Any]:
    return {
        "domain": False,
        "ticks": False,
        "title": None,
        "gridColor": paper["line"],
        "labelColor": paper["soft"],
        "labelFontSize": 11,
        "labelPadding": 7,
        "labelLimit": 190,
        "titleColor": paper["soft"],
        "titleFontSize": 11,
        "titleFontWeight": "normal",
    }


def _styles(paper: dict[str, str]) -> dict[str, Any]:
    """What marks are called in the specs, and how they look."""
    words = {"font": FONT, "fontSize": 11}
    return {
        "spent": {"color": ACCENT},
        "spent_line": {"color": ACCENT, "strokeWidth": 2.25, "strokeCap": "round", "strokeJoin": "round"},
        "spent_under": {"color": ACCENT, "fillOpacity": 0.12},
        "expected_line": {"color": ACCENT, "strokeWidth": 2, "strokeDash": [5, 4], "strokeCap": "round"},
        "usual_line": {"color": paper["soft"], "strokeWidth": 1.5, "strokeDash": [4, 3]},
        "band_80": {"color": ACCENT, "fillOpacity": 0.2},
        "band_95": {"color": ACCENT, "fillOpacity": 0.1},
        "usual_band": {"color": REST_COLOUR, "fillOpacity": 0.18},
        "limit": {"color": paper["ink"], "strokeWidth": 1.5},
        "limit_word": {
            **words,
            "color": paper["ink"],
            "fontWeight": 600,
            "align": "left",
            "baseline": "bottom",
            "dx": 4,
            "dy": -4,
        },
        "over": {"color": paper["over"]},
        "over_span": {"color": paper["over"], "fillOpacity": 0.1},
        "over_point": {"color": paper["over"], "stroke": paper["back"], "strokeWidth": 1.5, "size": 60, "opacity": 1},
        "less": {"color": LESS},
        "whole": {"color": REST_COLOUR},
        "join": {"color": paper["soft"], "strokeWidth": 1, "strokeDash": [2, 2]},
        "note": {"color": paper["soft"], "strokeWidth": 1, "strokeDash": [2, 3]},
        "note_word": {**words, "color": paper["soft"], "baseline": "bottom", "dy": -3},
        "mark_word": {**words, "color": paper["soft"], "align": "left", "baseline": "top", "dx": 4},
        "word": {**words, "color": paper["ink"], "align": "left", "dx": 6},
        "word_above": {**words, "color": paper["ink"], "baseline": "bottom", "dy": -5},
        "nothing": {**words, "color": paper["soft"], "fontSize": 13},
        "caption": {**words, "color": paper["soft"], "align": "left", "baseline": "bottom"},
        "point": {"color": ACCENT, "stroke": paper["back"], "strokeWidth": 1.5, "size": 55, "opacity": 1},
        "whisker": {"color": paper["soft"], "strokeWidth": 1.25},
        "middle": {"color": paper["back"]},
    }
