"""The demo's company behind a real server, and one browser that looks at it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright
from tests.served import Served

import outlay
from outlay.faces.cli.demo.build import build
from outlay.faces.server.keys import make_key

CHROMIUM = Path("/usr/bin/chromium")
START = date(2026, 5, 1)
RUNAWAY = START + timedelta(days=65)
"""The demo's night on which a loop runs away: yesterday, for all these tests."""

NOW = f"{RUNAWAY + timedelta(days=1)}T12:30:00Z"
WAIT_MS = 120_000
"""How long a page is waited for: machines that do other things too are slow."""

CATEGORIES = '[categories]\npictures = ["feature:images", "feature:*image*"]\n'
HOSTILE = '<img src=x onerror="alert(1)">'


class Company:
    """The ledger, its server, and a key of each kind."""

    def __init__(self, ledger: outlay.Ledger, server: Served) -> None:
        self.ledger = ledger
        self.address = server.address
        self.keys: dict[str, str] = {}
        for name, role, scope in (
            ("admin", "admin", {}),
            ("read", "read", {}),
            ("goran", "read", {"user": "goran"}),
            ("ingest", "ingest", {}),
        ):
            _, self.keys[name] = make_key(ledger.store, ledger.clock, roles=[role], scope=scope, name=name)


@pytest.fixture(scope="session")
def company(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Company]:
    clock = outlay.FrozenClock(NOW)
    with outlay.open(str(tmp_path_factory.mktemp("pages") / "demo.db"), clock=clock) as ledger:
        build(ledger, START, 66)
        ledger.budget("everything", limit="800", window="month", action="notify", why="agreed with finance")
        ledger.budget("each-user", each="user", limit="60", window="month", action="notify", why="fair use")
        ledger.alert_rule("a-dear-day", above="100", window="day")
        ledger.note_day(RUNAWAY, "A loop without an end")
        for number in range(3):
            ledger.record(
                id=f"hostile-{number}",
                provider="openai",
                service="gpt-4o",
                usage={"output_tokens": 1_000},
                user=HOSTILE,
                feature=HOSTILE,
                job=HOSTILE,
                customer=HOSTILE,
                tags={"<b>": HOSTILE},
            )
        watcher = ledger.watcher({})
        watcher.round(timed=True, send=False)
        watcher.stop()
        server = Served(ledger)
        found = Company(ledger, server)
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(tmp_path_factory.mktemp("settings"))
            Path("outlay.toml").write_text(CATEGORIES)
            server.start()
        yield found
        server.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """No longer than these tests: while a browser is there, an event loop counts as running on this thread."""
    if not CHROMIUM.exists():
        pytest.fail("the pages are tested in Chromium, which is missing here: apt-get install chromium")
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield found
        found.close()


def signed_in(browser: Browser, company: Company, key: str) -> BrowserContext:
    """A browser's context of its own that has been let in; what the first page shows is not waited for."""
    context = browser.new_context(base_url=company.address, viewport={"width": 1440, "height": 900})
    context.set_default_timeout(WAIT_MS)
    answer = context.request.post("/signin", form={"credential": company.keys[key]}, max_redirects=0)
    assert answer.status == 303
    return context


@pytest.fixture(scope="module")
def admin(browser: Browser, company: Company) -> Iterator[BrowserContext]:
    context = signed_in(browser, company, "admin")
    yield context
    context.close()


@pytest.fixture
def page(admin: BrowserContext) -> Iterator[Page]:
    found = admin.new_page()
    yield found
    found.close()
