"""Bills from where providers keep them: buckets, Cost Explorer, cost APIs; each asked as sparingly as it costs."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from urllib.request import Request, urlopen

import boto3
import botocore.session
import pytest
from botocore.stub import Stubber
from moto.server import ThreadedMotoServer
from typer.testing import CliRunner

import outlay
from outlay.capture.statements import BilledRow
from outlay.faces.bills.deliveries import delivered
from outlay.faces.bills.providers import (
    anthropic_costs,
    api_of,
    book_predictions,
    openai_costs,
    read_balance,
    replicate_predictions,
)
from outlay.faces.cli.commands import app

SINCE, UNTIL = date(2026, 3, 1), date(2026, 3, 2)
MARCH_1_S = 1_772_323_200  # 2026-03-01T00:00:00Z
FOCUS = (
    "BilledCost,BillingCurrency,BillingPeriodStart,ChargePeriodStart,ChargePeriodEnd,ProviderName,ServiceName\n"
    "1.25,USD,2026-03-01T00:00:00Z,2026-03-01T00:00:00Z,2026-03-02T00:00:00Z,AWS,Amazon RDS\n"
)


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def cloud(moto: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    with urlopen(Request(f"{moto}/moto-api/reset", method="POST")):
        pass
    monkeypatch.chdir(tmp_path)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    for name, value in (("AWS_ENDPOINT_URL", moto), ("AWS_DEFAULT_REGION", "us-east-1"), ("AWS_MAX_ATTEMPTS", "1")):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return moto


def run(*arguments: str) -> Any:
    result = CliRunner().invoke(app, [*arguments, "--ledger", "outlay.db", "--json"])
    assert result.exit_code == 0, f"{result.output}\n{result.stderr}\n{result.exception!r}"
    return json.loads(result.stdout)


# Buckets and other addresses


def test_a_bucket_is_imported_and_its_copies_go_away(cloud: str) -> None:
    client = boto3.client("s3")
    client.create_bucket(Bucket="bills")
    client.put_object(Bucket="bills", Key="focus/data/BILLING_PERIOD=2026-03/focus-00001.csv", Body=FOCUS.encode())
    done = run("import", "s3://bills/focus")
    assert (done["rows_charged"], done["cost_booked"], done["rejected"]) == (1, "1.25", 0)
    with delivered("s3://bills/focus") as found:
        copy = found.tables[0].path
        assert copy.is_file()
    assert not copy.exists()


def test_a_bucket_that_cannot_be_read_says_so(cloud: str) -> None:
    for address, code in (("s3://nowhere/x", "source_unreachable"), ("s3://", "unknown_address")):
        with pytest.raises(outlay.OutlayError) as refused, delivered(address):
            pass
        assert refused.value.code == code


def test_any_address_that_fsspec_knows_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "focus.csv").write_text(FOCUS)
    assert run("import", f"file://{tmp_path}/focus.csv")["cost_booked"] == "1.25"
    with pytest.raises(outlay.InvalidInput) as refused, delivered("nosuch://x/y"):
        pass
    assert refused.value.code == "unknown_address"


# Cost Explorer


def seed_cost_explorer(moto: str, *results: dict[str, Any]) -> None:
    body = json.dumps({"results": list(results)}).encode()
    request = Request(f"{moto}/moto-api/static/ce/cost-and-usage-results", data=body, method="POST")
    with urlopen(request):
        pass


def explored(*groups: tuple[str, str], token: str | None = None) -> dict[str, Any]:
    found: dict[str, Any] = {
        "GroupDefinitions": [{"Type": "DIMENSION", "Key": "SERVICE"}, {"Type": "DIMENSION", "Key": "USAGE_TYPE"}],
        "ResultsByTime": [
            {
                "TimePeriod": {"Start": "2026-03-01", "End": "2026-03-02"},
                "Total": {},
                "Groups": [
                    {
                        "Keys": [service, "Usage-Hrs"],
                        "Metrics": {
                            "UnblendedCost": {"Amount": cost, "Unit": "USD"},
                            "UsageQuantity": {"Amount": "24", "Unit": "Hrs"},
                        },
                    }
                    for service, cost in groups
                ],
                "Estimated": True,
            }
        ],
        "DimensionValueAttributes": [],
    }
    return {**found, "NextPageToken": token} if token else found


def test_the_answers_of_these_tests_have_the_shape_that_botocore_expects() -> None:
    client = botocore.session.get_session().create_client("ce", region_name="us-east-1")
    Stubber(client).add_response("get_cost_and_usage", explored(("Amazon RDS", "0.41"), token="more"))


def test_yesterdays_bill_is_shown_by_service_and_in_total_over_pages_and_each_request_is_booked_once(
    cloud: str,
) -> None:
    seed_cost_explorer(
        cloud, explored(("Amazon RDS", "0.41"), ("AWS Lambda", "0.01"), token="2"), explored(("Amazon RDS", "0.09"))
    )
    asked = ("bill", "aws", "--since", "2026-03-01", "--until", "2026-03-02")
    told = run(*asked)
    assert {row["service"]: row["cost"] for row in told["rows"]} == {
        "Amazon RDS": "0.50",
        "AWS Lambda": "0.01",
        "total": "0.51",
    }
    with outlay.open("outlay.db") as ledger:
        assert ledger.costs(where={"service": "cost-explorer"}).total.amount == Decimal("0.02")  # two pages
    assert run(*asked, "--keep")["charged"] == "0.51"  # from the answer that was kept: nothing is paid again
    with outlay.open("outlay.db") as ledger:
        assert ledger.costs(where={"service": "cost-explorer"}).total.amount == Decimal("0.02")
        assert ledger.costs(where={"basis": "billed"}).total.amount == Decimal("0.51")


def test_cost_explorer_out_of_reach_is_an_error_and_costs_nothing(
    cloud: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    result = CliRunner().invoke(app, ["bill", "aws", "--yesterday", "--ledger", "outlay.db"])
    assert result.exit_code == 3
    assert "source_unreachable" in result.stderr
    with outlay.open("outlay.db") as ledger:
        assert ledger.costs().events == 0


# The providers' cost APIs


class Provider:
    """A provider's API as its documents say it answers: pages by path, each asked with what it was asked."""

    def __init__(self, answers: dict[str, list[Any]]) -> None:
        self.answers = answers
        self.asked: list[tuple[str, dict[str, list[str]]]] = []
        self.headers: dict[str, str] = {}


