"""Who calls the gateway, and with which of the provider's keys the call goes on.

A client says who it is in `x-outlay-key`, or puts its Outlay key where its SDK puts the provider's. A key of Outlay's
never goes on to an upstream; a provider's key that a client brings goes on as it came and is kept nowhere.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from outlay.errors import AccessDenied
from outlay.faces.gateway.headers import Headers
from outlay.faces.gateway.upstreams import Upstream
from outlay.faces.gateway.vault import Vault
from outlay.faces.server.access import Caller, Role
from outlay.faces.server.gate import Gate
from outlay.faces.server.keys import PREFIX

_OURS: Final = PREFIX.encode()
_TOKEN: Final = re.compile(rb"eyJ[\w-]+\.[\w-]+\.[\w-]+\Z")
_SCHEME: Final = re.compile(rb"(?i)(?:bearer|token|basic|key)\s+(.*)\Z", re.DOTALL)
_SIGNED: Final = re.compile(rb"AWS4-HMAC-SHA256 +Credential=([^/,\s]+)/")


class Credentials(msgspec.Struct, frozen=True):
    """The caller, the headers that must not go on, the header that goes instead, and the query without a key.

    `signs` says that the request is to be signed anew, with `secret` where one is kept.
    """

    caller: Caller
    without: tuple[bytes, ...]
    instead: Headers
    query: bytes
    signs: bool = False
    secret: bytes = b""


def read_credentials(
    headers: Mapping[bytes, bytes], query: bytes, upstream: Upstream, gate: Gate, vault: Vault
) -> Credentials:
    """Who calls and what goes on. Raises AccessDenied, and Overloaded `rate_limited`."""
    kind = upstream.kind
    places = (kind.header, *kind.others)
    in_query, rest = _from_query(query, kind.query)
    own = headers.get(b"x-outlay-key")
    # Who says by x-outlay-key who they are may bring a token of the provider's: Azure's are JSON Web Tokens too.
    tokens = own is None and len(gate.tokens) > 0
    brought = [(name, _text(headers[name])) for name in places if name in headers]
    ours = [text for _, text in brought if _is_ours(text, tokens)]
    if in_query is not None and _is_ours(in_query, tokens):
        ours.append(in_query)
        query = rest
    caller = _admit(own.strip() if own is not None else (ours[0] if ours else None), headers, gate)
    caller.must(Role.INGEST)
    without = tuple(name for name, text in brought if _is_ours(text, tokens))
    brings = len(brought) > len(without) or (in_query is not None and query is not rest)
    signature = headers.get(b"authorization", b"").startswith(b"AWS4-")
    if brings and not (signature and upstream.kind_name == "aws"):
        return Credentials(caller, without, [], query)
    secret = vault.secret(caller.key, upstream.name) or upstream.key
    if upstream.kind_name == "aws":
        return Credentials(caller, places, [], query, signs=True, secret=secret)
    instead = [(kind.header, kind.prefix + secret)] if secret else []
    return Credentials(caller, without, instead, query)


def _admit(text: bytes | None, headers: Mapping[bytes, bytes], gate: Gate) -> Caller:
    told = {name: headers[name] for name in (b"host", b"origin") if name in headers}
    if text is None and not gate.open:
        raise AccessDenied(
            "say who you are: an Outlay key in the header x-outlay-key, or in the place of the provider's key",
            code="key_required",
        )
    if text is not None:
        told[b"authorization"] = b"Bearer " + text
    return gate.admit(told)


def _is_ours(text: bytes, tokens: bool) -> bool:
    return text.startswith(_OURS) or (tokens and _TOKEN.match(text) is not None)


def _text(value: bytes) -> bytes:
    """A key without its scheme; of a signed AWS request the access key's id."""
    signed = _SIGNED.match(value)
    if signed is not None:
        return signed[1]
    found = _SCHEME.match(value)
    return (found[1] if found is not None else value).strip()


def _from_query(query: bytes, name: bytes) -> tuple[bytes | None, bytes]:
    """The key in a query, and the query without it."""
    if not name or not query:
        return None, query
    mark = name + b"="
    parts = query.split(b"&")
    found = [part[len(mark) :] for part in parts if part.startswith(mark)]
    if not found:
        return None, query
    return found[0], b"&".join(part for part in parts if not part.startswith(mark))
