"""Kinds of calls that no recording has, or that take more than one request: by hand, against the playback server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.playback_server import Answer, PlaybackServer, events, whole

import outlay

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

CHAT = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1_700_000_000,
    "model": "gpt-4o-2024-08-06",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100},
}
CHAT_COST = Decimal("0.0035")  # 1,000 × $2.50 + 100 × $10.00 a million
MESSAGES: list[Any] = [{"role": "user", "content": "Hello"}]


@pytest.fixture(scope="module")
def server() -> Iterator[PlaybackServer]:
    playback = PlaybackServer()
    yield playback
    playback.close()


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    yield
    outlay.uninstrument()


def _openai(server: PlaybackServer, **settings: Any) -> Any:
    import openai

    return openai.OpenAI(api_key="k", base_url=server.url + "/v1", **settings)


def _only(ledger: outlay.Ledger) -> outlay.Receipt:
    (receipt,) = ledger.events()
    assert "capture_failures" not in ledger.doctor()
    return receipt


def test_watching_twice_keeps_once_and_gives_the_same_client(memory: outlay.Ledger, server: PlaybackServer) -> None:
    server.play(whole(CHAT))
    with _openai(server) as client:
        assert memory.watch(memory.watch(client)) is client
        outlay.instrument_all(memory)
        client.chat.completions.create(model="gpt-4o", messages=MESSAGES)
    assert _only(memory).total.amount == CHAT_COST


def test_a_copy_and_a_raw_response_of_a_watched_client_are_kept(
    memory: outlay.Ledger, server: PlaybackServer
) -> None:
    server.play(whole(CHAT), whole({**CHAT, "id": "chatcmpl-2"}), whole({**CHAT, "id": "chatcmpl-3"}))
    with memory.watch(_openai(server)) as client:
        client.chat.completions.create(model="gpt-4o", messages=MESSAGES)
        client.with_options(timeout=5).chat.completions.create(model="gpt-4o", messages=MESSAGES)
        raw = client.chat.completions.with_raw_response.create(model="gpt-4o", messages=MESSAGES)
    assert raw.parse().id == "chatcmpl-3"
    assert [receipt.event.call_key for receipt in memory.events()] == [f"openai:chatcmpl-{n}" for n in (1, 2, 3)]


def test_another_client_of_the_same_class_is_not_watched(memory: outlay.Ledger, server: PlaybackServer) -> None:
    server.play(whole(CHAT))
    memory.watch(_openai(server)).close()
    with _openai(server) as other:
        other.chat.completions.create(model="gpt-4o", messages=MESSAGES)
    assert list(memory.events()) == []


def test_instrument_all_watches_clients_made_before_and_after_until_it_is_undone(
    memory: outlay.Ledger, server: PlaybackServer
) -> None:
    import openai

    before = openai.OpenAI.request
    server.play(*(whole({**CHAT, "id": f"chatcmpl-{number}"}) for number in range(3)))
    with _openai(server) as made_before:
        assert "openai" in outlay.instrument_all(memory)
        with _openai(server) as made_after:
            for client in (made_before, made_after):
                client.chat.completions.create(model="gpt-4o", messages=MESSAGES)
        outlay.uninstrument()
        made_before.chat.completions.create(model="gpt-4o", messages=MESSAGES)
    assert len(list(memory.events())) == 2
    assert openai.OpenAI.request is before


def test_speech_is_priced_by_the_characters_of_the_request(memory: outlay.Ledger, server: PlaybackServer) -> None:
    server.play(Answer((b"\xff\xfb" * 500,), content_type="audio/mpeg"))
    with memory.watch(_openai(server)) as client:
        sound = client.audio.speech.create(model="tts-1", voice="alloy", input="Good morning!").read()
    assert sound == b"\xff\xfb" * 500
    receipt = _only(memory)
    assert receipt.event.usage == {"input_characters": 13}
    assert receipt.total.amount == Decimal("0.000195")  # 13 × $15.00 a million


def test_streamed_speech_passes_chunk_by_chunk(memory: outlay.Ledger, server: PlaybackServer) -> None:
    server.play(Answer((b"one", b"two", b"three"), content_type="audio/mpeg", streamed=True))
    with memory.watch(_openai(server)) as client:
        speech = client.audio.speech.with_streaming_response.create(model="tts-1", voice="alloy", input="Hi there")
        with speech as response:
            assert b"".join(response.iter_bytes()) == b"onetwothree"
    assert _only(memory).event.usage == {"input_characters": 8}


def test_a_transcription_is_read_with_the_form_that_was_sent(memory: outlay.Ledger, server: PlaybackServer) -> None:
    server.play(whole({"text": "Hello", "usage": {"type": "duration", "seconds": 90}}))
    with memory.watch(_openai(server)) as client:
        heard = client.audio.transcriptions.create(model="whisper-1", file=("a.mp3", b"\xff\xfb" * 1000))
    assert heard.text == "Hello"
    receipt = _only(memory)
    assert (receipt.event.service, receipt.event.operation) == ("whisper-1", "transcription")
    assert receipt.total.amount == Decimal("0.009")  # 1.5 minutes × $0.006


def test_a_streaming_helper_of_anthropic_is_kept_once(memory: outlay.Ledger, server: PlaybackServer) -> None:
    import anthropic

    start = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5", "content": []}
    server.play(
        events(
            [
                {"type": "message_start", "message": {**start, "usage": {"input_tokens": 1000, "output_tokens": 1}}},
                {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
                {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "usage"}},
                {"type": "content_block_stop", "index": 0},
                {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 100}},
                {"type": "message_stop"},
            ],
            named=True,
        )
    )
    client = memory.watch(anthropic.Anthropic(api_key="k", base_url=server.url))
    with client, client.messages.stream(model="claude-sonnet-4-5", max_tokens=200, messages=MESSAGES) as stream:
        assert list(stream.text_stream) == ["usage"]
    assert _only(memory).total.amount == Decimal("0.0045")  # 1,000 × $3 + 100 × $15 a million


def _prediction(status: str, **more: Any) -> dict[str, Any]:
    urls = {"get": "http://127.0.0.1/v1/predictions/p1", "cancel": "http://127.0.0.1/v1/predictions/p1/cancel"}
    base = {"id": "p1", "model": "stability-ai/sdxl", "version": "v" * 64, "input": {"prompt": "x"}, "logs": ""}
    return {**base, "status": status, "urls": urls, "created_at": "2026-01-01T00:00:00Z", "output": None, **more}


def test_a_prediction_that_is_polled_is_kept_when_it_is_done(memory: outlay.Ledger, server: PlaybackServer) -> None:
    import replicate.client

    done = _prediction("succeeded", output="https://x/y.png", metrics={"predict_time": 2.5})
    server.play(
        whole(_prediction("starting"), status=201), whole(_prediction("processing")), whole(done), whole(done)
    )
    client = memory.watch(replicate.client.Client(api_token="k", base_url=server.url))
    client.poll_interval = 0.01
    prediction = client.predictions.create(version="v" * 64, input={"prompt": "x"})
    prediction.wait()
    prediction.reload()  # Asking again what is known books nothing again.
    assert prediction.output == "https://x/y.png"
    client._client.close()
    assert _only(memory).event.usage == {"runs": 1, "hardware_seconds": Decimal("2.5")}


def test_speech_of_elevenlabs_is_priced_by_characters(memory: outlay.Ledger, server: PlaybackServer) -> None:
    """Made by hand: no recording of ElevenLabs is at hand. The header is the one its documentation names."""
    import elevenlabs

    headers = {"character-cost": "12", "request-id": "r1"}
    server.play(Answer((b"abc", b"def"), content_type="audio/mpeg", streamed=True, headers=headers))
    client = memory.watch(elevenlabs.ElevenLabs(api_key="k", base_url=server.url))
    made = client.text_to_speech.convert("voice", text="Good evening", model_id="eleven_multilingual_v2")
    assert b"".join(made) == b"abcdef"
    client._client_wrapper.httpx_client.httpx_client.close()
    receipt = _only(memory)
    assert receipt.event.usage == {"input_characters": 12, "credits": 12}
    assert (receipt.event.service, receipt.event.operation) == ("eleven_multilingual_v2", "speech")


def _batch_line(number: int) -> str:
    body = {**CHAT, "id": f"chatcmpl-b{number}"}
    return json.dumps({"custom_id": f"c{number}", "response": {"status_code": 200, "body": body}, "error": None})


def test_the_answers_of_a_batch_are_kept_at_its_rates_when_they_are_fetched(server: PlaybackServer) -> None:
    memory = outlay.open("memory:", clock=outlay.FrozenClock("2026-11-20T12:00:00Z"))  # Its rates are known by then.
    text = "\n".join(map(_batch_line, range(3))).encode()
    server.play(Answer((text,), content_type="application/octet-stream"))
    with memory.watch(_openai(server)) as client:
        assert client.files.content("file-1").read() == text
        client.files.content("file-1")  # A second look books nothing again.
    receipts = list(memory.events())
    assert [receipt.total.amount for receipt in receipts] == [CHAT_COST / 2] * 3
    assert receipts[0].event.conditions == {"processing": "batch"}


def test_a_file_that_is_no_batch_is_none_of_the_ledgers_business(
    memory: outlay.Ledger, server: PlaybackServer
) -> None:
    server.play(Answer((b'{"prompt": "private"}\n' * 50,), content_type="application/octet-stream"))
    with memory.watch(_openai(server)) as client:
        client.files.content("file-1")
        server.play(whole({"object": "list", "data": [{"id": "gpt-4o", "object": "model"}]}))
        client.models.list()
    assert list(memory.events()) == []
    assert "capture_failures" not in memory.doctor()


def test_for_whom_a_stream_is_is_said_where_it_was_asked_for(memory: outlay.Ledger, server: PlaybackServer) -> None:
    chunk = {"id": "s1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o"}
    stop = {**chunk, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    told = {**chunk, "choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 1, "total_tokens": 11}}
    server.play(events([stop, told], done=True))
    with memory.watch(_openai(server)) as client:
        with memory.attribute(user="u1", feature="chat"):
            stream = client.chat.completions.create(
                model="gpt-4o", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
            )
        with memory.attribute(user="u2"):
            assert len(list(stream)) == 2
    event = _only(memory).event
    assert (event.user, event.feature) == ("u1", "chat")


def test_async_calls_side_by_side_are_each_kept_for_their_own_user(tmp_path: Path, server: PlaybackServer) -> None:
    import openai

    server.play(*(whole({**CHAT, "id": f"chatcmpl-{number}"}) for number in range(8)))

    async def ask(client: Any, ledger: outlay.Ledger, user: str) -> None:
        with ledger.attribute(user=user):
            await client.chat.completions.create(model="gpt-4o", messages=MESSAGES)

    async def main(ledger: outlay.Ledger) -> None:
        async with ledger.watch(openai.AsyncOpenAI(api_key="k", base_url=server.url + "/v1")) as client:
            await asyncio.gather(*(ask(client, ledger, f"u{number}") for number in range(8)))

    with outlay.open(tmp_path / "outlay.db") as ledger:
        asyncio.run(main(ledger))
        ledger.flush()
        users = sorted(str(receipt.event.user) for receipt in ledger.events())
    assert users == [f"u{number}" for number in range(8)]


def test_a_stranger_is_refused_by_name(memory: outlay.Ledger) -> None:
    with pytest.raises(outlay.InvalidInput) as refused:
        memory.watch(object())
    assert refused.value.code == "unknown_client"
    import boto3

    other = boto3.client("s3", region_name="us-east-1", aws_access_key_id="k", aws_secret_access_key="s")
    with pytest.raises(outlay.InvalidInput):
        memory.watch(other)


def test_an_sdk_that_changed_shape_is_said_once_and_works_on(
    memory: outlay.Ledger, server: PlaybackServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import openai

    from outlay.instrument import clients

    monkeypatch.setattr(clients, "_said", set())
    monkeypatch.setattr(openai._base_client.SyncAPIClient, "_dispatch", openai.OpenAI.request, raising=False)
    monkeypatch.delattr(openai._base_client.SyncAPIClient, "request")
    for name in ("post", "get"):
        monkeypatch.setattr(openai._base_client.SyncAPIClient, name, lambda self, *a, **k: "answered")
    server.play(whole(CHAT))
    with memory.watch(memory.watch(_openai(server))) as client:
        assert client.chat.completions.create(model="gpt-4o", messages=MESSAGES) == "answered"
    said = [record.getMessage() for record in caplog.records if record.name == "outlay.instrument"]
    assert len(said) == 1
    assert "openai" in said[0]
    assert "3.54.0" in said[0]


def test_importing_outlay_imports_no_sdk() -> None:
    import subprocess
    import sys

    probe = (
        "import sys, outlay.instrument; outlay.instrument.instrument_all(); "
        "found = {'openai', 'anthropic', 'groq', 'botocore', 'mistralai', 'cohere', 'replicate', 'elevenlabs'}; "
        "print(sorted(found & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_an_sdk_imported_after_instrument_all_is_watched(tmp_path: Path, server: PlaybackServer) -> None:
    import subprocess
    import sys

    server.play(whole(CHAT))
    program = (
        f"import outlay; ledger = outlay.open({str(tmp_path / 'outlay.db')!r}); outlay.instrument_all(ledger)\n"
        f"import openai; client = openai.OpenAI(api_key='k', base_url={server.url + '/v1'!r})\n"
        "client.chat.completions.create(model='gpt-4o', messages=[{'role': 'user', 'content': 'x'}])\n"
        "ledger.flush(); print([str(receipt.total.amount) for receipt in ledger.events()])"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "['0.0035']"
