"""What several tests do with a page: wait until it stands, let axe judge it, read its exact amounts."""

from __future__ import annotations

from decimal import Decimal

from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]  # it ships no types
from playwright.sync_api import Page

PARTS = "[data-part]:not([data-filled])"
PARTS_AND_CHARTS = f"{PARTS}, [data-chart]:not([data-drawn])"
# What is not there yet comes when it is near to be seen; asked anew each frame, as parts bring charts of their own.
ALL_CAME = """missing => {
  const next = document.querySelector(missing);
  next?.scrollIntoView({block: 'center'});
  return next === null;
}"""
# Everything that axe found to be right would be written out too, node by node, which takes longer than to find it.
JUDGED = """options => axe.run(document, {resultTypes: ['violations'], ...options}).then(
  told => told.violations.map(one => [one.id, ...one.nodes.map(node => `${node.html} ${node.failureSummary}`)]))"""


def whole(page: Page, path: str) -> None:
    """Open a page and wait until its later parts are there and its charts are drawn."""
    page.goto(path)
    drawn(page)


def drawn(page: Page) -> None:
    """Wait for parts and charts, those below the fold too."""
    page.wait_for_function(ALL_CAME, arg=PARTS_AND_CHARTS)
    page.evaluate("() => scrollTo(0, 0)")
    failed = page.locator("[data-drawn=failed]").all_inner_texts()
    assert failed == []


def filled(page: Page, path: str = "") -> None:
    """Wait for the later parts and leave the charts be, on the page of a path or on that which was clicked for."""
    if path:
        page.goto(path)
    page.wait_for_function(ALL_CAME, arg=PARTS)


def violations(page: Page, *rules: str) -> list[list[str]]:
    """What axe finds wrong with a page as it is now, by all its rules or some of them."""
    if not page.evaluate("() => 'axe' in window"):
        page.evaluate(Axe().axe_script)
    found: list[list[str]] = page.evaluate(JUDGED, {"runOnly": list(rules)} if rules else {})
    return found


def amounts(page: Page, selector: str) -> list[Decimal]:
    """The exact amounts in a part of the page, in order."""
    return [Decimal(one.get_attribute("value") or "") for one in page.locator(f"{selector} data").all()]
