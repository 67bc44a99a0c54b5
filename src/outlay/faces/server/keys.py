"""API keys: 256 random bits, shown once, kept as SHA-256.

A key's text is `outlay_<id>_<secret>`: the id finds it, the digest of the whole text proves it.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec
from msgspec.structs import replace

from outlay.clock import MICROSECONDS_PER_SECOND, Clock, Instant
from outlay.errors import AccessDenied, InvalidInput, NotFound, Refused
from outlay.faces.server.access import SCOPES, Caller, Role
from outlay.ledger.serving_store import LoggedChange, ServingStore

PREFIX: Final = "outlay_"
GRACE_SECONDS: Final = 86_400
"""How long the text before a rotation stays valid, unless told otherwise."""

NAME_CHARACTERS_MAX: Final = 200
RATE_MAX: Final = 1_000_000


class AccessKey(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A key as kept. `digest` is the SHA-256 of its text; `old_digest` that of the text before, until `old_until`."""

    id: str
    digest: str
    roles: tuple[Role, ...]
    created_at: Instant
    scope: dict[str, str] = {}
    name: str = ""
    expires_at: Instant | None = None
    revoked_at: Instant | None = None
    requests_per_second_max: int | None = None
    old_digest: str | None = None
    old_until: Instant | None = None
    used_at: Instant | None = None


def make_key(
    store: ServingStore,
    clock: Clock,
    *,
    roles: Iterable[str],
    scope: Mapping[str, str] | None = None,
    name: str = "",
    expires_at: Instant | None = None,
    requests_per_second_max: int | None = None,
    who: str = "cli",
) -> tuple[AccessKey, str]:
    """A new key and its text, which is nowhere kept. Raises InvalidInput `bad_key`."""
    now = clock.now()
    id = secrets.token_hex(6)
    text = _text(id)
    key = AccessKey(
        id=id,
        digest=_digest(text),
        roles=_roles(roles),
        created_at=now,
        scope=dict(scope or {}),
        name=name,
        expires_at=expires_at,
        requests_per_second_max=requests_per_second_max,
    )
    _check(key, now)
    _put(store, key, None)
    store.log_changes([LoggedChange(at=now, who=who, action="key added", subject=id, detail=_said(key))])
    return key, text


def rotate_key(
    store: ServingStore, clock: Clock, id: str, *, grace_s: int = GRACE_SECONDS, who: str = "cli"
) -> tuple[AccessKey, str]:
    """A key with a new text; the one before stays valid for `grace_s` seconds. Raises NotFound, Refused."""
    if grace_s < 0:
        raise InvalidInput("the grace is a number of seconds from 0", code="bad_key", field="grace")
    before, now = _find(store, id), clock.now()
    if before.revoked_at is not None:
        raise Refused(f"key {id} was revoked; make a new one", code="key_revoked")
    text = _text(id)
    until = now + grace_s * MICROSECONDS_PER_SECOND
    key = replace(before, digest=_digest(text), old_digest=before.digest, old_until=until)
    _put(store, key, before)
    store.log_changes([LoggedChange(at=now, who=who, action="key rotated", subject=id, detail=f"grace {grace_s} s")])
    return key, text


def revoke_key(store: ServingStore, clock: Clock, id: str, *, who: str = "cli") -> AccessKey:
    """Take a key out of use for good, both texts. Raises NotFound."""
    before, now = _find(store, id), clock.now()
    if before.revoked_at is not None:
        return before
    key = replace(before, revoked_at=now, old_digest=None, old_until=None)
    _put(store, key, before)
    store.log_changes([LoggedChange(at=now, who=who, action="key revoked", subject=id)])
    return key


def kept_keys(store: ServingStore) -> list[AccessKey]:
    """Every key that ever was, with its last use."""
    return [replace(_decode(kept.body), used_at=kept.used_at) for kept in store.access_keys()]


