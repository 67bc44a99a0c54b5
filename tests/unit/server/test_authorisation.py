"""Who may call what: every route × every kind of caller, and what a scope hides."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tests.served import served

import outlay
from outlay.faces.server import health, hot, routes
from outlay.faces.server.keys import make_key
from outlay.faces.server.pages.site import every_page

ROLES: dict[tuple[str, str], str] = {
    ("GET", "/healthz"): "public",
    ("GET", "/readyz"): "public",
    ("GET", "/metrics"): "read unscoped",
    ("GET", "/openapi.json"): "public",
    ("POST", "/v1/events"): "ingest",
    ("POST", "/v1/traces"): "ingest",
    ("POST", "/v1/reserve"): "ingest",
    ("POST", "/v1/settle"): "ingest",
    ("POST", "/v1/release"): "ingest",
    ("POST", "/v1/check"): "ingest",
    ("GET", "/v1/costs"): "read",
    ("GET", "/v1/top"): "read",
    ("GET", "/v1/jobs/{job:path}"): "read",
    ("PUT", "/v1/jobs/{job:path}"): "ingest",
    ("GET", "/v1/requests/{id:path}"): "read",
    ("GET", "/v1/receipts"): "read",
    ("GET", "/v1/receipts/{id:path}"): "read",
    ("POST", "/v1/corrections"): "admin",
    ("POST", "/v1/cancellations"): "admin",
    ("POST", "/v1/price"): "anybody",
    ("POST", "/v1/receipts"): "ingest",
    ("POST", "/v1/receipts/batch"): "ingest",
    ("GET", "/v1/budgets"): "read",
    ("GET", "/v1/budgets/{name}"): "read",
    ("PUT", "/v1/budgets/{name}"): "admin",
    ("DELETE", "/v1/budgets/{name}"): "admin",
    ("POST", "/v1/budgets/{name}/raises"): "admin",
    ("GET", "/v1/budgets/{name}/status"): "read",
    ("GET", "/v1/budgets/{name}/history"): "read",
    ("GET", "/v1/budgets/{name}/refusals"): "read",
    ("GET", "/v1/budgets-in-force"): "anybody",
    ("GET", "/v1/uncovered-budgets"): "read",
    ("GET", "/v1/usage"): "read",
    ("GET", "/v1/subjects/{kind}/{name:path}"): "read",
    ("PUT", "/v1/subjects/{kind}/{name:path}"): "admin",
    ("POST", "/v1/reservations"): "ingest",
    ("POST", "/v1/reservations/settle"): "ingest",
    ("POST", "/v1/reservations/settle/batch"): "ingest",
    ("POST", "/v1/reservations/release"): "ingest",
    ("POST", "/v1/reservations/extend"): "ingest",
    ("POST", "/v1/reservations/expire"): "admin",
    ("GET", "/v1/reservations/{id:path}"): "anybody",
    ("POST", "/v1/bound"): "anybody",
    ("GET", "/v1/prices"): "read",
    ("POST", "/v1/prices"): "admin",
    ("POST", "/v1/prices/file"): "admin",
    ("POST", "/v1/prices/exchange-rates"): "admin",
    ("GET", "/v1/prices/check"): "read",
    ("GET", "/v1/prices/match"): "anybody",
    ("GET", "/v1/prices/book"): "read",
    ("GET", "/v1/prices/catalogue"): "read",
    ("GET", "/v1/prices/catalogues"): "read",
    ("GET", "/v1/ledger"): "anybody",
    ("POST", "/v1/audit"): "admin",
    ("POST", "/v1/reprice"): "admin",
    ("POST", "/v1/retention"): "admin",
    ("POST", "/v1/forget"): "admin",
    ("GET", "/v1/doctor"): "admin",
    ("POST", "/v1/fold"): "admin",
    ("POST", "/v1/statements"): "admin",
    ("GET", "/v1/changes"): "admin",
    ("GET", "/v1/alerts"): "read unscoped",
    ("POST", "/v1/alerts/{id}/{action}"): "admin",
    ("PUT", "/v1/alerts/{id}/owner"): "admin",
    ("GET", "/v1/undelivered-alerts"): "read unscoped",
    ("PUT", "/v1/snoozes/{rule}"): "admin",
    ("GET", "/v1/channels"): "admin",
    ("POST", "/v1/channels/{name}/test"): "admin",
    ("PUT", "/v1/notes/{day}"): "admin",
    ("GET", "/v1/notes-on/{on}"): "read unscoped",
    ("PUT", "/v1/notes-on/{on}/{name:path}"): "admin",
    ("GET", "/v1/forecast"): "read",
    ("GET", "/v1/anomalies"): "read",
    ("POST", "/v1/anomalies/{id}/verdict"): "admin",
    ("GET", "/v1/compare"): "read",
    ("GET", "/v1/alert-rules"): "read unscoped",
    ("PUT", "/v1/alert-rules/{name}"): "admin",
    ("DELETE", "/v1/alert-rules/{name}"): "admin",
    ("GET", "/v1/reports/{period}"): "read",
    ("GET", "/v1/own-reports"): "read unscoped",
    ("GET", "/v1/own-reports/{name}"): "read unscoped",
    ("POST", "/v1/own-reports/{name}/send"): "admin",
    ("GET", "/v1/report-dispatches"): "read unscoped",
    ("GET", "/v1/live"): "read",
    ("GET", "/analytics/costs/daily"): "read",
    ("GET", "/analytics/costs/monthly"): "read",
    ("GET", "/analytics/costs/video/{video_id:path}"): "read",
    ("GET", "/api/user/costs"): "read",
    ("GET", "/analytics/dashboard"): "read",
    ("GET", "/analytics/features"): "read",
    ("GET", "/signin"): "public",
    ("POST", "/signin"): "public",
    ("POST", "/signout"): "public",
    ("GET", "/session"): "public",
    ("GET", "/static/{name}"): "public",
    ("GET", "/live"): "read",
    ("GET", "/csv/costs"): "read",
    ("GET", "/"): "read",
    ("GET", "/parts/changes"): "read",
    ("GET", "/parts/top"): "read",
    ("GET", "/parts/quantities"): "read",
    ("GET", "/parts/bases"): "read",
    ("GET", "/parts/categories"): "read",
    ("GET", "/parts/services"): "read",
    ("GET", "/advice"): "read unscoped",
    ("POST", "/advice/{id}"): "admin",
    ("GET", "/parts/advice"): "read unscoped",
    ("GET", "/parts/advice-effects"): "read unscoped",
    ("GET", "/explore"): "read",
    ("POST", "/explore/views"): "admin",
    ("GET", "/receipts/{id:path}"): "read",
    ("GET", "/jobs"): "read",
    ("GET", "/jobs/{name:path}"): "read",
    ("GET", "/people"): "read unscoped",
    ("POST", "/people"): "admin",
    ("GET", "/people/{kind}/{name:path}"): "read unscoped",
    ("GET", "/me"): "read",
    ("GET", "/budgets"): "read",
    ("POST", "/budgets"): "admin",
    ("GET", "/budgets/{name:path}"): "read",
    ("GET", "/alerts"): "read unscoped",
    ("POST", "/alerts/{id}"): "admin",
    ("GET", "/parts/anomalies"): "read",
    ("GET", "/anomalies/{id}"): "read",
    ("POST", "/anomalies/{id}"): "admin",
    ("GET", "/forecast"): "read",
    ("GET", "/compare"): "read",
    ("GET", "/prices"): "read",
    ("POST", "/prices"): "admin",
    ("GET", "/settings"): "read unscoped",
    ("POST", "/settings/{what}"): "admin",
    ("GET", "/charts/spend"): "read",
    ("GET", "/charts/top"): "read",
    ("GET", "/charts/quantity"): "read",
    ("GET", "/charts/forecast"): "read",
    ("GET", "/charts/budget"): "read",
    ("GET", "/charts/jobs"): "read",
    ("GET", "/charts/job-trend"): "read",
    ("GET", "/charts/change"): "read",
    ("GET", "/charts/anomaly"): "read",
    ("GET", "/cloud"): "read unscoped",
    ("GET", "/v1/statements"): "read unscoped",
    ("GET", "/v1/reconciliation"): "read unscoped",
    ("GET", "/v1/balances"): "read unscoped",
    ("GET", "/v1/balances/{provider}"): "read unscoped",
    ("POST", "/v1/balances"): "admin",
    ("POST", "/v1/reconciliation"): "admin",
    ("GET", "/v1/statements/{id}/rows"): "read unscoped",
    ("GET", "/v1/allocation"): "read unscoped",
    ("POST", "/v1/advice"): "read unscoped",
    ("GET", "/v1/accepted-advice"): "read unscoped",
    ("GET", "/v1/advice/{id}/effect"): "read unscoped",
    ("POST", "/v1/advice/{id}/decision"): "admin",
    ("POST", "/v1/advice-decisions"): "admin",
    ("POST", "/v1/checklist"): "read unscoped",
    ("POST", "/v1/told-checklist"): "read unscoped",
    ("POST", "/v1/estimates/job"): "anybody",
    ("PUT", "/v1/estimates/{name:path}"): "ingest",
    ("GET", "/v1/estimates/{name:path}"): "read unscoped",
    ("POST", "/v1/estimates/stack"): "read",
    ("GET", "/v1/views"): "read unscoped",
    ("PUT", "/v1/views/{name}"): "admin",
    ("DELETE", "/v1/views/{name}"): "admin",
    ("GET", "/v1/notes"): "read unscoped",
    ("GET", "/v1/keys"): "admin",
    ("POST", "/v1/keys"): "admin",
    ("POST", "/v1/keys/{id}/rotate"): "admin",
    ("POST", "/v1/keys/{id}/revoke"): "admin",
    ("GET", "/analytics/compare"): "read",
}

MAY: dict[str, set[str]] = {
    "nobody": {"public"},
    "ingest": {"public", "anybody", "ingest"},
    "read": {"public", "anybody", "read", "read unscoped"},
    "admin": {"public", "anybody", "ingest", "read", "read unscoped", "admin"},
    "ingest of video": {"public", "anybody", "ingest"},
    "read of video": {"public", "anybody", "read"},
}
"""What each kind of caller may call. A route may show a scoped caller less, or say that it shows everybody's."""

