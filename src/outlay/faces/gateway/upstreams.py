"""Where calls may go: a table of the APIs that are known, and the upstreams that the configuration makes of them.

No host ever comes from a client: a request names an upstream, and what it names is looked up here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

import msgspec

from outlay.errors import InvalidInput, NotFound
from outlay.faces.gateway.settings import GatewaySettings, UpstreamSettings

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}\Z")
_REGION: Final = re.compile(r"[a-z]{2}(-[a-z]+)+-\d\Z")
_HEADER_VALUE: Final = re.compile(r"[\x21-\x7e]+\Z")
_PORTS: Final = {"http": 80, "https": 443}


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """An API: its address, the header that bears its key, the shape of its refusals.

    `prefix` stands before a key in `header`; `others` are further headers that may bear one, `query` a parameter.
    `tells_usage` says that a chat stream tells its usage without being asked (or that nobody could ask).
    """

    provider: str
    url: str = ""
    header: bytes = b"authorization"
    prefix: bytes = b"Bearer "
    others: tuple[bytes, ...] = ()
    query: bytes = b""
    errors: str = "openai"
    tells_usage: bool = True


KINDS: Final[Mapping[str, Kind]] = {
    # https://platform.openai.com/docs/api-reference/authentication
    "openai": Kind(provider="openai", url="https://api.openai.com", tells_usage=False),
    # https://docs.anthropic.com/en/api/overview#authentication
    "anthropic": Kind(
        provider="anthropic",
        url="https://api.anthropic.com",
        header=b"x-api-key",
        prefix=b"",
        others=(b"authorization",),
        errors="anthropic",
    ),
    # https://ai.google.dev/gemini-api/docs/api-key
    "google": Kind(
        provider="google",
        url="https://generativelanguage.googleapis.com",
        header=b"x-goog-api-key",
        prefix=b"",
        others=(b"authorization",),
        query=b"key",
        errors="google",
    ),
    # https://docs.mistral.ai/api
    "mistral": Kind(provider="mistral", url="https://api.mistral.ai", errors="mistral"),
    # https://console.groq.com/docs/api-reference
    "groq": Kind(provider="groq", url="https://api.groq.com", tells_usage=False),
    # https://api-docs.deepseek.com
    "deepseek": Kind(provider="deepseek", url="https://api.deepseek.com", tells_usage=False),
    # https://openrouter.ai/docs/api-reference/overview
    "openrouter": Kind(provider="openrouter", url="https://openrouter.ai", tells_usage=False),
    # https://docs.cohere.com/reference/about
    "cohere": Kind(provider="cohere", url="https://api.cohere.com", errors="cohere"),
    # https://replicate.com/docs/reference/http
    "replicate": Kind(provider="replicate", url="https://api.replicate.com", errors="replicate"),
    # https://elevenlabs.io/docs/api-reference/authentication
    "elevenlabs": Kind(
        provider="elevenlabs",
        url="https://api.elevenlabs.io",
        header=b"xi-api-key",
        prefix=b"",
        errors="elevenlabs",
    ),
    # https://platform.stability.ai/docs/api-reference
    "stability": Kind(provider="stability", url="https://api.stability.ai", errors="stability"),
    # https://learn.microsoft.com/azure/ai-foundry/openai/reference: each customer has an address of their own
    "azure": Kind(
        provider="azure",
        header=b"api-key",
        prefix=b"",
        others=(b"authorization",),
        errors="openai",
        tells_usage=False,
    ),
    # https://docs.aws.amazon.com/bedrock/latest/APIReference/welcome.html: signed, not keyed
    "aws": Kind(provider="aws", errors="aws"),
    # whatever speaks OpenAI's API: vLLM, Ollama, Together, …
    "compatible": Kind(provider="", tells_usage=False),
}
"""Every API that is known, by the name that `kind` gives it."""

ALIASES: Final[Mapping[str, str]] = {"gemini": "google", "bedrock": "aws"}
"""Further names of kinds, and of the upstreams that are there without being named."""


class Upstream(msgspec.Struct, frozen=True, kw_only=True):
    """Where calls of one name go. `base` is the path before the client's; `told_url` is what capture reads it by."""

    name: str
    kind_name: str
    kind: Kind
    provider: str
    host: str
    port: int
    tls: bool
    base: bytes
    told_url: str
    key: bytes = b""
    region: str = ""
    write_maximum: bool = True
    ask_usage: bool = True

    @property
    def authority(self) -> bytes:
        """What goes into the header host."""
        shown = f"[{self.host}]" if ":" in self.host else self.host
        usual = self.port == _PORTS["https" if self.tls else "http"]
        return (shown if usual else f"{shown}:{self.port}").encode()


