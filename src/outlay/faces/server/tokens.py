"""JSON Web Tokens: whose they are and what they fix. The algorithm is the issuer's one; aud and exp are required."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import jwt
import msgspec
from jwt import PyJWKClient, PyJWKSet
from jwt.exceptions import PyJWKClientError, PyJWKSetError, PyJWTError

from outlay.capture.intake import TEXT_CHARACTERS_MAX
from outlay.clock import MICROSECONDS_PER_SECOND, Instant
from outlay.errors import AccessDenied, InvalidInput
from outlay.faces.server.access import SCOPES, Caller, Role
from outlay.faces.server.settings import TokenIssuer

LEEWAY_S: Final = 30
"""By how much clocks may differ."""

KEYS_SECONDS: Final = 300
"""How long keys that were fetched are used before they are fetched again."""

TIER: Final = "tier"
_CALLERS_KEPT: Final = 4_096
_UNCHECKED: Final = {"verify_exp": False, "verify_nbf": False, "verify_iat": False, "require": ["exp", "aud", "iss"]}
"""Times are checked here, by the ledger's clock."""


class _Issuer:
    """One issuer and the keys that its tokens are checked with."""

    def __init__(self, settings: TokenIssuer) -> None:
        self.settings = settings
        self.roles = frozenset(Role(name) for name in settings.roles)
        self._secret: bytes | None = None
        self._keys: PyJWKSet | None = None
        self._client = PyJWKClient(settings.jwks_url, lifespan=KEYS_SECONDS) if settings.jwks_url else None

    def load(self) -> None:
        """Read the keys. Raises InvalidInput `bad_issuer`."""
        settings = self.settings
        try:
            if settings.secret_file is not None:
                self._secret = Path(settings.secret_file).read_bytes().strip()
            elif settings.jwks_file is not None:
                self._keys = PyJWKSet.from_json(Path(settings.jwks_file).read_text())
            elif self._client is not None:
                self._keys = self._client.get_jwk_set()
        except (OSError, ValueError, PyJWKClientError, PyJWKSetError) as error:
            raise InvalidInput(
                f"the keys of issuer {settings.issuer!r} cannot be read ({type(error).__name__})", code="bad_issuer"
            ) from error
        if self._secret is not None and len(self._secret) < 32:
            raise InvalidInput(f"the secret of issuer {settings.issuer!r} has fewer than 32 bytes", code="bad_issuer")

    def key(self, text: str) -> Any:
        """What a token is checked with. Raises AccessDenied `bad_token`."""
        if self._secret is not None:
            return self._secret
        kid = jwt.get_unverified_header(text).get("kid")
        keys = [] if self._keys is None else self._keys.keys
        fitting = [key for key in keys if key.key_id == kid or (kid is None and len(keys) == 1)]
        if not fitting:
            raise AccessDenied("the token names a key that its issuer does not have", code="bad_token")
        return fitting[0].key


class TokenReader:
    """Reads tokens of the issuers that a server believes."""

    def __init__(self, issuers: Sequence[TokenIssuer]) -> None:
        """Raises InvalidInput `bad_config` for a role or claim that is none."""
        for issuer in issuers:
            _check(issuer)
        self._issuers = [_Issuer(issuer) for issuer in issuers]
        self._known: dict[bytes, tuple[Caller, Instant]] = {}

    def __len__(self) -> int:
        return len(self._issuers)

    def load(self) -> None:
        """Read all issuers' keys anew; tokens that were believed are checked again. Raises InvalidInput."""
        for issuer in self._issuers:
            issuer.load()
        self._known = {}

    def caller(self, text: str, now: Instant) -> Caller:
        """Whose token this is. Raises AccessDenied `bad_token`."""
        digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
        known = self._known.get(digest)
        if known is not None and now < known[1]:
            return known[0]
        found, until = self._read(text, now)
        if len(self._known) >= _CALLERS_KEPT:
            self._known = {}
        self._known[digest] = (found, until)
        return found

    def _read(self, text: str, now: Instant) -> tuple[Caller, Instant]:
        try:
            told = jwt.decode(text, options={"verify_signature": False})
        except (PyJWTError, ValueError) as error:
            raise AccessDenied("this is no token that can be read", code="bad_token") from error
        refusal = AccessDenied("the token is of no issuer that is believed here", code="bad_token")
        for issuer in self._issuers:
            if told.get("iss") != issuer.settings.issuer:
                continue
            try:
                claims = _verified(text, issuer)
            except AccessDenied as error:
                refusal = error
                continue
            return _caller(claims, issuer), _until(claims, now)
        raise refusal


def _verified(text: str, issuer: _Issuer) -> dict[str, Any]:
    settings = issuer.settings
    try:
        claims: dict[str, Any] = jwt.decode(
            text,
            issuer.key(text),
            algorithms=[settings.algorithm],
            audience=settings.audience,
            issuer=settings.issuer,
            options=_UNCHECKED,  # type: ignore[arg-type]  # a plain dict of the options that PyJWT names
        )
    except (PyJWTError, ValueError, TypeError) as error:
        # Only the kind of failure: what a token says is nobody else's to read.
        raise AccessDenied(f"the token is not valid here ({type(error).__name__})", code="bad_token") from error
    return claims


def _until(claims: Mapping[str, Any], now: Instant) -> Instant:
    expires, begins = claims.get("exp"), claims.get("nbf", 0)
    if not isinstance(expires, int | float) or not isinstance(begins, int | float):
        raise AccessDenied("the token's exp and nbf are no numbers", code="bad_token")
    seconds = now / MICROSECONDS_PER_SECOND
    if expires + LEEWAY_S <= seconds:
        raise AccessDenied("the token has expired; get a new one", code="bad_token")
    if begins - LEEWAY_S > seconds:
        raise AccessDenied("the token is not valid yet", code="bad_token")
    return int((min(expires, 2**40) + LEEWAY_S) * MICROSECONDS_PER_SECOND)


def _caller(claims: Mapping[str, Any], issuer: _Issuer) -> Caller:
    scope: dict[str, str] = {}
    tier = None
    for claim, name in issuer.settings.claims.items():
        value = claims.get(claim)
        if name == TIER and value is None:
            continue
        if not isinstance(value, str) or not 0 < len(value) <= TEXT_CHARACTERS_MAX or "\0" in value:
            raise AccessDenied(f"the token lacks the claim {claim!r}, which says its {name}", code="bad_token")
        if name == TIER:
            tier = value
        else:
            scope[name] = value
    subject = hashlib.sha256(str(claims.get("sub", "")).encode()).hexdigest()[:12]
    key = f"token {issuer.settings.issuer} {subject}"
    return Caller(key=key, roles=issuer.roles, scope=scope, claims=msgspec.to_builtins(claims), tier=tier)


def _check(issuer: TokenIssuer) -> None:
    for name in issuer.roles:
        if name not in tuple(Role):
            raise InvalidInput(f"issuer {issuer.issuer!r}: {name!r} is no role", code="bad_config")
    for claim, name in issuer.claims.items():
        if name != TIER and name not in SCOPES:
            raise InvalidInput(f"issuer {issuer.issuer!r}: claim {claim!r} cannot be {name!r}", code="bad_config")
    if TIER in issuer.claims.values() and "user" not in issuer.claims.values():
        raise InvalidInput(f"issuer {issuer.issuer!r}: a tier needs a claim for user", code="bad_config")