@contextmanager
def served(provider: Provider) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            provider.asked.append((parts.path, parse_qs(parts.query)))
            provider.headers = {name.lower(): value for name, value in self.headers.items()}
            answer = provider.answers[parts.path].pop(0)
            status, body = (answer, {"error": "busy"}) if isinstance(answer, int) else (200, answer)
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *arguments: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def bucket(results: list[dict[str, Any]], *, token: str | None = None) -> dict[str, Any]:
    data = [
        {"object": "bucket", "start_time": MARCH_1_S, "end_time": MARCH_1_S + 86_400, "results": results},
    ]
    return {"object": "page", "data": data, "has_more": token is not None, "next_page": token}


def openai_cost(value: float, item: str) -> dict[str, Any]:
    return {
        "object": "organization.costs.result",
        "amount": {"value": value, "currency": "usd"},
        "line_item": item,
        "project_id": "proj_1",
    }


def test_openais_costs_come_page_by_page_with_what_was_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_ADMIN_KEY", "sk-admin-test")
    usage = {"model": "gpt-4o-2024-08-06", "input_tokens": 1200, "input_cached_tokens": 200, "output_tokens": 300}
    provider = Provider(
        {
            "/v1/organization/costs": [
                429,  # asked again after a moment
                bucket([openai_cost(0.0025, "gpt-4o-2024-08-06, input")], token="p2"),
                bucket([openai_cost(0.003, "gpt-4o-2024-08-06, output"), openai_cost(1.5, "assistants api")]),
            ],
            "/v1/organization/usage/completions": [bucket([usage])],
        }
    )
    with served(provider) as address:
        report = openai_costs(api_of("openai", address=address, pause_s=0.01), SINCE, UNTIL)
    rows = [row for row in report.rows if isinstance(row, BilledRow)]
    assert [(row.service, row.cost, row.meter, row.quantity) for row in rows] == [
        ("gpt-4o-2024-08-06", "0.0025", "input_tokens", "1000"),  # 1,200 less the 200 that were cached
        ("gpt-4o-2024-08-06", "0.003", "output_tokens", "300"),
        ("assistants api", "1.5", None, ""),
    ]
    assert provider.asked[2][1]["page"] == ["p2"]
    assert provider.headers["authorization"] == "Bearer sk-admin-test"


def test_anthropics_amounts_are_hundredths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_ADMIN_KEY", "sk-ant-admin-test")
    span = {"starting_at": "2026-03-01T00:00:00Z", "ending_at": "2026-03-02T00:00:00Z"}
    cost = {
        "currency": "USD",
        "amount": "123.78912",
        "model": "claude-sonnet-4",
        "token_type": "cache_creation.ephemeral_5m_input_tokens",
        "cost_type": "tokens",
        "workspace_id": "w1",
        "description": "Claude Sonnet 4 Usage - Cache Write",
    }
    used = {"model": "claude-sonnet-4", "cache_creation": {"ephemeral_5m_input_tokens": 330_104}}
    provider = Provider(
        {
            "/v1/organizations/cost_report": [{"data": [{**span, "results": [cost]}], "has_more": False}],
            "/v1/organizations/usage_report/messages": [{"data": [{**span, "results": [used]}], "has_more": False}],
        }
    )
    with served(provider) as address:
        report = anthropic_costs(api_of("anthropic", address=address), SINCE, UNTIL)
    [row] = report.rows
    assert isinstance(row, BilledRow)
    assert (row.cost, row.quantity, row.meter) == ("1.2378912", "330104", "cache_write_5m_tokens")
    assert provider.headers["x-api-key"] == "sk-ant-admin-test"