CALL: dict[str, Any] = {"provider": "openai", "service": "gpt-4o", "usage": {"output_tokens": 100}}


class Access:
    """A server with a key of each kind, and calls of two projects in its ledger."""

    address = ""

    def __init__(self, ledger: outlay.Ledger) -> None:
        self.ledger = ledger
        self.keys: dict[str, str] = {}
        for kind in MAY:
            if kind != "nobody":
                role, _, project = kind.partition(" of ")
                scope = {"project": project} if project else {}
                _, self.keys[kind] = make_key(ledger.store, ledger.clock, roles=[role], scope=scope)
        _, self.keys["both of video"] = make_key(
            ledger.store, ledger.clock, roles=["ingest", "read"], scope={"project": "video"}
        )

    def client(self, kind: str) -> httpx.Client:
        headers = {} if kind == "nobody" else {"authorization": f"Bearer {self.keys[kind]}"}
        return httpx.Client(base_url=self.address, headers=headers)


@pytest.fixture(scope="module")
def access() -> Iterator[Access]:
    with outlay.open("memory:") as ledger:
        ledger.budget("all", limit="100", window="month", action="refuse")
        for project, user in (("video", "anna"), ("secret", "bert")):
            ledger.record(
                id=f"e-{project}",
                project=project,
                user=user,
                job=f"job-{project}",
                request=f"req-{project}",
                feature=f"feature-{project}",
                **CALL,
            )
        ledger.reserve(id="r-secret", project="secret", **CALL)
        ledger.reserve(id="r-video", project="video", **CALL)
        found = Access(ledger)
        with served(ledger) as server:
            found.address = server.address
            yield found


