"""The official JavaScript clients of OpenAI and of AWS through the gateway, installed as their package.json says."""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
import subprocess
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.gateway.conftest import Gatewayed
from tests.gateway.test_gateway_budgets import CHAT, DELTA, STOP, TOLD
from tests.playback_server import amazon_events, events, whole

import outlay
from outlay.faces.server.keys import make_key

FOLDER = Path(__file__).parent / "node"
CACHE = Path.home() / ".cache" / "outlay-tests"
CONVERSED = {
    "output": {"message": {"role": "assistant", "content": [{"text": "A bright flat."}]}},
    "stopReason": "end_turn",
    "usage": {"inputTokens": 1000, "outputTokens": 400, "totalTokens": 1400},
    "metrics": {"latencyMs": 10},
}


@pytest.fixture(scope="module")
def installed() -> Path:
    """The clients, installed once for each package.json; the tests fail where that cannot be done."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.fail("the JavaScript clients cannot be run: there is no `node` and `npm` on the PATH; install Node 18")
    wanted = (FOLDER / "package.json").read_bytes()
    folder = CACHE / f"node-{hashlib.sha256(wanted).hexdigest()[:16]}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "installed").exists():
            shutil.copy(FOLDER / "package.json", folder)
            command = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
            assert done.returncode == 0, f"npm install failed: {done.stderr[-2_000:]}"
            (folder / "installed").touch()
    return folder


def _run(installed: Path, program: str, *arguments: str) -> list[dict[str, Any]]:
    shutil.copy(FOLDER / program, installed)
    command = ["node", program, *arguments]
    done = subprocess.run(command, cwd=installed, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_openais_client_for_javascript_completes_streams_calls_tools_leaves_and_is_refused(
    gateway: Gatewayed, installed: Path
) -> None:
    gateway.ledger.budget("day", limit="0.10", window="day", action="refuse", where={"user": "ada"})
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    asked = {"message": {"role": "assistant", "content": None, "tool_calls": [call]}, "finish_reason": "tool_calls"}
    streams = [
        events([{**one, "id": id} for one in (DELTA, DELTA, STOP, TOLD)], done=True, pause_s=pause)
        for id, pause in (("s1", 0.0), ("s2", 0.1))
    ]
    gateway.playback.play(
        whole(CHAT), streams[0], whole({**CHAT, "id": "chatcmpl-2", "choices": [{"index": 0, **asked}]}), streams[1]
    )
    said = _run(installed, "openai.mjs", gateway.url("openai") + "/v1")
    assert said == [
        {"text": "Hi", "cost": "0.0035"},
        {"words": ["Hi", "Hi", ""]},
        {"tool": "weather"},
        {"first": "Hi"},
        {"error": "RateLimitError", "status": 429, "code": "budget_spent"},
    ]
    assert len(gateway.playback.requests) == 4
    booked = gateway.events()
    assert [(one.event.user, one.event.feature, one.total.amount) for one in booked] == [
        ("ada", "chat", Decimal("0.0035"))
    ] * 4


def test_aws_client_for_javascript_calls_streams_and_is_refused_and_is_signed_anew(
    gateway: Gatewayed, installed: Path
) -> None:
    _, text = make_key(gateway.ledger.store, gateway.ledger.clock, roles=("ingest",), scope={"project": "flats"})
    gateway.served.service.state.gate.load()
    gateway.ledger.budget("flats", limit="0.003", window="day", action="refuse", where={"project": "flats"})
    parts = [
        ("messageStart", {"role": "assistant"}),
        ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "A bright"}}),
        ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": " flat."}}),
        ("messageStop", {"stopReason": "end_turn"}),
        ("metadata", {"usage": CONVERSED["usage"], "metrics": {"latencyMs": 10}}),
    ]
    first = {"x-amzn-requestid": "r1"}
    gateway.playback.play(whole(CONVERSED, headers=first), amazon_events(parts, headers={"x-amzn-requestid": "r2"}))
    said = _run(installed, "bedrock.mjs", gateway.url("bedrock"), text)
    usage = {"inputTokens": 1000, "outputTokens": 400, "totalTokens": 1400}
    assert said == [
        {"text": "A bright flat.", "usage": usage},
        {"words": ["A bright", " flat."], "usage": usage},
        {"error": "ServiceQuotaExceededException", "attempts": 1},
    ]
    for sent in gateway.playback.requests:
        assert sent.headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKIDGATEWAY/")
        assert text not in str(sent)
    # Claude 3 Haiku: 1,000 × $0.25 + 400 × $1.25 a million = $0.00075 a call.
    assert [(one.event.project, one.total) for one in gateway.events()] == [("flats", outlay.Money(750_000_000))] * 2
