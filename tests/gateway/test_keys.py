"""Who may call, with which of the provider's keys, and for whom: keys, tokens, virtual keys."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from tests.gateway.conftest import PLAIN, Gatewayed, gatewayed
from tests.gateway.test_gateway_budgets import BODY, CHAT
from tests.playback_server import whole

import outlay
from outlay.faces.gateway.vault import (
    NOTE,
    Seal,
    keep_provider_key,
    kept_provider_keys,
    revoke_provider_key,
)
from outlay.faces.server.keys import make_key
from outlay.faces.server.settings import ServerSettings, TokenIssuer

MASTER = "Zm9ydHktdHdvIHJhbmRvbSBieXRlcyBvZiBhIG1hc3Rlcg=="
SECRET = "sk-provider-0123456789abcdef"
PATH = "openai/v1/chat/completions"


def _post(gateway: Gatewayed, path: str = PATH, **headers: str) -> httpx.Response:
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.post(f"{gateway.served.address}/gateway/{path}", json=BODY, headers=told, verify=PLAIN)


def _refused(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.headers["x-outlay-refused"]


def _key(gateway: Gatewayed, *roles: str, **scope: str) -> str:
    _, text = make_key(gateway.ledger.store, gateway.ledger.clock, roles=roles, scope=scope)
    _look(gateway)
    return text


def _look(gateway: Gatewayed) -> None:
    """As the server does once a second."""
    gateway.served.service.state.gate.load()
    gateway.served.service.gateway.vault.load(gateway.ledger.store)


def test_a_program_keeps_its_providers_key_and_says_who_it_is_beside_it(gateway: Gatewayed) -> None:
    text = _key(gateway, "ingest")
    gateway.playback.play(whole(CHAT))
    assert _post(gateway, authorization="Bearer sk-own", x_outlay_key=text).status_code == 200
    sent = gateway.playback.requests[0].headers
    assert sent["authorization"] == "Bearer sk-own"
    assert not [name for name in sent if name.startswith("x-outlay")]


def test_nobody_without_a_key_and_nobody_with_another_role_calls_anything(gateway: Gatewayed) -> None:
    reader = _key(gateway, "read")
    gateway.playback.play(whole(CHAT))
    assert _refused(_post(gateway)) == (401, "key_required")
    assert _refused(_post(gateway, authorization="Bearer sk-own")) == (401, "key_required")
    assert _refused(_post(gateway, x_outlay_key="outlay_000000000000_nothing")) == (401, "unknown_key")
    assert _refused(_post(gateway, x_outlay_key=reader)) == (403, "wrong_role")
    assert gateway.playback.requests == []


def test_what_a_key_fixes_no_header_overrides(gateway: Gatewayed) -> None:
    text = _key(gateway, "ingest", project="web")
    gateway.playback.play(whole(CHAT))
    assert _refused(_post(gateway, x_outlay_key=text, x_outlay_project="other")) == (403, "outside_scope")
    assert gateway.playback.requests == []
    assert _post(gateway, x_outlay_key=text, x_outlay_user="ada").status_code == 200
    (receipt,) = gateway.events()
    assert (receipt.event.project, receipt.event.user) == ("web", "ada")


def test_what_a_token_fixes_no_header_overrides(open_gateway: Callable[..., Gatewayed], tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("a-secret-of-the-issuer-that-is-long-enough")
    issuer = TokenIssuer(
        issuer="https://id.example",
        audience="outlay",
        algorithm="HS256",
        secret_file=str(tmp_path / "secret"),
        claims={"sub": "user"},
        roles=("ingest",),
    )
    gateway = open_gateway(
        server=ServerSettings(issuers=(issuer,)), upstreams={"openai": {"url": "http://x", "key": "k"}}
    )
    claims = {"iss": "https://id.example", "aud": "outlay", "sub": "ada", "exp": 4_000_000_000}
    token = jwt.encode(claims, "a-secret-of-the-issuer-that-is-long-enough", algorithm="HS256")
    assert _refused(_post(gateway, authorization=f"Bearer {token}", x_outlay_user="eve")) == (403, "outside_scope")
    assert _refused(_post(gateway, authorization="Bearer eyJhbGciOiJub25lIn0.e30.x")) == (401, "bad_token")


def test_a_virtual_key_stands_in_the_place_of_the_providers(tmp_path: Path) -> None:
    with outlay.open(tmp_path / "outlay.db") as ledger, gatewayed(ledger, master_key=MASTER) as gateway:
        kept, text = keep_provider_key(
            ledger.store, ledger.clock, Seal(MASTER), "openai", SECRET, name="web", scope={"project": "web"}
        )
        _look(gateway)
        gateway.playback.play(whole(CHAT))
        assert _post(gateway, authorization=f"Bearer {text}").status_code == 200
        assert gateway.playback.requests[0].headers["authorization"] == f"Bearer {SECRET}"
        (receipt,) = gateway.events()
        assert receipt.event.project == "web"
        assert _refused(_post(gateway, "anthropic/v1/messages", x_api_key=text)) == (403, "other_upstream")
        revoke_provider_key(ledger.store, ledger.clock, kept.id)
        _look(gateway)
        assert _refused(_post(gateway, authorization=f"Bearer {text}")) == (401, "key_revoked")
        (after,) = kept_provider_keys(ledger.store)
        assert after.sealed == ""


VIRTUAL = [
    ("anthropic", "v1/messages", "x-api-key", "{}", "x-api-key", "{}"),
    ("google", "v1beta/models/gemini-2.5-flash:generateContent", "x-goog-api-key", "{}", "x-goog-api-key", "{}"),
    ("google", "v1beta/models/gemini-2.5-flash:generateContent?key={}", "", "", "x-goog-api-key", "{}"),
    ("elevenlabs", "v1/text-to-speech/v1", "xi-api-key", "{}", "xi-api-key", "{}"),
    ("replicate", "v1/predictions", "authorization", "Token {}", "authorization", "Bearer {}"),
    ("azure", "openai/deployments/d/chat/completions", "api-key", "{}", "api-key", "{}"),
    ("bedrock", "model/m/converse", "authorization", "Bearer {}", "authorization", "Bearer {}"),
]


@pytest.mark.parametrize(("upstream", "path", "name", "value", "sent", "as_"), VIRTUAL)
def test_every_provider_takes_a_virtual_key_where_its_own_belongs(
    tmp_path: Path, upstream: str, path: str, name: str, value: str, sent: str, as_: str
) -> None:
    with outlay.open(tmp_path / "outlay.db") as ledger, gatewayed(ledger, master_key=MASTER) as gateway:
        _, text = keep_provider_key(ledger.store, ledger.clock, Seal(MASTER), upstream, SECRET)
        _look(gateway)
        gateway.playback.play(whole({}))
        headers = {name: value.format(text)} if name else {}
        httpx.post(f"{gateway.url(upstream)}/{path.format(text)}", json=BODY, headers=headers)
        (request,) = gateway.playback.requests
        assert request.headers[sent] == as_.format(SECRET)
        assert text not in json.dumps([request.path, dict(request.headers)])


def test_an_upstreams_own_key_goes_with_whoever_brings_none(open_gateway: Callable[..., Gatewayed]) -> None:
    gateway = open_gateway(environment={"KEY": "sk-configured"})
    other = gateway.playback.url
    with gatewayed(
        gateway.ledger, upstreams={"mine": {"url": other, "key": "${KEY}"}}, environment={"KEY": "sk-configured"}
    ) as second:
        gateway.playback.play(whole(CHAT))
        _post(second, "mine/v1/chat/completions")
        _post(second, "mine/v1/chat/completions", authorization="Bearer sk-own")
    sent = [one.headers["authorization"] for one in gateway.playback.requests]
    assert sent == ["Bearer sk-configured", "Bearer sk-own"]


def test_a_kept_key_is_nowhere_in_clear_and_bound_to_its_place(tmp_path: Path) -> None:
    with outlay.open(tmp_path / "outlay.db") as ledger:
        kept, text = keep_provider_key(ledger.store, ledger.clock, Seal(MASTER), "openai", SECRET)
        body = ledger.store.note(NOTE, kept.id)
        assert body is not None
        ledger.backup(tmp_path / "copy.db")
    for path in tmp_path.rglob("*"):
        data = path.read_bytes() if path.is_file() else b""
        assert SECRET.encode() not in data
        assert text.encode() not in data
    assert Seal(MASTER).open(kept) == SECRET
    with pytest.raises(outlay.AccessDenied):
        Seal(MASTER).open(_moved(kept, upstream="anthropic"))
    with pytest.raises(outlay.AccessDenied):
        Seal("another" + MASTER).open(kept)


def _moved(kept: Any, **fields: Any) -> Any:
    import msgspec

    return msgspec.structs.replace(kept, **fields)


@pytest.mark.parametrize(
    ("master", "code"), [("", "no_master_key"), ("a" * 40, "weak_master_key"), ("abc", "weak_master_key")]
)
def test_without_a_master_key_worth_its_name_nothing_is_kept(master: str, code: str) -> None:
    with pytest.raises(outlay.InvalidInput) as refused:
        Seal(master)
    assert refused.value.code == code


def test_a_gateway_without_credentials_of_its_own_signs_nothing_and_charges_nothing(
    open_gateway: Callable[..., Gatewayed], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from outlay.faces.gateway import bedrock

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setattr(bedrock, "_found", {})
    gateway = open_gateway(upstreams={"bedrock": {"url": "http://127.0.0.1:9", "region": "us-east-1"}})
    gateway.ledger.budget("day", limit="1.00", window="day", action="refuse")
    body = {"messages": [{"role": "user", "content": [{"text": "Hi"}]}]}
    path = "/model/anthropic.claude-3-haiku-20240307-v1:0/converse"
    answer = httpx.post(gateway.url("bedrock") + path, json=body)
    assert _refused(answer) == (403, "no_aws_credentials")
    gateway.settled()
    (status,) = gateway.ledger.budgets("day")
    assert (status.spent, status.reserved) == (0, 0)
