"""SDK × call × stream through the gateway: the program sees what it sees without it, the upstream its very bytes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.cassettes import Exchange, exchanges
from tests.gateway.conftest import Gatewayed
from tests.instrument.sdk_calls import Call, Sdk, calls, clients, made
from tests.playback_server import recorded

import outlay

# What the SDKs themselves deprecate, of theirs or of the libraries below, is no matter of these tests.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

ASKED = b'"stream_options":{"include_usage": true},'
"""What the gateway puts into a chat stream's request that does not ask for its usage."""

UPSTREAMS = {"aws": "bedrock", "cohere v1": "cohere"}
HOSTS = {
    "aws": "https://bedrock-runtime.us-east-1.amazonaws.com",
    "azure": "",
    "openai": "https://api.openai.com",
    "anthropic": "https://api.anthropic.com",
    "groq": "https://api.groq.com",
    "google": "https://generativelanguage.googleapis.com",
    "mistral": "https://api.mistral.ai",
    "cohere": "https://api.cohere.com",
    "cohere v1": "https://api.cohere.com",
    "replicate": "https://api.replicate.com",
}
ASYNCHRONOUS = ("openai", "anthropic", "google")
TABLE = [
    (sdk, call)
    for sdk in clients()
    for call in calls()
    if call.sdk == sdk.name and (not sdk.asynchronous or sdk.name in ASYNCHRONOUS)
]
NAMES = [f"{sdk.name}-{call.label}-{'async' if sdk.asynchronous else 'sync'}" for sdk, call in TABLE]


def _recordings(data_folder: Path, call: Call) -> list[Exchange]:
    """One recording of each content type."""
    kinds: dict[str, Exchange] = {}
    for one in exchanges(data_folder):
        fits = call.host in one.host and re.search(call.path, one.path) and one.request
        if fits and isinstance(one.body, bytes | dict | list) and one.status in (200, 201):
            kinds.setdefault(one.content_type, one)
    return list(kinds.values())


@pytest.mark.parametrize(("sdk", "call"), TABLE, ids=NAMES)
def test_a_call_through_the_gateway_looks_the_same_and_is_booked_as_recorded(
    sdk: Sdk, call: Call, shared: Gatewayed, data_folder: Path
) -> None:
    found = _recordings(data_folder, call)
    assert found, "no recording of this call"
    for exchange in found:
        _check(sdk, call, exchange, shared)


def _check(sdk: Sdk, call: Call, exchange: Exchange, gateway: Gatewayed) -> None:
    playback = gateway.playback
    playback.play(recorded(exchange))
    direct = made(sdk, call, sdk.make(playback.url), exchange)
    (straight,) = playback.requests
    known = {one.event.id for one in gateway.events()}
    playback.play(recorded(exchange))
    through = made(sdk, call, sdk.make(gateway.url(UPSTREAMS.get(sdk.name, sdk.name))), exchange)
    assert through == direct, exchange.label
    (sent,) = playback.requests
    assert (sent.method, sent.path) == (straight.method, straight.path), exchange.label
    assert sent.body.replace(ASKED, b"", 1) == straight.body, exchange.label
    if sdk.asynchronous:
        return  # The same answer as before is the same call: it was booked when the other client made it.
    booked = [one for one in gateway.events() if one.event.id not in known]
    expected = _expected(exchange, sdk, straight.path, straight.body)
    assert [_facts(one) for one in booked] == [_facts(one) for one in expected], exchange.label


class _Answered:
    """A recorded answer as an HTTP client has it: some tell their tokens in headers."""

    def __init__(self, exchange: Exchange) -> None:
        answer = recorded(exchange)
        self.status_code = exchange.status or 200
        self.headers = {**exchange.headers, "content-type": answer.content_type}
        self.content = b"".join(answer.chunks)


def _expected(exchange: Exchange, sdk: Sdk, path: str, body: bytes) -> list[Any]:
    """What `record_response` keeps of the recorded answer, at the provider's own address."""
    host = HOSTS[sdk.name]
    with outlay.open("memory:") as ledger:
        receipt = ledger.record_response(
            _Answered(exchange),
            provider=None if host else sdk.name,
            url=host + urlsplit(path).path,
            request_body=body,
        )
        return [] if receipt.outcome == "pending" else list(ledger.events())


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
