"""Keys and tokens: who they let in, until when, and what they fix."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

import outlay
from outlay.errors import AccessDenied, InvalidInput, Overloaded, Refused
from outlay.faces.server.access import LOCAL, Caller, Role
from outlay.faces.server.app import create_app
from outlay.faces.server.gate import Gate
from outlay.faces.server.keys import kept_keys, make_key, revoke_key, rotate_key
from outlay.faces.server.serving import check_exposure
from outlay.faces.server.settings import ServerSettings, TokenIssuer, read_server_settings

NOON = 1_773_144_000
"""The fixture clock's start, 2026-03-10T12:00:00Z, in seconds."""

SECRET = "0123456789abcdef" * 4


def admit(gate: Gate, credential: str | None, **headers: str) -> Caller:
    told = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
    if credential is not None:
        told[b"authorization"] = f"Bearer {credential}".encode()
    return gate.admit(told)


def gate_of(ledger: outlay.Ledger, **settings: Any) -> Gate:
    gate = Gate(ledger, ServerSettings(**settings))
    gate.load()
    return gate


def refusal(gate: Gate, credential: str | None, **headers: str) -> str:
    with pytest.raises(AccessDenied) as refused:
        admit(gate, credential, **headers)
    return refused.value.code


# --- without keys


def test_without_keys_only_this_machine_is_served_and_by_its_own_name(memory: outlay.Ledger) -> None:
    gate = gate_of(memory)
    assert admit(gate, None, host="127.0.0.1:8321") == LOCAL
    assert admit(gate, None, host="[::1]:8321") == LOCAL
    # A page of another site, and a name that somebody's DNS points to this machine.
    assert refusal(gate, None, host="127.0.0.1", origin="https://evil.example") == "foreign_origin"
    assert refusal(gate, None, host="rebound.example:8321") == "foreign_host"
    assert refusal(gate, None) == "foreign_host"


def test_a_server_without_keys_does_not_listen_to_the_network(memory: outlay.Ledger) -> None:
    with pytest.raises(AccessDenied) as refused:
        check_exposure(create_app(memory), ServerSettings(host="0.0.0.0"))
    assert refused.value.code == "open_to_others"
    make_key(memory.store, memory.clock, roles=["read"])
    app = create_app(memory)
    app.state.gate.load()
    check_exposure(app, ServerSettings(host="0.0.0.0"))


# --- keys


def test_a_key_lets_in_with_its_roles_and_scope(memory: outlay.Ledger) -> None:
    key, text = make_key(
        memory.store, memory.clock, roles=["ingest", "read"], scope={"project": "video"}, requests_per_second_max=7
    )
    found = admit(gate_of(memory), text)
    assert found.key == key.id
    assert found.roles == {Role.INGEST, Role.READ}
    assert (found.scope, found.requests_per_second_max) == ({"project": "video"}, 7)
    assert admit(gate_of(memory), None, x_outlay_key=text).key == key.id


def test_a_key_has_256_random_bits_and_only_its_digest_is_kept(memory: outlay.Ledger) -> None:
    key, text = make_key(memory.store, memory.clock, roles=["admin"])
    secret = text.removeprefix(f"outlay_{key.id}_")
    assert len(base64.urlsafe_b64decode(secret + "=")) == 32
    (kept,) = memory.store.access_keys()
    assert secret.encode() not in kept.body


def test_what_is_no_key_is_refused_by_name(memory: outlay.Ledger) -> None:
    key, text = make_key(memory.store, memory.clock, roles=["read"])
    gate = gate_of(memory)
    assert refusal(gate, None, host="127.0.0.1") == "key_required"
    assert refusal(gate, text[:-1]) == "unknown_key"
    assert refusal(gate, f"outlay_{key.id}_") == "unknown_key"
    assert refusal(gate, "outlay_nobody_x") == "unknown_key"
    assert refusal(gate, "outlay_é") == "unknown_key"


def test_a_key_ends_when_it_expires_or_is_revoked(memory: outlay.Ledger, clock: outlay.FrozenClock) -> None:
    _, text = make_key(memory.store, clock, roles=["read"], expires_at=clock.now() + 60_000_000)
    other, revoked = make_key(memory.store, clock, roles=["read"])
    gate = gate_of(memory)
    admit(gate, text)
    clock.advance(seconds=60)
    assert refusal(gate, text) == "key_expired"
    revoke_key(memory.store, clock, other.id)
    gate.load()
    assert refusal(gate, revoked) == "key_revoked"
    with pytest.raises(Refused, match="revoked"):
        rotate_key(memory.store, clock, other.id)


