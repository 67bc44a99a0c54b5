"""The meters: what is counted, in which unit, and which meter holds which.

A meter is described by a family and dimensions; it contains every meter of its family whose dimensions
include its own: `input_tokens` {direction: input} contains `cache_read_tokens` {direction: input,
token_type: cache_read}. So a cached token is never counted twice. A quantity is a whole number or a
Decimal of at most 9 places; a meter says whether it must be whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Final

import msgspec

from outlay.errors import InvalidInput

_MODALITIES: Final = ("text", "audio", "image", "video")


class Meter(msgspec.Struct, frozen=True):
    """What is counted. `unit` is one of what a quantity counts; `whole` forbids fractions."""

    name: str
    unit: str
    family: str
    dimensions: frozenset[tuple[str, str]]
    whole: bool = True

    def contains(self, other: Meter) -> bool:
        """Whether what `other` counts is counted by this meter too (a meter does not contain itself)."""
        return self.family == other.family and self.dimensions < other.dimensions


def _meter(name: str, unit: str, family: str, whole: bool = True, /, **dimensions: str) -> Meter:
    return Meter(name, unit, family, frozenset(dimensions.items()), whole)


def _cache_meters(modality: str | None) -> Iterator[Meter]:
    infix = f"{modality}_" if modality else ""
    extra = {"modality": modality} if modality else {}
    for name, dimensions in (
        (f"cache_{infix}read_tokens", {"token_type": "cache_read"}),
        (f"cache_{infix}write_tokens", {"token_type": "cache_write"}),
        (f"cache_{infix}write_5m_tokens", {"token_type": "cache_write", "cache_ttl": "5m"}),
        (f"cache_{infix}write_1h_tokens", {"token_type": "cache_write", "cache_ttl": "1h"}),
    ):
        yield _meter(name, "token", "tokens", direction="input", **dimensions, **extra)


def _token_meters() -> Iterator[Meter]:
    for modality in (None, *_MODALITIES):
        infix = f"{modality}_" if modality else ""
        extra = {"modality": modality} if modality else {}
        for direction in ("input", "output"):
            yield _meter(f"{direction}_{infix}tokens", "token", "tokens", direction=direction, **extra)
        yield from _cache_meters(modality)
        for direction, kind in (("input", "tool"), ("output", "reasoning"), ("output", "citation")):
            name = f"{direction}_{infix}{kind}_tokens"
            yield _meter(name, "token", "tokens", direction=direction, token_type=kind, **extra)


def _media_meters() -> Iterator[Meter]:
    yield _meter("characters", "character", "characters")
    yield _meter("input_characters", "character", "characters", direction="input")
    yield _meter("output_characters", "character", "characters", direction="output")
    yield _meter("input_text_messages", "message", "messages", direction="input", modality="text")
    yield _meter("audio_seconds", "second", "durations", False, modality="audio")
    yield _meter("input_audio_seconds", "second", "durations", False, modality="audio", direction="input")
    yield _meter("output_audio_seconds", "second", "durations", False, modality="audio", direction="output")
    yield _meter("video_seconds", "second", "durations", False, modality="video")
    yield _meter("input_video_seconds", "second", "durations", False, modality="video", direction="input")
    yield _meter("output_video_seconds", "second", "durations", False, modality="video", direction="output")
    yield _meter("hardware_seconds", "second", "hardware", False)
    yield _meter("images", "image", "images")
    yield _meter("input_images", "image", "images", direction="input")
    yield _meter("output_images", "image", "images", direction="output")
    yield _meter("pixels", "pixel", "pixels")
    yield _meter("input_pixels", "pixel", "pixels", direction="input")
    yield _meter("output_pixels", "pixel", "pixels", direction="output")
    yield _meter("input_document_pages", "page", "document_pages", direction="input")
    yield _meter("input_annotated_document_pages", "page", "document_pages", direction="input", page_type="annotated")
    yield _meter("pages", "page", "pages")


def _call_meters() -> Iterator[Meter]:
    yield _meter("requests", "request", "requests")
    yield _meter("runs", "run", "runs")
    yield _meter("credits", "credit", "credits", False)
    yield _meter("rerank_searches", "search", "rerank")
    yield _meter("web_searches", "search", "tool_calls", tool_type="web_search")
    yield _meter("social_searches", "search", "tool_calls", tool_type="social_search")
    yield _meter("storage_searches", "search", "tool_calls", tool_type="storage_search")
    yield _meter("code_executions", "execution", "tool_calls", tool_type="code_execution")


def _cloud_meters() -> Iterator[Meter]:
    for name, unit in (
        ("hours", "hour"),
        ("instance_hours", "instance-hour"),
        ("vcpu_hours", "vCPU-hour"),
        ("gb_hours", "GB-hour"),
        ("gb_seconds", "GB-second"),
        ("gb_months", "GB-month"),
        ("gb", "GB"),
        ("gb_ingested", "GB"),
        ("gb_transferred_out", "GB"),
        ("acu_hours", "ACU-hour"),
        ("lcu_hours", "LCU-hour"),
        ("alarm_months", "alarm-month"),
        ("metric_months", "metric-month"),
        ("dashboard_months", "dashboard-month"),
        ("secret_months", "secret-month"),
        ("zone_months", "hosted-zone-month"),
        ("read_request_units", "read request unit"),  # An eventually consistent read takes half of one.
        ("write_request_units", "write request unit"),
    ):
        yield _meter(name, unit, name, False)
    for name, unit in (
        ("put_requests", "request"),
        ("get_requests", "request"),
        ("delete_requests", "request"),
        ("object_months", "object-month"),
        ("queries", "query"),
    ):
        yield _meter(name, unit, name)


METERS: Final[dict[str, Meter]] = {
    meter.name: meter for meter in (*_token_meters(), *_media_meters(), *_call_meters(), *_cloud_meters())
}


def meter_named(name: str) -> Meter:
    """The meter of that name. Raises InvalidInput `unknown_meter` with near names."""
    try:
        return METERS[name]
    except (KeyError, TypeError):
        raise unknown_meter(name) from None


def unknown_meter(name: object) -> InvalidInput:
    """The error for a meter nobody knows, with the names that look like it."""
    import difflib

    near = difflib.get_close_matches(str(name), METERS, n=3)
    hint = f"; did you mean {' or '.join(near)}?" if near else "; `outlay prices meters` lists them"
    return InvalidInput(f"meter {str(name)[:60]!r} is not known{hint}", code="unknown_meter", field="usage")


@cache
def ancestors(name: str) -> tuple[str, ...]:
    """The meters that contain this one, nearest (most dimensions) first."""
    inner = METERS[name]
    outer = [meter for meter in METERS.values() if meter.contains(inner)]
    return tuple(meter.name for meter in sorted(outer, key=lambda meter: (-len(meter.dimensions), meter.name)))


@cache
def descendants(name: str) -> frozenset[str]:
    """The meters that this one contains."""
    outer = METERS[name]
    return frozenset(meter.name for meter in METERS.values() if outer.contains(meter))
