"""Which headers go on: to the upstream without what is ours, the connection's or a browser's; back likewise."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from outlay.faces.server.limits import BadRequest

Headers = list[tuple[bytes, bytes]]

_HOP: Final = frozenset(
    (
        *(b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection", b"te"),
        *(b"trailer", b"transfer-encoding", b"upgrade", b"http2-settings", b"expect"),
    )
)
"""Of one connection only (RFC 9110, 7.6.1)."""

_NOT_SENT: Final = _HOP | frozenset(
    (
        *(b"host", b"content-length", b"accept-encoding", b"cookie", b"origin", b"referer", b"forwarded", b"via"),
        *(b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto", b"x-forwarded-port", b"x-real-ip"),
    )
)
"""What the upstream must not see: written anew, or of whoever is before the gateway."""

_NOT_RETURNED: Final = _HOP | frozenset(
    (
        b"content-length",
        b"date",
        b"server",
        b"set-cookie",
        b"alt-svc",
        b"strict-transport-security",
        b"content-security-policy",
    )
)
"""What an upstream must not say in the gateway's name: cookies, other addresses."""

_ONCE: Final = frozenset(
    (
        *(b"authorization", b"x-api-key", b"x-goog-api-key", b"api-key", b"xi-api-key", b"host", b"content-length"),
        *(b"content-type", b"content-encoding", b"transfer-encoding", b"x-outlay-key"),
    )
)
_OWN: Final = b"x-outlay-"
_READABLE: Final = frozenset((b"gzip", b"deflate", b"zstd", b"identity"))

SAFE: Final[Headers] = [
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; sandbox; frame-ancestors 'none'"),
]
"""On every answer: what an upstream sends is no page of this server's."""


def check_headers(headers: Sequence[tuple[bytes, bytes]]) -> None:
    """Raises BadRequest `bad_header` for what two readers could read in two ways."""
    once = [name for name, _ in headers if name in _ONCE]
    if len(once) > len(set(once)):
        twice = next(name for name in once if once.count(name) > 1)
        raise BadRequest(f"the header {twice.decode('latin-1')} came twice", code="bad_header")
    if b"transfer-encoding" in once and b"content-length" in once:
        raise BadRequest("a body has a length or is chunked, not both", code="bad_header")
    values = b" ".join([value for _, value in headers])
    if b"\n" in values or b"\r" in values or b"\0" in values:
        raise BadRequest("a header's value has a line's end in it", code="bad_header")


def outgoing(
    headers: Iterable[tuple[bytes, bytes]], without: Iterable[bytes], *, plain: bool, sent_as: Iterable[bytes] = ()
) -> Headers:
    """The headers for the upstream. `without` bear the caller's key and are left out.

    `plain` asks for an answer that is not packed; else it may be packed in the ways that can be read here.
    `sent_as` are further names left out, such as of an encoding that the body lost.
    """
    dropped = {*without, *sent_as}
    found: Headers = []
    accepted = b""
    for name, value in headers:
        if name in _NOT_SENT:
            if name == b"accept-encoding":
                accepted = value
            elif name == b"connection":
                dropped.update(one.strip().lower() for one in value.split(b","))
        elif not name.startswith(_OWN):
            found.append((name, value))
    if dropped:
        found = [one for one in found if one[0] not in dropped]
    found.append((b"accept-encoding", b"identity" if plain else readable(accepted)))
    return found


def readable(accepted: bytes) -> bytes:
    """Of what a client accepts what can be read here too."""
    kept = [one.strip() for one in accepted.split(b",") if one.partition(b";")[0].strip().lower() in _READABLE]
    return b", ".join(kept) or b"identity"


def returned(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """The upstream's headers as the client gets them."""
    found: Headers = []
    dropped: set[bytes] = set()
    for raw, value in headers:
        name = raw.lower()
        if name == b"connection":
            dropped.update(one.strip().lower() for one in value.split(b","))
        elif name not in _NOT_RETURNED and not name.startswith(_OWN) and name != b"x-content-type-options":
            found.append((name, value))
    return [one for one in found if one[0] not in dropped] if dropped - _HOP - {b"close"} else found