def test_after_a_rotation_both_texts_are_valid_for_the_grace(
    memory: outlay.Ledger, clock: outlay.FrozenClock
) -> None:
    key, old = make_key(memory.store, clock, roles=["read"])
    _, new = rotate_key(memory.store, clock, key.id, grace_s=3_600)
    gate = gate_of(memory)
    assert admit(gate, old).key == admit(gate, new).key == key.id
    clock.advance(seconds=3_600)
    assert refusal(gate, old) == "unknown_key"
    assert admit(gate, new).key == key.id


def test_a_keys_last_use_is_known(memory: outlay.Ledger, clock: outlay.FrozenClock) -> None:
    _, text = make_key(memory.store, clock, roles=["read"])
    gate = gate_of(memory)
    clock.advance(minutes=5)
    admit(gate, text)
    gate.load()
    assert [key.used_at for key in kept_keys(memory.store)] == [clock.now()]


def test_the_log_of_changes_tells_of_keys_without_their_text(memory: outlay.Ledger) -> None:
    key, text = make_key(memory.store, memory.clock, roles=["read"], scope={"team": "a"}, name="report")
    rotate_key(memory.store, memory.clock, key.id, grace_s=5)
    revoke_key(memory.store, memory.clock, key.id)
    told = memory.store.logged_changes(10)
    assert [one.action for one in told] == ["key revoked", "key rotated", "key added"]
    assert {one.subject for one in told} == {key.id}
    assert told[-1].detail == "read for team=a (report)"
    assert text not in str(told)


@pytest.mark.parametrize(
    "fields",
    [
        {"roles": []},
        {"roles": ["owner"]},
        {"roles": ["read"], "scope": {"planet": "mars"}},
        {"roles": ["read"], "scope": {"project": ""}},
        {"roles": ["admin"], "scope": {"project": "video"}},
        {"roles": ["read"], "expires_at": NOON * 1_000_000},
        {"roles": ["read"], "requests_per_second_max": 0},
    ],
)
def test_a_key_that_makes_no_sense_is_not_made(memory: outlay.Ledger, fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput) as refused:
        make_key(memory.store, memory.clock, **fields)
    assert refused.value.code == "bad_key"
    assert memory.store.access_keys() == []


def test_a_key_may_not_send_faster_than_its_rate(memory: outlay.Ledger) -> None:
    _, text = make_key(memory.store, memory.clock, roles=["read"], requests_per_second_max=3)
    gate = gate_of(memory)
    with pytest.raises(Overloaded) as refused:
        [admit(gate, text) for _ in range(1_000)]
    assert (refused.value.code, refused.value.retry_after_s) == ("rate_limited", 1)


# --- tokens


def issuer(tmp_path: Path, **fields: Any) -> TokenIssuer:
    path = tmp_path / "secret"
    path.write_text(SECRET)
    told = {"issuer": "https://id.example", "audience": "outlay", "algorithm": "HS256", "secret_file": str(path)}
    return TokenIssuer(**{**told, **fields})


def claims(**fields: Any) -> dict[str, Any]:
    told = {"iss": "https://id.example", "aud": "outlay", "sub": "u42", "exp": NOON + 600}
    return {name: value for name, value in {**told, **fields}.items() if value is not None}


def token(key: Any = SECRET, algorithm: str = "HS256", headers: dict[str, Any] | None = None, **fields: Any) -> str:
    return jwt.encode(claims(**fields), key, algorithm=algorithm, headers=headers)


def test_a_token_fixes_its_user_and_reads_only(memory: outlay.Ledger, tmp_path: Path) -> None:
    found = admit(gate_of(memory, issuers=(issuer(tmp_path),)), token())
    assert dict(found.scope) == {"user": "u42"}
    assert found.roles == {Role.READ}
    assert found.filtered({"feature": "x"}) == {"feature": "x", "user": "u42"}
    with pytest.raises(AccessDenied, match="reads user"):
        found.filtered({"user": "somebody"})


