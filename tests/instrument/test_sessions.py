"""Live sessions of the real SDKs over a real websocket: each answer that tells its usage is kept, the rest passes.

The messages are made by hand after the providers' references; no recording has a session.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import pytest
from websockets.sync.server import ServerConnection, serve

import outlay

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

SESSION = {
    "type": "session.created",
    "session": {
        "type": "realtime",
        "model": "gpt-realtime",
        "instructions": "a secret of the house",
        "audio": {"input": {"transcription": {"model": "whisper-1"}}},
    },
}
BEGUN = {
    "type": "response.created",
    "response": {"id": "resp_1", "object": "realtime.response", "status": "in_progress"},
}
WORD = {"type": "response.output_audio_transcript.delta", "response_id": "resp_1", "delta": "tokens of a usage"}
DONE = {
    "type": "response.done",
    "response": {
        "id": "resp_1",
        "object": "realtime.response",
        "status": "completed",
        "usage": {
            "total_tokens": 1100,
            "input_tokens": 1000,
            "output_tokens": 100,
            "input_token_details": {"text_tokens": 200, "audio_tokens": 800, "cached_tokens": 0},
            "output_token_details": {"text_tokens": 20, "audio_tokens": 80},
        },
    },
}
HEARD = {
    "type": "conversation.item.input_audio_transcription.completed",
    "item_id": "item_1",
    "transcript": "what was said",
    "usage": {"type": "duration", "seconds": 60},
}
ANSWER_COST = Decimal("0.03184")
"""gpt-realtime: 200 × $4 + 800 × $32 of input, 20 × $16 + 80 × $64 of output, a million each."""


@contextmanager
def playing(*messages: Any, close: bool = True) -> Iterator[str]:
    """A websocket server that waits for a message, then sends these."""

    def play(connection: ServerConnection) -> None:
        connection.recv()
        for message in messages:
            connection.send(json.dumps(message))
        if not close:
            for _ in connection:
                pass

    with serve(play, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.socket.getsockname()[1]}"
        server.shutdown()
        thread.join(5)


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    yield
    outlay.uninstrument()


def openai_client(address: str, kind: str = "OpenAI") -> Any:
    import openai

    return getattr(openai, kind)(api_key="k", base_url=f"http://{address}/v1")


def kept(ledger: outlay.Ledger) -> list[outlay.Receipt]:
    assert "capture_failures" not in ledger.doctor()
    return list(ledger.events())


def test_each_answer_of_a_realtime_session_is_kept_and_what_the_program_sees_is_what_came(
    memory: outlay.Ledger,
) -> None:
    with (
        playing(SESSION, BEGUN, WORD, DONE) as address,
        memory.watch(openai_client(address)) as client,
        memory.attribute(job="call-7"),
        client.realtime.connect(model="gpt-realtime") as session,
    ):
        session.response.create()
        seen = [json.loads(session.recv_bytes()) for _ in range(4)]
    assert seen == [SESSION, BEGUN, WORD, DONE]
    (receipt,) = kept(memory)
    assert (receipt.event.service, receipt.event.operation) == ("gpt-realtime", "realtime")
    assert (receipt.event.job, receipt.event.call_key) == ("call-7", "openai:resp_1")
    assert receipt.total.amount == ANSWER_COST


def test_an_asynchronous_session_is_iterated_as_ever_and_kept_by_instrument_all(memory: outlay.Ledger) -> None:
    async def talk(address: str) -> list[str]:
        async with (
            openai_client(address, "AsyncOpenAI") as client,
            client.realtime.connect(model="gpt-realtime") as session,
        ):
            await session.response.create()
            return [event.type async for event in session]

    outlay.instrument_all(memory)
    with playing(SESSION, BEGUN, DONE) as address:
        assert asyncio.run(talk(address)) == ["session.created", "response.created", "response.done"]
    assert [receipt.total.amount for receipt in kept(memory)] == [ANSWER_COST]


def test_what_was_heard_is_kept_at_the_rate_of_the_model_that_transcribed_it(memory: outlay.Ledger) -> None:
    with playing(SESSION, HEARD) as address, memory.watch(openai_client(address)) as client:
        manager = client.realtime.connect(model="gpt-realtime")
        session = manager.enter()
        session.response.create()
        session.recv()
        session.recv()
        session.close()
    services = {receipt.event.service: receipt for receipt in kept(memory)}
    assert services["whisper-1"].event.usage == {"input_audio_seconds": 60}
    assert services["whisper-1"].total.amount == Decimal("0.006")  # $0.006 a minute


def test_an_answer_that_had_begun_when_the_session_was_closed_is_kept_as_cancelled(memory: outlay.Ledger) -> None:
    with (
        playing(SESSION, BEGUN, close=False) as address,
        memory.watch(openai_client(address)) as client,
        client.realtime.connect(model="gpt-realtime") as session,
    ):
        session.response.create()
        session.recv()
        session.recv()
    (receipt,) = kept(memory)
    assert (receipt.event.status, receipt.event.basis) == ("cancelled", "estimated")
    assert receipt.pricing_status == "unpriced"


def test_a_spent_hard_budget_refuses_to_open_a_session(memory: outlay.Ledger) -> None:
    memory.budget("all", limit="0.01", window="day", action="refuse")
    with playing(SESSION, DONE) as address, memory.watch(openai_client(address)) as client:
        with client.realtime.connect(model="gpt-realtime") as session:
            session.response.create()
            session.recv()
            session.recv()
        kept(memory)
        with pytest.raises(outlay.BudgetExceeded), client.realtime.connect(model="gpt-realtime"):
            pytest.fail("the session was opened")


def test_a_live_session_of_google_is_kept_turn_by_turn(
    memory: outlay.Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    from google import genai
    from google.genai import live

    secured: Any = getattr(live, "ws_connect")  # noqa: B009 - the module does not export it

    def plain(uri: str, **named: Any) -> Any:
        """The SDK speaks TLS only; the server here does not."""
        named.pop("ssl", None)
        return secured(uri.replace("wss:", "ws:"), **named)

    monkeypatch.setattr(live, "ws_connect", plain)

    usage = {
        "promptTokenCount": 1000,
        "responseTokenCount": 50,
        "totalTokenCount": 1050,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 1000}],
        "responseTokensDetails": [{"modality": "TEXT", "tokenCount": 50}],
    }
    turn = {"serverContent": {"turnComplete": True}, "usageMetadata": usage}

    async def talk(address: str) -> None:
        client = genai.Client(api_key="k", http_options={"base_url": f"http://{address}"})
        memory.watch(client)
        async with client.aio.live.connect(model="gemini-2.0-flash-live-001") as session:
            async for message in session.receive():
                assert message.usage_metadata
                assert message.usage_metadata.response_token_count == 50

    with playing({"setupComplete": {}}, turn) as address:
        asyncio.run(talk(address))
    (receipt,) = kept(memory)
    assert (receipt.event.service, receipt.event.operation) == ("gemini-2.0-flash-live-001", "realtime")
    assert receipt.event.usage["output_tokens"] == 50


def test_no_word_of_a_session_reaches_the_ledger(memory: outlay.Ledger) -> None:
    with (
        playing(SESSION, DONE) as address,
        memory.watch(openai_client(address)) as client,
        client.realtime.connect(model="gpt-realtime") as session,
    ):
        session.response.create()
        session.recv()
        session.recv()
    (receipt,) = kept(memory)
    assert "secret" not in repr(receipt.event)
