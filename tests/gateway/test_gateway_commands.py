"""`outlay gateway` in a process of its own, what a kill leaves, and `outlay gateway keys`."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.gateway.test_gateway_budgets import BODY, CHAT
from tests.playback_server import PlaybackServer, whole
from tests.server_process import ServerProcess
from typer.testing import CliRunner

import outlay
from outlay.faces.cli.commands import app

MASTER = "Zm9ydHktdHdvIHJhbmRvbSBieXRlcyBvZiBhIG1hc3Rlcg=="
SECRET = "sk-provider-0123456789abcdef"
PATH = "/gateway/openai/v1/chat/completions"


@pytest.fixture
def upstream() -> Iterator[PlaybackServer]:
    playback = PlaybackServer()
    yield playback
    playback.close()


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("OUTLAY_LEDGER", "OUTLAY_CONFIG", "OUTLAY_MASTER_KEY"):
        monkeypatch.delenv(name, raising=False)


def _alone(folder: Path, upstream: PlaybackServer) -> ServerProcess:
    tables = f'[gateway.upstreams.openai]\nurl = "{upstream.url}"\n'
    return ServerProcess(folder / "outlay.db", folder, tables=tables, command=("gateway", "--ledger"))


def test_a_gateway_alone_passes_calls_shows_their_receipts_and_nothing_else(
    tmp_path: Path, upstream: PlaybackServer
) -> None:
    upstream.play(whole(CHAT))
    with _alone(tmp_path, upstream) as gateway:
        answer = httpx.post(gateway.url + PATH, json=BODY)
        assert answer.json() == CHAT
        id = answer.headers["x-outlay-receipt"]
        until = time.monotonic() + 10
        while (receipt := httpx.get(f"{gateway.url}/v1/receipts/{id}")).status_code == 404:
            assert time.monotonic() < until
        assert receipt.json()["total"] == "0.0035"
        for path in ("/v1/costs", "/v1/events", "/docs"):
            assert httpx.get(gateway.url + path).status_code == 404
        assert gateway.stop() == 0
    with outlay.open(tmp_path / "outlay.db") as ledger:
        assert ledger.audit().ok


def test_what_a_killed_gateway_had_under_way_stays_held_in_its_budget(
    tmp_path: Path, upstream: PlaybackServer
) -> None:
    with outlay.open(tmp_path / "outlay.db") as ledger:
        ledger.budget("day", limit="1.00", window="day", action="refuse")
    upstream.play(whole(CHAT, pause_s=3.0))
    with _alone(tmp_path, upstream) as gateway:
        calling = threading.Thread(target=_lost, args=(gateway.url + PATH,))
        calling.start()
        until = time.monotonic() + 20
        while not upstream.requests:
            assert time.monotonic() < until
            time.sleep(0.01)
        gateway.kill()
        calling.join()
    with outlay.open(tmp_path / "outlay.db") as ledger:
        (status,) = ledger.budgets("day")
        # 100 output tokens × $10.00 a million, and what the prompt takes at most.
        assert outlay.Money(status.reserved).amount > Decimal("0.001")
        assert status.spent == 0
        assert ledger.audit().ok


def _lost(url: str) -> None:
    with pytest.raises(httpx.HTTPError):
        httpx.post(url, json=BODY, timeout=30)


def _run(*arguments: str, input: str = "") -> Any:
    return CliRunner().invoke(app, ["gateway", "keys", *arguments], input=input)


def test_a_providers_key_is_kept_shown_without_itself_and_revoked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTLAY_MASTER_KEY", MASTER)
    added = _run("add", "openai", "--name", "web", "--scope", "project=web", "--json", input=SECRET + "\n")
    assert added.exit_code == 0, added.output
    told = json.loads(added.stdout)
    assert told["key"].startswith("outlay_")
    (row,) = json.loads(_run("list", "--json").stdout)
    assert (row["upstream"], row["scope"], row["ending"], row["state"]) == ("openai", "project=web", "…cdef", "valid")
    assert SECRET not in _run("list").output + json.dumps(row)
    assert _run("revoke", told["id"], "--yes").exit_code == 0
    assert json.loads(_run("list", "--json").stdout)[0]["state"] == "revoked"


@pytest.mark.parametrize(
    ("master", "upstream", "secret", "code"),
    [
        ("", "openai", SECRET, "no_master_key"),
        ("short", "openai", SECRET, "weak_master_key"),
        (MASTER, "nowhere", SECRET, "no_such_upstream"),
        (MASTER, "openai", "", "bad_provider_key"),
        (MASTER, "openai", "short", "bad_provider_key"),
    ],
)
def test_a_key_that_cannot_be_kept_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, master: str, upstream: str, secret: str, code: str
) -> None:
    monkeypatch.setenv("OUTLAY_MASTER_KEY", master)
    refused = _run("add", upstream, input=secret + "\n")
    assert refused.exit_code != 0
    assert code in refused.stderr
    assert SECRET not in refused.output
