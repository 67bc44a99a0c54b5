"""How many tokens the text of a request can come to, and what in it is not text.

Everything in a request that no rule names is counted as text, so a field that a provider adds next year is counted
too. A byte is at least one token for byte-level tokenizers; where a tokenizer normalises (NFKC turns the 3 bytes of
U+FDFA into 33), the longer of the two forms is counted.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any, Final
from unicodedata import normalize

import msgspec

from outlay.budgets.bound_rules import Api, Medium, first_at, rules

CountTokens = Callable[[str], int]
"""The exact number of tokens of a text, by the model's own tokenizer."""

_SEPARATOR_TOKENS: Final = 1
_BASE64_GROUP: Final = 4


class Found(msgspec.Struct, frozen=True):
    """A part of a message that is not text: which medium, its format, its detail, its bytes if sent."""

    medium: str
    format: str
    detail: str
    bytes: int | None


class Weigher:
    """Walks one request. `found` are the media met on the way, `keys` every name of a member."""

    def __init__(self, api: Api, count_tokens: CountTokens | None) -> None:
        """`count_tokens` is the model's tokenizer, None to count bytes."""
        self._api = api
        self._count = count_tokens
        self.found: list[Found] = []
        self.keys: set[str] = set()

    def template(self, value: object) -> int:
        """Tokens of messages: their text, what is no text taken out; what the template does not name, as JSON."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list | tuple):
            return sum(map(self.template, value))
        if type(value) is not dict and not isinstance(value, Mapping):
            return 0 if value is None else self.literal(value)
        met = _medium(value)
        if met is not None:
            self.keys.update(map(str, value))
            self.found.append(met)
            return 0
        self.keys.update(map(str, value))
        words, tokens = self._api.words, 0
        for key, member in value.items():
            if key in words:
                tokens += self.text(member) if type(member) is str else self.template(member)
            elif member is not None:
                tokens += self.literal({str(key): member})
        return tokens

    def literal(self, value: object) -> int:
        """Tokens of a value that the model is shown as JSON."""
        self.keys.update(_names(value))
        shown = json.dumps(value, default=str)
        if self._count is not None:
            return self._count(shown) + _SEPARATOR_TOKENS
        if self._api.normalised and "\\u" in shown:
            return max(len(shown), self.text(json.dumps(value, default=str, ensure_ascii=False)))
        return len(shown) * self._api.tokens_per_byte + _SEPARATOR_TOKENS

    def text(self, text: str) -> int:
        """Tokens of a text that the model is shown as it is."""
        if self._count is not None:
            return self._count(text) + _SEPARATOR_TOKENS
        length = len(text)
        if not text.isascii():
            length = _bytes(text)
            if self._api.normalised:
                length = max(length, _bytes(normalize("NFKC", text)))
        return length * self._api.tokens_per_byte + _SEPARATOR_TOKENS


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def _names(value: object) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, member in value.items():
            yield str(key)
            yield from _names(member)
    elif isinstance(value, list | tuple):
        for member in value:
            yield from _names(member)


@cache
def _signs() -> tuple[frozenset[str], frozenset[str]]:
    """The types and the members by which a medium is known."""
    media = [medium for medium, _ in rules().media]
    return frozenset[str]().union(*(one.types for one in media)), frozenset(one.key for one in media if one.key)


def _medium(node: Mapping[Any, Any]) -> Found | None:
    """What medium a member of a message is, None for text."""
    kind = node.get("type")
    kind = kind if isinstance(kind, str) else ""
    types, keys = _signs()
    if kind not in types and keys.isdisjoint(node):
        return None  # Nearly every message.
    for medium, formats in rules().media:
        if kind not in medium.types and (not medium.key or node.get(medium.key) is None):
            continue
        told = first_at(node, medium.format_at)
        told = told.lower() if isinstance(told, str) else ""
        if formats.search(told):
            detail = first_at(node, medium.detail_at)
            return Found(medium.name, told, str(detail or ""), _size(node, medium))
    return None


def _size(node: Mapping[Any, Any], medium: Medium) -> int | None:
    """The bytes of the data that is sent, None where there is only a reference to it."""
    data = first_at(node, medium.data_at)
    if isinstance(data, bytes | bytearray):
        return len(data)
    if not isinstance(data, str) or data[:8].lower().startswith(("http:", "https:", "gs:", "s3:")):
        return None
    # Of base64 the decoded bytes, rounded up; a text that is sent as it is has no more tokens than its own bytes.
    return _bytes(data) if " " in data else -(-len(data) * 3 // _BASE64_GROUP)