def test_replicates_predictions_become_calls_once_and_their_texts_stay_there(
    memory: outlay.Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPLICATE_API_TOKEN", "r8_test")

    def prediction(id: str, status: str = "succeeded", created: str = "2026-03-01T10:00:00Z") -> dict[str, Any]:
        return {
            "id": id,
            "model": "stability-ai/sdxl",
            "version": "v1",
            "status": status,
            "created_at": created,
            "completed_at": "2026-03-01T10:00:09Z",
            "metrics": {"predict_time": 4.25},
            "input": {"prompt": "a secret"},
            "urls": {"get": f"https://api.replicate.com/v1/predictions/{id}"},
        }

    def pages(address: str) -> list[Any]:
        return [
            {
                "results": [prediction("p1"), prediction("p2", "processing")],
                "next": f"{address}/v1/predictions?cursor=2",
            },
            {"results": [prediction("p3"), prediction("old", created="2026-02-28T23:00:00Z")], "next": None},
        ]

    provider = Provider({"/v1/predictions": []})
    with served(provider) as address:
        provider.answers["/v1/predictions"] = pages("https://elsewhere.example")
        api = api_of("replicate", address=address)
        first = list(book_predictions(memory, replicate_predictions(api, SINCE, UNTIL)))
        provider.answers["/v1/predictions"] = pages(address)
        again = list(book_predictions(memory, replicate_predictions(api, SINCE, UNTIL)))
    assert [outcome.code for outcome in first] == ["created", "created"]
    assert [outcome.code for outcome in again] == ["exists", "exists"]
    [row] = memory.costs(("provider", "service"), quantities=True)
    assert row.keys == ("replicate", "stability-ai/sdxl")
    assert "secret" not in repr(memory.event("replicate:p1"))


def test_a_refusal_names_what_is_needed_and_never_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_ADMIN_KEY", raising=False)
    with pytest.raises(outlay.InvalidInput, match="OPENAI_ADMIN_KEY") as missing:
        api_of("openai")
    assert missing.value.code == "missing_secret"
    monkeypatch.setenv("OPENAI_ADMIN_KEY", "sk-secret")
    with (
        served(Provider({"/v1/organization/costs": [401]})) as address,
        pytest.raises(outlay.LedgerError, match="admin key") as refused,
    ):
        openai_costs(api_of("openai", address=address), SINCE, UNTIL)
    assert refused.value.code == "source_refused"
    assert "sk-secret" not in str(refused.value)


# Prepaid balances


def test_a_prepaid_balance_tells_the_day_it_runs_out(memory: outlay.Ledger, clock: outlay.FrozenClock) -> None:
    clock.set("2026-03-01T00:00:00Z")
    told = memory.note_balance("replicate", "10.00")
    assert (told.left.amount, told.runs_out) == (Decimal("10.00"), None)
    for day in range(1, 8):
        at = f"2026-03-{day:02d}T06:00:00Z"
        clock.set(at)
        memory.record(provider="replicate", service="x", usage={}, reported_cost="0.50", time=at)
    found = memory.balance("replicate", days=7)
    assert (found.left.amount, found.spent.amount) == (Decimal("6.50"), Decimal("3.50"))
    assert found.burn.amount == Decimal("0.50")  # $3.50 in 7 days
    assert found.runs_out == date(2026, 3, 20)  # 6.50 / 0.50 = 13 days after the 7th
    clock.advance(hours=1)
    memory.note_balance("replicate", "20.00")  # a top-up: what there is after it
    assert memory.balance("replicate").left.amount == Decimal("20.00")
    with pytest.raises(outlay.NotFound) as unknown:
        memory.balance("stability")
    assert unknown.value.code == "no_balance"


def test_balances_that_providers_tell_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: dict[str, tuple[str, Any, str]] = {
        "openrouter": ("/api/v1/credits", {"data": {"total_credits": 25.5, "total_usage": 5.25}}, "20.25"),
        "deepseek": ("/user/balance", {"balance_infos": [{"currency": "USD", "total_balance": "110.00"}]}, "110.00"),
        "stability": ("/v1/user/balance", {"credits": 643.5}, "6.435"),
    }
    for name, (path, body, expected) in answers.items():
        monkeypatch.setenv(f"{name.upper()}_API_KEY", "key")
        with served(Provider({path: [body]})) as address:
            assert read_balance(api_of(name, address=address), "USD") == (expected, path)
