"""What goes wrong: the program's call behaves as without Outlay, and the booked cost is right or marked."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import apsw
import httpx2
import pytest
from tests.playback_server import Answer, PlaybackServer, amazon_events, events, whole

import outlay

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

CHAT = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1_700_000_000,
    "model": "gpt-4o",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100},
}
MESSAGES = [{"role": "user", "content": "Hello"}]
BUSY = {"error": {"message": "slow down", "type": "requests", "code": "rate_limit_exceeded"}}
BROKEN = {"error": {"message": "oops", "type": "server_error", "code": None}}
NOW_AGAIN = {"retry-after-ms": "1"}


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


def _ask(client: Any, **fields: Any) -> Any:
    return client.chat.completions.create(model="gpt-4o", messages=MESSAGES, **fields)


def _only(ledger: outlay.Ledger) -> outlay.Receipt:
    ledger.flush()
    (receipt,) = ledger.events()
    assert "capture_failures" not in ledger.doctor()
    return receipt


def test_a_refusal_and_then_an_answer_are_one_call_of_two_attempts(
    memory: outlay.Ledger, server: PlaybackServer
) -> None:
    server.play(whole(BUSY, status=429, headers=NOW_AGAIN), whole(CHAT))
    with memory.watch(_openai(server)) as client:
        assert _ask(client).id == "chatcmpl-1"
    receipt = _only(memory)
    assert receipt.total.amount == Decimal("0.0035")  # 1,000 × $2.50 + 100 × $10.00 a million
    assert receipt.event.parameters["attempts"] == 2
    assert receipt.event.call_key == "openai:chatcmpl-1"


@pytest.mark.parametrize(
    ("status", "body", "code"), [(429, BUSY, "rate_limit_exceeded"), (500, BROKEN, "server_error")]
)
def test_a_call_that_fails_for_good_raises_as_ever_and_costs_nothing(
    memory: outlay.Ledger, server: PlaybackServer, status: int, body: Any, code: str
) -> None:
    import openai

    server.play(whole(body, status=status, headers=NOW_AGAIN))
    with memory.watch(_openai(server)) as client, pytest.raises(openai.APIStatusError) as raised:
        _ask(client)
    assert raised.value.status_code == status
    receipt = _only(memory)
    assert (receipt.event.status, receipt.event.error) == ("failed", code)
    assert receipt.event.parameters["attempts"] == 3
    assert receipt.total.amount == 0
    assert receipt.event.service == "gpt-4o"


def test_a_server_that_is_not_there_is_a_failed_call_of_which_nothing_is_billed(memory: outlay.Ledger) -> None:
    import openai

    client = memory.watch(openai.OpenAI(api_key="k", base_url="http://127.0.0.1:9/v1", max_retries=0))
    with client, pytest.raises(openai.APIConnectionError):
        _ask(client)
    receipt = _only(memory)
    assert (receipt.event.status, receipt.event.error, receipt.event.basis) == ("failed", "ConnectError", "measured")


def test_an_answer_that_never_comes_is_marked_as_what_may_be_billed(
    memory: outlay.Ledger, server: PlaybackServer
) -> None:
    import openai

    server.play(whole(CHAT)._replace(pause_s=0.5))
    client = memory.watch(_openai(server, max_retries=0, timeout=0.05))
    with client, pytest.raises(openai.APITimeoutError):
        _ask(client)
    event = _only(memory).event
    assert (event.status, event.error, event.basis) == ("failed", "ReadTimeout", "estimated")
    assert "may bill" in str(event.parameters["reading"])


def _claude_stream() -> Answer:
    start = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5", "content": []}
    return events(
        [
            {"type": "message_start", "message": {**start, "usage": {"input_tokens": 1000, "output_tokens": 1}}},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "a"}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "b"}},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 100}},
            {"type": "message_stop"},
        ],
        named=True,
    )


def _claude(server: PlaybackServer, *, asynchronous: bool = False) -> Any:
    import anthropic

    kind = anthropic.AsyncAnthropic if asynchronous else anthropic.Anthropic
    return kind(api_key="k", base_url=server.url, max_retries=0)


def _stream(client: Any) -> Any:
    return client.messages.create(model="claude-sonnet-4-5", max_tokens=200, messages=MESSAGES, stream=True)


def test_a_stream_cut_in_the_middle_breaks_as_ever_and_is_marked(
    memory: outlay.Ledger, server: PlaybackServer
) -> None:
    server.play(_claude_stream()._replace(cut_after=3))
    with memory.watch(_claude(server)) as client:
        stream = _stream(client)
        with pytest.raises(httpx2.RemoteProtocolError):
            list(stream)
    receipt = _only(memory)
    event = receipt.event
    assert (event.status, event.error, event.basis) == ("failed", "RemoteProtocolError", "estimated")
    assert event.usage == {"input_tokens": 1000, "output_tokens": 1}
    assert receipt.total.amount == Decimal("0.003015")  # what was told so far: 1,000 × $3 + 1 × $15 a million


def test_a_stream_that_the_program_leaves_is_marked_as_cancelled(
    memory: outlay.Ledger, server: PlaybackServer
) -> None:
    server.play(_claude_stream())
    with memory.watch(_claude(server)) as client, _stream(client) as stream:
        assert next(iter(stream)).type == "message_start"
    event = _only(memory).event
    assert (event.status, event.basis) == ("cancelled", "estimated")


def test_a_stream_that_the_program_forgets_is_kept_when_it_is_collected(
    memory: outlay.Ledger, server: PlaybackServer
) -> None:
    import gc

    server.play(_claude_stream())
    with memory.watch(_claude(server)) as client:
        stream = _stream(client)
        next(iter(stream))
        del stream
        gc.collect()
        assert _only(memory).event.status == "cancelled"


def test_a_call_for_somebody_who_cannot_be_named_is_kept_all_the_same(tmp_path: Path, server: PlaybackServer) -> None:
    with outlay.open(tmp_path / "outlay.db") as ledger, ledger.watch(_openai(server)) as client:
        server.play(whole(CHAT))
        with ledger.attribute(user="x" * 10_000, tags={"page": "y" * 10_000}, project="video"):
            _ask(client)
        event = _only(ledger).event
    # What a stranger's header says must not make a call free.
    assert (event.user, event.tags, event.project) == (None, {}, "video")
    assert event.usage == {"input_tokens": 1000, "output_tokens": 100}


@pytest.mark.parametrize("held", [False, True])
def test_a_stream_that_is_collected_within_a_transaction_leaves_it_whole(
    tmp_path: Path, server: PlaybackServer, held: bool
) -> None:
    import gc

    server.play(_claude_stream())
    with outlay.open(tmp_path / "outlay.db") as ledger:
        if held:
            ledger.budget("cap", limit="5", window="day", action="refuse")
        with ledger.watch(_claude(server)) as client:
            stream = _stream(client)
            next(iter(stream))
            cycle = [stream]
            cycle.append(cycle)  # Only the collector finds it.
            del stream, cycle
        store: Any = ledger.store
        assert ledger.spool is not None
        with store._connections.writing() as connection, ledger.spool._lock:
            connection.execute("INSERT INTO setting (name, value) VALUES ('a', '1')")
            gc.collect()
            connection.execute("INSERT INTO setting (name, value) VALUES ('b', '2')")
        assert (ledger.store.setting("a"), ledger.store.setting("b")) == ("1", "2")
        assert _only(ledger).event.status == "cancelled"
        assert ledger.capture_failures == {}


def test_a_stream_that_is_open_at_a_fork_is_kept_once_by_the_parent(tmp_path: Path, server: PlaybackServer) -> None:
    import gc

    server.play(_claude_stream())
    with outlay.open(tmp_path / "outlay.db") as ledger:
        with ledger.watch(_claude(server)) as client:
            stream = _stream(client)
            next(iter(stream))
            child = os.fork()
            if child == 0:
                try:
                    del stream
                    gc.collect()
                    ledger.flush()
                finally:
                    os._exit(0)
            os.waitpid(child, 0)
            del stream
            gc.collect()
        assert _only(ledger).event.status == "cancelled"


def test_a_cancelled_task_is_cancelled_at_once_and_its_call_is_marked(
    memory: outlay.Ledger, server: PlaybackServer
) -> None:
    server.play(_claude_stream()._replace(pause_s=0.2))

    async def main() -> None:
        async with memory.watch(_claude(server, asynchronous=True)) as client:

            async def read() -> None:
                async for _ in await _stream(client):
                    pass

            task = asyncio.create_task(read())
            await asyncio.sleep(0.3)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())
    event = _only(memory).event
    assert (event.status, event.basis) == ("cancelled", "estimated")


def test_a_cut_stream_of_bedrock_breaks_as_ever_and_is_marked(memory: outlay.Ledger, server: PlaybackServer) -> None:
    import boto3
    import urllib3

    told = {"usage": {"inputTokens": 10, "outputTokens": 5, "totalTokens": 15}, "metrics": {"latencyMs": 1}}
    answer = amazon_events(
        [
            ("messageStart", {"role": "assistant"}),
            ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "a"}}),
            ("messageStop", {"stopReason": "end_turn"}),
            ("metadata", told),
        ]
    )
    server.play(answer._replace(cut_after=2))
    client = boto3.client(
        "bedrock-runtime",
        region_name="us-east-1",
        endpoint_url=server.url,
        aws_access_key_id="k",
        aws_secret_access_key="s",
    )
    named = {"modelId": "amazon.nova-lite-v1:0", "messages": [{"role": "user", "content": [{"text": "x"}]}]}
    stream = memory.watch(client).converse_stream(**named)["stream"]
    with pytest.raises(urllib3.exceptions.ProtocolError):
        list(stream)
    event = _only(memory).event
    assert (event.status, event.error, event.basis) == ("failed", "ProtocolError", "estimated")
    assert event.service == "amazon.nova-lite-v1:0"
    client.close()


def test_a_locked_ledger_never_holds_a_call_up(tmp_path: Path, server: PlaybackServer) -> None:
    """Another process holds the file: the call goes into the spool, which is booked when the lock is gone."""
    server.play(whole(CHAT))
    with outlay.open(tmp_path / "outlay.db") as ledger:
        with ledger.watch(_openai(server)) as client:
            other = apsw.Connection(str(tmp_path / "outlay.db"))
            other.execute("BEGIN IMMEDIATE")
            assert _ask(client).id == "chatcmpl-1"
            other.execute("ROLLBACK")
            other.close()
        assert _only(ledger).total.amount == Decimal("0.0035")


def test_a_full_disk_never_fails_a_call_and_is_told(
    tmp_path: Path, server: PlaybackServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from outlay.instrument import clients

    monkeypatch.setattr(clients, "_said", set())
    server.play(whole(CHAT))
    with outlay.open(tmp_path / "outlay.db") as ledger, ledger.watch(_openai(server)) as client:

        def full(*_: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patched:
            patched.setattr(os, "write", full)
            ledger.spool._open() if ledger.spool is not None else None
            assert _ask(client).id == "chatcmpl-1"
            assert _ask(client).id == "chatcmpl-1"
        assert ledger.doctor()["capture_failures"] == "2× recording a call: disk_full"
    said = [record.getMessage() for record in caplog.records if record.name == "outlay.instrument"]
    assert len(said) == 1
    assert "disk_full" in said[0]


def test_a_bug_in_the_reading_never_fails_a_call(
    memory: outlay.Ledger, server: PlaybackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from outlay.capture import seen

    def broken(*_: object, **__: object) -> object:
        raise RuntimeError("a bug")

    monkeypatch.setattr(seen, "extract", broken)
    server.play(whole(CHAT))
    with memory.watch(_openai(server)) as client:
        assert _ask(client).id == "chatcmpl-1"
    assert memory.doctor()["capture_failures"] == "1× recording a call: RuntimeError"


def test_no_prompt_and_no_answer_reaches_the_ledger(tmp_path: Path, server: PlaybackServer) -> None:
    secret = "Zq7-planted-secret"
    body = {**CHAT, "choices": [{"index": 0, "message": {"role": "assistant", "content": secret}}]}
    server.play(whole(body), whole({"error": {"message": secret, "code": "bad"}}, status=400))
    with outlay.open(tmp_path / "outlay.db") as ledger, ledger.watch(_openai(server)) as client:
        client.chat.completions.create(
            model="gpt-4o", messages=[{"role": "user", "content": secret}], user=secret[:3]
        )
        import openai

        with pytest.raises(openai.BadRequestError):
            client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": secret}])
        held = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
        assert secret.encode() not in held
    assert secret.encode() not in b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