class Upstreams:
    """The upstreams of one gateway, by name."""

    def __init__(self, settings: GatewaySettings) -> None:
        """Raises InvalidInput `bad_config` for an upstream that cannot be right."""
        told: dict[str, UpstreamSettings] = {}
        if settings.defaults:
            names = (*(name for name, kind in KINDS.items() if kind.url), *ALIASES)
            told = {name: UpstreamSettings() for name in names if KINDS[ALIASES.get(name, name)].url}
        told.update(settings.upstreams)
        self._by_name = {name: _upstream(name, one, settings) for name, one in told.items()}

    def __getitem__(self, name: str) -> Upstream:
        """Raises NotFound `no_such_upstream`."""
        found = self._by_name.get(name)
        if found is None:
            raise NotFound(
                "the gateway has no upstream of this name; add it to [gateway.upstreams]", code="no_such_upstream"
            )
        return found

    def __iter__(self) -> object:
        return iter(self._by_name.values())

    def names(self) -> list[str]:
        """All names, sorted."""
        return sorted(self._by_name)


def _upstream(name: str, told: UpstreamSettings, settings: GatewaySettings) -> Upstream:
    if not _NAME.match(name):
        raise _bad(name, "a name has small letters, digits, - and _")
    kind_name = told.kind or ALIASES.get(name, name)
    kind_name = ALIASES.get(kind_name, kind_name)
    if kind_name not in KINDS:
        if told.kind:
            raise _bad(name, f"kind {told.kind!r} is none of {', '.join(KINDS)}")
        kind_name = "compatible"
    kind = KINDS[kind_name]
    if kind_name == "aws" and not _REGION.match(told.region):
        raise _bad(name, "aws needs its region, such as us-east-1")
    usual = f"https://bedrock-runtime.{told.region}.amazonaws.com" if kind_name == "aws" else kind.url
    url = told.url or usual
    host, port, tls, base = _address(name, url)
    if told.key and not _HEADER_VALUE.match(told.key):
        raise _bad(name, "its key has characters that no header may bear")
    provider = told.provider or kind.provider or name
    known = usual if usual and provider == kind.provider else url
    return Upstream(
        name=name,
        kind_name=kind_name,
        kind=kind,
        provider=provider,
        host=host,
        port=port,
        tls=tls,
        base=base,
        told_url=known.rstrip("/"),
        key=told.key.encode(),
        region=told.region,
        write_maximum=settings.write_maximum if told.write_maximum is None else told.write_maximum,
        ask_usage=settings.ask_usage if told.ask_usage is None else told.ask_usage,
    )


def _address(name: str, url: str) -> tuple[str, int, bool, bytes]:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise _bad(name, "its url is no address") from error
    if parts.scheme not in _PORTS or not parts.hostname:
        raise _bad(name, "its url begins with https:// (or http://) and names a host")
    if parts.username or parts.query or parts.fragment:
        raise _bad(name, "its url bears neither a password nor a query; put the key under key")
    return parts.hostname, port or _PORTS[parts.scheme], parts.scheme == "https", parts.path.rstrip("/").encode()


def _bad(name: str, why: str) -> InvalidInput:
    return InvalidInput(f"[gateway.upstreams.{name[:60]}]: {why}", code="bad_config")
