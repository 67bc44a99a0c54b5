"""SDK clients watched by a ledger behind a server: what the tests of hard budgets promise holds there too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.api_contract.again import taken_from
from tests.playback_server import PlaybackServer, whole

import outlay

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
SOURCE = Path(__file__).parent.parent / "instrument" / "test_sdk_budgets.py"


@pytest.fixture
def ledger(remote: outlay.Ledger) -> outlay.Ledger:
    """Where these tests run with a ledger in memory and in a file, they run here with one behind a server."""
    return remote


@pytest.fixture(scope="module")
def server() -> Iterator[PlaybackServer]:
    """The provider."""
    playback = PlaybackServer()
    yield playback
    playback.close()


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    yield
    outlay.uninstrument()


globals().update(taken_from(SOURCE))


def test_what_a_wrapper_saw_reaches_the_server_through_the_spool(
    remote: outlay.Ledger, server: PlaybackServer
) -> None:
    import openai

    usage = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}
    message = {"role": "assistant", "content": "Hi"}
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
    told = {"id": "c1", "object": "chat.completion", "created": 1, "model": "gpt-4o", "choices": choices}
    server.play(whole({**told, "usage": usage}))
    with remote.watch(openai.OpenAI(api_key="k", base_url=server.url + "/v1")) as client:
        client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "Hello"}])
    remote.flush()
    (receipt,) = remote.events()
    assert str(receipt.total) == "$0.0035"  # 1,000 × $2.50 + 100 × $10.00 a million
