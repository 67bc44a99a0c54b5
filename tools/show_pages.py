"""Pictures of every page of the dashboard, light, dark, narrow: `python tools/show_pages.py [NAME …]`.

The demo's night on which a loop runs away is yesterday. Written to docs/pictures/ in 256 colours, so that they stay
small. Needs Chromium (Debian: apt-get install chromium) and the development dependency `playwright`.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
import tempfile
import threading
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import chdir, contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Literal, NamedTuple

import uvicorn
from playwright.sync_api import Page, ViewportSize, sync_playwright

import outlay
from outlay.faces.cli.demo.build import build
from outlay.faces.server.app import create_app

CHROMIUM = Path("/usr/bin/chromium")
PICTURES = Path(__file__).resolve().parent.parent / "docs" / "pictures"
START, DAYS = date(2026, 5, 1), 66
TODAY = START + timedelta(days=DAYS)
BYTES_MAX = 200_000
PAGES = {
    "overview": "/",
    "explore": "/explore?by=feature&compare=yes&period=7d",
    "jobs": "/jobs",
    "job": "/jobs/video-060-03",
    "receipt": "/receipts/video-060-03-0000",
    "people": "/people",
    "user": "/people/user/goran",
    "budgets": "/budgets",
    "one-budget": "/budgets/everything",
    "alerts": "/alerts",
    "anomaly": "/anomalies/LATEST",
    "ahead": "/forecast",
    "changes": "/compare?period=yesterday",
    "advice": "/advice",
    "prices": "/prices?provider=google&service=gemini-2.5-flash-image",
    "cloud": "/cloud",
    "settings": "/settings",
    "signin": "/signin",
}


CATEGORIES = """[categories]
pictures = ["feature:*image*", "feature:inpaint", "feature:style-transfer", "feature:upscale"]
film = ["feature:clips", "feature:voice"]
writing = ["feature:script", "feature:stor*"]
"""


class Look(NamedTuple):
    """How a page is looked at."""

    ending: str
    scheme: Literal["light", "dark"]
    size: ViewportSize


LOOKS = (
    Look("", "light", {"width": 1360, "height": 860}),
    Look("-dark", "dark", {"width": 1360, "height": 860}),
    Look("-narrow", "light", {"width": 380, "height": 780}),
)


def company(folder: str) -> outlay.Ledger:
    """The demo's ledger with budgets, a rule and words about days, on the morning after the runaway night."""
    ledger = outlay.open(f"{folder}/demo.db", clock=outlay.FrozenClock(f"{TODAY}T08:10:00Z"))
    build(ledger, START, DAYS)
    ledger.budget("everything", limit="400", window="month", action="notify", why="agreed with finance")
    ledger.budget("videos", limit="12", window="day", where={"project": "clipmaker"}, action="refuse", why="a cap")
    ledger.budget("each-user", each="user", limit="120", window="month", action="notify", why="fair use")
    ledger.alert_rule("a-dear-day", above="50", window="day")
    ledger.note_day(TODAY - timedelta(days=1), "A loop without an end")
    ledger.note_day(TODAY - timedelta(days=16), "New voice contract")
    watcher = ledger.watcher({})
    watcher.round(timed=True, send=False)
    watcher.stop()
    return ledger


