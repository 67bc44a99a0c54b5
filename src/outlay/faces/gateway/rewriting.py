"""The rewrites of a request, each by name: the output a budget affords, the service it wants, the usage asked for.

Whatever is not rewritten stays byte for byte: a member that is not there yet is put before the first one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

import msgspec

_FIRST: Final = re.compile(rb"\s*\{\s*(?=[\"}])")
_CHAT: Final = re.compile(rb"/(?:chat/)?completions\Z")


class Rewrite(msgspec.Struct, frozen=True):
    """One change: the dotted place in the body, and what stands there now."""

    place: str
    value: Any

    @property
    def said(self) -> str:
        """How the header tells it."""
        shown = self.value if isinstance(self.value, str | int) and not isinstance(self.value, bool) else "true"
        return f"{self.place}={shown}"


def asks_usage(path: bytes, body: Mapping[str, Any]) -> bool:
    """Whether this is a chat stream that would not tell its usage."""
    if body.get("stream") is not True or _CHAT.search(path) is None:
        return False
    options = body.get("stream_options")
    if options is None:
        return True
    return isinstance(options, Mapping) and not options.get("include_usage")


ASK_USAGE: Final = Rewrite("stream_options.include_usage", True)


def rewritten(content: bytes, body: Mapping[str, Any], rewrites: list[Rewrite]) -> bytes:
    """The body with the rewrites in it."""
    for one in rewrites:
        steps = one.place.split(".")
        if steps[0] in body:
            # In the place of what is there, or inside it: the object is written anew, its members in their order.
            body = _placed(body, steps, one.value)
            content = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
            continue
        value: Any = one.value
        for step in reversed(steps[1:]):
            value = {step: value}
        opening = _FIRST.match(content)
        end = opening.end() if opening is not None else 0
        comma = b"" if content[end : end + 1] == b"}" else b","
        member = json.dumps(steps[0]).encode() + b":" + json.dumps(value).encode()
        content = content[:end] + member + comma + content[end:]
        body = {steps[0]: value, **body}
    return content


def _placed(body: Mapping[str, Any], steps: list[str], value: Any) -> dict[str, Any]:
    copy = dict(body)
    if len(steps) == 1:
        copy[steps[0]] = value
        return copy
    inner = copy.get(steps[0])
    copy[steps[0]] = _placed(inner if isinstance(inner, Mapping) else {}, steps[1:], value)
    return copy


def renamed(path: bytes, asked: str, chosen: str) -> bytes:
    """The path with another service's name in it, where it has the first one's."""
    for one in (asked, quote(asked, safe="")):
        old = one.encode()
        path = path.replace(b"/%b:" % old, b"/%b:" % quote(chosen, safe="").encode())
        path = path.replace(b"/%b/" % old, b"/%b/" % quote(chosen, safe="").encode())
    return path
