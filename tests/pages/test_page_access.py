"""Who gets in, what they see, and whose forms count."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import httpx
import jwt
import pytest
from tests.pages.conftest import RUNAWAY, Company
from tests.served import Served, served

import outlay
from outlay.faces.server.pages.site import every_page
from outlay.faces.server.settings import ServerSettings, TokenIssuer

HTML = {"accept": "text/html"}
SECRET = b"a secret of thirty-two bytes or more"


def client(address: str) -> httpx.Client:
    return httpx.Client(base_url=address, headers=HTML)


@contextmanager
def enter(company: Company, key: str) -> Iterator[httpx.Client]:
    with client(company.address) as found:
        answer = found.post("/signin", data={"credential": company.keys[key], "next": "/explore"})
        assert (answer.status_code, answer.headers["location"]) == (303, "/explore")
        yield found


def token_in(page: str) -> str:
    return str(re.findall(r'name="form_token" value="([0-9a-f]+)"', page)[0])


def test_a_stranger_is_shown_the_door_and_comes_back_to_where_he_wanted_to_go(company: Company) -> None:
    with client(company.address) as stranger:
        answer = stranger.get("/explore?by=user")
        assert (answer.status_code, answer.headers["location"]) == (303, "/signin?next=%2Fexplore%3Fby%3Duser")
        wrong = stranger.post("/signin", data={"credential": "outlay_nobody_nothing", "next": "//evil.example"})
        assert wrong.status_code == 422
        assert "This key is not known here" in wrong.text
        assert 'value="/"' in wrong.text
        assert "set-cookie" not in wrong.headers
        assert stranger.get("/budgets", headers={"accept": "application/json"}).json()["code"] == "key_required"


def test_the_session_is_out_of_reach_of_scripts_and_other_sites(company: Company) -> None:
    with client(company.address) as visitor:
        answer = visitor.post("/signin", data={"credential": company.keys["read"], "next": "/"})
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert company.keys["read"] not in cookie
        assert "unsafe" not in visitor.get("/").headers["content-security-policy"]
        visitor.cookies.set("outlay_session", "forged")
        assert visitor.get("/").status_code == 303


def test_signing_out_ends_the_session(company: Company) -> None:
    with enter(company, "read") as visitor:
        assert visitor.get("/").status_code == 200
        assert visitor.post("/signout").headers["location"] == "/signin"
        assert visitor.get("/").status_code == 303


@pytest.mark.parametrize(
    ("headers", "with_token"),
    [
        ({}, False),
        ({"origin": "https://evil.example"}, True),
        ({"origin": "null"}, True),
        ({"sec-fetch-site": "cross-site"}, True),
    ],
)
def test_a_form_of_another_site_changes_nothing(company: Company, headers: dict[str, str], with_token: bool) -> None:
    with enter(company, "admin") as visitor:
        fields = {"name": "forged", "limit": "1", "window": "day", "why": "mischief"}
        if with_token:
            fields["form_token"] = token_in(visitor.get("/budgets").text)
        answer = visitor.post("/budgets", data=fields, headers=headers)
    assert answer.status_code == 403
    assert "foreign_form" in answer.text
    assert "forged" not in {one.key.budget for one in company.ledger.budgets()}


def test_a_form_of_another_visitor_does_not_count(company: Company) -> None:
    with enter(company, "read") as reader, enter(company, "admin") as admin:
        theirs = token_in(admin.get("/budgets").text)
        fields = {"name": "forged", "limit": "1", "window": "day", "why": "x", "form_token": theirs}
        assert reader.post("/budgets", data=fields).status_code == 403


def test_a_user_sees_their_own_and_nothing_of_others(company: Company) -> None:
    others = ("emil", "freja", "northwind-media", "harbor-schools", "video-065-00")
    with enter(company, "goran") as visitor:
        assert visitor.get("/").headers["location"] == "/me"
        mine = visitor.get("/me").text
        spent = company.ledger.costs(where={"user": "goran"}, since="2026-07-01", until="2026-07-07").total
        assert f'value="{spent.amount}"' in mine
        for page in every_page():
            if page.method == "GET" and page.role.startswith("read") and page.path != "/live":
                path = page.path.replace("{kind}", "user").replace("{name:path}", "emil").replace("{id:path}", "none")
                answer = visitor.get(path.replace("{id}", "none"))
                assert answer.status_code in (200, 303, 403, 404, 422), path
                body = answer.text.replace("/people/user/emil", "")
                assert [name for name in others if f">{name}<" in body or f'"{name}"' in body] == [], path
        assert visitor.get("/explore?where.user=emil").status_code == 403


def test_what_people_said_of_a_job_or_an_anomaly_stands_on_its_page(company: Company) -> None:
    (episode, *_) = company.ledger.anomalies(since=RUNAWAY - timedelta(days=29))
    company.ledger.note_job("video-065-loop", "Refunded <b>in full</b>")
    company.ledger.note_anomaly(episode.id, "A retry without an end")
    company.ledger.note_job("video-017-05", "Of another job")
    with enter(company, "read") as visitor:
        page = visitor.get("/jobs/video-065-loop").text
        assert "Refunded &lt;b&gt;in full&lt;/b&gt;" in page
        assert "Of another job" not in page
        since = RUNAWAY - timedelta(days=29)
        assert "A retry without an end" in visitor.get(f"/anomalies/{episode.id}?since={since}").text


def test_a_key_that_only_writes_sees_no_page(company: Company) -> None:
    with enter(company, "ingest") as visitor:
        assert visitor.get("/").status_code == 403


@pytest.fixture(scope="module")
def tokened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    file = tmp_path_factory.mktemp("issuer") / "secret"
    file.write_bytes(SECRET)
    issuer = TokenIssuer(issuer="https://id.example", audience="outlay", algorithm="HS256", secret_file=str(file))
    with outlay.open("memory:", clock=outlay.FrozenClock("2026-07-06T12:00:00Z")) as ledger:
        ledger.record(provider="openai", service="gpt-4o", usage={"output_tokens": 100}, user="anna")
        with served(ledger, ServerSettings(issuers=(issuer,))) as server:
            yield server


def test_a_token_of_the_organisation_opens_the_door_to_its_users_page(tokened: Served) -> None:
    claims = {"iss": "https://id.example", "aud": "outlay", "sub": "anna", "exp": 1_783_400_000}
    with client(tokened.address) as visitor:
        answer = visitor.post("/signin", data={"credential": jwt.encode(claims, SECRET, "HS256"), "next": "/"})
        assert answer.status_code == 303
        assert 'value="0.001"' in visitor.get("/me").text
        bad = jwt.encode({**claims, "exp": 1}, SECRET, "HS256")
        assert visitor.post("/signin", data={"credential": bad}).status_code == 422


def test_every_page_of_an_empty_ledger_stands(tokened: Served) -> None:
    with outlay.open("memory:") as ledger, served(ledger) as server, client(server.address) as visitor:
        for page in every_page():
            if page.method == "GET" and "{" not in page.path and page.path not in ("/live", "/charts/anomaly"):
                answer = visitor.get(page.path)
                assert answer.status_code in (200, 303) or page.path in (
                    "/me",
                    "/charts/change",
                    "/charts/quantity",
                ), (
                    page.path,
                    answer.text[-400:],
                )


def test_without_the_library_that_renders_pages_all_else_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith(("jinja2", "outlay.faces.server.pages."))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with outlay.open("memory:") as ledger, served(ledger) as server, client(server.address) as visitor:
        assert visitor.get("/").json()["code"] == "no_such_route"
        assert visitor.get("/v1/costs").status_code == 200