class KeyRing:
    """The keys of a ledger as this server last read them."""

    def __init__(self) -> None:
        """Empty until `load`."""
        self._keys: dict[str, AccessKey] = {}
        self._uses: dict[str, Instant] = {}
        self._digests: dict[str, str] = {}
        self._callers: dict[str, Caller] = {}

    def load(self, store: ServingStore) -> None:
        """Read the keys anew, and tell the store which were used since."""
        uses, self._uses = self._uses, {}
        if uses:
            store.note_key_uses(dict(uses))  # A copy: the loop may be adding to the old one still.
        found = {key.id: key for key in kept_keys(store)}
        self._callers.update({key.id: _caller_of(key) for key in found.values()})
        self._keys = found

    @property
    def empty(self) -> bool:
        """Whether no key was ever made: a revoked one still locks."""
        return not self._keys

    def caller(self, text: str, now: Instant) -> Caller:
        """Whose text this is. Raises AccessDenied `unknown_key`, `key_expired`, `key_revoked`."""
        key = self._keys.get(text.removeprefix(PREFIX).partition("_")[0])
        digest = self._digest_of(text)
        if key is None or not _proves(key, digest, now):
            raise AccessDenied("this key is not known here; check it, or ask for a new one", code="unknown_key")
        if key.revoked_at is not None:
            raise AccessDenied("this key was revoked; ask for a new one", code="key_revoked")
        if key.expires_at is not None and key.expires_at <= now:
            raise AccessDenied("this key has expired; ask for a new one", code="key_expired")
        self._uses[key.id] = now
        return self._callers[key.id]

    def _digest_of(self, text: str) -> str:
        # A text comes with every request; hashing it anew would cost more than finding it.
        known = self._digests.get(text)
        if known is None:
            known = _digest(text)
            if len(self._digests) < _DIGESTS_KEPT:
                self._digests[text] = known
        return known


_DIGESTS_KEPT: Final = 4_096


def _caller_of(key: AccessKey) -> Caller:
    return Caller(
        key=key.id,
        roles=frozenset(key.roles),
        scope=key.scope,
        requests_per_second_max=key.requests_per_second_max,
    )


def _proves(key: AccessKey, digest: str, now: Instant) -> bool:
    if hmac.compare_digest(key.digest, digest):
        return True
    old, until = key.old_digest, key.old_until
    return old is not None and until is not None and now < until and hmac.compare_digest(old, digest)


def _text(id: str) -> str:
    return f"{PREFIX}{id}_{secrets.token_urlsafe(32)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def _roles(names: Iterable[str]) -> tuple[Role, ...]:
    try:
        found = tuple(dict.fromkeys(Role(name) for name in names))
    except ValueError:
        found = ()
    if not found:
        raise InvalidInput("a key has one or more of the roles ingest, read, admin", code="bad_key", field="roles")
    return found


def _check(key: AccessKey, now: Instant) -> None:
    unknown = sorted(key.scope.keys() - SCOPES)
    if unknown:
        raise InvalidInput(
            f"a key cannot be limited by {unknown[0][:40]!r}; use {', '.join(sorted(SCOPES))}",
            code="bad_key",
            field="scope",
        )
    if any(not value for value in key.scope.values()):
        raise InvalidInput("a scope names one value for each of its names", code="bad_key", field="scope")
    if key.scope and Role.ADMIN in key.roles:
        raise InvalidInput(
            "an admin's key has no scope: budgets and prices are everybody's", code="bad_key", field="scope"
        )
    if key.expires_at is not None and key.expires_at <= now:
        raise InvalidInput("the key would have expired already", code="bad_key", field="expires")
    if len(key.name) > NAME_CHARACTERS_MAX:
        raise InvalidInput(f"a key's name has at most {NAME_CHARACTERS_MAX} characters", code="bad_key", field="name")
    rate = key.requests_per_second_max
    if rate is not None and not 1 <= rate <= RATE_MAX:
        raise InvalidInput("a rate is a whole number of requests a second, from 1", code="bad_key", field="rate")


def _find(store: ServingStore, id: str) -> AccessKey:
    for kept in store.access_keys():
        if kept.id == id:
            return _decode(kept.body)
    raise NotFound(f"no key {id[:60]!r} is in the ledger; `outlay keys list` shows them", code="no_such_key")


def _put(store: ServingStore, key: AccessKey, before: AccessKey | None) -> None:
    if not store.put_key(key.id, _encode(key), expects=None if before is None else _encode(before)):
        raise Refused(f"key {key.id} was changed by somebody else meanwhile; look again", code="changed_meanwhile")


def _said(key: AccessKey) -> str:
    scope = ", ".join(f"{name}={value}" for name, value in sorted(key.scope.items()))
    return f"{', '.join(key.roles)}" + (f" for {scope}" if scope else "") + (f" ({key.name})" if key.name else "")


_encode: Final = msgspec.json.Encoder(order="sorted").encode
_decode: Final = msgspec.json.Decoder(AccessKey).decode
