"""Charts as files: PNG, SVG and a page that needs nothing from elsewhere. Needs the extra `charts`."""

from __future__ import annotations

import html as markup
import json
from base64 import b64encode
from functools import cache
from hashlib import sha256
from importlib.util import find_spec
from types import ModuleType
from typing import Final

from outlay.errors import MissingExtra
from outlay.faces.charts.packing import packed
from outlay.faces.charts.parts import Spec
from outlay.faces.charts.style import Theme, config

WIDTH_OF_CONTAINER: Final = 640
"""How wide a chart is that was meant to fill what is around it, where there is nothing around it."""


def can_draw() -> bool:
    """Whether the extra `charts` is installed."""
    return find_spec("vl_convert") is not None


def png(spec: Spec, scale: float = 2.0) -> bytes:
    """The chart as a PNG picture, `scale` dots to a pixel. Raises MissingExtra."""
    return packed(_library().vegalite_to_png(_fixed(spec), scale=scale, allowed_base_urls=[]))


def svg(spec: Spec) -> str:
    """The chart as an SVG drawing that says in words what it shows. Raises MissingExtra."""
    drawing = str(_library().vegalite_to_svg(_fixed(spec), allowed_base_urls=[]))
    # The drawing itself leaves out the description, by which a screen reader knows it.
    said = f'<svg role="img" aria-label="{markup.escape(spec["description"])}"'
    return drawing.replace("<svg", said, 1)


def html(*specs: Spec, title: str = "Outlay") -> str:
    """Charts as one page that carries all it needs: no address is asked, and its policy forbids that any be.

    Expressions are interpreted, so the policy allows no `eval`. Raises MissingExtra.
    """
    code = f"{_bundle()}\n"
    data = _inert(json.dumps([{**spec, "width": "container", "config": {}} for spec in specs]))
    themes = "".join(f"const {name}Config = {json.dumps(config(name))};\n" for name in _THEMES)
    start = f"const specs = {data};\n{themes}{_START}"
    hashes = " ".join(f"'sha256-{b64encode(sha256(part.encode()).digest()).decode()}'" for part in (code, start))
    policy = f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:"
    figures = "\n".join(f'<figure id="chart{index}"></figure>' for index in range(len(specs)))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{markup.escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n{figures}\n"
        f"<script>{code}</script>\n<script>{start}</script>\n</body>\n</html>\n"
    )


_THEMES: Final[tuple[Theme, ...]] = ("light", "dark")

_STYLE: Final = (
    "body{margin:0 auto;max-width:960px;padding:24px;background:#fff}"
    "figure{margin:0 0 32px;width:100%}"
    "@media (prefers-color-scheme:dark){body{background:#14181f}}"
)

_START: Final = """
const dark = matchMedia('(prefers-color-scheme: dark)');
function draw() {
  specs.forEach((spec, index) => vegaEmbed(`#chart${index}`, spec, {
    ast: true, renderer: 'svg', actions: {export: true, source: false, compiled: false, editor: false},
    config: dark.matches ? darkConfig : lightConfig,
  }));
}
dark.addEventListener('change', draw);
draw();
"""


@cache
def _bundle() -> str:
    """Vega, Vega-Lite and vega-embed as one script. Making it takes seconds, once a process."""
    return str(_library().javascript_bundle()).replace("</script", "<\\/script")


def _inert(text: str) -> str:
    """JSON that may stand in a script: no name in it can end the script or begin a comment."""
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _fixed(spec: Spec) -> Spec:
    return {**spec, "width": WIDTH_OF_CONTAINER} if spec.get("width") == "container" else spec


def _library() -> ModuleType:
    try:
        import vl_convert
    except ImportError as error:
        raise MissingExtra("a chart as a file needs vl-convert: pip install 'outlay[charts]'") from error
    return vl_convert
