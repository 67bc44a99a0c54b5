"""SDK × call × stream × async: the program sees what it sees without Outlay, the ledger what the answer tells."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cassettes import Exchange, exchanges
from tests.instrument.sdk_calls import Call, Sdk, calls, clients, made
from tests.playback_server import PlaybackServer, recorded

import outlay

# What the SDKs themselves deprecate, of theirs or of the libraries below, is no matter of these tests.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

PER_KIND = 1
"""How many recordings of each call, stream or not, are played; `make soak` plays all."""


@pytest.fixture(scope="module")
def server() -> Iterator[PlaybackServer]:
    playback = PlaybackServer()
    yield playback
    playback.close()


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    yield
    outlay.uninstrument()


def _recordings(data_folder: Path, call: Call) -> list[Exchange]:
    return [
        one
        for one in exchanges(data_folder)
        if call.host in one.host
        and re.search(call.path, one.path)
        and isinstance(one.body, bytes | dict | list)
        and one.request
        and one.status in (200, 201)
    ]


def _few(found: list[Exchange]) -> list[Exchange]:
    kinds: dict[str, list[Exchange]] = {}
    for one in found:
        kinds.setdefault(one.content_type, []).append(one)
    return [one for several in kinds.values() for one in several[:PER_KIND]]


TABLE = [(sdk, call) for sdk in clients() for call in calls() if call.sdk == sdk.name]


NAMES = [f"{sdk.name}-{call.label}-{'async' if sdk.asynchronous else 'sync'}" for sdk, call in TABLE]


@pytest.mark.parametrize(
    ("sdk", "call"),
    TABLE,
    ids=NAMES,
)
def test_a_watched_call_looks_the_same_and_is_kept_as_recorded(
    sdk: Sdk, call: Call, server: PlaybackServer, data_folder: Path, tmp_path: Path
) -> None:
    found = _few(_recordings(data_folder, call))
    assert found, "no recording of this call"
    for exchange in found:
        _check(sdk, call, exchange, server, tmp_path)


@pytest.mark.soak
@pytest.mark.parametrize(("sdk", "call"), TABLE)
def test_all_recordings(sdk: Sdk, call: Call, server: PlaybackServer, data_folder: Path, tmp_path: Path) -> None:
    for exchange in _recordings(data_folder, call):
        _check(sdk, call, exchange, server, tmp_path)


def _check(sdk: Sdk, call: Call, exchange: Exchange, server: PlaybackServer, folder: Path) -> None:
    server.play(recorded(exchange))
    unwatched = made(sdk, call, sdk.make(server.url), exchange)
    sent_unwatched = list(server.requests)
    server.play(recorded(exchange))
    with outlay.open(folder / f"{uuid.uuid4().hex}.db") as ledger:
        seen = made(sdk, call, ledger.watch(sdk.make(server.url)), exchange)
        assert seen == unwatched, exchange.label
        assert [one.body for one in server.requests] == [one.body for one in sent_unwatched]
        assert "capture_failures" not in ledger.doctor()
        ledger.flush()
        kept = list(ledger.events())
    expected = _expected(exchange, sdk, server)
    assert [_facts(one) for one in kept] == [_facts(one) for one in expected], exchange.label


class _Answered:
    """A recorded answer as an HTTP client has it: some tell their tokens in headers."""

    def __init__(self, exchange: Exchange) -> None:
        self.status_code = exchange.status or 200
        self.headers = exchange.headers
        self.content = exchange.body if isinstance(exchange.body, bytes) else json.dumps(exchange.body).encode()


def _expected(exchange: Exchange, sdk: Sdk, server: PlaybackServer) -> list[Any]:
    """What `record_response` keeps of the recorded body; what it takes for nobody's is the SDK's own provider's."""
    tried = [None, "openai"] if sdk.name == "openai" else [sdk.name.split()[0]]
    for provider in tried:
        with outlay.open("memory:") as ledger:
            receipt = ledger.record_response(
                _Answered(exchange),
                provider=provider,
                url=re.sub(r"us-east-\d", "us-east-1", exchange.url or "") if sdk.name == "aws" else exchange.path,
                request_body=server.requests[0].body,
            )
            if receipt.event.provider != "unknown":
                return [] if receipt.outcome == "pending" else list(ledger.events())
    raise AssertionError(exchange.label)


def _facts(receipt: Any) -> dict[str, Any]:
    event = receipt.event
    return {
        "provider": event.provider,
        "service": event.service,
        "operation": event.operation,
        "usage": dict(event.usage),
        "status": event.status,
        "basis": event.basis,
        "conditions": dict(event.conditions),
        "total": receipt.total,
        "key": event.call_key,
    }
