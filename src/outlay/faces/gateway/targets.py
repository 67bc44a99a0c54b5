"""The path of a request: which upstream, and what follows it, sent on byte for byte or refused.

A path that could leave the upstream's own (`..`, whether written plainly or encoded), or end the request line, is
refused, never repaired.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote_to_bytes

import msgspec

from outlay.faces.server.limits import BadRequest

PREFIX: Final = "/gateway/"
_PREFIX: Final = PREFIX.encode()
_PLAIN: Final = re.compile(rb"(?:/[A-Za-z0-9_~:@!$&'()*+,;=-][A-Za-z0-9._~:@!$&'()*+,;=-]*)+\Z")
_SENT: Final = re.compile(rb"[\x21-\x7e]*\Z")
_TARGET_BYTES_MAX: Final = 8_192
_DECODINGS: Final = 3


class Target(msgspec.Struct, frozen=True):
    """The upstream's name, the path behind it (with its slash) and the query (without its mark)."""

    upstream: str
    path: bytes
    query: bytes


def read_target(raw_path: bytes, query: bytes) -> Target:
    """Split a request's target. Raises BadRequest `bad_path`."""
    name, slash, rest = raw_path[len(_PREFIX) :].partition(b"/")
    path = slash + rest
    if not path or len(path) + len(query) > _TARGET_BYTES_MAX:
        raise _bad("a path is /gateway/UPSTREAM/… and has at most 8,192 bytes")
    if not _PLAIN.match(path):
        _check(path)
    if not _SENT.match(query) or b"#" in query:
        raise _bad("the query has characters that must be encoded")
    return Target(name.decode("latin-1"), path, query)


def _check(path: bytes) -> None:
    if not _SENT.match(path) or b"#" in path or b"?" in path:
        raise _bad("the path has characters that must be encoded")
    for _ in range(_DECODINGS):
        if b"\\" in path or any(byte < 0x20 or byte == 0x7F for byte in path):
            raise _bad("the path has an encoded control character or backslash")
        if any(part in (b".", b"..") or part.startswith((b"..;", b".;")) for part in path.split(b"/")):
            raise _bad("the path may not climb: leave . and .. out")
        decoded = unquote_to_bytes(path)
        if decoded == path:
            return
        path = decoded
    raise _bad("the path is encoded more than twice")


def _bad(why: str) -> BadRequest:
    return BadRequest(why, code="bad_path")
