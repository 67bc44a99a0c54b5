"""The gate: every request is let in as a Caller, or refused by name, before anything else looks at it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any, Final

from outlay.api import Ledger
from outlay.errors import AccessDenied, Overloaded
from outlay.faces.server.access import LOCAL, Caller
from outlay.faces.server.keys import PREFIX, KeyRing
from outlay.faces.server.settings import LOOPBACK, ServerSettings
from outlay.faces.server.tokens import TokenReader

_BEARER: Final = b"bearer "
_BUCKETS_KEPT: Final = 10_000
_TIERS_KEPT: Final = 100_000


class Gate:
    """Says who calls, and whether not too often."""

    def __init__(self, ledger: Ledger, settings: ServerSettings) -> None:
        """Raises InvalidInput `bad_config` for issuers that cannot be believed."""
        self._ledger = ledger
        self._settings = settings
        self.ring = KeyRing()
        self.tokens = TokenReader(settings.issuers)
        self._buckets: dict[str, tuple[float, float]] = {}
        self._tiers: dict[str, str] = {}

    @property
    def open(self) -> bool:
        """Whether everybody who reaches the server may do everything: no key was ever made, no issuer is believed."""
        return self.ring.empty and not len(self.tokens)

    def load(self) -> None:
        """Read keys and issuers anew."""
        self.ring.load(self._ledger.store)
        if len(self.tokens):
            self.tokens.load()

    def admit(self, headers: Mapping[bytes, bytes]) -> Caller:
        """Who sent a request with these headers. Raises AccessDenied, or Overloaded `rate_limited`."""
        if self.open:
            self._check_local(headers)
            return LOCAL
        text = _credential(headers)
        if text is None:
            raise AccessDenied("send a key: Authorization: Bearer outlay_…", code="key_required")
        now = self._ledger.clock.now()
        found = self.ring.caller(text, now) if text.startswith(PREFIX) else self.tokens.caller(text, now)
        self._check_rate(found)
        return found

    async def learn_tier(self, caller: Caller) -> None:
        """Keep the tier that a token says its user has, where it is news."""
        user = caller.scope.get("user")
        if caller.tier is None or user is None or self._tiers.get(user) == caller.tier:
            return
        await asyncio.to_thread(self._ledger.subject, "user", user, tier=caller.tier)
        if len(self._tiers) >= _TIERS_KEPT:
            self._tiers.clear()
        self._tiers[user] = caller.tier

    def _check_local(self, headers: Mapping[bytes, bytes]) -> None:
        """A page in a browser must not reach a server without keys: not by another name, not from another site."""
        host = _host_of(headers.get(b"host", b"").decode("latin-1"))
        if host not in LOOPBACK and host not in self._settings.trusted_hosts:
            raise AccessDenied(
                "a server without keys answers to its loopback name only; make a key, or add to trusted_hosts",
                code="foreign_host",
            )
        origin = headers.get(b"origin")
        if origin is not None and _host_of(origin.decode("latin-1").partition("://")[2]) != host:
            raise AccessDenied("another site's page may not call a server without keys", code="foreign_origin")

    def _check_rate(self, caller: Caller) -> None:
        rate = caller.requests_per_second_max or self._settings.requests_per_second_max
        if rate is None:
            return
        now_s = time.monotonic()
        left, seen_s = self._buckets.get(caller.key, (float(rate), now_s))
        left = min(float(rate), left + (now_s - seen_s) * rate)
        if len(self._buckets) >= _BUCKETS_KEPT:
            self._buckets.clear()
        self._buckets[caller.key] = (left - 1.0 if left >= 1.0 else left, now_s)
        if left < 1.0:
            raise Overloaded(f"this key may send {rate} requests a second", code="rate_limited")


def _credential(headers: Mapping[bytes, bytes]) -> str | None:
    told = headers.get(b"authorization")
    if told is not None and told[:7].lower() == _BEARER:
        return told[7:].strip().decode("latin-1") or None
    own = headers.get(b"x-outlay-key")
    return None if own is None else own.strip().decode("latin-1") or None


def _host_of(text: str) -> str:
    """The name in a Host header or an origin, without its port."""
    if text.startswith("["):
        return text[1:].partition("]")[0].lower()
    return text.partition(":")[0].lower()


def header_map(scope: Mapping[str, Any]) -> dict[bytes, bytes]:
    """A request's headers; of one that comes twice the last counts."""
    return dict(scope["headers"])