def declared() -> set[tuple[str, str]]:
    """Every route that the server has."""
    found = {("POST", path) for path in hot.HOT} | {("GET", path) for path in health.ROUTES}
    for name in routes.MODULES:
        for route in importlib.import_module(f"{routes.__name__}.{name}").router.routes:
            found |= {(method, route.path) for method in route.methods}
    found |= {(page.method, page.path) for page in every_page()}
    return found - {("GET", "/docs")}


def test_the_table_names_every_route() -> None:
    assert declared() == set(ROLES)


def outcome(client: httpx.Client, method: str, path: str) -> tuple[int, str]:
    """The status and code of a request that says nothing."""
    concrete = path.replace("{kind}", "user")
    while "{" in concrete:
        head, _, rest = concrete.partition("{")
        concrete = f"{head}nothing{rest.partition('}')[2]}"
    body = None if method == "GET" else b"{}"
    with client.stream(method, concrete, content=body, headers={"content-type": "application/json"}) as answer:
        if answer.headers.get("content-type", "").startswith("application/problem+json"):
            answer.read()
            return answer.status_code, answer.json()["code"]
        return answer.status_code, ""


@pytest.mark.parametrize("kind", MAY)
def test_a_caller_reaches_what_its_role_says_and_nothing_else(access: Access, kind: str) -> None:
    wrong = {}
    with access.client(kind) as client:
        for (method, path), role in ROLES.items():
            status, code = outcome(client, method, path)
            if role in MAY[kind]:
                refused = status == 401 or code == "wrong_role" or (status == 403 and " of " not in kind)
            else:
                refused = False
                if (status, code) not in {(401, "key_required"), (403, "wrong_role"), (403, "outside_scope")}:
                    refused = True
            if refused:
                wrong[method, path] = (role, status, code)
    assert wrong == {}


