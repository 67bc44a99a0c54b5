"""What the gateway is told: its upstreams, which rewrites it may do, how long it waits, how much it takes on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from outlay.config import with_secrets
from outlay.errors import InvalidInput


class UpstreamSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table `[gateway.upstreams.NAME]`: where `/gateway/NAME/…` leads.

    `kind` says which API it speaks (see `upstreams.KINDS`); where it is missing it is NAME itself if that is a kind,
    else `compatible`. `provider` is under whose name calls are booked. `key` is sent for callers who bring none of
    their own; write it as `${NAME}`. `region` is for `aws`. The two switches win over the gateway's.
    """

    url: str = ""
    kind: str = ""
    provider: str = ""
    key: str = ""
    region: str = ""
    write_maximum: bool | None = None
    ask_usage: bool | None = None


class GatewaySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `[gateway]` table of outlay.toml; sizes in bytes, times in seconds.

    `write_maximum` lets a budget write the output it affords into a request that says no maximum; `ask_usage` lets a
    chat stream be asked for its usage, which is hidden again. `head_seconds_max` bounds the wait for an answer's
    beginning, `idle_seconds_max` the silence inside it. `buffer_bytes_max` is how large an answer may be that bears
    its cost in a header. `defaults` says whether the known providers are there without being named.
    """

    write_maximum: bool = True
    ask_usage: bool = True
    defaults: bool = True
    body_bytes_max: int = 64 * 1024 * 1024
    buffer_bytes_max: int = 4 * 1024 * 1024
    connect_seconds_max: float = 10.0
    head_seconds_max: float = 600.0
    idle_seconds_max: float = 300.0
    calls_max: int = 4_000
    master_key: str = "${OUTLAY_MASTER_KEY}"
    upstreams: dict[str, UpstreamSettings] = {}


def read_gateway_settings(values: Mapping[str, Any], environment: Mapping[str, str] | None = None) -> GatewaySettings:
    """The settings of a `[gateway]` table, secrets in their places; the master key only where it is set.

    Raises InvalidInput `bad_config` naming the field, `missing_secret` for an upstream's key that is not set.
    """
    told = dict(values)
    told["upstreams"] = with_secrets(dict(told.get("upstreams", {})), environment)
    try:
        told["master_key"] = with_secrets(told.get("master_key", "${OUTLAY_MASTER_KEY}"), environment)
    except InvalidInput:
        told["master_key"] = ""  # Provider keys cannot be kept then; whoever asks for it is told so.
    try:
        return msgspec.convert(told, GatewaySettings, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidInput(f"[gateway] of the configuration: {error}", code="bad_config") from error
