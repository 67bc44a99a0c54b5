"""Who sells what to the simulated company, by the names of the price book."""

from __future__ import annotations

from typing import Final

import msgspec


class Seller(msgspec.Struct, frozen=True):
    """A service, and the conditions under which it is bought."""

    provider: str
    service: str
    conditions: dict[str, str] = {}


def _replicate(service: str, hardware: str) -> Seller:
    return Seller("replicate", service, {"hardware": hardware})


def _aws(service: str) -> Seller:
    return Seller("aws", service, {"region": "us-east-1"})


WRITER: Final = Seller("google", "gemini-2.5-flash")
PAINTER: Final = Seller("google", "gemini-2.5-flash-image")
VOICE: Final = Seller("elevenlabs", "eleven_multilingual_v2")
CLIPS: Final = _replicate("lucataco/animate-diff", "gpu-a100-large")
DIFFUSION: Final = _replicate("stability-ai/sdxl", "gpu-l40s")
UPSCALER: Final = _replicate("nightmareai/real-esrgan", "gpu-t4")
CORE: Final = Seller("stability", "stable-image-core")
ENLARGE: Final = Seller("stability", "upscale", {"mode": "fast"})
INPAINT: Final = Seller("stability", "edit", {"mode": "inpaint"})
STYLE: Final = Seller("stability", "control", {"mode": "style"})
ANSWERER: Final = Seller("aws", "us.anthropic.claude-haiku-4-5-20251001-v1:0")
EMBEDDER: Final = Seller("aws", "amazon.titan-embed-text-v2:0")
TRANSCRIBER: Final = _aws("transcribe")
FUNCTION: Final = _aws("lambda")
GATEWAY: Final = _aws("api-gateway")
TABLE: Final = _aws("dynamodb")
BUCKET: Final = _aws("s3")
UNKNOWN: Final = Seller("google", "canvas-experimental-0926")
"""A model that stands in no price book: its calls are kept unpriced, never at $0."""
