"""What holds on every page: no violation that axe finds, light and dark, no error, no foreign word runs, no sideways
scrolling from a telephone to a wall.
"""

from __future__ import annotations

from typing import Literal
from urllib.parse import quote, urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect
from tests.pages.conftest import HOSTILE, RUNAWAY, WAIT_MS, Company, signed_in
from tests.pages.looking import drawn, violations, whole

NAME = quote(HOSTILE, safe="")
PATHS = (
    "/",
    "/explore?compare=yes&by=user",
    "/explore?by=calls&period=today",
    "/explore?by=category",
    "/explore?where.meter=output_image_tokens&by=service",
    f"/explore?where.user={NAME}&period=today",
    "/receipts/hostile-0",
    "/jobs",
    "/jobs/video-065-00",
    f"/jobs/{NAME}",
    "/people",
    f"/people/user/{NAME}",
    "/budgets",
    "/budgets/everything",
    "/budgets/each-user",
    "/alerts",
    "/forecast",
    "/compare",
    "/advice",
    "/prices",
    "/prices?provider=openai&service=gpt-4o",
    "/cloud",
    "/settings",
    "/explore/nothing-here",
)
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
SPIES = """
window.violations = [];
document.addEventListener('securitypolicyviolation', e => violations.push(`${e.violatedDirective} ${e.blockedURI}`));
window.alert = words => violations.push(`alert ${words}`);
"""


@pytest.fixture
def spied(admin: BrowserContext) -> Page:
    page = admin.new_page()
    page.add_init_script(SPIES)
    return page


def plain(page: Page) -> None:
    """Nothing that the policy forbids, and no markup but ours."""
    assert page.evaluate("() => violations") == []
    foreign = page.locator("img, script:not([src]), [onerror], [style]").count()
    assert foreign == page.locator("figure [style]").count()


def sound(page: Page) -> None:
    """No violation, light and dark, and nothing beyond the edge of a telephone."""
    page.emulate_media(color_scheme="light")
    assert violations(page) == []
    page.emulate_media(color_scheme="dark")
    assert violations(page, "color-contrast") == []
    page.set_viewport_size({"width": 380, "height": 900})
    assert page.evaluate("() => document.scrollingElement.scrollWidth") <= 380


@pytest.mark.parametrize("path", PATHS)
def test_a_page_is_sound(spied: Page, company: Company, path: str) -> None:
    page, errors, hosts = spied, [], set()
    page.on("console", lambda message: errors.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: hosts.add(urlsplit(request.url).netloc))
    whole(page, path)
    if path == "/alerts":
        plain(page)
        page.locator("[data-part] tbody a").first.click()
        drawn(page)
    plain(page)
    assert [one for one in errors if "404" not in one or "nothing-here" not in path] == []
    assert hosts - {""} == {urlsplit(company.address).netloc}
    sound(page)
    page.close()


def test_the_page_of_ones_own_is_sound(browser: Browser, company: Company) -> None:
    """What an end user sees is no page of the others' and is held to the same."""
    context = signed_in(browser, company, "goran")
    page = context.new_page()
    page.add_init_script(SPIES)
    whole(page, "/me")
    plain(page)
    sound(page)
    context.close()


def test_the_door_is_sound_and_opens(browser: Browser, company: Company) -> None:
    page = browser.new_page(base_url=company.address)
    page.set_default_timeout(WAIT_MS)
    page.goto("/signin?why=key_expired")
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme)
        assert violations(page) == []
    page.get_by_label("Key or token").fill(company.keys["read"])
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{company.address}/")
    page.close()


def test_a_wall_is_filled_without_scrolling_sideways(page: Page) -> None:
    page.set_viewport_size({"width": 2560, "height": 1300})
    whole(page, "/")
    assert page.evaluate("() => document.scrollingElement.scrollWidth") <= 2560


def test_a_keyboard_reaches_the_content_first(page: Page) -> None:
    page.goto("/")
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("() => document.activeElement.id") == "main"


def test_times_are_the_viewers_and_days_are_the_ledgers(admin: BrowserContext, company: Company) -> None:
    browser = admin.browser
    assert browser is not None
    context = browser.new_context(base_url=company.address, timezone_id="Asia/Tokyo")
    context.add_cookies(admin.cookies())  # type: ignore[arg-type]  # what a context gives is what one takes
    page = context.new_page()
    shown = []
    for _ in range(2):  # At first the script writes the viewer's time, from then on the server does.
        page.goto("/receipts/hostile-0")
        expect(page.locator("#zone")).to_have_text("Asia/Tokyo")
        shown.append(page.locator("time").first.inner_text())
    page.goto("/explore?period=yesterday")
    assert f"{RUNAWAY}" in page.locator("#main").inner_html()
    context.close()
    assert shown == ["6 Jul, 21:30"] * 2