@contextmanager
def served(ledger: outlay.Ledger) -> Iterator[str]:
    """A server on a thread; its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    app: Any = create_app(ledger)
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_config=None, timeout_graceful_shutdown=1))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()), daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.05)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(10)


def fewer_colours(png: bytes) -> bytes:
    """The picture with its 256 commonest colours, every other as the nearest of them: a third of the bytes."""
    at, chunks = 8, []
    while at < len(png):
        (length,) = struct.unpack_from(">I", png, at)
        chunks.append((png[at + 4 : at + 8], png[at + 8 : at + 8 + length]))
        at += 12 + length
    width, height, depth, colour_type = struct.unpack_from(">IIBB", chunks[0][1])
    if (depth, colour_type) != (8, 2):
        return png
    raw = zlib.decompress(b"".join(body for name, body in chunks if name == b"IDAT"))
    lines = unfiltered(raw, width * 3)
    counts = Counter(colour for line in lines for colour in zip(line[::3], line[1::3], line[2::3], strict=True))
    table = [colour for colour, _ in counts.most_common(256)]
    places = {colour: nearest(colour, table) for colour in counts}
    pixels = b"".join(
        b"\0" + bytes(places[colour] for colour in zip(line[::3], line[1::3], line[2::3], strict=True))
        for line in lines
    )
    parts = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
        (b"PLTE", b"".join(map(bytes, table))),
        (b"IDAT", zlib.compress(pixels, 9)),
        (b"IEND", b""),
    )
    framed = (
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in parts
    )
    return png[:8] + b"".join(framed)


def unfiltered(raw: bytes, length: int) -> list[bytes]:
    """The lines of a picture of three bytes a pixel, without the filters that PNG puts on them."""
    lines, above = [], bytearray(length)
    for start in range(0, len(raw), length + 1):
        kind, line = raw[start], bytearray(raw[start + 1 : start + 1 + length])
        if kind == 2:
            line = bytearray((one + up) & 255 for one, up in zip(line, above, strict=True))
        elif kind:
            corners = bytes(3) + above[:-3]
            expect = EXPECTING[kind]
            lefts = bytearray(3)
            for place, (one, up, corner) in enumerate(zip(line, above, corners, strict=True)):
                told = (one + expect(lefts[place], up, corner)) & 255
                line[place] = told
                lefts.append(told)
        lines.append(bytes(line))
        above = line
    return lines


def _paeth(left: int, up: int, corner: int) -> int:
    """That of the three neighbours which is nearest to where the first two lead from the third."""
    if left == corner:
        return up
    if up == corner:
        return left
    guess = left + up - corner
    by_left, by_up, by_corner = abs(guess - left), abs(guess - up), abs(guess - corner)
    if by_left <= by_up and by_left <= by_corner:
        return left
    return up if by_up <= by_corner else corner


EXPECTING: dict[int, Callable[[int, int, int], int]] = {
    1: lambda left, up, corner: left,
    3: lambda left, up, corner: (left + up) // 2,
    4: _paeth,
}
"""What PNG's filters expect of a byte by its neighbours."""


def nearest(colour: tuple[int, int, int], table: Sequence[tuple[int, int, int]]) -> int:
    """The place of the colour that is least far away."""
    red, green, blue = colour
    distances = [(red - one) ** 2 + (green - two) ** 2 + (blue - three) ** 2 for one, two, three in table]
    return distances.index(min(distances))


def stands(page: Page) -> None:
    """Wait until what is to be seen is there."""
    page.wait_for_timeout(400)
    page.wait_for_function(
        """() => [...document.querySelectorAll('[data-part], [data-chart]')].every(one =>
          one.dataset.filled || one.dataset.drawn || one.getBoundingClientRect().top > innerHeight)""",
        timeout=60_000,
    )
    page.wait_for_timeout(200)


def main() -> None:
    """Draw all of them, or those that are named."""
    chosen = sys.argv[1:] or list(PAGES)
    PICTURES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, company(folder) as ledger, chdir(folder):
        Path("outlay.toml").write_text(CATEGORIES)
        draw(ledger, chosen)


def draw(ledger: outlay.Ledger, chosen: Sequence[str]) -> None:
    """Those pages in all looks."""
    with served(ledger) as address:
        latest = ledger.anomalies(since=TODAY - timedelta(days=7))[0].id
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
            for look in LOOKS:
                context = browser.new_context(viewport=look.size, color_scheme=look.scheme, base_url=address)
                for name in chosen:
                    page = context.new_page()
                    if name == "signin":
                        page.route("**/session", lambda route: route.abort())
                    page.goto(PAGES[name].replace("LATEST", latest))
                    stands(page)
                    path = PICTURES / f"page-{name}{look.ending}.png"
                    size = path.write_bytes(fewer_colours(page.screenshot()))
                    page.close()
                    print(f"{size:>8,}  {path.name}" + ("  too large" if size > BYTES_MAX else ""))
                context.close()
            browser.close()


if __name__ == "__main__":
    main()
