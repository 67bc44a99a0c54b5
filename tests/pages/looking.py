"""What several tests do with a page: wait until it stands, read its exact amounts."""

from __future__ import annotations

from decimal import Decimal

from playwright.sync_api import Page

READY = """() => [...document.querySelectorAll('[data-part]')].every(one => one.dataset.filled)
  && [...document.querySelectorAll('[data-chart]')].every(one => one.dataset.drawn)"""


def whole(page: Page, path: str) -> None:
    """Open a page and wait until its later parts are there and its charts are drawn."""
    page.goto(path)
    drawn(page)


def drawn(page: Page) -> None:
    """Wait for parts and charts, those below the fold too."""
    for kind in ("[data-part]", "[data-chart]"):
        for place in range(page.locator(kind).count()):
            page.locator(kind).nth(place).scroll_into_view_if_needed()
    page.wait_for_function(READY)
    page.evaluate("() => scrollTo(0, 0)")
    failed = page.locator("[data-drawn=failed]").all_inner_texts()
    assert failed == []


def amounts(page: Page, selector: str) -> list[Decimal]:
    """The exact amounts in a part of the page, in order."""
    return [Decimal(one.get_attribute("value") or "") for one in page.locator(f"{selector} data").all()]
