"""The questions of a morning, asked of the demo's company with a mouse; every figure is that of `ledger.costs`."""

from __future__ import annotations

import csv
import io
from datetime import timedelta
from decimal import Decimal

import httpx
from playwright.sync_api import Page, expect
from tests.pages.conftest import RUNAWAY, Company
from tests.pages.looking import amounts, filled

TODAY = RUNAWAY + timedelta(days=1)
TOMORROW = TODAY + timedelta(days=1)


def test_the_first_pages_numbers_are_those_of_the_ledger(page: Page, company: Company) -> None:
    ledger = company.ledger
    filled(page, "/")
    spans = {
        "#today": (TODAY, TOMORROW),
        "#yesterday": (RUNAWAY, TODAY),
        "#month": (TODAY.replace(day=1), TOMORROW),
    }
    for selector, (since, until) in spans.items():
        assert amounts(page, f"{selector} .value") == [ledger.costs(since=since, until=until).total.amount]
    assert amounts(page, "#projected .value") == [Decimal(ledger.forecast().total.total).scaleb(-12)]
    users = ledger.top("user", limit=6, since=TODAY - timedelta(days=29), until=TOMORROW)
    shown = amounts(page, "section[aria-label='Top users'] td:nth-child(2)")
    assert shown == [row.cost.amount for row in users.rows]


def test_two_clicks_find_what_yesterdays_rise_was_made_of(page: Page, company: Company) -> None:
    filled(page, "/")
    page.locator("#yesterday a").click()
    filled(page)
    page.locator("section[aria-label='What changed, and why'] tbody a").first.click()
    filled(page)
    where = {"feature": "images", "service": "gemini-2.5-flash-image"}
    costs = company.ledger.costs("user", where=where, since=RUNAWAY, until=TODAY)
    expect(page.locator("section[aria-label='By user'] tbody tr").first).to_contain_text("goran")
    assert amounts(page, "#spend .value") == [costs.total.amount]
    assert amounts(page, "section[aria-label='By user'] td:nth-child(2)") == [row.cost.amount for row in costs.rows]


def test_from_the_month_to_a_calls_lines(page: Page, company: Company) -> None:
    """Month, day, hour, call: each is one click, each sum is the ledger's."""
    filled(page, "/explore?by=month&period=30d&where.project=clipmaker")
    for label in (f"{RUNAWAY:%Y-%m}", str(RUNAWAY), f"{RUNAWAY}T02:00"):
        page.locator("tbody a", has_text=label).first.click()
        filled(page)
    since = f"{RUNAWAY}T02:00:00Z"
    until = f"{RUNAWAY}T03:00:00Z"
    where = {"project": "clipmaker"}
    events = company.ledger.costs(where=where, since=since, until=until).events
    assert page.locator("section[aria-label='Calls'] tbody tr").count() == min(events, 100)
    page.locator("section[aria-label='Calls'] tbody a").first.click()
    lines = amounts(page, "section[aria-label='What it cost, line by line'] tbody td:nth-child(5)")
    total = amounts(page, "section[aria-label='What it cost, line by line'] tfoot")
    assert lines
    assert [sum(lines)] == total


def test_a_job_its_outliers_and_its_calls(page: Page, company: Company) -> None:
    filled(page, "/jobs")
    expect(page.locator("#outliers .value")).to_have_text("1")
    page.get_by_role("link", name="video-065-loop").first.click()
    job = company.ledger.job("video-065-loop")
    assert amounts(page, "#cost .value") == [job.total.amount]
    services = amounts(page, "section[aria-label='By service'] td:nth-child(2)")
    assert services == [amount.amount for amount in job.by_service.values()]


def test_the_parts_of_a_change_add_up(page: Page) -> None:
    filled(page, "/compare?period=yesterday")
    before, after, change, *parts = amounts(page, ".figures .value")
    assert change == after - before == sum(parts)


def test_a_budget_is_set_by_its_form_and_says_who_and_why(page: Page, company: Company) -> None:
    page.goto("/budgets")
    form = page.get_by_role("form", name="Set the budget")
    form.get_by_label("Name").fill("video-day")
    form.get_by_label("Limit").fill("12.5")
    form.get_by_label("Why").fill("one runaway night was enough")
    form.get_by_label("Covers").fill("project=clipmaker")
    form.get_by_label("A", exact=True).select_option("day")
    form.get_by_role("button").click()
    expect(page.get_by_role("status")).to_have_text("Saved.")
    expect(page.locator("section[aria-label=History]")).to_contain_text("one runaway night was enough")
    (standing,) = company.ledger.budgets("video-day")
    assert standing.limit == 12_500_000_000_000
    page.get_by_role("form", name="Save").get_by_label("Limit").fill("-1")
    page.get_by_role("form", name="Save").get_by_label("Why").fill("a slip")
    page.get_by_role("form", name="Save").get_by_role("button").click()
    expect(page.get_by_role("alert")).to_be_visible()
    assert company.ledger.budgets("video-day")[0].limit == 12_500_000_000_000


