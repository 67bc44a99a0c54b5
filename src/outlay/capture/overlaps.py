"""Counts that overlap, made whole: no part is larger than what holds it, and every overlap has its own count.

A provider tells that of 100 input tokens 64 were cached and 100 were text, but not that the 64 were text. Left
so, the remainder would be negative. Where only one answer is possible it is filled in; where several are, the
cheap tokens are taken as text first and, of cached ones, a note says so; reasoning is text by nature.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from outlay.meters import ancestors
from outlay.model import Quantity

_MODALITIES: Final = ("text", "image", "video", "audio")
_SIDES: Final = (
    ("input", ("cache_read_tokens", "cache_write_tokens", "input_tool_tokens")),
    ("output", ("output_reasoning_tokens", "output_citation_tokens")),
)


_WHOLES: Final = frozenset(f"{side}_tokens" for side, _ in _SIDES)


def settle(usage: dict[str, Quantity], summed: bool = False) -> Iterator[str]:
    """Make `usage` whole in place; yields what had to be assumed.

    `summed` says that the provider's own total is the sum of its wholes.
    """
    if not any(map(usage.get, usage.keys() - _WHOLES)):
        return  # Nothing is told of any part.
    _raise_parent(usage, "cache_write_tokens", ("cache_write_5m_tokens", "cache_write_1h_tokens"))
    for side, kinds in _SIDES:
        whole = f"{side}_tokens"
        modal = [m for m in _MODALITIES if usage.get(f"{side}_{m}_tokens")]
        if modal:
            yield from _raised(usage, whole, tuple(f"{side}_{m}_tokens" for m in modal))
        told = [kind for kind in kinds if usage.get(kind)]
        beside = sum(usage[kind] for kind in told)
        if told and beside > usage.get(whole, 0):
            names, largest = " and ".join(told), max(usage[kind] for kind in told)
            if summed and largest <= usage.get(whole, 0):
                # The total says that they lie inside: what was read from a cache was written to it by the same call.
                yield f"{names} {beside} overlap in {whole} {usage[whole]}: each is counted"
                beside -= largest
            else:
                yield f"{names} {beside} exceed {whole} {usage.get(whole, 0)}: counted beside it, not inside"
            usage[whole] = usage.get(whole, 0) + beside
        if told and modal:
            yield from _share(usage, side, told, modal)


def _raise_parent(usage: dict[str, Quantity], parent: str, parts: tuple[str, ...]) -> bool:
    total = sum(usage.get(part, 0) for part in parts)
    if total <= usage.get(parent, 0):
        return False
    usage[parent] = total
    return True


def _raised(usage: dict[str, Quantity], parent: str, parts: tuple[str, ...]) -> Iterator[str]:
    told = usage.get(parent)
    if _raise_parent(usage, parent, parts) and told is not None:
        yield f"{' and '.join(parts)} exceed {parent} {told}: it is taken as {usage[parent]}"


def _share(usage: dict[str, Quantity], side: str, kinds: list[str], modal: list[str]) -> Iterator[str]:
    """Give every overlap of a kind (cached, reasoning) and a modality its count."""
    room = {m: usage[f"{side}_{m}_tokens"] for m in modal}
    room[""] = usage[f"{side}_tokens"] - sum(room.values())
    for kind in kinds:
        left = usage[kind]
        for m in modal:
            told = usage.get(_joint(kind, m), 0)
            room[m] -= told
            left -= told
        open_to = [m for m in ("", *modal) if room[m] > 0]
        if kind.startswith("cache") and len(open_to) > 1 and 0 < left < sum(room[m] for m in open_to):
            yield f"how {kind} divide among {', '.join(m or 'the rest' for m in open_to)} was not told"
        for m in open_to:
            share = min(left, room[m])
            if share > 0:
                room[m] -= share
                left -= share
                if m:
                    usage[_joint(kind, m)] = usage.get(_joint(kind, m), 0) + share


def _joint(kind: str, modality: str) -> str:
    """`cache_read_tokens` and text: `cache_text_read_tokens`."""
    head, _, tail = kind.partition("_")
    return f"{head}_{modality}_{tail}"


def unsound(usage: dict[str, Quantity]) -> str | None:
    """The first count that is larger than one that holds it, in words, or None."""
    for meter, quantity in usage.items():
        for outer in ancestors(meter):
            if outer in usage and usage[outer] < quantity:
                return f"{meter} {quantity} exceed {outer} {usage[outer]}"
    return None
