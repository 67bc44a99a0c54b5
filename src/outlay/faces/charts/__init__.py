"""Every chart of Outlay: pages, mails, files and notebooks draw these and no others.

Each function takes figures as the ledger gives them and returns a Vega-Lite spec, a dict that fetches nothing. The
specs come 640 pixels wide in the light theme: `sized` and `themed` change that, `with_notes` adds people's words to
the time axis, and `png`, `svg` and `html` make files of them. Names of users are data in a spec, never code.
"""

from outlay.faces.charts.ahead import ExpectedPoint, anomaly, budget_progress, forecast
from outlay.faces.charts.change import boxes, histogram, waterfall
from outlay.faces.charts.files import can_draw, html, png, svg
from outlay.faces.charts.parts import Spec
from outlay.faces.charts.spend import money_and_quantity, sparkline, spend_over_time, top_bar, trend
from outlay.faces.charts.style import ACCENT, SERIES, Theme, config
from outlay.faces.charts.whole import Note, sized, themed, with_notes

__all__ = [
    "ACCENT",
    "SERIES",
    "ExpectedPoint",
    "Note",
    "Spec",
    "Theme",
    "anomaly",
    "boxes",
    "budget_progress",
    "can_draw",
    "config",
    "forecast",
    "histogram",
    "html",
    "money_and_quantity",
    "png",
    "sized",
    "sparkline",
    "spend_over_time",
    "svg",
    "themed",
    "top_bar",
    "trend",
    "waterfall",
    "with_notes",
]
