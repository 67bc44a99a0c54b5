"""Kinds of calls beside chat, and every recording's very bytes, through the gateway."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from tests.cassettes import Exchange, exchanges
from tests.gateway.conftest import NAMES, PLAIN, Gatewayed, gatewayed
from tests.gateway.test_gateway_budgets import BODY, CHAT, DELTA, STOP
from tests.instrument.sdk_calls import close
from tests.playback_server import Answer, events, recorded, whole

from outlay.faces.gateway.upstreams import KINDS

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def _hosts() -> dict[str, str]:
    return {urlsplit(KINDS[name].url).netloc: name for name in NAMES if name in KINDS and KINDS[name].url}


def _played(data_folder: Path) -> list[tuple[str, Exchange]]:
    """One recording of each upstream, content type, status and kind of path."""
    hosts, kinds = _hosts(), dict[tuple[object, ...], tuple[str, Exchange]]()
    for one in exchanges(data_folder):
        if one.host in hosts and isinstance(one.body, bytes | dict | list) and one.status and one.url:
            last = one.path.rstrip("/").rpartition("/")[2].rpartition(":")[2][:24]
            kinds.setdefault((one.host, one.content_type, one.status, last), (hosts[one.host], one))
    return list(kinds.values())


def _raw(url: str, exchange: Exchange) -> httpx.Response:
    content, kind = exchange.request, "application/octet-stream"
    if not isinstance(content, bytes | str):
        content, kind = json.dumps(content).encode() if content is not None else b"", "application/json"
    method = "POST" if content else "GET"
    headers = {"content-type": kind, "accept-encoding": "gzip"}
    with httpx.stream(method, url, content=content, headers=headers, verify=PLAIN) as answer:
        body = b"".join(answer.iter_raw())
    found = httpx.Response(answer.status_code, headers=answer.headers)
    found.extensions["raw"] = body
    return found


def test_every_recorded_answer_passes_byte_for_byte(shared: Gatewayed, data_folder: Path) -> None:
    played = _played(data_folder)
    assert len(played) > 20
    for upstream, exchange in played:
        parts = urlsplit(str(exchange.url))
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        answer = recorded(exchange)
        # Chat streams whose usage is asked for are shown without it: tests of the budgets compare those.
        asked = json.dumps(exchange.request) if isinstance(exchange.request, dict) else str(exchange.request or "")
        if "stream_options" not in asked and answer.streamed and "completions" in path:
            continue
        shared.playback.play(answer)
        found = _raw(shared.url(upstream) + path, exchange)
        assert found.extensions["raw"] == b"".join(answer.chunks), exchange.label
        assert found.status_code == answer.status, exchange.label
        assert found.headers["content-type"] == answer.content_type, exchange.label
        (sent,) = shared.playback.requests
        assert sent.path == path, exchange.label
        assert sent.body == (
            json.dumps(exchange.request).encode() if isinstance(exchange.request, dict) else sent.body
        )


def test_speech_streams_through_and_is_priced_by_its_characters(shared: Gatewayed) -> None:
    import elevenlabs

    known = len(shared.events())
    shared.playback.play(Answer((b"one", b"two", b"three"), content_type="audio/mpeg", streamed=True))
    client = elevenlabs.ElevenLabs(api_key="k", base_url=shared.url("elevenlabs"))
    sound = client.text_to_speech.convert("v1", text="Good morning!", model_id="eleven_multilingual_v2")
    assert b"".join(sound) == b"onetwothree"
    close(client)
    (receipt,) = shared.events()[known:]
    assert (receipt.event.provider, receipt.event.usage) == ("elevenlabs", {"input_characters": 13})


def test_a_form_passes_as_it_is_and_is_read_for_what_it_says(shared: Gatewayed) -> None:
    import openai

    known = len(shared.events())
    shared.playback.play(whole({"text": "Hello", "usage": {"type": "duration", "seconds": 90}}))
    with openai.OpenAI(api_key="k", base_url=shared.url("openai") + "/v1") as client:
        heard = client.audio.transcriptions.create(model="whisper-1", file=("a.mp3", b"\xff\xfb" * 1000))
    assert heard.text == "Hello"
    assert b"\xff\xfb" * 1000 in shared.playback.requests[0].body
    (receipt,) = shared.events()[known:]
    assert (receipt.event.service, receipt.total.amount) == ("whisper-1", Decimal("0.009"))  # 1.5 × $0.006


def test_an_image_is_priced_and_passes_as_it_is(shared: Gatewayed) -> None:
    import openai

    known = len(shared.events())
    shared.playback.play(whole({"created": 1, "data": [{"b64_json": "aGVsbG8="}]}))
    with openai.OpenAI(api_key="k", base_url=shared.url("openai") + "/v1") as client:
        drawn = client.images.generate(model="dall-e-3", prompt="a cat", size="1024x1024")
    assert drawn.data is not None
    assert drawn.data[0].b64_json == "aGVsbG8="
    (receipt,) = shared.events()[known:]
    assert receipt.event.usage == {"output_images": 1}


def test_work_that_is_looked_at_later_settles_the_call_that_began_it(gateway: Gatewayed) -> None:
    import replicate.client

    gateway.ledger.budget("day", limit="1.00", window="day", action="refuse", unbounded="allow")
    begun = {"id": "p1", "version": "v", "status": "starting", "model": "black-forest-labs/flux-schnell", "input": {}}
    ended = {**begun, "status": "succeeded", "output": ["https://x/1"], "metrics": {"predict_time": 2.5}}
    gateway.playback.play(whole(begun, status=201), whole({**begun, "status": "processing"}), whole(ended))
    client = replicate.client.Client(api_token="k", base_url=gateway.url("replicate"))
    made = client.models.predictions.create("black-forest-labs/flux-schnell", input={"prompt": "a cat"})
    assert gateway.events() == []
    made.reload()
    assert gateway.events() == []
    made.reload()
    assert made.status == "succeeded"
    close(client)
    (receipt,) = gateway.events()
    assert receipt.event.call_key == "replicate:p1"
    (status,) = gateway.ledger.budgets("day")
    assert status.reserved == 0


def test_work_that_one_gateway_began_is_settled_by_another(gateway: Gatewayed) -> None:
    gateway.ledger.budget("day", limit="1.00", window="day", action="refuse", unbounded="allow")
    begun = {"id": "p2", "version": "v", "status": "starting", "model": "black-forest-labs/flux-schnell", "input": {}}
    ended = {**begun, "status": "succeeded", "output": ["https://x/1"], "metrics": {"predict_time": 2.5}}
    gateway.playback.play(whole(begun, status=201), whole(ended))
    path = "/v1/models/black-forest-labs/flux-schnell/predictions"
    made = httpx.post(gateway.url("replicate") + path, json={"input": {"prompt": "a cat"}})
    gateway.settled()
    there = {"replicate": {"url": gateway.playback.url}}
    with gatewayed(gateway.ledger, upstreams=there) as other:
        for _ in range(2):
            assert httpx.get(other.url("replicate") + "/v1/predictions/p2").json() == ended
            other.settled()
    (receipt,) = gateway.events()
    assert receipt.event.id == made.headers["x-outlay-receipt"]
    assert (receipt.event.call_key, receipt.event.status) == ("replicate:p2", "ok")


def test_a_list_of_models_costs_nothing_and_leaves_nothing(gateway: Gatewayed) -> None:
    gateway.playback.play(whole({"object": "list", "data": [{"id": "gpt-4o", "object": "model"}]}))
    answer = httpx.get(gateway.url("openai") + "/v1/models")
    assert answer.status_code == 200
    assert "x-outlay-receipt" not in answer.headers
    assert gateway.events() == []


def test_an_address_of_ones_own_is_booked_under_its_name(gateway: Gatewayed) -> None:
    gateway.ledger.add_rate(provider="my-vllm", service="llama", meter="output_tokens", price="1", per=1_000_000)
    gateway.ledger.add_rate(provider="my-vllm", service="llama", meter="input_tokens", price="0", per=1_000_000)
    gateway.playback.play(whole({**CHAT, "model": "llama"}))
    answer = httpx.post(gateway.url("local") + "/v1/chat/completions?a=b%20c", json={**BODY, "model": "llama"})
    assert gateway.playback.requests[0].path == "/inner/v1/chat/completions?a=b%20c"
    assert answer.headers["x-outlay-cost"] == "0.0001"  # 100 × $1.00 a million
    (receipt,) = gateway.events()
    assert (receipt.event.provider, receipt.event.service) == ("my-vllm", "llama")


def test_a_packed_answer_passes_packed_and_is_read_all_the_same(gateway: Gatewayed) -> None:
    import gzip

    packed = gzip.compress(json.dumps(CHAT).encode())
    gateway.playback.play(whole(packed, headers={"content-encoding": "gzip"}))
    with httpx.stream("POST", gateway.url("openai") + "/v1/chat/completions", json=BODY) as answer:
        assert b"".join(answer.iter_raw()) == packed
    assert answer.headers["x-outlay-cost"] == "0.0035"


@pytest.mark.parametrize("streamed", [False, True])
def test_an_answer_that_is_not_packed_as_it_says_passes_as_it_is(gateway: Gatewayed, streamed: bool) -> None:
    gateway.ledger.budget("day", limit="1.00", window="day", action="refuse")
    chunks = (b"no gzip at all, ", b"and no JSON")
    kind = "text/event-stream" if streamed else "application/json"
    gateway.playback.play(Answer(chunks, streamed=streamed, content_type=kind, headers={"content-encoding": "gzip"}))
    body = {**BODY, "stream": streamed, "stream_options": {"include_usage": True}}
    with httpx.stream("POST", gateway.url("openai") + "/v1/chat/completions", json=body) as answer:
        assert b"".join(answer.iter_raw()) == b"".join(chunks)
    assert answer.status_code == 200
    (receipt,) = gateway.events()
    assert (receipt.event.basis, receipt.event.usage["output_tokens"]) == ("estimated", 100)


def test_a_packed_request_is_read_for_its_budget_and_passes_packed(gateway: Gatewayed) -> None:
    import gzip

    gateway.ledger.budget("day", limit="1.00", window="day", action="refuse")
    gateway.playback.play(whole(CHAT))
    packed = gzip.compress(json.dumps(BODY).encode())
    headers = {"content-encoding": "gzip", "content-type": "application/json"}
    answer = httpx.post(gateway.url("openai") + "/v1/chat/completions", content=packed, headers=headers)
    assert answer.headers["x-outlay-cost"] == "0.0035"
    assert gateway.playback.requests[0].body == packed


def test_chunks_pass_as_they_come(gateway: Gatewayed) -> None:
    import time

    gateway.playback.play(events([DELTA, DELTA, STOP], done=True, pause_s=0.3))
    with httpx.stream(
        "POST", gateway.url("openai") + "/v1/chat/completions", json={**BODY, "stream": True}
    ) as answer:
        came = [(time.monotonic(), chunk) for chunk in answer.iter_bytes()]
    assert len(came) >= 3


def test_a_program_that_is_cancelled_leaves_what_was_read_in_the_ledger(gateway: Gatewayed) -> None:
    import asyncio

    import openai

    gateway.playback.play(events([DELTA] * 5 + [STOP], done=True, pause_s=0.05))

    async def run() -> None:
        async with openai.AsyncOpenAI(api_key="k", base_url=gateway.url("openai") + "/v1") as client:
            fields: dict[str, Any] = {**BODY, "stream": True}
            stream = await client.chat.completions.create(**fields)
            async for _ in stream:
                raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(run())
    (receipt,) = gateway.events()
    assert receipt.event.call_key == "openai:s1"
