"""Answers as pictures: --png, --svg and --html of the commands that can be drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from outlay.errors import InvalidInput

if TYPE_CHECKING:
    from outlay.faces.charts import Spec

PngOption = Annotated[
    Path | None, typer.Option("--png", metavar="FILE", help="Also as a picture.", show_default=False)
]
SvgOption = Annotated[
    Path | None, typer.Option("--svg", metavar="FILE", help="Also as a drawing.", show_default=False)
]
HtmlOption = Annotated[
    Path | None,
    typer.Option(
        "--html", metavar="FILE", help="Also as a page to look into, that needs no network.", show_default=False
    ),
]


def draw(make: Callable[[], Sequence[Spec]], png: Path | None, svg: Path | None, html: Path | None) -> None:
    """Write what is asked for. A page has every chart, a picture or drawing the first.

    Raises InvalidInput `nothing_to_draw`; MissingExtra.
    """
    if png is None and svg is None and html is None:
        return
    from outlay.faces import charts

    specs = make()
    if not specs:
        raise InvalidInput("there is nothing to draw in this answer", code="nothing_to_draw")
    if png is not None:
        png.write_bytes(charts.png(specs[0]))
    if svg is not None:
        svg.write_text(charts.svg(specs[0]), encoding="utf-8")
    if html is not None:
        html.write_text(charts.html(*specs, title=str(specs[0]["title"]["text"])), encoding="utf-8")