def test_an_alert_is_acknowledged_and_a_view_is_saved(page: Page, company: Company) -> None:
    page.goto("/alerts")
    page.get_by_role("button", name="Acknowledge").first.click()
    expect(page.get_by_role("status")).to_contain_text("Acknowledged")
    assert any(one.acknowledged_by for one in company.ledger.alerts())
    page.goto("/explore?by=customer&period=7d")
    page.get_by_label("Name").fill("customers of the week")
    page.get_by_role("button", name="Save this view").click()
    page.goto("/explore")
    page.get_by_role("link", name="customers of the week").click()
    expect(page.get_by_role("heading", name="By customer")).to_be_visible()


def test_the_band_of_an_anomaly_is_what_its_detector_expected(page: Page, company: Company) -> None:
    (episode, *_) = company.ledger.anomalies(since=RUNAWAY - timedelta(days=29))
    told = page.request.get(f"/charts/anomaly?id={episode.id}&since={RUNAWAY - timedelta(days=29)}").json()
    values = told["data"]["values"]
    within = [one["usual"] for one in values if one["odd"]]
    assert len(within) == episode.steps
    assert f"{sum(within):.6f}" == f"{Decimal(episode.expected).scaleb(-12):.6f}"
    assert all(one["low"] <= one["usual"] <= one["high"] for one in values)
    assert any(one["low"] < one["high"] for one in values if not one["odd"])


def test_live_receipts_come_while_one_looks(page: Page, company: Company) -> None:
    page.goto("/")
    page.locator(".live li").first.wait_for()
    company.ledger.record(provider="openai", service="gpt-4o-mini", usage={"output_tokens": 5}, user="live-user")
    expect(page.locator(".live li").first).to_contain_text("live-user")


def test_advice_is_the_ledgers_and_what_is_said_to_it_is_kept(page: Page, company: Company) -> None:
    filled(page, "/advice")
    told = company.ledger.advice()
    saved = [Decimal(one).scaleb(-12) for one in (told.joint.saving.low, told.joint.saving.high)]
    assert amounts(page, "#together .value") == saved
    first = told.measures[0]
    page.locator("details", has_text=first.title).locator("summary").click()
    page.get_by_label(f"Why: {first.title}").first.fill("from Monday on")
    page.get_by_role("button", name=f"Accept: {first.title}").click()
    expect(page.get_by_role("status")).to_contain_text("Noted")
    (kept,) = company.ledger.accepted_advice()
    assert (kept.id, kept.why.endswith("from Monday on")) == (first.id, True)
    expect(page.locator("section[aria-label='What accepted measures did']")).to_contain_text(first.title)


def test_a_category_costs_what_its_features_do(page: Page, company: Company) -> None:
    """The patterns are `images` and everything with `image` in its name."""
    filled(page, "/explore?by=category&period=30d")
    found = company.ledger.costs("feature", since=TODAY - timedelta(days=29), until=TOMORROW)
    pictures = sum(row.cost.amount for row in found.rows if "image" in (row.keys[0] or ""))
    row = page.locator("section[aria-label='By category'] tr", has_text="pictures")
    assert Decimal(row.locator("data").first.get_attribute("value") or "") == pictures


def test_a_service_is_new_in_its_first_week(page: Page, company: Company) -> None:
    company.ledger.record(provider="openai", service="o4-mini", usage={"output_tokens": 5})
    filled(page, "/prices")
    rows = page.locator("section[aria-label='First and last seen'] tr")
    expect(rows.filter(has_text="o4-mini")).to_contain_text(f"{TODAY} new")
    expect(rows.filter(has_text="gemini-2.5-flash-image")).to_contain_text("2026-05-01")


def test_a_table_is_a_file_too(page: Page, company: Company) -> None:
    filled(page, "/explore?by=customer&period=30d")
    link = page.locator("section[aria-label='By customer'] a[download]").get_attribute("href")
    session = {one["name"]: one["value"] for one in page.context.cookies()}
    text = httpx.get(f"{company.address}{link}", cookies=session).text
    rows = list(csv.DictReader(io.StringIO(text)))
    found = company.ledger.costs("customer", since=TODAY - timedelta(days=29), until=TOMORROW)
    assert [Decimal(row["cost"]) for row in rows] == [row.cost.amount for row in found.rows]
    with page.expect_download() as picture:
        page.get_by_role("button", name="PNG").first.click()
    assert picture.value.path().read_bytes().startswith(b"\x89PNG")
