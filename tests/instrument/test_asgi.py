"""The ASGI middleware, on FastAPI, Starlette and a plain application."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route

import outlay
from outlay.instrument.asgi import OutlayMiddleware, header
from outlay.instrument.envelope import RequestCost, current_request

IN_OUT = {"input_tokens": 1_000, "output_tokens": 100}
# gpt-4o: 1,000 × $2.50 and 100 × $10 a million.
COST = Decimal("0.0035")


def call(ledger: outlay.Ledger, **fields: Any) -> None:
    ledger.record(provider="openai", service="gpt-4o", operation="chat", usage=IN_OUT, **fields)


def get(app: Any, path: str, **options: Any) -> httpx.Response:
    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
            return await client.request(options.pop("method", "GET"), path, **options)

    return asyncio.run(ask())


@pytest.fixture(params=["memory", "file"])
def ledger(request: pytest.FixtureRequest, clock: outlay.FrozenClock, tmp_path: Path) -> Iterator[outlay.Ledger]:
    address = "memory:" if request.param == "memory" else str(tmp_path / "outlay.db")
    with outlay.open(address, clock=clock) as opened:
        yield opened


def fastapi_app(ledger: outlay.Ledger, **options: Any) -> FastAPI:
    app = FastAPI()

    @app.get("/videos/{video}")
    async def make_video(video: str) -> dict[str, str]:
        call(ledger, job=video)
        await asyncio.to_thread(call, ledger)
        return {"video": video}

    @app.get("/threaded")
    def threaded() -> dict[str, bool]:  # Runs in FastAPI's thread pool.
        call(ledger)
        return {}

    app.add_middleware(OutlayMiddleware, ledger=ledger, user=lambda scope: header(scope, "x-user"), **options)
    return app


def test_the_calls_of_a_request_are_attributed_and_their_sum_is_in_the_header(ledger: outlay.Ledger) -> None:
    answer = get(fastapi_app(ledger), "/videos/v7", headers={"x-user": "u42"})
    assert Decimal(answer.headers["x-outlay-cost"]) == 2 * COST
    ledger.flush()
    receipts = ledger.request(answer.headers["x-outlay-request"]).receipts
    assert [(one.event.user, one.event.feature) for one in receipts] == [("u42", "/videos/{video}")] * 2
    assert {one.event.job for one in receipts} == {"v7", None}
    assert answer.json() == {"video": "v7"}


def test_a_function_in_the_thread_pool_is_inside_its_request(ledger: outlay.Ledger) -> None:
    answer = get(fastapi_app(ledger), "/threaded")
    assert Decimal(answer.headers["x-outlay-cost"]) == COST
    ledger.flush()
    assert ledger.costs("feature").rows[0].keys == ("/threaded",)


def test_requests_at_the_same_time_keep_their_costs_apart(ledger: outlay.Ledger) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        for _ in range(int(scope["path"][1:])):
            call(ledger)
            await asyncio.sleep(0)
        await Response(b"done")(scope, receive, send)

    served = OutlayMiddleware(app, ledger)

    async def ask_all() -> list[Decimal]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=served), base_url="http://app") as client:
            answers = await asyncio.gather(*(client.get(f"/{number}") for number in range(20)))
        return [Decimal(answer.headers["x-outlay-cost"]) for answer in answers]

    assert asyncio.run(ask_all()) == [number * COST for number in range(20)]


def test_threads_of_a_request_add_to_it_at_the_same_time(ledger: outlay.Ledger) -> None:
    def work() -> None:
        with ThreadPoolExecutor(8) as pool:
            for future in [pool.submit(copy_context().run, call, ledger) for _ in range(40)]:
                future.result()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.to_thread(work)
        await Response(b"done")(scope, receive, send)

    assert Decimal(get(OutlayMiddleware(app, ledger), "/").headers["x-outlay-cost"]) == 40 * COST


def test_the_envelope_has_the_documents_fields_and_leaves_the_rest_of_the_body_as_it_was_written(
    ledger: outlay.Ledger,
) -> None:
    written = b'{"answer": "caf\xc3\xa9",\n  "n": 1.10}\n'

    async def query(request: Request) -> Response:
        call(ledger)
        return Response(written, media_type="application/json")

    app = Starlette(routes=[Mount("/api", routes=[Route("/query", query)])])
    answer = get(OutlayMiddleware(app, ledger, envelope=True), "/api/query")
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert answer.content.startswith(written.rstrip()[:-1])
    body = json.loads(answer.content, parse_float=Decimal)
    assert body["answer"] == "café"
    assert body["cost"] == {
        "request_id": answer.headers["x-outlay-request"],
        "operation": "query",
        "total_cost": COST,
        "currency": "USD",
        "cost_breakdown": [
            {"service": "openai", "operation": "chat", "cost": COST, "unit": "tokens", "quantity": 1_100}
        ],
        "timestamp": "2026-03-10T12:00:00Z",
    }


def test_the_usage_block_counts_the_request_itself(ledger: outlay.Ledger) -> None:
    ledger.budget("calls", each="user", limits={"day": 50, "month": 1000}, meter="calls")
    app = fastapi_app(ledger, envelope=True, usage=True)
    body = get(app, "/videos/v7", headers={"x-user": "u42"}).json()
    assert body["usage"] == {"daily_used": 2, "daily_limit": 50, "monthly_used": 2, "monthly_limit": 1000}
    assert body["video"] == "v7"


def test_a_user_that_only_the_handler_knows_is_said_there(ledger: outlay.Ledger) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        request = current_request()
        assert request is not None
        request.attribute(user="u7", customer="acme")
        call(ledger)
        await JSONResponse([1])(scope, receive, send)

    get(OutlayMiddleware(app, ledger, feature="chat"), "/")
    ledger.flush()
    (receipt,) = ledger.top("request", limit=1).rows
    (kept,) = ledger.request(receipt.keys[0] or "").receipts
    assert (kept.event.user, kept.event.customer, kept.event.feature) == ("u7", "acme", "chat")


UNTOUCHED = {
    "a list": JSONResponse([1, 2]),
    "text": PlainTextResponse("hello"),
    "JSON that is none": Response(b"{nonsense", media_type="application/json"),
    "an error": JSONResponse({"detail": "no"}, status_code=422),
    "no body": Response(status_code=204),
    "a coded body": Response(b"{}", media_type="application/json", headers={"content-encoding": "br"}),
    "a digested body": Response(b"{}", media_type="application/json", headers={"etag": '"abc"'}),
}


@pytest.mark.parametrize("case", UNTOUCHED)
def test_what_is_no_json_object_or_no_success_keeps_its_body(memory: outlay.Ledger, case: str) -> None:
    response = UNTOUCHED[case]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        call(memory)
        await response(scope, receive, send)

    async def raw() -> tuple[int, dict[bytes, bytes], bytes]:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
        await OutlayMiddleware(app, memory, envelope=True)(scope, None, send)  # type: ignore[arg-type]  # asks nothing
        return sent[0]["status"], dict(sent[0]["headers"]), b"".join(one.get("body", b"") for one in sent[1:])

    status, headers, body = asyncio.run(raw())
    assert (status, body) == (response.status_code, response.body)
    assert headers.get(b"content-length") in (None, str(len(body)).encode())
    assert headers[b"x-outlay-cost"] == b"0.0035"


def test_members_that_the_application_wrote_itself_stand(memory: outlay.Ledger) -> None:
    app = OutlayMiddleware(JSONResponse({"cost": "mine"}), memory, envelope=True)
    assert get(app, "/").json() == {"cost": "mine"}
    assert get(OutlayMiddleware(JSONResponse({}), memory, envelope="spent"), "/").json()["spent"]["total_cost"] == 0


def test_an_exception_goes_on_and_its_calls_stay(memory: outlay.Ledger) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        call(memory)
        raise ZeroDivisionError

    ended: list[RequestCost] = []
    served = OutlayMiddleware(app, memory, finished=ended.append)
    with pytest.raises(ZeroDivisionError):
        asyncio.run(served({"type": "http", "path": "/", "headers": []}, None, None))  # type: ignore[arg-type]  # not reached
    assert [request.total.amount for request in ended] == [COST]
    assert current_request() is None


STREAMS = {
    "text/event-stream": (b"data: a\n\n", b"data: [DONE]\n\n"),
    "application/x-ndjson": (b'{"n": 1}\n', b'{"n": 2}'),
}


@pytest.mark.parametrize("media_type", STREAMS)
def test_a_stream_gets_its_cost_as_the_last_event_and_is_not_held_back(
    ledger: outlay.Ledger, media_type: str
) -> None:
    chunks = STREAMS[media_type]

    async def produce() -> AsyncIterator[bytes]:
        for chunk in chunks:
            call(ledger)
            yield chunk

    app = FastAPI()
    app.add_api_route("/stream", lambda: StreamingResponse(produce(), media_type=media_type))
    seen: list[bytes] = []

    async def read() -> httpx.Headers:
        served = OutlayMiddleware(app, ledger, envelope=True)
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        async def receive() -> Any:
            await asyncio.sleep(60)

        scope = {"type": "http", "method": "GET", "path": "/stream", "headers": [], "query_string": b""}
        await served(scope, receive, send)
        seen.extend(message["body"] for message in sent[1:])
        return httpx.Headers(sent[0]["headers"])

    headers = asyncio.run(read())
    assert "x-outlay-cost" not in headers
    assert headers["x-outlay-request"]
    assert tuple(seen[:2]) == chunks
    last = seen[-1].decode()
    if media_type == "text/event-stream":
        assert last.startswith("event: cost\ndata: {")
        assert last.endswith("}\n\n")
        block = json.loads(last.removeprefix("event: cost\ndata: "), parse_float=Decimal)
    else:
        assert last.startswith("\n{")
        block = json.loads(last, parse_float=Decimal)
    assert block["cost"]["total_cost"] == 2 * COST
    assert block["cost"]["operation"]


def test_a_retry_of_another_request_s_call_costs_this_one_nothing(memory: outlay.Ledger) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.to_thread(call, memory, id="call-1", request="first")
        await Response(b"done")(scope, receive, send)

    served = OutlayMiddleware(app, memory, request_id=lambda scope: scope["path"][1:])
    assert get(served, "/first").headers["x-outlay-cost"] == "0.0035"
    assert get(served, "/second").headers["x-outlay-cost"] == "0.00"


def test_a_call_without_a_price_is_said_in_the_envelope(memory: outlay.Ledger) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        memory.record(provider="openai", service="gpt-unheard-of", usage={"input_tokens": 5})
        await JSONResponse({})(scope, receive, send)

    block = get(OutlayMiddleware(app, memory, envelope=True), "/").json()["cost"]
    assert (block["unpriced"], block["total_cost"]) == (1, 0)


def test_a_ledger_that_cannot_be_opened_fails_no_request(monkeypatch: pytest.MonkeyPatch) -> None:
    def busy() -> outlay.Ledger:
        raise outlay.LedgerBusy("others held it for too long")

    monkeypatch.setattr(outlay, "current_ledger", busy)
    answer = get(OutlayMiddleware(PlainTextResponse("served"), envelope=True), "/")
    assert (answer.status_code, answer.text) == (200, "served")
    assert "x-outlay-cost" not in answer.headers