PERIODS = "before_since=2020-01-01&before_until=2020-02-01&since=2020-02-01&until=2100-01-01"
READS = (
    "/v1/costs?by=user",
    "/v1/costs?by=project",
    "/v1/costs?by=job&format=csv",
    "/v1/top?by=user",
    "/v1/top?by=feature",
    "/v1/receipts",
    "/v1/usage",
    "/v1/reports/day?running=true&by=user&by=project",
    "/v1/reports/month?running=true&form=markdown",
    "/v1/forecast?by=user&by=feature",
    f"/v1/compare?by=user,project&{PERIODS}",
    "/analytics/dashboard",
    "/analytics/features",
)


@pytest.mark.parametrize("path", READS)
def test_a_scoped_reader_sees_its_own_and_nothing_of_others(access: Access, path: str) -> None:
    with access.client("admin") as client:
        everything = client.get(path)
        assert everything.status_code == 200
    with access.client("read of video") as client:
        answer = client.get(path)
    assert answer.status_code in (200, 403)
    for theirs in ("secret", "bert"):
        assert theirs not in answer.text


@pytest.mark.parametrize(
    "path",
    [
        "/v1/receipts/e-secret",
        "/v1/jobs/job-secret",
        "/v1/requests/req-secret",
        "/v1/reservations/r-secret",
        "/analytics/costs/video/job-secret",
        "/v1/costs?where.project=secret",
        "/v1/costs?by=user&where.project=video&where.project=secret",
        "/v1/top?by=user&where.project=secret",
        "/v1/receipts?where.project=secret",
        "/v1/costs?where.project=",
        f"/v1/compare?by=user&before.project=secret&{PERIODS}",
        f"/v1/compare?by=user&after.project=secret&{PERIODS}",
    ],
)
def test_what_is_others_cannot_be_asked_for(access: Access, path: str) -> None:
    with access.client("read of video") as client:
        answer = client.get(path)
    assert answer.status_code in (403, 404), answer.text
    assert "bert" not in answer.text


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/events", {**CALL, "project": "secret"}),
        ("/v1/reserve", {**CALL, "project": "secret"}),
        ("/v1/check", {**CALL, "project": "secret"}),
        ("/v1/settle", {"id": "r-secret", "usage": {"output_tokens": 1}}),
        ("/v1/settle", {"id": "r-video", "usage": {"output_tokens": 1}, "project": "secret"}),
        ("/v1/release", {"id": "r-secret"}),
        ("/v1/reservations/release", {"id": "r-secret"}),
        ("/v1/reservations/extend", {"id": "r-secret", "seconds": 60}),
    ],
)
def test_what_is_others_cannot_be_written(access: Access, path: str, body: dict[str, Any]) -> None:
    with access.client("ingest of video") as client:
        answer = client.post(path, json=body)
    assert answer.status_code in (403, 404), answer.text
    assert access.ledger.reservation("r-secret").state == "open"


def test_what_a_key_fixes_is_on_everything_it_writes(access: Access) -> None:
    with access.client("both of video") as client:
        client.post("/v1/events", json={**CALL, "id": "forced"}).raise_for_status()
        batch = [{**CALL, "id": "forced-2"}, {**CALL, "id": "theirs", "project": "secret"}]
        outcomes = client.post("/v1/events", json=batch, headers={"x-outlay-project": "secret"}).json()["outcomes"]
    assert [one["outcome"] for one in outcomes] == ["created", "outside_scope"]
    assert [access.ledger.event(id).event.project for id in ("forced", "forced-2")] == ["video", "video"]
    with pytest.raises(outlay.NotFound):
        access.ledger.event("theirs")


def test_every_change_is_in_the_log_and_no_question_is(access: Access) -> None:
    before = len(access.ledger.store.logged_changes(10_000))
    with access.client("admin") as client:
        client.get("/v1/budgets").raise_for_status()
        client.post("/v1/events", json={**CALL, "id": "no-change"}).raise_for_status()
        put = client.put("/v1/budgets/logged", json={"fields": {"limit": "5", "window": "day"}})
        assert put.status_code == 200, put.text
        wrong = client.put("/v1/budgets/refused", json={"fields": {"limit": "-5", "window": "day"}})
        assert wrong.status_code == 422
        client.put("/v1/subjects/user/dora", json={"tier": "pro"}).raise_for_status()
        client.post("/v1/forget", json={"user": "dora"}).raise_for_status()
        newest = client.get("/v1/changes?limit=3").json()
    assert len(access.ledger.store.logged_changes(10_000)) == before + 3
    assert [(one["action"], one["subject"], one["detail"]) for one in newest] == [
        ("POST", "/v1/forget", "{}"),
        ("PUT", "/v1/subjects/{kind}/{name:path}", '{"kind":"user"}'),
        ("PUT", "/v1/budgets/{name}", '{"name":"logged"}'),
    ]
