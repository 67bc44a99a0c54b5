"""Alerts, their rules and reports by REST, asked of a real server."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from tests.served import Served

import outlay
from outlay.budgets.alerts import Message
from outlay.clock import FrozenClock


@pytest.fixture(scope="module")
def ledger() -> Iterator[outlay.Ledger]:
    with outlay.open("memory:", clock=FrozenClock("2026-11-10T12:00:00Z")) as ledger:
        yield ledger


@pytest.fixture(scope="module")
def client(ledger: outlay.Ledger) -> Iterator[httpx.Client]:
    served = Served(ledger)
    served.start()
    with httpx.Client(base_url=served.address) as client:
        yield client
    served.stop()


def test_a_rule_fires_and_a_person_acknowledges_it(client: httpx.Client, ledger: outlay.Ledger) -> None:
    told = client.put("/v1/alert-rules/daily", json={"above": "50", "where": {"provider": "aws"}}).json()
    assert (told["amount"], told["where"]) == ("50.00", {"provider": ["aws"]})
    event = {"provider": "aws", "service": "lambda", "reported_cost": "51", "user": "u1"}
    assert client.post("/v1/events", json=event).status_code == 201
    before = client.get("/v1/alerts").json()
    assert (before["alerts"], before["undelivered"], before["watched"]) == ([], 1, False)
    watcher = ledger.watcher({})
    watcher.round(timed=True)
    (alert,) = client.get("/v1/alerts", params={"open": True}).json()["alerts"]
    assert (alert["amount"], alert["threshold"], alert["acknowledged_by"]) == ("51.00", "50.00", "")
    seen = client.post(f"/v1/alerts/{alert['id']}/acknowledge", params={"who": "ana"})
    assert seen.json()["acknowledged_by"] == "ana"
    assert client.put(f"/v1/alerts/{alert['id']}/owner", json={"owner": "bob"}).json()["owner"] == "bob"
    assert client.post("/v1/alerts/nobody/resolve").json()["code"] == "no_such_alert"
    assert client.put("/v1/alert-rules/bad", json={"kind": "noise"}).json()["code"] == "bad_rule"
    assert client.delete("/v1/alert-rules/daily").status_code == 200
    assert client.get("/v1/alert-rules").json() == []


def test_a_report_is_answered_in_every_form_and_says_what_costs_says(client: httpx.Client) -> None:
    client.post("/v1/events", json={"provider": "x", "service": "y", "reported_cost": "2", "user": "u2"})
    costs = client.get("/v1/costs", params={"where.user": "u2"}).json()["total"]["cost"]
    report = client.get("/v1/reports/month", params={"running": True, "where.user": "u2"}).json()
    assert report["total"] == costs == "2.00"
    assert {"alerts", "budgets"}.isdisjoint(one["name"] for one in report["sections"])
    for form, kind in (("markdown", "text/markdown"), ("csv", "text/csv"), ("html", "text/html")):
        answer = client.get("/v1/reports/month", params={"running": True, "form": form})
        assert answer.headers["content-type"].startswith(kind)
        assert "Monthly Cost Report" in answer.text or form == "csv"
    page = client.get("/v1/reports/month", params={"running": True, "form": "html"})
    assert 'src="data:image/svg+xml;base64,' in page.text, "its pictures are drawn in it"
    assert "img-src data:" in page.headers["content-security-policy"]
    assert client.get("/v1/reports/day", params={"by": "colour"}).json()["code"] == "unknown_dimension"


def test_own_reports_are_told_and_sent_by_rest(client: httpx.Client, ledger: outlay.Ledger) -> None:
    got: list[Message] = []
    ledger.channel_settings = {"list": got.append}
    ledger.define_report("weekly", period="week", on="friday", recipients="list", form="csv", at="07:30")
    (defined,) = client.get("/v1/own-reports").json()
    assert (defined["period"], defined["on"], defined["at"], defined["recipients"]) == ("week", 4, "07:30", ["list"])
    assert client.get("/v1/own-reports/weekly").json()["title"] == "Weekly Cost Report - 2026-W44"
    assert client.get("/v1/own-reports/nobody").json()["code"] == "no_such_report"
    for _ in range(2):
        sent = client.post("/v1/own-reports/weekly/send").json()
        assert (sent["pending"], sent["deliveries"][0]["recipient"]) == (False, "list")
    assert [message.files[0].kind for message in got] == ["text/csv"]
    assert client.get("/v1/report-dispatches").json() == [sent]
    assert client.put("/v1/notes/2026-11-09", json={"text": "High traffic"}).status_code == 200
    assert client.put("/v1/notes/yesterday", json={"text": "x"}).status_code == 422


def test_channels_are_named_and_tested_and_rules_snoozed_by_rest(client: httpx.Client, ledger: outlay.Ledger) -> None:
    got: list[Message] = []
    ledger.channel_settings = {"list": got.append}
    assert client.get("/v1/channels").json() == ["list"]
    assert client.post("/v1/channels/list/test").json() == {"outcome": "sent"}
    assert [message.title for message in got] == ["Outlay: a test"]
    assert client.post("/v1/channels/nobody/test").json()["code"] == "no_such_channel"
    told = client.put("/v1/snoozes/daily", json={"until": "2026-11-11"}).json()
    assert told == {"rule": "daily", "until": "2026-11-11T00:00:00Z"}
    assert client.get("/v1/undelivered-alerts").json()["dead"] == 0
    rule = {"kind": "anomaly", "at": "5", "percent": 30, "need": "either"}
    told = client.put("/v1/alert-rules/unusual", json=rule).json()
    assert (told["amount"], told["percent"], told["need"]) == ("5.00", 30, "either")
