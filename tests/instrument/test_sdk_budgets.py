"""Hard budgets around watched calls: reserved before, settled after, refused by name, two rewrites and no other."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.playback_server import PlaybackServer, events, whole

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
MESSAGES: list[Any] = [{"role": "user", "content": "Hello"}]
CHUNK = {"id": "s1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o"}
DELTA = {**CHUNK, "choices": [{"index": 0, "delta": {"content": "Hi"}, "finish_reason": None}]}
STOP = {**CHUNK, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
USAGE = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}
TOLD = {**CHUNK, "choices": [], "usage": USAGE}


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
    return client.chat.completions.create(**{"model": "gpt-4o", "messages": MESSAGES, "max_tokens": 100, **fields})


def _spent(ledger: outlay.Ledger) -> tuple[Decimal | int, Decimal | int]:
    (status,) = ledger.budgets("day")
    return outlay.Money(status.spent).amount, outlay.Money(status.reserved).amount


def test_a_call_that_fits_is_reserved_and_settled_by_what_it_used(
    ledger: outlay.Ledger, server: PlaybackServer
) -> None:
    ledger.budget("day", limit="1.00", window="day", action="refuse")
    server.play(whole(CHAT))
    with ledger.watch(_openai(server)) as client:
        assert _ask(client).id == "chatcmpl-1"
    assert server.requests[0].json["max_tokens"] == 100  # The program's own maximum is left as it is.
    assert _spent(ledger) == (Decimal("0.0035"), 0)
    (receipt,) = ledger.events()
    assert (receipt.event.status, receipt.event.call_key) == ("ok", "openai:chatcmpl-1")


def test_a_call_that_does_not_fit_is_refused_before_it_is_sent(ledger: outlay.Ledger, server: PlaybackServer) -> None:
    ledger.budget("day", limit="0.0005", window="day", action="refuse")
    server.play(whole(CHAT))
    with ledger.watch(_openai(server)) as client, pytest.raises(outlay.BudgetExceeded) as refused:
        _ask(client)
    assert refused.value.code == "budget_spent"
    assert server.requests == []
    assert list(ledger.events()) == []


def test_a_call_without_a_maximum_gets_the_one_that_the_budget_affords(
    ledger: outlay.Ledger, server: PlaybackServer
) -> None:
    ledger.budget("day", limit="0.005", window="day", action="refuse")
    server.play(whole({**CHAT, "usage": {"prompt_tokens": 10, "completion_tokens": 100, "total_tokens": 110}}))
    with ledger.watch(_openai(server)) as client:
        client.chat.completions.create(model="gpt-4o", messages=MESSAGES, temperature=0.5)
    sent = server.requests[0].json
    written = sent.pop("max_completion_tokens", None) or sent.pop("max_tokens")
    assert sent == {"model": "gpt-4o", "messages": MESSAGES, "temperature": 0.5}
    assert 0 < written <= 500  # $0.005 is 500 output tokens at $10.00 a million, less what the prompt takes.


def test_without_that_rewrite_what_the_model_may_put_out_is_held(
    ledger: outlay.Ledger, server: PlaybackServer
) -> None:
    ledger.budget("day", limit="0.005", window="day", action="refuse")
    server.play(whole(CHAT))
    client = ledger.watch(_openai(server), write_maximum=False)
    with client, pytest.raises(outlay.BudgetExceeded):
        client.chat.completions.create(model="gpt-4o", messages=MESSAGES)
    assert server.requests == []


def _seen(client: Any) -> list[Any]:
    return [chunk.model_dump(exclude_unset=True) for chunk in _ask(client, stream=True)]


def test_a_stream_is_asked_for_its_usage_which_is_hidden_again(ledger: outlay.Ledger, server: PlaybackServer) -> None:
    server.play(events([DELTA, STOP], done=True))
    with _openai(server) as client:
        plain = _seen(client)
    ledger.budget("day", limit="1.00", window="day", action="refuse")
    server.play(events([{**DELTA, "usage": None}, {**STOP, "usage": None}, TOLD], done=True))
    with ledger.watch(_openai(server)) as client:
        assert _seen(client) == plain
    assert server.requests[0].json["stream_options"] == {"include_usage": True}
    assert _spent(ledger) == (Decimal("0.0035"), 0)


def test_without_that_rewrite_a_silent_stream_is_booked_at_its_worst(
    ledger: outlay.Ledger, server: PlaybackServer
) -> None:
    ledger.budget("day", limit="1.00", window="day", action="refuse")
    server.play(events([DELTA, STOP], done=True))
    with ledger.watch(_openai(server), ask_usage=False) as client:
        _seen(client)
    assert "stream_options" not in server.requests[0].json
    (receipt,) = ledger.events()
    assert receipt.event.basis == "estimated"
    assert receipt.event.usage["output_tokens"] == 100
    assert _spent(ledger) == (receipt.total.amount, 0)


def test_a_stream_that_asks_for_usage_itself_sees_it(ledger: outlay.Ledger, server: PlaybackServer) -> None:
    ledger.budget("day", limit="1.00", window="day", action="refuse")
    server.play(events([DELTA, STOP, TOLD], done=True))
    with ledger.watch(_openai(server)) as client:
        seen = list(_ask(client, stream=True, stream_options={"include_usage": True}))
    assert seen[-1].usage.completion_tokens == 100


def test_a_budget_that_only_tells_rewrites_nothing(ledger: outlay.Ledger, server: PlaybackServer) -> None:
    ledger.budget("day", limit="0.0001", window="day")
    server.play(events([DELTA, STOP], done=True))
    with ledger.watch(_openai(server)) as client:
        list(client.chat.completions.create(model="gpt-4o", messages=MESSAGES, stream=True))
    assert server.requests[0].json == {"model": "gpt-4o", "messages": MESSAGES, "stream": True}


def test_retries_are_reserved_once(ledger: outlay.Ledger, server: PlaybackServer) -> None:
    ledger.budget("day", limit="1.00", window="day", action="refuse")
    busy = whole({"error": {"code": "rate_limit_exceeded"}}, status=429, headers={"retry-after-ms": "1"})
    server.play(busy, whole(CHAT))
    with ledger.watch(_openai(server)) as client:
        client.chat.completions.create(model="gpt-4o", messages=MESSAGES)
    first, second = (request.json for request in server.requests)
    assert first == second  # The maximum is written into the retry as well.
    assert _spent(ledger) == (Decimal("0.0035"), 0)
    (receipt,) = ledger.events()
    assert receipt.event.parameters["attempts"] == 2


def test_a_call_that_fails_gives_back_what_was_held(ledger: outlay.Ledger, server: PlaybackServer) -> None:
    import openai

    ledger.budget("day", limit="1.00", window="day", action="refuse")
    server.play(whole({"error": {"code": "bad"}}, status=400))
    with ledger.watch(_openai(server)) as client, pytest.raises(openai.BadRequestError):
        _ask(client)
    assert _spent(ledger) == (0, 0)
    (receipt,) = ledger.events()
    assert (receipt.event.status, receipt.event.error) == ("failed", "bad")


def test_an_answer_that_never_comes_is_booked_at_its_worst_and_marked(
    ledger: outlay.Ledger, server: PlaybackServer
) -> None:
    import openai

    ledger.budget("day", limit="1.00", window="day", action="refuse")
    server.play(whole(CHAT)._replace(pause_s=0.5))
    client = ledger.watch(_openai(server, max_retries=0, timeout=0.05))
    with client, pytest.raises(openai.APITimeoutError):
        _ask(client)
    (receipt,) = ledger.events()
    assert (receipt.event.status, receipt.event.basis) == ("unsettled", "estimated")
    assert receipt.event.usage["output_tokens"] == 100
    spent, reserved = _spent(ledger)
    assert (spent, reserved) == (receipt.total.amount, 0)
    assert spent >= Decimal("0.001")  # 100 output tokens at $10.00 a million at least


def test_a_cut_stream_is_booked_at_what_is_known_and_the_worst_of_the_rest(
    ledger: outlay.Ledger, server: PlaybackServer
) -> None:
    import anthropic
    import httpx2

    ledger.budget("day", limit="1.00", window="day", action="refuse")
    start = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5", "content": []}
    told = {"type": "message_start", "message": {**start, "usage": {"input_tokens": 1000, "output_tokens": 1}}}
    server.play(events([told, {"type": "message_stop"}], named=True)._replace(cut_after=1))
    with ledger.watch(anthropic.Anthropic(api_key="k", base_url=server.url, max_retries=0)) as client:
        stream = client.messages.create(model="claude-sonnet-4-5", max_tokens=200, messages=MESSAGES, stream=True)
        with pytest.raises(httpx2.RemoteProtocolError):
            list(stream)
    (receipt,) = ledger.events()
    assert receipt.event.usage == {"input_tokens": 1000, "output_tokens": 200}
    assert (receipt.event.status, receipt.event.basis) == ("failed", "estimated")
    assert _spent(ledger) == (Decimal("0.006"), 0)  # 1,000 × $3 + 200 × $15 a million


def test_exactly_as_many_calls_pass_as_fit_of_many_at_once(tmp_path: Path, server: PlaybackServer) -> None:
    """$0.10, each call takes $0.01 at most and at least: 10 of 32 pass, in threads."""
    used = {"prompt_tokens": 8, "completion_tokens": 998, "total_tokens": 1006}
    server.play(*(whole({**CHAT, "id": f"c{number}", "usage": used}) for number in range(32)))
    with outlay.open(tmp_path / "outlay.db") as ledger:
        ledger.budget("day", limit="0.10", window="day", action="refuse")
        outcomes: list[str] = []
        with ledger.watch(_openai(server)) as client:

            def ask() -> None:
                try:
                    outcomes.append(_ask(client, max_tokens=990).id)
                except outlay.BudgetExceeded as refused:
                    outcomes.append(refused.code)

            threads = [threading.Thread(target=ask) for _ in range(32)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        passed = [one for one in outcomes if one.startswith("c")]
        spent, reserved = _spent(ledger)
    assert len(outcomes) == 32
    assert 9 <= len(passed) <= 10
    assert reserved == 0
    assert spent == len(passed) * Decimal("0.01")  # 8 × $2.50 + 998 × $10.00 a million


def test_async_calls_are_refused_and_settled_too(tmp_path: Path, server: PlaybackServer) -> None:
    import openai

    async def main(ledger: outlay.Ledger) -> list[str]:
        async with ledger.watch(openai.AsyncOpenAI(api_key="k", base_url=server.url + "/v1")) as client:
            found = await asyncio.gather(*(_ask(client) for _ in range(4)), return_exceptions=True)
            chunks = [chunk async for chunk in await _ask(client, model="gpt-4o-mini", stream=True)]
            assert len(chunks) == 2
        return [str(getattr(one, "code", None) or getattr(one, "id", one)) for one in found]

    used = {"prompt_tokens": 8, "completion_tokens": 100, "total_tokens": 108}
    answers = [whole({**CHAT, "id": f"c{number}", "usage": used}) for number in range(2)]
    server.play(*answers, events([DELTA, STOP, {**TOLD, "model": "gpt-4o-mini"}], done=True))
    with outlay.open(tmp_path / "outlay.db") as ledger:
        ledger.budget("day", limit="0.0027", window="day", action="refuse", where={"service": "gpt-4o"})
        ledger.budget("all", limit="1.00", window="day", action="refuse")
        outcomes = asyncio.run(main(ledger))
        assert sorted(outcomes)[:2] == ["budget_reserved", "budget_reserved"]
        assert _spent(ledger) == (2 * Decimal("0.00102"), 0)
        assert len(list(ledger.events())) == 3


def test_a_dearer_model_is_replaced_where_the_budget_says_so(ledger: outlay.Ledger, server: PlaybackServer) -> None:
    ledger.budget("day", limit="0.0005", window="day", action="downgrade", downgrade_to=["gpt-4o-mini"])
    server.play(whole({**CHAT, "model": "gpt-4o-mini", "usage": {**USAGE, "prompt_tokens": 8}}))
    with ledger.watch(_openai(server)) as client:
        _ask(client)
    assert server.requests[0].json["model"] == "gpt-4o-mini"
    (receipt,) = ledger.events()
    assert receipt.event.service == "gpt-4o-mini"


def test_bedrock_and_gemini_get_their_maximum_where_their_apis_want_it(
    ledger: outlay.Ledger, server: PlaybackServer
) -> None:
    import boto3
    from google import genai

    ledger.budget("day", limit="0.005", window="day", action="refuse")
    usage = {"inputTokens": 8, "outputTokens": 5, "totalTokens": 13}
    said = {"output": {"message": {"role": "assistant", "content": [{"text": "x"}]}}, "stopReason": "end_turn"}
    server.play(whole({**said, "usage": usage, "metrics": {"latencyMs": 1}}))
    bedrock = boto3.client(
        "bedrock-runtime",
        region_name="us-east-1",
        endpoint_url=server.url,
        aws_access_key_id="k",
        aws_secret_access_key="s",
    )
    named = [{"role": "user", "content": [{"text": "x"}]}]
    ledger.watch(bedrock).converse(modelId="amazon.nova-pro-v1:0", messages=named)
    bedrock.close()
    assert server.requests[0].json["inferenceConfig"]["maxTokens"] > 0

    counts = {"promptTokenCount": 8, "candidatesTokenCount": 5, "totalTokenCount": 13}
    parts = {"content": {"role": "model", "parts": [{"text": "x"}]}, "finishReason": "STOP"}
    server.play(whole({"candidates": [parts], "usageMetadata": counts, "modelVersion": "gemini-2.5-flash"}))
    client = genai.Client(api_key="k", http_options=genai.types.HttpOptions(base_url=server.url))
    ledger.watch(client).models.generate_content(model="gemini-2.5-flash", contents="x")
    client.close()
    assert server.requests[0].json["generationConfig"]["maxOutputTokens"] > 0
    spent, reserved = _spent(ledger)
    assert reserved == 0
    assert len(list(ledger.events())) == 2
    assert json.dumps(ledger.doctor()).count("capture_failures") == 0
    assert spent > 0


def test_a_ledger_that_cannot_be_asked_stops_the_call_or_not_as_the_budget_says(
    tmp_path: Path, server: PlaybackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for fail_open in (False, True):
        with outlay.open(tmp_path / f"{fail_open}.db") as ledger:
            ledger.budget("day", limit="1.00", window="day", action="refuse", fail_open=fail_open)
            server.play(whole({**CHAT, "id": f"chatcmpl-{fail_open}"}))

            def busy(*_: object, **__: object) -> None:
                raise outlay.LedgerBusy

            monkeypatch.setattr(ledger.store, "reserve", busy)
            with ledger.watch(_openai(server)) as client:
                if fail_open:
                    assert _ask(client).id == "chatcmpl-True"
                else:
                    with pytest.raises(outlay.LedgerBusy):
                        _ask(client)
            ledger.flush()
            assert len(list(ledger.events())) == int(fail_open)