@pytest.mark.parametrize(
    "fields",
    [
        {"exp": None},
        {"exp": NOON - 31},
        {"exp": "soon"},
        {"nbf": NOON + 31},
        {"aud": None},
        {"aud": "another"},
        {"iss": "https://evil.example"},
        {"iss": None},
        {"sub": None},
        {"sub": ""},
        {"sub": 42},
        {"key": "f" * 64},
        {"algorithm": "HS512"},
        {"algorithm": "none", "key": None},
    ],
)
def test_a_token_that_does_not_hold_is_refused(memory: outlay.Ledger, tmp_path: Path, fields: dict[str, Any]) -> None:
    gate = gate_of(memory, issuers=(issuer(tmp_path),))
    text = token(**fields) if fields.keys() & {"key", "algorithm"} else forged(claims(**fields))
    assert refusal(gate, text) == "bad_token"


def forged(told: dict[str, Any]) -> str:
    """A token signed by the right secret whose claims no library would write."""
    import hashlib
    import hmac

    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    signed = f"{part({'alg': 'HS256', 'typ': 'JWT'})}.{part(told)}"
    digest = hmac.new(SECRET.encode(), signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"


def test_a_token_that_was_believed_ends_with_its_time(
    memory: outlay.Ledger, tmp_path: Path, clock: outlay.FrozenClock
) -> None:
    gate = gate_of(memory, issuers=(issuer(tmp_path),))
    text = token(exp=NOON + 60)
    admit(gate, text)
    clock.advance(seconds=91)
    assert refusal(gate, text) == "bad_token"


def test_a_public_key_is_no_shared_secret(memory: outlay.Ledger, tmp_path: Path) -> None:
    """The old trick: sign with HS256 and the issuer's public key. The algorithm is the issuer's, not the token's."""
    private = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(private.public_key()))
    (tmp_path / "keys.json").write_text(json.dumps({"keys": [{**public, "kid": "k1", "use": "sig", "alg": "RS256"}]}))
    settings = issuer(tmp_path, secret_file=None, jwks_file=str(tmp_path / "keys.json"), algorithm="RS256")
    gate = gate_of(memory, issuers=(settings,))
    assert admit(gate, token(private, "RS256", {"kid": "k1"})).scope == {"user": "u42"}
    assert refusal(gate, token(private, "RS256", {"kid": "k2"})) == "bad_token"
    assert refusal(gate, token(public["n"], "HS256", {"kid": "k1"})) == "bad_token"
    other = ec.generate_private_key(ec.SECP256R1())
    assert refusal(gate, token(other, "ES256", {"kid": "k1"})) == "bad_token"


def test_claims_say_customer_and_tier(memory: outlay.Ledger, tmp_path: Path) -> None:
    import asyncio

    settings = issuer(tmp_path, claims={"sub": "user", "org": "customer", "plan": "tier"}, roles=("ingest", "read"))
    gate = gate_of(memory, issuers=(settings,))
    found = admit(gate, token(org="acme", plan="premium"))
    assert (found.scope, found.tier) == ({"user": "u42", "customer": "acme"}, "premium")
    asyncio.run(gate.learn_tier(found))
    assert memory.store.tier("user", "u42") == "premium"
    assert refusal(gate, token(plan="premium")) == "bad_token"


def test_with_an_issuer_nobody_is_let_in_without_a_token(memory: outlay.Ledger, tmp_path: Path) -> None:
    assert refusal(gate_of(memory, issuers=(issuer(tmp_path),)), None, host="127.0.0.1") == "key_required"


@pytest.mark.parametrize(
    "fields",
    [
        {"algorithm": "none"},
        {"algorithm": "RS256"},
        {"jwks_file": "keys.json"},
        {"secret_file": None},
        {"secret_file": None, "jwks_url": "https://id.example/keys"},
        {"audience": None},
    ],
)
def test_an_issuer_that_cannot_be_checked_is_not_believed(fields: dict[str, Any]) -> None:
    told = {"issuer": "i", "audience": "outlay", "algorithm": "HS256", "secret_file": "s", **fields}
    with pytest.raises(InvalidInput) as refused:
        read_server_settings({"issuers": [{name: value for name, value in told.items() if value is not None}]})
    assert refused.value.code == "bad_config"


def test_a_short_secret_is_not_believed(memory: outlay.Ledger, tmp_path: Path) -> None:
    settings = issuer(tmp_path)
    (tmp_path / "secret").write_text("short")
    with pytest.raises(InvalidInput, match="32 bytes"):
        gate_of(memory, issuers=(settings,))
