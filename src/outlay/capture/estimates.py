"""Usage that a provider does not report, estimated from the length of what was sent and received. Pure.

Three rules, each rough and each marked `estimated`: four characters are a token of English; a word is two tokens;
or a tokenizer counts. A minute of compressed speech takes about a megabyte. Texts are measured here and not kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Final

from msgspec.structs import replace

from outlay.capture.extract import Extraction
from outlay.capture.plain import members
from outlay.capture.requests import request_of
from outlay.capture.streams import read
from outlay.errors import InvalidInput
from outlay.model import Basis, Quantity, Status
from outlay.money import EXACT

CountTokens = Callable[[str], int]

RULES: Final = ("characters", "words", "tiktoken")
CHARACTERS_PER_TOKEN: Final = 4
TOKENS_PER_WORD: Final = 2
AUDIO_BYTES_PER_MINUTE: Final = 1_000_000

_SAID: Final = {
    "characters": "characters ÷ 4",
    "words": "words × 2",
    "tiktoken": "tiktoken",
}
_TEXTS: Final = frozenset(
    (
        "text",
        "content",
        "prompt",
        "input",
        "inputs",
        "instructions",
        "system",
        "query",
        "message",
        "inputText",
        "output_text",
        "outputText",
        "completion",
        "generation",
        "generated_text",
        "response",
        "arguments",
        "reasoning_content",
    )
)
_NANO: Final = Decimal("1e-9")
_DEPTH_MAX: Final = 24


def checked_rule(rule: str) -> str:
    """A rule's name. Raises InvalidInput `bad_setting`."""
    if rule not in RULES:
        raise InvalidInput(
            f"estimate is {str(rule)[:40]!r}; use {', '.join(RULES)}", code="bad_setting", field="estimate"
        )
    return rule


def estimate_tokens(texts: str | Iterable[str], rule: str = "characters", count: CountTokens | None = None) -> int:
    """About how many tokens texts are, rounded up: 37 characters are 10 tokens, 6 words 12.

    `count` is the tokenizer of the rule `tiktoken`; without one its texts are measured by their characters.
    Raises InvalidInput `bad_setting` for an unknown rule.
    """
    checked_rule(rule)
    parts = (texts,) if isinstance(texts, str) else tuple(texts)
    if rule == "words":
        return sum(len(text.split()) for text in parts) * TOKENS_PER_WORD
    if rule == "tiktoken" and count is not None:
        return sum(map(count, parts))
    return -(-sum(map(len, parts)) // CHARACTERS_PER_TOKEN)


def estimate_audio_seconds(size_bytes: int) -> Decimal:
    """About how long a compressed recording of this size runs: a megabyte (10⁶ bytes) a minute.

    Raises InvalidInput `negative_quantity`.
    """
    if size_bytes < 0:
        raise InvalidInput(f"a recording has {size_bytes} bytes; give 0 or more", code="negative_quantity")
    seconds = EXACT.divide(size_bytes * 60, AUDIO_BYTES_PER_MINUTE)
    return seconds.quantize(_NANO, context=EXACT).normalize(EXACT)


def with_estimate(
    found: Extraction, response: object, request: object | None, rule: str, count: CountTokens | None = None
) -> Extraction:
    """An extraction whose usage the answer should have told and did not, with an estimate in its place.

    Any other one comes back as it is: what a provider reports is never replaced.
    """
    if found.found not in ("missing", "unknown") or found.usage or found.status is not Status.OK:
        return found
    asked = list(_texts(request_of(request), 0, inside=False))
    answered = [text for frame in read(response).frames for text in _texts(members(frame), 0, inside=False)]
    usage: dict[str, Quantity] = {}
    if asked:
        usage["input_tokens"] = estimate_tokens(asked, rule, count)
    if answered and found.operation != "embeddings":
        usage["output_tokens"] = estimate_tokens(answered, rule, count)
    if not usage:
        return found
    said = _SAID["characters" if rule == "tiktoken" and count is None else rule]
    return replace(
        found,
        usage=usage,
        basis=Basis.ESTIMATED,
        found="usage",
        notes=(*found.notes, f"usage is not reported: estimated by {said}"),
    )


def _texts(value: object, depth: int, *, inside: bool) -> Iterator[str]:
    """The texts of a body that a model reads or writes: strings under the names that bear them."""
    if depth > _DEPTH_MAX:
        return
    if isinstance(value, str):
        if inside:
            yield value
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from _texts(item, depth + 1, inside=name in _TEXTS)
    elif isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        for item in value:
            yield from _texts(item, depth + 1, inside=inside)
