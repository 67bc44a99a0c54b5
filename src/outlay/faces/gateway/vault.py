"""Provider keys that the gateway keeps: encrypted under a master key, given out as virtual keys.

A virtual key is an access key of Outlay's with the role ingest; the provider's key that it stands for lies in the
ledger as AES-256-GCM, bound to the access key's id and the upstream's name. Without the master key, which lies in no
ledger, nothing can be read; a backup of the ledger holds no key in clear.
"""

from __future__ import annotations

import base64
import importlib
import os
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from outlay.clock import Clock, Instant
from outlay.errors import AccessDenied, InvalidInput, MissingExtra, NotFound, Refused
from outlay.faces.server.keys import make_key, revoke_key
from outlay.ledger.serving_store import LoggedChange, ServingStore

NOTE: Final = "provider_key"
_NONCE_BYTES: Final = 12
_MASTER_CHARACTERS_MIN: Final = 32
_CONTEXT: Final = b"outlay provider keys 1"
_KEPT_MAX: Final = 100_000
_KEY_CHARACTERS_MAX: Final = 4_096


class KeptProviderKey(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A provider's key as kept. `id` is that of the virtual key; `sealed` is empty once it is revoked.

    `ending` are the last characters of the provider's key, by which people tell keys apart.
    """

    id: str
    upstream: str
    sealed: str
    ending: str
    created_at: Instant
    name: str = ""
    scope: dict[str, str] = {}
    revoked_at: Instant | None = None


class Seal:
    """Encrypts and decrypts under one master key."""

    def __init__(self, master_key: str) -> None:
        """Raises InvalidInput `no_master_key`, `weak_master_key`; MissingExtra."""
        if not master_key:
            raise InvalidInput(
                "provider keys are kept under a master key: set OUTLAY_MASTER_KEY to 32 or more random characters,"
                " such as `openssl rand -base64 32` prints",
                code="no_master_key",
            )
        if len(master_key) < _MASTER_CHARACTERS_MIN or len(set(master_key)) < _MASTER_CHARACTERS_MIN // 4:
            raise InvalidInput(
                "the master key is too easy to guess; take what `openssl rand -base64 32` prints",
                code="weak_master_key",
            )
        self._cipher = _cipher(master_key)

    def close(self, text: str, id: str, upstream: str) -> str:
        """The text, sealed for one virtual key and upstream."""
        nonce = os.urandom(_NONCE_BYTES)
        sealed: bytes = self._cipher.encrypt(nonce, text.encode(), _bound(id, upstream))
        return base64.b64encode(nonce + sealed).decode()

    def open(self, kept: KeptProviderKey) -> str:
        """The provider's key. Raises AccessDenied `wrong_master_key`."""
        data = base64.b64decode(kept.sealed)
        try:
            found: bytes = self._cipher.decrypt(
                data[:_NONCE_BYTES], data[_NONCE_BYTES:], _bound(kept.id, kept.upstream)
            )
        except _invalid_tag() as error:
            raise AccessDenied(
                f"the provider key behind {kept.id} was sealed under another master key", code="wrong_master_key"
            ) from error
        return found.decode()


def keep_provider_key(
    store: ServingStore,
    clock: Clock,
    seal: Seal,
    upstream: str,
    secret: str,
    *,
    name: str = "",
    scope: Mapping[str, str] | None = None,
    expires_at: Instant | None = None,
    requests_per_second_max: int | None = None,
    who: str = "cli",
) -> tuple[KeptProviderKey, str]:
    """Keep a provider's key; what is kept, and the virtual key's text, which is nowhere kept.

    Raises InvalidInput `bad_provider_key`, and `bad_key` as for other access keys.
    """
    secret = secret.strip()
    if not 8 <= len(secret) <= _KEY_CHARACTERS_MAX or not secret.isascii() or not secret.isprintable():
        raise InvalidInput("a provider's key is 8 to 4,096 plain characters on one line", code="bad_provider_key")
    key, text = make_key(
        store,
        clock,
        roles=("ingest",),
        scope=scope,
        name=name or f"virtual key for {upstream}",
        expires_at=expires_at,
        requests_per_second_max=requests_per_second_max,
        who=who,
    )
    kept = KeptProviderKey(
        id=key.id,
        upstream=upstream,
        sealed=seal.close(secret, key.id, upstream),
        ending=secret[-4:] if len(secret) >= 16 else "",
        created_at=key.created_at,
        name=name,
        scope=dict(scope or {}),
    )
    _put(store, kept, None)
    store.log_changes([LoggedChange(at=clock.now(), who=who, action="provider key kept", subject=key.id)])
    return kept, text


def kept_provider_keys(store: ServingStore) -> list[KeptProviderKey]:
    """Every provider key that ever was kept, newest first; those revoked without their secret."""
    return [_decode(body) for body in store.notes(NOTE, most=_KEPT_MAX)]


def revoke_provider_key(store: ServingStore, clock: Clock, id: str, *, who: str = "cli") -> KeptProviderKey:
    """Take a virtual key out of use and forget the provider's key behind it. Raises NotFound."""
    body = store.note(NOTE, id)
    if body is None:
        raise NotFound(f"no virtual key {id[:60]!r}; `outlay gateway keys list` shows them", code="no_such_key")
    revoke_key(store, clock, id, who=who)
    before = _decode(body)
    if before.revoked_at is not None:
        return before
    kept = replace(before, sealed="", revoked_at=clock.now())
    _put(store, kept, before)
    return kept


class Vault:
    """The provider keys of a gateway as it last read them, opened at first use."""

    def __init__(self, master_key: str) -> None:
        """Empty until `load`. Raises InvalidInput `weak_master_key`."""
        self._seal = Seal(master_key) if master_key else None
        self._kept: dict[str, KeptProviderKey] = {}
        self._opened: dict[tuple[str, str], bytes] = {}

    def load(self, store: ServingStore) -> None:
        """Read the keys anew."""
        found = {one.id: one for one in kept_provider_keys(store) if one.revoked_at is None}
        self._opened = {key: text for key, text in self._opened.items() if key[0] in found}
        self._kept = found

    def secret(self, key_id: str, upstream: str) -> bytes | None:
        """The provider's key behind an access key, None where it has none.

        Raises AccessDenied `other_upstream`, `wrong_master_key`; InvalidInput `no_master_key`.
        """
        kept = self._kept.get(key_id)
        if kept is None:
            return None
        if kept.upstream != upstream:
            raise AccessDenied(f"this virtual key is for {kept.upstream}, not for {upstream}", code="other_upstream")
        opened = self._opened.get((key_id, kept.sealed))
        if opened is None:
            if self._seal is None:
                raise InvalidInput("this gateway has no master key to open provider keys with", code="no_master_key")
            opened = self._opened[key_id, kept.sealed] = self._seal.open(kept).encode()
        return opened


def _bound(id: str, upstream: str) -> bytes:
    return f"{id}\0{upstream}".encode()


def _cipher(master_key: str) -> Any:
    try:
        aead = importlib.import_module("cryptography.hazmat.primitives.ciphers.aead")
        hashes = importlib.import_module("cryptography.hazmat.primitives.hashes")
        hkdf = importlib.import_module("cryptography.hazmat.primitives.kdf.hkdf")
    except ImportError as error:
        raise MissingExtra("keeping provider keys needs cryptography: pip install 'outlay[server]'") from error
    derived = hkdf.HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=_CONTEXT).derive(master_key.encode())
    return aead.AESGCM(derived)


def _invalid_tag() -> type[Exception]:
    found: type[Exception] = importlib.import_module("cryptography.exceptions").InvalidTag
    return found


def _put(store: ServingStore, kept: KeptProviderKey, before: KeptProviderKey | None) -> None:
    expects = None if before is None else _encode(before)
    live = kept.revoked_at is None
    if not store.put_note(NOTE, kept.id, _encode(kept), expects=expects, at=kept.created_at, live=live):
        raise Refused(f"key {kept.id} was changed by somebody else meanwhile; look again", code="changed_meanwhile")


_encode: Final = msgspec.json.Encoder(order="sorted").encode
_decode: Final = msgspec.json.Decoder(KeptProviderKey).decode
