"""What a server is told: where it listens, what it takes on, whose tokens it believes."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from outlay.errors import InvalidInput

LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")


class TokenIssuer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whose JSON Web Tokens are believed, and what they fix.

    Exactly one of `secret_file`, `jwks_file` and `jwks_url` says how they are checked. `algorithm` is the only one
    accepted; `audience` and an expiry are required of each token. `claims` maps a claim to `user`, `customer`,
    `team`, `project`, … or `tier`: a token that lacks a mapped claim is refused, and what it says cannot be
    overridden. `roles` are those of its callers.
    """

    issuer: str
    audience: str
    algorithm: str
    secret_file: str | None = None
    jwks_file: str | None = None
    jwks_url: str | None = None
    claims: dict[str, str] = msgspec.field(default_factory=lambda: {"sub": "user"})
    roles: tuple[str, ...] = ("read",)


class ServerSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `[server]` table of outlay.toml; sizes in bytes, times in seconds.

    `requests_per_second_max` is per key, for keys that name no other (None: no limit). `body_bytes_max` bounds what
    is sent, `unpacked_bytes_max` what it becomes; `events_max` is per request, `queue_events_max` what may wait for
    the writer. `trusted_hosts` are further names by which a server without keys may be called on loopback.
    """

    host: str = "127.0.0.1"
    port: int = 8321
    requests_per_second_max: int | None = None
    body_bytes_max: int = 16 * 1024 * 1024
    unpacked_bytes_max: int = 64 * 1024 * 1024
    body_seconds_max: float = 30.0
    header_seconds_max: float = 15.0
    depth_max: int = 32
    events_max: int = 10_000
    queue_events_max: int = 100_000
    wait_seconds_max: float = 60.0
    waiting_max: int = 64
    drain_seconds_max: float = 30.0
    keys_seconds_max: float = 1.0
    trusted_hosts: tuple[str, ...] = ()
    issuers: tuple[TokenIssuer, ...] = ()

    @property
    def on_loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        return self.host in LOOPBACK


def read_server_settings(values: dict[str, Any]) -> ServerSettings:
    """The settings of a `[server]` table. Raises InvalidInput `bad_config` naming the field."""
    try:
        settings = msgspec.convert(values, ServerSettings, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidInput(f"[server] of the configuration: {error}", code="bad_config") from error
    for issuer in settings.issuers:
        _check_issuer(issuer)
    return settings


def _check_issuer(issuer: TokenIssuer) -> None:
    ways = [name for name in ("secret_file", "jwks_file", "jwks_url") if getattr(issuer, name) is not None]
    if len(ways) != 1:
        raise InvalidInput(
            f"issuer {issuer.issuer!r} needs one of secret_file, jwks_file and jwks_url", code="bad_config"
        )
    shared = issuer.algorithm.startswith("HS")
    if issuer.algorithm.lower() == "none" or shared != (ways == ["secret_file"]):
        raise InvalidInput(
            f"issuer {issuer.issuer!r}: algorithm {issuer.algorithm} does not go with {ways[0]};"
            " HS256 takes a secret_file, RS256, ES256 and EdDSA take a jwks_file or jwks_url",
            code="bad_config",
        )
