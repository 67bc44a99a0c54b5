"""The same PNG in a seventh of its bytes, so that a mail with pictures stays small.

What draws the charts filters every line by its neighbour, which flat areas and few colours compress badly under. Here
the pixels are written again, each as its place in a table of colours. No pixel changes.
"""

from __future__ import annotations

import struct
import sys
import zlib
from collections.abc import Iterator
from itertools import accumulate
from typing import Final, Literal

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
COLOURS_MOST: Final = 256
_HEADER: Final = struct.Struct(">IIBBBBB")
_RGBA: Final = (8, 6, 0, 0, 0)
"""Eight bits, red, green, blue and opacity, not interlaced: the only kind that is packed."""

_PIXEL: Final = 4
_INDEXED: Final = 3
_ORDER: Final[Literal["little", "big"]] = sys.byteorder
"""In which a pixel is one number, so that lines are compared by the pixel."""


def packed(png: bytes) -> bytes:
    """The picture with a table of colours; as it was where it is of another kind or has too many colours."""
    chunks = list(_chunks(png))
    width, height, *kind = _HEADER.unpack(chunks[0][1])
    if tuple(kind) != _RGBA:
        return png
    raw = zlib.decompress(b"".join(body for name, body in chunks if name == b"IDAT"))
    lines = _lines(raw, width * _PIXEL)
    if lines is None or len(lines) != height:
        return png
    colours = {colour for line in lines for colour in set(memoryview(line).cast("I"))}
    if len(colours) > COLOURS_MOST:
        return png
    # Those that can be seen through come first, so that their table is short.
    table = sorted((colour.to_bytes(_PIXEL, _ORDER) for colour in colours), key=lambda one: (one[3], one))
    places = {int.from_bytes(colour, _ORDER): at for at, colour in enumerate(table)}
    pixels = b"".join(b"\x00" + bytes(map(places.__getitem__, memoryview(line).cast("I"))) for line in lines)
    opacity = bytes(colour[3] for colour in table if colour[3] < COLOURS_MOST - 1)
    parts = [
        (b"IHDR", _HEADER.pack(width, height, 8, _INDEXED, 0, 0, 0)),
        *((name, body) for name, body in chunks if name == b"pHYs"),
        (b"PLTE", b"".join(colour[:3] for colour in table)),
        *([(b"tRNS", opacity)] if opacity else []),
        (b"IDAT", zlib.compress(pixels, 9)),
        (b"IEND", b""),
    ]
    return SIGNATURE + b"".join(map(_chunk, *zip(*parts, strict=True)))


def _chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = len(SIGNATURE)
    while at < len(png):
        (length,) = struct.unpack_from(">I", png, at)
        yield png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        at += 12 + length


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def _lines(raw: bytes, length: int) -> list[bytes] | None:
    """The lines without their filter, None where one has another than "none" or "by the pixel to the left"."""
    lines = []
    for start in range(0, len(raw), length + 1):
        line = raw[start + 1 : start + 1 + length]
        if raw[start] == 1:
            whole = bytearray(length)
            for channel in range(_PIXEL):
                whole[channel::_PIXEL] = bytes(value & 0xFF for value in accumulate(line[channel::_PIXEL]))
            line = bytes(whole)
        elif raw[start]:
            return None
        lines.append(line)
    return lines
