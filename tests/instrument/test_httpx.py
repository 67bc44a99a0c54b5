"""The httpx transport, against a real server on this machine; Stability and ElevenLabs from fixtures made by hand."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.playback_server import Answer, PlaybackServer

import outlay
from outlay.instrument.httpx_transport import AsyncOutlayTransport, OutlayTransport

FOLDER = Path(__file__).parent / "made_by_hand"


def exchanges(name: str) -> dict[str, dict[str, Any]]:
    fixture = json.loads((FOLDER / f"{name}.json").read_text())
    assert fixture["made_by_hand"]
    return {one["name"]: one for one in fixture["exchanges"]}


STABILITY, ELEVENLABS = exchanges("stability"), exchanges("elevenlabs")


def answer_of(exchange: dict[str, Any]) -> Answer:
    body = (
        base64.b64decode(exchange["body_base64"])
        if "body_base64" in exchange
        else json.dumps(exchange["body"]).encode()
    )
    headers = {name: value for name, value in exchange["headers"].items() if name != "content-type"}
    return Answer((body,), exchange["status"], exchange["headers"]["content-type"], headers)


class Local(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """Sends what is meant for a provider to the server on this machine."""

    def __init__(self, server: PlaybackServer) -> None:
        self._url = httpx.URL(server.url)
        self._sync, self._async = httpx.HTTPTransport(), httpx.AsyncHTTPTransport()

    def _sent(self, request: httpx.Request) -> httpx.Request:
        url = request.url.copy_with(scheme="http", host=self._url.host, port=self._url.port)
        return httpx.Request(request.method, url, headers=request.headers, stream=request.stream)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return self._sync.handle_request(self._sent(request))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await self._async.handle_async_request(self._sent(request))

    def close(self) -> None:
        self._sync.close()

    async def aclose(self) -> None:
        await self._async.aclose()


@pytest.fixture(scope="module")
def server() -> Iterator[PlaybackServer]:
    playback = PlaybackServer()
    yield playback
    playback.close()


def post(server: PlaybackServer, ledger: outlay.Ledger | None, url: str, body: Any, **options: Any) -> httpx.Response:
    transport = Local(server) if ledger is None else OutlayTransport(ledger, Local(server), **options)
    with httpx.Client(transport=transport) as client:
        return client.post(url, json=body)


async def post_async(server: PlaybackServer, ledger: outlay.Ledger, url: str, body: Any) -> httpx.Response:
    async with httpx.AsyncClient(transport=AsyncOutlayTransport(ledger, Local(server))) as client:
        return await client.post(url, json=body)


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("name", ["an image as bytes", "an image in JSON"])
def test_an_image_of_stability_is_booked_by_its_address(
    memory: outlay.Ledger, server: PlaybackServer, name: str, asynchronous: bool
) -> None:
    exchange = STABILITY[name]
    server.play(answer_of(exchange))
    if asynchronous:
        answer = asyncio.run(post_async(server, memory, exchange["url"], exchange["request"]))
    else:
        answer = post(server, memory, exchange["url"], exchange["request"])
    bare = post(server, None, exchange["url"], exchange["request"])
    assert (answer.content, answer.status_code) == (bare.content, bare.status_code)
    assert dict(answer.headers, date="") == dict(bare.headers, date="")
    (row,) = memory.costs(by=("provider", "service", "operation"), quantities=True).rows
    assert row.keys == ("stability", "generate/core", "image")
    assert row.quantities == {"output_images": 1}


def test_a_refusal_is_a_failed_call(memory: outlay.Ledger, server: PlaybackServer) -> None:
    exchange = STABILITY["a refusal"]
    server.play(answer_of(exchange))
    assert post(server, memory, exchange["url"], exchange["request"]).status_code == 400
    assert memory.costs().rows[0].failed == 1


def test_speech_of_elevenlabs_tells_its_characters(memory: outlay.Ledger, server: PlaybackServer) -> None:
    exchange = ELEVENLABS["speech as bytes"]
    server.play(answer_of(exchange))
    post(server, memory, exchange["url"], exchange["request"])
    (row,) = memory.costs(by=("provider", "service"), quantities=True).rows
    assert row.keys == ("elevenlabs", "eleven_multilingual_v2")
    # "How do I configure wireless settings?" has 37 characters.
    assert row.quantities == {"input_characters": 37, "credits": 37}


CHUNKS = (
    b'data: {"id":"c-1","object":"chat.completion.chunk","model":"gpt-4o","choices":[{"delta":{}}]}\n\n',
    b'data: {"id":"c-1","object":"chat.completion.chunk","model":"gpt-4o","choices":[],'
    b'"usage":{"prompt_tokens":1000,"completion_tokens":100,"total_tokens":1100}}\n\n',
    b"data: [DONE]\n\n",
)
CHAT = "https://api.openai.com/v1/chat/completions"


def test_a_stream_passes_chunk_by_chunk_and_is_booked_at_its_end(
    memory: outlay.Ledger, server: PlaybackServer
) -> None:
    server.play(Answer(CHUNKS, content_type="text/event-stream", streamed=True))
    seen = []
    with (
        httpx.Client(transport=OutlayTransport(memory, Local(server))) as client,
        client.stream("POST", CHAT, json={"model": "gpt-4o", "stream": True}) as answer,
    ):
        for chunk in answer.iter_raw():
            seen.append(chunk)
            if len(seen) == 1:
                assert memory.costs().events == 0
    assert b"".join(seen) == b"".join(CHUNKS)
    # 1,000 × $2.50 and 100 × $10 a million.
    assert str(memory.costs().total) == "$0.0035"


def test_a_stream_that_the_program_leaves_is_kept_and_marked(memory: outlay.Ledger, server: PlaybackServer) -> None:
    server.play(Answer(CHUNKS, content_type="text/event-stream", streamed=True, pause_s=0.05))
    with (
        httpx.Client(transport=OutlayTransport(memory, Local(server))) as client,
        client.stream("POST", CHAT, json={"model": "gpt-4o", "stream": True}) as answer,
    ):
        next(answer.iter_raw())
    (row,) = memory.costs(by=("status", "basis")).rows
    assert row.keys == ("cancelled", "estimated")


def test_an_address_that_no_file_names_is_passed_on_unless_its_provider_is_given(
    memory: outlay.Ledger, server: PlaybackServer
) -> None:
    body = {
        "id": "x-1",
        "object": "chat.completion",
        "model": "gpt-4o",
        "choices": [],
        "usage": {"prompt_tokens": 1000},
    }
    server.play(Answer((json.dumps(body).encode(),)))
    post(server, memory, "https://intranet.example/v1/chat/completions", {})
    assert memory.costs().events == 0
    post(server, memory, "https://intranet.example/v1/chat/completions", {}, provider="openai")
    assert memory.costs("provider").rows[0].keys == ("openai",)


def test_a_lost_connection_goes_on_to_the_program_and_is_kept_as_failed(memory: outlay.Ledger) -> None:
    class Broken(httpx.BaseTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            raise httpx.ReadTimeout("late", request=request)

    with httpx.Client(transport=OutlayTransport(memory, Broken())) as client, pytest.raises(httpx.ReadTimeout):
        client.post(CHAT, json={"model": "gpt-4o"})
    assert memory.costs().rows[0].failed == 1


def test_a_hard_budget_refuses_before_anything_is_sent(memory: outlay.Ledger, server: PlaybackServer) -> None:
    memory.budget("cap", limit="0.001", window="day", action="refuse")
    server.play(Answer((b"{}",)))
    with pytest.raises(outlay.BudgetExceeded):
        post(
            server,
            memory,
            CHAT,
            {"model": "gpt-4o", "max_tokens": 1000, "messages": [{"role": "user", "content": "Hi"}]},
        )
    assert server.requests == []
