"""A page of charts in a real browser: it draws under its own policy, asks nothing, and runs nobody's words."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright

from outlay.analytics.comparison import Change
from outlay.faces import charts
from outlay.model import CostRow, CostTable
from outlay.money import PICO_PER_UNIT, Money

CHROMIUM = Path("/usr/bin/chromium")
HOSTILE = '<img src=x onerror="document.title=1"></script><script>document.title=2</script>'


def table() -> CostTable:
    rows = tuple(
        CostRow(keys=(f"2026-11-0{day}", name), amount=Money.of(cost).pico, events=1)
        for day, name, cost in ((1, HOSTILE, "95.743849574343"), (2, HOSTILE, "40"), (2, "openai", "12"))
    )
    total = CostRow(keys=(), amount=sum(row.amount for row in rows), events=3)
    return CostTable(by=("day", "provider"), rows=rows, total=total, currency="USD", zone="UTC", answered_by="test")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    if not CHROMIUM.exists():
        pytest.fail("pages of charts are tested in Chromium, which is missing here: apt-get install chromium")
    spend = charts.with_notes(charts.spend_over_time(table()), [charts.Note(1793577600000000, HOSTILE)], "UTC")
    change = charts.waterfall(Change(before=0, after=PICO_PER_UNIT, volume=PICO_PER_UNIT), before=HOSTILE)
    file = tmp_path_factory.mktemp("charts") / "page.html"
    file.write_text(charts.html(spend, change, charts.sparkline([1, 2]), title=HOSTILE), encoding="utf-8")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        found = browser.new_page(viewport={"width": 1000, "height": 900})
        asked: list[str] = []
        said: list[str] = []
        found.on("request", lambda request: asked.append(request.url))
        found.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
        found.on("pageerror", lambda error: said.append(str(error)))
        found.goto(file.as_uri())
        found.wait_for_selector("#chart2 svg.marks")
        assert asked == [file.as_uri()], "a page of charts fetches nothing"
        assert said == [], "nothing fails under its own policy"
        yield found
        browser.close()


def test_every_chart_is_drawn(page: Page) -> None:
    assert page.locator("figure svg.marks").count() == 3
    assert (
        page.locator("#chart0 svg.marks").get_attribute("aria-label") or page.locator("#chart0 [aria-label]").count()
    )


def test_words_of_users_stay_words(page: Page) -> None:
    assert page.title() == HOSTILE
    assert page.locator("figure img").count() == 0
    assert page.locator("#chart0 svg.marks text", has_text="<img src=x").count() > 0


def test_the_exact_amount_is_under_the_pointer(page: Page) -> None:
    page.locator("#chart0 svg.marks .mark-rect path").first.hover()
    page.wait_for_selector("#vg-tooltip-element.visible")
    said = page.locator("#vg-tooltip-element").inner_text()
    assert "$95.743849574343" in said
    assert "Sun 2026-11-01" in said
    assert page.locator("#vg-tooltip-element img").count() == 0


def test_a_reader_who_likes_it_dark_gets_it_dark(page: Page) -> None:
    page.emulate_media(color_scheme="dark")
    # Asked anew each time: what Playwright asks by itself again and again, the page's policy forbids.
    for told in (
        "getComputedStyle(document.body).backgroundColor === 'rgb(20, 24, 31)'",
        "document.querySelector('#chart0 svg.marks').outerHTML.includes('#14181f')",
    ):
        ends_s = time.monotonic() + 60
        while not page.evaluate(told):
            assert time.monotonic() < ends_s, told
            page.wait_for_timeout(20)
    page.emulate_media(color_scheme="light")
